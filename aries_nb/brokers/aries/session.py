"""An Aries session on one connection: authentication, renewal, keepalive, errors (Aries protocol page §2, §3.6).

It is the same on the market, charts and accounts endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from msgspec.json import encode

from aries_nb.brokers.parsing import RequestRefused, excerpt, is_unknown_symbol, number, shown
from aries_nb.model import (
    Notice,
    Pong,
    SessionLost,
    SessionOpened,
    SessionRefused,
    TokenWanted,
    Unreadable,
)

__all__ = ["AriesSession", "is_refusal", "request_of"]

PING_SECONDS = 30.0  # protocol page §2.4: every 30 to 60 s
PONG_SECONDS = 10.0  # as the vendor's client
AUTH_SECONDS = 5.0  # protocol page §2.3
MOST_SAID = 20_000  # characters of a refusal that are searched for symbols
RENEW_SECONDS = 300.0  # the warning comes 5 min before the end; assumed where the server sends none


class AriesSession:
    """State of an Aries session on one connection, and the queue of frames to send.

    `count` numbers requests and pings together; `now` is the latest time passed in, in s of a monotonic clock.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("_out",)

    def __init__(self) -> None:
        self.is_open = False
        self.count = 0
        self.now = 0.0
        self._out: list[str] = []
        self._pings: dict[int, float] = {}
        self._next_ping = 0.0
        self._auth_sent: float | None = None
        self._auth_id = ""
        self._renew_at: float | None = None

    def open(self, now: float) -> None:
        """Reset for a new connection at time `now`; ids continue, so that a late answer cannot match a new request."""
        self.is_open = False
        self._out.clear()
        self._pings.clear()
        self._auth_sent = None
        self._renew_at = None
        self.now = now
        self._next_ping = now + PING_SECONDS

    def missed(self, count: int) -> None:
        """Go on after messages that were not received, `count` being the number of the newest request or ping."""
        self.count = count
        self._pings.clear()

    def derive(self, _: object) -> None:
        """Make what a noted state has not: messages may have the token."""
        self._out = []

    def outgoing(self) -> Sequence[str]:
        """Return the queued frames in the order of sending, and clear the queue."""
        frames, self._out = self._out, []
        return frames

    def send(self, kind: str, payload: Any) -> str:  # noqa: ANN401 - JSON
        """Queue a request of the type `kind`, such as "subscribe", and return its id.

        `payload` is its content, any JSON value.
        """
        self.count += 1
        request = f"{kind}-{self.count}"
        self._out.append(encode({"type": kind, "id": request, "payload": payload}).decode())
        return request

    def ping(self) -> int:
        """Queue a ping and return its number."""
        self.count += 1
        self._pings[self.count] = self.now
        self._next_ping = self.now + PING_SECONDS
        self._out.append(encode({"type": "ping", "id": f"ping-{self.count}"}).decode())
        return self.count

    def authenticate(self, token: str, now: float) -> None:
        """Queue the token, in a form that fits all documented variants (Aries protocol page §2.1).

        `now` is in seconds of a monotonic clock. A renewal that was planned is dropped; the answer plans the next one.
        """
        self.now = now
        self._auth_sent = now
        self._renew_at = None
        body = {"action": "auth", "token": token}
        self.count += 1
        self._auth_id = f"auth-{self.count}"
        request = {"method": "post", "path": "/auth", "body": body}
        self._out.append(encode({"type": "request", "id": self._auth_id, "payload": request}).decode())

    def tick(self, now: float) -> Sequence[Notice]:
        """Queue a ping when it is due at time `now` (s, monotonic); return notices.

        One asks for a fresh token before the session ends; another, `SessionLost`, reports that the server has not
        answered the token for 5 s or a ping for 10 s.
        """
        self.now = now
        if self._auth_sent is not None and now - self._auth_sent > AUTH_SECONDS:
            self._auth_sent = None
            return [SessionLost(f"no answer to the token within {AUTH_SECONDS:.0f} s", "silence")]
        if self._pings and now - min(self._pings.values()) > PONG_SECONDS:
            self._pings.clear()
            return [SessionLost(f"no answer to a ping within {PONG_SECONDS:.0f} s", "silence")]
        if self._renew_at is not None and now >= self._renew_at:
            self._renew_at = None
            return [TokenWanted()]
        if self.is_open and now >= self._next_ping:
            self.ping()
        return ()

    def is_update(self, message: Mapping[str, Any]) -> bool:
        """Return whether a message carries market data, as opposed to a message about the session or a request."""
        payload = message.get("payload")
        action = payload.get("action") if isinstance(payload, dict) else None
        return message.get("type") == "event" and action in ("update", "snapshot")  # a tuple: it may be unhashable

    def control(self, message: Mapping[str, Any], line: bytes) -> Iterator[Notice | RequestRefused]:
        """Yield the notices in a message about the session, and refusals of requests.

        `line` is the message, of which notices quote the beginning. Updates the state of the session: `authSuccess`
        opens it, and a pong ends the wait for its ping and all earlier ones.
        """
        payload = message.get("payload")
        body: Mapping[str, Any] = payload if isinstance(payload, dict) else {}
        action = body.get("action") or message.get("action")
        kind = message.get("type")
        request = request_of(message)
        if kind == "pong" or action == "pong" or (action == "ping" and message.get("message") == "pong"):
            yield from self._pong(request)
        elif action == "authSuccess":
            yield self._opened(body)
        elif action == "refreshAuth":
            self._renew_at = None
            yield TokenWanted()
        elif action in ("authExpired", "authTimeout", "authRequired"):
            yield from self._unauthenticated(str(action), request, body)
        elif action == "error" or is_refusal(body):
            yield self._refusal(request, body)
        elif kind == "response" and request == self._auth_id and self._auth_sent is not None:
            # As in the vendor's client: any other answer to the token than `authSuccess` is a refusal (§2.2).
            yield self._refusal(request, body)
        elif kind not in ("response", "subscribed", "event"):
            yield Unreadable(f"unknown type {shown(kind)!r}", excerpt(line))
        elif kind == "event":
            yield Unreadable(f"unknown event {shown(action)!r}", excerpt(line))

    def _pong(self, request: str) -> Iterator[Notice]:
        text = request.removeprefix("ping-")
        # A pong without an id (the old form) answers the oldest ping.
        answered = int(text) if text.isdecimal() and len(text) < 18 else min(self._pings, default=0)
        if answered in self._pings:
            for older in [ping for ping in self._pings if ping <= answered]:
                del self._pings[older]
            yield Pong(answered)

    def _opened(self, body: Mapping[str, Any]) -> SessionOpened:
        was_open, self.is_open = self.is_open, True
        self._auth_sent = None
        data = body.get("data")
        ms = number(data.get("expiresIn")) if isinstance(data, dict) and "expiresIn" in data else None
        seconds = ms / 1000 if ms is not None and ms > 0 else None
        if seconds is not None:
            # Never later than three quarters of the life, for sessions shorter than the usual warning.
            self._renew_at = self.now + max(seconds - RENEW_SECONDS, seconds * 0.75)
        return SessionOpened(seconds, is_renewal=was_open)

    def _unauthenticated(self, action: str, request: str, body: Mapping[str, Any]) -> Iterator[Notice]:
        said = shown(body.get("error") or "")
        # Also without an id (assumed): §2.2 has it as the answer to an invalid token.
        is_answer = self._auth_sent is not None and request in {self._auth_id, ""}
        if action == "authRequired" and is_answer and not self.is_open:
            self._auth_sent = None
            yield SessionRefused(said or "authentication required")
        else:
            yield SessionLost(f"{action}: {said}" if said else action, "token")

    def _refusal(self, request: str, body: Mapping[str, Any]) -> Notice | RequestRefused:
        said = body.get("error") or body.get("message") or f"status {shown(body.get('status'))}"
        if self._auth_sent is not None and request in {self._auth_id, ""}:
            self._auth_sent = None
            return SessionRefused(shown(said))
        # Not cut yet: it may name a hundred symbols. `_rejected` cuts it once they are found.
        text = said[:MOST_SAID] if isinstance(said, str) else shown(said)
        return RequestRefused(request, text, is_unknown_symbol(text, shown(body.get("code", ""))))


def request_of(message: Mapping[str, Any]) -> str:
    """Return the id of the request that a message answers: that of the message, else of its payload; "" if it has none.

    Aries documents both places (Aries protocol page, deviation D4).
    """
    payload = message.get("payload")
    return _id(message.get("id")) or (_id(payload.get("id")) if isinstance(payload, dict) else "")


def is_refusal(body: Mapping[str, Any]) -> bool:
    """Return whether `body`, the payload of a message, reports an error (Aries protocol page §3.5 and §3.6).

    It does with the action "error", with an `error` that is not empty, and with a `status` of 400 or more.
    """
    return body.get("action") == "error" or bool(body.get("error")) or (number(body.get("status")) or 0) >= 400


def _id(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""

"""Base class of the sessions on all simulated Aries endpoints: authentication, limits, keep-alive and the envelope.

No I/O: lines in, lines out, time passed in. Lines to send wait in `outbox`; `closing` is the code and reason with which
the connection is closed once they are sent. Source: Aries' protocol page §1, §2, with the choices of §9 (what is not
known about the broker).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from aries_nb.sim.aries import messages
from aries_nb.sim.aries.subscriptions import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aries_nb.sim.settings import SimOptions

__all__ = ["AriesSession", "BadRequestError"]

POLICY_VIOLATION = 1008
NORMAL_CLOSURE = 1000
#: Ids and texts are sent back to the client: these limits keep a frame far below 1 MiB.
MAX_ID_CHARACTERS = 1000
MAX_TEXT_CHARACTERS = 2000


class AriesSession(ABC):
    """The protocol state of one connection to a simulated Aries endpoint. Owned by the server's event loop.

    `now` is market time in Unix s in all methods, `wall` the real one, which limits go by; None for the same. The
    session is opened at a real time. Lines to send wait in `outbox`. `closing` is the close code and reason,
    None while the session goes on. An endpoint is a subclass that implements `_subscribe` and `_unsubscribe`, and
    optionally `_authenticated`, `_answer`, `_ended` and `subscriptions`. `_subscribe`, `_unsubscribe` and `_answer`
    may raise BadRequestError, whose text becomes an error event with the request's id.
    """

    def __init__(self, options: SimOptions, now: float) -> None:
        self.outbox: list[str] = []
        self.closing: tuple[int, str] | None = None
        #: Whether a token is valid at a time (Unix s); the server replaces it with the rule of its token issuer.
        self.accepts: Callable[[str, float], bool] = lambda token, _: options.token in (None, token)
        self.auths = self.subscribe_requests = self.unsubscribe_requests = 0
        self._options = options
        self._opened = now
        self._wall = self._last_received = now
        self._expires: float | None = None
        self._is_warned = False

    @property
    def is_authenticated(self) -> bool:
        """Whether a token of the client was accepted and its session has not expired or ended."""
        return self._expires is not None and self.closing is None

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """Return the present subscriptions in the protocol's names, by symbol or topic; none in this base class."""
        return {}

    def receive(self, frame: str | bytes, now: float, wall: float | None = None) -> None:
        """Process one frame of the client at `now` (Unix s): one JSON object, or several joined by newlines.

        Any frame restarts the idle time, after which `tick` ends the session. Source: Aries' protocol page
        §1.3.
        """
        self._last_received = self._wall = now if wall is None else wall
        try:
            text = frame if isinstance(frame, str) else frame.decode()
        except UnicodeDecodeError:
            self._refuse("the frame is not UTF-8", now)
            return
        for line in text.split("\n"):
            if line.strip() and self.closing is None:
                self._receive_line(line, now)

    def tick(self, now: float, wall: float | None = None) -> None:
        """Check the session's time limits; warn before the expiry, and end the session after it."""
        if self.closing is not None:
            return
        options = self._options
        wall = now if wall is None else wall
        if self._expires is None:
            if wall - self._opened >= options.auth_seconds:
                self._end("authTimeout", "not authenticated in time", now)
        elif wall >= self._expires:
            self._end("authExpired", "session expired", now)
        elif not self._is_warned and wall >= self._expires - _warned_before(options):
            self._is_warned = True
            left = {"expiresIn": round((self._expires - wall) * 1000)}
            self.outbox.append(messages.control("refreshAuth", int(now * 1000), data=left))
        if self.closing is None and wall - self._last_received >= options.idle_seconds:
            self.close(NORMAL_CLOSURE, f"idle for {options.idle_seconds:g} s")

    def close(self, code: int, reason: str) -> None:
        """End the session with a close code and reason; only the first call has an effect.

        Lines that wait in `outbox` are still sent.
        """
        if self.closing is None:
            self.closing = (code, reason)
            self._ended()

    # For subclasses.

    def _authenticated(self, now: float) -> None:  # noqa: B027 - optional
        """Hook of subclasses, called once, when the session's first token was accepted.

        The reply `authSuccess` is in `outbox` already; an override may append further lines. This base class
        does nothing.
        """

    @abstractmethod
    def _subscribe(self, payload: object, ident: str | None, now: float) -> None:
        """Process a subscribe message of an authenticated client, and append the answers to `outbox`.

        `ident` is the message's id, None if it has none. May raise BadRequestError.
        """

    @abstractmethod
    def _unsubscribe(self, payload: object, ident: str | None, now: float) -> None:
        """Process an unsubscribe message of an authenticated client, and append the answers to `outbox`.

        `ident` is the message's id, None if it has none. May raise BadRequestError.
        """

    def _answer(self, method: str, path: str) -> dict[str, Any]:  # noqa: ARG002 - for a subclass that has paths
        """Return the payload of the response to a client's request; `method` is in upper case, such as "GET".

        The caller sends it. In this base class it is status 404 for every path.
        """
        return {"status": 404, "error": "unknown path", "code": "NOT_FOUND"}

    def _ended(self) -> None:  # noqa: B027 - optional
        """Release all subscriptions; called once, when the session has ended or its connection is closed.

        This base class has none and does nothing.
        """

    # Answers.

    def _conclude(self, complaints: Iterable[str], ident: str | None, now: float, *, is_acked: bool = True) -> None:
        """Answer a subscribe or unsubscribe: with an error event that lists the complaints, if there are any.

        Otherwise with an acknowledgement, if the option `ack_subscribes` is set and `is_acked` is True, else not at
        all. That the broker acknowledges is assumed (Aries' protocol page §3.2). `ident` is the request's id.
        """
        text = "; ".join(dict.fromkeys(complaints))
        if text:
            self._refuse(text, now, ident)
        elif is_acked and self._options.ack_subscribes:
            self.outbox.append(messages.response(ident, {"status": 200}))

    def _refuse(
        self, text: str, now: float, ident: str | None = None, *, code: messages.ErrorCode = "BAD_REQUEST"
    ) -> None:
        """Send an error event with this text and code, and the id `ident` of the request (None: no id).

        A text of more than 2000 characters is cut. Source: Aries' protocol page §3.6.
        """
        cut = text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}…"
        self.outbox.append(messages.error(cut, int(now * 1000), code=code, ident=ident))

    def _receive_line(self, line: str, now: float) -> None:
        ident: str | None = None
        try:
            message = _object(json.loads(line))
            ident = _ident(message)
            self._dispatch(message, ident, now)
        except BadRequestError as error:
            self._refuse(str(error), now, ident)
        except (ValueError, RecursionError):
            self._refuse("not a JSON message", now)

    def _dispatch(self, message: dict[str, Any], ident: str | None, now: float) -> None:
        kind = message.get("type")
        payload = message.get("payload")
        if kind == "ping" or (kind is None and message.get("action") == "ping"):
            self.outbox.append(messages.pong(ident))
        elif kind == "request":
            self._request(payload, ident, now)
        elif kind == "subscribe":
            if self._is_allowed(ident, now):
                self.subscribe_requests += 1
                self._subscribe(payload, ident, now)
        elif kind == "unsubscribe":
            if self._is_allowed(ident, now):
                self.unsubscribe_requests += 1
                self._unsubscribe(payload, ident, now)
        else:
            raise BadRequestError("unknown type of message")

    def _request(self, payload: object, ident: str | None, now: float) -> None:
        if not isinstance(payload, dict):
            raise BadRequestError("payload must be an object")
        method, path = payload.get("method"), payload.get("path")
        if not isinstance(method, str) or not isinstance(path, str):
            raise BadRequestError("method and path are required")
        if path == "/auth" and method.upper() == "POST":
            self._authenticate(payload.get("body"), ident, now)
        elif self._is_allowed(ident, now):
            self.outbox.append(messages.response(ident, self._answer(method.upper(), path)))

    def _authenticate(self, body: object, ident: str | None, now: float) -> None:
        token = body.get("token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token.strip():
            self._refuse("token is required", now, ident, code="UNAUTHENTICATED")
            return
        if not self.accepts(token, self._wall):
            self._refuse("authentication failed", now, ident, code="UNAUTHENTICATED")
            self.close(POLICY_VIOLATION, "authentication failed")
            return
        is_first = self._expires is None
        self.auths += 1
        self._expires = self._wall + self._options.session_seconds
        self._is_warned = False
        expires_ms = round(self._options.session_seconds * 1000)
        self.outbox.append(messages.auth_success(self._options.auth_reply, ident, expires_ms, int(now * 1000)))
        if is_first:
            self._authenticated(now)

    def _is_allowed(self, ident: str | None, now: float) -> bool:
        if self._expires is None:
            text = messages.control("authRequired", int(now * 1000), ident=ident, error="authentication required")
            self.outbox.append(text)
            return False
        return True

    def _end(self, action: str, text: str, now: float) -> None:
        self.outbox.append(messages.control(action, int(now * 1000), error=text))
        self.close(POLICY_VIOLATION, text)


def _warned_before(options: SimOptions) -> float:
    """Return how many seconds before its end a session is warned of it."""
    is_within = options.warn_seconds < options.session_seconds
    return options.warn_seconds if is_within else options.session_seconds / 2


def _object(message: object) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise BadRequestError("a message must be a JSON object")
    return message


def _ident(message: dict[str, Any]) -> str | None:
    ident = message.get("id")
    if ident is not None and not isinstance(ident, str):
        raise BadRequestError("id must be a string")
    if ident is not None and len(ident) > MAX_ID_CHARACTERS:
        raise BadRequestError("id is too long")
    return ident

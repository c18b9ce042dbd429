"""An ALOR session on one connection: tokens, requests and replies, keepalive (ALOR protocol page §2.3, §3.2, §8).

There is no login message: the token is in every request, so the session is open once the server has accepted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.json import encode

from aries_nb.brokers.alor.tokens import expiry_of
from aries_nb.brokers.parsing import RequestRefused, excerpt, is_unknown_symbol, number, shown
from aries_nb.model import (
    Notice,
    Pong,
    Rejected,
    Secret,
    SessionLost,
    SessionOpened,
    SessionRefused,
    TokenWanted,
    Unreadable,
)

__all__ = ["AlorSession", "Request"]

PING_SECONDS = 20.0  # protocol page §16.5: 5 to 30 s
PONG_SECONDS = 10.0
REPLY_SECONDS = 10.0  # assumed; the one client that waits gives it 3 s, which long histories would exceed (§9)
RENEW_SECONDS = 300.0  # before a token ends
UNKNOWN_LIFE_SECONDS = 1_500.0  # §16.5: a token is to be renewed at 25 min where it does not name its end
SHORTEST_PAUSE_SECONDS = 0.5  # between two requests for a token, while the source has no newer one
UNAUTHORIZED = 401
NOT_FOUND = 404  # of a subscription: there is no such instrument (assumed, U3)


class Request(Struct, gc=False):
    """A request without a reply yet, sent at `since` (s, monotonic) for the stream with the id `guid`.

    `number` counts requests and pings together. `body` is the request without token. `is_retry`: it was sent again with
    a fresh token. `needs_token`: it was refused for its token and is sent again once there is a fresh one.
    """

    number: int
    guid: str
    body: dict[str, Any]
    since: float
    is_retry: bool = False
    needs_token: bool = False

    @property
    def is_subscription(self) -> bool:
        """Whether the request subscribes to a stream, as opposed to ending one."""
        return bool(self.body["opcode"] != "unsubscribe")


class AlorSession:
    """State of an ALOR session on one connection: token, frames to send, unanswered pings, requests without a reply."""

    DERIVED: ClassVar[tuple[str, ...]] = ("_out",)

    def __init__(self) -> None:
        self.is_open = False
        self.has_received = False  # set by the connection for each frame: any frame shows that the server is alive
        self.count = 0
        self.notices: list[Notice] = []
        self.refused: list[RequestRefused] = []  # by guid; the connection takes them
        self._now = 0.0
        self._token = Secret("")
        self._out: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self.is_asked = False  # whether there was a token on this connection
        self._requests: dict[int, Request] = {}
        self._numbers: dict[str, list[int]] = {}
        self._answered: dict[float, float] = {}  # sending time of requests → time of the latest reply to one of them
        self._pings: dict[int, float] = {}
        self._held: list[int] = []
        self._last_received_at = self._now
        self._next_ping = self._now + PING_SECONDS
        self._is_token_wanted = False
        self._renew_at: float | None = None
        self._is_end_known = False
        self._ends_at: float | None = None  # the end of the current token, by our clock

    def open(self, now: float) -> None:
        """Reset for a new connection at time `now` (s, monotonic).

        Request numbers continue, so that a late answer cannot match a new ping.
        """
        self.is_open = False
        self._now = now
        self._out.clear()
        self.notices.clear()
        self.refused.clear()
        self._forget()

    def missed(self, count: int) -> None:
        """Go on after messages that were not received, `count` being the number of the newest request or ping."""
        self.count = count
        self._requests.clear()
        self._numbers.clear()
        self._answered.clear()
        self._pings.clear()
        self._held.clear()

    def derive(self, _: object) -> None:
        """Make what a noted state has not: messages may have the token."""
        self._out = []

    def outgoing(self) -> Sequence[str]:
        """Return the queued frames in the order of sending, and clear the queue."""
        frames, self._out = self._out, []
        return frames

    def authenticate(self, token: str, now: float) -> bool:
        """Use a token for all further requests; return whether it is the first on this connection.

        Requests refused for their token are sent again with it. `now` is in seconds of a monotonic clock. If the
        session is open and the token is another one than before, a notice of the renewal and a ping are queued too.
        """
        is_first, is_new = not self.is_asked, token != self._token.reveal()
        self._now = now
        self._token = Secret(token)
        self.is_asked = True
        self._is_token_wanted = False
        if is_first or is_new or self._ends_at is None:
            self._is_end_known = False
            self._renew_at = now + UNKNOWN_LIFE_SECONDS
        else:
            self._plan(self._ends_at - now)  # the source still considers it fresh: it is asked again before the end
        if self.is_open and is_new:
            self.notices.append(SessionOpened(None, is_renewal=True))
        again = [request for request in self._requests.values() if request.needs_token]
        for request in again:
            request.needs_token, request.is_retry, request.since = False, True, now
            self._send(request.body, request.guid)
        if again or (self.is_open and is_new):
            self.ping()  # its answer shows that the token is valid, and the time
        return is_first

    def request(self, body: dict[str, Any], guid: str) -> int:
        """Queue a request about the stream with the id `guid`, to which the server replies; return its number.

        `body` is the request as a JSON object, without guid and token, which are added. Requests and pings are numbered
        together.
        """
        self.count += 1
        self._requests[self.count] = Request(self.count, guid, body, self._now)
        self._numbers.setdefault(guid, []).append(self.count)
        self._send(body, guid)
        return self.count

    def ping(self) -> int:
        """Queue a ping and return its number.

        ALOR protocol page §8.3: undocumented, but the broker's own terminal sends it.
        """
        self.count += 1
        self._pings[self.count] = self._now
        self._next_ping = self._now + PING_SECONDS
        self._send({"opcode": "ping", "confirm": True}, f"ping-{self.count}")
        return self.count

    def tick(self, now: float) -> list[Notice]:
        """Queue a ping when it is due at time `now` (s, monotonic), and return the collected notices.

        Among them is one that asks for a fresh token before the one in use ends. If the server does not answer,
        `SessionLost` alone is returned.
        """
        self._now = now
        if self.has_received:
            self.has_received, self._last_received_at = False, now
        late = [ping for ping, since in self._pings.items() if now - since > PONG_SECONDS]
        if late and now - self._last_received_at > PONG_SECONDS:
            self._pings.clear()
            return [SessionLost(f"no answer to a ping within {PONG_SECONDS:.0f} s", "silence")]
        for ping in late:
            # The server sends, but no pong: it has a long queue, or does not know pings.
            del self._pings[ping]
            self._held.append(ping)
        if self.is_open and self._renew_at is not None and now >= self._renew_at:
            self._renew_at = None
            self._want_token()
        if self.is_asked and now >= self._next_ping:
            self.ping()
        return self.drained()

    def drained(self) -> list[Notice]:
        """Return the collected notices, and clear them."""
        notices, self.notices = self.notices, []
        return notices

    def overdue(self) -> list[Request]:
        """Remove and return the requests that have had no reply for more than 10 s.

        When thousands are sent together, the last is answered late. So the 10 s of a request begin anew with each reply
        to a request sent at the same time or earlier. Requests that wait for a fresh token are not counted.
        """
        late = [
            request
            for request in self._requests.values()
            if self._silence(request) > REPLY_SECONDS and not request.needs_token
        ]
        for request in late:
            self._settle(request)
        if not self._requests:
            self._answered.clear()
        return late

    def forget(self, guid: str) -> None:
        """Remove all pending requests of the stream with the id `guid`.

        Their replies are not awaited any more.
        """
        for sent in self._numbers.pop(guid, ()):
            del self._requests[sent]

    def released(self) -> Iterator[Pong]:
        """Yield the pongs (answers to pings) whose preceding requests all have a reply, and remove them."""
        while self._held:
            first = next(iter(self._requests), None)  # numbers only grow
            free = [ping for ping in self._held if first is None or ping < first]
            if not free:
                return
            self._held = [ping for ping in self._held if ping not in free]
            yield Pong(max(free))

    def answer(self, message: Mapping[str, Any], line: bytes, received: int) -> Request | None:
        """Process the reply `message`; return the subscription request that it accepts, else None.

        A refusal of a subscription is appended to `refused`; what else has to be reported becomes a notice. `line` is
        the frame, of which notices quote the beginning; `received` is in ns since the epoch.
        """
        guid, code = _text(message.get("requestGuid", message.get("guid"))), number(message.get("httpCode"))
        if code is None or code != code:
            # A server may answer a ping with its echo (§8.3).
            if guid.removeprefix("ping-").isdecimal() and self._pong(guid):
                return None
            self.notices.append(Unreadable("a reply without a code", excerpt(line)))
            return None
        self._plan_renewal(received)
        said = shown(message.get("message") or f"code {code:.0f}")
        if code == UNAUTHORIZED:
            self._unauthorized(guid, said)
            return None
        if not self.is_open:
            self.is_open = True
            self.notices.append(SessionOpened(None, is_renewal=False))
        if self._pong(guid):
            return None
        request = self._next(guid)
        if request is not None:
            self._answered[request.since] = self._now
            self._settle(request)
        if 200 <= code < 300:
            return request if request is not None and request.is_subscription else None
        if request is None:
            self.notices.append(Rejected((), said))
        elif request.is_subscription:
            is_unknown = code == NOT_FOUND or is_unknown_symbol(said, code)
            self.refused.append(RequestRefused(guid, said, is_unknown))
        return None

    def _unauthorized(self, guid: str, said: str) -> None:
        """Process a reply 401 (ALOR protocol page §2.3) whose text is `said`.

        `guid` is that of the request or ping, "" if the reply names none. Before the session is open, the notice is
        `SessionRefused`. Later the request is sent again once, with a fresh token, for which a notice asks. A reply to
        no known request ends the session if it has no guid, else it is ignored.
        """
        if not self.is_open:
            self.notices.append(SessionRefused(said))
            return
        if not guid:
            self.notices.append(SessionLost(f"the server refuses the token: {said}", "token"))
            return
        if self._pong(guid):  # the requests before it were processed, even if the token is refused
            self._want_token(is_refused=True)
            return
        request = self._next(guid)
        if request is None:
            return
        if request.is_retry:
            self._settle(request)
            self.refused.append(RequestRefused(guid, said))
        else:
            request.needs_token = True
            self._want_token(is_refused=True)

    def _pong(self, guid: str) -> bool:
        text = guid.removeprefix("ping-")
        if text == guid or not text.isdecimal() or len(text) > 18:
            return False
        if int(text) in self._pings:
            for older in [ping for ping in self._pings if ping <= int(text)]:
                del self._pings[older]
            self._held.append(int(text))
        return True

    def _want_token(self, *, is_refused: bool = False) -> None:
        if not self._is_token_wanted:
            self._is_token_wanted = True
            self.notices.append(TokenWanted(is_refused))

    def _plan_renewal(self, received: int) -> None:
        """Plan when to ask for a fresh token, at the first answer after the one in use was sent.

        Later calls for the same token do nothing. `received` is when the answer came, in ns since the epoch; with it
        the end of the token is converted to this machine's monotonic clock.
        """
        if self._is_end_known:
            return
        self._is_end_known = True
        end = expiry_of(self._token.reveal())
        left = None if end is None else end - received / 1e9
        self._ends_at = None if left is None else self._now + left
        if left is not None:
            self._plan(left)

    def _plan(self, left: float) -> None:
        """Plan when to ask for a fresh token, given that the one in use ends in `left` seconds.

        That is 5 min before the end, or after three quarters of `left` if that is later, and in 0.5 s at the earliest.
        An expired token (`left` of 0 or less) is not renewed by plan, but when the server refuses it.
        """
        pause = max(left - RENEW_SECONDS, left * 0.75, SHORTEST_PAUSE_SECONDS)
        # No schedule for an expired token: the next refusal asks for another one.
        self._renew_at = self._now + pause if left > 0 else None

    def _next(self, guid: str) -> Request | None:
        """Return the oldest pending request of the stream `guid`, to which the next reply belongs; None for none.

        Requests that wait for a fresh token are left out.
        """
        sent = [self._requests[each] for each in self._numbers.get(guid, ())]
        return next((request for request in sent if not request.needs_token), None)

    def _silence(self, request: Request) -> float:
        """Return the seconds since the latest reply to a request sent at the same time as this one or earlier.

        Without such a reply, and if it came before this request was sent, they count from the sending of this request.
        """
        answers = (at for since, at in self._answered.items() if since <= request.since)
        return self._now - max((request.since, *answers))

    def _settle(self, request: Request) -> None:
        del self._requests[request.number]
        left = self._numbers[request.guid]
        left.remove(request.number)
        if not left:
            del self._numbers[request.guid]

    def _send(self, body: Mapping[str, Any], guid: str) -> None:
        self._out.append(encode({**body, "guid": guid, "token": self._token.reveal()}).decode())


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""

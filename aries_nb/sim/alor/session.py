"""One client's session on the simulated `/ws` of ALOR: checks of its requests, replies, subscriptions.

No I/O: texts in, texts out, time passed in. Frames to send wait in `outbox`. A history is an iterator over the frames
that a new subscription gets before live updates; histories wait in `histories` until there is room for their frames.
`closing` is the close code and reason once the session has ended; `is_cut` means that the connection ends without a
close frame. Source: ALOR's protocol page §16.1, whose order the checks have, with the choices of §15 for what is not
known about the broker.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from aries_nb.sim.alor.messages import HANDLED, reply
from aries_nb.sim.alor.requests import OPCODES, PORTFOLIO_KINDS, RefusedError, read_request
from aries_nb.sim.alor.subscriptions import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.sim.alor.feed import AlorFeed
    from aries_nb.sim.alor.instruments import Security
    from aries_nb.sim.alor.portfolios import Portfolios
    from aries_nb.sim.alor.requests import Kind, SubscribeRequest
    from aries_nb.sim.alor.settings import AlorOptions
    from aries_nb.sim.alor.tokens import Bearer, TokenService

__all__ = ["AlorSession", "Backend"]

POLICY_VIOLATION = 1008
BAD_TOKEN = "Invalid JWT token!"  # noqa: S105 - the broker's text
#: Frames of a history that are made at once, before checking whether the client reads.
EAGER_FRAMES = 100


class Backend(Protocol):
    """What a session needs of the simulated ALOR server (an interface)."""

    feed: AlorFeed
    portfolios: Portfolios
    tokens: TokenService

    def admit(self, session: AlorSession, subject: str) -> bool:
        """Return whether the user of a token, its `subject`, may have one more connection, that of `session`.

        Called once for each session, with its first accepted token. Nothing is recorded: after True the session
        sets its own `subject`, by which its connection is counted until it closes.
        """


class AlorSession:
    """The protocol state of one connection to the simulated ALOR. Owned by the server's event loop.

    `now` is market time in Unix s in all methods, `wall` the real one, which limits go by; None for the same. The
    session is opened at a real time. Frames to send wait in `outbox`; `histories` are iterators over the
    frames that new subscriptions get before live updates. `closing` is the close code and reason, None while the
    session goes on.
    """

    def __init__(self, options: AlorOptions, backend: Backend, now: float) -> None:
        self.outbox: deque[str] = deque()
        self.histories: deque[Iterator[str]] = deque()
        self.closing: tuple[int, str] | None = None
        self.is_cut = False
        self.subject: str | None = None
        self.subscribe_requests = self.unsubscribe_requests = self.refused_tokens = 0
        self._options = options
        self._backend = backend
        self._open: dict[str, tuple[Subscription, Security | None]] = {}
        self._expires: float | None = None
        self._request_budget, self._budget_time = options.request_rate or 0.0, now
        self._ended_sent = self._ended_held_back = 0

    @property
    def is_authenticated(self) -> bool:
        """Whether a token of the client was accepted and the session has not ended."""
        return self.subject is not None and self.closing is None

    @property
    def held_back(self) -> int:
        """Number of states, of all subscriptions of this session, that a newer one replaced before they were sent."""
        return self._ended_held_back + sum(each.held_back for each, _ in self._open.values())

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """Return the present subscriptions by guid: the request of each, and how many states were sent and held back.

        A state that a newer one replaces before it is sent is held back.
        """
        return {guid: subscription.statistics() for guid, (subscription, _) in self._open.items()}

    def receive(self, frame: str | bytes, now: float, wall: float | None = None) -> None:
        """Process one message of the client at `now` (Unix s). Replies are appended to `outbox`, the frames to send.

        Does nothing once the session has ended.
        """
        if self.closing is not None:
            return
        guid = ""
        try:
            message = _read(frame)
            guid = message["guid"] if isinstance(message.get("guid"), str) else ""
            self._dispatch(message, guid, now, now if wall is None else wall)
        except RefusedError as refused:
            if refused.code == 401:
                self.refused_tokens += 1
                guid = "" if "empty_guid" in self._options.faults else guid
            self.outbox.append(reply(guid, refused.code, refused.text))

    def tick(self, now: float, wall: float | None = None) -> None:
        """End the session if its newest token has expired and the option `kill_on_expiry` is set.

        A session without subscriptions goes on.
        """
        wall = now if wall is None else wall
        if self._options.kill_on_expiry and self._expires is not None and wall >= self._expires and self._open:
            self.cut()

    def pull(self, count: int) -> int:
        """Move up to `count` frames from `histories` to `outbox` (frames to send), one of each history in turn.

        Returns how many were moved. A history is an iterator over the frames that a new subscription gets
        before live updates.
        """
        pulled = 0
        while self.histories and pulled < count:
            history = self.histories.popleft()
            frame = next(history, None)
            if frame is not None:
                self.outbox.append(frame)
                self.histories.append(history)
                pulled += 1
        return pulled

    def close(self, code: int, reason: str) -> None:
        """End the session with a close code and reason; only the first call has an effect.

        Frames that wait in `outbox` are still sent.
        """
        if self.closing is None:
            self.closing = (code, reason)
            self.histories.clear()
            for guid in list(self._open):
                self._end(guid)

    def cut(self) -> None:
        """End the session without a close frame, and drop the frames that wait.

        Source: ALOR's protocol page §15 (U16: how the broker ends a connection whose client does not read).
        """
        self.close(1006, "cut off")
        self.outbox.clear()
        self.is_cut = True

    def _dispatch(self, message: dict[str, Any], guid: str, now: float, wall: float) -> None:
        opcode = message.get("opcode")
        if not isinstance(opcode, str) or not opcode:
            raise RefusedError(400, "Request message should contain 'opcode' field!")
        name = opcode.lower()
        if name not in ("ping", "unsubscribe", *OPCODES):
            raise RefusedError(400, f"Unknown opcode '{opcode[:100]}'")
        if "token" not in message:
            raise RefusedError(400, "Request message should contain 'token' field!")
        token = message["token"]
        bearer = self._backend.tokens.read(token, wall) if isinstance(token, str) else None
        if bearer is None:
            raise RefusedError(401, BAD_TOKEN)
        if not guid:
            raise RefusedError(400, "Request message should contain 'guid' field!")
        self._admit(bearer)
        self._count_request(wall)
        if name == "ping":
            self.outbox.append(reply(guid, 200))
        elif name == "unsubscribe":
            self._unsubscribe(guid)
        else:
            self._subscribe(OPCODES[name], message, bearer, now)

    def _admit(self, bearer: Bearer) -> None:
        """Note when the newest token expires; with the first one, count the connection for the token's user.

        It counts until it closes. Raises RefusedError (429), and ends the session, if the user has too many
        connections. Source: ALOR's protocol page §15 (U14: what the connection limit counts).
        """
        self._expires = bearer.expires
        if self.subject is None:
            if not self._backend.admit(self, bearer.subject):
                # The reply is still sent before the connection is closed.
                self.closing = (POLICY_VIOLATION, "too many connections")
                raise RefusedError(429, "Too many connections")
            self.subject = bearer.subject

    def _count_request(self, now: float) -> None:
        """Count one request at `now` (Unix s) against the connection's limit, the option `request_rate` (None: none).

        The number that is left grows by the rate per second, up to one second's worth, but one at least. Raises
        RefusedError (429) if less than one is left; such a request does not count. Source: ALOR's protocol page
        §15 (U15: whether requests are limited).
        """
        rate = self._options.request_rate
        if rate is None:
            return
        self._request_budget = min(max(rate, 1.0), self._request_budget + (now - self._budget_time) * rate)
        self._budget_time = now
        if self._request_budget < 1.0:
            raise RefusedError(429, "Too many requests")
        self._request_budget -= 1.0

    def _unsubscribe(self, guid: str) -> None:
        self.unsubscribe_requests += 1
        if guid not in self._open:
            code = self._options.unknown_guid_code
            self.outbox.append(reply(guid, code, HANDLED if code == 200 else "Subscription not found"))
            return
        last = self._end(guid).last_frame
        self.outbox.append(reply(guid, 200))
        if last and "late_frames" in self._options.faults:
            self.outbox.append(last)

    def _subscribe(self, kind: Kind, message: dict[str, Any], bearer: Bearer, now: float) -> None:
        options, guid = self._options, message["guid"]
        self.subscribe_requests += 1
        is_known = guid in self._open
        if len(self._open) >= options.subscription_limit and not is_known:
            raise RefusedError(429, f"Too many subscriptions, {options.subscription_limit} are allowed")
        request = read_request(kind, guid, message)
        security = self._security(request)
        if security is not None and self._backend.feed.roughness.is_refused(f"{kind} {security.symbol}"):
            text = f"Subscription of {kind} is not available for '{security.symbol}' (simulated: stream_refusals)"
            raise RefusedError(403, text)
        if request.portfolio and request.portfolio not in bearer.portfolios:
            raise RefusedError(403, f"Portfolio '{request.portfolio[:100]}' is not available")
        if is_known:
            if options.duplicate_guid == "refuse":
                raise RefusedError(400, "Subscription with such guid already exists")
            self._end(guid)
        interval = request.frequency_ms / 1000 if options.conflate else 0.0
        subscription = Subscription(request, self._take, interval=interval, faults=options.faults)
        self._open[guid] = (subscription, security)
        opening = self._opening(subscription, security, now)
        frames = list(islice(opening, EAGER_FRAMES))
        self.outbox.extend(frames)
        if len(frames) == EAGER_FRAMES:
            self.histories.append(opening)

    def _security(self, request: SubscribeRequest) -> Security | None:
        """Return the instrument of a request; None for a request about a portfolio.

        For an unknown instrument raises RefusedError (404), or returns None if the option `unknown_instrument`
        is "silent": then no data follow (ALOR's protocol page §15, U3: what the broker does is not known).
        """
        if request.kind in PORTFOLIO_KINDS:
            return None
        found = self._backend.feed.security(request.exchange, request.code, request.board)
        if found is None and self._options.unknown_instrument == "refuse":
            raise RefusedError(404, f"Instrument '{request.exchange}:{request.code[:100]}' is not found")
        return found

    def _opening(self, subscription: Subscription, security: Security | None, now: float) -> Iterator[str]:
        """Return an iterator over a new subscription's first frames: the reply and the present data.

        Live updates follow. A subscription that ends meanwhile gets no further frame. The option `ack_first`
        decides which of both comes first. `security` is the instrument, None for a portfolio.
        """
        guid, is_first = subscription.request.guid, self._options.ack_first
        if is_first:
            yield reply(guid, 200)
        frames: Iterator[str] = iter(())
        if security is not None:
            frames = self._market_opening(subscription, security, now)
        elif subscription.request.kind in PORTFOLIO_KINDS:
            frames = self._portfolio_opening(subscription, now)
        for frame in frames:
            yield frame
            if subscription.is_over:
                return
        if not is_first:
            yield reply(guid, 200)

    def _market_opening(self, subscription: Subscription, security: Security, now: float) -> Iterator[str]:
        feed = self._backend.feed
        yield from map(subscription.frame, feed.channel(security).history(subscription, now))
        feed.subscribe(subscription, security, now)

    def _portfolio_opening(self, subscription: Subscription, now: float) -> Iterator[str]:
        # The list is a snapshot of one moment: changes during its transmission follow it.
        portfolios = self._backend.portfolios
        history = portfolios.history(subscription, now)
        subscription.hold()
        first = next(history, None)
        portfolios.subscribe(subscription)
        if first is not None:
            yield subscription.frame(first)
        yield from map(subscription.frame, history)
        yield from subscription.release()

    def _end(self, guid: str) -> Subscription:
        subscription, security = self._open.pop(guid)
        subscription.is_over = True
        self._ended_held_back += subscription.held_back
        if security is not None:
            self._backend.feed.unsubscribe(subscription, security)
        elif subscription.request.kind in PORTFOLIO_KINDS:
            self._backend.portfolios.unsubscribe(subscription)
        return subscription

    def _take(self, frame: str) -> None:
        if self.closing is None:
            self.outbox.append(frame)


def _read(frame: str | bytes) -> dict[str, Any]:
    if isinstance(frame, bytes):
        raise RefusedError(400, "Request message should be a text")
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "Request message should be a valid JSON") from error
    if not isinstance(message, dict):
        raise RefusedError(400, "Request message should be a JSON object")
    return message

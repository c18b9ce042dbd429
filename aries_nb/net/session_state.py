"""What a session makes of the events of its connection, one after the other, without any I/O.

The state, the records, the gaps and the refusals of a connection are a function of these events. A live session passes
them as they happen, and each is noted in the feed's journal first; a replay passes those of a recording.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from msgspec.json import encode

from aries_nb.brokers import BrokerProtocol
from aries_nb.brokers.parsing import check_words
from aries_nb.brokers.protocol import ResumableProtocol
from aries_nb.errors import FeedError
from aries_nb.model import (
    Cause,
    Checkpoint,
    Checkpointed,
    GapSink,
    MarketStatus,
    Notice,
    Observers,
    Pong,
    Rejected,
    Resumed,
    SessionLost,
    SessionOpened,
    SessionRefused,
    State,
    StatusReport,
    Subscription,
    TokenWanted,
    TradeGap,
)
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.gap_tracking import GapTracker, PingBarriers
from aries_nb.net.intake import Intake, Route
from aries_nb.net.lag import ReadMonitor

__all__ = ["STATE", "SessionState"]

log = logging.getLogger("aries_nb")

STATUS_REPORTS = 1_000

STATE = "state"
"""The event that a session is live: JSON of when it was made, in ns, its changes, and its newest request's number."""


class SessionState(Checkpointed):
    """The state of a connection. Used on the network's thread; any thread may read the attributes without underscore.

    `number` counts the connections to the endpoint `where`, from 1. `error` is what made the session fail, None before;
    `last_error` the text of the latest problem, "" for none. `reconnects` counts the breaks of a live connection,
    `renewals` the renewals of the token on an open one. `status_reports` are the newest 1,000 reports of the market's
    state, oldest first, and the number of all. `rejected` has the refused subscriptions of the current connection,
    `running` those that were requested and not ended.
    `on_trade_gap` may be set to a function that is called on the network's thread with each notice of missing trades,
    before the records that came with the notice are visible. `redact` removes tokens from a text.
    """

    STATE = (
        "state", "error", "last_error", "reconnects", "renewals", "status_reports", "rejected", "running", "_is_live",
        "_made", "_changes",
    )  # fmt: skip

    def __init__(
        self,
        where: str,
        protocol: BrokerProtocol,
        gaps: GapSink,
        arrivals: Arrivals,
        *,
        endpoint: str = "",
        number: int = 1,
        connection: int | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.number, self._where, self._endpoint = number, where, endpoint
        self.connection = arrivals.new_connection() if connection is None else connection
        self._redact_text = redact
        self._arrivals, self._clock = arrivals, arrivals.clock
        self.intake = Intake(protocol, redact, arrivals=arrivals, connection=self.connection)
        self.state: State = "connecting"
        self.error: FeedError | None = None
        self.last_error = ""
        self.reconnects = self.renewals = 0
        self.status_observers = Observers()  # of `status_reports`
        self.status_reports: tuple[Sequence[StatusReport], int] = ((), 0)
        self.rejected: dict[Subscription, Rejected] = {}
        self.on_trade_gap: Callable[[TradeGap, Sequence[Route]], None] = lambda _gap, _routes: None
        self._protocol = protocol
        self.running: dict[Subscription, None] = {}
        self._gap_tracker = GapTracker(self.intake, gaps, self._clock, lambda: self.running)
        self._barriers = PingBarriers()
        self._observers = Observers()
        self.read_monitor = ReadMonitor(self.intake, where, self._observers.notify, self._clock)
        self._is_live = False  # the session on this connection was opened
        self._changes = 0  # connections and requests since it was made
        if not arrivals.is_replay:
            arrivals.sessions.append(self)
        with arrivals.event(self.connection, "session", (endpoint, number)) as made:
            self._made = made

    @property
    def endpoint(self) -> str:
        """The name of its endpoint in the journal."""
        return self._endpoint

    def noted(self, counted: object = None) -> Checkpoint | None:  # noqa: ARG002
        """Return what a recording notes of its state, to be packed at once; None in the middle of a frame."""
        if self.intake.is_unfinished:
            return None
        parts = {name: {each: getattr(part, each) for each in part.STATE} for name, part in self._parts.items()}
        return {"own": {name: getattr(self, name) for name in self.STATE}, "protocol": self._protocol, **parts}

    @property
    def _parts(self) -> dict[str, Checkpointed]:
        return {"intake": self.intake, "gaps": self._gap_tracker, "reads": self.read_monitor}

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the network's thread whenever the state of the session changes.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    # The events.

    def connected(self, now: float) -> None:
        """Begin with a new connection at `now` (s, monotonic): its login follows."""
        if self.running:  # for a replay of which the beginning was deleted
            with self._arrivals.event(self.connection, "again", (self._endpoint, self.number, list(self.running))):
                pass
        with self._arrivals.event(self.connection, "open", now):
            self._changes += 1
            self._is_live = False
            self._protocol.open(now)

    def authenticate(self, token: str, now: float) -> None:
        """Queue the message that logs in with `token` at `now` (s, monotonic), which no journal gets."""
        with self._arrivals.event(self.connection, "authenticate", now):
            self._protocol.authenticate(token, now)

    def take(self, unread: deque[bytes], is_over: Callable[[], bool]) -> bool:
        """Take frames of `unread`, the oldest first: many by columns, else one after the other until `is_over`.

        Returns whether there were notices, so that there may be something to send.
        """
        intake = self.intake
        has_notices = False
        received = self._begin_frame()
        try:
            for _ in range(intake.take_columns(unread, received)):
                notices = intake.take(unread[0], received)
                for notice in notices:
                    self._handle(notice)
                has_notices = has_notices or bool(notices)
                if intake.is_unfinished:
                    break
                unread.popleft()
                if is_over():
                    break
                received = self._begin_frame()
        finally:
            self._end_frames()
        return has_notices

    def _begin_frame(self) -> int:
        """Do what is due before the next frames, which sees all that was taken, and hold the clock at now."""
        self._clock.held = None
        received = self._clock.now_ns()
        if self._arrivals.timer.is_new(received):
            self.publish()
        self._arrivals.timer.run(received)
        self._clock.held = received
        return received

    def _end_frames(self) -> None:
        """Let the clock run."""
        self._clock.held = None

    def publish(self) -> None:
        """Make all records taken so far visible."""
        self.intake.publish()

    def ponged(self, ping: int) -> None:
        """Process the answer to a ping of the WebSocket protocol: publish waiting first rows, then handle a `Pong`.

        A subscription that joined a running stream may see no frame for hours, so its first rows do not wait for one.
        """
        with self._arrivals.event(self.connection, "pong", ping) as received:
            for notice in self.intake.take_more(received):
                self._handle(notice)
            self.publish()
            self._handle(Pong(ping))

    def tick(self, now: float) -> Sequence[SessionLost]:
        """Have the protocol check its time limits at `now` (s, monotonic); return what ends the connection."""
        lost: list[SessionLost] = []
        self._note_state()
        with self._arrivals.event(self.connection, "tick", now):
            for notice in self._protocol.tick(now):
                if isinstance(notice, SessionLost):
                    lost.append(notice)
                else:
                    self._handle(notice)
        self._arrivals.ticked()
        return lost

    def _note_state(self) -> None:
        """Note which session is live, with how many changes: a replay goes on from here where events are missing."""
        protocol = self._protocol
        is_plain = self.state == "live" and not self.intake.is_unfinished
        if self._arrivals.is_noting and is_plain and isinstance(protocol, ResumableProtocol):
            with self._arrivals.event(self.connection, STATE, (self._made, self._changes, protocol.request_number)):
                pass

    def add(self, routes: Sequence[Route]) -> int:
        """Add routes, and request the streams that had none; return the number of the ping behind, 0 for none.

        Raises UsageError, and adds nothing, for a subscription with text that cannot be encoded.
        """
        check_words([route.subscription for route in routes])
        new = self.intake.attach(routes)
        for subscription in new:
            self.rejected.pop(subscription, None)
        return self.request(new) if new else 0

    def request(self, subscriptions: Sequence[Subscription]) -> int:
        """Request streams, without any only a ping; return its number, 0 if the session is not open."""
        with self._arrivals.event(self.connection, "subscribe", subscriptions):
            self._changes += bool(subscriptions)
            self.running.update(dict.fromkeys(subscriptions))
            return self._protocol.subscribe(subscriptions)

    def remove(self, routes: Sequence[Route]) -> None:
        """Remove routes, and end the streams that have none left."""
        gone = self.intake.detach(routes)
        for subscription in gone:
            self.rejected.pop(subscription, None)
        if gone:
            self.end(gone)

    def end(self, subscriptions: Sequence[Subscription]) -> None:
        """Request the end of streams."""
        with self._arrivals.event(self.connection, "unsubscribe", subscriptions):
            self._changes += 1
            for each in subscriptions:
                self.running.pop(each, None)
            self._protocol.unsubscribe(subscriptions)

    def suspect(self, seconds: float) -> bool:
        """Begin a gap after this process stalled for `seconds`; return whether one began.

        It ends as filled if the server answers a ping that is sent afterwards, which `expect` is given.
        """
        if self.state != "live":
            return False
        with self._arrivals.event(self.connection, "stall", seconds):
            self.state = "reconnecting"
            self.last_error = f"this process stood still for {seconds:.0f} s"
            self._gap_tracker.suspected(self.last_error)
            log.info("%s: %s", self._where, self.last_error)
            self._observers.notify()
        return True

    def expect(self, ping: int) -> None:
        """Have the answer to a ping, or to a later one, show that the connection is intact after a stall."""
        with self._arrivals.event(self.connection, "expect", ping):
            self._gap_tracker.set_barrier(ping)

    def interrupted(self, reason: str, cause: Cause) -> None:
        """Record that the connection broke, and begin a gap.

        `reason` is a text for users, `cause` the kind of break, as shown in `feed.gaps`.
        """
        reason = self._redact_text(reason)
        with self._arrivals.event(self.connection, "lost", (reason, cause)):
            self._is_live = False
            self._barriers.release()
            self._gap_tracker.reset()
            if self.state == "live":
                self.reconnects += 1
                self.state = "reconnecting"
                self._gap_tracker.opened(reason, cause)
            # Also where the connection never became live: its records are from before this break.
            self.intake.interrupted()
            self.last_error = reason
            log.info("%s: %s", self._where, reason)
            self._observers.notify()

    def ended(self) -> None:
        """Record that the session is closed."""
        with self._arrivals.event(self.connection, "closed"):
            self.state = "closed"
            self._gap_tracker.closed()
            self._barriers.release()
            self._observers.notify()

    def failed(self, error: FeedError) -> None:
        """Record that the session has failed for good, with the error that the next call of the user raises."""
        with self._arrivals.event(self.connection, "failed", str(error)):
            self.error = error
            self.last_error = str(error)
            self.state = "failed"
            self._barriers.release()
            self._observers.notify()

    # What the notices do.

    def _handle(self, notice: Notice) -> None:
        if isinstance(notice, Pong):
            if self._gap_tracker.is_barrier_passed(notice.number):
                self._completed()
            self._barriers.release(notice.number)
        elif isinstance(notice, SessionOpened):
            self._opened(notice)
        elif isinstance(notice, TokenWanted):
            self._token_wanted(notice)
        elif isinstance(notice, SessionRefused):
            self._refused(notice)
        elif isinstance(notice, SessionLost):
            self._lost(notice)
        elif isinstance(notice, Rejected):
            self.last_error = self._redact_text(notice.reason)
            # For a replay, which offers nothing that was refused; there it follows from the frames.
            self._arrivals.note(self.connection, "refused", encode(notice.subscriptions))
            self.rejected.update(dict.fromkeys(notice.subscriptions, replace(notice, reason=self.last_error)))
            self._observers.notify()
        elif isinstance(notice, Resumed):
            self._gap_tracker.resumed(notice)
        elif isinstance(notice, TradeGap):
            self.on_trade_gap(notice, self.intake.routes(notice.subscription))
        elif isinstance(notice, MarketStatus):
            received = self.intake.last_received
            report = StatusReport(notice.ts or received, received, dict(notice.entries))
            reports, count = self.status_reports
            self.status_reports = ((*reports[1 - STATUS_REPORTS :], report), count + 1)
            self.status_observers.notify()

    def _opened(self, notice: SessionOpened) -> None:
        if notice.is_renewal:
            self.renewals += 1
        else:
            self._is_live = True
            self.rejected.clear()  # everything is asked for again

    def _completed(self) -> None:
        """Set the state to live and end the gap: the server has answered a ping sent after all subscriptions.

        Nothing is missed from here on. An answer that comes after the session has ended changes nothing.
        """
        if self.state in ("live", "closed", "failed"):
            return
        if self._gap_tracker.is_filled:
            self.publish()  # rows are visible before their gap is marked as filled
        self.state = "live"
        self._gap_tracker.completed()
        self._went_live()
        self._observers.notify()

    def _refused(self, notice: SessionRefused) -> None:
        self.last_error = self._redact_text(notice.reason)
        if self._is_live:
            log.warning("the renewal of the session was refused: %s", self.last_error)

    # What a live session does besides: a recording has what came of it.

    def _token_wanted(self, notice: TokenWanted) -> None:
        """Renew the session with a fresh token."""

    def _went_live(self) -> None:
        """Release those who wait for the connection."""

    def _lost(self, notice: SessionLost) -> None:
        """End the connection, as the server does."""

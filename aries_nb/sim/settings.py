"""Options and statistics of the simulated brokers' servers. Options are validated before any socket is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from aries_nb.errors import UsageError
from aries_nb.sim.market.recording import recording_kind
from aries_nb.sim.market.schedule import Schedule, read_plan
from aries_nb.sim.market.troubles import TROUBLES, Roughness, Trouble, read_troubles, trouble_named

__all__ = ["MAX_RATE", "AuthReply", "ServerOptions", "SimOptions", "Statistics"]

AuthReply = Literal["event", "response", "anonymous"]
MAX_RATE = 50_000.0
#: The year 2100, in Unix s.
MOST_SECONDS = 4_102_444_800.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of every simulated broker's server. All times are in s.

    `port` 0 takes a free one. The same `seed` gives the same market. `rate` is the number of events per second over
    all subscribed streams; an event that goes to several clients counts once. `tapes` are Parquet files of recorded
    markets; `speed` is a multiple of their own pace, None plays them as fast as the slowest of their clients reads.
    `token` None accepts every token that is not blank. `queue_limit` is the number of messages that may wait for
    one client before it is disconnected. The market advances every `flush_seconds`. A robot trades `orders_per_s`
    times per second on average in all accounts together, 0 for never. `rough` are the named troubles of
    `market/troubles.py` that happen: none by default. Each happens to each symbol about every `rough_seconds` s, and
    within half of that for the first time. `troubles` happen at set times after the start, each as a text such as
    "halt of AAPL at 20s for 5s". `start` is the market time in Unix s at which the market starts, None for
    the present.

    Raises UsageError if a value is out of range, a recording is missing, or its columns are of no known kind.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    rate: float = 200.0
    tapes: tuple[str | Path, ...] = ()
    speed: float | None = 1.0
    token: str | None = field(default=None, repr=False)
    queue_limit: int = 50_000
    flush_seconds: float = 0.05
    orders_per_s: float = 1.0
    rough: frozenset[Trouble] = frozenset()
    #: The troubles whose description begins with this are not this broker's: its protocol lacks what they are about.
    other_broker: ClassVar[str] = "ALOR"
    rough_seconds: float = 20.0
    troubles: tuple[str, ...] = ()
    start: float | None = None

    def __post_init__(self) -> None:
        self._check("rate", 1.0, MAX_RATE)
        self._check("port", 0, 65_535)
        if self.speed is not None:
            self._check("speed", 1e-6, 1e9)
        self._check("flush_seconds", 0.001, 0.05)
        self._check("queue_limit", 1, 10**9)
        self._check("orders_per_s", 0.0, 1000.0)
        if self.token is not None and not self.token.strip():
            raise UsageError(
                "the token is blank", where=f"{type(self).__name__}.token", advice="Give None to accept any token."
            )
        chosen = read_troubles(self.rough)
        own = frozenset(each for each in chosen if not TROUBLES[each].startswith(self.other_broker))
        object.__setattr__(self, "rough", own)
        self._check("rough_seconds", 0.01, 1e9)
        if self.start is not None:
            self._check("start", 1.0, MOST_SECONDS)
        self._plan(Schedule(), 0.0)
        for path in self.tapes:
            recording_kind(Path(path))

    def roughness(self) -> Roughness:
        """Return the chosen troubles with the source of their times, which count from `start`."""
        made = Roughness(self.rough, self.seed, self.rough_seconds, self.start)
        if self.start is not None:
            self._plan(made.schedule, self.start)
        return made

    def started(self, now: float) -> Self:
        """Return the options with `now` (Unix s) as the start of the market, unless another one was chosen."""
        return replace(self, start=now) if self.start is None else self

    def _plan(self, schedule: Schedule, start: float) -> None:
        for text in self.troubles:
            plan = read_plan(text)
            schedule.add(trouble_named(plan.name, plan.symbol), start, plan.seconds, plan.symbol, after=plan.after)

    def _check(self, name: str, low: float, high: float) -> None:
        value, where = getattr(self, name), f"{type(self).__name__}.{name}"
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UsageError(f"{name} is {value!r}", where=where, advice="Give a finite number.")
        if not low <= value <= high:
            raise UsageError(f"{name} is {value!r}", where=where, advice=f"Give a number from {low:g} to {high:g}.")

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            where = f"{type(self).__name__}.{name}"
            raise UsageError(f"{name} is {value!r}", where=where, advice=f"Use one of: {', '.join(choices)}.")


@dataclass(frozen=True, slots=True)
class SimOptions(ServerOptions):
    """Options of a simulated Aries server; times in s, "protocol page" is Aries' protocol page.

    Limits, warnings and replies are the same on all endpoints; each connection has its own session. A trade sent
    both as trade update and as print counts twice for `rate`. `session_seconds` is the lifetime of an
    authentication; `auth_seconds` the time in which a client must authenticate, `idle_seconds` the time in which it
    must send something. `auth_reply` chooses among the accepted forms of authSuccess (protocol page §2.2): an event
    with `payload.id`, a response with a top-level `id`, or an event without an id. `ack_subscribes` answers
    subscribe and unsubscribe with a response of status 200 (assumed, protocol page §3.2). A client with more than
    `queue_limit` unsent messages is closed with code 1013. A message waits at most `flush_seconds` to share a frame
    with others. `refreshAuth` is sent `warn_seconds` before the expiry, where a session is no longer than that after
    half of it.
    """

    session_seconds: float = 2700.0
    warn_seconds: float = 300.0
    auth_seconds: float = 5.0
    auth_reply: AuthReply = "event"
    ack_subscribes: bool = False
    idle_seconds: float = 120.0

    def __post_init__(self) -> None:
        ServerOptions.__post_init__(self)
        for name in ("session_seconds", "auth_seconds", "idle_seconds"):
            self._check(name, 0.01, 1e9)
        self._check("warn_seconds", 0.0, 1e9)
        self._check_choice("auth_reply", get_args(AuthReply))


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of a simulated server since its start; only `connections_open` and `queued` are present values."""

    connections_total: int = 0
    connections_open: int = 0
    #: Messages of any kind written to a connection.
    messages_sent: int = 0
    frames_sent: int = 0
    #: Successful authentications, renewals on a live connection included.
    auths: int = 0
    subscribe_requests: int = 0
    unsubscribe_requests: int = 0
    #: Events of the market or of a recording, each counted once for any number of clients.
    market_events: int = 0
    #: Rows of all recordings that went to at least one client.
    tape_rows_sent: int = 0
    #: Clients disconnected because too many messages waited for them.
    closed_slow: int = 0
    #: Messages now waiting for all clients together.
    queued: int = 0
    #: Requests refused because of their token.
    refused_tokens: int = 0
    #: States never sent, because a newer one replaced them within the interval that the client requested.
    held_back: int = 0

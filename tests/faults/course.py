"""One schedule, run: a client behind the proxy, a witness that sees the server directly, faults, and then quiet."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aries_nb.brokers import BROKERS
from aries_nb.errors import ConnectError
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.faults import oracle
from tests.faults.faults import Step
from tests.faults.messages import Alor, Aries
from tests.faults.others import Others, hurry
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.brokers import Broker, BrokerProtocol, Endpoint
    from aries_nb.live import Account, LiveBook, LiveFrame, LiveTable
    from aries_nb.sim.settings import ServerOptions
    from tests.faults.messages import Dialect

__all__ = ["ALOR", "ARIES", "BrokenError", "Course", "Ground", "Schedule", "run"]

RULE = BackoffRule(first=0.02, cap=0.15, cap_after_live=0.15)
MANY = 100_000  # rows: nothing of these short runs is evicted
FEW = 20  # rows: nearly everything is
SECONDS = 30.0
MOST_ATTEMPTS = 5
RATE = 400.0


class BrokenError(AssertionError):
    """A condition of every run does not hold."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A broker: its simulator, the reader of its messages, and the subscriptions."""

    name: str
    options: Callable[..., ServerOptions]
    dialect: type[Dialect]
    symbols: tuple[str, str]
    account: str
    pace: dict[str, int] = field(default_factory=dict)


ARIES = Ground("aries", SimOptions, Aries, ("AAPL", "MSFT"), "ACC-1")
ALOR = Ground("alor", AlorOptions, Alor, ("SBER", "GAZP"), "D00001", {"min_interval_ms": 20})


@dataclass(frozen=True, slots=True)
class Schedule:
    """The market's seed and the faults. `with_account`: the user's own streams as well; `with_others`: all others."""

    seed: int
    steps: tuple[Step, ...]
    with_account: bool = False
    with_others: bool = False

    def connections(self, ground: Ground) -> int:
        """The number of endpoints that a client is connected to."""
        others = 2 if ground is ARIES and self.with_others else 0  # charts; news and watchlists are the accounts'
        return 1 + max(self.with_account, others // 2) + others // 2


@dataclass(slots=True)
class Held:
    """The live objects of a client."""

    feed: Feed
    quotes: LiveFrame
    trades: LiveFrame
    few: LiveFrame
    book: LiveBook
    before_few: int  # messages of its symbol that had come before it was asked for
    account: Account | None = None
    others: Others | None = None

    @property
    def tables(self) -> tuple[LiveTable, ...]:
        account = self.account
        return () if account is None else (account.orders, account.positions, account.balances)


class Course:
    """Everything by which a run is judged, once it is quiet."""

    def __init__(self, ground: Ground, schedule: Schedule, stack: ExitStack) -> None:
        self.ground = ground
        self.schedule = schedule
        options = ground.options(rate=RATE, seed=schedule.seed, orders_per_s=40.0 if schedule.with_account else 0.0)
        self.sim = stack.enter_context(Simulator(options))
        self.proxy = stack.enter_context(FaultProxy(self.sim.url, ground.dialect))
        if schedule.with_others and ground is ARIES:
            hurry(self.sim)
        self.sim.set_market("closed")  # so that both begin with the same state
        self.witness = self._held(stack, self.sim.url)
        self.client = self._held(stack, self.proxy.url)
        self.sim.set_market("open")

    def _held(self, stack: ExitStack, url: str) -> Held:
        source = fixed_token("a token")
        broker = BROKERS[self.ground.name] if url == self.proxy.url else patient(BROKERS[self.ground.name])
        feed = stack.enter_context(Feed(broker, url, source, at_close=lambda closed: None, rule=RULE))
        feed.wait_open(SECONDS)
        one, two = self.ground.symbols
        quotes = feed.quotes(one, two, rows=MANY, **self.ground.pace)
        before_few = sum(1 for _ in oracle.delivered(self, "few", [one]))
        held = Held(
            feed,
            quotes,
            trades=feed.trades(one, two, rows=MANY),
            few=feed.quotes(one, rows=FEW, fields=["ask_price", "bid_price"], **self.ground.pace),
            book=feed.book(one, depth=20, **self.ground.pace),
            before_few=before_few,
        )
        if self.schedule.with_account:
            held.account = feed.account(self.ground.account)
            for table in held.tables:
                self._until(lambda: table._source.is_answered, "the account's state")  # noqa: B023
        if self.schedule.with_others:
            held.others = Others.of(feed, one)
            self._until(lambda: held.others.is_answered, "the state of the other tables")
        return held

    def perform_faults(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Perform all faults, call `meanwhile` during them, then end them."""
        self.proxy.begin(self.schedule.steps)
        meanwhile()
        self._until(lambda: self.proxy.is_done, "every fault to happen")
        self.proxy.calm()

    def judge(self) -> None:
        """Wait until everything has arrived, and raise BrokenError for what does not hold.

        The short time limits of these tests end a connection on a busy machine also when nothing is wrong. Once more
        then: while the market stands still, not all that was missed comes again.
        """
        for _ in range(MOST_ATTEMPTS):
            self.sim.set_market("open")
            self._until(self.is_whole, "every stream to come again")
            connections = len(self.proxy.crossings)
            self.sim.set_market("closed")
            self._until(lambda: self.is_quiet() or len(self.proxy.crossings) > connections, "every message to arrive")  # noqa: B023
            found = self._found()
            if not found:
                return
            if len(self.proxy.crossings) == connections and self.client.feed.state == "live":
                break
        raise BrokenError("\n".join(found))

    def _found(self) -> list[str]:
        """The problems once nothing changes any more: the last rows, and HTTP answers, arrive late."""
        deadline = time.monotonic() + (6.0 if self.schedule.with_account else 3.0)
        while (found := list(oracle.problems(self))) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def is_whole(self) -> bool:
        """Whether the client is live on open connections and has received a message of every stream on them."""
        running = [each for each in list(self.proxy.crossings) if not each.ended]
        delivered = [{line.key for line in list(crossing.delivered)} for crossing in running]
        is_complete = len(delivered) == self.schedule.connections(self.ground) and all(delivered)
        return (
            is_complete and self.client.feed.state == "live" and set().union(*delivered) >= oracle.wanted(self.ground)
        )

    def is_quiet(self) -> bool:
        """Whether the client and the witness have everything that the server has sent."""
        sent = self.sim.statistics()
        return self.client.feed.state == "live" and not sent.queued and self.come() >= sent.messages_sent

    def come(self) -> int:
        """The number of messages that came from the server.

        It counts a batch as sent once the socket has taken it, and so not one in which the connection ends.
        """
        passed = sum(len(each.sent) for each in list(self.proxy.crossings))
        return passed + self.witness.feed.stats().messages

    def __str__(self) -> str:
        server = self.sim.statistics()
        ways = [(each.number, len(each.sent), len(each.delivered), each.ended) for each in self.proxy.crossings]
        return f"{server.messages_sent} sent, {ways}, witness {self.witness.feed!r}, client {self.client.feed.stats()}"

    def _until(self, holds: Callable[[], Any], what: str, *, seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline or self.proxy.failure:
                raise BrokenError(f"waited in vain for {what}: {self}; {self.proxy.failure!r}")
            time.sleep(0.005)


def patient(broker: Broker) -> Broker:
    """A broker whose connections have no time limits: on a busy machine a witness must not disconnect."""

    def make(endpoint: Endpoint) -> BrokerProtocol:
        protocol: Any = endpoint.make()
        protocol.tick = lambda now: ()
        return protocol

    changed = {
        name: replace(endpoint, make=partial(make, endpoint))
        for name in ("market", "accounts")
        if (endpoint := getattr(broker, name))
    }
    sources = {name: replace(each, make=partial(make, each)) for name, each in broker.sources.items()}
    return replace(broker, sources=sources, **changed)


def run(ground: Ground, schedule: Schedule) -> None:
    """Run a schedule and judge it. Raises BrokenError."""
    for attempts_left in reversed(range(MOST_ATTEMPTS)):
        with ExitStack() as stack:
            try:
                course = Course(ground, schedule, stack)
            except ConnectError:  # the time limits are short, and nothing has been tried yet
                if attempts_left:
                    continue
                raise
            course.perform_faults()
            course.judge()
            return

"""Thousands of fills through the protocol: what we compute from them equals the broker's own books, to the cent."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.model import TABLE_KEYS, Column, Subscription
from aries_nb.net.intake import Intake, Route
from aries_nb.sim import SimOptions
from aries_nb.sim.accounts.orders import AccountTerms
from aries_nb.sim.aries.accounts import AccountsSession
from aries_nb.store import DerivedFillLog, Table, equity, open_portfolio
from aries_nb.store.valuation import apply_fill
from tests.live.at_rest import close_at_the_quotes
from tests.net.patience import eventually
from tests.sim.trading import NOW, quiet_accounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator
    from aries_nb.sim.accounts.orders import AccountFigures as BrokersBooks
    from aries_nb.sim.accounts.orders import Fill as Execution
    from aries_nb.store import Fill, Portfolio

ACCOUNT = "M"
TERMS = AccountTerms(ACCOUNT, "margin", Decimal(50_000_000), (("AAPL", 100), ("KO", 50)))
SYMBOLS = ("AAPL", "KO", "MSFT", "NVDA", "TSLA")
FILLS_EACH = 10  # between two snapshots
FEE, CENT = Decimal("0.10"), Decimal("0.01")


class Desk:
    """Broker and client with nothing between them but the text of the protocol."""

    def __init__(self) -> None:
        self.accounts = quiet_accounts(terms=(TERMS,))
        self.now = NOW
        self.fills = 0
        self._session = AccountsSession(SimOptions(), self.accounts, self.now)
        self._protocol = BROKERS["aries"].accounts.make()
        self._intake = Intake(self._protocol)
        self.tables: dict[str, Table] = {}
        streams = []
        for kind in ("orders", "positions", "balances"):
            types = self._protocol.COLUMNS[kind]
            columns = [Column(name, type_) for name, type_ in types.items()]
            if kind == "orders":
                self.log = DerivedFillLog(columns)
            followers = (self.log,) if kind == "orders" else ()
            table = self.tables[kind] = Table(columns, (ACCOUNT,), key=TABLE_KEYS[kind], listeners=followers)
            streams.append(Route(Subscription(kind, ACCOUNT, tuple(types)), table, 0))
        self._protocol.open(0.0)
        self._protocol.authenticate("a token", 0.0)
        self._protocol.subscribe(self._intake.attach(streams))
        self.talk()

    def talk(self) -> None:
        """Carry everything that either side has to say to the other until both are silent."""
        while True:
            sent = self._protocol.outgoing()
            for frame in sent:
                self._session.receive(frame, self.now)
            lines, self._session.outbox[:] = list(self._session.outbox), []
            if not lines and not sent:
                break
            if lines:
                self._intake.take("\n".join(lines).encode(), int(self.now * 1e9))
        self._intake.publish()

    def trade(self, rng: Random) -> None:
        """Place a market order of a random size on a random side, and let a moment pass."""
        broker = self.accounts.brokerage
        before = len(broker.fills)
        side = rng.choice(("buy", "sell"))
        broker.place(ACCOUNT, rng.choice(SYMBOLS), side, "market", rng.randrange(1, 100), now=self.now)
        self.fills += max(len(broker.fills) - before, 0)

    def advance(self) -> None:
        """Let a second pass at the broker, and receive its messages."""
        self.now += 1.0
        self.accounts.advance(1.0, self.now)
        self.talk()

    def told(self, kind: str) -> list[dict[str, object]]:
        table = self.tables[kind]
        names = [column.name for column in table.columns]
        return [dict(zip(names, row.values, strict=True)) for row in table.rows()]

    def marks(self) -> dict[str, Decimal]:
        return {symbol: self.accounts.brokerage.mark(symbol) for symbol in SYMBOLS}


class Ledger:
    """An account kept by us from its fills alone: no cash or position of the broker enters it.

    Fills are worked out of average prices that the broker rounds. As prices are whole cents and orders are of fewer
    than 100 shares, what an order has paid in all is known exactly once it is rounded to the cent.
    """

    def __init__(self, books: Portfolio) -> None:
        self.books = books
        self.count = 0
        self._paid: dict[str, Decimal] = {}

    def take(self, fills: Iterable[Fill]) -> None:
        for fill in fills:
            before = self._paid.get(fill.order_id, Decimal(0))
            paid = self._paid[fill.order_id] = (before + fill.quantity * fill.price).quantize(CENT)
            self.books = apply_fill(self.books, fill._replace(price=(paid - before) / fill.quantity, fee=FEE))
            self.count += 1


def opening(desk: Desk) -> Portfolio:
    (balance,) = desk.told("balances")
    held = {row["symbol"]: (row["quantity"], row["average_price"]) for row in desk.told("positions")}
    return open_portfolio(balance["cash"], held)


Sums: TypeAlias = tuple[Decimal, Decimal, dict[str, Decimal]]


class Snapshot(NamedTuple):
    """What each knows at one moment: equity, cash, and the quantity of what is held."""

    ours: Sums  # from fills alone
    told: Sums  # from cash and positions as the broker sends them
    theirs: Sums  # the broker's own books
    told_equity: Decimal


class Day(NamedTuple):
    """A life of trading: its snapshots, our books, and the broker's executions."""

    snapshots: list[Snapshot]
    own: Ledger
    executions: Sequence[Execution]


@pytest.fixture(scope="module", params=[200, pytest.param(1_000, marks=pytest.mark.long)])
def day(request: pytest.FixtureRequest) -> Day:
    """As many snapshots as the parameter says, ten fills before each."""
    desk, rng, snapshots = Desk(), Random(7), []
    own = Ledger(told_books(desk))
    _, known = desk.log.entries()
    for number in range(1, request.param + 1):
        while desk.fills < number * FILLS_EACH:
            desk.trade(rng)
        desk.advance()
        fills, known = desk.log.entries(known)
        own.take(fill for fill, _ in fills)
        marks, broker = desk.marks(), desk.accounts.figures(ACCOUNT)
        (balance,) = desk.told("balances")
        told = sums(told_books(desk), marks)
        snapshots.append(Snapshot(sums(own.books, marks), told, sums_of(broker), balance["equity"]))
    return Day(snapshots, own, desk.accounts.brokerage.fills)


def told_books(desk: Desk) -> Portfolio:
    (balance,) = desk.told("balances")
    held = {row["symbol"]: (row["quantity"], row["average_price"]) for row in desk.told("positions")}
    return open_portfolio(balance["cash"], held)


def sums(books: Portfolio, marks: Mapping[str, Decimal]) -> Sums:
    return equity(books, marks), books.cash, {symbol: held.quantity for symbol, held in books.positions.items()}


def sums_of(broker: BrokersBooks) -> Sums:
    return broker.equity, broker.cash, {each.position.symbol: each.position.quantity for each in broker.positions}


def test_equity_from_our_fills_alone_equals_the_brokers_books_at_each_snapshot(day: Day) -> None:
    different = [(each.ours, each.theirs) for each in day.snapshots if each.ours != each.theirs]

    assert different == []
    assert len(day.snapshots) == len({each.theirs[0] for each in day.snapshots}) >= 200
    assert FILLS_EACH * len(day.snapshots) <= day.own.count == len(day.executions)
    assert day.own.books.fees == sum(each.fee for each in day.executions) == FEE * day.own.count


def test_equity_as_it_is_told_equals_the_brokers_books_at_each_snapshot(day: Day) -> None:
    different = [(each.told, each.theirs) for each in day.snapshots if each.told != each.theirs]

    assert different == []
    assert [each.told_equity for each in day.snapshots] == [each.theirs[0] for each in day.snapshots]


@pytest.fixture
def quiet_sim(serve: Callable[..., Simulator]) -> Simulator:
    """A simulator in which only the test trades."""
    return serve(rate=2000, orders_per_s=0.0)


def test_what_a_user_holds_equals_the_brokers_books_after_every_batch_of_fills(
    quiet_sim: Simulator, open_feed: Callable[..., Feed]
) -> None:
    accounts, rng = quiet_sim._server.accounts, Random(9)
    broker = accounts.brokerage
    account = open_feed(quiet_sim).account("ACC-1")
    live, fills = account.equity.wait(), account.fills
    close_at_the_quotes(quiet_sim, accounts, "ACC-1")
    theirs = lambda: quiet_sim._call(lambda: sums_of(broker.figures("ACC-1")))  # noqa: E731
    is_level = lambda: sums(live.books(), live.marks()) == theirs()  # noqa: E731
    eventually(is_level)
    own, taken, seen = Ledger(live.books()), 0, []

    def trade() -> None:
        for _ in range(40):
            symbol, side = rng.choice(("AAPL", "MSFT", "TSLA")), rng.choice(("buy", "sell"))
            broker.place("ACC-1", symbol, side, "market", rng.randrange(1, 20), now=quiet_sim._server.clock.now)
        accounts.publish(quiet_sim._server.clock.now)

    for _ in range(10):
        quiet_sim._call(trade)
        eventually(lambda: is_level() and len(fills) == quiet_sim._call(lambda: len(broker.fills)))
        entries, taken = fills._source.entries_since(taken)
        own.take(entries)
        seen.append((sums(own.books, live.marks()), theirs()))

    assert 400 <= own.count == len(broker.fills)
    assert [ours for ours, _ in seen] == [wanted for _, wanted in seen]

"""Both of ALOR's connections against the simulated broker: every opcode in every format, the reply last and first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from aries_nb.model import (
    CLEAR,
    PUT,
    TABLE_KEYS,
    Kind,
    Notice,
    Pong,
    Record,
    Rejected,
    SessionOpened,
    SessionRefused,
    Subscription,
    TokenWanted,
)
from aries_nb.sim import Simulator
from aries_nb.sim.alor_settings import AlorOptions
from aries_nb.wire.alor_accounts import AlorAccounts
from aries_nb.wire.alor_connection import AlorConnection
from aries_nb.wire.alor_market import AlorMarket
from tests.wire.alor_lines import BARS, FORMATS, QUOTES, TRADES, Format, every, sent

SECONDS = 8.0
TOKEN = "a-fixed-token"


class Client:
    """A wire on a real socket; what it yields is kept."""

    def __init__(self, url: str, wire: AlorConnection, token: str = TOKEN) -> None:
        self.url = url
        self.wire = wire
        self.records: list[Record] = []
        self.notices: list[Notice] = []
        self.begin(token)

    def begin(self, token: str = TOKEN) -> None:
        self._stack = ExitStack()
        opened = connect(f"{self.url}/ws", compression=None, ping_interval=None, close_timeout=0.1)
        self.socket: ClientConnection = self._stack.enter_context(opened)
        self.wire.open(time.monotonic())
        self.wire.authenticate(token, time.monotonic())
        self.flush()

    def flush(self) -> None:
        for frame in self.wire.outgoing():
            self.socket.send(frame)

    def hear_until(self, is_enough: Any) -> None:
        deadline = time.monotonic() + SECONDS
        while not is_enough():
            frame = self.socket.recv(timeout=max(deadline - time.monotonic(), 0.01), decode=False)
            records, notices = self.wire.receive(frame, time.time_ns())
            self.records += records
            self.notices += notices
            self.flush()

    def subscribe(self, *subscriptions: Subscription) -> None:
        """Ask, and wait until the server has seen it."""
        number = self.wire.subscribe(subscriptions)
        self.flush()
        self.hear_until(lambda: self.pongs(number))

    def sync(self) -> None:
        self.subscribe()

    def pongs(self, number: int) -> bool:
        return any(isinstance(notice, Pong) and notice.number >= number for notice in self.notices)

    def of(self, subscription: Subscription) -> list[Record]:
        return [record for record in self.records if record[0] == subscription]

    def troubles(self) -> list[Notice]:
        return [notice for notice in self.notices if not isinstance(notice, Pong | SessionOpened)]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module", params=[False, True], ids=["reply last", "reply first"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    options = AlorOptions(
        token=TOKEN, ack_first=request.param, rate=2_000.0, orders_per_s=100.0, connection_limit=1_000
    )
    with Simulator(options) as simulator:
        yield simulator.url


@pytest.fixture
def clients(url: str) -> Iterator[Any]:
    made: list[Client] = []

    def make(wire: AlorConnection, **options: Any) -> Client:
        made.append(Client(url, wire, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def market_of(kind: Kind, symbol: str, form: Format) -> Subscription:
    if kind == "instruments":
        return every("instruments", symbol, form)
    fields = {"quotes": QUOTES, "trades": TRADES, "bars": BARS, "book": ()}[kind]
    options = (("interval", "3600"), ("start", str(int(time.time()) - 5 * 86_400))) if kind == "bars" else ()
    least = (("min_interval_ms", "25"),) if kind in ("quotes", "book") else ()
    return Subscription(kind, symbol, fields, (*options, *least))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["quotes", "trades", "book", "bars"])
def test_market_stream_has_its_snapshot_and_goes_on(clients: Any, kind: Kind, form: Format) -> None:
    client = clients(AlorMarket(format=form))
    subscription = market_of(kind, "SBER", form)

    client.subscribe(subscription)
    snapshot = len(client.of(subscription))
    client.hear_until(lambda: len(client.of(subscription)) > snapshot)
    client.wire.unsubscribe([subscription])
    client.flush()
    client.sync()
    ended = len(client.records)
    client.sync()

    assert client.troubles() == []
    assert (snapshot > 0) == (kind != "trades"), "trades have no history at first"
    assert (snapshot > 9) == (kind == "bars"), "the past, an hour a bar"
    assert len(client.records) == ended
    longest = 6 * 86_400 if kind == "bars" else 60
    assert all(0 <= time.time_ns() - ts + 10**9 < longest * 10**9 for _, ts, _ in client.of(subscription))
    assert not any(value is None or value != value for _, _, values in client.records for value in values)


@pytest.mark.parametrize("form", FORMATS)
def test_instrument_has_its_status(clients: Any, form: Format) -> None:
    client = clients(AlorMarket(format=form))
    subscription = market_of("instruments", "SBER", form)

    client.subscribe(subscription)

    row = dict(zip(subscription.fields, client.of(subscription)[0][2][1:], strict=True))
    assert client.troubles() == []
    assert (row["symbol"], row["exchange"], row["board"], row["trading_status"]) == ("SBER", "MOEX", "TQBR", 17)
    assert 0 < row["price_min"] < row["price_max"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "kind", ["orders", "stop_orders", "fills", "positions", "balances", "risks", "derivative_risks"]
)
def test_portfolio_stream_has_its_list_and_no_trouble(clients: Any, kind: Kind, form: Format) -> None:
    client = clients(AlorAccounts(format=form))
    portfolio = "7500001" if kind == "derivative_risks" else "D00001"
    subscription = every(kind, portfolio, form)

    client.subscribe(subscription)
    client.sync()  # what comes with the pong is told with the next frame

    marks = [record[2][0] for record in client.of(subscription)]
    assert client.troubles() == []
    assert marks.count(CLEAR) == (1 if TABLE_KEYS[kind] else 0)
    assert marks[0] == (CLEAR if TABLE_KEYS[kind] else PUT)
    for _, _, values in client.of(subscription)[marks.count(CLEAR) :]:
        row = dict(zip(subscription.fields, values[1:], strict=True))
        assert all(row[name] for name in TABLE_KEYS[kind])


def test_orders_change_while_the_robot_trades(clients: Any) -> None:
    client = clients(AlorAccounts())
    orders, fills, positions = (every(kind, "D00001") for kind in ("orders", "fills", "positions"))

    client.subscribe(orders, fills, positions)
    client.hear_until(lambda: all(len(client.of(each)) > 2 for each in (orders, fills, positions)))

    filled = [dict(zip(fills.fields, values[1:], strict=True)) for _, _, values in client.of(fills) if values[0] == PUT]
    assert client.troubles() == []
    assert all(row["side"] in ("buy", "sell") and row["quantity"] > 0 and row["price"] > 0 for row in filled)
    assert all(isinstance(row["price"], Decimal) for row in filled)


def test_shares_of_another_exchange_are_named_with_it(clients: Any) -> None:
    client = clients(AlorMarket())
    there, here = market_of("quotes", "SPBX:AAPL", "slim"), market_of("quotes", "AAPL", "slim")

    client.subscribe(there)
    client.subscribe(here)

    assert client.of(there)
    assert [type(notice) for notice in client.troubles()] == [Rejected]
    assert client.troubles()[0].symbols == ("AAPL",)


def test_trades_across_a_break_are_whole(clients: Any, url: str) -> None:
    """Another client that is never cut says what there was."""
    tape = Subscription("trades", "SBER", ("trade_id",))
    whole, broken = clients(AlorMarket()), clients(AlorMarket())
    whole.subscribe(tape)
    broken.subscribe(tape)
    broken.hear_until(lambda: len(broken.records) >= 3)
    broken.close()
    whole.hear_until(lambda: whole.records and whole.records[-1][2][0] >= broken.records[-1][2][0])
    reached = len(whole.records)
    whole.hear_until(lambda: len(whole.records) >= reached + 5)

    broken.begin()
    last = whole.records[-1][2][0]
    broken.hear_until(lambda: broken.records[-1][2][0] >= last + 1)
    whole.hear_until(lambda: whole.records[-1][2][0] >= broken.records[-1][2][0])

    ours, theirs = ([record[2][0] for record in client.records] for client in (broken, whole))
    assert ours == sorted(set(ours))
    assert ours == [each for each in theirs if ours[0] <= each <= ours[-1]]


def test_token_of_another_server_is_refused(url: str) -> None:
    client = Client(url, AlorMarket(), token="not-the-token")

    client.hear_until(lambda: client.notices)

    assert client.notices == [SessionRefused("Invalid JWT token!")]
    client.close()


def test_token_that_ends_is_wanted_ahead_and_renewed_without_a_gap(clients: Any, url: str) -> None:
    client = clients(AlorMarket())
    client.subscribe(market_of("quotes", "SBER", "slim"))

    client.wire.authenticate("an-old-token", time.monotonic())
    client.flush()
    client.hear_until(lambda: TokenWanted() in client.notices)
    client.wire.authenticate(TOKEN, time.monotonic())
    client.flush()
    client.subscribe(market_of("book", "SBER", "slim"))

    assert client.of(market_of("book", "SBER", "slim"))
    assert [notice for notice in client.notices if isinstance(notice, Rejected)] == []
    assert sent(client.wire) == []

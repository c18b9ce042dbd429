"""Both of ALOR's connections against the simulated broker: every opcode in every format, the reply last and first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from aries_nb.brokers.alor.account_http import AlorPortfolioHttp
from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.http import AlorHttp
from aries_nb.brokers.alor.lookup import AlorLookup
from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.alor.tokens import REFRESH_PATH, expiry_of, portfolios_in, read_refresh, refresh_body
from aries_nb.brokers.protocol import LookupTopic, Query
from aries_nb.model import (
    CLEAR,
    PUT,
    TABLE_KEYS,
    Counted,
    Kind,
    Notice,
    Pong,
    Record,
    Rejected,
    SessionOpened,
    SessionRefused,
    Subscription,
    TokenWanted,
    Unrequested,
)
from aries_nb.sim import Simulator
from aries_nb.sim.alor.settings import AlorOptions
from tests.brokers.alor.lines import BARS, QUOTES, TRADES, every, sent

SECONDS = 8.0
TOKEN = "a-fixed-token"


class Client:
    """A protocol on a real socket; what it yields is kept."""

    def __init__(self, url: str, protocol: AlorConnection, token: str = TOKEN) -> None:
        self.url = url
        self.protocol = protocol
        self.records: list[Record] = []
        self.notices: list[Notice] = []
        self.begin(token)

    def begin(self, token: str = TOKEN) -> None:
        self._stack = ExitStack()
        opened = connect(f"{self.url}/ws", compression=None, ping_interval=None, close_timeout=0.1)
        self.socket: ClientConnection = self._stack.enter_context(opened)
        self.protocol.open(time.monotonic())
        self.protocol.authenticate(token, time.monotonic())
        self.flush()

    def flush(self) -> None:
        for frame in self.protocol.outgoing():
            self.socket.send(frame)

    def hear_until(self, is_enough: Any) -> None:
        deadline = time.monotonic() + SECONDS
        while not is_enough():
            frame = self.socket.recv(timeout=max(deadline - time.monotonic(), 0.01), decode=False)
            records, notices = self.protocol.receive([frame], time.time_ns())
            self.records += records
            self.notices += notices
            self.flush()

    def subscribe(self, *subscriptions: Subscription) -> None:
        """Ask, and wait until the server has seen it."""
        number = self.protocol.subscribe(subscriptions)
        self.flush()
        self.hear_until(lambda: self.pongs(number))

    def sync(self) -> None:
        self.subscribe()

    def pongs(self, number: int) -> bool:
        return any(isinstance(notice, Pong) and notice.number >= number for notice in self.notices)

    def of(self, subscription: Subscription) -> list[Record]:
        return [record for record in self.records if record[0] == subscription]

    def troubles(self) -> list[Notice]:
        return [
            notice for notice in self.notices if not isinstance(notice, Pong | SessionOpened | Counted | Unrequested)
        ]

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

    def make(protocol: AlorConnection, **options: Any) -> Client:
        made.append(Client(url, protocol, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def market_of(kind: Kind, symbol: str) -> Subscription:
    if kind == "instruments":
        return every("instruments", symbol)
    fields = {"quotes": QUOTES, "trades": TRADES, "bars": BARS, "book": ()}[kind]
    options = (("interval", "3600"), ("start", str(int(time.time()) - 5 * 86_400))) if kind == "bars" else ()
    least = (("min_interval_ms", "25"),) if kind in ("quotes", "book") else ()
    return Subscription(kind, symbol, fields, (*options, *least))


@pytest.mark.parametrize("kind", ["quotes", "trades", "book", "bars"])
def test_market_stream_has_its_snapshot_and_goes_on(clients: Any, kind: Kind) -> None:
    client = clients(AlorMarket())
    subscription = market_of(kind, "SBER")
    asked = time.time_ns()

    client.subscribe(subscription)
    snapshot = len(client.of(subscription))
    client.hear_until(lambda: len(client.of(subscription)) > snapshot)
    client.protocol.unsubscribe([subscription])
    client.flush()
    client.sync()
    ended = len(client.records)
    client.sync()

    assert client.troubles() == []
    assert snapshot > {"trades": -1, "bars": 9}.get(kind, 0), "of bars there is a past, an hour each"
    assert kind != "trades" or min(ts for _, ts, _ in client.records) > asked - 10**9, "of trades there is none"
    assert len(client.records) == ended
    longest = 6 * 86_400 if kind == "bars" else 60
    assert all(0 <= time.time_ns() - ts + 10**9 < longest * 10**9 for _, ts, _ in client.of(subscription))
    assert not any(value is None or value != value for _, _, values in client.records for value in values)


def test_instrument_has_its_status(clients: Any) -> None:
    client = clients(AlorMarket())
    subscription = market_of("instruments", "SBER")

    client.subscribe(subscription)

    row = dict(zip(subscription.fields, client.of(subscription)[0][2][1:], strict=True))
    assert client.troubles() == []
    assert (row["symbol"], row["exchange"], row["board"], row["trading_status"]) == ("SBER", "MOEX", "TQBR", 17)
    assert 0 < row["price_min"] < row["price_max"]


@pytest.mark.parametrize(
    "kind", ["orders", "stop_orders", "fills", "positions", "balances", "risks", "derivative_risks"]
)
def test_portfolio_stream_has_its_list_and_no_trouble(clients: Any, kind: Kind) -> None:
    client = clients(AlorAccounts())
    portfolio = "7500001" if kind == "derivative_risks" else "D00001"
    subscription = every(kind, portfolio)

    client.subscribe(subscription)
    client.sync()  # records that the pong completes come with the next frame

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
    there, here = market_of("quotes", "SPBX:AAPL"), market_of("quotes", "AAPL")

    client.subscribe(there)
    client.subscribe(here)

    assert client.of(there)
    assert [type(notice) for notice in client.troubles()] == [Rejected]
    assert [each.symbol for each in client.troubles()[0].subscriptions] == ["AAPL"]


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
    client.subscribe(market_of("quotes", "SBER"))

    client.protocol.authenticate("an-old-token", time.monotonic())
    client.flush()
    client.hear_until(lambda: TokenWanted(is_refused=True) in client.notices)
    client.protocol.authenticate(TOKEN, time.monotonic())
    client.flush()
    client.subscribe(market_of("book", "SBER"))

    assert client.of(market_of("book", "SBER"))
    assert [notice for notice in client.notices if isinstance(notice, Rejected)] == []
    assert sent(client.protocol) == []


def test_odd_spellings_and_repetitions_are_no_trouble() -> None:
    """Times without zones, trailing zeros, bars sent twice and out of date, frames behind the end of a stream."""
    faults = frozenset({"late_frames", "no_zone", "stale_bars", "trailing_zeros"})
    kinds: tuple[Kind, ...] = ("quotes", "trades", "book", "bars", "instruments")
    with Simulator(AlorOptions(token=TOKEN, faults=faults, rate=2_000.0, orders_per_s=100.0)) as simulator:
        market, accounts = Client(simulator.url, AlorMarket()), Client(simulator.url, AlorAccounts())
        streams = [market_of(kind, "SBER") for kind in kinds]
        tables = [every("orders", "D00001"), every("fills", "D00001")]
        market.subscribe(*streams)
        accounts.subscribe(*tables)
        market.hear_until(lambda: all(market.of(each) for each in streams))
        accounts.hear_until(lambda: all(len(accounts.of(each)) > 2 for each in tables))
        market.protocol.unsubscribe(streams[:1])
        market.sync()
        market.close()
        accounts.close()

    emitted = [ts for _, ts, _ in market.of(streams[3])]
    assert market.troubles() == accounts.troubles() == []
    assert emitted == sorted(emitted)
    assert all(abs(ts - time.time_ns()) < 60 * 10**9 for _, ts, _ in accounts.of(tables[1])[1:])


# HTTP.


def got(url: str, query: Query) -> bytes:
    base = url.replace("ws://", "http://")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(base + query.path, params=dict(query.params), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_bars_of_the_past_agree_with_those_of_the_socket(clients: Any, url: str) -> None:
    client, reference = clients(AlorMarket()), AlorHttp()
    subscription = market_of("bars", "SBER")
    client.subscribe(subscription)
    streamed = {ts: values for _, ts, values in client.of(subscription)}
    start, end = min(streamed), max(streamed)  # the last one is still running

    found = reference.read_bars(got(url, reference.bars("SBER", 3_600, start, end)))

    values = zip(found.open, found.high, found.low, found.close, found.volume, strict=True)
    emitted = dict(zip(found.start_ns, values, strict=True))
    assert {ts: emitted[ts] for ts in emitted if ts < end} == {ts: streamed[ts] for ts in streamed if ts < end}
    assert all(reference.bar_start(ts + 5, 3_600) == ts for ts in emitted)


@pytest.mark.parametrize(
    "kind", ["orders", "stop_orders", "fills", "positions", "balances", "risks", "derivative_risks"]
)
def test_portfolio_can_be_asked_for_as_well(url: str, kind: Kind) -> None:
    reference = AlorPortfolioHttp()
    subscription = every(kind, "7500001" if kind == "derivative_risks" else "D00001")
    query = reference.snapshot(subscription)[0]

    page = reference.read(subscription, query, got(url, query))

    assert page.unreadable == []
    assert page.rows or TABLE_KEYS[kind]


def test_instruments_and_quotes_and_the_time_can_be_looked_up(url: str) -> None:
    lookup = AlorLookup()

    def asked(topic: LookupTopic, **arguments: Any) -> list[dict[str, Any]]:
        facts = [lookup.read(topic, query, got(url, query)) for query in lookup.queries(topic, arguments)]
        return [dict(zip(each.columns, row, strict=True)) for each in facts for row in each.rows]

    quote, instrument = asked("quotes", symbols=("SBER",))[0], asked("instrument", symbol="SBER")[0]
    found, now = asked("search", text="SBER", limit=5), asked("server_time")[0]

    assert quote["symbol"] == instrument["symbol"] == found[0]["symbol"] == "SBER"
    assert 0 < quote["bid_price"] < quote["ask_price"]
    assert (instrument["board"], instrument["lot_size"]) == ("TQBR", 10.0)
    assert abs(now["ts"] - time.time_ns()) < 5 * 10**9


def test_trades_of_a_span_are_asked_for_in_both_places_and_come_once(clients: Any, url: str) -> None:
    client, lookup, tape = clients(AlorMarket()), AlorLookup(), Subscription("trades", "SBER", ("trade_id",))
    client.subscribe(tape)
    client.hear_until(lambda: len(client.of(tape)) >= 5)
    last = client.records[-1][1] // 10**6
    span = {"start_ms": last - 3_600_000, "end_ms": last}

    queries = lookup.queries("trades", {"symbol": "SBER", "count": None, **span})
    past, today = (lookup.read("trades", query, got(url, query)) for query in queries)

    found = [dict(zip(page.columns, row, strict=True)) for page in (past, today) for row in page.rows]
    numbers = [row["trade_id"] for row in found]
    assert queries[0].path.endswith("/alltrades/history")
    assert {values[0] for _, ts, values in client.of(tape) if ts <= last * 10**6} <= set(numbers)
    assert len(numbers) == len(set(numbers))
    assert all(span["start_ms"] - 1_000 <= row["ts"] / 1e6 <= last + 1_000 for row in found)


def test_access_token_is_had_for_a_refresh_token_and_opens_the_session(url: str) -> None:
    answer = httpx.post(
        url.replace("ws://", "http://") + REFRESH_PATH,
        content=refresh_body("sim-refresh"),
        headers={"Content-Type": "application/json"},
    )
    token = read_refresh(answer.content)
    client = Client(url, AlorMarket(), token)

    client.hear_until(lambda: client.notices)
    client.close()

    assert client.notices[0] == SessionOpened(None, is_renewal=False)
    assert portfolios_in(token) == ("D00001", "D00002", "7500001", "E00001")
    end = expiry_of(token)
    assert end is not None
    assert 0 < end - time.time() <= 1_800

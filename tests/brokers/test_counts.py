"""Whatever a server sends, each message of a subscription is a record or is counted: none goes without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers import BrokerProtocol
from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.aries.charts import AriesCharts
from aries_nb.model import PUT, TABLE_KEYS, VENUE_COLUMNS, Counted, Kind, Notice, Subscription
from tests.brokers.alor import lines as alor
from tests.brokers.alor.objects import item
from tests.brokers.aries import account_lines as accounts
from tests.brokers.aries import lines as aries
from tests.brokers.aries.lines import RECEIVED, counts

ROWED = {*TABLE_KEYS, "venues"}  # whose records say whether a row is put, or a list begins
# A message of a server, and of how many rows it is the news, by kind.
Said: TypeAlias = tuple[dict[Kind, int], dict[str, Any]]


class Account:
    """What was sent to each subscription, and what the protocol counted of it: the two are to be the same."""

    def __init__(self, protocol: BrokerProtocol, *subscriptions: Subscription) -> None:
        self.protocol = protocol
        self.listening = dict.fromkeys(subscriptions)
        self.sent: Counter[Subscription] = Counter()
        self.emitted: Counter[Subscription] = Counter()

    def hear(self, frame: bytes, news: dict[Kind, int]) -> None:
        """Let the protocol receive a frame with so many messages of each kind."""
        for each in self.listening:
            self.sent[each] += news.get(each.kind, 0)
        records, notices = self.protocol.receive([frame], RECEIVED)
        for subscription, _, values in records:
            self.emitted[subscription] += subscription.kind not in ROWED or values[0] == PUT
        for notice in notices:
            if isinstance(notice, Counted):  # what is filled is a record without a message
                self.emitted[notice.subscription] += -notice.count if notice.what == "filled" else notice.count

    def toggle(self, subscription: Subscription) -> None:
        """Let a subscription join, or go where it has joined already; what it had is of no interest any more."""
        if subscription in self.listening:
            for known in (self.listening, self.sent, self.emitted):
                known.pop(subscription, None)
            self.protocol.unsubscribe([subscription])
        else:
            self.listening[subscription] = None
            self.protocol.subscribe([subscription])

    @property
    def difference(self) -> dict[Subscription, int]:
        """What was sent without a word about it, or the other way round."""
        return {each: n for each in self.listening if (n := self.sent[each] - self.emitted[each])}


def notices_of(protocol: BrokerProtocol, *frames: bytes) -> list[Notice]:
    return [notice for frame in frames for notice in protocol.receive([frame], RECEIVED)[1]]


def merged(messages: Iterable[Said]) -> dict[Kind, int]:
    total: Counter[Kind] = Counter()
    for news, _ in messages:
        total.update(news)
    return dict(total)


def frames_of(said: st.SearchStrategy[Said]) -> st.SearchStrategy[list[list[Said]]]:
    return st.lists(st.lists(said, max_size=4), max_size=6)


places = st.sets(st.integers(0, 6), max_size=3)


# Aries.

VENUES = Subscription("venues", "MSFT", tuple(column.name for column in VENUE_COLUMNS))
NARROW = aries.quotes(fields=("bid_price",))


def level2(news: int = 1, **data: Any) -> Said:
    return {"book": 1, "venues": news}, aries.update("level2", data)


updates: st.SearchStrategy[Said] = st.one_of(
    st.builds(lambda bid: ({"quotes": 1}, aries.quote(bidPrice=bid)), st.sampled_from([1.0, 2.0, None, "rubbish"])),
    st.just(({"quotes": 1}, aries.quote(**aries.FULL))),
    st.just(({"quotes": 1}, aries.quote(spread=0.1))),
    st.just(({"quotes": 1}, aries.update("quote", None))),
    st.builds(
        lambda seq, price: ({"trades": 1}, aries.sale(tradeSeq=seq, price=price, size="5")),
        st.sampled_from(["1", "2", "3"]),
        st.sampled_from(["1.5", "x", None]),
    ),
    st.just(({"trades": 1}, aries.sale(tradeExchange="D"))),
    st.just(({"trades": 1}, aries.update("timeAndSales", "none"))),
    st.builds(
        lambda rows: level2(orderBook=rows), st.sampled_from([["1:2:3"], ["x", "1:2:3"], ["x"], [], 7, [5], None])
    ),
    st.builds(lambda rows: level2(quotes=rows), st.sampled_from([[], 7, "ARCX:1:2:3:4", [1], None])),
    st.just(level2(news=2, quotes=["ARCX:1:2:3:4", "x"])),
    st.just(({"book": 1, "venues": 1}, aries.update("level2", 7))),
)


@settings(max_examples=100, deadline=None)
@given(frames_of(updates), places, places)
def test_every_update_of_aries_is_a_record_or_counted(
    frames: list[list[Said]], breaks: set[int], joins: set[int]
) -> None:
    wanted = (aries.quotes(), aries.trades(), aries.book(), VENUES)
    market = aries.opened(*wanted)
    account = Account(market, *wanted)

    for place, messages in enumerate(frames):
        if place in breaks:
            aries.reopen(market)
        if place in joins:
            account.toggle(NARROW)
        account.hear(aries.frame(*(message for _, message in messages)), merged(messages))

    assert account.difference == {}


CHARTED = (aries.quotes(fields=("bid_price", "last_price")), aries.trades(fields=("price", "size")))
unclear: dict[Kind, int] = {"quotes": 1, "trades": 1}
pushes: st.SearchStrategy[Said] = st.builds(
    lambda said: (said[0], aries.event("update", symbol="MSFT", data=said[1])),
    st.sampled_from(
        [
            ({"quotes": 1}, {"v": {"bid": 1.5}}),
            ({"quotes": 1}, {"v": {"bid": "x", "lp": 2}}),
            ({"quotes": 1}, {"v": {"unheard": 1}}),
            ({"quotes": 2}, [{"v": {"bid": 1}}, {"bid": 2}]),
            ({"trades": 1}, {"t": aries.MS, "lp": 501.12, "v": 50}),
            ({"trades": 1}, {"t": aries.MS, "lp": "x", "v": 50}),
            ({"quotes": 1, "trades": 1}, {"quote": {"v": {"bid": 1}}, "trade": {"lp": 1, "v": 2}}),
            *[(unclear, each) for each in ({"s": "ok"}, {"unheard": 1}, {"t": aries.MS}, {}, [], "text", 7, None, [7])],
        ]
    ),
)


def charts(*subscriptions: Subscription) -> AriesCharts:
    protocol = AriesCharts()
    authenticated(protocol)
    protocol.subscribe(subscriptions)
    return protocol


def authenticated(protocol: BrokerProtocol) -> None:
    protocol.open(0.0)
    protocol.authenticate("secret-token", 0.0)
    protocol.receive([aries.line(aries.auth_success())], RECEIVED)


@settings(max_examples=100, deadline=None)
@given(frames_of(pushes), places, places)
def test_every_event_of_aries_charts_is_a_record_or_counted(
    frames: list[list[Said]], breaks: set[int], joins: set[int]
) -> None:
    protocol = charts(*CHARTED)
    account = Account(protocol, *CHARTED)

    for place, messages in enumerate(frames):
        if place in breaks:
            authenticated(protocol)
        if place in joins:
            account.toggle(NARROW)
        account.hear(aries.frame(*(message for _, message in messages)), merged(messages))

    assert account.difference == {}


HELD = (
    accounts.ORDERS,
    accounts.POSITIONS,
    accounts.BALANCES,
    accounts.MINUTES,
    accounts.LISTS,
    accounts.NEWS,
)
FEW = Subscription("orders", "ACC-1", ("order_id", "status"))
NEWS_OF_ONE = accounts.every("news", "", (("symbols", "MSFT"),))
NAMELESS = {"clOrdId": None, "ordId": None}
ITEM = {"id": "1", "title": "a", "symbols": ["MSFT"]}
events: st.SearchStrategy[Said] = st.sampled_from(
    [
        ({"orders": 1}, accounts.account_event("order.updated", accounts.order())),
        ({"orders": 1}, accounts.account_event("order.updated", accounts.order(**NAMELESS))),
        ({"orders": 1}, accounts.account_event("order", [accounts.order(2, qty="much")])),
        ({"orders": 1}, accounts.account_event("order", None)),
        (
            {"orders": 2, "positions": 1},
            accounts.topic_event(
                "account", {"ordersV2": [accounts.order(), accounts.order(**NAMELESS)], "positions": ["rubbish"]}
            ),
        ),
        ({"positions": 1}, accounts.topic_event("account", {"ordersV2": [], "positions": "rubbish"})),
        ({"positions": 1}, accounts.account_event("position", accounts.position())),
        ({"balances": 1}, accounts.account_event("balance", {"cashBalance": "1"})),
        ({"pnl": 1}, accounts.topic_event("pnl", {"interval": "1m", "time": 3_600, "close": 1})),
        ({"pnl": 2}, accounts.topic_event("pnl", [{"close": 1}, 7])),
        ({"pnl": 1}, accounts.topic_event("pnl", 7)),
        ({"watchlists": 3}, accounts.topic_event("watchlist", [{"id": 1, "symbols": ["A", "B"]}, {"name": "x"}])),
        ({"watchlists": 1}, accounts.topic_event("watchlist", None)),
        ({"news": 2}, accounts.topic_event("news", [ITEM, {"title": "b"}])),
        ({"news": 1}, accounts.topic_event("news", "rubbish")),
    ]
)


@settings(max_examples=100, deadline=None)
@given(frames_of(events), places, places)
def test_every_object_of_aries_accounts_is_a_record_or_counted(
    frames: list[list[Said]], breaks: set[int], joins: set[int]
) -> None:
    protocol = accounts.opened(*HELD)
    account = Account(protocol, *HELD)

    for place, messages in enumerate(frames):
        if place in breaks:
            accounts.reopen(protocol)
        if place in joins:
            account.toggle(FEW)
            account.toggle(NEWS_OF_ONE)
        account.hear(aries.frame(*(message for _, message in messages)), merged(messages))

    assert account.difference == {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, {("book", "rowless"): 1, ("venues", "rowless"): 1}),
        ({"quotes": []}, {("book", "rowless"): 1, ("venues", "rowless"): 1}),
        ({"quotes": 7}, {("book", "rowless"): 1, ("venues", "unreadable"): 1}),
        ({"orderBook": 7}, {("book", "unreadable"): 1, ("venues", "rowless"): 1}),
        ({"orderBook": 7, "quotes": ["x"]}, {("book", "unreadable"): 1, ("venues", "unreadable"): 1}),
    ],
)
@pytest.mark.parametrize("spelling", ["level2", "l2"])
def test_level_2_without_rows_is_counted_apart_from_unusable_rows(
    data: dict[str, Any], expected: dict[tuple[str, str], int], spelling: str
) -> None:
    market = aries.opened(aries.book(), VENUES)

    said = notices_of(market, aries.line(aries.update(spelling, data)))

    assert counts(said) == expected


def test_what_charts_say_besides_quotes_and_trades_is_rowless_and_what_is_no_object_unreadable() -> None:
    protocol = charts(*CHARTED)

    said = notices_of(
        protocol, *(aries.line(aries.event("update", symbol="MSFT", data=each)) for each in ({"x": 1}, 7))
    )

    assert counts(said) == {(kind, what): 1 for kind in ("quotes", "trades") for what in ("rowless", "unreadable")}


def test_initial_rows_of_an_account_are_filled_and_one_without_a_key_is_unreadable() -> None:
    protocol = accounts.opened(accounts.ORDERS)
    nameless = notices_of(protocol, aries.line(accounts.account_event("order", accounts.order(**NAMELESS))))
    notices_of(protocol, *(aries.line(accounts.account_event("order", accounts.order(n))) for n in (1, 2)))

    protocol.subscribe([FEW])
    lent = notices_of(protocol, b"{}")

    assert counts(nameless) == {("orders", "unreadable"): 1}
    assert Counted(FEW, "filled") in lent
    assert counts(lent) == {("orders", "filled"): 2}


def test_aries_says_why_an_update_is_no_row() -> None:
    market = aries.opened(aries.quotes(), aries.trades(), aries.book())
    print_ = aries.line(aries.sale(tradeSeq="5", price="1", size="2"))
    notices_of(market, print_)
    aries.reopen(market)

    said = notices_of(
        market,
        print_,
        aries.line(aries.quote(spread=0.1)),
        aries.line(aries.update("quote", None)),
        aries.line(aries.update("level2", {"orderBook": ["rubbish"]})),
        aries.line(aries.quote("TSLA", bidPrice=1.0)),
    )

    assert counts(said) == {
        ("trades", "duplicated"): 1,
        ("quotes", "rowless"): 1,
        ("quotes", "unreadable"): 1,
        ("book", "unreadable"): 1,
        ("", "unasked"): 1,
    }


def test_initial_row_of_a_second_frame_is_filled_and_no_message() -> None:
    market = aries.opened(aries.quotes())
    notices_of(market, aries.line(aries.quote(**aries.FULL)))

    market.subscribe([NARROW])
    records, notices = market.receive([aries.line({"type": "pong"})], RECEIVED)

    assert [record[0] for record in records] == [NARROW]
    assert Counted(NARROW, "filled") in notices


# ALOR.

TAPE = alor.trades(fields=("trade_id", "price"))
QUOTES = alor.quotes()
BOOK = alor.book()
BARS = alor.bars()
WANTED: tuple[Subscription, ...] = (QUOTES, TAPE, BOOK, BARS)
BID = alor.quotes(fields=("bid_price",))
alor_places = st.sets(st.integers(0, 20), max_size=3)
trade_ids = st.integers(11, 16)
contents = st.one_of(
    st.builds(lambda bid: ("quotes", alor.quote(bid=bid)), st.sampled_from([1.0, 2.0, "rubbish"])),
    st.builds(lambda each: ("trades", alor.trade(each)), trade_ids),
    st.builds(lambda each: ("trades", alor.trade(each, existing=True)), trade_ids),
    st.just(("book", alor.order_book({10.0: 5}, {11.0: 2}))),
    st.just(("book", {"b": "none", "a": []})),
    st.builds(lambda start: ("bars", alor.bar(start)), st.sampled_from([0, alor.SECONDS, alor.SECONDS + 60])),
    st.builds(lambda kind: (kind, []), st.sampled_from(["quotes", "trades", "book", "bars"])),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(contents, max_size=20), alor_places, alor_places, st.booleans())
def test_every_frame_of_alor_is_a_record_or_counted_across_breaks(
    frames: list[tuple[Kind, Any]], breaks: set[int], joins: set[int], is_reply_first: bool
) -> None:
    account = Account(alor.opened(AlorMarket(), *WANTED), *WANTED)

    hear_alor(account, frames, breaks, dict.fromkeys(joins, BID), is_reply_first=is_reply_first)

    assert account.difference == {}


FOLIO: tuple[Subscription, ...] = tuple(
    map(alor.every, ("orders", "stop_orders", "fills", "positions", "balances", "risks"))
)
NO_ID = {"id": None}
elements = st.one_of(
    st.builds(
        lambda id_, filled, is_past: ("orders", item("orders", id=id_, filledQtyUnits=filled, existing=is_past)),
        st.sampled_from(["1", "2", None]),
        st.sampled_from([0, 10]),
        st.booleans(),
    ),
    st.builds(
        lambda id_, order, is_past: ("fills", item("fills", id=id_, orderno=order, existing=is_past)),
        st.sampled_from(["7", "8", None]),
        st.sampled_from(["1", "2"]),
        st.booleans(),
    ),
    st.builds(
        lambda amount, is_past: ("positions", money(amount, existing=is_past)),
        st.sampled_from(["90", "80"]),
        st.booleans(),
    ),
    st.just(("positions", item("positions", symbol=None))),
    st.builds(lambda id_: ("stop_orders", item("stop_orders", id=id_)), st.sampled_from(["7", None])),
    st.just(("balances", item("balances"))),
    st.just(("risks", item("risks"))),
    st.builds(lambda kind: (kind, 7), st.sampled_from([each.kind for each in FOLIO])),
)


def money(amount: str, *, existing: bool = False) -> dict[str, Any]:
    return item("positions", symbol="RUB", isCurrency=True, currentVolume=Decimal(amount), existing=existing)


@settings(max_examples=100, deadline=None)
@given(st.lists(elements, max_size=20), alor_places, alor_places, st.booleans())
def test_every_element_of_an_alor_portfolio_is_a_record_or_counted_across_breaks(
    frames: list[tuple[Kind, Any]], breaks: set[int], joins: set[int], is_reply_first: bool
) -> None:
    account = Account(alor.opened(AlorAccounts(), *FOLIO), *FOLIO)
    few = Subscription("positions", "D00000", ("symbol",))

    hear_alor(account, frames, breaks, dict.fromkeys(joins, few), is_reply_first=is_reply_first)

    assert account.difference == {}


def hear_alor(
    account: Account,
    frames: list[tuple[Kind, Any]],
    breaks: set[int],
    joins: dict[int, Subscription],
    *,
    is_reply_first: bool,
) -> None:
    """Send these frames, with breaks and others who join or go in between; in the end a connection that is whole."""
    protocol = account.protocol
    assert isinstance(protocol, AlorConnection)
    streams = {each.kind: each for each in account.listening}

    def settle() -> None:
        for request in alor.sent(protocol):
            account.hear(alor.reply(request["guid"]), {})
        account.hear(b"{}", {})

    for place, (kind, content) in enumerate(frames):
        if place in breaks:
            protocol.open(60.0 * place)
            protocol.authenticate("token-1", 60.0 * place)
            if is_reply_first:
                settle()
        if place in joins:
            account.toggle(joins[place])
        account.hear(alor.data(alor.guid_of(protocol, streams[kind]), content), {kind: 1})
    settle()
    alor.begin(protocol, now=10_000.0)
    account.hear(b"{}", {})


def test_summary_emitted_again_with_other_cash_is_filled_and_one_replaced_before_it_is_emitted_conflated() -> None:
    balances, positions = alor.every("balances"), alor.every("positions")
    protocol = alor.opened(AlorAccounts(), balances)
    guid = alor.guid_of(protocol, positions)
    emitted = notices_of(protocol, alor.data("balances-1", item("balances")))
    again = notices_of(protocol, *(alor.data(guid, money(amount)) for amount in ("1", "2", "3")))

    requests = alor.begin(protocol, now=60.0)
    early = notices_of(protocol, *[alor.data("balances-1", item("balances"))] * 3)
    listed = notices_of(protocol, *(alor.reply(request["guid"]) for request in requests), b"{}")
    alor.begin(protocol, now=120.0)
    lost = notices_of(protocol, alor.data("balances-1", item("balances")))
    alor.begin(protocol, now=180.0)
    lost += notices_of(protocol, b"{}")

    assert counts(emitted) == {}
    assert counts(again) == {("balances", "filled"): 3}
    assert counts([*early, *listed]) == {("balances", "conflated"): 2}
    assert counts(lost) == {("balances", "conflated"): 1}


def test_rows_of_a_list_that_another_frame_has_asked_for_again_are_duplicated() -> None:
    fills, orders = alor.every("fills"), alor.every("orders")
    protocol = AlorAccounts()
    alor.answer(protocol, alor.begin(protocol))
    protocol.subscribe([fills])
    notices_of(protocol, *(alor.data("fills-1", item("fills", id=str(n), existing=True)) for n in range(5)))

    protocol.subscribe([orders])
    said = notices_of(protocol, b"{}")

    assert [request["guid"] for request in alor.sent(protocol, "unsubscribe")] == ["fills-1"]
    assert Counted(fills, "duplicated", 5) in said


def test_new_subscription_gets_the_newest_quote_once_also_where_it_was_read_tolerantly() -> None:
    protocol = alor.opened(AlorMarket(), QUOTES)
    notices_of(protocol, alor.data("quotes-1", alor.quote(bid=1.0)))
    asks = alor.quotes(fields=("ask_price",))
    for action in (protocol.subscribe, protocol.unsubscribe, protocol.subscribe):
        action([asks])
    first, said = protocol.receive([alor.data("quotes-1", alor.quote(bid=2.0, tso=alor.MS + 5))], RECEIVED)

    protocol.subscribe([BID])
    second, _ = protocol.receive([b"{}"], RECEIVED)

    assert [record[0] for record in first] == [asks, QUOTES, asks]
    assert counts(said) == {("quotes", "filled"): 1}
    assert second == [(BID, alor.NS + 5_000_000, (2.0,))]


def test_known_quote_is_no_second_row_after_a_break_in_which_others_joined_or_went() -> None:
    asks = alor.quotes(fields=("ask_price",))
    protocol = alor.opened(AlorMarket(), QUOTES, asks)
    frame = alor.data("quotes-1", alor.quote())
    notices_of(protocol, frame)
    alor.begin(protocol, now=60.0)
    protocol.subscribe([BID])
    for action in (protocol.unsubscribe, protocol.subscribe):
        action([asks])  # a new frame has had no record yet

    records, notices = protocol.receive([frame], RECEIVED)

    assert [record[0] for record in records] == [BID, asks]
    assert counts(notices) == {("quotes", "duplicated"): 1}


def test_new_subscription_that_a_break_keeps_from_the_newest_quote_gets_the_next_one() -> None:
    protocol = alor.opened(AlorMarket(), QUOTES)
    frame = alor.data("quotes-1", alor.quote(bid=1.0))
    notices_of(protocol, frame)
    protocol.subscribe([BID])
    alor.begin(protocol, now=60.0)

    records, notices = protocol.receive([frame], RECEIVED)

    assert records == [(BID, alor.NS, (1.0,))]
    assert counts(notices) == {("quotes", "duplicated"): 1}


def test_alor_says_why_a_frame_is_no_row() -> None:
    protocol = alor.opened(AlorMarket(), *WANTED)
    guids = {each.kind: alor.guid_of(protocol, each) for each in WANTED}

    said = notices_of(
        protocol,
        alor.data(guids["trades"], alor.trade(11, existing=True)),
        alor.data(guids["trades"], alor.trade(12)),
        alor.data(guids["trades"], alor.trade(12)),
        alor.data(guids["book"], {"b": "none", "a": []}),
        alor.data(guids["bars"], alor.bar(0)),
        alor.data("nobody-s", alor.quote()),
    )

    assert counts(said) == {
        ("trades", "rowless"): 1,
        ("trades", "duplicated"): 1,
        ("book", "unreadable"): 1,
        ("bars", "unreadable"): 1,
        ("", "unasked"): 1,
    }

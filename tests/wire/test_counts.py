"""Whatever a server sends, each message of a subscription is a record or is counted: none goes without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import Counted, Notice, Subscription
from aries_nb.wire import Wire
from aries_nb.wire.alor_market import AlorMarket
from tests.wire import alor_lines as alor
from tests.wire import lines as aries
from tests.wire.lines import RECEIVED, counts


def account(wire: Wire, frames: Iterable[bytes]) -> dict[str, Counter[str]]:
    """What became of some frames, of each kind of subscription: so many records, and so many counted as what."""
    told: dict[str, Counter[str]] = {}
    for frame in frames:
        records, notices = wire.receive(frame, RECEIVED)
        for subscription, _, _ in records:
            told.setdefault(subscription.kind, Counter())["records"] += 1
        for notice in notices:
            if isinstance(notice, Counted):
                told.setdefault(notice.subscription.kind, Counter())[notice.what] += notice.count
    return told


def notices_of(wire: Wire, *frames: bytes) -> list[Notice]:
    return [notice for frame in frames for notice in wire.receive(frame, RECEIVED)[1]]


# Aries.

updates = st.one_of(
    st.builds(lambda bid: ("quotes", aries.quote(bidPrice=bid)), st.sampled_from([1.0, 2.0, None, "rubbish"])),
    st.just(("quotes", aries.quote(spread=0.1))),
    st.just(("quotes", aries.update("quote", None))),
    st.builds(
        lambda seq, price: ("trades", aries.sale(tradeSeq=seq, price=price, size="5")),
        st.sampled_from(["1", "2", "3"]),
        st.sampled_from(["1.5", "x", None]),
    ),
    st.just(("trades", aries.sale(tradeExchange="D"))),
    st.just(("trades", aries.update("timeAndSales", "none"))),
    st.just(("book", aries.update("level2", {"orderBook": ["1:2:3"]}))),
    st.just(("book", aries.update("level2", {"orderBook": ["x"]}))),
    st.just(("book", aries.update("level2", {"quotes": []}))),
    st.just(("book", aries.update("level2", 7))),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(updates, max_size=4), max_size=6), st.integers(0, 6))
def test_every_update_of_aries_is_a_record_or_counted(
    frames: list[list[tuple[str, dict[str, Any]]]], break_at: int
) -> None:
    market = aries.opened(aries.quotes(), aries.trades(), aries.book())
    sent: Counter[str] = Counter()
    told: Counter[str] = Counter()

    for place, messages in enumerate(frames):
        if place == break_at:
            aries.reopen(market)
        sent.update(kind for kind, _ in messages)
        for kind, counted in account(market, [aries.frame(*(message for _, message in messages))]).items():
            told[kind] += sum(counted.values())

    assert sent == told


def test_aries_says_why_an_update_is_no_row() -> None:
    market = aries.opened(aries.quotes(), aries.trades(), aries.book())
    print_ = aries.line(aries.sale(tradeSeq="5", price="1", size="2"))
    account(market, [print_])
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


def test_row_that_another_frame_lends_is_filled_and_no_message() -> None:
    market = aries.opened(aries.quotes())
    account(market, [aries.line(aries.quote(**aries.FULL))])
    narrow = aries.quotes(fields=("bid_price",))

    market.subscribe([narrow])
    records, notices = market.receive(aries.line({"type": "pong"}), RECEIVED)

    assert [record[0] for record in records] == [narrow]
    assert Counted(narrow, "filled") in notices


# ALOR.

TAPE = alor.trades(fields=("trade_id", "price"))
QUOTES = alor.quotes()
BOOK = alor.book()
BARS = alor.bars()
WANTED: tuple[Subscription, ...] = (QUOTES, TAPE, BOOK, BARS)
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


@settings(max_examples=80, deadline=None)
@given(st.lists(contents, max_size=20), st.sets(st.integers(0, 20), max_size=3), st.booleans())
def test_every_frame_of_alor_is_a_record_or_counted_across_breaks(
    frames: list[tuple[str, Any]], breaks: set[int], is_reply_first: bool
) -> None:
    wire = alor.opened(AlorMarket(), *WANTED)
    guids = {each.kind: alor.guid_of(wire, each) for each in WANTED}
    sent: Counter[str] = Counter()
    told: Counter[str] = Counter()

    def hear(*some: bytes) -> None:
        for kind, counted in account(wire, some).items():
            told[kind] += sum(counted.values())

    def settle(asked: list[dict[str, Any]]) -> None:
        hear(*(alor.reply(each["guid"]) for each in asked), b"{}")

    asked: list[dict[str, Any]] = []
    for place, (kind, content) in enumerate(frames):
        if place in breaks:
            asked = alor.begin(wire, now=60.0 * place)
            if is_reply_first:
                settle(asked)
        sent[kind] += 1
        hear(alor.data(guids[kind], content))
    settle(asked)
    alor.begin(wire, now=10_000.0)
    hear(b"{}")

    assert sent == told


def test_alor_says_why_a_frame_is_no_row() -> None:
    wire = alor.opened(AlorMarket(), *WANTED)
    guids = {each.kind: alor.guid_of(wire, each) for each in WANTED}

    said = notices_of(
        wire,
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

"""Whole books in, changed levels out: applied one after the other they give the book again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.model import Record
from aries_nb.store import OrderBook
from tests.brokers.alor.lines import RECEIVED, begin, book, data, opened, order_book, receive, records

SIDE = st.dictionaries(st.integers(1, 40).map(lambda tick: tick / 4), st.integers(1, 9), max_size=8)


def applied(store: OrderBook, found: list[Record]) -> tuple[dict[float, float], dict[float, float]]:
    for _, ts, values in found:
        store.buffer.add(0, ts, values)
        store.buffer.mark(RECEIVED)
        store.publish()
    levels = store.levels(100, now=RECEIVED)
    return dict(levels.bids.tolist()), dict(levels.asks.tolist())


@given(st.lists(st.tuples(SIDE, SIDE, st.booleans()), min_size=1, max_size=12))
@settings(max_examples=80, deadline=None)
def test_store_holds_the_latest_book_after_each_frame_also_across_breaks(books: list) -> None:
    protocol, store = opened(AlorMarket(), book()), OrderBook("SBER")

    for bids, asks, is_break in books:
        if is_break:
            begin(protocol)
            store.interrupted()
        found = records(protocol, data("book-1", order_book(bids, asks)))

        assert applied(store, found) == (bids, asks)


def test_level_that_changes_sides_is_emitted_once() -> None:
    protocol = opened(AlorMarket(), book())
    records(protocol, data("book-1", order_book({10.0: 5}, {11.0: 2})))

    found = records(protocol, data("book-1", order_book({}, {10.0: 3, 11.0: 2})))

    assert found[0][2] == (10.0, 0.0, 3.0)


def test_book_that_did_not_change_is_a_sign_of_life() -> None:
    protocol = opened(AlorMarket(), book())
    frame = data("book-1", order_book({10.0: 5}, {11.0: 2}))
    records(protocol, frame)

    found = records(protocol, frame)

    assert [record[2] for record in found] == [()]


def test_side_that_cannot_be_read_does_not_empty_the_book() -> None:
    protocol = opened(AlorMarket(), book())
    records(protocol, data("book-1", order_book({10.0: 5}, {11.0: 2})))

    found, notices = receive(protocol, data("book-1", {"b": "none", "a": []}))

    assert found == []
    assert [notice.reason for notice in notices] == ["bids are not a list"]


def test_level_that_cannot_be_read_is_named_and_the_others_are_used() -> None:
    protocol = opened(AlorMarket(), book())

    found, notices = receive(
        protocol, data("book-1", {"b": [{"p": "10.5", "v": 3}, {"p": None}, 7], "a": None, "t": "x"})
    )

    assert found == [(book(), RECEIVED, (10.5, 3.0, 0.0))]
    assert len(notices) == 2


def test_numbers_as_text_and_yields_of_bonds_are_no_trouble() -> None:
    protocol = opened(AlorMarket(), book())

    found = records(
        protocol, data("book-1", {"b": [{"p": "10.50", "v": "3", "y": 7.1}], "a": [{"p": 11, "v": 2, "y": None}]})
    )

    assert found == [(book(), RECEIVED, (10.5, 3.0, 0.0, 11.0, 0.0, 2.0))]

"""An order book against a naive one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.store import OrderBook
from aries_nb.store import order_book as book_module
from aries_nb.store.past import history

NOW = 1_772_463_845_000_000_000
SECOND = 1_000_000_000

# price, bid size, ask size
Level = tuple[float, float, float]
levels = st.tuples(st.integers(1, 12).map(float), *[st.sampled_from([0.0, 0.0, 1.0, 2.5, 100.0, -1.0])] * 2)
updates = st.lists(levels, max_size=6)


def publish(book: OrderBook, *batch: list[Level], ts: int = NOW, received: int = NOW) -> None:
    for update in batch:
        book.buffer.add(0, ts, tuple(value for level in update for value in level))
        book.buffer.mark(received)
    book.publish()


class NaiveBook:
    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}

    def apply(self, update: list[Level]) -> None:
        for price, bid, ask in update:
            if not price:  # no price
                continue
            for side, size in ((self.bids, bid), (self.asks, ask)):
                side[price] = size
                if size <= 0:
                    del side[price]

    def best(self, depth: int) -> tuple[list[Any], list[Any]]:
        return sorted(self.bids.items(), reverse=True)[:depth], sorted(self.asks.items())[:depth]


@given(st.lists(st.none() | st.lists(updates, max_size=4), max_size=8), st.integers(1, 15))
def test_book_holds_what_a_naive_one_would(written: list[list[list[Level]] | None], depth: int) -> None:
    book, naive = OrderBook("MSFT"), NaiveBook()
    is_broken = False
    for batch in written:
        version = book.version
        if batch is None:
            book.interrupted()
            is_broken = True
        else:
            publish(book, *batch)
            if batch and is_broken:
                naive, is_broken = NaiveBook(), False
            for update in batch:
                naive.apply(update)

        shown = book.levels(depth, now=NOW)

        bids, asks = naive.best(depth)
        assert [(price, size) for price, size in shown.bids.tolist()] == bids
        assert [(price, size) for price, size in shown.asks.tolist()] == asks
        assert (shown.integrity == "gap") == (is_broken and shown.ts > 0)
        assert (shown.integrity == "crossed") == bool(not is_broken and bids and asks and bids[0][0] > asks[0][0])
        assert (book.version > version) == (batch is None or batch != [])


def test_empty_book_has_two_columns_and_says_so() -> None:
    shown = OrderBook("MSFT").levels(5, now=NOW)

    assert (shown.symbol, shown.integrity, shown.ts, shown.received) == ("MSFT", "empty", 0, 0)
    assert (shown.bids.shape, shown.asks.shape) == ((0, 2), (0, 2))
    assert (shown.bids.dtype, shown.asks.dtype) == (np.float64, np.float64)


def test_break_before_anything_came_leaves_the_book_empty() -> None:
    book = OrderBook("MSFT")

    book.interrupted()

    assert book.levels(5, now=NOW).integrity == "empty"


def test_times_are_those_of_the_last_update() -> None:
    book = OrderBook("MSFT")
    publish(book, [(1.0, 1.0, 0.0)], ts=NOW - 5, received=NOW)
    publish(book, [(1.0, 2.0, 0.0)], ts=NOW - 3, received=NOW + 7)

    shown = book.levels(5, now=NOW)

    assert (shown.ts, shown.received) == (NOW - 3, NOW + 7)


@pytest.mark.parametrize(("bid", "ask", "integrity"), [(1.0, 2.0, "ok"), (2.0, 2.0, "locked"), (3.0, 2.0, "crossed")])
def test_best_bid_at_the_best_ask_is_locked_and_above_it_crossed(bid: float, ask: float, integrity: str) -> None:
    book = OrderBook("MSFT")

    publish(book, [(bid, 1.0, 0.0)], [(ask, 1.0 if bid == ask else 0.0, 1.0)])

    assert book.levels(5, now=NOW).integrity == integrity


def test_book_that_has_lost_its_last_level_is_empty() -> None:
    book = OrderBook("MSFT")
    publish(book, [(2.0, 1.0, 0.0), (3.0, 0.0, 1.0)])

    publish(book, [(2.0, 0.0, 0.0)])
    one_sided = book.levels(5, now=NOW).integrity
    publish(book, [(3.0, 0.0, 0.0)])

    assert one_sided == "ok"
    assert book.levels(5, now=NOW).integrity == book.levels(5, now=NOW + 60 * SECOND).integrity == "empty"


def test_level_below_zero_is_one_and_at_zero_is_none() -> None:
    book = OrderBook("CLK20")

    publish(book, [(-37.63, 4.0, 0.0), (0.0, 7.0, 9.0), (-37.5, 0.0, 2.0)])

    shown = book.levels(5, now=NOW)
    assert (shown.bids.tolist(), shown.asks.tolist(), shown.integrity) == ([[-37.63, 4.0]], [[-37.5, 2.0]], "ok")


@pytest.mark.parametrize(("seconds", "integrity"), [(0, "ok"), (10, "ok"), (10.1, "stale"), (3_600, "stale")])
def test_book_without_updates_for_ten_seconds_is_stale(seconds: float, integrity: str) -> None:
    book = OrderBook("MSFT")
    publish(book, [(1.0, 1.0, 0.0)])

    assert book.levels(5, now=NOW + round(seconds * SECOND)).integrity == integrity


def test_levels_from_before_a_break_are_shown_as_such_and_go_with_the_next_update() -> None:
    book = OrderBook("MSFT")
    publish(book, [(1.0, 1.0, 0.0), (2.0, 0.0, 1.0)])

    book.interrupted()
    during = book.levels(5, now=NOW)
    publish(book, [(1.5, 3.0, 0.0)])
    after = book.levels(5, now=NOW)

    assert (during.integrity, during.bids.tolist(), during.asks.tolist()) == ("gap", [[1.0, 1.0]], [[2.0, 1.0]])
    assert (after.integrity, after.bids.tolist(), after.asks.tolist()) == ("ok", [[1.5, 3.0]], [])


def test_what_was_received_before_a_break_and_not_published_goes_with_the_next_update() -> None:
    book = OrderBook("MSFT")
    publish(book, [(1.0, 1.0, 0.0)])
    book.buffer.add(0, NOW, (2.0, 0.0, 1.0))
    book.buffer.mark(NOW)

    book.interrupted()
    during = book.levels(5, now=NOW)
    book.publish()
    publish(book, [(1.5, 3.0, 0.0)])
    after = book.levels(5, now=NOW)

    assert (during.integrity, during.bids.tolist(), during.asks.tolist()) == ("gap", [[1.0, 1.0]], [[2.0, 1.0]])
    assert (after.integrity, after.bids.tolist(), after.asks.tolist()) == ("ok", [[1.5, 3.0]], [])


def test_side_keeps_its_best_levels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MAX_LEVELS", 10)
    book = OrderBook("MSFT")

    publish(
        book, [(float(price), 1.0, 0.0) for price in range(50)], [(float(price), 0.0, 1.0) for price in range(50, 99)]
    )

    shown = book.levels(1_000, now=NOW)
    assert shown.bids[:, 0].tolist() == [float(price) for price in range(49, 39, -1)]
    assert shown.asks[:, 0].tolist() == [float(price) for price in range(50, 60)]


def test_levels_behind_the_best_thousand_come_forward_when_those_go() -> None:
    book = OrderBook("BTC")
    publish(book, [(float(price), 1.0, 0.0) for price in range(5_000)])

    publish(book, [(float(price), 0.0, 0.0) for price in range(3_500, 5_000)])

    assert book.levels(1_000, now=NOW).bids[:, 0].tolist() == [float(price) for price in range(3_499, 2_499, -1)]


def test_levels_handed_out_do_not_change() -> None:
    book = OrderBook("MSFT")
    publish(book, [(1.0, 1.0, 0.0)])
    shown = book.levels(5, now=NOW)

    publish(book, [(1.0, 9.0, 0.0)])

    assert shown.bids.tolist() == [[1.0, 1.0]]


def test_an_observer_is_called_at_each_publish_until_it_is_removed() -> None:
    book = OrderBook("MSFT")
    calls: list[int] = []
    undo = book.watch(lambda: calls.append(book.version))

    publish(book)
    publish(book, [(1.0, 1.0, 0.0)], [(1.0, 2.0, 0.0)])
    undo()
    publish(book, [(1.0, 1.0, 0.0)])

    assert calls == [2]


@given(
    st.lists(st.none() | st.lists(updates, min_size=1, max_size=4), max_size=12), st.sampled_from([1, 200, 64 << 10])
)
def test_book_is_what_it_was_at_each_moment(written: list[list[list[Level]] | None], least: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "LEAST_BYTES", least)
        now = NOW
        book = OrderBook("MSFT", lambda: now)
        noted: list[tuple[int, Any]] = [(now, shown_at(book, now))]
        for batch in written:
            now += SECOND
            if batch is None:
                book.interrupted()
            else:
                for place, update in enumerate(batch):
                    book.buffer.add(0, now, tuple(value for level in update for value in level))
                    book.buffer.mark(now + place)  # several times of receipt in one publication
                book.publish()
            noted.append((now + 10, shown_at(book, now)))

        for at, shown in noted:
            past = book.past(at)
            assert past is not None
            assert shown_at(book.rebuilt(past), at // SECOND * SECOND) == shown
        assert book.past(NOW - 1) is None


def shown_at(book: OrderBook, now: int) -> Any:
    shown = book.levels(50, now=now)
    return shown.bids.tolist(), shown.asks.tolist(), shown.integrity, shown.ts, shown.received, book.updates


def test_updates_of_one_publication_have_their_own_moments() -> None:
    book = OrderBook("MSFT", lambda: NOW)

    publish(book, [(1.0, 1.0, 0.0), (2.0, 0.0, 5.0)])
    for place, size in enumerate([2.0, 3.0]):
        book.buffer.add(0, NOW, (1.0, size, 0.0))
        book.buffer.mark(NOW + SECOND + place)
    book.publish()

    between, after = (book.past(NOW + SECOND + place) for place in range(2))
    assert between is not None
    assert after is not None
    assert book.rebuilt(between).levels(5, now=NOW).bids.tolist() == [[1.0, 2.0]]
    assert book.rebuilt(after).levels(5, now=NOW).bids.tolist() == [[1.0, 3.0]]


def test_past_of_a_book_is_bounded_and_says_from_when_on_it_is_held() -> None:
    now = NOW
    book = OrderBook("MSFT", lambda: now)
    for at in range(120_000):
        now = NOW + at * SECOND
        publish(book, [(1.0 + at % 7, 1.0 + at, 0.0)], received=now)

    octets = book._history._octets

    assert octets <= history.MOST_BYTES
    assert NOW < book.held_from <= NOW + 60_000 * SECOND  # of 60,000 small updates at least
    assert book.past(book.held_from - 1) is None
    past = book.past(book.held_from)
    assert past is not None
    assert book.rebuilt(past).updates == (book.held_from - NOW) // SECOND + 1


def test_frozen_book_stays_as_it_is() -> None:
    book = OrderBook("MSFT", lambda: NOW)
    publish(book, [(1.0, 1.0, 0.0)])

    then = book.frozen()
    publish(book, [(1.0, 9.0, 0.0), (2.0, 0.0, 3.0)])

    assert shown_at(then, NOW)[:2] == ([[1.0, 1.0]], [])
    assert shown_at(book, NOW)[:2] == ([[1.0, 9.0]], [[2.0, 3.0]])

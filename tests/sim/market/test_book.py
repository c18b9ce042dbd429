from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from aries_nb.sim.market.book import VISIBLE_LEVELS, Book


def check(book: Book) -> None:
    bids, asks = book.bids.ticks, book.asks.ticks
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert bids[0] < asks[0]
    assert bids[-1] >= 1
    assert min(book.bids.sizes) > 0
    assert min(book.asks.sizes) > 0
    assert len(bids) == len(book.bids.sizes)
    assert len(asks) == len(book.asks.sizes) >= VISIBLE_LEVELS


@given(seed=st.integers(0, 10_000), fair=st.floats(3, 50_000), spread=st.integers(1, 20), data=st.data())
def test_book_is_never_crossed_nor_empty_whatever_happens(
    seed: int, fair: float, spread: int, data: st.DataObject
) -> None:
    rng = Random(seed)
    book = Book(rng, fair, spread=spread, lot=100, mean_lots=3)
    for event in data.draw(st.lists(st.sampled_from(["buy", "sell", "stir", "follow", "rise", "fall"]), max_size=120)):
        match event:
            case "buy":
                book.asks.take(rng.randrange(1, 2000))
            case "sell":
                book.bids.take(rng.randrange(1, 2000))
            case "stir":
                book.resize_deep()
            case "rise":
                fair *= 1.002
            case "fall":
                fair = max(3.0, fair * 0.998)
            case _:
                book.follow(fair)

        check(book)


def test_what_is_traded_is_taken_from_the_best_level() -> None:
    book = Book(Random(1), 1000.0, spread=2, lot=100, mean_lots=3)
    best, size = book.asks.ticks[0], book.asks.sizes[0]

    some = book.asks.take(40)
    after_some = (book.asks.ticks[0], book.asks.sizes[0])
    rest = book.asks.take(10**6)

    assert some == 40
    assert after_some == (best, size - 40)
    assert rest == size - 40
    assert book.asks.ticks[0] > best


def test_a_side_of_cheap_bids_ends_at_one_tick() -> None:
    book = Book(Random(1), 4.0, spread=2, lot=1, mean_lots=3)

    for _ in range(50):
        book.bids.take(10**6)

    assert book.bids.ticks == [1]
    assert book.bids.sizes[0] > 0


@given(seed=st.integers(0, 1000), move=st.floats(-200, 200))
def test_book_is_drawn_to_the_fair_price(seed: int, move: float) -> None:
    book = Book(Random(seed), 5000.0, spread=2, lot=100, mean_lots=3)

    for _ in range(600):
        book.follow(5000.0 + move)

    assert abs(book.distance(5000.0 + move)) <= 2 * book.spread + 2

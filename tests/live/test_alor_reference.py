"""Lookups of a broker with boards, lots and past trades, against its simulated HTTP and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from aries_nb.errors import FeedError, UsageError
from aries_nb.sim.alor import prints as alor_prints
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed
    from aries_nb.live.market.reference import MarketReference
    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]


@pytest.fixture
def sim(serve_alor: Callable[..., Simulator]) -> Simulator:
    return serve_alor(rate=2_000)


@pytest.fixture
def feed(sim: Simulator, open_alor: Callable[..., Feed]) -> Feed:
    return open_alor(sim)


@pytest.fixture
def reference(feed: Feed) -> MarketReference:
    return feed.reference


def test_all_that_an_exchange_lists_has_its_lot_and_the_step_of_its_price(reference: MarketReference) -> None:
    here, there = reference.instruments(), reference.instruments("SPBX")
    futures = reference.instruments(market="FORTS")

    assert here.loc["SBER", ["lot_size", "minimum_movement", "board", "currency"]].to_list() == [
        10,
        0.01,
        "TQBR",
        "RUB",
    ]
    assert here.loc["HYDR", ["lot_size", "minimum_movement"]].to_list() == [1_000, 0.0001]
    assert there.loc["SPBX:AAPL", ["lot_size", "currency"]].to_list() == [1, "USD"]
    assert list(futures.index) == list(here.query("market == 'FORTS'").index) != []


def test_boards_of_an_instrument_begin_with_the_usual_one(reference: MarketReference) -> None:
    assert (reference.boards("SBER"), reference.boards("SPBX:AAPL")) == (("TQBR", "SMAL"), ("SPBX",))


def test_book_is_as_deep_as_asked_and_the_best_levels_are_first(reference: MarketReference) -> None:
    book = reference.book("SBER", 4)

    bids, asks = (book[book["side"] == side] for side in ("buy", "sell"))
    assert list(book["level"]) == [1, 2, 3, 4] * 2
    assert bids["price"].is_monotonic_decreasing
    assert asks["price"].is_monotonic_increasing
    assert bids["price"].iloc[0] < asks["price"].iloc[0]
    assert str(book.index.dtype) == "datetime64[us, UTC]"


def test_trades_that_are_asked_for_are_those_of_the_stream(sim: Simulator, feed: Feed) -> None:
    trades = feed.trades("SBER").wait(rows=60)
    sim.set_market("closed")
    columns = ["price", "size", "side", "trade_id", "venue"]

    told = feed.reference.trades("SBER")
    streamed = trades.wait(rows=len(told)).df
    newest = feed.reference.trades("SBER", 7)
    start, end = streamed.index[10], streamed.index[30]
    some = feed.reference.trades("SBER", start=start, end=end)

    pd.testing.assert_frame_equal(told[columns], plain(streamed[columns]))
    pd.testing.assert_frame_equal(newest, told.tail(7))
    pd.testing.assert_frame_equal(some, told[(told.index >= start) & (told.index < end)])
    assert len(some) > 0


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of a stream with texts instead of categories."""
    return frame.astype({"side": "str", "venue": "str"})


def test_pages_of_a_tape_that_grows_join_without_a_doubled_or_missing_trade(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.brokers.alor.lookup.TRADES_PER_CALL", 20)
    trades = feed.trades("SBER").wait(rows=150)

    told = feed.reference.trades("SBER", 100)

    newest = told["trade_id"].iloc[-1]
    eventually(lambda: trades.df["trade_id"].iloc[-1] >= newest)
    numbers = trades.df["trade_id"]
    last = numbers.searchsorted(newest)
    assert list(told["trade_id"]) == list(numbers.iloc[last - 99 : last + 1])
    assert len(numbers) < alor_prints.MOST_PRINTS  # none has left the simulator's tape


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda reference: reference.trades("SBER", 0), "count="),
        (lambda reference: reference.trades("SBER", True), "count="),
        (lambda reference: reference.trades("SBER", end="2026-01-01"), "without start="),
        (lambda reference: reference.trades("SBER", start="2026-01-02", end="2026-01-01"), "not before the end"),
        (lambda reference: reference.trades("SBER", start=7), "start="),
        (lambda reference: reference.book("SBER", 51), "depth="),
        (lambda reference: reference.instruments(""), "exchange="),
        (lambda reference: reference.instruments("MOEX", market=7), "market="),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    reference: MarketReference, ask: Callable[[MarketReference], Any], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        ask(reference)


@pytest.mark.parametrize("name", ["boards", "trades", "book"])
def test_instrument_that_is_not_known_is_an_error_with_the_servers_words(reference: MarketReference, name: str) -> None:
    with pytest.raises(FeedError, match="NOPE"):
        getattr(reference, name)("NOPE")


def test_gap_wider_than_a_page_is_told_by_its_times(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=50_000)
    feed = open_alor(sim)
    trades = feed.trades("SBER").wait(rows=5_600)
    sim.set_market("closed")
    eventually(lambda: len(trades.df) == len(feed.reference.trades("SBER", None)))
    columns = ["price", "size", "side", "trade_id", "venue"]
    streamed = plain(trades.df[columns])
    start, end = streamed.index[100], streamed.index[-100]

    told = feed.reference.trades("SBER", None, start=start, end=end)

    expected = streamed[(streamed.index >= start) & (streamed.index < end)]
    assert len(expected) > alor_prints.MOST_PRINTS
    pd.testing.assert_frame_equal(told[columns], expected.sort_values(["ts", "trade_id"]))


def test_trades_of_past_sessions_are_told_by_their_times(reference: MarketReference) -> None:
    day = pd.bdate_range(end=pd.Timestamp.now("UTC").normalize() - pd.Timedelta(days=1), periods=2)[0]
    start, end = (day + pd.Timedelta(text) for text in ("7h30min", "7h50min"))

    told = reference.trades("SBER", None, start=start, end=end)

    assert len(told) > 300
    assert (start <= told.index.min(), told.index.max() < end) == (True, True)
    assert told["trade_id"].is_monotonic_increasing
    assert set(told["venue"]) == {"TQBR"}
    assert (told["size"] > 0).all()

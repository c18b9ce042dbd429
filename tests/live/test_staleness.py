"""What is out of date says so: rows from before a gap, streams that fell silent, means and bars over a gap."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import GapError, UsageError
from aries_nb.live import Feed
from aries_nb.live.gaps import GapSelection
from aries_nb.live.staleness import Staleness
from aries_nb.model import Column, Resumed
from aries_nb.model.clock import WallClock
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.store import GapLog, RollingFrame
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.sim import Simulator

HOUR = 3_600_000_000_000
SLOW = BackoffRule(first=60.0, cap=60.0, cap_after_live=60.0)
SYMBOLS = ("AAPL", "MSFT")


def feed_on(sim: Simulator, **options: BackoffRule) -> Feed:
    """A feed whose market never closes."""
    return Feed(BROKERS["sim"], sim.url, fixed_token("a token"), at_close=lambda closed: None, **options)


@pytest.fixture
def feed(sim: Simulator) -> Iterator[Feed]:
    with feed_on(sim, rule=BackoffRule(first=0.01, cap=0.05, cap_after_live=0.05)) as feed:
        feed.wait_open(30)
        yield feed


@pytest.fixture
def cut(sim: Simulator, feed: Feed) -> Callable[[], None]:
    """Cut the connection, and wait until it is live again."""

    def act() -> None:
        before = feed.stats().reconnects
        sim.drop_connections()
        eventually(lambda: feed.stats().reconnects == before + 1 and feed.state == "live")

    return act


def test_rows_of_a_live_stream_are_not_stale(feed: Feed) -> None:
    quotes = feed.quotes(*SYMBOLS)

    quotes.wait(rows=200)

    assert quotes.latest["stale"].tolist() == [False, False]
    assert (quotes.silent, quotes._source.board().stale) == ((), ())


def test_without_a_connection_every_row_is_stale(sim: Simulator) -> None:
    with feed_on(sim, rule=SLOW) as feed:
        feed.wait_open(30)
        quotes = feed.quotes(*SYMBOLS)
        quotes.wait(rows=200)

        sim.drop_connections()
        eventually(lambda: feed.state == "reconnecting")

        assert quotes.latest["stale"].tolist() == [True, True]
        assert quotes._source.board().is_stale
        assert quotes.silent == ()


class Station:
    """What a frame's silence needs of its connection; its market never closes."""

    hours = BROKERS["sim"].market.hours
    clock = WallClock()
    market_status: ClassVar[dict[str, str | float | bool]] = {}


def told(tape: RollingFrame, code: int, received: int) -> None:
    """Put a row into a tape."""
    tape.buffer.add(code, received, (1.0,))
    tape.buffer.mark(received)
    tape.publish()


def test_a_row_from_before_a_gap_is_stale_until_a_new_one_comes() -> None:
    tape, ledger = RollingFrame([Column("price")], SYMBOLS, limit=10), GapLog()
    silence = Staleness(tape, Station(), GapSelection(ledger, {("market", "quotes"): SYMBOLS}))
    now = time.time_ns() + 1_000_000  # after the selection of gaps was made
    told(tape, 0, now - 30_000)
    told(tape, 1, now - 30_000)
    before = silence.stale(now).tolist()

    ledger.opened("market", started=now - 30_000, reason="cut", cause="cut")
    ledger.closed("market", ended=now - 20_000)
    told(tape, 1, now - 10_000)

    assert before == [False, False]
    assert silence.stale(now).tolist() == [True, False]


def test_a_symbol_whose_gap_was_filled_is_not_stale() -> None:
    tape, ledger = RollingFrame([Column("price")], SYMBOLS, limit=10), GapLog()
    silence = Staleness(tape, Station(), GapSelection(ledger, {("market", "trades"): SYMBOLS}))
    now = time.time_ns() + 1_000_000  # after the selection of gaps was made
    told(tape, 0, now - 30_000)
    told(tape, 1, now - 30_000)

    ledger.opened("market", started=now - 30_000, reason="cut", cause="cut")
    resumed = [Resumed("trades", "AAPL", is_filled=True), Resumed("trades", "MSFT", is_filled=False)]
    ledger.closed("market", ended=now - 20_000, resumed=resumed)

    assert silence.stale(now).tolist() == [False, True]


def test_a_stream_that_is_silent_for_long_is_stale_while_its_market_is_open(sim: Simulator, feed: Feed) -> None:
    quotes = feed.quotes(*SYMBOLS)
    quotes.wait(rows=200)

    later = quotes._staleness.silent(time.time_ns() + HOUR)
    sim.set_market("closed")
    eventually(lambda: feed.market_status.get("market") == "closed")

    assert later == SYMBOLS
    assert quotes._staleness.silent(time.time_ns() + HOUR) == ()


def test_out_of_the_hours_of_its_exchange_silence_is_no_fault(sim: Simulator) -> None:
    next_year = pd.Timestamp.now("America/New_York").normalize() + pd.DateOffset(years=1, month=3, day=1, weekday=1)
    tuesday, saturday = (next_year + pd.Timedelta(days=days, hours=12) for days in (0, 4))
    with Feed(BROKERS["aries"], sim.url, fixed_token("a token"), at_close=lambda closed: None) as feed:
        feed.wait_open(30)
        quotes = feed.quotes(*SYMBOLS)
        quotes.wait(rows=200)

        eventually(lambda: quotes._staleness.silent(tuesday.value) == SYMBOLS)
        closed = quotes._staleness.silent(saturday.value)

    assert closed == ()


def test_the_mean_over_time_is_refused_over_a_gap_or_leaves_it_out(feed: Feed, cut: Callable[[], None]) -> None:
    quotes = feed.quotes(*SYMBOLS)
    quotes.wait(rows=200)
    whole = quotes.time_weighted_mean("bid_price")

    cut()
    quotes.wait(rows=quotes.received + 200)
    with pytest.raises(GapError, match="of AAPL"):
        quotes.time_weighted_mean("bid_price")
    skipped = quotes.time_weighted_mean("bid_price", over_gaps="skip")

    prices = quotes.df.loc[quotes.df["symbol"] == "AAPL", "bid_price"]
    assert prices.min() <= whole <= prices.max()
    assert prices.min() <= skipped <= prices.max()


@pytest.mark.parametrize(
    "wrong", [{"column": "nothing"}, {"symbol": "IBM"}, {"over_gaps": "ignore"}, {"column": "side"}]
)
def test_a_mean_that_cannot_be_is_refused_with_advice(feed: Feed, wrong: dict[str, str]) -> None:
    trades = feed.trades("AAPL")

    with pytest.raises(UsageError):
        trades.time_weighted_mean(**({"column": "price"} | wrong))

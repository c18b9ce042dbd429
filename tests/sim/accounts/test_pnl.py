from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from random import Random

import pytest

from aries_nb.sim.accounts.pnl import INTERVALS, Candles, bucket_start
from tests.sim.trading import NOW


def candles(seed: int = 1) -> Candles:
    return Candles(Random(seed), Decimal(100_000), NOW)


@pytest.mark.parametrize("interval", INTERVALS)
def test_history_ends_at_zero_and_joins_without_a_gap(interval: str) -> None:
    history = candles().since(interval, 0.0)

    assert len(history) >= 3
    assert history[-1].start == bucket_start(interval, NOW)
    assert history[-1].close == 0
    for before, after in pairwise(history):
        assert after.start > before.start
        assert after.open == before.close
    assert all(each.low <= min(each.open, each.close) for each in history)
    assert all(each.high >= max(each.open, each.close) for each in history)
    assert [each.start for each in history] == [bucket_start(interval, each.start) for each in history]


@pytest.mark.parametrize(("interval", "seconds"), [("1m", 60), ("5m", 300)])
def test_coarse_candles_are_aggregates_of_fine_ones(interval: str, seconds: int) -> None:
    made = candles()
    fine = made.since("15s", 0.0)

    for candle in made.since(interval, fine[0].start + seconds):
        within = [each for each in fine if candle.start <= each.start < candle.start + seconds]
        assert (candle.open, candle.close) == (within[0].open, within[-1].close)
        assert (candle.high, candle.low) == (max(each.high for each in within), min(each.low for each in within))


def test_running_bucket_takes_every_value() -> None:
    made = candles()
    start = bucket_start("1m", NOW) + 60

    for second, value in enumerate((5, 12, -3, 4)):
        made.observe(start + second, Decimal(value))

    (candle,) = made.since("1m", start)
    assert (candle.open, candle.high, candle.low, candle.close) == (0, 12, -3, 4)


def test_closed_candle_is_drained_with_the_new_one() -> None:
    made = candles()
    start = bucket_start("15s", NOW) + 15
    made.observe(start, Decimal(1))
    made.drain()

    made.observe(start + 14, Decimal(2))
    made.observe(start + 15, Decimal(3))

    drained = [(each.start, each.open, each.close) for each in made.drain() if each.interval == "15s"]
    assert drained == [(start, 0, 2), (start + 15, 2, 3)]
    assert made.drain() == []


def test_since_begins_with_the_bucket_that_holds_the_time() -> None:
    start = bucket_start("15m", NOW)

    assert [each.start for each in candles().since("15m", start - 1)] == [start - 900, start]


def test_months_are_those_of_the_calendar() -> None:
    assert bucket_start("1mo", NOW) == 1_772_323_200  # 1 March 2026, 0:00 UTC


def test_same_seed_gives_the_same_history() -> None:
    assert candles(3).since("1h", 0.0) == candles(3).since("1h", 0.0)
    assert candles(3).since("1h", 0.0) != candles(4).since("1h", 0.0)

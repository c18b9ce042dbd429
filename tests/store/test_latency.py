"""Latencies of rows, against those put in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aries_nb.model import Column, RecordBuffer
from aries_nb.store import LatencySamples, OrderBook, Percentiles, RollingFrame

NOW = 1_772_463_845_000_000_000
MS = 1_000_000
SECOND = 1_000 * MS


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lags(clock: Clock) -> LatencySamples:
    return LatencySamples(clock)


def buffer(*marked: tuple[int, int]) -> RecordBuffer:
    """Records of which each has an exchange time and a receipt."""
    made = RecordBuffer()
    for ts, received in marked:
        made.add(0, ts, (1.0,))
        made.mark(received)
    return made


def rolling(*rows: tuple[int, int]) -> RollingFrame:
    made = RollingFrame([Column("price", "number")], ["AAPL"], limit=5_000)
    for ts, received in rows:
        made.buffer.add(0, ts, (1.0,))
        made.buffer.mark(received)
        made.publish()
    return made


def test_before_the_first_row_nothing_is_known(lags: LatencySamples) -> None:
    steps = [lags.received_percentiles(), lags.visible_percentiles(), lags.painted_percentiles()]

    assert [step.samples for step in steps] == [0, 0, 0]
    assert all(math.isnan(step.p50_ms) and math.isnan(step.p99_ms) for step in steps)


def test_until_visible_is_counted_from_the_oldest_of_what_is_published_together(
    lags: LatencySamples, clock: Clock
) -> None:
    clock.now = NOW + 30 * MS

    lags.published(buffer((NOW, NOW), (NOW, NOW + 20 * MS)))

    assert Percentiles(30.0, 30.0, 1) == lags.visible_percentiles()
    assert lags.newest == NOW + 20 * MS


def test_what_was_painted_longer_than_a_minute_ago_counts_no_more(lags: LatencySamples, clock: Clock) -> None:
    lags.painted(NOW, NOW + 500 * MS)
    clock.now = NOW + 40 * SECOND
    lags.painted(clock.now - 80 * MS, clock.now)
    before = lags.painted_percentiles()
    clock.now = NOW + 61 * SECOND

    after = lags.painted_percentiles()

    assert before.samples == 2
    assert Percentiles(80.0, 80.0, 1) == after


def test_a_store_passes_each_sample_to_its_connection(lags: LatencySamples, clock: Clock) -> None:
    other = LatencySamples(clock)
    whole = lags.whole = other.whole = LatencySamples(clock)
    clock.now = NOW + 10 * MS

    lags.published(buffer((NOW, NOW)))
    other.published(buffer((NOW, NOW)))
    other.painted(NOW, clock.now)

    assert [whole.visible_percentiles().samples, whole.painted_percentiles().samples] == [2, 1]
    assert [lags.visible_percentiles().samples, lags.painted_percentiles().samples] == [1, 0]


def test_the_latency_of_a_rolling_frame_is_that_of_its_newest_thousand_rows() -> None:
    rows = [(NOW + each * MS, NOW + each * MS + (5 if each < 1_500 else 7) * MS) for each in range(2_000)]

    found = rolling(*rows).received_percentiles()

    lags = [(received - ts) / MS for ts, received in rows[-1_000:]]
    assert Percentiles(*np.percentile(lags, (50, 99)), 1_000) == found


def test_clocks_that_differ_make_a_lag_negative_and_nothing_else() -> None:
    made = rolling(*[(NOW + each * MS + 3_600 * SECOND, NOW + each * MS) for each in range(10)])

    assert Percentiles(-3_600_000.0, -3_600_000.0, 10) == made.received_percentiles()


def test_rows_of_the_past_are_not_late() -> None:
    live = [(NOW + each * MS, NOW + each * MS + 5 * MS) for each in range(1, 100)]

    found = rolling((NOW - 7_200 * SECOND, NOW), (NOW - 60 * SECOND, NOW + MS), *live).received_percentiles()

    assert Percentiles(5.0, 5.0, 99) == found


def test_what_comes_after_a_break_and_is_of_before_it_is_not_late() -> None:
    made = rolling(*[(NOW + each * MS, NOW + each * MS + 5 * MS) for each in range(10)])
    made.interrupted()

    for ts in (NOW + 10 * MS, NOW + 60 * SECOND):  # filled in, and live
        made.buffer.add(0, ts, (1.0,))
        made.buffer.mark(NOW + 60 * SECOND + 5 * MS)
        made.publish()

    assert made.received_percentiles().p99_ms == 5.0


def test_a_book_counts_its_updates() -> None:
    book = OrderBook("AAPL")
    for each in range(1, 4):
        book.buffer.add(0, NOW + each * SECOND, (100.0, 1.0, 0.0))
        book.buffer.mark(NOW + each * SECOND + 20 * MS)
        book.publish()

    assert Percentiles(20.0, 20.0, 3) == book.lags.received_percentiles()


def test_a_publish_without_a_record_is_no_sample() -> None:
    made = rolling()

    made.publish()

    assert made.lags.visible_percentiles().samples == 0


def test_what_was_received_before_a_break_and_not_published_is_no_first_record_after_it() -> None:
    frame = RollingFrame([Column("price")], ["AAPL"], limit=10)
    frame.buffer.add(0, NOW, (1.0,))
    frame.buffer.mark(NOW + MS)

    frame.interrupted()
    frame.buffer.add(0, NOW + SECOND, (2.0,))
    frame.buffer.mark(NOW + SECOND)
    frame.publish()

    assert frame.lags.since == NOW + SECOND

"""Rolling frames as they were: against what was noted at each moment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS
from aries_nb.store import RollingFrame
from aries_nb.store.past.frames import CapturedFrame, FrozenFrame

NOW = 1_772_463_845_000_000_000
SECOND = 1_000_000_000

# Symbol, number of the print, size (0 cancels), and by how many seconds its time is late.
prints = st.tuples(st.integers(0, 1), st.integers(1, 5), st.sampled_from([0.0, 1.0, 2.0]), st.integers(0, 3))


def frozen(frame: RollingFrame, until: int | None = None) -> FrozenFrame:
    return FrozenFrame(CapturedFrame.of(frame), until)


def prices(frame: RollingFrame) -> list[float]:
    return sorted(frame.frame()["price"].tolist())


def newest(frame: RollingFrame) -> list[Any]:
    return [row and row[2][0] for row in frame.latest()]


# The newest of A has left the window when a print of A, which was cancelled before, is cancelled again.
CANCELLED = [(0, 2, 0.0, 0), *[(0, 1, 0.0, 0)] * 5, (1, 1, 0.0, 0), (0, 1, 0.0, 0)]
# The newest of A has left the window, and a newer one has come since; all between are cancelled.
REPLACED = [(0, 1, 1.0, 0), *[(1, 1, 0.0, 0)] * 7, (0, 2, 1.0, 0)]
# The newest of A has left the window, in which a late one of A is.
LATE = [(0, 1, 1.0, 0), *[(1, 1, 0.0, 0)] * 5, (0, 2, 1.0, 9)]

# A print is corrected that came before another one of the same time.
EQUAL_TIMES = [(0, 2, 1.0, 0), (0, 3, 1.0, 1), (0, 2, 2.0, 2)]


@settings(max_examples=60)
@example(CANCELLED, 6)
@example(REPLACED, 6)
@example(LATE, 6)
@example(EQUAL_TIMES, None)
@given(st.lists(prints, max_size=14), st.sampled_from([None, 6]))
def test_prints_are_what_they_were_at_each_moment_but_those_that_have_left(
    written: list[Any], limit: int | None
) -> None:
    rolling = RollingFrame(TRADE_COLUMNS, ["A", "B"], limit=limit)
    noted: list[tuple[int, list[float], list[Any]]] = []
    for at, (code, number, size, late) in enumerate(written):
        now = NOW + at * SECOND
        # The price of each is its place, so that rows can be told apart.
        rolling.buffer.add(code, now - late * SECOND, (1.0 + at, size, "buy", number, "X", "live"))
        rolling.buffer.mark(now)
        rolling.publish()
        noted.append((now, prices(rolling), newest(rolling)))
    slab, start, end, *_ = rolling._published
    held = set(slab.arrays["price"][start:end].tolist())

    for now, rows, latest in noted:
        then = frozen(rolling, now + SECOND // 2)
        expected = [price for price in rows if price in held]
        assert prices(then) == expected
        assert len(then) == len(expected)
        for found, known, last in zip(newest(then), latest, newest(rolling), strict=True):
            # One that had left the window, and is not the newest any more, is not held.
            assert found == known or (known not in (None, last) and known not in held)
        if len(then.frame()) or limit is None:
            assert then.behind == len(written) - (now - NOW) // SECOND - 1
    assert len(frozen(rolling, NOW - 1)) == 0
    assert prices(frozen(rolling)) == prices(rolling)


def test_what_is_written_later_reaches_no_frozen_frame() -> None:
    rolling = RollingFrame(QUOTE_COLUMNS, ["A"], limit=4)
    width = len(QUOTE_COLUMNS)

    def quote(at: int) -> None:
        rolling.buffer.add(0, NOW + at, tuple(float(at + place) for place in range(1, width + 1)))
        rolling.buffer.mark(NOW + at * SECOND)
        rolling.publish()

    for at in range(3):
        quote(at)
    then = frozen(rolling)
    before = then.frame().to_csv(), then.latest(), then.message_counts()
    for at in range(3, 20_000):
        quote(at)

    assert (then.frame().to_csv(), then.latest(), then.message_counts()) == before
    assert sum(then.message_counts()[:2]) == sum(then.message_counts()[2:]) == 3


def test_the_newest_quote_that_has_left_the_window_is_the_newest_still() -> None:
    rolling = RollingFrame(QUOTE_COLUMNS, ["quiet", "busy"], limit=3)
    for at in range(10):
        rolling.buffer.add(int(at > 0), NOW + at * SECOND, (1.0 + at, *[2.0] * (len(QUOTE_COLUMNS) - 1)))
        rolling.buffer.mark(NOW + at * SECOND)
        rolling.publish()

    then = frozen(rolling, NOW + 8 * SECOND)

    assert newest(then) == [1.0, 9.0]
    assert newest(frozen(rolling, NOW + 5 * SECOND)) == [1.0, None]  # what the busy one was then is not held


def test_a_clock_that_was_set_back_puts_no_later_row_into_the_past() -> None:
    rolling = RollingFrame(QUOTE_COLUMNS, ["A"])
    for at, received in enumerate([NOW, NOW + 10 * SECOND, NOW + 2 * SECOND, NOW + 11 * SECOND]):
        rolling.buffer.add(0, NOW + at, (1.0 + at, *[2.0] * (len(QUOTE_COLUMNS) - 1)))
        rolling.buffer.mark(received)
        rolling.publish()

    counts = [len(frozen(rolling, NOW + seconds * SECOND)) for seconds in (0, 5, 10, 11)]

    assert counts == [1, 1, 3, 4]


@pytest.mark.parametrize("seconds", [0, 1])
def test_rows_of_an_instant_are_those_received_until_then_to_the_microsecond(seconds: int) -> None:
    rolling = RollingFrame(QUOTE_COLUMNS, ["A"])
    for at in range(2):
        rolling.buffer.add(0, NOW, tuple([1.0] * len(QUOTE_COLUMNS)))
        rolling.buffer.mark(NOW + at * SECOND)
        rolling.publish()

    assert len(frozen(rolling, NOW + seconds * SECOND)) == seconds + 1
    assert len(frozen(rolling, NOW + seconds * SECOND - 1_000)) == seconds

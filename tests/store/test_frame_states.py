"""A frame that goes on from what was noted of others is, once it is whole, what it would be with all their rows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from aries_nb.model import Column
from aries_nb.store import RollingFrame

if TYPE_CHECKING:
    from aries_nb.model import Checkpoint

SYMBOLS = ("A", "B", "C")
COLUMNS = (Column("price"), Column("size"), Column("side", "text"), Column("trade_id", "integer"))
START = 1_796_000_000_000_000_000
MINUTE = 60_000_000_000


def rows_of(seed: int, count: int, *, step: int = 1_000_000) -> list[tuple[int, int, int, tuple[Any, ...]]]:
    """Rows as (code, exchange time, receipt, values)."""
    rng = random.Random(seed)
    return [
        (
            rng.randrange(3),
            START + number * step - rng.randrange(3_000_000),
            START + number * step,
            (rng.choice([0.0, 1.5, 2.5]), float(number), rng.choice(["buy", "sell"]), number + 1),
        )
        for number in range(count)
    ]


def add(frame: RollingFrame, codes: dict[int, int], rows: Any, first: int = 1) -> None:
    """Add those rows whose code is among `codes`, with the code that it has in this frame."""
    for number, (code, ts, received, values) in enumerate(rows, first):
        if code in codes:
            frame.buffer.number(number)
            frame.buffer.add(codes[code], ts, values)
            frame.buffer.mark(received)
            if number % 7 == 0:
                frame.publish()
    frame.publish()


def go_on(frame: RollingFrame, checkpoint: Checkpoint | None) -> None:
    assert checkpoint is not None
    frame.resume(checkpoint)


def assert_same(found: RollingFrame, expected: RollingFrame) -> None:
    assert found.is_whole
    pd.testing.assert_frame_equal(found.frame(), expected.frame())
    assert found.message_counts() == expected.message_counts()
    assert repr(found.latest()) == repr(expected.latest())  # NaN


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("wanted", [(0, 1, 2), (2, 0), (1,)])
def test_a_frame_is_whole_after_as_many_rows_as_it_keeps(seed: int, wanted: tuple[int, ...]) -> None:
    rows = rows_of(seed, 600)
    place = random.Random(seed).randrange(100, 400)
    live = RollingFrame(COLUMNS, SYMBOLS, limit=50)
    add(live, {0: 0, 1: 1, 2: 2}, rows[:place])
    codes = {code: at for at, code in enumerate(wanted)}
    whole = RollingFrame(COLUMNS, [SYMBOLS[code] for code in wanted], limit=30)
    add(whole, codes, rows)
    frame = RollingFrame(COLUMNS, [SYMBOLS[code] for code in wanted], limit=30)

    go_on(frame, frame.from_notes([live.noted()], [(0, code) for code in wanted], START + place * 1_000_000))
    assert not frame.is_whole
    assert frame.checkpoint() is None
    add(frame, codes, rows[place:], place + 1)

    assert_same(frame, whole)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("window", [{"limit": 400}, {"limit": 90}, {"window_ns": 100_000_000}])
@pytest.mark.parametrize("wanted", [(0, 1, 2), (2, 0), (1, 2, 0)])
def test_a_frame_with_the_rows_that_were_noted_is_whole_at_once(
    seed: int, wanted: tuple[int, ...], window: dict[str, int]
) -> None:
    rows = rows_of(seed, 300)
    live = RollingFrame(COLUMNS, SYMBOLS, limit=200)
    pieces, since = [], 0
    for start in range(0, 200, 50):
        add(live, {0: 0, 1: 1, 2: 2}, rows[start : start + 50], start + 1)
        since, piece = live.recent(since)
        pieces.append(piece)
    codes = {code: at for at, code in enumerate(wanted)}
    whole, frame = (RollingFrame(COLUMNS, [SYMBOLS[code] for code in wanted], **window) for _ in range(2))
    add(whole, codes, rows)
    places = [(0, code) for code in wanted]

    strict = frame.from_notes([live.noted()], places, START, [0])
    assert strict is not None
    assert frame.would_be_whole(strict, strict)
    go_on(frame, frame.with_rows(strict, [live.noted()], places, [pieces]))
    add(frame, codes, rows[200:], 201)

    assert_same(frame, whole)


def test_rows_that_do_not_follow_each_other_are_left_out() -> None:
    live, frame = RollingFrame(COLUMNS, SYMBOLS, limit=200), RollingFrame(COLUMNS, SYMBOLS, limit=100)
    pieces, since, rows = [], 0, rows_of(1, 90)
    for start in range(0, 90, 30):
        add(live, {0: 0, 1: 1, 2: 2}, rows[start : start + 30], start + 1)
        since, piece = live.recent(since)
        pieces.append(piece)
    places = [(0, 0), (0, 1), (0, 2)]
    strict = frame.from_notes([live.noted()], places, START)
    assert strict is not None

    go_on(frame, frame.with_rows(strict, [live.noted()], places, [[pieces[0], pieces[2]]]))

    assert len(frame) == 30
    assert not frame.is_whole


def test_a_frame_of_the_symbols_of_two_others_and_a_new_one() -> None:
    rows = rows_of(1, 400)
    one, other = RollingFrame(COLUMNS, ("B",), limit=9), RollingFrame(COLUMNS, ("A",), limit=9)
    add(one, {1: 0}, rows[:200])
    add(other, {0: 0}, rows[:200])
    late = [row for at, row in enumerate(rows) if at >= 200 or row[0] != 2]
    whole = RollingFrame(COLUMNS, SYMBOLS, limit=30)
    add(whole, {0: 0, 1: 1, 2: 2}, late)
    frame = RollingFrame(COLUMNS, SYMBOLS, limit=30)

    notes = [one.noted(), other.noted()]
    go_on(frame, frame.from_notes(notes, [(1, 0), (0, 0), None], START + 200_000_000))
    add(frame, {0: 0, 1: 1, 2: 2}, rows[200:], len(late) - 199)

    assert_same(frame, whole)


def test_messages_without_a_row_are_counted_by_symbol() -> None:
    live = RollingFrame(COLUMNS, SYMBOLS, limit=9)
    add(live, {0: 0, 1: 1, 2: 2}, rows_of(1, 90))
    live.buffer.counted["rowless"] = 5
    frame = RollingFrame(COLUMNS, ("B",), limit=1)

    assert frame.from_notes([live.noted()], [(0, 1)], START) is None
    found = frame.from_notes([live.noted({1: {"rowless": 2}, 2: {"rowless": 3}})], [(0, 1)], START)
    go_on(frame, found)
    assert frame.message_counts().rowless == 2


def test_a_window_of_time_is_whole_five_minutes_later() -> None:
    rows = rows_of(1, 600, step=2_000_000_000)
    live, whole = (RollingFrame(COLUMNS, SYMBOLS, window_ns=2 * MINUTE) for _ in range(2))
    add(live, {0: 0, 1: 1, 2: 2}, rows[:100])
    add(whole, {0: 0, 1: 1, 2: 2}, rows)
    frame = RollingFrame(COLUMNS, SYMBOLS, window_ns=2 * MINUTE)

    go_on(frame, frame.from_notes([live.noted()], [(0, 0), (0, 1), (0, 2)], rows[99][2]))
    add(frame, {0: 0, 1: 1, 2: 2}, rows[100:300], 101)
    assert not frame.is_whole
    add(frame, {0: 0, 1: 1, 2: 2}, rows[300:], 301)

    assert_same(frame, whole)


def test_a_correction_of_what_may_be_missing_is_not_guessed() -> None:
    rows = rows_of(1, 300)
    live, frame = (RollingFrame(COLUMNS, SYMBOLS, limit=50) for _ in range(2))
    add(live, {0: 0, 1: 1, 2: 2}, rows[:100])
    code, ts, received, (price, *rest) = rows[99]

    go_on(frame, frame.from_notes([live.noted()], [(0, 0), (0, 1), (0, 2)], received))
    add(frame, {0: 0, 1: 1, 2: 2}, [(code, ts, received, (price + 1, *rest)), *rows[100:]], 101)

    assert not frame.is_whole


def test_nothing_is_noted_of_rows_that_were_taken_over_or_are_not_visible() -> None:
    lender, frame = (RollingFrame(COLUMNS, SYMBOLS, limit=50) for _ in range(2))
    add(lender, {0: 0, 1: 1, 2: 2}, rows_of(1, 10))
    frame.take_over([(lender, {0: 0})])
    waiting = RollingFrame(COLUMNS, SYMBOLS, limit=50)
    waiting.buffer.add(0, START, rows_of(1, 1)[0][3])

    assert frame.noted() is None
    assert waiting.noted() is None

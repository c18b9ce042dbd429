"""A rolling frame against a plain list: whatever is written and read in between, both have the same rows."""

from __future__ import annotations

import gc
import math
import random
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import NOT_A_TIME, Column
from aries_nb.store import RollingFrame
from aries_nb.store import rolling as rolling_module
from aries_nb.store.slab import Slab
from aries_nb.store.texts import CodedTexts

NOW = 1_772_463_845_000_000_000
HOUR = 3_600_000_000_000
SYMBOLS = ("MSFT", "AAPL", "TSLA")
NUMBERS = (Column("value"), Column("size"))
MIXED = (
    Column("value"),
    Column("venue", "text"),
    Column("moment", "time"),
    Column("number", "integer"),
    Column("size"),
)
MISSING = {"number": math.nan, "text": "", "time": NOT_A_TIME, "integer": 0}


@pytest.fixture(autouse=True, scope="module")
def small_slabs() -> Iterator[None]:
    """Slabs so small that a few rows fill them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rolling_module, "FIRST_CAPACITY", 8)
        patch.setattr(rolling_module, "MAX_TEXTS", 200)
        yield


class Row(NamedTuple):
    """As it is written, times in ns; `in_us` as it is shown."""

    code: int
    ts: int
    received: int
    values: tuple[Any, ...]

    def in_us(self) -> Row:
        values = list(self.values)
        if len(values) == len(MIXED) and values[2] != NOT_A_TIME:
            values[2] //= 1_000
        return Row(self.code, self.ts // 1_000, self.received // 1_000, tuple(values))


@dataclass
class PlainList:
    """The rows that a frame must have, times in us, computed slowly."""

    limit: int | None = None
    window_ns: int | None = None
    rows: list[Row] = field(default_factory=list)
    evicted: int = 0
    newest: int = 0

    def publish(self, batch: Sequence[Row]) -> None:
        rows = [row.in_us() for row in batch]
        self.rows += rows
        self.newest = max([self.newest, *(row.ts for row in rows if row.ts <= row.received + HOUR // 1_000)])
        while self.rows and self.is_over():
            del self.rows[0]
            self.evicted += 1

    def is_over(self) -> bool:
        if self.limit is not None and len(self.rows) > self.limit:
            return True
        first = self.rows[0]
        too_old = first.ts < self.newest - (self.window_ns or 0) // 1_000
        too_far_ahead = first.ts > first.received + HOUR // 1_000
        return self.window_ns is not None and self.newest > 0 and (too_old or too_far_ahead)


def publish(rolling: RollingFrame, batch: Sequence[Row]) -> None:
    for row in batch:
        rolling.buffer.add(row.code, row.ts, row.values)
        rolling.buffer.mark(row.received)
    rolling.publish()


def rows_of(frame: pd.DataFrame, columns: Sequence[Column]) -> list[Row]:
    """The rows of a frame, times in us; a missing number as None, so that it equals itself."""
    codes = [SYMBOLS.index(symbol) for symbol in frame["symbol"]]
    ts = frame.index.asi8.tolist()
    received = frame["received"].astype("int64").tolist() if len(frame) else []
    values = []
    for column in columns:
        series = frame[column.name]
        if column.type == "time":
            values.append(series.array.asi8.tolist())
        else:
            values.append(
                [None if isinstance(value, float) and math.isnan(value) else value for value in series.tolist()]
            )
    return [Row(*each[:3], each[3:]) for each in zip(codes, ts, received, *values, strict=True)]


def comparable(rows: Sequence[Row]) -> list[Row]:
    return [
        row._replace(values=tuple(None if isinstance(v, float) and math.isnan(v) else v for v in row.values))
        for row in rows
    ]


def times(*, wild: bool) -> st.SearchStrategy[int]:
    near = st.integers(-20, 20).map(lambda seconds: NOW + seconds * 1_000_000_000)
    absurd = st.sampled_from([1, 1_000_000, NOW + 2 * HOUR, 9_000_000_000_000_000_000, NOW - 10**18])
    return near | absurd if wild else near


OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "number": st.floats(allow_nan=True, allow_infinity=False, width=32),
    "text": st.text("AB", max_size=4) | st.text(max_size=3).filter(lambda text: text.isprintable()),
    "time": st.integers(NOW, NOW + HOUR) | st.just(NOT_A_TIME),
    "integer": st.integers(-(2**63), 2**63 - 1),
}


def batches(columns: Sequence[Column], *, wild: bool = True) -> st.SearchStrategy[list[list[Row]]]:
    values = st.tuples(*(OF_TYPE[column.type] for column in columns))
    row = st.builds(Row, st.integers(0, len(SYMBOLS) - 1), times(wild=wild), st.just(NOW), values)
    return st.lists(st.lists(row, max_size=12), min_size=3, max_size=10)


limits = st.fixed_dictionaries({"limit": st.integers(1, 12)})
windows = st.fixed_dictionaries({"window_ns": st.integers(1, 15).map(lambda seconds: seconds * 1_000_000_000)})


def check_against_a_list(columns: Sequence[Column], written: list[list[Row]], window: dict[str, int]) -> None:
    rolling, plain = RollingFrame(columns, SYMBOLS, **window), PlainList(**window)
    snapshots: list[tuple[pd.DataFrame, list[Row]]] = []
    count = 0
    for batch in written:
        publish(rolling, batch)
        plain.publish(batch)
        count += len(batch)

        assert len(rolling) == len(plain.rows)
        assert (rolling.version, rolling.evicted) == (count, plain.evicted)
        assert rolling.version == rolling.evicted + len(rolling)
        arrived = comparable(plain.rows)
        snapshots += [
            (rolling.frame_since(0)[0], arrived),
            (rolling.frame(), sorted(arrived, key=lambda row: row.ts)),
        ]
    for frame, expected in snapshots:
        assert expected == rows_of(frame, columns)


@given(batches(NUMBERS), limits | windows)
@settings(max_examples=50)
def test_a_frame_of_numbers_equals_a_list(written: list[list[Row]], window: dict[str, int]) -> None:
    check_against_a_list(NUMBERS, written, window)


@given(batches(MIXED), limits | windows)
@settings(max_examples=50)
def test_a_frame_of_mixed_columns_equals_a_list(written: list[list[Row]], window: dict[str, int]) -> None:
    check_against_a_list(MIXED, written, window)


@pytest.mark.parametrize("columns", [NUMBERS, MIXED])
@pytest.mark.parametrize("window", [{"limit": 1}, {"limit": 50}, {"window_ns": 5 * 10**9}])
def test_a_long_frame_equals_a_list(columns: Sequence[Column], window: dict[str, int]) -> None:
    draw = random.Random(2_026)
    values = {
        "number": draw.random,
        "text": lambda: f"T{draw.randrange(150)}",
        "time": lambda: NOW,
        "integer": lambda: -7,
    }
    written = []
    for second in range(150):
        late = [second - draw.choice([0, 0, 0, 1, 3, 60, -10_000]) for _ in range(draw.randrange(12))]
        written.append(
            [
                Row(draw.randrange(3), NOW + each * 10**9, NOW, tuple(values[column.type]() for column in columns))
                for each in late
            ]
        )

    check_against_a_list(columns, written, window)


@given(batches(MIXED), limits | windows, st.lists(st.integers(0, 40), min_size=10, max_size=10))
@settings(max_examples=60)
def test_each_way_of_reading_gives_the_same_rows(
    written: list[list[Row]], window: dict[str, int], firsts: list[int]
) -> None:
    rolling, plain = RollingFrame(MIXED, SYMBOLS, **window), PlainList(**window)
    newest: list[Row | None] = [None] * len(SYMBOLS)
    for batch, first in zip(written, firsts, strict=False):
        publish(rolling, batch)
        plain.publish(batch)
        for row in batch:
            if row.ts <= row.received + 300 * 10**9:  # else its time is wrong
                newest[row.code] = row

        expected = comparable(plain.rows)[max(first - plain.evicted, 0) :]
        frame, end = rolling.frame_since(first)
        rows = rolling.rows(first)
        board = rolling.board(is_stale=True, rejected={"NOPE": "unknown symbol"})

        assert expected == rows_of(frame, MIXED)
        assert end == rows.end == rolling.version
        assert rows.window_start == rolling.evicted
        assert rows.first == rows.end - len(expected)
        assert rows.symbols == board.symbols == SYMBOLS
        assert [row.ts for row in expected] == rows.ts.tolist()
        assert [row.code for row in expected] == rows.codes.tolist()
        for place, name in ((0, "value"), (4, "size")):
            np.testing.assert_array_equal(rows.numbers[name], np.array([row.values[place] for row in expected], float))
        assert str([row and (row.ts, row.received, row.values) for row in newest]) == str(rolling.latest())  # with NaN
        assert board.columns == ("value", "size")
        assert (board.is_stale, board.rejected) == (True, {"NOPE": "unknown symbol"})
        assert [row.received if row else 0 for row in newest] == board.received.tolist()
        np.testing.assert_array_equal(
            board.numbers, [[row.values[0], row.values[4]] if row else [math.nan, math.nan] for row in newest]
        )


@pytest.mark.parametrize("window", [{"limit": 10}, {"window_ns": HOUR}])
def test_frame_has_the_types_it_promises_also_when_empty(window: dict[str, int]) -> None:
    rolling = RollingFrame(MIXED, SYMBOLS, **window)

    empty = rolling.frame()
    publish(rolling, [Row(1, NOW, NOW, (1.5, "D", NOW, 7, 2.0))])
    filled = rolling.frame()

    utc = pd.DatetimeTZDtype("us", "UTC")
    for frame in (empty, filled):
        assert (frame.index.name, frame.index.dtype) == ("ts", utc)
        assert list(frame.columns) == ["received", "symbol", "value", "venue", "moment", "number", "size"]
        kinds = [frame[name].dtype for name in ("received", "moment", "value", "size", "number")]
        assert kinds == [utc, utc, "float64", "float64", "int64"]
        assert [frame[name].dtype for name in ("symbol", "venue")] == ["str", "str"]
    assert (len(empty), len(filled)) == (0, 1)


def test_nothing_added_is_nothing_published() -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, limit=5)
    rung: list[int] = []
    undo = rolling.watch(lambda: rung.append(rolling.version))

    rolling.publish()
    publish(rolling, [Row(0, NOW, NOW, (1.0, 2.0))])
    undo()
    publish(rolling, [Row(0, NOW, NOW, (1.0, 2.0))])

    assert rung == [1]


def test_rows_of_one_publish_keep_their_own_times_of_receipt() -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, limit=100)

    for received, count in ((NOW, 2), (NOW + 5_000, 0), (NOW + 7_999, 9)):
        for _ in range(count):
            rolling.buffer.add(0, NOW, (1.0, 2.0))
        rolling.buffer.mark(received)
    rolling.publish()

    assert rolling.frame()["received"].astype("int64").tolist() == [NOW // 1_000] * 2 + [NOW // 1_000 + 7] * 9


# Prices.


def test_a_price_of_zero_is_no_price_and_a_size_of_zero_is_a_size() -> None:
    columns = (Column("bid_price"), Column("bid_size"), Column("last_price"), Column("net_change"))
    rolling = RollingFrame(columns, SYMBOLS, limit=10)

    publish(rolling, [Row(0, NOW, NOW, (0.0, 0.0, 5.0, 0.0)), Row(1, NOW, NOW, (-37.63, 4.0, 0, 0.0))])

    frame = rolling.frame()
    np.testing.assert_array_equal(frame["bid_price"], [math.nan, -37.63])
    np.testing.assert_array_equal(frame["last_price"], [5.0, math.nan])
    assert frame["bid_size"].tolist() == [0.0, 4.0]
    assert frame["net_change"].tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(rolling.board(is_stale=False).numbers[0], [math.nan, 0.0, 5.0, 0.0])


@given(st.lists(st.sampled_from([0.0, -0.0, 0, 1.5, -2.0, math.nan]), max_size=40), st.integers(1, 30))
def test_prices_of_zero_are_found_in_few_and_in_many_rows(prices: list[float], repeated: int) -> None:
    rolling = RollingFrame((Column("size"), Column("price")), SYMBOLS, limit=2_000)
    written = prices * repeated

    publish(rolling, [Row(0, NOW, NOW, (0.0, price)) for price in written])

    frame = rolling.frame()
    np.testing.assert_array_equal(frame["price"], [price or math.nan for price in written])
    assert frame["size"].tolist() == [0.0] * len(written)


# Arrival numbers.


def numbers_of(rolling: RollingFrame) -> list[int]:
    slab, start, end, *_ = rolling._published
    return slab.seq[start:end].tolist()


@given(st.lists(st.lists(st.integers(1, 3), max_size=12), max_size=10), st.integers(1, 12))
def test_each_row_has_its_arrival_number_also_when_the_slab_is_replaced(steps: list[list[int]], limit: int) -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, limit=limit)
    seq, written = 0, []

    for batch in steps:
        for step in batch:  # between the rows, others of the feed arrive elsewhere
            seq += step
            rolling.buffer.number(seq)
            rolling.buffer.add(0, NOW, (float(seq), 0.0))
            rolling.buffer.mark(NOW)
            written.append(seq)
        rolling.publish()

    assert numbers_of(rolling) == written[-limit:]
    assert rolling.frame()["value"].tolist() == written[-limit:]
    assert "seq" not in rolling.frame().columns


def test_rows_of_a_backfill_are_numbered_as_they_arrive_and_the_others_keep_their_numbers() -> None:
    rolling = RollingFrame((Column("value"),), SYMBOLS, limit=100)
    for seq in (5, 6):
        rolling.buffer.number(seq)
        rolling.buffer.add(0, NOW, (float(seq),))
        rolling.buffer.mark(NOW)
    first, second = rolling.begin_backfill(), rolling.begin_backfill()
    rolling.buffer.number(9)
    for price in (9.0, 10.0):
        rolling.buffer.add(0, NOW, (price,))
    rolling.buffer.mark(NOW)

    rolling.backfill(first, [(0, NOW, (20.0,)), (0, NOW, (21.0,))], NOW, seq=20)
    rolling.backfill(second, [(0, NOW, (22.0,))], NOW, seq=22)

    assert numbers_of(rolling) == rolling.frame()["value"].tolist() == [5, 20, 21, 22, 6, 9, 10]


def test_a_row_that_no_connection_brought_has_no_number() -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, limit=10)

    publish(rolling, [Row(0, NOW, NOW, (1.0, 2.0))] * 2)

    assert numbers_of(rolling) == [0, 0]


# Memory.


def numbered(first: int, count: int, texts: int = 5) -> list[Row]:
    return [
        Row(n % 3, NOW + n * 1_000, NOW, (float(n), f"T{n % texts}", NOW + n * 1_000, n, float(-n)))
        for n in range(first, first + count)
    ]


def test_snapshots_share_the_memory_of_the_slab() -> None:
    rolling = RollingFrame(MIXED, SYMBOLS, limit=1_000)
    publish(rolling, numbered(0, 500))
    earlier = rolling.frame()
    publish(rolling, numbered(500, 100))
    later = rolling.frame()
    slab = rolling._published.slab

    assert np.shares_memory(earlier.index.asi8, later.index.asi8)
    for name, array in slab.arrays.items():
        for frame in (earlier, later):
            values = frame[name].array
            codes = getattr(values, "_codes", None)
            memory = getattr(values, "asi8", frame[name].to_numpy()) if codes is None else codes
            assert np.shares_memory(memory, array)
    assert np.shares_memory(later["symbol"].array._codes, slab.codes)
    assert np.shares_memory(later["received"].array.asi8, slab.received)


@pytest.mark.parametrize("count", [1, 126, 127, 128, 300, 32_766, 32_767, 32_768])
def test_any_number_of_symbols_is_shared_and_shown(count: int) -> None:
    symbols = [f"S{number}" for number in range(count)]
    rolling = RollingFrame(NUMBERS, symbols, limit=10)

    publish(rolling, [Row(count - 1, NOW, NOW, (1.0, 2.0)), Row(0, NOW, NOW, (1.0, 2.0))])

    frame = rolling.frame()
    assert frame["symbol"].tolist() == [symbols[-1], symbols[0]]
    assert np.shares_memory(frame["symbol"].array._codes, rolling._published.slab.codes)


@pytest.mark.parametrize("in_one", [True, False])
def test_any_number_of_texts_is_shown_up_to_the_cap(*, in_one: bool) -> None:
    columns = (Column("venue", "text"), Column("tick", "text"))
    rolling = RollingFrame(columns, SYMBOLS, limit=10_000)
    rows = [Row(0, NOW, NOW, (f"V{n}", "+-"[n % 2])) for n in range(195)] * 2
    frames = []

    for batch in [rows] if in_one else [[row] for row in rows]:
        publish(rolling, batch)
        frames.append(rolling.frame())

    for frame in (*frames[::50], frames[-1]):
        assert [row.values for row in rows[: len(frame)]] == list(zip(frame["venue"], frame["tick"], strict=True))


def test_texts_beyond_the_cap_become_one() -> None:
    rolling = RollingFrame((Column("venue", "text"),), SYMBOLS, limit=10_000)

    publish(rolling, [Row(0, NOW, NOW, (f"V{n}",)) for n in range(500)])
    publish(rolling, [Row(0, NOW, NOW, ("V5",)), Row(0, NOW, NOW, ("new",))])

    venues = rolling.frame()["venue"].tolist()
    assert venues[:200] == [f"V{n}" for n in range(200)]
    assert set(venues[200:500]) == {"…"}
    assert venues[500:] == ["V5", "…"]


def test_endless_text_is_cut() -> None:
    rolling = RollingFrame((Column("venue", "text"),), SYMBOLS, limit=10)

    publish(rolling, [Row(0, NOW, NOW, ("x" * 1_000_000,)), Row(0, NOW, NOW, ("x" * 1_000_001,))])

    first, second = rolling.frame()["venue"]
    assert first == second
    assert len(first) == 1_000
    assert first.endswith("x…")


@pytest.mark.parametrize("then", ["nothing", "rows", "a new text", "turning over"])
@pytest.mark.parametrize("name", ["value", "venue", "moment", "number", "size", "symbol"])
@pytest.mark.parametrize("is_alone", [True, False])
def test_what_a_user_writes_reaches_neither_the_rolling_frame_nor_another_snapshot(
    name: str, then: str, *, is_alone: bool
) -> None:
    rolling = RollingFrame(MIXED, SYMBOLS, limit=20)
    publish(rolling, numbered(0, 12))
    mine = rolling.frame()
    others = [rolling.frame()] if not is_alone else []
    if then == "turning over":
        publish(rolling, numbered(12, 100))
    elif then != "nothing":
        publish(rolling, numbered(12, 3, texts=100 if then == "a new text" else 5))
    expected = rows_of(rolling.frame(), MIXED)
    gc.collect()

    mine.loc[mine.index[3:6], name] = mine[name].iloc[0]
    mine.iloc[7, mine.columns.get_loc(name)] = mine[name].iloc[1]

    before = [row.in_us() for row in numbered(0, 12)]
    assert before != rows_of(mine, MIXED)
    assert all(before == rows_of(other, MIXED) for other in others)
    assert expected == rows_of(rolling.frame(), MIXED)


def test_small_limit_does_not_turn_over_every_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling_module, "FIRST_CAPACITY", 4_096)
    rolling = RollingFrame(NUMBERS, SYMBOLS, limit=1)
    slabs = set()

    for n in range(4_096):
        publish(rolling, [Row(0, NOW + n, NOW, (float(n), 0.0))])
        slabs.add(id(rolling._published.slab))

    assert len(slabs) == 1
    assert rolling.frame()["value"].tolist() == [4_095.0]


def test_a_full_frame_takes_little_more_than_twice_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 10_000
    rolling = RollingFrame(MIXED, SYMBOLS, limit=limit)
    for first in range(0, 50_000, 1_000):
        publish(rolling, numbered(first, 1_000))

    slab = rolling._published.slab
    arrays = [slab.ts, slab.received, slab.seq, slab.codes, *slab.arrays.values()]

    raw = sum(array.itemsize for array in arrays) * limit
    assert sum(array.nbytes for array in arrays) <= 2.2 * raw


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(each) is kind for each in gc.get_objects())


def test_replaced_slabs_are_freed() -> None:
    before = alive(Slab)
    rolling = RollingFrame(MIXED, SYMBOLS, limit=10)

    for first in range(0, 500, 10):
        publish(rolling, numbered(first, 10))
        rolling.frame()

    assert rolling.evicted == 490
    assert alive(Slab) == before + 1


def test_snapshots_read_without_end_leave_a_limited_number_of_references() -> None:
    rolling = RollingFrame(MIXED, SYMBOLS, limit=10)
    publish(rolling, numbered(0, 5))
    before = alive(weakref.ref)

    for _ in range(700):
        rolling.frame()

    # One for each snapshot and column, forgotten by pandas five hundred at a time.
    assert alive(weakref.ref) - before <= 501 * (2 + len(MIXED))


# The window of time.


def window_of(rolling: RollingFrame, *rows: tuple[int, int]) -> list[int]:
    """Publish rows of (seconds, seconds of receipt) one by one; the seconds of those still in the window."""
    for ts, received in rows:
        publish(rolling, [Row(0, NOW + ts * 10**9, NOW + received * 10**9, (0.0, 0.0))])
    return [(ts - NOW // 1_000) // 10**6 for ts in rolling.frame_since(0)[0].index.asi8.tolist()]


def test_row_as_old_as_the_window_is_still_in_it() -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, window_ns=10 * 10**9)

    assert window_of(rolling, (0, 0), (1, 1), (10, 10)) == [0, 1, 10]
    assert window_of(rolling, (11, 11)) == [1, 10, 11]


def test_late_row_does_not_turn_the_window_back() -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, window_ns=10 * 10**9)

    assert window_of(rolling, (20, 20), (5, 21), (25, 25)) == [20, 5, 25]


def test_time_of_the_far_future_neither_empties_the_window_nor_keeps_it() -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, window_ns=10 * 10**9)

    assert window_of(rolling, (0, 0), (9_000_000, 1), (2, 2)) == [0, 9_000_000, 2]
    assert window_of(rolling, (11, 11)) == [2, 11]


def test_newest_time_is_found_anywhere_in_a_large_batch() -> None:
    rolling = RollingFrame(NUMBERS, SYMBOLS, window_ns=10 * 10**9)

    publish(rolling, [Row(0, NOW + 45 * 10**9, NOW, (0.0, 0.0))] * 20_000)
    publish(rolling, [Row(0, NOW + seconds * 10**9, NOW, (0.0, 0.0)) for seconds in [100] + [50] * 6_000])

    assert len(rolling) == 6_001


def test_window_holds_no_more_than_the_most_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling_module, "MAX_ROWS", 50)
    rolling = RollingFrame(NUMBERS, SYMBOLS, window_ns=HOUR)

    for first in range(0, 500, 7):
        publish(rolling, [Row(0, NOW + n, NOW, (float(n), 0.0)) for n in range(first, first + 7)])

    assert len(rolling) == 50
    assert rolling.evicted + 50 == rolling.version == 504
    assert rolling._published.slab.capacity <= 100


# Threads.


@pytest.mark.parametrize("window", [{"limit": 100}, {"window_ns": 150_000}])
def test_a_reader_on_another_thread_sees_whole_rows_in_order_and_never_goes_back(window: dict[str, int]) -> None:
    rolling = RollingFrame(MIXED, SYMBOLS, **window)
    is_over = threading.Event()
    problems: list[str] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        seen = 0
        while not is_over.is_set():
            evicted, frame = rolling.evicted, rolling.frame()
            rows = rolling.rows(0)
            numbers = frame["number"].to_numpy()
            first, end = (numbers[0], numbers[-1] + 1) if len(numbers) else (0, 0)
            expected = comparable([row.in_us() for row in numbered(int(first), len(numbers), texts=150)])
            if expected != rows_of(frame, MIXED):
                problems.append(f"rows {first} to {end} are not those that were written")
            if end < seen or first < evicted or (len(numbers) and rows.end < end):
                problems.append(f"went back from {seen} to {end}")
            if rows.numbers["value"].tolist() != [float(n) for n in range(rows.first, rows.end)]:
                problems.append(f"arrays from {rows.first} to {rows.end} are not those that were written")
            seen = end
            reads += 1

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    written = 0
    try:
        while reader.is_alive() and (written < 3_000 or reads < 20):
            publish(rolling, numbered(written, 1 + written % 17, texts=150))
            written += 1 + written % 17
    finally:
        is_over.set()
        reader.join(30)

    assert not reader.is_alive()
    assert problems == []


def test_texts_are_read_while_another_thread_adds_some() -> None:
    texts, is_over = [f"text {number}" for number in range(500)], threading.Event()
    array = CodedTexts.of(np.arange(500, dtype=np.uint16), texts)
    expected = texts.copy()

    def add() -> None:
        while not is_over.is_set() and len(texts) < 60_000:
            texts.append("more")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        wrong = 0
        for _ in range(40):
            del texts[500:]
            writer = threading.Thread(target=add, daemon=True)
            writer.start()
            while writer.is_alive():
                wrong += array.to_numpy().tolist() != expected
            writer.join(30)
    finally:
        is_over.set()
        sys.setswitchinterval(interval)

    assert wrong == 0


def test_backfilled_rows_come_before_those_that_waited() -> None:
    rolling = RollingFrame([Column("value")], ["A", "B"], limit=10)
    publish(rolling, [Row(0, NOW, NOW, (1.0,))])

    first, second = rolling.begin_backfill(), rolling.begin_backfill()
    publish(rolling, [Row(0, NOW + 5, NOW, (5.0,)), Row(1, NOW + 6, NOW, (6.0,))])
    held = len(rolling)
    is_first_filled = rolling.backfill(first, [(0, NOW + 2, (2.0,)), (0, NOW + 3, (3.0,))], NOW + 9)
    still_held = len(rolling)
    is_second_filled = rolling.backfill(second, [], NOW + 9)

    assert (held, still_held) == (1, 1)
    assert (is_first_filled, is_second_filled) == (True, True)
    assert rolling.frame()["value"].tolist() == [1.0, 2.0, 3.0, 5.0, 6.0]
    assert rolling.message_counts()[:3] == (3, 2, 5)
    assert rolling.backfill(first, [(0, NOW, (7.0,))], NOW) is False


def test_too_many_waiting_rows_are_published_and_the_backfill_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling_module, "MAX_PENDING", 2)
    rolling = RollingFrame([Column("value")], ["A"], limit=10)
    number = rolling.begin_backfill()

    publish(rolling, [Row(0, NOW, NOW, (price,)) for price in (1.0, 2.0, 3.0)])
    is_filled = rolling.backfill(number, [(0, NOW, (0.0,))], NOW)

    assert is_filled is False
    assert rolling.frame()["value"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first gap first", "second gap first"])
def test_each_of_two_gaps_is_filled_at_its_place(order: tuple[int, int]) -> None:
    rolling = RollingFrame([Column("value")], ["A"], limit=20)
    publish(rolling, [Row(0, NOW, NOW, (1.0,))])
    missing = [[(0, NOW + at, (float(at),)) for at in (2, 3, 4)], [(0, NOW + at, (float(at),)) for at in (7, 8)]]

    numbers = []
    for at in (5, 9):
        for each in (at, at + 1) if at == 5 else (at,):
            rolling.buffer.add(0, NOW + each, (float(each),))
        rolling.buffer.mark(NOW + at)
        numbers.append(rolling.begin_backfill())
    for number in order:
        rolling.backfill(numbers[number], missing[number], NOW + 99)

    frame = rolling.frame()
    assert frame["value"].tolist() == [float(each) for each in range(1, 10)]
    assert frame["received"].is_monotonic_increasing
    assert (rolling.is_backfilling, rolling.message_counts()[:3]) == (False, (4, 5, 9))


def test_message_counts_add_up_during_a_backfill() -> None:
    rolling = RollingFrame([Column("value")], ["A"], limit=20)
    rolling.buffer.add(0, NOW, (1.0,))
    rolling.buffer.mark(NOW)

    first, second = rolling.begin_backfill(), rolling.begin_backfill()
    rolling.backfill(first, [(0, NOW, (0.0,))] * 5, NOW)
    held = rolling.message_counts()
    rolling.backfill(second, [], NOW)

    assert (held.received, held.filled, held.visible) == (0, 0, 0)
    assert rolling.message_counts()[:3] == (1, 5, 6)


DAY = 86_400 * 10**9


def quoted(rolling: RollingFrame, *rows: tuple[int, float]) -> None:
    """Publish rows of the first symbol, each with its exchange time after `NOW` in ns; all are received at once."""
    for after, price in rows:
        rolling.buffer.add(0, NOW + after, (price,))
    rolling.buffer.mark(NOW + 10**9)
    rolling.publish()


@pytest.mark.parametrize("ahead", [400 * 10**9, 3_600 * 10**9, DAY, 30 * DAY])
def test_a_row_with_a_wrong_time_is_kept_and_is_never_the_newest(ahead: int) -> None:
    rolling = RollingFrame([Column("bid_price")], SYMBOLS, limit=10)

    quoted(rolling, (0, 1.0), (ahead, 9.0))
    after_it = rolling.latest()[0]
    quoted(rolling, (1_000, 2.0))

    assert after_it == (NOW, (NOW + 10**9) // 1_000 * 1_000, (1.0,))
    newest = rolling.latest()[0]
    assert newest is not None
    assert newest[2] == (2.0,)
    assert rolling.misdated()["bid_price"].tolist() == [9.0]
    assert sorted(rolling.frame()["bid_price"]) == [1.0, 2.0, 9.0]
    assert rolling.rows(0).is_credible.tolist() == [True, False, True]
    assert rolling.ticks("bid_price").values.tolist() == [1.0, 2.0]
    assert abs(rolling.received_percentiles().p50_ms - 1_000) < 1


def test_a_late_print_is_not_the_latest_trade_and_a_quote_is_the_latest_by_arrival() -> None:
    trades, quotes = (RollingFrame([Column(name)], SYMBOLS, limit=10) for name in ("price", "bid_price"))

    for rolling in (trades, quotes):
        quoted(rolling, (1_000, 1.0), (500, 2.0))
        quoted(rolling, (700, 3.0))

    assert [rolling.latest()[0][2] for rolling in (trades, quotes)] == [(1.0,), (3.0,)]  # type: ignore[index]
    quoted(trades, (1_000, 4.0))
    assert trades.latest()[0][2] == (4.0,)  # type: ignore[index]

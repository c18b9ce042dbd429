"""Arithmetic of two series against a plain loop over the rows in the order of arrival."""

from __future__ import annotations

import math
import operator
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import Column
from aries_nb.store import RollingFrame
from aries_nb.store.derived.combined import Combined, Rebased, Side, WithNumber
from aries_nb.store.derived.computed import ComputedFrame
from aries_nb.store.derived.reader import RowReader
from tests.store.derived.streams import NOW, SYMBOLS, add, derived, rows_of

SECOND = 1_000_000_000

# Which side, the time since the row before in ms, the price or None, whether the pass ends here.
steps = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 1, 2]),
        st.sampled_from([1, 120, 800, 4_000, 30_000]),
        st.one_of(st.none(), st.integers(1, 500).map(float)),
        st.booleans(),
    ),
    min_size=1,
    max_size=150,
)


class Pair:
    """Two frames of one stream, and the ratio of their prices, read up to the newest arrival number."""

    def __init__(self, gaps: list[tuple[int, str]]) -> None:
        self.sources = [RollingFrame([Column("bid")], [name], limit=10_000) for name in "XY"]
        sides = [Side("bid", name, is_by_time=False, gaps=lambda: gaps) for name in "XY"]
        self.machine = Combined(operator.truediv, *sides, "X / Y")
        self.store = ComputedFrame(self.machine.columns, self.machine.symbols, limit=10_000)
        self.readers = [RowReader(source) for source in self.sources]

    def advance(self, until: int) -> None:
        rows = self.machine.advance([reader.take(until) for reader in self.readers])
        if rows is not None:
            self.store.append(rows)

    def rows(self) -> list[tuple[int, float]]:
        slab, start, end, *_ = self.store.published
        return list(zip(slab.seq[start:end].tolist(), slab.arrays["value"][start:end].tolist(), strict=True))


def plain(events: list[tuple[int, int, int, float]], gaps: list[int]) -> list[tuple[int, float]]:
    """A row at each event: arrival number, side (2 for both), time in us, price."""
    newest: dict[int, tuple[int, float]] = {}
    seen: dict[int, list[int]] = {0: [], 1: []}
    limits = {0: 300_000_000, 1: 300_000_000}
    found = []
    for seq, side, at, price in events:
        for each in (0, 1) if side == 2 else (side,):
            if len(seen[each]) % 64 == 0 and seen[each]:
                times = seen[each][-256:]
                ways = [b - a for a, b in pairwise(times) if b - a >= 100_000]
                usual = 5_000_000 if len(seen[each]) > 100 else 300_000_000
                limits[each] = usual if len(ways) < 4 else max(5_000_000, 20 * int(statistics.median(ways)))
            newest[each] = at, price
            seen[each].append(at)
        value = math.nan
        if len(newest) == 2:
            value = newest[0][1] / newest[1][1]
            for each, (since, _) in newest.items():
                is_in_gap = any(since <= gap < at for gap in gaps)
                if at - since > limits[each] or is_in_gap:
                    value = math.nan
        found.append((seq, value))
    return found


@settings(max_examples=30)
@given(steps=steps, gap_at=st.lists(st.integers(0, 149), max_size=2))
def test_a_row_at_each_change_with_the_others_newest_value(steps, gap_at) -> None:
    gaps: list[tuple[int, str]] = []
    pair = Pair(gaps)
    now, done, events = 0, 0, []
    for seq, (side, later, price, is_cut) in enumerate(steps, start=1):
        now += later * 1_000
        if seq in gap_at:
            gaps.append((NOW // 1_000 + now - 1, ""))
        value = math.nan if price is None else price
        for each in (0, 1) if side == 2 else (side,):
            buffer = pair.sources[each].buffer
            buffer.number(seq)
            buffer.add(0, NOW + now * 1_000, (value,))
            buffer.mark(NOW + now * 1_000)
        events.append((seq, side, NOW // 1_000 + now, value))
        if is_cut or seq == len(steps):
            pair.sources[0].publish()
            pair.advance(done)  # until the other has published as well
            pair.sources[1].publish()
            pair.advance(seq)
            done = seq

    np.testing.assert_array_equal(pair.rows(), plain(events, [at for at, _ in gaps]))


def test_rows_behind_the_newest_complete_number_wait() -> None:
    pair = Pair([])
    for source, seq, price in ((0, 1, 10.0), (0, 3, 30.0), (1, 2, 2.0)):
        pair.sources[source].buffer.number(seq)
        pair.sources[source].buffer.add(0, NOW + seq * SECOND, (price,))
        pair.sources[source].buffer.mark(NOW + seq * SECOND)
    pair.sources[0].publish()
    pair.advance(1)
    pair.sources[1].publish()
    pair.advance(3)

    np.testing.assert_array_equal(pair.rows(), [(1, math.nan), (2, 5.0), (3, 15.0)])


def test_a_number_and_a_function_of_one_series() -> None:
    source = rows_of([Column("bid")])
    frame = derived(source, WithNumber(lambda values: 2 / values, "bid", "2 / X"))
    for seq, price in enumerate((1.0, math.nan, 4.0)):
        add(source, seq + 1, 0, seq, (price,))
    source.publish()
    frame.advance()

    np.testing.assert_array_equal(frame.frame()["value"], [2.0, math.nan, 0.5])
    assert frame.frame()["symbol"].unique().tolist() == ["2 / X"]


@pytest.mark.parametrize("cut", [(), (1,), (0, 2, 3)])
def test_the_first_value_of_each_symbol_is_the_base(cut) -> None:
    source = rows_of([Column("bid"), Column("ask")])
    frame = derived(source, Rebased(["bid", "ask"], SYMBOLS, 100.0, "mid"))
    rows = [(0, math.nan), (1, 50.0), (0, 10.0), (0, 11.0), (1, 25.0), (0, 9.0)]
    for seq, (code, price) in enumerate(rows):
        add(source, seq + 1, code, seq, (price - 1, price + 1))
        if seq in cut:
            source.publish()
            frame.advance()
    source.publish()
    frame.advance()

    np.testing.assert_allclose(frame.frame()["mid"], [math.nan, 100.0, 100.0, 110.0, 50.0, 90.0])


PRINT = (Column("price"), Column("size"), Column("trade_id", "integer"), Column("source", "text"))

# Which side, how late in s, which of the side's prints it is about (the newest is 0; above 3 it is a new one), whether
# it cancels that, whether the pass ends here.
prints = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0, 0, 2, 5]), st.integers(0, 9), st.booleans(), st.booleans()),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60)
@given(prints=prints)
def test_a_print_counts_until_its_correction_arrives_however_the_rows_are_cut(prints) -> None:
    sources = [RollingFrame(PRINT, [name], limit=10_000) for name in "XY"]
    machine = Combined(operator.truediv, *[Side("price", name, is_by_time=True) for name in "XY"], "X / Y")
    store = ComputedFrame(machine.columns, machine.symbols, limit=10_000)
    readers = [RowReader(source) for source in sources]
    known: list[list[int]] = [[], []]  # the times of each side's prints
    newest: list[tuple[int, float]] = [(0, math.nan), (0, math.nan)]
    cancelled: set[tuple[int, int]] = set()
    expected = []
    for seq, (side, late, back, is_cancel, is_cut) in enumerate(prints, start=1):
        number = len(known[side]) - 1 - back
        is_new = back > 3 or number < 0 or (side, number) in cancelled
        if is_new:
            number, is_cancel = len(known[side]), False
            known[side].append(10 + seq - late)
        at, price = known[side][number], float(seq)
        if is_cancel:
            cancelled.add((side, number))
        elif at >= newest[side][0]:
            newest[side] = at, price
            expected.append((seq, newest[0][1] / newest[1][1]))
        add(sources[side], seq, 0, at * SECOND, (price, 0.0 if is_cancel else 1.0, number + 1, "live"))
        if is_cut or seq == len(prints):
            for place, source in enumerate(sources):
                source.publish()
                if not place:  # until the other has published as well
                    rows = machine.advance([reader.take(0) for reader in readers])
                    assert rows is None
            rows = machine.advance([reader.take(seq) for reader in readers])
            if rows is not None:
                store.append(rows)

    slab, start, end, *_ = store.published
    found = zip(slab.seq[start:end].tolist(), slab.arrays["value"][start:end].tolist(), strict=True)
    np.testing.assert_array_equal(list(found), expected)

"""Frames with a row for each row of their source: one symbol's part, columns more."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, Column
from aries_nb.store import RollingFrame
from aries_nb.store.derived.computed import ComputedFrame
from aries_nb.store.derived.reader import RowReader
from aries_nb.store.derived.row_by_row import Assigned, DependsOnOtherRows, OfSymbol, tried
from aries_nb.store.derived.rows import DerivedRows
from tests.store.derived.streams import MICROSECOND, NOW, SYMBOLS, Row, add, cuts, derived, rows_of, streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.store.slab import Slab

COLUMNS = (Column("price"), Column("side", "text"), Column("trade_id", "integer"), Column("size"))
FUNCTIONS = {"double": lambda df: df.price * 2, "of": lambda df: df.symbol + "/" + df.side}
TYPES = {"double": "number", "of": "text"}


def values(row: Row, number: int, *, size: float = 1.0) -> tuple[object, ...]:
    return (math.nan if row[2] is None else row[2], "buy" if number % 3 else "", number, size)


def played(
    rows: list[Row], ends: list[int], corrected: list[int], limit: int = 1_000
) -> tuple[RollingFrame, derived, derived]:
    """A frame of trades, of which some are corrected or cancelled later, with two derived ones, cut at `ends`."""
    source = rows_of(COLUMNS, limit=limit)
    double, part = (
        derived(source, Assigned(COLUMNS, SYMBOLS, FUNCTIONS, TYPES)),
        derived(source, OfSymbol(COLUMNS, SYMBOLS, "B")),
    )
    seq = 0
    for place, row in enumerate(rows):
        seq += 1
        add(source, seq, row[0], row[1], values(row, place + 1))
        if place in corrected and place:
            old = place - 1 - place % 3 if place > 3 else 0
            seq += 1
            size = 0.0 if place % 2 else 2.0
            add(source, seq, rows[old][0], rows[old][1], values((0, 0, 50.0), old + 1, size=size))
        if place in ends:
            source.publish()
            double.advance()
            part.advance()
    source.publish()
    double.advance()
    part.advance()
    return source, double, part


@settings(max_examples=25)
@given(rows=streams(), ends=cuts, corrected=st.lists(st.integers(0, 60), max_size=4), limit=st.sampled_from([5, 1_000]))
def test_rows_are_those_of_pandas_on_the_final_frame(rows, ends, corrected, limit) -> None:
    source, double, part = played(rows, ends, corrected, limit)
    final = source.frame()

    found = double.frame()

    pd.testing.assert_series_equal(found["double"], final["price"] * 2, check_names=False)
    assert found["of"].tolist() == (final["symbol"] + "/" + final["side"]).tolist()
    pd.testing.assert_frame_equal(found[final.columns], final)
    if limit > len(rows):
        pd.testing.assert_frame_equal(
            part.frame().drop(columns="symbol"), final[final["symbol"] == "B"].drop(columns="symbol")
        )


@settings(max_examples=25)
@given(rows=streams(), ends=cuts, corrected=st.lists(st.integers(0, 60), max_size=4))
def test_what_is_visible_does_not_depend_on_cuts(rows, ends, corrected) -> None:
    _, *once = played(rows, [], corrected)
    _, *often = played(rows, ends, corrected)

    assert [each.exact() for each in once] == [each.exact() for each in often]


def test_rows_that_left_the_window_before_they_were_read_are_not_missed() -> None:
    source = rows_of([Column("price")], limit=10)
    mids = derived(
        source, Assigned(source.columns, SYMBOLS, {"x": lambda df: df.price}, {"x": "number"}), limit=100_000
    )
    for seq in range(9_000):
        add(source, seq + 1, 0, seq * 1_000_000, (seq + 1.0,))
        if seq % 4_000 == 3_999:
            source.publish()
            mids.advance()
    source.publish()
    mids.advance()

    assert mids.frame()["x"].tolist() == list(map(float, range(1, 9_001)))


def test_rows_that_are_gone_are_counted_as_missed() -> None:
    source = rows_of([Column("price")], limit=10)
    mids = derived(source, OfSymbol(source.columns, SYMBOLS, "A"), limit=100_000)
    for seq in range(20_000):
        add(source, seq + 1, 0, seq * 1_000_000, (float(seq),))
        source.publish()
    new = mids.reader.take()

    assert sum(piece.missed for piece in new) + sum(map(len, new)) == 20_000
    assert sum(piece.missed for piece in new) > 0


def test_the_newest_row_of_a_symbol_is_none_that_is_taken_back_as_it_leaves_the_window() -> None:
    store = ComputedFrame([Column("x")], ("A", "B"), limit=3)

    def append(codes: list[int], void: Sequence[int] = ()) -> None:
        times = NOW // MICROSECOND + np.arange(len(codes))
        store.append(DerivedRows(times, times, times, np.array(codes), [np.ones(len(codes))], void=void))

    append([0])
    append([1, 1, 1])
    assert store.latest()[0] is not None  # it has left the window, and counts
    append([0])
    append([1, 1, 1, 1], [4])

    assert store.latest()[0] is None


def test_a_frame_begins_anew_with_its_source() -> None:
    source = rows_of(TRADE_COLUMNS)
    part = derived(source, OfSymbol(source.columns, SYMBOLS, "A"))
    add(source, 1, 0, 0, (1.0, 1.0, "buy", 7, "X", "live"))
    source.publish()
    part.advance()
    source.restart()
    part.advance()
    assert len(part.store) == 0
    add(source, 1, 0, 0, (2.0, 1.0, "sell", 7, "Y", "live"))
    source.publish()
    part.advance()

    assert part.frame()[["price", "side", "venue"]].to_numpy().tolist() == [[2.0, "sell", "Y"]]
    assert part.store.origin > 0


class _RestartedIn(RollingFrame):
    """A frame that has readers read in the midst of its restart, where another thread may run."""

    readers_now: Sequence[RowReader] = ()

    def _new_slab(self, capacity: int, base: int, origin: int) -> Slab:
        for each in self.readers_now:
            each.restart()
        return super()._new_slab(capacity, base, origin)


def test_a_reader_that_begins_while_its_frame_begins_anew_reads_no_row_that_is_not_there() -> None:
    source = _RestartedIn(TRADE_COLUMNS, SYMBOLS, limit=1_000)
    add(source, 1, 0, 0, (1.0, 1.0, "buy", 7, "X", "live"))
    source.publish()
    reader = RowReader(source)
    source.readers_now = (reader,)
    source.restart()
    source.readers_now = ()
    if reader.is_restarted:
        reader.restart()
    add(source, 1, 0, 0, (2.0, 1.0, "sell", 8, "Y", "live"))
    source.publish()

    assert [piece.values("price").tolist() for piece in reader.take()] == [[2.0]]
    assert reader.is_done


def test_a_reader_takes_nothing_of_a_frame_that_began_anew_after_it_was_asked() -> None:
    source = rows_of(TRADE_COLUMNS)
    add(source, 1, 0, 0, (1.0, 1.0, "buy", 7, "X", "live"))
    source.publish()
    reader = RowReader(source)
    assert not reader.is_restarted
    source.restart()
    add(source, 1, 0, 0, (2.0, 1.0, "sell", 8, "Y", "live"))
    source.publish()

    assert reader.take() == []
    assert reader.is_restarted
    reader.restart()
    assert [piece.values("price").tolist() for piece in reader.take()] == [[2.0]]


def test_a_reader_that_begins_while_its_frame_goes_on_from_an_earlier_moment_reads_its_rows() -> None:
    source = _RestartedIn(QUOTE_COLUMNS, SYMBOLS, limit=100)
    for seq in range(500):
        add(source, seq + 1, 0, seq * 1_000_000, (float(seq), 1.0, 2.0, 1.0, 1.0))
    source.publish()
    earlier = source.checkpoint()
    assert earlier is not None
    reader = RowReader(source)
    source.readers_now = (reader,)
    source.resume(earlier)
    source.readers_now = ()
    if reader.is_restarted:
        reader.restart()

    assert [piece.values("bid_price").tolist() for piece in reader.take()] == [[float(seq) for seq in range(400, 500)]]


@pytest.mark.parametrize(
    "function",
    [
        lambda df: df.price.diff(),
        lambda df: df.price.pct_change(),
        lambda df: df.price.cumsum(),
        lambda df: df.price.shift(),
        lambda df: df.price.shift(-1),
        lambda df: df.price.rank(),
        lambda df: df.price - df.price.mean(),
        lambda df: df.price.ffill().where(df.index > df.index[0]),
        lambda df: np.arange(len(df)),
        lambda df: df.price.ffill(),
        lambda df: df.price.bfill(),
        lambda df: df.price.interpolate(),
        lambda df: df.price.fillna(df.price.mean()),
        lambda df: df.price.duplicated(),
        lambda df: df.symbol.duplicated(keep="last"),
        lambda df: df.price.drop_duplicates().reindex_like(df.price) if df.price.is_unique else df.price.rank(),
    ],
)
def test_functions_that_depend_on_other_rows_are_found_before_there_is_a_row(function) -> None:
    with pytest.raises(DependsOnOtherRows):
        tried(COLUMNS, SYMBOLS, rows_of(COLUMNS).frame(), {"x": function})


def test_a_function_that_takes_no_missing_values_is_not_refused() -> None:
    types = tried(COLUMNS, SYMBOLS, rows_of(COLUMNS).frame(), {"cents": lambda df: (df.price * 100).astype("int64")})

    assert types == {"cents": "number"}


@pytest.mark.parametrize(
    "function",
    [
        lambda df: np.log(df.price - 100) / np.sqrt(df["size"] - 200),
        lambda df: np.nanmean(df[["price", "size"]], axis=1),
    ],
)
def test_nobody_is_warned_about_rows_that_are_made_up(function) -> None:
    with warnings.catch_warnings(record=True, action="always") as told:
        types = tried(COLUMNS, SYMBOLS, rows_of(COLUMNS).frame(), {"x": function})

    assert types == {"x": "number"}
    assert told == []


def test_complex_values_of_later_rows_are_missing_with_the_reason() -> None:
    source = rows_of([Column("price")])
    phases = {"x": lambda df: df.price * (1j if df.price.max() > 9 else 1)}
    machine = Assigned(source.columns, SYMBOLS, phases, {"x": "number"})
    frame = derived(source, machine)
    for seq, price in enumerate((1.0, 2.0, 25.0, 4.0)):
        add(source, seq + 1, 0, seq, (price,))
        source.publish()
        frame.advance()

    assert frame.frame()["x"].isna().tolist() == [False, False, True, False]
    assert str(machine.error) == "complex numbers are no column of a live frame"


def test_a_function_without_a_return_is_refused() -> None:
    with pytest.raises(TypeError, match="the function of 'x' returned None"):
        tried(COLUMNS, SYMBOLS, rows_of(COLUMNS).frame(), {"x": lambda df: None})


def test_a_function_that_turns_out_to_depend_on_others_raises_with_later_rows() -> None:
    source = rows_of([Column("price")])
    machine = Assigned(
        source.columns, SYMBOLS, {"x": lambda df: df.price.where(df.price > 200, df.price.mean())}, {"x": "number"}
    )
    frame = derived(source, machine)
    for seq, price in enumerate((1.0, 2.0, 250.0, 4.0)):
        add(source, seq + 1, 0, seq, (price,))
    source.publish()

    with pytest.raises(DependsOnOtherRows):
        frame.advance()


@pytest.mark.parametrize("ends", [[], [10, 11, 33], list(range(60))])
def test_where_a_function_raises_that_row_alone_is_missing(ends) -> None:
    def picky(df: pd.DataFrame) -> pd.Series:
        if (df.price == 13).any():
            raise ZeroDivisionError
        return df.price

    source = rows_of([Column("price")])
    machine = Assigned(source.columns, SYMBOLS, {"x": picky, "text": "t"}, {"x": "number", "text": "text"})
    frame = derived(source, machine)
    prices = [1.0 + number % 20 for number in range(60)]
    for place, price in enumerate(prices):
        add(source, place + 1, 0, place, (price,))
        if place in ends:
            source.publish()
            frame.advance()
    source.publish()
    frame.advance()

    found = frame.frame()
    assert np.array_equal(found["x"], [math.nan if price == 13 else price for price in prices], equal_nan=True)
    assert found["text"].tolist() == ["" if price == 13 else "t" for price in prices]
    assert (machine.errors, type(machine.error)) == (3, ZeroDivisionError)

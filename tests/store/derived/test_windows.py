"""Rolling and exponentially weighted values equal those of pandas on the final frame, however rows came."""

from __future__ import annotations

import math
import operator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import Column
from aries_nb.store import RollingFrame
from aries_nb.store.derived.aggregates import (
    SIMPLE,
    Imbalance,
    RealizedVolatility,
    TimeWeightedMean,
    Vwap,
    WeightedByAge,
)
from aries_nb.store.derived.as_of import AsOfJoin, JoinedColumn
from aries_nb.store.derived.combined import Combined, Side
from aries_nb.store.derived.computed import ComputedFrame
from aries_nb.store.derived.over_time import time_weighted
from aries_nb.store.derived.reader import RowReader
from aries_nb.store.derived.row_by_row import OfSymbol
from aries_nb.store.derived.windows import LATE_US, OVER_GAP, Windows
from tests.properties import holds_for
from tests.store.derived.streams import SYMBOLS, Row, add, cuts, derived, rows_of, streams

COLUMNS = (Column("price"), Column("size"), Column("side", "text"), Column("trade_id", "integer"))
SPAN = 5_000_000
SIDES = ("buy", "sell", "unknown")


def values(row: Row, number: int, *, size: float = 1.0) -> tuple[object, ...]:
    return (math.nan if row[2] is None else row[2], size + number % 4, SIDES[number % 3], number)


def aggregates() -> dict[str, object]:
    return {
        **{name: make("price") for name, make in SIMPLE.items()},
        "vwap": Vwap(),
        "imbalance": Imbalance(),
        "volatility": RealizedVolatility(),
        "weighted": TimeWeightedMean("price"),
    }


def played(
    machine: Windows, rows: list[Row], ends: list[int], corrected: list[int], limit: int = 1_000
) -> tuple[RollingFrame, derived]:
    source = rows_of(COLUMNS, limit=limit)
    frame = derived(source, machine)
    seq = 0
    for place, row in enumerate(rows):
        seq += 1
        add(source, seq, row[0], row[1], values(row, place + 1))
        if place in corrected and place:
            old = max(place - 1 - place % 3, 0)
            seq += 1
            again = list(values((0, 0, 50.0 + place), old + 1))
            again[1] = 0.0 if place % 2 else 2.0
            add(source, seq, rows[old][0], rows[old][1] + 1_000_000 * (place % 5 == 0), tuple(again))
        if place in ends:
            source.publish()
            frame.advance()
    source.publish()
    frame.advance()
    return source, frame


def expected(final: pd.DataFrame, span: int = SPAN) -> pd.DataFrame:
    """What pandas computes, in the order of the final frame."""
    parts = []
    offset = f"{span}us"
    for _, part in final.assign(at=np.arange(len(final))).groupby("symbol", observed=True):
        window = part["price"].rolling(offset)
        found = pd.DataFrame({name: getattr(window, name)() for name in SIMPLE}, index=part.index)
        value = (part["price"] * part["size"]).rolling(offset).sum()
        found["vwap"] = value / part["size"].where(part["price"].notna()).rolling(offset).sum()
        signed = part["size"] * part["side"].map({"buy": 1.0, "sell": -1.0})
        bought = signed.rolling(offset).sum()
        found["imbalance"] = bought / signed.abs().rolling(offset).sum()
        found["volatility"] = window.apply(
            lambda prices: (
                np.sqrt((np.log(prices.dropna()).diff().dropna() ** 2).sum()) if prices.count() > 1 else np.nan
            ),
            raw=False,
        )
        found["weighted"] = over_time(part, span)
        parts.append(found.assign(at=part["at"]))
    return pd.concat(parts).sort_values("at").drop(columns="at")


def over_time(part: pd.DataFrame, span: int) -> list[float]:
    """The time-weighted mean of each window by a plain loop."""
    ts, prices = part.index.as_unit("us").asi8, part["price"].to_numpy()
    found = []
    for end in range(len(ts)):
        begin = ts[end] - span
        first = int(np.searchsorted(ts[: end + 1], begin, side="right"))
        chosen = slice(max(first - 1, 0), end + 1)
        times = np.maximum(ts[chosen], begin)
        mean = time_weighted(times, times, prices[chosen], []).mean
        known = prices[first : end + 1][~np.isnan(prices[first : end + 1])]
        held = np.diff(times)[~np.isnan(prices[chosen][:-1])].sum()
        found.append(mean if held > 0 else known[-1] if len(known) else math.nan)
    return found


@holds_for(10, 40, rows=streams(), ends=cuts, corrected=st.lists(st.integers(0, 60), max_size=4))
def test_windows_are_those_of_pandas(rows, ends, corrected) -> None:
    source, frame = played(Windows(SYMBOLS, aggregates(), SPAN), rows, ends, corrected)
    final = source.frame()

    found = frame.frame()

    assert list(found.index) == list(final.index)
    assert found["symbol"].tolist() == final["symbol"].tolist()
    wanted = expected(final)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, atol=1e-7, equal_nan=True, err_msg=name)


@holds_for(10, 40, rows=streams(), ends=cuts, corrected=st.lists(st.integers(0, 60), max_size=4))
def test_what_is_visible_does_not_depend_on_cuts(rows, ends, corrected) -> None:
    _, once = played(Windows(SYMBOLS, aggregates(), SPAN), rows, [], corrected)
    _, often = played(Windows(SYMBOLS, aggregates(), SPAN), rows, ends, corrected)

    assert once.exact() == often.exact()


def of_rows(count: int) -> Windows:
    return Windows(SYMBOLS, {**{name: make("price") for name, make in SIMPLE.items()}, "vwap": Vwap()}, 0, rows=count)


@settings(max_examples=15)
@given(
    rows=streams(most=40),
    ends=cuts,
    corrected=st.lists(st.integers(0, 40), max_size=4),
    count=st.sampled_from([1, 2, 8]),
)
def test_windows_of_rows_are_those_of_pandas_and_do_not_depend_on_cuts(rows, ends, corrected, count) -> None:
    source, frame = played(of_rows(count), rows, ends, corrected)
    one_by_one = played(of_rows(count), rows, list(range(len(rows))), corrected)[1]
    final = source.frame().assign(at=lambda df: np.arange(len(df)))

    found = frame.frame()

    parts = []
    for _, part in final.groupby("symbol", observed=True):
        window = part["price"].rolling(count)
        wanted = pd.DataFrame({name: getattr(window, name)() for name in SIMPLE}, index=part.index)
        volume = part["size"].where(part["price"].notna()).rolling(count).sum()
        wanted["vwap"] = (part["price"] * part["size"]).rolling(count).sum() / volume
        parts.append(wanted.assign(at=part["at"]))
    wanted = pd.concat(parts).sort_values("at")
    for name in (*SIMPLE, "vwap"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, atol=1e-7, equal_nan=True, err_msg=name)
    assert frame.exact() == one_by_one.exact()


@settings(max_examples=25)
@given(rows=streams(), ends=cuts, corrected=st.lists(st.integers(0, 60), max_size=3))
def test_weights_by_age_are_those_of_pandas(rows, ends, corrected) -> None:
    halflife = 1_500_000
    machine = Windows(SYMBOLS, {"x": WeightedByAge("price", halflife)}, 64 * halflife, marked_us=10 * halflife)
    source, frame = played(machine, rows, ends, corrected)
    final = source.frame().assign(at=lambda df: np.arange(len(df)))

    found = frame.frame()

    parts = [
        part.assign(x=part["price"].ewm(halflife=pd.Timedelta(halflife, "us"), times=part.index).mean())
        for _, part in final.groupby("symbol", observed=True)
    ]
    np.testing.assert_allclose(found["x"], pd.concat(parts).sort_values("at")["x"], rtol=1e-12, equal_nan=True)


@settings(max_examples=25)
@given(rows=streams(most=60), ends=cuts)
def test_a_window_that_turns_over_has_the_values_of_all_rows(rows, ends) -> None:
    _, short = played(Windows(SYMBOLS, aggregates(), SPAN), rows, ends, [], limit=7)
    _, long = played(Windows(SYMBOLS, aggregates(), SPAN), rows, ends, [])

    assert {row[:4] for row in short.exact()} <= {row[:4] for row in long.exact()}
    assert set(short.exact()) <= set(long.exact())


def test_a_row_that_comes_later_than_a_window_and_a_minute_is_in_no_window() -> None:
    machine = Windows(SYMBOLS, {"mean": SIMPLE["mean"]("price")}, SPAN)
    late = (LATE_US + SPAN) // 1_000 + 1
    rows = [(0, 0, 100.0), (0, late * 1_000_000, 200.0), (0, 500_000, 300.0), (0, 1_500_000_000, 400.0)]
    _, frame = played(machine, rows, [], [])

    assert frame.frame()["mean"].isna().tolist() == [False, True, False, False]
    assert machine.late == 1
    assert frame.frame()["mean"].iloc[2] == 250.0


def test_windows_that_reach_into_a_gap_are_marked() -> None:
    gaps: list[tuple[int, str]] = []
    machine = Windows(
        SYMBOLS, {"weighted": TimeWeightedMean("price"), "mean": SIMPLE["mean"]("price")}, SPAN, lambda: gaps
    )
    source = rows_of(COLUMNS)
    frame = derived(source, machine)
    for number, second in enumerate((0, 1, 2, 10, 11, 14, 15, 16)):
        if second == 10:
            gaps.append((int(source.rows(0).received[-1]) + 500_000, ""))
        source.buffer.number(number + 1)
        source.buffer.add(0, second * 10**9, (1.0 + number, 1.0, "buy", number + 1))
        source.buffer.mark(second * 10**9)
        source.publish()
        frame.advance()
    found = frame.frame()

    assert found[OVER_GAP].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert found["weighted"].iloc[4] == pytest.approx(4.0)
    assert found["mean"].iloc[4] == pytest.approx(4.5)


def test_a_newest_trade_that_is_cancelled_is_no_extreme_of_windows_after_it() -> None:
    source = rows_of(COLUMNS)
    frame = derived(source, Windows(SYMBOLS, {name: SIMPLE[name]("price") for name in ("min", "max")}, SPAN))
    trades = [(1, 10.0), (2, 11.0), (3, 99.0), (3, 99.0, 0.0), (4, 12.0)]
    for seq, (number, price, *size) in enumerate(trades, start=1):
        add(source, seq, 0, number * 1_000_000, (price, *(size or [1.0]), "buy", number))
        source.publish()
        frame.advance()

    assert frame.frame()[["min", "max"]].to_numpy().tolist() == [[10.0, 10.0], [10.0, 11.0], [10.0, 12.0]]


def test_values_of_very_different_size_leave_nothing_behind() -> None:
    machine = Windows(SYMBOLS, {"mean": SIMPLE["mean"]("price"), "std": SIMPLE["std"]("price")}, SPAN)
    rows = [(0, place * 1_000_000_000, price) for place, price in enumerate([1e9, 1e-3, 1e7, *[0.1, 0.3] * 10])]
    _, frame = played(machine, rows, [3, 7], [])

    window = pd.Series([0.1, 0.3, 0.1, 0.3, 0.1])
    assert frame.frame()["mean"].iloc[-2] == pytest.approx(window.mean(), rel=1e-15)
    assert frame.frame()["std"].iloc[-2] == pytest.approx(window.std(), rel=1e-9)


def arrived(frame: derived) -> list[tuple[object, ...]]:
    """All rows that were ever made, in the order in which they were."""
    slab, start, end, *_ = frame.store.published
    names = ("m", OVER_GAP)
    every = [getattr(slab, name)[start:end].tolist() for name in ("seq", "ts", "received", "codes")]
    every += [slab.arrays[name][start:end].tolist() for name in names]
    return [tuple("nan" if value != value else value for value in row) for row in zip(*every, strict=True)]


@holds_for(10, 40, rows=streams(), ends=cuts, corrected=st.lists(st.integers(0, 60), max_size=4))
def test_windows_in_the_order_of_arrival_do_not_depend_on_cuts(rows, ends, corrected) -> None:
    def made(ends: list[int]) -> derived:
        return played(Windows(SYMBOLS, {"m": SIMPLE["mean"]("price")}, SPAN), rows, ends, corrected)[1]

    frame, one_by_one = made(ends), made(list(range(len(rows))))
    assert arrived(frame) == arrived(one_by_one)
    assert frame.exact() == one_by_one.exact()


@holds_for(10, 40, rows=streams(), ends=cuts, corrected=st.lists(st.integers(0, 60), max_size=4))
def test_what_is_computed_of_windows_by_arrival_does_not_depend_on_cuts(rows, ends, corrected) -> None:
    def made(ends: list[int]) -> tuple[list[object], list[object]]:
        source = rows_of(COLUMNS)
        windows = derived(source, Windows(SYMBOLS, {"m": SIMPLE["mean"]("price")}, SPAN))
        sides = [Side("m", "A", is_by_time=False), Side("price", "A", is_by_time=False)]
        ratio = Combined(operator.truediv, sides[0], sides[1], "ratio")
        join = AsOfJoin(COLUMNS, SYMBOLS, [JoinedColumn(Column("m"), "m")], [0, 1, 2], by="seq")
        stores = [ComputedFrame(each.columns, each.symbols, limit=10_000) for each in (ratio, join)]
        of_a = [derived(each, OfSymbol(each.columns, SYMBOLS, "A")) for each in (windows.store, source)]
        readers = [[RowReader(each.store) for each in of_a], [RowReader(source), RowReader(windows.store)]]

        def advance() -> None:
            source.publish()
            windows.advance()
            for each in of_a:
                each.advance()
            for machine, store, two in zip((ratio, join), stores, readers, strict=True):
                new = machine.advance([reader.take() for reader in two])
                if new is not None:
                    store.append(new)

        seq, cancelled = 0, set()
        for place, row in enumerate(rows):
            seq += 1
            add(source, seq, row[0], row[1], values(row, place + 1))
            old = max(place - 1 - place % 3, 0)
            if place in corrected and place and old not in cancelled:
                cancelled |= {old} if place % 2 else set()
                seq += 1
                again = list(values((0, 0, 50.0 + place), old + 1))
                again[1] = 0.0 if place % 2 else 2.0
                add(source, seq, rows[old][0], rows[old][1], tuple(again))
            if place in ends:
                advance()
        advance()
        found: list[list[object]] = []
        for store, name in zip(stores, ("value", "m"), strict=True):
            slab, start, end, *_ = store.published
            found.append([slab.seq[start:end].tolist(), np.nan_to_num(slab.arrays[name][start:end], nan=-1).tolist()])
        return found[0], found[1]

    assert made(ends) == made(list(range(len(rows))))

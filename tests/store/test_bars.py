from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model import BarPage
from aries_nb.store.bars import BarSeries

LENGTH = 10
END = 200

Trade = tuple[int, float, float]
TRADES = st.lists(
    st.tuples(st.integers(0, END - 1), st.integers(1, 50).map(float), st.integers(1, 9).map(float)), max_size=80
).map(sorted)


def start_of(ts: int) -> int:
    return ts // LENGTH * LENGTH


def bars_of(trades: list[Trade], first: int = 0, end: int = END) -> BarPage:
    """The bars that a correct server returns, those that start in [first, end)."""
    groups: dict[int, list[Trade]] = {}
    for trade in trades:
        if first <= start_of(trade[0]) < end:
            groups.setdefault(start_of(trade[0]), []).append(trade)
    return BarPage(
        list(groups),
        [group[0][1] for group in groups.values()],
        [max(trade[1] for trade in group) for group in groups.values()],
        [min(trade[1] for trade in group) for group in groups.values()],
        [group[-1][1] for group in groups.values()],
        [sum(trade[2] for trade in group) for group in groups.values()],
    )


def read(series: BarSeries) -> BarPage:
    """All bars; their starts are a few ns here, which a frame rounds to whole us."""
    bars = series.newest_bars(END)
    assert bars.volume is not None
    return BarPage(*(column.tolist() for column in (bars.ts, bars.open, bars.high, bars.low, bars.close, bars.volume)))


def test_live_trades_become_bars() -> None:
    series = BarSeries(start_of)

    series.trades([(11, 5.0, 2.0), (12, 7.0, 1.0), (19, 4.0, 3.0), (31, 6.0, 1.0)])

    frame = series.frame(35)
    assert read(series) == BarPage([10, 30], [5.0, 6.0], [7.0, 6.0], [4.0, 6.0], [4.0, 6.0], [6.0, 1.0])
    assert frame["trades"].tolist() == [3.0, 1.0]
    assert frame["source"].tolist() == ["live", "live"]
    assert frame["complete"].tolist() == [True, False]
    assert (frame.index.name, str(frame.index.dtype)) == ("ts", "datetime64[us, UTC]")


def test_the_index_is_the_start_of_each_bar() -> None:
    series = BarSeries(lambda ts: ts // 10_000 * 10_000)

    series.trades([(1_772_463_845_000_019_999, 5.0, 2.0), (1_772_463_845_000_020_000, 7.0, 1.0)])

    expected = pd.to_datetime([1_772_463_845_000_010, 1_772_463_845_000_020], unit="us", utc=True)
    assert series.frame(0).index.tolist() == expected.tolist()


def test_an_empty_series_has_the_same_columns() -> None:
    empty, full = BarSeries(start_of), BarSeries(start_of)
    full.trades([(1, 1.0, 1.0)])

    assert full.frame(5).dtypes.to_dict() == empty.frame(5).dtypes.to_dict()
    assert len(empty.frame(5)) == 0


@pytest.mark.parametrize(("price", "size", "volume"), [(math.nan, 1.0, None), (3.0, math.nan, 0.0)])
def test_a_trade_without_a_price_is_none_and_one_without_a_size_moves_the_price(
    price: float, size: float, volume: float | None
) -> None:
    series = BarSeries(start_of)

    series.trades([(1, price, size)])

    assert ([] if volume is None else [volume]) == series.frame(5)["volume"].tolist()


def test_an_incomplete_bar_is_fetched_only_when_it_has_ended_and_is_replaced_then() -> None:
    series = BarSeries(start_of)
    series.mark_incomplete(12, 25)
    series.trades([(13, 5.0, 1.0), (25, 6.0, 1.0), (31, 7.0, 1.0)])

    assert series.bars_to_fetch(19) is None
    assert series.bars_to_fetch(21) == (10, 20)
    assert series.bars_to_fetch(99) == (10, 21)
    assert series.frame(99)["complete"].tolist() == [False, False, True]

    series.history(BarPage([10, 20], [1.0, 2.0], [9.0, 9.0], [1.0, 2.0], [4.0, 5.0], [8.0, 8.0]), final_before=30)

    frame = series.frame(99)
    assert series.bars_to_fetch(99) is None
    assert frame["volume"].tolist() == [8.0, 8.0, 1.0]
    assert frame["source"].tolist() == ["history", "history", "live"]
    assert frame["complete"].all()


def test_while_the_stream_is_broken_everything_after_the_break_is_incomplete() -> None:
    series = BarSeries(start_of)
    series.trades([(5, 1.0, 1.0), (15, 1.0, 1.0)])

    series.mark_incomplete(15, None)

    assert series.frame(99)["complete"].tolist() == [True, False]
    assert series.bars_to_fetch(49) == (10, 40)


def test_a_history_that_is_behind_is_asked_again() -> None:
    series = BarSeries(start_of)
    series.mark_incomplete(0, 25)
    series.trades([(5, 1.0, 1.0), (15, 1.0, 1.0), (25, 1.0, 1.0)])

    series.history(BarPage([0], [1.0], [1.0], [1.0], [1.0], [4.0]), final_before=30)

    assert series.bars_to_fetch(99) == (10, 21)
    assert series.frame(99)["complete"].tolist() == [True, False, False]


def test_a_joined_bar_is_exact_until_a_gap_touches_it_and_final_only_when_the_history_says_so() -> None:
    series = BarSeries(start_of)
    part = BarPage([20], [2.0], [3.0], [1.0], [2.0], [7.0])
    series.mark_incomplete(25, 25)

    sources = [series.incomplete_running_bar(25)]
    series.estimate(20, part)
    sources += series.frame(25)["source"].tolist()
    series.join(20, part, [2.0, 4.0], 9.0)
    series.trades([(28, 3.0, 5.0)])
    joined, bars = series.frame(28), read(series)
    sources += [series.incomplete_running_bar(28), *joined["source"]]
    series.mark_incomplete(28, None)
    sources += [series.incomplete_running_bar(28), *series.frame(28)["source"]]
    series.mark_incomplete(28, 29)
    sources += [series.incomplete_running_bar(29)]
    series.resume()
    sources += [series.incomplete_running_bar(29)]
    series.history(part, final_before=30)

    assert sources == [20, "estimate", None, "history+live", None, "estimate", None, 20]
    assert bars == BarPage([20], [2.0], [4.0], [1.0], [3.0], [14.0])
    assert not joined["complete"].any()
    assert series.frame(35)["source"].tolist() == ["history"]
    assert series.frame(35)["complete"].all()


def test_a_bar_that_the_history_has_not_begun_is_joined_to_nothing() -> None:
    series = BarSeries(start_of)
    nothing = BarPage([], [], [], [], [], [])
    series.mark_incomplete(25, 25)

    series.join(20, nothing, [], 0.0)
    empty = len(series)
    series.join(20, nothing, [3.0, 2.0], 5.0)

    assert empty == 0
    assert read(series) == BarPage([20], [3.0], [3.0], [2.0], [2.0], [5.0])
    assert series.frame(25)["trades"].tolist() == [2.0]


def test_a_late_trade_does_not_change_what_the_history_has_settled() -> None:
    series = BarSeries(start_of)
    series.history(bars_of([(5, 1.0, 1.0)]), final_before=10)

    series.trades([(6, 2.0, 2.0)])

    assert series.frame(99)["volume"].tolist() == [1.0]


def test_the_oldest_bars_leave_when_there_are_too_many() -> None:
    series = BarSeries(start_of, limit=2)

    series.trades([(1, 1.0, 1.0), (11, 2.0, 1.0), (21, 3.0, 1.0)])
    series.history(BarPage([0], [1.0], [1.0], [1.0], [1.0], [1.0]), final_before=0)

    assert series.frame(99)["open"].tolist() == [2.0, 3.0]


def test_frozen_bars_never_change_and_are_made_once() -> None:
    series = BarSeries(start_of)
    series.mark_incomplete(0, 9)
    series.trades([(1, 1.0, 1.0), (11, 2.0, 1.0)])
    frozen, before = series.frozen(), series.frame(99)

    again = series.frozen()
    series.trades([(5, 9.0, 1.0), (12, 9.0, 1.0), (31, 9.0, 1.0)], now=99)
    series.history(bars_of([(1, 3.0, 3.0)]), final_before=10)

    assert again is frozen is not series.frozen()
    pd.testing.assert_frame_equal(frozen.frame(99), before)
    pd.testing.assert_frame_equal(series.frozen().frame(99), series.frame(99))


def test_the_newest_bars_are_those_of_the_whole_frame() -> None:
    series = BarSeries(start_of)
    series.trades([(1, 1.0, 1.0), (41, 4.0, 2.0), (21, 2.0, 1.0)])
    series.history(BarPage([10, 30], [1.0, 3.0], [1.0, 3.0], [1.0, 3.0], [1.0, 3.0], [5.0, 6.0]), final_before=0)

    shown, frame = series.newest_bars(3), series.frame(99, newest=3)

    assert shown.volume is not None
    assert shown.ts.tolist() == [20, 30, 40]
    assert shown.close.tolist() == frame["close"].tolist() == [2.0, 3.0, 4.0]
    assert shown.volume.tolist() == [1.0, 6.0, 2.0]
    assert series.frame(99).index.is_monotonic_increasing
    assert len(series.newest_bars(99).ts) == 5


def test_no_bars_have_arrays_too() -> None:
    assert [len(getattr(BarSeries(start_of).newest_bars(5), name)) for name in ("ts", "open", "volume")] == [0, 0, 0]


def test_a_trade_behind_the_newest_bar_counts_in_its_own() -> None:
    series = BarSeries(start_of)
    series.trades([(11, 5.0, 1.0), (21, 6.0, 1.0)])

    series.trades([(12, 9.0, 2.0)])

    assert series.frame(99)["high"].tolist() == [9.0, 6.0]
    assert series.frame(99)["volume"].tolist() == [3.0, 1.0]


@given(trades=TRADES, joined=st.integers(0, END), cuts=st.lists(st.integers(0, END), max_size=6).map(sorted))
def test_joined_and_broken_anywhere_the_bars_equal_those_of_all_trades(
    trades: list[Trade], joined: int, cuts: list[int]
) -> None:
    gaps = [(low, high) for low, high in zip(cuts[::2], cuts[1::2], strict=False) if low >= joined]
    series = BarSeries(start_of)
    series.mark_incomplete(joined, joined)
    seen = [trade for trade in trades if trade[0] < joined]
    series.history(bars_of(seen), final_before=start_of(joined))

    at = joined
    for low, high in [*gaps, (END, END)]:
        series.trades([trade for trade in trades if at <= trade[0] < low])
        series.mark_incomplete(low, None)
        due = series.bars_to_fetch(high)
        if due is not None:
            series.history(bars_of([trade for trade in trades if trade[0] < high], *due), final_before=due[1])
        series.mark_incomplete(low, high)
        series.resume()
        at = high
    due = series.bars_to_fetch(END + LENGTH)
    assert due is not None
    series.history(bars_of(trades, *due), final_before=due[1])

    frame = series.frame(END + LENGTH)
    assert bars_of(trades) == read(series)
    assert frame["complete"].all()


def test_bars_over_a_gap_are_incomplete_until_the_history_is_fetched_again() -> None:
    series = BarSeries(start_of)
    series.trades([(5, 1.0, 1.0), (35, 1.0, 1.0)])

    series.mark_incomplete(12, 25)
    during = [series.is_incomplete(first, last) for first, last in ((0, 9), (12, 25), (25, 39), (30, 39))]
    series.history(bars_of([(15, 2.0, 1.0)], 10, 30), final_before=30)

    assert during == [False, True, True, False]
    assert not series.is_incomplete(12, 25)


def test_while_a_gap_lasts_every_bar_from_its_start_is_incomplete() -> None:
    series = BarSeries(start_of)

    series.mark_incomplete(12, None)

    assert series.is_incomplete(12, 500)
    assert not series.is_incomplete(0, 9)


def test_a_gap_that_is_over_leaves_bars_of_the_history_complete() -> None:
    series = BarSeries(start_of)
    series.mark_incomplete(12, None)
    series.history(bars_of([(15, 2.0, 1.0)], 10, 30), final_before=30)

    series.resume()
    series.trades([(35, 1.0, 1.0)])

    assert series.frame(45)["complete"].tolist() == [True, True]
    assert series.bars_to_fetch(45) is None


def test_a_bar_that_is_joined_exactly_is_not_incomplete() -> None:
    series = BarSeries(start_of)
    series.trades([(12, 5.0, 1.0)])
    series.mark_incomplete(11, 13)

    series.join(10, bars_of([(12, 5.0, 1.0)]), [5.0], 1.0)

    assert not series.is_incomplete(11, 13)


def test_open_and_close_are_the_first_and_last_by_exchange_time() -> None:
    series = BarSeries(start_of)

    series.trades([(15, 101.0, 1.0), (13, 99.0, 1.0)])
    series.trades([(11, 98.0, 1.0), (12, 97.0, 1.0), (15, 102.0, 1.0), (14, 100.0, 1.0)])

    assert read(series) == BarPage([10], [98.0], [102.0], [97.0], [102.0], [6.0])


def test_a_print_after_the_end_corrects_the_bar_and_says_so() -> None:
    series = BarSeries(start_of)
    series.trades([(11, 5.0, 1.0), (18, 6.0, 1.0)], 19)
    series.trades([(22, 7.0, 1.0)], 23)
    before = series.frame(23)

    series.trades([(15, 9.0, 2.0)], 23)

    after = series.frame(23)
    assert before["complete"].tolist() == after["complete"].tolist() == [True, False]
    assert before["source"].tolist() == ["live", "live"]
    assert after["source"].tolist() == ["corrected", "live"]
    assert read(series) == BarPage([10, 20], [5.0, 7.0], [9.0, 7.0], [5.0, 7.0], [6.0, 7.0], [4.0, 1.0])


def test_a_bar_is_complete_when_its_time_is_over_not_when_the_next_trade_comes() -> None:
    series = BarSeries(start_of)

    series.trades([(18, 5.0, 1.0), (21, 6.0, 1.0)], 19)
    series.trades([(19, 5.5, 1.0)], 19)

    assert series.frame(19)["complete"].tolist() == [False, False]
    assert series.frame(20)["complete"].tolist() == [True, False]
    assert series.frame(20)["source"].tolist() == ["live", "live"]


def test_the_broker_s_bar_replaces_a_corrected_one() -> None:
    series = BarSeries(start_of)
    series.trades([(11, 5.0, 1.0)], 12)
    series.trades([(15, 9.0, 2.0)], 23)

    series.history(BarPage([10], [5.0], [9.0], [5.0], [9.0], [3.0]), final_before=20)

    assert series.frame(23)["source"].tolist() == ["history"]

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.live.market.current_bar import BarJoin, HistoryBar, LiveTrades

LAG = 10


def live_trades(*trades: tuple[int, float, float]) -> LiveTrades:
    columns = zip(*trades, strict=True) if trades else ((), (), ())
    received, prices, sizes = columns
    return LiveTrades(np.array(received, "i8"), np.array(prices, "f8"), np.array(sizes, "f8"))


def test_without_trades_around_the_answer_one_is_enough() -> None:
    join = BarJoin(lag_ns=LAG)

    base = join.add(HistoryBar(100, 101, 5.0, 40.0), live_trades((50, 5.0, 3.0), (200, 6.0, 2.0)))

    assert base == 37.0


def test_a_cut_that_does_not_end_with_the_close_is_none() -> None:
    join = BarJoin(lag_ns=LAG)
    trades = live_trades((50, 5.0, 3.0), (99, 6.0, 2.0), (101, 7.0, 1.0), (109, 6.0, 4.0), (150, 6.5, 9.0))

    first = join.add(HistoryBar(100, 100, 7.0, 40.0), trades)
    second = join.add(HistoryBar(145, 145, 6.5, 53.0), trades)

    assert first is None
    assert second == 34.0


def test_equal_cuts_are_distinguished_by_the_next_answer() -> None:
    join = BarJoin(lag_ns=LAG)
    trades = live_trades((95, 5.0, 1.0), (100, 5.0, 1.0), (150, 5.0, 1.0), (151, 5.0, 7.0))

    bases = [
        join.add(HistoryBar(at, at, 5.0, volume), trades) for at, volume in [(100, 31.0), (150, 33.0), (200, 40.0)]
    ]

    assert bases == [None, None, 30.0]


def test_answers_that_contradict_each_other_have_no_base() -> None:
    join = BarJoin(lag_ns=LAG)
    trades = live_trades((50, 5.0, 3.0))

    bases = [
        join.add(HistoryBar(at, at, 5.0, volume), trades) for at, volume in [(100, 40.0), (200, 41.0), (300, 41.0)]
    ]

    assert bases == [37.0, None, 38.0]


def test_a_close_or_a_volume_that_no_cut_gives_has_no_base() -> None:
    trades = live_trades((50, 5.0, 3.0))

    assert BarJoin(lag_ns=LAG).add(HistoryBar(100, 100, 6.0, 40.0), trades) is None
    assert BarJoin(lag_ns=LAG).add(HistoryBar(100, 100, 5.0, 2.0), trades) is None
    assert BarJoin(lag_ns=LAG).add(HistoryBar(100, 100, 5.0, math.nan), trades) is None


def test_a_history_without_the_bar_has_nothing_before_the_first_trade() -> None:
    assert BarJoin(lag_ns=LAG).add(HistoryBar(100, 100, math.nan, 0.0), live_trades()) == 0.0
    assert BarJoin(lag_ns=LAG).add(HistoryBar(100, 100, math.nan, 0.0), live_trades((50, 5.0, 3.0))) is None


@given(
    trades=st.lists(st.tuples(st.integers(1, 3).map(float), st.integers(0, 3).map(float)), min_size=1, max_size=60),
    first=st.integers(0, 20),
    asked=st.lists(st.integers(0, 70), min_size=1, max_size=8).map(sorted),
    lags=st.lists(st.integers(-LAG, LAG), min_size=8, max_size=8),
)
def test_a_base_is_never_wrong_while_the_lag_holds(
    trades: list[tuple[float, float]], first: int, asked: list[int], lags: list[int]
) -> None:
    join = BarJoin(lag_ns=LAG)
    rows = live_trades(*((at, *trade) for at, trade in enumerate(trades) if at >= first))
    before = sum(size for _, size in trades[:first])

    bases = []
    for after, lag in zip(asked, lags, strict=False):
        at = first + LAG + after
        counted = trades[: at + lag]
        close, volume = counted[-1][0], sum(size for _, size in counted)
        bases.append(join.add(HistoryBar(at, at, close, volume), rows))

    assert {base for base in bases if base is not None} <= {before}


def test_a_base_is_found_in_a_busy_market() -> None:
    random = np.random.default_rng(7)
    trades = LiveTrades(
        np.arange(3_000), random.integers(990, 1_010, 3_000) / 10.0, random.integers(1, 200, 3_000) * 1.0
    )
    join = BarJoin(lag_ns=300)

    bases = [
        join.add(HistoryBar(at, at, trades.prices[at - 1], 5_000.0 + trades.sizes[:at].sum()), trades)
        for at in (500, 1_000, 1_500, 2_000)
    ]

    assert bases[-1] == 5_000.0

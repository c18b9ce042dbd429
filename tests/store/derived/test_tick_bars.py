from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aries_nb.model import TRADE_COLUMNS
from aries_nb.store import RollingFrame
from aries_nb.store.derived.tick_bars import BarRule, Interruption, TickBars, prints_of

SECOND = 1_000_000
NOW = 1_772_463_840 * SECOND  # the beginning of a minute
NEVER = NOW + 10**12
NUMBERS = ["open", "high", "low", "close", "volume", "trades"]
MINUTE = BarRule("time", 60 * SECOND)
RULES = [MINUTE, BarRule("ticks", 3), BarRule("volume", 7), BarRule("value", 40)]
NAN = math.nan


class Trade(NamedTuple):
    """One row: second of receipt, how many seconds older its exchange time is, symbol, price, size.

    `of` says that it corrects the trade that many before it; a size of 0 cancels it.
    """

    second: float
    late: float = 0.0
    code: int = 0
    price: float = 10.0
    size: float = 1.0
    of: int = 0


class Market:
    """A frame of trades of A and B, and the number of the trade that each row is of."""

    def __init__(self, limit: int | None = None) -> None:
        self.frame = RollingFrame(TRADE_COLUMNS, ["A", "B"], limit=limit)
        self.ids: list[int] = []

    def add(self, *trades: Trade) -> None:
        for trade in trades:
            place = len(self.ids)
            self.ids.append(self.ids[place - trade.of] if 0 < trade.of <= place else place + 1)
            received = NOW * 1_000 + round(trade.second * 1e9)
            values = (trade.price, trade.size, "buy", self.ids[-1], "X", "live")
            self.frame.buffer.add(trade.code, received - round(trade.late * 1e9), values)
            self.frame.buffer.mark(received)
        self.frame.publish()


def bars_of(trades: list[Trade], rule: BarRule, cuts: list[int] | None = None, limit: int | None = None) -> TickBars:
    market, bars = Market(limit=limit), TickBars(rule, 2)
    for first, last in zip((0, *(cuts or ())), (*(cuts or ()), len(trades)), strict=True):
        market.add(*trades[first:last])
        bars.take(prints_of(market.frame, bars.position))
    return bars


def frame_of(bars: TickBars, *interruptions: Interruption, now: int = NEVER) -> pd.DataFrame:
    return bars.frame(["A", "B"], now, interruptions)


@dataclass
class PlainBar:
    code: int
    start: int
    trades: dict[int, tuple[int, int, float, float]] = field(default_factory=dict)
    is_full: bool = False

    def amount(self, kind: str) -> float:
        return sum({"ticks": 1.0, "volume": s, "value": abs(p) * s}[kind] for _, _, p, s in self.trades.values())

    def row(self, *, by_time: bool) -> tuple[float, ...]:
        trades = list(self.trades.values())
        if by_time:
            trades.sort(key=lambda trade: trade[:2])
        prices = [price for *_, price, _ in trades]
        if not prices:
            return (NAN, NAN, NAN, NAN, 0.0, 0.0)
        return (prices[0], max(prices), min(prices), prices[-1], sum(s for *_, s in trades), float(len(trades)))


def plain(trades: list[Trade], rule: BarRule) -> list[tuple[float, ...]]:
    """The bars by a loop over the trades in their order: code and start (us), then `NUMBERS`.

    A corrected trade has the place of its first row, which its number does not tell: numbers need not ascend.
    """
    bars: list[PlainBar] = []
    first: dict[tuple[int, int], int] = {}  # places of the first rows, by code and number of the trade
    ids: list[int] = []
    held: dict[tuple[int, int], PlainBar] = {}  # by code and number of the trade
    by_time = rule.kind == "time"
    for place, trade in enumerate(trades):
        ids.append(ids[place - trade.of] if 0 < trade.of <= place else place + 1)
        key = trade.code, ids[-1]
        is_repeat = key in first
        received = NOW + round(trade.second * SECOND)
        ts = received - round(trade.late * SECOND)
        counts = not math.isnan(trade.price) and not trade.size <= 0 and trade.late >= -300
        entry = ts, first.setdefault(key, place), trade.price, 0.0 if math.isnan(trade.size) else trade.size
        if is_repeat and (by_time or key in held):
            if key in held:
                held[key].trades.pop(key[1], None)
            if by_time and counts:
                put(bars, held, key, entry, ts // rule.amount * rule.amount)
            elif not by_time and counts:
                held[key].trades[key[1]] = entry
                held[key].trades = dict(sorted(held[key].trades.items(), key=lambda each: first[trade.code, each[0]]))
        elif counts and not is_repeat:
            if by_time:
                put(bars, held, key, entry, ts // rule.amount * rule.amount)
            else:
                mine = [bar for bar in bars if bar.code == trade.code]
                if not mine or mine[-1].is_full:
                    bars.append(PlainBar(trade.code, ts))
                    mine = bars[-1:]
                held[key] = mine[-1]
                mine[-1].trades[key[1]] = entry
                mine[-1].is_full = mine[-1].amount(rule.kind) >= rule.amount
    if by_time:
        bars.sort(key=lambda bar: (bar.start, bar.code))
    return [(bar.code, bar.start, *bar.row(by_time=by_time)) for bar in bars]


def put(
    bars: list[PlainBar],
    held: dict[tuple[int, int], PlainBar],
    key: tuple[int, int],
    entry: tuple[int, int, float, float],
    start: float,
) -> None:
    found = [bar for bar in bars if (bar.code, bar.start) == (key[0], start)]
    if not found:
        bars.append(PlainBar(key[0], int(start)))
        found = bars[-1:]
    held[key] = found[0]
    found[0].trades[key[1]] = entry


def rows_of(bars: TickBars) -> list[tuple[float, ...]]:
    frame = frame_of(bars)
    codes = (frame["symbol"] == "B").astype("int64").tolist()
    starts = pd.DatetimeIndex(frame.index).as_unit("us").asi8.tolist()
    return [(code, start, *row) for code, start, row in zip(codes, starts, frame[NUMBERS].to_numpy(), strict=True)]


TRADES = st.lists(
    st.builds(
        Trade,
        st.integers(0, 20),
        st.sampled_from((0.0, 0.0, 0.0, 0.5, 30.0, 100.0, -1000.0)),
        st.integers(0, 1),
        st.sampled_from((9.0, 10.0, 11.0, 12.0, NAN)),
        st.sampled_from((0.5, 1.0, 2.0, 9.0, NAN, 0.0)),
        st.sampled_from((0, 0, 0, 0, 1, 2, 5)),
    ),
    max_size=30,
)


# The first print of A under B's number, which is lower than that of the one before, is corrected.
LOWER_NUMBER = [Trade(0, code=1), Trade(0), Trade(0, price=9, of=2), Trade(0), Trade(0, price=11, of=2)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@example(trades=LOWER_NUMBER, cuts=[])
@given(trades=TRADES, cuts=st.lists(st.integers(0, 30), max_size=5))
def test_bars_are_those_of_a_plain_loop_however_the_trades_are_cut(
    rule: BarRule, trades: list[Trade], cuts: list[int]
) -> None:
    seconds = np.cumsum([trade.second for trade in trades]).tolist()
    trades = [trade._replace(second=second) for trade, second in zip(trades, seconds, strict=True)]

    found = bars_of(trades, rule, sorted(min(cut, len(trades)) for cut in cuts))

    np.testing.assert_array_equal(np.array(rows_of(found)), np.array(plain(trades, rule)))
    whole = frame_of(bars_of(trades, rule))
    pd.testing.assert_frame_equal(frame_of(found), whole)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@settings(max_examples=15)
@given(trades=TRADES, cut=st.integers(0, 30))
def test_a_copy_takes_trades_by_itself(rule: BarRule, trades: list[Trade], cut: int) -> None:
    seconds = np.cumsum([trade.second for trade in trades]).tolist()
    trades = [trade._replace(second=second) for trade, second in zip(trades, seconds, strict=True)]
    market, bars = Market(), TickBars(rule, 2)
    market.add(*trades[:cut])
    bars.take(prints_of(market.frame, 0))
    before = frame_of(bars)

    copied = bars.copy()
    market.add(*trades[cut:])
    copied.take(prints_of(market.frame, copied.position))

    pd.testing.assert_frame_equal(frame_of(bars), before)
    pd.testing.assert_frame_equal(frame_of(copied), frame_of(bars_of(trades, rule)))


def test_a_bar_of_time_has_the_trades_whose_exchange_time_is_in_it() -> None:
    trades = [Trade(1, price=10), Trade(30, price=12, size=4), Trade(61, price=9), Trade(62, late=20, price=13)]

    frame = frame_of(bars_of(trades, MINUTE))

    assert frame[NUMBERS].to_numpy().tolist() == [[10, 13, 10, 13, 6, 3], [9, 9, 9, 9, 1, 1]]
    assert frame["source"].tolist() == ["corrected", "live"]  # a print came 2 s after its end
    assert frame.index[0] == pd.Timestamp(NOW, unit="us", tz="UTC")
    assert list(frame.columns) == ["symbol", *NUMBERS, "source", "complete"]


def test_a_bar_of_ticks_volume_or_value_ends_with_the_trade_that_fills_it() -> None:
    trades = [Trade(second, price=10 + second, size=size) for second, size in enumerate((1, 2, 5, 1, 8, 1))]

    ticks, volume, value = (frame_of(bars_of(trades, rule)) for rule in RULES[1:])

    assert ticks[["open", "close", "trades"]].to_numpy().tolist() == [[10, 12, 3], [13, 15, 3]]
    assert volume[["open", "close", "volume"]].to_numpy().tolist() == [[10, 12, 8], [13, 14, 9], [15, 15, 1]]
    assert value[["open", "close", "volume"]].to_numpy().tolist() == [[10, 12, 8], [13, 14, 9], [15, 15, 1]]
    assert volume["complete"].tolist() == [True, True, False]


def test_a_correction_changes_the_bar_of_its_trade_and_no_ends_of_bars() -> None:
    trades = [Trade(second, price=10 + second) for second in range(7)]
    trades += [Trade(8, price=50, size=3, of=6), Trade(9, size=0, of=2)]  # of the second trade, and the last

    frame = frame_of(bars_of(trades, BarRule("ticks", 3)))

    expected = [[10, 50, 10, 12, 5, 3], [13, 15, 13, 15, 3, 3], [*[NAN] * 4, 0, 0]]
    np.testing.assert_array_equal(frame[NUMBERS].to_numpy(), expected)
    assert frame["source"].tolist() == ["corrected", "live", "live"]


@pytest.mark.parametrize("rule", [MINUTE, BarRule("ticks", 3)], ids=lambda rule: rule.kind)
def test_of_equal_times_a_corrected_trade_has_the_place_of_the_first_as_in_the_frame(rule: BarRule) -> None:
    trades = [Trade(1, price=10), Trade(1, price=11), Trade(1, price=10.5, of=2)]
    market = Market()
    market.add(*trades)

    frame = frame_of(bars_of(trades, rule))

    assert market.frame.frame()["price"].tolist() == [10.5, 11]
    assert frame[["open", "close"]].to_numpy().tolist() == [[10.5, 11]]


def test_bars_of_time_are_complete_once_ended_but_the_first_of_a_symbol() -> None:
    bars = bars_of([Trade(1), Trade(61), Trade(90, code=1), Trade(121), Trade(130, code=1)], MINUTE)

    assert frame_of(bars, now=NOW + 181 * SECOND)["complete"].tolist() == [False, True, False, False, False]
    assert frame_of(bars, now=NOW + 182 * SECOND)["complete"].tolist() == [False, True, False, True, True]


def test_a_bar_over_a_gap_is_not_complete() -> None:
    trades = [Trade(1), Trade(61), Trade(130), Trade(185), Trade(245), Trade(246)]
    minutes, ticks = bars_of(trades, MINUTE), bars_of(trades, BarRule("ticks", 2))

    gap = Interruption(NOW + 135 * SECOND, NOW + 140 * SECOND, None)
    other = gap._replace(code=1)
    lasting = Interruption(NOW + 190 * SECOND, None, 0)

    assert frame_of(minutes, gap)["complete"].tolist() == [False, True, False, True, True]
    assert frame_of(minutes, other)["complete"].tolist() == [False, True, True, True, True]
    assert frame_of(minutes, lasting)["complete"].tolist() == [False, True, True, False, False]
    assert frame_of(ticks, gap)["complete"].tolist() == [True, False, True]
    assert frame_of(ticks, lasting)["complete"].tolist() == [True, True, True]
    assert frame_of(ticks, Interruption(NOW + 245 * SECOND, None, 0))["complete"].tolist() == [True, True, False]


def test_bars_outlast_the_window_of_their_trades_and_what_cannot_be_corrected_is_not_complete() -> None:
    trades = [Trade(70), Trade(71, price=11), *(Trade(130 + second) for second in range(6))]
    trades += [Trade(140, late=69, size=0, of=7)]

    frame = frame_of(bars_of([Trade(1), *trades], MINUTE, list(range(1, 9)), limit=4))

    assert frame[NUMBERS].to_numpy().tolist() == [[10] * 4 + [1, 1], [10, 11, 10, 11, 2, 2], [10] * 4 + [6, 6]]
    assert frame["complete"].tolist() == [False, False, True]


def test_trades_that_left_the_window_before_they_were_counted_make_a_bar_incomplete() -> None:
    market, bars = Market(limit=2), TickBars(BarRule("ticks", 3), 2)
    market.add(Trade(1))
    bars.take(prints_of(market.frame, bars.position))

    market.add(*(Trade(second) for second in range(2, 8)))
    bars.take(prints_of(market.frame, bars.position))
    market.add(*(Trade(second) for second in range(9, 10)))
    bars.take(prints_of(market.frame, bars.position))

    assert frame_of(bars)[["trades", "complete"]].to_numpy().tolist() == [[3, False], [1, False]]


def test_a_replay_that_begins_anew_has_bars_anew() -> None:
    market, bars = Market(), TickBars(MINUTE, 2)
    market.add(Trade(1), Trade(61))
    bars.take(prints_of(market.frame, bars.position))

    market.frame.restart()
    market.add(Trade(1, price=7))
    bars.take(prints_of(market.frame, bars.position))

    assert frame_of(bars)["close"].tolist() == [7.0]


@pytest.mark.parametrize("rule", [MINUTE, BarRule("ticks", 1)], ids=lambda rule: rule.kind)
def test_the_newest_bars_are_kept(rule: BarRule) -> None:
    market, bars = Market(), TickBars(rule, 2, limit=5)

    for minute in range(37):
        market.add(Trade(60 * minute + 1, price=minute + 1))
        bars.take(prints_of(market.frame, bars.position))
    market.add(Trade(60 * 37, late=60 * 36, price=1, of=37))
    bars.take(prints_of(market.frame, bars.position))

    assert frame_of(bars)["close"].tolist() == [33, 34, 35, 36, 37]
    assert len(bars) == 5
    assert bars.total == 37


def test_a_chart_has_the_newest_bars_of_one_symbol() -> None:
    bars = bars_of([Trade(1), Trade(2, code=1, price=5), Trade(61), Trade(121, late=60, code=1, price=6)], MINUTE)

    newest = bars.newest(1, 1)

    assert newest.ts.tolist() == [(NOW + 60 * SECOND) * 1_000]
    assert newest.close.tolist() == [6.0]


def test_what_changed_since_a_version_is_found() -> None:
    market, bars = Market(), TickBars(MINUTE, 2)
    market.add(Trade(1), Trade(61))
    bars.take(prints_of(market.frame, bars.position))
    before = bars.version

    market.add(Trade(62, price=12))
    bars.take(prints_of(market.frame, bars.position))

    assert bars.frame(["A", "B"], NOW, (), changed_after=before)["close"].tolist() == [12.0]

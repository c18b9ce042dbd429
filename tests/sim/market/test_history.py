from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.sim.aries.http_bars import RESOLUTIONS
from aries_nb.sim.market import trade_log
from aries_nb.sim.market.history import NEW_YORK, PAST_SESSIONS, SESSION_MINUTES, History, Resolution, session_open
from aries_nb.sim.market.market import Market
from aries_nb.sim.market.trade_log import TradeLog

TODAY = date(2026, 3, 2)
#: Monday, 2026-03-02, 12:17:25 in New York.
NOON = datetime(2026, 3, 2, 12, 17, 25, tzinfo=NEW_YORK).timestamp()
SUNDAY = datetime(2026, 3, 1, 12, 0, tzinfo=NEW_YORK).timestamp()
BEFORE_OPENING = datetime(2026, 3, 2, 8, 0, tzinfo=NEW_YORK).timestamp()
MINUTE, DAILY = Resolution("minute", 1), Resolution("day", 1)
FOREVER = (0.0, 4e9)


def new(start: float = NOON, seed: int = 1) -> tuple[Market, History]:
    market = Market(seed, TODAY)
    return market, History(market, start)


def minutes(history: History, start: float = NOON, days: int = 5, symbol: str = "AAPL") -> Any:
    return history.bars(symbol, MINUTE, start - days * 86_400, start)


def new_york(bars: Any) -> list[datetime]:
    return [datetime.fromtimestamp(time, NEW_YORK) for time in bars["time"].tolist()]


def test_same_seed_gives_the_same_past() -> None:
    first, again, other = (minutes(new(seed=seed)[1]).tolist() for seed in (7, 7, 8))

    assert again == first
    assert other != first


def test_range_asked_for_does_not_change_a_bar() -> None:
    _, history = new()
    wide = minutes(history, days=30)

    narrow = minutes(new()[1], days=2)

    assert wide[-len(narrow) :].tolist() == narrow.tolist()


def test_days_asked_for_piece_by_piece_are_those_asked_for_at_once() -> None:
    _, history = new()
    whole = new()[1].bars("AAPL", DAILY, *FOREVER)

    pieces = [history.bars("AAPL", DAILY, NOON - days * 86_400, NOON) for days in (3, 40, 12, 2_000)]

    assert [piece.tolist() for piece in pieces] == [whole[-len(piece) :].tolist() for piece in pieces]
    assert [0 < len(pieces[0]) < len(pieces[2]) < len(pieces[1]), len(pieces[3])] == [True, PAST_SESSIONS]


def test_past_trades_only_on_weekdays_from_half_past_nine_to_four() -> None:
    times = new_york(minutes(new()[1], days=30))

    assert {time.weekday() for time in times} == {0, 1, 2, 3, 4}
    assert {(time.hour, time.minute) for time in times if time.date() != TODAY} == {
        divmod(570 + minute, 60) for minute in range(SESSION_MINUTES)
    }


def test_sessions_keep_new_yorks_clock_when_it_changes() -> None:
    start = datetime(2026, 3, 10, 12, 0, tzinfo=NEW_YORK).timestamp()

    opened = [time for time in new_york(minutes(new(start)[1], start, days=7)) if (time.hour, time.minute) == (9, 30)]

    assert [time.day for time in opened] == [4, 5, 6, 9, 10]
    assert session_open(date(2026, 3, 9)) - session_open(date(2026, 3, 6)) == 3 * 86_400 - 3600


@pytest.mark.parametrize("start", [NOON, SUNDAY, BEFORE_OPENING])
def test_last_session_has_the_figures_of_the_market(start: float) -> None:
    market, history = new(start)
    share = market.shares["AAPL"]

    before, last = history.bars("AAPL", DAILY, 0, start)[-2:]

    assert (last["open"], last["high"], last["low"]) == (share.open, share.high, share.low)
    assert last["close"] == share.opening == share.last.price
    assert last["volume"] == share.volume
    assert before["close"] == share.previous_close


def test_session_that_runs_ends_with_the_last_whole_minute_before_the_start() -> None:
    last = minutes(new()[1])[-1]

    assert last["time"] == NOON // 60 * 60 - 60


@pytest.mark.parametrize("seconds", [60, 61, 119])
def test_session_of_one_minute_joins_as_well(seconds: int) -> None:
    start = float(session_open(TODAY) + seconds)
    market, history = new(start)
    share = market.shares["TSLA"]

    last = minutes(history, start, symbol="TSLA")[-1]

    assert last["time"] == session_open(TODAY)
    assert (last["high"], last["low"], last["close"]) == (share.high, share.low, share.opening)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), symbol=st.sampled_from(["AAPL", "PFE", "GS", "SPY"]))
def test_every_minute_is_possible(seed: int, symbol: str) -> None:
    bars = minutes(new(seed=seed)[1], days=4, symbol=symbol)

    for name in ("open", "close"):
        assert (bars["low"] <= bars[name]).all()
        assert (bars[name] <= bars["high"]).all()
    mean = bars["turnover"] / bars["volume"]
    assert ((bars["low"] - 1e-6 <= mean) & (mean <= bars["high"] + 1e-6)).all()
    assert (bars["volume"] > 0).all()
    assert (bars["low"] > 0).all()
    assert (np.rint(bars["high"] * 100) / 100 == bars["high"]).all()


@pytest.fixture(scope="module")
def three_years() -> tuple[History, Any]:
    """A history with live trades and all its minutes, made once since it takes half a second."""
    _, history = new()
    for number in range(200):
        history.trade("AAPL", int((NOON + 40 * number) * 1e9), 260 + number % 7, 10)
    return history, history.bars("AAPL", MINUTE, *FOREVER)


@pytest.mark.parametrize("name", RESOLUTIONS)
def test_every_resolution_is_made_of_the_same_minutes(three_years: tuple[History, Any], name: str) -> None:
    history, small = three_years

    bars = history.bars("AAPL", RESOLUTIONS[name], *FOREVER)

    assert (np.diff(bars["time"]) > 0).all()
    assert bars["volume"].sum() == small["volume"].sum()
    assert bars["trades"].sum() == small["trades"].sum()
    assert bars["turnover"].sum() == pytest.approx(small["turnover"].sum())
    assert bars["high"].max() == small["high"].max()
    assert bars["low"].min() == small["low"].min()
    assert (bars["open"][0], bars["close"][-1]) == (small["open"][0], small["close"][-1])


@pytest.mark.parametrize("length", [3, 5, 15, 30, 45, 60, 120, 180, 240])
def test_bars_of_minutes_count_from_the_opening(length: int) -> None:
    _, history = new()

    bars = history.bars("AAPL", Resolution("minute", length), NOON - 10 * 86_400, NOON)
    small = minutes(history, days=10)

    assert {(time.hour * 60 + time.minute - 570) % length for time in new_york(bars)} == {0}
    inside = small[(small["time"] >= bars["time"][-2]) & (small["time"] < bars["time"][-1])]
    assert bars["high"][-2] == inside["high"].max()
    assert bars["low"][-2] == inside["low"].min()
    assert bars["open"][-2] == inside["open"][0]
    assert bars["close"][-2] == inside["close"][-1]


def test_longer_bars_start_with_the_calendar() -> None:
    _, history = new()

    def starts(unit: Any, length: int) -> list[date]:
        times = history.bars("AAPL", Resolution(unit, length), *FOREVER)["time"].tolist()
        assert all(time % 86_400 == 0 for time in times)
        return [date.fromordinal(719_163 + time // 86_400) for time in times]

    assert len(starts("day", 1)) == PAST_SESSIONS
    assert starts("day", 1)[-2:] == [date(2026, 2, 27), TODAY]
    assert {day.weekday() for day in starts("week", 1)} == {0}
    assert {day.day for day in starts("month", 1)} == {1}
    assert {day.month for day in starts("month", 3)} == {1, 4, 7, 10}
    assert starts("month", 12)[-2:] == [date(2025, 1, 1), date(2026, 1, 1)]


def test_range_takes_the_start_and_leaves_the_end() -> None:
    _, history = new()
    opened = session_open(TODAY)

    bars = history.bars("AAPL", Resolution("minute", 30), opened, opened + 3600)

    assert bars["time"].tolist() == [opened, opened + 1800]
    assert bars["volume"].tolist() == [
        history.bars("AAPL", MINUTE, start, start + 1800)["volume"].sum() for start in (opened, opened + 1800)
    ]


TRADES = st.lists(
    st.tuples(st.integers(0, 90_000), st.integers(1, 40_000), st.integers(1, 500)), min_size=1, max_size=60
)


@settings(max_examples=60)
@given(trades=TRADES, length=st.sampled_from([1, 5, 60]))
def test_live_bars_are_the_full_log(trades: list[tuple[int, int, int]], length: int) -> None:
    _, history = new(SUNDAY)
    clock, log = SUNDAY, []
    for gap_ms, ticks, size in trades:
        clock += gap_ms / 1000
        log.append((clock, ticks / 100, size))
        history.trade("SPX", int(clock * 1e9), ticks / 100, size)

    bars = history.bars("SPX", Resolution("minute", length), SUNDAY - 4000, clock + 1)

    assert bars["trades"].sum() == len(log)
    for bar in bars:
        inside = [(price, size) for time, price, size in log if bar["time"] <= time < bar["time"] + 60 * length]
        prices = [price for price, _ in inside]
        assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
        )
        assert bar["volume"] == sum(size for _, size in inside)
        assert bar["turnover"] == pytest.approx(sum(price * size for price, size in inside))
        assert bar["trades"] == len(inside)


def test_minute_without_a_trade_has_no_bar() -> None:
    _, history = new(SUNDAY)
    history.trade("AAPL", int(SUNDAY * 1e9), 270.0, 1)
    history.trade("AAPL", int((SUNDAY + 600) * 1e9), 271.0, 1)

    bars = history.bars("AAPL", MINUTE, SUNDAY, SUNDAY + 3600)

    assert bars["time"].tolist() == [SUNDAY, SUNDAY + 600]


def test_trade_that_comes_late_opens_no_bar_behind_the_last() -> None:
    _, history = new(SUNDAY)
    history.trade("AAPL", int((SUNDAY + 60) * 1e9), 270.0, 1)
    history.trade("AAPL", int((SUNDAY + 59) * 1e9), 269.0, 2)

    bars = history.bars("AAPL", MINUTE, SUNDAY, SUNDAY + 3600)

    assert bars[["time", "low", "close", "volume"]].tolist() == [(SUNDAY + 60, 269.0, 269.0, 3)]


def test_bar_across_the_start_holds_the_past_and_the_live_trades() -> None:
    _, history = new()
    hour = Resolution("minute", 60)
    before = history.bars("AAPL", hour, NOON - 3600, NOON + 1)[-1].copy()
    history.trade("AAPL", int(NOON * 1e9), 999.0, 5)

    after = history.bars("AAPL", hour, NOON - 3600, NOON + 1)[-1]

    assert (after["time"], after["open"]) == (before["time"], before["open"])
    assert (after["high"], after["close"], after["volume"]) == (999.0, 999.0, before["volume"] + 5)


def test_last_bar_before_a_time_is_found_over_a_weekend_and_from_the_far_future() -> None:
    _, history = new(BEFORE_OPENING)
    friday = session_open(date(2026, 2, 27))

    assert history.before("AAPL", MINUTE, SUNDAY) == friday + 389 * 60
    assert history.before("AAPL", MINUTE, 4e9) == friday + 389 * 60
    assert history.before("AAPL", MINUTE, friday) == session_open(date(2026, 2, 26)) + 389 * 60
    assert history.before("AAPL", MINUTE, 1e9) is None
    assert history.before("AAPL", Resolution("month", 12), 4e9) == 1_767_225_600
    assert history.before("SPX", MINUTE, 4e9) is None


def test_past_is_what_it_was_after_the_market_moved_on() -> None:
    market, history = new()
    untouched = minutes(new()[1]).tolist()
    for _ in range(300):
        market.drift(5.0)
        market.shares["AAPL"].step("book")

    assert minutes(history).tolist() == untouched


def ticks(count: int, *, stamp: int = 0, every: int = 1) -> TradeLog:
    log = TradeLog()
    for number in range(count):
        log.add("X", (stamp + number * every) * 1_000_000, float(number), 2)
    return log


def test_tick_bars_hold_equally_many_trades_and_the_rest() -> None:
    found = ticks(12).bars("X", 5, 10)

    assert found.rows == [(0, 0, 4, 0, 4, 10), (5, 5, 9, 5, 9, 10), (10, 10, 11, 10, 11, 4)]
    assert found.older is None


def test_tick_bars_are_paged_backwards_without_gap_or_repetition() -> None:
    log = ticks(1003)
    whole = log.bars("X", 10, 1000).rows
    pages, end = [], None
    while True:
        found = log.bars("X", 10, 7, end)
        pages.insert(0, found.rows)
        end = found.older
        if end is None:
            break

    assert [row for page in pages for row in page] == whole
    assert len(whole) == 101


def test_times_of_tick_bars_rise_even_within_one_millisecond() -> None:
    rows = ticks(5, stamp=100, every=0).bars("X", 1, 10).rows

    assert [row[0] for row in rows] == [100, 101, 102, 103, 104]


def test_old_trades_go_and_bar_numbers_stay_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_log, "RETAINED_TRADES", 100)

    log = ticks(1050)
    found = log.bars("X", 7, 1000)

    assert found.rows[0][0] == 7 * -(-900 // 7)
    assert found.rows[-1][4] == 1049
    older = log.bars("X", 7, 3).older
    assert older is not None
    assert log.bars("X", 7, 1, older).rows[-1][0] == 7 * (older - 1)
    assert log.bars("X", 7, 10, 5).rows == []


def test_no_trades_give_no_tick_bars() -> None:
    assert TradeLog().bars("X", 1, 10) == ([], None)


@pytest.mark.parametrize(("day", "hour"), [(1, 10), (2, 11), (7, 15)])
def test_the_day_of_the_start_has_a_session_up_to_it_also_on_a_weekend(day: int, hour: int) -> None:
    start = datetime(2026, 3, day, hour, 30, tzinfo=NEW_YORK).timestamp()  # the 1st is a Sunday, the 7th a Saturday
    _, history = new(start)

    bars = history.bars("AAPL", MINUTE, start - 3_600, start + 60)

    assert len(bars) > 10
    assert bars["time"].max() >= start - 120

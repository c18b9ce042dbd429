from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.errors import FeedError
from aries_nb.live.market.current_bar import CurrentBar, trades_in
from aries_nb.model import BarPage, Column
from aries_nb.model.clock import WallClock
from aries_nb.net.background import run_on_thread
from aries_nb.store import RollingFrame
from aries_nb.store.bars import BarSeries

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

SECOND = 1_000_000_000
BAR = 86_400 * SECOND
START = 20_000 * BAR
LAG = 2 * SECOND


class History:
    """Answers with the one bar that runs, or fails."""

    symbol = "AAPL"

    def __init__(self, volume: Callable[[], float]) -> None:
        self.asked = 0
        self.volume = volume

    def start_of(self, ts: int) -> int:
        return ts // BAR * BAR

    def ask(self, start: int, end: int) -> BarPage:
        self.asked += 1
        return BarPage([start], [4.0], [6.0], [3.0], [5.0], [self.volume()])

    def request(self, start: int, end: int) -> Future[tuple[BarPage, int]]:
        return run_on_thread(lambda: (self.ask(start, end), time.time_ns()), name="a request")


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 3_600.0
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(time, "time_ns", self.now)

    def now(self) -> int:
        return START + round(self.seconds * SECOND)


def heard(tape: RollingFrame, at: int, *trades: tuple[float, float]) -> None:
    for price, size in trades:
        tape.buffer.codes.append(0)
        tape.buffer.ts.append(at)
        tape.buffer.values.extend((price, size))
    tape.buffer.marks.append((len(tape.buffer.codes), at))
    tape.publish()


def make(history: History, clock: Clock) -> tuple[CurrentBar, BarSeries, RollingFrame]:
    tape = RollingFrame([Column("price"), Column("size")], ["AAPL"], limit=100)
    series = BarSeries(history.start_of)
    series.mark_incomplete(clock.now(), clock.now())
    return CurrentBar(tape, series, history, WallClock(), lag_ns=LAG, margin_ns=SECOND), series, tape


def look(running: CurrentBar, clock: Clock, tape: RollingFrame, *, seconds: int) -> None:
    """Let it look once a second, for so many; each answer is there at once."""
    for _ in range(seconds):
        running.look(clock.now(), tape.version)
        if running._request is not None:
            running._request.future.exception()
        clock.seconds += 1


def shown(series: BarSeries, clock: Clock) -> list[object]:
    return series.frame(clock.now())[["close", "volume", "source"]].iloc[-1].tolist()


def test_trades_after_the_answer_are_added_to_it_and_those_before_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    running, series, tape = make(History(lambda: 100.0), clock)
    heard(tape, clock.now(), (4.5, 7.0), (5.0, 2.0))

    look(running, clock, tape, seconds=5)
    first = shown(series, clock)
    heard(tape, clock.now() + 2 * SECOND, (5.5, 3.0), (7.0, 1.0))
    look(running, clock, tape, seconds=4)

    assert first == [5.0, 100.0, "estimate"]
    assert shown(series, clock) == [7.0, 104.0, "history+live"]
    assert series.frame(clock.now())["high"].tolist() == [7.0]


def test_prints_of_size_zero_or_without_a_price_are_no_trades() -> None:
    times = pd.date_range("2026-03-02T14:30", periods=4, freq="s", tz="UTC")
    prices, sizes = [10.0, 99.0, math.nan, 11.0], [1.0, 0.0, 1.0, math.nan]

    trades = trades_in(pd.DataFrame({"price": prices, "size": sizes, "received": times}, index=times))

    assert (trades.prices.tolist(), trades.sizes.tolist()) == ([10.0, 11.0], [1.0, 0.0])


def test_a_joined_bar_is_not_asked_for_until_a_gap_touches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    history = History(lambda: 100.0)
    running, series, tape = make(history, clock)

    counts = []
    for _ in range(2):
        look(running, clock, tape, seconds=30)
        counts.append((history.asked, shown(series, clock)[-1]))
        series.mark_incomplete(clock.now(), clock.now())
        running.restart(tape.version)

    assert counts == [(1, "history+live"), (2, "history+live")]
    assert shown(series, clock)[-1] == "estimate"


def test_a_bar_that_cannot_be_joined_is_asked_for_once_a_minute_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    history = History(lambda: math.nan)
    running, series, tape = make(history, clock)

    look(running, clock, tape, seconds=3_600)

    assert 60 <= history.asked <= 66
    assert shown(series, clock)[-1] == "estimate"


def test_when_the_tape_has_lost_the_first_trades_the_reckoning_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    history = History(lambda: 100.0)
    running, series, tape = make(history, clock)

    heard(tape, clock.now(), *[(5.0, 1.0)] * 150)
    look(running, clock, tape, seconds=7)
    lost = shown(series, clock)
    look(running, clock, tape, seconds=7)

    assert lost == [5.0, 100.0, "estimate"]
    assert shown(series, clock) == [5.0, 100.0, "history+live"]


def test_an_answer_that_fails_leaves_an_estimate_and_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch)

    def fail() -> float:
        raise FeedError("no bars today")

    history = History(fail)
    running, _, tape = make(history, clock)

    look(running, clock, tape, seconds=8)

    assert history.asked == 3
    assert "stays an estimate" in caplog.text


def test_while_a_question_waits_nothing_else_does_and_a_gap_makes_its_answer_void(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    may_answer = threading.Event()
    history = History(lambda: 7.0 if may_answer.wait(60.0) else 0.0)
    running, series, tape = make(history, clock)

    clock.seconds += 3
    for _ in range(100):
        running.look(clock.now(), tape.version)
        clock.seconds += 1
    question = running._request
    running.restart(tape.version)
    may_answer.set()
    assert question is not None
    question.future.result()
    running.look(clock.now(), tape.version)

    assert history.asked == 1
    assert len(series) == 0


def test_where_neither_side_has_the_bar_all_its_trades_are_heard_here(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    history = History(lambda: 100.0)
    monkeypatch.setattr(history, "ask", lambda start, end: BarPage([], [], [], [], [], []))
    running, series, tape = make(history, clock)

    look(running, clock, tape, seconds=7)
    series.trades([(clock.now(), 5.0, 2.0)])

    assert shown(series, clock) == [5.0, 2.0, "history+live"]


def test_nothing_is_joined_while_trades_wait_for_some_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    volume = 100.0
    running, series, tape = make(History(lambda: volume), clock)
    sources = set()

    hole = tape.begin_backfill()
    for _ in range(20):
        volume += 1
        heard(tape, clock.now(), (5.0, 1.0))
        look(running, clock, tape, seconds=1)
        sources |= set(series.frame(clock.now())["source"])
    tape.backfill(hole, [(0, clock.now(), (5.0, 7.0))], clock.now())
    look(running, clock, tape, seconds=3)
    heard(tape, clock.now(), (5.0, 2.0))
    volume += 2
    look(running, clock, tape, seconds=9)

    assert sources <= {"estimate"}
    assert shown(series, clock) == [5.0, volume, "history+live"]


def test_an_answer_from_before_trades_had_to_wait_is_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    history = History(lambda: 100.0)
    running, series, tape = make(history, clock)
    look(running, clock, tape, seconds=5)

    hole = tape.begin_backfill()
    look(running, clock, tape, seconds=4)
    asked = history.asked
    tape.backfill(hole, [], clock.now())
    look(running, clock, tape, seconds=1)

    assert asked == history.asked == 1
    assert shown(series, clock)[-1] == "estimate"

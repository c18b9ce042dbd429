"""Market time: a computer whose clock is hours off, or is set while a feed runs, as a user of both brokers sees it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.model import clock
from aries_nb.net.events import exchange_clock
from tests.live.alor_feeds import open_alor, serve_alor  # noqa: F401 - fixtures
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator

HOUR = 3_600
BUSY = 60  # seconds by which a message may come late on a busy machine, and that are little beside an hour
BOTH = pytest.mark.parametrize("broker", ["aries", "alor"])


def both_ways(name: str, value: int) -> pytest.MarkDecorator:
    """One way with each broker, and the other way in the long tests."""
    cases = [("aries", value), ("alor", -value), ("aries", -value), ("alor", value)]
    marks = [(), (), pytest.mark.long, pytest.mark.long]
    return pytest.mark.parametrize(
        ("broker", name), [pytest.param(*case, marks=mark) for case, mark in zip(cases, marks, strict=True)]
    )


@pytest.fixture
def begin(request: pytest.FixtureRequest, broker: str) -> Callable[[], tuple[Feed, str]]:
    """Open a feed of the broker, on a market that starts then; with it a symbol."""
    is_alor = broker == "alor"
    serve: Callable[..., Simulator] = request.getfixturevalue("serve_alor" if is_alor else "serve")
    opened: Callable[[Simulator], Feed] = request.getfixturevalue("open_alor" if is_alor else "open_feed")
    return lambda: (opened(serve(rate=300, flush_seconds=0.01)), "SBER" if is_alor else "AAPL")


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[], float]]:
    """Move the clock of the simulated exchange by some seconds; returns the function that reads it."""

    def move(seconds: int) -> Callable[[], float]:
        def now() -> float:
            return time.time() + seconds

        moved = SimpleNamespace(time=now, time_ns=lambda: time.time_ns() + seconds * 10**9)
        for name in ("serving", "http_answers", "aries.server", "alor.server"):
            monkeypatch.setattr(f"aries_nb.sim.{name}.time", moved)
        return now

    return move


def late(rows: pd.DataFrame) -> pd.Series[pd.Timedelta]:
    return rows["received"] - rows.index


@both_ways("hours", 3)
def test_a_computer_that_is_hours_off_stops_neither_bars_nor_windows(
    broker: str, hours: int, exchange: Callable[[int], Callable[[], float]], begin: Callable[[], tuple[Feed, str]]
) -> None:
    now = exchange(hours * HOUR)
    feed, symbol = begin()
    quotes, bars = feed.quotes(symbol, window="1s"), feed.bars(symbol, history="30min")
    eventually(lambda: feed.clock.offset_s != 0)

    assert feed.clock.offset_s == pytest.approx(hours * HOUR, abs=BUSY)
    eventually(
        lambda: feed.clock.now.timestamp() == pytest.approx(now(), abs=2)
    )  # what was due meanwhile is done first
    assert feed.stats().clock_offset_s == feed.clock.offset_s
    eventually(lambda: abs(feed.stats().lag_ms) < 2_000)
    # The window goes on, and the running bar is the exchange's.
    eventually(lambda: quotes.evicted > 20)
    # Its rows are of the last second up to now, but where this process was held up for a moment.
    eventually(lambda: len(quotes.last("1s")) >= len(quotes) - 1 > 0)
    eventually(lambda: late(quotes.df).abs().max() < pd.Timedelta("2s"))
    eventually(lambda: len(bars) and abs(bars.df.index[-1].timestamp() - now()) < 61)
    before = bars.df["volume"].iloc[-1]
    eventually(lambda: bars.df["volume"].iloc[-1] != before)
    # It is said.
    side = "behind" if hours > 0 else "ahead of"
    assert f"this computer's clock is 3 h {side} the exchange's" in feed.card().error
    assert "clock is 3 h" in feed.stats().last_error
    assert quotes.latest["stale"].tolist() == [False]


@both_ways("seconds", HOUR)
def test_a_clock_that_is_set_changes_no_time_and_is_no_standstill(
    broker: str, seconds: int, begin: Callable[[], tuple[Feed, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, symbol = begin()
    quotes = feed.quotes(symbol).wait(rows=5)
    eventually(lambda: feed.stats().messages_per_s > 1)

    def wall_ns() -> int:
        return time.time_ns() + seconds * 10**9

    for module in (clock, exchange_clock):
        monkeypatch.setattr(module, "wall_ns", wall_ns)
    monkeypatch.setattr("aries_nb.net.lag.wall_ns", wall_ns)
    rows = quotes.received
    time.sleep(0.6)  # two turns of the check for a standstill
    eventually(lambda: quotes.received > rows + 5)

    assert feed.state == "live"
    assert len(feed.gaps) == 0
    assert abs(feed.stats().lag_ms) < 1_000 * BUSY
    assert late(quotes.df).abs().max() < pd.Timedelta(BUSY, "s")
    assert quotes.df["received"].is_monotonic_increasing
    assert feed.stats().clock_offset_s == pytest.approx(-seconds, abs=BUSY)
    assert "this computer's clock is 1 h" in feed.card().error


def test_the_clock_of_a_feed_is_the_computers_where_that_is_right(feed: Feed) -> None:
    eventually(lambda: feed.stats().messages > 0)
    begun, now, ended = time.time_ns(), feed.clock.now_ns(), time.time_ns()

    assert begun - 10**9 < now < ended + 10**9  # the computer may set its own meanwhile
    assert (feed.clock.now.tz, feed.clock.now.unit) == (pd.Timestamp.now("UTC").tz, "us")
    assert (feed.clock.offset_s, feed.card().error) == (0.0, "")
    assert repr(feed.clock).startswith("<clock: 20")

"""The clock of a simulated market that `connect` starts: paused, stepped, sought, at any pace, on both brokers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live.local_simulator import SimulatedClock
from aries_nb.sim import SimOptions, Simulator
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.live import Feed

BOTH = pytest.mark.parametrize(("name", "symbol"), [("sim", "AAPL"), ("sim-alor", "SBER")])
ONE = pytest.mark.parametrize(
    ("name", "symbol"), [("sim", "AAPL"), pytest.param("sim-alor", "SBER", marks=pytest.mark.long)]
)
SECOND = pd.Timedelta("1s")


@pytest.fixture
def feed(name: str) -> Iterator[Feed]:
    with anb.connect(name, seed=7, rate=300) as made:
        yield made


def clock_of(feed: Feed) -> SimulatedClock:
    assert isinstance(feed.clock, SimulatedClock)
    return feed.clock


@BOTH
def test_a_paused_market_stands_and_the_connection_goes_on(name: str, symbol: str, feed: Feed) -> None:
    clock = clock_of(feed)
    quotes = feed.quotes(symbol).wait(rows=3)

    clock.pause()
    now, rows = clock.now, quotes.received
    time.sleep(0.5)

    assert (clock.is_playing, clock.now, quotes.received) == (False, now, rows)
    assert "paused" in repr(clock)
    # It takes subscriptions, and answers over HTTP.
    other = feed.quotes("MSFT" if name == "sim" else "GAZP").wait(rows=1)
    history = feed.bars(symbol, history="2h").df
    assert 1 <= len(other) <= 2  # the quote, and the last price
    assert len(history) > 0
    # Nothing is stale, silent, late or missed.
    assert quotes.latest["stale"].tolist() == [False]
    assert (feed.state, len(feed.gaps), quotes.silent) == ("live", 0, ())
    assert abs(feed.stats().silence_s) < 1
    assert clock.now == now

    clock.play()
    quotes.wait(rows=rows + 3)
    assert clock.is_playing
    assert len(feed.gaps) == 0


@BOTH
def test_a_step_goes_on_by_market_time_and_all_of_it_is_read_then(name: str, symbol: str, feed: Feed) -> None:
    clock = clock_of(feed)
    quotes = feed.quotes(symbol).wait(rows=1)
    clock.pause()
    before, rows = clock.now, quotes.received

    clock.step("3s")

    assert clock.now - before == 3 * SECOND
    assert not clock.is_playing
    made = quotes.received - rows
    assert made > 10
    assert clock.now - quotes.df.index[-1] < 0.5 * SECOND
    time.sleep(0.2)
    assert quotes.received - rows == made

    messages = feed.stats().messages
    clock.step(events=4)
    assert 4 <= feed.stats().messages - messages < 40
    assert not clock.is_playing
    assert clock.now - before <= 4 * SECOND


@BOTH
def test_a_seek_goes_forward_only_and_fills_all_between(name: str, symbol: str, feed: Feed) -> None:
    clock = clock_of(feed)
    trades = feed.trades(symbol)
    clock.pause()
    before = clock.now

    clock.seek(before + 90 * SECOND)

    assert clock.now - before == 90 * SECOND
    late = trades.df.index.to_series()
    assert late.iloc[0] - before < 10 * SECOND
    assert late.diff().max() < 10 * SECOND
    assert before + 90 * SECOND - late.iloc[-1] < 10 * SECOND
    assert len(feed.gaps) == 0
    with pytest.raises(anb.UsageError, match=r"only goes forward.*Connect anew with the same seed"):
        clock.seek(before)
    with pytest.raises(anb.UsageError, match="is no time"):
        clock.seek("soon")
    assert clock.now - before == 90 * SECOND


@ONE
def test_at_another_pace_times_and_lags_are_of_the_market(name: str, symbol: str, feed: Feed) -> None:
    clock = clock_of(feed)
    quotes = feed.quotes(symbol).wait(rows=1)

    clock.play(speed=10)
    began, before = time.monotonic(), clock.now
    quotes.wait(rows=quotes.received + 100)
    passed, elapsed = (clock.now - before) / SECOND, time.monotonic() - began

    assert clock.speed == 10
    assert passed <= 10 * elapsed + 1
    eventually(lambda: abs(quotes.df.iloc[-50:]["received"] - quotes.df.index[-50:]).max() < 8 * SECOND)
    assert quotes.df["received"].is_monotonic_increasing
    assert feed.clock.offset_s == 0.0

    clock.play("max")
    eventually(lambda: clock.now - before > 120 * SECOND)
    clock.pause()
    assert (feed.state, len(feed.gaps)) == ("live", 0)
    assert quotes.df["received"].is_monotonic_increasing


@ONE
def test_two_markets_of_one_seed_are_the_same_step_by_step(name: str, symbol: str) -> None:
    def walk(speed: float | str) -> list[float]:
        with anb.connect(name, seed=11, rate=300) as feed:
            clock = clock_of(feed)
            # Before anything is subscribed, fair prices alone move.
            clock.pause()
            clock.seek(clock.start + 40 * SECOND)  # a busy machine connects late
            quotes = feed.quotes(symbol, rows=100_000)
            first = clock.start + 50 * SECOND
            if speed != "max":
                clock.play(speed)
                eventually(lambda: clock.now > first)
                clock.pause()
            clock.seek(clock.start + 95 * SECOND)
            found = quotes.df
            return found[["bid_price", "ask_price", "bid_size", "ask_size"]].to_numpy().ravel().tolist()

    first, second = walk("max"), walk(7)

    assert len(first) > 1_000
    assert first == second


@pytest.mark.parametrize("name", ["sim"])
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda clock: clock.play(0), "is no speed"),
        (lambda clock: clock.play(-1), "is no speed"),
        (lambda clock: clock.play("fast"), "is no speed"),
        (lambda clock: clock.step("1s", events=1), "both a span and events"),
        (lambda clock: clock.step("-1s"), "span"),
        (lambda clock: clock.step(events=0), "events"),
    ],
)
def test_a_wrong_call_is_refused(feed: Feed, call: Callable[[SimulatedClock], None], said: str) -> None:
    with pytest.raises(anb.UsageError, match=said):
        call(clock_of(feed))
    assert feed.clock.now > clock_of(feed).start
    assert clock_of(feed).end is None


@pytest.mark.parametrize("name", ["sim"])
def test_a_market_that_has_ended_says_so(feed: Feed) -> None:
    clock = clock_of(feed)
    feed.close()

    with pytest.raises(anb.ClosedError, match="the simulated market has ended"):
        clock.pause()


def test_a_market_that_connect_did_not_start_goes_on() -> None:
    with Simulator(SimOptions(seed=7)) as sim, anb.connect("aries", url=sim.url, token="any") as feed:
        clock = feed.clock
        with pytest.raises(anb.UsageError, match=r"a live market cannot be paused.*without url="):
            clock.pause()

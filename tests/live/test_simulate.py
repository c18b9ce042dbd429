"""`feed.simulate` and `connect(troubles=…)`: what frames, books, gaps and ledgers say of a trouble, on both brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.sim import SimOptions, Simulator
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH = pytest.mark.parametrize(("name", "symbol"), [("sim", "AAPL"), ("sim-alor", "SBER")])
SECOND = pd.Timedelta("1s")


@pytest.fixture
def feed(name: str) -> Iterator[Feed]:
    with anb.connect(name, seed=7, rate=300) as made:
        yield made


def assert_complete(frame: Any) -> None:
    """Assert that each message is counted once."""
    counts = frame.ledger
    outcomes = sum(counts[2:])
    assert counts.received + counts.filled == outcomes


@BOTH
def test_an_outage_is_a_gap_in_the_same_second(name: str, symbol: str, feed: Feed) -> None:
    quotes, book = feed.quotes(symbol).wait(rows=3), feed.book(symbol)
    eventually(lambda: book.integrity == "ok")
    feed.clock.step("1s")  # the market stands: all agree on its time
    began = feed.clock.now

    feed.simulate("outage", seconds=1)

    eventually(lambda: len(feed.gaps) > 0 and book.integrity == "gap")
    feed.clock.play()
    eventually(lambda: feed.state == "live" and book.integrity == "ok")
    gap = feed.gaps.df.iloc[0]
    assert gap["started"] == began
    assert gap["ended"] - began >= SECOND
    quotes.wait(rows=quotes.received + 1)
    assert_complete(quotes)


@BOTH
def test_a_delay_brings_all_late_and_nothing_is_missed(name: str, symbol: str, feed: Feed) -> None:
    quotes = feed.quotes(symbol).wait(rows=3)

    feed.simulate("delay", seconds=1)
    eventually(lambda: (quotes.df["received"] - quotes.df.index.to_series()).max() > 0.5 * SECOND)

    assert quotes.df["received"].diff().max() > 0.5 * SECOND  # nothing came meanwhile
    assert len(feed.gaps) == 0
    assert_complete(quotes)


@BOTH
def test_a_market_that_stands_is_broken_step_by_step(
    name: str, symbol: str, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = feed.book(symbol).wait()
    feed.clock.pause()

    feed.simulate("crossed book", seconds=2, symbol=symbol)
    feed.clock.step("1s")
    assert book.integrity == "crossed"

    feed.clock.step("3s")
    assert book.integrity == "ok"
    # Nothing is awaited that cannot come.
    awaited: list[object] = []
    feed.simulate("delay", seconds=30)
    monkeypatch.setattr("aries_nb.live.local_simulator.wait", lambda *what: awaited.append(what))
    for _ in range(3):
        feed.clock.step("1s")
    assert awaited == []


@BOTH
def test_troubles_at_set_times_are_the_same_for_all(name: str, symbol: str) -> None:
    found = []
    for _ in range(2):
        with anb.connect(name, seed=7, rate=300, troubles=["halt at 32s for 3s", "crossed book at 37s for 2s"]) as feed:
            feed.clock.pause()
            feed.clock.seek(feed.clock.start + 30 * SECOND)
            book = feed.book(symbol)
            states = []
            for _ in range(11):
                feed.clock.step("1s")
                states.append(book.integrity)
            found.append(states)

    assert found[0] == found[1]
    assert found[0][0] == found[0][-1] == "ok"
    assert "empty" in found[0][2:5]
    assert found[0][7] == "crossed"


@pytest.mark.parametrize("name", ["sim-alor"])
def test_what_cannot_be_simulated_is_refused(feed: Feed) -> None:
    for wrong in ({"trouble": "weather"}, {"trouble": 3}):
        with pytest.raises(anb.UsageError, match=r"Use one of: outage, delay, burst, crossed book, halt.*late prints"):
            feed.simulate(**wrong)  # type: ignore[arg-type]
    with pytest.raises(anb.UsageError, match="unknown symbol NOPE"):
        feed.simulate("halt", symbol="NOPE")
    for of_all in ("outage", "delay", "bursts", "market halt"):
        with pytest.raises(anb.UsageError, match=r"whole market, not to SBER alone.*Leave out the symbol, or.*crossed"):
            feed.simulate(of_all, symbol="SBER")
    for seconds in (0, -1, float("nan"), float("inf"), "5", True):
        with pytest.raises(anb.UsageError, match="seconds="):
            feed.simulate("halt", seconds=seconds)  # type: ignore[arg-type]


def test_only_an_embedded_market_is_broken() -> None:
    with (
        Simulator(SimOptions()) as sim,
        Feed(BROKERS["aries"], sim.url, fixed_token("a token"), at_close=lambda _: None) as feed,
    ):
        for call in (lambda: feed.simulate("halt"), feed.simulate, lambda: feed.simulate.troubles):
            with pytest.raises(anb.UsageError, match=r"no simulated market of its own.*without url="):
                call()
    with pytest.raises(anb.UsageError, match="is no trouble at a time"):
        anb.connect("sim", troubles="soon")


def test_buttons_let_troubles_happen_and_say_what_did_not() -> None:
    with anb.connect("sim", seed=7) as feed:
        book = feed.book("AAPL").wait()
        buttons = feed.simulate()
        assert list(buttons.buttons) == list(feed.simulate.troubles)
        buttons.seconds.value, buttons.symbol.value = 60, "AAPL"

        buttons.buttons["crossed book"].click()

        assert "crossed book</b> of AAPL, 60 s" in buttons.said.value
        eventually(lambda: book.integrity == "crossed")
        buttons.buttons["outage"].click()
        assert "refused: outage happens to the whole market, not to AAPL alone" in buttons.said.value
        buttons.symbol.value = "<b>NOPE"
        buttons.buttons["halt"].click()
        assert "Not simulated" in buttons.said.value
        assert "<b>NOPE" not in buttons.said.value
    buttons.buttons["halt"].click()
    assert "has ended" in buttons.said.value

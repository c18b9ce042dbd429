"""Alerts over live frames: when they fire, what is seen of them, and that texts from strangers do nothing."""

from __future__ import annotations

import gc
import math
from typing import Any

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.derived import alerts as alerts_module
from aries_nb.live.notebook import Cell
from tests.net.patience import eventually

NOW = 1_772_463_840_000_000_000
SECOND = 1_000_000_000


class Rows:
    """Quotes of a frame whose stream has ended, which a test writes itself."""

    def __init__(self, feed: Feed, *symbols: str) -> None:
        self.frame = feed.quotes(*symbols, rows=1_000)
        feed._link.release(self.frame._tape)
        feed._link.arrivals.do(lambda: None).result()
        self.at = max(int(self.frame._tape._published.slab.received.max()) * 1_000, NOW) + SECOND

    def add(self, bid: float, symbol: int = 0, *, after: float = 0.1) -> None:
        tape = self.frame._tape
        self.at += round(after * SECOND)
        values = [bid if name == "bid_price" else bid + 0.5 if name == "ask_price" else 1.0 for name, _ in tape.columns]

        def write() -> None:
            tape.buffer.add(symbol, self.at, tuple(values))
            tape.buffer.mark(self.at)
            tape.publish()

        self.frame._link.arrivals.do(write).result()


def test_it_fires_when_it_becomes_true_and_again_after_a_second_of_false(feed: Feed) -> None:
    rows = Rows(feed, "AAPL", "MSFT")
    alert = rows.frame.alert("mid > 270 and spread < 1")
    for bid, after in ((269, 1.0), (271, 0.1), (272, 0.1), (269, 0.1), (271, 0.5), (269, 0.1), (271, 1.0)):
        rows.add(bid, after=after)
    rows.add(271, 1)  # of MSFT it was never false
    rows.add(math.nan)

    found = alert.df

    assert found["symbol"].tolist() == ["AAPL", "AAPL"]
    assert found["values"].tolist() == ["ask_price 271.5, bid_price 271"] * 2
    assert (found["received"].diff().dt.total_seconds().iloc[1]) == pytest.approx(1.8)
    assert feed.alerts.df["alert"].tolist() == ["mid > 270 and spread < 1"] * 2
    assert alert.true_now == ("AAPL", "MSFT")
    assert len(feed.alerts) == len(alert) == 2
    assert "fired 2 times" in repr(alert)


def test_what_came_before_it_was_made_only_says_what_holds(feed: Feed) -> None:
    rows = Rows(feed, "AAPL")
    rows.add(269, after=1)
    rows.add(271, after=2)
    alert = rows.frame.alert("bid_price > 270")
    assert len(alert.df) == 0
    rows.add(269, after=2)
    rows.add(271, after=2)

    assert len(alert.df) == 1


def test_an_alert_on_a_derived_frame_stays_although_no_variable_refers_to_it(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT", rows=5_000).wait(rows=50, timeout=60)
    sizes = quotes.wait(rows=200, timeout=60)["AAPL"].df["bid_size"]
    high = sizes.max()  # it was never true before
    seen: list[pd.DataFrame] = []
    quotes.assign(bid=lambda df: df.bid_size)["AAPL"].alert(f"bid > {high}").on_update(seen.append)
    gc.collect()
    alert = feed.alerts.open[0]

    alert.wait(firings=1)
    eventually(lambda: bool(seen))
    assert feed.alerts.df["symbol"].iloc[0] == "AAPL"
    alert.close()
    assert feed.alerts.open == ()
    assert len(feed.alerts.df) >= 1


def test_it_closes_with_its_frame_and_the_same_text_is_the_same_alert(feed: Feed) -> None:
    quotes = feed.quotes("AAPL")
    alert = quotes.alert("mid > 1")

    assert quotes.alert(" (mid)>1") is alert
    assert quotes.alert("mid > 2") is not alert
    quotes.close()
    assert not alert.is_open
    with pytest.raises(anb.ClosedError, match="is closed, as quotes AAPL is"):
        alert.wait(timeout=5)


def test_a_cell_that_runs_again_with_another_text_ends_the_first_alert(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes = feed.quotes("AAPL")
    first = []
    for run, texts in ((1, ("mid > 270", "mid > 271")), (2, ("mid > 280",))):
        monkeypatch.setattr(alerts_module, "running_cell", lambda run=run: Cell("a", run))
        first += [quotes.alert(text) for text in texts]

    assert [each.is_open for each in first] == [False, False, True]


def test_it_is_a_badge_whose_text_is_escaped(feed: Feed) -> None:
    rows = Rows(feed, "AAPL")
    alert = rows.frame.alert("bid_price < 270")
    rows.add(271)
    rows.add(269, after=2)
    assert len(alert) == 1

    badge: Any = alert._repr_mimebundle_()
    html = (badge[0] if isinstance(badge, tuple) else badge)["text/html"]
    assert "bid_price &lt; 270" in html
    assert "bid_price < 270" not in html
    table: Any = feed.alerts._repr_mimebundle_()
    assert "bid_price &lt; 270" in (table[0] if isinstance(table, tuple) else table)["text/html"]


@pytest.mark.parametrize("text", ["__import__('os')", "price > 1", "mid", "mid ** 2 > 1", 3])
def test_a_text_that_is_no_condition_is_refused_and_nothing_is_made(feed: Feed, text: Any) -> None:
    quotes = feed.quotes("AAPL")

    with pytest.raises(anb.UsageError):
        quotes.alert(text)
    assert feed.alerts.open == ()

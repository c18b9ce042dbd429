"""`feed.streams`: what is open, what holds it, and closing it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import aries_nb as anb
from aries_nb.live.live_object import LiveObject

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module whose variables are those of the notebook."""
    module = type(sys)("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_all_that_is_open_is_listed_with_what_holds_it(feed: anb.Feed, notebook: ModuleType) -> None:
    notebook.quotes = feed.quotes("AAPL").wait(rows=20)  # type: ignore[attr-defined]
    notebook.Out = {3: feed.book("MSFT").wait()}  # type: ignore[attr-defined]
    feed.trades("NVDA").on_update(print)
    chart = feed.quotes("TSLA").chart()
    balances = feed.account("ACC-1").balances.wait()
    notebook.several = [feed.quotes("META")]  # type: ignore[attr-defined]

    held = feed.streams.df.set_index("stream")

    assert held["held_by"].to_dict() == {
        "quotes AAPL": "quotes",
        "the book of MSFT": "output history",
        "trades NVDA": "callback",
        "quotes TSLA": "view",
        "balances of ACC-1": "account ACC-1",
        "quotes META": "several",
    }
    assert held.loc["quotes AAPL", "updates"] >= 20
    assert held.loc["quotes AAPL", "rows_per_s"] >= 2
    assert held["rows_per_s"].isna().sum() == 2
    assert (chart.is_closed, balances.is_open) == (False, True)


def test_what_another_object_holds_is_listed_with_it(feed: anb.Feed, notebook: ModuleType) -> None:
    expiry = feed.options("MSFT").expiries[0]
    notebook.chain = feed.options("MSFT", expiry, strikes=1)  # type: ignore[attr-defined]
    notebook.positions = feed.account("ACC-1").positions.wait()  # type: ignore[attr-defined]
    news = feed.news()

    held = feed.streams.df.set_index("stream")["held_by"]

    assert held["quotes MSFT"] == f"options of MSFT on {expiry}"
    assert held["positions of ACC-1"] == "positions, account ACC-1"
    assert held["quotes AAPL, MSFT, TSLA"] == "positions of ACC-1"
    assert held["news"] == "the feed"
    assert held.ne("").all()
    assert news.is_open


def test_streams_are_closed_by_number(feed: anb.Feed, notebook: ModuleType) -> None:
    first, second = feed.quotes("AAPL"), feed.quotes("MSFT")

    streams = feed.streams
    streams.close(1)

    assert (first.is_open, second.is_open) == (True, False)
    assert list(feed.streams) == [first]
    assert "quotes AAPL" in repr(feed.streams)
    assert "quotes AAPL" in feed.streams._repr_html_()
    with pytest.raises(anb.UsageError, match=r"there is no stream 7\. Pass numbers below 1"):
        feed.streams.close(7)


def test_a_frame_that_another_thread_is_making_is_not_listed(
    feed: anb.Feed, notebook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = feed.quotes("AAPL").wait()
    half_made: list[list[str]] = []

    def look(each: LiveObject, name: str, value: object) -> None:
        """Read the streams after each attribute that the constructor sets, as another thread may."""
        object.__setattr__(each, name, value)
        if each is not held and name not in {"_used_at", "_is_made"}:
            half_made.append(feed.streams.df["stream"].tolist())

    monkeypatch.setattr(LiveObject, "__setattr__", look)
    trades = feed.trades("MSFT")
    monkeypatch.undo()

    assert len(half_made) > 10
    assert all(names == ["quotes AAPL"] for names in half_made)
    assert [each for each in feed.streams if each is not held] == [trades]


def test_each_session_of_a_process_has_views_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [SimpleNamespace(stream=object()), SimpleNamespace(stream=object())]
    now = SimpleNamespace(safe_get_context=lambda: sessions[0])
    monkeypatch.setitem(sys.modules, "marimo._runtime.context", now)
    with anb.connect("sim") as feed:
        quotes, account = feed.quotes("AAPL"), feed.account("ACC-1")
        first = quotes.chart("bid_price"), account.dashboard()

        assert (quotes.chart("bid_price"), account.dashboard()) == first
        sessions.reverse()
        second = quotes.chart("bid_price"), account.dashboard()

        assert all(one is not other for one, other in zip(first, second, strict=True))
    assert all(view.is_closed for view in (first[0], second[0]))

"""Streams that only a notebook's output history still holds: given up after a while, back when they are used."""

from __future__ import annotations

import gc
import math
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import aries_nb as anb
from aries_nb.live import idle, live_object, notebook
from aries_nb.live.idle import IdleStreams
from aries_nb.live.market.bars import LiveBars
from aries_nb.model.clock import elapsed
from aries_nb.net.background import on_network
from aries_nb.widgets import view as view_module
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live.live_object import LiveObject

__all__ = ["open_alor", "serve_alor"]

SECONDS = 0.3


class Shell:
    """IPython's shell as far as the output history needs it: results of cells, and the cell that runs."""

    def __init__(self) -> None:
        self.kernel = object()
        self.user_ns: dict[str, Any] = {"_oh": {}, "_": "", "__": "", "___": ""}
        self.user_ns["Out"] = self.user_ns["_oh"]
        self.user_ns_hidden: dict[str, Any] = {}
        self.displayhook = SimpleNamespace(_="", __="", ___="", exec_result=None)
        self.last_execution_result: Any = None
        self.execution_count = 1
        self.cell = "a"

    def get_parent(self) -> dict[str, Any]:
        return {"metadata": {"cellId": self.cell}}

    def show(self, result: object) -> None:
        """Keep the result of a cell everywhere where IPython does."""
        self.user_ns["_oh"][self.execution_count] = result
        names = {"_": result, f"_{self.execution_count}": result}
        self.user_ns.update(names)
        self.user_ns_hidden.update(names)
        self.displayhook._ = result
        self.last_execution_result = SimpleNamespace(result=result)
        self.execution_count += 1


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Shell:
    """A shell in which streams are given up after `SECONDS`, or those that the test names."""
    shell, seconds = Shell(), getattr(request, "param", SECONDS)
    monkeypatch.setattr(notebook, "notebook_shell", lambda: shell)
    monkeypatch.setattr(IdleStreams.__init__, "__kwdefaults__", {"seconds": seconds, "shell": lambda: shell})
    return shell


@pytest.fixture(params=["aries", "alor"])
def market(shell: Shell, request: pytest.FixtureRequest) -> tuple[anb.Feed, str, Any]:
    """A feed of each broker in a notebook, a symbol, and the simulator."""
    if request.param == "aries":
        sim = request.getfixturevalue("sim")
        return request.getfixturevalue("feed"), "AAPL", sim
    sim = request.getfixturevalue("serve_alor")(rate=2_000, flush_seconds=0.01, conflate=False)
    return request.getfixturevalue("open_alor")(sim), "SBER", sim


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


MAKERS: dict[str, Callable[[anb.Feed, str], LiveObject]] = {
    "quotes": lambda feed, symbol: feed.quotes(symbol).wait(rows=5),
    "trades": lambda feed, symbol: feed.trades(symbol).wait(rows=5),
    "book": lambda feed, symbol: feed.book(symbol).wait(),
    "bars": lambda feed, symbol: feed.bars(symbol).wait(),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_object_of_the_output_history_alone_is_unsubscribed_and_comes_back(
    make: Callable[[anb.Feed, str], Any], market: tuple[anb.Feed, str, Any], shell: Shell
) -> None:
    feed, symbol, _ = market
    streams = feed.stats().streams
    began = elapsed()

    shell.show(make(feed, symbol))

    held = shell.user_ns["Out"]
    eventually(lambda: "given up" in repr(held[1]) or "gap" in repr(held[1]))
    assert elapsed() - began >= SECONDS
    eventually(lambda: feed.stats().streams == streams)
    assert not held[1].is_live
    assert held[1].is_open
    before = held[1]._count()
    again = held[1]  # else it may be given up anew
    assert len(again.df) >= 1  # this is a use
    assert again.is_live
    eventually(lambda: isinstance(again, LiveBars) or again._count() > before)
    eventually(lambda: feed.gaps.df["ended"].notna().all())
    gaps = feed.gaps.df
    assert gaps["cause"].tolist() == ["given up"]
    assert gaps["reason"].tolist() == ["not used: only the output history held it"]
    assert gaps["symbol"].tolist() == [symbol]
    assert gaps["filled"].tolist() == [False]


def test_the_server_streams_nothing_for_a_frame_given_up(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    shell.show(feed_in_notebook.quotes("AAPL", "MSFT").wait(rows=5))
    eventually(lambda: feed_in_notebook.stats().streams == 0)
    frame_rows = feed_in_notebook.stats().records

    pause(0.1)

    assert feed_in_notebook.stats().records == frame_rows
    assert feed_in_notebook.ledger.empty


@pytest.fixture
def feed_in_notebook(shell: Shell, request: pytest.FixtureRequest) -> anb.Feed:
    feed: anb.Feed = request.getfixturevalue("feed")
    return feed


def test_rows_stay_and_the_gap_is_that_of_the_old_frame_alone(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    feed = feed_in_notebook
    shell.show(feed.quotes("AAPL", window="5min").wait(rows=50))
    wider = feed.quotes("AAPL", window="15min")
    old = shell.user_ns["Out"][1]._tape
    eventually(lambda: not shell.user_ns["Out"][1].is_live)
    kept = old.version

    pause(0.1)
    back = feed.clock.now
    frame = shell.user_ns["Out"][1]  # from here on it is held
    before = len(frame.df)
    frame.wait(rows=kept + 20)

    assert before == kept
    assert wider.gaps.df.empty
    assert wider.is_live
    assert frame.gaps.df["cause"].tolist() == ["given up"]
    started, ended = frame.gaps.df.loc[0, ["started", "ended"]]
    assert started < back < ended
    assert not ((frame.df["received"] > started) & (frame.df["received"] < back)).any()
    with pytest.raises(anb.GapError):
        frame.time_weighted_mean("bid_price")
    received, filled, *become = frame.ledger
    assert received + filled == sum(become)


HOLDERS: dict[str, Callable[[Any, Shell], object]] = {
    "variable": lambda frame, shell: shell.user_ns.update(quotes=frame),
    "list": lambda frame, shell: [frame],
    "method": lambda frame, shell: frame.wait,
    "object array": lambda frame, shell: __import__("numpy").array([frame, None], dtype=object),
    "closure": lambda frame, shell: lambda: frame,
    "function": lambda frame, shell: frame.on_update(print),
    "gap function": lambda frame, shell: frame.on_gap(print),
    "chart not shown yet": lambda frame, shell: frame.chart(engine="light"),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_what_anything_else_holds_is_never_given_up(
    hold: Callable[[Any, Shell], object], feed_in_notebook: anb.Feed, shell: Shell
) -> None:
    frame = feed_in_notebook.quotes("AAPL").wait(rows=5)
    holder = hold(frame, shell)
    shell.show(frame)
    del frame

    pause(3 * SECONDS)

    assert feed_in_notebook.stats().streams >= 1
    assert shell.user_ns["Out"][1].is_live
    del holder


def test_a_running_function_holds_its_frame(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    end = threading.Event()

    def work() -> None:
        frame = feed_in_notebook.quotes("AAPL").wait(rows=5)
        shell.show(frame)
        end.wait()
        assert frame

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: 1 in shell.user_ns["Out"])
    pause(3 * SECONDS)
    is_live = shell.user_ns["Out"][1].is_live
    end.set()
    thread.join()

    assert is_live
    eventually(lambda: not shell.user_ns["Out"][1].is_live)


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass, and wait until it was looked for what is not in use then; no others pass."""
    now, looks, look = [elapsed()], list[float](), IdleStreams.look
    for module in (idle, live_object, view_module):
        monkeypatch.setattr(module, "elapsed", lambda: now[-1])
    monkeypatch.setattr(IdleStreams, "look", lambda *given: (look(*given), looks.append(now[-1])))

    def act(seconds: float) -> None:
        now.append(now[-1] + seconds)
        eventually(lambda: looks[-1:] == now[-1:])

    return act


def test_reading_it_now_and_then_keeps_it(
    passing: Callable[[float], None], feed_in_notebook: anb.Feed, shell: Shell
) -> None:
    shell.show(feed_in_notebook.quotes("AAPL").wait(rows=5))

    for _ in range(8):
        passing(0.8 * SECONDS)
        assert shell.user_ns["Out"][1].is_live
        assert len(shell.user_ns["Out"][1].latest) == 1

    assert feed_in_notebook.gaps.df.empty


def test_frames_of_accounts_and_marks_are_never_given_up(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    positions = feed_in_notebook.account("ACC-1").positions.wait()
    eventually(lambda: len(positions._marks.now()) > 0)

    pause(3 * SECONDS)

    assert len(positions._marks.now()) > 0
    assert feed_in_notebook.gaps.df.empty


def test_the_function_of_an_edited_cell_is_called_by_the_new_frame_alone(
    feed_in_notebook: anb.Feed, shell: Shell
) -> None:
    feed, calls = feed_in_notebook, list[int]()

    def show(rows: Any) -> None:
        calls.append(len(rows))

    feed.quotes("AAPL", window="5min").on_update(show)
    shell.execution_count += 1
    edited = feed.quotes("AAPL", window="15min")
    edited.on_update(show)
    eventually(lambda: gc.collect() >= 0 and len(feed.ledger) == 1)
    assert sorted(feed.streams.df["state"]) == ["given up", "live"]
    calls.clear()
    edited.wait(rows=edited.received + 50)
    eventually(lambda: len(calls) > 0)

    assert sorted(feed.streams.df["state"]) == ["given up", "live"]
    assert edited.is_live
    assert sum(calls) <= edited.received


def test_one_function_in_two_cells_or_twice_in_one_run_is_used_twice(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    feed = feed_in_notebook
    feed.quotes("AAPL").on_update(print_nothing)
    feed.quotes("MSFT").on_update(print_nothing)
    shell.cell, shell.execution_count = "b", 2
    feed.quotes("NVDA").on_update(print_nothing)

    pause(3 * SECONDS)

    assert feed.streams.df["state"].tolist() == ["live"] * 3


def print_nothing(rows: object) -> None:
    assert rows is not None


def test_a_view_that_a_page_shows_keeps_its_frame_until_it_is_removed(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    frame = feed_in_notebook.quotes("AAPL").wait(rows=5)
    shell.show(frame)
    frame._repr_mimebundle_()
    view = next(iter(frame._views.values()))
    view._on_message(None, {"visible": True, "view": "d1"}, [])
    view._on_message(None, {"visible": False, "view": "d1"}, [])  # out of sight
    del frame

    pause(3 * SECONDS)
    is_live = shell.user_ns["Out"][1].is_live
    view._on_message(None, {"visible": False, "view": "d1", "removed": True}, [])
    view._on_message(None, {"ack": view.frames}, [])  # that was under way

    assert is_live
    assert view.seen_at() == -math.inf
    del view
    eventually(lambda: not shell.user_ns["Out"][1].is_live)
    frame = shell.user_ns["Out"][1]
    frame._repr_mimebundle_()  # displayed again
    assert frame.is_live


def test_a_page_that_answers_no_more_shows_nothing(
    passing: Callable[[float], None], feed_in_notebook: anb.Feed, shell: Shell
) -> None:
    shell.show(feed_in_notebook.quotes("AAPL").wait(rows=5))
    shell.user_ns["Out"][1]._repr_mimebundle_()
    view = next(iter(shell.user_ns["Out"][1]._views.values()))

    for _ in range(8):
        passing(0.8 * idle.PAGE_SECONDS)
        view._on_message(None, {"ack": view.frames}, [])
    is_live = shell.user_ns["Out"][1].is_live
    del view
    passing(1.2 * idle.PAGE_SECONDS)
    passing(1.2 * SECONDS)

    assert is_live
    eventually(lambda: not shell.user_ns["Out"][1].is_live)


def test_a_chain_of_options_is_given_up_whole(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    feed = feed_in_notebook
    expiry = feed.options("AAPL").expiries[0]
    shell.show(feed.options("AAPL", expiry, strikes=2).wait(contracts=1))

    eventually(lambda: feed.stats().streams == 0)
    quotes = shell.user_ns["Out"][1].quotes  # it holds all of it
    assert len(shell.user_ns["Out"][1].df) == 10

    eventually(lambda: feed.stats().streams == 11)
    assert quotes.gaps.df["cause"].tolist() == ["given up"]
    pause(3 * SECONDS)
    assert quotes.is_live


def test_an_equal_call_takes_it_up_again(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    shell.show(feed_in_notebook.quotes("AAPL").wait(rows=5))
    eventually(lambda: not shell.user_ns["Out"][1].is_live)

    frame = feed_in_notebook.quotes("AAPL")

    assert frame is shell.user_ns["Out"][1]
    assert frame.is_live
    frame.wait(rows=frame.received + 5)


def test_closing_ends_the_gap(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    shell.show(feed_in_notebook.quotes("AAPL").wait(rows=5))
    eventually(lambda: not shell.user_ns["Out"][1].is_live)

    shell.user_ns["Out"][1].close()

    assert feed_in_notebook.gaps.df["ended"].notna().all()


def test_without_a_notebook_nothing_is_given_up(feed: anb.Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython in a terminal has an output history, but no kernel."""
    terminal = Shell()
    del terminal.kernel
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: terminal))
    looks = IdleStreams(feed._registry, seconds=0.05)
    looks.start()
    terminal.show(feed.quotes("AAPL").wait(rows=5))

    pause(0.3)

    assert terminal.user_ns["Out"][1].is_live


def test_a_look_is_cheap(feed_in_notebook: anb.Feed, shell: Shell) -> None:
    for number in range(2_000):
        shell.user_ns["_oh"][number + 100] = number
    frames = [feed_in_notebook.quotes("AAPL", rows=rows) for rows in range(1_000, 1_020)]
    looks = IdleStreams(feed_in_notebook._registry)

    def look() -> float:
        began = time.thread_time()
        looks.look(shell, feed_in_notebook._registry.open_objects())
        return time.thread_time() - began

    took = min(on_network(look).result() for _ in range(5))

    assert len(frames) == 20
    assert took < 0.01

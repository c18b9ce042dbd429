from __future__ import annotations

import asyncio
import logging
import threading
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live.callbacks import Callbacks
from aries_nb.store.values import frame_of
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim import Simulator
    from aries_nb.store import Gap


def test_every_row_comes_to_a_slow_callback_exactly_once(sim: Simulator, feed: anb.Feed) -> None:
    parts: list[pd.DataFrame] = []
    may_go_on = threading.Semaphore(0)
    quotes = feed.quotes("AAPL", "MSFT", "NVDA")

    def slow(rows: pd.DataFrame) -> None:
        may_go_on.acquire(timeout=60)
        parts.append(rows)

    quotes.wait()
    sim.set_market("closed")
    eventually(lambda: feed.market_status["market"] == "closed" and feed.stats().records == quotes.received)
    before = quotes.received
    quotes.on_update(slow)
    sim.set_market("open")
    for count in range(1, 6):
        quotes.wait(rows=quotes.received + 100)
        may_go_on.release()
        eventually(partial(lambda wanted: len(parts) >= wanted, count))
    quotes.close()

    got = pd.concat(parts)
    pd.testing.assert_frame_equal(quotes.df.iloc[before : before + len(got)], got)
    assert max(map(len, parts)) >= 100


def test_a_callback_gets_only_rows_newer_than_itself(feed: anb.Feed) -> None:
    seen: list[pd.DataFrame] = []
    quotes = feed.quotes("AAPL").wait(rows=30)

    before = quotes.received
    quotes.on_update(seen.append)
    quotes.wait(rows=quotes.received + 50)
    eventually(lambda: seen)
    quotes.close()

    whole = quotes.df
    first = seen[0]
    assert (whole.index[before - 1] <= first.index).all()
    assert len(pd.concat(seen)) <= len(whole) - before


def test_a_callback_runs_on_a_thread_of_its_own(feed: anb.Feed) -> None:
    threads: list[str] = []
    quotes = feed.quotes("AAPL")

    quotes.on_update(lambda _: threads.append(threading.current_thread().name))
    eventually(lambda: threads)

    assert {"aries-nb-callbacks"} == set(threads)


def test_an_undone_callback_is_not_called_again(feed: anb.Feed) -> None:
    calls: list[int] = []
    quotes = feed.quotes("AAPL")
    undo = quotes.on_update(lambda rows: calls.append(len(rows)))
    eventually(lambda: calls)

    undo()
    undo()
    other = threading.Event()
    quotes.on_update(lambda _: other.set())
    other.wait(30)
    count = len(calls)
    quotes.wait(rows=quotes.received + 50)

    assert count == len(calls)


def test_a_callback_that_raises_is_logged_told_on_the_card_and_called_again(
    feed: anb.Feed, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    quotes = feed.quotes("AAPL")

    def broken(rows: pd.DataFrame) -> None:
        calls.append(len(rows))
        raise ValueError("not my day")

    undo = quotes.on_update(broken)
    eventually(lambda: len(calls) >= 3)
    undo()

    assert feed.state == "live"
    assert "not my day" in feed._source.card().error
    assert {("aries_nb", "a callback raised")} == {
        (record.name, record.getMessage()) for record in caplog.records if record.levelno == logging.ERROR
    }


def test_one_callback_that_raises_does_not_keep_rows_from_another(feed: anb.Feed) -> None:
    rows: list[int] = []
    quotes = feed.quotes("AAPL")

    def broken(_: pd.DataFrame) -> None:
        raise ValueError("not my day")

    quotes.on_update(broken)
    quotes.on_update(lambda new: rows.append(len(new)))
    quotes.wait(rows=100)

    eventually(lambda: sum(rows) >= 90)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_whatever_a_callback_raises_the_others_go_on(error: type[BaseException], feed: anb.Feed) -> None:
    calls: list[int] = []
    quotes = feed.quotes("AAPL")

    def fails(_: pd.DataFrame) -> None:
        calls.append(1)
        raise error

    quotes.on_update(fails)
    eventually(lambda: calls)
    rows: list[pd.DataFrame] = []
    quotes.on_update(rows.append)

    eventually(lambda: rows)


@pytest.mark.parametrize("wrong", [None, 5, "print", []])
def test_what_is_no_function_is_refused_at_once(wrong: Any, feed: anb.Feed) -> None:
    with pytest.raises(anb.UsageError, match="is no function to call back"):
        feed.quotes("AAPL").on_update(wrong)
    with pytest.raises(anb.UsageError, match="is no function to call back"):
        feed.on_gap(wrong)


def test_rows_that_left_the_window_before_a_slow_callback_came_are_told(
    feed: anb.Feed, caplog: pytest.LogCaptureFixture
) -> None:
    sizes: list[int] = []
    may_go_on = threading.Event()
    quotes = feed.quotes("AAPL", rows=10)

    def slow(rows: pd.DataFrame) -> None:
        sizes.append(len(rows))
        may_go_on.wait(30)

    quotes.on_update(slow)
    eventually(lambda: sizes)
    quotes.wait(rows=quotes.received + 200)
    may_go_on.set()
    eventually(lambda: "missed" in feed._source.card().error)

    assert "a callback on quotes AAPL was too slow and missed" in caplog.text
    assert max(sizes) <= 10


def test_a_callback_may_close_the_feed(feed: anb.Feed) -> None:
    feed.quotes("AAPL").on_update(lambda _: feed.close())

    eventually(lambda: feed.state == "closed")


def test_on_gap_tells_each_gap_and_its_end(sim: Simulator, feed: anb.Feed) -> None:
    given: list[Gap] = []
    undo = feed.on_gap(given.append)

    for number in (1, 2, 3):
        sim.drop_connections()
        eventually(partial(lambda wanted: list(feed.gaps.df["ended"].notna()) == [True] * wanted, number))
    eventually(lambda: sum(gap.ended is not None for gap in given) == 3)
    undo()

    ended = [gap for gap in given if gap.ended is not None]
    assert list(feed.gaps.df["started"].astype("int64")) == [gap.started // 1_000 for gap in ended]
    assert {"the connection was cut"} == {gap.reason for gap in given}
    assert len(given) == len(set(given))


def test_on_gap_does_not_tell_what_was_before(sim: Simulator, feed: anb.Feed) -> None:
    given: list[Gap] = []
    sim.drop_connections()
    eventually(lambda: len(feed.gaps) == 1 and feed.state == "live")

    feed.on_gap(given.append)
    sim.drop_connections()
    eventually(lambda: len(feed.gaps) == 2 and feed.state == "live")
    eventually(lambda: any(gap.ended for gap in given))

    assert {feed._gaps.all()[1].started} == {gap.started for gap in given}


def test_a_feed_without_callbacks_has_no_callback_thread(feed: anb.Feed, serve: Callable[..., Simulator]) -> None:
    feed.quotes("AAPL").wait()

    assert feed._callbacks._thread is None


LIVE_OBJECTS = {
    "quotes": lambda feed: feed.quotes("AAPL"),
    "trades": lambda feed: feed.trades("AAPL"),
    "orders": lambda feed: feed.account("ACC-1").orders,
    "fills": lambda feed: feed.account("ACC-1").fills,
    "positions": lambda feed: feed.account("ACC-1").positions,
    "balances": lambda feed: feed.account("ACC-1").balances,
    "pnl": lambda feed: feed.account("ACC-1").pnl(),
    "watchlists": lambda feed: feed.watchlists,
    "news": lambda feed: feed.news(),
    "book": lambda feed: feed.book("AAPL"),
    "bars": lambda feed: feed.bars("AAPL"),
    "equity": lambda feed: feed.account("ACC-1").equity,
    "chain": lambda feed: feed.options("MSFT", feed.options("MSFT").expiries[0], strikes=1),
    "quotes of a chain": lambda feed: feed.options("MSFT", feed.options("MSFT").expiries[0], strikes=1).quotes,
}
CELL = "def seen(rows):\n    calls.append(rows)\n\nlive.on_update(seen)"


@pytest.mark.parametrize("name", LIVE_OBJECTS)
def test_a_cell_that_runs_again_replaces_its_callback_and_close_removes_it(name: str, feed: anb.Feed) -> None:
    live = LIVE_OBJECTS[name](feed)

    for _ in range(3):
        exec(CELL, {"live": live, "calls": []})  # as a notebook runs a cell: the function is a new one each time
    registered = len(list(feed._callbacks._jobs))
    live.close()

    assert registered == 1
    assert list(feed._callbacks._jobs) == []


CELLS_WITH_VALUES = {
    "a partial": "live.on_update(partial(seen, name='a', number=1))",
    "a partial of a method": "live.on_update(partial(calls.append))",
    "default values": "live.on_update(lambda rows, name='a', *, number=1: seen(rows, name, number))",
    "a closure": "make = lambda name: lambda rows: seen(rows, name, 1)\nlive.on_update(make('a'))",
    "a closure that holds itself": """
def register():
    def again(rows):
        return again
    live.on_update(again)
register()""",
}


@pytest.mark.parametrize("which", CELLS_WITH_VALUES)
def test_a_function_with_values_of_its_own_replaces_itself_when_its_cell_runs_again(which: str, feed: anb.Feed) -> None:
    live, calls = feed.quotes("AAPL"), []
    cell = "def seen(rows, name, number):\n    calls.append(rows)\n\n" + CELLS_WITH_VALUES[which]

    for _ in range(3):
        exec(cell, {"live": live, "calls": calls, "partial": partial})
    registered = len(list(feed._callbacks._jobs))

    assert registered == 1


def test_functions_that_differ_in_a_value_of_their_own_are_all_called_back(feed: anb.Feed) -> None:
    live = feed.quotes("AAPL")
    lists: list[list[object]] = [[], []]

    def with_closure(name: str) -> Callable[[object], object]:
        return lambda rows: (name, rows)

    for name in ("a", "b"):
        live.on_update(partial(print, name))
        live.on_update(lambda rows, name=name: (name, rows))
        live.on_update(with_closure(name))
    for each in lists:
        live.on_update(partial(each.extend))
        live.on_update(lambda rows, each=each: each.extend(rows))
    registered = len(list(feed._callbacks._jobs))

    assert registered == 10


@pytest.mark.parametrize("name", LIVE_OBJECTS)
def test_the_same_function_may_be_called_back_for_rows_and_for_gaps(name: str, feed: anb.Feed) -> None:
    live = LIVE_OBJECTS[name](feed)
    seen: list[object] = []
    registering = [getattr(live, each) for each in ("on_update", "on_gap") if hasattr(live, each)]

    for register in [*registering, *registering]:
        register(seen.append)
    registered = len(list(feed._callbacks._jobs))
    live.close()

    assert registered == len(registering)
    assert list(feed._callbacks._jobs) == []


@pytest.mark.parametrize("name", LIVE_OBJECTS)
def test_what_is_closed_takes_no_callback(name: str, feed: anb.Feed) -> None:
    live = LIVE_OBJECTS[name](feed)
    live.close()

    with pytest.raises(anb.ClosedError, match=r"is closed\. Ask the feed for it again"):
        live.on_update(print)

    assert list(feed._callbacks._jobs) == []


def test_an_order_is_told_once_however_often_the_cell_ran(serve: Callable[..., Simulator], open_feed: Any) -> None:
    feed = open_feed(serve(rate=10, orders_per_s=20.0))
    calls: list[pd.DataFrame] = []
    orders = feed.account("ACC-1").orders.wait()

    for _ in range(3):
        exec(CELL, {"live": orders, "calls": calls})
    eventually(lambda: sum(map(len, calls)) > 20)
    orders.close()

    assert pd.concat(calls).index.is_unique


def test_an_update_costs_the_new_states_alone_however_many_came_before(
    serve: Callable[..., Simulator], open_feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = open_feed(serve(rate=10, orders_per_s=50.0))
    orders = feed.account("ACC-1").orders.wait(changes=20)
    built: list[int] = []
    given: list[int] = []

    def frame(columns: Any, rows: Any) -> pd.DataFrame:
        built.append(len(rows))
        return frame_of(columns, rows)

    monkeypatch.setattr("aries_nb.store.log.frame_of", frame)
    stop = orders.on_update(lambda rows: given.append(len(rows)))
    eventually(lambda: len(given) >= 5)
    stop()
    orders.close()

    assert [count for count in built if count][: len(given)] == given


def test_fills_are_told_as_they_are_in_df(serve: Callable[..., Simulator], open_feed: Any) -> None:
    fills = open_feed(serve(rate=10, orders_per_s=50.0)).account("ACC-1").fills
    fills._multipliers = lambda: dict.fromkeys(("AAPL", "MSFT", "NVDA", "TSLA", "AMZN"), Decimal(50))  # of futures
    given: list[pd.DataFrame] = []

    stop = fills.on_update(given.append)
    eventually(lambda: len(given) >= 5)
    stop()

    rows = pd.concat(given)
    assert 50 in set(rows["multiplier"])
    pd.testing.assert_frame_equal(fills.df.loc[rows.index], rows)


def test_the_thread_of_a_worker_ends_with_the_callbacks_that_made_it() -> None:
    callbacks = Callbacks()
    worker = callbacks.worker()
    worker.add(lambda: None)
    thread = worker._thread
    assert thread is not None

    callbacks.close()
    thread.join(30)
    late = callbacks.worker()
    late.add(lambda: None)

    assert not thread.is_alive()
    assert late._thread is None

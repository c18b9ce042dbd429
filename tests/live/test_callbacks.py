from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    import aries_nb as anb
    from aries_nb.sim import Simulator
    from aries_nb.store import Gap


def test_every_row_comes_to_a_slow_callback_exactly_once(sim: Simulator, feed: anb.Feed) -> None:
    parts: list[pd.DataFrame] = []
    may_go_on = threading.Semaphore(0)
    quotes = feed.quotes("AAPL", "MSFT", "NVDA")

    def slow(rows: pd.DataFrame) -> None:
        may_go_on.acquire(timeout=5)
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
    other.wait(5)
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


def test_rows_that_left_the_window_before_a_slow_callback_came_are_told(
    feed: anb.Feed, caplog: pytest.LogCaptureFixture
) -> None:
    sizes: list[int] = []
    may_go_on = threading.Event()
    quotes = feed.quotes("AAPL", rows=10)

    def slow(rows: pd.DataFrame) -> None:
        sizes.append(len(rows))
        may_go_on.wait(5)

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
    told: list[Gap] = []
    undo = feed.on_gap(told.append)

    for number in (1, 2, 3):
        sim.drop_connections()
        eventually(partial(lambda wanted: list(feed.gaps.df["ended"].notna()) == [True] * wanted, number))
    eventually(lambda: sum(gap.ended is not None for gap in told) == 3)
    undo()

    ended = [gap for gap in told if gap.ended is not None]
    assert list(feed.gaps.df["started"].astype("int64")) == [gap.started for gap in ended]
    assert {"the connection was cut"} == {gap.reason for gap in told}
    assert len(told) == len(set(told))


def test_on_gap_does_not_tell_what_was_before(sim: Simulator, feed: anb.Feed) -> None:
    told: list[Gap] = []
    sim.drop_connections()
    eventually(lambda: len(feed.gaps) == 1 and feed.state == "live")

    feed.on_gap(told.append)
    sim.drop_connections()
    eventually(lambda: len(feed.gaps) == 2 and feed.state == "live")
    eventually(lambda: any(gap.ended for gap in told))

    assert {feed._gaps.all()[1].started} == {gap.started for gap in told}


def test_a_feed_without_callbacks_has_no_callback_thread(feed: anb.Feed, serve: Callable[..., Simulator]) -> None:
    feed.quotes("AAPL").wait()

    assert feed._callbacks._thread is None

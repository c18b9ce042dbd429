"""The timeline: views of the past and back, while what is received goes on."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.errors import UsageError
from aries_nb.model import PlaybackMove
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aries_nb.live import Feed


def test_views_show_a_past_moment_and_then_what_is_new(feed: Feed) -> None:
    quotes, trades = feed.quotes("AAPL", "MSFT").wait(rows=20), feed.trades("AAPL").wait(rows=20)
    book = feed.book("AAPL").wait()
    source, prints, levels = quotes._view_source, trades._view_source, book._view_source
    timeline = feed.timeline()
    then = feed.snapshot()
    quotes.wait(rows=quotes.received + 100)
    trades.wait(rows=trades.received + 20)
    numbers = source.rows(0).end, prints.prints(0, 10).end

    timeline.seek(then.ts)

    rows, made = source.rows(0), prints.prints(0, 10**6)
    assert timeline.now == then.ts
    assert not timeline.is_live
    assert rows.numbers["bid_price"].tolist() == then[quotes].df["bid_price"].tolist()
    assert made.price == then[trades].df["price"].tolist()
    assert rows.first == rows.window_start > numbers[0]  # as if it had begun anew
    assert made.origin == made.end - len(made.ts) > numbers[1]
    board = source.board()
    bids = dict(zip(board.symbols, board.numbers[:, board.columns.index("bid_price")], strict=True))
    assert bids == then[quotes].latest["bid_price"].to_dict()
    assert levels.levels(10).bids.tolist() == then[book].levels(10).bids.tolist()
    assert source.clock.now_ns() // 1_000 == then.ts.value // 1_000
    assert source.standing is not None
    assert source.standing.behind >= 100
    assert source.standing.is_held
    assert len(quotes.df) > len(rows.ts)  # data go on

    timeline.live()

    assert timeline.is_live
    assert source.standing is None
    now = source.rows(0)
    assert now.window_start > rows.end
    assert now.ts.tolist() == quotes._tape.rows(0).ts.tolist()[: len(now.ts)]
    assert prints.prints(0, 10).origin > made.end


def test_charts_and_tapes_begin_anew_at_each_move(feed: Feed) -> None:
    quotes, trades = feed.quotes("AAPL").wait(rows=30), feed.trades("AAPL").wait(rows=10)
    chart, tape = quotes.chart("bid_price"), trades._first_view()
    chart.draw()
    tape.draw()
    then = feed.snapshot()
    count = then[trades].received
    trades.wait(rows=count + 20)
    tape.draw()

    feed.timeline().seek(then.ts)
    tape.draw()
    chart.draw()

    kept = then[trades].rows.frame_since(0)[0]["price"].tolist()[-1_000:]  # in the order of arrival
    assert [row.values[2] for row in reversed(tape._shown)] == kept
    # In ms; a moment given in whole us means the end of that us.
    assert tape.widget.frozen["at"] == pytest.approx(then.ts.value / 1e6, abs=2e-3)
    told = re.fullmatch(r"frozen at (\d\d:\d\d:\d\d\.\d{3}) UTC, ([\d,]+) rows behind", tape.widget.frozen["text"])
    assert told is not None
    assert told[1] == f"{then.ts:%H:%M:%S.%f}"[:-3]
    assert int(told[2].replace(",", "")) >= 20
    assert chart.widget.frozen["at"] == tape.widget.frozen["at"]
    assert chart.error is None

    tape._on_report({"resume": True})  # its own button
    tape.draw()
    chart.draw()

    assert feed.timeline().is_live
    assert "at" not in tape.widget.frozen
    assert "at" not in chart.widget.frozen
    assert [row.values[2] for row in reversed(tape._shown)] != kept


def test_bar_moves_the_views_and_plays_the_past(feed: Feed) -> None:
    quotes = feed.quotes("AAPL").wait(rows=200)
    timeline = feed.timeline()
    source, done = timeline._source, []
    first, middle = quotes.df["received"].iloc[[0, 100]]

    source.move(PlaybackMove("seek", middle.value), lambda: done.append(1))
    shown = source.playback()
    source.move(PlaybackMove("step", 10_000_000), lambda: done.append(2))
    stepped = timeline.now
    source.move(PlaybackMove("seek", 0), lambda: done.append(3))
    earliest = timeline.now
    timeline.seek(middle)
    timeline.play(speed=2)
    eventually(lambda: timeline.now > middle + pd.Timedelta("50ms"))
    timeline.pause()
    stopped = timeline.now
    time.sleep(0.2)

    assert (shown.now, shown.is_live, shown.is_playing) == (middle.value, False, False)
    assert stepped == middle + pd.Timedelta("10ms")
    assert earliest <= first
    assert timeline.now == stopped
    assert done == [1, 2, 3]
    timeline.play(speed=50)
    eventually(lambda: timeline.is_live)
    source.move(PlaybackMove("pause", 0), lambda: None)
    assert not timeline.is_live
    source.move(PlaybackMove("live", 0), lambda: None)
    assert timeline.is_live
    assert source.playback().is_live


def test_timeline_says_what_it_cannot_show(feed: Feed) -> None:
    feed.quotes("AAPL").wait()
    timeline = feed.timeline()

    assert timeline is feed.timeline()
    with pytest.raises(UsageError, match="outside of what is held"):
        timeline.seek(feed.clock.now - pd.Timedelta("1h"))
    with pytest.raises(UsageError, match="outside of what is held"):
        timeline.seek(feed.clock.now + pd.Timedelta("1h"))
    with pytest.raises(UsageError, match="is no time"):
        timeline.seek("soon")
    assert "live" in repr(timeline)


def test_views_that_cannot_go_back_say_that_they_are_live(feed: Feed) -> None:
    trades = feed.trades("AAPL").wait(rows=5)
    expiry = feed.options("MSFT").expiries[0]
    account = feed.account("ACC-1")
    bars = feed.bars("AAPL", "1min").wait()
    views: list[Any] = [
        bars._first_view(),
        bars.chart(),
        trades.bars("1s")._first_view(),
        feed.options("MSFT", expiry, strikes=1)._first_view(),
        account.chart(engine="light"),
        account.chart(engine="plotly"),
    ]
    timeline = feed.timeline()

    timeline.pause()
    for view in views:
        view.draw()
    told = [view.widget.frozen.get("text") for view in views]
    views[0]._on_report({"resume": True})
    is_live = timeline.is_live
    for view in views:
        view.draw()

    assert told == ["live: of now, does not go back"] * len(views)
    assert is_live
    assert [view.widget.frozen.get("text") for view in views] == [None] * len(views)


def test_timeline_of_a_closed_feed_says_so(feed: Feed) -> None:
    timeline = feed.timeline()
    moves: list[Callable[[], None]] = [
        lambda: timeline.seek(feed.clock.now),
        timeline.pause,
        timeline.play,
        timeline.step,
        timeline.live,
    ]

    feed.close()

    for move in moves:
        with pytest.raises(anb.ClosedError, match="the feed is closed"):
            move()


def test_frame_that_is_not_held_so_far_back_says_so_on_its_views(feed: Feed) -> None:
    few, _ = feed.quotes("AAPL", rows=5).wait(rows=100), feed.book("AAPL").wait()
    board = few._first_view()
    board.draw()

    feed.timeline().seek(pd.Timestamp(feed.snapshot().ts.value - 1, tz="UTC"))
    few.wait(rows=few.received + 50)
    feed.timeline()._source._shown.move(feed.timeline().now.value - 1_000)
    board.draw()

    assert board.widget.frozen["text"].endswith(" UTC, no longer in memory")
    assert board.error is None


def test_slider_moves_on_no_thread_but_the_callers_and_the_painters(feed: Feed) -> None:
    """A cell that runs holds up neither: what the page asks for sets a number alone."""
    quotes = feed.quotes("AAPL").wait(rows=50)
    source = quotes._view_source
    middle = quotes.df["received"].iloc[25].value
    drawn: list[Any] = []

    painter = threading.Thread(target=lambda: drawn.append(len(source.rows(0).ts)))
    started = time.thread_time()
    feed.timeline()._source.move(PlaybackMove("seek", middle), lambda: None)
    took = time.thread_time() - started
    painter.start()
    painter.join()

    assert took < 0.05
    assert drawn == [int((quotes.df["received"] <= pd.Timestamp(middle, tz="UTC")).sum())]


def test_annotation_is_marked_on_the_time_axis_and_in_a_replay(feed: Feed, tmp_path: Path) -> None:
    recording = feed.record(tmp_path / "day.anb")
    quotes = feed.quotes("AAPL").wait(rows=20)
    before = feed.clock.now
    feed.annotate("  news: <b>a split</b> ")
    after = feed.clock.now
    quotes.wait(rows=quotes.received + 20)
    marks = [mark for mark in feed.timeline()._source.playback().marks if mark.kind == "note"]
    recording.close()

    past = anb.replay(tmp_path / "day.anb", speed="max")
    again = past.quotes("AAPL")
    past.clock.seek(past.clock.end)
    replayed = [mark for mark in past.clock._source.playback().marks if mark.kind == "note"]
    past.clock.seek(before)
    at_the_time = past._arrivals.annotations
    with pytest.raises(UsageError, match="a replay is not annotated"):
        past.annotate("news")
    past.close()

    assert [mark.text for mark in marks] == ["news: <b>a split</b>"]
    assert before.value <= marks[0].started == marks[0].ended <= after.value + 1_000
    assert replayed == marks
    assert at_the_time == ()
    assert again.received > 0


@pytest.mark.parametrize("text", ["", "  ", 7, None, "x" * 501])
def test_what_is_no_annotation_is_refused(feed: Feed, text: Any) -> None:
    with pytest.raises(UsageError, match="annotation"):
        feed.annotate(text)
    assert feed._arrivals.annotations == ()

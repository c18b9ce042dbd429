"""The transport bar: what it shows of a replay, and which requests of a page it passes on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aries_nb.model import PlaybackMark
from aries_nb.widgets import PlaybackBar
from tests.widgets.sources import Playbacks

FIRST = Playbacks.FIRST
SECOND = 10**9


@pytest.fixture
def source():
    return Playbacks()


@pytest.fixture
def bar(source):
    bar = PlaybackBar(source)
    bar.widget.open()
    bar.draw()
    yield bar
    bar.close()


def head(bar):
    bar.draw()
    assert bar.error is None
    return np.frombuffer(bar.widget.frame, dtype="<f8")[2:].tolist()


def ask(bar, *move):
    bar.widget.comm.answer({"method": "custom", "content": {"move": list(move)}})


def test_a_frame_has_time_state_and_speed(bar, source):
    source.put(now=FIRST + 61 * SECOND, is_playing=True, speed=10.0)

    assert head(bar) == [FIRST / 1e6 + 61_000, 1, 0, 0, 10, 0, 0]


def test_the_description_has_the_recording_and_its_marks(source):
    lasting = PlaybackMark("gap", FIRST + SECOND, None, "gap (cut)")
    source.put(marks=(PlaybackMark("fill", FIRST, FIRST, "bought 1"), lasting), speed=math.inf)
    bar = PlaybackBar(source)
    bar.draw()

    first = FIRST / 1e6
    marks = [["fill", first, first, "bought 1"], ["gap", first + 1000, None, "gap (cut)"]]
    expected = {"first": first, "last": first + 600_000, "marks": marks, "problem": "", "hasLive": False}
    assert bar.widget.description == expected
    bar.close()


def test_what_a_page_asks_for_is_passed_on_in_ns(bar, source):
    for number, move in enumerate(
        [("play", 0), ("pause", 0), ("speed", 2.5), ("speed", "max"), ("seek", FIRST / 1e6 + 0.5), ("step", 1000)]
    ):
        ask(bar, *move, number + 1)
    ask(bar, "events", 3, 9)

    assert source.asked == [
        ("play", 0), ("pause", 0), ("speed", 2.5), ("speed", math.inf), ("seek", FIRST + 500_000), ("step", SECOND),
        ("events", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "move",
    [
        ("fly", 0, 1), ("play", 1, 1), ("seek", "now", 1), ("seek", -1, 1), ("seek", 1e300, 1), ("seek", True, 1),
        ("seek", None, 1), ("seek", math.nan, 1), ("speed", 0, 1), ("speed", -1, 1), ("step", 0, 1), ("events", 0.5, 1),
        ("events", "max", 1), ([], 0, 1), ("play", 0), ("play", 0, "1"), (), ("play", 0, 1, 1),
    ],
)  # fmt: skip
def test_anything_malformed_is_ignored(bar, source, move):
    ask(bar, *move)
    bar.widget.comm.answer({"method": "custom", "content": {"move": "play"}})

    assert source.asked == []
    assert bar.error is None


def test_a_frame_says_which_request_it_follows_once_it_does(bar, source):
    ask(bar, "play", 0, 41)
    ask(bar, "pause", 0, 42)
    before, version = head(bar)[-2], bar.version

    source.done[1]()
    source.done[0]()

    assert (before, head(bar)[-2]) == (0, 42)
    assert bar.version > version


def test_the_picture_says_where_the_replay_is(bar, source):
    marks = tuple(PlaybackMark("gap", FIRST + at, FIRST + at + 1, "gap (cut)") for at in range(2))
    source.put(now=FIRST + 5 * SECOND, marks=marks)

    picture = bar._picture()

    for text in ("2025-11-29 14:30:05 UTC", "paused", "2025-11-29 14:40:00 UTC", "Gaps", ">2<"):
        assert text in picture


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"is_playing": True, "speed": 10.0}, "plays × 10"),
        ({"is_playing": True, "speed": math.inf}, "as fast as possible"),
        ({"is_over": True}, "at the end"),
    ],
)
def test_the_picture_says_what_the_replay_does(bar, source, changes, word):
    source.put(**changes)

    assert word in bar._picture()


def test_messages_wait_for_no_cell_where_the_kernel_has_subshells(bar):
    # ipykernel 7.4 asks the comm whose turn it is; without an answer the message stays on the page's own subshell.
    assert bar.widget.comm._reply_subshell_for is None


def test_the_bar_of_a_live_feed_says_whether_views_show_what_is_new(bar, source):
    source.put(is_live=True, is_playing=True)
    live, description = head(bar)[-1], dict(bar.widget.description)
    source.put(is_live=False, is_playing=False)

    assert (live, head(bar)[-1]) == (1, 0)
    assert description["hasLive"]
    ask(bar, "live", 0, 1)
    assert source.asked[-1].what == "live"

"""Charts after a replay went back: they are those that a new chart would be, without a point of the future."""

from __future__ import annotations

import numpy as np
import pytest

from aries_nb.widgets import Candles, Chart, LightChart
from aries_nb.widgets.charts.light import LightCandles, LightLines
from tests.widgets.charts.test_gap_bands import SECOND, Interrupted, span

KINDS = {
    "lines": lambda source: Chart(source, ["price"]),
    "candles": lambda source: Candles(source, "5s"),
    "light lines": lambda source: LightChart(source, [LightLines(source, ["price"])]),
    "light candles": lambda source: LightChart(source, [LightCandles(source, "5s")]),
}

COLUMNS = ("x", "y", "open", "high", "low", "close")


def played(source, count):
    """The first rows of the recording, before and behind a gap."""
    seconds = (1, 2, 3, 10, 11, 12, 20, 21)[:count]
    prices = np.array([5.0, 6, 4, 7, 1, 9, 99, 98])[:count]
    source.add([second * SECOND for second in seconds], price=prices, size=np.full(count, 2.0))
    source.spans = (span(3, 9.5),) if count > 3 else ()


def picture(view):
    """The points, bands and notes of a chart; how many decimals its axis has, it keeps."""
    view.draw()
    assert view.error is None
    if isinstance(view, LightChart):
        content = view.content()
        (chart,) = content.description["charts"]
        notes = {name: value for name, value in chart.items() if name != "decimals"}
        return notes, [[column.tolist() for column in block] for block in content.blocks]
    traces = [
        [np.array([] if trace[name] is None else trace[name]).tolist() for name in COLUMNS if name in trace]
        for trace in view.figure.data
    ]
    layout = view.figure.layout
    return traces, layout.title.text, [(each.x0, each.x1) for each in layout.shapes]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 2, 5])
@pytest.mark.parametrize("is_seen_empty", [False, True])
def test_a_chart_after_a_step_back_is_as_a_new_one(kind, count, is_seen_empty):
    source = Interrupted(columns=("price", "size"))
    played(source, 8)
    view = KINDS[kind](source)
    picture(view)

    source.restart()
    source.spans = ()
    if is_seen_empty:
        picture(view)
    if count:
        played(source, count)
    shown = picture(view)

    new = KINDS[kind](source)
    np.testing.assert_equal(shown, picture(new))
    view.close()
    new.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_that_comes_to_the_end_again_shows_the_same(kind):
    source = Interrupted(columns=("price", "size"))
    played(source, 8)
    view = KINDS[kind](source)
    before = picture(view)

    source.restart()
    played(source, 8)

    np.testing.assert_equal(picture(view), before)
    view.close()

"""Every view shows its times in `settings.timezone`, and names it."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime

import numpy as np
import pytest

from aries_nb.model import GapSpan
from aries_nb.model.settings import settings
from aries_nb.widgets import Board, Candles, Chart
from aries_nb.widgets.charts.gap_bands import gap_note
from tests.widgets.sources import Boards, RollingRows

MINUTE = 60_000_000  # in us
START = int(datetime(2026, 10, 24, 23, tzinfo=UTC).timestamp() * 1e6)  # two hours before summer time ends in Europe
BERLIN = ["2026-10-25T01:00", "2026-10-25T02:00", "2026-10-25T02:00", "2026-10-25T03:00"]


@pytest.fixture(autouse=True)
def berlin():
    settings.timezone = "Europe/Berlin"
    yield
    settings.timezone = "UTC"


@pytest.fixture
def source():
    rows = RollingRows(("AAPL",), ("price",), 10**9)
    rows.add([START + 60 * MINUTE * hour for hour in range(4)], np.zeros(4, np.int32), price=np.arange(4.0))
    return rows


def clock_of(trace):
    return [str(each)[:16] for each in np.array(trace.x).astype("M8[ms]")]


@pytest.mark.parametrize("make", [lambda rows: Chart(rows, ["price"]), lambda rows: Candles(rows, "1h")])
def test_a_plotly_chart_has_local_times_named_on_axis_and_hover(source, make):
    chart = make(source)
    chart.draw()
    settings.timezone = "Asia/Tokyo"
    source.add([START + 240 * MINUTE], [0], price=[4.0])
    chart.draw()

    assert clock_of(chart.figure.data[1]) == [*BERLIN, "2026-10-25T04:00"]
    assert chart.figure.layout.xaxis.ticksuffix == " Europe/Berlin"
    assert chart.figure.layout.xaxis.showticksuffix == "first"
    chart.close()


def test_a_static_chart_has_local_times_and_names_the_zone(source):
    chart = Chart(source, ["price"])
    chart.draw()

    picture = chart._static_html()

    image = b64decode(re.search('base64,([^"]+)', picture)[1]).decode()
    assert "2026-10-25 01:00:00–03:00:00 Europe/Berlin" in picture
    assert ">02:00<" in image
    chart.close()


def test_a_note_on_a_gap_names_the_zone():
    span = GapSpan(started=START * 1_000, ended=None, cause="cut")

    assert gap_note([], [span]) == "no data since 01:00:00 Europe/Berlin (cut)"


def test_a_view_on_display_is_sent_the_zone_once_it_changes():
    board = Board(Boards())
    board.draw()
    first = board.widget.timezone
    settings.timezone = "Asia/Tokyo"

    board.draw()

    assert (first, board.widget.timezone) == ("Europe/Berlin", "Asia/Tokyo")
    board.close()

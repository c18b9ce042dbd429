"""A user's own figure carries no script, edits stay, and a template gives it our looks in one word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

import aries_nb as anb
from aries_nb.model.settings import settings
from aries_nb.widgets import view
from aries_nb.widgets.own_figure import figure
from aries_nb.widgets.plotly_view import layout
from aries_nb.widgets.static_html import PALETTE, WIDGET_MIME
from tests.widgets.pictures import images

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def own():
    times = pd.date_range("2026-11-27", periods=3, freq="s", tz="UTC")
    made = anb.figure(go.Figure([go.Scatter(x=times, y=[1.0, 3.0, 2.0], name=EVIL)], {"title": {"text": EVIL}}))
    yield made
    made.close()


def test_it_has_no_script_in_its_state_and_knows_no_address(own):
    state = own.get_state()

    assert isinstance(own, go.FigureWidget)
    assert len(str(state)) < 20_000
    assert state["_config"]["showSendToCloud"] is False
    assert state["_config"]["plotlyServerURL"] == ""


def test_it_shows_its_present_lines_without_a_kernel_and_escapes_their_names(own):
    own.add_bar(x=[1, 2], y=[5.0, np.nan], name="bars")
    own.data[0].y = [7.0, 8.0, 9.0]

    data = own._repr_mimebundle_()

    assert data[WIDGET_MIME]["model_id"] == own.model_id
    assert len(images(data["text/html"])) == 1
    assert EVIL not in data["text/html"]
    assert "9" in data["text/html"]
    assert "picture of" in own.static_picture


def test_it_is_opened_by_its_first_display_alone(own):
    assert not own.is_open

    own._repr_mimebundle_()

    assert own.is_open


@pytest.mark.parametrize("of", [None, {"data": [], "layout": {}}, go.Figure(go.Heatmap(z=[[1, 2], [3, 4]]))])
def test_a_figure_without_lines_says_what_it_has(of):
    made = figure(of)

    text = made._repr_mimebundle_()["text/html"]

    assert ("heatmap" if isinstance(of, go.Figure) else "no data yet") in text
    made.close()


def test_the_figure_that_is_given_stays_as_it_is():
    theirs = go.Figure(go.Scatter(y=[1, 2]))
    made = figure(theirs)

    made.data[0].y = [3, 4]

    assert theirs.data[0].y == (1, 2)
    made.close()


def test_what_is_no_figure_is_refused_with_advice():
    with pytest.raises(anb.UsageError, match=r"DataFrame is no Plotly figure.*graph_objects"):
        figure(pd.DataFrame())


def test_the_template_gives_our_colours_and_takes_the_uploads_away():
    looks = anb.template.layout

    assert looks.colorway == PALETTE
    assert looks.font.color == layout("", 300)["font"]["color"]
    assert set(looks.modebar.remove) == {"sendChartToCloud", "sendDataToCloud"}
    assert looks.height is None
    assert pio.templates["aries_nb"].layout.colorway == PALETTE


def test_the_template_is_a_setting_as_well():
    try:
        settings.template = "aries_nb"

        assert layout("t", 300)["template"] == "aries_nb"
    finally:
        settings.template = None


def test_a_figure_in_a_page_gives_signs_of_life_until_it_is_closed(own, painter, clock, monkeypatch):
    monkeypatch.setattr(view, "get_painter", lambda: painter)
    own._repr_mimebundle_()
    own.comm.messages.clear()

    beats = []
    for _ in range(100):
        clock.now += 0.1
        painter.step()
        if own.comm.sent:
            beats.append(clock.now)
            assert [each["content"]["beat"] for each in own.comm.sent] == [True]
            own.comm.messages.clear()
            own.comm.answer({"method": "custom", "content": {"ack": 0}})

    assert np.diff(beats).max() < 4  # after five seconds the page says that nothing comes
    assert len(beats) <= 5

    own.close()
    clock.now += 1
    painter.step()

    assert painter.statistics().views == 0


def test_of_a_line_over_prices_no_value_is_said_to_be_its_last():
    theirs = go.FigureWidget(go.Scatter(x=[99.0, 99.5, 100.0], y=np.array([700.0, 300.0, 0.0]), name="bids"))
    made = figure(theirs)

    text = made._repr_mimebundle_()["text/plain"]

    assert "bids 0" not in text
    assert "low 0 · high 700" in text
    made.close()
    theirs.close()


def test_bars_over_words_are_displayed_without_a_warning(recwarn):
    made = figure({"data": [{"type": "bar", "x": ["put", "call"], "y": [1, 2]}]})

    assert "bar" in made._repr_mimebundle_()["text/plain"]
    assert list(recwarn) == []
    made.close()

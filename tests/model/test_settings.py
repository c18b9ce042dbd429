"""`anb.settings`: what may be assigned, and what it does to views."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest

import aries_nb as anb
from aries_nb.model import Column, TableData
from aries_nb.model.settings import checked_engine, settings
from aries_nb.widgets import Blotter, Board, Chart
from aries_nb.widgets.plotly_view import CLEAR
from tests.widgets.sources import Boards, RollingRows

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = 1_780_315_200_000_000_000  # 2026-06-01T12:00:00Z


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    settings.timezone, settings.engine, settings.template = "UTC", "plotly", None


class Trades:
    """A table with one time."""

    version = 1

    def table(self) -> TableData:
        return TableData("News", (Column("published", "time"), Column("title", "text")), ((NOON, "x"),), ("title",))


def test_it_is_a_name_of_the_package_and_shows_its_values() -> None:
    assert anb.settings is settings
    assert repr(settings) == "Settings(timezone='UTC', engine='plotly', template=None)"


@pytest.mark.parametrize("name", ["UTC", "Europe/Moscow", "America/New_York", "Etc/GMT+3"])
def test_a_time_zone_is_any_iana_name(name: str) -> None:
    settings.timezone = name

    assert settings.timezone == name


@pytest.mark.parametrize("wrong", ["Europe/Moskow", "", "Europe", "../etc/passwd", "\ud800", "A" * 999, None, 3, ...])
def test_what_is_no_time_zone_is_refused_and_changes_nothing(wrong: Any) -> None:
    settings.timezone = "Asia/Tokyo"

    with pytest.raises(anb.UsageError, match=r"timezone=.* is no time zone\. (Did you mean|Pass an IANA name)"):
        settings.timezone = wrong

    assert settings.timezone == "Asia/Tokyo"


def test_a_misspelt_zone_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(anb.UsageError, match=r"Did you mean Europe/Moscow\?"):
        settings.timezone = "Europe/Moskow"


@pytest.mark.parametrize("wrong", ["Light", "bokeh", None, 1])
def test_an_engine_that_does_not_exist_is_refused_and_changes_nothing(wrong: Any) -> None:
    settings.engine = "light"

    with pytest.raises(anb.UsageError, match=r'engine=.* does not exist\. There are "plotly" and "light"'):
        settings.engine = wrong

    assert settings.engine == "light"


def test_a_chart_without_an_engine_of_its_own_has_that_of_the_settings() -> None:
    settings.engine = "light"

    assert checked_engine(None) == "light"
    assert checked_engine("plotly") == "plotly"
    with pytest.raises(anb.UsageError, match="does not exist"):
        checked_engine("bokeh")


@pytest.mark.parametrize("wrong", ["plotly_darkk", "", "plotly_dark+x", 1, b"none", []])
def test_what_is_no_template_is_refused_with_those_there_are(wrong: Any) -> None:
    with pytest.raises(anb.UsageError, match=r"is no template of Plotly\. There are: .*plotly_dark"):
        settings.template = wrong

    assert settings.template is None


def test_a_template_of_the_users_own_is_known_once_it_is_registered() -> None:
    pio.templates["mine"] = go.layout.Template()
    try:
        settings.template = "mine+plotly_dark"
    finally:
        del pio.templates["mine"]

    assert settings.template == "mine+plotly_dark"


def test_every_built_in_template_is_known() -> None:
    for name in set(pio.templates):
        settings.template = name


@pytest.mark.parametrize(
    ("name", "advice"), [("timezon", r"Did you mean timezone\?"), ("colour", "There are: "), ("clock", "There are: ")]
)
def test_an_unknown_setting_is_refused_with_advice(name: str, advice: str) -> None:
    with pytest.raises(anb.UsageError, match=rf"there is no setting '{name}'\. {advice}"):
        setattr(settings, name, "x")


def test_times_of_a_table_are_in_the_time_zone() -> None:
    in_utc = Blotter(Trades())._static_html()
    settings.timezone = "Europe/Moscow"
    in_moscow = Blotter(Trades())._static_html()

    assert ("1 Jun 12:00" in in_utc, "1 Jun 15:00" in in_moscow) == (True, True)


def test_a_day_begins_at_midnight_of_the_time_zone() -> None:
    settings.timezone = "Asia/Tokyo"

    assert settings.local_ns(NOON + 3 * 3_600_000_000_000) // 86_400_000_000_000 == NOON // 86_400_000_000_000 + 1
    assert settings.clock(NOON) == "21:00:00 Asia/Tokyo"


def test_the_picture_of_a_board_names_the_time_zone() -> None:
    source = Boards()
    source.put(0, *np.ones(5))
    source.received[0] = NOON
    settings.timezone = "America/New_York"

    picture = Board(source)._static_html()

    assert "Received (America/New_York)" in picture
    assert "08:00:00" in picture


def test_a_template_gives_charts_its_colours() -> None:
    plain = Chart(RollingRows(), ("price",)).figure.layout
    settings.template = "plotly_dark"
    dark = Chart(RollingRows(), ("price",)).figure.layout

    assert (plain.paper_bgcolor, dark.paper_bgcolor) == (CLEAR, None)
    assert dark.template == pio.templates["plotly_dark"]
    assert dark.height == plain.height


def test_settings_import_no_plotly() -> None:
    script = "import sys, aries_nb; aries_nb.settings.template = 'plotly_dark'; print('plotly' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "False"

"""The small script is of the plotly.js that the locked plotly brings, and is used where the installed one is alike."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import plotly
import pytest
from plotly.offline import get_plotlyjs_version

from aries_nb.widgets import plotly_script
from aries_nb.widgets.plotly_script import SMALL_KEY, SMALL_TRACES, WHOLE_KEY, key_for, small_version

ROOT = Path(__file__).parents[2]
SMALL = resources.files("aries_nb.widgets") / "static" / "plotly" / "plotly-finance.min.js"


def test_the_small_script_is_of_the_plotly_js_that_the_lock_file_pins():
    (locked,) = re.findall(r"^plotly==(.+)$", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)

    assert plotly.__version__ == locked, "the installed plotly is not the locked one: make venv"
    assert small_version() == get_plotlyjs_version(), "run `make plotly-script`"


def test_the_small_script_keeps_its_notices_and_its_licence_lies_next_to_it():
    script = SMALL.read_text("utf-8")

    assert "Licensed under the MIT license" in script[:300]
    assert re.search(r"Copyright .*Plotly, Inc\.", script[:300])
    assert "Bundled license information" in script[-20_000:]
    assert (SMALL.parent / "LICENSE").read_text("utf-8").startswith("MIT License")


@pytest.mark.parametrize(
    ("installed", "is_usable"), [("4.1.0", True), ("4.1.7", True), ("4.0.9", False), ("4.2.0", False), ("3.0.1", False)]
)
def test_the_small_script_is_used_where_it_knows_what_the_installed_plotly_sends(monkeypatch, installed, is_usable):
    monkeypatch.setattr(plotly_script, "small_version", lambda: "4.1.1")
    monkeypatch.setattr(plotly_script, "get_plotlyjs_version", lambda: installed)

    assert plotly_script._is_small_usable() is is_usable


def test_a_figure_gets_the_small_script_unless_one_of_its_traces_needs_the_whole_one():
    assert SMALL_KEY != WHOLE_KEY
    assert key_for([]) == key_for(["scatter", "candlestick", "bar"]) == key_for(SMALL_TRACES) == SMALL_KEY
    assert key_for(["scatter", "heatmap"]) == key_for(["scattergl"]) == key_for(["scatter3d"]) == WHOLE_KEY

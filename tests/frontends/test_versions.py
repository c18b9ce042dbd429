"""The versions that the long test installs are those that pyproject.toml allows, and the doctor says the same."""

from __future__ import annotations

import tomllib

from aries_nb.doctor import _NEEDED
from tests.frontends.versions import FOLLOWED, ROOT, requirements


def test_the_oldest_are_the_lower_bounds_and_the_newest_what_is_allowed():
    oldest, newest = requirements(is_oldest=True), requirements(is_oldest=False)

    assert {"plotly==6.1", "anywidget==0.9.20", "ipywidgets==8.1.5", "websockets==16"} <= set(oldest)
    assert {"plotly>=6.1,<8", "ipywidgets>=8.1.5,<9"} <= set(newest)


def test_the_doctor_names_the_same_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = {name: rest for name, _, rest in (each.partition(">=") for each in project["dependencies"])}

    named = {name: f"{oldest},<{newest}" if newest else oldest for name, oldest, newest, _ in _NEEDED}

    assert {name: named[name] for name in FOLLOWED} == {name: bounds[name] for name in FOLLOWED}

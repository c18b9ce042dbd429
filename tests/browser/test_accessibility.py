"""axe-core finds nothing in any view, in either theme, and would find a fault.

`tests/views/accessibility.py` looks at all notebooks, at every state of a view, and at the static pictures.
"""

from __future__ import annotations

import pytest

from tests.browser.axe import ALL_VIEWS, ARE_SHOWN, change_theme, found
from tests.browser.conftest import shared_page
from tests.browser.lab import THEMES, failures, open_notebook, run_all
from tests.views.stage import write_notebook

SCREEN = {"width": 1180, "height": 4000}  # shows all views; hidden ones are not painted
FAULTS = """() => document.querySelector(".jp-OutputArea-output:has(.anb-board)").insertAdjacentHTML("beforeend",
  `<div id="planted"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" width="20" height="20">
  <p style="background: #fff; color: #aaa">about 2 to 1</p></div>`)"""


@pytest.fixture(scope="module")
def shown(tab, lab):
    """All views in JupyterLab, in one page for all tests here."""
    with shared_page(tab, lab, **SCREEN) as page:
        open_notebook(page, lab, write_notebook(lab, "axe.ipynb", ALL_VIEWS))
        run_all(page)
        page.wait_for_function(ARE_SHOWN, arg=13, timeout=60_000)
        yield page


def test_axe_finds_planted_faults(shown):
    shown.evaluate(FAULTS)
    problems = found(shown)
    shown.evaluate("() => document.querySelector('#planted').remove()")

    planted = [problem.partition(":")[0] for problem in problems if "<img" in problem or "2 to 1" in problem]
    assert sorted(planted) == ["color-contrast", "image-alt"]


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_in_any_view(shown, theme):
    change_theme(shown, theme)

    assert found(shown) == []
    assert failures(shown) == []

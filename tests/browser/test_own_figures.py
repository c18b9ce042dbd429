"""A user's own figures in JupyterLab: our looks, labels that can be read, and no button that uploads them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.axe import change_theme
from tests.browser.conftest import shared_page
from tests.browser.lab import failures, open_notebook, run_all
from tests.views.stage import write_notebook

CELLS = (
    "import pandas as pd\nimport plotly.graph_objects as go\nimport aries_nb as anb\n"
    'times = pd.date_range("2026-11-27 12:00", periods=200, freq="s")\n'
    "plain = go.Figure(go.Scatter(x=times, y=list(range(200))), {'template': anb.template, 'height': 260})",
    "anb.figure(plain)",
    "plain",
)
# Of each figure: titles of its buttons, tilted labels, and the worst contrast of a label with the page.
LOOKS = """() => [...document.querySelectorAll(".js-plotly-plot")].map((figure) => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  let page = figure;
  const isClear = (node) => /rgba\\(0, 0, 0, 0\\)/.test(getComputedStyle(node).backgroundColor);
  while (page && isClear(page)) page = page.parentElement;
  const behind = numbers(getComputedStyle(page ?? document.body).backgroundColor);
  const contrast = (text) => {
    const [r, g, b, alpha = 1] = numbers(getComputedStyle(text).fill);
    const [high, low] = [light([r, g, b].map((v, at) => v * alpha + behind[at] * (1 - alpha))), light(behind)]
      .sort((one, other) => other - one);
    return (high + 0.05) / (low + 0.05);
  };
  const labels = [...figure.querySelectorAll(".xtick text, .ytick text")];
  return {
    buttons: [...figure.querySelectorAll(".modebar-btn")].map((button) => button.dataset.title ?? ""),
    tilted: labels.filter((label) => /rotate\\((?!0)/.test(label.getAttribute("transform") ?? "")).length,
    overlapping: labels.filter((label) => label.closest(".xtick")).map((label) => label.getBoundingClientRect())
      .sort((one, other) => one.left - other.left).filter((box, at, all) => at && box.left < all[at - 1].right).length,
    labels: labels.length,
    contrast: Math.min(...labels.map(contrast)),
  };
})"""
# What the signs at a page's figures say of their kernel in the next seven seconds.
SIGNS = """async () => {
  const said = new Set();
  const until = performance.now() + 7000;
  while (performance.now() < until) {
    await new Promise(requestAnimationFrame);
    for (const sign of document.querySelectorAll(".anb-kernel")) said.add(sign.textContent);
  }
  return [...said];
}"""


@pytest.fixture(scope="module")
def page(tab, lab):
    """The notebook, opened once for all tests here, which run its cells anew."""
    with shared_page(tab, lab, width=800, height=1400) as page:
        open_notebook(page, lab, write_notebook(lab, "own.ipynb", CELLS))
        yield page


@pytest.mark.long
def test_a_figure_that_nothing_draws_does_not_say_that_its_kernel_is_silent(page):
    run_all(page)
    expect(page.locator(".js-plotly-plot")).to_have_count(2)

    assert page.evaluate(SIGNS) == [""]


@pytest.mark.parametrize("theme", [pytest.param("light", marks=pytest.mark.long), "dark"])
def test_own_figures_can_be_read_and_not_be_uploaded(page, screenshot, theme):
    change_theme(page, theme)

    run_all(page)

    page.wait_for_function(f"() => ({LOOKS})().filter((each) => each.labels > 5).length === 2", timeout=30_000)
    assert failures(page) == []
    own, plain = page.evaluate(LOOKS)
    assert screenshot(theme).stat().st_size > 10_000
    for looks in (own, plain):
        assert any(title.startswith("Download") for title in looks["buttons"])
        assert [title for title in looks["buttons"] if "share" in title.lower() or "cloud" in title.lower()] == []
        assert (looks["tilted"], looks["overlapping"]) == (0, 0)
    assert own["contrast"] >= 4.5
    assert plain["contrast"] >= (4.5 if theme == "light" else 4.0)  # one grey for both themes

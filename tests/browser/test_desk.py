"""The trading desk in JupyterLab: by mouse, by keyboard alone, beside a running cell, at the widths of pages."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.axe import change_theme, found
from tests.browser.conftest import errors_of, shared_page
from tests.browser.lab import (
    failures,
    open_notebook,
    run_all,
    run_cell,
    settle,
    standing_still,
    value_of,
    wait_for_output,
)
from tests.views.stage import write_notebook

CELL = (
    "import aries_nb as anb\nfrom aries_nb.live.screen import desk as screen\n"
    "screen.PATIENCE_SECONDS = 30.0\n"  # a busy machine paints late, and not for want of a page
    'feed = anb.connect("sim", rate=300, seed=7)\n'
    'desk = feed.desk("AAPL", "MSFT", "NVDA")\ndesk'
)
# Every view of the desk shows a symbol, and nothing else does.
SHOWS = """symbol => {
  const text = (selector) => document.querySelector(selector)?.innerText ?? "";
  const chart = document.querySelector(".anb-desk-chart .anb-title")?.innerText;
  return chart === symbol && text(".anb-desk-ladder .anb-title").startsWith(symbol)
    && text(".anb-desk-tape .anb-title").includes(symbol)
    && document.querySelector(".anb-desk-side [aria-current=true]")?.innerText.startsWith(symbol)
    && [...document.querySelectorAll(".anb-desk-place")].every((node) => node.children.length < 2)
    && [...document.querySelectorAll(".anb-desk-box [data-frames]")].every((node) => node.dataset.frames !== "0");
}"""
# Parts of the desk that stick out of it at the right, and how many columns it has.
LOOK = """() => {
  const box = document.querySelector(".anb-desk-box").getBoundingClientRect();
  const parts = [...document.querySelectorAll(".anb-desk-place .aries-nb, .anb-desk")];
  const wide = parts.filter((node) => node.getBoundingClientRect().right > box.right + 1).map((node) => node.className);
  const columns = getComputedStyle(document.querySelector(".anb-desk-grid")).gridTemplateColumns.split(" ").length;
  return [wide, columns];
}"""
# In each frame of the page from now on: whether a place of the desk is empty, and how high it is.
WATCH = """() => {
  [window.watched, window.isWatched] = [{}, true];
  const look = () => {
    for (const place of ["chart", "ladder", "tape", "side"]) {
      const node = document.querySelector(`.anb-desk-${place}`);
      const seen = (window.watched[place] ??= { empty: 0, heights: [] });
      if (!node.querySelector("canvas, table, .anb-grid")) seen.empty += 1;
      if (!seen.heights.includes(node.offsetHeight)) seen.heights.push(node.offsetHeight);
    }
    if (window.isWatched) requestAnimationFrame(look);
  };
  look();
}"""
CURSORS = """() => [...document.querySelectorAll(".anb-desk-chart .u-cursor-x")]
  .map((node) => !node.classList.contains("u-off") && !/-10px/.test(node.style.transform)).filter(Boolean).length"""
# Ends once the desk shows another symbol, or after 20 s; it says which.
BUSY = """import time
print("runs")
until, begun = time.monotonic() + 20, desk.symbol
while time.monotonic() < until and desk.symbol == begun:
    pass
print("moved" if desk.symbol != begun else "stood")"""


@pytest.fixture(scope="module")
def shown(tab, lab):
    """The desk in JupyterLab, in one page for the tests here."""
    with shared_page(tab, lab, width=1600, height=1300) as page:
        page.errors = errors_of(page)
        open_notebook(page, lab, write_notebook(lab, "desk.ipynb", (CELL,)))
        run_all(page)
        page.wait_for_function(SHOWS, arg="AAPL", timeout=30_000)
        yield page


def test_mouse_changes_all_that_the_desk_shows(shown):
    shown.evaluate(WATCH)
    shown.locator(".anb-desk-side th.anb-symbol", has_text="MSFT").click()
    shown.wait_for_function(SHOWS, arg="MSFT")
    # Nothing was empty, and nothing moved, in any frame of the page.
    places = shown.evaluate("() => { window.isWatched = false; return window.watched; }")
    assert {place: (seen["empty"], len(seen["heights"])) for place, seen in places.items()} == dict.fromkeys(
        places, (0, 1)
    )

    for label, value in (("Window", "5min"), ("Candles", "1s"), ("Depth", "5")):
        shown.get_by_label(label, exact=True).select_option(value)
    settle(shown)
    expect(shown.locator(".anb-desk .anb-state-text")).to_have_text("")
    shown.locator(".anb-symbol-input").click()
    shown.locator(".anb-option", has_text="AAPL").click()
    shown.wait_for_function(SHOWS, arg="AAPL")

    run_cell(shown, 'assert (desk.layout.window, desk.layout.interval, desk.layout.depth) == ("5min", "1s", 5)')
    assert failures(shown) == []


def test_crosshair_is_in_all_charts(shown):
    shown.locator(".anb-desk-chart .u-over").first.hover()

    shown.wait_for_function(f"() => ({CURSORS})() === 2")


def test_keyboard_alone_searches_and_chooses(shown):
    shown.locator(".anb-symbol-input").focus()
    shown.keyboard.type("tsl")
    shown.wait_for_function("() => document.querySelector('.anb-option b')?.innerText === 'TSLA'")
    shown.keyboard.press("ArrowDown")
    shown.keyboard.press("Enter")
    shown.wait_for_function(SHOWS, arg="TSLA")
    # A board lets the arrow keys choose as well.
    shown.locator(".anb-desk-side table").focus()
    for key in ("Home", "Enter"):
        shown.keyboard.press(key)
    shown.wait_for_function(SHOWS, arg="AAPL")
    # The next boxes of the bar, by Tab; their keys are the browser's own.
    shown.locator(".anb-symbol-input").focus()
    for key in ("Tab", "ArrowDown", "Tab", "ArrowDown", "Tab", "ArrowDown"):
        shown.keyboard.press(key)
    run_cell(shown, 'assert (desk.layout.window, desk.layout.interval, desk.layout.depth) == ("15min", "5s", 10)')
    # None of the keys was a command of the notebook, and what is unknown is said.
    shown.locator(".anb-symbol-input").focus()
    shown.keyboard.type("nope")
    shown.keyboard.press("Enter")
    expect(shown.locator(".anb-desk .anb-wrong")).to_contain_text("NOPE")
    shown.keyboard.press("Escape")
    shown.locator(".anb-symbol-input").fill("AAPL")
    shown.keyboard.press("Enter")
    expect(shown.locator(".anb-desk .anb-wrong")).to_have_text("")
    assert failures(shown) == []


def test_desk_is_pending_until_it_shows_what_it_was_asked_for(shown):
    bar = shown.locator(".anb-desk")
    with standing_still(shown):
        shown.get_by_label("Depth", exact=True).select_option("15")
        expect(bar).to_have_attribute("data-pending", "true")

    assert value_of(shown, "desk.layout.depth") == "15"
    expect(bar).to_have_attribute("data-pending", "false")


def test_desk_is_changed_while_a_cell_runs_or_says_that_it_waits(shown):
    run_cell(shown, BUSY, wait=False)
    wait_for_output(shown, "runs")
    shown.locator(".anb-desk-side th.anb-symbol", has_text="NVDA").click()

    shown.wait_for_function(SHOWS, arg="NVDA", timeout=40_000)
    shown.locator(".anb-desk-side th.anb-symbol", has_text="AAPL").click()
    shown.wait_for_function(SHOWS, arg="AAPL")


@pytest.mark.parametrize(("width", "columns"), [(800, 1), (1180, 2), (1600, 3)])
def test_nothing_is_cut_off_at_the_widths_of_pages(shown, width, columns):
    shown.set_viewport_size({"width": width, "height": 1300})

    shown.wait_for_function(f"count => ({LOOK})()[1] === count", arg=columns)
    assert shown.evaluate(LOOK)[0] == []


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_axe_finds_nothing_in_the_desk(shown, theme):
    change_theme(shown, theme)
    shown.locator(".anb-symbol-input").click()

    assert found(shown) == []
    shown.keyboard.press("Escape")
    assert shown.errors == []

"""The light engine in JupyterLab: frames of twelve charts, one crosshair, keys, wheel, themes, what a page loads."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

import aries_nb
from tests.browser.conftest import errors_of, new_page
from tests.browser.lab import RUN, THEMES, failures, open_notebook, outputs, run_all, run_cell, wait_idle
from tests.views.stage import notebook_of
from tests.views.twelve_charts import ARE_DRAWN, FILLED, SHEET, START, rates

SCREEN = {"width": 1180, "height": 1700}
# Less goes on than where frames are counted; the charts show a minute of it from the beginning.
CALM = START.replace("rate=2_000", "rate=300")
MINUTE = 'feed.clock.step("60s")\nfeed.clock.play()'
LEAST = 9.9  # frames a second: ten, of which one may fall into the next second
# The message that says a page is gone may come behind the first frames of the next one.
LEFT = """
for _ in range(500):
    left = before & set(one._displays)
    if not left:
        break
    await asyncio.sleep(0.1)
print(len(left) or "none", "left")
"""
SCALES = Path(aries_nb.__file__).parent / "widgets" / "static" / "light_scales.js"
# The ends of the pieces of a line of steps with two breaks, where a ms is a pixel.
PIECES = f"""() => {{
  const pieces = [];
  class Path2D {{
    moveTo(x, y) {{ pieces.push([x, x]); }}
    lineTo(x, y) {{ pieces.at(-1)[1] = x; }}
  }}
  {SCALES.read_text()}
  const [x, y] = [[0, 10, 55, 100, 150, 200, 210], [1, 2, NaN, 3, NaN, 4, 5]];
  tracePath(x, y, [0, 300], (ms) => ms, (value) => value, true);
  return pieces;
}}"""
TRIES = 5  # of some seconds each, while the machine is busy otherwise


@contextmanager
def sheet(context, lab, *cells):
    """A page with the sheet of twelve charts, drawn; `received` are the sizes of its binary messages."""
    path = lab.root / "light.ipynb"
    nbformat.write(notebook_of([*cells, SHEET]), path)
    with new_page(context, lab, **SCREEN) as page:
        page.errors, page.received = errors_of(page), []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda data: page.received.append(len(data))))
        open_notebook(page, lab, path.name)
        run_all(page, timeout=90)
        page.wait_for_function(ARE_DRAWN["light"], timeout=60_000)
        yield page


@pytest.fixture(scope="module")
def shown(context, lab):
    with sheet(context, lab, CALM, MINUTE) as page:
        yield page


def chart(page, number=0):
    return page.locator(".anb-light").nth(number)


def label(page, number=0):
    """What the page says of a chart to readers who do not see it: title, values, times; once a second."""
    return chart(page, number).locator(".anb-plot").get_attribute("aria-label") or ""


def times(page, number=0):
    """The first and the last time shown, as texts, once all labels were made anew."""
    others = page.locator(".anb-light .anb-plot").first
    expect(others).not_to_have_attribute("aria-label", label(page))  # of a chart that goes on
    return label(page, number).rsplit("; ", 1)[1].removesuffix(" UTC").split(" to ")


@pytest.mark.long  # `make views` has it too
@pytest.mark.alone
def test_twelve_charts_have_ten_frames_a_second_and_the_page_thirty(context, lab):
    with sheet(context, lab, START, FILLED) as page:
        assert max(page.received) < 900_000  # the first picture of twelve charts
        for _ in range(TRIES):
            found = rates(page, is_light=True, seconds=4)
            if found.chart >= LEAST and found.page >= 30:
                break

    assert found.chart >= LEAST, found
    assert found.page >= 30, found


def test_a_page_of_light_charts_gets_one_small_script_and_no_plotly(shown):
    assert max(shown.received) < 900_000  # the first picture of twelve charts
    names = shown.evaluate("() => Object.keys(globalThis).filter((name) => name.startsWith('aries_nb.'))")
    assert len([name for name in names if name.startswith("aries_nb.light.")]) == 1
    assert shown.evaluate("() => document.querySelectorAll('style[data-anb-light]').length") == 1
    assert shown.locator(".js-plotly-plot").count() == 0


def test_a_line_ends_at_its_last_point_before_a_gap(shown):
    assert shown.evaluate(PIECES) == [[0, 11], [100, 101], [200, 210]]


def test_a_crosshair_has_values_on_both_axes_and_moves_in_all_charts(shown):
    area = chart(shown, 4).locator(".u-over").bounding_box()

    shown.mouse.move(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.5, steps=3)

    expect(chart(shown, 4).locator(".anb-tag-y")).to_be_visible()
    expect(chart(shown, 4).locator(".anb-tag-y")).to_have_text(re.compile(r"^\d+\.\d+$"))
    for number in (0, 4, 11):
        expect(chart(shown, number).locator(".anb-tag-x")).to_be_visible()
    expect(chart(shown, 0).locator(".anb-tag-y")).to_be_hidden()
    # Read at once: the charts go on under the pointer.
    tags = shown.locator(".anb-light .anb-tag-x").evaluate_all("tags => tags.map((tag) => tag.innerText)")
    seconds = [tags[number].split()[-1][:8] for number in (0, 11)]
    assert seconds[0] == seconds[1]
    shown.mouse.move(5, 5)
    expect(chart(shown, 0).locator(".anb-tag-x")).to_be_hidden()


def test_keys_move_zoom_and_reset_the_chart_that_has_the_focus(shown):
    plot = chart(shown, 1).locator(".anb-plot")
    follow = chart(shown, 1).get_by_role("button", name="Follow")
    expect(follow).to_be_hidden()
    plot.focus()
    first, _ = times(shown, 1)

    for _ in range(3):
        shown.keyboard.press("+")
    zoomed, _ = times(shown, 1)
    shown.keyboard.press("ArrowLeft")
    _, held = times(shown, 1)
    _, still = times(shown, 1)

    expect(follow).to_be_visible()
    assert zoomed > first
    assert held == still  # it no longer follows
    shown.keyboard.press("End")
    assert times(shown, 1)[1] > held
    shown.keyboard.press("Home")
    assert times(shown, 1)[0] <= zoomed
    shown.keyboard.press("Escape")
    expect(follow).to_be_hidden()
    shown.evaluate("() => document.activeElement.blur()")


def test_the_wheel_zooms_with_ctrl_or_focus_and_else_scrolls_the_page(shown):
    area = chart(shown, 2).locator(".u-over").bounding_box()
    follow = chart(shown, 2).get_by_role("button", name="Follow")
    shown.mouse.move(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.5)

    shown.mouse.wheel(0, -120)
    shown.wait_for_timeout(300)
    expect(follow).to_be_hidden()
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -120)
    shown.keyboard.up("Control")
    expect(follow).to_be_visible()
    area = chart(shown, 2).locator(".u-over").bounding_box()
    shown.mouse.dblclick(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.5)

    expect(follow).to_be_hidden()


def test_dragging_the_price_axis_stretches_it(shown):
    axis = chart(shown, 3).locator(".u-axis").nth(1).bounding_box()
    follow = chart(shown, 3).get_by_role("button", name="Follow")

    shown.mouse.move(axis["x"] + axis["width"] / 2, axis["y"] + axis["height"] / 2)
    shown.mouse.down()
    shown.mouse.move(axis["x"] + axis["width"] / 2, axis["y"] + axis["height"] / 2 + 30, steps=4)
    shown.mouse.up()

    expect(follow).to_be_visible()
    follow.click()
    expect(follow).to_be_hidden()


def test_a_change_of_theme_draws_the_charts_in_its_colours(shown):
    brightness = """() => {
      const ctx = document.querySelector(".anb-light canvas").getContext("2d");
      const { width, height } = ctx.canvas;
      const pixels = ctx.getImageData(width - 60, 0, 60, height).data;
      let most = 0;  // of the labels of the price axis, which are grey
      for (let at = 0; at < pixels.length; at += 4)
        if (pixels[at + 3] > 120 && Math.abs(pixels[at] - pixels[at + 2]) < 12) most = Math.max(most, pixels[at]);
      return most;
    }"""
    light = shown.evaluate(brightness)

    shown.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", THEMES["dark"])

    shown.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    shown.wait_for_function(f"light => ({brightness})() > light", arg=light)


def test_a_second_display_and_single_charts_share_numbers_and_script(shown):
    before = len(shown.received)

    run_cell(shown, 'sheet = quotes.charts("bid_price", symbols=["AAPL"])\nsheet')
    run_cell(shown, "sheet")
    run_cell(shown, 'feed.trades("AAPL").candles("2s", engine="light")')

    several = "() => [...document.querySelectorAll('.anb-light')].filter(({dataset}) => dataset.frames > 3).length >= 3"
    shown.wait_for_function(several, timeout=30_000)
    assert max(shown.received[before:]) < 300_000
    assert failures(shown) == []


def test_a_reloaded_page_shows_the_sheet_again_and_leaves_no_display_that_seems_to_be_seen(shown):
    run_cell(shown, 'one = quotes.charts("ask_price", symbols=["MSFT"])\none')
    run_cell(shown, "import asyncio\nwhile not one._displays:\n    await asyncio.sleep(0.1)", wait=False)
    shown.locator(".anb-light").last.scroll_into_view_if_needed()
    wait_idle(shown)
    run_cell(shown, "before = set(one._displays)\nprint(len(before), 'seen')")
    assert "1 seen" in str(outputs(shown, -1))
    shown.evaluate(RUN, "docmanager:save")
    shown.wait_for_function("() => window.ariesRun.done")

    shown.reload()

    drawn = "() => [...document.querySelectorAll('.anb-light')].filter(({dataset}) => dataset.frames > 3).length >= 6"
    shown.wait_for_function(drawn, timeout=60_000)
    assert shown.errors == []
    run_cell(shown, LEFT)
    assert "none left" in str(outputs(shown, -1))

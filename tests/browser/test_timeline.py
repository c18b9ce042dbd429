"""The timeline of a live feed: its bar moves all views to a past moment and back, also while a cell runs."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import errors_of, shared_page
from tests.browser.lab import failures, open_notebook, outputs, run_all, run_cell, wait_for_output, wait_idle

CELLS = (
    'import time\nimport aries_nb as anb\nfeed = anb.connect("sim", rate=200, seed=7)\n'
    'quotes, trades, book = feed.quotes("AAPL"), feed.trades("AAPL"), feed.book("AAPL")\n'
    "quotes.wait(rows=200)\ntimeline = feed.timeline()\ntimeline",
    "quotes",
    "trades",
    "book.ladder()",
    'chart = quotes.chart("bid_price")\nchart',
    'light = quotes.chart("bid_price", engine="light")\nlight',
    'feed.bars("AAPL", "1min")',
)
VIEWS = (".anb-board", ".anb-tape", ".anb-ladder", ".anb-figure", ".anb-light")
FROZEN = re.compile(r"^frozen at \d\d:\d\d:\d\d\.\d{3} UTC, [\d,]+ (row|update)s? behind$")
LIVE = "live: of now, does not go back"
BUSY = """print("runs")
until = time.monotonic() + 20
while time.monotonic() < until and not timeline.is_live:
    pass
print(timeline.is_live)"""


@pytest.fixture(scope="module")
def shown(tab, lab):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "timeline.ipynb")
    with shared_page(tab, lab, width=800, height=3000) as page:
        page.errors = errors_of(page)
        open_notebook(page, lab, "timeline.ipynb")
        run_all(page)
        assert failures(page) == []
        yield page
        assert page.errors == []


def test_the_bar_moves_all_views_to_a_past_moment_and_back_while_a_cell_runs(shown):
    bar, badges = shown.locator(".anb-playback"), [shown.locator(f"{view} .anb-badge").first for view in VIEWS]
    expect(bar.get_by_role("status")).to_have_text("live", timeout=30_000)

    bar.get_by_role("button", name="Pause", exact=True).click()
    for badge in badges:
        expect(badge).to_have_text(FROZEN)
    bars = shown.locator(".anb-blotter .anb-badge").first
    expect(bars).to_have_text(LIVE)
    bar.get_by_role("slider").focus()
    shown.keyboard.press("ArrowLeft")
    expect(bar.get_by_role("status")).to_have_text("the past, paused")
    # The cell runs once the kernel has followed: the bar has said so since the click.
    run_cell(shown, "then = feed.at(timeline.now); print(then[quotes].df['bid_price'].iloc[-1], timeline.now)")
    bid, moment = outputs(shown, -1)[0]["text"].split(" ", 1)
    at = f"frozen at {moment[11:23]} UTC, "
    for badge in badges:
        expect(badge).to_have_text(re.compile(re.escape(at)))
    expect(shown.locator(".anb-board tbody")).to_contain_text(f"{float(bid):.2f}")

    run_cell(shown, BUSY, wait=False)
    wait_for_output(shown, "runs")
    bar.get_by_role("button", name="Live", exact=True).click()
    expect(bar.get_by_role("status")).to_have_text("live")
    for badge in badges:
        expect(badge).not_to_have_text(FROZEN)
    expect(bars).not_to_have_text(LIVE)
    wait_idle(shown)
    assert outputs(shown, -1)[0]["text"].split() == ["runs", "True"]


def test_the_button_of_a_view_is_the_same(shown):
    bar, board = shown.locator(".anb-playback"), shown.locator(".anb-board")
    bar.get_by_role("button", name="Pause", exact=True).click()
    expect(board.locator(".anb-badge").first).to_have_text(FROZEN)

    board.get_by_role("button", name="Resume").click()

    expect(bar.get_by_role("status")).to_have_text("live")
    expect(shown.locator(".anb-ladder .anb-badge").first).not_to_have_text(FROZEN)

"""Tables of thousands of rows in a real front end: light, complete, found, copied and saved by keyboard and mouse."""

from __future__ import annotations

import csv

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import shared_page
from tests.browser.lab import open_notebook, run_all, run_cell
from tests.browser.measure_tables import ORDERS, PRINTS, RATES, VIEWS, write_notebook

ROWS = 4_600
LEAST_FRAMES, LEAST_ANIMATION_FRAMES = 8, 30
# A table of the same rows that stands still, and a tape, in cells of the same notebook.
ANOTHER = "still = Blotter(Orders(4_600))\nstill"
STILL = """
orders.is_running = False
moving.join()
orders.rows = [order(number, "new", number % 7) for number in range(4_600)]
orders.version += 1
"""
SCREEN = {"width": 1180, "height": 900}


@pytest.fixture(scope="module")
def page(tab, lab):
    """The notebook of a table that moves, opened once for all tests here."""
    with shared_page(tab, lab, **SCREEN) as page:
        show(page, lab, ORDERS, ".anb-blotter")
        yield page


def show(page, lab, source, selector):
    open_notebook(page, lab, write_notebook(lab.root, source, ROWS))
    run_all(page)
    return drawn(page.locator(selector))


def drawn(view):
    view.scroll_into_view_if_needed()
    expect(view.locator("tbody tr").first).to_be_visible()
    return view


def texts(view, place):
    """The texts of a column, of the rows that the page holds."""
    return view.locator(f"tbody tr > :nth-child({place})").all_inner_texts()


def test_a_blotter_of_thousands_of_orders_that_move_has_every_row(page):
    blotter = page.locator(".anb-blotter")
    frames = int(blotter.get_attribute("data-frames"))
    page.wait_for_function(
        "(frames) => document.querySelector('.anb-blotter').dataset.frames > frames + 10", arg=frames
    )

    assert blotter.locator("tbody tr").count() < 60
    run_cell(page, STILL)
    expect(blotter.locator(".anb-count")).to_have_text("1–12 of 4,600")
    assert texts(blotter, 11)[:3] == ["ORD-004599", "ORD-004598", "ORD-004597"]
    blotter.locator(".anb-scroll").evaluate("(node) => { node.scrollTop = node.scrollHeight; }")
    expect(blotter.locator(".anb-count")).to_have_text("4,589–4,600 of 4,600")
    assert texts(blotter, 11)[-1] == "ORD-000000"
    blotter.get_by_role("button", name="Order id").click()
    blotter.locator(".anb-scroll").evaluate("(node) => { node.scrollTop = 0; }")
    expect(blotter.locator("tbody tr").first).to_contain_text("ORD-000000")


def test_rows_are_found_opened_copied_and_saved(page, tmp_path):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    blotter = drawn(run_cell(page, ANOTHER).locator(".anb-blotter"))
    filter_box = blotter.get_by_role("searchbox", name="Filter")

    filter_box.fill("BRK.B, nvda filled")
    expect(blotter.locator(".anb-count")).to_have_text("1,840 of 4,600")
    assert set(texts(blotter, 1)) == {"BRK.B", "NVDA"}
    filter_box.fill("TSLA")
    expect(blotter.locator(".anb-empty")).to_have_text("Nothing matches “TSLA”.")
    filter_box.fill("")

    cut = blotter.locator("tbody td.anb-text", has_text="insufficient").first
    cut.click()
    expect(blotter.locator(".anb-detail")).to_contain_text("insufficient buying power for this order, ask the desk")

    blotter.locator("tbody tr").nth(0).locator("th").click()
    grid = blotter.get_by_role("grid")
    grid.focus()
    for key in ("Home", "Shift+ArrowDown", "Control+c"):
        page.keyboard.press(key)
    expect(blotter.get_by_role("button", name="Copied 2")).to_be_visible()
    lines = page.evaluate("navigator.clipboard.readText()").split("\n")  # it says so once they are there
    assert [line.split("\t")[0] for line in lines] == ["Symbol", "AAPL  261218C00270000", "BRK.B"]
    assert lines[2].split("\t")[-1] == "ORD-004598"

    with page.expect_download() as download:
        blotter.get_by_role("combobox", name="Save the table").select_option("csv")
    download.value.save_as(tmp_path / "orders.csv")
    rows = list(csv.reader((tmp_path / "orders.csv").read_text().splitlines()))
    assert download.value.suggested_filename == "Orders-ACC-1.csv"
    assert len(rows) == ROWS + 1
    assert rows[1][0] == "ORD-004599"


def test_a_tape_of_a_fast_market_has_the_newest_print_on_top(page):
    tape = drawn(run_cell(page, PRINTS).locator(".anb-tape"))
    expect(tape.locator(".anb-count")).to_contain_text("1,000")

    tape.get_by_role("button", name="Freeze").click()
    expect(tape.locator(".anb-badge")).to_contain_text("frozen")
    times = texts(tape, 1)
    assert times == sorted(times, reverse=True)
    tape.get_by_role("spinbutton", name="Least size of prints").fill("100")
    expect(tape.locator(".anb-count")).to_contain_text(" of 1,000")
    sizes = [float(size.replace(",", "")) for size in texts(tape, 4)]
    assert min(sizes) >= 100
    tape.get_by_role("spinbutton", name="Least size of prints").fill("1000000000")
    expect(tape.locator(".anb-empty")).to_have_text("No print of 1,000,000,000 or more.")


@pytest.mark.long  # the tests above look at the same tables in each run
@pytest.mark.alone
@pytest.mark.parametrize(("source", "selector"), VIEWS.values(), ids=VIEWS)
def test_a_table_of_thousands_of_rows_and_the_tape_of_a_fast_market_are_light(tab, lab, source, selector):
    with shared_page(tab, lab, **SCREEN) as page:
        show(page, lab, source, selector)

        for _ in range(7):  # half a minute while the machine is busy
            rates = page.evaluate(RATES, [selector, 4])
            if rates["frames"] >= LEAST_FRAMES and rates["animation_frames"] >= LEAST_ANIMATION_FRAMES:
                break

    assert rates["frames"] >= LEAST_FRAMES, rates
    assert rates["animation_frames"] >= LEAST_ANIMATION_FRAMES, rates

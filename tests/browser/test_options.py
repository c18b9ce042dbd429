"""The options' notebook in a real front end: its views move, the money is in sight, a server's names are text."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import errors_of, shared_page
from tests.browser.lab import open_notebook, run_all, run_cell
from tests.browser.test_account import WAS_HIT

NOTEBOOK = "03_options.ipynb"
SCREEN = {"width": 1280, "height": 1700}  # shows the chain and the smile; hidden views are not painted
HAVE_SHOWN = """(frames) => {
  const prints = {
    chain: [...document.querySelectorAll(".anb-chain tbody tr")].map((row) => row.textContent).join("|"),
    smile: document.querySelector(".js-plotly-plot").data.map((trace) => trace.y.join(",")).join("|"),
  };
  window.ariesShown ??= { chain: new Set(), smile: new Set() };
  for (const name in prints) window.ariesShown[name].add(prints[name]);
  return Object.values(window.ariesShown).every((shown) => shown.size >= frames);
}"""
ALIGNMENTS = """() => [...new Set(
  [...document.querySelectorAll(".anb-chain tbody td")].map((cell) => getComputedStyle(cell).textAlign)
)]"""
DELTAS = (
    """() => [...document.querySelectorAll(".anb-chain td.anb-put.anb-col-delta")].map((cell) => cell.textContent)"""
)
OUT_OF_SIGHT = """() => {
  const [money, whole] = [".anb-money", ".anb-scroll"].map((each) =>
    document.querySelector(`.anb-chain ${each}`).getBoundingClientRect()
  );
  return Math.max(0, whole.top - money.top, money.bottom - whole.bottom);
}"""
# What is painted in the middle of the strikes' heading, below which their rows are scrolled.
HEADING = """() => {
  const box = document.querySelector(".anb-chain thead .anb-strike").getBoundingClientRect();
  return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).textContent;
}"""
EVIL = "<img/src=x/onerror=window.wasHit=1>"  # without a space: with one it is not accepted as a symbol
# A broker with hostile names of contracts: every symbol is a script, in its lists and in its streams.
HOSTILE = """
import json
from aries_nb.sim import SimOptions, Simulator
from aries_nb.sim.market import options as listed
evil = json.loads(r'''EVIL''')
osi, parsed = listed.Contract.symbol.fget, listed.parse_contract
listed.Contract.symbol = property(lambda contract: evil + osi(contract))
listed.parse_contract = lambda symbol: parsed(symbol.removeprefix(evil))
market = Simulator(SimOptions(rate=400)).__enter__()
elsewhere = anb.connect("aries", url=market.url, token="any")
evils = elsewhere.options("MSFT", elsewhere.options("MSFT").expiries[0], strikes=2).wait()
evils.symbol = evil
evils
"""


@pytest.fixture(scope="module")
def page(tab, lab):
    """The notebook, run once for all tests here; `page.errors` are its console errors."""
    with shared_page(tab, lab, **SCREEN) as page:
        page.errors = errors_of(page)
        open_notebook(page, lab, NOTEBOOK)
        run_all(page, timeout=120)
        yield page


def test_the_chain_and_the_smile_move_with_the_money_in_sight(page):
    page.locator(".jp-Notebook:visible .jp-Cell").first.evaluate("(cell) => cell.scrollIntoView()")
    expect(page.locator(".anb-chain .anb-money")).to_be_visible()
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_visible()

    page.wait_for_function(HAVE_SHOWN, arg=10)

    assert page.evaluate(ALIGNMENTS) == ["right"]
    assert page.evaluate(OUT_OF_SIGHT) == 0
    deltas = [text for text in page.evaluate(DELTAS) if text.strip("0.–")]  # all but those that round to zero
    assert deltas
    assert all(re.fullmatch("\N{MINUS SIGN}[01][.][0-9]{3}", text) for text in deltas), deltas
    assert page.evaluate(HEADING) == "Strike"
    assert page.errors == []


def test_contracts_named_by_a_script_show_themselves_and_do_nothing(page):
    cell = run_cell(page, HOSTILE.replace("EVIL", json.dumps(EVIL)).strip())
    chart = run_cell(page, "evils.chart()")

    expect(cell.locator(".anb-chain .anb-title")).to_contain_text("onerror=window.wasHit=1")
    expect(cell.locator(".anb-chain td.anb-call").first).to_have_attribute(
        "title", re.compile(f"{re.escape(EVIL)}MSFT.*C")
    )
    expect(chart.locator(".js-plotly-plot .gtitle")).to_contain_text("onerror=window.wasHit=1")
    assert page.evaluate(WAS_HIT) is None

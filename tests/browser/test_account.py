"""The account's notebook in a real front end: it moves, and text from outside does nothing but show itself."""

from __future__ import annotations

import json

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.lab import run_all

NOTEBOOK = "02_account_and_pnl.ipynb"
SCREEN = {"width": 1280, "height": 2600}
CHANGED_IN_EACH_SECOND = """async (seconds) => {
  const figure = () => document.querySelector(".js-plotly-plot");
  const prints = {
    positions: () => [...document.querySelectorAll(".anb-blotter tbody tr")].map((row) => row.textContent).join("|"),
    equity: () => figure().data.map((trace) => `${trace.x.at(-1)}:${trace.y.at(-1)}`).join("|"),
  };
  const changed = { positions: 0, equity: 0 };
  for (let second = 0; second < seconds; second++) {
    const before = Object.fromEntries(Object.entries(prints).map(([name, print]) => [name, print()]));
    await new Promise((done) => setTimeout(done, 1500));
    for (const name in prints) changed[name] += prints[name]() !== before[name];
  }
  return changed;
}"""
EVIL = "<img src=x onerror=window.wasHit=1><script>window.wasHit=1</script>"
HOSTILE = """
import json, aries_nb as anb
from aries_nb.sim import SimOptions, Simulator
market = Simulator(SimOptions()).__enter__()
feed = anb.connect("aries", url=market.url, token="any")
account = feed.account("ACC-1")
news, lists, orders = feed.news(), feed.watchlists.wait(), account.orders
evil = json.loads(r'''EVIL''')
item = {"id": 7, "title": evil, "body": evil, "authors": [evil], "symbols": [evil], "news_type": evil}
order = {"accountId": "ACC-1", "clOrdId": evil, "symbol": evil, "side": evil, "type": evil, "ordStatus": evil,
         "text": evil, "qty": "10", "cumQty": "4", "leavesQty": "6", "price": "1", "avgPrice": "1"}
position = {"accountId": "ACC-1", "symbol": evil, "quantity": "3", "averagePrice": "1", "price": "2"}
for payload in (
    {"topic": "news", "data": [item]},
    {"topic": "watchlist", "data": [{"id": 1, "name": evil, "symbols": [evil]}]},
    {"topic": "account", "name": "account.order", "target": "ACC-1", "data": order},
    {"topic": "account", "name": "account.position", "target": "ACC-1", "data": position},
):
    market.broadcast(json.dumps({"type": "event", "payload": payload}))
news.wait()
"""


@pytest.fixture
def page(page):
    page.set_viewport_size(SCREEN)
    return page


def test_the_dashboard_moves(open_notebook, page, console_errors, screenshot):
    open_notebook(NOTEBOOK)
    run_all(page)
    page.locator(".jp-Notebook:visible .jp-Cell").first.evaluate("(cell) => cell.scrollIntoView()")
    expect(page.locator(".anb-blotter tbody tr").first).to_be_visible()
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_visible()

    changed = page.evaluate(CHANGED_IN_EACH_SECOND, 5)

    assert changed == {"positions": 5, "equity": 5}
    assert console_errors == []
    assert screenshot("account").stat().st_size > 100_000


def test_text_from_outside_shows_itself_and_does_nothing(open_notebook, page, lab):
    cells = [HOSTILE.replace("EVIL", json.dumps(EVIL)).strip(), "news", "lists", "account"]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, lab.root / "hostile.ipynb")
    open_notebook("hostile.ipynb")

    run_all(page)

    for view in (0, 1, 2, 3):
        expect(page.locator(".anb-blotter").nth(view)).to_contain_text("onerror=window.wasHit=1")
    expect(page.locator(".js-plotly-plot .barlayer .point").first).to_be_visible()
    page.wait_for_timeout(1000)
    assert page.evaluate("() => window.wasHit") is None

"""The account's notebook in a real front end: its views move, and text from outside is only shown as text."""

from __future__ import annotations

import json

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.brokers import written_for
from tests.browser.conftest import NOTEBOOKS, shared_page
from tests.browser.lab import failures, run_all, wait_idle

NOTEBOOK = "02_account_and_pnl.ipynb"
SCREEN = {"width": 1280, "height": 2600}
HAVE_CHANGED = """(times) => {
  const rows = (blotter) => [...blotter.querySelectorAll("tbody tr")].map((row) => row.textContent).join("|");
  const blotters = [...document.querySelectorAll(".anb-dashboard .anb-blotter")];
  const figure = document.querySelector(".js-plotly-plot");
  const last = (trace) => `${trace.x && trace.x.at(-1)}:${trace.y && trace.y.at(-1)}`;
  const prints = {
    positions: rows(blotters[0]),
    causes: rows(blotters.at(-1)),
    equity: figure.data.filter((trace) => trace.type === "scatter").map(last).join("|"),
    bars: figure.data.filter((trace) => trace.type === "bar").map((trace) => trace.y).join("|"),
  };
  window.ariesShown ??= {};
  for (const name in prints) (window.ariesShown[name] ??= new Set()).add(prints[name]);
  return Object.values(window.ariesShown).every((shown) => shown.size > times);
}"""
# The browser reports an image that cannot be loaded after some time; one that was requested later is reported
# after it.
WAS_HIT = """async () => {
  await new Promise((done) => Object.assign(new Image(), { onerror: done, src: "x" }));
  return window.wasHit;
}"""
EVIL = "<img src=x onerror=window.wasHit=1><script>window.wasHit=1</script>"
HOSTILE = """
import json, threading, time, aries_nb as anb
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
payloads = (
    {"topic": "news", "data": [item]},
    {"topic": "watchlist", "data": [{"id": 1, "name": evil, "symbols": [evil]}]},
    {"topic": "account", "name": "account.order", "target": "ACC-1", "data": order},
    {"topic": "account", "name": "account.position", "target": "ACC-1", "data": position},
)
def repeat():  # again and again: a full list over HTTP knows nothing of these
    while True:
        for payload in payloads:
            market.broadcast(json.dumps({"type": "event", "payload": payload}))
        time.sleep(0.3)
threading.Thread(target=repeat, daemon=True).start()
news.wait()
"""


@pytest.fixture(scope="module")
def page(tab, lab):
    with shared_page(tab, lab, **SCREEN) as page:
        yield page


# The other browser tests are on Aries.
@pytest.mark.parametrize("broker", [pytest.param("aries", marks=pytest.mark.long), "alor"])
def test_the_dashboard_moves_and_its_sums_stay_below_what_is_sorted(
    open_notebook, page, lab, console_errors, screenshot, broker
):
    open_notebook(written_for(broker, NOTEBOOKS / NOTEBOOK, lab.root))
    run_all(page, wait=False)  # it moves while the cells wait for fills
    expect(page.locator(".anb-blotter tbody tr.anb-pinned").last).to_be_visible()
    expect(page.locator(".js-plotly-plot .barlayer .point").first).to_be_visible()
    page.locator(".jp-Notebook:visible .jp-Cell").first.evaluate("(cell) => cell.scrollIntoView()")

    page.wait_for_function(HAVE_CHANGED, arg=5, polling=200)
    causes = page.locator(".anb-dashboard .anb-blotter").last
    causes.get_by_role("button", name="Symbol").click(click_count=2)
    names = causes.locator("tbody th").all_text_contents()

    assert names == [*sorted(names[:-2], reverse=True), "cash", "total"]
    wait_idle(page)
    assert failures(page) == []
    assert console_errors == []
    assert screenshot(f"account_{broker}").stat().st_size > 100_000


def test_text_from_outside_shows_itself_and_does_nothing(open_notebook, page, lab):
    cells = [HOSTILE.replace("EVIL", json.dumps(EVIL)).strip(), "news", "lists", "account"]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, lab.root / "hostile.ipynb")
    open_notebook("hostile.ipynb")

    run_all(page)

    for view in range(5):
        expect(page.locator(".anb-blotter").nth(view)).to_contain_text("onerror=window.wasHit=1")
    expect(page.locator(".js-plotly-plot .barlayer .point").first).to_be_visible()
    assert page.evaluate(WAS_HIT) is None

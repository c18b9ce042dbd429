"""What axe-core finds in the outputs of all notebooks, in every state of each view, and in the static pictures."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from tests.browser.axe import ALL_VIEWS, ARE_SHOWN, change_theme, found
from tests.browser.conftest import NOTEBOOKS
from tests.browser.lab import THEMES, failures, open_notebook, outputs, run_all, run_cell
from tests.views.stage import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.views.stage import Stage

SCREEN = {"width": 1180, "height": 6500}  # shows all views; hidden ones are not painted
# What a view can look like, by scripts that set it on all its parts; those of one group are of different parts. A wash
# is painted as an image of one colour over a cell's own, which axe cannot read: here it is the cell's colour.
WASH = """(selector, kind) => set(selector, (node) => {
  node.dataset.flash = kind;
  node.style.cssText += `background-image: none; background-color: var(--anb-${kind}-wash)`;
})"""
CELLS = ".anb-windowed:not(.anb-board) td, .anb-chain td, dd, .anb-rows .anb-bid, .anb-rows .anb-ask, .anb-digits"
STATES = {
    "flash up, silent, pending": f"""wash("{CELLS}", "up"); card("silent"); tone("pending")""",
    "flash down, reconnecting, partial": f"""wash("{CELLS}", "down"); card("reconnecting"); tone("part")""",
    "flash note, failed, done": f"""wash("{CELLS}", "note"); card("failed"); tone("done")""",
    "stale, closed, canceled, crossed": 'mark(".aries-nb", "anb-stale"); mark(".anb-ladder", "anb-doubt"); '
    'card("closed"); tone("over"); mark(".anb-tape tbody tr", "anb-big anb-up"); wash(".anb-tape td", "up")',
    "late, rejected": 'mark(".anb-board tbody tr", "anb-late"); tone("bad"); '
    'mark(".anb-tape tbody tr", "anb-big anb-down"); wash(".anb-tape td", "down")',
    "refused, selected": 'mark(".anb-board tbody tr", "anb-rejected"); '
    'set("tbody tr", (node) => node.setAttribute("aria-selected", "true"))',
    "problem": 'mark(".aries-nb", "anb-has-problem"); '
    'set(".anb-problem, .anb-badge, .anb-error", (node) => { node.textContent = "a problem"; })',
    "no kernel": 'mark(".aries-nb", "anb-no-kernel")',
}
SET = f"""([change]) => {{
  const before = (window.ariesBefore ??= new Map());
  const nodesOf = (selector) => document.querySelectorAll(`.jp-OutputArea-output :is(${{selector}})`);
  const set = (selector, alter) => nodesOf(selector).forEach((node) => {{
    if (!before.has(node)) before.set(node, [...node.attributes].map((each) => [each.name, each.value]));
    alter(node);
  }});
  for (const [node, attributes] of before) {{
    for (const {{ name }} of [...node.attributes]) node.removeAttribute(name);
    for (const [name, value] of attributes) node.setAttribute(name, value);
  }}
  before.clear();
  const wash = {WASH};
  const mark = (selector, names) => set(selector, (node) => node.classList.add(...names.split(" ")));
  const card = (state) => set(".anb-card", (node) => {{ node.dataset.state = state; }});
  const tone = (name) => set("[data-tone]", (node) => {{ node.dataset.tone = name; }});
  new Function("set", "wash", "mark", "card", "tone", change)(set, wash, mark, card, tone);
}}"""
FREEZE = "() => document.querySelectorAll('.anb-freeze[aria-pressed=false]').forEach((button) => button.click())"
PICTURES = """
import json
views = [feed, quotes, book, trades, account, chain, chain.chart(), quotes.chart("bid_price", symbols=["AAPL"]),
         quotes.chart("bid_price", engine="light"), trades.candles("1s"), past.clock]
print(json.dumps([view._repr_mimebundle_()["text/html"] for view in views]))
"""
PAGE = '<!doctype html><html lang="en"><title>pictures</title><body style="background: {}; color: {}">{}'


def measure(stage: Stage) -> Iterator[Row]:
    """The number of elements with a fault."""
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))[: stage.times(99, 1)]
    faults = [fault for notebook in notebooks for fault in of_notebook(stage, notebook.name)]
    yield row(f"axe-core, outputs of {len(notebooks)} notebooks, light and dark", faults)
    with stage.page(**SCREEN) as page:
        open_notebook(page, stage.lab, stage.write("views.ipynb", ALL_VIEWS))
        run_all(page)
        page.wait_for_function(ARE_SHOWN, arg=13, timeout=60_000)
        pictures = static_pictures(page)
        page.evaluate(FREEZE)
        states = dict(list(STATES.items())[: stage.times(99, 1)])
        yield row(f"axe-core, contrast in {len(states)} states of the views", of_states(page, states))
    with stage.page(**SCREEN) as page:
        faults = []
        for colours in (("#fff", "#212121"), ("#111", "#e0e0e0")):
            page.set_content(PAGE.format(*colours, pictures))
            faults += found(page, ".jp-OutputArea-output")
        yield row("axe-core, static pictures, light and dark", faults)


def row(what: str, faults: list[str]) -> Row:
    """A row of the table; what was found is printed."""
    for fault in faults:
        sys.stderr.write(f"{fault[:400]}\n")
    return Row(what, f"{len(faults)} faults", "0", not faults)


def of_notebook(stage: Stage, name: str) -> list[str]:
    """What is found in the outputs of a notebook, and the failures of its cells."""
    with stage.page(**SCREEN) as page:
        open_notebook(page, stage.lab, name)
        run_all(page, timeout=120)
        page.wait_for_function(ARE_SHOWN, arg=1, timeout=60_000)
        faults = failures(page)
        for theme in THEMES:
            change_theme(page, theme)
            faults += [f"{name}, {theme}: {fault}" for fault in found(page)]
        return faults


def of_states(page: Page, states: dict[str, str]) -> list[str]:
    """What is found about contrast in these states of the views."""
    faults = []
    for theme in THEMES:
        change_theme(page, theme)
        for name, change in states.items():
            page.evaluate(SET, [change])
            faults += [f"{name}, {theme}: {fault}" for fault in found(page, rules=["color-contrast"])]
        page.evaluate(SET, [""])
    return faults


def static_pictures(page: Page) -> str:
    """The static pictures of all views, as outputs."""
    run_cell(page, PICTURES.strip())
    texts = [output["text"] for output in outputs(page, -1) if output.get("name") == "stdout"]
    pictures = json.loads("".join(texts))
    return "".join(f'<div class="jp-OutputArea-output">{picture}</div>' for picture in pictures)

"""Rules of accessibility, as axe-core checks them: what it finds in the outputs of a notebook's cells.

axe-core comes with `axe-playwright-python`, whose own function asks for violations only: here what axe cannot decide
counts as found too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from axe_playwright_python.base import AXE_SCRIPT

from tests.browser.lab import THEMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Page

__all__ = ["ALL_VIEWS", "ARE_SHOWN", "OURS", "change_theme", "found"]

# Outputs with a view of ours, live or as the static picture; pandas' tables are not ours.
OURS = ".jp-OutputArea-output:has(.aries-nb, .anb-figure, .anb-picture)"
# Contrasts that axe leaves to the reader: of an arrow, of one character, and of text on a wash that is painted as an
# image or on the bar of a ladder. Their colours are those of other texts and washes.
UNDECIDABLE = ["nonBmp", "shortTextContent", "bgGradient", "bgOverlap", "elmPartiallyObscured"]
# JupyterLab's body has no height and hides what overflows: axe would take all of the page for invisible, and check the
# contrast of nothing.
RUN = """async ([selector, rules]) => {
  const { style } = document.body;
  const before = style.minHeight;
  style.minHeight = "100vh";
  const include = [...document.querySelectorAll(selector)];
  if (!include.length) throw new Error(`nothing to look at: ${selector}`);
  const only = rules.length ? { runOnly: { type: "rule", values: rules } } : {};
  const { violations, incomplete } = await axe.run({ include }, { ...only, resultTypes: ["violations", "incomplete"] });
  style.minHeight = before;
  const all = [...violations, ...incomplete].flatMap(({ id, nodes }) => nodes.map((node) => {
    const checks = [...node.any, ...node.all, ...node.none];
    const isUndecidable = checks.some((check) => UNDECIDABLE.includes(check.data?.messageKey));
    const why = checks.map((check) => check.message).join("; ");
    return isUndecidable ? "" : `${id}: ${node.html.slice(0, 160)} (${why})`;
  }));
  return all.filter(Boolean);
}""".replace("UNDECIDABLE", json.dumps(UNDECIDABLE))

# A notebook with every kind of view.
ALL_VIEWS = (
    'import aries_nb as anb\nfeed = anb.connect("sim", rate=200)\nfeed',
    'quotes = feed.quotes("AAPL", "MSFT").wait(rows=20)\nquotes',
    'book = feed.book("AAPL", depth=4)\nbook',
    'trades = feed.trades("AAPL", "MSFT").wait(rows=5)\ntrades',
    "account = feed.account(feed.accounts[0])\naccount.equity.wait()\naccount",
    'chain = feed.options("MSFT", feed.options("MSFT").expiries[0], strikes=3).wait()\nchain',
    "chain.chart()",
    'quotes.chart("bid_price", symbols=["AAPL"], engine="light")',
    'record = feed.record("views.anb")\nquotes.wait(rows=quotes.received + 50)\nrecord.close()\n'
    'past = anb.replay("views.anb")\npast.clock',
)
# Every panel has painted, and every figure is drawn.
ARE_SHOWN = """(count) => {
  const panels = [...document.querySelectorAll("[data-frames]")];
  const figures = [...document.querySelectorAll(".anb-figure")];
  return panels.length + figures.length >= count && panels.every((panel) => panel.dataset.frames !== "0")
    && figures.every((figure) => figure.querySelector(".trace"));
}"""


def found(page: Page, selector: str = OURS, rules: Sequence[str] = ()) -> list[str]:
    """What axe finds or cannot decide in the elements of the selector, by all rules unless some are named."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)  # not as an element of the page, which a policy may forbid
    problems: list[str] = page.evaluate(RUN, [selector, list(rules)])
    return problems


def change_theme(page: Page, theme: str) -> None:
    """Change the theme of JupyterLab, and wait until it has."""
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", THEMES[theme])
    is_light = json.dumps(str(theme == "light").lower())
    page.wait_for_function(f"() => document.body.dataset.jpThemeLight === {is_light}")

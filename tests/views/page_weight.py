"""What a page loads for charts: the script of one engine, and of ours, for one chart and for twelve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.lab import PANEL, open_notebook, run_all
from tests.views.stage import Row
from tests.views.twelve_charts import START

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.views.stage import Stage

MOST_BYTES = 60_000
#: Name, engine and cells.
PAGES = (
    ("1 chart, light", "light", ['quotes.chart(symbols=["AAPL"], engine="light")']),
    ("12 charts, light, one sheet", "light", ["quotes.charts()"]),
    (
        "12 charts, light, apart",
        "light",
        [f'quotes.chart(symbols=[SYMBOLS[{place}]], engine="light", height=120)' for place in range(12)],
    ),
    ("1 chart, plotly", "plotly", ['quotes.chart(symbols=["AAPL"])']),
    (
        "12 charts, plotly",
        "plotly",
        [f"quotes.chart(symbols=[SYMBOLS[{place}]], height=120)" for place in range(12)],
    ),
)
# Scripts that come as messages, as their parts' bytes, and what comes as scripts and styles with the models.
LISTEN = f"""() => {{
  const found = window.ariesLoaded = {{ scripts: [], loaders: [] }};
  {PANEL}.sessionContext.session.kernel.anyMessage.connect((_, {{ direction, msg }}) => {{
    if (direction !== "recv") return;
    const data = msg.content?.data;
    if (msg.header.msg_type === "comm_open" && data.state?._esm) {{
      found.loaders.push(data.state._esm.length + (data.state._css ?? "").length);
    }}
    if (data?.content?.script) found.scripts.push(msg.buffers.map((each) => each.byteLength));
  }});
}}"""
ARE_DRAWN = "(count) => document.querySelectorAll('.anb-light canvas, .js-plotly-plot .plot-container').length >= count"


def loaded(stage: Stage, cells: Sequence[str]) -> dict[str, list[list[int]] | list[int]]:
    """The sizes in bytes of what a page gets for these cells: `scripts` with their parts, `loaders` with the models."""
    name = stage.write("page_weight.ipynb", [START, *cells])
    with stage.page(width=1180, height=3000) as page:
        open_notebook(page, stage.lab, name)
        page.evaluate(LISTEN)
        run_all(page, timeout=90)
        page.wait_for_function(ARE_DRAWN, arg=len(cells), timeout=60_000)
        found: dict[str, list[list[int]] | list[int]] = page.evaluate("() => window.ariesLoaded")
    return found


def measure(stage: Stage) -> Iterator[Row]:
    """Scripts and loaders of pages of charts, in bytes as they travel."""
    for name, engine, cells in PAGES:
        found = loaded(stage, cells)
        scripts, loaders = found["scripts"], found["loaders"]
        parts = scripts[0] if scripts else []
        # uPlot and ours are one part; plotly's script is a part of its own.
        ours = sum(parts[1:] if engine == "plotly" else parts) + sum(loaders)
        beside = f", beside {parts[0] / 1e3:,.0f} kB of plotly" if engine == "plotly" and parts else ""
        text = f"{len(scripts)} script, {ours / 1e3:,.1f} kB with {len(loaders)} of models{beside}"
        must_be = f"1 script, ≤ {MOST_BYTES / 1e3:.0f} kB"
        is_met = len(scripts) == 1 and ours <= MOST_BYTES
        yield Row(f"a page of {name}: scripts", text, must_be, is_met)

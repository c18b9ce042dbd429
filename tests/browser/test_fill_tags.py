"""Own fills of a light chart under the pointer, in a real browser without a notebook: the engine in a bare page."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from aries_nb.model import FillMark
from aries_nb.widgets import LightChart, LightLines
from aries_nb.widgets.light_view import LIGHT_KEY, light_code
from tests.widgets.charts.test_chart import SECOND, filled

PAGE = """
<body style="margin:0"><div id="place" style="width:360px"></div><script>
const url = (code) => URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
window.start = async ({ key, engine, script, style, state }) => {
  document.head.appendChild(document.createElement("style")).textContent = style;
  globalThis[key] = { key, isReceived: true, askedAt: -Infinity, bundle: import(url(engine)) };
  const traits = { ...state, frame: new Uint8Array(state.frame) };
  const model = { get: (name) => traits[name], set() {}, on() {}, off() {}, send() {}, save_changes() {} };
  const view = await (await import(url(script))).default();
  await view.initialize({ model });
  view.render({ model, el: document.getElementById("place") });
};
</script></body>"""


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 600, "height": 500})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content(PAGE)
    yield page
    assert not errors
    page.close()


def test_what_is_said_of_a_fill_ends_where_the_chart_does(page):
    class Traded(type(filled())):
        def own_fills(self, symbols):
            return [FillMark(20 * 10**9, "AAPL", -1234.5, 1_000_020.25)]

    source = Traded(("AAPL",), ("price",))
    source.add(np.arange(1, 41) * SECOND, price=1_000_000.25 + np.arange(40))
    with closing(LightChart(source, [LightLines(source, ["price"])])) as chart:
        assert chart.widget.model_id  # opens it
        model = chart.widget.get_state()
        names = {"description", "static_picture", "timezone", "frozen", "problem"}
        state = {name: value for name, value in model.items() if name in names}
        state["frame"] = list(bytes(model["frame"]))
        script = chart.widget.page_script
        given = {"key": LIGHT_KEY, "engine": light_code(), "script": script.whole, "style": script.style}
        page.evaluate("(given) => window.start(given)", {**given, "state": state})
        page.wait_for_selector(".anb-light canvas")
        area, outer = page.locator(".u-over").bounding_box(), page.locator(".anb-light").bounding_box()
        tag = page.locator(".anb-tag-y")

        def found(across: float) -> bool:
            for down in range(8, int(area["height"]), 12):
                page.mouse.move(area["x"] + across * area["width"], area["y"] + down)
                if "sold" in (tag.text_content() or ""):
                    return True
            return False

        assert any(found(across) for across in np.arange(0.4, 0.6, 0.03))
        box = tag.bounding_box()

        assert tag.text_content() == "sold 1,234.5 at 1,000,020.25"
        assert box["x"] >= outer["x"]
        assert box["x"] + box["width"] <= outer["x"] + outer["width"]
        page.mouse.move(area["x"] + 5, area["y"] + 5)
        assert tag.bounding_box()["x"] >= area["x"] + area["width"]

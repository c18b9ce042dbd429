"""What travels between a page and its kernel while all is well: few messages, and views at their full rate."""

from __future__ import annotations

import json

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import shared_page
from tests.browser.lab import PANEL, open_notebook, run_all, run_cell, value_of
from tests.browser.test_late_start import CELLS, VIEWS, moves
from tests.net.patience import eventually
from tests.views.twelve_charts import task_seconds

SECONDS = 5
SCREEN = {"width": 1180, "height": 3000}  # JupyterLab removes cells out of sight from the page
COUNT = f"""async (seconds) => {{
  const kernel = {PANEL}.sessionContext.session.kernel;
  const boards = () => Number(document.querySelector(".anb-board").dataset.frames);
  const count = {{ busy: 0, sent: 0, asked: 0, received: 0, frames: -boards() }};
  const status = (_, now) => (count.busy += now === "busy");
  const any = (_, {{ direction, msg }}) => {{
    if (!msg.header.msg_type.startsWith("comm_")) return;
    if (direction === "send") {{
      count.asked += JSON.stringify(msg.content.data).includes('"want":"state"');
      return count.sent++;
    }}
    count.received++;
  }};
  kernel.statusChanged.connect(status);
  kernel.anyMessage.connect(any);
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  kernel.statusChanged.disconnect(status);
  kernel.anyMessage.disconnect(any);
  count.frames += boards();
  count.seconds = (performance.now() - start) / 1000;
  return count;
}}"""
STAND_STILL = "from aries_nb.widgets.painter import get_painter\nget_painter().forget(chart)"
# Printed: of what a cell returns, IPython shows the first 1,000 values.
LINE = "import json; print(json.dumps([each.tolist() for each in (chart.figure.data[1].x, chart.figure.data[1].y)]))"
IS_LINE = """([x, y]) => {
  const line = document.querySelector(".js-plotly-plot").data[1];
  return line.x.length === x.length && x.every((each, at) => each === line.x[at] && y[at] === line.y[at]);
}"""


@pytest.fixture(scope="module")
def notebook(lab):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    cells[2].source = "chart = " + cells[2].source + "\nchart"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "transport.ipynb")
    return "transport.ipynb"


@pytest.fixture
def page(tab, lab):
    """The shared page; `page.sizes` are the sizes of what comes to it from the kernel."""
    with shared_page(tab, lab, **SCREEN) as page:
        page.sizes = []

        def listen(socket):
            socket.on("framereceived", lambda data: page.sizes.append(len(data)))

        page.on("websocket", listen)
        yield page
        page.remove_listener("websocket", listen)


# A busy machine has fewer frames, but never more messages.
@pytest.mark.parametrize("least", [0, pytest.param(8, marks=[pytest.mark.alone, pytest.mark.long])])
def test_the_kernels_busy_light_turns_on_twice_a_second_at_most(page, lab, notebook, least):
    open_notebook(page, lab, notebook)
    run_all(page)
    moves(page)
    expect(page.locator(", ".join(VIEWS))).to_have_count(len(VIEWS))

    page.sizes.clear()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # processor time: other programs cost none
    before = task_seconds(session)
    count = page.evaluate(COUNT, SECONDS)
    count["main_thread"] = task_seconds(session) - before
    count["bytes"] = sum(page.sizes)
    session.detach()
    rates = {name: value / count["seconds"] for name, value in count.items()}

    assert rates["busy"] <= 2, count
    assert rates["sent"] <= 2, count
    assert count["asked"] == 0, count  # the page could use each message
    assert rates["received"] <= 16, count  # one a pass of the painter, however many views
    assert rates["bytes"] <= 60_000, count
    assert count["received"] > 0, count
    assert count["frames"] > 0, count
    assert rates["received"] >= least, count
    assert rates["frames"] >= least, count
    assert not least or rates["main_thread"] <= 0.5, count  # how much it costs depends on the machine

    # What is put together from changes is what the kernel has. A closed view would be its static picture.
    run_cell(page, STAND_STILL)
    eventually(lambda: page.evaluate(IS_LINE, json.loads(value_of(page, LINE))), "the kernel's line in the page")

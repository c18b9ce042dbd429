"""What travels between a page and its kernel while all is well: few messages, and views at their full rate."""

from __future__ import annotations

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.lab import PANEL, open_notebook, run_all
from tests.browser.test_late_start import CELLS, VIEWS, moves

pytestmark = pytest.mark.alone
expect.set_options(timeout=30_000)

SECONDS = 5
COUNT = f"""async (seconds) => {{
  const kernel = {PANEL}.sessionContext.session.kernel;
  const boards = () => Number(document.querySelector(".anb-board").dataset.frames);
  const count = {{ busy: 0, sent: 0, received: 0, frames: -boards() }};
  const status = (_, now) => (count.busy += now === "busy");
  const any = (_, {{ direction, msg }}) => {{
    if (!msg.header.msg_type.startsWith("comm_")) return;
    if (direction === "send") count.sent++;
    else count.received++;
  }};
  kernel.statusChanged.connect(status);
  kernel.anyMessage.connect(any);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  kernel.statusChanged.disconnect(status);
  kernel.anyMessage.disconnect(any);
  count.frames += boards();
  return count;
}}"""


@pytest.fixture(scope="module")
def notebook(lab):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "transport.ipynb")
    return "transport.ipynb"


def test_the_kernels_busy_light_turns_on_twice_a_second_at_most(page, lab, notebook):
    open_notebook(page, lab, notebook)
    run_all(page)
    moves(page)
    expect(page.locator(", ".join(VIEWS))).to_have_count(len(VIEWS))

    count = page.evaluate(COUNT, SECONDS)

    assert count["busy"] <= 2 * SECONDS, count
    assert count["sent"] <= 2 * SECONDS, count
    assert count["frames"] >= 8 * SECONDS, count

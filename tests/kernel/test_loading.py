"""A real kernel: a long history shows a progress bar in the cell that waits, and removes it afterwards."""

from __future__ import annotations

from tests.kernel.test_kernel import CELL_SECONDS, kernel  # noqa: F401 - a fixture

# With the embedded market a page takes only a moment, so every load is made to count as long.
LOAD = """
import ipywidgets
import aries_nb as anb
from aries_nb.live import notebook
notebook.LONG_SECONDS = 0.0
feed = anb.connect("sim", rate=50)
print(len(feed.bars("SPY", "1min", history="130d")) > 20_000)
print(list(ipywidgets.widgets.widget._instances))
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


def test_a_long_history_shows_one_bar_and_leaves_nothing(kernel):  # noqa: F811 - the fixture
    said = []

    def hook(message):
        if message["msg_type"] in ("display_data", "update_display_data", "stream"):
            said.append(message["content"])

    reply = kernel.execute_interactive(LOAD, output_hook=hook, timeout=CELL_SECONDS)

    bar, gone = (each for each in said if "data" in each)
    texts = "".join(each["text"] for each in said if "text" in each)
    assert reply["content"]["status"] == "ok"
    assert WIDGET in bar["data"]
    assert "1min bars of SPY: back to" in bar["data"]["text/plain"]
    assert gone["data"] == {"text/html": ""}
    assert bar["transient"]["display_id"] == gone["transient"]["display_id"]
    assert texts.split() == ["True", "[]"]

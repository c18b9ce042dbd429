"""A real kernel without a front end: cells queued behind a nested loop run, a hundred charts leave nothing."""

from __future__ import annotations

import json

import pytest
from jupyter_client.manager import KernelManager

from tests.kernels import make_patient, manager_of

CELL_SECONDS = 150

MAKE_AND_CLOSE = """
import gc
import ipywidgets
import aries_nb as anb
from IPython.display import display

feed = anb.connect("sim", rate=200)
quotes = feed.quotes("AAPL", rows=1_000)
quotes.wait(rows=10)

def charts(count):
    for _ in range(count):
        chart = quotes.chart("bid_price", "ask_price")
        display(chart)
        chart.draw()
        chart.close()

def figures():
    gc.collect()
    return sum(type(thing).__name__ == "LiveFigure" for thing in gc.get_objects())

def resident():
    gc.collect()
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean"))) / 1024

charts(20)
before = (len(ipywidgets.widgets.widget._instances), resident())
"""
HUNDRED = """
charts(100)
after = (len(ipywidgets.widgets.widget._instances), resident())
import json
print(json.dumps({"widgets": [before[0], after[0]], "megabytes": [before[1], after[1]], "figures": figures()}))
"""
NESTED = """
import asyncio, aries_nb as anb
async def answer():
    await asyncio.sleep(0.2)
    return 42
print(anb.run(answer()))
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A client of a kernel of this Python."""
    monkeypatch.setenv("IPYTHONDIR", make_patient(tmp_path / "ipython"))
    manager = manager_of(KernelManager)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=CELL_SECONDS)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def printed(client, code):
    """The printed text of a cell; its other messages are read and dropped."""
    texts = []

    def hook(message):
        if message["msg_type"] == "stream":
            texts.append(message["content"]["text"])

    reply = client.execute_interactive(code, output_hook=hook, timeout=CELL_SECONDS)
    assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", []))
    return "".join(texts)


def test_a_hundred_charts_leave_nothing_behind(kernel, record_property):
    printed(kernel, MAKE_AND_CLOSE)

    left = json.loads(printed(kernel, HUNDRED))

    record_property("left", left)
    assert left["widgets"][0] == left["widgets"][1]
    assert left["figures"] == 0, left
    assert left["megabytes"][1] - left["megabytes"][0] < 50


def test_cells_queued_behind_a_nested_loop_all_run(kernel):
    requests = [kernel.execute(NESTED), *(kernel.execute(f"ran_{number} = True") for number in range(5))]

    replies = []
    while len(replies) < len(requests):
        reply = kernel.get_shell_msg(timeout=CELL_SECONDS)
        if reply["parent_header"].get("msg_id") in requests:
            replies.append(reply["content"]["status"])
    count = printed(kernel, "print(sum(name.startswith('ran_') for name in globals()))")

    assert replies == ["ok"] * 6
    assert count.strip() == "5"

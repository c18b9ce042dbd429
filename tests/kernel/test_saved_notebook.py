"""A saved notebook contains no token, not in its widgets' state, logs at DEBUG or errors with locals."""

from __future__ import annotations

import os
import re

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from aries_nb.sim import SimOptions, Simulator
from tests.kernels import make_patient, manager_of

CELL_SECONDS = 150
WIDGETS = "application/vnd.jupyter.widget-state+json"
COLOURS = re.compile(r"\x1b\[[\d;]*m")
TOKEN = "a-token-called-hunter2"

CELLS = [
    """
    %xmode Verbose
    import logging, os, time
    logging.basicConfig(level=logging.DEBUG)
    import aries_nb as anb
    feed = anb.connect("aries", url=os.environ["SIMULATED"])
    feed
    """,
    """
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=20)
    quotes
    """,
    """quotes.chart("bid_price", "ask_price")""",
    """feed.book("AAPL").wait()""",
    """
    account = feed.account("ACC-1")
    account.positions.wait()
    account
    """,
    """account.dashboard()""",
    """feed.trades("AAPL", endpoint="charts").wait()""",
    """
    while feed.stats().renewals < 3:
        time.sleep(0.02)
    print(feed, feed.stats(), feed.accounts)
    """,
    """anb.connect("aries", url=os.environ["SIMULATED"], token=lambda: os.environ["ARIES_NB_TOKEN"] + "!")""",
    """feed.quotes("NO-SUCH")""",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The notebook after a run in a kernel that has the token in its environment."""
    folder = tmp_path_factory.mktemp("saved")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(unindented(cell)) for cell in CELLS])
    kernels = manager_of(AsyncKernelManager)
    options = SimOptions(rate=200, token=TOKEN, session_seconds=2.0, warn_seconds=1.0)
    with Simulator(options) as sim:
        client = NotebookClient(notebook, km=kernels, timeout=CELL_SECONDS, allow_errors=True, store_widget_state=True)
        client.resources = {"metadata": {"path": str(folder)}}
        own = {"IPYTHONDIR": make_patient(folder / "ipython"), "ARIES_NB_TOKEN": TOKEN, "SIMULATED": sim.url}
        return client.execute(cleanup_kc=True, env=os.environ | own)


def unindented(cell):
    return "\n".join(line.removeprefix("    ") for line in cell.strip().splitlines())


def failures(notebook):
    return [output for cell in notebook.cells for output in cell.outputs if output.output_type == "error"]


def test_it_holds_the_views_a_log_at_debug_and_errors_with_locals(saved):
    text = nbformat.writes(saved)

    assert [failure.ename for failure in failures(saved)] == ["TokenError", "UnknownSymbolError"]
    assert len(saved.metadata.widgets[WIDGETS]["state"]) > 10
    assert "DEBUG:" in text
    assert "timeout = 15.0" in COLOURS.sub("", "\n".join(failures(saved)[0].traceback))


def test_it_holds_no_token(saved):
    text = nbformat.writes(saved)

    assert text.count("hunter2") == 0


def test_it_is_small_whatever_the_number_of_charts(saved):
    states = [model["state"] for model in saved.metadata.widgets[WIDGETS]["state"].values()]

    charts = [state for state in states if state.get("_widget_data")]
    assert len(charts) == 2
    assert max(len(str(state)) for state in states) < 200_000
    assert len(nbformat.writes(saved)) < 1_000_000

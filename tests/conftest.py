"""Fixtures and hooks of all tests: fixed seeds, recorded markets, and the order of the rooms."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import hypothesis
import pytest

from tests.net.patience import be_patient
from tests.tapes import write_tapes

# nbformat's import makes grammars of addresses for a second in each process, which it needs for no notebook.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

BROWSER = "tests/browser/"
BROWSERS = 2  # workers that have a notebook server and a browser
LONG = {
    *(f"browser {number}" for number in range(BROWSERS)),
    *("tests/test_types.py", "tests/bench/test_bench.py", "tests/notebooks/test_notebooks.py"),
    *("tests/kernel/test_ends.py", "tests/hostile/test_hostile.py", "tests/wheel/test_wheel.py"),
}
RUNNING = pytest.StashKey[Path]()

# The same examples in every run, so that a failure is repeated; the blob reproduces one in isolation.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    # Processes that a shell starts in the background ignore SIGINT, and so would the servers that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not is_worker(config):
        folder = TemporaryDirectory()
        config.stash[RUNNING] = Path(folder.name)
        config.add_cleanup(folder.cleanup)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without looking for garbage, which takes a quarter of the time: what is imported stays.

    Workers begin at different folders. Each finds compiled what another has collected before, and the tests are sorted
    afterwards.
    """
    config = session.config
    if is_worker(config) and config.args == config.getini("testpaths"):
        tests = config.rootpath / "tests"
        places = sorted(map(str, [*tests.glob("[a-z]*/"), *tests.glob("test_*.py")]))
        worker: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
        first = len(places) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        config.args = places[first:] + places[:first]
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_report_header() -> str:
    return "seeds: hypothesis is derandomized"


def is_worker(config: pytest.Config) -> bool:
    """Whether this is a worker process of xdist, which the process that prints the summary has started."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(
    tryfirst=True
)  # xdist reads the marks in the same hook, and before a conftest's unless it is marked so
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests: each file for one worker, the files of browser tests for two, and those that must run alone.

    The longest groups come first, so that the other workers run the rest meanwhile; what must run alone comes last.
    """
    items.sort(key=lambda item: (place(item), item.path))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))


def place(item: pytest.Item) -> int:
    """The place of a test's group in the order of the groups."""
    return 2 if group(item) == "alone" else 0 if group(item) in LONG else 1


def group(item: pytest.Item) -> str:
    """The name of the group that one worker runs from its first test to its last."""
    if item.get_closest_marker("alone"):
        return "alone"
    file = item.nodeid.partition("::")[0]
    is_of_browser = file.startswith(BROWSER) or item.get_closest_marker("browser")
    return f"browser {crc32(file.encode()) % BROWSERS}" if is_of_browser else file


# xdist shuts a worker down when there is no group left for it. Which workers are running is known to the process that
# started them; it keeps a file for each.


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, as the next one
def pytest_configure_node(node: Any) -> None:
    node.workerinput["running"] = str(node.config.stash[RUNNING])
    (node.config.stash[RUNNING] / node.gateway.id).touch()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    (node.config.stash[RUNNING] / node.gateway.id).unlink()


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that must run alone wait until every other worker has ended, before its timeout begins."""
    if item.get_closest_marker("alone") and is_worker(item.config):
        running = Path(item.config.workerinput["running"])  # type: ignore[attr-defined]
        while len(list(running.iterdir())) > 1:
            time.sleep(0.05)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remove the group, which xdist adds to a test's name, so that printed names and --last-failed can be run again."""
    if "PYTEST_XDIST_WORKER" not in os.environ and report.nodeid.rfind("@") > report.nodeid.rfind("]"):
        report.nodeid = report.nodeid.rpartition("@")[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            place = Path(report.location[0]).parent.name
            seconds[place] += report.duration
    spent = ", ".join(f"{place} {total:.0f}" for place, total in seconds.most_common())
    terminalreporter.write_line(f"seconds: {spent}")


@pytest.fixture(scope="session", autouse=True)
def patience() -> Generator[None]:
    """Let `wait()` and calls that wait for a server do so for a minute, unless a test says how long."""
    with pytest.MonkeyPatch.context() as patch:
        be_patient(patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def garbage() -> None:
    """Exclude objects from before a file, such as thousands of tests and all of plotly, from each `gc.collect()`."""
    gc.freeze()


@pytest.fixture(scope="session")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recorded markets: aapl_quotes, eurusd_quotes, btcusdt_trades and xrpusdt_book, made by a seed."""
    folder = tmp_path_factory.mktemp("tapes")
    write_tapes(folder)
    return folder

"""What all tests share: fixed seeds, recorded markets, and the order in which rooms are tested."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.tapes import write_tapes

IN_BROWSER = "tests/browser/"
LONG = (IN_BROWSER, "tests/test_types.py")
# What counts frames, drags with a mouse while figures are redrawn, or looks at how much waits to be read.
ALONE = (
    "tests/browser/test_frames.py",
    "tests/browser/test_first_light.py",
    "tests/kernel/test_alor_busy_cell.py",
)

# The same examples in every run, so that a failure is found again; the blob reproduces one in isolation.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")


def pytest_configure() -> None:
    # A shell keeps SIGINT from what it puts into the background, and so would the servers that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return "seeds: hypothesis is derandomized"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=place)


def place(item: pytest.Item) -> int:
    """First what takes longest, so that the other workers do the rest meanwhile; last what counts frames."""
    if item.nodeid.startswith(ALONE):
        return 2
    return 0 if item.nodeid.startswith(LONG) else 1


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the files out to the workers in their order; what needs a browser goes to one of them.

    What counts frames is alone at the end: the worker that is the last to have work gets it, when the others are done
    or at their last tests.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _reschedule(self, node: Any) -> None:
            others = [each for each in self.nodes if each is not node and not each.shutting_down]
            if list(self.workqueue) == [ALONE[0]] and others and not node.shutting_down:
                node.shutdown()
            else:
                super()._reschedule(node)

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            if file in ALONE:
                return ALONE[0]
            return IN_BROWSER if file.startswith(IN_BROWSER) else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            place = Path(report.location[0]).parent.name
            seconds[place] += report.duration
    spent = ", ".join(f"{place} {total:.0f}" for place, total in seconds.most_common())
    terminalreporter.write_line(f"seconds: {spent}")


@pytest.fixture(scope="module", autouse=True)
def garbage() -> None:
    """What is there before a file, as thousands of tests and all of plotly, is not looked at by each `gc.collect()`."""
    gc.freeze()


@pytest.fixture(scope="session")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recorded markets: aapl_quotes, eurusd_quotes, btcusdt_trades and xrpusdt_book, made by a seed."""
    folder = tmp_path_factory.mktemp("tapes")
    write_tapes(folder)
    return folder

"""What all tests share: fixed seeds, the recorded markets, and the order in which rooms are tested."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import hypothesis
import pytest

BROWSER = "tests/browser/"
ROOT = Path(__file__).parents[1]
TAPES = ROOT.parent / "shared" / "data"

# The same examples in every run, so that a failure is found again; the blob reproduces one in isolation.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")


def pytest_report_header() -> str:
    return "seeds: hypothesis is derandomized"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Playwright keeps an event loop running in the main thread until its fixture ends: nothing that calls `asyncio.run`
    # could follow. These tests are the slowest as well.
    items.sort(key=is_in_browser)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the files out to the workers in their order; all of the browser's tests go to one.

    They come last, when the other worker is done and the processors are theirs: some of them count frames.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return BROWSER if file.startswith(BROWSER) else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


def is_in_browser(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            place = Path(report.location[0]).parent.name
            seconds[place] += report.duration
    spent = ", ".join(f"{place} {total:.0f}" for place, total in seconds.most_common())
    terminalreporter.write_line(f"seconds: {spent}")


@pytest.fixture(scope="session")
def tapes() -> Path:
    """The folder of recorded markets, beside the checkout."""
    if not TAPES.is_dir():
        pytest.skip(f"no recorded markets: {TAPES} does not exist")
    return TAPES

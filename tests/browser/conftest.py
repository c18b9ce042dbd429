"""Fixtures of the browser tests: one server and one Chromium for all, a fresh page for each test, or a shared one.

Chromium ends with this folder's tests: Playwright keeps an event loop running in the main thread until then, and
nothing that calls `asyncio.run` could follow. The scope "package" takes the folder's `__init__.py`.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser import lab as harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
HERE = Path(__file__).parent

# Notebook 7.6 fails on plugins of JupyterLab that it does not include, on every page and before any cell has run.
NOT_OURS = ("Cannot read properties of undefined (reading 'schema')", "Command 'filebrowser:open-path' not registered.")

expect.set_options(timeout=30_000)  # as all other waits: a busy machine is slow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.LabServer]:
    """A Jupyter server on a copy of the notebooks; tests may write more of them into `lab.root`."""
    with harness.serve(NOTEBOOKS, tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if harness.find_chromium() is None:
        pytest.fail("no Chromium on PATH; `make test` installs one")
    with sync_playwright() as playwright, harness.chromium(playwright) as started:
        yield started


@contextmanager
def fresh_page(browser: Browser, lab: harness.LabServer, **screen: int) -> Iterator[Page]:
    """A page in a browser context of its own; at the end its kernels are shut down."""
    context = browser.new_context()
    try:
        with new_page(context, lab, **screen) as page:
            yield page
    finally:
        context.close()


def opened(context: BrowserContext) -> Page:
    """A page that looks ten times a second whether a condition holds.

    By default it looks in each animation frame, of which it makes sixty a second for that alone.
    """
    page = context.new_page()
    page.wait_for_function = partial(page.wait_for_function, polling=100)  # type: ignore[method-assign]
    return page


@contextmanager
def new_page(context: BrowserContext, lab: harness.LabServer, **screen: int) -> Iterator[Page]:
    """A page without scripts and listeners of others; at the end its kernels are shut down."""
    page = opened(context)
    page.set_viewport_size(screen or harness.VIEWPORT)
    try:
        yield page
    finally:
        page.close()
        lab.shut_down_kernels()


@pytest.fixture(scope="package")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """The browser context of all pages: what was loaded once is in its cache."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="package")
def tab(context: BrowserContext) -> Page:
    """The page in which JupyterLab stays loaded, which takes seconds of a processor; lent by `shared_page`."""
    return opened(context)


@contextmanager
def shared_page(tab: Page, lab: harness.LabServer, **screen: int) -> Iterator[Page]:
    """The shared page for tests that mind no script, cache or listener of earlier ones; at the end it is cleared."""
    tab.set_viewport_size(screen or harness.VIEWPORT)
    try:
        yield tab
    finally:
        harness.clear(tab, lab)


@pytest.fixture
def page(context: BrowserContext, lab: harness.LabServer) -> Iterator[Page]:
    """A page for one test."""
    with new_page(context, lab) as page:
        yield page


def errors_of(page: Page) -> list[str]:
    """List of a page's console errors and uncaught exceptions from now on; filled as they happen."""
    errors: list[str] = []

    def on_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} ({message.location.get('url', '')})")

    def on_exception(error: Error) -> None:
        if error.message not in NOT_OURS:
            errors.append(f"{error.message}\n{error.stack}")

    page.on("console", on_message)
    page.on("pageerror", on_exception)
    return errors


@pytest.fixture
def console_errors(page: Page) -> list[str]:
    """The errors of this test's page."""
    return errors_of(page)


@pytest.fixture
def open_notebook(page: Page, lab: harness.LabServer) -> Callable[..., None]:
    """`open_notebook("01_first_light.ipynb", app="lab"|"notebook", theme="light"|"dark")` in this test's page."""
    return partial(harness.open_notebook, page, lab)


@pytest.fixture
def screenshot(page: Page, tmp_path: Path) -> Callable[[str], Path]:
    """`screenshot(name)` saves a picture of the page in the test's folder and returns its path."""

    def take(name: str) -> Path:
        path = tmp_path / f"{name}.png"
        page.screenshot(path=path)
        return path

    return take

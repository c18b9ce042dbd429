"""Views that stay empty on the first Run All of notebook 01: a new page each time, also with the limit forced."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from playwright.sync_api import TimeoutError as TooLateError

from tests.browser.lab import open_notebook, run_all
from tests.views.stage import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.views.stage import Stage

NOTEBOOK = "01_first_light.ipynb"
PATIENCE_MS = 60_000
# anywidget gives a model two seconds to get ready: 20 ms here, on any machine.
IMPATIENT = """(() => {
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (ms) => timeout(ms === 2000 ? 20 : ms);
})()"""
# Views of the notebook that do not live yet: panels without a frame, figures without a trace. A picture of what was
# shown before counts where `isPicture` says so.
EMPTY = """(isPicture) => {
  const panels = [...document.querySelectorAll("[data-frames]")];
  const figures = [...document.querySelectorAll(".anb-figure")];
  const live = ".scatterlayer .trace, .cartesianlayer .trace, canvas";
  const have = (figure) => figure.querySelector(isPicture ? `${live}, img` : live);
  return [
    ...(panels.length < 3 ? ["panels missing"] : []),
    ...(figures.length < 2 ? ["figures missing"] : []),
    ...panels.filter((panel) => panel.dataset.frames === "0").map((panel) => panel.className),
    ...figures.filter((figure) => !have(figure)).map((figure) => figure.className),
  ];
}"""


def measure(stage: Stage) -> Iterator[Row]:
    """The share of views that stay empty, on the first Run All of notebook 01."""
    for what, many, script in (
        ("first Run All of 01, views that stay empty", stage.times(20, 2), ""),
        ("the same with anywidget's limit at 20 ms", stage.times(4, 1), IMPATIENT),
    ):
        empty, slowest = 0, 0.0
        for _ in range(many):
            with stage.page(width=1180, height=3000) as page:
                if script:
                    page.add_init_script(script)
                open_notebook(page, stage.lab, NOTEBOOK)
                missing, seconds = run(page)
            empty += bool(missing)
            slowest = max(slowest, seconds)
        yield Row(what, f"{empty} of {many} (all whole after {slowest:.1f} s at most)", f"0 of {many}", empty == 0)


def run(page: Page) -> tuple[list[str], float]:
    """Run all cells; return the views that are still empty afterwards, and the seconds until none was."""
    started = time.monotonic()
    run_all(page, wait=False)
    with suppress(TooLateError):
        page.wait_for_function(f"() => !({EMPTY})().length", timeout=PATIENCE_MS)
    return page.evaluate(EMPTY), time.monotonic() - started

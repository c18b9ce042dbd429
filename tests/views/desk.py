"""A desk beside 2,000 messages a second: frames of each of its views and of the page, and the kernel's processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.lab import open_notebook, outputs, run_all, run_cell
from tests.views.stage import Row, frame_rates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.views.stage import Stage

RATE = 2_000
START = f"""
import time
import aries_nb as anb
feed = anb.connect("sim", rate={RATE}, seed=7)
desk = feed.desk("AAPL", "MSFT", "NVDA", "AMZN")
desk
"""
SPENT = "print(time.perf_counter(), time.process_time(), feed.ledger['received'].sum())"
ARE_DRAWN = """() => {
  const views = [...document.querySelectorAll('.anb-desk-place [data-frames]')];
  return views.length > 3 && views.every(({ dataset }) => dataset.frames !== '0');
}"""
VIEWS = "[...document.querySelectorAll('.anb-desk-place [data-frames]')]"
COUNTS = f"() => {VIEWS}.map(({{ dataset }}) => Number(dataset.frames))"
NAMES = f"""() => {VIEWS}
  .map((node) => [...node.classList].find((name) => !/^(anb-freezable|aries-nb|anb-root)$/.test(name)))"""
LEAST, LEAST_PAGE = 8.0, 30.0
BAR = "anb-playback"  # the timeline at its foot, which moves four times a second


def measure(stage: Stage) -> Iterator[Row]:
    """The frames of a desk's views, beside a busy feed."""
    name = stage.write("desk_beside.ipynb", [START])
    with stage.page(width=1600, height=1300) as page:
        open_notebook(page, stage.lab, name)
        run_all(page, timeout=90)
        page.wait_for_function(ARE_DRAWN, timeout=60_000)
        page.wait_for_timeout(3_000)
        spent = []
        for place in (1, 2):
            run_cell(page, SPENT)
            spent.append([float(each) for each in str(outputs(page, -1)[0]["text"]).split()])
            if place == 1:
                page.evaluate("() => document.querySelector('.anb-desk-box').scrollIntoView()")
                page.wait_for_timeout(1_000)
                names = page.evaluate(NAMES)
                rates, whole, _ = frame_rates(page, COUNTS, stage.times(20, 6))
    seconds, cpu, received = (after - before for before, after in zip(*spent, strict=True))
    drawn = ", ".join(f"{name} {rate:.1f}" for name, rate in zip(names, rates, strict=True))
    moving = [rate for name, rate in zip(names, rates, strict=True) if name != BAR]
    slowest, views = min(moving), len(moving)
    yield Row(
        f"a desk of {views} views: slowest", f"{slowest:.1f} frames/s ({drawn})", f"≥ {LEAST:g}", slowest >= LEAST
    )
    yield Row(
        f"a desk of {views} views: page", f"{whole:.0f} frames/s", f"≥ {LEAST_PAGE:g}",
        whole >= LEAST_PAGE,
    )  # fmt: skip
    yield Row(
        f"a desk of {views} views: kernel",
        f"{cpu / seconds:.0%} of a processor at {received / seconds:,.0f} messages/s",
        "–",
        is_met=True,
    )

"""Reloads (F5) of notebook 01 with a live kernel: when all views are whole again, what travels, and the busy light."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from playwright.sync_api import TimeoutError as TooLateError

from tests.browser.lab import IS_OPEN, PANEL, RUN, open_notebook, run_all
from tests.views.first_run import EMPTY, NOTEBOOK, PATIENCE_MS
from tests.views.stage import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, WebSocket

    from tests.views.stage import Stage

__all__ = ["Reload", "Traffic", "reload", "save"]

MOST_SECONDS, MOST_BYTES, MOST_FLIPS = 3.0, 300_000, 2.0
MOST_MESSAGES = 16  # a second: one a pass of the painter
SECONDS = 5
IS_OF_WIDGETS = re.compile(rb'"msg_type": ?"comm_')
# Turns of the busy light, and messages of widgets sent by the page and received by it, in some seconds.
COUNT = f"""async (seconds) => {{
  const kernel = {PANEL}.sessionContext.session.kernel;
  const count = {{ busy: 0, sent: 0, received: 0 }};
  const status = (_, now) => (count.busy += now === "busy");
  const any = (_, {{ direction, msg }}) => {{
    if (msg.header.msg_type.startsWith("comm_")) count[direction === "send" ? "sent" : "received"]++;
  }};
  kernel.statusChanged.connect(status);
  kernel.anyMessage.connect(any);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  kernel.statusChanged.disconnect(status);
  kernel.anyMessage.disconnect(any);
  return count;
}}"""


class Traffic:
    """Sizes in bytes of the messages that the page receives and sends on its WebSockets, from the last `clear` on.

    `answers` are those of them that answer a page which was just opened: of widgets, but for the joined frames of views
    that have answered already.
    """

    def __init__(self, page: Page) -> None:
        self.received: list[int] = []
        self.answers: list[int] = []
        self.sent: list[int] = []
        page.on("websocket", self._listen)

    def clear(self) -> None:
        """Forget the messages up to now."""
        self.received.clear()
        self.answers.clear()
        self.sent.clear()

    @property
    def besides_a_script(self) -> int:
        """Bytes of the answers, but for the largest message, which holds an engine's script."""
        return sum(self.answers) - max(self.answers, default=0)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._receive)
        socket.on("framesent", lambda data: self.sent.append(len(data)))

    def _receive(self, data: str | bytes) -> None:
        self.received.append(len(data))
        start = (data if isinstance(data, bytes) else data.encode())[:4000]
        if IS_OF_WIDGETS.search(start) and b'"all"' not in start:
            self.answers.append(len(data))


class Reload(NamedTuple):
    """Views that stay empty after a reload, seconds until none was, and bytes of the answer besides one script.

    `opened`: seconds until JupyterLab has the notebook and its kernel; `pictured`: until each view shows something,
    which may be its picture of some seconds ago.
    """

    empty: list[str]
    opened: float
    pictured: float
    seconds: float
    bytes: int


def save(page: Page) -> None:
    """Save the notebook, so that a reload finds its outputs."""
    page.evaluate(RUN, "docmanager:save")
    page.wait_for_function("() => window.ariesRun.done", timeout=PATIENCE_MS)


def reload(page: Page, traffic: Traffic) -> Reload:
    """Press F5, and wait until all views of the notebook are whole."""
    traffic.clear()
    started = time.monotonic()
    page.reload(timeout=PATIENCE_MS)
    after = []
    for condition in (IS_OPEN, f"() => !({EMPTY})(true).length", f"() => !({EMPTY})().length"):
        with suppress(TooLateError):
            page.wait_for_function(condition, timeout=PATIENCE_MS)
        after.append(time.monotonic() - started)
    return Reload(page.evaluate(EMPTY), *after, traffic.besides_a_script)


def measure(stage: Stage) -> Iterator[Row]:
    """Views gone after a reload, the time until all are whole, bytes of the answer; messages of the page at rest."""
    many = stage.times(20, 3)
    with stage.page(width=1180, height=3000) as page:
        traffic = Traffic(page)
        open_notebook(page, stage.lab, NOTEBOOK)
        run_all(page)
        page.wait_for_function(f"() => !({EMPTY})().length", timeout=PATIENCE_MS)
        save(page)
        found = [reload(page, traffic) for _ in range(many)]
        page.wait_for_timeout(3_000)
        traffic.clear()
        count = page.evaluate(COUNT, SECONDS)
        received, sent = sum(traffic.received), sum(traffic.sent)
    gone = sum(bool(each.empty) for each in found)
    yield Row("reload (F5) of 01: views gone", f"{gone} of {many}", f"0 of {many}", gone == 0)
    for what, waits, most in (
        ("reload: JupyterLab itself has notebook and kernel after", [each.opened for each in found], None),
        ("reload: each view shows something after", [each.pictured for each in found], None),
        ("reload: all whole after", [each.seconds for each in found], MOST_SECONDS),
    ):
        median = sorted(waits)[len(waits) // 2]
        text = f"{median:.1f} s, {max(waits):.1f} s at most"
        yield Row(what, text, f"≤ {most:g} s quiet" if most else "–", most is None or median <= most)
    most = max(each.bytes for each in found)
    yield Row("reload: answer besides one script", f"{most / 1e3:,.0f} kB at most", "≤ 300 kB", most <= MOST_BYTES)
    flips = count["busy"] / SECONDS
    yield Row("busy light", f"{flips:.1f} a second", f"≤ {MOST_FLIPS:g} a second", flips <= MOST_FLIPS)
    text = f"{count['received'] / SECONDS:.1f} messages/s, {received / SECONDS / 1e3:,.0f} kB/s"
    is_met = count["received"] <= MOST_MESSAGES * SECONDS
    yield Row("kernel to the page", text, f"≤ {MOST_MESSAGES} messages/s", is_met)
    text = f"{count['sent'] / SECONDS:.1f} messages/s, {sent / SECONDS / 1e3:,.1f} kB/s"
    yield Row("page to the kernel", text, f"≤ {MOST_FLIPS:g} messages/s", count["sent"] <= MOST_FLIPS * SECONDS)

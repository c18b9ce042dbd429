"""The messages of all views to their pages: those of one pass of the painter as one, and of each only what changed.

A message costs the kernel, the notebook server and the browser about the same whatever its size, so the frames (updates
of a view's picture) that the painter's thread sends in one pass travel as one message, on the comm (the connection to
the browser) of one of the views. The page passes each part on, see `static/model.js`. Only views that have answered
take part: their page is known to do so. All others send by themselves, whole.
"""

from __future__ import annotations

import functools
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from aries_nb.model.clock import elapsed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FigureChanges", "FrameChanges", "Message", "Outbox", "WholeMessages", "get_outbox"]

LOG = logging.getLogger("aries_nb")

# Seconds of drawing after which what is drawn leaves, so that the first view does not wait for a slow last one.
MOST_HELD_S = 0.025
UPDATE = "_py2js_update"
LAST_EDIT = "_last_layout_edit_id"
# Edits that change no trace: after all others, lines are sent whole.
HARMLESS = (UPDATE, "_py2js_relayout", "_py2js_removeLayoutProps")


class Message(NamedTuple):
    """A message of ipywidgets to the browser: its JSON content and its binary parts."""

    data: dict[str, Any]
    buffers: list[Any]


class Sender(Protocol):
    """Sends the messages of one model, as far as the outbox uses it (an interface)."""

    model_id: str
    page: str | None

    @property
    def is_closed(self) -> bool:
        """Whether the model's connection was closed: what is sent on it then, the page throws away."""

    def send_now(self, message: Message) -> None:
        """Send `message` on the model's own connection to the browser."""


class Outbox:
    """Collects the messages that one thread sends within `one_pass`, and sends those for one page as one.

    Other threads' messages are never collected. `is_whole`: messages are sent whole at present, not only what changed.
    """

    def __init__(self) -> None:
        self._thread = 0
        self._since = 0.0
        self._parts: list[tuple[Sender, Message]] = []
        self._joined = 0
        self._problem = ""
        self.is_whole = False

    @contextmanager
    def one_pass(self, *, is_whole: bool = False) -> Iterator[None]:
        """Context manager of one pass of the painter, the thread that draws: at its end, what it sent leaves.

        `is_whole` is for the time of a running cell: a page that cannot use a change asks for the whole state, and the
        kernel does not answer then.
        """
        self.is_whole = is_whole
        self._thread, self._since = threading.get_ident(), elapsed()
        try:
            yield
        finally:
            self._thread = 0
            self._leave()

    def takes(self, sender: Sender, message: Message) -> bool:
        """Take `message` to be sent at the end of the pass; return False if it must be sent now.

        That is so outside a pass of this thread, and for a view that has not answered. What was taken of the same view
        leaves first then, and everything taken if the pass has lasted for 25 ms.
        """
        if self._thread != threading.get_ident():
            return False
        if sender.page is None:
            if any(each is sender for each, _ in self._parts):
                self._leave()
            return False
        self._parts.append((sender, message))
        if elapsed() - self._since > MOST_HELD_S:
            self._leave()
        return True

    def saved(self) -> int:
        """Return how many messages joining has saved since the last call."""
        saved, self._joined = self._joined, 0
        return saved

    def _leave(self) -> None:
        parts, self._parts, self._since = self._parts, [], elapsed()
        parts = [(sender, message) for sender, message in parts if not sender.is_closed]
        for page in dict.fromkeys(sender.page for sender, _ in parts):
            mine = [(sender, message) for sender, message in parts if sender.page == page]
            if len(mine) > 1:
                content = [[sender.model_id, message.data, len(message.buffers)] for sender, message in mine]
                buffers = [buffer for _, message in mine for buffer in message.buffers]
                joined = Message({"method": "custom", "content": {"all": content}}, buffers)
                if self._is_sent(mine[0][0], joined):
                    self._joined += len(mine) - 1
                    continue
            for sender, message in mine:  # also where one part cannot be sent: the others can
                self._is_sent(sender, message)

    def _is_sent(self, sender: Sender, message: Message) -> bool:
        """Send `message`; return False if that fails, as with a text that no UTF-8 has, and log why, once.

        Nothing is raised: the painter's thread goes on with all other views.
        """
        try:
            sender.send_now(message)
        except Exception as error:
            if repr(error) != self._problem:
                self._problem = repr(error)
                LOG.exception("a message to the page could not be sent")
            return False
        return True


@functools.cache
def get_outbox() -> Outbox:
    """Return the process's outbox, of which the painter, the one thread that draws, uses `one_pass`."""
    return Outbox()


class WholeMessages:
    """Shortens nothing: for models whose scripts take whole messages alone."""

    def forget(self) -> None:
        """Do nothing: each message is whole."""

    def shorten(self, message: Message, *, is_whole: bool) -> Message:  # noqa: ARG002
        """Return the message as it is; `is_whole` makes no difference."""
        return message


class FrameChanges:
    """Of a panel's frame, sends the values that differ from the frame before.

    The page must have that: `delta` names its number and length. A changed frame is the values, then their positions as
    unsigned 32-bit integers, little-endian.
    """

    def __init__(self) -> None:
        self._sent: np.ndarray | None = None

    def forget(self) -> None:
        """Send the next frame whole, because the page may not have the last one."""
        self._sent = None

    def shorten(self, message: Message, *, is_whole: bool) -> Message:
        """Return the message as it is to be sent: with the changes of the frame alone, unless `is_whole`."""
        paths = message.data.get("buffer_paths") or []
        if message.data.get("method") != "update" or ["frame"] not in paths:
            return message
        place = paths.index(["frame"])
        frame = np.frombuffer(message.buffers[place], "<u8")  # bits: NaN equals NaN
        before, self._sent = self._sent, frame
        if is_whole or before is None or len(before) != len(frame):
            return message
        changed = np.flatnonzero(frame != before)
        if 3 * len(changed) >= len(frame):  # twelve bytes each instead of eight
            return message
        delta = {"after": float(before[:1].view("<f8")[0]), "length": len(frame)}
        packed = frame[changed].tobytes() + changed.astype("<u4").tobytes()
        buffers = [packed if at == place else buffer for at, buffer in enumerate(message.buffers)]
        return Message({**message.data, "delta": delta}, buffers)


class FigureChanges:
    """Of a figure's lines, sends the points at their ends that are new, where the others are as they were.

    A line loses points at its beginning, which leave the window, and gets new ones at its end; the whole line is sent
    when it was thinned. `delta.lines` has for each such array of the update: position among the buffers, number of
    points to drop at the beginning and then to keep, number of points that the page must have.
    """

    def __init__(self) -> None:
        self._sent: dict[tuple[int, str], np.ndarray] = {}

    def forget(self) -> None:
        """Send all lines whole in the next update, because the page may not have the last ones."""
        self._sent = {}

    def shorten(self, message: Message, *, is_whole: bool) -> Message:
        """Return the message as it is to be sent: with the new points of its lines alone, unless `is_whole`."""
        state = message.data.get("state", {})
        if any(name.startswith("_py2js_") and name not in HARMLESS for name in state) or "_widget_data" in state:
            self.forget()
        update = state.get(UPDATE)
        if not update:
            return message
        buffers, lines, dropped = list(message.buffers), [], dict[int, int]()
        for place, (trace, name, line) in _lines(update, message):
            before = self._sent.get((trace, name))
            self._sent[trace, name] = line
            if is_whole or before is None:
                continue
            if name == "x":
                dropped[trace] = int(np.searchsorted(before.view("<f8"), line[:1].view("<f8")[0])) if len(line) else 0
            first = dropped.get(trace, 0)
            alike = _alike(before[first:], line)
            if 2 * alike > len(line):
                lines.append([place, first, alike, len(before)])
                buffers[place] = line[alike:].tobytes()
        if not lines:
            return message
        return Message({**message.data, "delta": {"lines": lines}}, buffers)


def _alike(before: np.ndarray, line: np.ndarray) -> int:
    """Return how many values at the beginning of both are the same."""
    length = min(len(before), len(line))
    differ = np.flatnonzero(before[:length] != line[:length])
    return int(differ[0]) if len(differ) else length


def _lines(update: dict[str, Any], message: Message) -> Iterator[tuple[int, tuple[int, str, np.ndarray]]]:
    """Yield the float arrays of plotly's message `update`: place among the buffers; trace, property, and the bits.

    x comes before other properties.
    """
    traces, found = update.get("style_traces"), []
    for place, path in enumerate(message.data.get("buffer_paths") or []):
        if len(path) != 5 or path[:2] != [UPDATE, "style_data"] or not isinstance(traces, list):
            continue
        _, _, name, at, _ = path
        if update["style_data"][name][at].get("dtype") == "float64":
            found.append((place, (traces[at], name, np.frombuffer(bytes(message.buffers[place]), "<u8"))))
    return iter(sorted(found, key=lambda each: each[1][1] != "x"))

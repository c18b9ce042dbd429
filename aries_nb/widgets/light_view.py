"""Base of the light views: charts drawn on a canvas by uPlot and a script of ours, which a page loads once.

A frame (one update of a view's picture) is one message with what changed: of each column the rows dropped at its front,
those kept, and those appended. A page that misses one asks for the state, which holds all rows.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aries_nb.model.clock import wall_ns
from aries_nb.widgets.anywidget_view import PanelWidget, ScriptView
from aries_nb.widgets.page_script import static_text
from aries_nb.widgets.widget_model import ScriptedModel, loader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aries_nb.model import Numbers
    from aries_nb.widgets.sources import VersionedSource

__all__ = ["Block", "LightContent", "LightView", "packed"]

# Columns of equal length; the first one does not decrease.
Block = tuple["Numbers", ...]

MOST_TRIED = 8  # positions at which equal first values may continue


class LightContent(NamedTuple):
    """What a light view shows.

    `description` is what seldom changes, plain JSON; `blocks` are the numbers, whose meaning the description says.
    """

    description: dict[str, object]
    blocks: list[Block]


@functools.cache
def light_code() -> str:
    """Return the script of all light views: uPlot, ours, and the styles of both."""
    style = static_text("uplot/uPlot.min.css", "shared.css", "light.css")
    script = static_text(
        "uplot/uPlot.iife.min.js", "model.js", "freeze.js", "shared.js", "light_scales.js", "light.js", "light_sheet.js"
    )
    return f"const STYLE = {json.dumps(style)};\n{script}"


@functools.cache
def light_script() -> bytes:
    """Return the script of all light views as a page gets it: gzipped."""
    return gzip.compress(light_code().encode(), 6, mtime=0)


# Two versions of the package in one page must not share a script.
LIGHT_KEY = f"aries_nb.light.{hashlib.sha256(light_code().encode()).hexdigest()[:16]}"


class LightWidget(ScriptedModel, PanelWidget):
    """The model of a light view in the browser.

    Its traits `description` and `frame` are not set in the kernel: its state holds those of the view at that time.
    """

    page_script = loader(LIGHT_KEY, "light_model.js")
    _esm = page_script.stub
    script_key = LIGHT_KEY

    def __init__(self) -> None:
        self._contents: Callable[[], dict[str, object]] | None = None
        super().__init__()

    def shows(self, contents: Callable[[], dict[str, object]]) -> None:
        """Take the values of the traits `description` and `frame` from `contents`, called with the view's lock held."""
        self._contents = contents

    def close(self) -> None:
        """Close the model in kernel and browser; it cannot be opened again."""
        with self._view_lock:
            super().close()
            self._contents = None

    def _script(self, key: str) -> list[bytes]:  # noqa: ARG002  # there is one
        return [light_script()]

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401, FBT001, FBT002
        """Return the values of the synced traits by name, with the view's present description and frame.

        `key` names one trait or several, None means all; `drop_defaults` leaves out those with their default value.
        """
        with self._view_lock:
            state = super().get_state(key, drop_defaults)
            contents = {} if self._contents is None else self._contents()
            return state | {name: value for name, value in contents.items() if name in state}


class LightView(ScriptView):
    """A view drawn by the light engine. It has no figure; the user's zoom stays in the page."""

    def __init__(self, source: VersionedSource) -> None:
        self._content = LightContent({}, [])
        self._drawn_ms = 0.0
        widget = LightWidget()
        super().__init__(source, widget)
        self._light_widget = widget
        widget.shows(self._state)

    @abstractmethod
    def content(self) -> LightContent:
        """Return what shows the source's present data; called with `lock` held, or by a sheet with its own."""

    def _draw(self) -> int:
        before, new = self._content, self.content()
        is_described = new.description != before.description
        changes = [_changed(old, block) for old, block in zip(before.blocks, new.blocks, strict=False)]
        is_same = len(before.blocks) == len(new.blocks) and all(
            drop == 0 and keep == len(old[0]) == len(block[0])
            for (drop, keep), old, block in zip(changes, before.blocks, new.blocks, strict=True)
        )
        if self.frames and is_same and not is_described:
            return 0
        self.frames += 1
        self._content, self._drawn_ms = new, wall_ns() / 1e6
        if not self._widget.is_open:
            return 0  # the whole content is in the state with which it opens
        message: dict[str, object] = {"frame": self.frames}
        if is_described:
            message["description"] = new.description
        changes += [(0, 0)] * (len(new.blocks) - len(changes))
        head = (self.frames, self._drawn_ms, self.frames - 1)
        self._widget.send(message, buffers=[packed(head, new.blocks, changes)])
        return 1

    def _state(self) -> dict[str, object]:
        head = (self.frames, self._drawn_ms, 0)
        whole = [(0, 0)] * len(self._content.blocks)
        return {"description": self._content.description, "frame": packed(head, self._content.blocks, whole)}

    def _on_message(self, widget: object, content: object, buffers: object) -> None:
        if isinstance(content, dict) and content.get("want") == "script":
            self._light_widget.send_script(LIGHT_KEY)
        super()._on_message(widget, content, buffers)

    def _before_open(self) -> None:
        super()._before_open()
        self._light_widget.static_picture = self._static_html()


def packed(head: Sequence[float], blocks: Sequence[Block], changes: Sequence[tuple[int, int]]) -> bytes:
    """Return a frame as bytes, little-endian float64.

    They are the three of `head` (the frame's number, the kernel's clock in epoch milliseconds, the number of the frame
    before it, 0 where the frame is whole), the number of blocks, of each block its number of columns and of rows
    dropped at the front, kept after them, and appended, and of each block the appended rows, column by column.
    `changes` are the rows dropped and kept of each block.
    """
    heads = [
        (len(block), drop, keep, len(block[0]) - keep) for block, (drop, keep) in zip(blocks, changes, strict=True)
    ]
    rows = [column[keep:] for block, (_, keep) in zip(blocks, changes, strict=True) for column in block]
    numbers = [*head, len(blocks), *(number for each in heads for number in each)]
    return np.concatenate([np.array(numbers, dtype="<f8"), *rows]).astype("<f8", copy=False).tobytes()


def _changed(old: Block, new: Block) -> tuple[int, int]:
    """Return how many rows of the block `old` are dropped at its front, and how many after them are kept in `new`."""
    if len(old) != len(new) or not len(old[0]) or not len(new[0]):
        return 0, 0
    first = int(np.searchsorted(old[0], new[0][0], side="left"))
    last = int(np.searchsorted(old[0], new[0][0], side="right"))
    tried = [(drop, _equal_rows(old, new, drop)) for drop in range(first, min(last, first + MOST_TRIED))]
    return max(tried, key=lambda each: each[1], default=(0, 0))


def _equal_rows(old: Block, new: Block, drop: int) -> int:
    """Return how many rows of `old` from `drop` on are those at the beginning of `new`; NaN equals NaN."""
    count = min(len(old[0]) - drop, len(new[0]))
    for before, after in zip(old, new, strict=True):
        if before is after and not drop:
            continue
        a, b = before[drop : drop + count], after[:count]
        is_other = (a != b) & ~(np.isnan(a) & np.isnan(b))
        if is_other.any():
            count = int(is_other.argmax())
    return count

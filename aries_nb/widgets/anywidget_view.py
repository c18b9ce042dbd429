"""Views with scripts of our own: an anywidget with one synced binary trait, so that a frame is one message.

A frame is one update of a view's picture. The newest frame is the widget's state: a tab that opens again, a second
display and a saved notebook all show it. The frame's number is its first value. The browser answers {"ack": number,
"waited": ms}: the number of the newest frame that it has painted, and the time from that paint to the answer. It
answers once a second for all views of a page, at once where the kernel waits for it, so the kernel subtracts `waited`
to get the time of the paint.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import traitlets

from aries_nb.model.clock import elapsed, wall_ns
from aries_nb.widgets.page_script import PageScript, static_text
from aries_nb.widgets.sources import ClockedSource
from aries_nb.widgets.transport import FrameChanges
from aries_nb.widgets.view import View
from aries_nb.widgets.widget_model import SHARED, LateModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.model import Numbers
    from aries_nb.widgets.row_updates import RowUpdate
    from aries_nb.widgets.sources import VersionedSource

__all__ = ["Panel", "PanelFrame", "PanelWidget", "ScriptView", "panel_class"]

MOST_OFF_MS = 500.0  # by which a page's market time may be wrong
WINDOWED = ("blotter", "board", "tape")  # of their tables the page holds the rows in sight alone


class PanelWidget(LateModel):
    """The model of one panel (a view drawn by a script of our own) in the browser.

    Traits: `description` (dict, default {}), names, columns and decimals, which seldom change; `frame` (bytes,
    default b""), little-endian float64: frame number, kernel's clock in epoch milliseconds, then the panel's values;
    `pace` (number, default None), of a replay how many times faster than the page's clock the time in the frame goes
    on, which is then the market's; `problem` (text, default ""), why the last drawing failed; `rows` (dict, default
    {}), of a table what changed in its
    rows since the frame before (see `row_updates`). A page that asks for the state gets all rows of `whole_rows`.
    """

    description = traitlets.Dict(help="Names, columns, decimals: what seldom changes; default {}.").tag(sync=True)
    frame = traitlets.Bytes(
        b"", help="Little-endian float64; the first value is the frame's number; default empty."
    ).tag(sync=True)
    pace = traitlets.Float(None, allow_none=True, help="How fast the time of a replay goes on; default None.").tag(
        sync=True
    )
    problem = traitlets.Unicode("", help="Why the last drawing failed; empty when it did not.").tag(sync=True)
    rows = traitlets.Dict(help="What changed in the rows of a table; default {}.").tag(sync=True)
    whole_rows: Callable[[], RowUpdate] = dict
    _is_update = False

    def _changes(self) -> FrameChanges:
        return FrameChanges()

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Context manager that sends the traits set in its block as one message, and of `rows` only the change."""
        self._is_update = True
        try:
            with self.hold_sync():
                yield
        finally:
            self._is_update = False

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401, FBT001, FBT002
        """Return the values of the panel's synced traits by name; of a table all rows, unless it is `updating`.

        `key` names one trait or several, None means all; `drop_defaults` leaves out those with their default value.
        """
        state = super().get_state(key, drop_defaults)
        if "rows" in state and not self._is_update:
            state["rows"] = self.whole_rows()
        return state


@functools.cache
def panel_class(name: str) -> type[PanelWidget]:
    """Return the widget class with the script `name`.js and the style `name`.css, files of the folder static/.

    Script and style are strings, not paths: anywidget connects a widget whose script is a path to a class-level
    signal, and such a widget is never freed. Each name has one class, made by the first call.
    """
    parts = ("model", "freeze", "shared", *(("windowed_table",) if name in WINDOWED else ()), name)
    style = static_text(*(f"{part}.css" for part in parts if part != "freeze"))
    script = PageScript(static_text(*(f"{part}.js" for part in parts)), style)
    body = {"page_script": script, "_esm": script.stub, "__module__": __name__}
    return type(f"{name.title()}Widget", (PanelWidget,), body)


@dataclass(frozen=True, slots=True)
class PanelFrame:
    """One frame (an update of a panel's picture) before it is packed into bytes.

    `description`: what seldom changes, plain JSON; `head`: values whose number is fixed for each kind of panel;
    `body`: the numbers, any shape. The packed frame is its number, the kernel's clock in epoch milliseconds, the
    head, and the body row by row. `rows`: of a table what changed in its rows, None if nothing did.
    """

    description: dict[str, object]
    head: tuple[float, ...]
    body: Numbers
    rows: RowUpdate | None = None


class ScriptView(View):
    """A view drawn by a script of our own, whose widget is a PanelWidget; base of panels and of light charts."""

    def __init__(self, source: VersionedSource, widget: PanelWidget) -> None:
        super().__init__(source)
        self._is_answered = False
        self._widget = widget
        widget.belongs_to(self.lock, self._before_open, self._repr_mimebundle_)
        widget.on_msg(self._on_message)

    @property
    def widget(self) -> PanelWidget:
        """The anywidget that shows this view."""
        return self._widget

    @property
    def is_painted(self) -> bool:
        """Whether a page has painted a frame of it."""
        return self._is_answered

    def _before_open(self) -> None:
        self.draw()

    def _show_problem(self, text: str) -> int:
        self._widget.problem = text
        return 1

    def _release(self) -> None:
        self._widget.on_msg(self._on_message, remove=True)
        layout = self._widget.layout
        self._widget.close()
        layout.close()

    def _on_message(self, _: object, content: object, __: object) -> None:
        """Handle the custom message `content` of the browser, on the kernel's thread for it.

        Anything malformed is ignored.
        """
        if not isinstance(content, dict):
            return
        if content.get("want") == "state":
            self._widget.forget_sent()
            self._widget.send_state(("description", "frame", "pace", "problem", "rows", *SHARED))
        elif content.get("want") == "keeper":
            self._widget.send_keeper()
        number = content.get("ack")
        self._is_answered |= isinstance(number, int)
        self._on_report(content, max(0, self.frames - number) if isinstance(number, int) else None)


class _FrameTime(NamedTuple):
    """The time by which a page counts ages: `ms` since the epoch, at `at` of elapsed time, and how fast it goes on.

    It is the market time of a replay, which has a `pace`, and else the kernel's clock.
    """

    ms: float
    pace: float | None
    at: float

    @classmethod
    def of(cls, source: VersionedSource) -> _FrameTime:
        """Return the present time of a source."""
        clock = source.clock if isinstance(source, ClockedSource) else None
        if clock is None or clock.pace is None:
            return cls(wall_ns() / 1e6, None, elapsed())
        return cls(clock.now_ns() / 1e6, clock.pace, elapsed())

    def follows(self, before: _FrameTime) -> bool:
        """Whether a page that got the time `before` has come to this one by itself."""
        if self.pace is None or self.pace != before.pace:
            return self.pace == before.pace
        return abs(before.ms + (self.at - before.at) * 1e3 * self.pace - self.ms) <= MOST_OFF_MS * max(self.pace, 1.0)


class Panel(ScriptView):
    """A view drawn by a script of our own; `script` is the name of its files in static/, without ".js" and ".css"."""

    script: ClassVar[str]

    def __init__(self, source: VersionedSource) -> None:
        super().__init__(source, panel_class(self.script)())
        #: Called on the kernel's thread with the symbol that a user clicks on in a table; None: they are no buttons.
        self.on_pick: Callable[[str], object] | None = None
        self.picked = ""
        self._content: object = None
        self._time = _FrameTime(math.nan, None, 0.0)  # of the newest frame

    @abstractmethod
    def _compose(self) -> PanelFrame:
        """Return the frame (description and numbers) that shows the source's present data; called with `lock` held."""

    def _on_message(self, widget: object, content: object, buffers: object) -> None:
        super()._on_message(widget, content, buffers)
        if self.on_pick is not None and isinstance(content, dict) and isinstance(content.get("pick"), str):
            self.on_pick(content["pick"])

    def _draw(self) -> int:
        new, time = self._compose(), _FrameTime.of(self._source)
        if self.on_pick is not None:
            new = replace(new, description={**new.description, "picks": True, "picked": self.picked})
        content = (new.head, new.body.tobytes())
        is_same = content == self._content and new.description == self._widget.description and new.rows is None
        if is_same and time.follows(self._time):
            return 0
        self._content, self._time = content, time
        self.frames += 1
        head = np.asarray([self.frames, time.ms, *new.head], dtype="<f8")
        frame = np.concatenate([head, new.body.ravel()]).astype("<f8", copy=False).tobytes()
        # Both under one hold_sync: description and numbers must not be seen apart, and one frame is one message.
        with self._widget.updating():
            self._widget.pace = time.pace
            if new.description != self._widget.description:
                self._widget.description = new.description
            elif not self._is_answered:
                # The page may have lost the message with the description while it started.
                self._widget.send_again("description")
            if new.rows is not None:
                self._widget.rows = new.rows
            self._widget.frame = frame
        return 1

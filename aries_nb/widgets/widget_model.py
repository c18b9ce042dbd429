"""Widget models that the browser learns of when they are first referenced, with the frame of that moment.

ipywidgets opens a model in its constructor, empty, and everything afterwards is an update; a page that is slow to start
loses updates. A model of ours is opened by the first use of its `model_id` (a display, a layout box), after its view
has drawn itself.

Every private name of ipywidgets and anywidget that the package relies on is used in this module and, in the browser,
in static/model.js.
"""

from __future__ import annotations

import re
import threading
from importlib import resources
from typing import TYPE_CHECKING, Any

import anywidget

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LateModel", "static_text"]

# Comments are for readers of the source; the browser gets lines of code.
COMMENT_LINES = re.compile(r"^ *//.*\n", re.MULTILINE)


def static_text(*names: str) -> str:
    """Return the files of the folder static/ as one text."""
    folder = resources.files("aries_nb.widgets") / "static"
    return COMMENT_LINES.sub("", "".join((folder / name).read_text("utf-8") for name in names))


class LateModel(anywidget.AnyWidget):
    """An anywidget model that is opened when its `model_id` is first read; any thread may call its methods.

    `view_lock` guards the state: what the browser asks for on the kernel's thread is never half of a frame.
    """

    def __init__(self, *positional: Any, **named: Any) -> None:  # noqa: ANN401
        self._view_lock = threading.RLock()
        self._is_openable = False
        self._before_open: Callable[[], object] | None = None
        super().__init__(*positional, **named)
        self._is_openable = True

    def belongs_to(self, lock: threading.RLock, before_open: Callable[[], object]) -> None:
        """Take the view's lock as the model's own; call `before_open` before the browser learns of the model."""
        self._view_lock, self._before_open = lock, before_open

    @property
    def model_id(self) -> str:
        """The model's id; the model is opened by reading it."""
        with self._view_lock:
            if self.comm is None and self._is_openable and self._before_open is not None:
                self._before_open()
            self.open()
            return str(super().model_id)

    @property
    def is_open(self) -> bool:
        """Whether the browser knows of the model."""
        return self.comm is not None

    def open(self) -> None:
        """Open the model with its present state; ipywidgets' own constructor, which calls this too early, does not."""
        with self._view_lock:
            if self._is_openable and self.comm is None:
                super().open()
                self._opened()

    def _opened(self) -> None:
        """Called once, when the browser knows of the model."""

    def close(self) -> None:
        """Close the model for good."""
        with self._view_lock:
            self._is_openable = False
            super().close()

    def send_again(self, name: str) -> None:
        """Within `hold_sync`: send a trait at its end although it is what it was."""
        self._states_to_send.add(name)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401, FBT001, FBT002
        """Return the state, or the part of it named by `key`, as of one frame."""
        with self._view_lock:
            return dict(super().get_state(key, drop_defaults))

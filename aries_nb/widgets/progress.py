"""Progress bar for a call that keeps a cell waiting; it disappears when the call is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from IPython.display import display
from ipywidgets import FloatProgress

from aries_nb.widgets.static_html import BLUE

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

__all__ = ["Progress"]


class Progress:
    """Context manager: a progress bar in the output of the running cell, shown by the first `show`.

    The end of the block, or `close`, removes it. Use it on the thread that runs the cell: from any other thread it
    would appear in the output of whichever cell runs next.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._handle: DisplayHandle | None = None

    def show(self, done: float, text: str) -> None:
        """Show the progress bar with the share done, from 0 to 1, and a line of text, which is never read as markup."""
        if self._bar is None:
            self._bar = FloatProgress(value=done, max=1.0, description=text)
            self._bar.style.bar_color = BLUE
            self._bar.style.description_width = "initial"
            self._bar.layout.width = "34em"
            self._handle = display(self._bar, display_id=True)  # type: ignore[no-untyped-call]
        self._bar.value, self._bar.description = done, text

    def close(self) -> None:
        """Remove the progress bar from the cell, and free it in kernel and browser; a second call does nothing."""
        if self._bar is None:
            return
        if self._handle is not None:
            # Closing alone leaves a view without a model in the output, which a saved notebook shows as an error.
            self._handle.update({"text/html": ""}, raw=True)  # type: ignore[no-untyped-call]
        for model in (self._bar, self._bar.style, self._bar.layout):
            model.close()
        self._bar = self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""A progress bar for what keeps a cell waiting; it is gone when that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from IPython.display import display
from ipywidgets import FloatProgress

from aries_nb.widgets.plotly_view import BLUE

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

__all__ = ["Progress"]


class Progress:
    """One bar in the output of the cell that runs; shown by the first `tell`, taken out of the cell by `close`.

    It belongs to the thread that runs the cell: shown from any other, it would land in whatever cell comes next.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._handle: DisplayHandle | None = None

    def tell(self, done: float, text: str) -> None:
        """Show how much is done, from 0 to 1, and a line beside it: text, never markup."""
        if self._bar is None:
            self._bar = FloatProgress(value=done, max=1.0, description=text)
            self._bar.style.bar_color = BLUE
            self._bar.style.description_width = "initial"
            self._bar.layout.width = "34em"
            self._handle = display(self._bar, display_id=True)  # type: ignore[no-untyped-call]
        self._bar.value, self._bar.description = done, text

    def close(self) -> None:
        """Take the bar out of the cell and free it, in kernel and browser; closing twice is fine."""
        if self._bar is None:
            return
        if self._handle is not None:
            # Closing alone leaves a view without a model in the cell, which a saved notebook shows as an error.
            self._handle.update({"text/html": ""}, raw=True)  # type: ignore[no-untyped-call]
        for model in (self._bar, self._bar.style, self._bar.layout):
            model.close()
        self._bar = self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

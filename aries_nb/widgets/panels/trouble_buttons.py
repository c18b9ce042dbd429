"""Buttons that let troubles of a simulated market happen, for a number of seconds, to one symbol or to all."""

from __future__ import annotations

import html
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets

from aries_nb.errors import FeedError
from aries_nb.widgets.static_html import bundle, table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aries_nb.widgets.view import MimeBundle

__all__ = ["TroubleButtons", "TroubleSource"]

LOG = logging.getLogger("aries_nb")


class TroubleSource(Protocol):
    """Interface of what lets troubles happen."""

    @property
    def troubles(self) -> Mapping[str, str]:
        """The names of the troubles, each with what happens."""

    def __call__(self, trouble: str, *, seconds: float, symbol: str | None) -> object:
        """Let a trouble happen now. Raises FeedError."""


class TroubleButtons:
    """A box with a button for each trouble, the seconds that it lasts, and the symbol that it happens to.

    Clicks are carried out between two cells, in order. Owned by the kernel's thread.
    """

    def __init__(self, source: TroubleSource) -> None:
        self._source = source
        wide = {"description_width": "initial"}
        self.seconds = ipywidgets.BoundedFloatText(
            5, min=0.1, max=3600, description="Seconds", style=wide, layout={"width": "150px"}
        )
        self.symbol = ipywidgets.Text(
            placeholder="all", description="Symbol", style=wide, layout={"width": "170px"}, continuous_update=False
        )
        self.said = ipywidgets.HTML("", layout={"min_height": "1.6em"})
        self.buttons = {
            name: ipywidgets.Button(description=name, tooltip=text, layout={"width": "auto"})
            for name, text in source.troubles.items()
        }
        for name, button in self.buttons.items():
            button.on_click(partial(self._clicked, name))
        rows = {"flex_flow": "row wrap", "grid_gap": "2px 4px"}
        self._box = ipywidgets.VBox(
            [
                ipywidgets.Box([self.seconds, self.symbol], layout=rows),
                ipywidgets.Box(list(self.buttons.values()), layout=rows),
                self.said,
            ]
        )
        self._box._repr_mimebundle_ = self._repr_mimebundle_

    def __repr__(self) -> str:
        return "TroubleButtons()"

    @property
    def widget(self) -> ipywidgets.VBox:
        """The box; it can be placed in any ipywidgets layout."""
        return self._box

    def _clicked(self, name: str, _: Any) -> None:  # noqa: ANN401 - the button, which ipywidgets passes
        seconds, symbol = self.seconds.value, self.symbol.value.strip()
        try:
            self._source(name, seconds=seconds, symbol=symbol or None)
        except FeedError as error:
            LOG.warning("%s was not simulated: %s", name, error)
            self.said.value = f"Not simulated: {html.escape(str(error))}"
        else:
            self.said.value = f"<b>{html.escape(name)}</b>{html.escape(f' of {symbol}' * bool(symbol))}, {seconds:g} s"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> MimeBundle:
        rows = [[name, button.tooltip] for name, button in self.buttons.items()]
        shown = table("Troubles to simulate", ["", "What happens"], rows, text_columns=(0, 1))
        picture = f'<div class="anb-picture">{shown}</div>'
        return bundle(model_id=str(self._box.model_id), text_html=picture, include=include, exclude=exclude)

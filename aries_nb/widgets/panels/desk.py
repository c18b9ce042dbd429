"""Trading desk: a bar with the choices, and a box of views that is arranged by the width of the page."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np

from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.sources import ClockedSource, MovedSource
from aries_nb.widgets.static_html import bundle, table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from aries_nb.model import Standing
    from aries_nb.widgets.anywidget_view import ScriptView
    from aries_nb.widgets.sources import DeskSource, MarketTime, VersionedSource
    from aries_nb.widgets.view import MimeBundle, View

__all__ = ["DeskBar", "DeskBox", "SheetSource"]

CHOICES = ("symbol", "window", "interval", "depth", "side", "search")
MOST_CHARACTERS = 100
POLL_SECONDS = 0.03
#: Places of the box, in their order on a narrow page; their arrangement on a wide one is in desk.css.
PLACES = ("chart", "ladder", "tape", "side", "foot")


class SheetSource:
    """One version for several sources whose data are drawn together; the clock is that of the first."""

    def __init__(self, *sources: VersionedSource) -> None:
        self._sources = sources

    @property
    def version(self) -> int:
        """A number that grows with every change of any of the sources."""
        return sum(source.version for source in self._sources)

    @property
    def standing(self) -> Standing | None:
        """The past moment of which the data are, None where they are new; that of the first source."""
        first = self._sources[0]
        return first.standing if isinstance(first, MovedSource) else None

    def resume(self) -> None:
        """Have all views of the feed show what is new again."""
        for source in self._sources:
            if isinstance(source, MovedSource):
                source.resume()

    @property
    def clock(self) -> MarketTime:
        """The market time of the first source."""
        first = self._sources[0]
        assert isinstance(first, ClockedSource), "all frames have one"
        return first.clock


class DeskBar(Panel):
    """The bar of a trading desk: symbol with search, window, candles, depth, and what is below the chart.

    What a page asks for is passed on to `source` at once, on whichever thread the kernel handles messages: it works
    while a cell runs, where the front end lets messages in; else the bar says that it waits.
    """

    script = "desk"

    def __init__(self, source: DeskSource) -> None:
        self._desk_source = source
        self._handled = 0.0  # the number of the newest request that the picture follows
        self._requests = 0
        super().__init__(source)
        self.widget.takes_messages_in_cells = True

    def __repr__(self) -> str:
        return "DeskBar()"

    @property
    def version(self) -> int:
        """The version of the source, which grows also when a request was carried out."""
        return super().version + self._requests

    def _compose(self) -> PanelFrame:
        handled, data = self._handled, self._desk_source.desk()
        description: dict[str, object] = {
            **{name: getattr(data, name) for name in CHOICES if name != "search"},
            "symbols": list(data.symbols),
            "windows": list(data.windows),
            "intervals": list(data.intervals),
            "depths": list(data.depths),
            "sides": list(data.sides),
            "searched": data.searched,
            "found": [list(each) for each in data.found],
            "note": data.note,
        }
        return PanelFrame(description, (float(data.is_changing), handled), np.empty(0))

    def _picture(self) -> str:
        data = self._desk_source.desk()
        rows = [
            ["Symbol", data.symbol],
            ["Window", data.window],
            ["Candles", data.interval],
            ["Depth", f"{data.depth}"],
            *([["Problem", data.note]] if data.note else []),
        ]
        return table("Desk", ["", ""], rows, text_columns=(0, 1))

    def _on_message(self, widget: object, content: object, buffers: object) -> None:
        if isinstance(content, dict) and (asked := _request(content.get("desk"))) is not None:
            what, value, number = asked
            self._desk_source.choose(what, value, partial(self._done, number))
        super()._on_message(widget, content, buffers)

    def _done(self, number: float) -> None:
        self._handled = max(self._handled, number)
        self._requests += 1


class DeskBox:
    """The box of a desk: its bar above the views, which can be replaced one by one. Any thread.

    Beside each other where the page is wide, else below each other.
    """

    def __init__(self, source: DeskSource) -> None:
        self.bar = DeskBar(source)
        self._views: dict[str, tuple[ScriptView, ...]] = {}
        self._places = {name: ipywidgets.Box([]) for name in PLACES}
        for name, place in self._places.items():
            place.add_class("anb-desk-place")
            place.add_class(f"anb-desk-{name}")
        self._grid = ipywidgets.Box(list(self._places.values()))
        self._grid.add_class("anb-desk-grid")
        self._box = ipywidgets.VBox([self.bar.widget, self._grid])
        self._box.add_class("anb-desk-box")
        self._box._repr_mimebundle_ = self._repr_mimebundle_
        self._is_closed = self._is_shown = False
        self._last_picture = ""

    def __repr__(self) -> str:
        return "DeskBox()"

    @property
    def widget(self) -> ipywidgets.VBox:
        """The box widget; it can be placed in any ipywidgets layout."""
        return self._box

    @property
    def views(self) -> Mapping[str, Sequence[View]]:
        """The views by their place: "chart", "ladder", "tape", "side", "foot"."""
        return dict(self._views)

    @property
    def is_closed(self) -> bool:
        """Whether the box was closed."""
        return self._is_closed

    def show(self, changes: Mapping[str, Sequence[ScriptView]], *, patience: float = 0.0) -> None:
        """Show other views in these places, and close those that were there.

        For up to `patience` seconds those of before lie over the new ones, until a page has painted these: nothing is
        empty in between. Not on the thread on which the page's answers come in, which would wait for itself.
        """
        before = {place: self._views.get(place, ()) for place in changes}
        if not self._is_closed:
            self._views |= {place: tuple(views) for place, views in changes.items()}
            for place, views in changes.items():
                self._stack(place, (views, before[place]) if patience and self._is_shown else (views,))
        if self._is_shown and not self._is_closed:
            fresh = [view for views in changes.values() for view in views]
            for view in fresh:
                view.draw()
                view.watch()
            if patience:
                self._wait(fresh, patience)
                for place, views in changes.items():
                    self._stack(place, (views,))
        for view in (view for views in before.values() for view in views):
            view.close()
        for view in (view for views in changes.values() for view in views if self._is_closed):
            view.close()

    def _stack(self, place: str, layers: Sequence[Sequence[ScriptView]]) -> None:
        """Have layers of views in a place, the last on top."""
        if self._is_closed:
            return
        shown = {box.children: box for box in self._places[place].children}
        boxes = []
        for views in layers:
            if views:
                widgets = tuple(view.widget for view in views)
                boxes.append(shown.pop(widgets, None) or ipywidgets.VBox(widgets))
        self._places[place].children = tuple(boxes)
        for box in shown.values():
            _close(box)

    def _wait(self, views: Sequence[ScriptView], patience: float) -> None:
        """Wait until a page has painted all of the views; not longer than `patience` s, as no page may show them."""
        pause = threading.Event()
        for _ in range(round(patience / POLL_SECONDS)):
            if self._is_closed or all(view.is_painted for view in views):
                return
            pause.wait(POLL_SECONDS)

    def close(self) -> None:
        """Close the box and all views, and free their widgets; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        for view in self._all():
            view.close()
        self._last_picture = self._picture()
        self._views.clear()  # and with them what they show
        layers = [box for place in self._places.values() for box in place.children]
        for box in (self._box, self._grid, *self._places.values(), *layers):
            _close(box)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> MimeBundle:
        self._is_shown = True
        return bundle(
            model_id=None if self._is_closed else str(self._box.model_id),
            text_html=self._last_picture or self._picture(),
            include=include,
            exclude=exclude,
        )

    def _all(self) -> tuple[View, ...]:
        return (self.bar, *(view for place in PLACES for view in self._views.get(place, ())))

    def _picture(self) -> str:
        # Each view draws itself, and is watched from here on.
        return "".join(str(view._repr_mimebundle_(include={"text/html"})["text/html"]) for view in self._all())


def _close(box: ipywidgets.Box) -> None:
    layout = box.layout
    box.close()
    layout.close()
    box.children = ()  # or it would hold the views, and what they show


def _request(asked: object) -> tuple[str, object, float] | None:
    """Return what a page asks for: one of `CHOICES`, a value, and the number of the request; None for anything else."""
    if not isinstance(asked, list) or len(asked) != 3 or asked[0] not in CHOICES:
        return None
    what, value, number = asked
    is_text = isinstance(value, str) and len(value) <= MOST_CHARACTERS
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)
    return (what, value, float(number)) if is_text and is_number else None

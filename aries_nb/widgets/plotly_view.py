"""Base of the Plotly views: a figure that is composed, never inherited; its layout, its answers, its end.

How plotly's FigureWidget communicates, read in its source and measured: one `batch_update` is four messages to the
browser (`MessageBatch` makes them one), and the browser answers with the edit's number and every property that it
filled in. Plotly removes such a property from its own layout and makes the browser remove it too; that costs up to six
more messages a frame, and it loses `xaxis.type="date"`. So these answers are handled here, as confirmations, and go no
further. What the user does (zoom, pan, a click on the legend) comes in other messages, which plotly gets.

Every private name of plotly that we rely on is used in this module only.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import plotly.graph_objects as go

from aries_nb.model.settings import settings
from aries_nb.widgets.static_html import GREY
from aries_nb.widgets.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aries_nb.widgets.sources import VersionedSource

__all__ = [
    "MESSAGES_A_FRAME",
    "FigureView",
    "MessageBatch",
    "layout",
    "time_anchor",
]

GRID = "rgba(128,128,128,0.18)"
CLEAR = "rgba(0,0,0,0)"
GAP = "gap"  # name of our shapes in a figure; a user's own shapes have others

MESSAGES_A_FRAME = 1
MOST_UNANSWERED = 30  # edits; about three seconds
MOST_DISPLAYS = 4  # of one figure at once; the oldest is closed, in case the front end never reports that it is gone
ANSWERS = frozenset({"_js2py_traceDeltas", "_js2py_layoutDelta", "_js2py_widget_layoutDelta"})


def layout(title: str, height: int) -> dict[str, Any]:
    """Return the common layout: readable on light and dark pages, compact, with a zoom that survives every frame.

    Where `settings.template` names a template, its colours replace ours.
    """
    axis = {
        # Half of a frame's time in the browser was spent measuring labels for overflow; few labels, none measured.
        "ticklabeloverflow": "allow",
        "nticks": 7,
        "exponentformat": "none",
        "separatethousands": True,
    }
    looks = {
        "height": height,
        "autosize": True,
        "title": {"text": title, "font": {"size": 13}, "x": 0.01, "xanchor": "left", "y": 0.98, "yanchor": "top"},
        # Fixed: plotly's automatic margins draw twice, and move the plot when a label grows by a digit.
        "margin": {"l": 12, "r": 72, "t": 44 if title else 28, "b": 40},
        "font": {"size": 12},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        "modebar": {"orientation": "h"},
        # Constant: any other value would reset the user's zoom.
        "uirevision": "aries-nb",
        "xaxis": dict(axis),
        "yaxis": {**axis, "side": "right"},
    }
    template = settings.template
    return _coloured(looks) if template is None else {**looks, "template": template}


def _coloured(looks: dict[str, Any]) -> dict[str, Any]:
    """Our own colours added to the looks."""
    lines = dict.fromkeys(("gridcolor", "zerolinecolor", "linecolor", "tickcolor"), GRID)
    return {
        **looks,
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {**looks["font"], "color": GREY},
        "hoverlabel": {"bgcolor": "rgba(40,44,52,0.92)", "font": {"color": "#f2f2f2"}, "bordercolor": CLEAR},
        "modebar": {**looks["modebar"], "bgcolor": CLEAR, "color": "rgba(128,128,128,0.6)", "activecolor": GREY},
        "xaxis": {**looks["xaxis"], **lines},
        "yaxis": {**looks["yaxis"], **lines},
    }


def time_anchor() -> go.Scatter:
    """Return the invisible first trace of every figure over time; without it an axis of numbers is no time axis.

    Plotly.js guesses an axis's type again whenever the data of a trace change, by the first trace that has any,
    whatever `xaxis.type` was. Epoch milliseconds are plain numbers to it, dates as text cost fifteen times as much, and
    sending the type with every frame resets the user's zoom.
    """
    return go.Scatter(
        name="time axis", x=["2000-01-01"], y=[0], visible="legendonly", showlegend=False, hoverinfo="skip"
    )


def annotation(text: str) -> tuple[dict[str, Any], ...]:
    """Return an annotation in the middle of the plot; none for an empty text."""
    if not text:
        return ()
    place = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
    return ({**place, "text": text, "font": {"size": 13, "color": GREY}},)


def _restyle(figure: go.FigureWidget, layout_changes: Mapping[str, object]) -> None:
    """Change some of the layout. Of the shapes only those of gaps are ours; the user's own are kept."""
    figure.update_layout({name: value for name, value in layout_changes.items() if name != "shapes"})
    if "shapes" in layout_changes:
        theirs = [shape.to_plotly_json() for shape in figure.layout.shapes if shape.name != GAP]
        gaps = [{**shape, "name": GAP} for shape in layout_changes["shapes"]]  # type: ignore[attr-defined]
        figure.layout.shapes = [*theirs, *gaps]


class Comm(Protocol):
    """The part of a widget's comm that is used here."""

    send: Any


class MessageBatch:
    """Replaces a comm's `send`; passes everything on except what one thread sends within `as_one`.

    A FigureWidget's `batch_update` sets four traits one after the other, each a message: two edit numbers, the update,
    and None to withdraw the update. ipywidgets' own batching keeps only the last value of each trait, so the update
    would be lost. Here they are sent as one message with the update in it. A message costs the notebook server, the
    browser and, while a cell computes, the interpreter lock about the same whatever its size: this makes a figure four
    times cheaper.
    """

    def __init__(self, comm: Comm) -> None:
        self._send = comm.send
        self._thread = 0
        self._state: dict[str, Any] = {}
        self._paths: list[list[Any]] = []
        self._buffers: list[Any] = []
        comm.send = self.send

    def send(self, data: dict[str, Any] | None = None, *rest: object, buffers: Any = None, **options: object) -> None:  # noqa: ANN401
        """Send, or collect for the one message; the signature is that of the comm's own method."""
        if self._thread != threading.get_ident() or data is None or data.get("method") != "update":
            self._send(data, *rest, buffers=buffers, **options)
            return
        for name, value in data["state"].items():
            # Withdrawn in the same batch: the update must be sent, and the browser needs no None after it.
            if value is not None or self._state.get(name) is None:
                self._state[name] = value
        self._paths += data.get("buffer_paths") or []
        self._buffers += buffers or []

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Collect what this thread sends within the context; send one message at the end, none if there was nothing."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = 0
            state, paths, buffers = self._state, self._paths, self._buffers
            self._state, self._paths, self._buffers = {}, [], []
            if state:
                self._send({"method": "update", "state": state, "buffer_paths": paths}, buffers=buffers)


class _FigureDisplay:
    """One figure on display: the model, and the batch of its messages."""

    def __init__(self, figure: go.FigureWidget) -> None:
        self.figure = figure
        self.gathering = MessageBatch(figure.comm)
        figure._config = {"displaylogo": False, "responsive": True}  # noqa: SLF001
        # A number instead of None makes front ends report how many places show the model.
        figure._view_count = 0  # noqa: SLF001
        self.places = 0
        self.was_visible = False
        self.answered = 0  # newest edit answered by one of its places

    @property
    def unanswered(self) -> int:
        """Number of unanswered edits: a place that plotly's script has left never answers again."""
        return int(self.figure._last_trace_edit_id) - self.answered  # noqa: SLF001

    def close(self) -> None:
        """Close the figure's widget, and drop the reference that anywidget keeps to it, so that it can be freed."""
        self.figure.close()
        # anywidget connects each figure to a signal of plotly's class, to reload its script when the file is edited;
        # this is never undone and keeps every figure alive. Plotly's script is not edited in a live notebook.
        with suppress(AttributeError):
            go.FigureWidget._esm.changed.disconnect()  # noqa: SLF001


class FigureView(View):
    """A view drawn with plotly. `figure` is the FigureWidget; hold `lock` to change it while it is live.

    Each display gets a model of its own. A place in the page that was cleared stays connected to its model, fails at
    every update, and keeps the update from the places after it: a cell that was run again would show a frozen figure. A
    model that no place shows any more is closed.
    """

    def __init__(self, source: VersionedSource, figure: go.FigureWidget) -> None:
        super().__init__(source)
        self._annotation = ""
        self._problem = ""
        self._is_displayed = False
        self._all: list[_FigureDisplay] = []
        self._adopt(figure)

    @property
    def figure(self) -> go.FigureWidget:
        """The live FigureWidget of the newest display, to be styled by the user; its data belongs to the painter."""
        return self._all[-1].figure

    @property
    def widget(self) -> go.FigureWidget:
        """The same figure, under the name that all views have."""
        return self.figure

    def _adopt(self, figure: go.FigureWidget) -> None:
        shown = _FigureDisplay(figure)
        # What the browser sends back changes the figure on another thread than the painter's: it has to take our lock.
        figure.comm.on_msg(lambda message: self._on_message(shown, message))
        # A figure displayed without its view is the same display: same static picture, same painter.
        figure._repr_mimebundle_ = self._repr_mimebundle_
        self._all.append(shown)

    def _displayed_model(self) -> str:
        with self.lock:
            if self._is_displayed:
                self._adopt(go.FigureWidget(self.figure))
                if len(self._all) > MOST_DISPLAYS:
                    self._all.pop(0).close()
            self._is_displayed = True
            # The class's own method brings the model's state up to date first; the instance's one leads back here.
            type(self.figure)._repr_mimebundle_(self.figure)
            return str(self.figure.model_id)

    def _update(
        self, changes: Mapping[int, Mapping[str, object]], text: str, layout_changes: Mapping[str, object] | None = None
    ) -> int:
        """Send one frame; return the number of messages.

        `changes` are new values of some traces by their place, `text` the annotation, `layout_changes` changed
        properties of the layout: not with every frame, and never properties that the user can set.
        """
        text = self._problem or text
        if not changes and text == self._annotation and not layout_changes:
            return 0
        for shown in self._all:
            self._update_one(shown, changes, text, layout_changes)
        self._annotation = text
        self.frames += 1
        return MESSAGES_A_FRAME * len(self._all)

    def _update_one(
        self,
        shown: _FigureDisplay,
        changes: Mapping[int, Mapping[str, object]],
        text: str,
        layout_changes: Mapping[str, object] | None,
    ) -> None:
        figure = shown.figure
        with shown.gathering.as_one(), figure.batch_update():
            for place, properties in changes.items():
                figure.data[place].update(properties, overwrite=True)
            if text != self._annotation:
                figure.layout.annotations = annotation(text)
            if layout_changes:
                _restyle(figure, layout_changes)
        # The model's state is what a reloaded tab starts from; plotly sets it only when a figure is displayed.
        state = figure._widget_data  # noqa: SLF001
        for place, properties in changes.items():
            if place < len(state):
                state[place].update(properties)
        if layout_changes:
            whole = figure.to_dict()["layout"]
            figure._widget_layout.update({name: whole[name] for name in layout_changes if name in whole})  # noqa: SLF001

    def _show_problem(self, text: str) -> int:
        self._problem = text
        return self._update({}, "" if not text else self._annotation)

    def _on_message(self, shown: _FigureDisplay, message: dict[str, Any]) -> None:
        data = message.get("content", {}).get("data", {})
        state = data.get("state", {}) if data.get("method") == "update" else {}
        views = state.get("_view_count")
        with self.lock:
            if self._is_closed or shown not in self._all:
                return
            edits = [answer.get("trace_edit_id") for answer in state.values() if isinstance(answer, dict)]
            shown.answered = max([shown.answered, *(edit for edit in edits if isinstance(edit, int))])
            unanswered = shown.unanswered if edits else None
            self._close_unresponsive(shown)
            if not state or not state.keys() <= ANSWERS:
                shown.figure._handle_msg(message)  # noqa: SLF001
            if isinstance(views, int):
                self._count_places(shown, views)
            is_visible = any(each.places for each in self._all) if isinstance(views, int) else None
        self._report(unanswered=unanswered, is_visible=is_visible)

    def _close_unresponsive(self, responsive: _FigureDisplay) -> None:
        """Close models with 30 unanswered edits while this one is answered, whatever number of places was reported."""
        for shown in [each for each in self._all if each is not responsive and each.unanswered > MOST_UNANSWERED]:
            if responsive.unanswered < MOST_UNANSWERED:
                self._all.remove(shown)
                shown.close()

    def _count_places(self, shown: _FigureDisplay, views: int) -> None:
        """Close a model that was visible, is displayed no more, and is not the only one."""
        shown.places = views
        if views > 0:
            shown.was_visible = True
        elif shown.was_visible and len(self._all) > 1:
            self._all.remove(shown)
            shown.close()

    def _release(self) -> None:
        for shown in self._all:
            shown.close()

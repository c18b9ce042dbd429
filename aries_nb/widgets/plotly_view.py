"""What the Plotly views share: a figure that is composed, never inherited; its looks; its answers; its end.

How plotly's FigureWidget speaks, read in its source and measured: one `batch_update` is four messages to the browser
(`MessageBatch` makes them one), and the browser answers with the edit's number and every property that it filled in.
Plotly takes such a property out of its own layout and tells the browser to forget it too; that costs up to six
messages more a frame, and it loses `xaxis.type="date"`. So the answers are taken here, as confirmations, and end here.
What the user does (zoom, pan, a click on the legend) comes in other messages, which plotly gets.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import plotly.graph_objects as go

from aries_nb.widgets.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aries_nb.widgets.sources import VersionedSource

__all__ = [
    "BLUE",
    "GAP",
    "GREY",
    "MESSAGES_A_FRAME",
    "ORANGE",
    "PALETTE",
    "FigureView",
    "MessageBatch",
    "layout",
    "time_anchor",
]

# Okabe and Ito's colours, which everyone can tell apart; black and yellow, unreadable on one theme each, are replaced.
BLUE, ORANGE = "#2b8cce", "#e08214"
PALETTE = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a8c00", "#8c8c8c")
GREY = "rgba(128,128,128,0.95)"
GRID = "rgba(128,128,128,0.18)"
CLEAR = "rgba(0,0,0,0)"
GAP = "gap"  # the name of our shapes: those of a user's own stay

MESSAGES_A_FRAME = 1
MOST_UNANSWERED = 30  # edits, about three seconds of them
MOST_DISPLAYS = 4  # of one figure at once; the oldest goes, should the front end never say that it is gone
ANSWERS = frozenset({"_js2py_traceDeltas", "_js2py_layoutDelta", "_js2py_widget_layoutDelta"})


def layout(title: str, height: int) -> dict[str, Any]:
    """Return the common looks: readable on light and dark pages, compact, and a zoom that survives every frame."""
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "linecolor": GRID,
        "tickcolor": GRID,
        # Half of a frame's time in the browser went into measuring labels for overflow; few labels, none measured.
        "ticklabeloverflow": "allow",
        "nticks": 7,
        "exponentformat": "none",
        "separatethousands": True,
    }
    return {
        "height": height,
        "autosize": True,
        "title": {"text": title, "font": {"size": 13}, "x": 0.01, "xanchor": "left", "y": 0.98, "yanchor": "top"},
        # Fixed: plotly's automatic margins draw twice, and move the plot when a label grows by a digit.
        "margin": {"l": 12, "r": 72, "t": 44 if title else 28, "b": 40},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": GREY, "size": 12},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "rgba(40,44,52,0.92)", "font": {"color": "#f2f2f2"}, "bordercolor": CLEAR},
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        "modebar": {"bgcolor": CLEAR, "color": "rgba(128,128,128,0.6)", "activecolor": GREY, "orientation": "h"},
        # Constant: any other value would throw the user's zoom away.
        "uirevision": "aries-nb",
        "xaxis": dict(axis),
        "yaxis": {**axis, "side": "right"},
    }


def time_anchor() -> go.Scatter:
    """Return the invisible first trace of every figure over time; without it an axis of numbers is no time axis.

    Plotly.js guesses an axis's type anew whenever the data of a trace change, by the first trace that has any, whatever
    `xaxis.type` was. Epoch milliseconds are plain numbers to it, dates as text cost fifteen times as much, and sending
    the type with every frame throws the user's zoom away.
    """
    return go.Scatter(
        name="time axis", x=["2000-01-01"], y=[0], visible="legendonly", showlegend=False, hoverinfo="skip"
    )


def note(text: str) -> tuple[dict[str, Any], ...]:
    """Return an annotation in the middle of the plot; none for an empty text."""
    if not text:
        return ()
    place = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
    return ({**place, "text": text, "font": {"size": 13, "color": GREY}},)


def _restyle(figure: go.FigureWidget, looks: Mapping[str, object]) -> None:
    """Change some of the layout. Of the shapes only those of gaps are ours; a user's own stay."""
    figure.update_layout({name: value for name, value in looks.items() if name != "shapes"})
    if "shapes" in looks:
        own = [shape.to_plotly_json() for shape in figure.layout.shapes if shape.name != GAP]
        figure.layout.shapes = [*own, *looks["shapes"]]  # type: ignore[misc]  # a list


class Comm(Protocol):
    """A widget's channel to its front ends, as far as it is used here."""

    send: Any


class MessageBatch:
    """Stands before a comm's `send`; lets everything pass but what one thread sends within `as_one`.

    A FigureWidget's `batch_update` sets four traits one after the other, each a message: two edit numbers, the update,
    and None to take the update back. ipywidgets' own way to gather them keeps only the last value of each trait, so the
    update would be lost. Here they leave as one message with the update in it. A message costs the notebook server, the
    browser and, beside a busy cell, the interpreter lock about the same whatever its size: this makes a figure four
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
        """Send, or keep for the one message; the signature is that of the comm's own."""
        if self._thread != threading.get_ident() or data is None or data.get("method") != "update":
            self._send(data, *rest, buffers=buffers, **options)
            return
        for name, value in data["state"].items():
            # Taken back in the same breath: the update must leave, and the browser needs no None after it.
            if value is not None or self._state.get(name) is None:
                self._state[name] = value
        self._paths += data.get("buffer_paths") or []
        self._buffers += buffers or []

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Within it, what this thread sends is gathered; one message leaves at the end, none if nothing was sent."""
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
    """One figure on display: the model, and the gathering of what it sends."""

    def __init__(self, figure: go.FigureWidget) -> None:
        self.figure = figure
        self.gathering = MessageBatch(figure.comm)
        figure._config = {"displaylogo": False, "responsive": True}  # noqa: SLF001
        # A number instead of None makes the front ends report how many places show the model.
        figure._view_count = 0  # noqa: SLF001
        self.places = 0
        self.was_seen = False
        self.answered = 0  # the newest edit that a place of it has answered

    @property
    def unanswered(self) -> int:
        """How many edits have had no answer: a place that plotly's script has left never answers again."""
        return int(self.figure._last_trace_edit_id) - self.answered  # noqa: SLF001

    def close(self) -> None:
        """Close the model, and let it go."""
        self.figure.close()
        # anywidget ties each figure to a signal of plotly's class, to reload its script when the file is edited; the
        # tie is never undone and keeps every figure alive. Nobody edits plotly's script in a live notebook.
        with suppress(AttributeError):
            go.FigureWidget._esm.changed.disconnect()  # noqa: SLF001


class FigureView(View):
    """A view drawn with plotly. `figure` is the FigureWidget; hold `lock` to change it while it is live.

    Each display gets a model of its own. A place that plotly's script has left goes on listening to its model, fails at
    every update, and keeps the update from the places after it: a cell that was run again would show a dead figure.
    A model that no place shows any more is closed.
    """

    def __init__(self, source: VersionedSource, figure: go.FigureWidget) -> None:
        super().__init__(source)
        self._note = ""
        self._problem = ""
        self._is_displayed = False
        self._all: list[_FigureDisplay] = []
        self._adopt(figure)

    @property
    def figure(self) -> go.FigureWidget:
        """The live FigureWidget of the newest display, to be styled at will; its data belongs to the painter."""
        return self._all[-1].figure

    @property
    def widget(self) -> go.FigureWidget:
        """The same figure, under the name that all views have."""
        return self.figure

    def _adopt(self, figure: go.FigureWidget) -> None:
        shown = _FigureDisplay(figure)
        # What the browser sends back changes the figure on another thread than the painter's: it has to take our lock.
        figure.comm.on_msg(lambda message: self._on_message(shown, message))
        # A figure shown without its view is the same display: same static picture, same painter.
        figure._repr_mimebundle_ = self._repr_mimebundle_
        self._all.append(shown)

    def _displayed_model(self) -> str:
        with self.lock:
            if self._is_displayed:
                self._adopt(go.FigureWidget(self.figure))
                if len(self._all) > MOST_DISPLAYS:
                    self._all.pop(0).close()
            self._is_displayed = True
            # The class's own method brings the model's state up to date first; the instance's leads back here.
            type(self.figure)._repr_mimebundle_(self.figure)
            return str(self.figure.model_id)

    def _update(
        self, changes: Mapping[int, Mapping[str, object]], text: str, looks: Mapping[str, object] | None = None
    ) -> int:
        """Send one frame; return the number of messages.

        `changes` are new values of some traces by their place, `text` the note, `looks` what changes of the layout:
        never with every frame, and never what the user can set.
        """
        text = self._problem or text
        if not changes and text == self._note and not looks:
            return 0
        for shown in self._all:
            self._update_one(shown, changes, text, looks)
        self._note = text
        self.frames += 1
        return MESSAGES_A_FRAME * len(self._all)

    def _update_one(
        self,
        shown: _FigureDisplay,
        changes: Mapping[int, Mapping[str, object]],
        text: str,
        looks: Mapping[str, object] | None,
    ) -> None:
        figure = shown.figure
        with shown.gathering.as_one(), figure.batch_update():
            for place, properties in changes.items():
                figure.data[place].update(properties, overwrite=True)
            if text != self._note:
                figure.layout.annotations = note(text)
            if looks:
                _restyle(figure, looks)
        # The model's state is what a reloaded tab starts from; plotly sets it only when a figure is displayed.
        state = figure._widget_data  # noqa: SLF001
        for place, properties in changes.items():
            if place < len(state):
                state[place].update(properties)
        if looks:
            whole = figure.to_dict()["layout"]
            figure._widget_layout.update({name: whole[name] for name in looks if name in whole})  # noqa: SLF001

    def _show_problem(self, text: str) -> int:
        self._problem = text
        return self._update({}, "" if not text else self._note)

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
            self._drop_silent(shown)
            if not state or not state.keys() <= ANSWERS:
                shown.figure._handle_msg(message)  # noqa: SLF001
            if isinstance(views, int):
                self._counted(shown, views)
            is_visible = any(each.places for each in self._all) if isinstance(views, int) else None
        self._heard(unanswered=unanswered, is_visible=is_visible)

    def _drop_silent(self, alive: _FigureDisplay) -> None:
        """Close the models that have answered nothing for long while this one does, whatever was said of places."""
        for shown in [each for each in self._all if each is not alive and each.unanswered > MOST_UNANSWERED]:
            if alive.unanswered < MOST_UNANSWERED:
                self._all.remove(shown)
                shown.close()

    def _counted(self, shown: _FigureDisplay, views: int) -> None:
        """Close a model that was seen, is seen no more, and is not the only one."""
        shown.places = views
        if views > 0:
            shown.was_seen = True
        elif shown.was_seen and len(self._all) > 1:
            self._all.remove(shown)
            shown.close()

    def _release(self) -> None:
        for shown in self._all:
            shown.close()

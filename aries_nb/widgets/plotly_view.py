"""Base of the Plotly views: a live figure, its layout, and its frames, which are updates of its picture."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

from aries_nb.model.settings import TEMPLATE, settings
from aries_nb.widgets.number_format import WHOLE_FROM, Decimals, decimals_of_rows, grouped
from aries_nb.widgets.static_html import BLUE, GREY, ORANGE, PALETTE
from aries_nb.widgets.view import View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aries_nb.model import Numbers
    from aries_nb.widgets.sources import VersionedSource
    from aries_nb.widgets.widget_model import LiveFigure

__all__ = [
    "MESSAGES_A_FRAME",
    "TIME_AXIS",
    "AxisDigits",
    "FigureView",
    "layout",
    "our_template",
    "time_anchor",
]

GRID = "rgba(128,128,128,0.18)"
CLEAR = "rgba(0,0,0,0)"
# Each name that Plotly has had for the button that uploads a figure.
UPLOADS = ("sendChartToCloud", "sendDataToCloud")
GAP = "gap"  # name of our shapes in a figure; a user's own shapes have others

# An axis of times: the first label names the zone, and no label is cut off at the left edge, as a centred one would be.
TIME_AXIS = {
    "type": "date",
    "showticksuffix": "first",
    "ticks": "outside",
    "ticklabelposition": "outside right",
}

MESSAGES_A_FRAME = 1
LABEL_MARGIN = 72  # pixels, next to an axis of numbers
# All labels of an axis have the decimals of its step: plotly shows 268 next to 268.05, and powers of ten below 1e-6.
STEP_DECIMALS = [
    {"dtickrange": [10.0**-decimals * 0.99, 10.0 ** (1 - decimals) * 0.98], "value": f",.{decimals}f"}
    for decimals in range(1, 13)
]
LABEL_DIGIT, LABEL_SPACE = 7, 15  # pixels of a character of a tick label, and around it


def layout(title: str, height: int, *, has_template: bool = True) -> dict[str, Any]:
    """Return the layout that all our Plotly figures share; `height` is in pixels, `title` "" for none.

    It is readable on light and dark pages, compact, and keeps the user's zoom at every update. Where
    `settings.template` names a template, its colours replace ours; `has_template` False leaves it out.
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
        "margin": {"l": 12, "r": LABEL_MARGIN, "t": 44 if title else 28, "b": 40},
        "font": {"size": 12},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        "modebar": {"orientation": "h"},
        # Constant: any other value would reset the user's zoom.
        "uirevision": "aries-nb",
        # Labels of times fit next to each other at 800 pixels; plotly would tilt them.
        "xaxis": {**axis, "nticks": 4, "tickangle": 0},
        "yaxis": {**axis, "side": "right"},
    }
    template = settings.template if has_template else None
    if template is None:
        return _coloured(looks)
    if TEMPLATE in template.split("+"):
        our_template()
    return {**looks, "template": template}


def _coloured(looks: dict[str, Any]) -> dict[str, Any]:
    """Return the layout `looks` with our own colours added, which are readable on light and dark pages."""
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


@functools.cache
def our_template() -> go.layout.Template:
    """Return our looks as a template, known to Plotly as "aries_nb" from now on."""
    looks = {
        name: value for name, value in layout("", 0, has_template=False).items() if name not in ("height", "uirevision")
    }
    looks["title"] = {name: value for name, value in looks["title"].items() if name != "text"}
    looks["margin"] = {**looks["margin"], "t": 44}
    for axis in ("xaxis", "yaxis"):
        looks[axis] = {**looks[axis], "automargin": True}  # a user's axes may have titles
    looks["modebar"] = {**looks["modebar"], "remove": list(UPLOADS)}
    looks["colorway"] = list(PALETTE)
    candles = {
        "increasing": {"line": {"color": BLUE}, "fillcolor": "rgba(0,0,0,0)"},
        "decreasing": {"line": {"color": ORANGE}, "fillcolor": ORANGE},
    }
    made = go.layout.Template(layout=looks, data={"candlestick": [candles]})
    pio.templates[TEMPLATE] = made
    return made


def time_anchor() -> go.Scatter:
    """Return the invisible first trace of every figure over time; without it an axis of numbers is no time axis.

    Plotly.js guesses an axis's type again whenever the data of a trace change, by the first trace that has any,
    whatever `xaxis.type` was. Epoch milliseconds are plain numbers to it, dates as text cost fifteen times as much,
    and sending the type with every update resets the user's zoom.
    """
    return go.Scatter(
        name="time axis", x=["2000-01-01"], y=[0], visible="legendonly", showlegend=False, hoverinfo="skip"
    )


def name_zone(figure: go.FigureWidget) -> None:
    """Name the time zone `settings.timezone` at the first label of a figure's time axis and in its hover labels."""
    figure.update_layout(xaxis={"ticksuffix": f" {settings.timezone}", "hoverformat": "%-d %b %Y, %H:%M:%S.%L"})


class AxisDigits:
    """The digits of the numbers on one axis of a figure, which only grow, and the room for its tick labels.

    Plotly shows about five digits of a number under the pointer, too few to distinguish two prices of a coin. `side` is
    the margin next to the axis, "l" or "r"; "" for an axis below the plot.
    """

    def __init__(self, axis: str = "yaxis", *, side: str = "r", is_price: bool = True) -> None:
        self._axis = axis
        self._side = side
        self._decimals = Decimals(is_price=is_price)
        self._format = ""
        self._margin = LABEL_MARGIN

    def changed(self, arrays: Sequence[Numbers]) -> dict[str, Any]:
        """Return the properties of the figure's layout that these new values on the axis change, {} for none."""
        values = np.concatenate([np.empty(0), *arrays])
        values = values[np.isfinite(values)]
        if not len(values):
            return {}
        (decimals,) = decimals_of_rows([self._decimals], values[np.newaxis])
        changes: dict[str, Any] = {}
        # Zeros at the end would be noise of numbers that are too large for so many decimals.
        is_too_large = decimals and np.abs(values).max() * 10.0**decimals >= WHOLE_FROM
        is_trimmed = is_too_large or self._format.endswith("~f")
        shown = f",.{decimals}{'~' if is_trimmed else ''}f"
        if self._format != shown:
            self._format = shown
            changes[f"{self._axis}_hoverformat"] = self._format
            changes[f"{self._axis}_tickformatstops"] = STEP_DECIMALS[: decimals + 1]
        length = max(len(grouped(value, decimals)) for value in (values.min(), values.max()))
        margin = LABEL_DIGIT * length + LABEL_SPACE
        if self._side and margin > self._margin:
            self._margin = margin
            changes[f"margin_{self._side}"] = margin
        return changes


def annotation(text: str) -> tuple[dict[str, Any], ...]:
    """Return plotly's annotations with this text in the middle of the plot: one, or () for an empty text."""
    if not text:
        return ()
    place = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
    return ({**place, "text": text, "font": {"size": 13, "color": GREY}},)


def _restyle(figure: go.FigureWidget, layout_changes: Mapping[str, object]) -> None:
    """Set the properties `layout_changes` of a figure's layout.

    Of the shapes only those of gaps are ours and are replaced; the user's own are kept.
    """
    figure.update_layout({name: value for name, value in layout_changes.items() if name != "shapes"})
    if "shapes" in layout_changes:
        theirs = [shape.to_plotly_json() for shape in figure.layout.shapes if shape.name != GAP]
        gaps = [{**shape, "name": GAP} for shape in layout_changes["shapes"]]  # type: ignore[attr-defined]
        figure.layout.shapes = [*theirs, *gaps]


class FigureView(View):
    """A view drawn with plotly. `figure` is the FigureWidget; hold `lock` to change it while it is live."""

    def __init__(self, source: VersionedSource, figure: LiveFigure) -> None:
        super().__init__(source)
        self._annotation = ""
        self._problem = ""
        self._figure = figure
        self._has_times = figure.layout.xaxis.type == "date"
        self._on_clock = settings.local_clock()  # plotly knows no time zones: it gets the local clock as if it were UTC
        if self._has_times:
            name_zone(figure)
        figure.belongs_to(self.lock, self._before_open, self._repr_mimebundle_)
        figure.listen(self._on_report)

    @property
    def figure(self) -> LiveFigure:
        """The live FigureWidget, to be styled by the user; its data belongs to the painter."""
        return self._figure

    @property
    def widget(self) -> LiveFigure:
        """The live FigureWidget, which is `figure`, under the name that all views have."""
        return self._figure

    def _before_open(self) -> None:
        self.draw()
        self._figure.static_picture = self._static_html()

    def _update(
        self, changes: Mapping[int, Mapping[str, object]], text: str, layout_changes: Mapping[str, object] | None = None
    ) -> int:
        """Send the browser one update of the figure; return the number of messages: 1, or 0 if nothing has changed.

        `changes` are the new properties of changed traces, by the trace's position in the figure. `text` is shown in
        the middle of the plot, "" for none; the problem of a failed drawing takes precedence. `layout_changes` are
        changed properties of the layout, None for none: not with every update, and never properties that the user can
        set.
        """
        text = self._problem or text
        if not changes and text == self._annotation and not layout_changes:
            return 0
        figure = self._figure
        if self._has_times:
            changes = {place: self._with_clock(properties) for place, properties in changes.items()}
            layout_changes = self._with_clock(layout_changes or {})
        with figure.one_message(), figure.batch_update():
            for place, properties in changes.items():
                figure.data[place].update(properties, overwrite=True)
            if text != self._annotation:
                figure.layout.annotations = annotation(text)
            if layout_changes:
                _restyle(figure, layout_changes)
        self._annotation = text
        self.frames += 1
        return MESSAGES_A_FRAME

    def _with_clock(self, properties: Mapping[str, object]) -> dict[str, object]:
        """Return the properties of a trace or of the layout with all times as the local clock shows them."""
        changed = dict(properties)
        if isinstance(x := changed.get("x"), np.ndarray):
            changed["x"] = self._on_clock(x)
        shapes = changed.get("shapes")
        if isinstance(shapes, list):
            ends = [self._on_clock(np.array([shape["x0"], shape["x1"]], "float64")).tolist() for shape in shapes]
            changed["shapes"] = [
                {**shape, "x0": first, "x1": last} for shape, (first, last) in zip(shapes, ends, strict=True)
            ]
        return changed

    def _show_problem(self, text: str) -> int:
        self._problem = text
        return self._update({}, "" if not text else self._annotation)

    def _release(self) -> None:
        self._figure.close()

"""Shows gaps of a stream in a chart: a band behind the lines, an interruption of the lines, a note in the title."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aries_nb.model.settings import settings
from aries_nb.widgets.charts.line_points import thinned
from aries_nb.widgets.sources import GapSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aries_nb.model import FrameRows, GapSpan, Numbers, Times
    from aries_nb.widgets.sources import VersionedSource

__all__ = [
    "MOST_BANDS",
    "GapBand",
    "GapOverlay",
    "GapPlaces",
    "bands_between",
    "gap_note",
    "over_candles",
    "samples_line",
    "shapes",
    "spans_of",
    "title_with_gaps",
    "with_breaks",
]

MOST_BANDS = 24
BAND_COLOUR = "rgba(224,142,20,0.14)"
LABEL_SHARE = 0.18  # of the shown range: a narrower band has no room for its text
ROWS_OF_LAG = 100


class GapBand(NamedTuple):
    """A gap of a stream (a time without its data) as drawn in a chart: from `first` to `last`, in epoch milliseconds.

    `cause` is one word, `lasted` the length as text.
    """

    first: float
    last: float
    cause: str
    lasted: str


class GapPlaces:
    """Finds where the rows of a rolling frame stop and continue, for each gap of its stream.

    A gap has times of this machine's clock, a row is drawn at its exchange time, so a gap is located by the rows
    received before and after it. Until the first row after it has arrived, it is in no chart. Owned by the view
    that draws.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[int, float, GapSpan]] = {}  # by start: the row behind it, the latency before it

    def update(self, spans: Sequence[GapSpan], rows_from: Callable[[int], FrameRows], *, window_start: int) -> bool:
        """Locate the current gaps of the stream; return whether anything changed since the last call.

        `rows_from` returns the rolling frame's rows from a number on; it is called only for a gap that is not
        located yet. Gaps before row number `window_start`, the oldest in the rolling frame, are left out.
        """
        before = self._found
        self._found = {}
        for span in spans:
            row, lag, _ = before.get(span.started, (0, 0.0, span))
            if row <= window_start:  # not located yet, or by rows of before a replay began anew
                row, lag, _ = _placed(span, rows_from(0))
            if row > window_start:
                self._found[span.started] = (row, lag, span)
        return before != self._found

    @property
    def rows(self) -> list[int]:
        """The position in the stream, ascending, of the first row after each located gap (a time without data).

        Rows are numbered from the beginning of the rolling frame.
        """
        return sorted({row for row, _, _ in self._found.values()})

    @property
    def bands(self) -> list[GapBand]:
        """The located gaps (times without data) that have ended, oldest first, as bands to draw."""
        return [
            _band(span.started - lag, span.ended - lag, span.cause)
            for _, (_, lag, span) in sorted(self._found.items())
            if span.ended is not None
        ]


def _placed(span: GapSpan, rows: FrameRows) -> tuple[int, float, GapSpan]:
    """Return where to draw a gap: the number of the first row after it, the latency before it, and the gap itself.

    Rows are numbered from the stream's first one, from 0. The number is 0 while no row has arrived after the gap, or
    none came before it. The latency is the smallest time, in ns, from exchange time to receipt of the last rows before
    the gap. It converts the gap's times of receipt to the chart's exchange times.
    """
    received = np.empty(0) if rows.received is None else rows.received
    place = int(np.searchsorted(received, span.started // 1_000, side="right"))
    if not 0 < place < len(received):
        return 0, 0.0, span
    some = slice(max(place - ROWS_OF_LAG, 0), place)
    # The smallest: a late row says nothing about the offset of the clocks, nor does one with a wrong time.
    lags = (received[some] - rows.ts[some])[rows.is_credible[some]]
    return rows.first + place, 1e3 * float(lags.min(initial=lags.max(initial=0))), span


class GapOverlay:
    """Remembers a figure's bands, which mark gaps of a stream, and its title, so that only changes are sent.

    Owned by the view that draws.
    """

    def __init__(self, title: str) -> None:
        self._shown: tuple[list[dict[str, Any]], str] = ([], escape(title))

    def changed(self, bands: list[dict[str, Any]], title: str) -> dict[str, Any]:
        """Return the changes of a plotly figure's layout since the last call.

        They are the properties `shapes`, which are the bands, and `title`; one that is unchanged is left out.
        """
        (old_bands, old_title), self._shown = self._shown, (bands, title)
        looks: dict[str, Any] = {"shapes": bands} if bands != old_bands else {}
        return looks | ({"title": {"text": title}} if title != old_title else {})


def spans_of(source: VersionedSource) -> tuple[GapSpan, ...]:
    """Return the newest 24 gaps of a source's stream at most, oldest first; none if the source does not record gaps."""
    return source.gap_spans()[-MOST_BANDS:] if isinstance(source, GapSource) else ()


def bands_between(spans: Sequence[GapSpan], first: float, last: float) -> list[GapBand]:
    """Return bands, which mark them in a chart, for the gaps that have ended and began between `first` and `last`.

    Both are times of this machine's clock in epoch milliseconds.
    """
    bands = (_band(span.started, span.ended, span.cause) for span in spans if span.ended is not None)
    return [band for band in bands if first <= band.first <= last]


def with_breaks(x: Numbers, y: Numbers, places: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Return the line's points with a point inserted before each position in `places`, where the line is to break.

    Its y is NaN, its x halfway between its neighbours. Positions without points on both sides are ignored.
    """
    places = np.unique(places[(places > 0) & (places < len(x))])
    if not len(places):
        return x, y
    return np.insert(x, places, (x[places - 1] + x[places]) / 2), np.insert(y, places, np.nan)


def over_candles(bands: Sequence[GapBand], starts: Numbers, step: float) -> list[GapBand]:
    """Return the bands, which mark gaps of a stream, widened to the candles that they touch.

    Each candle is drawn around its start, one of `starts` (epoch milliseconds, ascending), and is `step`
    milliseconds wide.
    """
    if not len(starts):
        return []

    def side(time: float, half: float) -> float:
        begin = float(starts[max(int(np.searchsorted(starts, time, side="right")) - 1, 0)])
        return begin + half if begin <= time < begin + step else time - step / 2

    return [band._replace(first=side(band.first, -step / 2), last=side(band.last, step / 2)) for band in bands]


def shapes(bands: Sequence[GapBand], shown: tuple[float, float]) -> list[dict[str, Any]]:
    """Return a plotly shape for each of the newest 24 bands, which mark gaps of a stream, oldest first.

    A band has its text if it is wide enough in the range `shown`, (first, last) in epoch milliseconds.
    """
    room = LABEL_SHARE * (shown[1] - shown[0])
    return [
        {
            "type": "rect",
            "layer": "below",
            "xref": "x",
            "yref": "paper",
            "x0": band.first,
            "x1": band.last,
            "y0": 0,
            "y1": 1,
            "fillcolor": BAND_COLOUR,
            "line": {"width": 0},
            "label": {
                "text": f"{escape(band.cause)} {band.lasted}" if band.last - band.first >= room else "",
                "textposition": "top center",
                "font": {"size": 10, "color": "rgba(200,120,10,0.95)"},
            },
        }
        for band in bands[-MOST_BANDS:]
    ]


def title_with_gaps(title: str, bands: Sequence[GapBand], spans: Sequence[GapSpan], state: str = "") -> str:
    """Return a figure's title as HTML, escaped, with the note on the gaps of its stream that `gap_note` returns.

    `state` is a halt of trading in a few words, shown in front of that note; "" for none.
    """
    text = " · ".join(part for part in (state, gap_note(bands, spans)) if part)
    if not text:
        return escape(title)
    return f'{escape(title)} <span style="font-size:11px;color:rgba(200,120,10,0.95)">{escape(text)}</span>'


def gap_note(bands: Sequence[GapBand], spans: Sequence[GapSpan]) -> str:
    """Return a note on the gaps of a stream as text, with times in `settings.timezone`: "" without gaps.

    It says since when data are missing and why, or when the last of `bands` was. `spans` are the newest gaps, oldest
    first.
    """
    if spans and spans[-1].ended is None:
        return f"no data since {settings.clock(int(spans[-1].started))} ({spans[-1].cause})"
    if not bands:
        return ""
    newest = bands[-1]
    when = f"{settings.clock(int(newest.first * 1e6))}, {newest.lasted} ({newest.cause})"
    return f"gap at {when}" if len(bands) == 1 else f"{len(bands)} gaps, the last at {when}"


def _band(first: float, last: float, cause: str) -> GapBand:
    """Return a gap of a stream as a band to draw; `first` and `last` are its times in ns since the epoch."""
    seconds = (last - first) / 1e9
    if seconds < 9.95:
        lasted = f"{seconds:.1f} s"
    else:
        lasted = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return GapBand(first / 1e6, last / 1e6, cause, lasted)


def samples_line(ts: Times, y: Numbers, count: int, bands: Sequence[GapBand]) -> tuple[Numbers, Numbers]:
    """Return the line of samples at `ts` (ns), thinned to `count` points, times in epoch milliseconds.

    It is interrupted at the end of each band, and where samples are NaN: between the known ones lies what is unknown.
    """
    is_known = np.isfinite(y)
    times = ts / 1e6
    x, y = times[is_known], y[is_known]
    keep = thinned(x, y, count)
    x, y = x[keep], y[keep]
    return with_breaks(x, y, np.searchsorted(x, [*times[~is_known], *(band.last for band in bands)]))

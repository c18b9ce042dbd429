"""Static charts: SVG pictures of at most 30 kB, drawn by the kernel, each an `<img>` with its data in the address.

An image is shown where an inline `<svg>` is not: JupyterLab removes that from the outputs of a notebook that is not
trusted. Captions are text of the page, in its colours; labels within an image have a grey that both themes can bear.
"""

from __future__ import annotations

import math
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aries_nb.model.settings import settings
from aries_nb.widgets.number_format import MINUS, compacts, grouped
from aries_nb.widgets.static_html import BLUE, FONT, ORANGE, clock_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aries_nb.model import Numbers

__all__ = ["Line", "candle_chart", "line_chart"]

Line = tuple[str, str, "Numbers", "Numbers"]  # label, colour, x, y

WIDTH, HEIGHT = 720, 240
TOP, BOTTOM, SIDE, LABELS = 8, 22, 6, 70  # pixels around the plot, and of the labels of a vertical axis
LABEL = "#767676"  # 4.5:1 on white, 4.2:1 on JupyterLab's dark page: no grey has more on both
GRID = "rgba(128,128,128,.25)"
UNITS_A_PIXEL = 2  # of the coordinates in a path, which are whole numbers
EPOCH_MS = 1e11  # smaller numbers are no times
MOST_CANDLES = 240
TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
MINUTE_MS, DAY_MS = 60_000, 86_400_000


class _Axis(NamedTuple):
    """A linear scale: values from `low` to `high` onto the pixels `first` to `last`."""

    low: float
    high: float
    first: float
    last: float

    def pixels(self, values: Numbers) -> Numbers:
        return self.first + (values - self.low) * ((self.last - self.first) / ((self.high - self.low) or 1.0))


def line_chart(title: str, lines: Sequence[Line], *, left: Sequence[Line] = ()) -> str:
    """Return lines over a common x as an HTML figure: caption with legend, image, and the ranges; all texts escaped.

    Each line is (label, colour, x, y); x of 1e11 and more are epoch milliseconds, shown in `settings.timezone`. Lines
    of `left` have an axis of their own, on the left. The legend has the last value of a line over time; of another line
    that is no more than any. A y of NaN interrupts its line; it may be neither the first nor
    the last. Without any point the result is a paragraph that says so.
    """
    right = [_on_clock(line) for line in lines if len(line[2])]
    left = [_on_clock(line) for line in left if len(line[2])]
    drawn = [*right, *left]
    if not drawn:
        return _without_data(title)
    x_low, x_high = _range(x for _, _, x, _ in drawn)
    across = _Axis(x_low, x_high, SIDE + (LABELS if left else 0), WIDTH - SIDE - LABELS)
    parts = [_across_labels(across)]
    for group, is_left in ((right, False), (left, True)):
        if not group:
            continue
        upwards = _upwards(*_range(y for *_, y in group))
        parts.append(_upward_labels(across, upwards, is_left=is_left, has_grid=not is_left or not right))
        parts += [
            f"<path stroke='{colour}' stroke-width='{UNITS_A_PIXEL * (1 if is_left else 1.5)}' d='{path}'/>"
            for _, colour, x, y in group
            for path in [_path(across.pixels(x), upwards.pixels(y))]
        ]
    low, high, *last = compacts([*_range(y for *_, y in (right or left)), *(float(y[-1]) for *_, y in drawn)])
    legend = [
        (colour, f"{label} {text}" if x[0] >= EPOCH_MS else label)
        for (label, colour, x, _), text in zip(drawn, last, strict=True)
    ]
    return _figure(title, legend, parts, f"{_span(x_low, x_high)} · low {low} · high {high}")


def candle_chart(
    title: str, starts: Numbers, columns: Mapping[str, Numbers], *, idle: Sequence[tuple[float, float]]
) -> str:
    """Return candles as an HTML figure like that of `line_chart`: rising ones hollow and blue, falling ones orange.

    `starts` are the candles' starts in epoch milliseconds, `columns` the arrays "open", "high", "low" and "close";
    `idle` are the times to leave out, (from, to) in epoch milliseconds. Of more than 240 candles, neighbours are
    drawn as one.
    """
    if not len(starts):
        return _without_data(title)
    starts, (opened, high, low, close) = _merged(starts, columns)
    local = settings.local_clock()
    starts, idle = local(starts), [tuple(local(np.array(span)).tolist()) for span in idle]
    x = _without_idle(starts, idle)
    step = float(np.diff(x).min()) if len(x) > 1 else 1.0
    across = _Axis(float(x[0]) - step / 2, float(x[-1]) + step / 2, SIDE, WIDTH - SIDE - LABELS)
    upwards = _upwards(*_range([high, low]))
    centre, half = across.pixels(x), max(0.5, 0.35 * step * (across.last - across.first) / (across.high - across.low))
    is_rising = close >= opened
    parts = [_across_labels(across, starts=starts, x=x), _upward_labels(across, upwards, is_left=False, has_grid=True)]
    for chosen, colour, fill in ((is_rising, BLUE, "none"), (~is_rising, ORANGE, ORANGE)):
        ys = [upwards.pixels(each[chosen]) for each in (high, low, opened, close)]
        path = "".join(
            _candle(*values, half=half)
            for values in zip(centre[chosen].tolist(), *map(np.ndarray.tolist, ys), strict=True)
        )
        parts.append(f"<path stroke='{colour}' stroke-width='{UNITS_A_PIXEL}' fill='{fill}' d='{path}'/>")
    lowest, highest, last = compacts([*_range([high, low]), float(close[-1])])
    span = _span(float(starts[0]), float(starts[-1]))
    return _figure(
        title,
        [(BLUE, f"close {last}")],
        parts,
        f"{span} · low {lowest} · high {highest}",
    )


def _on_clock(line: Line) -> Line:
    """Return the line with its times, if they are such, as shown by the clock of `settings.timezone`."""
    label, colour, x, y = line
    return (label, colour, settings.local_clock()(x), y) if x[0] >= EPOCH_MS else line


def _without_data(title: str) -> str:
    return f'<p style="{FONT}">{escape(title)}: no data yet</p>'


def _figure(title: str, legend: Sequence[tuple[str, str]], parts: Sequence[str], ranges: str) -> str:
    """Return the figure: caption with legend (colour, text), the image with the SVG elements `parts`, its `ranges`."""
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' "
        f"font-family='sans-serif' font-size='12' fill='{LABEL}'>{_grouped(parts)}</svg>"
    )
    texts = " ".join(f'<span style="color:{escape(colour)}">&#9632;</span> {escape(text)}' for colour, text in legend)
    alternative = f"{title}: {', '.join(text for _, text in legend)}; {ranges}"
    return (
        f'<figure style="margin:0;{FONT}"><figcaption>{escape(title)} {texts}</figcaption>'
        f'<img alt="{escape(alternative)}" style="max-width:100%" width="{WIDTH}" height="{HEIGHT}" '
        f'src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"><div>{escape(ranges)}</div></figure>'
    )


def _grouped(parts: Sequence[str]) -> str:
    """Return the SVG elements with the paths, whose coordinates are whole numbers of half pixels, in a scaled group."""
    paths = "".join(part for part in parts if part.startswith("<path"))
    others = "".join(part for part in parts if not part.startswith("<path"))
    return f"{others}<g transform='scale({1 / UNITS_A_PIXEL})' fill='none' stroke-linejoin='round'>{paths}</g>"


def _range(arrays: Iterable[Numbers]) -> tuple[float, float]:
    values = np.concatenate(list(arrays))
    return float(np.nanmin(values)), float(np.nanmax(values))


def _upwards(low: float, high: float) -> _Axis:
    # A line of equal values lies in the middle.
    room = 0.04 * (high - low) or abs(high) * 0.01 or 1.0
    return _Axis(low - room, high + room, HEIGHT - BOTTOM, TOP)


def _path(x: Numbers, y: Numbers) -> str:
    """Return the commands of a path through these pixels, in relative whole numbers; NaN in y interrupts it."""
    holes = np.flatnonzero(np.isnan(y))
    commands = []
    for part in np.split(np.arange(len(x)), holes):
        part = part[np.isfinite(y[part])]
        if not len(part):
            continue
        points = np.rint(np.stack([x[part], y[part]]) * UNITS_A_PIXEL).astype("int64")
        steps = np.diff(points, axis=1)
        steps = steps[:, steps.any(axis=0)].T.tolist()
        # A line of one point is a dot.
        commands.append(
            f"M{points[0, 0]} {points[1, 0]}l{' '.join(f'{a} {b}' for a, b in steps or [(0, 1)])}".replace(" -", "-")
        )
    return "".join(commands)


def _candle(x: float, high: float, low: float, opened: float, close: float, *, half: float) -> str:
    """Return the commands of a path for one candle: two wicks and a body, in absolute whole numbers."""
    upper, lower = min(opened, close), max(opened, close)
    across, top, above, below, bottom, left, right = (
        round(value * UNITS_A_PIXEL) for value in (x, high, upper, lower, low, x - half, x + half)
    )
    wicks = f"M{across} {top}V{above}" * (top < above) + f"M{across} {below}V{bottom}" * (below < bottom)
    return f"{wicks}M{left} {above}H{right}V{below}H{left}z"


def _merged(starts: Numbers, columns: Mapping[str, Numbers]) -> tuple[Numbers, list[Numbers]]:
    """Return starts and [open, high, low, close] of at most 240 candles: neighbours are merged where there are more."""
    size = math.ceil(len(starts) / MOST_CANDLES)
    first = np.arange(0, len(starts), size)
    last = np.minimum(first + size, len(starts)) - 1
    high, low = np.maximum.reduceat(columns["high"], first), np.minimum.reduceat(columns["low"], first)
    return starts[first], [columns["open"][first], high, low, columns["close"][last]]


def _without_idle(x: Numbers, idle: Sequence[tuple[float, float]]) -> Numbers:
    """Return times in ms from which the `idle` spans before them are taken off."""
    shift = np.zeros(len(x))
    for begin, end in idle:
        shift[x >= end] += end - begin
    return x - shift


def _span(low: float, high: float) -> str:
    """Return the range of x as text: times of day, with the days if they are several, and the zone; or numbers."""
    if low < EPOCH_MS:
        return "–".join(compacts([low, high]))
    days = np.array([low, high]).astype("M8[ms]").astype("M8[D]").astype(str)
    first, last = (clock_time(each * 1e6) for each in (low, high))
    days_last = last if days[0] == days[1] else f"{days[1]} {last}"
    return f"{days[0]} {first}–{days_last} {settings.timezone}"


def _upward_labels(across: _Axis, axis: _Axis, *, is_left: bool, has_grid: bool) -> str:
    ticks, decimals = _ticks(axis.low, axis.high, 5)
    place = f"x='{across.first - 6:.0f}' text-anchor='end'" if is_left else f"x='{across.last + 6:.0f}'"
    parts = []
    for value, y in zip(ticks.tolist(), axis.pixels(ticks).tolist(), strict=True):
        grid = f"<path d='M{across.first:.0f} {y:.1f}H{across.last:.0f}' stroke='{GRID}'/>" if has_grid else ""
        parts.append(f"<text {place} y='{y + 4:.1f}'>{_tick_text(value, decimals)}</text>{grid}")
    return f"<g>{''.join(parts)}</g>"


def _across_labels(axis: _Axis, *, starts: Numbers | None = None, x: Numbers | None = None) -> str:
    """Return the labels below the plot; with `starts` at some of the positions `x`, which are no times themselves."""
    if starts is not None and x is not None:
        chosen = np.unique(np.linspace(0, len(x) - 1, 6).astype("int64"))
        places, texts = x[chosen], _time_texts(starts[chosen], float(np.ptp(starts)))
    elif axis.low < EPOCH_MS:
        places, decimals = _ticks(axis.low, axis.high, 7)
        texts = [_tick_text(value, decimals) for value in places.tolist()]
    else:
        wanted = (axis.high - axis.low) / 1e3 / 6
        step = 1e3 * next((s for s in TIME_STEPS_S if s >= wanted), 86_400 * math.ceil(wanted / 86_400))
        places = _multiples(step, axis.low, axis.high)
        texts = _time_texts(places, step)
    at = axis.pixels(places).tolist()
    labels = [
        f"<text x='{min(max(x, 28), WIDTH - 28):.0f}' y='{HEIGHT - 6}' text-anchor='middle'>{text}</text>"
        for x, text in zip(at, texts, strict=True)
    ]
    return f"<g>{''.join(labels)}</g>"


def _time_texts(ms: Numbers, step: float) -> list[str]:
    if step >= DAY_MS:
        minutes = ms.astype("M8[ms]").astype("M8[m]").astype(str).tolist()
        return [text[5:].replace("T", " ").removesuffix(" 00:00") for text in minutes]
    length = 8 if step < MINUTE_MS or (ms % MINUTE_MS).any() else 5
    return [clock_time(each * 1e6)[:length] for each in ms.tolist()]


def _ticks(low: float, high: float, most: int) -> tuple[Numbers, int]:
    """Return round numbers from `low` to `high`, at most `most`, and how many decimals they need."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next((power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * 0.999), power * 10)
    decimals = max(0, -math.floor(math.log10(step)) + (step / power == 2.5))
    return _multiples(step, low, high), decimals


def _multiples(step: float, low: float, high: float) -> Numbers:
    return np.arange(math.ceil(low / step), math.floor(high / step) + 1).astype("float64") * step


def _tick_text(value: float, decimals: int) -> str:
    # Ten characters are the room of a label.
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= 100 * limit:
            return f"{value / limit:,.6g}{letter}".replace("-", MINUS)
    return grouped(value, decimals)

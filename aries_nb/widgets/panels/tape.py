"""Tape (time and sales): the prints of a stream of trades, the newest on top."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model import CANCELLED, CORRECTED
from aries_nb.model.settings import settings
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.number_format import Decimals, grouped
from aries_nb.widgets.row_updates import RowUpdates
from aries_nb.widgets.static_html import clock_time, table
from aries_nb.widgets.table_format import ColumnHeading, FormattedRow

if TYPE_CHECKING:
    from aries_nb.model import PrintsData, Values
    from aries_nb.widgets.sources import PrintsSource

__all__ = ["Tape"]

# Exchange time in us since the epoch, symbol, price, size, side, venue, tick, whether it is big, source.
PrintValues: TypeAlias = "tuple[int, str, float, float, str, str, int, int, str]"

ROWS_IN_SIGHT = 16
PRINTS_KEPT = 1_000  # in the page
MOST_A_FRAME = 40  # prints of one frame, of ten a second: more are not read; big ones come on top
SIZES_KEPT = 400  # newest sizes of a symbol, by which a print is called big
LEAST_SIZES = 20
BIG = 10  # times the median size
HEADINGS = {
    "time": ColumnHeading("time", "Time", "time"),
    "symbol": ColumnHeading("symbol", "Symbol", "symbol"),
    "price": ColumnHeading("price", "Price", "price"),
    "size": ColumnHeading("size", "Size", "number"),
    "side": ColumnHeading("side", "Side", "side"),
    "venue": ColumnHeading("venue", "Venue", "text"),
}


class Tape(Panel):
    """A live tape of prints, the newest on top; `rows` (default 16) are visible at once, the newest 1,000 by scrolling.

    `title` is shown above it, "" for none. A price above that of the symbol's print before it has an arrow up, one
    below it an arrow down; big prints, of at least ten times the median size of the newest 400 prints of their symbol,
    stand out. A print that was corrected comes again, and one that was cancelled as well, each marked so in the column
    of sizes. Of one frame the newest 40 prints and the big ones are sent; the tape says how many were left out. The
    columns symbol, side and venue are there where prints differ in them. Times are in `settings.timezone`. Raises
    UsageError for fewer than one row.
    """

    script = "tape"

    def __init__(self, source: PrintsSource, *, title: str = "", rows: int = ROWS_IN_SIGHT) -> None:
        if rows < 1:
            raise UsageError(f"rows={rows}", where="Tape", advice="Pass 1 or more.")
        self._prints_source = source
        self._title = title
        self._rows_in_sight = rows
        self._names = [name for name in HEADINGS if name not in ("side", "venue")]
        if len(source.symbols) == 1:
            self._names.remove("symbol")
        self._timezone = settings.timezone
        self._shown: deque[FormattedRow] = deque(maxlen=PRINTS_KEPT)  # newest first
        self._begin(0)
        self._price_decimals: dict[str, Decimals] = {}
        self._size_decimals: dict[str, Decimals] = {}
        self._updates = RowUpdates()
        super().__init__(source)
        self.widget.whole_rows = self._updates.whole

    def _begin(self, origin: int) -> None:
        """Have no prints; the first one has the number `origin`."""
        self._shown.clear()
        self._origin = self._next = origin  # `_next`: number of the print after the last one that was read
        self._left_out = 0
        self._prices: dict[str, float] = {}
        self._sizes: dict[str, _Sizes] = {}

    def __repr__(self) -> str:
        return f"Tape({self._title!r})" if self._title else "Tape()"

    def _compose(self) -> PanelFrame:
        data = self._read()
        description: dict[str, object] = {
            "title": self._title,
            "columns": [HEADINGS[name].plain for name in self._names],
            "rows": self._rows_in_sight,
            "note": _note(data),
            "timezone": settings.timezone,
        }
        head = (float(data.is_stale), data.received_ns / 1e6, float(self._left_out), float(data.end))
        return PanelFrame(description, head, np.empty(0), self._updates.update(self._shown))

    def _picture(self) -> str:
        with self.lock:
            data, rows = self._read(), [row.texts for row in self._shown]
        labels = [HEADINGS[name].label for name in self._names]
        lefts = [place for place, name in enumerate(self._names) if HEADINGS[name].is_left]
        caption = " · ".join(text for text in (self._title, _note(data), "stale" if data.is_stale else "") if text)
        if not rows:
            caption = f"{caption} · no prints".removeprefix(" · ")
        return table(caption, labels, rows, text_columns=lefts)

    def _read(self) -> PrintsData:
        """Take the prints that are new since the last call."""
        data = self._prints_source.prints(self._next, PRINTS_KEPT)
        if data.origin != self._origin:
            self._begin(data.origin)
            data = self._prints_source.prints(self._next, PRINTS_KEPT)
        is_first = self._next == self._origin
        count = len(data.ts)
        first = data.end - count
        missed = 0 if is_first else max(0, first - self._next)
        self._next = data.end
        self._left_out += missed
        self._arrange(data)
        newest = 0 if is_first else count - MOST_A_FRAME
        for place in range(count):
            symbol, price = data.symbol[place], data.price[place]
            source = data.source[place] if data.source else ""
            before = self._prices.get(symbol, math.nan)
            self._prices[symbol] = before if source == CANCELLED else price
            is_big = source != CANCELLED and self._is_big(symbol, data.size[place])
            if place < newest and not is_big:
                self._left_out += 1
                continue
            tick = int(np.sign(price - before)) if math.isfinite(before) and math.isfinite(price) else 0
            side = "" if data.side[place] == "unknown" else data.side[place].upper()
            tick = 0 if source == CANCELLED else tick
            size, venue = data.size[place], data.venue[place]
            row = (data.ts[place], symbol, price, size, side, venue, tick, int(is_big), source)
            self._shown.appendleft(self._formatted(row, f"[{first + place}]"))
        return data

    def _arrange(self, data: PrintsData) -> None:
        """Add the columns side and venue once prints have them; format all rows anew if they look otherwise now."""
        has = {"side": not set(data.side) <= {"", "unknown"}, "venue": any(data.venue)}
        names = [name for name in HEADINGS if name in self._names or has.get(name)]
        if names == self._names and settings.timezone == self._timezone:
            return
        self._names, self._timezone = names, settings.timezone
        self._shown = deque((self._formatted(row.values, row.key) for row in self._shown), maxlen=PRINTS_KEPT)

    def _formatted(self, row: Values, key: str) -> FormattedRow:
        """Return a print as a row; beyond the columns its numbers have the tick (1, 0 or -1), and 1 for a big print."""
        ts, symbol, price, size, side, venue, tick, is_big, source = cast("PrintValues", row)
        prices = self._price_decimals.setdefault(symbol, Decimals(is_price=True))
        sizes = self._size_decimals.setdefault(symbol, Decimals(is_price=False))
        local_us = settings.local_ns(ts * 1_000) // 1_000
        texts = {
            "time": f"{clock_time(local_us * 1e3)}.{local_us // 1_000 % 1_000:03d}",
            "symbol": symbol,
            "price": grouped(price, prices.of_values([price])),
            "size": CANCELLED if source == CANCELLED else grouped(size, sizes.of_values([size])),
            "side": side,
            "venue": venue,
        }
        numbers = {"time": ts / 1e3, "price": price, "size": size}
        if source == CORRECTED:
            texts["size"] = f"{CORRECTED} {texts['size']}"
        columns = (*(numbers.get(name, math.nan) for name in self._names), float(tick), float(is_big))
        return FormattedRow(row, key, tuple(texts[name] for name in self._names), columns)

    def _is_big(self, symbol: str, size: float) -> bool:
        return self._sizes.setdefault(symbol, _Sizes()).is_big(size)


class _Sizes:
    """The newest sizes of one symbol, and from which size on a print is big."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=SIZES_KEPT)
        self._uses = 0  # until the median is computed again
        self._big_from = math.inf

    def is_big(self, size: float) -> bool:
        """Return whether a print of this size is big, and count it."""
        if not math.isfinite(size):
            return False
        self._newest.append(size)
        if self._uses <= 0 and len(self._newest) >= LEAST_SIZES:
            self._uses, self._big_from = LEAST_SIZES, BIG * median(self._newest)
        self._uses -= 1
        return size >= self._big_from


def _note(data: PrintsData) -> str:
    return ", ".join(f"{symbol}: {reason}" for symbol, reason in data.rejected.items())

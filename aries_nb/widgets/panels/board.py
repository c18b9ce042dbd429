"""Quote board: one row for each symbol with its newest values, sorted and filtered in the browser."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from aries_nb.model.prices import spreads
from aries_nb.model.settings import settings
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.number_format import (
    PERCENT_DECIMALS,
    Decimals,
    column_kind,
    column_label,
    decimals_beyond,
    decimals_of_rows,
    grouped,
    signed,
)
from aries_nb.widgets.row_updates import RowUpdates
from aries_nb.widgets.static_html import clock_time, table
from aries_nb.widgets.table_format import FormattedRow

if TYPE_CHECKING:
    from aries_nb.model import BoardData, Numbers
    from aries_nb.widgets.sources import BoardSource

__all__ = ["Board"]

# The order traders know: the two sides with their sizes outside, what was paid and how far it moved, the day. Other
# columns follow in their own order.
USUAL_ORDER = (
    *("bid_size", "bid_price", "ask_price", "ask_size", "spread"),
    *("last_price", "net_change", "change_percent"),
    *("high_price", "low_price", "total_volume", "vwap"),
)


class Board(Panel):
    """A live board with the newest row of each symbol. `title` is shown above it, "" for none.

    The browser is sent the rows that changed, and has elements for those in sight alone. A row that is out of date is
    marked, except for its age.
    """

    script = "board"

    def __init__(self, source: BoardSource, *, title: str = "") -> None:
        self._board_source = source
        self._title = title
        self._decimals: dict[tuple[str, str], Decimals] = {}  # by kind, and symbol or column
        self._of_symbols: dict[str, tuple[tuple[str, ...], list[Decimals]]] = {}
        self._rows: dict[str, tuple[bytes, FormattedRow]] = {}  # by symbol: what it shows, and how
        self._updates = RowUpdates()
        super().__init__(source)
        self.widget.whole_rows = self._updates.whole

    def __repr__(self) -> str:
        return f"Board({self._title!r})" if self._title else "Board()"

    def _compose(self) -> PanelFrame:
        data = self._board_source.board()
        names, numbers = _arranged(data)
        description: dict[str, object] = {
            "title": self._title,
            "columns": [{"name": name, "label": column_label(name), "kind": column_kind(name)} for name in names],
            "rejected": dict(data.rejected),
            "stale": [] if data.is_stale else list(data.stale),
            "states": dict(data.states),
            "market": data.market,
        }
        rows = self._formatted(data, names, numbers)
        return PanelFrame(description, (float(data.is_stale),), np.empty(0), self._updates.update(rows))

    def _formatted(self, data: BoardData, names: list[str], numbers: Numbers) -> list[FormattedRow]:
        """Return a row for each symbol, the refused ones behind; of an unchanged one the same object as before."""
        decimals = self._decimals_of(data.symbols, names, numbers)
        columns = "|".join(names).encode()
        # The age is the column behind the others, which the browser shows by its own clock.
        whole = np.hstack([numbers, data.received[:, np.newaxis] / 1e6])
        content = np.hstack([whole, decimals]).tobytes()
        width = len(content) // max(1, len(data.symbols))
        rows = []
        for place, symbol in enumerate(data.symbols):
            shown = columns + content[place * width : (place + 1) * width]
            known = self._rows.get(symbol)
            if known is None or known[0] != shown:
                values = whole[place].tolist()
                texts = map(_text, names, values[:-1], decimals[place].astype(int).tolist())
                key = json.dumps([symbol], ensure_ascii=False, separators=(",", ":"))
                row = FormattedRow((), key, (symbol, *texts, ""), (math.nan, *values))
                known = self._rows[symbol] = shown, row
            rows.append(known[1])
        for symbol in data.rejected:
            if symbol not in data.symbols:
                empty = FormattedRow(
                    (), json.dumps([symbol]), (symbol, *[""] * (len(names) + 1)), (math.nan,) * (len(names) + 2)
                )
                rows.append(self._rows.setdefault(symbol, (columns, empty))[1])
        return rows

    def _decimals_of(self, symbols: tuple[str, ...], names: list[str], numbers: Numbers) -> Numbers:
        """Return how many decimals each cell is shown with, an array like `numbers`.

        Prices have those of their instrument, and so have sizes; other numbers have those of their column.
        """
        decimals = np.zeros(numbers.shape)
        kinds = [column_kind(name) for name in names]
        for kind, like in (("price", ("price", "change")), ("size", ("size",))):
            own = [place for place, each in enumerate(kinds) if each in like]
            seen = numbers[:, [place for place in own if decimals_beyond(names[place]) is None]]
            if kind not in self._of_symbols or self._of_symbols[kind][0] != symbols:
                self._of_symbols[kind] = symbols, [self._known(kind, symbol) for symbol in symbols]
            of_symbols = decimals_of_rows(self._of_symbols[kind][1], seen)
            for place in own:
                decimals[:, place] = np.array(of_symbols) + (decimals_beyond(names[place]) or 0)
        decimals[:, [kind == "percent" for kind in kinds]] = PERCENT_DECIMALS
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            if kind == "number":
                decimals[:, place] = self._known("number", name).of(numbers[:, place])
        return decimals

    def _known(self, kind: str, name: str) -> Decimals:
        return self._decimals.setdefault((kind, name), Decimals(is_price=kind == "price"))

    def _picture(self) -> str:
        data = self._board_source.board()
        names, numbers = _arranged(data)
        decimals = self._decimals_of(data.symbols, names, numbers).astype(int).tolist()
        rows = [
            [
                _named(data, symbol),
                *map(_text, names, numbers[row].tolist(), decimals[row]),
                _received_text(data, row),
            ]
            for row, symbol in enumerate(data.symbols)
        ]
        others = [symbol for symbol in data.rejected if symbol not in data.symbols]
        rows += [[symbol, *[""] * len(names), data.rejected[symbol]] for symbol in others]
        caption = " · ".join(text for text in (self._title, data.market, "stale" if data.is_stale else "") if text)
        return table(caption, ["Symbol", *map(column_label, names), f"Received ({settings.timezone})"], rows)


def _named(data: BoardData, symbol: str) -> str:
    return f"{symbol} · {data.states[symbol]}" if data.states.get(symbol) else symbol


def _text(name: str, value: float, decimals: int) -> str:
    kind = column_kind(name)
    if kind not in ("change", "percent"):
        return grouped(value, decimals)
    return signed(value, decimals, "%" if kind == "percent" else "")


def _received_text(data: BoardData, row: int) -> str:
    """Return the text of a row's time of receipt in the static picture, marked if the row is stale.

    `row` is its position. For a symbol that the server refused it is the reason.
    """
    symbol = data.symbols[row]
    if symbol in data.rejected:
        return data.rejected[symbol]
    when = clock_time(settings.local_ns(int(data.received[row])))
    return f"{when} stale" if symbol in data.stale and not data.is_stale else when


def _arranged(data: BoardData) -> tuple[list[str], np.ndarray]:
    """Return the names of the columns in their usual order, with the spread added, and the numbers to match."""
    columns = dict(zip(data.columns, data.numbers.T, strict=True))
    if {"bid_price", "ask_price"} <= columns.keys() and "spread" not in columns:
        columns["spread"] = spreads(columns["bid_price"], columns["ask_price"])
    names = [name for name in USUAL_ORDER if name in columns]
    names += [name for name in columns if name not in USUAL_ORDER]
    if not names:
        return names, np.empty((len(data.symbols), 0))
    return names, np.column_stack([columns[name] for name in names])

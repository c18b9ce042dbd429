"""Quote board: one row for each symbol with its newest values, sorted and filtered in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aries_nb.model.prices import spreads
from aries_nb.model.settings import settings
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.number_format import Decimals, column_kind, column_label, grouped
from aries_nb.widgets.static_html import clock_time, table

if TYPE_CHECKING:
    from aries_nb.model import BoardData
    from aries_nb.widgets.sources import BoardSource

__all__ = ["Board"]

# The order traders know: sizes outside, prices inside. Other columns follow in their own order.
USUAL_ORDER = ("bid_size", "bid_price", "ask_price", "ask_size", "spread", "last_price")


class Board(Panel):
    """A live board with the newest row of each symbol. `title` is shown above it, "" for none.

    Every update is one message with all numbers as float64; the browser compares and changes only cells that differ.
    A row that is out of date is dimmed, except for its age.
    """

    script = "board"

    def __init__(self, source: BoardSource, *, title: str = "") -> None:
        self._board_source = source
        self._title = title
        self._price_decimals: dict[str, Decimals] = {}
        self._column_decimals: dict[str, Decimals] = {}
        super().__init__(source)

    def __repr__(self) -> str:
        return f"Board({self._title!r})" if self._title else "Board()"

    def _compose(self) -> PanelFrame:
        data = self._board_source.board()
        names, numbers = _arranged(data)
        kinds = [column_kind(name) for name in names]
        description: dict[str, object] = {
            "title": self._title,
            "symbols": list(data.symbols),
            "columns": [
                {"name": name, "label": column_label(name), "kind": kind}
                for name, kind in zip(names, kinds, strict=True)
            ],
            "price_decimals": self._of_symbols(data.symbols, numbers, kinds),
            "decimals": self._of_columns(names, numbers),
            "rejected": dict(data.rejected),
            "stale": [] if data.is_stale else list(data.stale),
        }
        received_ms = data.received[:, np.newaxis] / 1e6
        return PanelFrame(description, (float(data.is_stale),), np.hstack([numbers, received_ms]))

    def _of_symbols(self, symbols: tuple[str, ...], numbers: np.ndarray, kinds: list[str]) -> list[int]:
        prices = numbers[:, [kind == "price" for kind in kinds]]
        return [
            self._price_decimals.setdefault(symbol, Decimals(is_price=True)).of(row)
            for symbol, row in zip(symbols, prices, strict=True)
        ]

    def _of_columns(self, names: list[str], numbers: np.ndarray) -> list[int]:
        return [
            self._column_decimals.setdefault(name, Decimals(is_price=False)).of(numbers[:, place])
            for place, name in enumerate(names)
        ]

    def _picture(self) -> str:
        data = self._board_source.board()
        names, numbers = _arranged(data)
        kinds = [column_kind(name) for name in names]
        of_symbol = self._of_symbols(data.symbols, numbers, kinds)
        of_column = self._of_columns(names, numbers)
        rows = [
            [
                symbol,
                *(
                    grouped(value, of_symbol[row] if kind == "price" else decimals)
                    for value, kind, decimals in zip(numbers[row].tolist(), kinds, of_column, strict=True)
                ),
                _received_text(data, row),
            ]
            for row, symbol in enumerate(data.symbols)
        ]
        others = [symbol for symbol in data.rejected if symbol not in data.symbols]
        rows += [[symbol, *[""] * len(names), data.rejected[symbol]] for symbol in others]
        caption = " · ".join(text for text in (self._title, "stale" if data.is_stale else "") if text)
        return table(caption, ["Symbol", *map(column_label, names), f"Received ({settings.timezone})"], rows)


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

"""Quote board: one row for each symbol with its newest values, sorted and filtered in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aries_nb.model.prices import spreads
from aries_nb.model.settings import settings
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.number_format import (
    Decimals,
    column_kind,
    column_label,
    decimals_beyond,
    decimals_of_rows,
    grouped,
)
from aries_nb.widgets.static_html import clock_time, table

if TYPE_CHECKING:
    from aries_nb.model import BoardData, Numbers
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
        self._decimals: dict[tuple[str, str], Decimals] = {}  # by kind, and symbol or column
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
            "decimals": self._decimals_of(data.symbols, names, numbers),
            "rejected": dict(data.rejected),
            "stale": [] if data.is_stale else list(data.stale),
        }
        received_ms = data.received[:, np.newaxis] / 1e6
        return PanelFrame(description, (float(data.is_stale),), np.hstack([numbers, received_ms]))

    def _decimals_of(self, symbols: tuple[str, ...], names: list[str], numbers: Numbers) -> list[list[int]]:
        """Return how many decimals each cell is shown with, row by row as in `numbers`.

        Prices have those of their instrument, and so have sizes; other numbers have those of their column.
        """
        decimals = np.zeros(numbers.shape, dtype=np.int64)
        for kind in ("price", "size"):
            own = [place for place, name in enumerate(names) if column_kind(name) == kind]
            seen = numbers[:, [place for place in own if decimals_beyond(names[place]) is None]]
            of_symbols = decimals_of_rows([self._known(kind, symbol) for symbol in symbols], seen)
            for place in own:
                decimals[:, place] = np.array(of_symbols) + (decimals_beyond(names[place]) or 0)
        for place, name in enumerate(names):
            if column_kind(name) == "number":
                decimals[:, place] = self._known("number", name).of(numbers[:, place])
        return decimals.astype(int).tolist()  # type: ignore[no-any-return]

    def _known(self, kind: str, name: str) -> Decimals:
        return self._decimals.setdefault((kind, name), Decimals(is_price=kind == "price"))

    def _picture(self) -> str:
        data = self._board_source.board()
        names, numbers = _arranged(data)
        decimals = self._decimals_of(data.symbols, names, numbers)
        rows = [
            [
                symbol,
                *map(grouped, numbers[row].tolist(), decimals[row]),
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

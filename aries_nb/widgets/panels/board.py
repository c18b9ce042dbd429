"""Quote board: one row for each symbol with its newest values, sorted and filtered in the browser."""

from __future__ import annotations

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
from aries_nb.widgets.static_html import clock_time, table

if TYPE_CHECKING:
    from aries_nb.model import BoardData, Numbers
    from aries_nb.widgets.sources import BoardSource

__all__ = ["Board"]

# As in a watch list: what was paid and how far it moved, the two sides with their sizes outside, the day. Other columns
# follow in their own order.
USUAL_ORDER = (
    *("last_price", "net_change", "change_percent"),
    *("bid_size", "bid_price", "ask_price", "ask_size", "spread"),
    *("high_price", "low_price", "total_volume", "vwap"),
)


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
        kinds = [column_kind(name) for name in names]
        for kind, like in (("price", ("price", "change")), ("size", ("size",))):
            own = [place for place, each in enumerate(kinds) if each in like]
            seen = numbers[:, [place for place in own if decimals_beyond(names[place]) is None]]
            of_symbols = decimals_of_rows([self._known(kind, symbol) for symbol in symbols], seen)
            for place in own:
                decimals[:, place] = np.array(of_symbols) + (decimals_beyond(names[place]) or 0)
        decimals[:, [kind == "percent" for kind in kinds]] = PERCENT_DECIMALS
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            if kind == "number":
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
                *map(_text, names, numbers[row].tolist(), decimals[row]),
                _received_text(data, row),
            ]
            for row, symbol in enumerate(data.symbols)
        ]
        others = [symbol for symbol in data.rejected if symbol not in data.symbols]
        rows += [[symbol, *[""] * len(names), data.rejected[symbol]] for symbol in others]
        caption = " · ".join(text for text in (self._title, "stale" if data.is_stale else "") if text)
        return table(caption, ["Symbol", *map(column_label, names), f"Received ({settings.timezone})"], rows)


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

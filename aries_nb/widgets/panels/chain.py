"""Option chain: calls left, strikes in the middle, puts right; the row nearest to the underlying's price is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aries_nb.model.contracts import option_root
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.number_format import Decimals, grouped
from aries_nb.widgets.static_html import MOST_ROWS, table

if TYPE_CHECKING:
    from aries_nb.model import BoardData, Numbers
    from aries_nb.widgets.sources import ChainSource

__all__ = ["Chain"]

# Columns of a side from the outside to the strike, and how their numbers are shown. Bid comes before ask on both sides,
# so that it is always clear which is which.
LABELS = {"implied_volatility": "IV", "delta": "Delta", "last_price": "Last", "bid_price": "Bid", "ask_price": "Ask"}
KINDS = {"implied_volatility": "percent", "delta": "ratio"}
CALLS = ("implied_volatility", "delta", "last_price", "bid_price", "ask_price")
PUTS = ("bid_price", "ask_price", "last_price", "delta", "implied_volatility")
PERCENT_DECIMALS, RATIO_DECIMALS = 1, 3
AT_THE_MONEY = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE} "


class Chain(Panel):
    """A live option chain with a row for each strike, and for each root where there are several.

    Its size never changes. `title` "" shows none.
    """

    script = "chain"

    def __init__(self, source: ChainSource, *, title: str = "") -> None:
        self._chain_source = source
        self._title = title
        # A row for each strike of each root: SPX and SPXW are different contracts.
        self._lines = sorted({(strike, option_root(symbol)) for symbol, _, strike in source.contracts})
        self._strikes = [strike for strike, _ in self._lines]
        self._has_roots = len({root for _, root in self._lines}) > 1
        self._symbols = {
            kind: {
                (strike, option_root(symbol)): symbol
                for symbol, its_kind, strike in source.contracts
                if its_kind == kind
            }
            for kind in ("call", "put")
        }
        self._prices = Decimals(is_price=True)
        self._spots = Decimals(is_price=True)
        self._strike_decimals = Decimals(is_price=False).of(np.array(self._strikes, dtype="float64"))
        super().__init__(source)

    def __repr__(self) -> str:
        return f"Chain({self._title!r})" if self._title else "Chain()"

    def _compose(self) -> PanelFrame:
        data, spot = self._chain_source.board(), self._chain_source.spot
        numbers = self._rows(data)
        description: dict[str, object] = {
            "title": self._title,
            "strikes": self._strikes,
            "columns": [{"name": name, "label": LABELS[name], "kind": _kind(name)} for name in (*CALLS, *PUTS)],
            "roots": [root for _, root in self._lines] if self._has_roots else [],
            "symbols": [[self._symbols[kind].get(line, "") for kind in ("call", "put")] for line in self._lines],
            "decimals": [self._decimals(name, numbers) for name in (*CALLS, *PUTS)],
            "strike_decimals": self._strike_decimals,
            "spot_decimals": self._spots.of(np.array([spot])),
        }
        received_ms = float(data.received.max(initial=0)) / 1e6
        return PanelFrame(description, (float(data.is_stale), spot, received_ms), numbers)

    def _picture(self) -> str:
        data, spot = self._chain_source.board(), self._chain_source.spot
        numbers = self._rows(data)
        decimals = [self._decimals(name, numbers) for name in (*CALLS, *PUTS)]
        money = int(np.argmin(np.abs(np.array(self._strikes) - spot))) if self._strikes and np.isfinite(spot) else -1
        rows = []
        for place, (strike, root) in enumerate(self._lines):
            texts = [
                _text(name, value, shown)
                for name, value, shown in zip((*CALLS, *PUTS), numbers[place].tolist(), decimals, strict=True)
            ]
            middle = (AT_THE_MONEY if place == money else "") + grouped(strike, self._strike_decimals)
            middle += f" {root}" if self._has_roots else ""
            rows.append([*texts[: len(CALLS)], middle, *texts[len(CALLS) :]])
        shown_spot = f"underlying {grouped(spot, self._spots.of(np.array([spot])))}"
        if len(rows) > MOST_ROWS:  # those around the price of the underlying
            first = min(max(0, max(money, 0) - MOST_ROWS // 2), len(rows) - MOST_ROWS)
            rows = rows[first : first + MOST_ROWS]
            shown_spot += f" · {MOST_ROWS} of {len(self._strikes):,} strikes"
        caption = " · ".join(text for text in (self._title, shown_spot, "stale" if data.is_stale else "") if text)
        header = [*(f"Call {_heading(name)}" for name in CALLS), "Strike", *(f"Put {_heading(name)}" for name in PUTS)]
        return table(caption, header, rows, text_columns=())

    def _rows(self, data: BoardData) -> Numbers:
        """Return the chain's numbers as an array: a row for each line, the columns of calls, then those of puts.

        NaN where there is no such contract or nothing has arrived.
        """
        row_of = {symbol: row for row, symbol in enumerate(data.symbols)}
        numbers = np.full((len(self._strikes), len(CALLS) + len(PUTS)), np.nan)
        for kind, names, first in (("call", CALLS, 0), ("put", PUTS, len(CALLS))):
            places = [data.columns.index(name) for name in names]
            for place, line in enumerate(self._lines):
                row = row_of.get(self._symbols[kind].get(line, ""))
                if row is not None:
                    numbers[place, first : first + len(names)] = data.numbers[row, places]
        return numbers

    def _decimals(self, name: str, numbers: Numbers) -> int:
        if _kind(name) == "percent":
            return PERCENT_DECIMALS
        if _kind(name) == "ratio":
            return RATIO_DECIMALS
        prices = [place for place, column in enumerate((*CALLS, *PUTS)) if _kind(column) == "price"]
        return self._prices.of(numbers[:, prices].ravel())


def _kind(name: str) -> str:
    return KINDS.get(name, "price")


def _heading(name: str) -> str:
    label = LABELS[name]
    return label if label.isupper() else label.lower()


def _text(name: str, value: float, decimals: int) -> str:
    if _kind(name) == "percent":
        return f"{grouped(100 * value, decimals)}%" if np.isfinite(value) else grouped(value, decimals)
    return grouped(value, decimals)

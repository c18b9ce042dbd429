"""Order-book ladder: bids left, asks right; greyed out, with the reason, when the book cannot be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model.prices import middle, spreads
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.number_format import Decimals, grouped
from aries_nb.widgets.sources import integrity_text
from aries_nb.widgets.static_html import table

if TYPE_CHECKING:
    from aries_nb.model import BookLevels, Numbers
    from aries_nb.widgets.sources import BookSource

__all__ = ["Ladder"]

MOST_LEVELS = 100


class Ladder(Panel):
    """A live order-book ladder of `depth` levels for each side (default 10, at most 100); its height never changes.

    Raises UsageError for another depth.
    """

    script = "ladder"

    def __init__(self, source: BookSource, *, depth: int = 10) -> None:
        if not 1 <= depth <= MOST_LEVELS:
            raise UsageError(f"depth={depth}", where="Ladder", advice=f"Pass 1 to {MOST_LEVELS} levels.")
        self._book_source = source
        self._depth = depth
        self._prices = Decimals(is_price=True)
        self._sizes = Decimals(is_price=False)
        super().__init__(source)

    def __repr__(self) -> str:
        return f"Ladder(depth={self._depth})"

    def _compose(self) -> PanelFrame:
        book = self._book_source.levels(self._depth)
        bids, asks = book.bids[: self._depth], book.asks[: self._depth]
        both = np.vstack([bids, asks])
        description: dict[str, object] = {
            "symbol": book.symbol,
            "depth": self._depth,
            "integrity": book.integrity,
            "is_doubtful": book.integrity not in ("ok", "locked"),
            **_spread_and_middle(book),
            "reason": integrity_text(book),
            "price_decimals": self._prices.of(both[:, 0]),
            "size_decimals": self._sizes.of(both[:, 1]),
        }
        return PanelFrame(description, (float(len(bids)), float(len(asks)), book.received / 1e6), both)

    def _picture(self) -> str:
        book = self._book_source.levels(self._depth)
        prices, sizes = self._prices.of(_column(book, 0)), self._sizes.of(_column(book, 1))
        rows = [["", grouped(price, prices), grouped(size, sizes)] for price, size in book.asks[::-1].tolist()]
        rows += [[grouped(size, sizes), grouped(price, prices), ""] for price, size in book.bids.tolist()]
        reason = integrity_text(book)
        caption = f"{book.symbol} · {reason}" if reason else book.symbol
        return table(caption, ["Bid size", "Price", "Ask size"], rows, text_columns=())


def _spread_and_middle(book: BookLevels) -> dict[str, float | None]:
    if not len(book.bids) or not len(book.asks):
        return {"spread": None, "middle": None}
    values = {
        "spread": spreads(book.bids[0, :1], book.asks[0, :1])[0],
        "middle": middle(book.bids[0, 0], book.asks[0, 0]),
    }
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def _column(book: BookLevels, place: int) -> Numbers:
    return np.concatenate([book.bids[:, place], book.asks[:, place]])

"""Order-book ladder: a row for each price step, bids left, asks right; with the reason when it cannot be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model import BookMarks
from aries_nb.model.prices import middle, spreads
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.number_format import Decimals, grouped, shown_decimals, signed
from aries_nb.widgets.sources import MarkedSource, integrity_text
from aries_nb.widgets.static_html import table

if TYPE_CHECKING:
    from aries_nb.model import BookLevels, Numbers, RestingOrder
    from aries_nb.widgets.sources import BookSource

__all__ = ["Ladder"]

MOST_LEVELS = 100
# Fewer prices say little of their step: three neighbours of 0.02 are found where the step is 0.01.
ENOUGH_PRICES = 5
MOST_UNITS = 2.0**53


class Ladder(Panel):
    """A live price ladder: a row for each price step, `depth` above and below the middle (default 10, at most 100).

    It is centred on the spread, and scrolls over all levels of the book, at most 100 a side; its height never changes.
    `step` is the distance of two rows; a larger one than the instrument's sums up the levels between. None finds the
    instrument's: the largest number of which all prices so far are multiples. Raises UsageError for another depth or
    step.
    """

    script = "ladder"

    def __init__(self, source: BookSource, *, depth: int = 10, step: float | None = None) -> None:
        if not 1 <= depth <= MOST_LEVELS:
            raise UsageError(f"depth={depth}", where="Ladder", advice=f"Pass 1 to {MOST_LEVELS} levels.")
        if step is not None and not (math.isfinite(step) and step > 0):
            raise UsageError(f"step={step}", where="Ladder", advice="Pass a number above 0, or None.")
        self._book_source = source
        self._depth = depth
        self._prices = Decimals(is_price=True, step=math.nan if step is None else step)
        self._sizes = Decimals(is_price=False)
        self._step = PriceStep(step)
        super().__init__(source)

    def __repr__(self) -> str:
        return f"Ladder(depth={self._depth})"

    def _compose(self) -> PanelFrame:
        book = self._book_source.levels(MOST_LEVELS)
        marks = self._marks()
        both = np.vstack([book.bids, book.asks])
        decimals = self._prices.of(both[:, 0])
        description: dict[str, object] = {
            "symbol": book.symbol,
            "depth": self._depth,
            "integrity": book.integrity,
            "is_doubtful": book.integrity not in ("ok", "locked", "empty"),
            "reason": integrity_text(book),
            "state": marks.state,
            "step": self._step.of(both[:, 0], decimals),
            "price_decimals": decimals,
            "size_decimals": self._sizes.of(both[:, 1]),
            "orders": [[order.side, order.price, _quantity(order)] for order in marks.orders],
        }
        head = (
            *(float(len(book.bids)), float(len(book.asks)), book.received / 1e6),
            *(*_spread_and_middle(book), _imbalance(book, self._depth)),
            *(marks.last_price, marks.last_size),
        )
        return PanelFrame(description, head, both)

    def _marks(self) -> BookMarks:
        return self._book_source.marks() if isinstance(self._book_source, MarkedSource) else BookMarks()

    def _picture(self) -> str:
        book, marks = self._book_source.levels(self._depth), self._marks()
        prices, sizes = self._prices.of(_column(book, 0)), self._sizes.of(_column(book, 1))
        own = {order.price: _quantity(order) for order in marks.orders}
        rows = []
        for levels, is_bid in ((book.asks[::-1], False), (book.bids, True)):
            for price, size in levels.tolist():
                texts = [grouped(size, sizes), grouped(price, prices), ""]
                notes = ["last" if price == marks.last_price else "", f"own {own[price]}" if price in own else ""]
                rows.append([*(texts if is_bid else texts[::-1]), " ".join(note for note in notes if note)])
        imbalance = _imbalance(book, self._depth)
        shown = "" if math.isnan(imbalance) else f"imbalance {signed(100 * imbalance, 0, '%')}"
        caption = " · ".join(text for text in (book.symbol, marks.state, integrity_text(book), shown) if text)
        header = ["Bid size", "Price", "Ask size", ""]
        if not any(row[3] for row in rows):
            header, rows = header[:3], [row[:3] for row in rows]
        return table(caption, header, rows, text_columns=(3,))


class PriceStep:
    """The distance between two prices of a ladder: the largest number of which all prices so far are multiples.

    Known from the beginning where `step` is not None. It only shrinks, except for the first few prices.
    """

    def __init__(self, step: float | None) -> None:
        self._known = step
        self._units = 0  # greatest common divisor of the prices, in units of their last decimal
        self._decimals = 0
        self._seen: set[int] = set()

    def of(self, prices: Numbers, decimals: int) -> float:
        """Return the step, given further prices, which have at most that many decimals."""
        if self._known is not None:
            return self._known
        grown = 10 ** max(0, decimals - self._decimals)
        self._units, self._decimals = self._units * grown, max(decimals, self._decimals)
        units = np.abs(prices) * 10.0**self._decimals
        whole = np.rint(units[units < MOST_UNITS]).astype(np.int64)
        self._units = int(np.gcd.reduce(whole, initial=self._units))
        if len(self._seen) < ENOUGH_PRICES:
            self._seen = {each * grown for each in self._seen} | {*whole.tolist()[:ENOUGH_PRICES]}
        is_known = self._units and len(self._seen) >= ENOUGH_PRICES
        return float((self._units if is_known else 1) / 10**self._decimals)


def _spread_and_middle(book: BookLevels) -> tuple[float, float]:
    """Return spread and middle; NaN where a side is missing, the middle also where the sides are not believable."""
    if not len(book.bids) or not len(book.asks):
        return math.nan, math.nan
    return float(spreads(book.bids[0, :1], book.asks[0, :1])[0]), middle(book.bids[0, 0], book.asks[0, 0])


def _imbalance(book: BookLevels, depth: int) -> float:
    """Return the share by which the size of the best `depth` bids exceeds that of the asks, from -1 to 1.

    NaN for an empty book, and for stub quotes.
    """
    if len(book.bids) and len(book.asks) and math.isnan(_spread_and_middle(book)[0]):
        return math.nan
    bids, asks = (float(side[:depth, 1].sum()) for side in (book.bids, book.asks))
    return (bids - asks) / (bids + asks) if bids + asks > 0 else math.nan


def _quantity(order: RestingOrder) -> str:
    return grouped(order.quantity, shown_decimals(order.quantity))


def _column(book: BookLevels, place: int) -> Numbers:
    return np.concatenate([book.bids[:, place], book.asks[:, place]])

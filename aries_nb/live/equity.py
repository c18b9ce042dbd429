"""The equity of an account over time, reckoned here on every quote, beside the broker's own figure."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from aries_nb.errors import UnknownSymbolError
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.fields import is_symbol
from aries_nb.live.frame import LiveFrame
from aries_nb.live.table import LiveTable
from aries_nb.model import EquityData
from aries_nb.store import UNKNOWN, Books, equity, open_books, unmarked

__all__ = ["LiveEquity"]

SAMPLE_SECONDS = 0.2  # the soonest after which the next moment is kept
MOST_SAMPLES = 20_000
MARK_FIELDS = ("bid_price", "ask_price", "last_price")


class LiveEquity:
    """Cash and positions as the broker tells them, the positions valued at the middle of the feed's own quotes.

    `df` has one row a moment; nothing unknown counts as zero: where an instrument has no price yet, equity is NaN and
    `unmarked` names it. It is reckoned in decimals and in the account's currency.
    """

    def __init__(
        self,
        positions: LiveTable,
        balances: LiveTable,
        quotes: Callable[[Sequence[str]], LiveFrame],
    ) -> None:
        self._positions = positions
        self._balances = balances
        self._quotes = quotes
        self._wanted: tuple[str, ...] = ()
        self._held: LiveFrame | None = None
        self._samples: deque[tuple[int, float, float]] = deque(maxlen=MOST_SAMPLES)
        self._by_symbol: tuple[tuple[str, float], ...] = ()
        self._unmarked: tuple[str, ...] = ()
        self._guard = threading.Lock()
        self._sampled_at = 0.0
        # A thread of its own: asking for quotes may take a moment, and a user's callbacks may take for ever.
        self._callbacks = Callbacks()
        self._callbacks.add(self._sample)
        self._undo = [table.watch(self._callbacks.ring) for table in (positions, balances)]
        self._undo_quotes: Callable[[], None] | None = None

    @property
    def df(self) -> pd.DataFrame:
        """Index `ts` (UTC); equity, broker_equity and their difference, float64, NaN where not known."""
        data = self.equity()
        zone = pd.DatetimeTZDtype("ns", "UTC")
        return pd.DataFrame(
            {"equity": data.ours, "broker_equity": data.theirs, "difference": data.ours - data.theirs},
            index=pd.DatetimeIndex(pd.array(data.ts, dtype=zone), name="ts"),
        )

    @property
    def unmarked(self) -> tuple[str, ...]:
        """The instruments without a price: the reason why equity is NaN."""
        return self._unmarked

    def books(self) -> Books:
        """Cash and positions as the broker has them now, for a reckoning of your own; money exactly."""
        cash, _ = self._told()
        rows = {str(row["symbol"]): row for row in self._positions.rows()}
        holdings = {symbol: (_decimal(row["quantity"]), _decimal(row["average_price"])) for symbol, row in rows.items()}
        multipliers = {symbol: _multiplier(row) for symbol, row in rows.items()}
        return open_books(cash, holdings, multipliers=multipliers)

    def marks(self) -> dict[str, Decimal]:
        """The middle of bid and ask of what is held, else the last price; exactly as the quotes have them."""
        frame = self._held
        if frame is None:
            return {}
        latest = frame.latest
        return {str(symbol): _mark(*row) for symbol, *row in latest[list(MARK_FIELDS)].itertuples()}

    def close(self) -> None:
        """Stop; what was reckoned stays readable."""
        self._callbacks.close()
        for undo in self._undo:
            undo()
        if self._undo_quotes is not None:
            self._undo_quotes()
        if self._held is not None:
            self._held.close()

    # What views are drawn from.

    @property
    def version(self) -> int:
        """Grows with every moment that is kept."""
        return self._samples[-1][0] if self._samples else 0

    def equity(self) -> EquityData:
        """The moments kept so far, and the P&L of each instrument now."""
        with self._guard:
            samples = list(self._samples)
        ts, ours, theirs = zip(*samples, strict=True) if samples else ((), (), ())
        return EquityData(np.array(ts, "int64"), np.array(ours, "f8"), np.array(theirs, "f8"), self._by_symbol)

    # The callbacks' thread.

    def _sample(self) -> None:
        if not len(self._balances):
            return
        # Not skipped: the last change before a quiet time counts as well.
        time.sleep(max(self._sampled_at + SAMPLE_SECONDS - time.monotonic(), 0))
        self._sampled_at = time.monotonic()
        books = self.books()
        self._follow(tuple(sorted(books.positions)))
        marks = self.marks()
        self._unmarked = unmarked(books, marks)
        _, theirs = self._told()
        self._by_symbol = tuple((symbol, _pnl(books, symbol, marks)) for symbol in sorted(books.positions))
        with self._guard:
            self._samples.append((time.time_ns(), float(equity(books, marks)), float(theirs)))

    def _follow(self, symbols: tuple[str, ...]) -> None:
        """Have quotes of what is held, and of nothing else."""
        if symbols == self._wanted:
            return
        self._wanted = symbols
        if self._undo_quotes is not None:
            self._undo_quotes()
        before, self._held = self._held, self._quoted(symbols)
        self._undo_quotes = self._held.watch(self._callbacks.ring) if self._held is not None else None
        if before is not None:
            before.close()

    def _quoted(self, symbols: tuple[str, ...]) -> LiveFrame | None:
        """Quotes of those of the symbols that the feed knows; the others stay without a price, and are named so."""
        asked = [symbol for symbol in symbols if is_symbol(symbol)]
        while asked:
            try:
                return self._quotes(asked)
            except UnknownSymbolError as unknown:
                known = [symbol for symbol in asked if symbol not in unknown.symbols]
                if known == asked:
                    raise
                asked = known
        return None

    def _told(self) -> tuple[Decimal, Decimal]:
        """Cash and equity as the broker last told them."""
        rows = self._balances.rows()
        return (_decimal(rows[0]["cash"]), _decimal(rows[0]["equity"])) if rows else (UNKNOWN, UNKNOWN)


def _decimal(value: object) -> Decimal:
    assert isinstance(value, Decimal)
    return value


def _mark(bid: float, ask: float, last: float) -> Decimal:
    # The shortest text of a float is the price that the broker sent.
    if bid == bid and ask == ask:
        return (Decimal(repr(bid)) + Decimal(repr(ask))) / 2
    return Decimal(repr(last)) if last == last else UNKNOWN


def _multiplier(row: Mapping[str, Any]) -> Decimal:
    """What one unit stands for, as the broker's own value of the position tells; 1 where it tells nothing."""
    quantity, price, value = (_decimal(row[name]) for name in ("quantity", "price", "market_value"))
    if not all(each.is_finite() and each for each in (quantity, price, value)):
        return Decimal(1)
    return max((value / (quantity * price)).quantize(Decimal(1)), Decimal(1))


def _pnl(books: Books, symbol: str, marks: Mapping[str, Decimal]) -> float:
    held, mark = books.positions[symbol], marks.get(symbol, UNKNOWN)
    return float(held.quantity * books.multiplier(symbol) * mark - held.cost) if mark.is_finite() else float("nan")

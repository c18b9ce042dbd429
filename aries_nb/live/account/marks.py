"""Marks: the mid-prices of the feed's own quotes, at which the instruments of an account are valued."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal

import numpy as np

from aries_nb.errors import ClosedError, SubscriptionRefusedError, UnknownSymbolError
from aries_nb.live.arguments import is_symbol
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.market.frame import LiveFrame
from aries_nb.model import FrameRows, GapSpan, Observers
from aries_nb.store import UNKNOWN

__all__ = ["LiveMarks"]

MOST_LEFT = 4
OLDEST_US = 60_000_000  # the oldest quote that values a fill: an older one may be from before a gap


class LiveMarks:
    """Subscribes to quotes of exactly the instruments held, and has their mid-prices. Any thread may read.

    `held` returns the symbols held, `watch` registers a function to be called when they may have changed, `quotes`
    subscribes to quotes of some symbols.
    """

    def __init__(
        self,
        held: Callable[[], Collection[str]],
        watch: Callable[[Callable[[], None]], Callable[[], None]],
        quotes: Callable[[Sequence[str]], LiveFrame],
    ) -> None:
        self.version = 0  # grows with every quote
        self._held = held
        self._quotes = quotes
        self._frames: dict[LiveFrame, Callable[[], None]] = {}
        self._left: deque[FrameRows] = deque(
            maxlen=MOST_LEFT
        )  # of instruments held no more: the fill that closed a position arrives later
        self._subscribed: frozenset[str] = frozenset()
        self._observers = Observers()
        # A thread of its own: subscribing may take a moment.
        self._callbacks = Callbacks()
        self._callbacks.add(self._follow)
        self._undo = watch(self._callbacks.wake)

    def now(self) -> dict[str, Decimal]:
        """Return the current price of each instrument held, in exact decimals: the mid-price, else the last price.

        Instruments without a live quote, or with none since a gap, are left out.
        """
        marks = {}
        for frame in list(self._frames):
            board = frame._source.board()
            if board.is_stale:
                continue
            old = frame._source.from_before_a_gap()
            prices = [board.columns.index(name) for name in ("bid_price", "ask_price", "last_price")]
            for symbol, row in zip(board.symbols, board.numbers[:, prices].tolist(), strict=True):
                mark = _mark(*row)
                if mark.is_finite() and symbol not in old:
                    marks[symbol] = mark
        return marks

    def at(self, symbol: str, ts: int) -> Decimal:
        """Return the mid-price of an instrument at `ts` (exchange time, ns since the epoch), in exact decimals.

        That of the newest quote at or before `ts`; NaN where that is more than a minute older, has no bid or no ask, or
        none is kept here.
        """
        moment = ts // 1_000
        newest, mid = moment - OLDEST_US, UNKNOWN
        for rows in (*self._left, *(frame._source.rows(0) for frame in list(self._frames))):
            if symbol not in rows.symbols:
                continue
            is_before = (rows.codes == rows.symbols.index(symbol)) & (rows.ts <= moment) & (rows.ts >= newest)
            if is_before.any():
                newest = int(rows.ts[is_before].max())
                at = int(np.flatnonzero(is_before & (rows.ts == newest))[-1])
                mid = _middle(*(float(rows.numbers[name][at]) for name in ("bid_price", "ask_price")))
        return mid

    def gap_spans(self) -> list[GapSpan]:
        """Return the time spans of the gaps of the quotes that were not filled."""
        return [span for frame in list(self._frames) for span in frame._source.gap_spans()]

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each quote, on the network's thread, and after each change of what is subscribed to.

        It must return at once. Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    def close(self) -> None:
        """Stop following the instruments held and drop their quotes; idempotent."""
        self._callbacks.close()
        self._undo()
        self._keep(frozenset())

    # The callbacks' thread.

    def _follow(self) -> None:
        held = frozenset(self._held())
        if held == self._subscribed:
            return
        # Existing frames stay as they are: a new frame has no price before the next quote.
        new = sorted(symbol for symbol in held - self._subscribed if is_symbol(symbol))
        self._subscribed = held
        self._keep(held)
        frame = self._quoted(new)
        if frame is not None:
            self._frames = {**self._frames, frame: frame._source.watch(self._quoted_again)}
            self._quoted_again()

    def _keep(self, symbols: frozenset[str]) -> None:
        """Drop the frames of quotes that have none of these symbols; they stay open, as a user may use them too."""
        gone = [frame for frame in self._frames if symbols.isdisjoint(frame.symbols)]
        for frame in gone:
            self._frames[frame]()
            self._left.append(frame._source.rows(0))
        self._frames = {frame: undo for frame, undo in self._frames.items() if frame not in gone}

    def _quoted(self, symbols: list[str]) -> LiveFrame | None:
        """Subscribe to quotes of those symbols that the server knows, and return the frame; None for none of them.

        Symbols that it refuses stay without a price. None also where the feed was closed.
        """
        while symbols:
            try:
                return self._quotes(symbols)
            except (UnknownSymbolError, SubscriptionRefusedError) as refused:
                known = [symbol for symbol in symbols if symbol not in refused.symbols]
                if known == symbols:
                    raise
                symbols = known
            except ClosedError:  # the feed was closed meanwhile
                return None
        return None

    def _quoted_again(self) -> None:
        self.version += 1
        self._observers.notify()


def _mark(bid: float, ask: float, last: float) -> Decimal:
    middle = _middle(bid, ask)
    return Decimal(repr(last)) if middle.is_nan() and last == last else middle


def _middle(bid: float, ask: float) -> Decimal:
    # The shortest text of a float is the price that the broker sent.
    return (Decimal(repr(bid)) + Decimal(repr(ask))) / 2 if bid == bid and ask == ask else UNKNOWN

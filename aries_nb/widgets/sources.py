"""Sources: the small interfaces through which views read data; implemented by the objects that hold it.

A view needs nothing beyond these. Every method may be called on the painter's thread at any time, so it must be cheap,
must not block on the network, and must return data that is never written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from aries_nb.model import (
        BarsData,
        BoardData,
        BookIntegrity,
        BookLevels,
        CardData,
        EquityData,
        FrameRows,
        GapSpan,
        TableData,
    )

__all__ = [
    "INTEGRITY_TEXTS",
    "BarsSource",
    "BoardSource",
    "BookSource",
    "CardSource",
    "ChainSource",
    "EquitySource",
    "GapSource",
    "PaintTimings",
    "RowsSource",
    "TableSource",
    "TimedSource",
    "VersionedSource",
]

# Why a book cannot be trusted, for readers who do not know our documentation.
INTEGRITY_TEXTS: dict[BookIntegrity, str] = {
    "ok": "",
    "empty": "waiting for the first update",
    "crossed": "crossed: best bid at or above best ask",
    "stale": "stale: no update for longer than usual",
    "gap": "gap: the stream broke, levels are from before",
}


class VersionedSource(Protocol):
    """Data that changes, with a version."""

    @property
    def version(self) -> int:
        """A number that grows with every change, also when data turns stale; reading it costs next to nothing."""


class PaintTimings(Protocol):
    """Receives the time from receipt to screen. Times are in ns since the epoch."""

    newest: int
    """Time of receipt of the newest row; 0 before the first."""

    def painted(self, received: int, at: int) -> None:
        """Note when a row was received and when it was painted; called on the thread of the browser's answers."""


@runtime_checkable
class TimedSource(Protocol):
    """A source that measures the time from receipt to screen."""

    @property
    def lags(self) -> PaintTimings:
        """Receives the measurements."""


@runtime_checkable
class GapSource(Protocol):
    """A source that knows the gaps of its stream."""

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return its newest unfilled gaps, oldest first; an open one is the last."""


class BoardSource(VersionedSource, Protocol):
    """The newest row of each symbol."""

    def board(self) -> BoardData:
        """Return the newest values of every symbol."""


class ChainSource(BoardSource, Protocol):
    """The options of one underlying and expiry; its board has one row a contract."""

    @property
    def contracts(self) -> tuple[tuple[str, str, float], ...]:
        """The contracts as (symbol, "call" or "put", strike); they stay the same."""

    @property
    def spot(self) -> float:
        """The price of the underlying, NaN where it is unknown."""


class RowsSource(VersionedSource, Protocol):
    """A rolling frame of rows."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that rows may belong to, in the order of `FrameRows.codes`."""

    def rows(self, first: int) -> FrameRows:
        """Return the rows from absolute number `first` on; fewer where some were evicted already."""


class BarsSource(VersionedSource, Protocol):
    """Finished bars and a running one: of an instrument, or of an account's P&L."""

    def newest(self, most: int) -> BarsData:
        """Return the newest `most` bars; the cost does not grow with the number of older bars."""


class BookSource(VersionedSource, Protocol):
    """An order book of one symbol."""

    def levels(self, depth: int) -> BookLevels:
        """Return at most `depth` levels of each side, best first."""


class CardSource(VersionedSource, Protocol):
    """The state of a feed."""

    def card(self) -> CardData:
        """Return the state of the feed at this moment."""


class TableSource(VersionedSource, Protocol):
    """Rows of an account: positions, orders, balances, fills, a watchlist."""

    def table(self) -> TableData:
        """Return all rows as they are now; the columns stay the same, rows may come, change and go."""


class EquitySource(VersionedSource, Protocol):
    """The equity of an account over time."""

    def equity(self) -> EquityData:
        """Return the equity so far, and what changed it, by instrument and cause."""

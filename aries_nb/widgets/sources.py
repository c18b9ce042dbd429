"""Sources: the small interfaces through which views read data; the objects that own the data implement them.

A view needs nothing beyond these. Every method may be called at any time on the painter's thread, which draws all
views, so it must be cheap, must not block on the network, and must return data that is never written again.
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
    "empty": "empty: no bid and no ask",
    "locked": "locked: best bid equals best ask",
    "crossed": "crossed: best bid above best ask",
    "stale": "stale: no update for longer than usual",
    "gap": "gap: the stream broke, levels are from before",
}


def integrity_text(book: BookLevels) -> str:
    """Why a book cannot be trusted, or that it is locked; "" for an ordinary one."""
    return INTEGRITY_TEXTS[book.integrity] if book.ts else "waiting for the first update"


class VersionedSource(Protocol):
    """Data that a view shows, with a version number that grows with each change (an interface)."""

    @property
    def version(self) -> int:
        """A number that grows with every change of the data, also when they become stale; reading it is cheap."""


class PaintTimings(Protocol):
    """Receives the times from a row's receipt to its painting on the screen (an interface).

    Times are in ns since the epoch.
    """

    newest: int
    """Time of receipt of the newest row; 0 before the first."""

    def painted(self, received: int, at: int) -> None:
        """Record when a row was received and when it was painted, both in ns since the epoch.

        Called on the thread on which the browser's answers come in.
        """


@runtime_checkable
class TimedSource(Protocol):
    """A source of a view that measures the time from a row's receipt to the screen (an interface)."""

    @property
    def lags(self) -> PaintTimings:
        """The object that receives the measured times from a row's receipt to the screen."""


@runtime_checkable
class GapSource(Protocol):
    """A source of a view that records the gaps of its stream, which are times without its data (an interface)."""

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the newest gaps of the stream (times without its data) that were not filled, oldest first.

        One that has not ended is the last.
        """


class BoardSource(VersionedSource, Protocol):
    """The newest row of each symbol, for a view (an interface)."""

    def board(self) -> BoardData:
        """Return the newest values of every symbol, with what is stale or was rejected."""


class ChainSource(BoardSource, Protocol):
    """The options of one underlying and expiry, for a view; its board has a row for each contract (an interface)."""

    @property
    def contracts(self) -> tuple[tuple[str, str, float], ...]:
        """The contracts as (symbol, "call" or "put", strike); they never change."""

    @property
    def spot(self) -> float:
        """The price of the underlying, NaN while it is unknown."""


class RowsSource(VersionedSource, Protocol):
    """A rolling frame (the newest rows of a stream), for a view (an interface)."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols to which rows may belong; `FrameRows.codes` are positions in it."""

    def rows(self, first: int) -> FrameRows:
        """Return the rows from number `first` on, counted since the rolling frame began.

        Those already evicted are missing.
        """


class BarsSource(VersionedSource, Protocol):
    """Finished bars and the running one, of an instrument or of an account's P&L, for a view (an interface)."""

    def newest(self, most: int) -> BarsData:
        """Return the newest `most` bars, the running one included.

        The cost does not grow with the number of older bars.
        """


class BookSource(VersionedSource, Protocol):
    """The order book of one symbol, for a view (an interface)."""

    def levels(self, depth: int) -> BookLevels:
        """Return at most `depth` levels of each side of the book, best first."""


class CardSource(VersionedSource, Protocol):
    """The state of a feed, for a view (an interface)."""

    def card(self) -> CardData:
        """Return the present state of the feed."""


class TableSource(VersionedSource, Protocol):
    """A table of an account, for a view: positions, orders, balances, fills, or a watchlist (an interface)."""

    def table(self) -> TableData:
        """Return all present rows of the table. Its columns stay the same; rows may be added, changed and removed."""


class EquitySource(VersionedSource, Protocol):
    """The equity of an account over time, for a view (an interface)."""

    def equity(self) -> EquityData:
        """Return the account's equity so far, and what changed it, by instrument and cause."""

"""Sources: the small interfaces through which views read data; the objects that own the data implement them.

A view is a live display of data in a notebook; each class here is an interface, a Protocol, and no view. A view needs
nothing beyond these. Every method may be called at any time on the painter's thread, which draws all views, so it
must be cheap, must not block on the network, and must return data that is never written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aries_nb.model import (
        BarsData,
        BoardData,
        BookIntegrity,
        BookLevels,
        BookMarks,
        CardData,
        DeskData,
        EquityData,
        FillMark,
        FrameRows,
        GapSpan,
        PlaybackData,
        PlaybackMove,
        PrintsData,
        Standing,
        TableData,
    )

__all__ = [
    "INTEGRITY_TEXTS",
    "BarsSource",
    "BoardSource",
    "BookSource",
    "CardSource",
    "ChainSource",
    "ClockedSource",
    "DeskSource",
    "EquitySource",
    "FillsOverlaySource",
    "GapSource",
    "MarkedSource",
    "MarketTime",
    "MovedSource",
    "PaintTimings",
    "PlaybackSource",
    "PrintsSource",
    "RowsSource",
    "StateSource",
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
    """Interface of all data that a view (a live display in a notebook) shows: they have a version number."""

    @property
    def version(self) -> int:
        """A number that grows with every change of the data, also when they become stale; reading it is cheap."""


class PaintTimings(Protocol):
    """Interface of an object that receives the times from a row's receipt to its painting on the screen.

    Times are in ns since the epoch.
    """

    newest: int
    """Time of receipt of the newest row; 0 before the first."""

    def now_ns(self) -> int:
        """Return the present time, by the clock of these times."""

    def painted(self, received: int, at: int) -> None:
        """Record when a row was received and when it was painted, both in ns since the epoch.

        Called on the thread on which the browser's answers come in.
        """


@runtime_checkable
class TimedSource(Protocol):
    """Interface of a source whose view measures the time from a row's receipt to its painting on the screen.

    A source is the data of a view, a live display in a notebook.
    """

    @property
    def lags(self) -> PaintTimings:
        """The object that receives the measured times from a row's receipt to the screen."""


class MarketTime(Protocol):
    """Interface of the market time of a source."""

    @property
    def pace(self) -> float | None:
        """How many times faster than elapsed time a replay goes on, 0.0 where it stands; None for a live market."""

    def now_ns(self) -> int:
        """Return the market time in ns since the epoch, UTC."""


@runtime_checkable
class ClockedSource(Protocol):
    """Interface of a source of which the rows' ages count by its market time.

    A source is the data of a view, a live display in a notebook.
    """

    @property
    def clock(self) -> MarketTime:
        """The market time of the source."""


@runtime_checkable
class MovedSource(Protocol):
    """Interface of a source that shows a past moment while the feed's timeline does."""

    @property
    def standing(self) -> Standing | None:
        """At which past moment it stands, and how far it is behind; None where it shows what is new."""

    def resume(self) -> None:
        """Have all views of the feed show what is new again; returns at once."""


@runtime_checkable
class GapSource(Protocol):
    """Interface of a source that records the gaps of its stream, which are times without its data.

    A source is the data of a view, a live display in a notebook.
    """

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the newest gaps of the stream (times without its data), oldest first.

        Those whose missing rows were requested later and inserted are left out. One that has not ended is the
        last.
        """


@runtime_checkable
class FillsOverlaySource(Protocol):
    """Interface of a source that knows the user's own fills, to be marked in a chart of market data.

    A source is the data of a view, a live display in a notebook.
    """

    def own_fills(self, symbols: Collection[str]) -> list[FillMark]:
        """Return the newest fills (own executions) in these symbols, in the order of their arrival."""


@runtime_checkable
class StateSource(Protocol):
    """Interface of a source that knows when its market or one of its instruments does not trade as usual."""

    def trading_state(self) -> str:
        """Return that in a few words, such as "market halted"; "" while all trade as usual."""


def trading_state(source: object) -> str:
    """Return what a source says of a halt; "" for one that knows nothing of it."""
    return source.trading_state() if isinstance(source, StateSource) else ""


class BoardSource(VersionedSource, Protocol):
    """Interface of the data of a quote board, a live display: the newest row of each symbol."""

    def board(self) -> BoardData:
        """Return the newest values of every symbol, and which symbols are out of date or were refused by the server."""


class ChainSource(BoardSource, Protocol):
    """Interface of the data of an option chain, a live display: all options of one underlying and expiry.

    Its `board` has a row for each contract.
    """

    @property
    def contracts(self) -> tuple[tuple[str, str, float], ...]:
        """The contracts as (symbol, "call" or "put", strike); they never change."""

    @property
    def spot(self) -> float:
        """The price of the underlying, NaN while it is unknown."""


class RowsSource(VersionedSource, Protocol):
    """Interface of the data of a chart over time, a live display: a rolling frame (the newest rows of a stream).

    Its oldest rows are evicted as new ones arrive.
    """

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols to which rows may belong; `FrameRows.codes` are positions in it."""

    def rows(self, first: int) -> FrameRows:
        """Return the rows from number `first` on; rows are numbered from 0, in the order of their arrival.

        Those already evicted are missing; there are none if `first` is after the newest row.
        """


class PrintsSource(VersionedSource, Protocol):
    """Interface of the data of a tape (time and sales), a live display: the prints of a stream of trades."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols to which prints may belong."""

    def prints(self, first: int, most: int) -> PrintsData:
        """Return the prints from number `first` on, of these the newest `most`, in the order of arrival."""


class BarsSource(VersionedSource, Protocol):
    """Interface of the data of a candle chart, a live display: bars of an instrument, or of an account's P&L.

    Its last bar is the running one, which still changes.
    """

    def newest(self, most: int) -> BarsData:
        """Return the newest `most` bars, or all if there are fewer, the running one included, oldest first.

        The cost does not grow with the number of older bars.
        """


class BookSource(VersionedSource, Protocol):
    """Interface of the data of an order-book display: the levels of one symbol's book."""

    def levels(self, depth: int) -> BookLevels:
        """Return the best `depth` levels of each side of the book, or all if there are fewer, best first."""


@runtime_checkable
class MarkedSource(Protocol):
    """Interface of a book's data that also know the last trade, the user's own orders, and a halt."""

    def marks(self) -> BookMarks:
        """Return the newest of what belongs to prices of the book, apart from its levels."""


class CardSource(VersionedSource, Protocol):
    """Interface of the data of a status card, a live display: the state of a feed (a connection and its streams)."""

    def card(self) -> CardData:
        """Return the present state of the feed: its connection, the counts of its messages, and how late they are."""


class TableSource(VersionedSource, Protocol):
    """Interface of the data of a live table of an account: positions, orders, balances, fills, or a watchlist."""

    def table(self) -> TableData:
        """Return all present rows of the table. Its columns stay the same; rows may be added, changed and removed."""


class DeskSource(VersionedSource, Protocol):
    """Interface of what a desk's bar shows, and of what it asks for."""

    def desk(self) -> DeskData:
        """Return what the desk shows, and what can be chosen."""

    def choose(self, what: str, value: object, done: Callable[[], None]) -> None:
        """Carry out what a page asks for, and return at once; `done` is called when `desk` follows it.

        `what` is "symbol", "window", "interval", "depth", "side" or "search". Anything else, or a value that is none,
        changes nothing but `desk().note`. Any thread.
        """


class EquitySource(VersionedSource, Protocol):
    """Interface of the data of an equity chart, a live display: the equity of an account over time."""

    def equity(self) -> EquityData:
        """Return the account's equity so far, and the contributions to its change, by instrument and cause."""


class PlaybackSource(VersionedSource, Protocol):
    """Interface of the data of a transport bar, a live display that also controls them: the clock of a replay."""

    def playback(self) -> PlaybackData:
        """Return where the replay is, how fast it plays, and what is marked on its time axis."""

    def move(self, request: PlaybackMove, done: Callable[[], None]) -> None:
        """Carry out what the user asks for, and return at once; a time outside of the recording is its first or last.

        `done` is called, on any thread, once `playback` follows the request.
        """

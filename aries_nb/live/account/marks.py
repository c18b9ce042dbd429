"""Marks: the prices of the feed's own quotes at which an account's instruments are valued."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from decimal import Decimal
from math import isfinite, nan
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias
from weakref import ref

import numpy as np

from aries_nb.errors import ClosedError, SubscriptionRefusedError, UnknownSymbolError
from aries_nb.live.account.sampling import Sampling
from aries_nb.live.arguments import is_symbol
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveRegistry
from aries_nb.live.market.frame import LiveFrame
from aries_nb.model import QUOTE_COLUMNS, BoardData, FrameRows, GapSpan, Observers
from aries_nb.model.prices import is_price
from aries_nb.net.events.arrivals import Arrivals, Use
from aries_nb.store import UNKNOWN, Held, Mark, SplitWatch, mark_of, middle_of

if TYPE_CHECKING:
    from aries_nb.model import Numbers

__all__ = [
    "PRICES",
    "FeedQuotes",
    "FrameQuotes",
    "LiveMarks",
    "MarkQuotes",
    "Quotes",
    "marks_of",
    "mid_at",
    "prices_of",
    "with_bonds",
    "without",
]

PRICES = ("bid_price", "ask_price", "last_price")
QUOTE_NAMES = tuple(column.name for column in QUOTE_COLUMNS)
ACCRUED = "accrued_interest"  # of one bond, where the broker's quotes have it
MOST_LEFT = 4
MARK_ROWS = 20_000  # of quotes that accounts are valued by
OLDEST_US = 60_000_000  # the oldest quote that values a fill: an older one may be from before a gap


class MarkQuotes(Protocol):
    """Interface of the quotes of a feed of which marks are made. Any thread may call."""

    def subscribe(self, symbols: Sequence[str]) -> LiveFrame:
        """Subscribe to quotes of these symbols and return their frame. Raises where the server refuses one."""

    def others(self) -> Sequence[LiveFrame]:
        """Return the open frames of quotes that a user has from other endpoints, and that have all prices of a mark."""

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when there may be another one; it must return at once. Returns what ends the calls."""


class FrameQuotes(NamedTuple):
    """The newest quotes of a frame and its rows, as they were at an instant; those of `old` are from before a gap."""

    newest: BoardData
    old: Collection[str]
    rows: FrameRows


class Quotes(NamedTuple):
    """All quotes of which marks are made, as they were at an instant; `left` are rows of what is held no more."""

    frames: Sequence[FrameQuotes]
    left: Sequence[FrameRows]


Holdings: TypeAlias = "Callable[[], Mapping[str, Held]]"


class LiveMarks:
    """Subscribes to quotes of the instruments held, follows changes of what is held, and has their marks.

    `held` returns at once a function that returns what is held now, by symbol. `watch` registers a function to be
    called when that may have changed, and returns one that ends the calls. An instrument of which the quotes that it
    subscribes to have no price is marked at those that a user has from another endpoint. Any thread may read. The
    thread of `worker` subscribes, and one of its own looks for splits, at instants of the market time of `arrivals`.
    """

    def __init__(
        self,
        held: Callable[[], Holdings],
        watch: Callable[[Callable[[], None]], Callable[[], None]],
        quotes: MarkQuotes,
        worker: Callbacks,
        arrivals: Arrivals,
        account: str = "",
    ) -> None:
        self.version = 0  # grows with every quote
        self._held = held
        self._quotes = quotes
        self._frames: dict[LiveFrame, Callable[[], None]] = {}
        # A user's, of other endpoints: not kept from being garbage-collected. Replaced as a whole: any thread reads it.
        self._others: dict[ref[LiveFrame], Callable[[], None]] = {}
        self._left: deque[FrameRows] = deque(
            maxlen=MOST_LEFT
        )  # of instruments held no more: the fill that closed a position arrives later
        self._subscribed: frozenset[str] = frozenset()
        # Symbols of frames that are not used any more: they may be held again before it is looked for that.
        self._dropped: deque[str] = deque()
        self._observers = Observers()
        self._arrivals = arrivals
        self._name = f"marks {account}"
        # Frames that are not used yet: from which event on is an event of its own.
        self._ready: dict[tuple[str, ...], LiveFrame | None] = {}
        self._splits = SplitWatch()
        self._captured: tuple[int, Quotes] | None = None
        # Threads of their own: subscribing may take a moment.
        self._callbacks, self._watching = worker, worker.worker()
        self._sampling = Sampling(arrivals, self._watching, self._capture, self._watch_splits)
        if arrivals.is_replay:
            for use in arrivals.recorded.get(self._name, ()):
                self._ready[use.symbols] = self._quoted(list(use.symbols))
        self._callbacks.add(self._follow)
        self._undo = [watch(each) for each in (self._callbacks.wake, self._sampling.changed)]
        self._undo += [quotes.watch(self._callbacks.wake), arrivals.restarted.add(self._restart)]
        arrivals.do(lambda: arrivals.used_by(self._name, self._use))

    def now(self) -> dict[str, Decimal]:
        """The marks that are known, in exact decimals; see `all`."""
        return {symbol: mark.price for symbol, mark in self.all().items() if mark.price.is_finite()}

    def all(self) -> dict[str, Mark]:
        """The mark of each instrument quoted, or the reason why it has none; see `quoted`.

        There is none while the price does not belong to the quantity held, as in a split.
        """
        marks = self.quoted()
        prices, lasts = prices_of(marks)
        held = with_bonds(self._held()(), marks)
        return without(marks, self._splits.doubtful(held, prices, self._arrivals.now, lasts=lasts))

    def quoted(self) -> dict[str, Mark]:
        """The mark of each instrument by its quotes alone, or the reason why it has none.

        See `marks_of`.
        """
        return marks_of(self.quotes())

    def at(self, symbol: str, ts: int) -> Decimal:
        """Return the mid-price of an instrument at `ts` (exchange time, ns since the epoch); see `mid_at`."""
        return mid_at(self.quotes(), symbol, ts)

    def quotes(self, instant: int | None = None) -> Quotes:
        """Return the quotes of which marks are made, as they are now; it costs little.

        Callers at one `instant` of market time, on the network's thread, get the same object, without quotes of what is
        held no more.
        """
        if instant is not None and self._captured is not None and self._captured[0] == instant:
            return self._captured[1]
        if instant is not None:
            self._keep(frozenset(self._held()()))
        sources = [frame._source for frame in self._all_frames()]
        frames = []
        for source in sources:
            newest = source.newest()
            old = newest.symbols if newest.is_stale else source.from_before_a_gap()
            frames.append(FrameQuotes(newest, old, source.rows(0)))
        quotes = Quotes(frames, tuple(self._left))
        if instant is not None:
            self._captured = instant, quotes
        return quotes

    @property
    def splits(self) -> SplitWatch:
        """What is known of splits now; it never changes. Any thread."""
        return copy(self._splits)

    @property
    def every_frame(self) -> list[LiveFrame]:
        """The frames of which marks are made, also a user's of other endpoints."""
        return self._all_frames()

    @property
    def frames(self) -> tuple[LiveFrame, ...]:
        """The frames of quotes in use."""
        return tuple(self._frames)

    def gap_spans(self) -> list[GapSpan]:
        """Return the time spans of the gaps of the quotes that were not filled."""
        return [span for frame in self._frames for span in frame._source.gap_spans()]

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each quote, on the network's thread, and after each change of what is subscribed to.

        It must return at once. Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    def close(self) -> None:
        """Stop following the instruments held and drop their quotes; idempotent."""
        self._sampling.close()
        self._callbacks.close()
        for undo in self._undo:
            undo()
        self._keep(frozenset())
        self._watch_others(frozenset())

    # The callbacks' thread.

    def _follow(self) -> None:
        dropped = {self._dropped.popleft() for _ in range(len(self._dropped))}
        held = frozenset(self._held()())
        self._watch_others(held)
        if held == self._subscribed - dropped:
            self._subscribed = held
            return
        # Existing frames stay as they are: a new frame has no price before the next quote.
        new = sorted(symbol for symbol in held - (self._subscribed - dropped) if is_symbol(symbol))
        self._subscribed = held
        frame = None if self._arrivals.is_replay else self._quoted(new)
        if frame is not None:
            use = Use(self._name, frame.symbols)
            self._ready[use.symbols] = frame
            self._arrivals.do(lambda: self._arrivals.use(use))

    def _keep(self, symbols: frozenset[str]) -> None:
        """Stop using the frames of quotes that have none of these symbols.

        The frames are not closed, as a user may use them too.
        """
        gone = [frame for frame in self._frames if symbols.isdisjoint(frame.symbols)]
        for frame in gone:
            self._frames[frame]()
            self._left.append(frame._source.rows(0))
            self._dropped.extend(frame.symbols)
        self._frames = {frame: undo for frame, undo in self._frames.items() if frame not in gone}

    def _quoted(self, symbols: list[str]) -> LiveFrame | None:
        """Subscribe to quotes of those symbols that the server knows, and return the frame; None for none of them.

        Symbols that it refuses stay without a price. None also where the feed was closed.
        """
        while symbols:
            try:
                return self._quotes.subscribe(symbols)
            except (UnknownSymbolError, SubscriptionRefusedError) as refused:
                known = [symbol for symbol in symbols if symbol not in refused.symbols]
                if known == symbols:
                    raise
                symbols = known
            except ClosedError:  # the feed was closed meanwhile
                return None
        return None

    def _watch_others(self, held: frozenset[str]) -> None:
        """Follow the frames of other endpoints that quote instruments held, and no others."""
        useful = {ref(frame): frame for frame in self._quotes.others() if not held.isdisjoint(frame.symbols)}
        before = self._others
        for undo in (undo for each, undo in before.items() if each not in useful):
            undo()
        self._others = {
            each: before[each] if each in before else frame._source.watch(self._quoted_again)
            for each, frame in useful.items()
        }
        if not useful.keys() <= before.keys():
            self._arrivals.do(self._quoted_again)

    def _all_frames(self) -> list[LiveFrame]:
        others = (each() for each in self._others)
        return [*self._frames, *(frame for frame in others if frame is not None and frame.is_open)]

    # The network's thread.

    def _use(self, use: Use) -> None:
        """Make marks of a frame from this event on."""
        frame = self._ready.get(use.symbols)
        if frame is not None and frame not in self._frames:
            self._frames = {**self._frames, frame: frame._source.watch(self._quoted_again)}
        self._quoted_again()

    def _restart(self) -> None:
        for undo in self._frames.values():
            undo()
        self._frames, self._captured = {}, None
        self._left.clear()
        self._sampling.restart(self._forget)

    def _quoted_again(self) -> None:
        self.version += 1
        self._sampling.changed()
        self._observers.notify()

    def _capture(self, instant: int) -> tuple[int, Holdings, Quotes]:
        return instant, self._held(), self.quotes(instant)

    # The thread that looks for splits.

    def _forget(self) -> None:
        self._splits = SplitWatch()

    def _watch_splits(self, inputs: tuple[int, Holdings, Quotes], _: bool) -> None:  # noqa: FBT001 - see `Sampling`
        ts, held, quotes = inputs
        marks = marks_of(quotes)
        prices, lasts = prices_of(marks)
        self._splits.take(with_bonds(held(), marks), prices, ts, lasts=lasts)


def marks_of(quotes: Quotes) -> dict[str, Mark]:
    """Return the mark of each instrument by its quotes alone, or the reason why it has none.

    The middle where both sides are believable, else the last price where it is inside or newer than they are. A quote
    from before a gap does not count.
    """
    marks: dict[str, Mark] = {}
    for board, old, rows in quotes.frames:
        prices = [board.columns.index(name) for name in PRICES]
        accrued = board.columns.index(ACCRUED) if ACCRUED in board.columns else None
        interests = [nan] * len(board.symbols) if accrued is None else board.numbers[:, accrued].tolist()
        quoted = zip(board.symbols, board.numbers[:, prices].tolist(), interests, strict=True)
        for symbol, row, interest in quoted:
            mark = mark_of(*row)
            if symbol in old:
                mark = Mark(UNKNOWN, "no quote since the feed was interrupted")
            elif not mark.price.is_finite() and is_price(row[2]) and _is_last_newer(rows, symbol):
                mark = mark_of(*row, is_fresh=True)
            if symbol not in marks or (mark.price.is_finite() and not marks[symbol].price.is_finite()):
                marks[symbol] = mark._replace(accrued=_exact(interest))
    return marks


def mid_at(quotes: Quotes, symbol: str, ts: int) -> Decimal:
    """Return the mid-price of an instrument at `ts` (exchange time, ns since the epoch), in exact decimals.

    It is that of the newest quote at or before `ts`. NaN where this quote is more than a minute older than `ts` or its
    two sides are not believable, and where no such quote is kept in memory.
    """
    moment = ts // 1_000
    newest, mid = moment - OLDEST_US, UNKNOWN
    for rows in (*quotes.left, *(frame.rows for frame in quotes.frames)):
        if symbol not in rows.symbols:
            continue
        is_before = (rows.codes == rows.symbols.index(symbol)) & (rows.ts <= moment) & (rows.ts >= newest)
        if is_before.any():
            newest = int(rows.ts[is_before].max())
            at = int(np.flatnonzero(is_before & (rows.ts == newest))[-1])
            mid = middle_of(*(float(rows.numbers[name][at]) for name in ("bid_price", "ask_price")))
    return mid


def prices_of(marks: Mapping[str, Mark]) -> tuple[dict[str, Decimal], frozenset[str]]:
    """Return the price of each mark, and the instruments of which it is the price of the last trade."""
    lasts = frozenset(symbol for symbol, mark in marks.items() if mark.is_last)
    return {symbol: mark.price for symbol, mark in marks.items()}, lasts


def with_bonds(held: Mapping[str, Held], marks: Mapping[str, Mark]) -> dict[str, Held]:
    """Return what is held, where that is no share if its quotes have accrued interest."""
    bonds = {symbol for symbol, mark in marks.items() if mark.accrued.is_finite() and mark.accrued}
    return {symbol: each._replace(is_share=False) if symbol in bonds else each for symbol, each in held.items()}


def without(marks: Mapping[str, Mark], reasons: Mapping[str, str]) -> dict[str, Mark]:
    """Return the marks without a price where `reasons` says why there is none."""
    return {
        symbol: mark._replace(price=UNKNOWN, reason=reasons[symbol]) if symbol in reasons else mark
        for symbol, mark in marks.items()
    }


class FeedQuotes:
    """The quotes of a feed of which marks are made; implements `MarkQuotes`.

    `frame` makes a frame, given kind, symbols, fields (None for the usual ones), usual columns and window; `link` is
    the endpoint that it uses, `registry` has the frames of all.
    """

    def __init__(
        self,
        frame: Callable[..., LiveFrame],
        link: Link,
        registry: LiveRegistry,
    ) -> None:
        self._frame = frame
        self._link = link
        self._registry = registry
        self.watch = registry.watch

    def subscribe(self, symbols: Sequence[str]) -> LiveFrame:
        """Subscribe to quotes of these symbols and return their frame. Raises where the server refuses one."""
        known = self._link.columns("quotes")
        if not known:  # of a room
            raise UnknownSymbolError(tuple(symbols), where=self._link.address, reason="it has no quotes")
        has_accrued = ACCRUED in known
        fields = (*QUOTE_NAMES, ACCRUED) if has_accrued else None
        return self._frame("quotes", symbols, fields, QUOTE_COLUMNS, {"limit": MARK_ROWS, "is_own": True})

    def others(self) -> list[LiveFrame]:
        """Return the open frames of quotes that a user has from other endpoints, and that have all prices of a mark."""
        frames = [live for live in self._registry.open_objects() if isinstance(live, LiveFrame)]
        return [
            frame
            for frame in frames
            if frame._source.link is not self._link and not set(PRICES).difference(frame._source.board().columns)
        ]


def _exact(value: float) -> Decimal:
    return Decimal(repr(value)) if isfinite(value) else UNKNOWN


def _is_last_newer(rows: FrameRows, symbol: str) -> bool:
    """Whether the last price of a symbol has changed since its bid and ask did."""
    chosen = rows.codes == rows.symbols.index(symbol)
    last, bid, ask = (_last_change(rows.numbers[name][chosen]) for name in ("last_price", "bid_price", "ask_price"))
    return last > max(bid, ask)


def _last_change(values: Numbers) -> int:
    """The place of the newest value that differs from the one before; 0 without any."""
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    changes = np.flatnonzero(~same)
    return int(changes[-1]) + 1 if len(changes) else 0

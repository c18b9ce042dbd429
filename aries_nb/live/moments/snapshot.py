"""`Snapshot`: all that a feed has open, as it was at one moment, as `feed.snapshot` and `feed.at` return it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, overload
from weakref import WeakKeyDictionary

import pandas as pd

from aries_nb.errors import BoundToProcess, UsageError
from aries_nb.live.account.marks import PRICES
from aries_nb.live.arguments import checked_symbol
from aries_nb.live.connection import Link
from aries_nb.live.derived.bars import DerivedBars
from aries_nb.live.live_object import LiveObject
from aries_nb.live.market.bars import LiveBars
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.market.options import OptionChain
from aries_nb.live.moments.account import AccountSnapshot
from aries_nb.live.moments.clock import past_instant
from aries_nb.live.moments.parts import (
    NOT_HELD,
    BookSnapshot,
    FrameSnapshot,
    Moment,
    Part,
    exact_clock,
    exact_clocks,
    not_held,
)
from aries_nb.live.moments.series import BarsSnapshot, ChainSnapshot
from aries_nb.live.moments.tables import FillsSnapshot, TableSnapshot
from aries_nb.live.statistics import ledger_frame
from aries_nb.net.background import Background, on_network
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.store import GapLog, MessageCounts, gaps_frame

if TYPE_CHECKING:
    from aries_nb.live.account.fills import LiveFills
    from aries_nb.live.market.book import LiveBook
    from aries_nb.live.table import LiveTable

__all__ = ["Snapshot", "SnapshotMaker"]


class _Captured(NamedTuple):
    """What a feed had at one moment of the network's thread."""

    moment: Moment
    seq: int | None
    parts: dict[LiveObject, Part]
    ledger: list[tuple[str, str, str, MessageCounts]]


class Snapshot(BoundToProcess):
    """All that a feed has open, and its gaps, as they were at one moment; it never changes. Any thread.

    `now[quotes]` has `df`, `latest`, `tail`, `last`, `gaps` and `ledger` of a frame, `now.book("AAPL")` those of an
    order book, `now[bars]` and `now[chain]` the bars and the contracts, `now.account("ACC-1")` equity and tables of an
    account. Frames and bars that are computed from others are of the same moment. What the feed shows goes on: nothing
    is switched. Of a moment in the past it has no bars: what they were is not kept. Memory that it refers to is freed
    with it.
    """

    def __init__(self, name: str, captured: _Captured) -> None:
        self._name = name
        self._moment = captured.moment
        self._seq = captured.seq
        self._ledger = captured.ledger
        # Weak: a snapshot keeps no stream open.
        self._parts: WeakKeyDictionary[LiveObject, Part] = WeakKeyDictionary(captured.parts)
        own = [part.quotes for part in captured.parts.values() if isinstance(part, ChainSnapshot)]  # of their chain
        self._every = [part for part in captured.parts.values() if not any(part is each for each in own)]

    @property
    def ts(self) -> pd.Timestamp:
        """The market time of the moment, UTC."""
        return pd.Timestamp(self._moment.now // 1_000, unit="us", tz="UTC")

    @property
    def seq(self) -> int:
        """The arrival number of the newest record that had come, over all connections of the feed.

        Of a moment in the past: of the newest row of its frames.
        """
        if self._seq is None:
            self._seq = max((part.seq for part in self._every if part.is_held), default=0)
        return self._seq

    @property
    def gaps(self) -> pd.DataFrame:
        """The interruptions of the feed that were known then, as `feed.gaps.df`."""
        return gaps_frame(self._moment.gaps.all())

    @property
    def ledger(self) -> pd.DataFrame:
        """Message counts by outcome, as `feed.ledger`. Raises UsageError of a past moment: they are not kept."""
        if self._moment.until is not None:
            raise UsageError("counts of messages of the past are not kept", advice="Use `feed.snapshot().ledger`.")
        return ledger_frame(self._ledger)

    @overload
    def __getitem__(self, live: LiveFrame) -> FrameSnapshot: ...

    @overload
    def __getitem__(self, live: LiveBook) -> BookSnapshot: ...

    @overload
    def __getitem__(self, live: LiveBars) -> BarsSnapshot: ...

    @overload
    def __getitem__(self, live: OptionChain) -> ChainSnapshot: ...

    @overload
    def __getitem__(self, live: LiveTable) -> TableSnapshot: ...

    @overload
    def __getitem__(self, live: LiveFills) -> FillsSnapshot: ...

    def __getitem__(self, live: LiveObject) -> Part:
        """Return what a live frame, book, table, option chain, or bars were.

        Raises UsageError for what was not open, or is not held so far back, as bars of the past are not.
        """
        part = self._parts.get(live) if isinstance(live, LiveObject) else None
        if part is None:
            has = ", ".join(dict.fromkeys(map(repr, self._every))) or "nothing"
            if isinstance(live, LiveBars) and self._moment.until is not None:
                advice = "Make them of `then[trades].df`, or replay a recording."
                raise UsageError(f"what {live!r} were in the past is not kept", advice=advice)
            if isinstance(live, LiveObject) and type(live)._captured is LiveObject._captured:  # noqa: SLF001
                advice = f"Compute it from their data, such as `now[trades].df`. It has: {has}."
                what = f"snapshots have frames, bars, books, option chains and tables, not {live!r}"
                raise UsageError(what, advice=advice)
            raise UsageError(f"{live!r} is not in this snapshot", advice=f"It has: {has}.")
        part.check()
        return part

    def book(self, symbol: str) -> BookSnapshot:
        """Return what the order book of a symbol was, of several that with the most levels.

        Raises UsageError where none was open, or is not held so far back.
        """
        name = checked_symbol(symbol)
        books = [part for part in self._every if isinstance(part, BookSnapshot) and part.symbol == name]
        if not books:
            raise UsageError(f"no book of {name} is in this snapshot", advice=f'Call `feed.book("{name}")` before it.')
        book = max(books, key=lambda each: each.depth)
        book.check()
        return book

    def account(self, name: str | None = None) -> AccountSnapshot:
        """Return what an account was: its equity, cash, positions, orders, fills and balances; None for the only one.

        Raises UsageError where none of its tables was in use.
        """
        parts = [part for part in self._every if isinstance(part, TableSnapshot | FillsSnapshot) and part.account]
        names = list(dict.fromkeys(part.account for part in parts))
        alike = [each for each in names if name is None or each.upper() == str(name).upper()]
        chosen = name if name in names else alike[0] if len(alike) == 1 else None
        if chosen is None:
            call = "account()" if name is None else f'account("{name}")'
            has = f"Call `feed.{call}.positions` and the like before it."
            if names:
                has = f"It has: {', '.join(names)}." + ("" if name is None else f" {has}")
            raise UsageError(f"no one account {name or ''} is in this snapshot".replace("  ", " "), advice=has)
        return AccountSnapshot(chosen, self._moment, (part for part in parts if part.account == chosen))

    def diff(self, earlier: Snapshot) -> pd.DataFrame:
        """Return what differs from another snapshot, one row each: of what, key, field, before, after, change.

        Of frames and option chains the newest values of each symbol and the number of rows, of bars the newest of each
        symbol and their number, of books the size at each price, of tables each field of each row, of accounts equity
        and cash. `before` is of the other snapshot, missing (None) where it
        had no such value, and `after` of this one; `change` is their difference, NaN where they are no numbers. What
        either does not hold is left out.
        """
        if not isinstance(earlier, Snapshot):
            raise UsageError(f"{earlier!r} is no snapshot", advice="Pass one of `feed.snapshot()`.")
        rows = []
        before, after = earlier._values(), self._values()
        for name in [name for name in after if name in before]:
            pairs = dict.fromkeys((*before[name], *after[name]))
            for key, field in pairs:
                one, other = before[name].get((key, field)), after[name].get((key, field))
                is_same = one == other or (one != one and other != other)
                if not is_same and one is not NOT_HELD and other is not NOT_HELD:
                    rows.append((name, key, field, one, other, _change(one, other)))
        columns = ["what", "key", "field", "before", "after", "change"]
        return pd.DataFrame(rows, columns=pd.Index(columns)).astype({"change": "float64"})

    def _values(self) -> dict[str, dict[tuple[str, str], object]]:
        """Return the values of each part that is held, by its name; of several with one name those of the first."""
        found = {part.name: part.values() for part in reversed(self._every) if part.is_held}
        names = dict.fromkeys(part.account for part in self._every if isinstance(part, TableSnapshot) and part.account)
        return found | {f"account {name}": values for name in names if (values := self.account(name).values())}

    def __repr__(self) -> str:
        kinds = {
            ("frame", "frames"): FrameSnapshot,
            ("series of bars", "series of bars"): BarsSnapshot,
            ("option chain", "option chains"): ChainSnapshot,
            ("book", "books"): BookSnapshot,
            ("table", "tables"): TableSnapshot,
        }
        counts = {name: sum(isinstance(part, kind) for part in self._every) for name, kind in kinds.items()}
        has = [f"{count} {one if count == 1 else more}" for (one, more), count in counts.items() if count]
        has = has or ["nothing open"]
        return f"<snapshot of {self._name}: {self.ts:%Y-%m-%d} {exact_clock(self._moment.now)}, {', '.join(has)}>"


def _change(before: object, after: object) -> float:
    try:
        return float(after - before)  # type: ignore[operator]
    except (TypeError, ArithmeticError):
        return math.nan


class SnapshotMaker:
    """Takes snapshots of a feed. Any thread.

    `name` is the feed's, `gaps` are its gaps; `links` returns its connections, `objects` its open live objects.
    """

    def __init__(
        self,
        name: str,
        arrivals: Arrivals,
        gaps: GapLog,
        links: Callable[[], Sequence[Link]],
        objects: Callable[[], Iterable[LiveObject]],
    ) -> None:
        self._name = name
        self._arrivals = arrivals
        self._gaps = gaps
        self._links = links
        self._objects = objects

    def take(self) -> Snapshot:
        """Return what the feed has now."""
        return self._taken(None)

    def at(self, instant: object) -> Snapshot:
        """Return what the feed had at an instant, such as "14:31:07" on the clock's day.

        Raises UsageError for what is no time, for one that has not come yet, and for one of which nothing is held.
        """
        clock = self._arrivals.clock
        now = clock.now_ns()
        wanted = past_instant(instant, now)
        if wanted > now:
            raise UsageError(f"{instant} has not come yet", advice=f"It is {exact_clocks(now, wanted)[0]}.")
        return self._taken(wanted)

    def held_from(self) -> int | None:
        """Return the time from which on anything of the past is held, in ns since the epoch; None for nothing open."""
        moment = Moment(0, 0, GapLog(self._arrivals.clock))
        parts = (live._captured(moment) for live in self._open_objects())  # noqa: SLF001
        return min((part.held_since for part in parts if part is not None), default=None)

    def _open_objects(self) -> list[LiveObject]:
        """Return the open live objects, with the frames that are computed from others."""
        found = dict.fromkeys(self._objects())
        waiting = list(found)
        while waiting:
            live = waiting.pop()
            frame = live.quotes if isinstance(live, OptionChain) else live
            dependents = frame._dependents if isinstance(frame, LiveFrame) else ()  # noqa: SLF001
            new = [each for each in dependents if each.is_open and each not in found]
            found |= dict.fromkeys(new)
            waiting += new
        return list(found)

    def _taken(self, until: int | None) -> Snapshot:
        links, objects = self._links(), self._open_objects()
        bars = [] if until is not None else [live for live in objects if isinstance(live, LiveBars)]
        # Hundreds of thousands of bars are copied here, not on the network's thread.
        copies = {made: made._copied() for made in bars if isinstance(made, DerivedBars)}  # noqa: SLF001
        for each in bars:
            if each not in copies:
                each._upkeep.frozen()  # noqa: SLF001 - of live objects
        for link in links:
            link.settle()
        work = partial(self._capture, until, links, objects)
        captured = work() if Background.shared().is_current() else on_network(work).result()
        computed = [live for live in objects if isinstance(live, LiveFrame) and live._is_computed]  # noqa: SLF001
        for live in computed:  # they follow the network's thread, and are cut at the moment
            live._use()  # noqa: SLF001
            captured.parts[live] = live._captured(captured.moment, until=captured.moment.now)  # noqa: SLF001
        for made, copy in copies.items():
            trades = captured.parts.get(made._of)  # noqa: SLF001
            if isinstance(trades, FrameSnapshot):
                captured.parts[made] = made._captured_with(copy, trades)  # noqa: SLF001
        if until is not None:
            held = min((part.held_since for part in captured.parts.values()), default=None)
            if held is None:
                advice = "Open what you want to look back at, such as feed.quotes(…); a recording has all."
                why = (
                    "of what is open no past is kept" if objects else "nothing is open, so nothing is held of the past"
                )
                raise UsageError(f"{self._name}: {why}", advice=advice)
            if until < held:
                raise not_held(self._name, until, held)
        return Snapshot(self._name, captured)

    # The network's thread.

    def _capture(self, until: int | None, links: Sequence[Link], objects: Sequence[LiveObject]) -> _Captured:
        """Return what all hold now; each costs microseconds, as rows are never written again."""
        now = self._arrivals.clock.now_ns() if until is None else until
        moment = Moment(now, until, self._gaps.frozen(until))
        parts = {live: part for live in objects if (part := live._captured(moment)) is not None}  # noqa: SLF001
        own = [part for live, part in parts.items() if type(live) is LiveFrame and isinstance(part, FrameSnapshot)]
        parts |= {
            live.quotes: parts[live].quotes for live in objects if isinstance(live, OptionChain) and live in parts
        }
        moment.quotes += [part for part in own if part.kind == "quotes" and not set(PRICES).difference(part.columns)]
        if until is None:
            lines = [line for link in links for line in link.ledgers()]
            return _Captured(moment, self._arrivals.complete, parts, lines)
        return _Captured(moment, None, parts, [])

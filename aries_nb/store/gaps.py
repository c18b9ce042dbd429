"""Gap log: when a stream was interrupted, why, and whether the missed data were filled in from the broker's history."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from aries_nb.model import NOT_A_TIME, Cause, Checkpoint, Checkpointed, Column, Kind, Observers, Resumed
from aries_nb.model.clock import Clock, WallClock
from aries_nb.store.values import frame_of

__all__ = ["Gap", "GapLog", "StreamGaps", "gaps_frame"]

MAX_GAPS = 10_000
_BEYOND_HISTORY = "; the broker's past does not reach back so far"
_OF_ROOMS: frozenset[Cause] = frozenset({"room", "publisher gone"})  # where no broker is asked
_COLUMNS = (
    Column("stream", "text"),
    Column("symbol", "text"),
    Column("started", "time"),
    Column("ended", "time"),
    Column("cause", "text"),
    Column("reason", "text"),
    Column("filled", "integer"),
    Column("missed"),
)
MAX_LINES = 100  # lines of one gap for symbols that could not be filled


@dataclass(frozen=True, slots=True)
class Gap:
    """One interruption of a stream, or the part of it that concerns one kind of data or one symbol.

    Times in ns since the epoch; `ended` is None while it lasts. `symbol` is "" where all symbols of the stream are
    concerned. `cause` is "cut", "silence", "overload" (we read too slowly), "token", "restart" (the server restarts),
    "pause" (this process was suspended), "recording" (events are missing in a recording), "given up" (not in use),
    "room" (the way to a room's server, or rows that did not come) or "publisher gone" (who serves the room gives no
    sign of life); `reason` says it in words. `filled`: nothing is missing, as the missed data were loaded from the
    broker's history, or none were missed. `missed` is the number of messages that were missed, in a filled gap the
    number loaded; None where it is unknown. `number` is the gap's place among all gaps of the feed, from 0. `past` is
    how many of the missed messages the stream itself sent from its
    history. `is_of_one`: it concerns one frame, book or table alone; others of the same symbols went on.
    """

    stream: str
    symbol: str
    started: int
    ended: int | None
    reason: str
    filled: bool = False
    missed: int | None = None
    cause: Cause = "cut"
    number: int = 0
    past: int = 0
    is_of_one: bool = False


class GapLog(Checkpointed):
    """The newest 10,000 gaps of a feed; `count` counts all. The network's thread writes, any thread reads."""

    STATE = "_gaps", "_open", "_filled", "count", "counts"

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or WallClock()
        self._gaps: dict[int, Gap] = {}  # by number, oldest first
        self._open: dict[str, int] = {}  # by stream, the number of its open gap
        self._filled: dict[tuple[int, Kind, str], int] = {}  # messages backfilled in open gaps
        self._lock = threading.Lock()
        self._observers = Observers()
        self.count = 0
        self.counts: Counter[str] = Counter()  # by stream

    def restart(self) -> None:
        """Have no gaps again, because a replay begins anew; the network's thread only."""
        with self._lock:
            self._gaps, self._open, self._filled = {}, {}, {}
            self.count = 0
            self.counts.clear()
        self._observers.notify()

    def noted(self, counted: object = None) -> Checkpoint | None:  # noqa: ARG002
        """Return what a recording notes of it; None where it has gaps that no event of a recording makes."""
        with self._lock:
            if any(gap.is_of_one for gap in self._gaps.values()):
                return None
            return {name: getattr(self, name) for name in self.STATE}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Have the gaps of an earlier moment; the network's thread only."""
        with self._lock:
            super().resume(checkpoint)
        self._observers.notify()

    def stream(self, name: str) -> StreamGaps:
        """Return the sink (a `GapSink`) through which one stream writes its gaps to this log."""
        return StreamGaps(self, name)

    def opened(self, stream: str, *, started: int, reason: str, cause: Cause = "cut") -> None:
        """Begin a gap of a stream at `started` (ns since the epoch); does nothing where one is open.

        `cause` is one of those of `Gap`, `reason` says it in words. Its entries by kind and symbol are known by when it
        began: it begins a ns or so later where another gap of the stream began at that time.
        """
        with self._lock:
            if stream in self._open:
                return
            others = {gap.started for gap in self._gaps.values() if gap.stream == stream}
            while started in others:
                started += 1
            self._open[stream] = self.count
            self._add(Gap(stream, "", started, None, reason, cause=cause))
            self.counts[stream] += 1
            self._trim()
        self._observers.notify()

    def closed(self, stream: str, *, ended: int, resumed: Sequence[Resumed] = (), is_all: bool = False) -> None:
        """End the open gap of a stream at `ended` (ns since the epoch), if there is one.

        `resumed` says, for each kind and symbol, whether the missed messages came from the broker's history. `is_all`:
        the stream has no further kinds or symbols, so if all of these came, the gap is filled. If it is not filled, the
        log gets further gaps, with `stream` such as "market trades": one for each kind of which any symbol was filled,
        and one for each symbol that was not, which for its symbol overrides that of the kind.
        """
        with self._lock:
            number = self._open.pop(stream, None)
            if number is None:
                return
            gap = self._gaps.get(number)
            if gap is not None:
                resumed = [self._completed(number, each) for each in resumed]
                is_filled = is_all and bool(resumed) and all(each.is_filled for each in resumed)
                missed = sum(each.count for each in resumed) if is_filled else None
                gap = self._gaps[number] = replace(gap, ended=max(ended, gap.started), filled=is_filled, missed=missed)
                for part in () if is_filled else _parts(gap, resumed):
                    self._add(part)
            self._filled = {key: count for key, count in self._filled.items() if key[0] != number}
            self._trim()
        self._observers.notify()

    def given_up(self, stream: str, symbol: str, *, started: int, reason: str) -> int:
        """Begin a gap of one frame, book or table alone, which was given up at `started`; return its number.

        `started` is in ns since the epoch. It is not among the interruptions that `counts` counts.
        """
        with self._lock:
            number = self.count
            self._add(Gap(stream, symbol, started, None, reason, cause="given up", is_of_one=True))
            self._trim()
        self._observers.notify()
        return number

    def taken_up(self, number: int, *, ended: int) -> None:
        """End gap `number` (from `given_up`) at `ended`, in ns since the epoch."""
        with self._lock:
            gap = self._gaps.get(number)
            if gap is None or gap.ended is not None:
                return
            self._gaps[number] = replace(gap, ended=max(ended, gap.started))
        self._observers.notify()

    def last_received(self, number: int, at: int) -> None:
        """Begin gap `number` (from `given_up`) at `at`, in ns, where messages still came until then."""
        with self._lock:
            gap = self._gaps.get(number)
            if gap is not None:
                self._gaps[number] = replace(gap, started=max(gap.started, at))

    def copied(self, gap: Gap, number: int | None) -> int:
        """Have a gap of another log here, as gap `number`, or as a new one where that is None; return its number."""
        with self._lock:
            if number is None:
                number = self.count
                self._add(gap)
                if " " not in gap.stream:
                    self.counts[gap.stream] += 1
                self._trim()
            elif number in self._gaps and self._gaps[number] != replace(gap, number=number):
                self._gaps[number] = replace(gap, number=number)
            else:
                return number
        self._observers.notify()
        return number

    def newest(self, stream: str) -> int:
        """Return the number of the newest gap of a stream, an open one included; -1 where there is none."""
        with self._lock:
            return max((gap.number for gap in self._gaps.values() if gap.stream == stream), default=-1)

    def filled(self, number: int, kind: Kind, symbol: str, *, count: int) -> None:
        """Note that what a symbol missed in gap `number` was inserted: `count` messages more, requested over HTTP.

        `kind` is the kind of stream, such as "trades". While the gap is open, this is remembered until it ends. Has no
        effect where the gap is no longer kept, or has one common entry because more than 100 symbols of the kind were
        not filled.
        """
        with self._lock:
            base = self._gaps.get(number)
            if base is None:
                return
            if base.ended is None:
                self._filled[number, kind, symbol] = count
                return
            key = f"{base.stream} {kind}", symbol, base.started
            line = next((gap for gap in self._gaps.values() if (gap.stream, gap.symbol, gap.started) == key), None)
            if line is None or line.filled:
                return
            reason = line.reason.removesuffix(_BEYOND_HISTORY)
            self._gaps[line.number] = replace(line, filled=True, missed=line.past + count, reason=reason)
        self._observers.notify()

    def all(self) -> list[Gap]:
        """Return all gaps that are kept, oldest first."""
        with self._lock:
            return list(self._gaps.values())

    def of(self, symbols: Mapping[tuple[str, Kind], Collection[str]], own: Collection[int] = ()) -> list[Gap]:
        """Return the gaps of these symbols, oldest first; of gaps of one frame alone, those whose number is in `own`.

        The symbols are given by connection and kind of stream, such as ("market", "trades"). A gap is one of a whole
        connection, unless the log has entries of it by kind and symbol (which say what was filled): then those.
        """
        streams = {f"{name} {kind}": (name, some) for (name, kind), some in symbols.items()}
        connections = {name for name, _ in symbols}
        gaps = [gap for gap in self.all() if not gap.is_of_one]
        alone = [gap for gap in self.all() if gap.is_of_one and gap.number in own]
        parts = [gap for gap in gaps if gap.stream in streams and gap.symbol in ("", *streams[gap.stream][1])]
        named = {(streams[gap.stream][0], gap.started) for gap in parts}
        whole = [gap for gap in gaps if gap.stream in connections and (gap.stream, gap.started) not in named]
        return sorted([*whole, *parts, *alone], key=lambda gap: gap.number)

    def frozen(self, until: int | None = None) -> GapLog:
        """Return the gaps of now, which never change, or those of an instant (ns since the epoch). Any thread.

        Of a gap that lasted then, the end is not known yet, nor what was missed.
        """
        log = GapLog(self.clock)
        with self._lock:
            gaps = dict(self._gaps)
        if until is not None:
            gaps = {number: _as_of(gap, until) for number, gap in gaps.items() if gap.started <= until}
        log._gaps, log.count = gaps, self.count if until is None else len(gaps)
        return log

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    def _completed(self, number: int, resumed: Resumed) -> Resumed:
        """Return `resumed` with the messages added that were requested over HTTP for its symbol in gap `number`.

        It counts as filled then; unchanged where none were requested.
        """
        count = self._filled.get((number, resumed.kind, resumed.symbol))
        return resumed if count is None else replace(resumed, is_filled=True, count=resumed.count + count)

    def _add(self, gap: Gap) -> None:
        self._gaps[self.count] = replace(gap, number=self.count)
        self.count += 1

    def _trim(self) -> None:
        while len(self._gaps) > MAX_GAPS:
            del self._gaps[next(iter(self._gaps))]


class StreamGaps:
    """The gaps of one stream: a `GapSink` that writes to the feed's gap log. The network's thread writes."""

    def __init__(self, log: GapLog, stream: str) -> None:
        self._log = log
        self._stream = stream

    def of_connection(self, number: int) -> StreamGaps:
        """Return the sink of one of several connections of the stream, counted from 1.

        The first is named as the stream, others "market 2" and so on.
        """
        return self if number == 1 else StreamGaps(self._log, f"{self._stream} {number}")

    @property
    def log(self) -> GapLog:
        """The gap log of the feed, with the gaps of all streams."""
        return self._log

    @property
    def name(self) -> str:
        """The name of the stream in the gap log, such as "market"."""
        return self._stream

    def opened(self, *, started: int, reason: str, cause: Cause) -> None:
        """Begin a gap of the stream at `started` (ns since the epoch); does nothing where one is open.

        `cause` is one of those of `Gap`, `reason` says it in words.
        """
        self._log.opened(self._stream, started=started, reason=reason, cause=cause)

    @property
    def newest(self) -> int:
        """The number of the stream's newest gap in the log, one that lasts included; -1 where there is none."""
        return self._log.newest(self._stream)

    @property
    def count(self) -> int:
        """The number of gaps that the stream has had on all its connections, one that lasts included."""
        return sum(count for name, count in self._log.counts.items() if name.split()[0] == self._stream)

    def closed(self, *, ended: int, resumed: Sequence[Resumed] = (), is_all: bool = False) -> None:
        """End the stream's open gap at `ended` (ns since the epoch), if there is one.

        `resumed` says, for each kind and symbol, whether the missed messages came from the broker's history. `is_all`:
        the stream has no further kinds or symbols, so if all of these came, the gap is filled.
        """
        self._log.closed(self._stream, ended=ended, resumed=resumed, is_all=is_all)


def _as_of(gap: Gap, instant: int) -> Gap:
    if gap.ended is not None and gap.ended <= instant:
        return gap
    return replace(gap, ended=None, filled=False, missed=None)


def _parts(gap: Gap, resumed: Sequence[Resumed]) -> list[Gap]:
    """Return the entries of an ended gap that was not wholly filled: parts of it by kind and symbol.

    For each kind in `resumed`: one entry if any of its symbols was filled, and one for each symbol that was not. Where
    more than 100 symbols of a kind were not filled, a single entry stands for the kind.
    """
    parts: list[Gap] = []
    for kind in sorted({each.kind for each in resumed}):
        stream = f"{gap.stream} {kind}"
        missing = {each.symbol: each.count for each in resumed if each.kind == kind and not each.is_filled}
        filled = [each.count for each in resumed if each.kind == kind and each.is_filled]
        reason = gap.reason + _BEYOND_HISTORY * (gap.cause not in _OF_ROOMS)
        if len(missing) > MAX_LINES:
            parts.append(replace(gap, stream=stream, reason=f"{reason} for {len(missing):,} symbols"))
            continue
        if filled:
            parts.append(replace(gap, stream=stream, filled=True, missed=sum(filled)))
        parts += [
            replace(gap, stream=stream, symbol=symbol, reason=reason, past=missing[symbol])
            for symbol in sorted(missing)
        ]
    return parts


def gaps_frame(gaps: Sequence[Gap]) -> pd.DataFrame:
    """Return one row a gap: stream, symbol ("" all), started, ended (UTC), cause, reason, filled, missed.

    `ended` is NaT while the gap lasts, `missed` NaN where the broker gives no way to know. `filled` (bool): nothing is
    missing, as what was missed was loaded from the broker's history, or nothing was missed. Where only trades could be
    filled, "market trades" has a row of its own.
    """
    rows = [
        (gap.stream, gap.symbol, gap.started, NOT_A_TIME if gap.ended is None else gap.ended, gap.cause, gap.reason,
         gap.filled, math.nan if gap.missed is None else gap.missed)
        for gap in gaps
    ]  # fmt: skip
    return frame_of(_COLUMNS, rows).astype({"filled": "bool"})

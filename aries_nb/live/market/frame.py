"""A rolling DataFrame that fills itself: what `feed.quotes` and `feed.trades` return."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd

from aries_nb.errors import GapError, UsageError
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import StreamedObject
from aries_nb.live.staleness import Staleness
from aries_nb.model import MISSING, NOT_A_TIME, BoardData, Column, FrameRows, GapSpan, Kind
from aries_nb.store import LatencySamples, RollingFrame
from aries_nb.store.rolling import time_weighted

if TYPE_CHECKING:
    from aries_nb.widgets import Board, Candles, Chart

__all__ = ["FrameSource", "LiveFrame"]


class LiveFrame(StreamedObject):
    """Rows of one kind for some symbols, the newest of them, kept current in the background.

    Index `ts` (exchange time, UTC), columns `received` (local receipt, UTC), `symbol` (categorical) and the fields:
    numbers float64 (NaN missing), texts categorical ("" missing). Sizes are in shares, or in
    lots where the broker counts lots. Any thread may read.
    """

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        kind: Kind,
        symbols: Sequence[str],
        *,
        columns: Sequence[Column],
        window: dict[str, int | None],
        options: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.kind = kind
        self.symbols = tuple(symbols)
        self._tape = link.tape(kind, symbols, columns, options=options, **window)
        shown = ", ".join(self.symbols[:4]) + (" …" if len(self.symbols) > 4 else "")
        release = partial(link.release, self._tape)
        super().__init__(link, callbacks, self._tape, f"{kind} {shown}", release=release)
        self._staleness = Staleness(self._tape, link, self._gap_selection)

    @property
    def df(self) -> pd.DataFrame:
        """The rows now in the window, oldest first; a snapshot of your own, made without copying."""
        self._check_coming()
        return self._tape.frame()

    @property
    def latest(self) -> pd.DataFrame:
        """The newest row of each symbol, index `symbol`; missing values where nothing has come yet.

        `stale`, bool: do not take the row for the present. The feed is not live, the symbol was refused, the row is
        from before a gap, or nothing has come for 20 times the usual interval of the symbol, 5 s at least, while its
        market trades without a pause (300 s, assumed, where little has come yet). A market that is closed, on holiday,
        in an auction, before or after its regular hours is quiet, and that is no fault.
        """
        self._check_coming()
        rows = self._tape.latest()
        names = [column.name for column in self._tape.columns]
        blank: tuple[Any, ...] = tuple(MISSING[column.type] for column in self._tape.columns)
        data = pd.DataFrame(
            [blank if row is None else row[2] for row in rows],
            columns=pd.Index(names),
            index=pd.Index(self.symbols, name="symbol", dtype="str"),
        )
        data.insert(0, "ts", _times([NOT_A_TIME if row is None else row[0] for row in rows]))
        data.insert(1, "received", _times([NOT_A_TIME if row is None else row[1] for row in rows]))
        for name, kind in self._tape.columns:
            if kind == "time":
                data[name] = _times(data[name])
        stale = set(self._source.stale())
        data["stale"] = [symbol in stale for symbol in self.symbols]
        return data

    @property
    def silent(self) -> tuple[str, ...]:
        """The symbols of which nothing has come for longer than is usual while their market is open; see `latest`."""
        return self._staleness.silent(time.time_ns()) if self.is_live else ()

    def time_weighted_mean(
        self, column: str, *, symbol: str | None = None, over_gaps: Literal["refuse", "skip"] = "refuse"
    ) -> float:
        """The mean of a column between the first and the last row of a symbol, each value weighted by how long it held.

        `symbol`: None for the first. Time while the value was missing does not count; NaN where it always was. Nobody
        knows what a value was in a gap: "skip" leaves that time out, until the symbol's next row, else GapError is
        raised where there was one. A gap that was filled is none.
        """
        name = self._known_symbol(symbol)
        self._known_numbers((column,))
        if over_gaps not in {"refuse", "skip"}:
            raise UsageError(f"over_gaps={over_gaps!r}", advice='Pass "refuse" or "skip".')
        rows = self._tape.rows(0)
        chosen = rows.codes == rows.symbols.index(name)
        others = set(self.symbols) - {name}
        gaps = sorted({gap.started for gap in self._gap_selection.all() if not gap.filled and gap.symbol not in others})
        received = rows.ts if rows.received is None else rows.received
        found = time_weighted(rows.ts[chosen], received[chosen], rows.numbers[column][chosen], gaps)
        if found.gaps and over_gaps == "refuse":
            raise GapError(f"{column} of {name}", gaps=found.gaps, unknown_s=found.unknown_ns / 1e9)
        return found.mean

    def __len__(self) -> int:
        return len(self._tape)

    @property
    def received(self) -> int:
        """How many rows have come since the frame was made, evicted ones included."""
        return self._tape.version

    @property
    def evicted(self) -> int:
        """How many rows have left the window."""
        return self._tape.evicted

    @property
    def lag(self) -> pd.DataFrame:
        """How long its rows take, in ms: half of them at most `p50_ms`, all but one in a hundred at most `p99_ms`.

        "exchange to received": the newest 1,000 rows, by the two clocks as they are (negative where ours is behind);
        those of the past are left out. "received to visible": until it can be read here, of the oldest row of each
        time that some came. "received to painted": until the browser has painted the newest row of a frame, of the
        views on display in the last minute; NaN where there is none, or where its answers cannot come in, as while a
        cell blocks the kernel.
        """
        return self._tape.lags.frame(self._tape.received_percentiles())

    def wait(self, *, rows: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `rows` rows have come since the frame was made. `timeout` in seconds, None for ever.

        Raises WaitTimeoutError, or what has gone wrong with the feed.
        """
        return self._wait(rows, timeout=timeout, what=f"{rows} rows of {self._name}")

    async def until(self, *, rows: int = 1, timeout: float | None = 10.0) -> Self:
        """The same as `wait` for async code: the event loop goes on meanwhile."""
        return await self._until(rows, timeout=timeout, what=f"{rows} rows of {self._name}")

    def on_update(self, callback: Callable[[pd.DataFrame], object]) -> Callable[[], None]:
        """Call back with the rows that are new, as a DataFrame, on a thread of its own. Returns the undo.

        The same function again, as when its cell runs again, replaces the one before; `close` removes it.
        A slow callback gets more rows at once; it never slows the stream. One that is slower than the window lasts
        misses what has left it meanwhile, which is logged with its number. One that raises is logged and goes on.
        """
        self._check_coming()
        position = self._tape.version

        def job() -> None:
            nonlocal position
            expected = position
            rows, position = self._tape.frame_since(position)
            missed = position - expected - len(rows)
            if missed:
                self._callbacks.report(f"a callback on {self._name} was too slow and missed {missed:,} rows")
            if len(rows):
                callback(rows)

        return self._registrations.add("update", callback, job, self._tape.watch)

    def chart(self, *columns: str, symbols: Sequence[str] | None = None, height: int = 320) -> Chart:
        """A live line chart of these columns (default: what there is to see of a price). Height in pixels."""
        from aries_nb.widgets import Chart

        names = columns or self._usual_columns()
        self._known_numbers(names)
        for symbol in symbols or ():
            if symbol not in self.symbols:
                raise UsageError(f"{symbol!r} is not in this frame", advice=f"It has {', '.join(self.symbols)}.")
        chosen = None if symbols is None else tuple(symbols)
        title = f"{self.kind} · {', '.join(chosen or self.symbols)}"
        make = lambda: Chart(self._source, names, symbols=chosen, title=title, height=height)  # noqa: E731
        return self._view(("chart", names, chosen, height), make)

    def candles(self, every: str = "5s", *, symbol: str | None = None, column: str | None = None) -> Candles:
        """Live candles of one symbol (default: the first), each over `every` (a pandas offset such as "5s", "1min").

        `column` is the price to use; by default the trade's, else the middle of bid and ask.
        """
        from aries_nb.widgets import Candles

        shown = self._known_symbol(symbol)
        if column is not None:
            self._known_numbers((column,))
        make = lambda: Candles(self._source, every=every, symbol=shown, column=column)  # noqa: E731
        return self._view(("candles", every, shown, column), make)

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self):,} rows, {'live' if self.is_live else self._state}>"

    # Inside.

    @property
    def _source(self) -> FrameSource:
        return FrameSource(self, self._tape, self._link, self._staleness, self._gap_selection)

    def _count(self) -> int:
        return self._tape.version

    def _first_view(self) -> Board:
        from aries_nb.widgets import Board

        return self._view("board", lambda: Board(self._source, title=self.kind))

    def _check(self) -> None:
        self._check_coming()
        super()._check()

    def _check_coming(self) -> None:
        """Raise if nothing of what was asked for can come any more; rows that came before stay readable."""
        refused = self._link.refused(self._tape)
        if refused and len(refused) == len(self.symbols) and not self._tape.version:
            raise self._link.refusal(refused)
        if not self._tape.version and self._link.state == "failed":
            self._link.check()

    def _known_symbol(self, symbol: str | None) -> str:
        if symbol is not None and symbol not in self.symbols:
            raise UsageError(f"{symbol!r} is not in this frame", advice=f"It has {', '.join(self.symbols)}.")
        return symbol or self.symbols[0]

    def _usual_columns(self) -> tuple[str, ...]:
        numbers = [column.name for column in self._tape.columns if column.type == "number"]
        usual = [name for name in ("bid_price", "ask_price", "price") if name in numbers]
        return tuple(usual or numbers[:1])

    def _known_numbers(self, names: Sequence[str]) -> None:
        numbers = [column.name for column in self._tape.columns if column.type == "number"]
        for name in names:
            if name not in numbers:
                raise UsageError(f"{name!r} is no number column of this frame", advice=f"It has {', '.join(numbers)}.")


class FrameSource:
    """What views and other live objects read of a frame; it keeps the frame alive. Any thread."""

    def __init__(
        self, frame: LiveFrame, tape: RollingFrame, link: Link, staleness: Staleness, gaps: GapSelection
    ) -> None:
        self.symbols = frame.symbols
        self._frame = frame
        self._tape = tape
        self._link = link
        self._staleness = staleness
        self._gaps = gaps

    @property
    def lags(self) -> LatencySamples:
        """Where views note when a row was painted."""
        return self._tape.lags

    @property
    def version(self) -> int:
        """Grows with every row, and with the state of the feed."""
        return 2 * self._tape.version + (not self._frame.is_live)

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called after each change, on the network's thread; it must return at once. Returns the undo."""
        return self._tape.watch(ring)

    def rows(self, first: int) -> FrameRows:
        """Rows from absolute number `first` on, as arrays."""
        return self._tape.rows(first)

    def board(self) -> BoardData:
        """The newest numbers of each symbol."""
        data = self._tape.board(is_stale=not self._frame.is_live, rejected=self.refused())
        return replace(data, stale=self.stale())

    def stale(self) -> tuple[str, ...]:
        """The symbols whose newest row is not the present."""
        if not self._frame.is_live:
            return self.symbols
        flags = self._staleness.stale(time.time_ns())
        refused = self.refused()
        return tuple(
            symbol for symbol, flag in zip(self.symbols, flags.tolist(), strict=True) if flag or symbol in refused
        )

    def refused(self) -> dict[str, str]:
        """The symbols that the server refuses, and why in two or three words."""
        refused = self._link.refused(self._tape).items()
        return {each.symbol: "unknown symbol" if why.is_unknown_symbol else "refused" for each, why in refused}

    def from_before_a_gap(self) -> frozenset[str]:
        """The symbols whose newest row is from before a gap that was not filled: no price of now."""
        return self._staleness.from_before_a_gap()

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """The gaps that were not filled, oldest first."""
        return self._gaps.spans()


def _times(nanoseconds: Sequence[int] | pd.Series[int]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.array(np.asarray(nanoseconds, dtype="int64"), dtype=pd.DatetimeTZDtype("ns", "UTC")))

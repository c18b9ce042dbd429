"""`DerivedBars`: live bars made of the rows of a frame of trades, by time, ticks, volume or value."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.arguments import checked_count, checked_span_us, finite_number
from aries_nb.live.callbacks import News
from aries_nb.live.derived.worker import Job
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import LiveObject
from aries_nb.live.market.bars import TABLE_COLUMNS, TABLE_ROWS, LiveBars
from aries_nb.live.market.frame_views import FrameViews
from aries_nb.live.moments.series import BarsSnapshot
from aries_nb.model import BarsData, Column, GapSpan, Observers, TableData
from aries_nb.model.settings import Engine, check_plotly
from aries_nb.net.background import Background
from aries_nb.store.derived.tick_bars import BarRule, Interruption, TickBars, prints_of

if TYPE_CHECKING:
    from aries_nb.live.moments.parts import FrameSnapshot, Moment
    from aries_nb.widgets import BarCandles, Blotter

__all__ = ["DerivedBars", "bar_rule"]


def bar_rule(every: str | None, ticks: int | None, volume: float | None, value: float | None) -> tuple[BarRule, str]:
    """Return when a bar ends, and that in words, from the arguments of `bars`, of which exactly one is given.

    Raises UsageError for none or several, and for one that is not above 0.
    """
    given = {"every": every, "ticks": ticks, "volume": volume, "value": value}
    chosen = [name for name, each in given.items() if each is not None]
    if len(chosen) != 1:
        what = f"bars of {' and '.join(chosen)}" if chosen else "bars of no length"
        raise UsageError(what, advice='Pass one of "1min", ticks=500, volume=10_000, value=1e6.')
    if every is not None:
        return BarRule("time", checked_span_us(every, "every")), str(every)
    if ticks is not None:
        return BarRule("ticks", checked_count(ticks, "ticks", "trades")), f"{ticks:,} ticks"
    name = chosen[0]
    amount = volume if value is None else value
    number = finite_number(amount)
    if not number > 0:
        raise UsageError(f"{name}={amount!r} is no amount of a bar", advice="Pass a number above 0.")
    return BarRule("volume" if value is None else "value", number), f"{name} {number:,.10g}"


class DerivedBars(LiveBars):
    """The bars that the trades of a live frame make, kept current in the background; at most 200,000.

    Bars of time begin at multiples of their length, UTC, and have the trades whose exchange time is in them, late ones
    too. The others are cut in the order of arrival, each with the trade that fills it; what is corrected later changes
    no ends. They begin with the trades in the window of the frame, and stay when these leave it.
    """

    def __init__(self, frame: FrameViews, rule: BarRule, interval: str, *, after: Sequence[Job]) -> None:
        names = [column.name for column in frame._tape.columns]
        needed = ["price", *(["size"] if rule.kind in {"volume", "value"} else [])]
        if not set(needed) <= set(names):
            what = f"bars are made of trades with {' and '.join(needed)}"
            raise UsageError(what, advice=f"This frame has {', '.join(names)}.")
        self.symbols = frame.symbols
        self.symbol = frame.symbols[0] if len(frame.symbols) == 1 else ", ".join(frame.symbols)
        self.interval = interval
        self._of = frame
        self._bars = TickBars(rule, len(frame.symbols))
        self._guard = threading.RLock()  # of the bars
        self._changes = Observers()
        self._job = Job(self._advance, after)
        undo = frame._tape.watch(self._job.wake)
        name = f"{interval} bars of {frame._name}"
        LiveObject.__init__(self, frame._link, frame._callbacks, self._changes.add, name, release=undo)
        self._advance()
        self._job.wake()

    @property
    def df(self) -> pd.DataFrame:
        """One row a bar, the running ones too; a snapshot that belongs to the caller.

        Index `ts`: the start of the bar, UTC, of bars that are not of time the exchange time of their first trade.
        `symbol`; open, high, low, close, volume and trades float64; `source` "live", or "corrected" for one that a late
        or corrected trade changed after its end; `complete` bool: the bar is over (one of time for two seconds), and no
        trade of it is missing. False for the first bar of time of each symbol, which began before its first trade, for
        bars over a gap that was not filled, and where a trade was corrected after others of the bar had left the
        window. Bars of time are in the order of time, others in that in which they began.
        """
        self._use()
        with self._guard:
            return self._bars.frame(self.symbols, self._now(), self._interruptions())

    def __len__(self) -> int:
        self._use()
        return len(self._bars)

    def chart(
        self, *, bars: int = 500, height: int = 380, engine: Engine | None = None, symbol: str | None = None
    ) -> BarCandles:
        """Return a live chart of the newest `bars` bars of a symbol (None: the first), at most 2,000, with volume.

        `height` is in pixels, times are in `settings.timezone`. It is drawn by the engine "plotly". Raises UsageError
        for `engine` "light", and for an unknown symbol.
        """
        from aries_nb.widgets import BarCandles

        check_plotly(engine, "bars with nights left out")
        shown = self._of._known_symbol(symbol)
        source = _DerivedBarsSource(self, self.symbols.index(shown))
        self._sources.add(source)
        return self._view(
            ("chart", bars, height, shown),
            lambda: BarCandles(source, title=f"{shown} · {self.interval}", most=bars, height=height),
        )

    # Inside.

    @property
    def _source(self) -> Any:  # noqa: ANN401 - of other bars, with the same methods
        source = _DerivedBarsSource(self, None)
        self._sources.add(source)
        return source

    @property
    def _stores(self) -> tuple[()]:
        return ()

    @property
    def _uses(self) -> tuple[LiveObject, ...]:
        return (self._of,)

    @property
    def _is_given_up(self) -> bool:
        return self._of._is_given_up

    @property
    def _is_refused(self) -> bool:
        return not self._bars.total and self._of._is_refused

    def _give_up(self, reason: str) -> None:
        """Do nothing: the streams are those of the frame."""

    def _use(self) -> None:
        self._of._use()
        super()._use()
        if not Background.shared().is_current():
            self._advance()

    def _check(self) -> None:
        if not self.is_open:
            because = "" if self._of.is_open else f", as {self._of._name}, which it is computed from, is closed"
            raise ClosedError(f"{self._name} is closed{because}", advice="Ask for it again.")
        self._of._check()

    def _count(self) -> int:
        return self._bars.total

    def _news(self, *, whole: bool = False) -> News:
        seen = -1 if whole else self._bars.version

        def news() -> pd.DataFrame | None:
            nonlocal seen
            with self._guard:
                now = self._bars.version
                changed = self._bars.frame(self.symbols, self._now(), self._interruptions(), changed_after=seen)
                seen = now
            return changed if len(changed) else None

        return news

    def _first_view(self) -> Blotter:
        from aries_nb.widgets import Blotter

        return self._view("blotter", lambda: Blotter(self._source))

    def _now(self) -> int:
        return self._link.clock.now_ns() // 1_000

    def _interruptions(self) -> list[Interruption]:
        return _unfilled(self._of._gap_selection, self.symbols)

    def _captured(self, moment: Moment) -> None:  # noqa: ARG002 - bars are made on other threads: `_captured_with`
        return None

    def _copied(self) -> TickBars:
        with self._guard:
            return self._bars.copy()

    def _captured_with(self, bars: TickBars, trades: FrameSnapshot) -> BarsSnapshot:
        """Return the bars of a moment: `bars` of shortly before, with the `trades` that had come by then."""
        symbols, now = self.symbols, trades.moment.now // 1_000
        gaps = self._of._gap_selection.over(trades.moment.gaps)

        def made() -> pd.DataFrame:  # it must not refer to this object: a snapshot keeps no stream open
            bars.take(prints_of(trades.frozen, bars.position))
            return bars.frame(symbols, now, _unfilled(gaps, symbols))

        return BarsSnapshot(self._name, symbols, trades.moment, made)

    def _advance(self) -> None:
        with self._guard:
            is_changed = self._bars.take(prints_of(self._of._tape, self._bars.position))
            is_changed |= self._bars.settle(self._now(), self._interruptions())
        if is_changed:
            self._changes.notify()


def _unfilled(gaps: GapSelection, symbols: Sequence[str]) -> list[Interruption]:
    codes = {symbol: code for code, symbol in enumerate(symbols)}
    return [
        Interruption(gap.started // 1_000, None if gap.ended is None else gap.ended // 1_000, codes.get(gap.symbol))
        for gap in gaps.all()
        if not gap.filled
    ]


class _DerivedBarsSource:
    """The data of derived bars for views, of one symbol by its code, None for all. Any thread."""

    def __init__(self, bars: DerivedBars, code: int | None) -> None:
        self._bars = bars
        self._code = code

    @property
    def version(self) -> int:
        """A number that grows with every change of a bar, and changes with the state of the feed."""
        return 2 * self._bars._bars.version + (not self._bars.is_live)

    def newest(self, most: int) -> BarsData:
        """Return the newest `most` bars of the symbol as arrays, oldest first."""
        with self._bars._guard:
            found = self._bars._bars.newest(self._code or 0, most)
        return replace(found, is_stale=not self._bars.is_live)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        return self._bars._of._gap_selection.spans()

    def table(self) -> TableData:
        """Return the newest 20 bars as a table for a view, the newest first."""
        bars = self._bars
        with bars._guard:
            newest = bars._bars.frame(bars.symbols, bars._now(), (), newest=TABLE_ROWS).iloc[::-1]
        is_one = len(bars.symbols) == 1
        columns = TABLE_COLUMNS if is_one else (TABLE_COLUMNS[0], Column("symbol", "text"), *TABLE_COLUMNS[1:])
        starts = pd.DatetimeIndex(newest.index).as_unit("ns").asi8.tolist()
        left_out = ["complete", *(["symbol"] if is_one else [])]
        values = newest.drop(columns=left_out).itertuples(index=False, name=None)
        rows: Any = tuple((start, *row) for start, row in zip(starts, values, strict=True))
        return TableData(f"{bars.interval} bars of {bars.symbol}", columns, rows, key=(), is_stale=not bars.is_live)

"""The views of a live frame, such as its board and charts, and the data that they draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakMethod

import numpy as np
import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_count
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import StreamedObject
from aries_nb.live.market.day_figures import DayFigures
from aries_nb.live.market.instruments import TradingState
from aries_nb.live.moments.parts import FrameSnapshot, Moment, StandingClock
from aries_nb.live.staleness import Staleness
from aries_nb.model import BoardData, FillMark, FrameRows, GapSpan, Kind, PrintsData, ShownMoment, Standing
from aries_nb.model.settings import Engine, checked_engine
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.store import LatencySamples, RollingFrame
from aries_nb.store.past.frames import CapturedFrame

if TYPE_CHECKING:
    from aries_nb.widgets import Board, Candles, Chart, LightChart, Tape

__all__ = ["FrameSource", "FrameViews", "OwnFills", "ViewSource"]

# A weak reference: a frame must not keep the accounts of its feed alive.
OwnFills: TypeAlias = "WeakMethod[Callable[[Collection[str]], list[FillMark]]]"


class FrameViews(StreamedObject):
    """Base class of live frames with their views: board or tape, charts, candles."""

    kind: Kind
    symbols: tuple[str, ...]
    _tape: RollingFrame
    _staleness: Staleness
    _own_fills: OwnFills | None = None
    _day: DayFigures | None = None  # both None until the first board
    _states: TradingState | None = None

    def chart(
        self,
        *columns: str,
        symbols: str | Sequence[str] | None = None,
        height: int = 320,
        engine: Engine | None = None,
    ) -> Chart | LightChart:
        """Return a live line chart of these columns.

        By default bid and ask, or the trade price; of an index, which has no bid and ask, the last price. `symbols`
        None shows all of the frame; `height` is in pixels. `engine` is "plotly", a figure to be styled, or "light", a
        canvas for many charts on a page; None for `settings.engine`. Raises UsageError for an unknown column, symbol or
        engine.
        """
        from aries_nb.widgets import Chart, LightChart, LightLines

        names = columns or self._usual_columns()
        self._known_numbers(names)
        symbols = (symbols,) if isinstance(symbols, str) else symbols
        for symbol in symbols or ():
            self._known_symbol(symbol)
        chosen = None if symbols is None else tuple(symbols)
        title = " · ".join(dict.fromkeys((self._title, ", ".join(chosen or self.symbols))))
        drawn_by = checked_engine(engine)

        def make() -> Chart | LightChart:
            if drawn_by == "plotly":
                return Chart(self._view_source, names, symbols=chosen, title=title, height=height, or_last=not columns)
            lines = LightLines(
                self._view_source, names, symbols=chosen, title=title, height=height, or_last=not columns
            )
            return LightChart(self._view_source, [lines])

        return self._view(("chart", names, chosen, height, drawn_by), make)

    def charts(
        self,
        *columns: str,
        symbols: str | Sequence[str] | None = None,
        every: str | None = None,
        across: int = 3,
        height: int = 200,
    ) -> LightChart:
        """Return one live sheet with a light chart for each symbol, at most 40, whose crosshairs move together.

        The columns are drawn as lines, by default as in `chart`; or the price as candles of length `every`, as in
        `candles`, with at most one column. `symbols` None shows all of the frame, `across` is the number of charts side
        by side where there is room, `height` that of each in pixels. Raises UsageError for an unknown column or symbol,
        for columns that `every` cannot use, and for fewer than 1 across.
        """
        from aries_nb.widgets import LightCandles, LightChart, LightLines

        across = checked_count(across, "across", "charts")
        if every is not None and len(columns) > 1:
            raise UsageError(f"candles of {len(columns)} columns", advice="Pass at most one column with `every`.")
        names = columns or self._usual_columns()
        self._known_numbers(names)
        symbols = (symbols,) if isinstance(symbols, str) else symbols
        chosen = tuple(map(self._known_symbol, self.symbols if symbols is None else symbols))
        column = columns[0] if columns else None
        source = self._view_source

        def make() -> LightChart:
            parts = [
                LightLines(source, names, symbols=[symbol], title=symbol, height=height, or_last=not columns)
                if every is None
                else LightCandles(source, every, symbol=symbol, column=column, height=height)
                for symbol in chosen
            ]
            return LightChart(source, parts, across=min(across, len(parts)))

        return self._view(("charts", names, chosen, every, across, height), make)

    def candles(
        self,
        every: str = "5s",
        *,
        symbol: str | None = None,
        column: str | None = None,
        engine: Engine | None = None,
    ) -> Candles | LightChart:
        """Return live candles of one symbol (None: the first), each over `every`, a pandas offset such as "5s".

        `column` is the price to use; None for the trade's, else the middle of bid and ask where both are believable,
        and of an index, which has none, the last price. `engine` is "plotly" or "light", as in `chart`; None for
        `settings.engine`. Raises UsageError for an unknown symbol, column or engine.
        """
        from aries_nb.widgets import Candles, LightCandles, LightChart

        shown = self._known_symbol(symbol)
        if column is not None:
            self._known_numbers((column,))
        drawn_by = checked_engine(engine)

        def make() -> Candles | LightChart:
            if drawn_by == "plotly":
                return Candles(self._view_source, every=every, symbol=shown, column=column)
            return LightChart(self._view_source, [LightCandles(self._view_source, every, symbol=shown, column=column)])

        return self._view(("candles", every, shown, column, drawn_by), make)

    # Inside.

    @property
    def _source(self) -> FrameSource:
        source = self._make_source()
        self._sources.add(source)
        return source

    @property
    def _view_source(self) -> ViewSource:
        return ViewSource(self._source, self._tape, self._gap_selection, self._staleness)

    def _make_source(self) -> FrameSource:
        return FrameSource(
            self, self._tape, self._link, self._staleness, self._gap_selection, self._day, self._states, self._own_fills
        )

    def _refused(self) -> dict[str, str]:
        """Return the symbols that the server refuses, each with the reason in one or two words."""
        refused = self._link.refused(self._tape).items()
        return {each.symbol: "unknown symbol" if why.is_unknown_symbol else "refused" for each, why in refused}

    def _first_view(self) -> Board | Tape:
        is_tape = self.kind == "trades" and any(column.name == "price" for column in self._tape.columns)
        return self._view("tape", self._new_tape) if is_tape else self._view("board", self._new_board)

    def _new_tape(self) -> Tape:
        from aries_nb.widgets import Tape

        whose = self.symbols[0] if len(self.symbols) == 1 else f"of {len(self.symbols)} symbols"
        return Tape(self._view_source, title=f"Trades {whose}")

    def _new_board(self) -> Board:
        from aries_nb.widgets import Board

        if self.kind == "quotes" and self._day is None and not self._is_computed:
            self._day = DayFigures(self._link, self.symbols, [column.name for column in self._tape.columns])
        if not self._is_computed:
            self._states = self._states or TradingState(self._link, self.symbols)
        return Board(self._view_source, title=self._title)

    def _known_symbol(self, symbol: str | None) -> str:
        if symbol is not None and symbol not in self.symbols:
            raise UsageError(f"{symbol!r} is not in this frame", advice=f"It has {', '.join(self.symbols)}.")
        return symbol or self.symbols[0]

    @property
    def _shown(self) -> tuple[str, ...]:
        """The columns that charts have by default, () for the usual ones; a hook."""
        return ()

    @property
    def _is_computed(self) -> bool:
        """Whether the rows come from other frames, not from streams; a hook."""
        return False

    @property
    def _title(self) -> str:
        return self.kind

    def _usual_columns(self) -> tuple[str, ...]:
        numbers = [column.name for column in self._tape.columns if column.type == "number"]
        if self._shown:
            return self._shown
        usual = [name for name in ("bid_price", "ask_price", "price") if name in numbers]
        return tuple(usual or numbers[:1])

    def _known_numbers(self, names: Sequence[str]) -> None:
        numbers = [column.name for column in self._tape.columns if column.type == "number"]
        for name in names:
            if name not in numbers:
                raise UsageError(f"{name!r} is no number column of this frame", advice=f"It has {', '.join(numbers)}.")


class FrameSource:
    """The data of a live frame for views and other live objects; keeps the frame from being garbage-collected.

    Any thread.
    """

    def __init__(
        self,
        frame: FrameViews,
        tape: RollingFrame,
        link: Link,
        staleness: Staleness,
        gaps: GapSelection,
        day: DayFigures | None = None,
        states: TradingState | None = None,
        own_fills: OwnFills | None = None,
    ) -> None:
        self._own_fills = own_fills
        self.symbols = frame.symbols
        self._frame = frame
        self._tape = tape
        self._link = link
        self._staleness = staleness
        self._gaps = gaps
        self._day = day
        self._states = states

    @property
    def link(self) -> Link:
        """The endpoint that the rows come from."""
        return self._link

    @property
    def clock(self) -> ExchangeClock:
        """The market time, by which the ages of rows count."""
        return self._link.clock

    @property
    def lags(self) -> LatencySamples:
        """The latency samples of the frame, to which views add the times when a row was painted."""
        return self._tape.lags

    @property
    def version(self) -> int:
        """A number that grows with every row, and changes with the state of the feed."""
        rows = self._tape.version + sum(each.version for each in (self._day, self._states) if each is not None)
        return 2 * rows + (not self._frame.is_live)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._tape.watch(callback)

    def rows(self, first: int) -> FrameRows:
        """Return the rows in the window from number `first` on as arrays.

        Rows are numbered from 0 since the frame was made.
        """
        return self._tape.rows(first)

    def prints(self, first: int, most: int) -> PrintsData:
        """Return the rows from number `first` on as prints, of these the newest `most`; only of a frame of trades."""
        return _prints_of(self._tape, first, most, rejected=self.refused(), is_stale=not self._frame.is_live)

    def board(self) -> BoardData:
        """Return the newest numbers of each symbol for a quote board, with the symbols that are stale or refused."""
        data = self._tape.board(is_stale=not self._frame.is_live, rejected=self.refused())
        data = replace(data, stale=self.stale())
        if self._states is not None:
            data = replace(data, states=self._states.by_symbol(), market=self._states.market)
        return data if self._day is None else self._day.with_figures(data)

    def newest(self) -> BoardData:
        """Return the newest numbers of each symbol, without what only a quote board shows."""
        return self._tape.board(is_stale=not self._frame.is_live)

    def trading_state(self) -> str:
        """Return in a few words what does not trade as usual, the market or a symbol, if that is known; else ""."""
        if self._states is None:
            return self._link.hours.market_state(self._link.market_status)
        halted = [f"{symbol} {state}" for symbol, state in self._states.by_symbol().items()]
        return ", ".join(text for text in (self._states.market, *halted) if text)

    def stale(self) -> tuple[str, ...]:
        """Return the symbols whose newest row is not current; all of them while the feed is not live."""
        if not self._frame.is_live:
            return self.symbols
        flags = self._staleness.stale(self._link.clock.now_ns())
        refused = self.refused()
        return tuple(
            symbol for symbol, flag in zip(self.symbols, flags.tolist(), strict=True) if flag or symbol in refused
        )

    def own_fills(self, symbols: Collection[str]) -> list[FillMark]:
        """Return the user's newest fills in these symbols, of the accounts whose fills are in use."""
        ask = None if self._own_fills is None else self._own_fills()
        return [] if ask is None else ask(symbols)

    def refused(self) -> dict[str, str]:
        """Return the symbols that the server refuses, each with the reason in one or two words."""
        return self._frame._refused()  # noqa: SLF001 - of this module

    def from_before_a_gap(self) -> frozenset[str]:
        """Return the symbols whose newest row is from before a gap that was not filled."""
        return self._staleness.from_before_a_gap()

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        return self._gaps.spans()

    @property
    def shown(self) -> ShownMoment:
        """At which moment the views of the feed stand."""
        return self._link.arrivals.shown


class ViewSource:
    """The data of a live frame for one view: those of now, or of the past moment at which the feed's views stand.

    Numbers of rows go on growing when it moves, as if the frame had begun anew, so that views do. `live` are the data
    of now, `tape`, `gaps` and `staleness` what they come from. Any thread; a moment is taken by the thread that draws.
    """

    def __init__(self, live: FrameSource, tape: RollingFrame, gaps: GapSelection, staleness: Staleness) -> None:
        self._live = live
        self._tape = tape
        self._gaps = gaps
        self._staleness = staleness
        self.symbols = live.symbols
        self._number = 0  # of the moment that is shown
        self._past: FrameSnapshot | None = None
        self._offset = self._ahead = 0  # what is added to numbers of rows, and to that of the first one ever

    @property
    def lags(self) -> LatencySamples:
        """The latency samples of the frame, to which views add the times when a row was painted."""
        return self._live.lags

    @property
    def clock(self) -> ExchangeClock | StandingClock:
        """The market time, by which the ages of rows count; one that stands for a past moment."""
        past = self._moved()
        return self._live.clock if past is None else StandingClock(past.moment.now)

    @property
    def version(self) -> int:
        """A number that grows with every row and move, and changes with the state of the feed."""
        past, number = self._moved(), self._number << 56
        return number + (self._live.version if past is None else past.frozen.version)

    @property
    def standing(self) -> Standing | None:
        """What a view says that stands at a past moment; None for one that shows what is new."""
        past = self._moved()
        if past is None:
            return None
        behind = max(self._tape.version - past.frozen.version, 0)
        return Standing(past.moment.now, behind, "row", past.is_held)

    def resume(self) -> None:
        """Have all views of the feed show what is new again."""
        self._live.shown.move(None)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._live.watch(callback)

    def rows(self, first: int) -> FrameRows:
        """Return the rows in the window from number `first` on as arrays."""
        past, by = self._moved(), self._offset
        found = (self._live if past is None else past.frozen).rows(first - by)
        if not by:
            return found
        ends = found.first + by, found.end + by, found.window_start + by
        return replace(found, first=ends[0], end=ends[1], window_start=ends[2])

    def prints(self, first: int, most: int) -> PrintsData:
        """Return the rows from number `first` on as prints, of these the newest `most`; only of a frame of trades."""
        past, by = self._moved(), self._offset
        if past is None:
            found = self._live.prints(first - by, most)
        else:
            found = _prints_of(past.frozen, first - by, most, rejected={}, is_stale=False)
        return replace(found, end=found.end + by, origin=found.origin + self._ahead)

    def board(self) -> BoardData:
        """Return the newest numbers of each symbol for a quote board; of the past without day figures and states."""
        past, live = self._moved(), self._live.board()
        if past is None:
            return live
        then = past.frozen.board(is_stale=False)
        numbers = np.full((len(then.symbols), len(live.columns)), np.nan)  # in the same columns
        for place, name in enumerate(live.columns):
            if name in then.columns:
                numbers[:, place] = then.numbers[:, then.columns.index(name)]
        return replace(then, columns=live.columns, numbers=numbers, stale=past.stale())

    def newest(self) -> BoardData:
        """Return the newest numbers of each symbol, without what only a quote board shows."""
        past = self._moved()
        return self._live.newest() if past is None else past.frozen.board(is_stale=False)

    def trading_state(self) -> str:
        """Return in a few words what does not trade as usual, the market or a symbol, if that is known; else ""."""
        return self._live.trading_state() if self._moved() is None else ""

    def stale(self) -> tuple[str, ...]:
        """Return the symbols whose newest row is not current."""
        past = self._moved()
        return self._live.stale() if past is None else past.stale()

    def own_fills(self, symbols: Collection[str]) -> list[FillMark]:
        """Return the user's newest fills in these symbols, of the accounts whose fills are in use."""
        past, fills = self._moved(), self._live.own_fills(symbols)
        return fills if past is None else [fill for fill in fills if fill.ts <= past.moment.now]

    def refused(self) -> dict[str, str]:
        """Return the symbols that the server refuses, each with the reason in one or two words."""
        return self._live.refused()

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        past = self._moved()
        return self._live.gap_spans() if past is None else past.gap_spans()

    def _moved(self) -> FrameSnapshot | None:
        """Return the frame at the moment that the feed's views show, None for now."""
        number, at = self._live.shown.state
        if number == self._number:
            return self._past
        end = (self._tape if self._past is None else self._past.frozen).version + self._offset
        if at is None:
            past = None
        else:
            moment = Moment(at, at, self._gaps.log.frozen(at))
            captured = CapturedFrame.of(self._tape)
            past = FrameSnapshot("quotes", captured, moment, self._gaps, self._staleness, is_live=True)
        slab, start, *_ = (self._tape if past is None else past.frozen).published
        self._offset, self._ahead = end + 1 - slab.base - start, end + 1 - slab.origin
        self._number, self._past = number, past
        return past


def _prints_of(tape: RollingFrame, first: int, most: int, *, rejected: Mapping[str, str], is_stale: bool) -> PrintsData:
    """Return the rows of a frame of trades from number `first` on as prints, of these the newest `most`."""
    origin = tape.origin  # before the rows: a replay that goes back after it shows the next time
    rows, end = tape.frame_since(first)
    rows = rows.tail(most)
    texts = {name: rows[name].astype("str").tolist() for name in ("symbol", "side", "venue") if name in rows}
    nothing = [""] * len(rows)
    return PrintsData(
        end=end,
        ts=pd.DatetimeIndex(rows.index).as_unit("us").asi8.tolist(),
        symbol=texts.get("symbol", nothing),
        price=rows["price"].tolist(),
        size=rows["size"].tolist() if "size" in rows else [math.nan] * len(rows),
        side=texts.get("side", nothing),
        source=rows["source"].astype("str").tolist() if "source" in rows else nothing,
        venue=texts.get("venue", nothing),
        received_ns=max((row[1] for row in tape.latest() if row is not None), default=0),
        rejected=rejected,
        is_stale=is_stale,
        origin=origin,
    )

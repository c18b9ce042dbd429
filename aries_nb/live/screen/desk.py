"""`feed.desk()`: a trading screen of chart, ladder, time and sales, and a board or an account, usable without code."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aries_nb.errors import BoundToProcess, ClosedError, FeedError, UsageError, WaitTimeoutError
from aries_nb.live.arguments import checked_count, checked_span_ns, checked_symbol, checked_symbols
from aries_nb.model import DeskData
from aries_nb.net.background import run_on_thread

if TYPE_CHECKING:
    from aries_nb.live.account.account import Account
    from aries_nb.live.live_object import LiveObject
    from aries_nb.live.market.book import LiveBook
    from aries_nb.live.market.frame import LiveFrame
    from aries_nb.live.market.reference import MarketReference
    from aries_nb.live.table import LiveTable
    from aries_nb.widgets import PlaybackSource, View

__all__ = ["Desk", "Layout", "desk", "usual_layout"]

log = logging.getLogger("aries_nb")

WINDOWS = ("1min", "5min", "15min", "1h", "4h")
INTERVALS = ("1s", "5s", "15s", "1min", "5min")
DEPTHS = (5, 10, 15, 20)
SIDES = ("board", "account")
MOST_SYMBOLS = 40
USUAL_SYMBOLS = 8
MOST_FOUND = 12
MOST_DEPTH = 100
MOST_BYTES = 100_000
VERSION = 1
PATH_ADVICE = 'Pass the path of a file, such as "desk.json".'
PATIENCE_SECONDS = 1.5  # in which pages paint new views, behind those of before
FIRST_SECONDS = 1.5  # in which a new view waits for its first data
# Heights of the charts together at a depth of 10, of one besides the candles, of a row of the ladder, of a chart's bar.
CHARTS_PX, LINES_PX, EQUITY_PX, ROW_PX, BAR_PX, LEAST_PX = 506, 150, 115, 22, 36, 220
POSITION_COLUMNS = ("symbol", "quantity", "average_price", "mark_price", "market_value", "mark_pnl", "today_pnl")
FIGURES = ("equity", "cash", "net_buying_power", "buying_power", "unrealized_pl", "day_total_pnl", "profit", "fee")


class DeskFeed(Protocol):
    """The part of a feed that its desk shows."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """The names of the accounts."""

    @property
    def reference(self) -> MarketReference:
        """Lookups, of which the desk searches."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that the broker has."""

    @property
    def watchlists(self) -> LiveTable:
        """The user's watchlists."""

    def quotes(self, *symbols: str, window: str | None = None) -> LiveFrame:
        """Return quotes."""

    def trades(self, *symbols: str, window: str | None = None) -> LiveFrame:
        """Return trades."""

    def book(self, symbol: str, *, depth: int = 10) -> LiveBook:
        """Return a book."""

    def account(self, name: str | None = None) -> Account:
        """Return an account."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a desk shows: `symbol`, the `symbols` of its board, and how much of them.

    `window` and `interval` are spans of time such as "15min" and "5s" (of a candle), `depth` the levels on each side of
    the ladder, `side` "board" or "account", `account` its name, "" for the first.
    """

    symbol: str
    symbols: tuple[str, ...] = ()
    window: str = "15min"
    interval: str = "5s"
    depth: int = 10
    side: str = "board"
    account: str = ""

    def checked(self) -> Layout:
        """Return the layout with its symbol among those of the board. Raises UsageError for a wrong value."""
        symbol = checked_symbol(self.symbol)
        symbols = checked_symbols(tuple(dict.fromkeys((*self.symbols, symbol))))
        if len(symbols) > MOST_SYMBOLS:
            symbols = (*[each for each in symbols if each != symbol][: MOST_SYMBOLS - 1], symbol)
        for name, value in (("window", self.window), ("interval", self.interval)):
            if not isinstance(value, str):
                raise UsageError(f"{name}={value!r} is no span of time", advice='Write it like "15min" or "5s".')
            checked_span_ns(value, name)
        depth = checked_count(self.depth, "depth", "levels", most=MOST_DEPTH)
        if self.side not in SIDES:
            raise UsageError(f"side={self.side!r}", advice=f"Use one of: {', '.join(SIDES)}.")
        if not isinstance(self.account, str):
            raise UsageError(f"account={self.account!r} is no name", advice="Use one of `feed.accounts`.")
        return replace(self, symbol=symbol, symbols=symbols, depth=depth)


class Desk(BoundToProcess):
    """A trading screen over one feed, shown in a cell; `feed.desk()` makes it.

    Its bar, and a click on a symbol of the board or of the positions, choose what all views show. Any thread may call
    its methods. What a page asks for is carried out on a thread of its own, of several choices the newest.
    """

    def __init__(self, feed: DeskFeed, layout: Layout, time: PlaybackSource) -> None:
        from aries_nb.widgets import DeskBox, PlaybackBar

        self._feed = feed
        self._layout = layout.checked()
        self._changing = threading.Lock()  # held while the views are made, and never by who draws
        self._shown: dict[str, tuple[object, ...]] = {}  # what the views of each place show
        self._held: dict[str, tuple[object, ...]] = {}  # the live objects of each place
        self._requests = _Requests(feed, lambda: self._layout, self._change)
        self._box = DeskBox(self._requests)
        try:
            self._show(self._layout)
            self._box.show({"foot": [PlaybackBar(time)]})
        except BaseException:
            self._box.close()
            raise

    @property
    def layout(self) -> Layout:
        """What the desk shows now."""
        return self._layout

    @property
    def symbol(self) -> str:
        """The symbol that all views show."""
        return self._layout.symbol

    @property
    def views(self) -> Mapping[str, Sequence[View]]:
        """The present views by their place: "chart", "ladder", "tape", "side", "foot"."""
        return self._box.views

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called, or the feed is closed."""
        return self._box.is_closed

    def show(
        self,
        symbol: str | None = None,
        *,
        window: str | None = None,
        interval: str | None = None,
        depth: int | None = None,
        side: str | None = None,
    ) -> None:
        """Show another symbol, window, length of candles, depth, or side ("board" or "account"); None leaves it.

        Blocks until the new views are there. Raises UsageError for a wrong value, UnknownSymbolError for a symbol that
        the server refuses, ClosedError after `close`; the desk then stays as it is.
        """
        given = {"symbol": symbol, "window": window, "interval": interval, "depth": depth, "side": side}
        self._change({name: value for name, value in given.items() if value is not None})

    def save(self, path: str | Path) -> None:
        """Write what the desk shows to a JSON file; `anb.desk(path, feed)` opens it.

        Raises UsageError where there can be no such file, as for a folder; OSError where writing fails, as on a full
        disk. The file of before is then unchanged.
        """
        layout = self._layout
        content = {"aries_nb": "desk", "version": VERSION}
        content |= {name: getattr(layout, name) for name in Layout.__slots__}
        target = _file(path)
        if not target.parent.is_dir():
            raise UsageError("this folder does not exist", where=str(target.parent), advice=PATH_ADVICE)
        part = target.with_name(f"{target.name}.part")
        try:
            part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Close the views, and let the streams go that nothing else uses; a second call does nothing."""
        self._box.close()
        self._held.clear()

    def __repr__(self) -> str:
        layout = self._layout
        state = "closed" if self.is_closed else f"{layout.window}, candles of {layout.interval}, depth {layout.depth}"
        return f"<desk: {layout.symbol}, {state}>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        bundle: dict[str, Any] = self._box._repr_mimebundle_(include, exclude)
        return bundle

    def _change(self, changes: Mapping[str, Any], patience: float = 0.0) -> None:
        with self._changing:
            if self._box.is_closed:
                raise ClosedError("the desk is closed", advice="Ask the feed for it again.")
            layout = replace(self._layout, **changes).checked()
            self._show(layout, patience)
            self._layout = layout

    def _show(self, layout: Layout, patience: float = 0.0) -> None:
        """Make the views that differ from those of before, and then show them; all stay where one cannot be made."""
        feed, symbol, window = self._feed, layout.symbol, layout.window
        account = self._account(layout)
        quotes = feed.quotes(*layout.symbols, window=window)
        trades, book = feed.trades(symbol, window=window), feed.book(symbol, depth=layout.depth)
        for live in (quotes, trades, book):
            with suppress(WaitTimeoutError):  # of a market that rests
                live.wait(timeout=FIRST_SECONDS)
        places: dict[str, tuple[tuple[object, ...], tuple[LiveObject | Account, ...], Callable[[], list[View]]]] = {
            "chart": (
                (symbol, layout.symbols, window, layout.interval, layout.depth, account),
                (quotes, trades),
                lambda: [_chart(layout, quotes, trades, account)],
            ),
            "ladder": ((symbol, layout.depth), (book,), lambda: [book._new_ladder(layout.depth, None)]),  # noqa: SLF001
            "tape": ((symbol, window), (trades,), lambda: [trades._new_tape()]),  # noqa: SLF001
            "side": (
                (account,) if account else (layout.symbols, window),
                (quotes,) if account is None else (account,),
                lambda: self._side_views(quotes, account),
            ),
        }
        changed = {name: place for name, place in places.items() if self._shown.get(name) != place[0]}
        made: dict[str, list[Any]] = {}
        try:
            for name, (_, _, make) in changed.items():
                made[name] = make()
        except BaseException:
            for view in (view for views in made.values() for view in views):
                view.close()
            raise
        tables: Sequence[Any] = made.get("side", self._box.views.get("side", ()))
        for view in tables:
            view.picked = symbol
        self._box.show(made, patience=patience)
        for name, (key, held, _) in changed.items():
            self._shown[name], self._held[name] = key, held

    def _side_views(self, quotes: LiveFrame, account: Account | None) -> list[View]:
        from aries_nb.widgets import Blotter, Strip

        if account is None:
            views: list[Any] = [quotes._new_board()]  # noqa: SLF001
        else:
            balances, positions = account.balances._source, account.positions._source
            views = [
                Strip(balances, columns=_known(FIGURES, balances)),
                Blotter(positions, columns=_known(POSITION_COLUMNS, positions), rows=8),
            ]
        for view in views:
            view.on_pick = lambda picked: self._requests.choose("symbol", picked, lambda: None)
            view.widget.takes_messages_in_cells = True
        return views

    def _account(self, layout: Layout) -> Account | None:
        if layout.side != "account":
            return None
        account = self._feed.account(layout.account or self._feed.accounts[0])
        with suppress(WaitTimeoutError):
            account.balances.wait(timeout=FIRST_SECONDS)
        return account


class _Requests:
    """What the pages of a desk ask for, and what its bar shows. Any thread.

    One thread at a time carries them out, while there are any; of several of a kind the newest.
    """

    def __init__(
        self, feed: DeskFeed, layout: Callable[[], Layout], change: Callable[[Mapping[str, Any], float], None]
    ) -> None:
        self._feed, self._layout, self._change = feed, layout, change
        self._guard = threading.Lock()
        self._wanted: dict[str, object] = {}
        self._done: list[Callable[[], None]] = []
        self._is_working = False
        self._version = 0
        self._note, self._searched = "", ""
        self._found: tuple[tuple[str, str], ...] = ()

    @property
    def version(self) -> int:
        """A number that grows with each change of what the bar shows."""
        return self._version

    def desk(self) -> DeskData:
        """Return what the desk shows, and what can be chosen."""
        layout = self._layout()
        return DeskData(
            symbol=layout.symbol,
            symbols=layout.symbols,
            window=layout.window,
            interval=layout.interval,
            depth=layout.depth,
            side=layout.side,
            windows=_with(WINDOWS, layout.window),
            intervals=_with(INTERVALS, layout.interval),
            depths=tuple(sorted({*DEPTHS, layout.depth})),
            sides=SIDES if "positions" in self._feed.tables else SIDES[:1],
            searched=self._searched,
            found=self._found,
            note=self._note,
            is_changing=self._is_working,
        )

    def choose(self, what: str, value: object, done: Callable[[], None]) -> None:
        """Carry out what a page asks for, and return at once; `done` is called when `desk` follows it."""
        with self._guard:
            self._wanted.pop(what, None)
            self._wanted[what] = value
            self._done.append(done)
            self._version += 1
            if self._is_working:
                return
            self._is_working = True
        run_on_thread(self._work, name="aries-nb-desk")

    def _work(self) -> None:
        while True:
            with self._guard:
                wanted, self._wanted = self._wanted, {}
                done, self._done = self._done, []
                if not wanted:
                    self._is_working = False
                    self._version += 1
                    return
            try:
                if (searched := wanted.pop("search", None)) is not None:
                    self._search(str(searched))
                if wanted:
                    changes = {name: self._read(name, str(value)) for name, value in wanted.items()}
                    self._change(changes, PATIENCE_SECONDS)
                    self._note = ""
            except FeedError as error:
                self._note = str(error)
            except Exception as error:  # the border of the thread
                log.exception("the desk could not be changed")
                self._note = repr(error)
            self._version += 1
            for each in done:
                each()

    def _read(self, name: str, value: str) -> object:
        if name == "depth":
            return int(value) if value.isdecimal() and len(value) < 6 else value
        if name != "symbol":
            return value
        known = (*self._layout().symbols, *(symbol for symbol, _ in self._found))
        alike = [each for each in known if each.casefold() == value.strip().casefold()]
        return alike[0] if alike else value.strip().upper()

    def _search(self, text: str) -> None:
        """Find instruments by a text: those of the board first, then the broker's answer."""
        lower = text.strip().casefold()
        found = {symbol: "" for symbol in self._layout().symbols if lower in symbol.casefold()}
        note = ""
        if lower:
            try:
                rows = self._feed.reference.search(text.strip(), limit=MOST_FOUND)
                texts = next((name for name in ("name", "description") if name in rows), None)
                names = [""] * len(rows) if texts is None else rows[texts].astype(str).tolist()
                found |= dict(zip(rows.index.astype(str).tolist(), names, strict=True))
            except FeedError as error:
                note = f"no search: {error}"
        self._found = tuple(found.items())[:MOST_FOUND]
        self._searched, self._note = text, note


def usual_layout(feed: DeskFeed, symbols: Sequence[str], choices: Mapping[str, Any]) -> Layout:
    """Return a layout for these symbols; without any for those of the user's watchlists, else for some that there are.

    Raises UsageError where there are none.
    """
    names = tuple(symbols)[:MOST_SYMBOLS] or _watched_symbols(feed) or _found_symbols(feed)
    if not names:
        raise UsageError("which symbol?", where="desk", advice='Name one, or several: feed.desk("AAPL", "MSFT").')
    return Layout(names[0], names, **choices)


class DeskMaker(Protocol):
    """The part of a feed that opens a saved desk."""

    def _new_desk(self, layout: Layout) -> Desk: ...


def desk(path: str | Path, feed: DeskMaker) -> Desk:
    """Return the desk that `desk.save(path)` wrote, over a feed.

    What the file holds is data: names, spans of time and numbers, each checked. Raises UsageError for a file that is no
    desk, of a newer version or not there, and as `feed.desk` does; OSError for one that cannot be read.
    """
    if not hasattr(feed, "_new_desk"):
        raise UsageError(f"{feed!r} is no feed", where="desk", advice="Pass what `anb.connect` returned.")
    return feed._new_desk(_read_layout(_file(path)))  # noqa: SLF001


def _file(path: object) -> Path:
    """Return the path of a file, which need not exist. Raises UsageError for a folder and for what is no path."""
    if not isinstance(path, str | Path) or not str(path) or "\0" in str(path):
        raise UsageError(f"{path!r} is no path of a file", advice=PATH_ADVICE)
    file = Path(path)
    if file.is_dir():
        raise UsageError("this is a folder, no file", where=str(file), advice=PATH_ADVICE)
    return file


def _read_layout(path: Path) -> Layout:
    wrong = partial(UsageError, where=str(path), advice="Save it anew with `desk.save(path)`.")
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise wrong("this file does not exist") from None
    try:
        content = json.loads(text) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.pop("aries_nb", None) != "desk":
        raise wrong("this file is no saved desk")
    if content.pop("version", None) != VERSION:
        raise wrong("this desk was saved by another version of the package")
    types = {"symbols": list, "depth": int}
    for name in Layout.__slots__:
        if not isinstance(content.get(name), types.get(name, str)) or isinstance(content[name], bool):
            raise wrong(f"{name} is missing or wrong in this saved desk")
    if unknown := sorted(map(str, content.keys() - set(Layout.__slots__))):
        raise wrong(f"unknown in a saved desk: {', '.join(unknown)[:200]}")
    return Layout(**{**content, "symbols": tuple(content["symbols"])}).checked()


def _chart(layout: Layout, quotes: LiveFrame, trades: LiveFrame, account: Account | None) -> View:
    """Return one sheet of candles, of bid and ask, and of the equity of an account: with one crosshair."""
    from aries_nb.widgets import LightCandles, LightChart, LightEquity, LightLines, SheetSource

    symbol = layout.symbol
    of_quotes, of_trades = quotes._view_source, trades._view_source  # noqa: SLF001
    # As high as the ladder beside it.
    whole = CHARTS_PX + 2 * ROW_PX * (layout.depth - 10)
    low = LINES_PX if account is None else EQUITY_PX
    high = whole - low if account is None else whole - 2 * low - BAR_PX
    sources: list[Any] = [of_trades, of_quotes]
    parts: list[Any] = [
        LightCandles(of_trades, layout.interval, symbol=symbol, title=symbol, height=max(high, LEAST_PX)),
        LightLines(
            of_quotes, ("bid_price", "ask_price"), symbols=[symbol], title="Bid and ask", height=low, or_last=True
        ),
    ]
    if account is not None:
        sources.append(account.equity._source)
        parts.append(LightEquity(account.equity._source, height=low))
    return LightChart(SheetSource(*sources), parts, across=1)


def _watched_symbols(feed: DeskFeed) -> tuple[str, ...]:
    with suppress(FeedError):
        return tuple(dict.fromkeys(feed.watchlists.wait(timeout=FIRST_SECONDS).df["symbol"].astype(str)))[
            :USUAL_SYMBOLS
        ]
    return ()


def _found_symbols(feed: DeskFeed) -> tuple[str, ...]:
    with suppress(FeedError):
        return tuple(feed.reference.search("A", limit=USUAL_SYMBOLS).index.astype(str))
    return ()


def _known(names: Sequence[str], source: Any) -> list[str] | None:  # noqa: ANN401 - the source of any table
    known = {column.name for column in source.table().columns}
    return [name for name in names if name in known] or None


def _with(usual: tuple[str, ...], chosen: str) -> tuple[str, ...]:
    """Return the usual spans with the chosen one, in their order."""
    return tuple(sorted({*usual, chosen}, key=lambda span: checked_span_ns(span, "span")))

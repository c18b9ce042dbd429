"""`MarketReference`: lookups over HTTP of instruments, snapshots, searches, market hours and bars of trades."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.brokers import Argument, Lookup, LookupPage, LookupTopic, LookupType, LookupValue, Query
from aries_nb.errors import (
    BoundToProcess,
    ClosedError,
    ConnectError,
    FeedError,
    TokenError,
    UnknownSymbolError,
    UsageError,
)
from aries_nb.live.arguments import (
    checked_count,
    checked_moment,
    checked_period,
    checked_symbol,
    checked_symbols,
    checked_text,
)
from aries_nb.model.clock import Clock, WallClock, wall_ns
from aries_nb.model.prices import FROM_SIDES, empty_sides, is_never_zero, sides_of
from aries_nb.net.events.answers import Requests
from aries_nb.net.http_client import HttpClient
from aries_nb.store.values import utc_times

__all__ = ["MarketReference", "ServerTime"]

AnyArray: TypeAlias = pd.api.extensions.ExtensionArray | NDArray[Any]
ReplyRow: TypeAlias = tuple[LookupValue, ...]

MOST_PAGES = 1_000  # of one lookup: a cell must end whatever the server sends
MOST_TICK_BARS = 200_000
INTERVAL = re.compile(r"([1-9][0-9]{0,4}) ?(min|h|d|w|mo|q|y)")
TIMESPANS = {"min": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "q": "quarter", "y": "year"}


# Methods whose name differs from their topic.
METHODS: Mapping[LookupTopic, str] = {"chart_search": "search_charts", "health": "is_healthy"}


class ServerTime(NamedTuple):
    """The server's clock `ts` when it replied; it is `ahead_s` seconds ahead of ours, to within `within_s` seconds.

    `ahead_s` is negative where it is behind.
    """

    ts: pd.Timestamp
    ahead_s: float
    within_s: float


class MarketReference(BoundToProcess):
    """Lookups of instruments and the market. Each call sends a request and blocks until the reply. Any thread.

    DataFrames belong to the caller. Prices are in the instrument's currency, sizes in shares, or in lots where the
    broker counts lots, times UTC; a missing number is NaN, a missing text "". Each method raises UsageError for a
    lookup that the broker does not have or refuses, FeedError for a reply that cannot be parsed, ConnectError or
    TokenError without a reply.
    """

    def __init__(self, http: HttpClient | Requests, lookup: Lookup | None, clock: Clock | None = None) -> None:
        self._http = http
        self._clock = clock or WallClock()
        self._lookup = lookup

    def details(self, *symbols: str) -> pd.DataFrame:
        """Return current details of shares and options, index `symbol`, in the given order.

        Prices, sizes, figures of the day and the name; values that the broker does not send are missing. Raises
        UnknownSymbolError with the unknown symbols, UsageError where the broker has no such lookup.
        """
        return self._of_symbols("details", symbols)

    def quotes(self, *symbols: str) -> pd.DataFrame:
        """Return the newest prices from the broker's charts endpoint, without sizes: index `symbol`, in given order.

        Raises UnknownSymbolError with the unknown symbols, UsageError where the broker has no such lookup.
        """
        return self._of_symbols("quotes", symbols)

    def search(self, text: str, limit: int = 20) -> pd.DataFrame:
        """Return the instruments that match a text, at most `limit`: index `symbol`, their names and types."""
        return self._found("search", text, limit)

    def search_charts(self, text: str, limit: int = 20) -> pd.DataFrame:
        """Return the instruments of the broker's charts endpoint that match a text, at most `limit`: index `symbol`."""
        return self._found("chart_search", text, limit)

    def instrument(self, symbol: str) -> dict[str, object]:
        """Return the trading rules of one instrument: exchange, trading hours, time zone, price step and others.

        Which of these there are depends on the broker. Raises UnknownSymbolError, UsageError where the broker has no
        such lookup.
        """
        name = checked_symbol(symbol)
        return self._single("instrument", {"symbol": name}, about=repr(name))

    def instruments(self, exchange: str | None = None, *, market: str | None = None) -> pd.DataFrame:
        """Return the instruments of an exchange, index `symbol`: lot size, price step and others.

        `exchange` None means the broker's default; `market` selects a section of it by the broker's name, None for all.
        There may be thousands: the call can take seconds.
        """
        for name, value in (("exchange", exchange), ("market", market)):
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise UsageError(f"{name}={value!r} is no name", advice="Pass it as text, or None.")
        arguments: dict[str, Argument] = {"exchange": exchange, "market": market}
        return _by_symbol(
            self._frame("instruments", arguments, about=f"the instruments of {exchange or 'its exchange'}")
        )

    def boards(self, symbol: str) -> tuple[str, ...]:
        """Return the boards (sections of its exchange) that trade an instrument, the broker's default first."""
        name = checked_symbol(symbol)
        return tuple(self._frame("boards", {"symbol": name}, about=repr(name))["board"])

    def trades(
        self, symbol: str, count: int | None = 1_000, *, start: object = None, end: object = None
    ) -> pd.DataFrame:
        """Return the newest `count` trades (None: all) of this session, oldest first.

        With `start`, a time or day (UTC without a zone), return those in [start, end), of past sessions as well; `end`
        None means now, and of more than `count` the newest. Index `ts` (exchange time, UTC); price, size, side (of the
        aggressor), trade_id, venue.
        """
        name = checked_symbol(symbol)
        if count is not None:
            count = checked_count(count, "count", "trades", or_none=", or None for all")
        if start is None and end is not None:
            raise UsageError("end= was given without start=", advice="Pass start= as well.")
        period = None if start is None else checked_period(start, end, self._clock)
        span: dict[str, Argument] = {} if period is None else {"start_ms": _ms(period[0]), "end_ms": _ms(period[1])}
        # Without a period the newest come first.
        most = count if period is None else None
        frame = self._prints({"symbol": name, "count": most, **span}, most, about=f"trades of {name!r}")
        # Pages may overlap when trades are added meanwhile; and the request is in whole seconds.
        frame = frame.drop_duplicates("trade_id", keep="last").sort_values(["ts", "trade_id"]).set_index("ts")
        if period is not None:
            frame = frame[(frame.index >= period[0]) & (frame.index < period[1])]
        return frame if count is None else frame.tail(count)

    def book(self, symbol: str, depth: int = 10) -> pd.DataFrame:
        """Return a snapshot of the order book, at most `depth` levels a side, bids before asks, the best first.

        Index `ts` (UTC); side ("buy", "sell"), level (from 1), price, size.
        """
        name = checked_symbol(symbol)
        frame = self._frame("book", {"symbol": name, "depth": depth}, about=f"the book of {name!r}")
        return frame[frame["level"] <= depth].set_index("ts")

    def chart_config(self) -> dict[str, object]:
        """Return the intervals and instrument types that the broker's charts endpoint offers."""
        return self._single("chart_config", {}, about="charts")

    def market_status(self) -> dict[str, object]:
        """Return the state of the market and its trading session, by name, and `ts`, the time of that state (UTC)."""
        return self._single("market_status", {}, about="the market")

    def server_time(self) -> ServerTime:
        """Return the time of the server's clock, and by how many seconds it is ahead of ours."""
        asked = wall_ns() / 1e9
        reply = self._single("server_time", {}, about="the time")
        answered = wall_ns() / 1e9
        ts, step = reply["ts"], reply["resolution_s"]
        assert isinstance(ts, pd.Timestamp)
        assert isinstance(step, float)
        # The time was truncated to the clock's step, at some moment between the request and the reply.
        ahead = ts.timestamp() + step / 2 - (asked + answered) / 2
        return ServerTime(ts, ahead, step / 2 + (answered - asked) / 2)

    def is_healthy(self) -> bool:
        """Return whether the server reports that it is healthy; False also where it does not reply or refuses."""
        self._lookup_of("health")
        try:
            list(self._pages("health", {}, about="its health"))
        except (ConnectError, UsageError):
            return False
        return True

    def chain(
        self,
        underlying: str,
        expiry: object = None,
        *,
        type: Literal["call", "put"] | None = None,  # noqa: A002 - as the column is called
        strikes: tuple[float | None, float | None] = (None, None),
    ) -> pd.DataFrame:
        """Return a snapshot of the listed options of an underlying with prices and Greeks, index `symbol`.

        `expiry` is a day such as "2026-12-18", `type` "call" or "put", `strikes` the lowest and the highest strike;
        None in each does not filter. Follows all pages of the reply.
        """
        name = checked_symbol(underlying)
        if type not in (None, "call", "put"):
            raise UsageError(f"type={type!r} is no type of option", advice='Pass "call" or "put".')
        lowest, highest = _strikes(strikes)
        day = None if expiry is None else str(checked_moment(expiry, "expiry").date())
        arguments: dict[str, Argument] = {
            "underlying": name,
            "expiry": day,
            "type": type,
            "strike_from": lowest,
            "strike_to": highest,
        }
        return _by_symbol(self._frame("chain", arguments, about=f"options of {name!r}"))

    def tick_bars(self, symbol: str, trades: int = 100, count: int = 300) -> pd.DataFrame:
        """Return the last `count` bars of `trades` trades each, oldest first; the newest may be incomplete.

        Index `ts` (of the first trade of a bar, UTC, to the ms); open, high, low, close, volume. Fewer bars where the
        broker has no more. Raises UnknownSymbolError for an unknown symbol, UsageError where the broker has no such
        lookup.
        """
        name = checked_symbol(symbol)
        count = checked_count(count, "count", "bars", most=MOST_TICK_BARS)
        rows: list[ReplyRow] = []
        columns: Mapping[str, LookupType] = {}
        arguments: dict[str, Argument] = {"symbol": name, "trades": trades, "count": count}
        for page in self._pages("tick_bars", arguments, about=f"bars of {name!r}"):
            self._check_known(page)
            columns = page.columns
            rows = _before(page.rows, rows)
            if len(rows) >= count or not page.rows:
                break
        return _frame(columns, rows[-count:]).set_index("ts")

    def aggregates(
        self, symbol: str, interval: str = "1d", *, start: object, end: object = None, adjusted: bool = True
    ) -> pd.DataFrame:
        """Return the bars that begin in [start, end), oldest first, with average price and number of trades.

        `interval` is a number and one of min, h, d, w, mo, q, y, such as "5min". `start` and `end` are times or days,
        UTC without a zone; `end` None means now. `adjusted`: prices and volumes are adjusted for splits. Index `ts`
        (start of the bar, UTC); open, high, low, close, volume, average_price, trades.
        """
        name = checked_symbol(symbol)
        found = INTERVAL.fullmatch(interval.strip()) if isinstance(interval, str) else None
        if found is None:
            raise UsageError(f"interval={interval!r} is no length of a bar", advice='Write it like "5min" or "1d".')
        first, last = checked_period(start, end, self._clock)
        arguments: dict[str, Argument] = {
            "symbol": name,
            "multiplier": int(found[1]),
            "timespan": TIMESPANS[found[2]],
            "start_ms": _ms(first),
            "end_ms": _ms(last),
            "is_adjusted": adjusted,
        }
        frame = self._frame("aggregates", arguments, about=f"bars of {name!r}").set_index("ts").sort_index()
        return frame[~frame.index.duplicated(keep="last")]

    # Inside.

    def _of_symbols(self, topic: LookupTopic, symbols: Sequence[str]) -> pd.DataFrame:
        names = checked_symbols(symbols)
        refused: dict[str, str] = {}
        pages = list(self._pages(topic, {"symbols": names}, about=", ".join(map(repr, names[:4]))))
        for page in pages:
            refused |= page.refused
        frame = _by_symbol(_joined(pages))
        missing = tuple(name for name in names if name not in frame.index)
        if missing:
            reason = "; ".join(sorted({refused[name] for name in missing if refused.get(name)}))
            raise UnknownSymbolError(missing, where=self._http.base, reason=reason)
        return frame.loc[list(names)]

    def _prints(self, arguments: Mapping[str, Argument], most: int | None, *, about: str) -> pd.DataFrame:
        """Return the trades of all pages, or of as many as are needed for `most` trades; in the order of the pages.

        `about` names the lookup in errors.
        """
        pages: list[LookupPage] = []
        known: set[LookupValue] = set()
        for page in self._pages("trades", arguments, about=about):
            pages.append(page)
            place = list(page.columns).index("trade_id")
            known |= {row[place] for row in page.rows}
            if most is not None and len(known) >= most:
                break
        return _joined(pages)

    def _found(self, topic: LookupTopic, text: str, limit: int) -> pd.DataFrame:
        wanted = checked_text(text, "no text to search for", advice="Pass a symbol, or a part of one.")
        return _by_symbol(self._frame(topic, {"text": wanted, "limit": limit}, about=repr(text)))

    def _frame(self, topic: LookupTopic, arguments: Mapping[str, Argument], *, about: str) -> pd.DataFrame:
        return _joined(list(self._pages(topic, arguments, about=about)))

    def _single(self, topic: LookupTopic, arguments: Mapping[str, Argument], *, about: str) -> dict[str, object]:
        (page,) = self._pages(topic, arguments, about=about)
        self._check_known(page)
        (row,) = page.rows
        return {
            name: utc_times([value])[0] if kind == "time" and isinstance(value, int) else value
            for (name, kind), value in zip(page.columns.items(), row, strict=True)
        }

    def _check_known(self, page: LookupPage) -> None:
        if page.refused:
            raise UnknownSymbolError(
                tuple(page.refused), where=self._http.base, reason="; ".join(sorted(set(page.refused.values())))
            )

    def _pages(self, topic: LookupTopic, arguments: Mapping[str, Argument], *, about: str) -> Iterator[LookupPage]:
        lookup = self._lookup_of(topic)
        for first in lookup.queries(topic, arguments):
            query: Query | None = first
            for _ in range(MOST_PAGES):
                if query is None:
                    break
                page = self._page(lookup, topic, query, about)
                yield page
                query = page.following

    def _page(self, lookup: Lookup, topic: LookupTopic, query: Query, about: str) -> LookupPage:
        where = self._http.base + query.path
        try:
            body = self._http.get(query.path, dict(query.params))
        except (ClosedError, ConnectError, TokenError):
            raise
        except FeedError as refused:
            raise UsageError(
                f"the server refuses a lookup of {about}: {refused.what}",
                where=where,
                advice="Check the arguments, and that the token's scope covers the lookup.",
            ) from None
        try:
            page = lookup.read(topic, query, body)
        except ValueError as error:
            what = f"the server's reply about {about} cannot be parsed: {error}"
            raise FeedError(
                what, where=where, advice="Check the arguments; the reply is not in the expected form."
            ) from error
        return page._replace(rows=[_prices_known(page.columns, row) for row in page.rows])

    def _lookup_of(self, topic: LookupTopic) -> Lookup:
        self._http.check_may_block()
        if self._lookup is None or topic not in self._lookup.topics():
            what = f"this broker has no lookup of {topic.replace('_', ' ')}"
            raise UsageError(what, where=self._http.base, advice="`repr(feed.reference)` lists what it has.")
        return self._lookup

    def __repr__(self) -> str:
        topics = sorted(METHODS.get(topic, topic) for topic in (self._lookup.topics() if self._lookup else ()))
        return f"<reference at {self._http.base}: {', '.join(topics) or 'nothing'}>"


def _prices_known(columns: Mapping[str, LookupType], row: ReplyRow) -> ReplyRow:
    """Return a row in which prices that are none (`model.prices`) are NaN, and so are their middle and spread."""
    values: dict[str, Any] = dict(zip(columns, row, strict=True))
    for name, value in values.items():
        if columns[name] == "number" and value == 0 and is_never_zero(name):
            values[name] = math.nan
    values = dict(zip(values, empty_sides(tuple(values.values()), sides_of(tuple(values))), strict=True))
    if {"bid_price", "ask_price"} <= columns.keys():
        sides = values["bid_price"], values["ask_price"]
        for name, rule in FROM_SIDES.items():
            if name in values:
                values[name] = rule(values[name], *sides)
    return tuple(values.values())


def _joined(pages: Sequence[LookupPage]) -> pd.DataFrame:
    return _frame(pages[0].columns, [row for page in pages for row in page.rows])


def _frame(columns: Mapping[str, LookupType], rows: Sequence[ReplyRow]) -> pd.DataFrame:
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame({name: _array(kind, each) for (name, kind), each in zip(columns.items(), values, strict=True)})


def _array(kind: LookupType, values: Sequence[Any]) -> AnyArray:
    if kind in ("text", "flag"):
        return pd.array(list(values), dtype="str" if kind == "text" else "boolean")
    if kind == "time":
        return utc_times(values)
    return np.array(values, dtype="int64" if kind == "integer" else "float64")


def _by_symbol(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with each symbol once, in its last row, and `symbol` as the index.

    Pages may repeat a symbol when the list changes between two requests.
    """
    return frame.drop_duplicates("symbol", keep="last").set_index("symbol")


def _before(older: Sequence[ReplyRow], newer: list[ReplyRow]) -> list[ReplyRow]:
    """Return two pages of bars joined, without the bars that `newer` repeats from the end of `older`."""
    common = next((n for n in range(min(len(older), len(newer)), 0, -1) if list(older[-n:]) == newer[:n]), 0)
    return [*older[: len(older) - common], *newer]


def _strikes(strikes: object) -> tuple[float | None, float | None]:
    if isinstance(strikes, tuple | list) and len(strikes) == 2:
        lowest, highest = strikes
        with suppress(TypeError, ValueError):
            return None if lowest is None else float(lowest), None if highest is None else float(highest)
    raise UsageError(f"strikes={strikes!r} is no pair of prices", advice="Pass the lowest and the highest, or None.")


def _ms(moment: pd.Timestamp) -> int:
    """Return a time in ms since the epoch, rounded up, so that nothing earlier is requested."""
    return -(-moment.value // 1_000_000)

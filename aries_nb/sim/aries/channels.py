"""Sends the market data of one symbol of the simulated Aries broker to all its subscribers.

An event is encoded once for all that selected the same fields. The data come from the synthetic market or from
recordings. The last values sent are stored: a snapshot repeats them, and an update holds only changes. Owned by the
server's event loop.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from aries_nb.sim.aries import data
from aries_nb.sim.aries.charts import ChartSubscribers, chart_values, recorded_chart_values
from aries_nb.sim.aries.messages import update, update_prefix
from aries_nb.sim.aries.subscriptions import Fields, Selection
from aries_nb.sim.feed import Playback
from aries_nb.sim.market.book import VISIBLE_LEVELS
from aries_nb.sim.market.listings import EquityListing, IndexListing, OptionListing, Trade, TradedListing
from aries_nb.sim.market.rough import Report, rough_sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aries_nb.sim.aries.market import MarketSession
    from aries_nb.sim.market.listings import Focus, Listing
    from aries_nb.sim.market.recording import RecordingPlayer
    from aries_nb.sim.market.rough import RoughSymbol

    #: Called with a trade: symbol, Unix ns, price in USD, size in shares or contracts.
    TradeListener = Callable[[str, int, float, float], None]

__all__ = ["ListingChannel", "RecordedChannel", "SymbolChannel"]

#: Outboxes of the sessions that selected the same fields.
Groups = list[tuple[Fields, list[list[str]]]]
OPTION_WEIGHT = 1.0
INDEX_WEIGHT = 4.0


class SymbolChannel(ABC):
    """Base class of the market data of one symbol, with its subscribers: sessions of the market and charts endpoints.

    Those of the market endpoint are grouped by stream and selected fields.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.sessions: list[MarketSession] = []
        self.quote: Groups = []
        self.trade: Groups = []
        self.time_and_sales: Groups = []
        self.greeks: Groups = []
        self.level2: Groups = []
        self.charts = ChartSubscribers(symbol)
        self._prefixes = {
            stream: update_prefix(stream, symbol) for stream in ("quote", "trade", "timeAndSales", "greeks", "level2")
        }

    @property
    def has_subscribers(self) -> bool:
        """Whether any client subscribes to market data of the symbol."""
        return bool(self.sessions or self.charts.outboxes)

    def regroup(self, sessions: Iterable[MarketSession]) -> None:
        """Group the subscribers of this symbol, found among `sessions`, by stream and selected fields.

        This replaces the groups of before: a session that is not among `sessions` gets no more updates.
        """
        self.sessions = [session for session in sessions if self.symbol in session.selections]
        for stream in ("quote", "trade", "time_and_sales", "greeks"):
            setattr(self, stream, self._groups(stream))
        readers = [session.outbox for session in self.sessions if session.selections[self.symbol].level2]
        self.level2 = [(("orderBook", "quotes"), readers)] if readers else []

    @abstractmethod
    def snapshot(self, asked: Selection, selected: Selection, stamp: int) -> list[str]:
        """Return the events with the symbol's present state, as lines of JSON.

        They are those of the streams in `asked`, with the fields in `selected`; `stamp` is the present time in
        Unix ms. There are none for the order book and for Time & Sales.
        """

    @abstractmethod
    def chart_state(self) -> dict[str, Any]:
        """Return the symbol's present values by their names on the charts endpoint; empty if nothing is known yet."""

    def _groups(self, stream: str) -> Groups:
        groups: dict[Fields, list[list[str]]] = {}
        for session in self.sessions:
            fields: Fields = getattr(session.selections[self.symbol], stream)
            if fields:
                groups.setdefault(fields, []).append(session.outbox)
        return list(groups.items())

    def _emit(self, stream: str, groups: Groups, changed: Mapping[str, Any], stamp: int) -> int:
        """Send each group of subscribers its selected fields of `changed`; return 1 if any group got a message, else 0.

        `stream` is the event's type, such as "quote", `groups` the subscribers by selected fields, `stamp` the time
        of the event in Unix ms.
        """
        prefix, sent = self._prefixes[stream], 0
        for fields, outboxes in groups:
            part = {name: changed[name] for name in fields if name in changed}
            if part:
                sent = 1
                text = update(prefix, part, stamp)
                for outbox in outboxes:
                    outbox.append(text)
        return sent

    def _state(self, stream: str, fields: Fields, state: Mapping[str, Any], stamp: int) -> list[str]:
        part = {name: state[name] for name in fields if name in state}
        return [update(self._prefixes[stream], part, stamp)] if part else []


class ListingChannel(SymbolChannel):
    """Market data of a symbol of the synthetic market. `on_trade` are called with each of its trades.

    `rough` are the troubles of the symbol, None for none.
    """

    def __init__(
        self, listing: Listing, on_trade: Iterable[TradeListener], *, rough: RoughSymbol | None = None
    ) -> None:
        super().__init__(listing.symbol)
        self._on_trade = on_trade
        self.listing = listing
        self.focus: Focus = "book"
        self._traded = listing if isinstance(listing, TradedListing) else None
        self._option = listing if isinstance(listing, OptionListing) else None
        self._quote_state: dict[str, Any] = {}
        self._trade_state: dict[str, Any] = {}
        self._greeks_state: dict[str, Any] = {}
        self._last_trade = 0
        self._book, self._venues = data.BookRows(), data.VenueRows()
        self.rough = rough

    @property
    def key(self) -> tuple[str, ...]:
        """The symbol, by which the feed orders its channels."""
        return (self.symbol,)

    @property
    def weight(self) -> float:
        """How often this symbol has a market event, as a number relative to other symbols."""
        if isinstance(self.listing, EquityListing):
            return math.sqrt(self.listing.equity.volume)
        return INDEX_WEIGHT if isinstance(self.listing, IndexListing) else OPTION_WEIGHT

    def regroup(self, sessions: Iterable[MarketSession]) -> None:
        """Group the subscribers of this symbol, found among `sessions`, by stream and selected fields.

        This also sets `focus`, the kind of events to make: "book" if a client subscribes to the order book, else
        "quotes" if one needs quotes, else "trades".
        """
        super().regroup(sessions)
        has_quote_subscribers = self.quote or self.greeks or self.charts.outboxes
        self.focus = "book" if self.level2 else "quotes" if has_quote_subscribers else "trades"

    def step(self, stamp: int) -> int:
        """Make one market event at `stamp` (Unix ms); return the number of updates that it gave.

        An update that goes to several clients counts once.
        """
        if self.rough is not None:
            return self._rough_step(self.rough, stamp)
        trade = self.listing.step(self.focus)
        sent = 0
        if self.quote:
            sent += self._emit("quote", self.quote, self._quote_changes(stamp), stamp)
        if trade is not None:
            self._last_trade = stamp
            for listener in self._on_trade:
                listener(self.symbol, stamp * data.NS_PER_MS, trade.price, trade.size)
            if self.trade:
                changed = data.changes(self._trade_state, data.trade_data(self.listing, trade, stamp))
                sent += self._emit("trade", self.trade, changed, stamp)
            if self.time_and_sales:
                printed = data.print_data(self.symbol, trade, stamp)
                sent += self._emit("timeAndSales", self.time_and_sales, printed, stamp)
        if self.level2:
            sent += self._emit("level2", self.level2, self._book_data(), stamp)
        if self.greeks:
            sent += self._emit("greeks", self.greeks, self._greeks_changes(), stamp)
        if self.charts.outboxes:
            sent += self.charts.push_quote(chart_values(self.listing), stamp)
            if trade is not None and trade.size:
                sent += self.charts.push_trade(trade.price, trade.size, stamp)
        return sent

    def _rough_step(self, rough: RoughSymbol, stamp: int) -> int:
        """Make one market event at `stamp` (Unix ms) with the troubles of the rough market.

        Return the number of updates, as `step` does. The envelope has the true time, the data what the troubles make
        of it.
        """
        now, listing = stamp / 1000, self.listing
        was_halted = rough.phase == "halted"
        is_halted = rough.phase_at(now) == "halted"
        trade = listing.step(self.focus) if rough.phase == "open" else None
        sent = 0
        if self._traded is not None and not (was_halted and is_halted):
            shown = rough.update(self._traded.quote(), stamp)
            if self.quote:
                sent += self._emit("quote", self.quote, self._quote_changes(shown.stamp), stamp)
            if self.level2:
                sent += self._emit("level2", self.level2, self._book_data(), stamp)
            if self.charts.outboxes:
                sent += self.charts.push_quote(self.chart_state(), stamp)
        elif self.charts.outboxes and trade is not None:
            sent += self.charts.push_quote(self.chart_state(), stamp)
        for report in (*self._reports(rough, trade, stamp), *rough.overdue(now)):
            sent += self._send_report(report, stamp)
        if self.greeks:
            sent += self._emit("greeks", self.greeks, self._greeks_changes(), stamp)
        return sent

    def _reports(self, rough: RoughSymbol, trade: Trade | None, stamp: int) -> list[Report]:
        if trade is None:
            return []
        self._last_trade = stamp
        for listener in self._on_trade:
            listener(self.symbol, stamp * data.NS_PER_MS, trade.price, trade.size)
        return rough.reports(Report(*trade, stamp), self.listing, self._free_number)

    def _free_number(self) -> int:
        self.listing.number += 1
        return self.listing.number

    def _send_report(self, report: Report, stamp: int) -> int:
        made = Trade(report.price, report.size, report.side, report.number, report.venue)
        sent = 0
        if self.trade:
            fields = data.trade_data(self.listing, made, report.sent_stamp)
            if report.is_repeat:
                # One that changes what was sent before is not the last price, and names its size even where it is zero.
                fields |= {"lastPrice": self.listing.last.price, "size": report.size}
            sent += self._emit("trade", self.trade, data.changes(self._trade_state, fields), stamp)
        if self.time_and_sales:
            printed = data.print_data(self.symbol, made, report.sent_stamp)
            sent += self._emit("timeAndSales", self.time_and_sales, printed, stamp)
        if self.charts.outboxes and report.size:
            sent += self.charts.push_trade(report.price, report.size, report.sent_stamp)
        return sent

    def snapshot(self, asked: Selection, selected: Selection, stamp: int) -> list[str]:
        """Return the events with the symbol's present state, as lines of JSON, for a session not subscribed yet.

        They are those of the streams in `asked`, with the fields in `selected`. A symbol without subscribers
        has not moved until `stamp` (Unix ms), the present time.
        """
        lines: list[str] = []
        if asked.quote and self._traded is not None:
            state = self._quote_state
            self._quote_changes(stamp)
            if not self.has_subscribers:
                state.update(dict.fromkeys(("quoteTimestamp", "bidTimestamp", "askTimestamp"), stamp))
            lines += self._state("quote", selected.quote, state, state["quoteTimestamp"])
        if asked.trade:
            state = self._trade_state
            if not self.has_subscribers:
                self._last_trade = stamp
            state.update(data.trade_data(self.listing, self.listing.last, self._last_trade))
            lines += self._state("trade", selected.trade, state, self._last_trade)
        if asked.greeks and self._option is not None:
            self._greeks_changes()
            lines += self._state("greeks", selected.greeks, self._greeks_state, stamp)
        return lines

    def chart_state(self) -> dict[str, Any]:
        """Return the symbol's present values by their names on the charts endpoint."""
        values = chart_values(self.listing)
        shown = None if self.rough is None else self.rough.shown
        if shown is not None:
            values |= {name: shown.side(name)[0] for name in ("bid", "ask")}
        return values

    def _quote_changes(self, stamp: int) -> dict[str, Any]:
        """Return the quote fields that changed since the last call; `stamp` is the time to send, in Unix ms."""
        assert self._traded is not None
        shown = None if self.rough is None else self.rough.shown
        if shown is None:
            now = data.quote_data(self._quote_state, self._traded.quote(), stamp)
        else:
            now = data.rough_quote_data(self._quote_state, shown, stamp)
        return data.changes(self._quote_state, now)

    def _greeks_changes(self) -> dict[str, Any]:
        assert self._option is not None
        now = data.greeks_data(self._option.greeks(), self._option.volatility)
        return data.changes(self._greeks_state, now)

    def _book_data(self) -> dict[str, Any]:
        assert self._traded is not None
        book, quote = self._traded.book, self._traded.quote()
        asks, bids = (
            [
                (self._traded.price(tick), size)
                for tick, size in zip(side.ticks[:VISIBLE_LEVELS], side.sizes, strict=False)
            ]
            for side in (book.asks, book.bids)
        )
        shown = None if self.rough is None else self.rough.shown
        if shown is not None:
            rough_bids, rough_asks = rough_sides(shown, bids, asks)
            venues = data.rough_venue_rows(shown)
            return {"orderBook": self._book.rows(rough_asks, rough_bids), "quotes": venues}
        # A side with one level has no second one: the best level is used, which is never better.
        venues = self._venues.rows(quote, bids[min(1, len(bids) - 1)], asks[min(1, len(asks) - 1)])
        return {"orderBook": self._book.rows(asks, bids), "quotes": venues}


class RecordedChannel(SymbolChannel, Playback):
    """Market data of a symbol fed by recordings (Parquet files).

    Every selected field of a row is sent, so that each row is a message.
    """

    def __init__(self, symbol: str, players: list[RecordingPlayer]) -> None:
        SymbolChannel.__init__(self, symbol)
        Playback.__init__(self, players)
        self._book = data.BookRows()

    def is_waiting(self, lines: int) -> bool:
        """Return whether a recording without a pace (option `speed` None) has rows left that can be sent now.

        They cannot while a subscriber has `lines` lines or more waiting.
        """
        outboxes = (*(session.outbox for session in self.sessions), *self.charts.outboxes)
        return self.has_rows_left() and all(len(outbox) < lines for outbox in outboxes)

    def snapshot(self, asked: Selection, selected: Selection, stamp: int) -> list[str]:  # noqa: ARG002 - recorded time
        """Return the events with the row that was sent last, as lines of JSON; none of a recording that has not begun.

        They are those of the streams in `asked`, with the fields in `selected`; `stamp` is ignored.
        """
        lines: list[str] = []
        quotes, trades = self._players.get("quotes"), self._players.get("trades")
        if asked.quote and quotes is not None and quotes.has_begun:
            row = quotes.position - 1
            state = data.recorded_quote_data(quotes.recording, row)
            lines += self._state("quote", selected.quote, state, _stamp(quotes, row))
        if asked.trade and trades is not None and trades.has_begun:
            row = trades.position - 1
            state = data.recorded_trade_data(trades.recording, row)
            lines += self._state("trade", selected.trade, state, _stamp(trades, row))
        return lines

    def chart_state(self) -> dict[str, Any]:
        """Return the values of the rows sent last by their names on the charts endpoint; empty before the first."""
        state: dict[str, Any] = {}
        for kind, player in self._players.items():
            if kind != "book" and player.has_begun:
                state |= recorded_chart_values(player.recording, player.position - 1)
        return state

    def _is_wanted(self, kind: str) -> bool:
        if kind == "book":
            return bool(self.level2)
        market = self.quote if kind == "quotes" else self.trade or self.time_and_sales
        return bool(market or self.charts.outboxes)

    def _play_row(self, player: RecordingPlayer, row: int) -> int:
        recording, stamp = player.recording, _stamp(player, row)
        if recording.kind == "book":
            asks, bids = data.recorded_levels(recording, row, "ask"), data.recorded_levels(recording, row, "bid")
            rows = {"orderBook": self._book.rows(asks, bids), "quotes": _recorded_venues(asks, bids)}
            return self._emit("level2", self.level2, rows, stamp)
        sent = self.charts.push_quote(recorded_chart_values(recording, row), stamp) if self.charts.outboxes else 0
        if recording.kind == "quotes":
            return sent | self._emit("quote", self.quote, data.recorded_quote_data(recording, row), stamp)
        price, size = recording.columns["price"][row], recording.columns["size"][row]
        if price is not None and size is not None:
            sent |= self.charts.push_trade(price, size, stamp)
        if self.trade:
            sent |= self._emit("trade", self.trade, data.recorded_trade_data(recording, row), stamp)
        if self.time_and_sales:
            sent |= self._emit("timeAndSales", self.time_and_sales, data.recorded_print_data(recording, row), stamp)
        return sent


def _stamp(player: RecordingPlayer, row: int) -> int:
    return player.recording.times[row] // data.NS_PER_MS


def _recorded_venues(asks: list[tuple[float, float]], bids: list[tuple[float, float]]) -> list[str]:
    if not asks or not bids:
        return []
    return [f"{data.RECORDED_VENUE}:{asks[0][0]!r}:{asks[0][1]}:{bids[0][0]!r}:{bids[0][1]}"]

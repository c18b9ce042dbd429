"""Sends the market data of one instrument of the simulated ALOR to all its subscriptions.

The data come from the synthetic market or from recordings. An object is encoded once for all subscriptions of the same
format; only the guid differs. Owned by the server's event loop. "protocol page" is ALOR's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from aries_nb.sim.alor import market_objects as objects
from aries_nb.sim.alor.bars import bar_start, merged
from aries_nb.sim.alor.messages import json_text, renamed
from aries_nb.sim.alor.prints import Print, Prints
from aries_nb.sim.feed import Playback
from aries_nb.sim.market.listings import EquityListing
from aries_nb.sim.market.rough import Report, rough_sides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.sim.alor.bars import Bar, BarHistory
    from aries_nb.sim.alor.instruments import Security
    from aries_nb.sim.alor.messages import Format, Table
    from aries_nb.sim.alor.requests import MarketKind
    from aries_nb.sim.alor.subscriptions import Subscription
    from aries_nb.sim.market.listings import Focus, TradedListing
    from aries_nb.sim.market.recording import RecordingPlayer
    from aries_nb.sim.market.rough import RoughSymbol

__all__ = ["InstrumentChannel", "ListingChannel", "PendingStates", "RecordedChannel"]

#: Subscriptions of all channels with a state that waits for the end of its interval.
PendingStates = dict["Subscription", None]


class InstrumentChannel(ABC):
    """Base class of the market data of one instrument: its subscriptions by kind, and the data sent to them.

    `pending` collects the subscriptions with a state (quote, book or bar) that waits for the end of its requested
    interval. `has_zone` False leaves the time zone out of times.
    """

    def __init__(self, security: Security, bars: BarHistory, pending: PendingStates, *, has_zone: bool) -> None:
        self.security = security
        self.status = objects.NORMAL
        self.prints = Prints(security.exchange, security.symbol)
        self._bars = bars
        self._pending = pending
        self._has_zone = has_zone
        self._subscriptions: defaultdict[str, list[Subscription]] = defaultdict(list)
        self._running: dict[str, Bar] = {}
        self._instrument: dict[str, Any] = {}
        self._encoded: dict[tuple[object, ...], str] = {}

    @property
    def has_subscribers(self) -> bool:
        """Whether any client subscribes to market data of the instrument."""
        return any(self._subscriptions.values())

    def subscribe(self, subscription: Subscription, now: float) -> None:
        """Send market data of the instrument to a subscription from `now` (Unix s) on.

        The initial data are not sent here: the caller sends those of `history` before.
        """
        request = subscription.request
        subscription.begin(now)
        self._subscriptions[request.kind].append(subscription)
        if request.kind == "bars":
            # A recording has its own time.
            since = 0 if self.security.is_recorded else bar_start(request.timeframe, now)
            for bar in self._bars.of(self.security, request.timeframe, since):
                self._running[request.timeframe] = bar

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send no more market data to a subscription; an unknown one is ignored."""
        self._pending.pop(subscription, None)
        subscriptions = self._subscriptions[subscription.request.kind]
        if subscription in subscriptions:
            subscriptions.remove(subscription)

    def history(self, subscription: Subscription, now: float) -> Iterator[str]:
        """Return a lazy iterator over the objects, as JSON text, that a new subscription gets before live updates.

        For bars it is empty if the request skips those of the past, for quotes while none is known. `now` is
        in Unix s.
        """
        request = subscription.request
        match request.kind:
            case "book":
                yield self._book_text(request.form, request.depth, now, is_existing=True)
            case "quotes" if self._has_quote():
                yield self._quote_text(request.form, now)
            case "instruments":
                self._instrument = self._instrument or self.instrument_values()
                yield self._text(objects.INSTRUMENT, request.form, self._instrument)
            case "trades":
                known = self.prints.total
                for each in self.prints.newest(request.depth):
                    yield self._trade_text(each, request.form, is_existing=True)
                # A client that reads a long history slowly does not miss trades that happen meanwhile.
                while known < self.prints.total:
                    fresh, known = self.prints.newest(self.prints.total - known), self.prints.total
                    for each in fresh:
                        yield self._trade_text(each, request.form, is_existing=False)
            case "bars" if not request.skip_history:
                known, since = -1, request.since
                while known < self.prints.total:
                    known = self.prints.total
                    for bar in self._bars.of(self.security, request.timeframe, since):
                        since = bar[0]
                        yield self._bar_text(bar, request.form)

    def set_status(self, status: int) -> None:
        """Set the instrument's trading status, and send it to the subscribers.

        It is a code of ALOR's protocol page §6.5, such as 17 for normal trading or 18 for a closed market.
        """
        self.status = status
        self._publish_instrument()

    # For subclasses.

    def _has_quote(self) -> bool:
        """Return whether a quote of the instrument is known."""
        return True

    @abstractmethod
    def quote_values(self, stamp: int) -> dict[str, Any]:
        """Return the present quote, a dict with the field names of ALOR's Simple format.

        `stamp` is the present time in Unix ms.
        """

    @abstractmethod
    def book_levels(self, depth: int, stamp: int) -> tuple[objects.Levels, objects.Levels, int]:
        """Return bids, asks and time (Unix ms) of the present order book.

        Each side is (price, lots), best first, at most `depth`. `stamp` is the present time in Unix ms.
        """

    @abstractmethod
    def instrument_values(self) -> dict[str, Any]:
        """Return the instrument's present trading state, a dict with the field names of ALOR's Simple format."""

    # Publishing; each returns the number of kinds of stream that have a subscriber.

    def _publish_trade(self, ts_ns: int, price: float, size: float, side: str) -> int:
        made = self._record_trade(ts_ns, price, size, side)
        self._push_trade(made)
        if self._subscriptions["bars"]:
            self._publish_bars(made)
        return bool(self._subscriptions["trades"]) + bool(self._subscriptions["bars"])

    def _record_trade(self, ts_ns: int, price: float, size: float, side: str) -> Print:
        made = self.prints.add(ts_ns, price, size, side)
        self._bars.add(self.security, ts_ns, price, size)
        return made

    def _push_trade(self, made: Print, *, is_in_seconds: bool = False) -> None:
        """Send a report of a trade to the subscribers of trades; `is_in_seconds` sends its `timestamp` so."""
        texts: dict[str, str] = {}
        for subscription in self._subscriptions["trades"]:
            form = subscription.request.form
            if form not in texts:
                texts[form] = self._trade_text(made, form, is_existing=False, is_in_seconds=is_in_seconds)
            subscription.push(texts[form])

    def _publish_bars(self, made: Print) -> None:
        stamp = made.ts_ns // objects.NS_PER_S
        for timeframe in {subscription.request.timeframe for subscription in self._subscriptions["bars"]}:
            running = self._running.get(timeframe)
            trade = (bar_start(timeframe, stamp), made.price, made.price, made.price, made.price, made.size)
            is_new = running is None or trade[0] > running[0]
            self._running[timeframe] = trade if running is None or is_new else merged(running, trade)
        for subscription in self._subscriptions["bars"]:
            bar = self._running[subscription.request.timeframe]
            if subscription.offer(partial(self._bar_text, bar, subscription.request.form), bar[0]):
                self._pending[subscription] = None

    def _publish_state(self, kind: MarketKind, stamp: int) -> int:
        """Offer the present quote or book, at `stamp` (Unix ms), to its subscriptions; it is encoded when it is sent.

        Returns 1 if there is a subscription, else 0.
        """
        self._encoded.clear()
        for subscription in self._subscriptions[kind]:
            request = subscription.request
            if kind == "book":
                read = partial(self._book_text, request.form, request.depth, stamp / 1000, is_existing=False)
            else:
                read = partial(self._quote_text, request.form, stamp / 1000)
            if subscription.offer(read):
                self._pending[subscription] = None
        return bool(self._subscriptions[kind])

    def _publish_instrument(self) -> None:
        """Send the changed fields of the instrument's state to its subscribers, with the symbol.

        Source: ALOR's protocol page §6.5.
        """
        if not self._subscriptions["instruments"]:
            self._instrument = {}
            return
        now = self.instrument_values()
        changed = {name: value for name, value in now.items() if self._instrument.get(name) != value}
        self._instrument = now
        if changed:
            for subscription in self._subscriptions["instruments"]:
                values = {"symbol": self.security.symbol, **changed}
                subscription.push(self._text(objects.INSTRUMENT, subscription.request.form, values))

    def _quote_text(self, form: Format, now: float) -> str:
        key = ("quote", form)
        if key not in self._encoded:
            self._encoded[key] = self._text(objects.QUOTE, form, self.quote_values(round(now * 1000)))
        return self._encoded[key]

    def _book_text(self, form: Format, depth: int, now: float, *, is_existing: bool) -> str:
        key = ("book", form, depth, is_existing)
        if key not in self._encoded:
            bids, asks, stamp = self.book_levels(depth, round(now * 1000))
            self._encoded[key] = json_text(objects.book_object(bids, asks, stamp, form, is_existing=is_existing))
        return self._encoded[key]

    def _trade_text(self, trade: Print, form: Format, *, is_existing: bool, is_in_seconds: bool = False) -> str:
        values = objects.trade_values(self.security, trade, is_existing=is_existing, has_zone=self._has_zone)
        if is_in_seconds:
            values["timestamp"] //= 1000
        return self._text(objects.TRADE, form, values)

    def _bar_text(self, bar: Bar, form: Format) -> str:
        return self._text(objects.BAR, form, objects.bar_values(bar))

    def _text(self, columns: Table, form: Format, values: dict[str, Any]) -> str:
        return json_text(renamed(columns, form, values))


class ListingChannel(InstrumentChannel):
    """Market data of an instrument of the synthetic market. `weight` is the relative frequency of its events.

    `rough` are the troubles of the instrument, None for none.
    """

    def __init__(
        self,
        security: Security,
        listing: TradedListing,
        bars: BarHistory,
        pending: PendingStates,
        *,
        has_zone: bool,
        rough: RoughSymbol | None = None,
    ) -> None:
        super().__init__(security, bars, pending, has_zone=has_zone)
        self.listing = listing
        volume = listing.equity.volume if isinstance(listing, EquityListing) else 1.0
        self.weight = math.sqrt(volume / security.lot)
        self._traded = 0
        self._centre = 0.0  # of the price limits
        self._shown: object = None
        self.rough = rough

    @property
    def key(self) -> tuple[str, ...]:
        """Exchange and symbol, by which the feed orders its channels."""
        return self.security.exchange, self.security.symbol

    @property
    def focus(self) -> Focus:
        """The kind of events to make, which follows from the most detailed subscription of any client.

        "book" if one subscribes to the order book, else "quotes" if one subscribes to quotes, else "trades".
        """
        subscriptions = self._subscriptions
        return "book" if subscriptions["book"] else "quotes" if subscriptions["quotes"] else "trades"

    def step(self, stamp: int) -> int:
        """Make one market event at `stamp` (Unix ms). Returns how many kinds of subscribed stream it changed."""
        if self.rough is not None:
            return self._rough_step(self.rough, stamp)
        listing, sent = self.listing, 0
        self._traded = self._traded or stamp
        trade = listing.step(self.focus)
        # Texts encoded before are out of date after any event.
        self._encoded.clear()
        if trade is not None and trade.size:
            self._traded = stamp
            size = trade.size // self.security.lot
            sent += self._publish_trade(stamp * objects.NS_PER_MS, trade.price, size, trade.side)
            self._publish_instrument()
        shown = (listing.quote(), listing.number)
        if self._subscriptions["quotes"] and shown != self._shown:
            sent += self._publish_state("quotes", stamp)
        self._shown = shown
        if self._subscriptions["book"]:
            sent += self._publish_state("book", stamp)
        return sent

    def _rough_step(self, rough: RoughSymbol, stamp: int) -> int:
        """Make one market event at `stamp` (Unix ms) with the troubles of the rough market; the result as of `step`."""
        now, listing, sent = stamp / 1000, self.listing, 0
        self._traded = self._traded or stamp
        was, phase = rough.phase, rough.phase_at(now)
        if phase != was:
            self.status = objects.PHASES[phase]
            self._publish_instrument()
        trade = listing.step(self.focus) if phase == "open" else None
        self._encoded.clear()
        if trade is not None and trade.size:
            self._traded = stamp
            made = self._record_trade(
                stamp * objects.NS_PER_MS, trade.price, trade.size // self.security.lot, trade.side
            )
            report = Report(made.price, made.size, trade.side, made.number, "", stamp)
            for each in rough.reports(report, listing, partial(self._free_number, made)):
                self._push_report(each)
            if self._subscriptions["bars"]:
                self._publish_bars(made)
            sent += bool(self._subscriptions["trades"]) + bool(self._subscriptions["bars"])
            self._publish_instrument()
        for each in rough.overdue(now):
            self._push_report(each)
            sent += bool(self._subscriptions["trades"])
        if phase != "halted" or was != "halted":
            rough.update(listing.quote(), stamp)
            for kind in ("quotes", "book"):
                sent += self._publish_state(kind, stamp) if self._subscriptions[kind] else 0
        return sent

    def _free_number(self, made: Print) -> int:
        """Record a trade that never was, as large as `made` and without volume, and return its number."""
        return self.prints.add(made.ts_ns, made.price, 0, made.side).number

    def _push_report(self, report: Report) -> None:
        made = Print(report.number, report.stamp * objects.NS_PER_MS, report.price, report.size, report.side)
        self._push_trade(made, is_in_seconds=report.is_in_seconds)

    def quote_values(self, stamp: int) -> dict[str, Any]:
        """Return the present quote, a dict with the field names of ALOR's Simple format.

        `stamp` is the present time in Unix ms.
        """
        values = objects.quote_values(self.security, self.listing, stamp, self._traded or stamp)
        shown = None if self.rough is None else self.rough.shown
        return values if shown is None else objects.rough_quote_values(values, shown, self.security.lot)

    def book_levels(self, depth: int, stamp: int) -> tuple[objects.Levels, objects.Levels, int]:
        """Return bids, asks and time (Unix ms) of the present order book.

        Each side is (price, lots), best first, at most `depth`. `stamp` is the present time in Unix ms, which
        is also the returned one.
        """
        bids, asks = objects.listing_levels(self.listing, self.security.lot, depth)
        shown = None if self.rough is None else self.rough.shown
        if shown is None:
            return bids, asks, stamp
        bids, asks = rough_sides(shown, bids, asks)
        return bids[:depth], asks[:depth], shown.stamp

    def instrument_values(self) -> dict[str, Any]:
        """Return the instrument's present trading state, a dict with the field names of ALOR's Simple format."""
        self._centre = objects.limits_centre(self.listing, self._centre)
        return objects.instrument_values(self.security, self.listing, self.status, self._centre)


class RecordedChannel(InstrumentChannel, Playback):
    """Market data of an instrument fed by recordings (Parquet files).

    Each row is one state, with the numbers and times of the file.
    """

    def __init__(
        self,
        security: Security,
        players: list[RecordingPlayer],
        bars: BarHistory,
        pending: PendingStates,
        *,
        has_zone: bool,
    ) -> None:
        InstrumentChannel.__init__(self, security, bars, pending, has_zone=has_zone)
        Playback.__init__(self, players)
        self._rows: dict[str, int] = {}

    def _is_wanted(self, kind: str) -> bool:
        subscriptions = self._subscriptions
        if kind == "trades":
            return bool(
                subscriptions["trades"]
                or subscriptions["bars"]
                or (subscriptions["quotes"] and "quotes" not in self._players)
            )
        return bool(subscriptions["book"] if kind == "book" else subscriptions["quotes"])

    def _play_row(self, player: RecordingPlayer, row: int) -> int:
        recording = player.recording
        stamp = recording.times[row] // objects.NS_PER_MS
        self._encoded.clear()
        self._rows[recording.kind] = row
        if recording.kind == "book":
            self._publish_state("book", stamp)
        elif recording.kind == "quotes":
            self._publish_state("quotes", stamp)
        else:
            price, size = recording.columns["price"][row], recording.columns["size"][row]
            if price is not None and size is not None:
                self._publish_trade(recording.times[row], price, size, recording.columns["side"][row] or "")
            # With recorded quotes each quote frame is one of their rows; a trade appears in the next.
            if "quotes" not in self._players:
                self._publish_state("quotes", stamp)
        return int(self._is_wanted(recording.kind))

    def _has_quote(self) -> bool:
        return bool(self._rows)

    def quote_values(self, stamp: int) -> dict[str, Any]:  # noqa: ARG002 - recorded time
        """Return the quote of the row played last, a dict with the field names of ALOR's Simple format.

        `stamp` is ignored.
        """
        row = self._rows.get("quotes")
        quotes = None if row is None else (self._players["quotes"].recording, row)
        return objects.recorded_quote_values(self.security, quotes, self.prints.last)

    def book_levels(self, depth: int, stamp: int) -> tuple[objects.Levels, objects.Levels, int]:
        """Return bids, asks and time (Unix ms) of the row of the recorded book that was played last.

        Each side is (price, size), best first, at most `depth`. Before the first row both are empty and the
        time is `stamp`.
        """
        row = self._rows.get("book")
        if row is None:
            return [], [], stamp
        recording = self._players["book"].recording
        return *objects.recorded_levels(recording, row, depth), recording.times[row] // objects.NS_PER_MS

    def instrument_values(self) -> dict[str, Any]:
        """Return the instrument's present trading state, a dict with the field names of ALOR's Simple format."""
        return objects.instrument_values(self.security, None, self.status)

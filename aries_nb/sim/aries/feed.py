"""Data behind Aries' market and charts endpoints, and their subscribers.

The simulated market, and for symbols that have one a recorded market that is replayed instead.

Owned by the server's event loop; no I/O. Messages for clients go into the outboxes of their sessions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from msgspec import structs

from aries_nb.sim.aries.channels import ListingChannel, RecordedChannel, SymbolChannel
from aries_nb.sim.aries.subscriptions import Selection, SubscriptionItem
from aries_nb.sim.feed import MarketFeed
from aries_nb.sim.market.instruments import EQUITIES, rough_equities
from aries_nb.sim.market.listings import OptionListing, TradedListing
from aries_nb.sim.market.market import Market, MarketHours
from aries_nb.sim.market.options import Contract
from aries_nb.sim.market.recording import RecordingPlayer, load_recordings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from aries_nb.sim.aries.channels import TradeListener
    from aries_nb.sim.aries.market import MarketSession
    from aries_nb.sim.market.options import Right
    from aries_nb.sim.settings import SimOptions

__all__ = ["AriesFeed"]


class AriesFeed(MarketFeed[ListingChannel]):
    """Finds the symbols of the simulated Aries broker, manages the subscriptions to them, and makes all market events.

    Sessions of the market and charts endpoints use it. Owned by the server's event loop.
    """

    def __init__(self, options: SimOptions, today: date) -> None:
        super().__init__(Market(options.seed, today, EQUITIES | rough_equities(options.rough)), options)
        self.sessions: list[MarketSession] = []
        #: Called with every trade of the synthetic market, not of recordings; listeners may be added at any time.
        self.on_trade: list[TradeListener] = []
        self._hours = MarketHours()
        self._is_halted = False
        self._channels: dict[str, ListingChannel] = {}
        self._recorded = {
            symbol: RecordedChannel(symbol, [RecordingPlayer(recording, options.speed) for recording in recordings])
            for symbol, recordings in load_recordings(options.tapes).items()
        }

    # For sessions: see `MarketBackend` and `ChartBackend`.

    def join(self, session: MarketSession) -> None:
        """Add a session of the market endpoint: it gets changes of the market hours, and updates as it subscribes."""
        self.sessions.append(session)

    def leave(self, session: MarketSession) -> None:
        """Remove a session of the market endpoint that has ended, with its subscriptions."""
        if session in self.sessions:
            self.sessions.remove(session)
        for symbol in session.selections:
            self._regroup(self._channel(symbol))

    def offered(self, item: SubscriptionItem) -> Selection | None:
        """Return those of the requested streams and fields that the item's symbol offers.

        An empty selection if it offers none of them; None if the symbol is unknown.
        """
        if item.symbol in self._recorded:
            return Selection(**{**_streams(item.selection), "greeks": ()})
        listing = self.market.listing(item.symbol)
        if listing is None or self._is_replaced(item.symbol):
            return None
        is_option = isinstance(listing, OptionListing)
        if item.symbol_type == "option" and not is_option:
            return None
        # The default type, taken at its word (protocol page §3.2).
        if is_option and item.symbol_type == "equity" and "options" in self.roughness:
            return None
        if not isinstance(listing, TradedListing):
            return Selection(trade=item.selection.trade)
        return item.selection if is_option else Selection(**{**_streams(item.selection), "greeks": ()})

    def allowed(self, symbol: str, asked: Selection) -> tuple[Selection, tuple[str, ...]]:
        """Return which of the streams are not refused, and the names of those that are: in the rough market alone."""
        names = [name for name in (*_streams(asked), "greeks") if getattr(asked, name)]
        refused = tuple(name for name in names if self.roughness.is_refused(f"{name} {symbol}"))
        ended: dict[str, Any] = {name: False if name == "level2" else () for name in refused}
        return replace(asked, **ended), refused

    def subscribed(self, session: MarketSession, symbol: str, asked: Selection, now: float) -> None:
        """Put a snapshot of the symbol into the session's outbox (lines to send), and updates from `now` (Unix s) on.

        `asked` are the streams and fields that the session added to its selection.
        """
        channel = self._channel(symbol)
        session.outbox += channel.snapshot(asked, session.selections[symbol], int(now * 1000))
        self._activate(channel, now)

    def unsubscribed(self, symbol: str) -> None:
        """Send updates of the symbol only as the sessions now select them, after one reduced its selection."""
        self._regroup(self._channel(symbol))

    def answer(self, method: str, path: str) -> dict[str, Any]:
        """Return the payload that answers a query about options; its status is 404 for any other path.

        `method` and `path` are as in HTTP. Source: Aries' protocol page §3.5.
        """
        match (method, *(unquote(part) for part in path.split("/"))):
            case ("GET", "", "options", symbol, "expiry-dates"):
                dates = [] if self._is_replaced(symbol) else [str(day) for day in self.market.expiries(symbol)]
                if dates:
                    return _found(symbol=symbol, expiryDates=dates)
                return _missing(f"no options of {symbol[:100]}")
            case ("GET", "", "options", symbol, "contracts", day):
                for expiry in () if self._is_replaced(symbol) else self.market.expiries(symbol):
                    if str(expiry) == day:
                        return _found(symbol=symbol, expiryDate=day, **self._contracts(symbol, expiry))
                return _missing(f"no options of {symbol[:100]} expire on {day[:100]}")
            case _:
                return _missing("unknown path")

    def is_listed(self, symbol: str, symbol_type: str) -> bool:
        """Return whether a symbol is known; if `symbol_type` is "option", whether it is also an option.

        Any other type, such as "equity" or "index", is not compared with the symbol's own.
        """
        return self.offered(SubscriptionItem(symbol, Selection(), symbol_type)) is not None

    def chart_subscribed(self, symbol: str, outbox: list[str], now: float) -> None:
        """Put a snapshot of the symbol into `outbox`, and updates from `now` (Unix s) on, for the charts endpoint.

        `outbox` is a session's list of lines to send.
        """
        channel = self._channel(symbol)
        channel.charts.join(outbox, channel.chart_state(), int(now * 1000))
        self._activate(channel, now)

    def chart_unsubscribed(self, symbol: str, outbox: list[str]) -> None:
        """Put no more updates of a symbol into `outbox`, a session's list of lines to send, for the charts endpoint."""
        channel = self._channel(symbol)
        channel.charts.leave(outbox)
        self._regroup(channel)

    def hours(self) -> MarketHours:
        """Return whether the simulated market is open or halted, and trades before and after its regular hours."""
        return structs.replace(self._hours, market="halted") if self._is_halted else self._hours

    # For the server.

    def set_hours(self, hours: MarketHours, now: float) -> None:
        """Set the market hours at `now` (Unix s), and send a change to all clients. A closed market makes no events."""
        if hours != self._hours:
            self._hours = hours
            for session in self.sessions:
                session.market_changed(now)

    def pump_recordings(self, now: float, lines: int) -> bool:
        """Send rows of recordings without a pace (option `speed` None) to their subscribers.

        A recording is left out while one of its subscribers has `lines` lines or more waiting. Returns whether
        a row was sent; if not, call again once a client has read something. `now` is in Unix s.
        """
        sent = 0
        for channel in self._recorded_channels():
            if channel.is_waiting(lines):
                sent += channel.play(now, max(1, lines // 2))
        self.events += sent
        return sent > 0

    def _is_replaced(self, symbol: str) -> bool:
        """Return whether a recording stands in for this share of the synthetic market.

        For an option it is about the underlying share.
        """
        if not self._recorded:
            return False
        listing = self.market.listing(symbol)
        root = listing.contract.root if isinstance(listing, OptionListing) else symbol
        return root in self._recorded

    def _channel(self, symbol: str) -> SymbolChannel:
        if symbol in self._recorded:
            return self._recorded[symbol]
        channel = self._channels.get(symbol)
        if channel is None:
            listing = self.market.listing(symbol)
            assert listing is not None, "only offered symbols are subscribed"
            channel = self._channels[symbol] = ListingChannel(listing, self.on_trade, rough=self._rough(symbol))
        return channel

    def _activate(self, channel: SymbolChannel, now: float) -> None:
        """Start the market events of a symbol that got a subscriber at `now` (Unix s)."""
        self._regroup(channel)
        if isinstance(channel, RecordedChannel):
            channel.start(now)

    def _regroup(self, channel: SymbolChannel) -> None:
        channel.regroup(self.sessions)
        self._subscriptions_changed()

    def _begin_turn(self, seconds: float, now: float) -> None:
        """Say to all clients when all trading halts and goes on."""
        is_halted = self.roughness.market_halts.share(now) is not None
        if is_halted != self._is_halted:
            self._is_halted = is_halted
            for session in self.sessions:
                session.market_changed(now)
        super()._begin_turn(seconds, now)

    def _is_closed(self) -> bool:
        return self._hours.market == "closed"

    def _subscribed_channels(self) -> Iterable[ListingChannel]:
        return (channel for channel in self._channels.values() if channel.has_subscribers)

    def _is_synthetic(self, symbol: str) -> bool:
        return self.market.listing(symbol) is not None and not self._is_replaced(symbol)

    def _synthetic_channels(self) -> Iterable[ListingChannel]:
        return self._channels.values()

    def _recorded_channels(self) -> Iterable[RecordedChannel]:
        return self._recorded.values()

    def _contracts(self, root: str, expiry: date) -> dict[str, list[dict[str, Any]]]:
        def listed(right: Right) -> list[dict[str, Any]]:
            return [
                {"symbol": Contract(root, expiry, right, strike).symbol, "strikePrice": strike}
                for strike in self.market.strikes(root)
            ]

        return {"calls": listed("C"), "puts": listed("P")}


def _streams(selection: Selection) -> dict[str, Any]:
    return {name: getattr(selection, name) for name in ("quote", "trade", "time_and_sales", "level2")}


def _found(**body: object) -> dict[str, Any]:
    return {"status": 200, "body": body}


def _missing(text: str) -> dict[str, Any]:
    return {"status": 404, "error": text, "code": "NOT_FOUND"}

"""The simulated market and the tapes behind the market and charts endpoints: who listens, and what happens when.

Owned by the server's loop; no I/O. Lines for clients go into the outboxes of their sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aries_nb.sim.aries.channels import MarketChannel, RecordedChannel, SymbolChannel
from aries_nb.sim.aries.subscriptions import Selection, SubscriptionItem
from aries_nb.sim.feed import MarketFeed
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


class AriesFeed(MarketFeed[MarketChannel]):
    """The directory that sessions ask, and the source of all market events."""

    def __init__(self, options: SimOptions, today: date) -> None:
        super().__init__(Market(options.seed, today), options)
        self.sessions: list[MarketSession] = []
        #: Told of every trade of the synthetic market, none of a tape; it may grow at any time.
        self.on_trade: list[TradeListener] = []
        self._hours = MarketHours()
        self._channels: dict[str, MarketChannel] = {}
        self._recorded = {
            symbol: RecordedChannel(symbol, [RecordingPlayer(recording, options.speed) for recording in recordings])
            for symbol, recordings in load_recordings(options.tapes).items()
        }

    # What sessions ask (see `aries_market.Directory` and `aries_charts.ChartDirectory`).

    def join(self, session: MarketSession) -> None:
        """Take a new session."""
        self.sessions.append(session)

    def leave(self, session: MarketSession) -> None:
        """Forget a session that is over."""
        if session in self.sessions:
            self.sessions.remove(session)
        for symbol in session.selections:
            self._regroup(self._channel(symbol))

    def offered(self, item: SubscriptionItem) -> Selection | None:
        """Cut an item to what its symbol has; None if the symbol is not known."""
        if item.symbol in self._recorded:
            return Selection(**{**_streams(item.selection), "greeks": ()})
        listing = self.market.listing(item.symbol)
        if listing is None or self._is_replaced(item.symbol):
            return None
        is_option = isinstance(listing, OptionListing)
        if item.symbol_type == "option" and not is_option:
            return None
        if not isinstance(listing, TradedListing):
            return Selection(trade=item.selection.trade)
        return item.selection if is_option else Selection(**{**_streams(item.selection), "greeks": ()})

    def subscribed(self, session: MarketSession, symbol: str, asked: Selection, now: float) -> None:
        """Put the snapshot into the session's outbox, and let it listen."""
        channel = self._channel(symbol)
        session.outbox += channel.snapshot(asked, session.selections[symbol], int(now * 1000))
        self._activate(channel, now)

    def unsubscribed(self, symbol: str) -> None:
        """Let a session listen to less; its selections say what is left."""
        self._regroup(self._channel(symbol))

    def answer(self, method: str, path: str) -> dict[str, Any]:
        """Answer a query about options (§3.5); anything else is answered with status 404."""
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
        """Whether a symbol is known, as this type of symbol."""
        return self.offered(SubscriptionItem(symbol, Selection(), symbol_type)) is not None

    def chart_subscribed(self, symbol: str, outbox: list[str], now: float) -> None:
        """Put the snapshot for the charts endpoint into an outbox, and let it listen."""
        channel = self._channel(symbol)
        channel.charts.join(outbox, channel.chart_state(), int(now * 1000))
        self._activate(channel, now)

    def chart_unsubscribed(self, symbol: str, outbox: list[str]) -> None:
        """Let an outbox of the charts endpoint hear no more of a symbol."""
        channel = self._channel(symbol)
        channel.charts.leave(outbox)
        self._regroup(channel)

    def hours(self) -> MarketHours:
        """What the market says of itself."""
        return self._hours

    # What the server tells.

    def set_hours(self, hours: MarketHours, now: float) -> None:
        """Open or close the market, and push it to all clients if it changed. A closed market stands still."""
        if hours != self._hours:
            self._hours = hours
            for session in self.sessions:
                session.market_changed(now)

    def pump_recordings(self, now: float, lines: int) -> bool:
        """Send rows of the tapes without a pace wherever all listeners have fewer than `lines` lines waiting.

        Returns whether anything was sent; if not, it is of use to ask again once a client has taken something.
        """
        sent = 0
        for channel in self._recorded_channels():
            if channel.is_waiting(lines):
                sent += channel.play(now, max(1, lines // 2))
        self.events += sent
        return sent > 0

    def _is_replaced(self, symbol: str) -> bool:
        """Whether a tape stands for this share, or for the one that this option is about."""
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
            channel = self._channels[symbol] = MarketChannel(listing, self.on_trade)
        return channel

    def _activate(self, channel: SymbolChannel, now: float) -> None:
        """Let a channel that got a listener live."""
        self._regroup(channel)
        if isinstance(channel, RecordedChannel):
            channel.start(now)

    def _regroup(self, channel: SymbolChannel) -> None:
        channel.regroup(self.sessions)
        self._subscriptions_changed()

    def _is_closed(self) -> bool:
        return self._hours.market == "closed"

    def _subscribed_channels(self) -> Iterable[MarketChannel]:
        return (channel for channel in self._channels.values() if channel.has_subscribers)

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

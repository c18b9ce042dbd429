"""The simulated market and the recordings behind the ALOR server: instruments, subscriptions and events.

Owned by the server's event loop; no I/O. Frames for clients go into the outboxes of their sessions.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from aries_nb.sim.alor import market_objects as objects
from aries_nb.sim.alor.bars import BarHistory
from aries_nb.sim.alor.channels import InstrumentChannel, ListingChannel, PendingStates, RecordedChannel
from aries_nb.sim.alor.instruments import (
    EXCHANGES,
    numbered_share,
    recorded_security,
    rough_instruments,
    rough_securities,
    securities,
    traded_instruments,
)
from aries_nb.sim.feed import MarketFeed
from aries_nb.sim.market.history import History
from aries_nb.sim.market.listings import EquityListing
from aries_nb.sim.market.market import Market
from aries_nb.sim.market.recording import RecordingPlayer, load_recordings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from aries_nb.sim.alor.instruments import Security
    from aries_nb.sim.alor.settings import AlorOptions
    from aries_nb.sim.alor.subscriptions import Subscription
    from aries_nb.sim.market.listings import TradedListing

__all__ = ["AlorFeed"]


class AlorFeed(MarketFeed[ListingChannel]):
    """Finds the instruments of the simulated ALOR, manages the subscriptions to them, and makes all market events.

    `now` is Unix time in s in all methods. Owned by the server's event loop.
    """

    def __init__(self, options: AlorOptions, today: date, now: float) -> None:
        super().__init__(
            Market(options.seed, today, traded_instruments(today) | rough_instruments(options.rough)), options
        )
        # The history ends at the market's first state, so it is made before the market moves.
        self.history = History(self.market, now)
        self.bars = BarHistory(self.history)
        self.status = objects.NORMAL
        self._today = today
        self._has_zone = "no_zone" not in options.faults
        self._channels: dict[tuple[str, str], InstrumentChannel] = {}
        self._pending: PendingStates = {}
        self._subscribed: dict[ListingChannel, None] = {}
        self._recorded = load_recordings(options.tapes)
        self._added = {(each.exchange, each.symbol): each for each in rough_securities(options.rough)}

    def security(self, exchange: str, code: str, board: str = "") -> Security | None:
        """Return an instrument by exchange, code and board ("" for its primary one); None if there is none.

        `exchange` must be one of `EXCHANGES`, such as "MOEX".
        """
        code = self.market.spelled(code)
        if code in self._recorded:
            return recorded_security(code, exchange) if board in ("", EXCHANGES[exchange].boards[0]) else None
        found = securities(self._today).get((exchange, code)) or self._added.get((exchange, code))
        if found is None and exchange == "MOEX":
            member = numbered_share(code)
            found = member[1] if member else None
        return found if found is not None and board in ("", *found.boards) else None

    def securities(self) -> list[Security]:
        """Return all listed instruments of all exchanges, recorded ones first."""
        added = list(self._added.values())
        taped = [recorded_security(code, exchange) for code in self._recorded for exchange in EXCHANGES]
        return taped + [each for each in securities(self._today).values() if each.symbol not in self._recorded] + added

    def channel(self, security: Security) -> InstrumentChannel:
        """Return the object that sends an instrument's market data; it is made on the first call."""
        key = security.exchange, security.symbol
        if key not in self._channels:
            self._channels[key] = self._opened(security)
        return self._channels[key]

    def subscribe(self, subscription: Subscription, security: Security, now: float) -> None:
        """Send updates of an instrument to a subscription from `now` (Unix s) on."""
        channel = self.channel(security)
        channel.subscribe(subscription, now)
        if isinstance(channel, RecordedChannel):
            channel.start(now)
        elif isinstance(channel, ListingChannel):
            self._subscribed[channel] = None
            self._subscriptions_changed()

    def unsubscribe(self, subscription: Subscription, security: Security) -> None:
        """Send no more updates of an instrument to a subscription; one that was never subscribed is ignored."""
        channel = self.channel(security)
        channel.unsubscribe(subscription)
        if isinstance(channel, ListingChannel) and not channel.has_subscribers:
            self._subscribed.pop(channel, None)
            self._subscriptions_changed()

    def set_status(self, status: int) -> None:
        """Set the trading status of all instruments, a code of ALOR's protocol page §6.5.

        A closed market makes no events.
        """
        self.status = status
        for channel in self._channels.values():
            channel.set_status(status)

    # For the server.

    def pump_recordings(self, now: float, rows: int) -> bool:
        """Play up to `rows` rows of each recording without a pace (option `speed` None) that has a subscriber.

        Returns whether a row was sent. `now` is in Unix s.
        """
        sent = 0
        for channel in self._recorded_channels():
            if channel.has_rows_left():
                sent += channel.play(now, rows)
        self.events += sent
        return sent > 0

    def flush(self, now: float) -> None:
        """Send the states (quotes, books, bars) whose requested interval is over at `now` (Unix s).

        They waited because the client asked for one per interval at most.
        """
        for subscription in list(self._pending):
            if subscription.flush(now):
                del self._pending[subscription]

    def _is_closed(self) -> bool:
        return self.status == objects.CLOSED

    def _subscribed_channels(self) -> Iterable[ListingChannel]:
        return self._subscribed

    def _is_synthetic(self, symbol: str) -> bool:
        found = [self.security(exchange, symbol.rpartition(":")[2]) for exchange in EXCHANGES]
        return any(each is not None and not each.is_recorded for each in found)

    def _synthetic_channels(self) -> Iterable[ListingChannel]:
        return (channel for channel in self._channels.values() if isinstance(channel, ListingChannel))

    def _recorded_channels(self) -> Iterable[RecordedChannel]:
        return (channel for channel in self._channels.values() if isinstance(channel, RecordedChannel))

    def _opened(self, security: Security) -> InstrumentChannel:
        if security.is_recorded:
            players = [RecordingPlayer(tape, self._options.speed) for tape in self._recorded[security.symbol]]
            made: InstrumentChannel = RecordedChannel(
                security, players, self.bars, self._pending, has_zone=self._has_zone
            )
        else:
            listing = self._listing(security.symbol)
            rough = self._rough(f"{security.exchange}:{security.symbol}")
            made = ListingChannel(security, listing, self.bars, self._pending, has_zone=self._has_zone, rough=rough)
        made.status = self.status
        return made

    def _listing(self, symbol: str) -> TradedListing:
        share = self.market.shares.get(symbol)
        if share is None:
            member = numbered_share(symbol)
            assert member is not None, "only known instruments have a channel"
            share = EquityListing(member[0], Random(f"{self._options.seed} {symbol}"))
        return share

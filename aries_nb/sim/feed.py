"""Base classes of the simulated brokers' feeds, the sources of all market events that clients get.

A feed chooses the symbol of each event of the synthetic market, which is generated, and plays recordings, which are
files of recorded markets. No I/O; time is passed in: the same turns and subscriptions give the same events. Owned by
the event loop of the simulated server.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from aries_nb.errors import UsageError
from aries_nb.sim.market.rough import RoughSymbol
from aries_nb.sim.market.troubles import trouble_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aries_nb.sim.market.market import Market
    from aries_nb.sim.market.recording import RecordingPlayer
    from aries_nb.sim.settings import ServerOptions

__all__ = ["MarketFeed", "Playback"]

#: Steps tried for one event: a client that selected a rarely changing field alone does not block the server.
STEPS_PER_EVENT = 20
#: An instrument's name, by which the feed draws the order of events: not by the order of subscriptions.
Key: TypeAlias = tuple[str, ...]
ROWS_PER_TURN = 2000
BURST = 10.0


class SteppedChannel(Protocol):
    """A subscribed symbol of the synthetic market that a `MarketFeed` can advance by single events (an interface)."""

    @property
    def key(self) -> Key:
        """The name of the symbol among all of the broker."""

    @property
    def weight(self) -> float:
        """How often this symbol has an event, as a relative number: the feed draws symbols in proportion to it."""

    #: The troubles of the symbol, None for none.
    rough: RoughSymbol | None

    def step(self, stamp: int) -> int:
        """Make one market event at `stamp` (Unix ms) and send it to the subscribers.

        Returns how many updates it gave; one that goes to several clients counts once.
        """


ChannelT = TypeVar("ChannelT", bound=SteppedChannel)


class MarketFeed(ABC, Generic[ChannelT]):
    """The source of all market events of one simulated broker, from the synthetic market and from recordings.

    `now` is Unix time in s in all methods. Owned by the server's event loop.
    """

    def __init__(self, market: Market, options: ServerOptions) -> None:
        self.market = market
        market.spelled = options.roughness().spelled
        self.events = 0
        self._options = options
        self.roughness = options.roughness()
        self._bursts = self.roughness.spells("bursts", "market")
        self._rng = Random(f"{options.seed} order of events")
        self._budget = 0.0
        self._tries = 0
        self._is_in_turn = False
        self._stepped: list[ChannelT] = []
        self._weights: list[float] = []
        self._is_weighted = True

    @property
    def tape_rows_sent(self) -> int:
        """Number of rows, of all recordings together, that were sent to at least one client."""
        return sum(channel.rows_sent for channel in self._recorded_channels())

    def advance(self, seconds: float, now: float, *, most: int | None = None) -> bool:
        """Make as many events of the synthetic market as the option `rate` gives for a turn of `seconds`.

        `now` (Unix s) is their time. At most `most` updates are given by one call, or some more by its last event, and
        the next call goes on with the turn; None for all. Returns whether the turn is over. Nothing happens while the
        market is closed, and only the fair prices move while no symbol is subscribed.
        """
        if not self._is_in_turn:
            self._begin_turn(seconds, now)
            self._is_in_turn = True
        stepped, weights, draw = self._stepped, self._weights, self._rng.random
        total, stamp = weights[-1] if weights else 0.0, int(now * 1000)
        left = math.inf if most is None else most
        while self._budget >= 1.0 and self._tries > 0 and left > 0:
            self._tries -= 1
            sent = stepped[bisect(weights, draw() * total)].step(stamp)
            self._budget -= sent
            self.events += sent
            left -= sent
        if self._budget >= 1.0 and self._tries > 0:
            return False
        # Events for which no client was found are dropped: a burst later on would be late as well.
        self._budget = min(self._budget, 1.0)
        self._is_in_turn = False
        return True

    def _begin_turn(self, seconds: float, now: float) -> None:
        self._weigh()
        self._tries = 0
        if self._is_closed():
            self._budget = 0.0
            return
        self.market.drift(seconds)
        if self._stepped:
            self._budget += self._options.rate * seconds * (1.0 if self._bursts.share(now) is None else BURST)
            self._tries = int(self._budget) * STEPS_PER_EVENT
        else:
            self._budget = 0.0

    def play_recordings(self, now: float) -> None:
        """Send the recorded rows that are due at `now` (Unix s) to their subscribers.

        Does nothing if the option `speed` is None: then the server plays recordings as fast as the clients
        read.
        """
        if self._options.speed is not None:
            for channel in self._recorded_channels():
                self.events += channel.play(now, ROWS_PER_TURN)

    def _rough(self, symbol: str) -> RoughSymbol | None:
        """Return the troubles of a symbol of the synthetic market; None in a market that is kind."""
        is_rough = self.roughness.troubles or self.roughness.schedule.is_used
        return RoughSymbol(symbol, self.roughness) if is_rough else None

    def simulate(self, name: str, seconds: float, now: float, *, symbol: str = "") -> None:
        """Let a trouble of `SIMULATED` last `seconds` from `now` (Unix s) on, for one symbol, "" for all.

        Raises UsageError for an unknown trouble or symbol, for a symbol where the trouble is of the whole market alone,
        and for a number of seconds that is not above 0.
        """
        trouble = trouble_named(name, symbol)
        self._check_listed(symbol)
        self.roughness.schedule.add(trouble, now, seconds, symbol)
        for channel in self._synthetic_channels():
            channel.rough = channel.rough or self._rough(":".join(channel.key))

    def check_planned(self) -> None:
        """Raise UsageError where a trouble is planned for a symbol that the synthetic market does not have."""
        for symbol in self.roughness.schedule.symbols:
            self._check_listed(symbol)

    def _check_listed(self, symbol: str) -> None:
        if symbol and not self._is_synthetic(symbol):
            raise UsageError(f"unknown symbol {symbol[:100]}", advice="Name one of the market, or none for all.")

    @abstractmethod
    def _is_synthetic(self, symbol: str) -> bool:
        """Return whether a symbol is listed in the synthetic market, and not replaced by a recording."""

    @abstractmethod
    def _synthetic_channels(self) -> Iterable[ChannelT]:
        """Return the objects that send the data of symbols of the synthetic market, with subscribers or without."""

    @abstractmethod
    def _is_closed(self) -> bool:
        """Return whether the simulated market is closed, so that it has no events."""

    @abstractmethod
    def _subscribed_channels(self) -> Iterable[ChannelT]:
        """Return the symbols of the synthetic market that have subscribers, as the objects that send their data."""

    @abstractmethod
    def _recorded_channels(self) -> Iterable[Playback]:
        """Return the objects that play the recordings of each recorded symbol."""

    def _subscriptions_changed(self) -> None:
        """Note that subscriptions changed, so that the symbols' weights are recomputed before the next event.

        That is not done at once, since many subscriptions may change together. Called by subclasses.
        """
        self._is_weighted = False

    def _weigh(self) -> None:
        if not self._is_weighted:
            self._is_weighted = True
            self._stepped = sorted(self._subscribed_channels(), key=lambda channel: channel.key)
            self._weights = list(accumulate(channel.weight for channel in self._stepped))


class Playback(ABC):
    """Plays the recordings of one symbol, at most one of each kind ("quotes", "trades", "book"), to its subscribers."""

    def __init__(self, players: list[RecordingPlayer]) -> None:
        self.rows_sent = 0
        self._players = {player.recording.kind: player for player in players}

    def start(self, now: float) -> None:
        """Start, at `now` (Unix s), each recording of the symbol whose kind has a subscriber.

        One that already plays goes on.
        """
        for kind, player in self._players.items():
            if self._is_wanted(kind):
                player.start(now)

    def play(self, now: float, limit: int) -> int:
        """Send the recorded rows due at `now` (Unix s), at most `limit` of each recording; return how many were sent.

        A recording with a pace goes on without subscribers, as a market does; one without (`speed` None) waits
        for one.
        """
        sent = 0
        for kind, player in self._players.items():
            if player.is_finished or (player.speed is None and not self._is_wanted(kind)):
                continue
            for row in player.due(now, limit):
                sent += self._play_row(player, row)
        self.rows_sent += sent
        return sent

    def has_rows_left(self) -> bool:
        """Return whether a recording that is played as fast as the clients read (`speed` None) has rows left to send.

        Only recordings count that were started and have a subscriber.
        """
        return any(
            player.speed is None and player.started is not None and not player.is_finished and self._is_wanted(kind)
            for kind, player in self._players.items()
        )

    @abstractmethod
    def _is_wanted(self, kind: str) -> bool:
        """Return whether a client subscribes to a stream that this kind of recording feeds.

        `kind` is "quotes", "trades" or "book".
        """

    @abstractmethod
    def _play_row(self, player: RecordingPlayer, row: int) -> int:
        """Send row number `row` of a recording to its subscribers; return 1 if there is a subscriber, else 0."""

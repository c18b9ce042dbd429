"""Base classes of the simulated feeds: the choice of the symbol for the next event, and playback of recordings.

Owned by the server's loop; no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aries_nb.sim.market.market import Market
    from aries_nb.sim.market.recording import RecordingPlayer
    from aries_nb.sim.settings import ServerOptions

__all__ = ["MarketFeed", "Playback"]

#: Steps tried for one event: a client that selected a rarely changing field alone does not block the server.
STEPS_PER_EVENT = 20
#: Share of a turn that may be spent on making events, so that the loop has time to send them.
BUSY_SHARE = 0.7
ROWS_PER_TURN = 2000


class SteppedChannel(Protocol):
    """A symbol of the synthetic market that can be stepped."""

    @property
    def weight(self) -> float:
        """How often this symbol has an event, relative to others."""

    def step(self, stamp: int) -> int:
        """Make one event at `stamp` (Unix ms); return the number of updates that it gave."""


ChannelT = TypeVar("ChannelT", bound=SteppedChannel)


class MarketFeed(ABC, Generic[ChannelT]):
    """The source of all market events of one simulated broker. `now` is Unix time in seconds everywhere."""

    def __init__(self, market: Market, options: ServerOptions) -> None:
        self.market = market
        self.events = 0
        self._options = options
        self._rng = Random(f"{options.seed} order of events")
        self._budget = 0.0
        self._stepped: list[ChannelT] = []
        self._weights: list[float] = []
        self._is_weighted = True

    @property
    def tape_rows_sent(self) -> int:
        """Rows of all recordings that went to at least one client."""
        return sum(channel.rows_sent for channel in self._recorded_channels())

    def advance(self, seconds: float, now: float) -> None:
        """Advance the market by `seconds`, with as many events as the rate gives, stamped `now`."""
        self._weigh()
        if not self._stepped or self._is_closed():
            self._budget = 0.0
            return
        self.market.drift(seconds)
        self._budget += self._options.rate * seconds
        tries = int(self._budget) * STEPS_PER_EVENT
        stamp, limit = int(now * 1000), perf_counter() + BUSY_SHARE * seconds
        total, draw = self._weights[-1], self._rng.random
        while self._budget >= 1.0 and tries > 0:
            tries -= 1
            sent = self._stepped[bisect(self._weights, draw() * total)].step(stamp)
            self._budget -= sent
            self.events += sent
            if not tries % 64 and perf_counter() > limit:
                break
        # Events that did not fit into the time are dropped: a burst later on would be late as well.
        self._budget = min(self._budget, 1.0)

    def play_recordings(self, now: float) -> None:
        """Play the rows of paced recordings that are due at `now`."""
        if self._options.speed is not None:
            for channel in self._recorded_channels():
                self.events += channel.play(now, ROWS_PER_TURN)

    @abstractmethod
    def _is_closed(self) -> bool:
        """Whether the market is closed."""

    @abstractmethod
    def _subscribed_channels(self) -> Iterable[ChannelT]:
        """The channels of the synthetic market that have subscribers."""

    @abstractmethod
    def _recorded_channels(self) -> Iterable[Playback]:
        """The channels fed by recordings."""

    def _subscriptions_changed(self) -> None:
        """Recompute the weights before the next event; deferred, since many subscriptions may change together."""
        self._is_weighted = False

    def _weigh(self) -> None:
        if not self._is_weighted:
            self._is_weighted = True
            self._stepped = list(self._subscribed_channels())
            self._weights = list(accumulate(channel.weight for channel in self._stepped))


class Playback(ABC):
    """Playback of the recordings of one symbol, at most one of each kind."""

    def __init__(self, players: list[RecordingPlayer]) -> None:
        self.rows_sent = 0
        self._players = {player.recording.kind: player for player in players}

    def start(self, now: float) -> None:
        """Start each recording that feeds a subscribed stream, unless it is already playing."""
        for kind, player in self._players.items():
            if self._is_wanted(kind):
                player.start(now)

    def play(self, now: float, limit: int) -> int:
        """Play the rows due at `now` (Unix s), at most `limit` of each recording; return the number of rows sent.

        A paced recording goes on without a subscriber, as a market does; an unpaced one waits.
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
        """Whether an unpaced recording that was started has rows left for a subscriber."""
        return any(
            player.speed is None and player.started is not None and not player.is_finished and self._is_wanted(kind)
            for kind, player in self._players.items()
        )

    @abstractmethod
    def _is_wanted(self, kind: str) -> bool:
        """Whether a stream fed by this kind of recording is subscribed."""

    @abstractmethod
    def _play_row(self, player: RecordingPlayer, row: int) -> int:
        """Send one row to its subscribers; return 1 if there is one, else 0."""

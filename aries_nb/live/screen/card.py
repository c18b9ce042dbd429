"""What the status card of a feed shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from aries_nb.live.callbacks import Callbacks
from aries_nb.live.live_object import LiveRegistry
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.statistics import FeedStatistics
from aries_nb.model import CardData
from aries_nb.model.clock import elapsed

__all__ = ["FeedSource", "card_data"]


class CountedFeed(Protocol):
    """The part of a feed that its card shows."""

    name: str

    @property
    def url(self) -> str:
        """The address, without secrets."""

    @property
    def clock(self) -> object:
        """The market time, whose text says what is wrong with this computer's clock."""

    def stats(self) -> FeedStatistics:
        """Return the counts and latencies."""


class FeedSource:
    """The data that the status card shows of a feed. Any thread."""

    def __init__(self, feed: CountedFeed, callbacks: Callbacks, registry: LiveRegistry) -> None:
        self._feed = feed
        self._callbacks = callbacks
        self._registry = registry

    @property
    def version(self) -> int:
        """A number that changes twice a second, so that the card, which shows the time since a message, is redrawn."""
        return int(elapsed() * 2)

    def card(self) -> CardData:
        """Return the current state, counts and newest problem of the feed, and the number of silent symbols.

        A symbol is silent when nothing has arrived for longer than usual.
        """
        now = self._feed.stats()
        clock = str(self._feed.clock)
        problem = (now.state == "live" and self._callbacks.last_error) or now.last_error
        error = problem if clock in problem else f"{clock}; {problem}"
        silent = sum(len(live.silent) for live in self._registry.open_objects() if isinstance(live, LiveFrame))
        return replace(card_data(now, name=self._feed.name, url=self._feed.url, error=error), silent=silent)


def card_data(now: FeedStatistics, *, name: str, url: str, error: str) -> CardData:
    """Return the statistics that the status card shows.

    `name` and `url` are the feed's, `error` is the newest problem, "" without one.
    """
    return CardData(
        name=name,
        url=url,
        state=now.state,
        streams=now.streams,
        most_streams=now.most_streams,
        connections=now.connections,
        most_connections=now.most_connections,
        messages=now.messages,
        messages_per_s=now.messages_per_s,
        lag_ms=now.lag_ms,
        gaps=now.gaps,
        unreadable=now.unreadable,
        silence_s=now.silence_s,
        error=error,
        behind_s=now.behind_s,
        lag_p99_ms=now.lag_p99_ms,
        painted_p50_ms=now.painted_p50_ms,
        painted_p99_ms=now.painted_p99_ms,
    )

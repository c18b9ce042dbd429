"""Rooms as a user has them: `feed.serve` publishes a feed's open frames and books, `connect` reads them elsewhere."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_span_ns
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.live.moments.clock import FeedClock
from aries_nb.live.rooms.entering import room_token
from aries_nb.model import Kind, State
from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.publisher import Lives, Offer, RoomPublisher, Served
from aries_nb.store import OrderBook, RollingFrame

__all__ = ["Rooms", "Serving"]

OPEN_SECONDS = 15.0
SERVED: frozenset[Kind] = frozenset({"quotes", "trades", "book"})


class Serving:
    """A feed that is published to a room, as `feed.serve` returns it. Any thread.

    `close` ends it, as `feed.close` does. A context manager: leaving the block ends it.
    """

    def __init__(self, publisher: RoomPublisher, forget: Callable[[Serving], None]) -> None:
        self._publisher, self._forget = publisher, forget

    @property
    def address(self) -> str:
        """What others pass to `anb.connect`."""
        return str(self._publisher.address)

    @property
    def state(self) -> State:
        """That of the connection to the room's server: "connecting", "live", "reconnecting", "failed" or "closed"."""
        return self._publisher.state

    @property
    def last_error(self) -> str:
        """The newest problem, "" for none."""
        return self._publisher.last_error

    @property
    def rows(self) -> int:
        """The number of rows published so far."""
        return self._publisher.rows

    def close(self) -> None:
        """End it; idempotent. The server keeps what it has for the length of the window."""
        self._publisher.close()
        self._forget(self)

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        now = self._publisher
        error = f": {now.last_error}" if now.last_error and now.state != "live" else ""
        return f"<{self.address}: {now.state}, {now.streams} streams, {now.rows:,} rows, {now.octets:,} bytes{error}>"


class Rooms:
    """The rooms that a feed is published to. Any thread.

    `links` returns the connections of the feed, the market's first. `is_room`: the feed itself is a room's.
    """

    def __init__(
        self, links: Callable[[], Sequence[Link]], gaps: GapSelection, clock: FeedClock, *, is_room: bool
    ) -> None:
        self.is_room = is_room
        self._links, self._gaps, self._clock = links, gaps, clock
        self._servings: dict[RoomAddress, Serving] = {}
        self._lives: Lives = WeakKeyDictionary()
        self._guard = threading.Lock()

    def serve(self, feed: str, address: str, *, token: object, window: str) -> Serving:
        """Publish the feed called `feed` to a room; see `Feed.serve`."""
        where = RoomAddress.of(address)
        source = room_token(token)
        token = None  # a traceback may show this frame
        window_s = checked_span_ns(window, "window") / 1e9
        if self.is_room:
            raise UsageError("a room is not served again", advice="Give others its own address.")
        with self._guard:
            known = self._servings.get(where)
            if known is not None and known.state not in {"failed", "closed"}:
                return known
            publisher = RoomPublisher(where, source, self._offer, feed=feed, window_s=window_s, lives=self._lives)
            try:
                publisher.wait_open(OPEN_SECONDS)
            except BaseException:
                publisher.close()
                raise
            serving = self._servings[where] = Serving(publisher, self._forget)
        return serving

    def _forget(self, serving: Serving) -> None:
        self._servings = {where: each for where, each in self._servings.items() if each is not serving}

    def _offer(self) -> Offer:
        links = self._links()
        served = [
            Served(subscription, store)
            for subscription, store in links[0].open_stores
            if subscription.kind in SERVED and isinstance(store, RollingFrame | OrderBook)
        ]
        clock = self._clock
        speed = getattr(clock, "speed", 1.0) if getattr(clock, "is_playing", True) else 0.0
        pace = 0.0 if math.isinf(speed) else speed
        gaps = [gap for gap in self._gaps.all() if gap.stream.split()[0] == "market"]
        return Offer(served, links[0].state, clock.now_ns(), pace, gaps)

    def close(self) -> None:
        """End all; idempotent."""
        for serving in list(self._servings.values()):
            serving.close()

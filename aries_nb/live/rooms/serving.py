"""Rooms as a user has them: `feed.serve` publishes a feed's open frames and books, `connect` reads them elsewhere."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_span_ns
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import LiveRegistry
from aries_nb.live.market.bars import LiveBars
from aries_nb.live.market.options import OptionChain
from aries_nb.live.moments.clock import FeedClock
from aries_nb.live.rooms.bars import bar_options
from aries_nb.live.rooms.entering import room_token
from aries_nb.model import TABLE_KEYS, Kind, State, Subscription
from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.format import Listing
from aries_nb.rooms.publisher import Offer, RoomPublisher, Served
from aries_nb.rooms.taps import Lives
from aries_nb.store import Gap, OrderBook, RollingFrame, Table

if TYPE_CHECKING:
    from aries_nb.live.account.account import Account

__all__ = ["Rooms", "Serving"]

OPEN_SECONDS = 15.0
SERVED: frozenset[Kind] = frozenset({"quotes", "trades", "book", "instruments", "news"})
OF_ACCOUNTS: frozenset[Kind] = frozenset({*TABLE_KEYS}) - SERVED - {"watchlists"}


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


class ServedFeed(Protocol):
    """Interface of a feed that is published."""

    @property
    def name(self) -> str:
        """The name of its broker."""

    @property
    def clock(self) -> FeedClock:
        """Its market time."""

    def account(self, name: str | None = None) -> Account:
        """Return an account of the user."""


class Rooms:
    """The rooms that a feed is published to. Any thread.

    `links` returns the connections of the feed, the market's first; `gaps` has its gaps, `registry` its live objects.
    `is_room`: the feed itself is a room's.
    """

    def __init__(
        self,
        feed: ServedFeed,
        links: Callable[[], Sequence[Link]],
        gaps: GapSelection,
        registry: LiveRegistry,
        *,
        is_room: bool,
    ) -> None:
        self.is_room = is_room
        self._feed, self._links, self._gaps, self._registry = feed, links, gaps, registry
        self._servings: dict[tuple[RoomAddress, tuple[str, ...]], Serving] = {}
        self._lives: Lives = WeakKeyDictionary()
        self._guard = threading.Lock()

    def serve(self, address: str, *, token: object, window: str, accounts: Sequence[str]) -> Serving:
        """Publish the feed to a room; see `Feed.serve`."""
        where = RoomAddress.of(address)
        source = room_token(token)
        token = None  # a traceback may show this frame
        window_s = checked_span_ns(window, "window") / 1e9
        if self.is_room:
            raise UsageError("a room is not served again", advice="Give others its own address.")
        if isinstance(accounts, str):
            raise UsageError(f"accounts={accounts!r} is no list of names", advice=f"Write it as [{accounts!r}].")
        named = tuple(dict.fromkeys(self._feed.account(name).name for name in accounts))
        key = where, named
        with self._guard:
            known = self._servings.get(key)
            if known is not None and known.state not in {"failed", "closed"}:
                return known
            offer = partial(self._offer, named)
            publisher = RoomPublisher(where, source, offer, feed=self._feed.name, window_s=window_s, lives=self._lives)
            try:
                publisher.wait_open(OPEN_SECONDS)
            except BaseException:
                publisher.close()
                raise
            serving = self._servings[key] = Serving(publisher, self._forget)
        return serving

    def _forget(self, serving: Serving) -> None:
        self._servings = {key: each for key, each in self._servings.items() if each is not serving}

    def _offer(self, accounts: Sequence[str]) -> Offer:
        links = self._links()
        served = [
            Served(subscription, store)
            for link in links
            for subscription, store in link.open_stores
            if (link is links[0] or subscription.kind in TABLE_KEYS)  # not of a second source of quotes
            and isinstance(store, RollingFrame | OrderBook | Table)
            and _may_cross(subscription, accounts)
        ]
        objects = self._registry.open_objects()
        served += [
            Served(Subscription("bars", each.symbol, options=bar_options(each.interval)), each._upkeep)  # noqa: SLF001
            for each in objects
            if isinstance(each, LiveBars)
        ]
        options = tuple(_listing(each) for each in objects if isinstance(each, OptionChain))
        clock = self._feed.clock
        speed = getattr(clock, "speed", 1.0) if getattr(clock, "is_playing", True) else 0.0
        pace = 0.0 if math.isinf(speed) else speed
        gaps = [gap for gap in map(partial(_shown, accounts), self._gaps.all()) if gap is not None]
        reports, reported = links[0].status_reports()
        return Offer(
            served, links[0].state, clock.now_ns(), pace, gaps, accounts=accounts, reports=reports, reported=reported,
            options=options,
        )  # fmt: skip

    def close(self) -> None:
        """End all; idempotent."""
        for serving in list(self._servings.values()):
            serving.close()


def _listing(chain: OptionChain) -> Listing:
    contracts: Any = tuple(chain._contracts.itertuples(name=None))  # noqa: SLF001
    return Listing(chain.symbol, chain.expiry.isoformat(), contracts)


def _may_cross(subscription: Subscription, accounts: Sequence[str]) -> bool:
    """Whether a stream goes into a room: of the market any, of the user's news and the tables of named accounts."""
    return subscription.kind in SERVED or (subscription.kind in OF_ACCOUNTS and subscription.symbol in accounts)


def _shown(accounts: Sequence[str], gap: Gap) -> Gap | None:
    """Return a gap as readers see it, who have one stream for all; None for one that says something of an account."""
    stream, _, rest = gap.stream.partition(" ")
    if stream == "market":
        return gap
    is_served = stream == "accounts" and bool(accounts) and gap.symbol in {"", *accounts}
    return replace(gap, stream=f"market {rest}".strip()) if is_served else None

"""Connecting: from a broker's name to a live feed, the same one for the same call."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from types import FunctionType

from aries_nb.errors import UsageError
from aries_nb.live.embedded import EmbeddedMarket, SimValue, arguments_from
from aries_nb.live.feed import Feed
from aries_nb.net import BROKERS, Secret, checked_url, fixed_token, token_from

__all__ = ["connect"]


class _OpenFeeds:
    """The feeds of this process that are open, by what they were asked for."""

    def __init__(self) -> None:
        self._feeds: dict[object, Feed] = {}
        self._guard = threading.Lock()
        atexit.register(self.close)

    def get(self, key: object) -> Feed | None:
        """The feed of the same call before, if it is still of use."""
        with self._guard:
            feed = self._feeds.get(key)
        return feed if feed is not None and feed.state not in {"failed", "closed"} else None

    def put(self, key: object, feed: Feed) -> None:
        """Keep a feed."""
        with self._guard:
            self._feeds[key] = feed

    def drop(self, feed: Feed) -> None:
        """Forget a feed that was closed."""
        with self._guard:
            self._feeds = {key: other for key, other in self._feeds.items() if other is not feed}

    def close(self) -> None:
        """Close them all, at the end of the interpreter."""
        for feed in list(self._feeds.values()):
            feed.close()


_open_feeds = _OpenFeeds()


def connect(
    broker: str = "sim",
    *,
    url: str | None = None,
    token: str | Callable[[], str] | None = None,
    timeout: float = 15.0,
    **simulation: SimValue,
) -> Feed:
    """Connect to a broker and return its feed, live; the same call again returns the same feed.

    `broker` is a name from the table of brokers. "sim" starts a simulated market, which takes `seed`, `rate` (messages
    a second), `tape` (Parquet files) and `speed` (times the tape's own, or "max"). `url` is the base address where it
    is not the broker's own; `token` is text or a function that returns one, by default the environment's.
    `timeout` is in seconds.

    Raises UsageError for a name or address that cannot be, TokenError without a token or with one that is refused,
    ConnectError if no session comes about.
    """
    known = BROKERS.get(broker) if isinstance(broker, str) else None
    if known is None:
        raise UsageError(f"unknown broker {broker!r}", advice=f"Known are: {', '.join(BROKERS)}.")
    is_embedded = bool(known.simulates) and url is None
    if simulation and not is_embedded:
        raise UsageError(
            f"{', '.join(simulation)}= is for the embedded simulated market", advice='Connect to "sim" without url=.'
        )
    arguments = arguments_from(simulation)
    source = fixed_token("simulated") if is_embedded and token is None else token_from(token)
    key = (broker, url, _same_token(token), tuple(arguments))
    feed = _open_feeds.get(key)
    if feed is not None:
        return feed
    if not is_embedded:
        checked_url(url or known.url, known.path)
    market = EmbeddedMarket(known.simulates, arguments) if is_embedded else None

    def at_close(closed: Feed) -> None:
        _open_feeds.drop(closed)
        if market is not None:
            market.close()

    feed = Feed(known, market.url if market else url or known.url, source, at_close=at_close)
    try:
        feed.wait_open(timeout)
    except BaseException:
        feed.close()
        raise
    _open_feeds.put(key, feed)
    return feed


def _same_token(token: str | Callable[[], str] | None) -> object:
    """What makes a token the same for a cell that runs again: a function defined anew by the same lines counts."""
    if isinstance(token, str):
        return Secret(token)
    if isinstance(token, FunctionType) and not token.__closure__ and not token.__defaults__:
        return token.__code__
    return token

"""`FeedEndpoints`: the endpoints of a feed's broker, and the connections to those that are in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from aries_nb.brokers import Broker, Endpoint
from aries_nb.errors import UsageError
from aries_nb.live.connection import Link
from aries_nb.model import ColumnType, Kind

__all__ = ["FeedEndpoints", "opened"]

T = TypeVar("T")

OPEN_SECONDS = 15.0


def opened(link: Link) -> Link:
    """Wait up to 15 s until the connection of a new link is live, and return the link; one that fails is closed.

    On an event loop that must not be held up it is returned at once, and what is requested of it is sent once it is
    live. Raises ConnectError or TokenError.
    """
    try:
        if not link.is_on_a_loop:
            link.wait_open(OPEN_SECONDS)
    except BaseException:
        link.close()
        raise
    return link


class FeedEndpoints:
    """The endpoints with quotes and trades, by name, and their connections. Any thread.

    That to the endpoint "market" is made with this object, any other on its first use. `connect` makes one, given the
    endpoint and its name; `check` raises where the feed is closed.
    """

    def __init__(self, broker: Broker, connect: Callable[[str, Endpoint], Link], check: Callable[[], None]) -> None:
        self._broker = broker
        self._endpoints = {"market": broker.market, **broker.sources}
        self._connect = connect
        self._check = check
        self.market = connect("market", broker.market)
        self._others: dict[str, Link] = {}
        self._guard = threading.Lock()  # of it

    @property
    def links(self) -> list[Link]:
        """The connections made so far."""
        return [self.market, *self._others.values()]

    def link(self, name: str) -> Link:
        """Return the connection to an endpoint; any other than "market" is made on first use.

        Raises ConnectError or TokenError.
        """
        if name == "market":
            return self.market
        with self._guard:  # one connection each, from however many threads
            if name not in self._others:
                self._check()
                self._others[name] = opened(self._connect(name, self.endpoint(name)))
            return self._others[name]

    def endpoint(self, name: str) -> Endpoint:
        """Return an endpoint by its name. Raises UsageError where the broker has none of that name."""
        if name not in list(self._endpoints):
            has = ", ".join(self._endpoints)
            raise UsageError(f"{self._broker.name} has no endpoint {name!r}", advice=f"It has: {has}.")
        return self._endpoints[name]

    def columns(self, kind: Kind, name: str = "market") -> Mapping[str, ColumnType]:
        """Return the columns of a kind of stream at an endpoint.

        Raises UsageError where the endpoint has no such streams.
        """
        columns = self.endpoint(name).columns
        if kind not in columns:
            has = ", ".join(columns) or "nothing"
            raise UsageError(f"{self._broker.name} has no {kind} at its endpoint {name!r}", advice=f"It has: {has}.")
        return columns[kind]

    def existing(self, part: T | None, what: str) -> T:
        """Return `part` of the broker, such as its accounts. Raises UsageError, naming it by `what`, for None."""
        if part is None:
            advice = "Use another broker for it."
            raise UsageError(f"{self._broker.name} has no {what}", where=self.market.address, advice=advice)
        return part

    def close_others(self) -> None:
        """Close the connections to all endpoints but "market"."""
        with self._guard:  # a thread that is opening one finishes first, or it would outlive the feed
            for link in self._others.values():
                link.close()

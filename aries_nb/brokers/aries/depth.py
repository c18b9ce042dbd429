"""Level 2 of Aries: book levels, and best bid and ask of each venue (Aries protocol page §3.4.4).

Whether an event is the whole book or a change of it is not known, so levels are kept by price and venues by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan

from msgspec import UNSET, MsgspecError
from msgspec.json import Decoder

from aries_nb.brokers.aries.messages import Depth, LevelTwoUpdate, SpoiltDepth
from aries_nb.brokers.parsing import MOST_NOTED, excerpt, shown, unix_ns
from aries_nb.model import CLEAR, PUT, Counted, CountedAs, Notice, Record, Subscription, Unreadable, Value
from aries_nb.model.prices import is_price

__all__ = ["LevelTwoStreams"]

_rows_of = Decoder(list[str]).decode


class LevelTwoStreams:
    """The book and venue subscriptions of a connection, by symbol, and the records made of level 2 events for them."""

    def __init__(self) -> None:
        self._books: dict[str, tuple[Subscription, ...]] = {}  # several where users spell the symbol differently
        self._venues: dict[str, tuple[Subscription, ...]] = {}
        self._cleared: set[Subscription] = set()  # those of venues that have had rows on this connection
        self._lost: frozenset[Subscription] = frozenset()  # books of which changes were missed

    def open(self) -> None:
        """Note that a new connection begins: each symbol's first venue rows on it replace all its earlier ones."""
        self._cleared.clear()
        self._lost = frozenset()

    def missed(self) -> None:
        """Note that events were missed: books make no records on this connection, as an event may be only a change."""
        self._cleared.clear()
        self._lost = frozenset(book for books in self._books.values() for book in books)

    def add(self, subscription: Subscription, symbol: str) -> None:
        """Add a subscription of kind "book" or "venues" under the `symbol` that is requested; other kinds are ignored.

        It replaces an earlier one of the same kind and spelling.
        """
        if subscription.kind in ("book", "venues"):
            routes = self._books if subscription.kind == "book" else self._venues
            others = (each for each in routes.get(symbol, ()) if each.symbol != subscription.symbol)
            routes[symbol] = (*others, subscription)
            self._cleared.discard(subscription)

    def remove(self, subscription: Subscription, symbol: str) -> None:
        """Remove a subscription that was added under `symbol`; nothing happens if it was not."""
        for routes in (self._books, self._venues):
            left = tuple(each for each in routes.pop(symbol, ()) if each != subscription)
            if left:
                routes[symbol] = left

    def users(self, symbol: str) -> list[Subscription]:
        """Return the book and venue subscriptions of a symbol.

        Returns [] if it has neither.
        """
        return [*self._books.get(symbol, ()), *self._venues.get(symbol, ())]

    def read(self, update: LevelTwoUpdate, received: int, records: list[Record], notices: list[Notice]) -> bool:
        """Append what a level 2 event yields to `records` and `notices`; return whether its symbol is subscribed.

        False means that the symbol has neither a book nor a venue subscription; nothing is appended then. `received` is
        the time of receipt in ns since the epoch, used if the event has no time.
        """
        books, venues = self._books.get(update.symbol, ()), self._venues.get(update.symbol, ())
        if self._lost.intersection(books):
            notices += [Counted(book, "rowless") for book in books]
            if not venues:
                return True
            books = ()
        ts = unix_ns(update.timestamp) or received
        rows = update.data.orderBook
        if books and rows is not UNSET:
            values: list[float] = []
            bad = 0
            for row in rows:
                level = _level(row)
                if level is None and (bad := bad + 1) <= MOST_NOTED:
                    notices.append(Unreadable("a level 2 row that is not askSize:price:bidSize", excerpt(row)))
                elif level is not None:
                    values += level
            if values or not rows:
                records += [(book, ts, tuple(values)) for book in books]
            else:
                notices += [Counted(book, "unreadable") for book in books]
        else:
            notices += [Counted(book, _without("orderBook", update.data)) for book in books]
        # With a book subscription alone the venue rows are not even decoded.
        if venues and (raw := bytes(update.data.quotes)):
            records += self._of_venues(venues, ts, raw, notices)
        else:
            notices += [Counted(each, _without("quotes", update.data)) for each in venues]
        return bool(books or venues)

    def _of_venues(
        self, users: tuple[Subscription, ...], ts: int, raw: bytes, notices: list[Notice]
    ) -> Iterator[Record]:
        try:
            rows = _rows_of(raw)
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            notices.append(Unreadable("quotes is not a list of text rows", excerpt(raw)))
            notices += [Counted(each, "unreadable") for each in users]
            return
        found: list[tuple[Value, ...]] = []
        bad = 0
        for row in rows:
            values = _venue(row)
            if values is None and (bad := bad + 1) <= MOST_NOTED:
                reason = "a level 2 row that is not exchange:askPrice:askSize:bidPrice:bidSize"
                notices.append(Unreadable(reason, excerpt(row)))
            elif values is not None:
                found.append((PUT, *values))
        if bad:
            notices += [Counted(each, "unreadable", bad) for each in users]
        elif not found:
            notices += [Counted(each, "rowless") for each in users]
        for each in users if found else ():
            if each not in self._cleared:
                self._cleared.add(each)
                yield each, ts, (CLEAR, "", nan, nan, nan, nan)
            yield from ((each, ts, values) for values in found)


def _without(name: str, depth: Depth) -> CountedAs:
    """Return how the event `depth` is counted if it has no usable rows under `name`, "orderBook" or "quotes".

    It is "unreadable" if it has rows there that cannot be used, "rowless" if it has none.
    """
    return "unreadable" if isinstance(depth, SpoiltDepth) and name in depth.unusable else "rowless"


def _level(row: str) -> tuple[float, float, float] | None:
    """Return price, bid size and ask size in a text row of level 2; None if it has another form."""
    try:
        ask_size, price, bid_size = map(float, row.split(":" if ":" in row else ","))
    except ValueError:
        return None
    return (price, bid_size, ask_size) if isfinite(price + bid_size + ask_size) else None


def _venue(row: str) -> tuple[Value, ...] | None:
    """Return venue, bid price, bid size, ask price, ask size in a text row of level 2; None if it has another form.

    A price of 0, or with a size of 0 while the other side has one, is none (assumed), and becomes NaN.
    """
    try:
        name, *numbers = row.split(":" if ":" in row else ",")
        ask, ask_size, bid, bid_size = map(float, numbers)
    except ValueError:
        return None
    if not name or not isfinite(ask + ask_size + bid + bid_size):
        return None
    has_sizes = bid_size > 0 or ask_size > 0
    sides = ((bid, bid_size), (ask, ask_size))
    bid, ask = (price if is_price(price) and (size or not has_sizes) else nan for price, size in sides)
    return shown(name), bid, bid_size, ask, ask_size

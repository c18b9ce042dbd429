"""Level 2 of Aries: book levels, and best bid and ask of each venue (Aries protocol page §3.4.4).

Whether an event is the whole book or a change of it is not known, so levels are kept by price and venues by name.
"""

from __future__ import annotations

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
        self._books: dict[str, Subscription] = {}
        self._venues: dict[str, Subscription] = {}
        self._cleared: set[str] = set()  # symbols whose venues have had rows on this connection

    def open(self) -> None:
        """Note that a new connection begins: each symbol's first venue rows on it replace all its earlier ones."""
        self._cleared.clear()

    def add(self, subscription: Subscription) -> None:
        """Add a subscription of kind "book" or "venues"; other kinds are ignored.

        It replaces an earlier one of the same kind and symbol.
        """
        if subscription.kind == "book":
            self._books[subscription.symbol] = subscription
        elif subscription.kind == "venues":
            self._venues[subscription.symbol] = subscription
            self._cleared.discard(subscription.symbol)

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription; nothing happens if it was not added."""
        for subscriptions in (self._books, self._venues):
            if subscriptions.get(subscription.symbol) == subscription:
                del subscriptions[subscription.symbol]

    def users(self, symbol: str) -> list[Subscription]:
        """Return the book and venue subscriptions of a symbol.

        Returns [] if it has neither.
        """
        return [subscriptions[symbol] for subscriptions in (self._books, self._venues) if symbol in subscriptions]

    def read(self, update: LevelTwoUpdate, received: int, records: list[Record], notices: list[Notice]) -> bool:
        """Append what a level 2 event yields to `records` and `notices`; return whether its symbol is subscribed.

        False means that the symbol has neither a book nor a venue subscription; nothing is appended then. `received` is
        the time of receipt in ns since the epoch, used if the event has no time.
        """
        book, venues = self._books.get(update.symbol), self._venues.get(update.symbol)
        ms = update.timestamp
        ts = unix_ns(ms) or received
        rows = update.data.orderBook
        if book is not None and rows is not UNSET:
            values: list[float] = []
            bad = 0
            for row in rows:
                level = _level(row)
                if level is None and (bad := bad + 1) <= MOST_NOTED:
                    notices.append(Unreadable("a level 2 row that is not askSize:price:bidSize", excerpt(row)))
                elif level is not None:
                    values += level
            if values or not rows:
                records.append((book, ts, tuple(values)))
            else:
                notices.append(Counted(book, "unreadable"))
        elif book is not None:
            notices.append(Counted(book, _without("orderBook", update.data)))
        # With a book subscription alone the venue rows are not even decoded.
        if venues is not None and (raw := bytes(update.data.quotes)):
            records += self._of_venues(venues, ts, raw, notices)
        elif venues is not None:
            notices.append(Counted(venues, _without("quotes", update.data)))
        return book is not None or venues is not None

    def _of_venues(self, venues: Subscription, ts: int, raw: bytes, notices: list[Notice]) -> list[Record]:
        try:
            rows = _rows_of(raw)
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            notices += [
                Unreadable("quotes is not a list of text rows", excerpt(raw)),
                Counted(venues, "unreadable"),
            ]
            return []
        records: list[Record] = []
        bad = 0
        for row in rows:
            values = _venue(row)
            if values is None and (bad := bad + 1) <= MOST_NOTED:
                reason = "a level 2 row that is not exchange:askPrice:askSize:bidPrice:bidSize"
                notices.append(Unreadable(reason, excerpt(row)))
            elif values is not None:
                records.append((venues, ts, (PUT, *values)))
        if bad:
            notices.append(Counted(venues, "unreadable", bad))
        elif not records:
            notices.append(Counted(venues, "rowless"))
        if records and venues.symbol not in self._cleared:
            self._cleared.add(venues.symbol)
            records.insert(0, (venues, ts, (CLEAR, "", nan, nan, nan, nan)))
        return records


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

    A price of 0 means that there is none (assumed), and becomes NaN.
    """
    try:
        name, *numbers = row.split(":" if ":" in row else ",")
        ask, ask_size, bid, bid_size = map(float, numbers)
    except ValueError:
        return None
    if not name or not isfinite(ask + ask_size + bid + bid_size):
        return None
    return shown(name), bid if is_price(bid) else nan, bid_size, ask if is_price(ask) else nan, ask_size

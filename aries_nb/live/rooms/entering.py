"""Entering a room: its description as a broker, so that a feed takes it like any other, and its clock."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import NoReturn

import msgspec

from aries_nb.brokers import UNKNOWN_HOURS, Broker, Endpoint, Query
from aries_nb.brokers.protocol import OptionContract
from aries_nb.brokers.registry import BROKERS
from aries_nb.errors import UsageError
from aries_nb.live.moments.clock import FeedClock
from aries_nb.model import ColumnType, Kind
from aries_nb.model.settings import settings
from aries_nb.net.auth.tokens import TokenSource, environment_token, token_from
from aries_nb.net.http_client import NoHttp
from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.format import Listing
from aries_nb.rooms.pool import RoomPool
from aries_nb.rooms.protocol import NoProtocol

__all__ = ["RoomClock", "RoomHttp", "entered", "room_token"]

# Not that of a broker's token, which the server of a room must never get.
VARIABLE = "ARIES_NB_ROOM_TOKEN"
OPTIONS = "/options"  # what options are listed, asked of the catalog
ADVICE = "The one who serves it moves it. `room.clock.follow(False)` goes on alone from here."


class RoomColumns(Mapping[Kind, Mapping[str, ColumnType]]):
    """The kinds that a room has at this moment, each with the names and types of its columns. Any thread."""

    def __init__(self, room: RoomPool) -> None:
        self._room = room

    def _kinds(self) -> dict[Kind, dict[str, ColumnType]]:
        kinds: dict[Kind, dict[str, ColumnType]] = {}
        catalog = self._room.session.catalog
        for group in () if catalog is None else catalog.groups:
            columns = kinds.setdefault(group.kind, {})
            for name, type_ in group.columns if group.kind != "book" else ():
                columns.setdefault(name, type_)
        return kinds

    def __getitem__(self, kind: Kind) -> Mapping[str, ColumnType]:
        return self._kinds()[kind]

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds())

    def __len__(self) -> int:
        return len(self._kinds())

    def __bool__(self) -> bool:
        """True also while nothing is served: more may come."""
        return True


def entered(address: str, token: object, timeout: float) -> tuple[Broker, RoomPool]:
    """Enter a room; return what a feed takes it for, and the connection. Raises as `connect`.

    That is a broker with the room's columns, and the trading hours of the publisher's.
    """
    where = RoomAddress.of(address)
    room = RoomPool(where, room_token(token))
    token = None  # a traceback may show this frame
    try:
        room.session.wait_open(timeout)
    except BaseException:
        room.close()
        raise
    return _broker(where, room), room


def _broker(address: RoomAddress, room: RoomPool) -> Broker:
    catalog = room.session.catalog
    known = BROKERS.get(catalog.feed) if catalog is not None else None
    hours = known.market.hours if known is not None else UNKNOWN_HOURS
    market = Endpoint("", NoProtocol, columns=RoomColumns(room), hours=hours)
    return Broker(f"room {address.name}", str(address), market, market, options=ListedOptions())


def room_token(given: object) -> TokenSource | None:
    """Return the source of the token for a room's server; None, where none is given and none in the environment."""
    if given is None and not os.environ.get(VARIABLE, "").strip():
        return None
    return environment_token(VARIABLE) if given is None else token_from(given)


class ListedOptions:
    """The calls of an `OptionReference` for the options that a room lists, which `RoomHttp` answers."""

    def expiries(self, symbol: str) -> Query:
        """Return the call for the days of an underlying."""
        return Query(OPTIONS, (("symbol", symbol),))

    def read_expiries(self, body: bytes) -> tuple[date, ...]:
        """Return the days in an answer, the nearest first."""
        return tuple(sorted({_day(each) for each in _listings(body)}))

    def contracts(self, symbol: str, expiry: date) -> Query:
        """Return the call for the options of a day."""
        return Query(OPTIONS, (("symbol", symbol), ("expiry", expiry.isoformat())))

    def read_contracts(self, body: bytes) -> tuple[OptionContract, ...]:
        """Return the options in an answer, in the order of strikes, a call before its put."""
        found = {contract for each in _listings(body) for contract in each.contracts}
        known = [OptionContract(*each) for each in found]
        return tuple(sorted(known, key=lambda each: (each.strike, each.type)))


class RoomHttp(NoHttp):
    """Answers the calls of `ListedOptions` from what a room lists; it has no other answers."""

    def __init__(self, room: RoomPool) -> None:
        super().__init__(room.url)
        self._room = room

    def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """Return the lists of options as JSON. Raises UsageError for another path."""
        catalog, wanted = self._room.session.catalog, params or {}
        if path != OPTIONS:
            raise self._refused()
        listed = () if catalog is None else catalog.options
        days = wanted.get("symbol"), wanted.get("expiry")
        return msgspec.json.encode(
            [each for each in listed if (each.symbol, days[1] or each.expiry) == (days[0], each.expiry)]
        )

    def _refused(self) -> UsageError:
        return UsageError("a room has no lookups", where=self.base, advice="Ask the one who serves it, or a broker.")


def _listings(body: bytes) -> list[Listing]:
    return msgspec.json.decode(body, type=list[Listing])


def _day(listing: Listing) -> date:
    return date.fromisoformat(listing.expiry)


class RoomClock(FeedClock):
    """The market time of the publisher of a room. Any thread, and any cell.

    Where the publisher replays or simulates, all readers follow: a pause, another speed, a seek. Where it goes back,
    the frames begin anew, as the publisher's do.
    """

    def __init__(self, room: RoomPool) -> None:
        super().__init__(room.time)
        self._room = room

    @property
    def is_following(self) -> bool:
        """Whether this is the publisher's time."""
        return self._room.session.is_following

    def follow(self, is_following: bool = True) -> None:  # noqa: FBT001, FBT002 - room.clock.follow(False)
        """Follow the publisher's time; False: go on alone from this moment, at the pace it had, or that of real time.

        Alone, the frames keep their rows where the publisher's replay goes back, and take no more of it. Following
        again, they have the rows of the room.
        """
        self._room.follow(is_following=bool(is_following))

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(f"a room cannot be {what} by a reader", advice=ADVICE)

    def __repr__(self) -> str:
        how = "the publisher's" if self.is_following else "alone"
        return f"<clock of a room: {self.now:%Y-%m-%d %H:%M:%S} UTC, {how}>"

    def _repr_html_(self) -> str:
        how = "that of the publisher" if self.is_following else "alone"
        advice = re.sub("`(.+?)`", r"<code>\1</code>", ADVICE)
        return f"<p>Market time <b>{settings.clock(self.now_ns())}</b>, {how}<br><small>{advice}</small></p>"

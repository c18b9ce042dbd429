"""The same quotes as ALOR sends them: one object a frame, Slim, told apart by the guid of the subscription."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from msgspec.json import encode

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.alor.messages import shape_for
from aries_nb.model import QUOTE_COLUMNS, Subscription
from aries_nb.net.intake import Intake, Stream
from aries_nb.store import Tape
from tests.bench.frames import FIELDS, SYMBOLS, walk

__all__ = ["DECODE", "AlorPipeline", "alor_frames", "alor_quotes", "data_frame", "values_of"]

# Decoding alone, into the structs that a connection makes of a frame of quotes.
DECODE = shape_for("quotes", "slim", frozenset(FIELDS)).decode


def alor_quotes(*, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Symbol and object of one quote after the other, as the broker's documents show them."""
    for symbol, quote, ms in walk(random.Random(seed)):
        bid, ask = quote["bidPrice"], quote["askPrice"]
        data = {
            "sym": symbol, "ex": "MOEX", "desc": symbol, "tst": ms // 1000, "tso": ms, "o": bid, "h": ask, "l": bid,
            "c": bid, "v": 123456, "acci": 0, "oi": None, "y": None, "ask": ask, "bid": bid, "av": quote["askSize"],
            "bv": quote["bidSize"], "tbv": 120000, "tav": 130000, "lot": 10, "lotv": 3012.5, "fv": 3, "t": "CS",
        }  # fmt: skip
        yield symbol, encode(data)


def data_frame(data: bytes, guid: str) -> bytes:
    """A frame of one object."""
    return b'{ "data": %s, "guid":"%s" }' % (data, guid.encode())


def alor_frames(count: int, guids: Mapping[str, str]) -> list[bytes]:
    """`count` frames for the subscriptions of all symbols."""
    return [data_frame(data, guids[symbol]) for symbol, data in islice(alor_quotes(), count)]


def values_of(message: Any, symbol: str) -> tuple[Any, ...]:
    """Time in ms, symbol, bid and ask with their sizes of a decoded frame."""
    quote = message.data
    return quote.quote_timestamp, symbol, quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size


class AlorPipeline(NamedTuple):
    """What stands between a socket and `.df`, without the socket; `guids` are those of the symbols."""

    intake: Intake
    tape: Tape
    guids: dict[str, str]

    @classmethod
    def of(cls, *, limit: int, fields: Sequence[str] = FIELDS) -> AlorPipeline:
        """Subscribed market data whose rows end in a tape of `limit` rows."""
        columns = [column for column in QUOTE_COLUMNS if column.name in fields]
        tape = Tape(columns, SYMBOLS, limit=limit)
        wire = AlorMarket()
        wire.open(0.0)
        wire.authenticate("any", 0.0)
        intake = Intake(wire)
        names = tuple(column.name for column in columns)
        streams = [Stream(Subscription("quotes", symbol, names), tape, code) for code, symbol in enumerate(SYMBOLS)]
        wire.subscribe(intake.attach(streams))
        asked = [each for each in map(json.loads, wire.outgoing()) if "code" in each]
        return cls(intake, tape, {each["code"]: each["guid"] for each in asked})

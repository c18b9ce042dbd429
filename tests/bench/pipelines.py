"""What stands between a socket and `.df`, without the socket: for Aries and for ALOR."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.alor.messages import shape_for
from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, Subscription
from aries_nb.net.intake import Intake, Route
from aries_nb.net.websocket import READ_BYTES
from aries_nb.store import OrderBook, RollingFrame
from tests.bench.frames import FIELDS, SYMBOLS

__all__ = ["A_READ", "DECODE", "AlorPipeline", "Pipeline", "reads", "taken", "values_of"]

A_READ = f"a read of {READ_BYTES // 2**20} MiB"  # what the session reads at once when the sender is ahead

# Decoding alone, into the structs that a connection makes of a frame of quotes.
DECODE = shape_for("quotes", "slim", frozenset(FIELDS)).decode


def values_of(message: Any, symbol: str) -> tuple[Any, ...]:
    """Time in ms, symbol, bid and ask with their sizes of a decoded frame."""
    quote = message.data
    return quote.quote_timestamp, symbol, quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size


def reads(frames: Sequence[bytes], octets: int = READ_BYTES) -> list[list[bytes]]:
    """The frames as they come out of reads of so many bytes."""
    batches: list[list[bytes]] = [[]]
    size = 0
    for frame in frames:
        if size + len(frame) > octets and batches[-1]:
            batches.append([])
            size = 0
        batches[-1].append(frame)
        size += len(frame)
    return batches


def taken(intake: Intake, frames: Sequence[bytes], received: int, *, is_by_columns: bool = True) -> None:
    """Take the frames of a read as the session does, or all by message, and publish their rows."""
    unread = deque(frames)
    while unread:
        for _ in range(intake.take_columns(unread, received) if is_by_columns else len(unread)):
            intake.take(unread.popleft(), received)
    intake.publish()


class Pipeline(NamedTuple):
    """What stands between a socket and `.df`, without the socket."""

    intake: Intake
    tape: RollingFrame

    @classmethod
    def of(cls, *, limit: int, fields: Sequence[str] = FIELDS, symbols: Sequence[str] = SYMBOLS) -> Pipeline:
        """A subscribed market session whose quotes end in a tape of `limit` rows; it has trades and books as well."""
        columns = [column for column in QUOTE_COLUMNS if column.name in fields]
        tape, trades = RollingFrame(columns, symbols, limit=limit), RollingFrame(TRADE_COLUMNS, symbols, limit=limit)
        protocol = AriesMarket()
        protocol.open(0.0)
        intake = Intake(protocol)
        names, prints = tuple(column.name for column in columns), tuple(column.name for column in TRADE_COLUMNS)
        streams = [Route(Subscription("quotes", symbol, names), tape, code) for code, symbol in enumerate(symbols)]
        streams += [Route(Subscription("trades", symbol, prints), trades, code) for code, symbol in enumerate(symbols)]
        streams += [Route(Subscription("book", symbol), OrderBook(symbol), 0) for symbol in symbols]
        protocol.subscribe(intake.attach(streams))
        return cls(intake, tape)


class AlorPipeline(NamedTuple):
    """What stands between a socket and `.df`, without the socket; `guids` are those of the symbols' quotes."""

    intake: Intake
    tape: RollingFrame
    guids: dict[str, str]
    trades: dict[str, str]  # guids

    @classmethod
    def of(cls, *, limit: int, fields: Sequence[str] = FIELDS, has_trades: bool = False) -> AlorPipeline:
        """Subscribed market data whose rows end in a tape of `limit` rows, trades in another."""
        columns = [column for column in QUOTE_COLUMNS if column.name in fields]
        tape = RollingFrame(columns, SYMBOLS, limit=limit)
        protocol = AlorMarket()
        protocol.open(0.0)
        protocol.authenticate("any", 0.0)
        intake = Intake(protocol)
        names = tuple(column.name for column in columns)
        streams = [Route(Subscription("quotes", symbol, names), tape, code) for code, symbol in enumerate(SYMBOLS)]
        if has_trades:
            trades = RollingFrame(TRADE_COLUMNS, SYMBOLS, limit=limit)
            prints = tuple(column.name for column in TRADE_COLUMNS)
            streams += [
                Route(Subscription("trades", symbol, prints), trades, code) for code, symbol in enumerate(SYMBOLS)
            ]
        protocol.subscribe(intake.attach(streams))
        asked = [each for each in map(json.loads, protocol.outgoing()) if "code" in each]
        quotes, others = (
            {each["code"]: each["guid"] for each in asked if (each["opcode"] == "QuotesSubscribe") is is_quote}
            for is_quote in (True, False)
        )
        return cls(intake, tape, quotes, others)

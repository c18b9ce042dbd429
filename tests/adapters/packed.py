"""An adapter of another shape: MessagePack in binary frames, pings of the WebSocket, headers signed with the token."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from aries_nb.brokers import Broker, Endpoint, JsonProtocol, Levels, Update

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aries_nb.brokers import Event, StreamKey
    from aries_nb.model import ColumnType, Kind


def signed(token: str) -> Mapping[str, str]:
    """The headers of the handshake: the key, the time, and the time signed with the secret."""
    key, _, secret = token.partition(":")
    stamp = str(time.time_ns())
    return {"X-Key": key, "X-Time": stamp, "X-Signature": sign(secret, stamp)}


def sign(secret: str, stamp: str) -> str:
    return hmac.new(secret.encode(), stamp.encode(), hashlib.sha256).hexdigest()


class PackedMarket(JsonProtocol):
    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]] = {
        "quotes": {"bid_price": "number", "ask_price": "number", "last_price": "number"},
        "book": {},
    }
    PARTIAL: ClassVar[frozenset[Kind]] = frozenset({"quotes"})

    def login(self, token: str) -> None:
        """The headers have done it."""

    def ask(self, streams: Sequence[StreamKey]) -> Iterable[bytes]:
        return [msgspec.msgpack.encode(["+", *stream]) for stream in streams]

    def give_up(self, streams: Sequence[StreamKey]) -> Iterable[bytes]:
        return [msgspec.msgpack.encode(["-", *stream]) for stream in streams]

    def decode(self, frame: bytes) -> Any:
        return msgspec.msgpack.decode(frame)

    def read(self, message: Any) -> Iterator[Event]:
        kind, symbol, us, body = message
        if kind == "quotes":
            yield Update("quotes", symbol, us * 1_000, body)
        elif kind == "book":
            yield Levels(symbol, us * 1_000, body["bids"], body["asks"], is_snapshot=body["all"])


BROKER = Broker("packed", "wss://packed.example.com", market=Endpoint("/stream", PackedMarket, headers=signed))

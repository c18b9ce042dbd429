"""The same quotes as ALOR sends them: one object a frame, Slim, with the guid of its subscription."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice

from msgspec.json import encode

from tests.bench.frames import START_MS, walk

__all__ = ["alor_frames", "alor_quotes", "data_frame"]


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


def alor_frames(count: int, guids: Mapping[str, str], trades: Mapping[str, str] | None = None) -> list[bytes]:
    """`count` frames for the subscriptions of all symbols; where `trades` names theirs, every fourth is a trade."""
    frames: list[bytes] = []
    for number, (symbol, data) in enumerate(islice(alor_quotes(), count), 1):
        if trades is None or number % 4:
            frames.append(data_frame(data, guids[symbol]))
        else:
            said = {"id": number, "q": number % 90, "px": 100.5, "t": START_MS + number, "s": "buy", "h": False}
            frames.append(data_frame(encode({**said, "oi": 0, "bd": "TQBR", "sym": symbol}), trades[symbol]))
    return frames

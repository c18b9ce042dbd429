"""The bytes that every competitor is fed: NDJSON frames of 20 Aries quotes.

Several symbols take turns at random; prices walk by cents. A message is as long as the broker's own documents show it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from msgspec.json import encode

from aries_nb.model import QUOTE_COLUMNS

__all__ = [
    "FIELDS",
    "MESSAGES_A_FRAME",
    "START_MS",
    "SYMBOLS",
    "quote_line",
    "quotes_frames",
    "walk",
]

SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "SPY")
FIELDS = tuple(column.name for column in QUOTE_COLUMNS)  # what `feed.quotes("AAPL", …)` holds
MESSAGES_A_FRAME = 20
START_MS = 1_767_607_200_000


def quote_line(symbol: str, data: dict[str, float | int], stamp: int) -> bytes:
    """One update event as the endpoint sends it."""
    payload = {"action": "update", "type": "quote", "symbol": symbol, "data": data, "timestamp": stamp}
    return encode({"type": "event", "payload": payload})


def quotes_frames(count: int, *, only_changes: bool = False, seed: int = 1) -> list[bytes]:
    """`count` frames; each message holds the whole quote, or only the fields that changed and the time."""
    source = random.Random(seed)
    lines = _changed_quotes(source) if only_changes else _whole_quotes(source)
    return [b"\n".join(next(lines) for _ in range(MESSAGES_A_FRAME)) for _ in range(count)]


def _whole_quotes(source: random.Random) -> Iterator[bytes]:
    for symbol, quote, stamp in walk(source):
        yield quote_line(symbol, quote | {"quoteTimestamp": stamp}, stamp)


def _changed_quotes(source: random.Random) -> Iterator[bytes]:
    known: dict[str, dict[str, float | int]] = {}
    for symbol, quote, stamp in walk(source):
        before = known.get(symbol, {})
        known[symbol] = quote
        changed = {name: value for name, value in quote.items() if before.get(name) != value}
        yield quote_line(symbol, changed | {"quoteTimestamp": stamp}, stamp)


def walk(source: random.Random) -> Iterator[tuple[str, dict[str, float | int], int]]:
    """One quote after the other: symbol, the four numbers of a quote by the broker's names, and the time in ms."""
    middles = {symbol: source.uniform(80, 600) for symbol in SYMBOLS}
    stamp = START_MS
    while True:
        symbol = source.choice(SYMBOLS)
        middles[symbol] += source.choice((-0.01, 0.0, 0.01))
        stamp += source.randrange(3)
        yield (
            symbol,
            {
                "bidPrice": round(middles[symbol] - 0.01, 2),
                "bidSize": 100 * source.randint(1, 30),
                "askPrice": round(middles[symbol] + 0.01, 2),
                "askSize": 100 * source.randint(1, 30),
            },
            stamp,
        )

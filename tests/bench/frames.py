"""The bytes that every competitor is fed: NDJSON frames of 20 messages of Aries, most of them quotes.

Several symbols take turns at random; prices walk by cents. A message is as long as the broker's own documents show it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.json import encode

from aries_nb.model import QUOTE_COLUMNS

__all__ = [
    "FIELDS",
    "LOADS",
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
SHARE_OF_OTHERS = 0.25
START_MS = 1_767_607_200_000


def quote_line(symbol: str, data: dict[str, float | int], stamp: int) -> bytes:
    """One update event as the endpoint sends it."""
    return _line("quote", symbol, data, stamp)


def _line(kind: str, symbol: str, data: Mapping[str, Any], stamp: int) -> bytes:
    payload = {"action": "update", "type": kind, "symbol": symbol, "data": data, "timestamp": stamp}
    return encode({"type": "event", "payload": payload})


def quotes_frames(
    count: int, load: str = "whole quotes", *, symbols: Sequence[str] = SYMBOLS, seed: int = 1
) -> list[bytes]:
    """`count` frames of a load, one of `LOADS`."""
    lines = LOADS[load](random.Random(seed), symbols)
    return [b"\n".join(next(lines) for _ in range(MESSAGES_A_FRAME)) for _ in range(count)]


def _whole_quotes(source: random.Random, symbols: Sequence[str]) -> Iterator[bytes]:
    for symbol, quote, stamp in walk(source, symbols):
        yield quote_line(symbol, quote | {"quoteTimestamp": stamp}, stamp)


def _one_side(source: random.Random, symbols: Sequence[str]) -> Iterator[bytes]:
    """Each quote but a symbol's first holds the price and size of one side alone, as a book's best levels change."""
    known: set[str] = set()
    for symbol, quote, stamp in walk(source, symbols):
        side = source.choice(("bid", "ask"))
        changed = {name: value for name, value in quote.items() if symbol not in known or name.startswith(side)}
        known.add(symbol)
        yield quote_line(symbol, changed | {"quoteTimestamp": stamp}, stamp)


def _with_trades(source: random.Random, symbols: Sequence[str]) -> Iterator[bytes]:
    """Every fourth message is a trade event, whose last price is part of the frame of quotes."""
    for symbol, quote, stamp in walk(source, symbols):
        if source.random() < SHARE_OF_OTHERS:
            yield _line("trade", symbol, {"lastPrice": quote["bidPrice"], "tradeTimestamp": stamp}, stamp)
        else:
            yield quote_line(symbol, quote | {"quoteTimestamp": stamp}, stamp)


def _with_sales(source: random.Random, symbols: Sequence[str]) -> Iterator[bytes]:
    """Every fourth message is a print, a row of a frame of trades; all its values are text."""
    for number, (symbol, quote, stamp) in enumerate(walk(source, symbols), 1):
        if source.random() < SHARE_OF_OTHERS:
            sale = {
                "price": str(quote["bidPrice"]), "size": str(quote["bidSize"]), "tradeSeq": str(number),
                "tradeExchange": "Q", "tradeTimestamp": str(stamp), "tick": "+",
            }  # fmt: skip
            yield _line("timeAndSales", symbol, sale, stamp)
        else:
            yield quote_line(symbol, quote | {"quoteTimestamp": stamp}, stamp)


def _with_depth(source: random.Random, symbols: Sequence[str]) -> Iterator[bytes]:
    """Every fourth message is a book of ten levels a side."""
    for symbol, quote, stamp in walk(source, symbols):
        if source.random() < SHARE_OF_OTHERS:
            bids = [f"0:{quote['bidPrice'] - place / 100:.2f}:{100 * (place + 1)}" for place in range(10)]
            asks = [f"{100 * (place + 1)}:{quote['askPrice'] + place / 100:.2f}:0" for place in range(10)]
            yield _line("level2", symbol, {"orderBook": bids + asks}, stamp)
        else:
            yield quote_line(symbol, quote | {"quoteTimestamp": stamp}, stamp)


LOADS: Mapping[str, Callable[[random.Random, Sequence[str]], Iterator[bytes]]] = {
    "whole quotes": _whole_quotes,
    "one side": _one_side,
    "with trades": _with_trades,
    "with time & sales": _with_sales,
    "with level 2": _with_depth,
}


def walk(source: random.Random, symbols: Sequence[str] = SYMBOLS) -> Iterator[tuple[str, dict[str, float | int], int]]:
    """One quote after the other: symbol, the four numbers of a quote by the broker's names, and the time in ms."""
    middles = {symbol: source.uniform(80, 600) for symbol in symbols}
    stamp = START_MS
    while True:
        symbol = source.choice(symbols)
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

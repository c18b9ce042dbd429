"""Rows a second into a rolling frame of other libraries, from the same bytes.

Every peer but finance-dev decodes with msgspec into the same structs and makes each batch a DataFrame column by column,
the quickest way known here; a batch is a read of 1 MiB, or a frame of 20 messages where that is named. The window is
as long as ours. `pd.concat` and streamz copy the whole window for every batch, so few batches are measured, on a window
that is full: that is what they cost after the first minutes. finance-dev only decodes: it keeps no rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import chain
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from tests.bench.frames import MESSAGES_A_FRAME, quotes_frames
from tests.bench.perspective_table import DECODE
from tests.bench.pipelines import A_READ, Pipeline, reads
from tests.bench.results import Effort, Outcome, Peer
from tests.bench.rounds import interleaved, ratio

__all__ = ["measure"]

WINDOW = 100_000
RECEIVED = 1_767_607_200_123_456_789
SMALL_BATCHES, LARGE_BATCHES = 50, 8

Batches = list[list[bytes]]


def measure(effort: Effort) -> Outcome:
    """One line for each peer and size of batch."""
    frames = quotes_frames(effort.choose(1_000, 1_000, 100))
    small, large = [[frame] for frame in frames[:SMALL_BATCHES]], reads(frames)[:LARGE_BATCHES]
    works: dict[tuple[str, str], Callable[[], int]] = {
        ("finance-dev 0.9.0", "decoding alone, its codec and models"): partial(_vendor_decodes, frames[:200]),
        ("pandas", "pd.concat: a frame of 20"): _concatenating(small),
        ("pandas", f"pd.concat: {A_READ}"): _concatenating(large),
        ("streamz", "window(n).full(): a frame of 20"): _streamz_window(small),
        ("streamz", f"window(n).full(): {A_READ}"): _streamz_window(large),
        ("streamz", "accumulate: a frame of 20"): _streamz_accumulate(small),
        ("streamz", f"accumulate: {A_READ}"): _streamz_accumulate(large),
    }
    ours = {"small": _ours([[frame] for frame in frames]), "large": _ours(reads(frames))}
    competitors = ours | {" ".join(key): turn for key, turn in works.items()}
    rates = interleaved(competitors, effort.choose(7, 1, 1))
    outcome = Outcome()
    for name, work in works:
        theirs = rates[f"{name} {work}"]
        same = rates["small" if work.endswith("20") else "large"]
        outcome.peers.append(Peer(name, work, median(theirs), ratio(same, theirs)))
    return outcome


def _ours(batches: Batches) -> Callable[[], int]:
    pipeline = Pipeline.of(limit=WINDOW)

    def turn() -> int:
        before = pipeline.tape.version
        for batch in batches:
            for frame in batch:
                pipeline.intake.take(frame, RECEIVED)
            pipeline.intake.publish()
        return pipeline.tape.version - before

    return turn


def _vendor_decodes(frames: list[bytes]) -> int:
    from finance_dev.websocket.codec import decode_frame

    for frame in frames:
        decode_frame(frame)
    return len(frames) * MESSAGES_A_FRAME


def _concatenating(batches: Batches) -> Callable[[], int]:
    frame = _full_window()

    def turn() -> int:
        nonlocal frame
        count = 0
        for batch in batches:
            new = _made(batch)
            frame = pd.concat([frame, new]).iloc[-WINDOW:]
            count += len(new)
        return count

    return turn


def _streamz_window(batches: Batches) -> Callable[[], int]:
    from streamz import Stream
    from streamz.dataframe import DataFrame

    source = Stream()
    live = DataFrame(source, example=_full_window().iloc[:0])
    return _emitting(source, live.window(n=WINDOW).full().stream, batches)


def _streamz_accumulate(batches: Batches) -> Callable[[], int]:
    from streamz import Stream

    source = Stream()
    rolled = source.accumulate(
        lambda before, new: pd.concat([before, new]).iloc[-WINDOW:], start=_full_window().iloc[:0]
    )
    return _emitting(source, rolled, batches)


def _emitting(source: Any, result: Any, batches: Batches) -> Callable[[], int]:
    newest: list[pd.DataFrame] = []
    result.sink(lambda frame: newest.__setitem__(slice(None), [frame]))
    source.emit(_full_window())

    def turn() -> int:
        count = 0
        for batch in batches:
            new = _made(batch)
            source.emit(new)
            count += len(new)
        assert len(newest[0]) == WINDOW
        return count

    return turn


def _made(batch: list[bytes]) -> pd.DataFrame:
    """A batch as a DataFrame with the columns of ours."""
    payloads = [envelope.payload for envelope in chain.from_iterable(map(DECODE, batch))]
    values = [
        (p.data.quoteTimestamp, p.symbol, p.data.bidPrice, p.data.bidSize, p.data.askPrice, p.data.askSize)  # type: ignore[union-attr]
        for p in payloads
    ]
    ts, symbols, *numbers = zip(*values, strict=True)
    return _framed(
        np.array(ts, "int64") * 1_000_000, list(symbols), [np.array(column, "float64") for column in numbers]
    )


def _framed(ts: np.ndarray, symbols: list[str], numbers: list[np.ndarray]) -> pd.DataFrame:
    data: dict[str, object] = {
        "received": pd.to_datetime(np.full(len(ts), RECEIVED), utc=True),
        "symbol": symbols,
        **dict(zip(("bid_price", "bid_size", "ask_price", "ask_size"), numbers, strict=True)),
    }
    return pd.DataFrame(data, index=pd.DatetimeIndex(pd.to_datetime(ts, utc=True), name="ts"))


@cache
def _full_window() -> pd.DataFrame:
    whole = _made(quotes_frames(WINDOW // MESSAGES_A_FRAME))
    assert len(whole) == WINDOW
    return whole

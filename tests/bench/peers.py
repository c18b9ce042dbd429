"""Rows a second into a rolling frame of other libraries, from the same bytes.

Every peer but finance-dev decodes with msgspec into the same structs and makes each batch a DataFrame column by column,
the quickest way known here; a batch is a read of 1 MiB, or a frame of 20 messages where that is named. The window is
as long as ours. `pd.concat` and streamz copy the whole window for every batch, so few batches are measured, on a window
that is full: that is what they cost after the first minutes. finance-dev only decodes: it keeps no rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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

WINDOW, SMOKE_WINDOW = 100_000, 2_000
RECEIVED = 1_767_607_200_123_456_789
SMALL_BATCHES, LARGE_BATCHES = 50, 8

Batches = list[list[bytes]]


def measure(effort: Effort) -> Outcome:
    """One line for each peer and size of batch."""
    frames, window = quotes_frames(effort.choose(1_000, 1_000, 100)), effort.choose(WINDOW, WINDOW, SMOKE_WINDOW)
    full = _made(quotes_frames(window // MESSAGES_A_FRAME))
    small, large = [[frame] for frame in frames[:SMALL_BATCHES]], reads(frames)[:LARGE_BATCHES]
    works: dict[tuple[str, str], Callable[[], int]] = {
        ("finance-dev 0.9.0", "decoding alone, its codec and models"): partial(_vendor_decodes, frames[:200]),
        ("pandas", "pd.concat: a frame of 20"): _concatenating(small, full),
        ("pandas", f"pd.concat: {A_READ}"): _concatenating(large, full),
        ("streamz", "window(n).full(): a frame of 20"): _streamz_window(small, full),
        ("streamz", f"window(n).full(): {A_READ}"): _streamz_window(large, full),
        ("streamz", "accumulate: a frame of 20"): _streamz_accumulate(small, full),
        ("streamz", f"accumulate: {A_READ}"): _streamz_accumulate(large, full),
    }
    ours = {"small": _ours([[frame] for frame in frames], window), "large": _ours(reads(frames), window)}
    competitors = ours | {" ".join(key): turn for key, turn in works.items()}
    rates = interleaved(competitors, effort.choose(7, 2, 1))
    outcome = Outcome()
    for name, work in works:
        theirs = rates[f"{name} {work}"]
        same = rates["small" if work.endswith("20") else "large"]
        outcome.peers.append(Peer(name, work, median(theirs), ratio(same, theirs)))
    return outcome


def _ours(batches: Batches, window: int) -> Callable[[], int]:
    pipeline = Pipeline.of(limit=window)

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


def _concatenating(batches: Batches, full: pd.DataFrame) -> Callable[[], int]:
    frame = full

    def turn() -> int:
        nonlocal frame
        count = 0
        for batch in batches:
            new = _made(batch)
            frame = pd.concat([frame, new]).iloc[-len(full) :]
            count += len(new)
        return count

    return turn


def _streamz_window(batches: Batches, full: pd.DataFrame) -> Callable[[], int]:
    from streamz import Stream
    from streamz.dataframe import DataFrame

    source = Stream()
    live = DataFrame(source, example=full.iloc[:0])
    return _emitting(source, live.window(n=len(full)).full().stream, batches, full)


def _streamz_accumulate(batches: Batches, full: pd.DataFrame) -> Callable[[], int]:
    from streamz import Stream

    source = Stream()
    rolled = source.accumulate(lambda before, new: pd.concat([before, new]).iloc[-len(full) :], start=full.iloc[:0])
    return _emitting(source, rolled, batches, full)


def _emitting(source: Any, result: Any, batches: Batches, full: pd.DataFrame) -> Callable[[], int]:
    newest: list[pd.DataFrame] = []
    result.sink(lambda frame: newest.__setitem__(slice(None), [frame]))
    source.emit(full)

    def turn() -> int:
        count = 0
        for batch in batches:
            new = _made(batch)
            source.emit(new)
            count += len(new)
        assert len(newest[0]) == len(full)
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

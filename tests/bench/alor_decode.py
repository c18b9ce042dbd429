"""Bytes of ALOR's frames to rows in `.df`: as `decode` measures those of Aries, but a frame is one message here.

A batch is what a read of the session brings under load, 1 MiB, or 20 frames, as many messages as a frame of Aries has.
Decoding alone is msgspec into the same typed structs, frame by frame, and the structs thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from tests.bench.alor_frames import alor_frames
from tests.bench.decode import RECEIVED, WINDOW
from tests.bench.frames import MESSAGES_A_FRAME
from tests.bench.perspective_table import best_form, by_arrow
from tests.bench.pipelines import A_READ, DECODE, AlorPipeline, reads, taken, values_of
from tests.bench.results import Budget, Effort, Outcome, Peer
from tests.bench.rounds import Rates, interleaved, ratio

__all__ = ["measure"]

ARROW, BY_MESSAGE = f"{A_READ}, by Arrow", "by message"
MIXED, MIXED_BY_MESSAGE = "with trades", "with trades, by message"
MESSAGES, SMOKE_MESSAGES = 40_000, 2_000
FEW_BATCHES = 400  # Perspective's share of a round where 20 frames are a batch


def measure(effort: Effort) -> Outcome:
    """The budgets of the first row for ALOR."""
    pipeline = AlorPipeline.of(limit=WINDOW)
    frames = alor_frames(effort.choose(MESSAGES, MESSAGES, SMOKE_MESSAGES), pipeline.guids)
    large = reads(frames)
    small = [frames[at : at + MESSAGES_A_FRAME] for at in range(0, len(frames), MESSAGES_A_FRAME)]
    symbols = {guid: symbol for symbol, guid in pipeline.guids.items()}

    def read(batch: list[bytes]) -> list[tuple[Any, ...]]:
        return [values_of(message, symbols[message.guid]) for message in map(DECODE, batch)]

    few = small[: effort.choose(FEW_BATCHES, FEW_BATCHES // 2, 20)]
    theirs = {
        A_READ: best_form(large, effort, limit=WINDOW, read=read),
        ARROW: ("Arrow", by_arrow(large, limit=WINDOW, read=read)),
        "20 frames": best_form(few, effort, limit=WINDOW, read=read),
    }
    ours = {
        A_READ: _ours(pipeline, large),
        "20 frames": _ours(pipeline, small),
        BY_MESSAGE: _ours(pipeline, large, is_by_columns=False),
        MIXED: _mixed(len(frames), is_by_columns=True),
        MIXED_BY_MESSAGE: _mixed(len(frames), is_by_columns=False),
    }
    peers = {f"Perspective, {name}": turn for name, (_, turn) in theirs.items()}
    rates = interleaved({"decode": lambda: _decode(frames)} | ours | peers, effort.choose(11, 3, 1))
    middle = {name: median(values) for name, values in rates.items()}
    outcome = Outcome([_to_decoding(rates, middle, A_READ, 0.40), _to_decoding(rates, middle, "20 frames", 0.25)])
    for name, batch, least in ((A_READ, A_READ, 2), (A_READ, ARROW, 2), ("20 frames", "20 frames", 5)):
        times, rate = ratio(rates[name], rates[f"Perspective, {batch}"]), middle[f"Perspective, {batch}"]
        outcome.budgets.append(
            Budget(
                f"ALOR: the same to Perspective's update, a batch is {batch}",
                f"{times:.1f} × ({middle[name]:,.0f} to {rate:,.0f} rows/s)",
                f"≥ {least} ×",
                times >= least,
                {"ratio": times, "rows_per_s": middle[name], "perspective_rows_per_s": rate},
            )
        )
        outcome.peers.append(Peer("Perspective 5", f"ALOR: bytes → table by {theirs[batch][0]}, {batch}", rate, times))
    mixed, times = middle[MIXED], ratio(rates[MIXED], rates[MIXED_BY_MESSAGE])
    outcome.notes.append(f"ALOR, every fourth frame a trade: {mixed:,.0f} frames/s, {times:.1f} × by message")
    by_message = ratio(rates[BY_MESSAGE], rates["decode"])
    outcome.notes.append(f"ALOR by message: {middle[BY_MESSAGE]:,.0f} rows/s, {by_message:.2f} × decoding alone")
    return outcome


def _to_decoding(rates: Rates, middle: dict[str, float], name: str, least: float) -> Budget:
    times = ratio(rates[name], rates["decode"])
    return Budget(
        f"ALOR: bytes of frames → rows in .df, to decoding alone, {name}",
        f"{times:.2f} × ({middle[name]:,.0f} of {middle['decode']:,.0f} rows/s)",
        f"≥ {least:.2f} ×",
        times >= least,
        {"ratio": times, "rows_per_s": middle[name], "decoded_per_s": middle["decode"]},
    )


def _decode(frames: list[bytes]) -> int:
    for frame in frames:
        DECODE(frame)
    return len(frames)


def _ours(pipeline: AlorPipeline, batches: list[list[bytes]], *, is_by_columns: bool = True) -> Callable[[], int]:
    intake, tape = pipeline.intake, pipeline.tape

    def turn() -> int:
        before = tape.version
        for batch in batches:
            taken(intake, batch, RECEIVED, is_by_columns=is_by_columns)
        # In the order of arrival: the times of the same frames begin again with each turn.
        assert len(tape.frame_since(0)[0]) == min(tape.version, WINDOW)
        return tape.version - before

    return turn


def _mixed(count: int, *, is_by_columns: bool) -> Callable[[], int]:
    """Quotes and trades: a turn has a pipeline of its own, as repeated numbers of trades would make no rows."""
    first = AlorPipeline.of(limit=WINDOW, has_trades=True)
    batches = reads(alor_frames(count, first.guids, first.trades))

    def turn() -> int:
        pipeline = AlorPipeline.of(limit=WINDOW, has_trades=True)
        assert pipeline[2:] == first[2:], "the guids are the same"
        for batch in batches:
            taken(pipeline.intake, batch, RECEIVED, is_by_columns=is_by_columns)
        assert pipeline.intake.records == count
        return count

    return turn

"""Bytes of NDJSON frames to rows in `.df`, compared with decoding alone and with Perspective at the same batches.

Every competitor starts from the same bytes and ends with rows that can be read. A batch is what becomes visible at
once: one frame of 20 messages, as when frames come one by one, or what a read of the session brings under load, 1 MiB
(frame after frame through `Intake.take`, then one `publish`). Decoding alone is msgspec into the same typed structs,
frame by frame, and the structs thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from aries_nb.brokers.aries.messages import decode_lines
from tests.bench.frames import MESSAGES_A_FRAME, quotes_frames
from tests.bench.perspective_table import best_form
from tests.bench.pipelines import A_READ, Pipeline, reads, taken
from tests.bench.results import Budget, Effort, Outcome, Peer
from tests.bench.rounds import interleaved, ratio

__all__ = ["measure"]

WINDOW = 100_000
FEW_FRAMES = 400  # Perspective's share of a round where every frame is a batch
RECEIVED = 1_767_607_200_123_456_789


def measure(effort: Effort) -> Outcome:
    """The budgets of the first row, and what changes them."""
    count = effort.choose(2_000, 2_000, 100)
    frames = quotes_frames(count)
    batches = reads(frames)
    single = [[frame] for frame in frames]
    competitors: dict[str, Callable[[], int]] = {
        "decode": lambda: _decode(frames),
        "a read": _ours(batches),
        "a frame": _ours(single),
        "only changes": _ours(reads(quotes_frames(count, only_changes=True))),
        "four columns": _ours(batches, fields=("bid_price", "bid_size", "ask_price", "ask_size")),
    }
    theirs = {
        "a read": best_form(batches, effort, limit=WINDOW),
        "a frame": best_form(single[: effort.choose(FEW_FRAMES, FEW_FRAMES // 2, 20)], effort, limit=WINDOW),
    }
    peers = {f"Perspective, {name}": turn for name, (_, turn) in theirs.items()}
    rates = interleaved(competitors | peers, effort.choose(11, 3, 1))
    middle = {name: median(values) for name, values in rates.items()}
    to_decoding = ratio(rates["a read"], rates["decode"])
    outcome = Outcome()
    outcome.budgets.append(
        Budget(
            "bytes of frames → rows in .df, to decoding alone",
            f"{to_decoding:.2f} × ({middle['a read']:,.0f} of {middle['decode']:,.0f} rows/s)",
            "≥ 0.35 ×",
            to_decoding >= 0.35,
            {"ratio": to_decoding, "rows_per_s": middle["a read"], "decoded_per_s": middle["decode"]},
        )
    )
    for name, batch in (("a frame", "a frame of 20"), ("a read", A_READ)):
        times = ratio(rates[name], rates[f"Perspective, {name}"])
        rate = middle[f"Perspective, {name}"]
        outcome.budgets.append(
            Budget(
                f"the same to Perspective's update, a batch is {batch}",
                f"{times:.1f} × ({middle[name]:,.0f} to {rate:,.0f} rows/s)",
                "≥ 5 ×",
                times >= 5,
                {"ratio": times, "rows_per_s": middle[name], "perspective_rows_per_s": rate},
            )
        )
        outcome.peers.append(Peer("Perspective 5", f"bytes → table by {theirs[name][0]}, {batch}", rate, times))
    for name, text in (
        ("a frame", "published after each frame of 20 instead of each read"),
        ("only changes", "messages that hold only the fields that changed"),
        ("four columns", "a frame of four columns instead of the usual five"),
    ):
        outcome.notes.append(
            f"{text}: {middle[name]:,.0f} rows/s, {ratio(rates[name], rates['decode']):.2f} × decoding alone"
        )
    return outcome


def _decode(frames: list[bytes]) -> int:
    for frame in frames:
        decode_lines(frame)
    return len(frames) * MESSAGES_A_FRAME


def _ours(batches: list[list[bytes]], fields: tuple[str, ...] | None = None) -> Callable[[], int]:
    pipeline = Pipeline.of(limit=WINDOW) if fields is None else Pipeline.of(limit=WINDOW, fields=fields)
    intake, tape = pipeline.intake, pipeline.tape

    def turn() -> int:
        before = tape.version
        for batch in batches:
            taken(intake, batch, RECEIVED)
        # In the order of arrival: the times of the same frames begin again with each turn.
        assert len(tape.frame_since(0)[0]) == min(tape.version, WINDOW)
        return tape.version - before

    return turn

"""Bytes of NDJSON frames to rows in `.df`, compared with decoding alone and with Perspective at the same batches.

Every competitor starts from the same bytes and ends with rows that can be read. A batch is what becomes visible at
once: one frame of 20 messages, as when frames come one by one, or what a read of the session brings under load, 1 MiB
(taken as the session does, then one `publish`). Decoding alone is msgspec into structs of all the broker's fields,
frame by frame, and the structs thrown away; ours decodes the fields that are subscribed. Each load is compared with
decoding of the same load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from aries_nb.brokers.aries.messages import decode_lines
from tests.bench.frames import FIELDS, LOADS, MESSAGES_A_FRAME, SYMBOLS, quotes_frames
from tests.bench.perspective_table import best_form, by_arrow
from tests.bench.pipelines import A_READ, Pipeline, reads, taken
from tests.bench.results import Budget, Effort, Outcome, Peer
from tests.bench.rounds import Rates, interleaved, ratio

__all__ = ["measure"]

WINDOW = 100_000
WHOLE, SALES, MANY = "whole quotes", "with time & sales", "500 symbols"
MANY_SYMBOLS = tuple(f"SYM{number}" for number in range(500))
BUDGETS = {WHOLE: 0.40, "with trades": 0.33, "one side": 0.30, SALES: 0.18}  # least ratio to decoding the load alone
FEW_FRAMES = 400  # Perspective's share of a round where every frame is a batch
RECEIVED = 1_767_607_200_123_456_789


def measure(effort: Effort) -> Outcome:
    """Rows of each load to decoding the same load alone, and whole quotes to Perspective."""
    count = effort.choose(2_000, 2_000, 100)
    rounds = effort.choose(11, 3, 1)
    loads = {load: quotes_frames(count, load) for load in LOADS} | {
        MANY: quotes_frames(count, symbols=MANY_SYMBOLS),
    }
    whole = loads[WHOLE]
    batches, single = reads(whole), [[frame] for frame in whole]
    few = single[: effort.choose(FEW_FRAMES, FEW_FRAMES // 2, 20)]
    theirs = {
        "a read": best_form(batches, effort, limit=WINDOW),
        "a frame": best_form(few, effort, limit=WINDOW),
        "Arrow": ("Arrow", by_arrow(batches, limit=WINDOW)),
    }
    competitors: dict[str, Callable[[], int]] = {}
    for load, frames in loads.items():
        symbols = MANY_SYMBOLS if load == MANY else SYMBOLS
        competitors |= {
            f"decode {load}": partial(_decode, frames),
            load: _ours(reads(frames), symbols=symbols, fresh=rounds + 1 if load == SALES else 0),
        }
    competitors |= {
        "a frame": _ours(single),
        "four columns": _ours(batches, fields=FIELDS[:4]),
        "by message": _ours(batches, is_by_columns=False),
    }
    competitors |= {f"Perspective, {name}": turn for name, (_, turn) in theirs.items()}
    rates = interleaved(competitors, rounds)
    middle = {name: median(values) for name, values in rates.items()}
    outcome = Outcome([_to_decoding(rates, middle, load, least) for load, least in BUDGETS.items()])
    for ours, name, batch, least in (
        (WHOLE, "a read", A_READ, 3),
        (WHOLE, "Arrow", f"{A_READ}, by Arrow", 3),
        ("a frame", "a frame", "a frame of 20", 5),
    ):
        times, rate = ratio(rates[ours], rates[f"Perspective, {name}"]), middle[f"Perspective, {name}"]
        outcome.budgets.append(
            Budget(
                f"the same to Perspective's update, a batch is {batch}",
                f"{times:.1f} × ({middle[ours]:,.0f} to {rate:,.0f} rows/s)",
                f"≥ {least} ×",
                times >= least,
                {"ratio": times, "rows_per_s": middle[ours], "perspective_rows_per_s": rate},
            )
        )
        outcome.peers.append(Peer("Perspective 5", f"bytes → table by {theirs[name][0]}, {batch}", rate, times))
    for name, load, text in (
        ("a frame", WHOLE, "published after each frame of 20 instead of each read"),
        ("four columns", WHOLE, "a frame of four columns instead of the usual five"),
        ("by message", WHOLE, "whole quotes by message, none by columns"),
        ("with level 2", "with level 2", "every fourth message a book of ten levels a side"),
        (MANY, MANY, "whole quotes of 500 symbols instead of 8"),
    ):
        to_decoding = ratio(rates[name], rates[f"decode {load}"])
        outcome.notes.append(f"{text}: {middle[name]:,.0f} rows/s, {to_decoding:.2f} × decoding alone")
    return outcome


def _to_decoding(rates: Rates, middle: dict[str, float], load: str, least: float) -> Budget:
    times, alone = ratio(rates[load], rates[f"decode {load}"]), middle[f"decode {load}"]
    return Budget(
        f"bytes of frames → rows in .df, to decoding alone: {load}",
        f"{times:.2f} × ({middle[load]:,.0f} of {alone:,.0f} rows/s)",
        f"≥ {least:.2f} ×",
        times >= least,
        {"ratio": times, "rows_per_s": middle[load], "decoded_per_s": alone},
    )


def _decode(frames: list[bytes]) -> int:
    for frame in frames:
        decode_lines(frame)
    return len(frames) * MESSAGES_A_FRAME


def _ours(
    batches: list[list[bytes]],
    fields: Sequence[str] = FIELDS,
    symbols: Sequence[str] = SYMBOLS,
    *,
    is_by_columns: bool = True,
    fresh: int = 0,
) -> Callable[[], int]:
    """A turn; each of the first `fresh` has a session of its own, made before."""
    # Prints whose numbers begin again would be corrections of those of the turn before.
    sessions = [Pipeline.of(limit=WINDOW, fields=fields, symbols=symbols) for _ in range(fresh or 1)]
    messages = MESSAGES_A_FRAME * sum(map(len, batches))

    def turn() -> int:
        intake, tape = sessions.pop() if fresh else sessions[0]
        before = intake.records
        for batch in batches:
            taken(intake, batch, RECEIVED, is_by_columns=is_by_columns)
        assert intake.records - before == messages
        # In the order of arrival: the times of the same frames begin again with each turn.
        assert len(tape.frame_since(0)[0]) == min(tape.version, WINDOW)
        return messages

    return turn

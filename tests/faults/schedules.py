"""Schedules of faults as Hypothesis draws and shrinks them, and many of them run at a time.

The moment of a fault is a number of delivered messages, not in seconds: a schedule means the same on any machine.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from aries_nb.errors import FeedError
from tests.faults.course import BrokenError, Ground, Schedule, run
from tests.faults.faults import (
    Cut,
    Delay,
    Drip,
    Duplicate,
    Expire,
    Fault,
    Fragment,
    Hang,
    Join,
    Kick,
    Outage,
    Refuse,
    Reorder,
    Rubbish,
    StallDown,
    StallUp,
    Step,
    Throttle,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check", "drawn", "schedules"]

MOST_STEPS = 5
MOST_MESSAGES = 60
AT_ONCE = 6  # a run mostly waits: for the market's messages, for time limits

_messages = st.integers(1, 12)
_stalls = st.one_of(st.sampled_from([0.05, 0.2, 0.6]), st.none())


def faults() -> st.SearchStrategy[Fault]:
    """One fault, the harmless ones first: Hypothesis shrinks towards them."""
    return st.one_of(
        st.builds(Fragment, _messages, st.integers(2, 5)),
        st.builds(Join, _messages),
        st.builds(Drip, st.integers(1, 4)),
        st.builds(Delay, _messages, st.sampled_from([0.01, 0.05])),
        st.builds(Throttle, _messages, st.sampled_from([2_000, 20_000])),
        st.builds(Rubbish, st.sampled_from(_RUBBISH)),
        st.builds(Duplicate, _messages),
        st.just(Reorder()),
        st.builds(
            Cut, st.sampled_from(["close", "fin", "rst", "torn"]), st.sampled_from([1000, 1001, 1008, 1011, 1013])
        ),
        st.builds(Refuse, st.sampled_from([401, 403, 429, 502]), st.integers(1, 3)),
        st.builds(Kick, st.integers(1, 3), st.integers(1, 12)),
        st.builds(Hang, st.sampled_from([0.05, 0.3])),
        st.builds(Outage, st.sampled_from([0.02, 0.2])),
        st.just(Expire()),
        st.builds(StallDown, _stalls),
        st.builds(StallUp, _stalls),
    )


_RUBBISH = ["text", "binary", "half a character", "deep", "stranger", "empty", "bad opcode", "oversized"]


def schedules() -> st.SearchStrategy[Schedule]:
    """A market and a few faults, some of them while the effects of the previous one last."""
    steps = st.lists(st.builds(Step, st.integers(0, MOST_MESSAGES), faults()), min_size=1, max_size=MOST_STEPS)
    with_account = st.sampled_from([False, False, False, True])
    with_others = st.sampled_from([False, False, False, True])
    return st.builds(Schedule, st.integers(0, 2**16), steps.map(tuple), with_account, with_others)


def drawn(count: int, start: int) -> list[Schedule]:
    """Draw at most `count` schedules, the same ones for the same `start`; equal ones count once."""
    found: dict[Schedule, None] = {}
    _through(lambda schedule: found.setdefault(schedule), count=count, start=start)
    return list(found)


def check(ground: Ground, *, count: int, start: int) -> None:
    """Run `count` schedules, the same ones for the same `start`; raise BrokenError for the smallest one that fails.

    They are run several at a time. Hypothesis then goes through them once more, knows how most of them went, and
    shrinks the first one that failed by running smaller ones.
    """
    all_ = drawn(count, start)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = dict(zip(all_, pool.map(lambda schedule: _verdict(ground, schedule), all_), strict=True))

    def judge(schedule: Schedule) -> None:
        if schedule not in verdicts:
            verdicts[schedule] = _verdict(ground, schedule)
        if verdicts[schedule]:
            raise BrokenError(f"start {start}, {ground.name}, {schedule}:\n{verdicts[schedule]}")

    _through(judge, count=count, start=start)


def _verdict(ground: Ground, schedule: Schedule) -> str:
    try:
        run(ground, schedule)
    except (BrokenError, FeedError) as broken:
        return str(broken)
    return ""


def _through(each: Callable[[Schedule], object], *, count: int, start: int) -> None:
    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(schedules())
    def go(schedule: Schedule) -> None:
        each(schedule)

    go()

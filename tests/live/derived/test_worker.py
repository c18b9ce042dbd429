"""Jobs of derived frames: a slow one delays no other, and those that come after it wait for it without a thread."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from aries_nb.live.derived.worker import SHARE, Job
from aries_nb.model.clock import elapsed
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Frame:
    """What has a job: `work` is called in it."""

    def __init__(self, work: Callable[[], object], after: Sequence[Job] = ()) -> None:
        self.work = work
        self.done = 0
        self.job = Job(self.advance, after)

    def advance(self) -> None:
        self.work()
        self.done += 1


def deriving() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("aries-nb-derive")]


def test_a_function_that_never_returns_delays_only_what_is_computed_from_it() -> None:
    end = threading.Event()
    hanging = Frame(lambda: end.wait(60))
    waiting = [Frame(lambda: None, [hanging.job]) for _ in range(5)]
    waiting.append(Frame(lambda: None, [waiting[0].job]))
    others = [Frame(lambda: None) for _ in range(3)]
    every = [hanging, *others, *waiting]
    before = len(deriving())

    def wake() -> None:
        for each in every:
            each.job.wake()

    try:
        wake()
        eventually(lambda: (wake(), all(each.done > 2 for each in others))[1])
        assert hanging.job.running_seconds > 0.2
        assert [each.done for each in waiting] == [0] * 6
        assert len(deriving()) <= max(before, 1) + 1
    finally:
        end.set()
    eventually(lambda: all(each.done for each in every))
    eventually(lambda: len(deriving()) == 1)


class Slow(Frame):
    """Sleeps at first, and later hangs until `end`; notes when it last slept, and when it hung."""

    slept = hung = 0.0

    def __init__(self, end: threading.Event) -> None:
        self.end = end
        super().__init__(self.sleep)

    def sleep(self) -> None:
        time.sleep(0.25)
        self.slept = elapsed()

    def hang(self) -> None:
        self.hung = self.hung or elapsed()
        self.end.wait(60)


def test_slow_functions_have_pauses_of_their_own() -> None:
    end = threading.Event()
    slow, quick = [Slow(end) for _ in range(2)], Frame(lambda: None)

    def wake() -> None:
        for each in (*slow, quick):
            each.job.wake()

    eventually(lambda: (wake(), all(each.job.is_slow for each in slow))[1])
    for each in slow:
        each.work = each.hang
    try:
        eventually(lambda: (wake(), all(each.hung for each in slow))[1])
        before = [each.done for each in slow]
        quick.done = 0
        eventually(lambda: (wake(), quick.done >= 10)[1])
        assert [each.done for each in slow] == before  # they hang: the quick one waited for none of them
    finally:
        end.set()

    assert all(each.hung - each.slept >= 0.25 / SHARE for each in slow)

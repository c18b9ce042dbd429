"""Jobs of derived frames: a slow one delays no other, and those that come after it wait for it without a thread."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from aries_nb.live.derived.worker import Job
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
    hanging = Frame(lambda: end.wait(20))
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


def test_slow_functions_have_pauses_of_their_own() -> None:
    slow, quick = [Frame(lambda: time.sleep(0.25)) for _ in range(4)], Frame(lambda: None)

    def wake() -> None:
        for each in (*slow, quick):
            each.job.wake()

    eventually(lambda: (wake(), all(each.job.is_slow for each in slow))[1])
    quick.done, begun = 0, time.monotonic()
    eventually(lambda: (wake(), quick.done >= 10)[1])

    assert time.monotonic() - begun < 3
    assert sum(each.done for each in slow) < 4 * 2 + 4 * 4

"""How fast messages come through a socket, and what each costs: rates are partly the server's, CPU time is ours alone.

`by_message` forces the path by message: the ratio of two turns of one run is what our reader of frames and decoding by
columns save.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple, NoReturn
from unittest.mock import patch

from websockets.asyncio.client import ClientConnection

from aries_nb.live import Feed
from aries_nb.net.frame_connection import FrameConnection, Take
from aries_nb.net.intake import Intake
from tests.bench.frames import SYMBOLS

__all__ = ["Meter", "Pace", "busy_loop", "by_message", "cpu_ratio", "in_turns", "middle", "ours", "queued_seconds"]

TASKS, QUEUE_TIMES = Path("/proc/self/task"), Path("/proc/thread-self/schedstat")


class Pace(NamedTuple):
    """Messages a second, and CPU time of this process for each in µs, without what a busy cell took."""

    rate: float
    cpu_us: float


class Meter:
    """Measures from when it is made. `is_busy`: the thread that makes it computes, and its CPU time does not count."""

    def __init__(self, *, is_busy: bool = False) -> None:
        self._is_busy = is_busy
        self._start, self._cpu = time.perf_counter(), self._spent()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def pace(self, count: int) -> Pace:
        """The pace of `count` messages since the start."""
        return Pace(count / self.seconds, (self._spent() - self._cpu) / max(count, 1) * 1e6)

    def _spent(self) -> float:
        return time.process_time() - (time.thread_time() if self._is_busy else 0.0)


def ours(connected: Callable[[], Feed], seconds: float, *, is_busy: bool = False) -> Pace:
    """Rows that can be read in a frame, for so long; while this thread computes if `is_busy`."""
    with connected() as feed:
        frame = feed.quotes(*SYMBOLS)
        frame.wait(rows=1)
        begun, meter = frame.received, Meter(is_busy=is_busy)
        if is_busy:
            while meter.seconds < seconds:
                busy_loop(100_000)
        else:
            time.sleep(seconds)
        return meter.pace(frame.received - begun)


def busy_loop(count: int) -> int:
    """A cell that only computes, in Python alone."""
    total = 0
    for number in range(count):
        total += number * number % 7
    return total


@contextmanager
def by_message() -> Iterator[None]:
    """Context manager: connections opened in its block have websockets parse each frame and put it into its queue.

    A task takes the messages out of that queue, and each is decoded by itself.
    """
    with (
        patch.object(FrameConnection, "_cut", ClientConnection.data_received),
        patch.object(FrameConnection, "process_event", ClientConnection.process_event),
        patch.object(FrameConnection, "deliver", _deliver_from_queue),
        patch.object(Intake, "IS_BY_COLUMNS", False),
    ):
        yield


async def _deliver_from_queue(self: FrameConnection, take: Take) -> NoReturn:
    while True:
        self.unread.append(await self.recv(decode=False))
        if not len(self.recv_messages.frames):  # what is queued is taken in one go, and published once
            while self.unread:
                take(self.unread)
                await asyncio.sleep(0)


def in_turns(turns: Mapping[str, Callable[[], Pace]], rounds: int) -> dict[str, list[Pace]]:
    """The paces of each competitor, in interleaved rounds; garbage is collected before each turn."""
    paces: dict[str, list[Pace]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            gc.collect()
            paces[name].append(turn())
    return paces


def middle(paces: list[Pace]) -> Pace:
    """The median of each figure."""
    return Pace(median(pace.rate for pace in paces), median(pace.cpu_us for pace in paces))


def cpu_ratio(cheap: list[Pace], dear: list[Pace]) -> float:
    """How many times as much CPU time the second takes for a message: the median over the rounds."""
    return median(b.cpu_us / a.cpu_us for a, b in zip(cheap, dear, strict=True))


def queued_seconds(*, is_whole: bool = False) -> float:
    """For how long the calling thread has been ready and had no processor; 0.0 where the system does not say.

    `is_whole`: all threads of this process together. Others' work on the machine makes it longer. Waiting for the
    interpreter's lock does not count.
    """
    files = TASKS.glob("*/schedstat") if is_whole else [QUEUE_TIMES]
    total = 0
    for file in files:
        with suppress(OSError):  # the thread has ended, or the system does not say
            total += int(file.read_text().split()[1])
    return total / 1e9

"""A day of market at 600 times its pace, on both brokers at once: does anything grow? `make soak`.

Sessions of 65 minutes last 6.5 s, tokens 12 s (half an hour would be 3 s, and a busy machine takes longer to use one),
the servers cut all connections every twelve seconds, windows turn over hundreds of times, views are painted ten times a
second, and frames and charts are made and given up. The servers are processes of their own: what is measured is the
client alone.

What a feed keeps is limited everywhere, but a limit of ten thousand is not reached in minutes, and a list on its way to
its limit looks like a leak. So windows are short, and so are the limits (`shorten`): all that may be full is full when
the comparison begins. What still grows then has no limit. Prints one table; exits with 1 if a line of it does not hold.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

import comm
from comm.base_comm import BaseComm

from aries_nb.brokers.alor import averages as alor_averages
from aries_nb.live import Feed, connect
from aries_nb.live.account import equity_source
from aries_nb.live.market import bars
from aries_nb.net import lag
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from aries_nb.store import fills, gaps, latency, log, rolling, table
from aries_nb.widgets.charts import candle_buckets
from tests.soak.renewal import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aries_nb.live import LiveFrame

PACE = 600
SESSION_S, WARNING_S, TOKEN_S = 65 * 60 / PACE, 2.0, 12.0
CUT_S = 12.0
FRAME_S, SAMPLE_S, PASSING_S = 0.1, 2.0, 3.0
ROWS, MANY_ROWS = 5, 500  # of the windows
KEPT = 50  # of what a feed keeps besides: lags, orders, fills, gaps; thousands of each otherwise
ORDERS_PER_S = 5.0
SYMBOLS = {"aries": ("AAPL", "MSFT"), "alor": ("SBER", "GAZP")}
MOST_GROWTH = 0.03
LEAST_TURNS = 200
FULL_SHARE = 0.4  # of the time, after which every window is full
ARENAS_AT_MOST = -8  # what glibc's malloc.h calls M_ARENA_MAX
LIBC = ctypes.CDLL("libc.so.6") if platform.libc_ver()[0] == "glibc" else None


class Silent(BaseComm):
    """A browser that accepts everything and stores nothing."""

    def publish_msg(self, *_: object, **__: object) -> None:
        """Drop it."""


class Served:
    """A simulated market in a process of its own, which disconnects its clients on command."""

    def __init__(self, broker: str, rate: float) -> None:
        command = [sys.executable, __file__, "--serve", broker, "--rate", str(rate)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self.feed = connect(broker, url=said["url"], token=said["token"])

    def cut(self) -> None:
        """Cut every connection off."""
        assert self._process.stdin is not None
        self._process.stdin.write("cut\n")
        self._process.stdin.flush()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.close()
        with self._process:
            self._process.stdin.close()


class Sample(NamedTuple):
    """What the process holds."""

    is_live: bool  # or connections may be missing, and threads busy with what comes after a break
    megabytes: float
    threads: int
    descriptors: int
    objects: int  # that the collector tracks: what holds others
    blocks: int  # of memory, small ones: numbers and texts as well


class Held:
    """The objects that a notebook of one broker would have open all day."""

    def __init__(self, feed: Feed, symbols: tuple[str, str]) -> None:
        first, second = symbols
        self.feed = feed
        self.frames = [
            feed.quotes(first, second, rows=ROWS),
            feed.trades(first, second, rows=ROWS),
            feed.quotes(first, window="1s"),
            feed.quotes(first, second, rows=MANY_ROWS),
        ]
        self.book = feed.book(first)
        self.bars = feed.bars(second, "1min", history="1d")
        self.account = account = feed.account(feed.accounts[0])
        self.tables = [account.positions, account.orders, account.fills, account.balances]
        self.views = [
            self.frames[3].chart(),
            self.frames[1].candles("1s"),
            self.book.ladder(),
            self.book.depth_chart(),
            self.bars.chart(),
            account.dashboard(),
        ]
        self.rows_seen = Counter[str]()
        self.frames[3].on_update(self._count)
        feed.on_gap(lambda gap: self.rows_seen.update(gaps=1))

    def _count(self, rows: object) -> None:
        self.rows_seen["calls"] += 1

    def paint(self) -> None:
        """Draw every view, and read what a user would."""
        for view in self.views:
            for each in getattr(view, "views", [view]):
                each.draw()
        for frame in self.frames:
            frame.df.tail(1)
        self.book.df.head(1)

    def pass_by(self) -> None:
        """Ask for a frame, draw it, and drop it."""
        symbols = self.frames[0].symbols
        with self.feed.trades(symbols[0], rows=100) as passing:
            passing.chart().draw()
        self.feed.quotes(symbols[1], rows=100).latest.head(1)
        for each in self.tables:
            each.df.head(1)

    @property
    def turns(self) -> int:
        """How often the small windows have been filled anew."""
        return min(frame.evicted // ROWS for frame in self.frames[:2])


def main() -> int:
    """Run and print the outcome; or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=24 * 3600 / PACE + 36, help="how long (default: %(default)g)")
    parser.add_argument("--rate", type=float, default=800.0, help="messages/s of each broker (default: %(default)g)")
    parser.add_argument("--serve", choices=sorted(SYMBOLS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve(chosen.serve, chosen.rate)
    comm.create_comm = Silent
    if LIBC is not None:
        LIBC.mallopt(ARENAS_AT_MOST, 1)  # or what one thread has freed is no room for another
    shorten()
    lines = run(chosen.seconds, chosen.rate)
    width = max(len(line.what) for line in lines)
    for line in lines:
        verdict = "ok  " if line.is_met else "MISS"
        sys.stdout.write(f"{verdict}  {line.what:<{width}}  {line.measured!s:>28}  {line.wanted}\n")
    return 0 if all(line.is_met for line in lines) else 1


def shorten() -> None:
    """Reduce all limits in the ratio in which the day is shorter."""
    bars.HELD_TRADES = equity_source.MOST_SAMPLES = fills.MOST_FILLS = fills.MOST_ORDERS = KEPT
    latency.MOST_SAMPLES = lag.KEPT_LAGS = gaps.MAX_GAPS = alor_averages._MOST_ORDERS = KEPT
    rolling.FIRST_CAPACITY = 4 * ROWS  # or a slab would be as long as hundreds of such windows
    for kept in (
        log.Log,
        log.ChangeLog,
        table.Table,
        candle_buckets.CandleBuckets,
        *(each for each in vars(fills).values() if is_limited(each)),
    ):
        begin = kept.__init__
        if "limit" in (begin.__kwdefaults__ or {}):
            begin.__kwdefaults__["limit"] = KEPT
        else:
            begin.__defaults__ = (KEPT,)
    usual = Feed.quotes

    def quotes(feed: Feed, *symbols: str, rows: int | None = None, **options: object) -> LiveFrame:
        """Those that accounts are marked at are 20,000 rows."""
        return usual(feed, *symbols, rows=rows and min(rows, MANY_ROWS), **options)

    Feed.quotes = quotes


def is_limited(thing: object) -> bool:
    """Whether this is a class of fills that takes a limit."""
    if not isinstance(thing, type) or thing.__module__ != fills.__name__:
        return False
    return "limit" in (getattr(thing.__init__, "__kwdefaults__", None) or {})


def serve(broker: str, rate: float) -> int:
    """Serve until the input ends; each line of it disconnects the clients."""
    options: SimOptions | AlorOptions
    if broker == "alor":
        options = AlorOptions(rate=rate, token_seconds=TOKEN_S, orders_per_s=ORDERS_PER_S, conflate=False)
        token = options.refresh_token
    else:
        options = SimOptions(rate=rate, session_seconds=SESSION_S, warn_seconds=WARNING_S, orders_per_s=ORDERS_PER_S)
        token = "a token"
    with Simulator(options) as sim:
        sys.stdout.write(json.dumps({"url": sim.url, "token": token}) + "\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            sim.drop_connections()
    return 0


def run(seconds: float, rate: float) -> list[Line]:
    """Run, and compare what was held when everything was full with what is held at the end."""
    with ExitStack() as stack:
        markets = [stack.enter_context(Served(broker, rate)) for broker in SYMBOLS]
        held = [Held(each.feed, SYMBOLS[broker]) for each, broker in zip(markets, SYMBOLS, strict=True)]
        samples = live(seconds, held, lambda: [each.cut() for each in markets])
        stats = [each.feed.stats() for each in held]
        failing = [f"{view!r}: {view.error}" for each in held for view in each.views if getattr(view, "error", None)]
        turns = [each.turns for each in held]
        states = [each.feed.state for each in held]
    full = samples[int(len(samples) * FULL_SHARE) :]
    part = max(len(full) // 4, 1)
    first, last = full[:part], full[-part:]
    before, after = middle(first), middle(last)
    calm, later = ([each for each in some if each.is_live] or some for some in (first, last))
    return [
        Line("seconds, hours of market", f"{seconds:g} {seconds * PACE / 3600:.1f}", "", True),
        Line("messages of Aries, of ALOR", [each.messages for each in stats], "", min(e.messages for e in stats) > 0),
        Line("windows turned over", turns, f"≥ {LEAST_TURNS}", min(turns) >= LEAST_TURNS),
        Line("renewals", [each.renewals for each in stats], "", min(each.renewals for each in stats) > 0),
        Line("reconnects", [each.reconnects for each in stats], "", min(each.reconnects for each in stats) > 0),
        Line("states in the end", states, "", "failed" not in states),
        Line("views that failed", failing, "none", not failing),
        grown("megabytes: full, in the end", before.megabytes, after.megabytes),
        grown("objects", before.objects, after.objects),
        grown("blocks of memory", before.blocks, after.blocks),
        constant("threads", [each.threads for each in calm], [each.threads for each in later]),
        constant("descriptors", [each.descriptors for each in calm], [each.descriptors for each in later]),
    ]


def live(seconds: float, held: Sequence[Held], cut: Callable[[], object]) -> list[Sample]:
    """Paint, make and forget, cut; a sample every two seconds."""
    begun = time.monotonic()
    due = {"sample": SAMPLE_S, "pass": PASSING_S, "cut": CUT_S}
    every = dict(due)
    samples: list[Sample] = []
    while (now := time.monotonic() - begun) < seconds:
        for each in held:
            each.paint()
        happening = {name for name, at in due.items() if now >= at}
        due |= {name: now + every[name] for name in happening}
        if "sample" in happening:
            is_live = all(each.feed.state == "live" for each in held)
            samples.append(sample(is_live=is_live))
        if "pass" in happening:
            for each in held:
                each.pass_by()
        if "cut" in happening:
            cut()
        time.sleep(FRAME_S)
    return samples


def sample(*, is_live: bool) -> Sample:
    """What the process holds now, after garbage collection and the return of free memory."""
    gc.collect()
    if LIBC is not None:
        LIBC.malloc_trim(0)
    with open("/proc/self/smaps_rollup") as lines:
        private = [int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean"))]
    # Counted without a list of them: with that in hand, a tuple that another thread just makes cannot be finished.
    gc.freeze()
    objects = gc.get_freeze_count()
    gc.unfreeze()
    descriptors = len(os.listdir("/proc/self/fd"))
    threads, blocks = threading.active_count(), sys.getallocatedblocks()
    return Sample(is_live, sum(private) / 1024, threads, descriptors, objects, blocks)


def middle(samples: Sequence[Sample]) -> Sample:
    """The median of each."""
    return Sample(*(median(values) for values in zip(*samples, strict=True)))


def grown(what: str, before: float, after: float) -> Line:
    """A line for a quantity that must not grow."""
    growth = after / before - 1
    return Line(what, f"{before:,.0f} {after:,.0f} {growth:+.2%}", f"≤ {MOST_GROWTH:.0%}", growth <= MOST_GROWTH)


def constant(what: str, first: Sequence[int], last: Sequence[int]) -> Line:
    """A line for a quantity that must be the same at the end, except for short-lived objects."""
    return Line(what, f"{min(first)}–{max(first)} {min(last)}–{max(last)}", "no more", min(last) <= min(first))


if __name__ == "__main__":
    sys.exit(main())

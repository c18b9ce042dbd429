"""A cell that computes for a minute and one that sleeps for a minute beside ALOR's trades, then more and more of them.

The broker cuts a client off that leaves 5,000 messages unread. The server is a process of its own, as the broker is.
Prints one table; exits with 1 if a client was cut off or a trade lost at 3,000 messages/s: `make soak`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

from aries_nb.live import Feed
from aries_nb.model import TRADE_COLUMNS
from aries_nb.net import BROKERS, fixed_token
from aries_nb.sim import AlorOptions, Simulator

RATE = 3_000
# Trades a second, and how often each is subscribed: one process does not make more trades, but it sends more frames.
STEPS = ((6_000, 1), (12_000, 1), (12_000, 2), (10_000, 3), (12_000, 3), (12_000, 4), (12_000, 8))
SYMBOLS = ("SBER", "GAZP", "VTBR", "LKOH")
LIMIT = 5_000
PATIENCE_S = 30.0
LOOK_S, SAMPLE_S = 0.05, 0.02


class Outcome(NamedTuple):
    """What came of one cell."""

    cell: str
    rate: int
    got_per_s: float
    cut_off: int
    sent: int
    received: int
    lost: int
    most_unread: int
    lag_ms: float
    most_lag_ms: float
    most_behind_s: float
    shown: str

    @property
    def is_whole(self) -> bool:
        return self.cut_off == self.lost == 0 and self.sent == self.received > 0


class Looking(threading.Thread):
    """What the user would see meanwhile: lag, how far behind, and the word of the state."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(daemon=True)
        self._feed = feed
        self._is_over = threading.Event()
        self.lags: list[float] = []
        self.behind = 0.0
        self.words: list[str] = []

    def run(self) -> None:
        while not self._is_over.wait(LOOK_S):
            now = self._feed.stats()
            if now.lag_ms == now.lag_ms:
                self.lags.append(now.lag_ms)
            self.behind = max(self.behind, now.behind_s)
            word = f"{now.state}, behind" if now.behind_s else now.state
            if word not in self.words:
                self.words.append(word)

    def stop(self) -> None:
        self._is_over.set()
        self.join()


def main() -> int:
    """Run all cells and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a cell lasts (default: %(default)g)")
    parser.add_argument("--step", type=float, default=15.0, help="the same at higher rates (default: %(default)g)")
    parser.add_argument("--serve", type=int, metavar="RATE", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve(chosen.serve)
    outcomes = []
    for cell in (compute, rest):
        outcomes.append(beside(cell, RATE, chosen.seconds))
        tell(outcomes[-1:], has_head=len(outcomes) == 1)
    for rate, copies in STEPS:
        outcomes.append(beside(compute, rate, chosen.step, copies=copies))
        tell(outcomes[-1:], has_head=False)
        if not outcomes[-1].is_whole:
            break
    return 0 if all(outcome.is_whole for outcome in outcomes[:2]) else 1


def beside(cell: Callable[[float], None], rate: int, seconds: float, *, copies: int = 1) -> Outcome:
    """Run a cell beside the trades of a server of its own; what was sent and received is compared when it is over."""
    with (
        server(rate) as (url, ask),
        Feed(BROKERS["alor"], url, fixed_token("a token"), at_close=lambda _: None) as feed,
    ):
        feed.wait_open(15)
        trades = feed.trades(*SYMBOLS, rows=10_000_000)
        more = [
            feed._link.tape("trades", SYMBOLS, TRADE_COLUMNS, options=(("copy", str(number)),), limit=100_000)
            for number in range(1, copies)
        ]
        trades.wait(rows=10, timeout=15)
        looking = Looking(feed)
        looking.start()
        before, begun = feed.stats().records, time.monotonic()
        cell(seconds)
        got = (feed.stats().records - before) / (time.monotonic() - begun)
        ask("close")
        told = settled(ask, feed)
        looking.stop()
        ids = trades.df.groupby("symbol", observed=True)["trade_id"]
        lost = int((ids.max() - ids.min() + 1 - ids.count()).sum())
        return Outcome(
            cell=cell.__name__,
            rate=rate * (1 + len(more)),
            got_per_s=got,
            cut_off=told["closed_slow"],
            sent=told["trades"],
            received=trades.received,
            lost=lost,
            most_unread=told["most_unread"],
            lag_ms=median(looking.lags),
            most_lag_ms=max(looking.lags),
            most_behind_s=looking.behind,
            shown=" → ".join(looking.words),
        )


def compute(seconds: float) -> None:
    """A cell of pure Python, which gives the interpreter away only when it is taken from it."""
    end, turns = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turns += sum(range(1000)) % 7


def rest(seconds: float) -> None:
    """A cell that sleeps."""
    time.sleep(seconds)


def settled(ask: Callable[[str], dict[str, Any]], feed: Feed) -> dict[str, Any]:
    """What the server says, once everything that it sent has arrived; or after a while, if it does not."""
    end = time.monotonic() + PATIENCE_S
    while True:
        told, stats = ask("tell"), feed.stats()
        if (told["sent"] == stats.messages and not told["queued"]) or time.monotonic() > end:
            return told
        time.sleep(0.1)


def tell(outcomes: list[Outcome], *, has_head: bool = True) -> None:
    """Print the outcomes as lines of a table."""
    head = (
        "cell",
        "asked/s",
        "got/s",
        "cut off",
        "sent",
        "received",
        "lost",
        "most unread",
        "lag ms",
        "most",
        "behind s",
    )
    widths = (8, 8, 8, 8, 9, 9, 6, 12, 8, 8, 9)
    if has_head:
        sys.stdout.write("  ".join(map(str.rjust, head, widths)) + "  shown\n")
    for one in outcomes:
        cells = (
            one.cell, one.rate, f"{one.got_per_s:.0f}", one.cut_off, one.sent, one.received, one.lost, one.most_unread,
            f"{one.lag_ms:.1f}", f"{one.most_lag_ms:.0f}", f"{one.most_behind_s:.1f}",
        )  # fmt: skip
        sys.stdout.write("  ".join(map(str.rjust, map(str, cells), widths)) + f"  {one.shown}\n")
    sys.stdout.flush()


# The server's process.


@contextmanager
def server(rate: int) -> Iterator[tuple[str, Callable[[str], dict[str, Any]]]]:
    """A server in a process of its own: its address, and what asks it a question."""
    command = [sys.executable, str(Path(__file__)), "--serve", str(rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    lines, answers = process.stdin, process.stdout

    def ask(what: str) -> dict[str, Any]:
        lines.write(what + "\n")
        lines.flush()
        answer: dict[str, Any] = json.loads(answers.readline())
        return answer

    try:
        yield json.loads(answers.readline())["url"], ask
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def serve(rate: int) -> int:
    """Serve until the input ends; "close" closes the market, "tell" tells what was sent."""
    with Simulator(AlorOptions(rate=float(rate), flush_seconds=0.005)) as sim:
        most = [0]
        is_over = threading.Event()

        def sample() -> None:
            while not is_over.wait(SAMPLE_S):
                most[0] = max(most[0], sim.statistics().queued)

        threading.Thread(target=sample, daemon=True).start()
        say({"url": sim.url})
        for line in sys.stdin:
            if line.strip() == "close":
                sim.set_market("closed")
            now = sim.statistics()
            answer = {
                "sent": now.messages_sent,
                "queued": now.queued,
                "closed_slow": now.closed_slow,
                "most_unread": max(most[0], now.queued),
                "trades": sim._call(lambda: trades_sent(sim)),
            }
            say(answer)
        is_over.set()
    return 0


def say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def trades_sent(sim: Simulator) -> int:
    """How many trades there have been: somebody listened from the first one on."""
    feed: Any = sim._server.feed
    return sum(channel.prints.total for channel in feed._channels.values())


if __name__ == "__main__":
    sys.exit(main())

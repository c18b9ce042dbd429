"""Notebook cells compute and sleep for a minute each while ALOR's trades arrive, then more and more trades.

The cells run in a real Jupyter kernel, the server of `aries-nb sim alor` in another process, as the broker is one; it
cuts a client off that leaves 5,000 messages unread. What it sent is compared with the frame row by row.
Prints one table; exits with 1 if a client was cut off or a trade lost at 3,000 messages/s: `make soak`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

import numpy as np
from jupyter_client.manager import KernelManager

from aries_nb.live import Feed, LiveFrame
from aries_nb.model import TRADE_COLUMNS
from aries_nb.sim import AlorOptions, Simulator
from aries_nb.sim.alor.prints import NUMBERS_EACH, Print, Prints
from tests.kernels import manager_of

ROOT = Path(__file__).parents[2]
RATE = 3_000
# Trades a second, and how often each is subscribed: one process does not make more trades, but it sends more frames.
STEPS = ((6_000, 1), (12_000, 1), (12_000, 2), (10_000, 3), (12_000, 3), (12_000, 4), (12_000, 8))
SYMBOLS = ("SBER", "GAZP", "VTBR", "LKOH")
PATIENCE_S = 30.0
LOOK_S = 0.05

# The notebook. A cell of pure Python gives the interpreter away only when it is taken from it.
OPEN = """
import json, time
import aries_nb as anb
from tests.soak.alor_busy_cell import Looking, subscribed_again, what_came

feed = anb.connect("alor", url={url!r}, token={token!r})
trades = feed.trades(*{symbols!r}, rows=10_000_000)
more = subscribed_again(feed, {copies} - 1)
trades.wait(rows=10, timeout=15)
looking = Looking(feed)
looking.start()
"""
CELLS = {
    "compute": """
end, turns = time.monotonic() + {seconds}, 0
while time.monotonic() < end:
    turns += sum(range(1000)) % 7
""",
    "rest": """
time.sleep({seconds})
""",
}
SEE = """
print(json.dumps(what_came(feed, trades, looking, {sent})))
feed.close()
"""


class Outcome(NamedTuple):
    """Outcome of a cell. `is_same`: each sent trade is a row, unchanged and in order."""

    cell: str
    rate: int
    sent_per_s: float
    cut_off: int
    sent: int
    received: int
    is_same: bool
    most_unread: int
    lag_ms: float
    most_lag_ms: float
    most_behind_s: float
    shown: str

    @property
    def is_whole(self) -> bool:
        return self.cut_off == 0 and self.is_same and self.sent == self.received > 0


def main() -> int:
    """Run all cells and print the outcome of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a cell lasts (default: %(default)g)")
    parser.add_argument("--step", type=float, default=15.0, help="the same at higher rates (default: %(default)g)")
    parser.add_argument("--steps", type=int, default=len(STEPS), help="how many of them at most (default: %(default)d)")
    parser.add_argument("--serve", type=int, metavar="RATE", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve(chosen.serve)
    outcomes = []
    for cell in CELLS:
        outcomes.append(run_during_trades([cell], RATE, chosen.seconds))
        show(outcomes[-1], has_head=len(outcomes) == 1)
    for rate, copies in STEPS[: chosen.steps]:
        outcomes.append(run_during_trades(["compute"], rate, chosen.step, copies=copies))
        show(outcomes[-1], has_head=False)
        if not outcomes[-1].is_whole:
            break
    return 0 if all(outcome.is_whole for outcome in outcomes[: len(CELLS)]) else 1


def run_during_trades(cells: Sequence[str], rate: int, seconds: float, *, copies: int = 1) -> Outcome:
    """Run cells one after the other while trades of their own server arrive.

    Sent and received trades are compared at the end.
    """
    with notebook() as run, server(rate) as (url, token, ask):
        run(OPEN.format(url=url, token=token, symbols=SYMBOLS, copies=copies))
        before, begun = ask("report"), time.monotonic()
        for cell in cells:
            run(CELLS[cell].format(seconds=seconds), seconds)
        report, elapsed = ask("report"), time.monotonic() - begun
        end = ask("close")
        seen = json.loads(run(SEE.format(sent=end["trades"])))
        return Outcome(
            cell=", ".join(cells),
            rate=rate * copies,
            sent_per_s=(report["sent"] - report["queued"] - before["sent"] + before["queued"]) / elapsed,
            cut_off=ask("report")["closed_slow"],
            sent=end["trades"],
            received=seen["received"],
            is_same=seen["digests"] == end["digests"],
            most_unread=end["most_unread"],
            lag_ms=seen["lag_ms"],
            most_lag_ms=seen["most_lag_ms"],
            most_behind_s=seen["most_behind_s"],
            shown=seen["shown"],
        )


def show(one: Outcome, *, has_head: bool) -> None:
    """Print an outcome as a line of the table."""
    head = (
        "cell", "asked/s", "sent/s", "cut off", "sent", "received", "the same", "most unread", "lag ms", "most",
        "behind s",
    )  # fmt: skip
    widths = (8, 8, 8, 8, 9, 9, 9, 12, 8, 8, 9)
    cells = (
        one.cell, one.rate, f"{one.sent_per_s:.0f}", one.cut_off, one.sent, one.received,
        "yes" if one.is_same else "NO", one.most_unread, f"{one.lag_ms:.1f}", f"{one.most_lag_ms:.0f}",
        f"{one.most_behind_s:.1f}",
    )  # fmt: skip
    if has_head:
        sys.stdout.write("  ".join(map(str.rjust, head, widths)) + "  shown, from which second on\n")
    sys.stdout.write("  ".join(map(str.rjust, map(str, cells), widths)) + f"  {one.shown}\n")
    sys.stdout.flush()


# In the kernel.


@contextmanager
def notebook() -> Iterator[Callable[..., str]]:
    """A kernel of this Python; yields a function that runs a cell and returns its printed text."""
    manager = manager_of(KernelManager)
    with tempfile.TemporaryDirectory() as folder:
        manager.start_kernel(cwd=str(ROOT), env=os.environ | {"IPYTHONDIR": folder, "PYTHONPATH": str(ROOT)})
        client = manager.client()
        client.start_channels()
        is_ready: list[bool] = []

        def run(code: str, seconds: float = 0.0) -> str:
            if not is_ready:  # what is started meanwhile need not wait for it
                client.wait_for_ready(timeout=PATIENCE_S)
                is_ready.append(True)
            texts: list[str] = []

            def hook(message: dict[str, Any]) -> None:
                texts.append(message["content"].get("text", "") if message["msg_type"] == "stream" else "")

            reply = client.execute_interactive(code, output_hook=hook, timeout=seconds + 2 * PATIENCE_S)
            if reply["content"]["status"] != "ok":
                raise RuntimeError("\n".join(reply["content"]["traceback"]))
            return "".join(texts)

        try:
            yield run
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


class Looking(threading.Thread):
    """What the user would see meanwhile: lag, seconds behind, and the state."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(daemon=True)
        self._feed = feed
        self._is_over = threading.Event()
        self.lags: list[float] = []
        self.behind = 0.0
        self.words: list[tuple[str, float]] = []

    def run(self) -> None:
        begun = time.monotonic()
        while not self._is_over.wait(LOOK_S):
            now = self._feed.stats()
            if now.lag_ms == now.lag_ms:
                self.lags.append(now.lag_ms)
            self.behind = max(self.behind, now.behind_s)
            word = f"{now.state}, behind" if now.behind_s else now.state
            if not self.words or word != self.words[-1][0]:
                self.words.append((word, time.monotonic() - begun))

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    @property
    def shown(self) -> str:
        """The first text shown, and since when."""
        first = " → ".join(f"{word} {since:.1f}" for word, since in self.words[:6])
        return f"{first} → …" if len(self.words) > 6 else first


def subscribed_again(feed: Feed, times: int) -> list[object]:
    """Subscribe to the same trades so many times more, each by a subscription of its own."""
    return [
        feed._link.tape("trades", SYMBOLS, TRADE_COLUMNS, options=(("copy", str(number)),), limit=100_000)
        for number in range(times)
    ]


def what_came(feed: Feed, trades: LiveFrame, looking: Looking, sent: int) -> dict[str, Any]:
    """The rows of the frame once everything that was sent has arrived, or after a time limit."""
    end = time.monotonic() + PATIENCE_S
    while trades.received < sent and time.monotonic() < end:
        time.sleep(0.05)
    looking.stop()
    frame = trades.df
    return {
        "received": trades.received,
        "digests": {
            instrument_of(rows["trade_id"].iloc[0]): digest(
                rows["trade_id"], rows.index.as_unit("ns").asi8, rows["price"], rows["size"]
            )
            for _, rows in frame.groupby("symbol")
        },
        "lag_ms": median(looking.lags),
        "most_lag_ms": max(looking.lags),
        "most_behind_s": looking.behind,
        "shown": looking.shown,
    }


def instrument_of(number: int) -> str:
    """The common part of the numbers of one instrument's trades."""
    return str(number // NUMBERS_EACH)


def digest(numbers: Any, ts_ns: Any, prices: Any, sizes: Any) -> str:
    """A hash of trades and their order; times count in ms."""
    columns = (numbers, np.asarray(ts_ns, "int64") // 10**6)
    arrays = [np.asarray(each, "int64") for each in columns] + [np.asarray(each, "float64") for each in (prices, sizes)]
    return hashlib.sha256(b"".join(each.tobytes() for each in arrays)).hexdigest()


# The server's process.


@contextmanager
def server(rate: int) -> Iterator[tuple[str, str, Callable[[str], dict[str, Any]]]]:
    """A server in a process of its own: its address, a refresh token, and a function that queries it."""
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
        served = json.loads(answers.readline())
        yield served["url"], served["refresh_token"], ask
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


class Books(NamedTuple):
    """Record of the server: every trade by its instrument, and the most messages that waited for a client."""

    trades: dict[str, list[Print]]
    most_unread: list[int]


def serve(rate: int) -> int:
    """Serve until the input ends; "report" prints what was sent, "close" closes the market first."""
    options = AlorOptions(rate=float(rate))
    with Simulator(options) as sim:
        books = Books({}, [0])
        sim._call(lambda: keep(sim, books))
        say({"url": sim.url, "refresh_token": options.refresh_token})
        for line in sys.stdin:
            if line.strip() == "close":
                sim.set_market("closed")
            now = sim.statistics()
            answer: dict[str, Any] = {"sent": now.messages_sent, "queued": now.queued, "closed_slow": now.closed_slow}
            if line.strip() == "close":
                columns = {instrument: list(zip(*each, strict=True)) for instrument, each in books.trades.items()}
                answer["trades"] = sum(map(len, books.trades.values()))
                answer["digests"] = {instrument: digest(*each[:4]) for instrument, each in columns.items()}
                answer["most_unread"] = books.most_unread[0]
            say(answer)
    return 0


def keep(sim: Simulator, books: Books) -> None:
    """Record every trade, and in every turn of the server the number of waiting messages, as its limit counts them."""
    house: Any = sim._server
    add, flush = Prints.add, house.feed.flush

    def noted(prints: Prints, ts_ns: int, price: float, size: float, side: str) -> Print:
        made = add(prints, ts_ns, price, size, side)
        books.trades.setdefault(instrument_of(made.number), []).append(made)
        return made

    def looked(now: float) -> None:
        flush(now)
        books.most_unread[0] = max(books.most_unread[0], *(len(each.session.outbox) for each in house.clients), 0)

    Prints.add = noted  # type: ignore[method-assign]
    house.feed.flush = looked


def say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

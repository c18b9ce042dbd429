"""Readers of a room, many in each of some processes, while a publisher sends quotes: has each every row, and how soon?

A NATS server, a simulated market, this process as the publisher, and the processes of the readers are on this machine.
The market stops at the end. Then each reader's rows are compared with the publisher's by a digest of all columns. The
delay of a row is from the publisher's receipt until readers see it, by the clock of this machine. Prints one line of
JSON; exits with 1 if a row is missing or differs, or if the 95th percentile of the delays is above `--most-ms`. Each
frame has room for all rows: at 5,000 a second pass fewer `--seconds`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

import numpy as np

from aries_nb.live import Feed
from aries_nb.live.connect import connect
from aries_nb.live.rooms.entering import entered
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.rooms.trial import TrialServer

if TYPE_CHECKING:
    from aries_nb.live import LiveFrame

ROOT = Path(__file__).parents[2]
SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN")
FIELDS = ("bid_price", "ask_price", "bid_size", "ask_size")
OPEN_SECONDS = 120.0
LAST_SECONDS = 60.0  # for the last rows to come
PERCENTILES = (50, 95, 99, 100)


class Reader:
    """A feed of a room with one frame, and the times at which its rows became visible."""

    def __init__(self, address: str, token: str, rows: int) -> None:
        broker, pool = entered(address, token, OPEN_SECONDS)
        self.feed = Feed(broker, broker.url, fixed_token("none"), at_close=lambda _: None, room=pool)
        self.quotes = self.feed.quotes(*SYMBOLS, rows=rows, fields=FIELDS)
        self.seen: list[tuple[int, int]] = []  # number of rows, when
        self.kept = self.quotes.received  # had come before it was asked for, or with it
        store = self.quotes._store
        store.watch(lambda: self.seen.append((store.version, time.time_ns())))

    def delays_ms(self) -> np.ndarray:
        """The delays of the rows that came live."""
        received = self.quotes._store.arrays_since(0)[0]["received"]
        counts, times = (np.array(each, "int64") for each in zip(*self.seen, strict=True))
        later = np.arange(self.kept, len(received))
        at = np.searchsorted(counts, later, side="right")
        return (times[np.minimum(at, len(times) - 1)] / 1_000 - received[later]) / 1_000


def digest(quotes: LiveFrame) -> str:
    """A digest of all rows, in the order of their arrival, with arrival numbers and both times."""
    found = hashlib.blake2b(digest_size=16)
    arrays, _ = quotes._store.arrays_since(0)
    for name in sorted(arrays):
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def read(options: argparse.Namespace) -> None:
    """Be a process of readers: say when they are open, end once they have as many rows as standard input says."""
    readers = [Reader(options.address, os.environ["ROOM"], options.rows) for _ in range(options.readers)]
    print(json.dumps({"rows": [each.kept for each in readers]}), flush=True)  # noqa: T201 - to the process that asks
    count = int(sys.stdin.readline())
    until = time.monotonic() + LAST_SECONDS
    while any(each.quotes.received < count for each in readers) and time.monotonic() < until:
        time.sleep(0.05)
    cpu = os.times()
    said = {
        "rows": [each.quotes.received for each in readers],
        "digests": [digest(each.quotes) for each in readers],
        "gaps": sum(len(each.feed.gaps.df) for each in readers),
        "cpu_s": cpu.user + cpu.system,
    }
    print(json.dumps(said), flush=True)  # noqa: T201 - to the process that asks
    sys.stdout.buffer.write(np.concatenate([each.delays_ms() for each in readers]).astype("float32").tobytes())
    sys.stdout.buffer.flush()


def started(address: str, token: str, *, readers: int, rows: int) -> subprocess.Popen[bytes]:
    arguments = ["--address", address, "--readers", str(readers), "--rows", str(rows)]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"ROOM": token, "PYTHONPATH": str(ROOT)},
    )


def market(rate: int, seed: int) -> tuple[subprocess.Popen[bytes], str]:
    """A simulated market of Aries in a process of its own, which can be stopped."""
    arguments = ["sim", "aries", "--rate", str(rate), "--seed", str(seed), "--token", "a token"]
    process = subprocess.Popen([sys.executable, "-m", "aries_nb", *arguments], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def measured(options: argparse.Namespace) -> dict[str, Any]:
    rows = int(1.2 * options.rate * (options.seconds + OPEN_SECONDS))
    with ExitStack() as steps:
        server = steps.enter_context(TrialServer("room42", port=0))
        sim, url = market(options.rate, options.seed)
        steps.callback(sim.wait)
        steps.callback(sim.kill)
        feed = steps.enter_context(connect("aries", url=url, token="a token"))
        quotes = feed.quotes(*SYMBOLS, rows=rows, fields=FIELDS).wait(rows=100)
        serving = feed.serve(server.url, token=server.publisher)
        each = options.readers // options.processes
        processes = [
            started(server.url, server.reader.reveal(), readers=each, rows=rows) for _ in range(options.processes)
        ]
        for process in processes:
            steps.callback(process.wait)
            steps.callback(process.kill)
        for process in processes:
            assert process.stdout is not None
            json.loads(process.stdout.readline())
        before, began = quotes.received, time.monotonic()
        time.sleep(options.seconds)
        sent, lasted = quotes.received - before, time.monotonic() - began
        sim.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        count, expected = quotes.received, digest(quotes)
        answers, delays = [], []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{count}\n".encode())
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            answers.append(json.loads(process.stdout.readline()))
            delays.append(np.frombuffer(process.stdout.read(), "float32"))
        cpu = os.times()
        found = [pair for answer in answers for pair in zip(answer["rows"], answer["digests"], strict=True)]
        percentiles = np.percentile(np.concatenate(delays), PERCENTILES).round(1).tolist()
        return {
            "readers": len(found),
            "processes": options.processes,
            "quotes_per_s": round(sent / lasted),
            "rows": count,
            "equal": sum(pair == (count, expected) for pair in found),
            "gaps": sum(answer["gaps"] for answer in answers),
            "delay_ms": dict(zip((f"p{each}" for each in PERCENTILES), percentiles, strict=True)),
            "publisher_cpu_s": round(cpu.user + cpu.system, 1),
            "readers_cpu_s": round(sum(answer["cpu_s"] for answer in answers), 1),
            "bytes_published": serving._publisher.octets,
            "seconds": round(lasted, 1),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=100, help="of all processes together")
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--rate", type=int, default=1_000, help="quotes a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-ms", type=float, default=100.0, help="of the 95th percentile of the delays")
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.address:
        read(options)
        return 0
    result = measured(options)
    print(json.dumps(result))  # noqa: T201 - what it is run for
    is_right = result["equal"] == result["readers"] == options.readers and not result["gaps"]
    return int(not is_right or result["delay_ms"]["p95"] > options.most_ms)


if __name__ == "__main__":
    sys.exit(main())

"""A replayed recording in a room: feeds in processes, and notebooks in Chromium, follow random moves of its clock.

After each pause, seek or change of speed all must show the publisher's instant within 100 ms of real time, and while it
stands the same rows; the boards in the notebooks must then show the same text. Prints one line of JSON; exits with 1
if one of them does not, within five seconds of a move. `--picture FILE.png` saves the notebooks side by side.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

import numpy as np
from playwright.sync_api import sync_playwright

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.rooms.entering import entered
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.rooms.trial import TrialServer
from tests.browser.lab import chromium, failures, open_notebook, run_all, serve
from tests.views.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
SYMBOLS = "AAPL", "MSFT"
SECONDS = 600  # of the recording
CLOSE_MS = 100.0
SETTLED_SECONDS = 5.0
PAINTED_SECONDS = 3.0
OPEN_SECONDS = 120.0
NOTEBOOK = (
    """
import aries_nb as anb
from tests.soak.room_clock import answer
room = anb.connect({url!r})
quotes = room.quotes("AAPL", "MSFT", rows=200_000)
answer(room, quotes, {port})
quotes
""",
    'quotes.chart("bid_price", "ask_price", symbols=["AAPL"], engine="light")',
)
MARKS = re.compile(r"[▲▼\s]|\d+ s\b")  # of the direction and the age, which need not change at one moment
BOARD = "() => [...document.querySelectorAll('.jp-OutputArea-output table')].map(each => each.innerText).join('|')"


def answer(room: Feed, quotes: anb.LiveFrame, port: int) -> None:
    """Answer each line that comes to a port of this machine with what a feed shows now."""
    line = socket.create_connection(("127.0.0.1", port))

    def answers() -> None:
        with line, line.makefile("rw") as text:
            for _ in text:
                shown = {"now": room.clock.now_ns(), "at": time.time_ns(), "rows": len(quotes.df)}
                text.write(json.dumps(shown) + "\n")
                text.flush()

    threading.Thread(target=answers, daemon=True).start()


def read(options: argparse.Namespace) -> None:
    """Be a process of readers, until standard input ends."""
    for _ in range(options.feeds):
        broker, pool = entered(options.address, os.environ["ROOM"], OPEN_SECONDS)
        room = Feed(broker, broker.url, fixed_token("none"), at_close=lambda _: None, room=pool)
        answer(room, room.quotes(*SYMBOLS, rows=200_000), options.port)
    sys.stdin.read()


def recorded(folder: Path) -> Path:
    """A recording of ten minutes of a simulated market."""
    path = folder / "day.anb"
    with anb.connect("sim", seed=11, rate=20) as feed:
        recording = feed.record(path)
        quotes = feed.quotes(*SYMBOLS)
        feed.clock.pause()
        for _ in range(SECONDS // 60):
            feed.clock.step("60s")
        quotes.wait(rows=100)
        recording.close()
    return path


class Readers:
    """The lines to all readers."""

    def __init__(self, count: int, listener: socket.socket) -> None:
        listener.settimeout(OPEN_SECONDS)
        self._texts = [listener.accept()[0].makefile("rw") for _ in range(count)]

    def shown(self) -> list[dict[str, int]]:
        """What each shows now."""
        for text in self._texts:
            text.write("?\n")
            text.flush()
        return [json.loads(text.readline()) for text in self._texts]


def moved(clock: Any, chance: random.Random) -> str:
    """Move the publisher's clock by chance; return how."""
    move = chance.choice(["pause", "play", "speed", "seek"])
    if move == "pause":
        clock.pause()
    elif move == "play":
        clock.play(speed=1)
    elif move == "speed":
        clock.play(speed=chance.choice([2, 5, 10]))
    else:
        clock.seek(clock.start + chance.uniform(0.05, 0.9) * (clock.end - clock.start))
    return move


def apart_ms(past: Feed, readers: Readers) -> tuple[float, set[int]]:
    """How far a reader is from the publisher's instant at most, in ms of real time, and the numbers of rows."""
    clock = past.clock
    pace = clock.speed if clock.is_playing else 0.0
    now, at = clock.now_ns(), time.time_ns()
    shown = readers.shown()
    apart = [abs(each["now"] - now - pace * (each["at"] - at)) / max(pace, 1.0) / 1e6 for each in shown]
    return max(apart), {each["rows"] for each in shown}


def settled_ms(past: Feed, quotes: anb.LiveFrame, readers: Readers) -> tuple[float, float]:
    """How long it took until all showed the same, in ms, and how far apart they were then; NaN where they never did."""
    began = time.monotonic()
    while time.monotonic() - began < SETTLED_SECONDS:
        apart, rows = apart_ms(past, readers)
        if apart <= CLOSE_MS and (past.clock.is_playing or rows == {len(quotes.df)}):
            return (time.monotonic() - began) * 1_000, apart
        time.sleep(0.01)
    return float("nan"), apart


@contextmanager
def notebooks(count: int, server: TrialServer, port: int) -> Iterator[list[Page]]:
    """Pages of JupyterLab, each with a notebook that reads the room."""
    with ExitStack() as steps:
        if not count:
            yield []
            return
        home = Path(steps.enter_context(tempfile.TemporaryDirectory()))
        (home / "empty").mkdir()
        os.environ |= {"PYTHONPATH": str(ROOT), "ARIES_NB_ROOM_TOKEN": server.reader.reveal()}
        lab = steps.enter_context(serve(home / "empty", home / "lab"))
        stage = Stage(lab, steps.enter_context(chromium(steps.enter_context(sync_playwright()))), is_quick=False)
        pages = [stage.browser.new_context(viewport={"width": 700, "height": 900}).new_page() for _ in range(count)]
        cells = [each.format(url=server.url, port=port) for each in NOTEBOOK]
        for number, page in enumerate(pages):
            open_notebook(page, lab, stage.write(f"reader_{number}.ipynb", cells))
            page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
            run_all(page, timeout=120)
            assert not failures(page), failures(page)
        yield pages
        lab.shut_down_kernels()


def are_equal(pages: Sequence[Page]) -> bool:
    """Whether the boards in all pages come to show the same."""
    until = time.monotonic() + PAINTED_SECONDS
    while time.monotonic() < until:
        if len({MARKS.sub("", page.evaluate(BOARD)) for page in pages}) == 1:
            return True
        pages[0].wait_for_timeout(50)
    return False


def save(pages: Sequence[Page], path: Path) -> None:
    """Save pictures of the pages side by side."""
    pictures = [base64.b64encode(page.screenshot()).decode() for page in pages]
    beside = pages[0].context.browser.new_page(viewport={"width": 700 * len(pages), "height": 900})  # type: ignore[union-attr]
    shown = "".join(f'<img style="width:{100 / len(pages)}%" src="data:image/png;base64,{each}">' for each in pictures)
    beside.set_content(f'<body style="margin:0;display:flex">{shown}</body>')
    beside.screenshot(path=path)
    beside.close()


def measured(options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as steps:
        folder = Path(steps.enter_context(tempfile.TemporaryDirectory()))
        server = anb.local_room("day")
        steps.callback(server.close)
        past = steps.enter_context(anb.replay(recorded(folder), speed=1))
        quotes = past.quotes(*SYMBOLS, rows=200_000)
        past.serve(server.url, token=server.publisher)
        listener = steps.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        each = options.feeds // options.processes
        arguments = ["--address", server.url, "--feeds", str(each), "--port", str(port)]
        environment = os.environ | {"ROOM": server.reader.reveal(), "PYTHONPATH": str(ROOT)}
        for _ in range(options.processes):
            process = subprocess.Popen(
                [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, cwd=ROOT, env=environment
            )
            steps.callback(process.wait)
            steps.callback(process.kill)
        pages = steps.enter_context(notebooks(options.notebooks, server, port))
        readers = Readers(each * options.processes + options.notebooks, listener)
        chance = random.Random(options.seed)
        found, moves = [], []
        texts_equal = texts = 0
        for _ in range(options.moves):
            moves.append(moved(past.clock, chance))
            found.append(settled_ms(past, quotes, readers))
            if pages and not past.clock.is_playing:
                texts += 1
                texts_equal += are_equal(pages)
            time.sleep(chance.uniform(0.1, 0.6))
        past.clock.pause()
        if pages and options.picture:
            pages[0].wait_for_timeout(1_500)
            save(pages, options.picture)
        settled = np.array([took for took, _ in found])
        return {
            "readers": len(readers.shown()),
            "moves": {move: moves.count(move) for move in sorted({*moves})},
            "agreed": int(np.isfinite(settled).sum()),
            "settled_ms": {f"p{p}": round(float(np.nanpercentile(settled, p)), 1) for p in (50, 95, 100)},
            "apart_ms": round(max(apart for _, apart in found), 1),
            "boards_equal": f"{texts_equal} of {texts}",
            "is_right": bool(np.isfinite(settled).all()) and texts_equal == texts,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feeds", type=int, default=20, help="of all processes together")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--notebooks", type=int, default=3)
    parser.add_argument("--moves", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.address:
        read(options)
        return 0
    result = measured(options)
    print(json.dumps(result))  # noqa: T201 - what it is run for
    return int(not result["is_right"])


if __name__ == "__main__":
    sys.exit(main())

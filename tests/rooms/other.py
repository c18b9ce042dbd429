"""A publisher or a reader of a room in a process of its own, which a test asks for its frames and can kill."""

from __future__ import annotations

import base64
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.live.rooms import serving
from aries_nb.net.auth.tokens import fixed_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

ROOT = Path(__file__).parents[2]
MODULE = "tests.rooms.other"
OPEN_SECONDS = 60.0
SERVE, READ = "serve", "read"


class Shown:
    """A frame or book of another process: `df` is its DataFrame now, `gaps.df` that of its gaps."""

    def __init__(self, process: OtherProcess, name: str) -> None:
        self._process, self._name = process, name

    @property
    def df(self) -> pd.DataFrame:
        return self._process.asked(self._name)

    @property
    def gaps(self) -> SimpleNamespace:
        return SimpleNamespace(df=self._process.asked(f"gaps of {self._name}"))


class OtherProcess:
    """A process with `quotes` of symbols, and `trades` and the `book` of the first: those of a feed, or of a room."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.quotes, self.trades, self.book = (Shown(self, name) for name in ("quotes", "trades", "book"))

    @classmethod
    def serving(cls, broker: str, url: str, address: str, symbols: Sequence[str]) -> OtherProcess:
        """A process with a feed of its own from the server `url` of a broker, published to a room."""
        return cls(SERVE, address, broker, url, *symbols)

    @classmethod
    def reading(cls, address: str, symbols: Sequence[str]) -> OtherProcess:
        """A process that reads a room."""
        return cls(READ, address, *symbols)

    def asked(self, what: str) -> pd.DataFrame:
        """What the process shows now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        found: pd.DataFrame = pickle.loads(base64.b64decode(self._process.stdout.readline()))
        return found

    def kill(self) -> None:
        """Kill it, as `kill -9` does; idempotent."""
        self._process.kill()
        self._process.communicate()


def main(role: str, address: str, *more: str) -> None:
    """Be such a process, until standard input ends."""
    if role == SERVE:
        broker, url, *symbols = more
        feed = Feed(BROKERS[broker], url, fixed_token("a token"), at_close=lambda closed: None)
        feed.wait_open(OPEN_SECONDS)
    else:
        symbols = list(more)
        feed = anb.connect(address, timeout=OPEN_SECONDS)
    shown = {"quotes": feed.quotes(*symbols), "trades": feed.trades(symbols[0]), "book": feed.book(symbols[0])}
    shown["quotes"].wait(rows=5, timeout=OPEN_SECONDS)
    if role == SERVE:
        serving.OPEN_SECONDS = OPEN_SECONDS
        feed.serve(address)
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    for line in sys.stdin:
        name = line.strip()
        each = shown[name.removeprefix("gaps of ")]
        df = each.gaps.df if name.startswith("gaps") else each.df
        print(base64.b64encode(pickle.dumps(df)).decode(), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A client in a process of its own: takes commands on its standard input and prints results, one JSON object a line.

Its peak of memory is measured as that of the process, so nothing else may run here.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import aries_nb as anb
from aries_nb.net import http_client, session
from aries_nb.net.backoff import BackoffRule

STATUS = Path("/proc/self/status")
# It expires in 2100, and its signature is not checked.
ALOR_TOKEN = "eyJhbGciOiJub25lIn0.eyJwb3J0Zm9saW9zIjoiRDEiLCJleHAiOjQxMDI0NDQ4MDB9.c2ln"


class Victim:
    """One feed at a time, with the objects that a user would have open."""

    def __init__(self) -> None:
        self.feed: Any = None
        self.open: list[Any] = []
        self.error = ""
        self.start_mb = 0.0
        self.originals: dict[str, object] = {}

    def connect(self, url: str, broker: str, knobs: dict[str, float]) -> dict[str, Any]:
        """Open a feed, frames, a book and tables. Returns what was raised as text."""
        self.close()
        for name, value in knobs.items():
            module, _, constant = name.rpartition(".")
            self.originals[name] = getattr(import_module(module), constant)
            setattr(import_module(module), constant, value)
        self.start()
        self.error = ""
        try:
            token = ALOR_TOKEN if broker == "alor" else "a-token-called-hunter2"
            self.feed = feed = anb.connect(broker, url=url, token=token, timeout=60)
            symbol, account = ("SBER", "D1") if broker == "alor" else ("AAPL", "ACC-1")
            mine = feed.account(account)
            self.open = [feed.quotes(symbol), feed.trades(symbol), feed.book(symbol), mine.orders, mine.positions]
            self.start()
        except anb.FeedError as error:
            self.error = f"{type(error).__name__}: {error}"
        return self.look()

    def start(self) -> None:
        """Start measuring: the cost of an attack is the peak above this."""
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        self.start_mb = in_mb("VmRSS")

    def ask(self) -> dict[str, Any]:
        """Send a request over HTTP."""
        try:
            accounts = self.feed.accounts
        except anb.FeedError as error:
            self.error = f"{type(error).__name__}: {error}"
        else:
            self.error = f"accounts: {accounts}"
        return self.look()

    def look(self) -> dict[str, Any]:
        """What the user sees, and the memory, in MB."""
        seen: dict[str, Any] = {"error": self.error, "more_mb": in_mb("VmHWM") - self.start_mb}
        if self.feed is not None:
            stats = self.feed.stats()
            seen |= {
                "state": self.feed.state,
                "last_error": stats.last_error,
                "unreadable": stats.unreadable,
                "reconnects": stats.reconnects,
                "excerpt": next(iter(self.feed.unreadable[-1:]), ("", "")),
                "messages": stats.messages,
                "gaps": list(self.feed.gaps.df["reason"]),
                "status": len(self.feed.market_status),
            }
        return seen

    def close(self) -> dict[str, Any]:
        """Close the feed and restore the constants."""
        if self.feed is not None:
            self.feed.close()
        for name, value in self.originals.items():
            module, _, constant = name.rpartition(".")
            setattr(import_module(module), constant, value)
        self.feed, self.open, self.originals = None, [], {}
        return {}


def in_mb(name: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    logging.getLogger("aries_nb").setLevel(logging.CRITICAL)
    http_client.ATTEMPTS = 2
    http_client.RULE = BackoffRule(first=0.01, cap=0.02)
    vars(session)["BackoffRule"] = lambda: BackoffRule(first=0.05, cap=0.2, cap_after_live=0.2)
    victim = Victim()
    for line in sys.stdin:
        order = json.loads(line)
        done = getattr(victim, order.pop("do"))(**order)
        sys.stdout.write(json.dumps(done) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""ALOR tokens that live 30 s, for five minutes, while streams are added and closed: `make soak`.

Prints one table; exits with 1 if a line of it does not hold.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

from aries_nb.live import connect
from aries_nb.sim import AlorOptions, Simulator
from tests.soak.renewal import Line

if TYPE_CHECKING:
    from aries_nb.live import Feed, LiveFrame

LIFE_S = 30.0
FRESH_SHARE = 0.9  # of its life, for which a token is given again
PAUSE_S = 1.0
MOST_HELD = 20
LOOK_S = 0.05


def main() -> int:
    """Run, and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long (default: %(default)g)")
    lines = run(parser.parse_args().seconds, life=LIFE_S, pause=PAUSE_S)
    width = max(len(line.what) for line in lines)
    for line in lines:
        verdict = "ok  " if line.is_met else "MISS"
        sys.stdout.write(f"{verdict}  {line.what:<{width}}  {line.measured!s:>28}  {line.wanted}\n")
    return 0 if all(line.is_met for line in lines) else 1


def run(seconds: float, *, life: float, pause: float) -> list[Line]:
    """Use a feed for so long, with tokens of this life (s) and a new stream each `pause` (s)."""
    options = AlorOptions(token="none but those issued", token_seconds=life, rate=500)
    with Simulator(options) as sim, connect("alor", url=sim.url, token=options.refresh_token) as feed:
        account = feed.account(feed.accounts[0])
        orders, prints = account.orders, feed.trades("SBER", rows=1_000_000)
        held, wrong, states = use(feed, seconds, pause)
        last_error, statistics, stats = feed.stats().last_error, sim.statistics(), feed.stats()
        is_current = orders.is_live and not orders.is_stale
        silent = [frame for frame in held if not frame.is_live]
        steps = prints.df["trade_id"].diff().dropna()
    needed = math.ceil(seconds / (FRESH_SHARE * (life - 1.0))) + 1  # the server cuts the end off to a whole second
    return [
        Line(f"seconds with tokens of {life:g} s", f"{seconds:g}", "", True),
        Line("streams asked for and given up", statistics.subscribe_requests, "many", len(held) > 0),
        Line("tokens issued", statistics.auths, f"≤ {needed}", 1 < statistics.auths <= needed),
        Line("renewals of both connections", stats.renewals, "", stats.renewals >= statistics.auths - 1),
        Line("requests refused with 401", statistics.refused_tokens, "0", statistics.refused_tokens == 0),
        Line("errors that a call raised", wrong, "none", not wrong),
        Line("last error", last_error, "none", last_error == ""),
        Line("states seen, every 50 ms", dict(states), "live alone", set(states) == {"live"}),
        Line("gaps, reconnects", f"{stats.gaps} {stats.reconnects}", "0 0", stats.gaps == stats.reconnects == 0),
        Line("frames that do not run", len(silent), "0", not silent),
        Line("trades, and those missed or doubled", f"{len(steps)} {int((steps != 1).sum())}", "0", (steps == 1).all()),
        Line("orders are current", is_current, "True", is_current),
    ]


def use(feed: Feed, seconds: float, pause: float) -> tuple[list[LiveFrame], list[str], Counter[str]]:
    """Subscribe to one stream after the other and close the oldest; returns the open frames, errors and states."""
    held: list[LiveFrame] = []
    wrong: list[str] = []
    states: Counter[str] = Counter()
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        try:
            held.append((feed.quotes if number % 2 else feed.trades)(f"SIM{number:05d}", rows=10))
        except Exception as error:  # whatever it is, the user would have met it
            wrong.append(repr(error))
        if len(held) > MOST_HELD:
            held.pop(0).close()
        until = min(time.monotonic() + pause, end)
        while time.monotonic() < until:
            states[feed.state] += 1
            time.sleep(LOOK_S)
    return held, wrong, states


if __name__ == "__main__":
    sys.exit(main())

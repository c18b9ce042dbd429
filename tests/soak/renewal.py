"""Sessions of 10 s for two minutes on all three endpoints, then a token source that fails and recovers: `make soak`.

Every received row is compared with what the simulator has sent. Prints one table; exits with 1 if a line
of it does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

from aries_nb.brokers import BROKERS
from aries_nb.errors import TokenError
from aries_nb.live import Feed
from aries_nb.model import Secret
from aries_nb.sim import SimOptions, Simulator
from tests.live.witness import Witness, received_prints, received_states

if TYPE_CHECKING:
    from aries_nb.live import LiveFrame, LiveTable

SESSION_S, WARNING_S = 10.0, 5.0
FAILING_S = 20.0
PATIENCE_S = 60.0
REASON = "the token service is down"


class Line(NamedTuple):
    """One line of the table."""

    what: str
    measured: object
    wanted: str
    is_met: bool


class Source:
    """Gives a new token each time, or fails while `is_failing` is set."""

    def __init__(self) -> None:
        self.is_failing = False
        self.calls = 0

    def __call__(self) -> Secret:
        self.calls += 1
        if self.is_failing:
            raise TokenError(REASON, advice="Wait.")
        return Secret(f"token number {self.calls}")


class Held(NamedTuple):
    """What is watched, of each endpoint something; `known` states of orders were there before it was asked for."""

    prints: LiveFrame
    charts: LiveFrame
    quotes: LiveFrame
    orders: LiveTable
    known: int


def main() -> int:
    """Run both parts and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to renew (default: %(default)g)")
    seconds = parser.parse_args().seconds
    source = Source()
    with Simulator(SimOptions(rate=1000, session_seconds=SESSION_S, warn_seconds=WARNING_S)) as sim:
        witness = Witness(sim)
        with Feed(BROKERS["aries"], sim.url, source, at_close=lambda closed: None) as feed:
            feed.wait_open(10)
            held = hold(feed, witness)
            lines = renew(feed, sim, witness, held, seconds) + fail_and_recover(feed, source, witness, held)
    width = max(len(line.what) for line in lines)
    for line in lines:
        verdict = "ok  " if line.is_met else "MISS"
        sys.stdout.write(f"{verdict}  {line.what:<{width}}  {line.measured!s:>28}  {line.wanted}\n")
    return 0 if all(line.is_met for line in lines) else 1


def hold(feed: Feed, witness: Witness) -> Held:
    """Ask for rows of each endpoint."""
    prints = feed.trades("AAPL", rows=1_000_000)
    charts = feed.trades("MSFT", rows=1_000_000, endpoint="charts")
    orders = feed.account("ACC-1").orders
    return Held(prints, charts, feed.quotes("AAPL"), orders, len(witness.order_states("ACC-1")))


def renew(feed: Feed, sim: Simulator, witness: Witness, held: Held, seconds: float) -> list[Line]:
    """Sessions that are renewed: nothing is missed or doubled."""
    begun, states = time.monotonic(), Counter[str]()
    while time.monotonic() - begun < seconds:
        states[feed.state] += 1
        time.sleep(0.05)
    lasted = time.monotonic() - begun
    sim.set_market("closed")  # what is on its way arrives
    is_whole = within(PATIENCE_S, lambda: witness.has_all_arrived(feed.stats().messages)) is not None
    stats, orders = feed.stats(), witness.order_states("ACC-1")[held.known :]
    lines = [
        Line(f"seconds with sessions of {SESSION_S:g} s, warning {WARNING_S:g} s before", f"{lasted:.1f}", "", True),
        Line("renewals of market, charts, accounts", witness.renewals(), "three, all many", least(witness, lasted)),
        Line("messages sent and received", f"{sim.statistics().messages_sent} {stats.messages}", "equal", is_whole),
        compared("prints sent and received, market", witness.prints("AAPL"), received_prints(held.prints)),
        compared("prints sent and received, charts", witness.prints("MSFT"), received_prints(held.charts)),
        compared("states of orders sent and received", orders, received_states(held.orders)[-len(orders) :]),
        Line("gaps, reconnects", f"{stats.gaps} {stats.reconnects}", "0 0", (stats.gaps, stats.reconnects) == (0, 0)),
        Line("states of the feed seen, every 50 ms", dict(states), "live alone", set(states) == {"live"}),
    ]
    sim.set_market("open")
    return lines


def least(witness: Witness, lasted: float) -> bool:
    """Whether each endpoint was renewed as often as its sessions make necessary."""
    renewals = witness.renewals()
    return len(renewals) == 3 and min(renewals) >= lasted // SESSION_S


def fail_and_recover(feed: Feed, source: Source, witness: Witness, held: Held) -> list[Line]:
    """A token source that fails beyond the end of the sessions: the error shows at once and clears itself."""
    source.is_failing = True
    until_shown = within(PATIENCE_S, lambda: REASON in feed.stats().last_error)
    was_live = feed.state == "live"
    until_over = within(PATIENCE_S, lambda: feed.state == "reconnecting" and len(feed.gaps) == 3)
    until_said = within(PATIENCE_S, lambda: REASON in feed.stats().last_error)
    card = feed._source.card()
    time.sleep(FAILING_S)
    asked, source.is_failing = source.calls, False
    until_live = within(PATIENCE_S, lambda: feed.state == "live" and not held.orders.is_stale)
    before = held.prints.received
    until_rows = within(PATIENCE_S, lambda: held.prints.received > before + 100)
    doubled = Counter(received_prints(held.prints)) - Counter(witness.prints("AAPL"))
    gaps = feed.gaps.df
    ended = bool(gaps["ended"].notna().all())
    return [
        Line("source fails: s until the error shows, still live", f"{shown(until_shown)} {was_live}", "", was_live),
        Line("s until the state is reconnecting, three gaps", shown(until_over), "", until_over is not None),
        Line("the error then", card.error, f"names {REASON!r}", until_said is not None and REASON in card.error),
        Line(f"times the source was asked in all, {FAILING_S:g} s later", asked, "", True),
        Line("source recovers: s until live", shown(until_live), "≤ 30, the cap", (until_live or 99) <= 31),
        Line("s until 100 new rows", shown(until_rows), "", until_rows is not None),
        Line("gaps by stream, all ended", f"{sorted(gaps['stream'])} {ended}", "each once", ended and len(gaps) == 3),
        Line("rows more often than they were sent", doubled.total(), "0", not doubled),
    ]


def compared(what: str, sent: list, received: list) -> Line:
    """A line for rows that are to be the same, in the same order."""
    return Line(what, f"{len(sent)} {len(received)}", "equal, row by row", bool(sent) and sent == received)


def within(seconds: float, holds: Callable[[], bool]) -> float | None:
    """The seconds until `holds()`, None where it takes longer."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - begun


def shown(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


if __name__ == "__main__":
    sys.exit(main())

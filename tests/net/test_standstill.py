"""A process that stood still doubts what it hears, until the server has answered once more."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.model import Column, Subscription
from aries_nb.net import Stream
from aries_nb.net.standstill import Standstill
from aries_nb.store import Tape
from tests.net.forward_proxy import Cable
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.net import Session
    from aries_nb.sim import Simulator

HOUR = 3600.0
STOPPED_SECONDS = 2.0
FIELDS = ("price", "trade_id")


class Clocks:
    """That of the machine, its sleep included, and that of the wall; a test lets them go on."""

    def __init__(self) -> None:
        self.machine = self.wall = 0.0

    def __call__(self) -> tuple[float, float]:
        return self.machine, self.wall


@pytest.mark.parametrize(
    ("machine", "wall", "expected"),
    [
        (0.25, 0.25, 0.0),
        (9.0, 9.0, 0.0),
        (11.0, 11.0, 11.0),
        (HOUR, HOUR, HOUR),
        (0.25, HOUR, HOUR),
        (0.25, -HOUR, 0.0),
    ],
)
def test_a_turn_that_comes_too_late_by_either_clock_is_a_standstill(
    machine: float, wall: float, expected: float
) -> None:
    clocks = Clocks()
    standstill = Standstill(clocks)

    clocks.machine, clocks.wall = machine, wall

    assert (expected, 0.0) == (standstill.turn(), standstill.turn())


def test_its_clocks_are_those_of_this_machine() -> None:
    assert Standstill().turn() == 0.0


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("aries_nb.net.standstill._clocks", clocks)
    monkeypatch.setattr("aries_nb.net.session.TICK_SECONDS", 0.05)
    return clocks


def trades_of(session: Session) -> Tape:
    tape = Tape((Column("price"), Column("trade_id", "integer")), ["AAPL"], limit=100_000)
    session.subscribe([Stream(Subscription("trades", "AAPL", FIELDS), tape, 0)]).result(5)
    eventually(lambda: len(tape.frame()) > 5)
    return tape


def gaps(session: Session) -> list[Any]:
    ledger: Any = session._continuity._gaps._ledger
    return list(ledger.all())


def test_after_it_a_connection_that_lives_has_lost_nothing_and_says_so(
    clocks: Clocks, serve: Callable[..., Simulator], open_session: Callable[..., Session]
) -> None:
    seen: list[str] = []
    session = open_session(serve(rate=500).url)
    session.wait_open(5)
    tape = trades_of(session)
    session.watch(lambda: seen.append(session.state))

    clocks.machine += HOUR
    eventually(lambda: seen == ["reconnecting", "live"])
    before = len(tape.frame())
    eventually(lambda: len(tape.frame()) > before)

    told = [(gap.reason, gap.cause, gap.filled) for gap in gaps(session)]
    assert told == [("this process stood still for 3600 s", "pause", True)]
    assert set(tape.frame()["trade_id"].diff().dropna()) == {1}
    assert session.reconnects == 0


def test_after_it_a_dead_connection_is_not_believed_for_a_moment(
    clocks: Clocks,
    serve: Callable[..., Simulator],
    open_session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aries_nb.brokers.aries.session.PONG_SECONDS", 0.2)
    with Cable(int(serve(rate=500).url.rpartition(":")[2])) as cable:
        session = open_session(cable.url)
        session.wait_open(5)
        trades_of(session)
        cable.pull()

        clocks.machine += HOUR
        eventually(lambda: session.state == "reconnecting")
        eventually(lambda: session.last_error == "no answer to a ping within 0 s")
        last = session.intake.last_received
        cable.plug_in()
        eventually(lambda: session.state == "live")
        session.close()

    assert [(gap.reason, gap.started, gap.filled) for gap in gaps(session)] == [
        ("this process stood still for 3600 s", last, False)
    ]


STOPPED = """
import sys
import aries_nb as anb
from aries_nb.net import standstill

standstill.STANDSTILL_SECONDS = 1.2
feed = anb.connect("aries", url=sys.argv[1], token="any")
trades = feed.trades("AAPL").wait(rows=5)
print("ready", flush=True)
while not len(feed.gaps.df) or feed.gaps.df["ended"].isna().any():
    trades.wait(rows=trades.received + 1)
missing = trades.df["trade_id"].diff().max() - 1
print(feed.gaps.df["reason"].tolist(), feed.gaps.df["filled"].tolist(), missing, feed.stats().reconnects, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_process_that_was_stopped_notices_and_loses_nothing(serve: Callable[..., Simulator]) -> None:
    sim = serve(rate=500)
    command = [sys.executable, "-c", STOPPED, sim.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stopped:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "ready\n"

        stopped.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        stopped.send_signal(signal.SIGCONT)

        told = stopped.stdout.readline()

    assert re.fullmatch(r"\['this process stood still for \d s'\] \[True\] 0\.0 0\n", told)

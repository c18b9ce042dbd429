"""A growing lag is reported within a second or two, and nothing else is; stalls of the process are detected."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from aries_nb.model import Column, Secret, Subscription
from aries_nb.net.intake import Intake, Route
from aries_nb.net.lag import LagMonitor, ReadMonitor, StallDetector
from aries_nb.net.websocket import connected, unread_frames
from aries_nb.store import RollingFrame
from tests.net.forward_proxy import Cable
from tests.net.patience import eventually
from tests.net.test_intake import BID, Sink, intake_with, quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.net.session import Session
    from aries_nb.sim import Simulator

TURN = 0.25


def turns(monitor: LagMonitor, *lags: float, since: float = 0.0, count: int = 10, rate: float = 40.0) -> list[float]:
    """The reported lag after each turn, of which each has `count` messages of one lag."""
    behind = []
    for number, lag in enumerate(lags):
        monitor.turn(since + number * TURN, [lag + 0.01, *[lag] * (count - 1)], rate)
        behind.append(round(monitor.seconds, 6))
    return behind


def test_a_lag_above_one_second_is_reported_within_a_second() -> None:
    monitor = LagMonitor()

    behind = turns(monitor, *[0.0] * 8, *[number * 0.2 for number in range(1, 13)])

    assert behind[:13] == [0.0] * 13
    assert behind[13:] == [1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4]
    assert str(monitor) == "messages come 2.4 s later than at their quickest"


def test_clocks_that_differ_make_no_difference() -> None:
    monitor, ahead = LagMonitor(), LagMonitor()
    lags = [*[0.0] * 8, *[number * 0.2 for number in range(1, 13)]]

    assert turns(ahead, *[lag - 3_600 for lag in lags]) == turns(monitor, *lags)


def test_it_is_over_as_soon_as_messages_come_in_time() -> None:
    monitor = LagMonitor()
    turns(monitor, *[0.0] * 8, *[number * 0.2 for number in range(1, 13)])

    assert turns(monitor, 0.3, since=5.0) == [0.0]
    assert not monitor.is_late


def test_a_change_is_worth_a_word_once() -> None:
    monitor = LagMonitor()

    lags = [0, 0, 0, 0, 1.5, 1.5, 1.5, 0, 0]
    said = [monitor.turn(number * TURN, [lag] * 10, 40.0) for number, lag in enumerate(lags)]

    assert [number for number, each in enumerate(said) if each] == [5, 7]


def test_old_rows_of_a_snapshot_are_no_lateness() -> None:
    monitor = LagMonitor()

    assert turns(monitor, *[0.1] * 8, *[7_200.0] * 8, *[0.1] * 4) == [0.0] * 20


def test_a_burst_that_is_read_at_once_is_no_lateness() -> None:
    monitor = LagMonitor()

    assert turns(monitor, *[0.1] * 20, 1.4, *[0.1] * 4) == [0.0] * 25


def test_where_many_messages_come_little_time_is_much() -> None:
    lags = [0.01, 0.01, 0.15, 0.2, 0.25]

    behind = [turns(LagMonitor(), *lags, rate=rate) for rate in (2_000, 20_000)]

    assert behind == [[0.0] * 5, [0.0, 0.0, 0.0, 0.19, 0.24]]


def test_a_turn_of_the_loop_is_no_lateness_whatever_the_rate() -> None:
    assert turns(LagMonitor(), 0.01, 0.01, *[0.05] * 8, rate=1e6) == [0.0] * 10


def test_a_few_messages_say_nothing() -> None:
    monitor = LagMonitor()

    assert turns(monitor, *[0.0] * 8, *[2.0] * 8, count=4) == [0.0] * 16


def test_too_many_unread_messages_are_reported_at_the_first_turn_with_any_lag() -> None:
    monitor, calm = LagMonitor(), LagMonitor()
    for each in (monitor, calm):
        turns(each, *[0.01] * 8, rate=1_000)

    looks = [monitor.look(2.0, 2_500), monitor.look(2.05, 4_000), monitor.look(2.11, 4_000)]

    assert looks == [False, False, True]
    assert turns(monitor, 0.1, since=2.2, rate=1_000) == [0.09]
    assert turns(calm, 0.1, since=2.2, rate=1_000) == [0.0]


def test_a_burst_that_leaves_much_unread_is_no_lateness_while_its_messages_are_in_time_or_of_the_past() -> None:
    monitor = LagMonitor()
    turns(monitor, *[0.01] * 8)
    monitor.look(2.0, 9_000)

    is_full = monitor.look(2.2, 9_000)

    assert is_full
    assert turns(monitor, 0.04, 7_200.0, since=2.2) == [0.0, 0.0]


def test_less_unread_in_between_begins_anew() -> None:
    monitor = LagMonitor()

    looks = [monitor.look(now, unread) for now, unread in ((0.0, 3_000), (0.2, 2_499), (0.3, 3_000), (0.45, 3_000))]

    assert looks == [False, False, False, True]


def test_it_stays_said_between_two_turns_while_much_is_unread() -> None:
    monitor = LagMonitor()
    turns(monitor, *[0.01] * 8)
    monitor.look(2.0, 3_000)
    monitor.look(2.2, 3_000)
    turns(monitor, 0.3, since=2.2)

    said = monitor.turn(2.21, [], 40.0)

    assert not said
    assert monitor.is_late


def test_a_break_forgets_what_was_unread() -> None:
    monitor = LagMonitor()
    turns(monitor, *[0.01] * 8)
    monitor.look(2.0, 3_000)
    monitor.look(2.2, 3_000)
    turns(monitor, 0.3, since=2.2)

    monitor.interrupted()

    assert not monitor.is_late
    assert not monitor.look(2.4, 3_000)


def test_percentiles_are_the_median_and_the_99th_of_the_lags() -> None:
    monitor = LagMonitor()

    before = monitor.percentiles_ms()
    monitor.turn(0.0, [0.005] * 150 + [0.02] * 48 + [0.5] * 2, 40.0)

    assert [number != number for number in before] == [True, True]
    assert monitor.percentiles_ms() == (5.0, 20.0)


def test_rows_of_the_past_are_none_of_the_lags() -> None:
    monitor = LagMonitor()
    monitor.turn(0.0, [7_200.0, 30.0, 0.005], 40.0)
    monitor.turn(100.0, [60.0], 40.0)  # it may have been on its way as long as that
    monitor.interrupted()

    monitor.turn(200.0, [60.0, 0.005], 40.0)

    assert list(monitor._lags) == [0.005, 60.0, 0.005]


UNREAD, FLOOD_OCTETS = 3_000, 3  # messages, and bytes of each in the system
START_MS = 1_772_463_845_000


def took(intake: Intake, at: float, *, lag: float, count: int = 10) -> None:
    """Take messages received at this second with this lag."""
    received_ms = START_MS + at * 1e3
    for _ in range(count):
        intake.take(quote(round(received_ms - lag * 1e3), bidPrice=1), round(received_ms * 1e6))


async def flood(connection: ServerConnection) -> None:
    """Send more frames than a client should leave unread, and keep the connection open."""
    await connection.recv()
    for _ in range(UNREAD):
        await connection.send("x")
    await connection.wait_closed()


async def reported_lags(waiting: int) -> list[str]:
    """The lag at each report, for messages a tenth of a second late while so many are unread."""
    reported: list[str] = []
    intake = intake_with(Route(Subscription("quotes", "AAPL", BID.fields), Sink(), 0))
    read_monitor = ReadMonitor(intake, "here", lambda: reported.append(f"{read_monitor.lag.seconds:.2f}"))
    async with asyncio.timeout(60), serve(flood, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
            socket.transport.pause_reading()  # so that all come in one read
            await socket.send("go")
            while unread_frames(socket, FLOOD_OCTETS) < UNREAD:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
            socket.transport.resume_reading()
            while not socket.unread:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
            while len(socket.unread) > waiting:
                socket.unread.popleft()
            read_monitor.restart(0.0)
            took(intake, 0.2, lag=0.01)
            read_monitor.turn(socket, TURN)
            took(intake, 0.3, lag=0.1)
            read_monitor.in_burst(socket, 0.3)
            took(intake, 0.4, lag=0.12)
            read_monitor.in_burst(socket, 0.4)
    return reported


def test_many_unread_messages_are_reported_within_a_burst(caplog: pytest.LogCaptureFixture) -> None:
    reported = asyncio.run(reported_lags(UNREAD))

    assert reported == ["0.09"]
    assert caplog.messages == ["here: messages come 0.1 s later than at their quickest"]


def test_where_little_waits_a_tenth_of_a_second_is_not_worth_a_word() -> None:
    assert asyncio.run(reported_lags(100)) == []


def test_the_rate_is_smoothed_and_begins_with_the_connection() -> None:
    async def rates() -> list[float]:
        intake = intake_with()
        read_monitor = ReadMonitor(intake, "here", lambda: None)
        took(intake, 0.0, lag=0.0, count=500)  # of the connection before
        async with asyncio.timeout(60), serve(ServerConnection.wait_closed, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
                read_monitor.restart(0.0)
                found = []
                for turn in range(1, 4):
                    took(intake, turn * TURN, lag=0.0, count=25)
                    read_monitor.turn(socket, turn * TURN)
                    found.append(round(read_monitor.messages_per_s, 1))
                return found

    assert asyncio.run(rates()) == [30.0, 51.0, 65.7]


def test_the_rate_is_zero_once_nothing_has_come_for_some_seconds() -> None:
    async def rates() -> list[float]:
        intake = intake_with()
        read_monitor = ReadMonitor(intake, "here", lambda: None)
        async with asyncio.timeout(60), serve(ServerConnection.wait_closed, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
                read_monitor.restart(0.0)
                took(intake, TURN, lag=0.0, count=25)
                found = []
                for turn in range(1, 41):
                    read_monitor.turn(socket, turn * TURN)
                    found.append(read_monitor.messages_per_s)
                return found

    found = asyncio.run(rates())

    assert (found[0], found[-1]) == (30.0, 0.0)
    assert all(rate >= 0.05 for rate in found if rate)


def test_a_new_connection_is_not_late() -> None:
    read_monitor = ReadMonitor(intake_with(), "here", lambda: None)
    for now, lag in ((0.0, 0.0), (5.0, 2.0), (5.25, 2.0)):
        read_monitor.lag.turn(now, [lag] * 10, 40.0)
    before = read_monitor.lag.is_late

    read_monitor.restart(6.0)

    assert before
    assert not read_monitor.lag.is_late


HOUR = 3600.0
STOPPED_SECONDS = 2.0
FIELDS = ("price", "trade_id")


class Clocks:
    """The clock of the machine, its sleep included, and the wall clock; a test advances them."""

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
        (0.25, HOUR, 0.0),
        (0.25, -HOUR, 0.0),
    ],
)
def test_a_turn_that_comes_too_late_is_a_standstill_and_a_clock_that_was_set_is_none(
    machine: float, wall: float, expected: float
) -> None:
    clocks = Clocks()
    detector = StallDetector(clocks)

    clocks.machine, clocks.wall = machine, wall

    assert (expected, 0.0) == (detector.turn(), detector.turn())


def test_its_clocks_are_those_of_this_machine() -> None:
    assert StallDetector().turn() == 0.0


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("aries_nb.net.lag._clocks", clocks)
    monkeypatch.setattr("aries_nb.net.session.TICK_SECONDS", 0.05)
    return clocks


def trades_of(session: Session) -> RollingFrame:
    tape = RollingFrame((Column("price"), Column("trade_id", "integer")), ["AAPL"], limit=100_000)
    session.subscribe([Route(Subscription("trades", "AAPL", FIELDS), tape, 0)]).result(30)
    eventually(lambda: len(tape.frame()) > 5)
    return tape


def gaps(session: Session) -> list[Any]:
    ledger: Any = session._gap_tracker._gaps._log
    return list(ledger.all())


def test_after_it_a_connection_that_lives_has_lost_nothing_and_says_so(
    clocks: Clocks, serve: Callable[..., Simulator], open_session: Callable[..., Session]
) -> None:
    seen: list[str] = []
    session = open_session(serve(rate=500).url)
    session.wait_open(30)
    tape = trades_of(session)
    session.watch(lambda: seen.append(session.state))

    clocks.machine += HOUR
    eventually(lambda: seen == ["reconnecting", "live"])
    before = len(tape.frame())
    eventually(lambda: len(tape.frame()) > before)

    given = [(gap.reason, gap.cause, gap.filled) for gap in gaps(session)]
    assert given == [("this process stood still for 3600 s", "pause", True)]
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
        session.wait_open(30)
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
from aries_nb.net import lag

lag.STALL_SECONDS = 1.2
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

        given = stopped.stdout.readline()

    assert re.fullmatch(r"\['this process stood still for \d s'\] \[True\] 0\.0 0\n", given)

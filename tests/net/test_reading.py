"""The rate of a connection, and the word about it that comes before the broker cuts: what it reads is real."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from aries_nb.model import Subscription
from aries_nb.net.intake import Intake, Stream
from aries_nb.net.reading import Reading
from aries_nb.net.websocket import connected
from tests.net.test_intake import BID, Sink, intake_with, quote

UNREAD = 3_000
START_MS = 1_772_463_845_000
TURN = 0.25


def took(intake: Intake, at: float, *, lag: float, count: int = 10) -> None:
    """Take messages received at this second, so late."""
    received_ms = START_MS + at * 1e3
    for _ in range(count):
        intake.take(quote(round(received_ms - lag * 1e3), bidPrice=1), round(received_ms * 1e6))


async def flood(connection: ServerConnection) -> None:
    """Send more than anybody should leave unread, and stay."""
    for _ in range(UNREAD):
        await connection.send("x")
    await connection.wait_closed()


async def rung_beside(waiting: int) -> list[str]:
    """How late it is when the bell is rung for messages a tenth of a second late, beside so many that wait."""
    rung: list[str] = []
    intake = intake_with(Stream(Subscription("quotes", "AAPL", BID.fields), Sink(), 0))
    reading = Reading(intake, "here", lambda: rung.append(f"{reading.lateness.seconds:.2f}"))
    async with asyncio.timeout(10), serve(flood, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connected(f"ws://127.0.0.1:{port}") as socket:
            while len(socket.recv_messages.frames) < UNREAD:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            while len(socket.recv_messages.frames) > waiting:
                await socket.recv()
            reading.began(0.0)
            took(intake, 0.2, lag=0.01)
            reading.turn(socket, TURN)
            took(intake, 0.3, lag=0.1)
            reading.in_burst(socket, 0.3)
            took(intake, 0.4, lag=0.12)
            reading.in_burst(socket, 0.4)
    return rung


def test_much_that_waits_is_told_within_a_burst(caplog: pytest.LogCaptureFixture) -> None:
    rung = asyncio.run(rung_beside(UNREAD))

    assert rung == ["0.09"]
    assert caplog.messages == ["here: messages come 0.1 s later than at their quickest"]


def test_where_little_waits_a_tenth_of_a_second_is_not_worth_a_word() -> None:
    assert asyncio.run(rung_beside(100)) == []


def test_the_rate_is_smoothed_and_begins_with_the_connection() -> None:
    async def rates() -> list[float]:
        intake = intake_with()
        reading = Reading(intake, "here", lambda: None)
        took(intake, 0.0, lag=0.0, count=500)  # of the connection before
        async with asyncio.timeout(10), serve(ServerConnection.wait_closed, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(f"ws://127.0.0.1:{port}") as socket:
                reading.began(0.0)
                found = []
                for turn in range(1, 4):
                    took(intake, turn * TURN, lag=0.0, count=25)
                    reading.turn(socket, turn * TURN)
                    found.append(round(reading.messages_per_s, 1))
                return found

    assert asyncio.run(rates()) == [30.0, 51.0, 65.7]


def test_a_new_connection_is_not_late() -> None:
    reading = Reading(intake_with(), "here", lambda: None)
    for now, lag in ((0.0, 0.0), (5.0, 2.0), (5.25, 2.0)):
        reading.lateness.turn(now, [lag] * 10, 40.0)
    before = reading.lateness.is_late

    reading.began(6.0)

    assert before
    assert not reading.lateness.is_late

"""A publisher that is not what it claims to be: the reader says so, loses nothing of its own, and goes on."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import nats
import pyarrow as pa
import pytest
from nats.js.api import StreamConfig

from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.format import BatchWriter, Beat, Catalog, GapLine, encode
from tests.rooms.test_format import EPOCH, GROUP, table, written
from tests.rooms.test_rooms import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rooms.server import NatsServer

OTHER = "f" * 16


class Forger:
    """Publishes whatever it likes, and signs of life."""

    def __init__(self, address: RoomAddress) -> None:
        self.address = address
        self.catalog = Catalog(1, EPOCH, 1, "aries", (GROUP,))
        self.rows = {GROUP.id: (EPOCH, 8, False)}
        self.now = 1_700_000_000 * 10**9
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._begin())
        self.send(address.catalog, encode(self.catalog))
        self._beating = asyncio.run_coroutine_threadsafe(self._beat(), self._loop)

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def send(self, subject: str, data: bytes) -> None:
        self.do(self._client.publish(subject, data))
        self.do(self._client.flush())

    def send_rows(self, data: bytes) -> None:
        self.send(self.address.rows(GROUP.id), data)

    async def _begin(self) -> None:
        self._client = await nats.connect(self.address.server)
        stream = self._client.jetstream()
        for name, subject in (
            (self.address.row_stream, self.address.rows("*")), (self.address.state_stream, self.address.states("*")),
        ):  # fmt: skip
            await stream.add_stream(StreamConfig(name=name, subjects=[subject], allow_direct=True))

    async def _beat(self) -> None:
        number = 0
        while True:
            number += 1
            beat = Beat(EPOCH, number, self.catalog.number, "live", self.now, 1.0, self.rows)
            await self._client.publish(self.address.beats, encode(beat))
            await asyncio.sleep(0.1)

    def close(self) -> None:
        self._beating.cancel()
        self.do(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def forger(server: NatsServer) -> Iterator[Forger]:
    made = Forger(RoomAddress.of(server.room()))
    yield made
    made.close()


def test_what_cannot_be_read_is_counted_and_a_gap(server, forger, enter):
    forger.send_rows(written(first=5))
    room = enter(server.room())
    quotes = room.quotes("AAPL", "MSFT", fields=["bid_price", "venue"])
    assert len(quotes.df) == 2

    bomb = table(1_000, venue=pa.array(["x" * 100_000] * 1_000))
    for rubbish in (b"", b"rubbish" * 100, written()[:-8], BatchWriter(GROUP, EPOCH, EPOCH).encode(bomb, 8)):
        forger.send_rows(rubbish)

    until(lambda: room.stats().unreadable >= 4)
    assert {"room"} == {*room.gaps.df["cause"]}
    assert room.state == "live"
    assert len(quotes.df) == 2


def test_numbers_that_cannot_be_end_in_a_gap_and_not_in_a_loop(server, forger, enter):
    forger.send_rows(written(first=5))
    room = enter(server.room())
    quotes = room.quotes("AAPL", fields=["bid_price"])

    forger.rows = {GROUP.id: (EPOCH, 2**61, False)}
    forger.send_rows(written(first=2**61))
    forger.send_rows(written(first=3))
    forger.send_rows(BatchWriter(GROUP, OTHER, OTHER).encode(table(), 0, is_anew=True))

    until(lambda: len(room.gaps.df) > 0)
    until(lambda: room.state == "live")
    assert len(quotes.df) < 4


def test_absurd_catalogs_and_times_change_nothing(server, forger, enter):
    room = enter(server.room())
    quotes = room.quotes("AAPL", fields=["bid_price"])
    unreadable = room.stats().unreadable

    for rubbish in (b"", b"[]", b"\xff", encode(Catalog(99, EPOCH, 2, "aries", (GROUP,))), b"{" * 200_000):
        forger.send(forger.address.catalog, rubbish)
        forger.send(forger.address.beats, rubbish)
    lines = tuple(
        GapLine(number, stream, "\x1b[31m", -(2**63), None, "nonsense", "<script>", filled=True, missed=None)
        for number, stream in enumerate(("market", "", "accounts", "<b>market</b>"))
    )
    forger.catalog = Catalog(1, EPOCH, 3, "../../aries", (GROUP,), lines)
    forger.send(forger.address.catalog, encode(forger.catalog))

    until(lambda: room.stats().unreadable == unreadable + 10)
    until(lambda: len(room.gaps.df) == 1)
    assert room.gaps.df["cause"].tolist() == ["room"]
    assert room.stats().gaps == 1
    assert "<script>" not in room.gaps._repr_html_()
    assert quotes.is_live

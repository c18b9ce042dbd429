"""What a reader makes of rows and signs of life in any order: those of different subjects have none. No server."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from aries_nb.model import Column, Subscription
from aries_nb.net.background import on_network
from aries_nb.net.intake import Route
from aries_nb.rooms import session
from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.format import TIME, BatchWriter, Beat, Catalog, Group, encode
from aries_nb.rooms.pool import RoomPool
from aries_nb.rooms.session import RoomSession
from aries_nb.rooms.stream import RoomStream
from aries_nb.store import GapLog, RollingFrame, Table
from tests.rooms.test_format import table

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = Group("quotes", ("AAPL", "MSFT", "TSLA"), (("bid_price", "number"),))
EPOCH, OTHER = "0" * 16, "f" * 16
FIRST, SECOND, THIRD = "1" * 16, "2" * 16, "3" * 16  # lives of the publisher's frame


class Room:
    """A reader of one group that is connected and has asked for what the server keeps, of which there is none."""

    def __init__(self) -> None:
        self.pool = RoomPool(RoomAddress.of("nats://127.0.0.1/room42"), None)
        self.session, self.log = self.pool.session, GapLog()
        self.pool.report_to(self.log.stream("market"))
        self.frame = RollingFrame((Column("bid_price"),), GROUP.symbols)
        routes = [
            Route(Subscription("quotes", name, ("bid_price",)), self.frame, code)
            for code, name in enumerate(GROUP.symbols)
        ]
        self.session.add(routes)
        self.stream = RoomStream(GROUP, routes, RoomAddress.of("nats://127.0.0.1/room42"), self.session)
        self.stream.is_caught_up = True
        self.session.streams.append(self.stream)
        self.session._take_catalog(encode(Catalog(1, EPOCH, 1, "aries", (GROUP,))))

    def rows(self, first: int, count: int, life: str, *, beat: int, is_anew: bool = False) -> None:
        data = BatchWriter(GROUP, EPOCH, life).encode(table(count), first, is_anew=is_anew, beat=beat)
        self.session.taken(self.stream, data, is_live=True)

    def beat(self, number: int, life: str, first: int, *, is_anew: bool = False) -> None:
        rows = {GROUP.id: (life, first, is_anew)}
        self.session._take_beat(encode(Beat(EPOCH, number, 1, "live", 10**18, 0.0, rows)))


@pytest.fixture
def no_network(monkeypatch) -> None:
    async def nothing(_self: RoomSession) -> None:
        pass

    monkeypatch.setattr(RoomSession, "_run", nothing)


@pytest.fixture
def room(no_network) -> Room:
    return on_network(Room).result(60)


def in_order(steps: Sequence[tuple], room: Room) -> None:
    """Take messages on the network's thread."""

    def take() -> None:
        for name, arguments, more in steps:
            getattr(room, name)(*arguments, **more)

    on_network(take).result(60)


# A publisher that goes back twice: the second time to where the recording has no rows at first.
BEATS = [
    ("beat", (1, FIRST, 3), {}),
    ("beat", (2, SECOND, 6), {"is_anew": True}),
    ("beat", (3, SECOND, 8), {}),
    ("beat", (4, THIRD, 11), {"is_anew": True}),
    ("beat", (5, THIRD, 16), {}),
]
ROWS = [
    ("rows", (0, 3, FIRST), {"beat": 0}),
    ("rows", (3, 2, FIRST), {"beat": 1}),
    ("rows", (6, 2, SECOND), {"beat": 2, "is_anew": True}),
    ("rows", (8, 2, SECOND), {"beat": 3}),
    ("rows", (11, 5, THIRD), {"beat": 4, "is_anew": True}),
]


def merged(places: Sequence[int]) -> list[tuple]:
    """Rows among signs of life: each before that of its place."""
    steps: list[tuple] = []
    for number in range(len(BEATS) + 1):
        steps += [rows for place, rows in zip(places, ROWS, strict=True) if place == number]
        steps += BEATS[number : number + 1]
    return steps


@pytest.mark.parametrize(("pauses", "state"), [([10.0], "live"), ([0.0] * 11, "live"), ([0.0] * 13, "reconnecting")])
def test_time_in_which_the_reader_stood_still_is_no_silence_of_the_publisher(room, monkeypatch, pauses, state):
    """A cell may hold the process up, and the signs of life that came meanwhile are read after it."""
    now, left = [100.0], [*pauses]
    monkeypatch.setattr(session, "elapsed", lambda: now[-1])
    in_order([ROWS[0], BEATS[0]], room)

    async def sleep(seconds: float) -> None:
        now.append(now[-1] + seconds + left.pop())

    monkeypatch.setattr(session, "asyncio", SimpleNamespace(sleep=sleep))
    room.session.state = "live"
    for _ in pauses:
        asyncio.run(room.session._pause())
        on_network(room.session._look).result(60)

    assert room.session.state == state


def test_silence_counts_from_a_sign_of_life_that_was_read_at_once_after_the_reader_stood_still(room, monkeypatch):
    now, pauses = [100.0], [10.0] + [0.0] * 13
    monkeypatch.setattr(session, "elapsed", lambda: now[-1])
    in_order([ROWS[0], BEATS[0]], room)

    async def sleep(seconds: float) -> None:
        pause = pauses[len(now) - 1]
        now.append(now[-1] + seconds + pause)
        if pause:
            in_order([BEATS[0]], room)

    monkeypatch.setattr(session, "asyncio", SimpleNamespace(sleep=sleep))
    room.session.state = "live"
    for _ in pauses:
        assert room.session.state == "live"
        asyncio.run(room.session._pause())
        on_network(room.session._look).result(60)

    assert room.session.state == "reconnecting"


@pytest.mark.usefixtures("no_network")
def test_a_replay_that_goes_back_twice_is_followed_in_any_order_of_subjects(monkeypatch):
    asked: list[object] = []
    monkeypatch.setattr(RoomStream, "ask", lambda stream: asked.append(stream))

    for places in itertools.combinations_with_replacement(range(len(BEATS) + 1), len(ROWS)):
        room = on_network(Room).result(60)
        in_order(merged(places), room)

        shown = room.stream.life, room.frame.version - room.frame.origin, room.log.count, len(asked)
        assert shown == (THIRD, 5, 0, 0), places


def sent(life: str, first: int, count: int, *, epoch: str = EPOCH, beat: int = 0, is_anew: bool = False) -> bytes:
    """A message as the server keeps it."""
    return BatchWriter(GROUP, epoch, life).encode(table(count), first, beat=beat, is_anew=is_anew)


KEPT = {
    "another publisher": [sent(FIRST, 0, 3), sent(FIRST, 3, 2, beat=1), sent(SECOND, 0, 4, epoch=OTHER)],
    "another frame": [sent(FIRST, 0, 3, beat=1), sent(FIRST, 3, 2, beat=2), sent(SECOND, 0, 2, beat=2)],
    "a replay went back": [sent(FIRST, 0, 5), sent(SECOND, 7, 2, is_anew=True), sent(SECOND, 9, 2)],
    "served anew, then another": [sent(FIRST, 0, 3), sent(FIRST, 0, 3, epoch=OTHER), sent(SECOND, 0, 1, epoch=THIRD)],
    "another, then the first again": [
        sent(FIRST, 0, 3), sent(SECOND, 0, 1, epoch=OTHER), sent(FIRST, 0, 4, epoch=THIRD)
    ],
}  # fmt: skip
ROWS_AND_GAPS = dict(zip(KEPT, [(9, 1), (7, 1), (4, 0), (4, 1), (5, 2)], strict=True))


@pytest.mark.parametrize("case", KEPT)
def test_rows_of_any_frame_that_were_taken_are_dropped_when_all_are_asked_for(room, case):
    def take() -> tuple[int, int]:
        room.session.taken_kept(room.stream, KEPT[case])
        return room.frame.version - room.frame.origin, room.log.count

    on_network(take).result(60)

    assert [on_network(take).result(60) for _ in range(2)] == [ROWS_AND_GAPS[case]] * 2


def test_rows_of_another_frame_that_do_not_come_are_asked_for_and_told(room, monkeypatch):
    asked: list[str] = []
    kept = [sent(FIRST, 0, 3)]

    def ask_all() -> None:
        asked.append("rows")
        room.session.taken_kept(room.stream, kept)  # the server has not those of the other frame

    monkeypatch.setattr(room.stream, "ask_all", ask_all)
    in_order([ROWS[0], BEATS[0]], room)
    in_order([("beat", (2, SECOND, 9), {})], room)

    def look() -> None:
        room.session._look()
        assert room.stream.late_since is not None
        room.stream.late_since -= 10
        room.session._look()

    on_network(look).result(60)
    assert asked == ["rows"]
    assert room.log.count == 0

    room.stream.late_since = None
    on_network(look).result(60)
    assert asked == ["rows"] * 2
    assert (room.stream.life, room.stream.next) == (SECOND, 9)

    room.stream.late_since = None
    on_network(room.session._look).result(60)
    assert room.stream.late_since is None
    assert (room.log.count, room.frame.version) == (1, 3)


def test_a_frame_in_the_place_of_another_is_a_gap_before_its_first_row_comes(room):
    in_order([ROWS[0], BEATS[0], ("beat", (2, SECOND, 0), {})], room)
    assert room.log.count == 1

    in_order([("beat", (3, SECOND, 0), {}), ("rows", (0, 2, SECOND), {"beat": 3}), ("beat", (4, SECOND, 2), {})], room)
    assert room.log.count == 1
    assert room.frame.version == 5


def test_a_reader_on_its_own_misses_nothing_of_a_replay_that_it_does_not_follow(room):
    in_order([ROWS[0], BEATS[0]], room)
    on_network(lambda: room.session.follow(is_following=False)).result(60)
    in_order([BEATS[1], BEATS[2]], room)

    on_network(room.session._look).result(60)

    assert room.stream.is_held
    assert room.stream.late_since is None
    assert room.stream.is_complete(room.session.beat)
    assert room.frame.version == 3


def test_a_server_that_counts_anew_is_asked_from_its_first_message_on(room, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(room.stream, "ask_all", lambda: asked.append("all"))

    def take() -> None:
        for number, made in enumerate(["a", "a", "b", "b", ""]):
            room.session._take_catalog(encode(Catalog(1, EPOCH, number, "aries", (GROUP,), made=made)))

    on_network(take).result(60)

    assert asked == ["all"] * 2


def test_rows_that_are_missing_in_a_part_are_asked_for_once_more_among_all(room, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(room.stream, "ask_all", lambda: asked.append("all"))
    in_order([ROWS[0]], room)
    behind = BatchWriter(GROUP, EPOCH, FIRST).encode(table(2), 9)
    before = BatchWriter(GROUP, EPOCH, FIRST).encode(table(6), 3)

    def take(*messages: bytes, is_partial: bool) -> None:
        room.stream.is_partial = is_partial
        room.session.taken_kept(room.stream, messages)

    on_network(lambda: take(behind, is_partial=True)).result(60)
    assert (asked, room.frame.version) == (["all"], 3)

    on_network(lambda: take(before, behind, is_partial=False)).result(60)
    assert (room.frame.version, room.log.count) == (11, 0)


def test_a_message_that_cannot_be_read_is_told_once_and_rows_behind_it_are_taken(room, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(room.stream, "ask", lambda: asked.append("part"))
    monkeypatch.setattr(room.stream, "ask_all", lambda: asked.append("all"))
    before, bad, behind, more = sent(FIRST, 0, 3), b"x" * 100, sent(FIRST, 5, 2), sent(FIRST, 9, 1)

    def take() -> list[tuple[list[str], int, int]]:
        session, stream = room.session, room.stream
        session.state = "live"
        for data in (before, bad, behind):
            session.taken(stream, data, is_live=True)
        found = [([*asked], room.frame.version, room.log.count)]
        for kept, is_partial in (
            ((bad, behind), True),
            ((before, bad, behind), False),
            ((behind, bad), True),
            ((more,), False),  # a second message of the same bytes, and rows behind it
        ):
            stream.is_partial = is_partial
            session.taken_kept(stream, kept)
            found.append(([*asked], room.frame.version, room.log.count))
        return found

    rows = [(3, 1), (5, 1), (5, 1), (5, 1), (6, 2)]
    assert on_network(take).result(60) == [(["part"], *each) for each in rows]


ORDERS = Group("orders", ("ACC-1",), (("order_id", "text"), ("status", "text")))


class Orders:
    """A reader of a list that is connected and asks for what the server keeps; `seen` are the states that it showed."""

    def __init__(self) -> None:
        self.pool = RoomPool(RoomAddress.of("nats://127.0.0.1/room42"), None)
        self.session = self.pool.session
        self.table = Table(tuple(Column(*each) for each in ORDERS.columns), ORDERS.symbols, key=("order_id",))
        routes = [Route(Subscription("orders", "ACC-1", ("order_id", "status")), self.table, 0)]
        self.session.add(routes)
        self.stream = RoomStream(ORDERS, routes, RoomAddress.of("nats://127.0.0.1/room42"), self.session)
        self.session.streams.append(self.stream)
        self.seen: list[list[str]] = []
        self.watch = self.table.watch(lambda: self.seen.append([row.values[1] for row in self.table.rows()]))


def order(first: int, status: str, *, life: str = FIRST, **head: bool | int) -> bytes:
    """A message of a list of one order."""
    times = pa.array([1_000_000], pa.int64()).cast(TIME)
    row = pa.table({
        "seq": [0], "ts": times, "received": times, "_symbol": ["ACC-1"], "order_id": ["a"], "status": [status],
    })  # fmt: skip
    return BatchWriter(ORDERS, EPOCH, life).encode(row, first, **head)


@pytest.mark.usefixtures("no_network")
def test_a_list_is_shown_as_it_is_after_a_break_and_not_as_it_was():
    reader = on_network(Orders).result(60)
    kept = [
        order(0, "working", is_anew=True), order(1, "partially filled"),
        order(2, "", is_void=True, is_broken=True), order(3, "partially filled", is_anew=True), order(4, "filled"),
    ]  # fmt: skip

    def caught_up() -> list[list[str]]:
        reader.stream.interrupted()
        reader.seen.clear()
        reader.session.taken_kept(reader.stream, kept[:2], is_last=False)
        assert reader.seen == []
        reader.session.taken_kept(reader.stream, kept[2:], is_last=False)
        reader.session.taken_kept(reader.stream, [])
        return reader.seen

    assert on_network(caught_up).result(60) == [["filled"]]
    assert on_network(caught_up).result(60) == [["filled"]]
    assert not reader.table.is_stale


@pytest.mark.usefixtures("no_network")
def test_a_list_of_a_publisher_that_another_one_followed_is_not_taken_again():
    reader = on_network(Orders).result(60)
    first, second = order(0, "working", is_anew=True), order(0, "filled", life=SECOND, is_anew=True)

    def take() -> None:
        for message in (first, second, first):
            reader.session.taken_kept(reader.stream, [message])

    on_network(take).result(60)

    assert [row.values[1] for row in reader.table.rows()] == ["filled"]

"""What a reader makes of the messages of a list: whole ones, changes, and what is missing, without a server."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from aries_nb.model import CLEAR, PUT, Subscription
from aries_nb.net.intake import Route
from aries_nb.rooms import stream as streams
from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.format import TIME, BatchWriter, Beat, Group, decode_batch, exact, group_of
from aries_nb.rooms.stream import Changes, RoomStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

GROUP = Group("orders", ("ACC-1", "ACC-2"), (("order_id", "text"), ("filled", "decimal")))
EPOCH, LIFE, OTHER = "0" * 16, "1" * 16, "2" * 16


def sent(first: int, *ids: str, life: str = LIFE, account: str = "ACC-1", **head: bool | int):
    """A batch as it comes over the room."""
    count = len(ids)
    times = pa.array([1_000_000] * count, pa.int64()).cast(TIME)
    table = pa.table({
        "seq": pa.array([0] * count, pa.int64()), "ts": times, "received": times,
        "_symbol": [account] * count, "order_id": list(ids), "filled": ["1.50"] * count,
    })  # fmt: skip
    return decode_batch(BatchWriter(GROUP, EPOCH, life).encode(table, first, **head), GROUP)


@pytest.fixture
def stream() -> RoomStream:
    route = Route(Subscription("orders", "ACC-1", ("order_id", "filled")), SimpleNamespace(), 0)
    return RoomStream(GROUP, [route], RoomAddress.of("nats://127.0.0.1/room42"), SimpleNamespace())


def put(changes: Changes | None) -> list[str]:
    assert changes is not None
    return [values[1] for _, _, values, _ in changes.records if values[0] == PUT]


def test_a_whole_list_begins_and_changes_follow(stream):
    first = stream.changes_of(sent(7, "a", "b", is_anew=True, count=5), 0)
    second = stream.changes_of(sent(9, "b", count=8), 0)

    assert [values[0] for _, _, values, _ in first.records] == [CLEAR, PUT, PUT]
    assert first.records[1] == (0, 1_000_000_000, (PUT, "a", Decimal("1.50")), 1_000_000_000)
    assert first.filled == 2
    assert put(second) == ["b"]
    assert second.conflated == 0  # of a part of the group's accounts it is not known


def test_changes_before_the_whole_list_wait_for_it(stream):
    assert stream.changes_of(sent(3, "a"), 0) == Changes()
    assert put(stream.changes_of(sent(4, "a", "b", is_anew=True), 0)) == ["a", "b"]


def test_what_is_missing_is_told_and_a_whole_list_heals_it(stream):
    stream.changes_of(sent(0, "a", is_anew=True), 0)

    assert stream.changes_of(sent(5, "b"), 0) is None
    assert put(stream.changes_of(sent(9, "a", "b", is_anew=True), 0)) == ["a", "b"]


def test_the_same_list_once_more_is_no_news_and_what_comes_twice_is_dropped(stream):
    stream.changes_of(sent(0, "a", is_anew=True), 0)

    assert stream.changes_of(sent(1, "a", is_anew=True, is_same=True), 0) == Changes()
    assert put(stream.changes_of(sent(1, "a"), 0)) == []
    assert put(stream.changes_of(sent(2, "b"), 0)) == ["b"]


def test_what_comes_twice_makes_a_list_that_was_healed_not_old_again(stream):
    broken = sent(1, "", is_void=True, is_broken=True)
    stream.changes_of(sent(0, "a", is_anew=True), 0)

    assert stream.changes_of(broken, 0).is_broken
    assert not stream.changes_of(sent(2, "a", is_anew=True), 0).is_broken
    assert stream.changes_of(broken, 0) == Changes()


def test_what_comes_twice_is_not_counted_as_states_in_between(stream):
    routes = [Route(Subscription("orders", each, ("order_id",)), SimpleNamespace(), 0) for each in GROUP.symbols]
    stream.routes = routes
    changes = [sent(0, "a", is_anew=True, count=1), *(sent(number, "a", count=number + 1) for number in (1, 2, 3))]

    found = [stream.changes_of(changes[number], 0).conflated for number in (0, 1, 2, 1, 3)]

    assert found == [0] * 5


def test_a_list_in_parts_is_taken_together(stream):
    assert stream.changes_of(sent(0, "a", is_anew=True, goes_on=True), 0) == Changes()

    assert put(stream.changes_of(sent(1, "b"), 0)) == ["a", "b"]


def test_a_list_without_an_end_is_bounded(stream, monkeypatch):
    monkeypatch.setattr(streams, "MOST_LIST_BYTES", 500)
    stream.changes_of(sent(0, "a", is_anew=True, goes_on=True), 0)

    for number in range(1, 50):
        stream.changes_of(sent(number, "a", goes_on=True), 0)

    assert sum(part.table.nbytes for part in stream.parts) < 1_000


def test_an_empty_list_and_rows_of_other_accounts_put_nothing(stream):
    assert put(stream.changes_of(sent(0, "", is_anew=True, is_void=True), 0)) == []
    assert put(stream.changes_of(sent(1, "x", account="ACC-2"), 0)) == []


def test_another_publisher_begins_with_a_list_of_its_own(stream):
    stream.changes_of(sent(0, "a", is_anew=True), 0)

    assert stream.changes_of(sent(1, "b", life=OTHER), 0) == Changes()
    assert put(stream.changes_of(sent(0, "b", life=OTHER, is_anew=True), 0)) == ["b"]


@pytest.mark.parametrize(
    "text", ["", "x", "Infinity", "1e99999999999", "9" * 61, "1" + "0" * 5_000, "0" * 300 + "1", "１e999"]
)
def test_a_decimal_that_is_none_or_beyond_the_bounds_is_not_known(text):
    assert exact(text).is_nan()


def test_a_decimal_is_exact():
    assert str(exact("-1234567.10")) == "-1234567.10"


class Client:
    """A connection on which a row comes live with each question, of which the answer is that there are no rows."""

    def __init__(self, *, is_silent: bool = False) -> None:
        self.questions: list[bytes] = []
        self._is_silent = is_silent
        self._callbacks: dict[str, Callable[[SimpleNamespace], Awaitable[None]]] = {}

    def new_inbox(self) -> str:
        return "answers"

    async def subscribe(self, subject: str, cb: Callable[[SimpleNamespace], Awaitable[None]], **_: object):
        async def unsubscribe() -> None:
            pass

        self._callbacks[subject] = cb
        return SimpleNamespace(unsubscribe=unsubscribe)

    async def publish(self, subject: str, question: bytes, reply: str) -> None:
        self.questions.append(question)
        live = self._callbacks[RoomAddress.of("nats://127.0.0.1/room42").rows(GROUP.id)]
        await live(SimpleNamespace(data=b"row", headers=None))
        if not self._is_silent:
            await self._callbacks[reply](SimpleNamespace(data=b"", headers={"Status": "404"}))


class Owner:
    """Notes what is taken."""

    def __init__(self) -> None:
        self.live: list[bytes] = []
        self.is_caught_up = asyncio.Event()

    def taken(self, stream: RoomStream, data: bytes, *, is_live: bool) -> None:
        self.live.append(data)

    def taken_kept(self, stream: RoomStream, messages: Sequence[bytes], *, is_last: bool = True) -> None:
        assert messages == []

    def caught_up(self, stream: RoomStream) -> None:
        self.is_caught_up.set()


def test_rows_that_come_while_the_server_is_asked_are_not_asked_for_as_well(stream):
    owner, client = Owner(), Client()
    stream._owner = owner

    async def opened() -> None:
        await stream.open(client)
        await asyncio.wait_for(owner.is_caught_up.wait(), 60)

    asyncio.run(opened())

    assert len(client.questions) == 1
    assert owner.live == [b"row"]
    assert stream.is_caught_up


def test_an_answer_on_a_broken_connection_is_not_waited_for(stream):
    owner, broken, client = Owner(), Client(is_silent=True), Client()
    stream._owner = owner

    async def opened_twice() -> None:
        await stream.open(broken)
        await asyncio.sleep(0)
        assert stream.is_asking
        stream.interrupted()
        await stream.open(client)
        await asyncio.wait_for(owner.is_caught_up.wait(), 60)

    asyncio.run(opened_twice())

    assert len(client.questions) == 1
    assert owner.live == [b"row"]  # that of the broken connection is asked for again


def test_a_book_that_was_not_answered_is_late_and_asked_for_again():
    beat = Beat(EPOCH, 1, 1, "live", 0, 1.0, {})
    route = Route(Subscription("book", "AAPL", ()), SimpleNamespace(), 0)
    book = RoomStream(group_of("book", ("AAPL",), (), ()), [route], RoomAddress.of("nats://127.0.0.1/room42"), Owner())

    assert book.is_late(beat)
    book.is_caught_up = True
    assert not book.is_late(beat)


def test_an_answer_that_comes_after_a_newer_state_of_a_book_is_not_taken():
    async def opened(*, has_come: bool) -> list[bytes]:
        owner = Owner()
        route = Route(Subscription("book", "AAPL", ()), SimpleNamespace(), 0)
        book = RoomStream(
            group_of("book", ("AAPL",), (), ()), [route], RoomAddress.of("nats://127.0.0.1/room42"), owner
        )

        async def get_last_msg(*_: object, **__: object) -> SimpleNamespace:
            if has_come:
                await book._come(SimpleNamespace(data=b"newer"))
            return SimpleNamespace(data=b"kept")

        async def subscribe(*_: object, **__: object) -> None:
            pass

        server = SimpleNamespace(get_last_msg=get_last_msg)
        await book.open(SimpleNamespace(jetstream=lambda **_: server, subscribe=subscribe))
        await asyncio.wait_for(owner.is_caught_up.wait(), 60)
        return owner.live

    assert asyncio.run(opened(has_come=True)) == [b"newer"]
    assert asyncio.run(opened(has_come=False)) == [b"kept"]


def test_what_comes_while_the_server_is_asked_is_bounded_in_bytes(stream, monkeypatch):
    monkeypatch.setattr(streams, "MOST_CAME_BYTES", 100)

    async def come() -> None:
        stream._task = asyncio.create_task(asyncio.sleep(60))
        for _ in range(50):
            await stream._come(SimpleNamespace(data=bytes(30)))
        assert sum(map(len, stream._came)) == 90
        assert stream._has_more
        stream.interrupted()
        assert stream._came_bytes == 0

    asyncio.run(come())


def test_two_messages_behind_one_hole_ask_once_before_all_is_asked_for(stream):
    async def behind() -> tuple[bool, bool]:
        stream._client, stream._task = SimpleNamespace(), asyncio.create_task(asyncio.sleep(60))
        stream._has_more = False
        stream.ask_before()
        stream.ask_before()
        first = stream._is_doubtful
        stream._has_more = False  # the server was asked, and the rows before did not come
        stream.ask_before()
        stream.interrupted()
        return first, stream._is_doubtful

    assert asyncio.run(behind()) == (False, True)

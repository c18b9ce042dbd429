"""What fills one store of a reader from one group of a room: the rows that the server keeps, then those that come."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aries_nb.model import CLEAR, PUT, Rejected, Subscription, Values
from aries_nb.model.clock import elapsed
from aries_nb.net.connection_errors import ConnectionLostError
from aries_nb.net.intake import Route
from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.format import Batch, Beat, Group, Head
from aries_nb.store import RollingFrame

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

__all__ = ["ANSWER_SECONDS", "Changes", "RoomStream", "StreamOwner", "refusal"]

ANSWER_SECONDS = 5.0
PENDING_MESSAGES, PENDING_BYTES = 65_536, 64 << 20  # received, and not taken yet
BATCH, BATCH_BYTES = 5_000, 8 << 20  # asked for at once
TOGETHER = 50  # messages that are taken together
MOST_CAME, MOST_CAME_BYTES = 1_000, 64 << 20  # that come live while the server is asked; of more, it is asked again
MOST_LIST_BYTES = 64 << 20  # of a whole list
MOST_FRAMES = 1_000  # of publishers, of which is known which rows were taken
MOST_UNREADABLE = 1_000  # messages that are known again
END_OF_BATCH, NOT_FOUND = "204", "404"


class StreamOwner(Protocol):
    """The session that takes what comes."""

    def taken(self, stream: RoomStream, data: bytes, *, is_live: bool) -> None:
        """Take a message of a stream; `is_live` where it was not asked for."""

    def taken_kept(self, stream: RoomStream, messages: Sequence[bytes], *, is_last: bool = True) -> None:
        """Take messages of rows that were asked for, in their order; `is_last` once no more are kept."""

    def caught_up(self, stream: RoomStream) -> None:
        """Note that a stream has all that the server keeps."""

    def problem(self, text: str) -> None:
        """Note a problem, as the newest one."""


class Changes(NamedTuple):
    """What a message changes in a list: records for `Intake.take_states`, and what is counted besides.

    Rows of a whole list are `filled`; `conflated` are states in between, of which the publisher sent the newest.
    `is_broken`: from now on the list may be out of date.
    """

    records: Sequence[tuple[int, int, Values, int]] = ()
    filled: int = 0
    conflated: int = 0
    is_broken: bool = False


class RoomStream:
    """The rows of one group for the routes of one store. Used on the network's thread.

    `next` is the number of the next row, None before the first, and `life` the frame of the publisher that they come
    from. Up to message `seq` of the server's stream all are read. `epoch` and `beat` are the publisher of the newest
    rows, and its newest sign of life when it sent them: subjects keep no order among each other.
    """

    def __init__(self, group: Group, routes: Sequence[Route], address: RoomAddress, owner: StreamOwner) -> None:
        self.group, self.routes = group, routes
        self._address, self._owner = address, owner
        self.next: int | None = None
        self.life = self.epoch = ""
        self.seq = self.beat = 0
        self.is_caught_up = False
        self.caught_up = asyncio.Event()
        """Set once it has been caught up."""
        self.has_hole = False
        """Whether rows are missing since the break."""
        self.is_held = False
        """Whether a replay began anew, which this reader did not follow: nothing is taken."""
        self.received = 0
        """When the publisher received the newest row, in ns since the epoch."""
        self.late_since: float | None = None
        self.asked_at: tuple[str, int] | None = None  # `life` and `next` when late rows were asked for
        self.prices: set[float] = set()  # of a book
        self.updates = 0
        self._frames: dict[tuple[str, str], int] = {}  # by `epoch` and `life`: the next row of each, newest last
        self.parts: list[Batch] = []  # of a list that goes on
        self._kept: list[Batch] = []  # of a list, asked for: they are taken together
        self._kept_octets = self._kept_bytes = 0  # of the messages, and of their rows
        self._whole_at = 0  # where in `_kept` the newest whole list begins
        self._unreadable: dict[bytes, None] = {}  # digests, newest last
        self._unread_at: tuple[str, int | None] | None = None  # `life` and `next` where the newest of them was noted
        self.is_after_unreadable = False
        """Whether the message before the next one, of those that were asked for, cannot be read."""
        self.resumed: Counter[int] = Counter()
        """Rows by code, since the break."""
        self.is_partial = False
        """Whether the server is asked for what is behind message `seq` alone."""
        self._behind_at: tuple[str, int] | None = None  # `life` and `next` when rows before live ones were asked for
        self._has_more = False  # to be asked for
        self._is_doubtful = False  # `seq`: the server may have lost messages, and have others of these numbers
        self._came: list[bytes] = []  # live, while it asked
        self._came_bytes = 0
        self._is_current = False  # a state came since the server was asked: its answer may be an older one
        self._client: Client | None = None
        self._subscription: Any = None  # to what comes live
        self._task: asyncio.Task[None] | None = None  # that asks

    @property
    def is_book(self) -> bool:
        """Whether it brings whole states instead of rows, of which the newest counts."""
        return self.group.kind == "book"

    @property
    def is_open(self) -> bool:
        """Whether it takes what comes on the present connection."""
        return self._subscription is not None

    @property
    def is_asking(self) -> bool:
        """Whether the server is being asked for what was not read."""
        return self._task is not None and not self._task.done()

    def said_by(self, beat: Beat) -> tuple[str, int, bool]:
        """Return the `life`, `first` and `is_anew` of the next batch; blank ones where it is not served."""
        return beat.rows.get(self.group.id, ("", 0, False))

    def is_newer_than(self, beat: Beat) -> bool:
        """Whether rows were taken that the publisher sent after a sign of life."""
        return beat.epoch == self.epoch and beat.number <= self.beat

    def is_replaced_by(self, beat: Beat) -> bool:
        """Whether the publisher has begun anew, with rows that are all still to come."""
        life, first, is_anew = self.said_by(beat)
        is_other = self.is_caught_up and not self.is_book and "" not in (life, self.life) and life != self.life
        return is_other and (is_anew or not (first or self.group.is_list or self.is_held))

    def is_of_another_frame(self, beat: Beat) -> bool:
        """Whether the rows that were taken are not of the frame that the publisher has now."""
        is_known = self.is_caught_up and not self.is_book and not self.is_held and self.next is not None
        return is_known and not self.is_newer_than(beat) and self.said_by(beat)[0] != self.life

    def is_complete(self, beat: Beat) -> bool:
        """Whether all rows were taken that the publisher had sent, as far as is known."""
        if not self.is_caught_up or self.is_book or self.is_held or self.next is None or self.is_newer_than(beat):
            return self.is_caught_up
        life, sent, _ = self.said_by(beat)
        return self.next >= sent if life == self.life else not sent

    def is_late(self, beat: Beat) -> bool:
        """Whether rows that the publisher has sent have not come, or the server has not answered."""
        if not self.is_caught_up or self.is_book or self.is_held or self.is_newer_than(beat):
            return not self.is_caught_up
        life, sent, is_anew = self.said_by(beat)
        if life == self.life or not self.life:
            return life == self.life and sent > (self.next or 0)
        return sent > 0 and not is_anew

    def is_outdated(self, head: Head) -> bool:
        """Whether a batch is of a frame in whose place another one is by now: of rows, or as a sign of life said."""
        is_over = (head.epoch, head.life) in self._frames or (head.epoch == self.epoch and head.beat < self.beat)
        return head.life != self.life and is_over

    def is_behind(self, head: Head) -> bool:
        """Whether rows before those of a batch have not come."""
        if self.is_book or self.next is None or head.is_anew or self.is_outdated(head):
            return False
        return head.first > self.next if head.life == self.life else True

    def __str__(self) -> str:
        symbols = self.group.symbols
        return f"{self.group.kind} of {', '.join(symbols[:3])}{' …' * (len(symbols) > 3)}"

    def interrupted(self) -> None:
        """Note that the connection broke."""
        self.is_caught_up, self._subscription, self._client = False, None, None
        if self._task is not None:
            self._task.cancel()  # it would wait for an answer on the broken connection
        self._task = None
        self._drop_came()
        if self.group.is_list:  # the whole list says which rows are current
            self.forget()

    def forget(self) -> None:
        """Take what the server keeps from the oldest on."""
        self._frames = {frame: number for frame, number in self._frames.items() if frame[1] != self.life}
        self.next, self.life, self.seq, self.parts = None, "", 0, []
        self.take_kept()

    def enter(self, life: str) -> None:
        """Have the rows of another frame; of one that was here before, those behind the last one that was taken."""
        self.life = life
        self.next = max((number for (_, each), number in self._frames.items() if each == life), default=None)

    def follow(self, beat: Beat) -> None:
        """Go on with the row that the publisher sends next, as its sign of life says."""
        self.life, number, _ = self.said_by(beat)
        self.epoch, self.beat = beat.epoch, beat.number
        self.reach(beat.epoch, number)

    def reach(self, epoch: str, number: int) -> None:
        """Note that the rows of the present frame before a number need not come: a publisher, `epoch`, sent them."""
        self.next = number
        self._frames.pop((epoch, self.life), None)
        self._frames[epoch, self.life] = number
        if len(self._frames) > MOST_FRAMES:
            del self._frames[next(iter(self._frames))]

    def is_first_unreadable(self, data: bytes) -> bool:
        """Note a message that cannot be read, and return whether it came the first time: it may be asked for again."""
        digest = blake2s(data).digest()
        if digest in self._unreadable:
            return False
        self._unreadable[digest] = None
        if len(self._unreadable) > MOST_UNREADABLE:
            del self._unreadable[next(iter(self._unreadable))]
        self._unread_at = self.life, self.next
        return True

    @property
    def is_told(self) -> bool:
        """Whether the rows that come next are missing as their message cannot be read, which is a gap already."""
        return self._unread_at == (self.life, self.next)

    def keep(self, batches: Sequence[Batch], octets: int) -> bool:
        """Keep batches of a list that were asked for; where all were, from the newest whole list on.

        Returns whether they have to be taken, because there are too many.
        """
        for batch in batches:
            if self.is_outdated(batch.head):
                continue
            if batch.head.is_anew:
                self._whole_at = len(self._kept)
            self._kept.append(batch)
            self._kept_bytes += batch.table.nbytes
            if self._whole_at and not batch.head.goes_on and not self.is_partial:
                del self._kept[: self._whole_at]
                self._kept_bytes = sum(each.table.nbytes for each in self._kept)
                self._whole_at = 0
        self._kept_octets += octets
        return self._kept_bytes > MOST_LIST_BYTES

    def take_kept(self) -> tuple[list[Batch], int]:
        """Return the batches of a list that were kept, with the size of their messages, and keep them no more."""
        kept = self._kept, self._kept_octets
        self._kept, self._kept_octets, self._kept_bytes, self._whole_at = [], 0, 0, 0
        return kept

    def begin_anew(self) -> None:
        """Have the rows that the server keeps, from the oldest on."""
        self.is_held, self.is_caught_up = False, False
        self.forget()
        self.routes[0].sink.restart()
        self.ask()

    async def open(self, client: Client) -> None:
        """Take what comes live on a new connection, and ask for what the server keeps."""
        id_ = self.group.id
        subject = self._address.states(id_) if self.is_book else self._address.rows(id_)
        self._client = client
        self._subscription = await client.subscribe(
            subject, cb=self._come, pending_msgs_limit=PENDING_MESSAGES, pending_bytes_limit=PENDING_BYTES
        )
        self.ask()

    async def close(self) -> None:
        """Take nothing more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(Exception):  # the connection is broken
                await subscription.unsubscribe()

    def ask(self) -> None:
        """Ask the server for what was not read, unless that goes on already."""
        self._has_more = True
        if not self.is_asking and self._client is not None:
            self.late_since = None
            self._task = asyncio.get_running_loop().create_task(self._asking(self._client))

    def ask_before(self) -> None:
        """Ask for rows before those that came live; for all, where they were asked for and did not come."""
        at = self.life, self.next or 0
        if self.is_asking and self._has_more:
            return  # it is going to be asked
        if self._behind_at == at:
            self.ask_all()
        else:
            self._behind_at = at
            self.ask()

    def ask_all(self) -> None:
        """Ask the server for all that it keeps: rows that were taken are dropped."""
        self._is_doubtful = True
        self.ask()

    async def _come(self, message: Msg) -> None:
        self._is_current = True
        if not self.is_asking or self.is_book:
            self._owner.taken(self, message.data, is_live=True)
        elif len(self._came) < MOST_CAME and self._came_bytes + len(message.data) <= MOST_CAME_BYTES:
            self._came.append(message.data)  # its place is behind what is asked for
            self._came_bytes += len(message.data)
        else:
            self._has_more = True

    def _drop_came(self) -> None:
        self._came, self._came_bytes = [], 0

    def _take_came(self) -> None:
        """Take what came live while the server was asked: to ask for it as well might never end."""
        came = self._came
        self._drop_came()
        for data in came:
            if self.routes:
                self._owner.taken(self, data, is_live=True)

    async def _asking(self, client: Client) -> None:
        from nats.errors import Error

        try:
            while self._has_more:
                self._has_more = False
                if self._is_doubtful:
                    self.seq, self._is_doubtful = 0, False
                self.is_partial = self.seq > 0
                if self.is_book:
                    await self._ask_newest(client)
                else:
                    await self._ask_rows(client)
                    self._take_came()
        except (Error, OSError, TimeoutError, ConnectionLostError) as error:  # it is tried again
            self._owner.problem(str(error) or type(error).__name__)
            self.late_since = elapsed()
            self._drop_came()
            return
        self.is_caught_up, self.is_partial = True, False
        self._set_past(is_past=False)
        self._owner.caught_up(self)
        self.caught_up.set()

    async def _ask_newest(self, client: Client) -> None:
        from nats.js.errors import NotFoundError

        address = self._address
        stream = client.jetstream(timeout=ANSWER_SECONDS)
        with suppress(NotFoundError):
            self._is_current = False
            kept = await stream.get_last_msg(address.state_stream, address.states(self.group.id), direct=True)
            if not self._is_current:
                self._owner.taken(self, kept.data or b"", is_live=False)

    async def _ask_rows(self, client: Client) -> None:
        """Ask for all messages behind the last one that was read. A server before 2.11 gives one at a time."""
        answers: list[Msg] = []
        is_whole = asyncio.Event()

        async def answered(message: Msg) -> None:
            answers.append(message)
            said = message.headers or {}
            if "Status" in said or "Nats-Num-Pending" not in said:
                is_whole.set()

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=answered, pending_bytes_limit=PENDING_BYTES)
        subject = self._address.rows(self.group.id)
        self._set_past(is_past=not self.is_caught_up)
        try:
            is_over = False
            while not is_over and self.routes:
                wanted = {"seq": self.seq + 1, "next_by_subj": subject, "batch": BATCH, "max_bytes": BATCH_BYTES}
                question = json.dumps(wanted).encode()
                await client.publish(f"$JS.API.DIRECT.GET.{self._address.row_stream}", question, reply=inbox)
                await _progressing(is_whole, answers)
                messages, last = answers[:], answers[-1].headers or {}
                answers.clear()
                is_whole.clear()
                is_over = _is_over(last)
                await self._take_answer([each for each in messages if "Status" not in (each.headers or {})])
            if self.routes:
                self._owner.taken_kept(self, [])
        finally:
            with suppress(Exception):  # the connection is broken
                await subscription.unsubscribe()

    async def _take_answer(self, messages: Sequence[Msg]) -> None:
        """Take the messages of one answer, and let the loop run in between."""
        for start in range(0, len(messages), TOGETHER):
            some = messages[start : start + TOGETHER]
            for message in some:
                number = (message.headers or {}).get("Nats-Sequence", "")
                if not number.isdecimal() or int(number) <= self.seq:
                    raise ConnectionLostError("the server's answer has no order")
                self.seq = int(number)
            if self.routes:
                self._owner.taken_kept(self, [message.data for message in some], is_last=False)
            await asyncio.sleep(0)

    def changes_of(self, batch: Batch, received: int) -> Changes | None:
        """Return what a batch changes in a list; None where changes before it are missing. A whole list heals that."""
        head = batch.head
        is_ours = (head.epoch, head.life) == (self.epoch, self.life)
        if head.is_anew and is_ours and self.next is not None and head.first < self.next:
            return Changes()  # it came twice
        if head.is_same and head.life == self.life and head.first == self.next and not self.parts:
            self.reach(head.epoch, head.first + batch.rows)  # the whole list once more
            return Changes()
        if head.is_anew:
            self.epoch, self.life, self.next, self.parts = head.epoch, head.life, head.first, []
        elif head.life != self.life or self.next is None:
            return Changes(is_broken=head.is_broken)  # the whole list is still to come
        elif head.first > self.next:
            return None
        is_whole = head.is_anew or bool(self.parts)
        batch = batch.since(self.next or 0)
        self.reach(head.epoch, batch.head.first + batch.rows)
        if not batch.rows:
            return Changes()  # it came twice
        self.late_since = None
        self.parts.append(batch)
        if head.goes_on and sum(part.table.nbytes for part in self.parts) < MOST_LIST_BYTES:
            return Changes()
        parts, self.parts = self.parts, []
        fields = self.routes[0].subscription.fields
        codes = {route.subscription.symbol: route.code for route in self.routes}
        found = [row for each in parts for row in each.rows_of(self.group, fields)]
        records = [(codes[symbol], ts, (PUT, *values), at) for symbol, ts, at, values in found if symbol in codes]
        updates, self.updates = self.updates, head.count
        if not is_whole:
            is_all = len(codes) == len(self.group.symbols)
            conflated = max(head.count - updates - len(records), 0) if is_all else 0
            return Changes(records, conflated=conflated, is_broken=head.is_broken)
        newest = max((at for *_, at in records), default=received)
        begin = [(code, 0, (CLEAR, *[0] * len(fields)), newest) for code in codes.values()]
        return Changes(begin + records, filled=len(records), is_broken=head.is_broken)

    def _set_past(self, *, is_past: bool) -> None:
        if self.routes and isinstance(sink := self.routes[0].sink, RollingFrame):
            sink.lags.is_past = is_past


async def _progressing(is_whole: asyncio.Event, answers: Sequence[object]) -> None:
    """Wait until an answer is whole. Raises TimeoutError where nothing of it comes for 5 s: a network may be slow."""
    while not is_whole.is_set():
        count = len(answers)
        try:
            await asyncio.wait_for(is_whole.wait(), ANSWER_SECONDS)
        except TimeoutError:
            if len(answers) == count:
                raise


def _is_over(said: Mapping[str, str]) -> bool:
    """Return whether the last message of an answer says that there are no more. Raises ConnectionLostError."""
    status = said.get("Status")
    if status is None:  # of a server that gives one at a time
        return False
    if status not in {END_OF_BATCH, NOT_FOUND}:
        raise ConnectionLostError(f"the server has no rows ({status} {said.get('Description', '')[:100]})")
    return status == NOT_FOUND or said.get("Nats-Num-Pending", "0") == "0"


def refusal(subscription: Subscription, groups: Sequence[Group]) -> Rejected:
    """Return why a subscription has no rows in a room: what it has instead."""
    kind, symbol = subscription.kind, subscription.symbol
    same = [group for group in groups if group.kind == kind]
    symbols = sorted({each for group in same for each in group.symbols})
    own = [group for group in same if symbol in group.symbols and group.is_list and group.options]
    if own and subscription.options not in [group.options for group in own]:
        known = " or ".join(", ".join(f"{name} {text or 'any'}" for name, text in group.options) for group in own)
        return Rejected((subscription,), f"the room has {kind} of {known}")
    if symbol in symbols:
        fields = " or ".join(", ".join(name for name, _ in group.columns) for group in same if symbol in group.symbols)
        return Rejected((subscription,), f"of {symbol} the room has only {fields}")
    some = f"{', '.join(symbols[:20])}{' …' * (len(symbols) > 20)}" or "none"
    return Rejected((subscription,), f"the room has {kind} of: {some}", is_unknown_symbol=True)

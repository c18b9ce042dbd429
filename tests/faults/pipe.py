"""One WebSocket connection through the fault proxy: its faults, and the messages delivered."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tests.faults.faults import (
    Cut,
    Delay,
    Drip,
    Duplicate,
    Expire,
    Fault,
    Fragment,
    Hang,
    Join,
    Kick,
    Outage,
    Refuse,
    Reorder,
    Rubbish,
    StallDown,
    StallUp,
    Throttle,
)
from tests.faults.frames import BINARY, CLOSE, TEXT, Frame, closing, encoded, fragmented, read_frame

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Coroutine, Sequence

    from tests.faults.messages import Dialect, Key

__all__ = ["Crossing", "Ends", "Line", "Pipe", "Plan"]

LONGEST_STALL = 2.5  # seconds that a client has to give up
GOODBYE_SECONDS = 1.0
DRAIN_SECONDS = 5.0
ABRUPT = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset
RUBBISH = {"text": b"rubbish", "half a character": b'{"data":"\xff\xc3"}', "deep": b"[" * 2_000, "empty": b""}

Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Plan(Protocol):
    """State shared by all connections of a proxy: when the next fault is due, and what happens to later connections."""

    is_calm: bool
    refusals: deque[Refuse | Hang]
    kicks: deque[int]

    @property
    def room(self) -> int | None:
        """The number of stream messages before the next fault; None where there is none."""

    def count(self, messages: int) -> None:
        """Count delivered stream messages."""

    def next_fault(self) -> Fault:
        """The fault that is due."""

    def running(self, change: int) -> None:
        """Count a lasting fault that begins (1) or ends (-1)."""

    def go_away(self, seconds: float) -> None:
        """Close all connections with a close frame, and do not listen for a while."""

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine in the background."""


@dataclass(slots=True, eq=False)
class Line:
    """One message of the server: its stream (None: about the session), and when it arrived here, in ns.

    `delivered` are the times of its complete deliveries.
    """

    text: bytes
    key: Key | None
    arrived: int
    is_injected: bool = False
    delivered: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Crossing:
    """One connection through the proxy: what the server sent on it, and what the client got, in the order of each.

    `ended` is when the client's side ended (ns), `by_client` whether the client ended it: then the newest of what was
    delivered may have stayed unread.
    """

    number: int
    path: str
    opened: int
    sent: list[Line] = field(default_factory=list)
    delivered: list[Line] = field(default_factory=list)
    ended: int = 0
    by_client: bool = False


class EndedError(OSError):
    """The connection has ended for the client."""


class Pipe:
    """One WebSocket connection. The server's side is always read to its end, so that what it sent is known."""

    def __init__(self, plan: Plan, dialect: Dialect, crossing: Crossing, *, client: Ends, server: Ends) -> None:
        self._plan = plan
        self._crossing = crossing
        self._dialect = dialect
        self._client, self._server = client, server
        self._frames: asyncio.Queue[tuple[Frame, list[Line]] | None] = asyncio.Queue()
        self._said: asyncio.Queue[Frame] = asyncio.Queue()
        self._calmed = asyncio.Event()
        self._dismissed = asyncio.Event()
        self._gone = asyncio.Event()  # the client has closed, or said goodbye
        self._held: list[Line] = []
        self._joined: list[tuple[bytes, Sequence[Line]]] = []
        self._is_goodbye_said = False
        self._up_until: float = 0.0
        self._modes: Counter[str] = Counter()  # of how many messages more
        self._delay, self._octets_per_s, self._pieces = 0.0, 1, 1
        self._left = plan.kicks.popleft() if plan.kicks else 0  # messages until it is kicked, 0 for never
        client[1].transport.set_write_buffer_limits(0)

    def calm(self) -> None:
        self._calmed.set()

    def dismiss(self) -> None:
        self._dismissed.set()
        self._frames.put_nowait(None)

    def abort(self) -> None:
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    async def run(self) -> None:
        intake, up = asyncio.create_task(self._intake()), asyncio.create_task(self._up())
        read, down = asyncio.create_task(self._read()), asyncio.create_task(self._down())
        try:
            await asyncio.wait({read, down}, return_when=asyncio.FIRST_COMPLETED)
            self._crossing.by_client = not self._crossing.ended
            self._crossing.ended = self._crossing.ended or time.time_ns()
            down.cancel()
            await asyncio.wait({down})
            if not down.cancelled() and (error := down.exception()) is not None and not isinstance(error, OSError):
                raise error
            self._client[1].close()
            up.cancel()
            self._calmed.set()
            self._ask_to_close()
            await asyncio.wait({intake}, timeout=DRAIN_SECONDS)
        finally:
            for task in (up, read, down, intake):
                task.cancel()
            await asyncio.wait({up, read, down, intake})
            self.abort()

    # From the server to the client.

    async def _intake(self) -> None:
        """Read and record everything that the server sends, to its end."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await read_frame(self._server[0])
                now, lines = time.time_ns(), []
                if frame.opcode in (TEXT, BINARY):
                    texts = self._dialect.lines(frame.payload)
                    lines = [Line(text, self._dialect.key(text), now) for text in texts]
                    self._crossing.sent += lines
                self._frames.put_nowait((frame, lines))
        self._frames.put_nowait(None)

    async def _down(self) -> None:
        while True:
            if self._plan.is_calm or self._calmed.is_set():
                await self._let_go()
            item = await self._next()
            if item is None:
                await self._end(Cut("close") if self._dismissed.is_set() else Cut("fin"))
            frame, lines = item
            if not lines:
                self._write(frame.raw)
                if frame.opcode == CLOSE:
                    self._crossing.ended = time.time_ns()
                    await self._wait_gone(GOODBYE_SECONDS)
                    raise EndedError
                continue
            while lines:
                count = self._until_fault(lines)
                if count:
                    await self._deliver(lines[:count])
                    lines = lines[count:]
                if self._plan.room == 0:
                    await self._perform(self._plan.next_fault(), lines)

    async def _next(self) -> tuple[Frame, list[Line]] | None:
        """The next frame; meanwhile what is held back is let go as soon as it is calm."""
        if not self._frames.empty() or self._calmed.is_set():
            return await self._frames.get()
        get, calm = asyncio.create_task(self._frames.get()), asyncio.create_task(self._calmed.wait())
        try:
            await asyncio.wait({get, calm}, return_when=asyncio.FIRST_COMPLETED)
            if not get.done():
                await self._let_go()
            return await get
        finally:
            get.cancel()
            calm.cancel()

    def _until_fault(self, lines: Sequence[Line]) -> int:
        """The number of these messages before the next fault."""
        room = self._plan.room
        if room is None:
            return len(lines)
        for place, line in enumerate(lines):
            if line.key is not None:
                if not room:
                    return place
                room -= 1
                if not room:
                    return place + 1
        return len(lines)

    async def _deliver(self, lines: list[Line]) -> None:
        """Deliver messages in the present mode."""
        streams = sum(line.key is not None for line in lines)
        self._plan.count(streams)
        modes = self._modes
        if modes["reorder"] or self._held:
            lines = self._reordered(lines)
        if modes["duplicate"]:
            lines = [each for line in lines for each in ((line, line) if self._takes("duplicate", line) else (line,))]
        is_slow = any(modes[name] > 0 for name in ("drip", "delay", "throttle", "fragment", "join"))
        for batch in [[line] for line in lines] if is_slow else [lines]:
            await self._hand_on(batch)
        if self._left and streams:
            self._left -= min(self._left, streams)
            if not self._left:
                await self._end(Cut("close", 1008))

    async def _hand_on(self, batch: Sequence[Line]) -> None:
        modes = self._modes
        if self._takes("delay"):
            await self._pause(self._delay)
        payloads = self._dialect.frames([line.text for line in batch])
        is_split = self._takes("fragment")
        data = b"".join(fragmented(each, self._pieces) if is_split else encoded(TEXT, each) for each in payloads)
        self._joined.append((data, batch))
        if self._takes("join") and modes["join"] > 0:
            return
        data = self._noted()
        if self._takes("drip"):
            for at in range(len(data)):
                self._write(data[at : at + 1])
                await asyncio.sleep(0)
        elif self._takes("throttle"):
            step = max(len(data) // 4, 1)
            for at in range(0, len(data), step):
                self._write(data[at : at + step])
                await self._pause(step / self._octets_per_s)
        else:
            self._write(data)
        await self._client[1].drain()

    def _noted(self) -> bytes:
        """The bytes to write now, recorded as delivered first: the client may have them before the write returns."""
        joined, self._joined = self._joined, []
        now = time.time_ns()
        for _, batch in joined:
            for line in batch:
                line.delivered.append(now)
            self._crossing.delivered += batch
        return b"".join(data for data, _ in joined)

    def _takes(self, mode: str, line: Line | None = None) -> bool:
        """Whether a mode applies to one more message, which is counted."""
        if self._modes[mode] <= 0 or (line is not None and line.key is None):
            return False
        self._modes[mode] -= 1
        return True

    def _reordered(self, lines: list[Line]) -> list[Line]:
        out: list[Line] = []
        for line in lines:
            if line.key is None:
                out.append(line)
            elif self._held:
                out += [line, *self._held]
                self._held = []
            elif self._takes("reorder"):
                self._held = [line]
            else:
                out.append(line)
        return out

    async def _let_go(self) -> None:
        """Deliver what is held back."""
        self._modes.clear()
        held, self._held = self._held, []
        if self._joined:
            self._write(self._noted())
        if held:
            self._plan.count(-sum(line.key is not None for line in held))
            await self._deliver(held)

    async def _perform(self, fault: Fault, lines: Sequence[Line]) -> None:
        """Perform a fault; `lines` are the next messages."""
        plan, modes = self._plan, self._modes
        match fault:
            case Cut():
                await self._end(fault, lines)
            case StallDown(seconds):
                await self._stall(seconds)
            case StallUp(seconds):
                self._up_until = time.monotonic() + (LONGEST_STALL if seconds is None else seconds)
                plan.spawn(self._stall(seconds))
            case Drip(messages):
                modes["drip"] += messages
            case Delay(messages, self._delay):
                modes["delay"] += messages
            case Throttle(messages, self._octets_per_s):
                modes["throttle"] += messages
            case Fragment(messages, self._pieces):
                modes["fragment"] += messages
            case Join(messages):
                modes["join"] += messages
            case Duplicate(messages):
                modes["duplicate"] += messages
            case Reorder():
                modes["reorder"] += 1
            case Rubbish(what):
                await self._inject(what)
            case Expire():
                if self._dialect.is_open(self._crossing.delivered):
                    await self._say(self._dialect.expiry())
                await self._end(Cut("close", 1008))
            case Refuse(_, times):
                plan.refusals.extend([fault] * times)
                await self._end(Cut("rst"))
            case Hang():
                plan.refusals.append(fault)
                await self._end(Cut("rst"))
            case Kick(times, messages):
                plan.kicks.extend([messages] * times)
                await self._end(Cut("close", 1008))
            case Outage(seconds):
                plan.go_away(seconds)
                await self._end(Cut("close", 1001))

    async def _inject(self, what: str) -> None:
        if what == "bad opcode":
            self._write(encoded(0x3, b"?"))
        elif what == "oversized":
            self._write(bytes([0x80 | TEXT, 127]) + (2**40).to_bytes(8))
        elif what == "binary":
            await self._say(b"\x00\xff\x00", opcode=BINARY)
        else:
            await self._say(self._dialect.stranger() if what == "stranger" else RUBBISH[what])
        if what in ("bad opcode", "oversized"):
            self._crossing.ended = time.time_ns()
            await self._wait_gone(LONGEST_STALL)
            raise EndedError

    async def _say(self, text: bytes, *, opcode: int = TEXT) -> None:
        """Send a message of our own."""
        self._write(encoded(opcode, text))
        await self._client[1].drain()
        now = time.time_ns()
        self._crossing.delivered.append(Line(text, None, now, is_injected=True, delivered=[now]))

    async def _stall(self, seconds: float | None) -> None:
        self._plan.running(1)
        gone, calm = asyncio.create_task(self._gone.wait()), asyncio.create_task(self._calmed.wait())
        try:
            longest = LONGEST_STALL if seconds is None else seconds
            await asyncio.wait({gone, calm}, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            calm.cancel()
            self._plan.running(-1)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._calmed.wait(), seconds)

    async def _end(self, how: Cut, lines: Sequence[Line] = ()) -> None:
        """End the client's side once what was delivered has got there: a reset would empty our own buffers."""
        writer = self._client[1]
        self._crossing.ended = time.time_ns()
        if how.how == "torn" and lines:
            data = encoded(TEXT, lines[0].text)
            self._write(data[: len(data) // 2])
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await writer.drain()
                while _unsent(writer):  # noqa: ASYNC110 - the system sends no event
                    await asyncio.sleep(0.001)
        if how.how == "close":
            self._write(closing(how.code))
            await self._wait_gone(GOODBYE_SECONDS)
        elif how.how == "rst":
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
            writer.transport.abort()
        raise EndedError

    def _write(self, data: bytes) -> None:
        self._client[1].write(data)

    async def _wait_gone(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), seconds)

    # From the client to the server.

    async def _read(self) -> None:
        """Read what the client says to its end: also while it is held back, its own end is seen at once."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await read_frame(self._client[0])
                if frame.opcode in (TEXT, BINARY):
                    self._dialect.asked(frame.payload)
                elif frame.opcode == CLOSE:
                    self._gone.set()
                self._said.put_nowait(frame)
        self._gone.set()

    async def _up(self) -> None:
        while True:
            frame = await self._said.get()
            left = self._up_until - time.monotonic()
            if left > 0:
                await self._pause(left)
            self._is_goodbye_said |= frame.opcode == CLOSE
            self._server[1].write(frame.raw)

    def _ask_to_close(self) -> None:
        """Ask the server to end its side properly: what it has sent by then still arrives."""
        if not self._is_goodbye_said:
            self._is_goodbye_said = True
            with suppress(OSError):
                self._server[1].write(closing(1000, is_masked=True))


def _unsent(writer: asyncio.StreamWriter) -> int:
    """How many bytes the client's kernel has not acknowledged."""
    raw = writer.get_extra_info("socket")
    if raw is None or raw.fileno() < 0:
        return 0
    return int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)), "little")

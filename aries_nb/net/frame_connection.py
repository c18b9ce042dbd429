"""WebSocket connection that cuts whole messages out of each read itself, which costs a tenth of parsing any frame.

The package websockets does all else: handshake, proxies, control frames, fragments, closing, what breaks the rules, and
a frame that the end of a read cuts in two. It leaves two doors open: `create_connection=` takes a subclass of its
connection, and a subclass may process events. Only `net/websocket.py` imports this module.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import NoReturn, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State

__all__ = ["MAX_FRAGMENTS", "MAX_FRAME", "FrameConnection", "Take"]

Take: TypeAlias = Callable[[deque[bytes]], None]

MAX_FRAME = 16 * 2**20  # bytes, more than a read: a larger frame or message closes the connection
MAX_FRAGMENTS = 4_096  # of one message, as newer websockets has it: empty ones would fill the memory too
TEXT, BINARY = 0x81, 0x82  # the first byte of a whole message, without reserved bits
LENGTH_16, LENGTH_64 = 126, 127  # a second byte: 2 or 8 bytes of length follow. It is the length if smaller
_HEADER = Struct(">BBH").unpack_from  # first byte, length, 2 bytes of length where they follow
HEAD_END = b"\r\n\r\n"  # of the answer to the handshake
_OPCODES = frozenset(Opcode)
_OF_MESSAGES = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})


class FrameConnection(ClientConnection):
    """A connection that gives the messages of each read to one function. Nothing comes out of `recv`.

    Used on the thread of its event loop only, and without compression. `unread` has the messages that were received and
    not yet taken, oldest first. While there are any, nothing more is read, and the server has to wait: they are those
    of one read.
    """

    unread: deque[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without a message."""
        super().connection_made(transport)
        self.unread = deque()
        self._take: Take | None = None
        self._is_paused = False
        self._over = asyncio.Event()  # set once the connection is lost and nothing unread, or `_take` has raised
        self._failure: Exception | None = None  # what it has raised
        self._head = b""  # the last bytes of the answer to the handshake, so far
        self._rest = b""  # the beginning of a header, which the next read completes
        self._missing = 0  # bytes of a frame whose beginning websockets has
        self._fragments: list[bytes] = []  # of a message, so far
        self._closing: asyncio.Task[None] | None = None

    async def deliver(self, take: Take) -> NoReturn:
        """Call `take` with `unread` after each read, until the connection ends.

        `take` removes from the left the messages that it processes. If it leaves some, it is called again in the next
        turn of the loop, and nothing is read until then. Raises what `take` raises; or ConnectionClosed at the end of
        the connection, once all messages are taken.
        """
        self._take = take
        self._offer()  # what came right behind the handshake
        try:
            await self._over.wait()
            if self._failure is not None:
                raise self._failure
            await self.recv()
            raise AssertionError("recv has no message")
        finally:
            self._take = deque.clear  # the end of the connection comes after what the server still sends
            self._offer()

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection. Messages that nothing takes are dropped: the server's answer may come after them."""
        if self._take is None:
            self._take = deque.clear
            self._offer()
        await super().close(code, reason)

    # What asyncio and websockets call.

    def data_received(self, data: bytes) -> None:
        """Take the messages out of `data`. What the function given to `deliver` raises does not leave this one."""
        if self.protocol.state is State.CONNECTING:
            data = self._without_handshake(data)
        if self.protocol.state is State.OPEN:
            self._cut(self._rest + data if self._rest else data)
        elif data:
            rest, self._rest = self._rest, b""
            super().data_received(rest + data)
        if self.unread and not self._is_paused:
            self._offer()

    def process_event(self, event: Event) -> None:
        """Collect the messages among what websockets has parsed."""
        if not isinstance(event, Frame) or event.opcode not in _OF_MESSAGES:
            super().process_event(event)
        elif event.fin and not self._fragments:
            self.unread.append(bytes(event.data))
        elif len(self._fragments) < MAX_FRAGMENTS:
            self._fragments.append(bytes(event.data))
            if event.fin:
                self.unread.append(b"".join(self._fragments))
                self._fragments.clear()
        elif self._closing is None:
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            super().data_received(b"")  # sends the close frame
            self._closing = asyncio.create_task(self.close())  # waits for the server, but not for long

    def connection_lost(self, exc: Exception | None) -> None:
        """End `deliver`, unless messages are unread: the last of them ends it."""
        super().connection_lost(exc)
        if not self.unread:
            self._over.set()

    # The hot path.

    def _cut(self, data: bytes) -> None:
        """Append the messages in `data` to `unread`: those in one frame cut here, the others parsed by websockets."""
        add, fragments, end = self.unread.append, self._fragments, len(data)
        at = self._parse(data, 0, self._missing) if self._missing else 0
        padded = data + bytes(2)  # a shorter header at the end is read whole
        while (start := at + 2) <= end:
            first, length, more = _HEADER(padded, at)
            if length == LENGTH_16:
                start += 2
                length = more
            elif length == LENGTH_64:
                start += 8
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length > LENGTH_64:  # masked
                break
            if start > end:
                break
            stop = start + length
            if stop <= end and TEXT <= first <= BINARY and not fragments:
                add(data[start:stop])
                at = stop
            else:
                at = self._parse(data, at, stop - at)
        if at + 1 < end and (data[at + 1] > LENGTH_64 or data[at] & 0x0F not in _OPCODES):
            at = self._parse(data, at, end - at)  # a fault, for websockets to name
        self._rest = data[at:]

    def _parse(self, data: bytes, at: int, length: int) -> int:
        """Let websockets parse a frame: `length` bytes of `data` from `at`, which later reads complete if it has fewer.

        Returns where the next frame begins: the end of `data` once the connection fails or is closed, for what follows
        does not count.
        """
        stop, end = at + length, len(data)
        super().data_received(data[at:stop])
        if self.protocol.state is not State.OPEN:
            return end
        self._missing = max(stop - end, 0)
        return min(stop, end)

    def _without_handshake(self, data: bytes) -> bytes:
        """Let websockets parse the answer to the handshake, and return what of `data` comes after it."""
        head = self._head + data
        end = head.find(HEAD_END)
        at = len(data) if end < 0 else end + len(HEAD_END) - len(self._head)
        super().data_received(data[:at])
        self._head = head[1 - len(HEAD_END) :]
        return data[at:]

    def _offer(self) -> None:
        """Let messages be taken; read on when none is left."""
        if self.unread and self._take is not None:
            try:
                self._take(self.unread)
            except Exception as error:
                self._failure, self._take = error, deque.clear
                self._over.set()
        if self.unread:
            self._is_paused = True
            self.transport.pause_reading()
            if self._take is not None:
                self.loop.call_soon(self._offer)
            return
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        if self.protocol.state is State.CLOSED:
            self._over.set()

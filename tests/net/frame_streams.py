"""Random streams of WebSocket frames, right and wrong ones, played to a connection in reads that are cut anywhere."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from aries_nb.net.frame_connection import MAX_FRAME, FrameConnection

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Cable", "Outcome", "frame", "open_connection", "play", "stream"]

MOST_FRAMES = 40
LENGTHS = (0, 1, 2, 60, 124, 125, 126, 127, 300, 65_535, 65_536)
CLOSES = (
    b"",
    b"\x03\xe8",
    b"\x03\xe9bye",
    b"\x03\xf4",
    b"\x0f\xa0own",
    b"\x03",
    b"\x03\xed",
    b"\x03\xe8\xff",
    b"\x00\x01x",
)
UNKNOWN = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)  # opcodes
HEADER = 10  # bytes of the longest one of a server


class Outcome(NamedTuple):
    """What a connection gave: the messages, the close frames received and sent, and the frames that were sent."""

    messages: list[bytes]
    received: tuple[int, str] | None
    sent: tuple[int, str] | None
    was_received_first: bool | None
    frames: list[tuple[int, bytes]]


class Cable(asyncio.Transport):
    """Where reads come from one by one, and what is written is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_paused = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    abort = close


def frame(first: int, payload: bytes, *, length: int | None = None, width: int = 0, mask: bytes = b"") -> bytes:
    """A frame with this first byte. `length` is a wrong one to claim, `width` the bytes of a longer form of it."""
    length = len(payload) if length is None else length
    width = max(width, 0 if length < 126 else 2 if length < 65_536 else 8)
    second = {0: length, 2: 126, 8: 127}[width] | (128 if mask else 0)
    return bytes((first, second)) + (length.to_bytes(width, "big") if width else b"") + mask + payload


def stream(dice: random.Random) -> list[bytes]:
    """Frames of a server; in two of three streams one of them is wrong, and more come after it. The end may be torn."""
    frames = [piece for _ in range(dice.randrange(MOST_FRAMES)) for piece in _right(dice)]
    if dice.random() < 0.67:
        frames.insert(dice.randint(0, len(frames)), _wrong(dice))
    if dice.random() < 0.2:
        last = _wrong(dice) if dice.random() < 0.5 else _right(dice)[0]
        frames.append(last[: dice.randint(0, min(len(last), dice.choice((3, HEADER, 70_000))))])
    return frames


def _payload(dice: random.Random) -> bytes:
    length = dice.choice(LENGTHS) if dice.random() < 0.3 else dice.randrange(90)
    return dice.randbytes(3) * (length // 3) + dice.randbytes(length % 3)


def _right(dice: random.Random) -> list[bytes]:
    """A message, whole or in fragments, or a control frame."""
    kind, first = dice.random(), dice.choice((1, 1, 2))
    if kind < 0.6:
        payload = _payload(dice)
        width = dice.choice((2, 8)) if dice.random() < 0.1 else 0
        return [frame(0x80 | first, payload, width=width)]
    if kind < 0.75:
        return [_control(dice)]
    fragments = [frame(first if at == 0 else 0, _payload(dice)) for at in range(dice.randint(1, 4))]
    fragments.append(frame(0x80, _payload(dice)))
    return [piece for each in fragments for piece in ([_control(dice), each] if dice.random() < 0.3 else [each])]


def _control(dice: random.Random) -> bytes:
    return frame(dice.choice((0x89, 0x8A)), dice.randbytes(dice.choice((0, 4, 125))))


def _wrong(dice: random.Random) -> bytes:
    """A frame that ends a connection, or that no server should send."""
    payload, first = _payload(dice), dice.choice((0x81, 0x82))
    return dice.choice(
        (
            *(frame(0x88, close) for close in CLOSES),
            frame(first, payload, mask=dice.randbytes(4)),
            frame(first, bytes(len(payload)), mask=bytes(4)),
            *(frame(0x80 | dice.choice(UNKNOWN), payload, width=width) for width in (0, 2, 8)),
            frame(first | dice.choice((0x40, 0x20, 0x10, 0x70)), payload),
            frame(first, payload, length=MAX_FRAME + dice.choice((1, 2**20, 2**40, 2**63)), width=8),
            frame(1, payload) + frame(0x80, b"", length=MAX_FRAME, width=8),
            frame(0x80, payload),  # a continuation of nothing
            frame(1, payload),  # a beginning without an end
            frame(1, payload) + frame(first, payload),
            frame(0x89, bytes(126)),  # a control frame that is too long
            frame(0x09, b""),  # one in fragments
            dice.randbytes(dice.randint(1, 12)),
        )
    )


async def open_connection(kind: type[ClientConnection], cable: Cable) -> tuple[ClientConnection, ServerProtocol, bytes]:
    """A connection on this cable that waits for the answer to its handshake, its server, and that answer."""
    protocol = ClientProtocol(parse_uri("ws://127.0.0.1/"), max_size=MAX_FRAME)
    connection = kind(protocol, ping_interval=None, close_timeout=None, max_queue=None)
    connection.connection_made(cable)
    shaking = asyncio.create_task(connection.handshake())
    await asyncio.sleep(0)
    shaking.cancel()
    server = ServerProtocol()
    server.receive_data(cable.written)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    cable.written = b""
    return connection, server, b"".join(server.data_to_send())


async def play(kind: type[ClientConnection], seed: int) -> Outcome:
    """Play the stream of this seed to a connection, cut into its reads, to the end of the connection."""
    dice = random.Random(seed)
    cable = Cable()
    connection, server, answer = await open_connection(kind, cable)
    reads = _reads([answer, *stream(dice)], dice)
    we_close = dice.randrange(len(reads)) if dice.random() < 0.1 else None
    messages: list[bytes] = []
    reading = asyncio.create_task(_read(connection, messages, dice))
    closing = None
    for number, each in enumerate(reads):
        while cable.is_paused:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
        connection.data_received(each)
        if isinstance(connection, FrameConnection):
            assert len(connection._rest) < HEADER
        for _ in range(dice.choice((0, 3))):
            await asyncio.sleep(0)
        if number == we_close and connection.response is not None:
            closing = asyncio.create_task(connection.close(1000, "enough"))
            await asyncio.sleep(0)
    connection.eof_received()
    connection.connection_lost(None)
    ended = await reading
    if closing is not None:
        await closing
    received, sent = (None if each is None else (each.code, each.reason) for each in (ended.rcvd, ended.sent))
    return Outcome(messages, received, sent, ended.rcvd_then_sent, _frames(server, cable.written))


def _reads(pieces: list[bytes], dice: random.Random) -> list[bytes]:
    """The pieces joined and cut anywhere, mostly in headers and where a piece ends."""
    data, ends = b"".join(pieces), list(accumulate(map(len, pieces)))
    anywhere = dice.choices(range(len(data) + 1), k=dice.choice((0, 1, 4, 30)))
    at_ends = dice.choices(ends, k=dice.choice((0, 1, 4, 30)))
    cuts = {*anywhere, *(min(max(end + dice.randint(-4, HEADER), 0), len(data)) for end in at_ends)}
    places = [0, *sorted(cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(places) if start < stop]


async def _read(connection: ClientConnection, messages: list[bytes], dice: random.Random) -> ConnectionClosed:
    def take(unread: deque[bytes]) -> None:
        for _ in range(most):
            if unread:
                messages.append(unread.popleft())

    most = random.Random(dice.random()).choice((1, 3, 100))
    try:
        if isinstance(connection, FrameConnection):
            await connection.deliver(take)
        while True:
            messages.append(await connection.recv(decode=False))
    except ConnectionClosed as closed:
        return closed


def _frames(server: ServerProtocol, written: bytes) -> list[tuple[int, bytes]]:
    """The frames that a client has written, without their masks."""
    server.receive_data(written)
    return [(event.opcode, bytes(event.data)) for event in server.events_received() if isinstance(event, Frame)]

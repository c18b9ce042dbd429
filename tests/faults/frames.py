"""WebSocket frames as bytes (RFC 6455 §5.2): read from a stream, and written as each fault needs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class Frame(NamedTuple):
    """One frame: its opcode, its payload without a mask, and its raw bytes."""

    opcode: int
    payload: bytes
    raw: bytes


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame. In these tests neither side splits a message."""
    head = await reader.readexactly(2)
    assert head[0] & 0x80, "a message in several frames"
    assert not head[0] & 0x70, "an extension that was not offered"
    size, raw = head[1] & 0x7F, head
    if size >= 126:
        more = await reader.readexactly(2 if size == 126 else 8)
        size, raw = int.from_bytes(more), raw + more
    mask = await reader.readexactly(4) if head[1] & 0x80 else b""
    payload = await reader.readexactly(size)
    return Frame(head[0] & 0x0F, _masked(payload, mask) if mask else payload, raw + mask + payload)


def encoded(opcode: int, payload: bytes, *, is_last: bool = True, is_masked: bool = False) -> bytes:
    """A frame as bytes; those of a client are masked."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 2**16 else 127
    more = b"" if size < 126 else size.to_bytes(2 if short == 126 else 8)
    mask = os.urandom(4) if is_masked else b""
    head = bytes([opcode | 0x80 * is_last, short | 0x80 * is_masked])
    return head + more + mask + (_masked(payload, mask) if is_masked else payload)


def fragmented(payload: bytes, pieces: int) -> bytes:
    """A text message in several frames, a ping between the first two of them."""
    step = max(-(-len(payload) // pieces), 1)
    parts = [payload[at : at + step] for at in range(0, len(payload), step)] or [b""]
    frames = [
        encoded(CONTINUATION if place else TEXT, part, is_last=place == len(parts) - 1)
        for place, part in enumerate(parts)
    ]
    return b"".join([frames[0], encoded(PING, b"between"), *frames[1:]])


def closing(code: int, reason: str = "", *, is_masked: bool = False) -> bytes:
    """A close frame."""
    return encoded(CLOSE, code.to_bytes(2) + reason.encode(), is_masked=is_masked)


def _masked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    return (int.from_bytes(payload) ^ key).to_bytes(size)

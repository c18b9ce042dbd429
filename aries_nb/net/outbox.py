"""What is sent on a connection: in order, one caller after the other, and to nobody who does not read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Outbox"]

# Bytes that may wait. What we say ourselves waits for its turn and is little; the answers to a server's pings do not,
# and one that sends pings without end, but reads nothing, would fill the memory with them.
MOST_UNREAD = 2**20


class Outbox:
    """The way out of a session. The network's thread owns it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def send(self, socket: ClientConnection, outgoing: Callable[[], Sequence[str]]) -> None:
        """Send what `outgoing` gives, after whatever is being sent; waits for as long as the server reads slowly."""
        from aries_nb.net.websocket import send_all

        async with self._turn:  # else a later frame would overtake an earlier one that waits
            await send_all(socket, outgoing)

    def is_stuck(self, socket: ClientConnection) -> bool:
        """Whether so much is not read that this is no slow server any more."""
        return socket.transport.get_write_buffer_size() > MOST_UNREAD

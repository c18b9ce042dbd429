"""The socket: websockets' client with what it must not do switched off, its errors mapped to ours.

The only module that imports websockets; it is loaded with the first connection.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from aries_nb.net.lost import LostError

__all__ = ["connected", "send_all"]

log = logging.getLogger("aries_nb")

MAX_FRAME = 16 * 2**20  # a larger one closes the connection; one below is read, and counted if it is rubbish
READ_BYTES = 2**20  # asyncio reads 256 KiB at a time; beside a busy cell each read costs two waits for the GIL


class _Direct(connect):
    """Follows no redirect: the token would go to wherever it leads, readable by everyone on the way."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[ClientConnection]:
    """A socket that is open. Raises LostError when it ends, and OSError or TimeoutError where it never opens."""
    try:
        async with _Direct(
            url,
            compression=None,
            max_size=MAX_FRAME,
            max_queue=8192,
            ping_interval=None,
            close_timeout=1,
            logger=_quiet(),
            proxy=None if url.startswith("ws://") else True,  # what is on this machine needs none
        ) as socket:
            # Fewer, larger reads: see READ_BYTES. The attribute is asyncio's own, on its selector transport.
            if hasattr(socket.transport, "max_size"):
                socket.transport.max_size = READ_BYTES
            yield socket
    except ConnectionResetError as error:
        if not url.startswith("wss://"):
            raise
        raise LostError("the server cut the connection off; it may not speak TLS") from error
    except ConnectionClosed as closed:
        raise LostError(_close_reason(closed)) from closed
    except WebSocketException as error:
        raise LostError(f"what answered is no WebSocket server of this broker ({error})") from error


async def send_all(socket: ClientConnection, outgoing: Callable[[], Sequence[str]]) -> None:
    """Send the frames that `outgoing` gives, in order; whatever goes wrong ends the connection, and is not raised.

    Whoever receives learns of it. They are asked for here so that a frame with a token in it is no variable of one that
    a traceback may show.
    """
    try:
        for frame in outgoing():
            await socket.send(frame)
    except ConnectionClosed:
        pass
    except Exception as error:  # the frames below hold what was to be sent
        log.error("a connection is given up: sending raised %s", type(error).__name__)  # noqa: TRY400
        socket.transport.abort()


def _quiet() -> logging.Logger:
    # None of those that `getLogger` finds and that anybody may set to DEBUG, where websockets logs what it sends, the
    # token among it. An error's traceback would show the same.
    quiet = logging.Logger("aries_nb.socket", max(logging.INFO, log.getEffectiveLevel()))
    quiet.parent = log
    quiet.addFilter(_without_traceback)
    return quiet


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


def _close_reason(closed: ConnectionClosed) -> str:
    received, sent = closed.rcvd, closed.sent
    if sent is not None and not closed.rcvd_then_sent:
        return f"closed by us ({sent.code}: {sent.reason})"
    if received is not None:
        said = f": {received.reason}" if received.reason else ""
        return f"the server closed the connection ({received.code}{said})"
    return "the connection was cut"

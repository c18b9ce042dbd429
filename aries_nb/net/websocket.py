"""The socket: websockets' client with what it must not do switched off, its errors mapped to ours.

The only module that imports websockets; it is loaded with the first connection.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, ProxyError, WebSocketException
from websockets.frames import CloseCode

from aries_nb.errors import ConnectError
from aries_nb.model import Cause
from aries_nb.net.background import InheritedSocket, run_on_thread
from aries_nb.net.connection_errors import ConnectionLostError, explain
from aries_nb.net.proxy import Proxy, proxy_for
from aries_nb.net.tls import tls_context

__all__ = ["SendQueue", "connected", "send_all", "unread_frames"]

log = logging.getLogger("aries_nb")

OPEN_SECONDS = 10.0  # for a socket to come about, the proxy's part of it included
MAX_FRAME = 16 * 2**20  # a larger one closes the connection; one below is read, and counted if it is rubbish
READ_BYTES = 2**20  # asyncio reads 256 KiB at a time; beside a busy cell each read costs two waits for the GIL
# Bytes that may wait. What we say ourselves waits for its turn and is little; the answers to a server's pings do not,
# and one that sends pings without end, but reads nothing, would fill the memory with them.
MOST_UNREAD = 2**20


class _Direct(connect):
    """Follows no redirect: the token would go to wherever it leads, readable by everyone on the way."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[ClientConnection]:
    """A socket that is open. Raises LostError when it ends, and OSError or TimeoutError where it never opens."""
    proxy, tls = await _way(url)
    if proxy is not None:
        asyncio.get_running_loop().set_exception_handler(_heard)
    is_open = False
    try:
        async with _Direct(
            url,
            compression=None,
            max_size=MAX_FRAME,
            max_queue=8192,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,
            close_timeout=1,
            logger=_quiet(),
            ssl=tls,
            **_through(proxy, tls),
        ) as socket:
            is_open = True
            _inherited = InheritedSocket(socket.transport.get_extra_info("socket").fileno)
            # Fewer, larger reads: see READ_BYTES. The attribute is asyncio's own, on its selector transport.
            if hasattr(socket.transport, "max_size"):
                socket.transport.max_size = READ_BYTES
            yield socket
    except ConnectionClosed as closed:
        raise ConnectionLostError(_close_reason(closed), _cause(closed)) from closed
    except (OSError, WebSocketException) as error:
        if is_open and isinstance(error, OSError):
            raise
        raise _not_opened(error, proxy, is_secure=tls is not None) from error


async def _way(url: str) -> tuple[Proxy | None, ssl.SSLContext | None]:
    """What leads to a server: a proxy or none, and TLS but within this machine."""
    if not url.startswith("wss://"):
        return None, None
    try:
        # On a thread of its own: to read certificates, on Windows to look up names, takes longer than a tick may wait.
        work = run_on_thread(lambda: (proxy_for(url), tls_context()), name="aries-nb-way")
        return await asyncio.wrap_future(work)
    except ConnectError as error:
        raise ConnectionLostError(str(error)) from error


def _heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Have the loop log what went wrong in it, but not how websockets stumbles over a tunnel that ends early.

    It takes a proxy's end for two ends, and that of a connection it never had for one it had (python-websockets #1629
    and #1762); what matters of it is raised. A notebook would show the traceback.
    """
    error = context.get("exception")
    trace = error.__traceback__ if isinstance(error, EOFError | AttributeError) else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not str(trace.tb_frame.f_globals.get("__name__")).startswith("websockets."):
        loop.default_exception_handler(context)


class _Secured(TypedDict, total=False):
    proxy: str | None
    proxy_ssl: ssl.SSLContext | None


def _through(proxy: Proxy | None, tls: ssl.SSLContext | None) -> _Secured:
    """What websockets is to know of a proxy; made where it is passed on, for it may hold a password."""
    if proxy is None:
        return {"proxy": None}
    address = proxy.address.reveal()
    return {"proxy": address, "proxy_ssl": tls} if address.startswith("https://") else {"proxy": address}


def _not_opened(error: OSError | WebSocketException, proxy: Proxy | None, *, is_secure: bool) -> Exception:
    """What to raise where no socket came about: who is to blame, the server or the proxy before it."""
    if proxy is None:
        if isinstance(error, ConnectionResetError) and is_secure:
            return ConnectionLostError("the server cut the connection off; it may not speak TLS")
        if isinstance(error, OSError):
            return error
        return ConnectionLostError(f"what answered is no WebSocket server of this broker ({error})")
    if isinstance(error, InvalidProxyStatus):
        return ConnectionLostError(proxy.explain(error.response.status_code))
    if isinstance(error, ProxyError):
        return ConnectionLostError(proxy.explain(None))
    if isinstance(error, WebSocketException):
        return ConnectionLostError(f"what answered is no WebSocket server of this broker ({error}), or {proxy} itself")
    if isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError | TimeoutError):
        return ConnectionLostError(f"{explain(error)}, on the way through {proxy}")
    return ConnectionLostError(f"{proxy} cannot be reached ({explain(error)})")


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


def _cause(closed: ConnectionClosed) -> Cause:
    """What a server's goodbye says: that it goes away or starts anew, else nothing."""
    code = closed.rcvd.code if closed.rcvd is not None else None
    return "restart" if code in (CloseCode.GOING_AWAY, CloseCode.SERVICE_RESTART) else "cut"


def _close_reason(closed: ConnectionClosed) -> str:
    received, sent = closed.rcvd, closed.sent
    if sent is not None and not closed.rcvd_then_sent:
        return f"closed by us ({sent.code}: {sent.reason})"
    if received is not None:
        said = f": {received.reason}" if received.reason else ""
        return f"the server closed the connection ({received.code}{said})"
    return "the connection was cut"


class SendQueue:
    """The way out of a session. The network's thread owns it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def send(self, socket: ClientConnection, outgoing: Callable[[], Sequence[str]]) -> None:
        """Send what `outgoing` gives, after whatever is being sent; waits for as long as the server reads slowly."""
        async with self._turn:  # else a later frame would overtake an earlier one that waits
            await send_all(socket, outgoing)

    def is_stuck(self, socket: ClientConnection) -> bool:
        """Whether so much is not read that this is no slow server any more."""
        return socket.transport.get_write_buffer_size() > MOST_UNREAD


def unread_frames(socket: ClientConnection, octets_a_frame: float) -> int:
    """How many frames wait on our side; those in the system's buffer are reckoned at so many bytes each.

    A broker counts what waits on its own side, and that begins only when ours is full: this is the earlier sign. On the
    thread of the socket's loop.
    """
    return len(socket.recv_messages.frames) + int(_buffered(socket) / max(octets_a_frame, 1.0))


def _buffered(socket: ClientConnection) -> int:
    """The bytes in the system's buffer; 0 where the system does not tell, as Windows."""
    try:
        from fcntl import ioctl
        from termios import FIONREAD
    except ImportError:
        return 0
    number = socket.transport.get_extra_info("socket").fileno()
    count = array("i", [0])
    if number >= 0:  # it is closed otherwise
        ioctl(number, FIONREAD, count)
    return count[0]

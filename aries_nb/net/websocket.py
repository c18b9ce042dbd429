"""WebSocket connections: the client of websockets without redirects and compression, its errors mapped to ours.

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

OPEN_SECONDS = 10.0  # for a socket to open, the proxy included
MAX_FRAME = 16 * 2**20  # a larger one closes the connection
READ_BYTES = 2**20  # asyncio reads 256 KiB at a time; while a cell is busy, each read waits twice for the GIL
# Bytes that may be unsent. Our own requests are few and wait for their turn. Answers to a server's pings do not wait:
# a server that sends pings without end and reads nothing would fill the memory with them.
MOST_UNREAD = 2**20


class _Direct(connect):
    """Follows no redirect: the token would be sent to its target, perhaps unencrypted."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[ClientConnection]:
    """An open socket. Raises ConnectionLostError when it ends, OSError or TimeoutError if it never opens."""
    proxy, tls = await _proxy_and_tls(url)
    if proxy is not None:
        asyncio.get_running_loop().set_exception_handler(_log_unless_tunnel_ended)
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


async def _proxy_and_tls(url: str) -> tuple[Proxy | None, ssl.SSLContext | None]:
    """The proxy of an address, if any, and its TLS context; neither for ws:// (this machine)."""
    if not url.startswith("wss://"):
        return None, None
    try:
        # On a thread of its own: reading certificates, and looking up names on Windows, would hold up the frames.
        work = run_on_thread(lambda: (proxy_for(url), tls_context()), name="aries-nb-proxy")
        return await asyncio.wrap_future(work)
    except ConnectError as error:
        raise ConnectionLostError(str(error)) from error


def _log_unless_tunnel_ended(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Exception handler of the loop: logs its errors, except those of websockets about a tunnel that ends early.

    It handles a proxy's end twice, and that of a connection it never had (python-websockets #1629 and #1762). The
    relevant error is raised as well, and a notebook would show the traceback.
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
    """The proxy arguments of websockets; made where they are passed on, since they may hold a password."""
    if proxy is None:
        return {"proxy": None}
    address = proxy.address.reveal()
    return {"proxy": address, "proxy_ssl": tls} if address.startswith("https://") else {"proxy": address}


def _not_opened(error: OSError | WebSocketException, proxy: Proxy | None, *, is_secure: bool) -> Exception:
    """The error of a socket that did not open; its text says whether server or proxy is the cause."""
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
    """Send the frames that `outgoing` returns, in order. An error ends the connection and is not raised.

    The receiving side raises that end. `outgoing` is called here so that a frame with a token in it is no local
    variable that a traceback may show.
    """
    try:
        for frame in outgoing():
            await socket.send(frame)
    except ConnectionClosed:
        pass
    except Exception as error:  # the frames below hold what was to be sent
        log.error("connection aborted: sending raised %s", type(error).__name__)  # noqa: TRY400
        socket.transport.abort()


def _quiet() -> logging.Logger:
    # Not one that `getLogger` finds: set to DEBUG, websockets would log what it sends, tokens included. So would the
    # traceback of an error.
    quiet = logging.Logger("aries_nb.socket", max(logging.INFO, log.getEffectiveLevel()))
    quiet.parent = log
    quiet.addFilter(_without_traceback)
    return quiet


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


def _cause(closed: ConnectionClosed) -> Cause:
    """The cause by the server's close code: "restart" for 1001 and 1012, else "cut"."""
    code = closed.rcvd.code if closed.rcvd is not None else None
    return "restart" if code in (CloseCode.GOING_AWAY, CloseCode.SERVICE_RESTART) else "cut"


def _close_reason(closed: ConnectionClosed) -> str:
    received, sent = closed.rcvd, closed.sent
    if sent is not None and not closed.rcvd_then_sent:
        return f"closed by us ({sent.code}: {sent.reason})"
    if received is not None:
        reason = f": {received.reason}" if received.reason else ""
        return f"the server closed the connection ({received.code}{reason})"
    return "the connection was cut"


class SendQueue:
    """Sends in order, one caller after the other. The network's thread owns it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def send(self, socket: ClientConnection, outgoing: Callable[[], Sequence[str]]) -> None:
        """Send what `outgoing` returns, after earlier calls; waits while the server reads slowly."""
        async with self._turn:  # else a later frame could overtake an earlier one
            await send_all(socket, outgoing)

    def is_stuck(self, socket: ClientConnection) -> bool:
        """Whether more than `MOST_UNREAD` bytes are unsent: the server has stopped reading."""
        return socket.transport.get_write_buffer_size() > MOST_UNREAD


def unread_frames(socket: ClientConnection, octets_a_frame: float) -> int:
    """Number of frames received but not yet processed; those in the system's buffer are estimated by their mean size.

    A broker counts its own unsent frames, which begin to pile up only when our buffers are full: this is the earlier
    sign. To be called on the thread of the socket's loop.
    """
    return len(socket.recv_messages.frames) + int(_buffered(socket) / max(octets_a_frame, 1.0))


def _buffered(socket: ClientConnection) -> int:
    """Bytes in the system's receive buffer; 0 on Windows, which does not report them."""
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

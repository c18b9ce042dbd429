"""WebSocket connections of the package websockets, without redirects and compression.

Its errors are replaced by those of this package. No module but this one and `net/frame_connection.py` imports
websockets; both are loaded with the first connection.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypedDict

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus, ProxyError, WebSocketException
from websockets.frames import CloseCode
from websockets.protocol import State

from aries_nb.brokers import Ping
from aries_nb.errors import ConnectError
from aries_nb.model import Cause, Secret
from aries_nb.model.clock import elapsed
from aries_nb.net.background import InheritedSocket, run_on_thread
from aries_nb.net.connection_errors import ConnectionLostError, TokenRefusedError, explain, is_for_now
from aries_nb.net.frame_connection import MAX_FRAME, FrameConnection
from aries_nb.net.proxy import Proxy, proxy_for
from aries_nb.net.tls import tls_context

try:  # when this module is loaded: later, a process without a file descriptor left could not load them
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

__all__ = ["SendQueue", "WebSocketPings", "connected", "is_open", "unread_frames"]

log = logging.getLogger("aries_nb")

UNAUTHORIZED = frozenset({401, 403})  # of a handshake whose headers or address hold the token
OPEN_SECONDS = 10.0  # for a socket to open, the proxy included
READ_BYTES = 2**20  # asyncio reads 256 KiB at a time; while a cell is busy, each read waits twice for the GIL
# Bytes that may be unsent. Our own requests are few and wait for their turn. Answers to a server's pings do not wait:
# a server that sends pings without end and reads nothing would fill the memory with them.
MOST_UNREAD = 2**20
FRAMES_A_TURN = 100  # sent between two turns of the loop


class _Direct(connect):
    """A connection attempt that follows no redirect: the token would be sent to its target, perhaps unencrypted."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def connected(
    address: Secret, headers: Callable[[], Mapping[str, str]] | None = None
) -> AsyncIterator[FrameConnection]:
    """Async context manager: an open WebSocket to `address`, closed at the end of the block.

    Raises ConnectionLostError when the connection ends, TokenRefusedError if the handshake is refused for its token,
    OSError or TimeoutError if it never opens. The query of the address and the headers may hold a token, so `headers`
    makes them only where they are used; None means no further headers.
    """
    proxy, tls = await _proxy_and_tls(address)
    if proxy is not None:
        asyncio.get_running_loop().set_exception_handler(_log_unless_tunnel_ended)
    is_open = False
    try:
        async with _Direct(
            address.reveal(),
            additional_headers=headers() if headers is not None else None,
            compression=None,  # frames are cut out as they come
            max_size=MAX_FRAME,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,
            close_timeout=1,
            logger=_quiet(),
            create_connection=FrameConnection,
            ssl=tls,
            **_through(proxy, tls),
        ) as socket:
            assert isinstance(socket, FrameConnection)
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
        has_token = headers is not None or "?" in address.reveal()
        raise _not_opened(error, proxy, is_secure=tls is not None, has_token=has_token) from error


async def _proxy_and_tls(address: Secret) -> tuple[Proxy | None, ssl.SSLContext | None]:
    """Return the proxy for an address, if any, and its TLS context; (None, None) for ws://, which is on this machine.

    Raises ConnectionLostError if a configured proxy or certificate cannot be used.
    """
    if not address.reveal().startswith("wss://"):
        return None, None
    try:
        # On a thread of its own: reading certificates, and looking up names on Windows, would hold up the frames.
        work = run_on_thread(lambda: (proxy_for(address.reveal()), tls_context()), name="aries-nb-proxy")
        return await asyncio.wrap_future(work)
    except ConnectError as error:
        raise ConnectionLostError(str(error)) from error


def _log_unless_tunnel_ended(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Exception handler of the event loop: logs its errors, except some of websockets about a proxy that hangs up.

    websockets handles the early end of a proxy tunnel twice, and that of a connection it never had (python-websockets
    #1629 and #1762). The error that matters is raised as well, and a notebook would show the traceback of this one.
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
    """Return the arguments for `connect` of the package websockets that set the proxy; None means no proxy.

    `tls` is the context for a proxy at an https:// address. Call it in the call of `connect`, since they may hold a
    password that a local variable would show.
    """
    if proxy is None:
        return {"proxy": None}
    address = proxy.address.reveal()
    return {"proxy": address, "proxy_ssl": tls} if address.startswith("https://") else {"proxy": address}


def _not_opened(
    error: OSError | WebSocketException, proxy: Proxy | None, *, is_secure: bool, has_token: bool
) -> Exception:
    """Return the error to raise for a socket that did not open; its text says whether server or proxy is the cause.

    `error` is what the attempt raised; `proxy` is None for a direct connection. `is_secure`: the address is wss://.
    `has_token`: the handshake carried the token, so that 401 and 403 refuse it.
    """
    if proxy is None:
        if isinstance(error, ConnectionResetError) and is_secure:
            return ConnectionLostError("the server cut the connection off; it may not speak TLS")
        if isinstance(error, OSError):
            return error
        if has_token and isinstance(error, InvalidStatus) and error.response.status_code in UNAUTHORIZED:
            return TokenRefusedError(f"the server refused the handshake: HTTP {error.response.status_code}", "token")
        if isinstance(error, InvalidStatus) and is_for_now(error.response.status_code):
            return ConnectionLostError(f"the server takes no connection now: HTTP {error.response.status_code}")
        return ConnectionLostError(f"what answered is no WebSocket server of this broker ({error})")
    if isinstance(error, InvalidProxyStatus):
        return ConnectionLostError(proxy.explain(error.response.status_code))
    if isinstance(error, ProxyError):
        return ConnectionLostError(proxy.explain(None))
    if isinstance(error, InvalidStatus) and is_for_now(error.response.status_code):
        status = error.response.status_code
        return ConnectionLostError(f"the server, or {proxy} itself, takes no connection now: HTTP {status}")
    if isinstance(error, WebSocketException):
        return ConnectionLostError(f"what answered is no WebSocket server of this broker ({error}), or {proxy} itself")
    if isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError | TimeoutError):
        return ConnectionLostError(f"{explain(error)}, on the way through {proxy}")
    return ConnectionLostError(f"{proxy} cannot be reached ({explain(error)})")


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
    """Return the kind of break for `feed.gaps`, by the close code that the server sent.

    `closed` is the error that websockets raised. The kind is "restart" for the codes 1001 and 1012, and "cut" for any
    other and for none.
    """
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


class WebSocketPings:
    """Sends pings of the WebSocket protocol itself, for a broker whose own protocol has none.

    websockets reads a pong at once, while messages that came before it may still be unread. So `on_pong` is called with
    the number of a ping only when none is. Used on the network's thread only.
    """

    def __init__(self, on_pong: Callable[[int], None]) -> None:
        self._on_pong = on_pong
        self._sent: dict[int, float] = {}
        self._answered: list[int] = []

    def clear(self) -> None:
        """Forget the pings of the previous connection.

        Called when a new connection is open. A late answer to one of them is ignored.
        """
        self._sent.clear()
        self._answered.clear()

    async def send(self, socket: FrameConnection, number: int) -> None:
        """Send ping `number` on the socket; each number must be larger than those before."""
        self._sent[number] = elapsed()
        waiter = asyncio.ensure_future(await socket.ping())
        waiter.add_done_callback(partial(self._note, socket, number))

    def report(self, socket: FrameConnection) -> None:
        """Report by `on_pong` the pongs (answers to pings) that have come on `socket`, unless messages are unread."""
        while self._answered and not socket.unread:
            self._on_pong(self._answered.pop(0))

    def overdue(self, now: float, seconds: float) -> int:
        """Return the number of the newest ping unanswered for more than `seconds` at time `now`, 0 for none.

        `now` is in seconds of a monotonic clock. All pings unanswered for so long are then forgotten.
        """
        late = [number for number, sent in self._sent.items() if now - sent > seconds]
        for number in late:
            del self._sent[number]
        return max(late, default=0)

    def _note(self, socket: FrameConnection, number: int, waiter: asyncio.Future[float]) -> None:
        if waiter.cancelled() or waiter.exception() is not None or number not in self._sent:
            return  # the connection has ended, or is another one
        self._sent = {ping: sent for ping, sent in self._sent.items() if ping > number}
        self._answered.append(number)
        self.report(socket)


class SendQueue:
    """Sends frames and pings in order: all messages of one call of `send` before those of the next call.

    Used on the network's thread only.

    `on_pong` is called with the number of each answered ping.
    """

    def __init__(self, on_pong: Callable[[int], None]) -> None:
        self.pings = WebSocketPings(on_pong)
        self._turn = asyncio.Lock()

    async def send(self, socket: FrameConnection, outgoing: Callable[[], Sequence[str | bytes | Ping]]) -> None:
        """Send the messages that `outgoing` returns, after those of earlier calls; waits while the server reads slowly.

        An error ends the connection and is not raised: the receiving side raises that end. `outgoing` is called here so
        that a frame with a token in it is no local variable that a traceback may show. The loop runs on after each 100
        messages: thousands are requested again after a break.
        """
        async with self._turn:  # else a later frame could overtake an earlier one
            try:
                for count, frame in enumerate(outgoing()):
                    if count and not count % FRAMES_A_TURN:
                        await asyncio.sleep(0)
                    if isinstance(frame, Ping):
                        await self.pings.send(socket, frame.number)
                    else:
                        await socket.send(frame)
            except ConnectionClosed:
                pass
            except Exception as error:  # the frames below hold what was to be sent
                log.error("connection aborted: sending raised %s", type(error).__name__)  # noqa: TRY400
                socket.transport.abort()

    def is_stuck(self, socket: FrameConnection) -> bool:
        """Return whether more than 1 MiB waits to be sent on `socket`, because the server has stopped reading."""
        return socket.transport.get_write_buffer_size() > MOST_UNREAD


def is_open(socket: FrameConnection) -> bool:
    """Return whether the connection `socket` has neither ended nor begun to close."""
    return socket.state is State.OPEN


def unread_frames(socket: FrameConnection, octets_a_frame: float) -> int:
    """Return the number of frames received but not yet processed. Call it on the thread of the socket's event loop.

    Frames in the operating system's buffer are estimated from its size and `octets_a_frame`, the mean size of a frame.
    A broker counts only its own unsent frames, which begin to pile up when these buffers are full: this number is the
    earlier sign.
    """
    return len(socket.unread) + int(_buffered(socket) / max(octets_a_frame, 1.0))


def _buffered(socket: FrameConnection) -> int:
    """Return the bytes in the system's receive buffer of `socket`; 0 on Windows, which does not report them."""
    if fcntl is None or termios is None:
        return 0
    system = socket.transport.get_extra_info("socket")
    if system is None:  # TLS through a proxy's tunnel that has just ended
        return 0
    number = system.fileno()
    count = array("i", [0])
    if number >= 0:  # it is closed otherwise
        fcntl.ioctl(number, termios.FIONREAD, count)
    return count[0]

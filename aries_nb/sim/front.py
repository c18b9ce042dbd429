"""One port for WebSocket and HTTP: listens, and routes each connection by the head of its first request.

A WebSocket is served by websockets' own `ServerConnection`, any other connection by an aiohttp protocol that gets the
transport and the bytes read so far. aiohttp is imported with the first such request: it takes 0.4 s, and most
simulators never need it. aiohttp alone could serve both, but it accepts unmasked frames of a client, sets no time limit
for the head of a request, and takes twice the time for each of the small frames of ALOR.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from aries_nb.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import web

    from aries_nb.sim.settings import ServerOptions

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

__all__ = ["Front", "is_loopback", "listening"]

GOING_AWAY = 1001
CLOSE_SECONDS = 2.0
#: A longer head is left to websockets, which refuses it by its own limits.
HEAD_BYTES = 2**16
#: Time for a whole head; the default of websockets for an opening handshake.
HEAD_SECONDS = 10.0
HEAD_END = b"\r\n\r\n"
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HOST = re.compile(rb"^(host|origin):[ \t]*(?:https?://)?(\[[^\]\s]*\]|[^:/\s]*)", re.IGNORECASE | re.MULTILINE)
UPGRADE = re.compile(rb"^upgrade:[^\r\n]*\bwebsocket\b", re.IGNORECASE | re.MULTILINE)


@asynccontextmanager
async def listening(
    options: ServerOptions,
    front: Front,
    serve_client: Callable[[ServerConnection], Awaitable[None]],
    drop_connections: Callable[[], int],
    **more: Any,  # noqa: ANN401 - websockets has the types
) -> AsyncIterator[str]:
    """Async context manager that serves while its block runs and yields the base URL, such as ws://127.0.0.1:40001.

    At the end it closes every connection with code 1001. `serve_client` runs once per WebSocket connection.
    `drop_connections` is called if some do not close within 2 s. `more` goes to `websockets.asyncio.server.serve`.
    Raises UsageError if the address cannot be listened on.
    """
    try:
        server = await serve_websockets(
            serve_client,
            options.host,
            options.port,
            create_connection=front.connection_class,
            close_timeout=CLOSE_SECONDS,
            logger=_quiet_logger(),
            **{"compression": None, **more},
        )
    except OSError as error:
        raise UsageError(
            f"cannot listen: {error}", where=f"{options.host}:{options.port}", advice="Use port 0 for a free one."
        ) from error
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
    finally:
        server.close(code=GOING_AWAY, reason="the server stops")
        await front.close(CLOSE_SECONDS)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await server.wait_closed()
        except TimeoutError:
            drop_connections()
            await server.wait_closed()


class Front:
    """Routes the connections of one server to WebSocket or HTTP. Owned by the server's event loop.

    `make_handler` returns the function that answers HTTP requests; it is called once, with the first of them. A
    connection that has not sent the whole head of its first request within `head_seconds` is aborted. A server that
    `is_local` is for programs of this machine: it refuses (403) requests whose Host or Origin header names another
    host. Any web page could otherwise make a browser open a WebSocket to it, by DNS rebinding too.
    """

    def __init__(
        self, make_handler: Callable[[], Handler], *, head_seconds: float = HEAD_SECONDS, is_local: bool = True
    ) -> None:
        self.is_local = is_local
        self.head_seconds = head_seconds
        self._make_handler = make_handler
        self._http: web.Server | None = None
        self._is_closed = False
        # All connections that are not WebSockets; weak, since aiohttp does not report closed ones.
        self._transports: WeakSet[asyncio.Transport] = WeakSet()

    @property
    def connection_class(self) -> type[ServerConnection]:
        """The class of this server's connections, for the `create_connection` of `websockets.asyncio.server.serve`."""

        class Connection(RoutedConnection):
            front = self

        return Connection

    async def close(self, seconds: float) -> None:
        """Let running HTTP requests finish within `seconds`; then abort every connection that is not a WebSocket."""
        self._is_closed = True
        if self._http is not None:
            self._http.pre_shutdown()  # idle connections end at once
            await self._http.shutdown(seconds)
        for transport in list(self._transports):
            transport.abort()

    def register(self, transport: asyncio.Transport) -> None:
        """Register a new connection, not yet known to be WebSocket or HTTP, so that `close` aborts it.

        One that is registered after `close` is aborted at once.
        """
        self._transports.add(transport)
        if self._is_closed:
            transport.abort()

    def unregister(self, transport: asyncio.Transport) -> None:
        """Remove a connection that turned out to be a WebSocket, so that `close` does not abort it.

        The library websockets closes it.
        """
        self._transports.discard(transport)

    def hand_over(self, transport: asyncio.Transport, received: bytes) -> None:
        """Pass an HTTP connection to aiohttp, with the bytes received so far. aiohttp is imported by the first call."""
        if self._http is None:
            from aiohttp import web

            # The access log would contain the query of a request, and with it tokens.
            self._http = web.Server(self._make_handler(), access_log=None)
        protocol = self._http()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(received)


class RoutedConnection(ServerConnection):
    """A connection that becomes a WebSocket only if the head of its first request asks for the upgrade.

    Until then, bytes are collected; an HTTP connection is passed to the `front`, one from another host is refused.
    """

    front: Front
    _received: bytearray | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to collect the head of the first request.

        The connection is aborted unless the head is whole within `head_seconds` of the `front`. The library
        websockets gets the connection only if it turns out to be a WebSocket.
        """
        self._raw_transport = cast("asyncio.Transport", transport)
        self._received = bytearray()
        self.front.register(self._raw_transport)
        self._deadline = self.loop.call_later(self.front.head_seconds, self._raw_transport.abort)

    def data_received(self, data: bytes) -> None:
        """Collect bytes until the head of the first request is whole, then route the connection to WebSocket or HTTP.

        The bytes of a connection that is a WebSocket go on to the library websockets.
        """
        if self._received is None:
            super().data_received(data)
            return
        self._received += data
        head, end, _ = self._received.partition(HEAD_END)
        # Bytes that do not start like an HTTP method, such as a TLS handshake, will never form a head.
        is_http = self._received[:1].isalpha()
        if is_http and not end and len(self._received) <= HEAD_BYTES:
            return
        received, self._received = bytes(self._received), None
        self._deadline.cancel()
        if is_http and end and self.front.is_local and not _names_this_machine(head + end):
            self._raw_transport.write(REFUSAL)
            self._received = bytearray()  # later bytes are ignored
            self._raw_transport.close()
        elif is_http and end and not UPGRADE.search(head + end):
            self.front.hand_over(self._raw_transport, received)
        else:
            self.front.unregister(self._raw_transport)
            super().connection_made(self._raw_transport)
            super().data_received(received)

    def eof_received(self) -> None:
        """Pass the end of the client's stream on to the library websockets if the connection is a WebSocket."""
        if self._received is None:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit for the head; pass the loss of a WebSocket on to the library websockets."""
        self._deadline.cancel()
        if self._received is None:
            super().connection_lost(exc)


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address can only mean this machine: "localhost" or a loopback address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _names_this_machine(head: bytes | bytearray) -> bool:
    """Return whether the Host and Origin headers in the head of a request name only this machine.

    True if it has neither.
    """
    return all(is_loopback(name.decode("latin-1").strip("[]").lower()) for _, name in HOST.findall(head))


def _quiet_logger() -> logging.Logger:
    # Not a logger of `getLogger`, whose level an application may set to DEBUG: websockets would then log frames with
    # tokens in them.
    parent = logging.getLogger("aries_nb")
    logger = logging.Logger("aries_nb.sim", max(logging.INFO, parent.getEffectiveLevel()))
    logger.parent = parent
    return logger

"""The way to a room's server through a proxy, which nats-py does not take by itself.

By the rule of `aries_nb.net.proxy`, the same as for brokers: a tunnel by CONNECT or SOCKS for tls://, and CONNECT for
wss://.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import Any
from urllib.parse import ParseResult, unquote, urlsplit

from aries_nb.errors import ConnectError
from aries_nb.net.connection_errors import ConnectionLostError, explain
from aries_nb.net.proxy import Proxy, proxy_for

__all__ = ["transport_to"]

MOST_HEAD_BYTES = 65_536
MOST_FRAME_BYTES = 16 << 20
SOCKS = "socks"


async def transport_to(server: str, *, seconds: float) -> object | None:
    """Return a transport of nats-py that goes through the proxy for an address; None for its own direct one.

    Raises ConnectError for a proxy that cannot be used, ConnectionLostError for one that does not connect in time.
    """
    scheme, _, place = server.partition("://")
    proxy = proxy_for(f"https://{place}")
    if scheme in {"ws", "wss"}:
        return await _web(proxy, seconds)
    if proxy is None:
        return None
    try:
        return await asyncio.wait_for(_tunnel(proxy, place), seconds)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ConnectionLostError(proxy.explain(None)) from None


async def _web(proxy: Proxy | None, seconds: float) -> object:
    """Return a transport over WebSocket. That of nats-py knows no proxy, and calls aiohttp in a way of the past."""
    import aiohttp
    from nats.aio.transport import WebSocketTransport

    if proxy is not None and proxy.shown.startswith(SOCKS):
        advice = "Use tls://, or name an HTTP proxy."
        raise ConnectError(f"{proxy} is for SOCKS, which a room over wss:// cannot use", advice=advice)
    transport: Any = WebSocketTransport()
    web = transport._client  # noqa: SLF001

    async def connect(uri: ParseResult, ssl_context: ssl.SSLContext | None = None, **_: object) -> None:
        address = None if proxy is None else proxy.address.reveal()
        try:
            made = web.ws_connect(uri.geturl(), ssl=ssl_context or True, proxy=address, max_msg_size=MOST_FRAME_BYTES)
            transport._ws = await asyncio.wait_for(made, seconds)  # noqa: SLF001
        except aiohttp.ClientHttpProxyError as error:
            assert proxy is not None, "what else has refused?"
            raise ConnectionLostError(proxy.explain(error.status)) from None
        except aiohttp.ClientError as error:
            raise ConnectionLostError(explain(error)) from None
        transport._using_tls = ssl_context is not None  # noqa: SLF001

    transport.connect = transport.connect_tls = connect
    return transport


async def _tunnel(proxy: Proxy, place: str) -> object:
    from nats.aio.transport import TcpTransport

    if proxy.shown.startswith(SOCKS):
        reader, writer = await _socks(proxy, place)
    else:
        reader, writer = await _connect(proxy, place)

    async def connect(*_: object, **__: object) -> None:
        """Do nothing: it is connected."""

    make: Any = TcpTransport
    transport = make()
    transport._bare_io_reader = transport._io_reader = reader  # noqa: SLF001
    transport._bare_io_writer = transport._io_writer = writer  # noqa: SLF001
    transport.connect = connect
    return transport


async def _connect(proxy: Proxy, place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection through an HTTP proxy (RFC 9110, 9.3.6)."""
    parts = urlsplit(proxy.address.reveal())
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls, limit=MOST_HEAD_BYTES)
    user = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        user = f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{user}\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except BaseException:
        writer.close()
        raise
    words = head.split(b"\r\n", 1)[0].split(b" ")
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    if status != 200:
        writer.close()
        raise ConnectionLostError(proxy.explain(status))
    return reader, writer


async def _socks(proxy: Proxy, place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    from python_socks import ProxyError
    from python_socks.async_.asyncio import Proxy as SocksProxy

    host, _, port = place.rpartition(":")
    # The h of socks5h says that the proxy resolves names, as it does here by default.
    socks = SocksProxy.from_url(proxy.address.reveal().replace("socks5h://", "socks5://", 1), rdns=True)
    try:
        connection = await socks.connect(host.strip("[]"), int(port))
    except ProxyError:
        raise ConnectionLostError(proxy.explain(None)) from None
    return await asyncio.open_connection(sock=connection)

"""Stand-ins for what lies between client and server: a company's proxy, TLS, and a cable that can be pulled.

Each is a server on 127.0.0.1, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from aries_nb.net.tls import VARIABLES
from tests.net.rude import RudeListener

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PIECE = 2**16
CONNECT_LINE = b"\r\n\r\n"
SOCKS5 = b"\x05"


class Cable(RudeListener):
    """Forwards bytes to and from 127.0.0.1:`port`. Once pulled, it forwards nothing and closes nothing.

    With `papers` the client speaks TLS to it by that name, and the server need not. `idle_seconds`: a connection on
    which nothing has travelled for so long is cut, as proxies do; `cuts` counts these.
    """

    def __init__(self, port: int = 0, *, papers: Papers | None = None, idle_seconds: float | None = None) -> None:
        super().__init__(self._meet_client, tls=papers.tls if papers else None)
        self._named = f"Host: {papers.host}".encode() if papers else b""
        self.cuts = 0
        self._target = port
        self._idle_seconds = idle_seconds
        self._is_whole = asyncio.Event()
        self._is_whole.set()

    def pull(self) -> None:
        """Stop forwarding; new connections are accepted and get no data."""
        self._do(self._is_whole.clear)

    def plug_in(self) -> None:
        """Forward again, the held data first."""
        self._do(self._is_whole.set)

    def _do(self, change: Callable[[], None]) -> None:
        async def run() -> None:
            change()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._meet_stream, "127.0.0.1", 0, ssl=self._tls)

    async def _meet_client(self, _: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._is_whole.wait()
        await self._carry(reader, writer, self._target)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Forward in both directions until one end closes or the connection is idle for too long."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        moved = [time.monotonic()]
        ways = [
            asyncio.create_task(self._pipe(source, drain, moved))
            for source, drain in ((reader, far_writer), (far_reader, writer))
        ]
        if self._idle_seconds is not None:
            ways.append(asyncio.create_task(self._cut_idle(moved)))
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.close()

    async def _pipe(self, source: asyncio.StreamReader, drain: asyncio.StreamWriter, moved: list[float]) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                await self._is_whole.wait()
                moved[0] = time.monotonic()
                # As what stands before a server does: that one answers to no name but its own.
                drain.write(piece.replace(self._named, b"Host: 127.0.0.1") if self._named else piece)
                await drain.drain()

    async def _cut_idle(self, moved: list[float]) -> None:
        assert self._idle_seconds is not None
        while (left := moved[0] + self._idle_seconds - time.monotonic()) > 0:  # noqa: ASYNC110 - for time itself
            await asyncio.sleep(left)
        self.cuts += 1


class ForwardProxy(Cable):
    """A proxy for CONNECT and SOCKS5 on one port; `routes` maps names to ports of this machine.

    `asked` are the requested places. `credentials`, as "user:password", are required if given. `refusal` is a status
    that every CONNECT is answered with.
    """

    def __init__(
        self,
        routes: dict[str, int],
        *,
        credentials: str = "",
        refusal: int | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        super().__init__(idle_seconds=idle_seconds)
        self.asked: list[str] = []
        self._routes = routes
        self._credentials = credentials
        self._refusal = refusal

    @property
    def url(self) -> str:
        user = f"{self._credentials}@" if self._credentials else ""
        return f"http://{user}127.0.0.1:{self.port}"

    async def _meet_client(self, _: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._is_whole.wait()
        with suppress(asyncio.IncompleteReadError):
            first = await reader.readexactly(1)
            if first == SOCKS5:
                await self._meet_socks(reader, writer)
            else:
                await self._meet_connect(first + await reader.readuntil(CONNECT_LINE), reader, writer)

    async def _meet_connect(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, place, _ = head.decode().split("\r\n", 1)[0].split(" ", 2)
        self.asked.append(place)
        wanted = base64.b64encode(self._credentials.encode()).decode()
        is_known = not self._credentials or f"basic {wanted}".lower() in head.decode().lower()
        port = self._routes.get(place.rpartition(":")[0])
        status = self._refusal or (407 if not is_known else 405 if method != "CONNECT" else 200 if port else 502)
        length = "" if status == 200 else "Content-Length: 0\r\n"
        writer.write(f"HTTP/1.1 {status} As it is\r\n{length}\r\n".encode())
        if status == 200 and port:
            await self._carry(reader, writer, port)

    async def _meet_socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Without a login, to a name (RFC 1928)."""
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(SOCKS5 + b"\x00")
        size = (await reader.readexactly(5))[4]
        name = (await reader.readexactly(size + 2))[:-2].decode()
        self.asked.append(name)
        port = self._routes.get(name)
        writer.write(SOCKS5 + (b"\x00" if port else b"\x04") + b"\x00\x01\x7f\x00\x00\x01\x00\x00")
        if port:
            await self._carry(reader, writer, port)


def forget_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every setting of proxies and certificates."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Papers(NamedTuple):
    """The TLS context of a server of `host`, and the file with which a client trusts it."""

    host: str
    tls: ssl.SSLContext
    authority: Path


def papers(folder: Path, host: str) -> Papers:
    """A certificate authority, and a certificate that it issued for `host`."""
    ca, authority = trustme.CA(), folder / "ca.pem"
    ca.cert_pem.write_to_path(authority)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(host).configure_cert(tls)
    return Papers(host, tls, authority)

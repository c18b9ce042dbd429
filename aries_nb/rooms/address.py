"""Address of a room, such as tls://teacher:4222/room42, and the connection to its NATS server.

Only connections within this machine are unencrypted. A token is sent once the server has proved who it is: nats-py
itself would send it unencrypted to a server that says it has no TLS.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aries_nb.errors import ConnectError, FeedError, UsageError
from aries_nb.model import Secret
from aries_nb.net.connection_errors import ConnectionLostError, TokenRefusedError, explain
from aries_nb.net.tls import tls_context
from aries_nb.net.urls import is_loopback, shown_url
from aries_nb.rooms.transport import transport_to

if TYPE_CHECKING:
    from nats.aio.client import Client

__all__ = ["RoomAddress", "closed", "connected", "end", "is_room"]

PORTS = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}
PLAIN = {"nats", "ws"}
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
CONNECT_SECONDS, CLOSE_SECONDS = 5, 2.0
PING_SECONDS, MOST_PINGS = 5, 2  # without an answer the connection is lost
PENDING_BYTES = 16 << 20  # not sent yet: beyond it, publishing waits
EXAMPLE = "Write it as tls://HOST:4222/room42, or nats://127.0.0.1:4222/room42 on this machine."


@dataclass(frozen=True, slots=True)
class RoomAddress:
    """A NATS server, and the name of a room there. `of` makes it of a user's text."""

    server: str
    """Scheme, host and port."""
    name: str

    @classmethod
    def of(cls, text: str) -> RoomAddress:
        """Return the address in a text such as "tls://teacher:4222/room42".

        Raises UsageError for what is none, for one with a token in it, and for plain nats:// to another machine.
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError:  # not chained: it may quote a password
            raise UsageError(f"{shown_url(text)!r} is no address of a room", advice=EXAMPLE) from None
        name = parts.path.removeprefix("/")
        if "@" in parts.netloc or parts.query or parts.fragment:
            what = f"the address {shown_url(text)!r} holds more than a host, a port and a room"
            raise UsageError(what, advice="Pass a token as token=… or in ARIES_NB_TOKEN, never in the address.")
        if parts.scheme not in PORTS or not host or not NAME.fullmatch(name):
            raise UsageError(f"{shown_url(text)!r} is no address of a room", advice=EXAMPLE)
        if parts.scheme in PLAIN and not is_loopback(host):
            secure = "tls" if parts.scheme == "nats" else "wss"
            what = f"plain {parts.scheme}:// to {host} would send your token and the rows unencrypted"
            raise UsageError(what, advice=f"Use {secure}://; {parts.scheme}:// is for 127.0.0.1 only.")
        shown = f"[{host}]" if ":" in host else host
        return cls(f"{parts.scheme}://{shown}:{port or PORTS[parts.scheme]}", name)

    def __str__(self) -> str:
        return f"{self.server}/{self.name}"

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted, and the server verified."""
        return self.server.partition("://")[0] not in PLAIN

    @property
    def beats(self) -> str:
        """The subject of the publisher's signs of life, which no stream keeps."""
        return f"anb.{self.name}.beat"

    @property
    def catalog(self) -> str:
        """The subject of what is served, of which the newest is kept."""
        return f"anb.{self.name}.state.catalog"

    def states(self, group: str) -> str:
        """Return the subject of whole states, such as of a book, of which the newest is kept."""
        return f"anb.{self.name}.state.{group}"

    def rows(self, group: str) -> str:
        """Return the subject of rows, which are kept for the length of the window."""
        return f"anb.{self.name}.rows.{group}"

    @property
    def inbox(self) -> str:
        """What the subjects of answers begin with: who reads one room sees no answers of another."""
        return f"_INBOX_{self.name}"

    @property
    def row_stream(self) -> str:
        """The name of the JetStream stream of rows."""
        return f"ANB-{self.name}-rows"

    @property
    def state_stream(self) -> str:
        """The name of the JetStream stream of the newest states."""
        return f"ANB-{self.name}-state"


def is_room(text: object) -> bool:
    """Return whether a text is meant as the address of a room."""
    return isinstance(text, str) and text.partition("://")[0] in PORTS and "://" in text


async def connected(address: RoomAddress, token: Secret | None, *, on_error: Callable[[str], None]) -> Client:
    """Return a new connection to the server of a room, which does not reconnect by itself.

    `token` is a token, or USER:PASSWORD; None for a server that asks for none. `on_error` gets the text of each problem
    while it is open. Raises TokenRefusedError, ConnectionLostError, or UsageError where nats-py is not installed.
    """
    try:
        from nats.aio.client import Client
        from nats.errors import Error
    except ImportError as error:
        raise UsageError("a room needs the package nats-py", advice="pip install 'aries_nb[room]'") from error

    client: Any = Client()  # any, because its transport is set

    def given() -> str:
        _check_encrypted(address, client)
        return "" if token is None else token.reveal()

    newest: list[Exception] = []

    async def problem(error: Exception) -> None:
        newest[:] = [error]
        on_error(explain(error))

    client._transport = await transport_to(address.server, seconds=CONNECT_SECONDS)  # noqa: SLF001
    is_pair = token is not None and ":" in token.reveal()
    try:
        await client.connect(
            address.server,
            name="aries_nb",
            user=(lambda: given().partition(":")[0]) if is_pair else None,
            password=(lambda: given().partition(":")[2]) if is_pair else None,
            token=None if is_pair or token is None else given,
            tls=tls_context() if address.is_secure else None,
            allow_reconnect=False,
            connect_timeout=CONNECT_SECONDS,
            max_reconnect_attempts=1,  # of the first attempt: 0 would be without end
            reconnect_time_wait=0.1,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=MOST_PINGS,
            pending_size=PENDING_BYTES,
            error_cb=problem,
            inbox_prefix=address.inbox,
        )
        _check_encrypted(address, client)
    except FeedError:
        await closed(client)
        raise
    except Error as error:
        await closed(client)
        if "authorization" in str(error).lower():
            said = "the server of the room wants one" if token is None else "the server of the room does not accept it"
            raise TokenRefusedError(said) from None
        raise ConnectionLostError(explain(next(iter(newest), error))) from None
    except (OSError, TimeoutError) as error:
        await closed(client)
        raise ConnectionLostError(explain(error)) from error
    connection: Client = client
    return connection


async def closed(client: Client) -> None:
    """Close a connection, for 3 s at most: after a failed handshake nats-py would wait for ever for its end.

    It also waits for a server that does not read, though the connection has ended; what it has left then is ended here.
    """
    with suppress(Exception):
        await asyncio.wait_for(client.close(), CLOSE_SECONDS)
    for subscription in client._subs.values():  # noqa: SLF001
        if subscription._wait_for_msgs_task is not None:  # noqa: SLF001
            subscription._wait_for_msgs_task.cancel()  # noqa: SLF001
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001
    if writer is not None:
        writer.transport.abort()


async def end(task: asyncio.Task[Any] | None) -> None:
    """End the task of a connection, and wait until that is closed."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


def _check_encrypted(address: RoomAddress, client: Client) -> None:
    """Raise ConnectError where a connection that must be encrypted is not: the server's first words may be forged."""
    is_upgraded = address.server.startswith("wss:") or client._server_info.get("tls_required")  # noqa: SLF001
    if address.is_secure and not is_upgraded:
        what = "the server does not encrypt the connection, and nothing was sent"
        raise ConnectError(what, where=str(address), advice="Configure TLS at the server: docs/rooms.md.")

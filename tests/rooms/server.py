"""A NATS server with JetStream for tests, as a process that can be killed and started again."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

PROGRAM = Path(sys.executable).parent / "nats-server"


class NatsServer:
    """`folder` is where it keeps its streams; `more` is further text of its configuration, such as users."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder, self._more = folder, more
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def room(self, name: str = "room42") -> str:
        return f"{self.url}/{name}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        settings = self.folder.with_suffix(".conf")
        settings.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.folder}" }}\n{self._more}\n'
        )
        self._process = subprocess.Popen([PROGRAM, "-c", settings], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not is_open(self.port):
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Remove all that it kept; it must not run."""
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def free_port() -> int:
    """A port that nobody listens on, below those that systems give to connections: none takes it meanwhile."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as some, suppress(OSError):
            some.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are in use")


def is_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False

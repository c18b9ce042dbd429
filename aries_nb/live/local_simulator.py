"""The embedded simulated market: a server in a child process, which ends when this process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike, fspath
from typing import IO, TypeAlias

from aries_nb.errors import ConnectError, UsageError
from aries_nb.model import Secret
from aries_nb.net.background import register_fork_aware

__all__ = ["EmbeddedMarket", "SimValue", "arguments_from"]

SimValue: TypeAlias = int | float | str | PathLike[str] | Sequence[str] | Sequence[PathLike[str]] | None
WRONG_USAGE = 2  # exit status of the command line
OURS = "ARIES_NB_"  # environment variables of this package; not passed on: `ps e` would show a token
_OPTIONS = ("seed", "rate", "tape", "speed", "rough", "rough_seconds")


def arguments_from(options: Mapping[str, SimValue]) -> list[str]:
    """Return options of `connect` as arguments of the command `aries-nb sim`.

    Raises UsageError for an unknown option.
    """
    arguments: list[str] = []
    for name, value in options.items():
        if name not in _OPTIONS:
            raise UsageError(f"unknown option {name}=", advice=f"A simulated market takes {', '.join(_OPTIONS)}.")
        if value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "rough":  # True for all troubles, a text with commas, or several names
            arguments.append(flag)
            if value is not True:
                arguments.append(value if isinstance(value, str) else ",".join(map(str, _many(value))))
            continue
        for each in _many(value):
            arguments += [flag, fspath(each) if isinstance(each, PathLike) else str(each)]
    return arguments


def _many(value: SimValue) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


class EmbeddedMarket:
    """A simulated market that runs in a child process; `url` is the WebSocket address where it serves.

    `broker` names the broker that it imitates, `arguments` are further ones of the command `aries-nb sim`
    (`arguments_from`). `refresh_token` is the one that it accepts, None where its broker has none. The child ends when
    its standard input closes, which happens however this process ends. A fork of this process inherits the other end of
    that pipe until `after_fork` closes it there. Raises UsageError for options that it refuses, ConnectError where it
    does not start.
    """

    def __init__(self, broker: str, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "aries_nb", "sim", broker, "--end-with-input", *arguments]
        with tempfile.TemporaryFile() as complaints:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, our own arguments, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,  # a notebook's "interrupt" goes to the kernel's whole process group
                env={name: value for name, value in os.environ.items() if not name.startswith(OURS)},
            )
            try:
                said = self._first_words(complaints)
            except BaseException:  # the traceback of an interrupt holds this frame, and so the process's input
                self.close()
                raise
        register_fork_aware(self)
        self.url = str(said["url"])
        token = said.get("refresh_token")  # where its broker issues access tokens for those
        self.refresh_token = Secret(token) if isinstance(token, str) else None

    def _first_words(self, complaints: IO[bytes]) -> dict[str, object]:
        line = self._process.stdout.readline() if self._process.stdout else b""
        if line:
            said: dict[str, object] = json.loads(line)
            return said
        self.close()
        complaints.seek(0)
        last = complaints.read().decode("utf-8", "replace").strip().splitlines()
        raise self._refusal(last[-1] if last else "no message")

    def _refusal(self, said: str) -> UsageError | ConnectError:
        if self._process.returncode == WRONG_USAGE:
            reason = said.removeprefix("aries-nb: ").rstrip(".")
            return UsageError(f"the simulated market refused its options: {reason}")
        return ConnectError(
            f"the simulated market did not start: {said}", advice="Run `aries-nb doctor` to find the cause."
        )

    @property
    def is_running(self) -> bool:
        """Whether the child process is running."""
        return self._process.poll() is None

    def after_fork(self) -> None:
        """Close the pipes to the child in a forked process, so that it ends with the process that started it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        """Close the pipes to the child process, which ends it, and wait for that; kill it after 3 s. Idempotent."""
        self.after_fork()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

"""What belongs to one process: in a fork of it (`multiprocessing`, `os.fork`) its connections are let go of.

A fork has copies of the sockets and of no thread but its own: what it wrote would go into its parent's connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

__all__ = ["Copied", "Left", "left_in_a_fork"]


class Left(Protocol):
    """What a fork lets go of."""

    def leave(self) -> None:
        """Be of no use from now on; in the fork, where no other thread runs and any lock may be held for ever."""


class _Forks:
    """Everything of this process that its forks let go of."""

    def __init__(self) -> None:
        self._held: WeakSet[Left] = WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)

    def add(self, held: Left) -> None:
        self._held.add(held)

    def _leave(self) -> None:
        held, self._held = list(self._held), WeakSet()
        for each in held:
            each.leave()


_forks = _Forks()


class Copied:
    """A socket, known by its number, whose copy a fork gives up: open, it would hide its parent's end from a server."""

    def __init__(self, number_of: Callable[[], int]) -> None:
        self._number_of = number_of
        left_in_a_fork(self)

    def leave(self) -> None:
        """Give the copy up. Its number goes on to stand for a file, since whoever holds it may close it any time."""
        number = self._number_of()
        if number >= 0:
            with open(os.devnull, "rb") as nothing:
                os.dup2(nothing.fileno(), number, inheritable=False)


def left_in_a_fork(held: Left) -> None:
    """Have `held.leave()` called in every fork of this process, for as long as it lives. Any thread may call."""
    _forks.add(held)

"""Waiting until the server has seen a request: the pong of a ping that was sent after it."""

from __future__ import annotations

import asyncio

__all__ = ["Fences"]


class Fences:
    """Who waits for which ping's pong. The network's thread owns it."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def passed(self, number: int) -> asyncio.Future[None]:
        """Done at the pong of this ping, or of a later one, or when the connection breaks. Ask before sending it."""
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, seen))
        return seen

    def release(self, number: int | None = None) -> None:
        """Let those go on who wait for a ping up to `number`; all of them where it is None."""
        waiting, self._waiting = self._waiting, []
        for fence, seen in waiting:
            if number is not None and fence > number:
                self._waiting.append((fence, seen))
            elif not seen.done():
                seen.set_result(None)

"""Steers a simulated market, its clock and its troubles, by lines of JSON, from the process that started it.

A command such as {"id": 3, "do": "seek", "to": 1772463845000000000} is answered, when the market is there, by a line
{"id": 3, "clock": {…}}, or {"id": 3, "error": "…"}. A line without an id says that the pace counts anew. The lines go
through the pipes of a child process, which no other process can open: no port, and no secret.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aries_nb.errors import UsageError
from aries_nb.model.clock import steady_ns
from aries_nb.sim.clock import MAX_SPEED
from aries_nb.sim.market.troubles import SIMULATED, TROUBLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim.serving import Server

__all__ = ["Control"]

MAX = "max"


class Control:
    """The control of one market: takes commands, and writes answers and changes. Owned by the server's loop.

    `write` is called with one line of text, without its end. The market is steered from its start: no moment of it is
    left out, however long the machine is busy.
    """

    def __init__(self, server: Server[Any], write: Callable[[str], None]) -> None:
        self._server, self._clock = server, server.clock
        self._write = write
        self._tasks: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()
        self._clock.is_steered = True
        server.on_clock = self.tell

    def state(self) -> dict[str, object]:
        """Return the state of the clock.

        `now` is the market time, in ns since the epoch, at `at`, in ns of the clock that all processes of the machine
        share; `speed` is a number or "max". While it is hurried, it keeps no pace: it goes to a moment, or at "max".
        While it is interrupted, clients get nothing: an outage, or a delay.
        """
        clock = self._clock
        now, at = clock.anchor(steady_ns())
        return {
            "start": clock.start_ns,
            "now": now,
            "at": at,
            "speed": MAX if clock.speed == MAX_SPEED else clock.speed,
            "is_playing": clock.is_playing,
            "is_hurried": clock.has_no_pace,
            "is_interrupted": self._server.is_interrupted,
        }

    def tell(self) -> None:
        """Write the state of the clock."""
        self._write(json.dumps({"clock": self.state()}))

    def receive(self, line: bytes) -> None:
        """Take one line with a command; it is carried out behind earlier ones, but for a pause, which ends them."""
        try:
            command = json.loads(line)
            ident, what = command["id"], command["do"]
        except (ValueError, KeyError, TypeError):
            self._write(json.dumps({"error": "a command has an id and what to do"}))
            return
        task = asyncio.get_running_loop().create_task(self._answer(ident, what, command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, ident: object, what: object, command: dict[str, Any]) -> None:
        try:
            if what == "pause":  # a seek that runs arrives here
                await self._server.pause(int(command.get("at", 0)))
            else:
                async with self._order:
                    await self._carry_out(what, command)
        except (UsageError, ValueError, TypeError, KeyError) as error:
            self._write(json.dumps({"id": ident, "error": str(error)}))
        else:
            self._write(json.dumps({"id": ident, "clock": self.state()}))

    async def _carry_out(self, what: object, command: dict[str, Any]) -> None:
        server = self._server
        if what == "play":
            speed = command.get("speed")
            server.play(self._clock.speed if speed is None else MAX_SPEED if speed == MAX else float(speed))
        elif what == "seek":
            await server.seek(int(command["to"]))
        elif what == "step":
            await server.step(int(command["events"]))
        elif what == "simulate":
            server.simulate(str(command["trouble"]), float(command["seconds"]), str(command.get("symbol", "")))
        elif what == "troubles":
            self._write(json.dumps({"troubles": {name: TROUBLES[trouble] for name, trouble in SIMULATED.items()}}))
        elif what != "state":
            raise UsageError(f"unknown command {what!r}")

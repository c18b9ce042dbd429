"""A simulated market that stands at its start: fair prices drift with time, also before anything is subscribed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aries_nb.sim import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.sim.settings import ServerOptions


@contextmanager
def standing(options: ServerOptions) -> Iterator[Simulator]:
    """Start a simulator whose market has made no turn until `go_on`."""
    sim = Simulator(options)
    sim._server.clock.pause(0, 0)
    with sim:
        yield sim


def go_on(sim: Simulator) -> None:
    """Let the market go on at its usual pace."""
    sim._call(lambda: sim._server.play(1.0))

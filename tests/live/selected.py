"""What a simulator believes that its clients have selected, without the streams that are empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aries_nb.sim import Simulator


def selected(sim: Simulator) -> list[dict[str, dict[str, Any]]]:
    return [
        {symbol: {stream: what for stream, what in streams.items() if what} for symbol, streams in client.items()}
        for client in sim.subscriptions()
    ]

"""The time of a pure-Python cell under ALOR's 20,000 messages a second: as `busy_cell`, but a frame is one message."""

from __future__ import annotations

from tests.bench.alor_socket_rate import connected
from tests.bench.blast import blasting
from tests.bench.busy_cell import RATE, cell_under_load
from tests.bench.results import Effort, Outcome

__all__ = ["measure"]


def measure(effort: Effort) -> Outcome:
    """The budget of the busy cell for ALOR."""
    with blasting(RATE, 1, is_alor=True) as url, connected(url) as feed:
        return cell_under_load(feed, effort, name="ALOR: ")

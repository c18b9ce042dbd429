"""When gaps of a connection begin and end, by the messages received and the clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aries_nb.net.gap_tracking import GapTracker
from aries_nb.store import GapLog

NOW = 1_900_000_000_000_000_000
SECOND = 1_000_000_000


@pytest.mark.parametrize(("later", "expected"), [(80_000, 80_000), (0, 1), (-3_600 * SECOND, -3_600 * SECOND)])
def test_gap_does_not_begin_before_the_end_of_the_one_before(later: int, expected: int) -> None:
    intake: Any = SimpleNamespace(last_received=NOW, subscriptions=())
    log = GapLog()
    clock = SimpleNamespace(now_ns=lambda: NOW + abs(later))
    tracker = GapTracker(intake, log.stream("market"), clock)

    tracker.opened("cut", "cut")
    tracker.completed()  # a moment after the message that shows it
    intake.last_received = NOW + min(later, 0)  # or the clock was set back
    tracker.opened("cut again", "cut")
    clock.now_ns = lambda: NOW + later + SECOND
    tracker.closed()

    first, second = log.all()
    assert (first.started, first.ended) == (NOW, NOW + abs(later))
    assert second.started == NOW + expected
    assert second.ended is not None
    assert second.ended >= second.started

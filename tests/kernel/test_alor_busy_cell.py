"""A busy cell in a real kernel loses no trade of a broker that disconnects clients with 5,000 unread messages."""

from __future__ import annotations

import pytest

from tests.soak.alor_busy_cell import RATE, run_during_trades

pytestmark = pytest.mark.alone


def test_cells_that_hold_the_kernel_are_not_cut_off_and_lose_no_trade() -> None:
    outcome = run_during_trades(["compute", "rest"], RATE, 2.5)

    assert outcome.cut_off == 0
    assert outcome.sent == outcome.received > 1_000
    assert outcome.is_same
    assert outcome.most_unread < 1_000

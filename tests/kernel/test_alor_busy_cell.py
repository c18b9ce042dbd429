"""A real kernel beside a broker that cuts off whoever leaves 5,000 messages unread: a busy cell loses no trade."""

from __future__ import annotations

import pytest

from tests.soak.alor_busy_cell import RATE, beside

pytestmark = pytest.mark.alone


def test_cells_that_hold_the_kernel_are_not_cut_off_and_lose_no_trade() -> None:
    outcome = beside(["compute", "rest"], RATE, 2.5)

    assert outcome.cut_off == 0
    assert outcome.sent == outcome.received > 1_000
    assert outcome.is_same
    assert outcome.most_unread < 1_000

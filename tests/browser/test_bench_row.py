"""The benchmark's row of the browser can be measured: once, small, without a look at the figures."""

from __future__ import annotations

import pytest

from tests.bench.browser_latency import measured
from tests.bench.results import Effort
from tests.browser.conftest import shared_page


@pytest.mark.long  # all other rows are measured in each run
def test_the_row_of_the_browser_is_measured(tab, lab):
    with shared_page(tab, lab) as page:
        outcome = measured(page, lab, Effort.SMOKE)

    assert all(budget.is_met is not None for budget in outcome.budgets), outcome
    assert len(outcome.budgets) == 2

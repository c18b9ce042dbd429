"""Any fault between broker and client is reported, filled where that is possible, and no row is invented."""

from __future__ import annotations

import pytest

from tests.faults.course import ALOR, ARIES, Ground
from tests.faults.schedules import check

SCHEDULES = 60
START = 20_261_122


@pytest.mark.timeout(3_600)  # of a thousand; sixty take some seconds
@pytest.mark.parametrize("ground", [ARIES, ALOR], ids=lambda ground: ground.name)
def test_any_schedule_of_faults_leaves_ledger_rows_and_gaps_true(
    ground: Ground, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--schedules", default=None) or SCHEDULES
    start = request.config.getoption("--start", default=None)

    check(ground, count=count // 2, start=START if start is None else start)

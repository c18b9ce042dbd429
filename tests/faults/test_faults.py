"""Any fault between broker and client is reported, filled where that is possible, and no row is invented."""

from __future__ import annotations

import pytest
from websockets.asyncio.client import ClientConnection

from aries_nb.net.frame_connection import FrameConnection
from tests.faults.course import ALOR, ARIES, Ground
from tests.faults.schedules import check

SCHEDULES, FEW_SCHEDULES = 20, 8
START = 20_261_122


@pytest.mark.timeout(3_600)  # of a thousand; twenty take some seconds
@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "parsed"])
@pytest.mark.parametrize("ground", [ARIES, ALOR], ids=lambda ground: ground.name)
def test_any_schedule_of_faults_leaves_ledger_rows_and_gaps_true(
    ground: Ground, is_cut: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where websockets parses every frame, and none is cut out of a read."""
    count = request.config.getoption("--schedules", default=None) or (SCHEDULES if is_cut else FEW_SCHEDULES)
    start = request.config.getoption("--start", default=None)
    if not is_cut:
        monkeypatch.setattr(FrameConnection, "_cut", ClientConnection.data_received)

    check(ground, count=count // 2, start=START if start is None else start)

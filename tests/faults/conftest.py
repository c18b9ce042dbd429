from __future__ import annotations

import pytest

from aries_nb.brokers.alor import session as alor_session
from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.aries import session as aries_session
from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.live.account import snapshots
from aries_nb.net import session
from aries_nb.net.intake import Intake


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--schedules", type=int, default=None, help="how many schedules of faults, of all brokers together")
    group.addoption(
        "--by-message", action="store_true", help="take no frames by columns, however many messages they have"
    )
    group.addoption("--start", type=int, default=None, help="the seed that the schedules are drawn with")


def shorten(patch: pytest.MonkeyPatch | None = None, *, is_by_columns: bool = True) -> None:
    """Have silence found within a second, so that a schedule takes about one; the machine may be busy.

    Frames are taken by columns even where there are few messages, or always by message. Without `patch` for the rest of
    the process.
    """
    patch = patch or pytest.MonkeyPatch()
    for each in (aries_session, alor_session):
        patch.setattr(each, "PING_SECONDS", 0.5)
        patch.setattr(each, "PONG_SECONDS", 1.0)
    patch.setattr(aries_session, "AUTH_SECONDS", 3.0)
    patch.setattr(alor_session, "REPLY_SECONDS", 4.0)
    patch.setattr(session, "TICK_SECONDS", 0.05)
    patch.setattr(snapshots, "PAUSES", (0.1, 0.3, 1.0))
    patch.setattr(AriesMarket, "LEAST_BYTES", 0)
    patch.setattr(AlorMarket, "LEAST_FRAMES", 1)
    patch.setattr(Intake, "IS_BY_COLUMNS", is_by_columns)


@pytest.fixture(scope="module", autouse=True)
def short_time_limits(pytestconfig: pytest.Config) -> object:
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch, is_by_columns=not pytestconfig.getoption("by_message"))
        yield

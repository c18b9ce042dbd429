"""The state of the market, as the broker reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.errors import ClosedError
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]


def test_the_state_of_the_market_is_a_mapping_with_a_time(sim: Simulator, feed: Feed) -> None:
    status = feed.market_status
    eventually(lambda: "market" in status)
    opened, begun = status.ts, pd.Timestamp.now("UTC")

    sim.set_market("closed")
    eventually(lambda: status["market"] == "closed")

    assert dict(status) == dict(feed.market_status)
    assert opened < status.ts <= status.received + pd.Timedelta("1s")
    assert begun - pd.Timedelta("1s") < status.received < pd.Timestamp.now("UTC") + pd.Timedelta("1s")
    assert "market closed" in repr(status)


def test_each_report_is_a_row(sim: Simulator, feed: Feed) -> None:
    eventually(lambda: len(feed.market_status) > 0)
    sim.set_market("closed")
    sim.set_market("open")
    eventually(lambda: len(feed.market_status.df) == 3)

    frame = feed.market_status.df

    assert frame["market"].tolist() == ["open", "closed", "open"]
    assert frame.index.name == "ts"
    assert frame.index.is_monotonic_increasing
    assert pd.DatetimeTZDtype("us", "UTC") == frame.index.dtype == frame["received"].dtype
    assert frame["after_hours"].tolist() == [False] * 3


def test_a_callback_gets_each_new_report_and_is_registered_once(sim: Simulator, feed: Feed) -> None:
    eventually(lambda: len(feed.market_status) > 0)
    states: list[str] = []
    for _ in range(2):  # as when a cell runs again
        stop = feed.market_status.on_update(lambda rows: states.extend(rows["market"]))

    sim.set_market("closed")
    eventually(lambda: states == ["closed"])
    stop()
    sim.set_market("open")
    eventually(lambda: feed.market_status["market"] == "open")
    feed.close()

    assert states == ["closed"]
    with pytest.raises(ClosedError):
        feed.market_status.on_update(print)
    assert feed.market_status["market"] == "open"


def test_a_broker_without_reports_has_an_empty_state(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    status = open_alor(serve_alor()).market_status

    assert dict(status) == {}
    assert status.ts is pd.NaT
    assert status.df.empty
    assert repr(status) == "<market status: no report yet>"


def test_the_newest_thousand_reports_are_kept(sim: Simulator, feed: Feed) -> None:
    eventually(lambda: len(feed.market_status) > 0)
    _, before = feed._link.status_reports()

    for _ in range(10):
        sim.set_market("closed")
        sim.set_market("open")
    eventually(lambda: feed._link.status_reports()[1] == before + 20)

    assert len(feed.market_status.df) == before + 20

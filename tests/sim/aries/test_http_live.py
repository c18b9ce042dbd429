"""History over HTTP against the prints that a subscriber of the same simulator received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim import Simulator
    from tests.sim.bare_client import BareClient


def http(sim: Simulator, token: str = "t") -> httpx.Client:
    base = sim.url.replace("ws://", "http://")
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, trust_env=False)


def test_bars_hold_exactly_the_prints_that_a_subscriber_received(
    serve: Callable[..., Simulator], client: Callable[..., BareClient]
) -> None:
    sim = serve(rate=2000)
    listener = client(sim=sim)

    listener.subscribe({"symbol": "AAPL", "timeAndSales": True})
    prints: list[dict[str, Any]] = [update["data"] for update in listener.receive_updates("timeAndSales", 500)]
    listener.unsubscribe("AAPL")
    rest = [message["payload"] for message in listener.sync()]
    prints += [payload["data"] for payload in rest if payload.get("type") == "timeAndSales"]
    with http(sim) as asking:
        ticks = asking.get("/v1/chart/tick-history", params={"symbol": "AAPL", "resolution": "1T", "countback": 5000})
        first, last = (int(prints[place]["tradeTimestamp"]) for place in (0, -1))
        asked = {"symbol": "AAPL", "resolution": "1", "from": first // 60_000 * 60, "to": last // 1000 + 1}
        bars = asking.get("/v1/chart/history", params=asked).json()

    received = [(float(each["price"]), float(each["size"])) for each in prints]
    assert list(zip(ticks.json()["c"], ticks.json()["v"], strict=True)) == received
    assert sum(bars["v"]) == sum(size for _, size in received)
    assert (max(bars["h"]), min(bars["l"])) == (max(received)[0], min(received)[0])
    assert (bars["o"][0], bars["c"][-1]) == (received[0][0], received[-1][0])


@pytest.mark.parametrize(("token", "status"), [("fixed", 200), ("other", 401)])
def test_running_server_takes_the_token_of_its_options(
    serve: Callable[..., Simulator], token: str, status: int
) -> None:
    with http(serve(token="fixed"), token) as asking:
        assert asking.get("/v1/chart/config").status_code == status

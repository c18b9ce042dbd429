from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from aries_nb.errors import UsageError
from aries_nb.sim import SimOptions
from aries_nb.sim import serve as serve_forever
from aries_nb.sim.aries.server import LineClient
from tests.net.patience import eventually
from tests.sim.bare_client import PATH, BareClient, auth

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.server import ServerConnection

    from aries_nb.sim import Simulator
    from aries_nb.sim.aries.session import AriesSession

Connect = Any
PACKAGE = Path(__file__).parents[3] / "aries_nb"


@pytest.mark.parametrize("path", ["/", "/v1/charts", "/v1/market/ws/more", "/v1/marketdata/ws"])
def test_other_paths_are_not_found(serve: Callable[..., Simulator], path: str) -> None:
    sim = serve()

    with pytest.raises(InvalidStatus) as refused:
        BareClient(sim.url, path)

    assert refused.value.response.status_code == 404


def test_query_after_the_path_is_passed_over(serve: Callable[..., Simulator]) -> None:
    with BareClient(serve().url, f"{PATH}?a=1") as bare:
        assert bare.log_in()


def test_all_endpoints_share_the_port_and_are_counted_together(serve: Callable[..., Simulator]) -> None:
    sim = serve()

    with (
        BareClient(sim.url) as market,
        BareClient(sim.url, "/v1/charts/ws") as charts,
        BareClient(sim.url, "/v1/accounts/ws") as accounts,
    ):
        for bare in (market, charts, accounts):
            bare.log_in()
        market.subscribe({"symbol": "MSFT", "level2": True})
        charts.send({"type": "subscribe", "payload": {"type": "quotes", "symbol": "MSFT"}})
        accounts.send({"type": "subscribe", "id": "a-1", "payload": {"topic": "watchlist"}})
        for bare in (market, charts, accounts):
            bare.sync()
        held, counts = sim.subscriptions(), sim.statistics()

    assert [list(each) for each in held] == [["MSFT"], ["MSFT"], ["watchlist"]]
    assert (counts.connections_open, counts.auths, counts.subscribe_requests) == (3, 3, 3)
    assert (sim.statistics().auths, sim.statistics().subscribe_requests) == (3, 3)


def test_token_issued_over_http_opens_the_sockets(serve: Callable[..., Simulator]) -> None:
    sim = serve(token="fixed")
    asked = {"grant_type": "client_credentials", "client_id": "sim-client", "client_secret": "sim-secret"}
    token = httpx.post(sim.url.replace("ws:", "http:") + "/v1/oauth2/token", data=asked).json()["access_token"]

    with BareClient(sim.url) as issued, BareClient(sim.url) as fixed, BareClient(sim.url) as wrong:
        assert issued.log_in(token)
        assert fixed.log_in("fixed")
        wrong.send(auth("wrong"))
        assert wrong.receive_close() == (1008, "authentication failed")


def test_trades_of_the_market_become_bars_of_the_history(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve(rate=2000)
    bare = client(sim=sim)
    bare.subscribe({"symbol": "AAPL", "timeAndSales": True})
    prints = [payload["data"] for payload in bare.receive_updates("timeAndSales", 50)]

    answer = httpx.get(
        sim.url.replace("ws:", "http:") + "/v1/chart/tick-history",
        params={"symbol": "AAPL", "resolution": "1T", "countback": 5000},
        headers={"Authorization": "Bearer t"},
    ).json()

    assert answer["c"][:50] == [float(data["price"]) for data in prints]
    assert answer["v"][:50] == [float(data["size"]) for data in prints]


def test_accounts_stand_still_while_the_market_is_closed(serve: Callable[..., Simulator]) -> None:
    sim = serve()

    with BareClient(sim.url, "/v1/accounts/ws") as bare:
        bare.log_in()
        bare.send({"type": "subscribe", "id": "a-1", "payload": {"topic": "account", "params": {"accountId": "ACC-1"}}})
        bare.receive_until(lambda message: message.get("payload", {}).get("name") == "account.balance")
        sim.set_market("closed")
        bare.sync()
        time.sleep(1.2)  # longer than the second after which changes of prices are published

        assert bare.sync() == []


def test_events_of_one_turn_share_frames(client: Connect) -> None:
    bare = client(rate=2000)
    bare.subscribe({"symbol": "AAPL"})
    bare.receive_updates("quote", 500)

    lines = [len(frame.rstrip("\n").split("\n")) for frame in bare.frames]

    assert max(lines) > 20


def test_some_frames_end_in_a_newline(client: Connect) -> None:
    bare = client(rate=1)
    for _ in range(200):
        bare.sync()

    ends = [frame.endswith("\n") for frame in bare.frames]

    assert 0 < sum(ends) < len(ends) / 4


def test_answer_is_sent_at_once_and_alone(client: Connect) -> None:
    bare = client(rate=1)
    bare.sync()

    took = []
    for _ in range(20):
        started = time.monotonic()
        bare.sync()
        took.append(time.monotonic() - started)

    assert min(took) < 0.05  # others may wait for a processor; none came so soon if they waited for a turn
    assert bare.frames[-1].rstrip("\n") == '{"type":"pong","id":"sync"}'


def test_frames_stay_below_a_mebibyte(client: Connect) -> None:
    bare = client(rate=50_000)
    bare.subscribe(*({"symbol": symbol, "level2": True} for symbol in ("AAPL", "MSFT", "SPY")))
    bare.receive_updates("level2", 3000)

    assert max(len(frame) for frame in bare.frames) < 2**20


def test_what_no_frame_was_sent_of_yet_still_waits() -> None:
    session = SimpleNamespace(outbox=["x" * 300_000] * 3 + ["y"] * 501)
    client = LineClient(cast("ServerConnection", None), cast("AriesSession", session), Random(1))
    sent = [(lines, text.count("\n", 0, -1) + 1, len(session.outbox)) for lines, text in client.frames()]

    assert [lines for lines, *_ in sent] == [1, 1, 500, 2]
    assert all(lines == count for lines, count, _ in sent)
    assert [left for *_, left in sent] == [503, 502, 2, 0]


@pytest.mark.parametrize("items", [[{"symbol": "AAPL"}], [{"symbol": "AAPL", "timeAndSales": True}, {"symbol": "SPX"}]])
def test_rate_counts_all_streams_together(serve: Callable[..., Simulator], client: Connect, items: list[Any]) -> None:
    sim = serve(rate=1000)
    bare = client(sim=sim)
    bare.subscribe(*items)
    bare.sync()
    for _ in range(30):
        started, before = time.monotonic(), sim.statistics().market_events
        while time.monotonic() - started < 1.0:
            bare.receive()
        spent, events = time.monotonic() - started, sim.statistics().market_events - before
        assert events < 1000 * spent + 150  # one turn more or less at either end
        if events > 500 * spent:  # a busy machine skips some
            break

    assert events > 500 * spent


def test_slow_reader_is_closed_with_1013_and_others_live_on(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve(rate=50_000, queue_limit=2000)
    slow, quick = client(sim=sim), client(sim=sim)
    slow.subscribe(*({"symbol": symbol, "level2": True} for symbol in ("AAPL", "MSFT", "SPY")))

    eventually(lambda: (quick.sync(), sim.statistics().closed_slow == 1)[1])

    assert slow.receive_close()[0] == 1013
    assert quick.sync() == []


def test_stop_closes_with_1001(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve()
    bare = client(sim=sim)

    sim.close()

    assert bare.receive_close()[0] == 1001
    assert sim.statistics().connections_open == 0


def test_stop_does_not_wait_for_a_client_that_does_not_read(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve(rate=50_000)
    bare = client(sim=sim)
    bare.subscribe(*({"symbol": symbol, "level2": True} for symbol in ("AAPL", "MSFT", "SPY")))
    eventually(lambda: sim.statistics().queued >= 500)  # there is nothing to wait on: the client must not read

    started = time.monotonic()
    sim.close()

    assert time.monotonic() - started < 60  # for ever, if it waited for what the client does not read


def test_client_that_says_nothing_more_is_closed(client: Connect) -> None:
    bare = client(idle_seconds=0.1)

    assert bare.receive_close() == (1000, "idle for 0.1 s")


def test_too_large_a_frame_is_refused_with_1009(client: Connect) -> None:
    bare = client()

    bare.send("x" * (2**20 + 1))

    assert bare.receive_close()[0] == 1009


def test_taken_port_is_a_usage_error(serve: Callable[..., Simulator]) -> None:
    port = int(serve().url.rpartition(":")[2])

    with pytest.raises(UsageError, match="cannot listen"):
        serve(port=port)


def test_serve_reports_its_url_and_runs_until_cancelled() -> None:
    async def run() -> str:
        url_known: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve_forever(SimOptions(), ready=url_known.set_result))
        url = await url_known
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return url

    assert asyncio.run(run()).startswith("ws://127.0.0.1:")


def test_simulator_starts_without_pandas_pyarrow_aiohttp_and_the_clients_rooms() -> None:
    # A bare package replaces the root, which imports the rooms of the client for its users.
    code = (
        "import json, sys, types; root = sys.modules['aries_nb'] = types.ModuleType('aries_nb');"
        f"root.__path__ = [{str(PACKAGE)!r}]; import aries_nb.sim; print(json.dumps(sorted(sys.modules)))"
    )

    modules = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)

    rooms = {name.split(".")[1] for name in modules if name.startswith("aries_nb.")}
    assert rooms == {"sim", "errors", "model"}
    assert {"pandas", "pyarrow", "plotly", "aiohttp"}.isdisjoint(modules)

"""All of a feed through a proxy: the login, the streams, and history over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import aries_nb as anb
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.net.forward_proxy import Cable, ForwardProxy, forget_the_network, papers

if TYPE_CHECKING:
    from pathlib import Path

HOST = "market.example"


@pytest.mark.parametrize(
    ("broker", "options", "token", "symbol"),
    [
        ("aries", SimOptions(rate=200), "any", "AAPL"),
        ("alor", AlorOptions(rate=200), "sim-refresh", "SBER"),
    ],
    ids=["aries", "alor"],
)
def test_everything_goes_through_it(
    broker: str, options: SimOptions | AlorOptions, token: str, symbol: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    forget_the_network(monkeypatch)
    shown = papers(tmp_path, HOST)
    monkeypatch.setenv("SSL_CERT_FILE", str(shown.authority))
    with (
        Simulator(options) as sim,
        Cable(int(sim.url.rpartition(":")[2]), papers=shown) as secured,
        ForwardProxy({HOST: secured.port}, credentials="me:hunter2") as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with anb.connect(broker, url=f"wss://{HOST}", token=token) as feed:
            trades = feed.trades(symbol).wait(rows=5)
            bars = feed.bars(symbol, "1min", history="2d").wait()
            known = feed.accounts

    assert len(trades.df) >= 5
    assert (bars.df["source"] == "history").any()
    assert known
    assert {f"{HOST}:443"} == set(proxy.asked)

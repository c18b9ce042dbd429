"""The rough market over real sockets and HTTP, and from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack

import httpx
import pytest

from aries_nb.cli import main
from aries_nb.sim import TROUBLES, AlorOptions, SimOptions, Simulator
from tests.sim.alor.client import AlorClient


@pytest.mark.parametrize(
    ("options", "path"), [(SimOptions, "/v1/chart/config"), (AlorOptions, "/md/v2/Securities/MOEX/SBER")]
)
def test_http_answer_hangs_while_others_come_at_once(options, path):
    with Simulator(options(rough="hanging_http", rough_seconds=0.4)) as sim:
        took = []
        with httpx.Client(base_url=sim.url.replace("ws:", "http:"), headers={"Authorization": "Bearer x"}) as client:
            while len(took) < 8 or (max(took) < 0.3 and len(took) < 100):
                began = time.monotonic()
                assert client.get(path).status_code == 200
                took.append(time.monotonic() - began)
                time.sleep(0.02)

    assert max(took) >= 0.3
    assert sorted(took)[len(took) // 2] < max(took) / 2


def test_troubles_come_through_a_real_socket():
    with (
        Simulator(AlorOptions(rough=frozenset(["stub_quotes"]), rough_seconds=0.5)) as sim,
        AlorClient(sim.url) as bare,
    ):
        bare.request("QuotesSubscribe", exchange="MOEX", code="SBER", format="Simple", frequency=25)
        found = bare.receive_until(lambda frame: frame.get("data", {}).get("bid") == 0.01)

    assert found


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_command_line_lists_the_troubles_and_refuses_others(broker, capsys):
    with pytest.raises(SystemExit):
        main(["sim", broker, "--help"])
    status = main(["sim", broker, "--rough", "weather"])

    shown = capsys.readouterr()
    assert [name for name in TROUBLES if name not in shown.out] == []
    assert status == 2
    assert "unknown trouble weather" in shown.err


def test_command_line_serves_the_rough_market_of_each_broker():
    brokers, options = ("aries", "alor"), ["--end-with-input", "--rough", "--rough-seconds", "5"]

    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "aries_nb", "sim", broker, *options],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for broker in brokers
        ]
        served = [json.loads(process.stdout.readline())["broker"] for process in started]
        for process in started:
            process.stdin.close()

    assert served == list(brokers)

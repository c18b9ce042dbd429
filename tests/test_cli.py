from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.sync.client import connect

import aries_nb as anb
from aries_nb.cli import main
from tests.recording.recorded import events, record

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "aries_nb"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["demo", "sim", "doctor", "--version"]),
        (["demo"], ["--no-browser", "--port"]),
        (["sim"], ["{aries,alor}"]),
        (
            ["sim", "aries"],
            ["--host", "--port", "--seed", "--rate", "--tape", "--speed", "--token", "--session-seconds"],
        ),
        (["sim", "alor"], ["--host", "--port", "--seed", "--rate", "--tape", "--speed", "--token", "--token-seconds"]),
        (["sim", "alor"], ["--no-conflation", "--ack-first", "--kill-on-expiry", "--refuse-handshake"]),
        (["doctor"], ["known problems"]),
        (["record"], ["--symbols", "--to", "--account", "--keep", "--max-gb", "--url"]),
        (["replay"], ["--speed", "--start"]),
        (["recordings"], ["--check", "exit status"]),
        (["serve"], ["--to", "--symbols", "--kinds", "--window", "ARIES_NB_ROOM_TOKEN"]),
        (["room"], ["--port", "--folder", "publisher", "reader"]),
    ],
)
def test_each_command_explains_itself(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])

    output = capsys.readouterr()
    assert (ended.value.code, output.err) == (0, "")
    assert [word for word in words if word not in output.out] == []
    assert "--end-with-input" not in output.out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])

    assert anb.__version__ == capsys.readouterr().out.strip()


@pytest.mark.parametrize("arguments", [[], ["dance"], ["sim"], ["sim", "nyse"], ["sim", "aries", "--rate", "fast"]])
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    output = capsys.readouterr()
    assert (ended.value.code, output.out) == (2, "")
    assert "error: " in output.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--tape", "nowhere.parquet"], "there is no recording 'nowhere.parquet'"),
        (["--tape", sys.executable], "not a Parquet file"),
        (["--speed", "warp"], "--speed 'warp' is not a speed"),
        (["--speed", "0"], "speed is 0.0"),
        (["--speed", "-1"], "speed is -1.0"),
        (["--speed", "nan"], "speed is nan"),
        (["--rate", "0"], "rate is 0.0"),
        (["--rate", "50001"], "rate is 50001.0"),
        (["--rate", "nan"], "rate is nan"),
        (["--port", "70000"], "port is 70000"),
        (["--host", "no.such.host.invalid"], "cannot listen"),
        (["--token", " "], "the token is blank"),
        (["--session-seconds", "0"], "session_seconds is 0"),
    ],
)
def test_an_invalid_market_is_one_clear_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["sim", "aries", *arguments])

    output = capsys.readouterr()
    assert (status, output.out, len(output.err.splitlines())) == (2, "", 1)
    assert output.err.startswith("aries-nb: ")
    assert word in output.err


def test_what_belongs_to_one_broker_is_refused_for_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["alor", "--session-seconds", "9"], ["aries", "--ack-first"]):
        with pytest.raises(SystemExit) as ended:
            main(["sim", *arguments])
        assert ended.value.code == 2
    assert main(["sim", "alor", "--token-seconds", "0"]) == 2
    assert "AlorOptions.token_seconds" in capsys.readouterr().err


def test_no_traceback_reaches_the_user() -> None:
    done = run("sim", "aries", "--tape", "nowhere.parquet")

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_sim_prints_one_line_of_json_and_serves_until_it_is_interrupted() -> None:
    command = [*COMMAND, "sim", "aries", "--rate", "500", "--token", "a token", "--seed", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        output = json.loads(server.stdout.readline())
        with anb.connect("aries", url=output["url"], token="a token") as feed:
            rows = len(feed.quotes("AAPL").wait(rows=10).df)
        server.send_signal(2)
        rest, errors = server.communicate(timeout=60)

    assert {"url", "broker", "pid"} == set(output)
    assert ("aries", server.pid) == (output["broker"], output["pid"])
    assert rows >= 10
    assert (rest, errors, server.returncode) == ("", "", 130)


def test_a_market_is_recorded_and_replayed_without_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "day.anb")
    command = [*COMMAND, "sim", "aries", "--rate", "500", "--token", "a token"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        monkeypatch.setenv("ARIES_NB_TOKEN", "a token")
        asked = ["--symbols", "AAPL,MSFT", "--account", "ACC-1", "--seconds", "1"]
        assert main(["record", "aries", "--url", url, "--to", path, *asked]) == 0
        server.terminate()
    assert "closed" in capsys.readouterr().out
    with (tmp_path / "day.anb" / "000001.arrows").open("ab") as segment:
        segment.write(b"x" * 100)  # as of a process that was killed
    assert main(["replay", path, "--speed", "max"]) == 0
    summary, _, gaps = capsys.readouterr().out.partition("\n")
    assert int(summary.split(" messages")[0].split()[-1].replace(",", "")) > 100
    assert re.search(r"\b[1-9] gaps?,", summary)
    assert {"stream", "symbol", "started", "ended", "cause", "reason"} == set(gaps.split("\n")[0].split())
    assert "the recording has no events here (" in gaps
    with anb.replay(path, speed="max") as past:
        assert len(past.quotes("AAPL", "MSFT").df)
        assert len(past.account("ACC-1").positions.wait().df)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["record", "aries", "--to", "x.anb"], "nothing to record"),
        (["record", "aries", "--to", "x.anb", "--symbols", "AAPL", "--kinds", "news"], "news"),
        (["replay", "nowhere.anb"], "there is no recording"),
        (["replay", "nowhere.anb", "--speed", "0"], "is no speed"),
        (["replay", sys.executable], "not a recording"),
        (["recordings", "nowhere"], "there is no folder"),
    ],
)
def test_what_cannot_be_recorded_or_replayed_is_one_clear_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert (word in output.err, output.err.count("\n"), output.out) == (True, 1, "")


def test_recordings_are_listed_and_damage_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.anb", events(1_000), per_batch=100)
    damaged = record(tmp_path / "b.anb", events(1_000), per_batch=100) / "000001.arrows"
    data = bytearray(damaged.read_bytes())
    data[5_000] ^= 1
    damaged.write_bytes(data)

    assert main(["recordings", str(tmp_path)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        str(tmp_path / "a.anb"),
        str(tmp_path / "b.anb"),
    ]
    assert main(["recordings", str(tmp_path), "--check"]) == 1
    table, missing = capsys.readouterr().out.split("\n\n")
    assert "damaged" in table
    assert missing.startswith(f"{tmp_path / 'b.anb'}: events are missing:\n")
    assert "damaged" in missing
    assert main(["recordings", str(tmp_path / "b.anb"), "--check"]) == 1
    assert "events are missing" in capsys.readouterr().out


def test_sim_speaks_the_second_brokers_protocol() -> None:
    command = [*COMMAND, "sim", "alor", "--token", "a token", "--ack-first", "--no-conflation"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        output = json.loads(server.stdout.readline())
        issued = httpx.post(f"{output['oauth']}/refresh", json={"token": output["refresh_token"]}).json()["AccessToken"]
        with connect(f"{output['url']}/ws", compression=None) as socket:
            asked = {"opcode": "QuotesSubscribe", "guid": "q", "exchange": "MOEX", "code": "SBER", "token": issued}
            socket.send(json.dumps(asked))
            first, second = json.loads(socket.recv(10)), json.loads(socket.recv(10))
        server.send_signal(2)
        rest, errors = server.communicate(timeout=60)

    assert set(output) == {"url", "http", "oauth", "refresh_token", "broker", "pid"}
    assert (first["httpCode"], second["data"]["symbol"]) == (200, "SBER")
    assert (rest, errors, server.returncode) == ("", "", 130)
    assert "a token" not in json.dumps(output)


def test_sim_plays_a_recording(tapes: Path) -> None:
    command = [*COMMAND, "sim", "aries", "--tape", str(tapes / "btcusdt_trades.parquet"), "--speed", "max"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        with anb.connect("aries", url=url, token="a token") as feed:
            rows = len(feed.trades("BTCUSDT").wait(rows=1000).df)
        server.send_signal(2)

    assert rows == 1000


def test_sim_ends_with_its_input_when_asked_to() -> None:
    command = [*COMMAND, "sim", "aries", "--end-with-input"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        server.stdout.readline()

        server.stdin.close()

        assert server.wait(60) == 0


def test_a_port_in_use_is_one_clear_line() -> None:
    with subprocess.Popen([*COMMAND, "sim", "aries"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["url"].rpartition(":")[2]

        done = run("sim", "aries", "--port", port)
        server.send_signal(2)

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "cannot listen" in done.stderr


def test_doctor_prints_each_check_and_its_fix() -> None:
    done = run("doctor")

    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert lines[0].startswith("ok    Python 3.")
    assert done.returncode == int(any(line.startswith("FIX") for line in lines))
    assert [line for line in lines if not line.startswith(("ok    ", "FIX   ", "      "))] == []


def test_demo_without_jupyterlab_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aries_nb.cli.util.find_spec", lambda name: None)

    status = main(["demo"])

    assert status == 2
    assert "pip install 'aries_nb[lab]'" in capsys.readouterr().err

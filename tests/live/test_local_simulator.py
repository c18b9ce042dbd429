"""The embedded market: a process of our own that ends with us, however we end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

import aries_nb as anb
from aries_nb.live.local_simulator import EmbeddedMarket, arguments_from
from tests.net.patience import eventually

if TYPE_CHECKING:
    from pathlib import Path

CLEAN_SCRIPT = """
import aries_nb as anb
feed = anb.connect("sim", rate=5000)
quotes = feed.quotes("AAPL", "MSFT").wait(rows=20)
trades, book = feed.trades("AAPL"), feed.book("AAPL")
quotes.on_update(lambda rows: None)
feed.on_gap(print)
print(len(quotes.df) >= 20)
"""


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = f"/proc/{process}/stat"
    if os.path.exists(stat):
        with open(stat) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # a zombie waits for its parent only
    return True


def test_close_ends_the_process() -> None:
    market = EmbeddedMarket("aries", ["--rate", "10"])
    process = market._process
    was_running = is_running(process.pid)

    market.close()
    market.close()

    assert was_running
    assert process.returncode is not None


def test_closing_the_feed_ends_the_process_and_the_next_connect_starts_another() -> None:
    first = anb.connect("sim", seed=3)
    url = first.url
    first.close()

    with anb.connect("sim", seed=3) as second:
        assert first is not second
        assert url != second.url


def test_words_of_the_market_are_not_masked_and_it_stands_at_once_after_any_speed() -> None:
    with anb.connect("sim", rough="stream_refusals", seed=1) as feed:
        with pytest.raises(anb.SubscriptionRefusedError, match=r"entitlement \(simulated: stream_refusals\)"):
            feed.trades("MSFT")

        began, at = time.monotonic(), feed.clock.now
        feed.clock.play(speed=1e5)
        time.sleep(0.2)
        owed = 1e5 * (time.monotonic() - began)  # seconds of the market, of which no machine makes so many
        feed.clock.pause()

        assert 0 < (feed.clock.now - at).total_seconds() < owed
        assert feed.clock.speed == float("inf")


def test_the_same_seed_is_the_same_feed_and_another_is_another() -> None:
    with anb.connect("sim", seed=3) as three, anb.connect("sim", seed=4) as four:
        assert three is anb.connect("sim", seed=3)
        assert three is not four
        assert three.url != four.url


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rate": 0}, r"rate is 0\.0.*from 1 to 50000"),
        ({"rate": -5}, r"rate is -5\.0"),
        ({"rate": "fast"}, r"--rate: invalid float value: 'fast'"),
        ({"speed": "warp"}, r"--speed 'warp' is not a speed.*max"),
        ({"tape": "nowhere.parquet"}, r"there is no recording 'nowhere\.parquet'"),
        ({"seed": 1.5}, r"--seed: invalid int value"),
    ],
)
def test_a_bad_option_is_a_usage_error_that_names_it(options: dict[str, Any], match: str) -> None:
    with pytest.raises(anb.UsageError, match=match):
        anb.connect("sim", **options)


def test_a_tape_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "not.parquet"
    path.write_text("no Parquet")

    with pytest.raises(anb.UsageError, match=r"not a Parquet file"):
        anb.connect("sim", tape=path)


def test_options_become_arguments_of_the_command_line(tmp_path: Path) -> None:
    arguments = arguments_from({"seed": 3, "tape": [tmp_path / "a", tmp_path / "b"], "speed": "max", "rate": None})

    assert ["--seed", "3", "--tape", str(tmp_path / "a"), "--tape", str(tmp_path / "b"), "--speed", "max"] == arguments


@pytest.mark.parametrize(
    ("rough", "arguments"),
    [
        (True, ["--rough"]),
        (False, []),
        (None, []),
        ("halts,stub_quotes", ["--rough", "halts,stub_quotes"]),
        (["halts", "stub_quotes"], ["--rough", "halts,stub_quotes"]),
    ],
)
def test_troubles_become_an_argument_of_the_command_line(rough: Any, arguments: list[str]) -> None:
    assert arguments_from({"rough": rough}) == arguments
    assert arguments_from({"rough": rough, "rough_seconds": 2.5}) == [*arguments, "--rough-seconds", "2.5"]


@pytest.mark.parametrize("name", ["sim", "sim-alor"])
def test_unknown_trouble_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(anb.UsageError, match=r"unknown trouble weather.*missing_sides"):
        anb.connect(name, rough="weather")


def test_a_market_that_dies_is_told_and_the_rows_stay() -> None:
    with anb.connect("sim", rate=1000) as feed:
        quotes = feed.quotes("AAPL").wait(rows=10)
        cells = [cell.cell_contents for cell in cast("Any", feed._at_close).__closure__]
        (market,) = [cell for cell in cells if isinstance(cell, EmbeddedMarket)]

        market._process.kill()
        eventually(lambda: feed.state == "failed")

        assert len(quotes.df) >= 10
        assert len(feed.gaps) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_of_the_whole_process_group_does_not_reach_the_market() -> None:
    script = """
import os, signal, aries_nb as anb
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would we
feed = anb.connect("sim", rate=20_000)
quotes = feed.quotes("AAPL").wait()
try:
    os.killpg(os.getpgid(0), signal.SIGINT)
    quotes.wait(rows=10**9)
except KeyboardInterrupt:
    quotes.wait(rows=quotes.received + 1000)
    print(feed.state, len(feed.gaps))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, start_new_session=True, check=False
    )

    assert (done.stdout, done.stderr) == ("live 0\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_the_market_ends_when_its_parent_is_killed() -> None:
    script = """
import sys, time
from aries_nb.live.local_simulator import EmbeddedMarket
market = EmbeddedMarket("aries", [])
print(market._process.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        market = int(parent.stdout.readline())
        was_running = is_running(market)

        parent.send_signal(signal.SIGKILL)
        parent.wait(30)

        assert was_running
        eventually(lambda: not is_running(market))


def test_the_interpreter_ends_by_itself_and_without_a_word() -> None:
    command = [sys.executable, "-W", "error", "-c", CLEAN_SCRIPT]
    # One that waits for the threads of its feed never ends.
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_the_interpreter_ends_without_a_word_on_a_lost_market() -> None:
    script = """
import gc, subprocess
market = next(thing for thing in gc.get_objects() if isinstance(thing, subprocess.Popen))
market.kill()
raise SystemExit(3)
"""
    command = [sys.executable, "-c", CLEAN_SCRIPT.replace("feed.on_gap(print)", "") + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 3)


def test_a_market_whose_process_ended_is_said_by_the_card_and_by_every_new_call() -> None:
    with anb.connect("sim", seed=11) as feed:
        quotes = feed.quotes("AAPL").wait(rows=5, timeout=60)
        market = feed.clock._market  # type: ignore[attr-defined]

        market._process.kill()
        eventually(lambda: feed.state == "failed")

        assert "the simulated market has ended. Connect again." in feed.card().error
        calls = (lambda: feed.quotes("MSFT"), lambda: feed.book("AAPL"), lambda: quotes.wait(rows=10**6, timeout=60))
        for call in calls:
            with pytest.raises(anb.ClosedError, match="the simulated market has ended"):
                call()
        again = anb.connect("sim", seed=11)
        again.close()
        assert again is not feed
        assert len(quotes.df)

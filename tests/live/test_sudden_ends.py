"""Abrupt ends: an interpreter that cannot wait, a fork, a signal to the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

import aries_nb as anb
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.sim import Simulator

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

HANGING = """
import contextlib, sys, threading, time, aries_nb as anb
answers = iter(["a token"])
is_asked = threading.Event()
def token():
    for answer in answers:
        return answer
    is_asked.set()
    threading.Event().wait()
feed = anb.connect("aries", url=sys.argv[1], token=token)
feed.quotes("AAPL").wait(rows=1)
print("live", flush=True)
is_asked.wait(60)
def load():
    with contextlib.suppress(anb.ClosedError):
        feed.bars("AAPL")
threading.Thread(target=load, daemon=True).start()
print("over")
"""
FORKED = """
import os, sys, aries_nb as anb
feed = anb.connect("aries", url=sys.argv[1], token="a token")
quotes = feed.quotes("AAPL").wait(rows=10)
feed.bars("AAPL", history="1h")
reference = feed.reference

def refused(call):
    try:
        call()
    except anb.ClosedError:
        return True

def child():
    print(feed.state, len(quotes.df) >= 10)
    print(refused(lambda: quotes.wait(rows=10**9)), refused(lambda: feed.trades("MSFT")),
          refused(lambda: reference.instrument("AAPL")), refused(lambda: feed.bars("AAPL")))
    feed.close()
    with anb.connect("aries", url=sys.argv[1], token="a token") as own:
        own.quotes("AAPL").wait(rows=10)
        print(own is not feed, own.state, flush=True)

if (process := os.fork()) == 0:
    child()
    sys.exit(0)  # through what an interpreter does at its end
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
quotes.wait(rows=quotes.received + 50)
print(feed.state, len(feed.gaps), flush=True)
"""
LINGERING = """
import os, sys, aries_nb as anb
feed = anb.connect("aries", url=sys.argv[1], token="a token")
embedded = anb.connect("sim")
feed.bars("AAPL", history="1h")
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print(embedded.url, flush=True)
sys.stdin.read()
"""


def is_served(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=2).close()
    except OSError:
        return False
    return True


@contextmanager
def no_longer_than_the_test(process: subprocess.Popen[str]) -> Iterator[None]:
    """See to it that a process does not outlive its test; one that has ended is left alone."""
    try:
        yield
    finally:
        process.kill()


def test_a_token_function_that_hangs_keeps_no_interpreter_from_ending(serve: Callable[..., Simulator]) -> None:
    sim = serve(rate=200)
    command = [sys.executable, "-W", "error", "-c", HANGING, sim.url]

    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        no_longer_than_the_test(process),
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "live\n"
        sim.drop_connections()  # the next connection asks for a token again
        words = process.communicate(timeout=120)  # one that waits for the function never ends

    assert (*words, process.returncode) == ("over\n", "", 0)


@needs_fork
def test_a_fork_uses_nothing_of_its_parents_and_connects_for_itself(serve: Callable[..., Simulator]) -> None:
    sim = serve(rate=500)

    done = subprocess.run(
        [sys.executable, "-c", FORKED, sim.url], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.splitlines() == [
        "closed True",
        "True True True True",
        "True live",
        "0",
        "live 0",
    ]
    assert done.stderr == ""


@needs_fork
def test_the_end_of_a_parent_is_not_hidden_by_its_fork(serve: Callable[..., Simulator]) -> None:
    sim = serve(rate=200)
    command = [sys.executable, "-c", LINGERING, sim.url]

    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent,
        no_longer_than_the_test(parent),
    ):
        assert parent.stdout is not None
        url = parent.stdout.readline()
        before = (sim.statistics().connections_open, is_served(url))

        parent.kill()
        parent.wait()

        # The fork lives on, until its input closes below.
        eventually(lambda: sim.statistics().connections_open == 0)
        eventually(lambda: not is_served(url))

    assert before == (1, True)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_a_server_that_is_terminated_says_goodbye_and_frees_its_port(broker: str) -> None:
    command = [sys.executable, "-m", "aries_nb", "sim", broker]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server,
        no_longer_than_the_test(server),
    ):
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        with anb.connect(broker, url=said["url"], token=said.get("refresh_token", "a token")) as feed:
            server.send_signal(signal.SIGTERM)
            words = server.communicate(timeout=60)
            eventually(lambda: len(feed.gaps) == 1)
            reason = feed.gaps.df["reason"].iloc[0]

    assert (*words, server.returncode) == ("", "", 128 + signal.SIGTERM)
    assert "1001" in reason
    assert not is_served(said["url"])

"""A real kernel that is interrupted, killed or restarted at any moment leaves nothing behind."""

from __future__ import annotations

import ast
import os
import signal
import socket
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from jupyter_client.manager import KernelManager

from tests.kernel.test_kernel import CELL_SECONDS
from tests.kernels import make_patient, manager_of
from tests.net.patience import eventually

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")

READY = "now"
BROKERS = ("sim", "sim-alor")
SYMBOLS = {"sim": "AAPL", "sim-alor": "SBER"}
REAL = {"sim": "aries", "sim-alor": "alor"}

BEGIN = "import os, signal, threading\nimport aries_nb as anb"
STREAM = """
feed = anb.connect({broker!r}, rate=500)
quotes = feed.quotes({symbol!r}).wait(rows=5)
quotes.on_update(lambda rows: None)
"""
SHOW = "display(feed, quotes, quotes.chart())"
URL = "\nprint(feed.url)"
CONNECT = f"print({READY!r})\nanb.connect({{broker!r}}, url={{url!r}}, token='a token', timeout=60)"
WAIT = f"print({READY!r})\nquotes.wait(rows=10**9, timeout=60)"
GOES_ON = "quotes.wait(rows=quotes.received + 20)\nprint(feed.state, len(feed.gaps), feed.stats().streams)"
# A stopped market does not answer: the progress bar stays.
LOAD = f"""
from aries_nb.live import notebook
from aries_nb.live.market import bar_history
notebook.LONG_SECONDS = 0.0
ask = bar_history.BarHistory.ask
def ask_without_answer(self, start, end, *, reached):
    reached(end)
    os.kill({{market}}, signal.SIGSTOP)
    print({READY!r})
    return ask(self, start, end, reached=reached)
bar_history.BarHistory.ask = ask_without_answer
try:
    feed.bars({{symbol!r}})
finally:
    bar_history.BarHistory.ask = ask
"""
BEGINNINGS = [BEGIN + STREAM.format(broker=broker, symbol=SYMBOLS[broker]) + URL for broker in BROKERS]
BARS_SHOWN = """
import ipywidgets
print([model for model in ipywidgets.widgets.widget._instances.values() if "Progress" in type(model).__name__])
"""
# A stopped market also keeps `close` waiting for its closing handshake.
CLOSE = f"""
from aries_nb.net import pool
os.kill({{market}}, signal.SIGSTOP)
wait = pool.wait
def wait_for_an_interrupt(done, seconds):
    print({READY!r})
    wait(done, 60)
pool.wait = wait_for_an_interrupt
try:
    feed.close()
finally:
    pool.wait = wait
"""
OURS = "print([each.name for each in threading.enumerate() if each.name.startswith('aries')])"


class Kernel:
    """Kernels of this Python, one after the other; they and their children write temporary files to `temporary`."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._environment = {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "IPYTHONDIR": make_patient(folder / "ipython"),
        }
        self._manager = manager_of(KernelManager)
        self.begin()

    def begin(self) -> None:
        self._manager.start_kernel(env=self._environment)
        self._connect()

    def run(self, code: str, at: object = None) -> tuple[str, str]:
        """Run a cell; returns its printed text and the name of the error it ended with, "" without one.

        `at` is called once, when the cell prints that it is ready.
        """
        texts: list[str] = []

        def hook(message: dict) -> None:
            nonlocal at
            if message["msg_type"] == "stream":
                texts.append(message["content"]["text"])
                if at is not None and READY in texts[-1]:
                    call, at = at, None
                    call()

        reply = self.client.execute_interactive(code, output_hook=hook, timeout=CELL_SECONDS)
        return "".join(texts), reply["content"].get("ename", "")

    def printed(self, code: str) -> str:
        """The printed text of a cell that must not fail."""
        text, error = self.run(code)
        assert error == "", text
        return text.strip()

    def interrupt(self) -> None:
        """Interrupt as Jupyter does; its own call would enter the event loop that waits for the cell."""
        os.killpg(os.getpgid(self.process), signal.SIGINT)

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        self.client.stop_channels()
        self._manager.provisioner.process.wait()

    def restart(self) -> None:
        self.client.stop_channels()
        self._manager.restart_kernel()
        self._connect()

    def end(self) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def markets(self) -> list[int]:
        """The running simulated markets that this kernel has started."""
        return [process for process in running() if parent_of(process) == self.process and is_market(process)]

    def _connect(self) -> None:
        self.client = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=CELL_SECONDS)
        self.process = int(self.printed("import os; print(os.getpid())"))


def running() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def status_of(process: int) -> list[str]:
    """State, parent and the fields after them; empty for a process that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return fields if fields[0] != "Z" else []


def parent_of(process: int) -> int:
    return int((status_of(process) or ["", "0"])[1])


def is_market(process: int) -> bool:
    try:
        return b"\0aries_nb\0sim\0" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def is_served(url: str) -> bool:
    parts = urlsplit(url)
    with suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=10):
        return True
    return False


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all tests, as it takes seconds to start; each test leaves it working."""
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    yield kernel
    kernel.end()


def interrupt_as_the_market_starts(kernel: Kernel, code: str) -> str:
    """Run a cell that starts a market, interrupt it as soon as the process exists; returns the name of its error."""

    def watch() -> None:
        eventually(kernel.markets)
        kernel.interrupt()

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, error = kernel.run(code)
    watcher.join()
    return error


def interrupted_then_going_on(kernel: Kernel, market: int) -> None:
    kernel.interrupt()
    os.kill(market, signal.SIGCONT)


@pytest.mark.parametrize("broker", ["sim", pytest.param("sim-alor", marks=pytest.mark.long)])
def test_an_interrupt_at_any_moment_leaves_nothing_and_the_next_call_works(broker, kernel):
    kernel.printed(BEGIN)
    stream = STREAM.format(broker=broker, symbol=SYMBOLS[broker])

    at_start = interrupt_as_the_market_starts(kernel, stream)
    eventually(lambda: not kernel.markets())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connecting = CONNECT.format(broker=REAL[broker], url=f"ws://127.0.0.1:{silent.getsockname()[1]}")
        _, at_connect = kernel.run(connecting, at=kernel.interrupt)
    url, (market,) = kernel.printed(stream + URL), kernel.markets()
    kernel.printed(SHOW)
    going_on = partial(interrupted_then_going_on, kernel, market)
    _, at_wait = kernel.run(WAIT, at=kernel.interrupt)
    _, at_load = kernel.run(LOAD.format(symbol=SYMBOLS[broker], market=market), at=going_on)
    shown, goes_on = kernel.printed(BARS_SHOWN), kernel.printed(GOES_ON)
    _, at_close = kernel.run(CLOSE.format(market=market), at=going_on)
    eventually(lambda: not kernel.markets())
    was_served = is_served(url)
    eventually(lambda: ast.literal_eval(kernel.printed(OURS)) == ["aries-nb-network"])
    again = kernel.printed(stream + GOES_ON + "\nfeed.close()")

    assert [at_start, at_connect, at_wait, at_load, at_close] == ["KeyboardInterrupt"] * 5
    assert shown == "[]"
    # A displayed board has streams of its own: the day's figures and, with ALOR, the trading status.
    assert (goes_on, again) == ({"sim": "live 0 2", "sim-alor": "live 0 3"}[broker], "live 0 1")
    assert not was_served
    assert list(kernel.temporary.iterdir()) == []


def test_a_restarted_kernel_leaves_nothing_and_connects_again(kernel):
    urls = [kernel.printed(begin) for begin in BEGINNINGS]
    markets = kernel.markets()

    kernel.restart()
    left = [market for market in markets if status_of(market)]
    kernel.printed(BEGINNINGS[1])

    assert len(markets) == 2
    assert left == []
    assert [is_served(url) for url in urls] == [False, False]
    assert kernel.printed(GOES_ON) == "live 0 1"
    assert list(kernel.temporary.iterdir()) == []


def test_a_killed_kernel_leaves_nothing_and_the_next_one_connects(kernel):
    urls = [kernel.printed(begin) for begin in BEGINNINGS]
    markets = kernel.markets()

    kernel.kill()
    eventually(lambda: not any(map(status_of, markets)))
    kernel.begin()
    kernel.printed(BEGINNINGS[0])

    assert len(markets) == 2
    assert [is_served(url) for url in urls] == [False, False]
    assert kernel.printed(GOES_ON) == "live 0 1"
    assert list(kernel.temporary.iterdir()) == []

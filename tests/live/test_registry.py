from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import aries_nb as anb
from aries_nb.errors import ClosedError, ConnectError, UsageError
from aries_nb.live.live_object import LiveRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim import Simulator

PATIENCE = 60.0


def test_what_is_made_slowly_holds_up_no_other(sim: Simulator, feed: anb.Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    quotes = feed.quotes("AAPL")
    is_asked, may_answer = threading.Event(), threading.Event()
    get = feed._http.get

    def slow(*call: object) -> bytes:
        is_asked.set()
        assert may_answer.wait(PATIENCE)
        return get(*call)

    monkeypatch.setattr(feed._http, "get", slow)
    with ThreadPoolExecutor(3) as pool:
        bars = pool.submit(feed.bars, "AAPL", history="1h")
        assert is_asked.wait(PATIENCE)
        same = pool.submit(feed.quotes, "AAPL").result(PATIENCE)
        other = pool.submit(feed.book, "MSFT").result(PATIENCE)
        is_bars_done = bars.done()
        may_answer.set()
        bars.result(PATIENCE)

    assert same is quotes
    assert other.is_open
    assert not is_bars_done


def test_accounts_that_are_slow_to_name_hold_up_no_table(
    sim: Simulator, feed: anb.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = feed.account("ACC-1")
    is_asked, may_answer = threading.Event(), threading.Event()

    def slow() -> tuple[str, ...]:
        is_asked.set()
        assert may_answer.wait(PATIENCE)
        return ("ACC-1",)

    monkeypatch.setattr(feed._accounts, "names", slow)
    with ThreadPoolExecutor(2) as pool:
        only = pool.submit(feed.account)
        assert is_asked.wait(PATIENCE)
        again = pool.submit(feed.account, "ACC-1").result(PATIENCE)
        may_answer.set()

        assert again is named
        assert only.result(PATIENCE) is named


def test_equal_calls_at_the_same_time_get_the_same_object(feed: anb.Feed) -> None:
    start = threading.Barrier(4)

    def ask() -> object:
        start.wait(PATIENCE)
        return feed.bars("AAPL", "1h", history="1d")

    with ThreadPoolExecutor(4) as pool:
        found = [call.result(PATIENCE) for call in [pool.submit(ask) for _ in range(4)]]

    assert {id(each) for each in found} == {id(found[0])}


def test_the_charts_get_one_connection_however_many_ask(feed: anb.Feed) -> None:
    start = threading.Barrier(3)

    def ask(symbol: str) -> anb.LiveFrame:
        start.wait(PATIENCE)
        return feed.quotes(symbol, endpoint="charts")

    with ThreadPoolExecutor(3) as pool:
        found = [call.result(PATIENCE) for call in [pool.submit(ask, name) for name in ("AAPL", "MSFT", "BAC")]]

    assert len({id(each._link) for each in found}) == 1


def test_what_is_finished_after_the_end_is_closed(feed: anb.Feed) -> None:
    made = []
    is_closed = threading.Event()

    def check() -> None:
        if is_closed.is_set():
            raise ClosedError("closed")

    kept = LiveRegistry(check)

    def make() -> anb.LiveFrame:
        is_closed.set()
        kept.close()
        made.append(feed.quotes("AAPL"))
        return made[0]

    with pytest.raises(ClosedError):
        kept.same("a key", make)

    assert not made[0].is_open


def test_a_call_that_failed_can_be_made_again(feed: anb.Feed) -> None:
    kept = LiveRegistry(lambda: None)
    makes: list[Callable[[], anb.LiveFrame]] = [lambda: feed.quotes("AAPL"), lambda: 1 / 0]  # type: ignore[list-item, return-value]

    with pytest.raises(ZeroDivisionError):
        kept.same("a key", makes.pop())

    assert kept.same("a key", makes.pop()).is_open


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(24, "Too many open files"), "Too many open files"),
        (MemoryError(), "out of memory"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
    ],
)
def test_lack_of_resources_is_an_error_of_this_library(error: Exception, reason: str) -> None:
    def make() -> Any:
        raise error

    with pytest.raises(ConnectError, match=f"run out of resources: {reason}.*Close feeds"):
        LiveRegistry(lambda: None).same("key", make)


@pytest.mark.parametrize("error", [UsageError("bad"), ValueError("bad"), RuntimeError("bad")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    def make() -> Any:
        raise error

    with pytest.raises(type(error), match="bad") as raised:
        LiveRegistry(lambda: None).same("key", make)

    assert raised.value is error


def test_a_market_that_cannot_start_for_lack_of_descriptors_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("aries_nb.live.local_simulator.subprocess.Popen", popen)

    with pytest.raises(ConnectError, match="run out of resources: Too many open files"):
        anb.connect("sim", seed=4711)

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from aries_nb.net.background import Background, run_on_thread


async def where() -> threading.Thread:
    await asyncio.sleep(0)
    return threading.current_thread()


def test_the_process_has_one_loop_on_a_named_daemon_thread() -> None:
    first, second = Background.shared(), Background.shared()

    thread = first.submit(where()).result(30)

    assert first is second
    assert (thread.name, thread.daemon) == ("aries-nb-network", True)


def test_it_knows_its_own_thread() -> None:
    background = Background.shared()

    async def inside() -> bool:
        return background.is_current()

    assert background.submit(inside()).result(30)
    assert not background.is_current()


def test_what_work_raises_comes_out_of_its_future() -> None:
    async def fail() -> None:
        raise ValueError("in the background")

    with pytest.raises(ValueError, match="in the background"):
        Background.shared().submit(fail()).result(60)


def test_the_work_is_done_on_a_daemon_thread_of_that_name() -> None:
    thread = run_on_thread(threading.current_thread, name="a-thread").result(60)

    assert (thread.name, thread.daemon) == ("a-thread", True)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_what_the_work_raises_is_raised_by_the_future(error: type[BaseException]) -> None:
    def work() -> None:
        raise error("no")

    with pytest.raises(error, match="no"):
        run_on_thread(work, name="a-thread").result(60)


def test_a_cancelled_future_is_over_at_once_and_the_work_ends_in_silence() -> None:
    release, ended = threading.Event(), threading.Event()

    def work() -> threading.Thread:
        release.wait(60)
        ended.set()
        return threading.current_thread()

    future = run_on_thread(work, name="a-thread")
    future.cancel()

    with pytest.raises(CancelledError):
        future.result(60)
    release.set()
    assert ended.wait(30)

from __future__ import annotations

import asyncio
import threading

import pytest

from aries_nb.net.background import Background


async def where() -> threading.Thread:
    await asyncio.sleep(0)
    return threading.current_thread()


def test_the_process_has_one_loop_on_a_named_daemon_thread() -> None:
    first, second = Background.shared(), Background.shared()

    thread = first.submit(where()).result(5)

    assert first is second
    assert (thread.name, thread.daemon) == ("aries-nb-network", True)


def test_it_knows_its_own_thread() -> None:
    background = Background.shared()

    async def inside() -> bool:
        return background.is_current()

    assert background.submit(inside()).result(5)
    assert not background.is_current()


def test_what_work_raises_comes_out_of_its_future() -> None:
    async def fail() -> None:
        raise ValueError("in the background")

    with pytest.raises(ValueError, match="in the background"):
        Background.shared().submit(fail()).result(5)

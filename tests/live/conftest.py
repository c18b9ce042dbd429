from __future__ import annotations

import gc
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.sim import SimOptions, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = BackoffRule(first=0.01, cap=0.05, cap_after_live=0.05)


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that leaves a task whose error was not retrieved."""
    gc.freeze()  # what was there before need not be looked through again
    yield
    gc.collect()
    records = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not [record.getMessage() for record in records if record.name == "asyncio"]


@pytest.fixture
def serve() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Simulator(SimOptions(**options)))


@pytest.fixture
def open_feed() -> Iterator[Callable[..., Feed]]:
    """Open feeds on a simulator, with quick reconnects, that end with the test."""
    with ExitStack() as stack:

        def begin(sim: Simulator, *, rule: BackoffRule = QUICK) -> Feed:
            source = fixed_token("a token")
            feed = stack.enter_context(Feed(BROKERS["aries"], sim.url, source, at_close=lambda closed: None, rule=rule))
            feed.wait_open(30)
            return feed

        yield begin


@pytest.fixture
def sim(serve: Callable[..., Simulator]) -> Simulator:
    return serve(rate=2000, flush_seconds=0.01)


@pytest.fixture
def feed(sim: Simulator, open_feed: Callable[..., Feed]) -> Feed:
    return open_feed(sim)

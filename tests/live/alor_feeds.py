"""Feeds on simulated ALOR servers: the fixtures of the tests that put load on them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers import BROKERS, Broker
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.limits import ConnectionLimit
from aries_nb.sim import AlorOptions, Simulator
from tests.live.conftest import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["open_alor", "serve_alor"]


@pytest.fixture
def serve_alor() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Simulator(AlorOptions(**options)))


@pytest.fixture
def open_alor() -> Iterator[Callable[..., Feed]]:
    """Open feeds with quick reconnects, that end with the test; `choices` are those of the broker."""
    with ExitStack() as stack:

        def begin(
            sim: Simulator,
            *,
            broker: Broker = BROKERS["alor"],
            rule: BackoffRule = QUICK,
            connection_limit: ConnectionLimit | None = None,
            **choices: str,
        ) -> Feed:
            if choices and broker.choose is not None:
                broker = broker.choose(**choices)
            source = fixed_token("a token")
            feed = Feed(
                broker, sim.url, source, at_close=lambda closed: None, connection_limit=connection_limit, rule=rule
            )
            stack.enter_context(feed)
            feed.wait_open(30)
            return feed

        yield begin

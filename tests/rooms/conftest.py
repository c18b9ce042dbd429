from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from aries_nb import connect
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.live.rooms import serving
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.rooms import publisher, trial
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.rooms.server import NatsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def quick_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let publishers of this process give signs of life, and look for others, five times as often as usual."""
    monkeypatch.setattr(publisher, "BEAT_SECONDS", publisher.BEAT_SECONDS / 5)
    monkeypatch.setattr(publisher, "LOOK_SECONDS", publisher.LOOK_SECONDS / 5)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than a user would, on a machine that does much else."""
    monkeypatch.setattr(serving, "OPEN_SECONDS", 60.0)
    monkeypatch.setattr(trial, "START_SECONDS", 60.0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as steps:
        yield steps


@pytest.fixture
def server(tmp_path: Path, stack: ExitStack) -> NatsServer:
    """A NATS server with JetStream on this machine, without users."""
    return stack.enter_context(NatsServer(tmp_path / "nats"))


@pytest.fixture
def make_market(stack: ExitStack) -> Callable[[str], Simulator]:
    """Make simulated markets of Aries or ALOR."""

    def made(broker: str) -> Simulator:
        options = SimOptions(rate=500, flush_seconds=0.01) if broker == "aries" else AlorOptions(rate=500)
        return stack.enter_context(Simulator(options))

    return made


@pytest.fixture
def make_feed(stack: ExitStack, make_market: Callable[[str], Simulator]) -> Callable[..., Feed]:
    """Make feeds of Aries or ALOR, each of the market `sim`, None for one of its own."""

    def made(broker: str = "aries", sim: Simulator | None = None) -> Feed:
        url = (sim or make_market(broker)).url
        feed = Feed(BROKERS[broker], url, fixed_token("a token"), at_close=lambda closed: None)
        stack.callback(feed.close)
        feed.wait_open(60)
        return feed

    return made


@pytest.fixture
def feed(make_feed: Callable[..., Feed]) -> Feed:
    return make_feed()


@pytest.fixture
def enter(stack: ExitStack) -> Callable[..., Feed]:
    """Enter rooms, to be left at the end of the test."""

    def entered(address: str, **options: object) -> Feed:
        room = connect(address, **{"timeout": 60.0, **options})
        stack.callback(room.close)
        return room

    return entered

from __future__ import annotations

import gc
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.session import Session
from aries_nb.sim import SimOptions, Simulator
from aries_nb.store import GapLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = BackoffRule(first=0.01, cap=0.05, cap_after_live=0.05)


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that leaves a task with an error that was never retrieved."""
    gc.freeze()  # what was there before need not be looked through again
    yield
    gc.collect()
    records = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not [record.getMessage() for record in records if record.name == "asyncio"]


@pytest.fixture
def serve() -> Iterator[Callable[..., Simulator]]:
    """Start simulators, closed with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Simulator(SimOptions(**options)))


@pytest.fixture
def open_session() -> Iterator[Callable[..., Session]]:
    """Open sessions with quick reconnects, closed with the test; `session.ledger` is their gap log."""
    sessions: list[Session] = []

    def begin(url: str, token: Any = None, *, rule: BackoffRule = QUICK) -> Session:
        endpoint = BROKERS["aries"].market
        source = token if callable(token) else fixed_token(token or "a token")
        session = Session(url + endpoint.path, endpoint.make(), source, GapLog().stream("test"), rule=rule)
        sessions.append(session)
        return session

    yield begin
    for session in sessions:
        session.close()

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.sim import SimOptions, Simulator
from tests.sim.bare_client import BareClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def serve() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Simulator(SimOptions(**options)))


@pytest.fixture
def client(serve: Callable[..., Simulator]) -> Iterator[Callable[..., BareClient]]:
    """Connect a bare client to its own simulator by default, logged in by default."""
    with ExitStack() as stack:

        def make(*, sim: Simulator | None = None, log_in: bool = True, **options: Any) -> BareClient:
            made = stack.enter_context(BareClient((sim or serve(**options)).url))
            if log_in:
                made.log_in()
            return made

        yield make

"""What is left of a recording after a part of it was lost: sealed rows, and a replay that goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.live.test_replay import SYMBOLS
from tests.net.patience import eventually

Opener = Callable[..., Feed]


@pytest.fixture(params=["aries", "alor"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def begin(broker: str) -> Iterator[Opener]:
    """Open feeds on a simulated market of the broker."""
    with ExitStack() as stack:
        options = SimOptions(rate=500) if broker == "aries" else AlorOptions(rate=500)
        url = stack.enter_context(Simulator(options)).url

        def opened(**options: Any) -> Feed:
            feed = Feed(BROKERS[broker], url, fixed_token("a token"), at_close=lambda _: None, **options)
            feed.wait_open(10)
            return stack.enter_context(feed)

        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.anb"


def record(begin: Opener, path: Path, broker: str, *, rows: int = 100) -> None:
    with begin(record=path) as feed:
        quotes = feed.quotes(*SYMBOLS[broker])
        before = len(quotes.df)
        eventually(lambda: len(quotes.df) >= before + rows)


def test_sealed_rows_stay_whose_events_were_deleted(begin: Opener, path: Path, broker: str) -> None:
    record(begin, path, broker)
    record(begin, path, broker)
    before = anb.recordings(path).df("quotes")

    (path / "000001.arrows").unlink()
    kept = anb.recordings(path).df("quotes")
    record(begin, path, broker)
    more = anb.recordings(path).df("quotes")

    assert before["seq"].is_unique
    assert len(before) > 200
    assert kept.equals(before)
    assert more["seq"].is_unique
    assert set(before["seq"]) < set(more["seq"])

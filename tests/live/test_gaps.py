from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from aries_nb.live.callbacks import Callbacks, Registrations
from aries_nb.live.gaps import Gaps, GapSelection
from aries_nb.store import Gap, GapLog
from tests.net.patience import eventually

PLACES = {("market", "trades"): {"A"}}


@pytest.fixture
def callbacks() -> Iterator[Callbacks]:
    callbacks = Callbacks()
    yield callbacks
    callbacks.close()


def begin(ledger: GapLog, stream: str = "market") -> None:
    ledger.opened(stream, started=time.time_ns(), reason="cut")


def end(ledger: GapLog, stream: str = "market") -> None:
    ledger.closed(stream, ended=time.time_ns())


def test_frame_has_the_gaps_from_when_it_was_made_until_it_was_closed() -> None:
    ledger = GapLog()
    begin(ledger)
    end(ledger)
    begin(ledger)

    gaps = GapSelection(ledger, PLACES)
    end(ledger)
    begin(ledger)
    gaps.close()
    end(ledger)
    begin(ledger)

    assert [gap.number for gap in gaps.all()] == [1, 2]
    assert Gaps(gaps).df["ended"].notna().all()
    assert len(GapSelection(ledger)) == 4


def test_a_callback_hears_of_each_gap_as_it_begins_and_as_it_ends(callbacks: Callbacks) -> None:
    ledger = GapLog()
    gaps = GapSelection(ledger, PLACES)
    told: list[tuple[int, bool]] = []
    gaps.on_gap(Registrations(callbacks, "quotes"), lambda gap: told.append((gap.number, gap.ended is None)))

    begin(ledger, "accounts")
    begin(ledger)
    eventually(lambda: told == [(1, True)])
    end(ledger)

    eventually(lambda: told == [(1, True), (1, False)])


def test_the_same_function_again_replaces_the_one_before_and_ends_with_the_frame(callbacks: Callbacks) -> None:
    ledger = GapLog()
    gaps = GapSelection(ledger, PLACES)
    told: list[int] = []
    last: list[Gap] = []

    def note(gap: Gap) -> None:
        told.append(gap.number)

    registrations = Registrations(callbacks, "quotes")
    for _ in range(3):
        gaps.on_gap(registrations, note)
    begin(ledger)
    eventually(lambda: told == [0])
    registrations.close()
    GapSelection(ledger).on_gap(Registrations(callbacks, "quotes"), last.append)
    end(ledger)
    eventually(lambda: last)

    assert told == [0]


def test_a_callback_that_raises_hears_of_the_others(callbacks: Callbacks) -> None:
    ledger = GapLog()
    gaps = GapSelection(ledger)
    told: list[int] = []

    def fail(gap: Gap) -> None:
        told.append(gap.number)
        raise ValueError("a user's fault")

    gaps.on_gap(Registrations(callbacks, "quotes"), fail)
    for stream in ("market", "charts", "accounts"):
        begin(ledger, stream)

    eventually(lambda: told == [0, 1, 2])

"""Backfill over HTTP: it never blocks a frame for ever, and a gap counts as filled only if it was filled everywhere."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pandas as pd
import pytest

from aries_nb.live import gap_fill as refill_module
from aries_nb.live.gap_fill import GapFill
from aries_nb.model import Column, Resumed, Subscription, TradeGap
from aries_nb.net.background import on_network
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.intake import Route
from aries_nb.store import GapLog, RollingFrame
from tests.net.patience import eventually

NOW = 1_772_463_845_000_000_000
MS = 1_000_000
TRADES = Subscription("trades", "A", ("price", "source"))


class Reference:
    """Returns trades 2 and 3 at the price of their number, unless it is set to fail or to wait."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def get(self, path: str, params: object = None) -> bytes:
        return b""

    def trades(self, *_: object, **__: object) -> pd.DataFrame:
        self.asked += 1
        self.may_answer.wait(30)
        if self.error is not None:
            raise self.error
        index = pd.DatetimeIndex(pd.to_datetime([NOW + 2 * MS, NOW + 3 * MS], utc=True))
        return pd.DataFrame({"price": [2.0, 3.0], "trade_id": [2, 3]}, index=index)


@pytest.fixture
def reference() -> Reference:
    return Reference()


@pytest.fixture
def refill(reference: Reference) -> GapFill:
    stand_in: Any = reference
    return GapFill(lambda _: stand_in, reference.get, Arrivals(), logging.getLogger(__name__).info)


def broken(refill: GapFill, *tapes: RollingFrame) -> GapLog:
    """A gap, and what comes behind it: trades 4 and 5, before which 2 and 3 are missing."""
    ledger = GapLog()
    gaps = ledger.stream("market")

    def on_the_networks_thread() -> None:
        gaps.opened(started=NOW, reason="cut", cause="cut")
        for tape in tapes:
            for price in (4.0, 5.0):
                tape.buffer.add(0, NOW + int(price) * MS, (price, "live"))
            tape.buffer.mark(NOW)
            refill.start(TradeGap(TRADES, (NOW + MS, 1), (NOW + 4 * MS, 4)), [Route(TRADES, tape, 0)], gaps)
            tape.publish()
        gaps.closed(ended=NOW + 9 * MS, resumed=[Resumed("trades", "A", is_filled=False, count=2)])

    on_network(on_the_networks_thread).result(30)
    return ledger


def tape_of_trades() -> RollingFrame:
    return RollingFrame([Column("price"), Column("source", "text")], ["A"], limit=100)


def is_filled(ledger: GapLog) -> bool:
    return ledger.all()[-1].filled


def test_two_frames_with_the_same_hole_ask_once_and_the_gap_is_filled(refill: GapFill, reference: Reference) -> None:
    tapes = tape_of_trades(), tape_of_trades()

    reference.may_answer.clear()
    ledger = broken(refill, *tapes)
    reference.may_answer.set()
    eventually(lambda: is_filled(ledger))

    for tape in tapes:
        assert tape.frame()["price"].tolist() == [2.0, 3.0, 4.0, 5.0]
        assert tape.frame()["source"].tolist() == ["history", "history", "live", "live"]
        assert tape._published.slab.seq[:2].tolist() == [1, 2]  # the same trades have the same numbers in both frames
    assert reference.asked == 1
    assert ledger.all()[-1].missed == 4


def test_a_fault_of_one_hole_lets_the_frame_go_and_the_next_hole_is_filled(
    refill: GapFill, reference: Reference
) -> None:
    first, second = tape_of_trades(), tape_of_trades()
    reference.error = ValueError("no table at all")

    not_filled = broken(refill, first)
    eventually(lambda: len(first) == 2)
    reference.error = None
    filled = broken(refill, second)
    eventually(lambda: is_filled(filled))

    assert first.frame()["price"].tolist() == [4.0, 5.0]
    assert not is_filled(not_filled)


def test_an_answer_that_comes_too_late_is_not_put_in(
    refill: GapFill, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refill_module, "HOLD_NS", 50_000_000)
    reference.may_answer.clear()
    tape = tape_of_trades()

    ledger = broken(refill, tape)
    eventually(lambda: len(tape) == 2)
    reference.may_answer.set()
    eventually(lambda: not refill._asked)
    on_network(lambda: None).result(30)

    assert tape.frame()["price"].tolist() == [4.0, 5.0]
    assert not is_filled(ledger)

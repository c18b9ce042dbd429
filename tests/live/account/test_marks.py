"""Marks out of quotes with sides that vanish, stub quotes and crossed sides."""

from __future__ import annotations

import decimal
import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest

from aries_nb.live.account.marks import LiveMarks
from aries_nb.live.callbacks import Callbacks
from aries_nb.model import QUOTE_COLUMNS, BoardData, FrameRows, GapSpan
from aries_nb.net.background import run_on_thread
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.market_timer import MarketTimer
from aries_nb.store import Held as Position
from aries_nb.store import RollingFrame
from tests.net.patience import eventually

NAN = math.nan
NOW = 1_772_463_845_000_000_000
SECOND = 1_000_000_000
GOOD = (499.9, 3.0, 500.1, 2.0, 500.0)


class Quotes:
    """A frame of quotes over a real store, without a connection."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self.tape = RollingFrame(QUOTE_COLUMNS, symbols, limit=1_000)
        self.is_stale = False
        self.before_a_gap: frozenset[str] = frozenset()
        self._source = self
        self._count = 0

    def put(self, *values: float, symbol: str = "MSFT") -> None:
        self._count += 1
        self.tape.buffer.add(self.symbols.index(symbol), NOW + self._count * SECOND, values)
        self.tape.buffer.mark(NOW + self._count * SECOND)
        self.tape.publish()

    def newest(self) -> BoardData:
        return self.tape.board(is_stale=self.is_stale)

    def rows(self, first: int) -> FrameRows:
        return self.tape.rows(first)

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        return self.tape.watch(ring)

    def from_before_a_gap(self) -> frozenset[str]:
        return self.before_a_gap

    def gap_spans(self) -> tuple[GapSpan, ...]:
        return ()

    @property
    def is_open(self) -> bool:
        return True


class Held:
    """Marks of two instruments; `charts` are quotes that a user has from another endpoint."""

    def __init__(self) -> None:
        self.quotes = Quotes(["MSFT", "SPX"])
        self.charts: list[Any] = []
        self.names: tuple[str, ...] = ("MSFT", "SPX")
        position = Position(Decimal(1), Decimal(500), is_share=True)
        arrivals = Arrivals()
        arrivals.timer = MarketTimer(arrivals.clock, is_live=False)  # quotes come on the test's thread
        self.marks = LiveMarks(
            lambda: lambda: dict.fromkeys(self.names, position),
            lambda _: lambda: None,
            self,
            Callbacks(),
            arrivals,
        )
        eventually(lambda: bool(self.marks._frames))

    def add_charts(self, symbol: str) -> Quotes:
        charts = Quotes([symbol])
        self.charts.append(charts)
        self._opened()
        eventually(lambda: len(self.marks._others) == len(self.charts))
        return charts

    def subscribe(self, _: Sequence[str]) -> Any:
        return self.quotes

    def others(self) -> Sequence[Any]:
        return self.charts

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        self._opened = ring
        return lambda: None


@pytest.fixture
def held() -> Iterator[Held]:
    one = Held()
    yield one
    one.marks.close()


def test_what_is_flat_for_a_moment_keeps_its_mark(held: Held) -> None:
    held.quotes.put(*GOOD)

    held.names = ()
    held.marks.quotes(NOW)  # as an instant of equity in between
    held.names = ("MSFT",)
    held.marks._callbacks.wake()

    eventually(lambda: "MSFT" in held.marks.now())


@pytest.mark.parametrize(
    ("values", "expected", "reason"),
    [
        (GOOD, "500", ""),
        ((499.9, 3.0, 0.0, 0.0, 500.0), "500.0", ""),  # no ask: the last price is above the bid
        ((499.9, 3.0, NAN, NAN, 490.0), None, "no ask, the last price is outside"),
        ((0.0, 0.0, 0.0, 0.0, 500.0), "500.0", ""),
        ((0.0, 0.0, 0.0, 0.0, 0.0), None, "no bid and no ask, no last price"),
        ((0.01, 1.0, 199_999.99, 1.0, 500.0), "500.0", ""),
        ((0.01, 1.0, 199_999.99, 1.0, NAN), None, "stub quotes, no last price"),
        ((500.1, 1.0, 499.9, 1.0, 500.0), "500.0", ""),
        ((500.1, 1.0, 499.9, 1.0, 480.0), None, "crossed, the last price is outside"),
        ((-37.63, 4.0, -37.5, 2.0, -30.0), "-37.565", ""),
        ((0.00000873, 1.0, 0.00000874, 1.0, NAN), "0.000008735", ""),
    ],
)
def test_a_mark_is_made_of_prices_that_are_there(
    held: Held, values: tuple[float, ...], expected: str | None, reason: str
) -> None:
    held.quotes.put(*values)

    mark = held.marks.all()["MSFT"]

    assert (mark.price.is_nan(), mark.reason) == (expected is None, reason)
    if expected is not None:
        assert held.marks.now() == {"MSFT": Decimal(expected)}


def test_a_last_price_outside_counts_where_it_is_newer_than_the_sides(held: Held) -> None:
    held.quotes.put(*GOOD)
    held.quotes.put(499.9, 3.0, 0.0, 0.0, 500.0)
    before = held.marks.now()

    held.quotes.put(499.9, 3.0, 0.0, 0.0, 495.0)
    traded = held.marks.now()
    held.quotes.put(499.8, 3.0, 0.0, 0.0, 495.0)

    assert before == {"MSFT": Decimal("500.0")}
    assert traded == {"MSFT": Decimal("495.0")}
    assert held.marks.now() == {}


def test_an_index_is_marked_at_its_last_price(held: Held) -> None:
    held.quotes.put(NAN, NAN, NAN, NAN, 6_724.47, symbol="SPX")

    assert held.marks.now() == {"SPX": Decimal("6724.47")}


def test_what_only_another_endpoint_quotes_is_marked_at_that(held: Held) -> None:
    seen: list[dict[str, Decimal]] = []
    held.marks.watch(lambda: seen.append(held.marks.now()))
    charts = held.add_charts("MSFT")
    charts.put(*GOOD)
    elsewhere = held.marks.now()
    filled = held.marks.at("MSFT", NOW + SECOND)

    held.quotes.put(498.9, 3.0, 499.1, 2.0, 499.0)
    ours = held.marks.now()
    charts.put(*GOOD)

    assert seen[-2:] == [ours, ours]  # told of each quote
    assert elsewhere == {"MSFT": Decimal("500")} == {"MSFT": filled}
    assert ours == {"MSFT": Decimal("499")} == held.marks.now()


def test_what_another_endpoint_quoted_before_a_gap_is_no_mark(held: Held) -> None:
    charts = held.add_charts("MSFT")
    charts.put(*GOOD)
    charts.before_a_gap = frozenset({"MSFT"})

    assert held.marks.now() == {}


def test_a_quote_from_before_a_gap_is_no_mark_and_says_so(held: Held) -> None:
    held.quotes.put(*GOOD)
    held.quotes.before_a_gap = frozenset({"MSFT"})

    assert held.marks.now() == {}
    assert held.marks.all()["MSFT"].reason == "no quote since the feed was interrupted"


def test_a_fill_is_not_measured_against_a_side_that_was_not_there(held: Held) -> None:
    held.quotes.put(*GOOD)
    held.quotes.put(499.9, 3.0, 0.0, 0.0, 500.0)
    held.quotes.put(0.01, 3.0, 199_999.99, 1.0, 500.0)

    found = [held.marks.at("MSFT", NOW + seconds * SECOND) for seconds in (1, 2, 3)]

    assert [str(mid) for mid in found] == ["500.0", "NaN", "NaN"]


def test_a_mark_is_exact_whatever_decimal_context_the_user_has(held: Held) -> None:
    held.quotes.put(500.02, 1.0, 500.03, 1.0, 500.0)

    with decimal.localcontext(decimal.Context(prec=4, traps=[decimal.Inexact])):
        marks = held.marks.now()

    assert marks == {"MSFT": Decimal("500.025")}


def test_marks_are_read_while_a_user_opens_and_closes_quotes_of_other_endpoints(held: Held) -> None:
    charts = [Quotes(["SPX"]) for _ in range(60)]
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            held.marks._all_frames()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reading = run_on_thread(read, name="reading")
        for number in range(5_000):
            held.charts = charts[number % 2 :: 1 + number % 3]
            held.marks._watch_others(frozenset({"SPX"}))
        is_over.set()
        reading.result(60)
    finally:
        is_over.set()
        sys.setswitchinterval(usual)

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.live.gaps import StreamSymbols
from aries_nb.model import Resumed
from aries_nb.store import Gap, GapLog, gaps_frame
from aries_nb.store import gaps as gaps_module

NOW = 1_772_463_845_000_000_000
UTC = pd.DatetimeTZDtype("us", "UTC")
TYPES = {
    "stream": "str",
    "symbol": "str",
    "started": UTC,
    "ended": UTC,
    "cause": "str",
    "reason": "str",
    "filled": "bool",
    "missed": "float64",
}


def test_the_frame_has_the_same_types_empty_and_filled() -> None:
    log = GapLog()

    empty = gaps_frame(log.all())
    log.opened("sim", started=NOW, reason="cut")
    filled = gaps_frame(log.all())

    for frame, count in ((empty, 0), (filled, 1)):
        assert dict(frame.dtypes) == TYPES
        assert len(frame) == count


def test_gap_ends_with_nat_while_it_lasts_and_then_with_its_time() -> None:
    log = GapLog()

    log.opened("sim", started=NOW, reason="cut")
    during = gaps_frame(log.all()).iloc[0]
    log.closed("sim", ended=NOW + 5_000)
    after = gaps_frame(log.all()).iloc[0]

    assert during["ended"] is pd.NaT
    assert (during["started"].value, during["reason"], during["stream"], during["symbol"]) == (NOW, "cut", "sim", "")
    assert (bool(during["filled"]), pd.isna(during["missed"])) == (False, True)
    assert after["ended"].value == NOW + 5_000
    assert log.all() == [Gap("sim", "", NOW, NOW + 5_000, "cut")]


@given(st.lists(st.booleans(), max_size=30))
def test_each_interruption_is_one_row(breaks: list[bool]) -> None:
    log = GapLog()
    expected: list[list[int | None]] = []

    for at, is_break in enumerate(breaks):
        lasts = bool(expected) and expected[-1][1] is None
        if is_break:
            log.opened("sim", started=NOW + at, reason="cut")
            if not lasts:
                expected.append([NOW + at, None])
        else:
            log.closed("sim", ended=NOW + at)
            if lasts:
                expected[-1][1] = NOW + at

    assert expected == [[gap.started, gap.ended] for gap in log.all()]
    assert log.count == len(expected) == len(gaps_frame(log.all()))


def test_gap_that_lasts_keeps_its_first_reason() -> None:
    log = GapLog()

    log.opened("sim", started=NOW, reason="cut")
    log.opened("sim", started=NOW + 1, reason="refused")

    assert log.all() == [Gap("sim", "", NOW, None, "cut")]


def test_only_the_newest_gaps_are_kept_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    log = GapLog()
    count = gaps_module.MAX_GAPS + 5

    for n in range(count):
        log.opened("sim", started=NOW + 2 * n, reason="cut")
        log.closed("sim", ended=NOW + 2 * n + 1)

    assert log.count == count
    assert len(log.all()) == gaps_module.MAX_GAPS
    assert log.all()[-1].started == NOW + 2 * (count - 1)


def test_an_observer_is_called_at_each_start_and_end_once() -> None:
    log = GapLog()
    calls: list[int] = []
    undo = log.watch(lambda: calls.append(len(log.all())))

    log.closed("sim", ended=NOW)
    log.opened("sim", started=NOW, reason="cut")
    log.opened("sim", started=NOW, reason="cut")
    log.closed("sim", ended=NOW)
    undo()
    log.opened("sim", started=NOW, reason="cut")

    assert calls == [1, 1]


def test_frame_handed_out_does_not_change() -> None:
    log = GapLog()
    log.opened("sim", started=NOW, reason="cut")
    frame = gaps_frame(log.all())

    log.closed("sim", ended=NOW + 5)

    assert frame["ended"].isna().all()


def test_streams_have_gaps_of_their_own() -> None:
    log = GapLog()
    market, accounts = log.stream("market"), log.stream("accounts")

    market.opened(started=NOW, reason="cut", cause="cut")
    accounts.opened(started=NOW + 1, reason="expired", cause="token")
    market.closed(ended=NOW + 2)

    assert log.all() == [
        Gap("market", "", NOW, NOW + 2, "cut"),
        Gap("accounts", "", NOW + 1, None, "expired", cause="token", number=1),
    ]


def test_gap_is_filled_where_everything_that_ran_was() -> None:
    log = GapLog()
    log.opened("market", started=NOW, reason="cut")

    log.closed(
        "market", ended=NOW + 5, resumed=[Resumed("trades", "A", True, 3), Resumed("trades", "B", True, 4)], is_all=True
    )

    assert log.all() == [Gap("market", "", NOW, NOW + 5, "cut", filled=True, missed=7)]


def test_kind_that_was_filled_and_symbols_that_were_not_have_lines_of_their_own() -> None:
    log = GapLog()
    log.opened("market", started=NOW, reason="cut")

    log.closed("market", ended=NOW + 5, resumed=[Resumed("trades", "A", True, 3), Resumed("trades", "B", False, 4)])

    reason = "cut; the broker's past does not reach back so far"
    assert log.all() == [
        Gap("market", "", NOW, NOW + 5, "cut"),
        Gap("market trades", "", NOW, NOW + 5, "cut", filled=True, missed=3, number=1),
        Gap("market trades", "B", NOW, NOW + 5, reason, number=2, past=4),
    ]
    assert (log.count, log.counts["market"]) == (3, 1)


def test_many_symbols_that_were_not_filled_have_one_line_that_holds_for_all() -> None:
    log = GapLog()
    log.opened("market", started=NOW, reason="cut")
    resumed = [Resumed("trades", f"S{each}", each == 0) for each in range(5_001)]

    log.closed("market", ended=NOW + 5, resumed=resumed, is_all=True)

    reason = "cut; the broker's past does not reach back so far for 5,000 symbols"
    assert [(gap.stream, gap.symbol, gap.filled, gap.reason) for gap in log.all()] == [
        ("market", "", False, "cut"),
        ("market trades", "", False, reason),
    ]


def test_gaps_of_a_frame_are_those_of_its_connections_kinds_and_symbols() -> None:
    log = GapLog()
    for name in ("market", "market 2", "accounts"):
        log.opened(name, started=NOW, reason="cut")

    resumed = [Resumed("trades", "A", True, 3), Resumed("trades", "B", False)]
    for name in ("market", "market 2", "accounts"):
        log.closed(name, ended=NOW + 5, resumed=resumed if name == "market" else ())
    log.opened("market", started=NOW + 10, reason="cut again")

    def told(places: StreamSymbols) -> list[tuple[str, str, bool]]:
        return [(gap.stream, gap.symbol, gap.filled) for gap in log.of(places)]

    again = ("market", "", False)
    assert told({("market", "quotes"): {"A"}}) == [("market", "", False), again]
    assert told({("market", "trades"): {"A"}}) == [("market trades", "", True), again]
    assert told({("market", "trades"): {"A", "B"}}) == [
        ("market trades", "", True),
        ("market trades", "B", False),
        again,
    ]
    assert told({("market", "trades"): {"A"}, ("market 2", "trades"): {"C"}}) == [
        ("market 2", "", False),
        ("market trades", "", True),
        again,
    ]
    assert told({("charts", "quotes"): {"A"}}) == []


@pytest.mark.parametrize("is_early", [False, True], ids=["after the gap", "before its end is recorded"])
def test_a_backfilled_symbol_is_listed_as_filled(is_early: bool) -> None:
    log = GapLog()
    log.opened("market", started=NOW, reason="cut")
    number = log.newest("market")
    resumed = [Resumed("trades", "A", True, 3), Resumed("trades", "B", False, 4)]

    if is_early:
        log.filled(number, "trades", "B", count=5)
        log.closed("market", ended=NOW + 5, resumed=resumed)
    else:
        log.closed("market", ended=NOW + 5, resumed=resumed)
        log.filled(number, "trades", "B", count=5)

    lines = [(gap.stream, gap.symbol, gap.filled, gap.missed, gap.reason) for gap in log.all()]
    of_b = [] if is_early else [("market trades", "B", True, 9, "cut")]
    of_all = ("market trades", "", True, 12 if is_early else 3, "cut")
    assert lines == [("market", "", False, None, "cut"), of_all, *of_b]


def test_what_fills_one_gap_says_nothing_of_another() -> None:
    log = GapLog()
    unfilled = [Resumed("trades", "A", False, 4)]

    log.opened("market", started=NOW, reason="cut")
    first = log.newest("market")
    log.closed("market", ended=NOW + 1, resumed=unfilled)
    log.opened("market", started=NOW + 2, reason="cut")
    log.filled(first, "trades", "A", count=5)
    log.filled(log.newest("market"), "trades", "B", count=5)
    log.closed("market", ended=NOW + 3, resumed=unfilled)
    log.opened("market", started=NOW + 4, reason="cut")
    log.closed("market", ended=NOW + 5, resumed=[Resumed("trades", "B", False, 1)])

    lines = [(gap.started - NOW, gap.symbol, gap.filled) for gap in log.all() if gap.stream == "market trades"]
    assert lines == [(0, "A", True), (2, "A", False), (4, "B", False)]


def test_gap_that_began_at_the_time_of_another_hides_nothing_of_that() -> None:
    log = GapLog()
    log.opened("market", started=NOW, reason="first")
    log.closed("market", ended=NOW)
    log.opened("market", started=NOW, reason="again")
    log.closed("market", ended=NOW + 5, resumed=[Resumed("quotes", "A", True), Resumed("trades", "A", False)])

    of_quotes = log.of({("market", "quotes"): {"A"}})
    lines = [(gap.stream, gap.started - NOW, gap.reason, gap.filled) for gap in of_quotes]

    assert lines == [("market", 0, "first", False), ("market quotes", 1, "again", True)]

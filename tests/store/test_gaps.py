from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.store import Gap, GapLedger
from aries_nb.store import gaps as gaps_module

NOW = 1_772_463_845_000_000_000
UTC = pd.DatetimeTZDtype("ns", "UTC")
TYPES = {
    "stream": "str",
    "symbol": "str",
    "started": UTC,
    "ended": UTC,
    "reason": "str",
    "filled": "bool",
    "missed": "float64",
}


def test_ledger_has_the_same_types_empty_and_filled() -> None:
    ledger = GapLedger()

    empty = ledger.df
    ledger.opened("sim", started=NOW, reason="cut")
    filled = ledger.df

    for frame, count in ((empty, 0), (filled, 1)):
        assert dict(frame.dtypes) == TYPES
        assert len(frame) == count


def test_gap_ends_with_nat_while_it_lasts_and_then_with_its_time() -> None:
    ledger = GapLedger()

    ledger.opened("sim", started=NOW, reason="cut")
    during = ledger.df.iloc[0]
    ledger.closed("sim", ended=NOW + 5)
    after = ledger.df.iloc[0]

    assert during["ended"] is pd.NaT
    assert (during["started"].value, during["reason"], during["stream"], during["symbol"]) == (NOW, "cut", "sim", "")
    assert (bool(during["filled"]), pd.isna(during["missed"])) == (False, True)
    assert after["ended"].value == NOW + 5
    assert ledger.all() == [Gap("sim", "", NOW, NOW + 5, "cut")]


@given(st.lists(st.booleans(), max_size=30))
def test_each_interruption_is_one_row(breaks: list[bool]) -> None:
    ledger = GapLedger()
    expected: list[list[int | None]] = []

    for at, is_break in enumerate(breaks):
        lasts = bool(expected) and expected[-1][1] is None
        if is_break:
            ledger.opened("sim", started=NOW + at, reason="cut")
            if not lasts:
                expected.append([NOW + at, None])
        else:
            ledger.closed("sim", ended=NOW + at)
            if lasts:
                expected[-1][1] = NOW + at

    assert expected == [[gap.started, gap.ended] for gap in ledger.all()]
    assert ledger.count == len(expected) == len(ledger.df)


def test_gap_that_lasts_keeps_its_first_reason() -> None:
    ledger = GapLedger()

    ledger.opened("sim", started=NOW, reason="cut")
    ledger.opened("sim", started=NOW + 1, reason="refused")

    assert ledger.all() == [Gap("sim", "", NOW, None, "cut")]


def test_only_the_newest_gaps_are_kept_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = GapLedger()
    count = gaps_module.MAX_GAPS + 5

    for n in range(count):
        ledger.opened("sim", started=NOW + 2 * n, reason="cut")
        ledger.closed("sim", ended=NOW + 2 * n + 1)

    assert ledger.count == count
    assert len(ledger.all()) == gaps_module.MAX_GAPS
    assert ledger.all()[-1].started == NOW + 2 * (count - 1)


def test_watcher_is_told_of_each_beginning_and_end_once() -> None:
    ledger = GapLedger()
    rung: list[int] = []
    undo = ledger.watch(lambda: rung.append(len(ledger.all())))

    ledger.closed("sim", ended=NOW)
    ledger.opened("sim", started=NOW, reason="cut")
    ledger.opened("sim", started=NOW, reason="cut")
    ledger.closed("sim", ended=NOW)
    undo()
    ledger.opened("sim", started=NOW, reason="cut")

    assert rung == [1, 1]


def test_frame_handed_out_does_not_change() -> None:
    ledger = GapLedger()
    ledger.opened("sim", started=NOW, reason="cut")
    frame = ledger.df

    ledger.closed("sim", ended=NOW + 5)

    assert frame["ended"].isna().all()


def test_streams_have_gaps_of_their_own() -> None:
    ledger = GapLedger()
    market, accounts = ledger.stream("market"), ledger.stream("accounts")

    market.opened(started=NOW, reason="cut")
    accounts.opened(started=NOW + 1, reason="expired")
    market.closed(ended=NOW + 2)

    assert ledger.all() == [Gap("market", "", NOW, NOW + 2, "cut"), Gap("accounts", "", NOW + 1, None, "expired")]


def test_gap_is_filled_where_everything_that_ran_was() -> None:
    ledger = GapLedger()
    ledger.opened("market", started=NOW, reason="cut")

    ledger.closed("market", ended=NOW + 5, resumed={("trades", "A"): True, ("trades", "B"): True}, is_all=True)

    assert ledger.all() == [Gap("market", "", NOW, NOW + 5, "cut", filled=True)]


def test_kind_that_was_filled_and_symbols_that_were_not_have_lines_of_their_own() -> None:
    ledger = GapLedger()
    ledger.opened("market", started=NOW, reason="cut")

    ledger.closed("market", ended=NOW + 5, resumed={("trades", "A"): True, ("trades", "B"): False})

    reason = "cut; the broker's past does not reach back so far"
    assert ledger.all() == [
        Gap("market", "", NOW, NOW + 5, "cut"),
        Gap("market trades", "", NOW, NOW + 5, "cut", filled=True),
        Gap("market trades", "B", NOW, NOW + 5, reason),
    ]
    assert (ledger.count, ledger.counts["market"]) == (3, 1)


def test_many_symbols_that_were_not_filled_have_one_line() -> None:
    ledger = GapLedger()
    ledger.opened("market", started=NOW, reason="cut")

    ledger.closed(
        "market", ended=NOW + 5, resumed={("trades", f"S{each}"): False for each in range(5_000)}, is_all=True
    )

    assert [(gap.stream, gap.symbol) for gap in ledger.all()] == [("market", ""), ("market trades", "5,000 symbols")]

"""Lengths and boundaries of the bars of the simulated ALOR."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from aries_nb.sim.alor.bars import BarHistory, bar_start, read_timeframe
from aries_nb.sim.alor.instruments import securities, traded_instruments
from aries_nb.sim.market.history import History
from aries_nb.sim.market.market import Market

TODAY = date(2026, 3, 4)  # a Wednesday
NOON = datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC).timestamp()
SBER = securities(TODAY)["MOEX", "SBER"]


@pytest.fixture(scope="module")
def bars() -> BarHistory:
    made = BarHistory(History(Market(1, TODAY, traded_instruments(TODAY)), NOON))
    for second, price, size in ((0, 300.0, 2), (0, 301.0, 1), (14, 299.0, 4), (31, 300.5, 1), (200, 302.0, 5)):
        made.add(SBER, int((NOON + second) * 1e9), price, size)
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60", "60"), (60, "60"), ("d", "D"), ("86400", "D"), ("604800", "W"), ("2592000", "M"), ("31536000", "Y"),
        ("Y", "Y"), ("0", None), ("-60", None), ("1.5", None), ("H", None), ("", None), ("99999999999", None),
        ("\u0661", None),
    ],
)  # fmt: skip
def test_length_is_seconds_or_a_letter(text: str | int, expected: str | None) -> None:
    assert read_timeframe(text) == expected


@pytest.mark.parametrize(
    ("timeframe", "expected"),
    [
        ("15", "2026-03-04T12:00:30"), ("60", "2026-03-04T12:00:00"), ("3600", "2026-03-04T12:00:00"),
        ("D", "2026-03-04T00:00:00"), ("W", "2026-03-02T00:00:00"), ("M", "2026-03-01T00:00:00"),
        ("Y", "2026-01-01T00:00:00"),
    ],
)  # fmt: skip
def test_bar_starts_at_a_whole_multiple_of_its_length(timeframe: str, expected: str) -> None:
    assert datetime.fromtimestamp(bar_start(timeframe, NOON), UTC).isoformat()[:19] == expected


def test_live_trades_are_counted_in_lots_and_empty_intervals_have_no_bar(bars: BarHistory) -> None:
    start = int(NOON)

    assert list(bars.of(SBER, "15", start)) == [
        (start, 300.0, 301.0, 299.0, 299.0, 7),
        (start + 30, 300.5, 300.5, 300.5, 300.5, 1),
        (start + 195, 302.0, 302.0, 302.0, 302.0, 5),
    ]


@pytest.mark.parametrize("timeframe", ["300", "3600", "7200", "D", "W", "M"])
def test_longer_bars_are_made_of_the_minutes(bars: BarHistory, timeframe: str) -> None:
    first = bar_start(timeframe, NOON - 9 * 86_400)
    minutes = list(bars.of(SBER, "60", first))

    for bar in bars.of(SBER, timeframe, first):
        inside = [minute for minute in minutes if bar_start(timeframe, minute[0]) == bar[0]]
        expected = (bar[0], inside[0][1], max(each[2] for each in inside), min(each[3] for each in inside),
                    inside[-1][4], sum(each[5] for each in inside))  # fmt: skip
        assert bar == expected


def test_range_is_half_open_and_past_and_present_join(bars: BarHistory) -> None:
    every = list(bars.of(SBER, "60", NOON - 3 * 3600))
    starts = [bar[0] for bar in every]
    some = list(bars.of(SBER, "60", starts[10], starts[20]))

    assert some == every[10:20]
    assert starts == sorted(set(starts))
    # The past ends with the last whole minute before the start.
    assert int(NOON) // 60 * 60 - 60 in starts
    assert int(NOON) // 60 * 60 in starts


def test_session_of_moscow_is_the_past(bars: BarHistory) -> None:
    yesterday = datetime(2026, 3, 3, tzinfo=UTC).timestamp()

    starts = [bar[0] for bar in bars.of(SBER, "60", yesterday, yesterday + 86_400)]

    assert datetime.fromtimestamp(starts[0], UTC).isoformat()[11:16] == "07:00"
    assert len(starts) == 530

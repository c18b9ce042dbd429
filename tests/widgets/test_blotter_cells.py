from __future__ import annotations

import time
from decimal import Decimal

import numpy as np
import pytest

from aries_nb.model import NOT_A_TIME, ORDER_COLUMNS, Column, EquityData, TableData
from aries_nb.widgets.charts.equity import MOST_BARS, bars_of
from aries_nb.widgets.table_format import NS_A_DAY, TableFormatter, time_text

UNKNOWN = Decimal("NaN")


def sheet_of(columns, *rows, names=None, key=()):
    return TableFormatter(names).format(TableData("Rows", tuple(columns), rows, key))


def only_text(name, value, kind="decimal"):
    return sheet_of([Column(name, kind)], (value,)).texts[0][0]


@pytest.mark.parametrize(
    ("value", "text"),
    [("1234.5", "+1,234.50"), ("-56", "\N{MINUS SIGN}56.00"), ("-0.001", "0.00"), ("NaN", "–"), ("Infinity", "–")],
)
def test_profit_has_a_sign_unless_it_rounds_to_nothing(value, text):
    assert only_text("unrealized_pnl", Decimal(value)) == text


def test_an_amount_of_more_digits_than_a_float_holds_is_shown_exactly():
    assert only_text("cash", Decimal("-1234567890123456789012345678901.25")).endswith("6,789,012,345,678,901.25")


def test_an_average_without_end_has_four_decimals():
    assert only_text("average_price", Decimal("499.98333333333333333")) == "499.9833"


def test_decimals_of_a_column_never_become_fewer():
    cells = TableFormatter()
    columns = (Column("quantity", "decimal"),)

    shown = [cells.format(TableData("", columns, ((Decimal(q),),), ())).texts[0][0] for q in ("1", "0.125", "2")]

    assert shown == ["1", "0.125", "2.000"]


def test_identifiers_are_not_numbers():
    assert only_text("news_id", 1234567, "integer") == "1234567"


def test_the_progress_of_an_order_sorts_by_its_share():
    row = (
        "1",
        "AAPL",
        "sell",
        "STOP_LIMIT",
        "PARTIALLY_FILLED",
        Decimal(1000),
        Decimal(250),
        UNKNOWN,
        UNKNOWN,
        0,
        0,
        "",
    )

    sheet = sheet_of(ORDER_COLUMNS, row, names=("side", "type", "status", "quantity", "filled"), key=("order_id",))

    assert sheet.texts == [["SELL", "stop limit", "partially filled", "250 of 1,000"]]
    assert sheet.numbers[0, 3] == 0.25
    assert sheet.keys == [["1"]]


def test_an_order_of_nothing_has_no_progress():
    row = ("1", "", "", "", "", UNKNOWN, Decimal(0), UNKNOWN, UNKNOWN, NOT_A_TIME, NOT_A_TIME, "")

    sheet = sheet_of(ORDER_COLUMNS, row, names=("filled", "updated"))

    assert sheet.texts == [["0 of –", "–"]]
    assert np.isnan(sheet.numbers).all()


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("2026-03-02T15:04:05", "15:04:05"),
        ("2026-02-27T15:04:05", "27 Feb 15:04"),
        ("2025-03-02T15:04:05", "02 Mar 2025"),
    ],
)
def test_a_time_is_as_short_as_is_clear(when, text):
    today = int(np.datetime64("2026-03-02", "D").astype(np.int64))

    assert time_text(int(np.datetime64(when, "ns").astype(np.int64)), today) == text


def test_a_time_of_now_is_shown_without_its_date():
    now = time.time_ns()

    assert time_text(now, now // NS_A_DAY).count(":") == 2


def test_the_smallest_moves_are_summed_up_cause_by_cause():
    by_cause = tuple((f"S{place}", (float(place), -0.5)) for place in range(MOST_BARS + 2))
    unknown = ("X", (float("nan"), 0.0))
    nothing = np.empty(0)

    data = EquityData(np.empty(0, dtype=np.int64), nothing, nothing, ("price_move", "fee"), (*by_cause, unknown))
    bars = bars_of(data)

    assert len(bars) == MOST_BARS
    assert bars[-1] == ("others", (0.0 + 1.0 + 2.0, -1.5))
    assert bars[0] == ("S3", (3.0, -0.5))


def test_what_nothing_has_moved_has_no_bar():
    nothing = np.empty(0)

    data = EquityData(np.empty(0, dtype=np.int64), nothing, nothing, ("fee",), (("KO", (0.0,)), ("cash", (-0.1,))))

    assert bars_of(data) == [("cash", (-0.1,))]


def test_an_order_without_a_limit_has_no_price():
    columns = (Column("type", "text"), Column("price", "decimal"))

    sheet = sheet_of(columns, ("MARKET", Decimal(0)), ("STOP", Decimal(0)), ("STOP_LIMIT", Decimal(0)))

    assert sheet.texts == [["market", "–"], ["stop", "–"], ["stop limit", "0.00"]]


def test_a_side_of_several_words_is_read_as_words():
    assert only_text("side", "BUY_TO_COVER", "text") == "BUY TO COVER"

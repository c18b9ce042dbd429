from __future__ import annotations

import math
from typing import Any

import pytest

from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.brokers.aries.prints import PRINT_COLUMN_TYPES, PRINTS_KEPT
from aries_nb.brokers.aries.streams import options_of
from tests.brokers.aries.lines import MS, NS, counts, frame, opened, records, sale, trades, values

ALL = tuple(PRINT_COLUMN_TYPES)


def market(*fields: str) -> AriesMarket:
    return opened(trades(fields=fields))


def same(expected: list[tuple[Any, ...]], actual: list[tuple[Any, ...]]) -> bool:
    return [pytest.approx(row, nan_ok=True) for row in expected] == actual


def test_columns_are_numbers_texts_and_an_integer() -> None:
    expected = {
        "price": "number",
        "size": "number",
        "side": "text",
        "trade_id": "integer",
        "venue": "text",
        "source": "text",
        "tick": "text",
    }

    assert expected == PRINT_COLUMN_TYPES


def test_texts_of_a_print_become_a_row() -> None:
    tape = market(*ALL)

    (record,) = records(
        tape,
        sale(price="501.12", size="50", tick="+", tradeSeq="90112", tradeExchange="D", tradeTimestamp=str(MS)),
    )

    assert record[1:] == (NS, (501.12, 50.0, "unknown", 90112, "D", "live", "+"))


def test_numbers_where_texts_are_due_are_read_as_well() -> None:
    tape = market("price", "size", "trade_id")

    (record,) = records(tape, sale(price=501.12, size=50, tradeSeq=90112, tradeTimestamp=MS))

    assert record[1:] == (NS, (501.12, 50.0, 90112))


def test_values_stand_in_the_order_of_the_subscription() -> None:
    tape = market("venue", "size", "price")

    assert values(tape, sale(price="1", size="2", tradeExchange="Q")) == [("Q", 2.0, 1.0)]


def test_every_print_is_a_row_also_when_it_is_like_the_one_before() -> None:
    tape = market("price", "size")

    rows = values(tape, *[sale(price="1", size="2", tradeTimestamp=str(MS))] * 3)

    assert rows == [(1.0, 2.0)] * 3


def test_a_numbered_print_that_comes_again_is_counted_and_no_second_row() -> None:
    tape = market("price", "trade_id")
    one, two = (sale(price="1", tradeSeq=number, tradeTimestamp=str(MS)) for number in ("7", "8"))

    found, notices = tape.receive([frame(one, two, one, two, two)], NS)

    assert [row for _, _, row in found] == [(1.0, 7), (1.0, 8)]
    assert counts(notices) == {("trades", "duplicated"): 3}


def test_a_number_that_comes_again_with_another_print_is_a_row() -> None:
    tape = market("price", "trade_id")

    first = sale(price="1", tradeSeq="7", tradeTimestamp=str(MS))
    second = sale(price="2", tradeSeq="7", tradeTimestamp=str(MS))
    third = sale(price="2", tradeSeq="7", tradeTimestamp=str(MS + 1))

    rows = values(tape, first, second, third)
    again = values(tape, first, second, third)

    assert rows == [(1.0, 7), (2.0, 7), (2.0, 7)]
    assert again == []  # also what was corrected, as a server repeats it after a break


def test_prints_that_are_known_again_are_the_newest() -> None:
    tape = market("price", "trade_id")
    prints = [sale(price="1", tradeSeq=str(number), tradeTimestamp=str(MS)) for number in range(1, PRINTS_KEPT + 2)]
    values(tape, *prints)

    again = values(tape, prints[0], prints[-1])

    assert again == [(1.0, 1)]


def test_absent_field_is_unchanged_but_for_the_number() -> None:
    tape = market("price", "size", "trade_id", "venue")

    rows = values(tape, sale(price="1", size="2", tradeSeq="3", tradeExchange="D"), sale(price="4"), sale(size="5"))

    assert rows == [(1.0, 2.0, 3, "D"), (4.0, 2.0, 0, "D"), (4.0, 5.0, 0, "D")]


@pytest.mark.parametrize("number", ["3", "4", "2"])  # of the first trade, the newest, one that is not known
def test_absent_field_is_not_that_of_a_cancelled_print(number: str) -> None:
    tape = market("price", "size", "trade_id", "venue")
    first, second = (sale(price=str(each), size=str(each), tradeSeq=str(each), tradeExchange="D") for each in (3, 4))

    rows = values(
        tape,
        first,
        second,
        sale(price="9", size="0", tradeSeq=number, tradeExchange="N"),
        sale(price="5"),
        sale(size="6"),
    )

    assert rows[3:] == [(5.0, 4.0, 0, "D"), (5.0, 6.0, 0, "D")]


def test_absent_field_of_a_correction_is_that_of_the_corrected_print() -> None:
    tape = market("price", "size", "trade_id", "venue")
    first, second = (sale(price=str(each), size=str(each), tradeSeq=str(each), tradeExchange="D") for each in (3, 4))

    rows = values(tape, first, second, sale(size="0", tradeSeq="3"), sale(price="7", tradeSeq="4"), sale(size="6"))

    assert rows[2:] == [(3.0, 0.0, 3, "D"), (7.0, 4.0, 4, "D"), (7.0, 6.0, 0, "D")]


def test_absent_field_is_missing_after_a_break() -> None:
    tape = market("price", "size")
    values(tape, sale(price="3", size="4"))

    tape.open(0.0)
    rows = values(tape, sale(price="5"))

    assert same([(5.0, math.nan)], rows)


def test_event_without_price_and_size_is_no_print() -> None:
    tape = market("price", "size", "venue")

    assert values(tape, sale(tradeExchange="D"), sale(tradeSeq="5"), sale()) == []


@pytest.mark.parametrize("text", [None, "", "abc", "nan", "inf", "1e999"])
def test_number_that_cannot_be_read_is_missing_and_does_not_stay_the_old_one(text: str | None) -> None:
    tape = market("price", "size")
    values(tape, sale(price="1", size="2"))

    rows = values(tape, sale(price=text, size="3"))

    assert same([(math.nan, 3.0)], rows)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 0),
        ("9" * 400, 0),
        ("-1", 0),
        ("", 0),
        ("x", 0),
        ("²", 0),
        ("1.5", 0),
        (None, 0),
    ],
)
def test_number_of_a_print_fits_64_bits_or_is_0(text: str | None, number: int) -> None:
    tape = market("price", "trade_id")

    assert values(tape, sale(price="1", tradeSeq=text)) == [(1.0, number)]


def test_two_views_of_the_tape_merge_on_their_own() -> None:
    tape = opened(trades(fields=("price",)), trades(fields=("size", "price")))

    rows = values(tape, sale(price="1", size="2"), sale(price="3"))

    assert rows == [(1.0,), (2.0, 1.0), (3.0,), (2.0, 3.0)]


@pytest.mark.parametrize("fields", [("trade_id",), ("venue",), ("side",)])
def test_a_view_without_price_and_size_asks_for_what_makes_an_event_a_print(fields: tuple[str, ...]) -> None:
    asked = options_of([trades(fields=fields)])["timeAndSalesFields"]

    assert "price" in asked
    assert "size" not in asked

from decimal import Decimal

import numpy as np
import pytest

from aries_nb.model import Column, TableData
from aries_nb.widgets import Board, Candles, Chart, DepthChart, Ladder, Tape
from aries_nb.widgets.number_format import (
    Decimals,
    average_decimals,
    compact,
    compacts,
    decimals_of_rows,
    grouped,
    shown_decimals,
)
from aries_nb.widgets.static_chart import line_chart
from aries_nb.widgets.table_format import TableFormatter
from tests.widgets.panels.test_tape import Prints
from tests.widgets.sources import Boards, Books, RollingRows

HUGE = 2.0**53 + 2


def cells(html):
    return [
        [cell.partition(">")[2].partition("<")[0] for cell in row.replace("<th", "<td").split("<td")[1:]]
        for row in html.split("<tr>")[1:]
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-8, "0.00000001"),
        (8.73e-6, "0.00000873"),
        (1.2345678e-8, "0.000000012345678"),
        (8.73e-6 + 0.01 - 0.01, "0.00000873"),
        (-1e-8, "-0.00000001"),
        (123_456.12345678, "123,456.12345678"),
        (0.1 + 0.2, "0.3"),
        (500.14 - 500.12, "0.02"),
        (61_250.1 + 0.2, "61,250.3"),
        (HUGE, "9,007,199,254,740,994"),
        (1 / 3, "0.33333333"),
        (float(np.float32(500.12)), "500.11999512"),
        (Decimal("0.000000000000000001"), "0.000000000000000001"),
        (Decimal("1E+3"), "1,000"),
    ],
)
def test_a_number_has_the_decimals_that_show_it_in_full(value, text):
    assert f"{value:,.{shown_decimals(value)}f}" == text


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), Decimal("NaN"), Decimal(0)])
def test_what_is_no_number_asks_for_no_decimals(value):
    assert (shown_decimals(value), average_decimals(value)) == (0, 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [("499.98333333333", "499.9833"), ("0.008725", "0.008725"), ("0.00000921333333", "0.00000921333"), ("12", "12")],
)
def test_an_average_has_four_decimals_or_six_digits(value, text):
    assert f"{Decimal(value):,.{average_decimals(Decimal(value))}f}" == text


def test_a_known_step_decides_and_a_finer_price_still_shows():
    decimals = Decimals(is_price=True, step=0.5)

    assert [decimals.of(np.array([price])) for price in (100.0, 100.5, 100.25)] == [1, 1, 2]


def test_rows_together_have_the_decimals_that_each_has_alone():
    values = np.array([[100.0, np.nan], [1e-8, 2e-8], [np.nan, np.inf], [30_000.0, 30_001.0], [0.5, 100.125]])
    together, alone = ([Decimals(is_price=True) for _ in values] for _ in range(2))

    shown = [decimals_of_rows(together, values) for _ in range(2)]

    assert shown == [[each.of(row) for each, row in zip(alone, values, strict=True)]] * 2
    assert shown[0] == [2, 8, 0, 0, 3]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-8, "0.00000001"), (500.1234567, "500.123"), (1.5e6, "1,500,000"), (1e300, "1e+300"), (0.0, "0")],
)
def test_a_short_number_is_no_power_of_ten_while_a_reader_can_count_its_digits(value, text):
    assert compact(value) == text


def test_numbers_that_stand_together_do_not_look_alike():
    assert compacts([61_250.12345678, 61_250.12345679, 1.0]) == ["61,250.12345678", "61,250.12345679", "1"]
    assert compacts([61_250.12345678, 61_251.0, 61_251.0])[0] == "61,250.1"


def test_sizes_of_a_tape_have_decimals_for_each_symbol():
    source = Prints(symbols=("COIN", "AAPL"))
    source.add(1e-8, 0.00012, symbol="COIN")
    source.add(500.1, 100.0)
    tape = Tape(source)

    picture = tape._picture()

    assert all(f">{text}<" in picture for text in ("0.00012", "100", "0.00000001", "500.10"))
    tape.close()


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (HUGE, 3, "9,007,199,254,740,994"),
        (-(2.0**60), 1, "\N{MINUS SIGN}1,152,921,504,606,846,976"),
        (123_456_789_012_345.67, 3, "123,456,789,012,345.67"),
        (50_000.12345678, 12, "50,000.12345678"),
        (100.0, 3, "100.000"),
        (1e-8, 18, "0.000000010000000000"),
        (Decimal(2**53 + 1), 3, "9,007,199,254,740,993.000"),
    ],
)
def test_a_float_has_no_more_decimals_than_are_exact(value, decimals, text):
    assert grouped(value, decimals) == text


def test_large_sizes_beside_fractions_have_no_zeros_in_views():
    columns = (Column("symbol", "text"), Column("quantity", "number"))
    rows = (("COIN", 0.375), ("COIN", HUGE))
    prints = RollingRows(symbols=("COIN",))
    prints.add([1_000_000, 2_000_000], price=[1.0, 2.0], size=[0.375, HUGE])
    chart = Chart(prints, ("price", "size"))

    chart.draw()

    texts = TableFormatter().format(TableData("Positions", columns, rows, ("symbol",))).texts
    assert [text for _, text in texts] == ["0.375", "9,007,199,254,740,994"]
    assert chart.figure.layout.yaxis2.hoverformat == ",.3~f"
    chart.close()


def test_a_number_of_more_digits_than_a_cell_holds_is_a_power_of_ten():
    assert grouped(1e300, 2) == "1e+300"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (-0.016, 3, "\N{MINUS SIGN}0.016"),
        (Decimal("-1234.5"), 2, "\N{MINUS SIGN}1,234.50"),
        (-1e300, 2, "\N{MINUS SIGN}1e+300"),
        (-0.0004, 3, "0.000"),
        (-0.0, 2, "0.00"),
    ],
)
def test_a_number_below_zero_has_a_minus_sign_unless_it_rounds_to_zero(value, decimals, text):
    assert grouped(value, decimals) == text


def test_a_board_has_decimals_for_each_instrument():
    source = Boards(symbols=("COIN", "AAPL"))
    source.put(0, 1e-8, 0.25, 2e-8, HUGE, 1e-8)
    source.put(1, 500.12, 300, 500.14, 200, 500.13)
    board = Board(source)

    shown = [row[1:7] for row in cells(board._picture())[1:]]

    assert shown == [
        ["0.25", "0.00000001", "0.00000002", "9,007,199,254,740,994", "0.00000001", "0.00000001"],
        ["300", "500.12", "500.14", "200", "0.02", "500.13"],
    ]
    board.close()


def test_a_ladder_distinguishes_neighbouring_levels():
    book = Books()
    book.bids, book.asks = np.array([[8.73e-6, 5.0]]), np.array([[8.74e-6, HUGE]])
    ladder = Ladder(book)

    picture = ladder._picture()

    assert all(text in picture for text in ("0.00000873", "0.00000874", "9,007,199,254,740,994"))
    ladder.close()


def test_a_table_has_decimals_for_each_instrument():
    columns = (Column("symbol", "text"), *(Column(name, "decimal") for name in ("quantity", "average_price", "price")))
    rows = (
        ("COIN", Decimal("0.00012"), Decimal("0.00000921333333"), Decimal("0.0000093")),
        ("AAPL", Decimal(100), Decimal("499.98333333"), Decimal("500.1")),
        ("BIG", Decimal(2**53 + 1), Decimal(20_000), Decimal(20_001)),
    )

    texts = TableFormatter().format(TableData("Positions", columns, rows, ("symbol",))).texts

    assert texts == [
        ["COIN", "0.00012", "0.00000921333", "0.0000093"],
        ["AAPL", "100", "499.9833", "500.10"],
        ["BIG", "9,007,199,254,740,993", "20,000", "20,001"],
    ]


def test_a_picture_of_a_chart_names_small_prices():
    x = np.array([1e12, 1e12 + 1e3])

    picture = line_chart("COIN", [("bid", "#000", x, np.array([1e-8, 2e-8]))])

    assert "low 0.00000001 · high 0.00000002" in picture


def test_the_labels_of_a_chart_distinguish_small_prices_and_have_room():
    rows = RollingRows(symbols=("COIN",), columns=("price", "size"))
    chart = Chart(rows, ("price", "size"))
    rows.add([1_000_000, 2_000_000], price=[0.0000123401, 0.0000123402], size=[1.0, HUGE])

    chart.draw()

    layout = chart.figure.layout
    assert (layout.yaxis.hoverformat, layout.yaxis2.hoverformat) == (",.10f", ",.0f")
    assert (layout.margin.r, layout.margin.l) == (99, 162)
    chart.close()


def test_candles_and_depth_show_the_digits_of_their_prices():
    rows, book = RollingRows(symbols=("COIN",)), Books()
    rows.add([1_000_000, 2_000_000], price=[1e-8, 2e-8], size=[1.0, 0.5])
    book.bids, book.asks = np.array([[8.73e-6, 5.0]]), np.array([[8.74e-6, 0.5]])
    candles, depth = Candles(rows), DepthChart(book)

    candles.draw()
    depth.draw()

    assert candles.figure.layout.yaxis.hoverformat == ",.8f"
    assert (depth.figure.layout.xaxis.hoverformat, depth.figure.layout.yaxis.hoverformat) == (",.8f", ",.1f")
    candles.close()
    depth.close()

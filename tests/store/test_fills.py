"""Fills out of the states of orders: each share once, at the price that the broker's averages imply."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model import CLEAR, ORDER_COLUMNS, PUT, TABLE_KEYS, Column
from aries_nb.model import FILL_COLUMNS as TOLD_FILL_COLUMNS
from aries_nb.store import fills as fills_module
from aries_nb.store.fills import DerivedFillLog, Fill, FillLog, OrderState, ReportedFillLog, fill_between
from aries_nb.store.log import TableRow
from aries_nb.store.table import Table

NOW = 1_772_463_845_000_000_000
COLUMNS = (*ORDER_COLUMNS, *(Column(name, "text") for name in ("replaces", "category", "legs", "security_type")))
BLANK: dict[str, Any] = {"text": "", "time": NOW, "decimal": Decimal("NaN")}
CENT = Decimal("0.01")


def state(filled: str | Decimal, average_price: str | Decimal, *, side: str = "BUY", ts: int = NOW) -> OrderState:
    return OrderState(ts, "ACC-1", "ORD-1", "MSFT", side, Decimal(filled), Decimal(average_price))


def order(
    filled: str | Decimal, average_price: str | Decimal, order_id: str = "ORD-1", **values: Any
) -> dict[str, Any]:
    known = {"order_id": order_id, "symbol": "MSFT", "side": "buy"}
    return known | {"filled": Decimal(filled), "average_price": Decimal(average_price)} | values


def orders() -> tuple[Table, DerivedFillLog]:
    log = DerivedFillLog(COLUMNS)
    return Table(COLUMNS, ("ACC-1",), key=TABLE_KEYS["orders"], listeners=[log]), log


def publish(table: Table, *rows: dict[str, Any], is_full: bool = False, ts: int = NOW) -> None:
    if is_full:
        table.buffer.add(0, ts, (CLEAR, *(BLANK[column.type] for column in COLUMNS)))
    for row in rows:
        values = (row.get(column.name, BLANK[column.type]) for column in COLUMNS)
        table.buffer.add(0, row.get("updated", ts), (PUT, *values))
    table.buffer.mark(ts + 5)
    table.publish()


def logged(log: DerivedFillLog) -> list[tuple[str, Decimal, bool]]:
    return [(fill.order_id, fill.quantity, fill.is_combined) for fill, _ in log.entries()[0]]


# Two states of one order.


def test_the_first_fill_has_the_average_price() -> None:
    fill = fill_between(state("0", "0"), state("4", "499.98", ts=NOW + 1))

    assert fill is not None
    assert fill._replace(fee=Decimal(0), multiplier=fill.mid) == Fill(
        NOW + 1, "ACC-1", "MSFT", "buy", Decimal(4), Decimal("499.98"), "ORD-1", multiplier=fill.mid, mid=fill.mid
    )
    assert fill.fee.is_nan()


def test_the_next_fill_has_the_price_that_moves_the_average() -> None:
    fill = fill_between(state("4", "499.98"), state("10", "499.992"))

    assert fill is not None
    assert (fill.quantity, fill.price) == (Decimal(6), Decimal("500.00"))


@pytest.mark.parametrize("now", [state("4", "499.98"), state("4", "500"), state("3", "499.98"), state("NaN", "1")])
def test_a_state_repeated_corrected_late_or_unknown_is_no_fill(now: OrderState) -> None:
    assert fill_between(state("4", "499.98"), now) is None


@pytest.mark.parametrize(
    ("side", "expected"), [("BUY", 4), ("buy", 4), ("BUY_TO_COVER", 4), ("SELL", -4), ("SELL_SHORT", -4)]
)
def test_the_side_gives_the_sign(side: str, expected: int) -> None:
    fill = fill_between(None, state("4", "10", side=side))

    assert fill is not None
    assert fill.signed == expected


def test_an_unknown_side_is_no_fill() -> None:
    assert fill_between(None, state("4", "10", side="")) is None


@pytest.mark.parametrize("average_price", ["NaN", "0", "Infinity", "1e50"])
def test_a_price_that_the_broker_does_not_give_is_unknown(average_price: str) -> None:
    fill = fill_between(None, state("4", average_price))

    assert fill is not None
    assert fill.price.is_nan()


@pytest.mark.parametrize("filled", ["Infinity", "1e50", "1e-50"])
def test_an_absurd_quantity_is_no_fill(filled: str) -> None:
    assert fill_between(None, state(filled, "10")) is None


def test_the_users_own_decimal_context_changes_nothing() -> None:
    expected = fill_between(state("3", "1234.56"), state("7", "1234.5678"))

    with localcontext() as context:
        context.prec = 3
        actual = fill_between(state("3", "1234.56"), state("7", "1234.5678"))

    assert actual == expected


executions = st.lists(
    st.tuples(st.integers(1, 500).map(Decimal), st.decimals("0.01", 900, places=2)), min_size=1, max_size=8
)


@given(executions)
def test_exact_averages_give_back_quantities_exactly_and_prices_to_ten_places(
    done: list[tuple[Decimal, Decimal]],
) -> None:
    filled = paid = Decimal(0)
    before = state("0", "0")
    for quantity, price in done:
        filled, paid = filled + quantity, paid + quantity * price
        with localcontext() as context:
            context.prec = 100
            now = state(filled, (paid / filled).quantize(Decimal("1e-29")))

        fill = fill_between(before, now)

        assert fill is not None
        assert (fill.quantity, fill.price) == (quantity, price)
        before = now


@given(executions)
def test_an_average_rounded_to_cents_puts_a_price_off_by_no_more_than_is_promised(
    done: list[tuple[Decimal, Decimal]],
) -> None:
    filled = paid = Decimal(0)
    before = state("0", "0")
    for quantity, price in done:
        filled, paid = filled + quantity, paid + quantity * price
        average = (paid / filled).quantize(CENT)
        now = state(filled, average)

        fill = fill_between(before, now)

        assert fill is not None
        if average:
            bound = CENT / 2 * (now.filled + before.filled) / quantity
            assert fill.price.is_nan() or abs(fill.price - price) <= bound + Decimal("1e-10")
        before = now


# A table of orders with its log.


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), max_size=15))
def test_whatever_order_states_come_in_no_share_is_filled_twice(told: list[tuple[int, bool]]) -> None:
    table, log = orders()
    furthest = 0
    for filled, is_full in told:
        publish(table, order(Decimal(filled), Decimal(10)), is_full=is_full)
        furthest = max(furthest, filled)

        fills = [fill for fill, _ in log.entries()[0]]
        assert sum(fill.quantity for fill in fills) == furthest
        assert all(fill.price == 10 for fill in fills)


def test_a_full_list_after_a_gap_yields_one_combined_fill() -> None:
    table, log = orders()
    publish(table, order("4", "10"))
    table.interrupted()

    publish(table, order("9", "11"), is_full=True)
    publish(table, order("10", "11"))

    assert logged(log) == [("ORD-1", Decimal(4), False), ("ORD-1", Decimal(5), True), ("ORD-1", Decimal(1), False)]


def test_an_order_that_left_the_list_and_comes_back_is_not_filled_again() -> None:
    table, log = orders()
    publish(table, order("4", "10"))
    publish(table, is_full=True)

    publish(table, order("4", "10"), is_full=True)

    assert logged(log) == [("ORD-1", Decimal(4), False)]


def test_an_order_goes_on_from_what_the_one_it_replaces_had_filled() -> None:
    table, log = orders()
    publish(table, order("4", "10"))

    publish(table, order("4", "10", "ORD-2", replaces="ORD-1"))
    publish(table, order("6", "10", "ORD-2", replaces="ORD-1"))

    assert logged(log) == [("ORD-1", Decimal(4), False), ("ORD-2", Decimal(2), False)]


def test_an_order_that_begins_with_less_than_the_one_it_replaces_counts_for_itself() -> None:
    table, log = orders()
    publish(table, order("4", "10"))

    publish(table, order("0", "0", "ORD-2", replaces="ORD-1"))
    publish(table, order("6", "10", "ORD-2", replaces="ORD-1"))

    assert logged(log) == [("ORD-1", Decimal(4), False), ("ORD-2", Decimal(6), False)]


def test_a_list_that_names_an_order_before_the_one_it_replaces_counts_it_once() -> None:
    table, log = orders()

    publish(table, order("6", "10", "ORD-2", replaces="ORD-1"), order("4", "10"), is_full=True)

    assert logged(log) == [("ORD-1", Decimal(4), True), ("ORD-2", Decimal(2), True)]


REPLACED = {"quantity": Decimal(10), "status": "REPLACED", "updated": NOW + 2}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        # It counts its own fills, and its quantity is what was left.
        ([("6", "51", {"quantity": Decimal(6), "status": "FILLED"})], [("6", "51")]),
        # It goes on counting, and its quantity is that of all.
        ([("10", "50.6", {"quantity": Decimal(10), "status": "FILLED"})], [("6", "51")]),
        ([("4", "50", {"quantity": Decimal(8)}), ("8", "51", {"quantity": Decimal(8)})], [("4", "52")]),
        # It was seen with nothing filled: it counts its own.
        ([("0", "0", {"quantity": Decimal(20)}), ("20", "51", {"quantity": Decimal(20)})], [("20", "51")]),
        # It is filled with less than its quantity, so the rest was counted elsewhere.
        ([("6", "51", {"quantity": Decimal(10), "status": "FILLED"})], [("6", "51")]),
        ([("3", "51", {"quantity": Decimal(6)}), ("6", "52", {"quantity": Decimal(6)})], [("3", "51"), ("3", "53")]),
        # A purchase at less than nothing is none.
        ([("5", "1", {"quantity": Decimal(30)})], [("5", "1")]),
    ],
)
def test_a_replacement_is_counted_whichever_way_the_broker_counts(
    states: list[tuple[str, str, dict[str, Any]]], expected: list[tuple[str, str]]
) -> None:
    table, log = orders()
    publish(table, order("4", "50", quantity=Decimal(10), status="PARTIALLY_FILLED", updated=NOW + 1))
    publish(table, order("4", "50", **REPLACED))

    for place, (filled, average, values) in enumerate(states):
        publish(table, order(filled, average, "ORD-2", replaces="ORD-1", updated=NOW + 3 + place, **values))
    publish(table, order("4", "50", **REPLACED))  # once more, late

    _, *found = ((fill.quantity, fill.price) for fill, _ in log.entries()[0])
    assert found == [(Decimal(quantity), Decimal(price)) for quantity, price in expected]


@pytest.mark.parametrize("counts_on", [True, False])
def test_a_replacement_that_arrives_before_the_order_it_replaces_is_counted_once(counts_on: bool) -> None:
    table, log = orders()
    late = order("4", "50", quantity=Decimal(10), updated=NOW + 1)
    filled, average, quantity = ("10", "50.6", Decimal(10)) if counts_on else ("6", "51", Decimal(6))

    publish(table, order(filled, average, "ORD-2", replaces="ORD-1", quantity=quantity, updated=NOW + 3))
    publish(table, late)
    publish(table, order("4", "50", **REPLACED))

    assert sum(fill.quantity * fill.price for fill, _ in log.entries()[0]) == 506


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"filled": "3", "average_price": "50"}, [("ORD-2", Decimal(3), False)]),  # goes on: the fills are the same
        ({"filled": "2", "average_price": "51"}, [("ORD-2", Decimal(2), False), ("ORD-1", Decimal(3), False)]),
    ],
)
def test_fills_of_a_replaced_order_that_come_after_those_of_its_replacement_are_counted_once(
    after: dict[str, str], expected: list[tuple[str, Decimal, bool]]
) -> None:
    table, log = orders()
    publish(table, order("0", "0", quantity=Decimal(10)))
    publish(table, order(**after, order_id="ORD-2", replaces="ORD-1", quantity=Decimal(12)))

    publish(table, order("3", "50", **REPLACED))

    assert logged(log) == expected


def test_a_fill_that_the_exchange_cancels_is_taken_back_and_filled_anew() -> None:
    table, log = orders()

    for filled, average in (("10", "20"), ("4", "20"), ("10", "20.6"), ("0", "0")):
        publish(table, order(filled, average, updated=NOW + len(log)))
        publish(table, order("10", "20", updated=NOW))  # late

    found = [(fill.quantity, fill.price) for fill, _ in log.entries()[0]]
    assert found == [(10, 20), (-6, 20), (6, 21), (-10, Decimal("20.6"))]


def test_a_state_without_a_time_of_its_own_takes_nothing_back() -> None:
    table, log = orders()
    publish(table, order("10", "20", updated=NOW))

    for updated in (-(2**63), NOW + 2 * 86_400 * 10**9):  # none, and one far ahead
        publish(table, order("4", "20", updated=updated), ts=NOW + 9)

    assert [fill.quantity for fill, _ in log.entries()[0]] == [10]


CALL, PUT_ = "MSFT261218C00500000", "MSFT261218P00500000"


def legs(*each: tuple[str, str, str, str]) -> str:
    return json.dumps(
        [{"symbol": symbol, "side": side, "ratioQty": ratio, "avgPrice": price} for symbol, side, ratio, price in each]
    )


def test_an_order_with_legs_has_the_fills_of_its_legs() -> None:
    table, log = orders()
    first = legs((CALL, "BUY", "1", "12.00"), (PUT_, "SELL", "2", "8.00"))
    second = legs((CALL, "BUY", "1", "13.00"), (PUT_, "SELL", "2", "8.50"))

    publish(table, order("1", "0", category="MULTI_LEG", legs=first, updated=NOW))
    publish(table, order("2", "0", category="MULTI_LEG", legs=second, updated=NOW + 1))

    found = [(fill.symbol, fill.signed, fill.price, fill.multiplier) for fill, _ in log.entries()[0]]
    assert found == [(CALL, 1, 12, 100), (PUT_, -2, 8, 100), (CALL, 1, 14, 100), (PUT_, -2, 9, 100)]


def test_a_single_leg_has_the_price_of_the_order() -> None:
    table, log = orders()

    publish(table, order("3", "1.25", legs=json.dumps([{"symbol": CALL, "side": "SELL"}])))

    assert [(fill.symbol, fill.signed, fill.price) for fill, _ in log.entries()[0]] == [(CALL, -3, Decimal("1.25"))]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[1]", '[{"symbol": "", "side": "BUY"}]', '[{"symbol": "A", "side": "BUY", "ratio": "x"}]']
)
def test_a_combination_whose_legs_are_not_known_is_no_fill_of_its_underlying(text: str) -> None:
    table, log = orders()

    publish(table, order("2", "4", category="MULTI_LEG", legs=text))

    ((fill, _),) = log.entries()[0]
    assert (fill.symbol, fill.quantity, fill.price.is_nan()) == ("MSFT (legs not known)", 2, True)


def test_an_average_price_that_comes_later_serves_the_fills_that_follow() -> None:
    table, log = orders()
    publish(table, order("4", "0"))
    publish(table, order("4", "10"))
    publish(table, order("4", "NaN"))

    publish(table, order("5", "11"))

    first, second = (fill.price for fill, _ in log.entries()[0])
    assert first.is_nan()
    assert second == 15


@pytest.mark.parametrize("filled", ["NaN", "-5", "Infinity"])
def test_a_state_without_a_usable_quantity_disturbs_nothing(filled: str) -> None:
    table, log = orders()
    publish(table, order(filled, "10"))
    publish(table, order("4", "10"))
    publish(table, order(filled, "10"))

    publish(table, order("5", "10"))

    assert [fill.quantity for fill, _ in log.entries()[0]] == [Decimal(4), Decimal(1)]


def test_orders_are_forgotten_only_beyond_the_limit_least_recently_updated_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fills_module, "MOST_ORDERS", 2)
    table, log = orders()
    for name in ("A", "B", "A", "C"):
        publish(table, order("1", "10", name))

    publish(table, order("1", "10", "A"), order("1", "10", "B"))

    assert [name for name, *_ in logged(log)] == ["A", "B", "C", "B"]


def test_the_frame_of_fills_says_what_was_traded() -> None:
    table, log = orders()
    publish(table, order("4", "499.98", side="SELL"), ts=NOW)

    frame = log.frame()

    assert list(frame.columns) == [
        "ts", "received", "account", "symbol", "side", "quantity", "price", "multiplier", "amount", "fee",
        "order_id", "is_combined", "source",
    ]  # fmt: skip
    row = frame.iloc[0]
    assert (row["ts"].value, row["received"].value) == (NOW, NOW)  # in us
    assert tuple(row.drop("fee"))[2:] == ("ACC-1", "MSFT", "sell", 4.0, 499.98, 1.0, 1999.92, "ORD-1", False, "stream")
    assert pd.isna(row["fee"])


def test_the_amount_of_a_fill_is_in_money() -> None:
    symbols = ("MSFT", "MSFT261218C00500000", "CRATE", "MSFT (legs not known)")
    table, log = orders()
    for number, symbol in enumerate(symbols):
        publish(table, order("4", "5", f"ORD-{number}", symbol=symbol))
    publish(table, order("3", "5", "ORD-1", symbol=symbols[1], updated=NOW + 1))

    frame = log.frame({"CRATE": Decimal("2.5"), "MSFT (legs not known)": Decimal("NaN")})

    assert frame["multiplier"].tolist()[:3] == [1.0, 100.0, 2.5]
    assert frame["amount"].tolist()[:3] == [20.0, 2000.0, 50.0]
    assert frame[["multiplier", "amount"]].iloc[3].isna().all()
    assert frame[["quantity", "amount"]].iloc[4].tolist() == [-1.0, -500.0]


def test_the_multiplier_of_a_position_stays_when_it_is_closed() -> None:
    table, log = orders()
    publish(table, order("2", "5000", symbol="CRATE"))

    while_held, closed, unknown = (
        log.frame({"CRATE": Decimal(50)}),
        log.frame({}),
        log.frame({"CRATE": Decimal("NaN")}),
    )

    assert {frame["amount"].item() for frame in (while_held, closed, unknown)} == {500_000}


TYPES = {("ES", "FUTURE"): "nan", ("ES", "EQUITY"): "5", ("ES", ""): "5", ("CALL", "OPTION"): "500"}


@pytest.mark.parametrize(("symbol", "security_type", "amount"), [(*kind, worth) for kind, worth in TYPES.items()])
def test_the_amount_is_unknown_of_what_is_neither_share_nor_option(
    symbol: str, security_type: str, amount: str
) -> None:
    table, log = orders()
    publish(table, order("1", "5", symbol=symbol, security_type=security_type))

    assert str(log.frame()["amount"].item()) == str(float(amount))
    assert log.frame({symbol: Decimal(50)})["amount"].item() == {"nan": 250, "5": 250}.get(amount, 500)


def test_the_type_of_an_order_is_not_that_of_its_legs() -> None:
    table, log = orders()
    legs = json.dumps([{"symbol": "MSFT", "side": "BUY", "avgPrice": "5"}])
    publish(table, order("1", "5", security_type="OPTION", legs=legs))

    assert log.frame()["amount"].item() == 5


def test_the_frame_of_a_new_fill_reads_no_older_ones() -> None:
    class Counting(list[Any]):
        def __getitem__(self, place: Any) -> Any:
            read.append(place)
            return super().__getitem__(place)

    read: list[slice] = []
    log = FillLog()
    made = Fill(NOW, "ACC-1", "CRATE", "buy", Decimal(1), Decimal(5), "ORD-1")
    log.extend([(made._replace(multiplier=Decimal(2)), NOW), *[(made, NOW)] * 99])
    log._published = Counting(log._published[0]), *log._published[1:]

    frame = log.frame(first=99)

    assert read == [slice(99, 100)]
    assert frame["amount"].tolist() == [10]


def test_an_empty_frame_of_fills_has_its_types() -> None:
    _, log = orders()

    frame = log.frame()

    assert len(frame) == 0
    assert str(frame["is_combined"].dtype) == "bool"


# Reported executions.


def told() -> tuple[Table, ReportedFillLog]:
    log = ReportedFillLog(TOLD_FILL_COLUMNS)
    return Table(TOLD_FILL_COLUMNS, ("ACC-1",), key=TABLE_KEYS["fills"], limit=3, listeners=[log]), log


def execution(fill_id: str, quantity: str = "4", **values: Any) -> dict[str, Any]:
    known = {"fill_id": fill_id, "order_id": "ORD-1", "symbol": "MSFT", "side": "sell", "price": Decimal("499.98")}
    return known | {"quantity": Decimal(quantity), "fee": Decimal("0.1")} | values


def tell(table: Table, *rows: dict[str, Any], is_full: bool = False, ts: int = NOW) -> None:
    if is_full:
        table.buffer.add(0, ts, (CLEAR, *(BLANK[column.type] for column in TOLD_FILL_COLUMNS)))
    for row in rows:
        values = (row.get(column.name, BLANK[column.type]) for column in TOLD_FILL_COLUMNS)
        table.buffer.add(0, row.get("created", ts), (PUT, *values))
    table.buffer.mark(ts + 5)
    table.publish()


def test_an_execution_is_a_fill_with_its_fee() -> None:
    table, log = told()

    tell(table, execution("1"))

    expected = Fill(NOW, "ACC-1", "MSFT", "sell", Decimal(4), Decimal("499.98"), "ORD-1", fee=Decimal("0.1"))
    assert log.entries()[0] == [(expected, NOW + 5)]


def test_executions_have_the_columns_of_fills_out_of_orders() -> None:
    (_, implied), (_, log) = orders(), told()

    pd.testing.assert_frame_equal(log.frame(), implied.frame())


def test_an_execution_reported_again_is_no_second_fill() -> None:
    table, log = told()
    every = [execution(str(number)) for number in range(5)]

    tell(table, *every[:4])
    table.interrupted()
    tell(table, *every, is_full=True)  # of the first the table has forgotten already that it was there
    tell(table, every[4])

    assert [fill.is_listed for fill, _ in log.entries()[0]] == [False] * 4 + [True]


def test_executions_of_a_list_stand_in_the_order_of_their_times() -> None:
    table, log = told()

    tell(table, execution("1", "2", created=NOW + 9), execution("2", "1", created=NOW), is_full=True)

    assert [(fill.ts, fill.quantity) for fill, _ in log.entries()[0]] == [(NOW, Decimal(1)), (NOW + 9, Decimal(2))]


@pytest.mark.parametrize("values", [{"quantity": Decimal("NaN")}, {"quantity": Decimal(0)}, {"side": "?"}])
def test_what_is_no_execution_is_no_fill_until_it_is_put_right(values: dict[str, Any]) -> None:
    table, log = told()

    tell(table, execution("1", **values))
    wrong = len(log)
    tell(table, execution("1"))

    assert (wrong, len(log)) == (0, 1)


def test_a_missing_fee_and_a_missing_price_are_unknown() -> None:
    table, log = told()

    tell(table, execution("1", fee=Decimal("NaN"), price=Decimal("NaN")))

    fill = log.entries()[0][0][0]
    assert (fill.fee.is_nan(), fill.price.is_nan(), fill.is_combined) == (True, True, False)


def test_only_the_newest_numbers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills_module, "MOST_FILLS", 2)
    table, log = told()

    tell(table, *(execution(str(number)) for number in range(5)))

    assert [fill_id for _, fill_id in log._seen] == ["3", "4"]


# Executions of the past.


def past(*executions: dict[str, Any]) -> list[TableRow]:
    blank = {column.name: BLANK[column.type] for column in TOLD_FILL_COLUMNS}
    return [
        TableRow(
            row["created"], NOW + 90, "ACC-1", tuple({**blank, **row}[column.name] for column in TOLD_FILL_COLUMNS)
        )
        for row in executions
    ]


def test_executions_of_the_past_join_those_that_are_known_and_say_so() -> None:
    table, log = told()
    tell(table, execution("7", created=NOW))
    tell(table, execution("8", created=NOW + 1), is_full=True)

    count = log.insert(past(*(execution(str(number), created=NOW - 7 + number) for number in range(4, 9))))
    tell(table, *(execution(str(number), created=NOW - 7 + number) for number in range(4, 10)), is_full=True)

    assert count == 3
    assert list(log.frame()["source"]) == ["stream", "list", "history", "history", "history", "list"]
    assert sorted(fill.ts - NOW for fill, _ in log.entries()[0]) == [-3, -2, -1, 0, 1, 2]


def test_past_drives_nothing_out_and_its_newest_come_first() -> None:
    log = ReportedFillLog(TOLD_FILL_COLUMNS, limit=3)
    log.insert(past(execution("9", created=NOW)))

    count = log.insert(past(*(execution(str(number), created=NOW - 9 + number) for number in range(9))))

    assert (count, log.evicted) == (2, 0)
    assert [fill.ts - NOW for fill, _ in log.entries()[0]] == [0, -2, -1]


# Corrected executions, late fees, corrected averages.


def contents(log: ReportedFillLog | DerivedFillLog) -> list[tuple[str, Decimal, Decimal, Decimal]]:
    return [(fill.side, fill.quantity, fill.price, fill.fee) for fill, _ in log.entries()[0]]


def test_a_corrected_execution_is_taken_back_and_follows_anew() -> None:
    table, log = told()
    tell(table, execution("1"))

    tell(table, execution("1", "3", price=Decimal(499), fee=Decimal("0.2")))
    tell(table, execution("1"))  # the first report, late
    tell(
        table, execution("1", "3", price=Decimal("499.00"), fee=Decimal("0.2")), is_full=True
    )  # the list after a break

    assert contents(log) == [
        ("sell", Decimal(4), Decimal("499.98"), Decimal("0.1")),
        ("sell", Decimal(-4), Decimal("499.98"), Decimal("-0.1")),
        ("sell", Decimal(3), Decimal(499), Decimal("0.2")),
    ]
    assert log.frame()["quantity"].sum() == 3


def test_a_cancelled_execution_is_taken_back_once() -> None:
    table, log = told()
    tell(table, execution("1"), execution("2", "0"))

    for _ in range(2):
        tell(table, execution("1", "0"))

    assert [quantity for _, quantity, _, _ in contents(log)] == [4, -4]


def test_a_fee_that_comes_later_follows_once_and_the_fees_add_up() -> None:
    table, log = told()
    tell(table, execution("1", fee=Decimal("NaN")), execution("2", fee=Decimal(0)))

    for _ in range(2):
        tell(table, execution("1", fee=Decimal("1.3")), execution("2", fee=Decimal("0.5")))
    tell(table, execution("2", fee=Decimal("0.4")), execution("1", fee=Decimal("NaN")))

    assert [(quantity, fee) for _, quantity, _, fee in contents(log)][2:] == [
        (Decimal(0), Decimal("1.3")),
        (Decimal(0), Decimal("0.5")),
        (Decimal(0), Decimal("-0.1")),
    ]
    assert log.frame()["quantity"].sum() == 8
    assert round(log.frame()["fee"].sum(), 9) == 1.7


def test_executions_of_the_past_correct_nothing() -> None:
    table, log = told()
    tell(table, execution("1"))

    count = log.insert(past(execution("1", "3", created=NOW)))

    assert (count, len(log)) == (0, 1)


def test_a_corrected_average_price_takes_all_back_and_fills_anew() -> None:
    table, log = orders()
    publish(table, order("10", "50"), ts=NOW)

    publish(table, order("10", "51"), ts=NOW + 9)
    publish(table, order("10", "50"), ts=NOW)  # late
    publish(table, order("12", "51.5"), ts=NOW + 20)

    found = [(quantity, price) for _, quantity, price, _ in contents(log)]
    assert found == [(10, 50), (-10, 50), (10, 51), (2, 54)]
    with localcontext(prec=50):
        assert sum(quantity * price for quantity, price in found) == 12 * Decimal("51.5")


@pytest.mark.parametrize(("first", "later"), [("50.3333", "50.33"), ("50", "NaN"), ("50", "0"), ("50.10", "50.1")])
def test_an_average_price_that_is_rounded_or_gone_corrects_nothing(first: str, later: str) -> None:
    table, log = orders()

    publish(table, order("10", first), ts=NOW)
    publish(table, order("10", later), ts=NOW + 9)

    assert len(log) == 1


# Reads that are published together, as in a replay that goes fast.

moments = st.integers(0, 5)
reads = st.lists(st.lists(st.tuples(st.integers(0, 6), moments), min_size=1, max_size=3), max_size=6)


@given(reads)
def test_the_fills_of_orders_do_not_depend_on_how_many_reads_are_published_together(
    written: list[list[tuple[int, int]]],
) -> None:
    (apart, apart_log), (together, together_log) = orders(), orders()
    for number, states in enumerate(written):
        for filled, at in states:
            row = order(filled, "10", updated=NOW + at, quantity=Decimal(6))
            for table in (apart, together):
                values = (row.get(column.name, BLANK[column.type]) for column in COLUMNS)
                table.buffer.add(0, NOW + at, (PUT, *values))
        for table in (apart, together):
            table.buffer.mark(NOW + 100 + number)
        apart.publish()
    together.publish()

    assert apart_log.entries() == together_log.entries()


def test_executions_of_two_reads_stand_in_the_order_in_which_they_were_received() -> None:
    table, log = told()
    for number, ts in enumerate((NOW + 9, NOW)):
        row = execution(f"F-{number}")
        table.buffer.add(0, ts, (PUT, *(row.get(column.name, BLANK[column.type]) for column in TOLD_FILL_COLUMNS)))
        table.buffer.mark(NOW + 100 + number)

    table.publish()

    assert [fill.ts for fill, _ in log.entries()[0]] == [NOW + 9, NOW]

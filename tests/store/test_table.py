"""A table against a plain dict: whatever is put, listed and interrupted, both hold the same rows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import CLEAR, NOT_A_TIME, ORDER_COLUMNS, POSITION_COLUMNS, PUT, TABLE_KEYS, Column
from aries_nb.store.log import ChangeLog, RowChange
from aries_nb.store.past import history
from aries_nb.store.table import FetchedRows, Table
from aries_nb.store.values import frame_of

NOW = 1_772_463_845_000_000_000
ACCOUNTS = ("ACC-1", "ACC-2")
COLUMNS = (Column("symbol", "text"), Column("quantity", "decimal"))
MISSING = {"text": "", "time": NOT_A_TIME, "integer": 0, "number": float("nan"), "decimal": Decimal("NaN")}


class Told(NamedTuple):
    """A record: a row put, or with no symbol the beginning of a full list."""

    code: int
    symbol: str | None
    quantity: Decimal = Decimal("NaN")


class Listener:
    """A listener that records the changes."""

    def __init__(self) -> None:
        self.changes: list[RowChange] = []

    def take(self, changes: Sequence[RowChange]) -> None:
        self.changes += changes


def positions(**options: Any) -> Table:
    return Table(COLUMNS, ACCOUNTS, key=("symbol",), **options)


def clear(code: int = 0) -> Told:
    return Told(code, None)


def put(symbol: str, quantity: str | int, code: int = 0) -> Told:
    return Told(code, symbol, Decimal(quantity))


def publish(table: Table, *records: Told, received: int = NOW) -> None:
    for code, symbol, quantity in records:
        mark = CLEAR if symbol is None else PUT
        table.buffer.add(code, received - 1, (mark, symbol or "", quantity))
    table.buffer.mark(received)
    table.publish()


def held(table: Table) -> list[tuple[str, str, Decimal]]:
    return [(row.account, *row.values) for row in table.rows()]  # type: ignore[misc]


def blank(columns: Sequence[Column], **values: Any) -> tuple[Any, ...]:
    return tuple(values.get(column.name, MISSING[column.type]) for column in columns)


# Rows.

codes, symbols = st.integers(0, 1), st.sampled_from("ABCDE")
quantities = st.decimals(-9, 9, places=1)
puts = st.builds(Told, codes, symbols, quantities)
publishes = st.lists(st.lists(puts | codes.map(clear), max_size=8), max_size=8)


@given(publishes, st.integers(1, 12))
@settings(max_examples=120)
def test_holds_what_a_plain_dict_would(reported: list[list[Told]], limit: int) -> None:
    table, plain, evicted = positions(limit=limit), dict[tuple[int, str], Decimal](), 0
    for records in reported:
        for place, (code, symbol, quantity) in enumerate(records):
            if symbol is not None:
                plain[code, symbol] = quantity
                continue
            later = {(each.code, each.symbol) for each in records[place:]}
            plain = {key: value for key, value in plain.items() if key[0] != code or key in later}
        while len(plain) > limit:
            del plain[next(iter(plain))]
            evicted += 1

        publish(table, *records)

        expected = [(ACCOUNTS[code], symbol, quantity) for (code, symbol), quantity in plain.items()]
        assert held(table) == expected
        assert (len(table), table.evicted) == (len(plain), evicted)
        assert not table.is_stale


def test_a_full_list_takes_away_what_is_not_in_it_and_keeps_the_order_of_first_arrival() -> None:
    table = positions()
    publish(table, put("A", 1), put("B", 2), put("C", 3), put("A", 7, code=1))

    publish(table, clear(), put("D", 4), put("C", 5), put("A", 6))

    assert [symbol for account, symbol, _ in held(table) if account == "ACC-1"] == ["A", "C", "D"]
    assert ("ACC-2", "A", Decimal(7)) in held(table)


def test_a_full_list_that_begins_again_forgets_its_first_beginning() -> None:
    table = positions()

    publish(table, clear(), put("A", 1), clear(), put("B", 2))

    assert held(table) == [("ACC-1", "B", Decimal(2))]


def test_an_empty_full_list_empties_the_account() -> None:
    table = positions()
    publish(table, put("A", 1))

    publish(table, clear())

    assert held(table) == []


def test_money_is_exact_to_the_last_digit() -> None:
    table = positions()

    publish(table, put("A", "0.10000000000000000000000000001"))

    assert held(table) == [("ACC-1", "A", Decimal("0.10000000000000000000000000001"))]


def test_each_row_knows_when_it_happened_and_when_it_came() -> None:
    table = positions()
    publish(table, put("A", 1), received=NOW)

    publish(table, put("B", 1), received=NOW + 5)

    assert [row[:2] for row in table.rows()] == [(NOW - 1, NOW), (NOW + 4, NOW + 5)]


def test_a_very_long_text_is_cut() -> None:
    table = positions()

    publish(table, put("A" * 50_000, 1))

    assert held(table)[0][1] == "A" * 19_999 + "…"


def test_a_row_without_other_key_is_one_for_each_account() -> None:
    table = Table((Column("cash", "decimal"),), ACCOUNTS, key=TABLE_KEYS["balances"])
    for code, cash in ((0, 1), (1, 2), (0, 3)):
        table.buffer.add(code, NOW, (PUT, Decimal(cash)))
    table.buffer.mark(NOW)

    table.publish()

    assert table.frame()["cash"].to_dict() == {"ACC-1": 3.0, "ACC-2": 2.0}


def test_records_without_a_time_of_receipt_are_an_error() -> None:
    table = positions()
    table.buffer.add(0, NOW, (PUT, "A", Decimal(1)))

    with pytest.raises(ValueError, match="time of receipt"):
        table.publish()


def test_what_was_received_after_a_list_and_is_published_with_it_is_none_of_it() -> None:
    listener = Listener()
    table = positions(listeners=[listener])
    for number, (mark, symbol) in enumerate(((CLEAR, ""), (PUT, "A"), (PUT, "B"))):
        table.buffer.add(0, NOW, (mark, symbol, Decimal(1)))
        if number:
            table.buffer.mark(NOW + number)

    table.publish()

    assert [(change.row.values[0], change.is_snapshot) for change in listener.changes] == [("A", True), ("B", False)]
    assert [symbol for _, symbol, _ in held(table)] == ["A", "B"]


# Staleness.


def test_a_break_makes_it_stale_until_a_full_list_comes() -> None:
    table = positions()
    publish(table, clear(), put("A", 1), clear(1))
    table.interrupted()
    assert table.is_stale

    publish(table, clear(0), put("A", 1))
    assert table.is_stale, "the other account's list is still to come"

    publish(table, clear(1))
    assert not table.is_stale


def test_a_break_makes_it_stale_until_every_row_was_put_again() -> None:
    table = Table(COLUMNS, ("ACC-1",), key=("symbol",))
    publish(table, put("A", 1), put("B", 1))
    table.interrupted()

    publish(table, put("A", 2))
    assert table.is_stale, "B is from before the break"

    publish(table, put("B", 1))
    assert not table.is_stale


def test_a_break_of_an_empty_table_is_over_with_the_first_row() -> None:
    table = Table(COLUMNS, ("ACC-1",), key=("symbol",))
    table.interrupted()
    assert table.is_stale

    publish(table, put("A", 1))

    assert not table.is_stale


def test_a_row_from_before_a_break_that_leaves_makes_nothing_stale_any_more() -> None:
    table = Table(COLUMNS, ("ACC-1",), key=("symbol",), limit=1)
    publish(table, put("A", 1))
    table.interrupted()

    publish(table, put("B", 1))

    assert held(table) == [("ACC-1", "B", Decimal(1))]
    assert not table.is_stale


def test_a_break_keeps_the_rows_for_reading() -> None:
    table = positions()
    publish(table, put("A", 1))

    table.interrupted()

    assert held(table) == [("ACC-1", "A", Decimal(1))]


def test_what_was_received_before_a_break_and_not_published_confirms_nothing() -> None:
    table = Table(COLUMNS, ("ACC-1",), key=("symbol",))
    publish(table, put("A", 1))
    table.buffer.add(0, NOW - 1, (PUT, "A", Decimal(2)))
    table.buffer.mark(NOW)

    table.interrupted()
    table.publish()

    assert held(table) == [("ACC-1", "A", Decimal(2))]
    assert table.is_stale


# Readers and observers.


def test_the_version_grows_with_records_and_breaks_and_observers_are_called_for_both() -> None:
    table, calls = positions(), list[int]()
    undo = table.watch(lambda: calls.append(table.version))
    publish(table, clear(), put("A", 1))
    table.interrupted()
    publish(table)
    undo()

    publish(table, put("A", 2))

    assert calls == [2, 3]
    assert table.version == 4


def test_the_frame_of_orders_has_the_types_that_pandas_users_expect() -> None:
    table = Table(ORDER_COLUMNS, ("ACC-1",), key=TABLE_KEYS["orders"])
    reported = {"order_id": "ORD-1", "symbol": "MSFT", "side": "buy", "price": Decimal("500.05"), "created": NOW}
    full = blank(ORDER_COLUMNS, **reported)
    for row in (full, blank(ORDER_COLUMNS, order_id="ORD-2")):
        table.buffer.add(0, NOW, (PUT, *row))
    table.buffer.mark(NOW + 1_999)
    table.publish()

    frame = table.frame()

    assert list(frame.index) == ["ORD-1", "ORD-2"]
    assert list(frame.columns) == ["ts", "received", "account", *(column.name for column in ORDER_COLUMNS[1:])]
    assert {str(frame[name].dtype) for name in ("ts", "received", "created", "updated")} == {"datetime64[us, UTC]"}
    assert {str(frame[name].dtype) for name in ("quantity", "filled", "price", "average_price")} == {"float64"}
    assert frame.loc["ORD-1", "price"] == 500.05
    assert frame.loc["ORD-1", "created"] == pd.Timestamp(NOW, tz="UTC")
    assert frame.loc["ORD-1", "received"] == pd.Timestamp(NOW + 1_000, tz="UTC")
    assert pd.isna(frame.loc["ORD-2", "price"])
    assert pd.isna(frame.loc["ORD-2", "created"])
    assert frame.loc["ORD-2", "text"] == ""


def test_an_empty_frame_has_its_columns_and_types_as_well() -> None:
    frame = Table(POSITION_COLUMNS, ("ACC-1",), key=TABLE_KEYS["positions"]).frame()

    assert frame.index.name == "symbol"
    assert str(frame["ts"].dtype) == "datetime64[us, UTC]"
    assert str(frame["quantity"].dtype) == "float64"
    assert len(frame) == 0


def test_a_key_of_two_columns_is_an_index_of_two_levels() -> None:
    columns = (Column("list_id", "integer"), Column("name", "text"), Column("place", "integer"))
    table = Table(columns, ("",), key=TABLE_KEYS["watchlists"])
    table.buffer.add(0, NOW, (PUT, 7, "mine", 1))
    table.buffer.mark(NOW)
    table.publish()

    frame = table.frame()

    assert list(frame.index.names) == ["list_id", "place"]
    assert frame.loc[(7, 1), "name"] == "mine"


def test_a_frame_is_the_readers_own_and_stays_as_it_was() -> None:
    table = positions()
    publish(table, put("A", 1))
    before = table.frame()

    mine = table.frame()
    mine.loc["A", "quantity"] = 99.0
    again = table.frame()
    publish(table, put("A", 2))

    assert before.loc["A", "quantity"] == again.loc["A", "quantity"] == 1.0
    assert table.frame().loc["A", "quantity"] == 2.0


def test_no_write_reaches_another_frame() -> None:
    table = Table(ORDER_COLUMNS, ("ACC-1",), key=TABLE_KEYS["orders"])
    table.buffer.add(0, NOW, (PUT, *blank(ORDER_COLUMNS, order_id="ORD-1", text="mine", price=Decimal(500))))
    table.buffer.mark(NOW)
    table.publish()
    before, mine = table.frame(), table.frame()

    for name in mine.columns:
        array = mine[name].array
        array[0] = (
            pd.Timestamp(0, tz="UTC") if "datetime" in str(array.dtype) else "x" if array.dtype == "str" else -1.0
        )

    pd.testing.assert_frame_equal(before, table.frame())
    assert (before.loc["ORD-1", "text"], before.loc["ORD-1", "price"]) == ("mine", 500.0)


def test_a_frame_is_made_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    table = positions()
    publish(table, put("A", 1))
    made: list[object] = []
    monkeypatch.setattr("aries_nb.store.table.frame_of", lambda *columns: made.append(1) or frame_of(*columns))

    for _ in range(2):
        table.frame()

    assert len(made) == 1


def test_a_reader_on_another_thread_sees_each_publish_whole() -> None:
    table, is_done = positions(), threading.Event()

    def write() -> None:
        for number in range(2_000):
            publish(table, put("A", number), put("B", number))
        is_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    torn = 0
    while not is_done.is_set():
        torn += len({quantity for *_, quantity in held(table)}) > 1
    writer.join()

    assert torn == 0
    assert held(table)[0][2] == 1_999


# Listeners.


def test_listeners_get_every_row_but_not_those_of_a_full_list_without_news() -> None:
    listener = Listener()
    table = positions(listeners=[listener])
    publish(table, clear(), put("A", 1), put("B", "NaN"))
    publish(table, put("A", 1))
    publish(table, clear(), put("A", 2), put("B", "NaN"), put("A", 3))

    reported = [(change.row.values, change.is_snapshot) for change in listener.changes]

    (a, b), unknown = "AB", reported[1][0][1]
    assert reported == [
        ((a, Decimal(1)), True),
        ((b, unknown), True),
        ((a, Decimal(1)), False),
        ((a, Decimal(2)), True),
        ((a, Decimal(3)), False),
    ]


def test_the_log_holds_every_state_in_order() -> None:
    log = ChangeLog(COLUMNS, limit=3)
    table = positions(listeners=[log])
    for quantity in range(1, 6):
        publish(table, put("A", quantity), received=NOW + quantity * 1_000)

    frame = log.frame()

    assert list(frame.index) == [2, 3, 4]
    assert list(frame["quantity"]) == [3.0, 4.0, 5.0]
    assert frame["received"].astype("int64").tolist() == [NOW // 1_000 + after for after in (3, 4, 5)]
    assert list(frame.columns) == ["ts", "received", "account", "symbol", "quantity"]
    assert (log.version, log.evicted, len(log)) == (5, 2, 3)


def test_the_rows_and_the_logs_are_never_apart_by_more_than_the_bell() -> None:
    log = ChangeLog(COLUMNS)
    table = positions(listeners=[log])
    seen: list[tuple[int, int]] = []
    table.watch(lambda: seen.append((len(table), len(log))))

    publish(table, put("A", 1), put("B", 1))

    assert seen == [(2, 2)]


# Rows fetched over HTTP.

DATED = (Column("order_id", "text"), Column("filled", "integer"), Column("updated", "time"))


def ask(table: Table, *rows: tuple[Any, ...], asked: int = NOW, is_full: bool = True, breaks: int = 0) -> bool:
    """An answer to what was asked at a time, one ns later."""
    reported = [(NOW - 1, row) for row in rows]
    return table.insert(FetchedRows(reported, asked, asked + 1, breaks, is_full))


def dated(**options: Any) -> tuple[Table, ChangeLog]:
    """A table of orders, whose rows say when they were changed, and its log."""
    log = ChangeLog(DATED)
    return Table(DATED, ("ACC-1",), key=("order_id",), listeners=(log,), **options), log


def tell(table: Table, *rows: tuple[Any, ...], received: int = NOW, is_full: bool = False) -> None:
    """What the stream brings: rows, or with `is_full` all that there are."""
    if is_full:
        table.buffer.add(0, received, (CLEAR, *blank(DATED)))
    for row in rows:
        table.buffer.add(0, received, (PUT, *row))
    table.buffer.mark(received)
    table.publish()


def values(table: Table) -> list[tuple[Any, ...]]:
    return [row.values for row in table.rows()]


def logged(log: ChangeLog) -> list[tuple[Any, ...]]:
    return [row.values for row in log.entries()[0]]


def test_an_answer_fills_a_table_that_the_stream_has_not() -> None:
    listener = Listener()
    table = positions(listeners=[listener])

    is_taken = ask(table, ("A", Decimal(1)), ("B", Decimal(2)), asked=NOW)

    assert is_taken
    assert held(table) == [("ACC-1", "A", Decimal(1)), ("ACC-1", "B", Decimal(2))]
    assert [(row.ts, row.received) for row in table.rows()] == [(NOW - 1, NOW + 1)] * 2
    assert [change.is_snapshot for change in listener.changes] == [True, True]


def test_what_the_stream_brings_after_the_request_overrides_the_answer() -> None:
    table = positions()
    publish(table, put("A", 1), put("B", 1), received=NOW)
    publish(table, put("A", 2), received=NOW + 5)

    ask(table, ("A", Decimal(9)), ("B", Decimal(9)), asked=NOW + 3)

    assert held(table) == [("ACC-1", "A", Decimal(2)), ("ACC-1", "B", Decimal(9))]


def test_what_is_still_in_the_inbox_came_before_the_answer() -> None:
    table = positions()
    table.buffer.add(0, NOW, (PUT, "A", Decimal(1)))
    table.buffer.mark(NOW)

    ask(table, ("A", Decimal(2)), asked=NOW + 1)

    assert held(table) == [("ACC-1", "A", Decimal(2))]


@pytest.mark.parametrize("received", [NOW, NOW + 5])
def test_an_earlier_state_of_an_order_never_takes_the_place_of_a_later_one(received: int) -> None:
    table, log = dated()
    tell(table, ("X", 4, NOW + 2), received=received)

    ask(table, ("X", 3, NOW + 1), asked=NOW + 3, is_full=False)

    assert values(table) == logged(log) == [("X", 4, NOW + 2)]


def test_a_later_state_of_an_order_takes_its_place_even_if_the_stream_brought_the_order_meanwhile() -> None:
    table, log = dated()
    tell(table, ("X", 3, NOW + 1), received=NOW + 9)

    ask(table, ("X", 4, NOW + 2), asked=NOW + 3)

    assert values(table) == [("X", 4, NOW + 2)]
    assert logged(log) == [("X", 3, NOW + 1), ("X", 4, NOW + 2)]


def test_an_answer_with_fewer_fields_of_the_same_state_keeps_those_of_the_stream() -> None:
    columns = (Column("order_id", "text"), Column("average_price", "decimal"), Column("updated", "time"))
    table = Table(columns, ("ACC-1",), key=("order_id",))
    table.buffer.add(0, NOW, (PUT, "X", Decimal("7.5"), NOW))
    table.buffer.add(0, NOW, (PUT, "Y", Decimal("7.5"), NOW))
    table.buffer.mark(NOW)
    table.publish()

    ask(table, ("X", Decimal("NaN"), NOW), ("Y", Decimal("NaN"), NOW + 1), asked=NOW + 3)

    same, later = values(table)
    assert same == ("X", Decimal("7.5"), NOW)
    assert later[1].is_nan()


def test_the_stream_that_repeats_an_answer_doubles_nothing_in_the_log() -> None:
    table, log = dated()
    ask(table, ("X", 4, NOW + 2))

    tell(table, ("X", 3, NOW + 1), ("X", 4, NOW + 2), ("X", 5, NOW + 3))

    assert values(table) == [("X", 5, NOW + 3)]
    assert logged(log) == [("X", 4, NOW + 2), ("X", 3, NOW + 1), ("X", 5, NOW + 3)]


def test_a_late_state_does_not_turn_a_row_back() -> None:
    table, log = dated()
    ask(table, ("X", 4, NOW + 2))

    tell(table, ("X", 3, NOW + 1))

    assert values(table) == [("X", 4, NOW + 2)]
    assert logged(log) == [("X", 4, NOW + 2), ("X", 3, NOW + 1)]


def progress(filled: str, updated: int) -> tuple[Any, ...]:
    return blank(ORDER_COLUMNS, order_id="O-1", filled=Decimal(filled), updated=updated)


@pytest.mark.parametrize(
    ("late", "stays"),
    [
        (progress("4", NOW - 1), True),
        (progress("4", NOW), True),  # its clock counts in seconds
        (progress("10", NOW), False),  # filled further in the same second
        (progress("4", NOW + 1), False),  # taken back
        (progress("4", NOT_A_TIME), True),
        (progress("10", NOT_A_TIME), False),
    ],
)
def test_a_streamed_state_never_takes_the_place_of_a_later_one(late: tuple[Any, ...], stays: bool) -> None:
    log = ChangeLog(ORDER_COLUMNS)
    table = Table(ORDER_COLUMNS, ["ACC-1"], key=["order_id"], listeners=[log])
    newest = progress("9", NOW)
    tell(table, newest)

    tell(table, late)

    assert [row.values[6] == newest[6] for row in table.rows()] == [stays]
    assert len(log.entries()[0]) == 2


def test_after_a_state_without_a_time_none_from_before_it_takes_its_place() -> None:
    table = Table(ORDER_COLUMNS, ["ACC-1"], key=["order_id"])
    tell(table, progress("4", NOW))
    tell(table, progress("10", NOT_A_TIME))

    tell(table, progress("2", NOW - 5))

    assert [row.values[6] for row in table.rows()] == [Decimal(10)]


@pytest.mark.parametrize("updated", [NOW, NOT_A_TIME])
def test_an_order_that_has_ended_does_not_work_again_at_the_same_time_or_without_one(updated: int) -> None:
    table = Table(ORDER_COLUMNS, ["ACC-1"], key=["order_id"], is_finished=lambda status: status == "CANCELED")
    ended, working = (
        blank(ORDER_COLUMNS, order_id="O-1", filled=Decimal(0), status=status, updated=at)
        for status, at in (("CANCELED", NOW), ("NEW", updated))
    )
    tell(table, ended)

    tell(table, working)

    assert [row.values[4] for row in table.rows()] == ["CANCELED"]


def test_a_state_with_a_time_far_ahead_does_not_stay_for_ever() -> None:
    table = Table(ORDER_COLUMNS, ["ACC-1"], key=["order_id"])
    tell(table, progress("4", NOW + 40 * 86_400 * 10**9))

    tell(table, progress("10", NOW + 1))

    assert [row.values[6] for row in table.rows()] == [Decimal(10)]


def test_an_ended_order_that_a_full_list_took_away_comes_back_without_being_news() -> None:
    table, log = dated()
    tell(table, ("X", 4, NOW + 2))
    table.interrupted()
    tell(table, received=NOW + 4, is_full=True)
    emptied = values(table)

    ask(table, ("X", 4, NOW + 2), ("Y", 1, NOW + 3), asked=NOW + 5, is_full=False, breaks=1)

    assert emptied == []
    assert values(table) == [("X", 4, NOW + 2), ("Y", 1, NOW + 3)]
    assert logged(log) == [("X", 4, NOW + 2), ("Y", 1, NOW + 3)]


def test_a_full_answer_adds_nothing_that_a_later_full_list_of_the_stream_has_not() -> None:
    table, _ = dated()
    tell(table, ("X", 4, NOW + 2), received=NOW + 9, is_full=True)

    ask(table, ("X", 4, NOW + 2), ("GONE", 1, NOW), asked=NOW + 3)

    assert values(table) == [("X", 4, NOW + 2)]


def test_a_full_list_of_the_stream_leaves_what_is_ahead_of_it() -> None:
    table, log = dated()
    ask(table, ("X", 4, NOW + 2))

    tell(table, is_full=True, received=NOW + 9)
    tell(table, ("X", 4, NOW + 2), received=NOW + 10)

    assert values(table) == logged(log) == [("X", 4, NOW + 2)]


def test_a_full_answer_ends_a_break_and_takes_away_what_is_no_more() -> None:
    table = Table(COLUMNS, ("ACC-1",), key=("symbol",))
    publish(table, put("A", 1), put("B", 1))
    table.interrupted()
    publish(table, put("C", 1), received=NOW + 2)

    ask(table, ("A", Decimal(2)), asked=NOW + 3, breaks=1)

    assert held(table) == [("ACC-1", "A", Decimal(2)), ("ACC-1", "C", Decimal(1))]
    assert not table.is_stale


def test_an_answer_from_before_a_break_is_left_alone() -> None:
    table = positions()
    publish(table, put("A", 1))
    table.interrupted()

    is_taken = ask(table, ("A", Decimal(2)), asked=NOW + 3, breaks=0)

    assert not is_taken
    assert held(table) == [("ACC-1", "A", Decimal(1))]
    assert table.is_stale


def test_what_was_taken_away_is_remembered_only_up_to_the_bound() -> None:
    table, log = dated(limit=2)
    for number in range(3):
        tell(table, (f"X{number}", 1, NOW), received=NOW + 2 * number)
        tell(table, received=NOW + 2 * number + 1, is_full=True)

    ask(table, ("X0", 1, NOW), ("X2", 1, NOW), asked=NOW + 9, is_full=False)

    assert logged(log) == [("X0", 1, NOW), ("X1", 1, NOW), ("X2", 1, NOW), ("X0", 1, NOW)]


steps = st.lists(st.integers(0, 1), min_size=1, max_size=8)  # whether a state is stamped later than the one before
moves = st.lists(st.sampled_from(["happens", "is reported", "is asked", "is worked out", "is answered"]), max_size=40)


@given(steps, moves)
@settings(max_examples=100)
def test_however_stream_and_answers_interleave_each_state_is_logged_once_and_the_last_one_stays(
    later: list[int], moves: list[str]
) -> None:
    states = [("X", number, NOW + sum(later[:number])) for number in range(1, len(later) + 1)]
    table, log = dated()
    happened = reported = 0
    questions: list[tuple[int, list[Any]]] = []  # when each was asked, and what the broker found
    ends = ["happens", "is reported"] * len(states) + ["is answered"] * len(moves)
    for clock, move in enumerate([*moves, *ends], start=NOW):
        if move == "happens":
            happened = min(happened + 1, len(states))
        elif move == "is reported" and reported < happened:
            reported += 1
            tell(table, states[reported - 1], received=clock)
        elif move == "is asked" and happened:
            questions.append((clock, []))
        elif move == "is worked out":
            for _, found in questions:
                found.append(states[happened - 1])
        elif move == "is answered" and questions:
            asked, found = questions.pop(0)
            ask(table, (found or [states[happened - 1]])[0], asked=asked)

    assert values(table) == [states[-1]]
    assert sorted(logged(log)) == states


@settings(max_examples=60)
@given(
    st.lists(st.none() | st.lists(puts | codes.map(clear), max_size=6), max_size=12),
    st.sampled_from([3, 10_000]),
    st.sampled_from([1, 64 << 10]),
)
def test_table_is_what_it_was_at_each_moment(reported: list[list[Told] | None], limit: int, least: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "LEAST_BYTES", least)
        now = NOW
        table = positions(limit=limit, clock=lambda: now)
        noted = [(now, table.rows(), table.is_stale)]
        for batch in reported:
            now += 1_000
            if batch is None:
                table.interrupted()
            else:
                publish(table, *batch, received=now)
            noted.append((now, table.rows(), table.is_stale))

        for at, rows, is_stale in noted:
            past = table.past(at + 999)
            assert past is not None
            then = table.rebuilt(past)
            assert (then.rows(), then.is_stale) == (rows, is_stale)
        assert table.past(NOW - 1) is None


def test_frozen_table_stays_as_it_is() -> None:
    table = positions()
    publish(table, put("AAPL", 100))

    then = table.frozen()
    publish(table, put("AAPL", 200), put("MSFT", 5))

    assert held(then) == [("ACC-1", "AAPL", Decimal(100))]
    assert then.frame()["quantity"].tolist() == [100.0]
    assert held(table)[0][2] == 200
    assert sum(then.message_counts()[2:]) == 1

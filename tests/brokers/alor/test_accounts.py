from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.model import CLEAR, PUT, TABLE_KEYS, Column, Kind, Pong, Record, Unreadable
from aries_nb.store import ChangeLog, Table
from tests.brokers.alor.lines import (
    RECEIVED,
    answer,
    begin,
    data,
    every,
    format_of,
    guid_of,
    opened,
    receive,
    records,
    reply,
    sent,
)
from tests.brokers.alor.objects import OBJECTS, item
from tests.brokers.aries.lines import counts, said
from tests.brokers.refusals import by_symbol

OPCODES: dict[Kind, str] = {
    "orders": "OrdersGetAndSubscribeV2",
    "stop_orders": "StopOrdersGetAndSubscribeV2",
    "fills": "TradesGetAndSubscribeV2",
    "positions": "PositionsGetAndSubscribeV2",
    "balances": "SummariesGetAndSubscribeV2",
    "risks": "RisksGetAndSubscribe",
    "derivative_risks": "SpectraRisksGetAndSubscribe",
}
KINDS = tuple(OPCODES)
MORE_OPCODES: dict[Kind, list[str]] = {
    "balances": ["PositionsGetAndSubscribeV2"],
    "orders": ["TradesGetAndSubscribeV2"],
}
LISTS: tuple[Kind, ...] = ("orders", "stop_orders", "fills", "positions")
AT = 1_755_849_601_123_456_000  # TIME of the objects, to the microsecond


def rows(found: list[Record]) -> list[dict[str, Any] | None]:
    """Each record as its fields, None for the beginning of a full list."""
    return [
        None if values[0] == CLEAR else dict(zip(subscription.fields, values[1:], strict=True))
        for subscription, _, values in found
    ]


def orders(**fields: Any) -> bytes:
    return data("orders-1", item("orders", **fields))


@pytest.mark.parametrize("kind", KINDS)
def test_row_in_another_format_than_requested_is_unreadable(kind: Kind) -> None:
    protocol = opened(AlorAccounts(), every(kind))
    other = "slim" if format_of(kind) != "slim" else "simple"
    guid = guid_of(protocol, every(kind))

    found, notices = protocol.receive([data(guid, item(kind, other))], RECEIVED)

    assert list(found) == []
    assert counts(notices)[kind, "unreadable"] == 1
    assert "in another format than requested" in [each.reason for each in said(notices) if isinstance(each, Unreadable)]


# Every opcode in every format: request, snapshot, live, unsubscribe; the reply behind the snapshot and before it.


@pytest.mark.parametrize("is_reply_first", [False, True], ids=["reply last", "reply first"])
@pytest.mark.parametrize("kind", KINDS)
def test_portfolio_stream_from_request_to_unsubscribe(kind: Kind, is_reply_first: bool) -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    subscription = every(kind)
    number = protocol.subscribe([subscription])
    request, *others, ping = sent(
        protocol
    )  # a summary's cash stands among the positions, an order's price among trades
    snapshot = data(request["guid"], item(kind, existing=True))
    frames = [reply(request["guid"]), snapshot] if is_reply_first else [snapshot, reply(request["guid"])]

    listed, said = receive(protocol, *frames, *(reply(each["guid"]) for each in others), reply(ping["guid"]))
    late, _ = receive(protocol, b"{}")
    live = records(protocol, data(request["guid"], item(kind)))
    protocol.unsubscribe([subscription])
    ended = sent(protocol)
    after, notices = receive(protocol, data(request["guid"], item(kind)), reply(request["guid"]))

    common = {"exchange": "MOEX", "portfolio": "D00000", "skipHistory": False, "format": format_of(kind).capitalize()}
    assert request == {"opcode": OPCODES[kind], "guid": f"{kind}-1", "token": "token-1", **common}
    assert said == [Pong(number)]
    marks = [record[2][0] for record in [*listed, *late]]
    assert marks == ([CLEAR, PUT] if kind in LISTS else [PUT])
    assert [record[2] for record in live] == [listed_row(listed, late)]
    assert [each["opcode"] for each in others] == MORE_OPCODES.get(kind, [])
    asked = [request, *others]
    assert ended == [{"opcode": "unsubscribe", "guid": each["guid"], "token": "token-1"} for each in asked]
    assert (after, notices) == ([], [])


def listed_row(*found: list[Record]) -> Any:
    return [record[2] for each in found for record in each][-1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_table_ends_in_a_column(kind: Kind) -> None:
    """Each value is given another, one at a time: where no column changes, the field was not read."""
    place = ("simple", "slim", "heavy").index(format_of(kind))
    protocol = opened(AlorAccounts(), every(kind))
    guid = f"{kind}-1"
    before = rows(records(protocol, data(guid, item(kind))))[-1]
    unread = set()
    for names in OBJECTS[kind]:
        name, value = names[place], names[3]
        if name != "-":
            after = rows(records(protocol, data(guid, item(kind) | {name: other(value)})))[-1]
            if str(after) == str(before):
                unread.add(names[0])

    # Known already (who it is about, marks of the past), and what is said in other units besides.
    lots = {"qty", "filled", "open", "qtyBatch", "openQtyBatch"}
    spare = {"brokerSymbol", "portfolio", "existing", "balanceMoney", *lots, *(["exchange"] if kind == "risks" else [])}
    assert unread <= spare


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str) and value[:4].isdecimal() and "T" in value:
        return "2031-01-01T00:00:00Z"
    return f"{value}7" if isinstance(value, str) else value + 1 if isinstance(value, int | Decimal) else 5


def test_order_has_quantities_in_pieces_and_money_exact() -> None:
    protocol = opened(AlorAccounts(), every("orders"))

    found = records(protocol, orders())

    assert found[0][1] == AT
    row = rows(found)[0]
    assert row is not None
    assert {name: row[name] for name in ("order_id", "symbol", "side", "type", "status", "text")} == {
        "order_id": "55500011122",
        "symbol": "SBER",
        "side": "buy",
        "type": "limit",
        "status": "working",
        "text": "<b>mine</b>",
    }
    numbers = {name: str(row[name]) for name in ("quantity", "quantity_lots", "filled", "filled_lots", "price")}
    assert numbers == {"quantity": "20", "quantity_lots": "2", "filled": "10", "filled_lots": "1", "price": "301.500"}
    assert str(row["average_price"]) == "NaN"
    assert row["updated"] == AT
    assert row["expires"] == 1_755_896_399_999_999_000, "without a zone it is UTC"


@pytest.mark.parametrize("kind", ["orders", "stop_orders", "fills"])
def test_a_price_of_zero_is_one_that_there_is_not(kind: Kind) -> None:
    protocol = opened(AlorAccounts(), every(kind))
    place = ("simple", "slim", "heavy").index(format_of(kind))
    name = next(names[place] for names in OBJECTS[kind] if names[0] == "price")

    row = rows(records(protocol, data(f"{kind}-1", item(kind) | {name: 0})))[-1]

    assert row is not None
    assert str(row["price"]) == "NaN"


@pytest.mark.parametrize("sign", [1, -1])  # of the values of a short position, which no source explains
@pytest.mark.parametrize(("average", "now", "expected"), [(240, 2500, "250"), (-20, 300, "30")])
def test_the_price_of_a_short_position_has_the_sign_of_the_average_price(
    sign: int, average: int, now: int, expected: str
) -> None:
    protocol = opened(AlorAccounts(), every("positions"))
    place = ("simple", "slim", "heavy").index(format_of("positions"))
    said = {
        "average_price": average,
        "quantity": -10,
        "cost_basis": sign * 10 * abs(average),
        "market_value": sign * now,
    }
    names = {
        "average_price": "avgPrice",
        "quantity": "qtyUnits",
        "cost_basis": "volume",
        "market_value": "currentVolume",
    }
    keys = {names[0]: names[place] for names in OBJECTS["positions"]}

    message = item("positions") | {keys[names[column]]: value for column, value in said.items()}
    row = rows(records(protocol, data("positions-1", message)))[-1]

    assert row is not None
    assert abs(Decimal(str(row["price"]))) == Decimal(expected)
    assert (Decimal(str(row["price"])) > 0) == (average > 0)


def test_fill_and_position_and_summary_are_in_our_words() -> None:
    kinds: tuple[Kind, ...] = ("fills", "positions", "balances")
    protocol = opened(AlorAccounts(), *map(every, kinds))

    fill, position, balance = (
        rows(records(protocol, data(guid_of(protocol, every(kind)), item(kind))))[-1] or {} for kind in kinds
    )

    def shown(row: dict[str, Any], names: str) -> str:
        return " ".join(str(row[name]) for name in names.split())

    assert shown(fill, "fill_id order_id quantity price fee") == "9200000001 55500011122 10 301.10 0.90330"
    assert shown(position, "quantity average_price price market_value unrealized_pnl") == "10 301.10 301.5 3015.0 4.00"
    assert shown(balance, "equity cash buying_power fee") == "100004.10 96989.10 96989 NaN"
    assert balance["buying_power_by_currency"] == '[{"currency":"RUB","buyingPower":96989}]'


def test_other_name_of_a_disputed_key_is_read_too() -> None:
    protocol = opened(AlorAccounts(), every("balances"))
    said = item("balances")
    said["bp2v"] = said.pop("bpv2")

    row = rows(records(protocol, data("balances-1", said)))[0]

    assert row is not None
    assert "RUB" in row["buying_power_by_currency"]


@pytest.mark.parametrize(
    ("portfolio", "exchange", "expected"),
    [
        ("D00000", "MOEX", ("MOEX", "D00000")),
        ("SPBX:D00000", "MOEX", ("SPBX", "D00000")),
        ("E1", "UNITED", ("UNITED", "E1")),
    ],
)
def test_portfolio_may_name_its_exchange(portfolio: str, exchange: str, expected: tuple[str, str]) -> None:
    protocol = AlorAccounts(exchange=exchange)
    begin(protocol)

    protocol.subscribe([every("orders", portfolio)])

    request = sent(protocol)[0]
    assert (request["exchange"], request["portfolio"]) == expected


@pytest.mark.parametrize("said", ["MOEX", "UNITED", None])
@pytest.mark.parametrize(("code", "is_margined"), [("SBER", "false"), ("SiZ6", "true"), ("SBERF", "true")])
def test_futures_of_a_united_account_are_margined(code: str, is_margined: str, said: str | None) -> None:
    protocol = opened(AlorAccounts(), every("positions", "UNITED:E00000"))

    found = records(protocol, data("positions-1", item("positions", symbol=code, exchange=said)))

    row = rows(found)[0]
    assert row is not None
    assert (row["symbol"], row["is_margined"]) == (code, is_margined)


def test_instrument_of_another_exchange_is_named_as_a_user_writes_it() -> None:
    protocol = opened(AlorAccounts(), every("positions"))
    foreign = item("positions", symbol="AAPL", exchange="SPBX")
    money = item("positions", symbol="USD", exchange="SPBX", isCurrency=True)

    found = records(protocol, data("positions-1", foreign), data("positions-1", money))

    assert [row["symbol"] for row in rows(found) if row is not None] == ["SPBX:AAPL", "USD"]


# The full list.


def test_list_comes_at_once_with_the_reply_behind_it() -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    protocol.subscribe([every("orders")])

    waiting = records(protocol, orders(id="1", existing=True), orders(id="2", existing=True))
    listed = records(protocol, reply("orders-1"))

    assert waiting == []
    assert [row and row["order_id"] for row in rows(listed)] == [None, "1", "2"]


def test_empty_list_is_known_by_the_pong_behind_the_reply() -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    protocol.subscribe([every("orders")])
    _, beside, ping = sent(protocol)

    early = records(protocol, reply("orders-1"), reply(beside["guid"]))
    found = records(protocol, reply(ping["guid"]))

    assert early == []
    assert rows(found) == [None]


def test_list_is_complete_before_the_first_change() -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    protocol.subscribe([every("orders")])

    found = records(protocol, orders(id="1", existing=True), orders(id="1", status="filled"))

    assert [row and row["status"] for row in rows(found)] == [None, "working", "filled"]


def test_row_sent_twice_in_the_list_stands_in_it_once() -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    protocol.subscribe([every("orders")])
    twice = [orders(id="1", existing=True), orders(id="1", existing=True, status="filled")]

    found = records(protocol, *twice, reply("orders-1"))

    assert [row and row["status"] for row in rows(found)] == [None, "filled"]


def test_late_element_of_the_list_is_put_without_a_new_list() -> None:
    protocol = opened(AlorAccounts(), every("orders"))

    found = records(protocol, orders(id="9", existing=True))

    assert [record[2][0] for record in found] == [PUT]


def test_missing_reply_does_not_hold_the_list_back_for_ever() -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    number = protocol.subscribe([every("orders")])
    _, beside, ping = sent(protocol)
    records(protocol, reply(beside["guid"]), orders(id="1", existing=True), reply(ping["guid"]))

    notices = list(protocol.tick(10.5))
    found, _ = receive(protocol, b"{}")

    assert notices == [Pong(number)]
    assert [row and row["order_id"] for row in rows(found)] == [None, "1"]


@pytest.mark.parametrize("is_reply_first", [False, True])
def test_after_a_break_the_list_replaces_the_table_and_is_logged_once(is_reply_first: bool) -> None:
    columns = [Column(name, type_) for name, type_ in AlorAccounts().COLUMNS.get("orders", {}).items()]
    log = ChangeLog(columns)
    table = Table(columns, ("D00000",), key=TABLE_KEYS["orders"], listeners=(log,))
    protocol = opened(AlorAccounts(), every("orders"))
    publish(table, records(protocol, orders(id="1"), orders(id="2"), orders(id="3")))
    requests = begin(protocol)
    table.interrupted()
    was_stale = table.is_stale

    snapshot = [
        orders(id=number, existing=True, status=status) for number, status in (("1", "working"), ("3", "filled"))
    ]
    replied = reply("orders-1")
    for frame in [
        *([replied, *snapshot] if is_reply_first else [*snapshot, replied]),
        *(reply(request["guid"]) for request in requests[1:]),
        b"{}",
    ]:
        publish(table, receive(protocol, frame)[0])

    assert was_stale
    assert [(row.values[0], row.values[4]) for row in table.rows()] == [("1", "working"), ("3", "filled")]
    assert not table.is_stale
    assert list(log.frame()["order_id"]) == ["1", "2", "3", "3"]


def publish(table: Table, found: list[Record]) -> None:
    for _, ts, values in found:
        table.buffer.add(0, ts, values)
    table.buffer.mark(RECEIVED)
    table.publish()


# What cannot be used.


def test_row_without_its_key_is_unreadable() -> None:
    protocol = opened(AlorAccounts(), *map(every, LISTS))

    notices = [
        receive(protocol, data(guid_of(protocol, every(kind)), item(kind, id=None, symbol=None)))[1][0]
        for kind in LISTS
    ]

    assert [notice.reason for notice in notices if isinstance(notice, Unreadable)] == [
        "orders without a usable order_id",
        "stop_orders without a usable order_id",
        "fills without a usable fill_id",
        "positions without a usable symbol",
    ]


def test_field_that_cannot_be_used_is_named_and_the_row_is_kept() -> None:
    protocol = opened(AlorAccounts(), every("orders"))

    found, notices = receive(protocol, orders(price={}, qtyUnits="many", updateTime="now"))

    assert [record[1] for record in found] == [RECEIVED]
    assert [notice.reason for notice in notices if isinstance(notice, Unreadable)] == [
        "quantity of orders is no usable decimal",
        "price of orders is no usable decimal",
        "updated of orders is no usable iso",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", "0.1"),
        ("10.24500", "10.24500"),
        ("1e2", "1E+2"),
        ('"7.50"', "7.50"),
        ("9007199254740993", "9007199254740993"),
    ],
)
def test_every_amount_survives_exactly(text: str, expected: str) -> None:
    protocol = opened(AlorAccounts(), every("balances"))

    row = rows(records(protocol, f'{{ "data": {{"plv":{text}}}, "guid":"balances-1" }}'.encode()))[0]

    assert row is not None
    assert str(row["equity"]) == expected


def test_ids_written_as_numbers_are_read() -> None:
    protocol = opened(AlorAccounts(), every("stop_orders"))

    row = rows(records(protocol, data("stop_orders-1", item("stop_orders", id=7007))))[-1]

    assert row is not None
    assert row["order_id"] == "7007"


def test_refused_portfolio_is_named() -> None:
    protocol = opened(AlorAccounts())
    protocol.subscribe([every("orders", "D99999")])
    sent(protocol)

    _, notices = receive(protocol, reply("orders-1", 403, "No access to D99999"))

    assert by_symbol(notices) == [(("D99999",), "No access to D99999")]


NASTY = st.sampled_from(
    [None, True, 0, -1, 2**64, 1.5, "", "x", "12.50", "1e999", [], {}, [{"a": []}], {"cf": 5}, "\ud800"]
)
KEYS = sorted({names[1] for fields in OBJECTS.values() for names in fields if names[1] != "-"})


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(KEYS), NASTY)), max_size=8))
@settings(max_examples=100, deadline=None)
def test_nothing_that_a_server_says_raises(messages: list[tuple[Kind, dict[str, Any]]]) -> None:
    protocol = opened(AlorAccounts(), *map(every, KINDS))

    for kind, fields in messages:
        guid = guid_of(protocol, every(kind))
        found, _ = receive(protocol, data(guid, fields), data(guid, item(kind) | fields))

        for subscription, ts, values in found:
            assert 0 < ts < 2**63
            assert len(values) == 1 + len(subscription.fields)
            assert None not in values


def test_columns_of_every_broker_are_there_and_of_market_data_none() -> None:
    protocol = AlorAccounts()

    assert {"average_price", "updated", "text"} <= set(protocol.COLUMNS.get("orders", {}))
    assert {"price", "market_value", "today_pnl"} <= set(protocol.COLUMNS.get("positions", {}))
    assert list(protocol.COLUMNS.get("balances", {}))[:2] == ["equity", "cash"]
    assert protocol.COLUMNS.get("quotes", {}) == protocol.COLUMNS.get("instruments", {}) == {}

from __future__ import annotations

import pytest

from aries_nb.model import Kind
from aries_nb.wire.alor_accounts import AlorAccounts
from aries_nb.wire.alor_portfolio_http import AlorPortfolioHttp
from aries_nb.wire.interface import Query
from tests.wire.alor_lines import RECEIVED, compact, data, every, opened, records
from tests.wire.alor_objects import OBJECTS, item

HTTP = AlorPortfolioHttp()
PATHS: dict[Kind, str] = {
    "orders": "/md/v2/Clients/MOEX/D00000/orders",
    "stop_orders": "/md/v2/Clients/MOEX/D00000/stoporders",
    "fills": "/md/v2/Clients/MOEX/D00000/trades",
    "positions": "/md/v2/Clients/MOEX/D00000/positions",
    "balances": "/md/v2/Clients/MOEX/D00000/summary",
    "risks": "/md/v2/Clients/MOEX/D00000/risk",
    "derivative_risks": "/md/v2/Clients/MOEX/D00000/fortsrisk",
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_each_table_is_asked_for_by_one_call(kind: Kind) -> None:
    assert HTTP.snapshot(every(kind)) == [Query(PATHS[kind], (("format", "Heavy"),))]


def test_portfolio_leads_nowhere_else() -> None:
    asked = HTTP.snapshot(every("orders", "SPBX:../x?y"))

    assert [query.path for query in asked] == ["/md/v2/Clients/SPBX/..%2Fx%3Fy/orders"]


@pytest.mark.parametrize("kind", OBJECTS)
def test_rows_are_those_of_the_socket(kind: Kind) -> None:
    subscription = every(kind)
    wire = opened(AlorAccounts(), subscription)
    live = records(wire, data(f"{kind}-1", item(kind)))[-1]

    page = HTTP.read(subscription, HTTP.snapshot(subscription)[0], compact([item(kind, "heavy")]).encode())

    assert (page.is_full, page.following, page.unreadable) == (True, None, [])
    ts, values = page.rows[0]
    assert ts in (live[1], 0)
    assert len(values) == len(subscription.fields)
    named = [name for name in subscription.fields if name != "iceberg"]
    row, told = (dict(zip(subscription.fields, each, strict=True)) for each in (values, live[2][1:]))
    assert {name: str(row[name]) for name in named} == {name: str(told[name]) for name in named}
    assert RECEIVED not in [each for each, _ in page.rows]


def test_single_object_is_a_list_of_one_and_bad_items_are_named() -> None:
    subscription = every("balances")

    single = HTTP.read(subscription, Query(""), compact(item("balances", "heavy")).encode())
    mixed = HTTP.read(every("orders"), Query(""), b'[7,{"id":null},{"id":"1","qtyUnits":"x"}]')

    assert len(single.rows) == 1
    assert [len(mixed.rows), len(mixed.unreadable)] == [1, 3]


@pytest.mark.parametrize("body", [b"", b"7", b'"x"', b"null", b"\xff", b"[" * 5_000])
def test_answer_that_cannot_be_one_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        HTTP.read(every("orders"), Query(""), body)


def test_only_a_working_order_has_not_ended() -> None:
    assert [HTTP.is_finished(each) for each in ("working", "Working", "filled", "canceled", "rejected")] == [
        False, False, True, True, True,
    ]  # fmt: skip


def test_what_the_broker_does_not_have_is_not_asked_for() -> None:
    assert HTTP.snapshot(every("instruments", "SBER")) == []
    assert HTTP.order_history("D00000", 0, RECEIVED) == []

from __future__ import annotations

import pytest

from aries_nb.brokers.alor.account_http import AlorPortfolioHttp
from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.fields import Format
from aries_nb.brokers.protocol import Query
from aries_nb.model import Kind
from tests.brokers.alor.lines import RECEIVED, compact, data, every, opened, records
from tests.brokers.alor.objects import OBJECTS, item

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
    protocol = opened(AlorAccounts(), subscription)
    live = records(protocol, data(f"{kind}-1", item(kind)))[-1]

    page = HTTP.read(subscription, HTTP.snapshot(subscription)[0], compact([item(kind, "heavy")]).encode())

    assert (page.is_full, page.following, page.unreadable) == (True, None, [])
    ts, values = page.rows[0]
    assert ts in (live[1], 0)
    assert len(values) == len(subscription.fields)
    named = [name for name in subscription.fields if name not in ("iceberg", "cash")]  # cash needs the positions
    row, emitted = (dict(zip(subscription.fields, each, strict=True)) for each in (values, live[2][1:]))
    assert {name: str(row[name]) for name in named} == {name: str(emitted[name]) for name in named}
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


# Own trades of past sessions.

PAST_PATH = "/md/v2/Stats/MOEX/D00000/history/trades"
NOON = 1_755_864_000 * 10**9  # 2025-08-22


def past_query(**params: str) -> Query:
    usual = {"dateFrom": "2025-08-22", "descending": "false", "limit": "1000", "format": "Heavy"}
    return Query(PAST_PATH, tuple({**usual, **params}.items()))


def test_own_trades_are_asked_for_from_the_day_on_and_those_of_the_session_as_well() -> None:
    asked = HTTP.fill_history("D00000", NOON)

    assert asked == [past_query(), Query(PATHS["fills"], (("format", "Heavy"),))]


@pytest.mark.parametrize("form", ["heavy", "simple", "slim"])
def test_past_trades_are_read_in_whatever_format_they_come(form: Format) -> None:
    subscription = every("fills")
    usual = HTTP.read(subscription, past_query(), compact([item("fills", "heavy")]).encode())

    page = HTTP.read(subscription, past_query(), compact([item("fills", form)]).encode())

    names = [name for name in subscription.fields if name != "settles"]  # which one format alone has
    row, expected = (dict(zip(subscription.fields, each.rows[0][1], strict=True)) for each in (page, usual))
    assert (row["order_id"], row["fill_id"], page.is_full) == ("55500011122", "9200000001", False)
    assert {name: str(row[name]) for name in names} == {name: str(expected[name]) for name in names}


def test_full_page_is_followed_by_one_from_its_last_number_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.brokers.alor.account_http.FILLS_PER_CALL", 3)
    full = compact([item("fills", "heavy", id=number) for number in ("9", "11", "10")]).encode()

    first = HTTP.read(every("fills"), past_query(limit="3"), full)
    stuck = HTTP.read(every("fills"), past_query(limit="3", **{"from": "11"}), full)
    last = HTTP.read(every("fills"), past_query(limit="3"), compact([item("fills", "heavy")] * 2).encode())
    of_today = HTTP.read(every("fills"), Query(PATHS["fills"]), full)

    assert first.following == past_query(limit="3", **{"from": "11"})
    assert (stuck.following, last.following, of_today.following) == (None, None, None)

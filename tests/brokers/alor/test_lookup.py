from __future__ import annotations

import json
import math
from typing import Any

import pytest

from aries_nb.brokers.alor.lookup import AlorLookup
from aries_nb.brokers.protocol import LookupPage, Query
from aries_nb.errors import UsageError
from tests.brokers.alor.lines import NS, SECONDS, quote, trade

LOOKUP = AlorLookup()
SBER = {
    "symbol": "SBER", "shortname": "Сбербанк", "description": "Сбербанк России ПАО ао", "exchange": "MOEX",
    "market": "FOND", "type": "CS", "lotsize": 10, "facevalue": 3, "cfiCode": "ESXXXX",
    "cancellation": "9999-12-31T00:00:00", "minstep": 0.01, "priceMax": 310.5, "priceMin": None, "currency": "RUB",
    "ISIN": "RU0009029540", "board": "TQBR", "primary_board": "TQBR", "tradingStatus": 17, "unknown": {},
}  # fmt: skip


def named(facts: LookupPage) -> list[dict[str, Any]]:
    return [dict(zip(facts.columns, row, strict=True)) for row in facts.rows]


def test_quotes_are_found_under_the_name_that_was_asked_for() -> None:
    queries = LOOKUP.queries("quotes", {"symbols": ("SBER", "MOEX:GAZP", "SPBX:AAPL")})
    answer = [quote("heavy"), quote("heavy", symbol="AAPL", exchange="SPBX"), {"symbol": None}, 7]

    found = named(LOOKUP.read("quotes", queries[0], json.dumps(answer).encode()))

    assert queries == [Query("/md/v2/Securities/MOEX:SBER,MOEX:GAZP,SPBX:AAPL/quotes", (("format", "Heavy"),))]
    assert [row["symbol"] for row in found] == ["SBER", "SPBX:AAPL", "MOEX:SBER"]
    assert (found[0]["bid_price"], found[0]["quote_timestamp"], found[0]["currency"]) == (301.2, NS, "RUB")
    assert math.isnan(found[0]["bond_yield"])


def test_many_symbols_are_asked_for_in_several_calls() -> None:
    queries = LOOKUP.queries("details", {"symbols": tuple(f"S{number}" for number in range(201))})

    assert [query.path.count(":") for query in queries] == [100, 100, 1]


@pytest.mark.parametrize("symbol", ["SBER@TQBR", "SBER,GAZP"])
def test_symbol_that_leads_elsewhere_is_refused(symbol: str) -> None:
    with pytest.raises(UsageError, match="no quote of"):
        LOOKUP.queries("quotes", {"symbols": (symbol,)})


def test_symbol_stays_one_part_of_the_path() -> None:
    queries = LOOKUP.queries("instrument", {"symbol": "../../x?y"})

    assert queries[0].path == "/md/v2/Securities/MOEX/..%2F..%2Fx%3Fy"


def test_instrument_is_asked_and_read() -> None:
    queries = LOOKUP.queries("instrument", {"symbol": "MOEX:SBER@TQBR"})
    found = named(LOOKUP.read("instrument", queries[0], json.dumps(SBER).encode()))

    path, params = "/md/v2/Securities/MOEX/SBER", (("instrumentGroup", "TQBR"), ("format", "Simple"))
    assert queries == [Query(path, params)]
    assert len(found) == 1
    row = found[0]
    assert (row["symbol"], row["name"], row["board"], row["lot_size"]) == ("SBER", "Сбербанк", "TQBR", 10.0)
    assert (row["minimum_movement"], row["trading_status"], row["isin"]) == (0.01, 17, "RU0009029540")
    assert math.isnan(row["price_min"])


def test_all_instruments_are_asked_for_in_pages() -> None:
    first = LOOKUP.queries("instruments", {"exchange": None, "market": "FORTS"})[0]
    full = json.dumps([{**SBER, "symbol": f"S{number}"} for number in range(1_000)]).encode()
    page = LOOKUP.read("instruments", first, full)
    assert page.following is not None

    last = LOOKUP.read("instruments", page.following, json.dumps([SBER]).encode())

    params = (("market", "FORTS"), ("limit", "1000"), ("offset", "0"), ("format", "Simple"))
    assert first == Query("/md/v2/Securities/MOEX", params)
    assert page.following == Query("/md/v2/Securities/MOEX", (*params[:2], ("offset", "1000"), params[3]))
    assert [row["symbol"] for row in named(last)] == ["SBER"]
    assert last.following is None


def test_exchange_of_the_instruments_can_be_named() -> None:
    assert LOOKUP.queries("instruments", {"exchange": "spbx"})[0].path == "/md/v2/Securities/SPBX"


def test_boards_are_asked_and_read() -> None:
    queries = LOOKUP.queries("boards", {"symbol": "SPBX:AAPL"})

    found = LOOKUP.read("boards", queries[0], b'["TQBR","SMAL",7,null,""]')

    assert queries == [Query("/md/v2/Securities/SPBX/AAPL/availableBoards")]
    assert named(found) == [{"board": "TQBR"}, {"board": "SMAL"}]


def test_book_is_asked_and_read_with_the_best_levels_first() -> None:
    queries = LOOKUP.queries("book", {"symbol": "MOEX:SBER@TQBR", "depth": 3})
    emitted = {
        "bids": [{"price": 301.1, "volume": 5}, {"price": 301.2, "volume": 7}],
        "asks": [{"price": 301.4, "volume": 0}, {"price": 301.3, "volume": 2}],
        "timestamp": SECONDS * 1_000,
    }

    found = LOOKUP.read("book", queries[0], json.dumps(emitted).encode())

    params = (("depth", "3"), ("instrumentGroup", "TQBR"), ("format", "Simple"))
    assert queries == [Query("/md/v2/orderbooks/MOEX/SBER", params)]
    assert list(found.columns) == ["ts", "side", "level", "price", "size"]
    assert [row[1:] for row in found.rows] == [("buy", 1, 301.2, 7.0), ("buy", 2, 301.1, 5.0), ("sell", 1, 301.3, 2.0)]


@pytest.mark.parametrize("depth", [0, 51, True, None, "5"])
def test_depth_that_cannot_be_is_refused(depth: Any) -> None:
    with pytest.raises(UsageError, match="depth="):
        LOOKUP.queries("book", {"symbol": "SBER", "depth": depth})


def test_trades_of_the_session_are_asked_for_with_the_newest_first() -> None:
    query = LOOKUP.queries("trades", {"symbol": "SBER", "count": 2})[0]
    page = LOOKUP.read("trades", query, json.dumps([trade(9, "simple"), trade(8, "simple")]).encode())
    assert page.following is not None

    end = LOOKUP.read("trades", page.following, json.dumps([trade(7, "simple")]).encode())

    params = {"descending": "true", "take": "2", "offset": "0", "format": "Simple"}
    assert (query.path, dict(query.params)) == ("/md/v2/Securities/MOEX/SBER/alltrades", params)
    # What comes meanwhile does not move the pages.
    assert dict(page.following.params) == {**params, "offset": "2", "toId": "9"}
    assert [row["trade_id"] for row in named(page)] == [9, 8]
    assert end.following is None


def test_trades_of_a_span_are_those_of_past_sessions_as_well() -> None:
    queries = LOOKUP.queries("trades", {"symbol": "SBER@TQBR", "count": None, "start_ms": 1_500, "end_ms": 2_001})

    past = LOOKUP.read("trades", queries[0], json.dumps({"total": 1, "list": [trade(9, "simple")]}).encode())

    root, span = "/md/v2/Securities/MOEX/SBER/alltrades", {"from": "1", "to": "3", "offset": "0"}
    shared = {**span, "instrumentGroup": "TQBR", "format": "Simple"}
    assert [query.path for query in queries] == [f"{root}/history", root]
    assert dict(queries[0].params) == {**shared, "limit": "50000"}
    assert dict(queries[1].params) == {**shared, "descending": "true", "take": "5000"}
    assert [row["trade_id"] for row in named(past)] == [9]


def test_trade_is_read_exactly_and_one_without_time_price_or_id_is_left_out() -> None:
    odd = [
        {**trade(5, "simple"), "price": None},
        {**trade(6, "simple"), "timestamp": None, "time": None},
        {**trade(7, "simple"), "id": None},
        7,
    ]
    good = [
        {**trade(2**53 + 1, "simple"), "side": "BUY"},
        {**trade(8, "simple"), "side": None, "timestamp": None, "time": "2025-08-22T10:00:00.5000000"},
    ]

    found = named(
        LOOKUP.read("trades", LOOKUP.queries("trades", {"symbol": "SBER"})[0], json.dumps(odd + good).encode())
    )

    assert [(row["trade_id"], row["side"]) for row in found] == [(2**53 + 1, "buy"), (8, "unknown")]
    assert found[1]["ts"] == 1_755_856_800_500_000_000


def test_search_is_asked_and_read() -> None:
    queries = LOOKUP.queries("search", {"text": "SBE", "limit": 5})
    found = named(LOOKUP.read("search", queries[0], json.dumps([SBER, {**SBER, "exchange": "SPBX"}]).encode()))

    assert queries == [Query("/md/v2/Securities", (("query", "SBE"), ("limit", "5"), ("format", "Simple")))]
    assert [row["symbol"] for row in found] == ["SBER", "SPBX:SBER"]


@pytest.mark.parametrize("limit", [0, -1, 1_001, True, None, "5"])
def test_limit_that_cannot_be_is_refused(limit: Any) -> None:
    with pytest.raises(UsageError, match="limit="):
        LOOKUP.queries("search", {"text": "SBE", "limit": limit})


def test_time_is_read() -> None:
    assert LOOKUP.queries("server_time", {}) == [Query("/md/v2/time")]
    assert LOOKUP.read("server_time", Query(""), str(SECONDS).encode()).rows == [(SECONDS * 10**9, 1.0)]
    assert LOOKUP.read("health", Query(""), b"0").rows == []


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        *(("quotes", b"7"), ("search", b"{"), ("server_time", b'"x"'), ("health", b"")),
        *(("boards", b"7"), ("book", b"[]"), ("book", b'{"bids":7}'), ("trades", b'{"total":0}'), ("trades", b"null")),
    ],
)
def test_answer_that_cannot_be_one_is_an_error(topic: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        LOOKUP.read(topic, Query(""), body)


def test_what_there_is_not_is_said_so() -> None:
    with pytest.raises(UsageError, match="chain"):
        LOOKUP.queries("chain", {"underlying": "SBER"})

    assert "chain" not in LOOKUP.topics()

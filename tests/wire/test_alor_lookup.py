from __future__ import annotations

import json
import math
from typing import Any

import pytest

from aries_nb.errors import UsageError
from aries_nb.wire.alor_lookup import AlorLookup
from aries_nb.wire.interface import Facts, Query
from tests.wire.alor_lines import NS, SECONDS, quote

LOOKUP = AlorLookup()
SBER = {
    "symbol": "SBER", "shortname": "Сбербанк", "description": "Сбербанк России ПАО ао", "exchange": "MOEX",
    "market": "FOND", "type": "CS", "lotsize": 10, "facevalue": 3, "cfiCode": "ESXXXX",
    "cancellation": "9999-12-31T00:00:00", "minstep": 0.01, "priceMax": 310.5, "priceMin": None, "currency": "RUB",
    "ISIN": "RU0009029540", "board": "TQBR", "primary_board": "TQBR", "tradingStatus": 17, "unknown": {},
}  # fmt: skip


def named(facts: Facts) -> list[dict[str, Any]]:
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
    ("topic", "body"), [("quotes", b"7"), ("search", b"{"), ("server_time", b'"x"'), ("health", b"")]
)
def test_answer_that_cannot_be_one_is_an_error(topic: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        LOOKUP.read(topic, Query(""), body)


def test_what_there_is_not_is_said_so() -> None:
    with pytest.raises(UsageError, match="chain"):
        LOOKUP.queries("chain", {"underlying": "SBER"})

    assert "chain" not in LOOKUP.topics()

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import strategies as st

from aries_nb.brokers.aries.options import AriesOptions
from aries_nb.brokers.protocol import OptionContract
from tests.properties import holds_for

OPTIONS = AriesOptions()
DAY = date(2026, 12, 18)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["symbol", "strikePrice", "x"]) | st.text(), inner),
)


def encoded(answer: object) -> bytes:
    return json.dumps(answer).encode()


def test_queries_are_those_of_the_protocol() -> None:
    assert OPTIONS.expiries("MSFT") == ("/v1/options/MSFT/expiry-dates", ())
    assert OPTIONS.contracts("MSFT", DAY) == ("/v1/options/MSFT/contracts/2026-12-18", ())


@pytest.mark.parametrize(
    ("symbol", "segment"), [("BRK.B", "BRK.B"), ("a/../b", "a%2F..%2Fb"), ("A?b=1#c", "A%3Fb%3D1%23c"), ("Ä", "%C3%84")]
)
def test_a_symbol_cannot_leave_its_place_in_the_path(symbol: str, segment: str) -> None:
    assert OPTIONS.expiries(symbol).path == f"/v1/options/{segment}/expiry-dates"


def test_expiries_come_once_and_the_nearest_first() -> None:
    body = encoded({"symbol": "MSFT", "expiryDates": ["2027-01-15", "2026-12-18", "2027-01-15"]})

    assert OPTIONS.read_expiries(body) == (DAY, date(2027, 1, 15))


def test_expiries_that_are_no_days_are_left_out() -> None:
    body = encoded({"expiryDates": ["2026-02-30", 20261218, None, "soon", "2026-12-18"]})

    assert OPTIONS.read_expiries(body) == (DAY,)


def test_contracts_come_by_strike_with_the_call_before_the_put() -> None:
    body = encoded(
        {
            "calls": [{"symbol": "C2", "strikePrice": 500.5}, {"symbol": "C1", "strikePrice": 500}],
            "puts": [{"symbol": "P1", "strikePrice": "500.0"}],
        }
    )

    assert OPTIONS.read_contracts(body) == (
        OptionContract("C1", "call", 500.0),
        OptionContract("P1", "put", 500.0),
        OptionContract("C2", "call", 500.5),
    )


@pytest.mark.parametrize("strike", [None, True, "x", "NaN", "1e999", 0, -5, [], 10**400])
def test_a_contract_without_a_strike_is_left_out(strike: object) -> None:
    body = encoded({"calls": [{"symbol": "C1", "strikePrice": strike}], "puts": None})

    assert OPTIONS.read_contracts(body) == ()


@pytest.mark.parametrize("symbol", [None, 7, "", "A B", "A\n", "A" * 65])
def test_a_contract_without_a_usable_symbol_is_left_out(symbol: object) -> None:
    body = encoded({"calls": [{"symbol": symbol, "strikePrice": 5}, {"symbol": "C1", "strikePrice": 5}, "C2"]})

    assert OPTIONS.read_contracts(body) == (OptionContract("C1", "call", 5.0),)


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_none_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        OPTIONS.read_expiries(body)
    with pytest.raises(ValueError, match="the answer"):
        OPTIONS.read_contracts(body)


@holds_for(20, 60, JSON, JSON)
def test_whatever_json_comes_gives_contracts_or_a_value_error(calls: object, puts: object) -> None:
    try:
        contracts = OPTIONS.read_contracts(encoded({"calls": calls, "puts": puts}))
    except ValueError:
        return
    assert all(contract.strike > 0 and contract.symbol for contract in contracts)


@holds_for(20, 60, JSON)
def test_whatever_json_comes_gives_days_or_a_value_error(days: object) -> None:
    try:
        found = OPTIONS.read_expiries(encoded({"expiryDates": days}))
    except ValueError:
        return
    assert list(found) == sorted(set(found))

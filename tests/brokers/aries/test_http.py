from __future__ import annotations

import json

import pytest
from hypothesis import strategies as st

from aries_nb.brokers.aries.http import AriesHttp, bars_query
from tests.properties import holds_for

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_accounts_are_read_in_the_brokers_order() -> None:
    body = json.dumps({"accounts": [{"trading_account_id": "ACC-2"}, {"trading_account_id": "ACC-1", "status": "x"}]})

    assert AriesHttp().read_accounts(body.encode()) == ("ACC-2", "ACC-1")


def test_items_without_a_usable_identifier_are_left_out() -> None:
    body = json.dumps({"accounts": [{"trading_account_id": 7}, {}, "ACC-1", {"trading_account_id": ""}]})

    assert AriesHttp().read_accounts(body.encode()) == ()


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"{}", b'{"accounts": {}}', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_none_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        AriesHttp().read_accounts(body)


@holds_for(30, 100, JSON)
def test_whatever_json_comes_gives_names_or_a_value_error(answer: object) -> None:
    try:
        names = AriesHttp().read_accounts(json.dumps(answer).encode())
    except ValueError:
        return
    assert all(isinstance(name, str) and name for name in names)


def test_bars_are_asked_for_and_read() -> None:
    query = AriesHttp().bars("AAPL", 60, 0, 120_000_000_000)
    body = json.dumps({"s": "ok", "t": [60], "o": [1], "h": [2], "l": [1], "c": [2], "v": [5], "nextTo": "60"})
    bars = AriesHttp().read_bars(body.encode())

    assert query == bars_query("AAPL", 60, 0, 120_000_000_000)
    assert (bars.start_ns, bars.volume, bars.next_end_ns) == ([60_000_000_000], [5.0], 60_000_000_000)
    assert AriesHttp().bar_start(61_000_000_000, 60) == 60_000_000_000


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"{}", b"\xff"])
def test_bars_that_are_none_are_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        AriesHttp().read_bars(body)

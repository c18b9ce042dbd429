from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.brokers.parsing import excerpt, millis, number
from aries_nb.model import NOT_A_TIME, Unreadable
from tests.brokers.aries.lines import (
    FULL,
    FULL_VALUES,
    MS,
    NS,
    RECEIVED,
    book,
    frame,
    line,
    opened,
    quote,
    quotes,
    said,
    update,
)
from tests.brokers.aries.lines import trades as prints

STREAM_NAMES = {
    "quote": ("quote", "quotes", "QUOTE", "Quotes"),
    "trade": ("trade", "trades", "TRADE", "Trades"),
    "level2": ("level2", "levelII", "l2", "orderBook", "LEVEL2", "LevelIi", "L2", "ORDERBOOK"),
    "timeAndSales": ("timeAndSales", "timesales", "time_and_sales", "tns", "TimeAndSales", "TIMESALES", "TNS"),
    "greeks": ("greeks", "greek", "Greeks", "GREEK"),
}
DATA = {
    "quote": {"bidPrice": 1.0},
    "trade": {"lastPrice": 2.0},
    "level2": {"orderBook": ["5:3.0:4"]},
    "timeAndSales": {"price": "6", "size": "7", "tradeSeq": "8"},
    "greeks": {"delta": 0.5},
}
LONGEST_NUMBER = "1" + "0" * 400


@pytest.mark.parametrize(
    ("stream", "name"), [(stream, name) for stream, names in STREAM_NAMES.items() for name in names]
)
@pytest.mark.parametrize("action", ["update", "snapshot"])
def test_stream_is_known_by_each_of_its_names(stream: str, name: str, action: str) -> None:
    market = opened(quotes(fields=("bid_price", "last_price", "delta")), prints(), book())
    message = update(name, DATA[stream])
    message["payload"]["action"] = action

    (record,), notices = market.receive([line(message)], RECEIVED)

    expected = {
        "quote": (1.0, math.nan, math.nan),
        "trade": (math.nan, 2.0, math.nan),
        "level2": (3.0, 4.0, 5.0),
        "timeAndSales": (6.0, 7.0, 8),
        "greeks": (math.nan, math.nan, 0.5),
    }[stream]
    assert list(notices) == []
    assert expected == pytest.approx(record[2], nan_ok=True)


@pytest.mark.parametrize("name", ["marketStatus", "MARKETSTATUS", "marketstatus"])
def test_market_status_comes_as_pairs(name: str) -> None:
    market = opened()
    data = {"market": "open", "earlyHours": False, "exchanges": {"nyse": "open", "otc": True}, "n": 5}

    _, (status,) = market.receive([line(update(name, data))], RECEIVED)

    expected = (
        ("market", "open"),
        ("early_hours", False),
        ("exchanges.nyse", "open"),
        ("exchanges.otc", True),
        ("n", 5),
    )
    assert expected == status.entries


@pytest.mark.parametrize(
    ("json_text", "expected", "is_usable"),
    [
        ('"501.12"', 501.12, True),
        ('" 501.12 "', 501.12, True),
        ('"-3e2"', -300.0, True),
        ("501", 501.0, True),
        ("null", math.nan, True),
        ("NaN", math.nan, False),
        ('"NaN"', math.nan, False),
        ("Infinity", math.nan, False),
        ('"-inf"', math.nan, False),
        ("1e400", math.nan, False),
        ('"1e400"', math.nan, False),
        (LONGEST_NUMBER, math.nan, False),
        ("true", math.nan, False),
        ('""', math.nan, False),
        ('"abc"', math.nan, False),
        ("[]", math.nan, False),
        ("{}", math.nan, False),
    ],
)
def test_number_in_any_spelling_is_read_or_becomes_missing(json_text: str, expected: float, *, is_usable: bool) -> None:
    market = opened(quotes())
    market.receive([line(quote(**FULL))], RECEIVED)
    raw = line(quote(bidPrice="HERE", bidSize=7)).replace(b'"HERE"', json_text.encode())

    (record,), notices = market.receive([raw], RECEIVED)

    assert record[2] == pytest.approx((expected, 7.0, 501.14, 200.0), nan_ok=True)
    assert is_usable == (not notices)
    assert [notice.reason for notice in notices] == ([] if is_usable else ["bidPrice is no usable number"])


def test_line_with_an_endless_number_costs_only_itself() -> None:
    market = opened(quotes())
    raw = line(quote(bidPrice="HERE")).replace(b'"HERE"', b"1" * 5000)

    found, notices = market.receive([raw + b"\n" + line(quote(**FULL))], RECEIVED)

    assert [record[2] for record in found] == [FULL_VALUES]
    assert [type(notice) for notice in notices] == [Unreadable]


@pytest.mark.parametrize(
    ("json_text", "expected", "is_usable"),
    [
        ('"Q"', "Q", True),
        ("5", "5", True),
        ("null", "", True),
        ("5.5", "5.5", True),
        ("true", "", False),
        ("[]", "", False),
        ('"\\ud800"', "?", True),
        ('"\\u0000"', "\0", True),
    ],
)
def test_text_in_any_spelling_is_read_or_becomes_missing(json_text: str, expected: str, *, is_usable: bool) -> None:
    market = opened(quotes(fields=("bid_price", "bid_exchange")))
    market.receive([line(quote(bidPrice=1.0, bidExchange="D"))], RECEIVED)
    raw = line(quote(bidExchange="HERE")).replace(b'"HERE"', json_text.encode())

    (record,), notices = market.receive([raw], RECEIVED)

    assert record[2] == (1.0, expected)
    assert is_usable == (not notices)
    record[2][1].encode()


@pytest.mark.parametrize(
    "spelling",
    [MS, str(MS), f" {MS} ", f"{MS}.0", float(MS), "2026-03-02T15:04:05.010Z", "2026-03-02T15:04:05.010+00:00",
     "2026-03-02T10:04:05.010-05:00", "2026-03-02T15:04:05.010"],
)  # fmt: skip
def test_time_is_read_from_milliseconds_numeric_text_or_iso_8601(spelling: object) -> None:
    market = opened(quotes(fields=("bid_price", "quote_timestamp")), prints())
    assert millis("2026-03-02T15:04:05.010Z") == MS

    found, notices = market.receive(
        [
            frame(
                quote(bidPrice=1.0, quoteTimestamp=spelling),
                update("quote", {"bidPrice": 2.0}, timestamp=spelling),
                update("timeAndSales", {"price": "3", "tradeTimestamp": spelling}),
            )
        ],
        RECEIVED,
    )

    assert list(notices) == []
    assert [record[1] for record in found] == [NS, NS, NS]
    assert found[0][2][1] == NS


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        (MS // 1_000, NS // 10**9 * 10**9),
        (MS / 1_000, NS),
        (MS * 1_000, NS),
        (NS, NS),
        (str(MS // 1_000), NS // 10**9 * 10**9),
        (str(NS), NS),
    ],
)
def test_a_time_in_seconds_or_micro_or_nanoseconds_is_read_as_such(spelling: object, expected: int) -> None:
    market = opened(quotes(fields=("bid_price", "quote_timestamp")), prints(), book())

    found, notices = market.receive(
        [
            frame(
                quote(bidPrice=1.0, quoteTimestamp=spelling),
                update("quote", {"bidPrice": 2.0}, timestamp=spelling),
                update("timeAndSales", {"price": "3", "tradeTimestamp": spelling}),
                update("level2", {"orderBook": ["1:10:1"]}, timestamp=spelling),
            )
        ],
        RECEIVED,
    )

    assert list(notices) == []
    assert [abs(record[1] - expected) < 1_000 for record in found] == [True] * 4
    time = found[0][2][1]
    assert isinstance(time, int)
    assert abs(time - expected) < 1_000


@pytest.mark.parametrize(
    "absurd", [0, -1, 10**30, MS * 10**7, "0", "soon", "", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", 1e300]
)
def test_absurd_time_gives_way_to_the_payload_s_and_then_to_the_receipt(absurd: object) -> None:
    market = opened(quotes(fields=("bid_price", "quote_timestamp")), prints())

    found, _ = market.receive(
        [
            frame(
                update("quote", {"bidPrice": 1.0, "quoteTimestamp": absurd}, timestamp=MS),
                update("quote", {"bidPrice": 2.0, "quoteTimestamp": absurd}, timestamp=absurd),
                update("quote", {"bidPrice": 3.0}, timestamp=absurd),
                update("quote", {"bidPrice": 4.0}),
                update("timeAndSales", {"price": "5", "tradeTimestamp": absurd}, timestamp=MS),
                update("timeAndSales", {"price": "6", "tradeTimestamp": absurd}, timestamp=absurd),
            )
        ],
        RECEIVED,
    )

    assert [record[1] for record in found] == [NS, RECEIVED, RECEIVED, RECEIVED, NS, RECEIVED]
    assert [record[2][1] for record in found[:4]] == [NOT_A_TIME] * 4


@pytest.mark.parametrize("spelling", [None, True, [], {}])
def test_what_is_no_time_at_all_becomes_a_missing_one(spelling: object) -> None:
    market = opened(quotes(fields=("bid_price", "bid_timestamp")))
    market.receive([line(quote(bidPrice=1.0, bidTimestamp=MS))], RECEIVED)

    (record,), _ = market.receive([line(quote(bidPrice=2.0, bidTimestamp=spelling))], RECEIVED)

    assert record[2] == (2.0, NOT_A_TIME)


def test_a_time_of_zero_is_one_that_is_not_there_yet() -> None:
    market = opened(quotes(fields=("bid_price", "last_price")))
    never_traded = update("trade", {"lastPrice": 2.5, "tradeTimestamp": 0})

    records, notices = market.receive([line(never_traded)], RECEIVED)

    assert list(notices) == []
    assert next(values for _, _, values in records)[1] == 2.5


def test_field_we_did_not_ask_for_may_hold_anything() -> None:
    market = opened(quotes())

    (record,), notices = market.receive([line(quote(**FULL, newField=[{"a": None}]))], RECEIVED)

    assert list(notices) == []
    assert record[2] == FULL_VALUES


def test_implied_volatility_has_a_short_name() -> None:
    market = opened(quotes(fields=("implied_volatility",)))

    (record,), notices = market.receive([line(update("greeks", {"iv": "0.25"}))], RECEIVED)

    assert list(notices) == []
    assert record[2] == (0.25,)


@pytest.mark.parametrize(
    "message",
    [
        update("gossip", {}),
        update("quote", None),
        update("quote", []),
        update("quote", {}, symbol=None),
        update("quote", {}, symbol=["MSFT"]),
        {"type": "event", "payload": {"action": "update"}},
        {"type": "event", "payload": {"action": "update", "type": ["quote"], "data": {}}},
        {"type": "event", "payload": {"action": "update", "type": {"quote": 1}, "symbol": "MSFT", "data": {}}},
        update("level2", {"orderBook": "5:3.0:4"}),
        update("level2", {"orderBook": [5]}),
        update("level2", {"orderBook": {}}),
    ],
)
def test_update_that_cannot_be_used_is_kept_as_an_excerpt(message: dict[str, Any]) -> None:
    market = opened(quotes(), book())

    found, notices = market.receive([line(message)], RECEIVED)

    (unreadable,) = said(notices)
    assert list(found) == []
    assert isinstance(unreadable, Unreadable)
    assert unreadable.excerpt == json.dumps(message)


@pytest.mark.parametrize(
    "secret",
    [
        '{"token": "abc-secret"}',
        '{"access_token":"abc-secret"',
        '{"accessToken" : "abc-secret',
        '{"a": {"client_secret": "abc-secret", "b": 1}}',
        '{"Authorization": "Bearer abc-secret"}',
        '{"password": "abc-secret"}',
        "token abc-secret-abc-secret is bad",
        "Bearer abc-secret-abc-secret",
        '{"x": "eyJabc-secret.abc-secret.abc-secret"}',
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_excerpt_shows_no_token(secret: str, kind: Any) -> None:
    shown = excerpt(kind(secret))

    assert "***" in shown
    assert "abc-secret" not in shown


@given(st.one_of(st.binary(max_size=2_000), st.text(max_size=2_000)))
def test_excerpt_is_short_and_can_be_written_anywhere(line: bytes | str) -> None:
    shown = excerpt(line)

    shown.encode()
    assert len(shown) <= 200


def test_excerpt_of_a_short_clean_line_is_the_line() -> None:
    assert excerpt(b'{"type": "event"}') == '{"type": "event"}'
    assert excerpt("\ud800x") == "?x"


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_number_is_finite_or_missing_or_none(value: object) -> None:
    result = number(value)

    assert result is None or math.isfinite(result) or (value is None and math.isnan(result))


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.datetimes().map(str)))
def test_time_fits_into_nanoseconds_or_is_none(value: object) -> None:
    result = millis(value)

    assert result is None or 0 < result * 1_000_000 < 2**63

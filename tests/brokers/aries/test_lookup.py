"""Look-ups at Aries over HTTP: the calls, and the reading of their answers."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.brokers.aries.lookup import AriesLookup
from aries_nb.brokers.protocol import LookupTopic, Query
from aries_nb.errors import UsageError
from aries_nb.model import NOT_A_TIME

if TYPE_CHECKING:
    from aries_nb.brokers.protocol import LookupPage

LOOKUP = AriesLookup()
OPTION = "MSFT261218C00500000"
MS = 1_772_463_845_010
QUERY = Query("/v1/x", (("symbol", "MSFT"), ("cursor", "9"), ("next", "9")))
NAMES = [
    "data",
    "errors",
    "results",
    "next",
    "nextTo",
    "details",
    "s",
    "d",
    "n",
    "v",
    "t",
    "o",
    "h",
    "l",
    "c",
    "symbol",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


def read(topic: LookupTopic, answer: object) -> LookupPage:
    return LOOKUP.read(topic, QUERY, json.dumps(answer).encode())


def rows(topic: LookupTopic, answer: object) -> list[dict[str, Any]]:
    facts = read(topic, answer)
    return [dict(zip(facts.columns, row, strict=True)) for row in facts.rows]


def queries(topic: LookupTopic, **arguments: Any) -> list[tuple[str, dict[str, str]]]:
    return [(query.path, dict(query.params)) for query in LOOKUP.queries(topic, arguments)]


# Questions.


def test_every_topic_can_be_asked_but_what_only_the_streams_have() -> None:
    assert set(get_args(LookupTopic)) - LOOKUP.topics() == {"instruments", "boards", "trades", "book"}


def test_details_go_to_the_call_of_their_kind() -> None:
    asked = queries("details", symbols=("MSFT", OPTION, "BRK.B"))

    expected = [
        ("/v1/marketdata/equities/details", {"symbols": "MSFT,BRK.B"}),
        ("/v1/marketdata/options/details", {"symbols": OPTION}),
    ]
    assert expected == asked


def test_many_symbols_are_asked_for_by_the_hundred() -> None:
    symbols = tuple(f"S{number}" for number in range(250))

    asked = queries("quotes", symbols=symbols)

    assert [path for path, _ in asked] == ["/v1/chart/quotes"] * 3
    assert tuple(name for _, params in asked for name in params["symbols"].split(",")) == symbols


@pytest.mark.parametrize(
    ("topic", "arguments", "path", "params"),
    [
        ("search", {"text": ".AAPL", "limit": 5}, "/v1/marketdata/search", {"query": ".AAPL", "limit": "5"}),
        ("chart_search", {"text": "A", "limit": 20}, "/v1/chart/search", {"query": "A", "limit": "20"}),
        ("instrument", {"symbol": "A"}, "/v1/chart/symbols", {"symbol": "A"}),
        ("market_status", {}, "/v1/market/status", {"exchange": "US"}),
        ("chart_config", {}, "/v1/chart/config", {}),
        ("server_time", {}, "/v1/chart/time", {}),
        ("health", {}, "/tv/health", {}),
        (
            "tick_bars",
            {"symbol": "A", "trades": 100, "count": 300},
            "/v1/chart/tick-history",
            {"symbol": "A", "resolution": "100T", "countback": "300"},
        ),
        (
            "aggregates",
            {"symbol": "A", "multiplier": 5, "timespan": "minute", "start_ms": MS, "end_ms": MS + 9, "is_adjusted": 0},
            "/v1/stocks/aggs",
            {
                "ticker": "A",
                "multiplier": "5",
                "timespan": "minute",
                "from": str(MS),
                "to": str(MS + 8),
                "adjusted": "false",
                "sort": "asc",
            },
        ),
        ("chain", {"underlying": "A/B"}, "/v1/options/snapshot/chain/A%2FB", {"limit": "250"}),
        (
            "chain",
            {"underlying": "A", "expiry": "2026-12-18", "type": "call", "strike_from": 97.5, "strike_to": 1e6},
            "/v1/options/snapshot/chain/A",
            {
                "expirationDate": "2026-12-18",
                "contractType": "call",
                "limit": "250",
                "strikePriceGte": "97.5",
                "strikePriceLte": "1000000",
            },
        ),
    ],
)
def test_questions_are_those_of_the_protocol(
    topic: LookupTopic, arguments: dict[str, Any], path: str, params: dict[str, str]
) -> None:
    assert queries(topic, **arguments) == [(path, params)]


@pytest.mark.parametrize(
    ("topic", "arguments", "match"),
    [
        ("tick_bars", {"symbol": "A", "trades": 7, "count": 1}, "no bars of 7 trades.*1, 5, 10"),
        ("tick_bars", {"symbol": "A", "trades": True, "count": 1}, "trades=True"),
        ("search", {"text": "A", "limit": 101}, "limit=101.*from 1 to 100"),
        ("search", {"text": "A", "limit": 2.0}, "limit=2.0"),
        ("quotes", {"symbols": ("A,B",)}, "'A,B' is not a symbol"),
        ("aggregates", {"symbol": "A", "timespan": "decade"}, "no bars by the decade"),
    ],
)
def test_a_question_that_cannot_be_is_refused(topic: LookupTopic, arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        LOOKUP.queries(topic, arguments)


# Answers.


def test_details_are_read_in_the_columns_of_the_streams() -> None:
    answer = {
        "data": [
            {
                "symbol": "MSFT",
                "bidPrice": 501.1,
                "askSize": "200",
                "isETF": False,
                "tradeSeq": 2**60,
                "tick": -1,
                "quoteTimestamp": "2026-03-02T15:04:05.010Z",
                "high52WeekPrice": 600,
                "name": "Microsoft",
            }
        ],
        "errors": [{"symbol": "NOPE", "error": "unknown equity"}, {"error": "what"}],
    }

    (row,) = rows("details", answer)

    emitted = {name: row[name] for name in ("symbol", "bid_price", "ask_size", "is_etf", "trade_seq", "tick", "name")}
    assert emitted == {
        "symbol": "MSFT",
        "bid_price": 501.1,
        "ask_size": 200.0,
        "is_etf": False,
        "trade_seq": 2**60,
        "tick": "-1",
        "name": "Microsoft",
    }
    assert (row["quote_timestamp"], row["high_52_week"]) == (MS * 1_000_000, 600.0)
    assert math.isnan(row["last_price"])
    assert (row["has_options"], row["trade_timestamp"], row["ask_exchange"]) == (None, NOT_A_TIME, "")
    assert read("details", answer).refused == {"NOPE": "unknown equity"}


def test_chart_quotes_are_read_by_either_meaning_of_s_and_n() -> None:
    values = {"bid": 1, "lp": 2, "chp": 0.5, "description": "a name"}
    answer = {
        "s": "ok",
        "d": [
            {"s": "MSFT", "n": "Microsoft", "v": values},
            {"s": "ok", "n": "AAPL", "v": values},
            {"s": "error", "n": "NOPE", "errmsg": "unknown"},
            {"s": "ok", "v": values},
        ],
    }

    found = rows("quotes", answer)

    assert [row["symbol"] for row in found] == ["MSFT", "AAPL"]
    assert (found[0]["bid_price"], found[0]["last_price"]) == (1.0, 2.0)
    assert (found[0]["change_percent"], found[0]["description"]) == (0.5, "a name")
    assert read("quotes", answer).refused == {"NOPE": "unknown"}


def test_a_contract_of_a_chain_has_prices_and_greeks() -> None:
    ns = MS * 1_000_000 + 7
    contract = {
        "details": {"ticker": OPTION, "contractType": "CALL", "strikePrice": 500, "expirationDate": "2026-12-18"},
        "greeks": {"delta": 0.5, "gamma": 0.01},
        "impliedVolatility": 0.25,
        "lastQuote": {"bid": 1.5, "ask": 1.6, "lastUpdated": ns},
        "day": "closed",
    }

    (row,) = rows("chain", {"results": [contract, {"details": None}, 7]})

    names = ("symbol", "type", "strike", "bid_price", "ask_price", "delta", "gamma", "implied_volatility")
    assert tuple(row[name] for name in names) == (OPTION, "call", 500.0, 1.5, 1.6, 0.5, 0.01, 0.25)
    assert row["expiry"] == 1_797_552_000_000_000_000
    assert row["quote_timestamp"] == ns
    assert math.isnan(row["theta"])
    assert math.isnan(row["open_price"])


def test_tick_bars_of_the_same_moment_are_all_kept_and_unusable_ones_left_out() -> None:
    answer = {"s": "ok", "t": [MS, MS, 0], "o": [1, 2, 3], "h": [4, 5, 6], "l": [1, 2, 3], "c": [1, None, 3]}

    found = rows("tick_bars", answer | {"c": [1, 2, 3]})

    assert [(row["ts"], row["open"], row["high"]) for row in found] == [
        (MS * 1_000_000, 1.0, 4.0),
        (MS * 1_000_000, 2.0, 5.0),
    ]
    assert math.isnan(found[0]["volume"])
    assert len(rows("tick_bars", answer)) == 1
    assert rows("tick_bars", {"s": "no_data"}) == []


def test_aggregates_have_a_mean_price_and_the_number_of_trades() -> None:
    bar = {"t": MS, "o": 1, "h": 4, "l": 1, "c": 2, "v": 100, "vw": 1.5, "n": 7}

    found = rows("aggregates", {"results": [bar, {"t": MS}, bar | {"t": None}]})

    assert found == [
        {
            "ts": MS * 1_000_000,
            "open": 1.0,
            "high": 4.0,
            "low": 1.0,
            "close": 2.0,
            "volume": 100.0,
            "average_price": 1.5,
            "trades": 7.0,
        }
    ]


@pytest.mark.parametrize("topic", ["search", "chart_search"])
def test_found_instruments_come_in_the_servers_order(topic: LookupTopic) -> None:
    found = rows(topic, [{"symbol": "B", "type": "stock"}, {"symbol": ""}, {"symbol": "A", "description": "an A"}])

    assert [(row["symbol"], row["type"], row["description"]) for row in found] == [
        ("B", "stock", ""),
        ("A", "", "an A"),
    ]


def test_events_about_one_object_are_one_row() -> None:
    (instrument,) = rows("instrument", {"name": "A", "pricescale": 100, "supported_resolutions": ["1", "1D", 5]})
    (config,) = rows("chart_config", {"supports_search": True, "has_daily": "true", "has_intraday": "maybe"})
    (status,) = rows("market_status", {"exchange": "US", "isOpen": True, "session": "regular", "timestamp": MS})

    assert (instrument["symbol"], instrument["price_scale"]) == ("A", 100.0)
    assert instrument["resolutions"] == ("1", "1D", "5")
    assert (config["supports_search"], config["has_daily"], config["has_intraday"]) == (True, True, None)
    assert (status["is_open"], status["session"], status["ts"]) == (True, "regular", MS * 1_000_000)


def test_the_clock_is_plain_text() -> None:
    facts = LOOKUP.read("server_time", QUERY, b"1772463845\n")

    assert list(facts.rows) == [(1_772_463_845_000_000_000, 1.0)]


def test_any_answer_says_that_the_server_is_well() -> None:
    assert LOOKUP.read("health", QUERY, b"<html>") == ({}, [], {}, None)


@pytest.mark.parametrize(
    ("topic", "answer", "name"),
    [
        ("chain", {"results": [], "next": "250"}, "next"),
        ("aggregates", {"results": [], "next": 250}, "next"),
        ("tick_bars", {"s": "ok", **{name: [MS] for name in "tohlcv"}, "nextTo": "250"}, "cursor"),
    ],
)
def test_the_next_page_is_asked_for_with_its_cursor(topic: LookupTopic, answer: dict[str, Any], name: str) -> None:
    following = read(topic, answer).following

    assert following is not None
    assert following.path == QUERY.path
    assert dict(following.params) == dict(QUERY.params) | {name: "250"}


@pytest.mark.parametrize("value", [None, "", 0, "0", True, [], {}, "x" * 5_000])
def test_what_is_no_cursor_ends_the_pages(value: object) -> None:
    assert read("chain", {"results": [], "next": value}).following is None


def test_a_cursor_that_asks_for_the_same_page_again_ends_them() -> None:
    first = read("tick_bars", {"s": "ok", **{name: [MS] for name in "tohlcv"}, "nextTo": "9"})
    again = read("chain", {"results": [], "next": "9"})

    assert (first.following, again.following) == (None, None)


@pytest.mark.parametrize(
    ("topic", "body", "match"),
    [
        ("details", b"no JSON", "not JSON"),
        ("details", b"[]", "no JSON object"),
        ("search", b"{}", "no list"),
        ("chain", b'{"results": 7}', "no list"),
        ("instrument", b'{"s": "error", "errmsg": "try later"}', "the server says 'try later'"),
        ("tick_bars", b'{"s": "error", "errmsg": "try later"}', "the server says 'try later'"),
        ("tick_bars", b'{"s": "error", "errmsg": ["symbol"]}', "the server says"),
        ("tick_bars", b'{"s": "ok", "t": [1]}', "no arrays"),
        ("server_time", b"soon", "no time"),
        ("server_time", b"\xff\xfe", "no time"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(topic: LookupTopic, body: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        LOOKUP.read(topic, QUERY, body)


@pytest.mark.parametrize("topic", ["instrument", "tick_bars"])
def test_an_error_about_the_symbol_names_the_one_that_was_asked_for(topic: LookupTopic) -> None:
    query = Query("/path", (("symbol", "NOPE"),))

    facts = LOOKUP.read(topic, query, b'{"s": "error", "errmsg": "unknown symbol"}')

    assert (facts.rows, facts.refused, facts.following) == ([], {"NOPE": "unknown symbol"}, None)


@given(st.sampled_from(sorted(LOOKUP.topics())), JSON | st.binary().map(lambda raw: raw.decode("latin1")))
def test_whatever_a_server_says_is_rows_of_plain_values_or_a_value_error(topic: LookupTopic, answer: object) -> None:
    try:
        facts = read(topic, answer)
    except ValueError:
        return

    kinds = {"number": float, "text": str, "time": int, "integer": int, "flag": bool | None, "texts": tuple}
    for row in facts.rows:
        for value, kind in zip(row, facts.columns.values(), strict=True):
            assert isinstance(value, kinds[kind])  # type: ignore[arg-type]

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers.aries.charts import AriesCharts
from aries_nb.model import TRADE_COLUMNS, Pong, Record, SessionLost, Subscription, TokenWanted, Unreadable
from tests.brokers.aries.lines import MS, NS, RECEIVED, auth_success, event, frame, line, said
from tests.brokers.refusals import by_symbol

OPTION = "MSFT261218C00500000"
FIELDS = ("bid_price", "ask_price", "last_price")
SALE = {"s": "ok", "t": MS, "lp": 501.12, "v": 50}
VALUES = {"lp": 501.12, "bid": 501.1, "ask": 501.14}


def quotes(symbol: str = "MSFT", fields: tuple[str, ...] = FIELDS) -> Subscription:
    return Subscription("quotes", symbol, fields)


def trades(symbol: str = "MSFT", fields: tuple[str, ...] = ("price", "size")) -> Subscription:
    return Subscription("trades", symbol, fields)


def sent(protocol: AriesCharts, *kinds: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [json.loads(text) for text in protocol.outgoing()]
    return [message for message in messages if not kinds or message["type"] in kinds]


def reopen(protocol: AriesCharts) -> list[dict[str, Any]]:
    """A new connection, up to the answer to the token; returns what was sent after that."""
    protocol.open(0.0)
    protocol.authenticate("secret-token", 0.0)
    protocol.outgoing()
    protocol.receive([line(auth_success(expiresIn=2_700_000))], RECEIVED)
    return sent(protocol)


def opened(*subscriptions: Subscription) -> AriesCharts:
    protocol = AriesCharts()
    reopen(protocol)
    protocol.subscribe(subscriptions)
    protocol.outgoing()
    return protocol


def push(data: object, symbol: str | None = "MSFT", **envelope: Any) -> dict[str, Any]:
    payload = {"action": "update", "data": data} | ({"symbol": symbol} if symbol is not None else {})
    return {"type": "event", "payload": payload, **envelope}


def quote(symbol: str | None = "MSFT", **values: Any) -> dict[str, Any]:
    return push({"s": "ok", "n": "MSFT", "v": values}, symbol)


def records(protocol: AriesCharts, *messages: object) -> list[Record]:
    """What one frame of these messages yields, where it must not give rise to a notice but counts."""
    found, notices = protocol.receive([frame(*messages)], RECEIVED)
    assert said(notices) == []
    return list(found)


# Columns and requests.


def test_columns_are_those_of_all_brokers_as_far_as_they_come() -> None:
    protocol = AriesCharts()

    assert tuple(protocol.COLUMNS.get("quotes", {}))[:3] == FIELDS
    assert list(protocol.COLUMNS.get("trades", {}).items()) == [tuple(column) for column in TRADE_COLUMNS]


def test_each_symbol_is_asked_for_once_in_a_frame_of_its_own() -> None:
    protocol = AriesCharts()
    reopen(protocol)

    number = protocol.subscribe([quotes(), trades(), quotes(OPTION)])

    *asked, ping = sent(protocol)
    assert [(message["type"], message["payload"]) for message in asked] == [
        ("subscribe", {"type": "quotes", "symbol": "MSFT"}),
        ("subscribe", {"type": "quotes", "symbol": OPTION, "symbolType": "option"}),
    ]
    assert ping == {"type": "ping", "id": f"ping-{number}"}
    assert list(protocol.receive([line({"type": "pong", "id": ping["id"]})], RECEIVED)[1]) == [Pong(number)]


def test_symbol_in_the_spelling_of_the_server_is_the_one_asked_for() -> None:
    protocol = opened(quotes("brk/b"))

    (record,) = records(protocol, event("data", symbol="BRK.B", data={"s": "ok", "n": "BRK.B", "v": VALUES}))

    assert record[0] == quotes("brk/b")


def test_spellings_that_differ_in_capitals_alone_are_each_requested_and_get_the_same() -> None:
    protocol = opened(quotes("msft"))
    protocol.subscribe([quotes("MSFT")])

    assert [message["payload"]["symbol"] for message in sent(protocol, "subscribe")] == ["MSFT"]
    assert [each.symbol for each, _, _ in records(protocol, quote("MSFT", **VALUES))] == ["msft", "MSFT"]
    protocol.unsubscribe([quotes("msft")])
    assert [each.symbol for each, _, _ in records(protocol, quote("MSFT", **VALUES))] == ["MSFT"]
    assert not sent(protocol, "unsubscribe")


def test_symbol_ends_with_its_last_stream() -> None:
    protocol = opened(quotes(), trades())

    protocol.unsubscribe([quotes()])
    early = sent(protocol)
    protocol.unsubscribe([trades(), quotes("AAPL")])

    assert early == []
    assert [(message["type"], message["payload"]) for message in sent(protocol)] == [
        ("unsubscribe", {"type": "quotes", "symbol": "MSFT"})
    ]


def test_symbol_that_was_given_up_is_asked_for_again_when_wanted_again() -> None:
    protocol = opened(quotes())
    protocol.unsubscribe([quotes()])
    sent(protocol)

    protocol.subscribe([quotes()])

    assert [message["payload"]["symbol"] for message in sent(protocol, "subscribe")] == ["MSFT"]


def test_requests_that_a_refusal_can_name_are_bounded_the_newest_kept() -> None:
    protocol = AriesCharts()
    reopen(protocol)
    protocol.subscribe([quotes(f"S{n}") for n in range(1_001)])
    first, second, *_ = sent(protocol, "subscribe")

    _, said = protocol.receive(
        [frame(*(event("error", id=each["id"], error="no") for each in (first, second)))], RECEIVED
    )

    assert by_symbol(said) == [((), "no"), (("S1",), "no")]


def test_running_symbol_is_not_asked_for_again_but_after_a_reconnect() -> None:
    protocol = opened(quotes())

    protocol.subscribe([trades()])

    assert sent(protocol, "subscribe") == []
    assert [message["type"] for message in reopen(protocol)] == ["subscribe", "ping"]


def test_refusal_names_its_symbol_which_is_asked_for_again_when_wanted_again() -> None:
    protocol = AriesCharts()
    reopen(protocol)
    protocol.subscribe([quotes(), quotes("NOPE")])
    _, request = sent(protocol, "subscribe")

    refusal = event("error", id=request["id"], error="unknown symbol", data={"v": VALUES})
    _, found = protocol.receive([line(refusal)], RECEIVED)
    protocol.subscribe([quotes(), trades("NOPE")])

    assert by_symbol(found) == [(("NOPE",), "unknown symbol")]
    assert [message["payload"]["symbol"] for message in sent(protocol, "subscribe")] == ["NOPE"]


def test_error_status_of_a_quote_is_a_refusal_of_its_symbol() -> None:
    protocol = opened(quotes("NOPE"))

    found, said = protocol.receive([line(push({"s": "error", "n": "NOPE", "errmsg": "unknown"}, None))], RECEIVED)

    assert (list(found), by_symbol(said)) == ([], [(("NOPE",), "unknown")])


def test_session_speaks_as_on_the_other_endpoints() -> None:
    protocol = opened(quotes())

    _, said = protocol.receive(
        [frame(event("refreshAuth", data={}), event("authExpired"), event("error", error="slow down"))], RECEIVED
    )

    assert by_symbol(said) == [TokenWanted(), SessionLost("authExpired", "token"), ((), "slow down")]


# Shapes.


@pytest.mark.parametrize(
    "data",
    [
        {"s": "ok", "n": "MSFT", "v": VALUES},
        {"v": {name: str(value) for name, value in VALUES.items()}},
        {"quote": {"s": "ok", "v": VALUES}},
        [{"s": "ok", "n": "MSFT", "v": VALUES}],
        {"quote": [{"v": VALUES}], "trade": []},
        VALUES,
        {"bid": 1, "lp": 2, "v": VALUES},
    ],
)
@pytest.mark.parametrize("label", ["quote", "trade", None, 7])
def test_quote_is_known_by_its_shape(data: object, label: object) -> None:
    protocol = opened(quotes(), trades())
    message = push(data)
    message["payload"]["type"] = label

    found = records(protocol, message)

    assert found == [(quotes(), RECEIVED, (501.1, 501.14, 501.12))]


@pytest.mark.parametrize(
    "data",
    [
        SALE,
        {**SALE, "t": str(MS), "lp": "501.12", "v": "50"},
        {**SALE, "t": MS / 1000},
        {"trade": SALE},
        [SALE],
        {"trade": [SALE]},
    ],
)
@pytest.mark.parametrize("label", ["quote", "trade", None])
def test_trade_is_known_by_its_shape(data: object, label: object) -> None:
    protocol = opened(quotes(), trades())
    message = push(data)
    message["payload"]["type"] = label

    found = records(protocol, message)

    assert found == [(trades(), NS, (501.12, 50.0))]


def test_event_may_hold_both() -> None:
    protocol = opened(quotes(), trades())

    found = records(protocol, push({"quote": {"v": VALUES}, "trade": SALE}), push([{"v": VALUES}, SALE]))

    assert [record[0].kind for record in found] == ["quotes", "trades"] * 2


def test_trade_has_every_column() -> None:
    everything = trades(fields=tuple(AriesCharts().COLUMNS.get("trades", {})))
    protocol = opened(everything)

    (record,) = records(protocol, push(SALE))

    assert record[2] == (501.12, 50.0, "unknown", 0, "", "live")


@pytest.mark.parametrize(
    ("symbol", "data"),
    [
        ("MSFT", {"s": "ok", "n": "Microsoft", "v": VALUES}),
        (None, {"s": "ok", "n": "MSFT", "v": VALUES}),
        (None, {"s": "MSFT", "v": VALUES}),
        (None, {"s": "MSFT", "t": MS, "lp": 1, "v": 2}),
    ],
)
def test_symbol_is_found_wherever_it_is(symbol: str | None, data: object) -> None:
    protocol = opened(quotes(), trades())

    assert [record[0].symbol for record in records(protocol, push(data, symbol))] == ["MSFT"]


def test_list_may_be_about_several_symbols() -> None:
    protocol = opened(quotes(), quotes("AAPL"))

    found = records(protocol, push([{"n": name, "v": {"bid": 1}} for name in ("AAPL", "MSFT")], None))

    assert [record[0].symbol for record in found] == ["AAPL", "MSFT"]


@pytest.mark.parametrize(
    ("data", "envelope", "expected"),
    [
        ({"v": VALUES}, {}, RECEIVED),
        ({"v": VALUES}, {"timestamp": "2026-03-02T15:04:05.010Z"}, NS),
        ({"v": VALUES, "t": MS}, {"timestamp": "2020-01-01T00:00:00Z"}, NS),
        ({"v": VALUES, "timestamp": MS}, {}, NS),
        ({"v": VALUES}, {"timestamp": "yesterday"}, RECEIVED),
        ({"v": VALUES, "t": -5}, {"timestamp": MS}, NS),
    ],
)
def test_time_is_that_of_the_data_else_the_envelopes_else_that_of_receipt(
    data: object, envelope: dict[str, Any], expected: int
) -> None:
    protocol = opened(quotes())

    (record,) = records(protocol, push(data, **envelope))

    assert record[1] == expected


def test_time_may_stand_in_the_payload() -> None:
    protocol = opened(quotes())
    message = quote(bid=1)
    message["payload"]["timestamp"] = MS

    assert records(protocol, message)[0][1] == NS


# Merging.


def test_absent_value_is_unchanged_and_null_is_missing() -> None:
    protocol = opened(quotes())

    first, second, third = records(protocol, quote(**VALUES), quote(bid=2), quote(ask=None))

    assert first[2] == (501.1, 501.14, 501.12)
    assert second[2] == (2.0, 501.14, 501.12)
    assert third[2][::2] == (2.0, 501.12)
    assert math.isnan(third[2][1])  # type: ignore[arg-type]


def test_every_key_has_its_column() -> None:
    everything = quotes(fields=tuple(AriesCharts().COLUMNS.get("quotes", {})))
    protocol = opened(everything)
    said = {
        "bid": 1, "ask": 2, "lp": 3, "ch": 4, "chp": 5, "open_price": 6, "high_price": 7, "low_price": 8,
        "prev_close_price": 9, "volume": 10, "exchange": "NASDAQ", "short_name": "MSFT", "description": "unheard of",
    }  # fmt: skip

    (record,) = records(protocol, quote(**said))

    assert record[2] == (*map(float, range(1, 11)), "NASDAQ", "MSFT")


def test_event_without_a_field_of_the_stream_is_no_record() -> None:
    protocol = opened(quotes(fields=("bid_price",)))

    assert records(protocol, quote(ask=1), quote(), push({"s": "ok"}), push({"s": "ok", "n": "MSFT"})) == []


def test_nothing_from_before_a_break_passes_for_fresh() -> None:
    protocol = opened(quotes())
    records(protocol, quote(**VALUES))
    reopen(protocol)

    (record,) = records(protocol, quote(bid=1))

    assert record[2][0] == 1.0
    assert all(math.isnan(value) for value in record[2][1:])  # type: ignore[arg-type]


def test_stream_added_to_a_running_symbol_gets_the_quote_that_is_known() -> None:
    protocol = opened(quotes(), quotes("AAPL"))
    records(protocol, push({"v": VALUES, "t": MS}))
    narrow, unknown, given_up = (
        quotes(fields=("last_price",)),
        quotes("AAPL", ("bid_price",)),
        quotes(fields=("bid_price",)),
    )

    protocol.subscribe([narrow, unknown, given_up, trades(), quotes()])
    protocol.unsubscribe([given_up])

    assert records(protocol) == [(narrow, NS, (501.12,))]
    assert records(protocol) == []


values_said = st.dictionaries(
    st.sampled_from(["bid", "ask", "lp"]), st.floats(0.01, 1e6, allow_nan=False) | st.integers(1, 10**6), max_size=3
)


@settings(max_examples=60, deadline=None)
@given(st.lists(values_said, max_size=8))
def test_partial_events_lead_to_the_same_quote_as_one_whole_one(updates: list[dict[str, float]]) -> None:
    whole: dict[str, float] = {}
    for values in updates:
        whole.update(values)

    bit_by_bit = records(opened(quotes()), *(quote(**said) for said in updates))
    at_once = records(opened(quotes()), quote(**whole))

    assert [str(record[2]) for record in bit_by_bit[-1:]] == [str(record[2]) for record in at_once]


# Rubbish.


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("text", "an event without an object"),
        ([1], "an event without an object"),
        ({"t": MS}, "neither a quote nor a trade"),
        ({"t": MS, "lp": "much", "v": 1}, "a trade without a usable price"),
        ({"t": MS, "lp": None, "v": 1}, "a trade without a usable price"),
        ({"t": MS, "lp": 1, "v": "many"}, "size is no usable number"),
        ({"v": {"bid": "much"}}, "bid_price is no usable number"),
        ({"v": {"exchange": 7}}, "exchange is no usable text"),
    ],
)
def test_what_cannot_be_used_is_named(data: object, reason: str) -> None:
    protocol = opened(quotes(), trades())

    _, said = protocol.receive([line(push(data))], RECEIVED)

    assert [notice.reason for notice in said if isinstance(notice, Unreadable)] == [reason]


def test_symbol_without_a_subscription_is_named_and_one_just_unsubscribed_is_not() -> None:
    protocol = opened(quotes(), quotes("AAPL"))
    protocol.unsubscribe([quotes("AAPL")])

    late = records(protocol, quote("AAPL", bid=1))
    found, said = protocol.receive([line(quote("TSLA", bid=1))], RECEIVED)

    assert (late, list(found)) == ([], [])
    assert [notice.reason for notice in said if isinstance(notice, Unreadable)] == ["a symbol that is not subscribed"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["MSFT", "ok", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["s", "n", "v", "t", "lp", "bid", "quote", "trade", "data", "d", "symbol", "action", "error"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["event", "response", "x"]), JSON, JSON)
def test_rubbish_never_raises_and_the_next_event_is_read(kind: str, data: object, payload: object) -> None:
    protocol = opened(quotes(), trades())

    for message in (push(data), push(data, None), {"type": kind, "payload": payload}, payload):
        for record in protocol.receive([line(message)], RECEIVED)[0]:
            assert all(isinstance(value, float) for value in record[2])

    (record,) = protocol.receive([line(quote(**VALUES))], RECEIVED)[0]
    assert record[2] == (501.1, 501.14, 501.12)


def test_depth_of_nesting_never_raises() -> None:
    protocol = opened(quotes())
    raw = line(push("HERE"))

    for depth in (10, *range(850, 1010, 3), 100_000):
        protocol.receive([raw.replace(b'"HERE"', b"[" * depth + b"]" * depth)], RECEIVED)
        protocol.receive([raw.replace(b'"HERE"', b'{"quote":' * depth + b"1" + b"}" * depth)], RECEIVED)

    assert len(records(protocol, quote(bid=1))) == 1

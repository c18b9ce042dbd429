from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.errors import UsageError
from aries_nb.model import NOT_A_TIME, PUT, Pong, Rejected, SessionOpened, Subscription, Unreadable
from tests.brokers.alor.lines import (
    BARS,
    MS,
    NS,
    QUOTE_VALUES,
    QUOTES,
    RECEIVED,
    SECONDS,
    TRADES,
    Format,
    answer,
    bar,
    bars,
    begin,
    book,
    compact,
    data,
    every,
    guid_of,
    opened,
    order_book,
    quote,
    quotes,
    receive,
    records,
    reply,
    sent,
    trade,
    trades,
    values,
)
from tests.brokers.aries.lines import counts, said
from tests.brokers.refusals import by_symbol

EACH_ORDER = pytest.mark.parametrize("is_reply_first", [False, True], ids=["reply last", "reply first"])
STATUS = {"sym": "SBER", "ex": "MOEX", "bd": "TQBR", "st": 17, "sti": "торги", "pxmn": 290.5, "pxmx": 310}


def started(subscription: Subscription, *snapshot: Any, is_reply_first: bool) -> Any:
    """A stream asked for, answered in one of the two orders; the protocol, the request, the records, the notices."""
    protocol = AlorMarket()
    answer(protocol, begin(protocol))
    number = protocol.subscribe([subscription])
    request, ping = sent(protocol)
    frames = [data(request["guid"], each) for each in snapshot]
    accepted = reply(request["guid"])
    frames = [accepted, *frames] if is_reply_first else [*frames, accepted]
    found, notices = receive(protocol, *frames, reply(ping["guid"]))
    assert notices == [Pong(number)]
    return protocol, request, found


def request_of(opcode: str, guid: str, form: str = "Slim", **parameters: Any) -> dict[str, Any]:
    common = {"exchange": "MOEX", "code": "SBER", "format": form, "token": "token-1"}
    return {"opcode": opcode, "guid": guid, **common, **parameters}


def ended(protocol: AlorMarket, subscription: Subscription, guid: str) -> None:
    """Give a stream up: one request, its answer, and late frames mean nothing."""
    protocol.unsubscribe([subscription])
    assert sent(protocol) == [{"opcode": "unsubscribe", "guid": guid, "token": "token-1"}]


# Every opcode: request, snapshot, live, unsubscribe; the reply behind the snapshot and before it.


@EACH_ORDER
def test_quotes_from_request_to_unsubscribe(is_reply_first: bool) -> None:
    protocol, request, first = started(quotes(), quote(), is_reply_first=is_reply_first)

    live = records(protocol, data(request["guid"], quote(bid=301.25)))
    ended(protocol, quotes(), request["guid"])
    late, notices = receive(protocol, data(request["guid"], quote()), reply(request["guid"]))

    assert request == request_of("QuotesSubscribe", "quotes-1")
    assert first == [(quotes(), NS, QUOTE_VALUES)]
    assert live == [(quotes(), NS, (301.25, *QUOTE_VALUES[1:]))]
    assert (late, notices) == ([], [])


@EACH_ORDER
def test_trades_from_request_to_unsubscribe(is_reply_first: bool) -> None:
    protocol, request, first = started(trades(), is_reply_first=is_reply_first)

    live = records(protocol, *(data(request["guid"], trade(each)) for each in (2**60 + 7, 2**60 + 8)))
    ended(protocol, trades(), request["guid"])

    assert request == request_of("AllTradesGetAndSubscribe", "trades-1", depth=0, includeVirtualTrades=False)
    assert first == []
    places = [(2**60 + each) % 1_000 for each in (7, 8)]
    assert live == [
        (trades(), (MS + place) * 1_000_000, (100.0 + place, 7.0, "buy", 2**60 + each, "TQBR"))
        for each, place in zip((7, 8), places, strict=True)
    ]


@EACH_ORDER
def test_book_from_request_to_unsubscribe(is_reply_first: bool) -> None:
    snapshot = order_book({10.0: 5, 9.5: 7}, {10.5: 3}, existing=True)
    protocol, request, first = started(book(), snapshot, is_reply_first=is_reply_first)

    live = records(protocol, data(request["guid"], order_book({10.0: 6}, {10.5: 3, 11.0: 1})))
    ended(protocol, book(), request["guid"])

    assert request == request_of("OrderBookGetAndSubscribe", "book-1", depth=50)
    assert first == [(book(), NS, (10.0, 5, 0.0, 9.5, 7, 0.0, 10.5, 0.0, 3))]
    assert live == [(book(), NS, (10.0, 6, 0.0, 9.5, 0.0, 0.0, 11.0, 0.0, 1))]


@EACH_ORDER
def test_bars_from_request_to_unsubscribe(is_reply_first: bool) -> None:
    past = [bar(SECONDS - 120, 101.0), bar(SECONDS - 60, 101.2)]
    protocol, request, first = started(bars(), *past, is_reply_first=is_reply_first)

    live = records(protocol, *(data(request["guid"], bar(SECONDS, close)) for close in (101.3, 101.9)))
    ended(protocol, bars(), request["guid"])

    expected = request_of("BarsGetAndSubscribe", "bars-1", tf="60", skipHistory=False)
    assert request == {**expected, "from": SECONDS}
    assert [(ts, row[BARS.index("close")]) for _, ts, row in [*first, *live]] == [
        ((SECONDS - 120) * 10**9, 101.0),
        ((SECONDS - 60) * 10**9, 101.2),
        (SECONDS * 10**9, 101.3),
        (SECONDS * 10**9, 101.9),
    ]
    assert first[0][2] == (101.0, 102.0, 100.9, 101.0, 731.0)


@EACH_ORDER
def test_instruments_from_request_to_unsubscribe(is_reply_first: bool) -> None:
    subscription = every("instruments", "SBER")
    protocol, request, first = started(subscription, STATUS, is_reply_first=is_reply_first)

    live = records(protocol, data(request["guid"], {"sym": "SBER", "pxmn": 291.0}))
    ended(protocol, subscription, request["guid"])

    assert request == request_of("InstrumentsGetAndSubscribeV2", "instruments-1")
    rows = [dict(zip(subscription.fields, row[1:], strict=True)) for row in values([*first, *live])]
    assert [row[0] for row in values([*first, *live])] == [PUT, PUT]
    shown = [(row["symbol"], row["board"], row["trading_status"], row["price_min"], row["price_max"]) for row in rows]
    assert shown == [("SBER", "TQBR", 17, 290.5, 310.0), ("SBER", "TQBR", 17, 291.0, 310.0)]
    assert rows[1]["status_text"] == "торги"
    assert math.isnan(rows[1]["volatility"])


# Requests.


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("SBER", {"exchange": "MOEX", "code": "SBER"}),
        ("SPBX:AAPL", {"exchange": "SPBX", "code": "AAPL"}),
        ("MOEX:SBER@TQBR", {"exchange": "MOEX", "code": "SBER", "instrumentGroup": "TQBR"}),
        ("SBER@SMAL", {"exchange": "MOEX", "code": "SBER", "instrumentGroup": "SMAL"}),
        ("Si-9.25", {"exchange": "MOEX", "code": "Si-9.25"}),
    ],
)
def test_symbol_says_exchange_and_board(symbol: str, expected: dict[str, str]) -> None:
    protocol = AlorMarket()
    begin(protocol)

    protocol.subscribe([quotes(symbol)])

    request = sent(protocol, "QuotesSubscribe")[0]
    assert {name: request[name] for name in request if name in ("exchange", "code", "instrumentGroup")} == expected


def test_exchange_of_symbols_that_name_none_is_the_wire_s() -> None:
    protocol = AlorMarket(exchange="SPBX")
    begin(protocol)

    protocol.subscribe([quotes("AAPL"), quotes("MOEX:SBER")])

    assert [request["exchange"] for request in sent(protocol, "QuotesSubscribe")] == ["SPBX", "MOEX"]


def test_least_interval_becomes_the_frequency_where_there_is_one() -> None:
    protocol = AlorMarket()
    begin(protocol)

    protocol.subscribe([quotes(min_interval_ms="250"), book(min_interval_ms="25"), quotes(min_interval_ms="soon")])

    assert [request.get("frequency") for request in sent(protocol)[:-1]] == [250, 25, None]


@pytest.mark.parametrize(("asked", "depth"), [("20", 20), ("500", 50), ("0", 1), ("-3", 50), ("deep", 50)])
def test_depth_of_a_book_stays_within_what_there_is(asked: str, depth: int) -> None:
    protocol = AlorMarket()
    begin(protocol)

    protocol.subscribe([book(depth=asked)])

    assert sent(protocol)[0]["depth"] == depth


def test_subscriptions_that_differ_in_fields_share_a_stream() -> None:
    narrow = quotes(fields=("last_price",))
    protocol = opened(AlorMarket(), quotes())
    guid = guid_of(protocol, quotes())
    records(protocol, data(guid, quote()))

    protocol.subscribe([narrow])
    asked = sent(protocol, "QuotesSubscribe")
    seed = records(protocol, data(guid, quote(c=302)))
    protocol.unsubscribe([quotes()])
    left = records(protocol, data(guid, quote(c=303)))

    assert asked == []
    assert seed[0] == (narrow, NS, (301.25,)), "what is known already comes first"
    assert seed[1:] == [(quotes(), NS, (*QUOTE_VALUES[:4], 302.0)), (narrow, NS, (302.0,))]
    assert left == [(narrow, NS, (303.0,))]
    assert sent(protocol, "unsubscribe") == []


def test_streams_with_other_options_are_streams_of_their_own() -> None:
    protocol = AlorMarket()
    begin(protocol)

    protocol.subscribe([quotes(), quotes(min_interval_ms="500")])

    assert [request["guid"] for request in sent(protocol, "QuotesSubscribe")] == ["quotes-1", "quotes-2"]


def test_table_that_another_joins_is_asked_for_again_for_its_snapshot() -> None:
    whole, narrow = every("instruments", "SBER"), Subscription("instruments", "SBER", ("symbol", "board"))
    protocol = opened(AlorMarket(), whole)

    protocol.subscribe([narrow])
    requests = sent(protocol)
    found = records(protocol, data(requests[1]["guid"], STATUS))

    assert [request["opcode"] for request in requests] == ["unsubscribe", "InstrumentsGetAndSubscribeV2", "ping"]
    assert [record[0] for record in found] == [whole, narrow]
    assert found[1][2] == (PUT, "SBER", "TQBR")


def test_new_connection_asks_for_everything_again_under_the_same_guids() -> None:
    protocol = opened(AlorMarket(), quotes(), trades(), book(), bars())

    again = begin(protocol, "token-2", 100.0)

    guids = ["quotes-1", "trades-2", "book-3", "bars-4"]
    assert [request["guid"] for request in again[:-1]] == guids
    assert again[-1]["opcode"] == "ping"
    assert {request["token"] for request in again} == {"token-2"}


def test_quote_that_stands_as_before_a_break_is_no_second_row() -> None:
    protocol = opened(AlorMarket(), quotes())
    records(protocol, data("quotes-1", quote()))
    begin(protocol)

    same = records(protocol, data("quotes-1", quote()))
    later = records(protocol, data("quotes-1", quote()), data("quotes-1", quote(tso=MS + 1)))
    begin(protocol)
    changed = records(protocol, data("quotes-1", quote(tso=MS + 2)))

    assert same == []
    assert [ts for _, ts, _ in later] == [NS, NS + 1_000_000]
    assert [ts for _, ts, _ in changed] == [NS + 2_000_000]


# Values.


@pytest.mark.parametrize(
    ("lacking", "form"),
    [
        ((), "heavy"),
        (("currency",), "simple"),
        (("currency", "previous_close_price", "net_change", "change_percent"), "slim"),
    ],
)
def test_quote_is_asked_for_in_the_smallest_format_that_has_its_fields(lacking: tuple[str, ...], form: Format) -> None:
    protocol = AlorMarket()
    fields = tuple(name for name in reversed(protocol.COLUMNS.get("quotes", {})) if name not in lacking)
    subscription = quotes(fields=fields)

    opened(protocol, subscription)
    row = records(protocol, data(guid_of(protocol, subscription), quote(form)))[0][2]

    assert protocol._guids[guid_of(protocol, subscription)].body()["format"] == form.capitalize()
    named = dict(zip(fields, row, strict=True))
    assert {name for name, value in named.items() if value in ("", NOT_A_TIME)} == set()
    missing = {name for name, value in named.items() if isinstance(value, float) and math.isnan(value)}
    assert missing == {"open_interest", "bond_yield"}
    assert (named["quote_timestamp"], named["trade_timestamp"]) == (NS, SECONDS * 10**9)
    assert (named["lot_size"], named["instrument_type"], named["description"]) == (10.0, "CS", "Сбербанк")


def test_fields_of_another_format_are_a_stream_of_their_own() -> None:
    protocol = opened(AlorMarket(), quotes())
    changes = quotes(fields=("last_price", "net_change"))
    protocol.subscribe([changes])
    request, _ = sent(protocol)

    found = records(protocol, data(request["guid"], quote("simple")), data("quotes-1", quote()))

    assert (request["guid"], request["format"]) == ("quotes-2", "Simple")
    assert [subscription for subscription, _, _ in found] == [changes, quotes()]
    assert found[0][2] == (301.25, quote("simple")["change"])


@pytest.mark.parametrize(
    ("fields", "ts"),
    [
        ({}, NS),
        ({"tso": None}, SECONDS * 10**9),
        ({"tso": 0, "tst": 0}, RECEIVED),
        ({"tso": None, "tst": None}, RECEIVED),
        ({"tso": 92 * 10**17}, SECONDS * 10**9),
        ({"tso": SECONDS}, SECONDS * 10**9),
        ({"tso": MS * 1_000}, NS),
        ({"tso": NS}, NS),
        ({"tso": None, "tst": MS}, NS),
        ({"tso": str(MS)}, NS),
        ({"tso": "2025-08-22T08:00:00.123"}, NS),
    ],
)
def test_time_of_a_quote_is_that_of_the_book_else_of_the_last_trade_else_of_receipt(
    fields: dict[str, Any], ts: int
) -> None:
    protocol = opened(AlorMarket(), quotes())

    found = records(protocol, data(guid_of(protocol, quotes()), quote(**fields)))

    assert found[0][1] == ts


def test_numbers_in_any_spelling_are_read() -> None:
    protocol = opened(AlorMarket(), quotes())
    numbers = '{"bid":"301.20","bv":"340","ask":301.3000,"av":1.2e2,"c":301}'
    raw = f'{{"guid":"{guid_of(protocol, quotes())}","data":{numbers}}}'

    found = records(protocol, raw.encode())

    assert found[0][2] == (301.2, 340.0, 301.3, 120.0, 301.0)


def test_a_side_without_lots_has_no_price() -> None:
    protocol = opened(AlorMarket(), quotes())

    bid, lots, ask, *_ = records(protocol, data(guid_of(protocol, quotes()), quote(bv=0)))[0][2]

    assert (math.isnan(bid), lots, ask) == (True, 0, 301.3)


def test_fields_that_are_absent_or_null_are_missing() -> None:
    protocol = opened(AlorMarket(), quotes())

    row = records(protocol, data(guid_of(protocol, quotes()), {"bid": None, "tso": MS}))[0][2]

    assert [math.isnan(value) for value in row] == [True] * 5


@pytest.mark.parametrize("other", ["simple", "heavy"])
@pytest.mark.parametrize(
    ("subscription", "message"),
    [
        (quotes(), quote),
        (trades(), partial(trade, 7)),
        (book(), partial(order_book, {1.0: 2}, {3.0: 4})),
        (bars(), bar),
    ],
)
def test_message_in_another_format_than_requested_is_unreadable(
    subscription: Subscription, message: Callable[..., Any], other: Format
) -> None:
    protocol = opened(AlorMarket(), subscription)
    content = message(SECONDS, form=other) if message is bar else message(form=other)

    found, notices = protocol.receive([data(guid_of(protocol, subscription), content)], RECEIVED)

    assert list(found) == []
    assert [each.reason for each in said(notices) if isinstance(each, Unreadable)] == [
        "in another format than requested"
    ]
    assert counts(notices) == {(subscription.kind, "unreadable"): 1}
    content = message(SECONDS, form="slim") if message is bar else message(form="slim")
    assert len(records(protocol, data(guid_of(protocol, subscription), content))) == 1


def test_message_in_the_requested_format_without_a_time_is_used() -> None:
    protocol = opened(AlorMarket(), quotes())

    (found,) = records(protocol, data(guid_of(protocol, quotes()), {"bid": 1.5, "c": 2.5}))

    assert (found[1], found[2][0], found[2][4]) == (RECEIVED, 1.5, 2.5)


def test_value_that_cannot_be_used_is_named_and_the_rest_is_used() -> None:
    protocol = opened(AlorMarket(), quotes())

    found, notices = receive(protocol, data(guid_of(protocol, quotes()), quote(bid={"a": 1}, bv=True)))

    assert [notice.reason for notice in notices] == ["bid_price is no usable number", "bid_size is no usable number"]
    assert [math.isnan(value) for value in found[0][2]] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"side": "SELL"}, ("sell", 5)),
        ({"side": None}, ("unknown", 5)),
        ({"side": "both"}, ("unknown", 5)),
        ({"id": "5"}, ("buy", 5)),
        ({"id": None}, ("buy", 0)),
        ({"id": 2**63}, ("buy", 0)),
        ({"id": -1}, ("buy", 0)),
    ],
)
def test_side_and_id_of_a_trade_in_any_spelling(fields: dict[str, Any], expected: tuple[str, int]) -> None:
    protocol = opened(AlorMarket(), trades())

    row = dict(
        zip(TRADES, records(protocol, data(guid_of(protocol, trades()), trade(5) | renamed(fields)))[0][2], strict=True)
    )

    assert (row["side"], row["trade_id"]) == expected


def renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {{"side": "s"}.get(name, name): value for name, value in fields.items()}


@pytest.mark.parametrize(
    "time", ["2025-08-22T08:00:00.1230000Z", "2025-08-22T08:00:00.1230000", "2025-08-22T08:00:00.123"]
)
def test_time_of_a_trade_is_read_with_and_without_its_zone(time: str) -> None:
    protocol = opened(AlorMarket(), trades())

    found = records(protocol, data(guid_of(protocol, trades()), trade(5) | {"t": time}))

    assert found[0][1] == NS


# Frames.


@pytest.mark.parametrize(
    "frame",
    [
        '{{ "data": {data}, "guid":"{guid}" }}',
        '{{"data":{data},"guid":"{guid}"}}',
        '{{"guid":"{guid}","data":{data}}}',
        ' \n{{ "guid" : "{guid}" , "data" : {data} }} \n',
        '{{"data":{data},"guid":"{guid}","extra":"x"}}',
        '{{"data":{data},"guid":"{guid}","requestGuid":"y"}}',
    ],
)
def test_data_frame_is_known_by_its_keys_not_by_its_bytes(frame: str) -> None:
    protocol = opened(AlorMarket(), quotes())
    text = frame.format(data=compact(quote()), guid=guid_of(protocol, quotes()))

    found = records(protocol, text.encode())

    assert found == [(quotes(), NS, QUOTE_VALUES)]


def test_text_that_ends_like_a_guid_does_not_mislead() -> None:
    protocol = opened(AlorMarket(), quotes(), trades())
    swapped = f'{{"guid":"{guid_of(protocol, quotes())}","data":{{"bid":1.5,"desc":"{guid_of(protocol, trades())}"}}}}'

    found = records(protocol, swapped.encode())

    assert [(record[0], record[2][0]) for record in found] == [(quotes(), 1.5)]


def test_objects_on_lines_of_their_own_are_each_used() -> None:
    protocol = opened(AlorMarket(), quotes(), book())
    frames = [
        data(guid_of(protocol, quotes()), quote()),
        b"rubbish",
        data(guid_of(protocol, book()), order_book({1.0: 1}, {})),
    ]

    found, notices = receive(protocol, b"\n".join(frames))

    assert [record[0] for record in found] == [quotes(), book()]
    assert [type(notice) for notice in notices] == [Unreadable]


def test_data_without_a_subscription_are_noted_once_a_frame() -> None:
    protocol = opened(AlorMarket(), quotes())

    found, notices = receive(protocol, data("someone-else-s", quote()))

    assert found == []
    assert [notice.reason for notice in notices] == ["a guid that is not subscribed"]


def test_frames_after_the_server_has_processed_the_unsubscribe_are_noted() -> None:
    protocol = opened(AlorMarket(), quotes(), trades())
    guid = guid_of(protocol, quotes())
    protocol.unsubscribe([quotes()])
    protocol.tick(25.0)
    answer(protocol)

    _, notices = receive(protocol, data(guid, quote()))

    assert [notice.reason for notice in notices] == ["a guid that is not subscribed"]


RUBBISH = [
    b"", b" ", b"{", b"null", b"[]", b'"text"', b"12", b"\xff\xfe", b"{}", b'{"data":1}',
    b'{"data":[],"guid":"quotes-1"}', b'{"data":{},"guid":5}', b'{"data":{},"guid":null}',
    b'{"data":null,"guid":"quotes-1"}', b'{"requestGuid":"x"}', b'{"requestGuid":null,"httpCode":"many"}',
    b'{"opcode":"hello"}', b'{"guid":"quotes-1"}', b'"quotes-1"', b'{"data":' * 5_000,
    b'{"data":{"bid":NaN,"ask":1e999},"guid":"quotes-1"}', b'{"data":{"b":[1]},"guid":"book-2"}',
    b'{"data":{"b":{"p":1}},"guid":"book-2"}', b'{"httpCode":200}',
    b'{"requestGuid":[],"httpCode":200,"message":{}}',
]  # fmt: skip


@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_never_raises_and_the_next_frame_is_used(rubbish: bytes) -> None:
    protocol = opened(AlorMarket(), quotes(), book())

    _, notices = receive(protocol, rubbish)
    found = records(protocol, data("quotes-1", quote()))

    assert found == [(quotes(), NS, QUOTE_VALUES)]
    assert all(isinstance(notice, Unreadable) and len(notice.excerpt) <= 200 for notice in notices)
    assert notices or b"200" in rubbish


NASTY = [
    None, True, False, 0, -1, 1, 2**53 + 1, 2**63, -(2**70), 1.5, -0.0, float("nan"), float("inf"), "", " ", "x", "12",
    "1e400", "2025-08-22T08:00:00Z", "\ud800", "quotes-1", "ping-1", [], {}, [[]], [None],
    [{"p": 1, "v": 2}], [{"p": "x"}], {"p": 1}, {"httpCode": 401}, MS, SECONDS,
]  # fmt: skip
KEYS = ["bid", "bv", "tso", "tst", *"bcolvath", "id", "q", "px", "s", "bd", "st", "pxmn"]
VALUE = st.sampled_from(NASTY)
NAMED = st.tuples(
    st.sampled_from(["quotes-1", "trades-2", "book-3", "bars-4", "instruments-5"]),
    st.dictionaries(st.sampled_from(KEYS), VALUE, max_size=8),
).map(lambda drawn: {"data": drawn[1], "guid": drawn[0]})
ANYTHING = st.dictionaries(
    st.sampled_from(["data", "guid", "requestGuid", "httpCode", "message", "opcode"]), VALUE, max_size=4
)


@given(st.lists(NAMED | ANYTHING, max_size=8))
@settings(max_examples=100, deadline=None)
def test_nothing_that_a_server_says_raises(messages: list[dict[str, Any]]) -> None:
    protocol = opened(AlorMarket(), quotes(), trades(), book(), bars(), every("instruments", "SBER"))

    for message in messages:
        found, _ = protocol.receive([json.dumps(message).encode()], RECEIVED)
        protocol.tick(1.0)

        for subscription, ts, row in found:
            assert 0 < ts < 2**63
            if subscription.kind != "book":
                assert len(row) == len(subscription.fields) + (subscription.kind == "instruments")
                assert None not in row
                assert all(value.isascii() or value.encode() for value in row if isinstance(value, str))


# Refusals.


def test_refusal_names_the_symbol_and_the_stream_can_be_asked_for_again() -> None:
    protocol = AlorMarket()
    answer(protocol, begin(protocol))
    protocol.subscribe([quotes("NONE")])
    request, ping = sent(protocol)

    _, notices = receive(protocol, reply(request["guid"], 404, "Not found"), reply(ping["guid"]))
    protocol.subscribe([quotes("NONE")])

    assert by_symbol(notices)[0] == (("NONE",), "Not found")
    assert [message["opcode"] for message in sent(protocol)] == ["QuotesSubscribe", "ping"]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (404, "Not found", True),
        (400, "Unknown instrument NONE", True),
        (400, "Bad request", False),
        (403, "Portfolio D00000 not found", False),
        (429, "Too many requests: instrument NONE invalid for now", False),
        (500, "Symbol cache not found", False),
    ],
)
def test_only_a_refusal_about_the_symbol_says_that_it_is_unknown(code: int, text: str, expected: bool) -> None:
    protocol = AlorMarket()
    answer(protocol, begin(protocol))
    protocol.subscribe([quotes("NONE")])
    request, ping = sent(protocol)

    _, notices = receive(protocol, reply(request["guid"], code, text), reply(ping["guid"]))

    (refused,) = [each for each in notices if isinstance(each, Rejected)]
    assert refused.is_unknown_symbol is expected


def test_stream_without_reply_is_refused_when_its_time_ran_out_unless_it_speaks() -> None:
    protocol = AlorMarket()
    answer(protocol, begin(protocol))
    number = protocol.subscribe([quotes("A"), quotes("B")])
    speaking, _, ping = sent(protocol)
    _, early = receive(protocol, data(speaking["guid"], quote()), reply(ping["guid"]))

    late = list(protocol.tick(11.0))

    assert early == []
    assert by_symbol(late) == [(("B",), "no answer within 10 s"), Pong(number)]


def test_first_reply_opens_the_session_also_when_it_is_a_refusal() -> None:
    protocol = AlorMarket()
    protocol.subscribe([quotes("NONE")])
    request, _ = begin(protocol)

    _, notices = receive(protocol, reply(request["guid"], 404, "Not found"))

    assert by_symbol(notices) == [SessionOpened(None, is_renewal=False), (("NONE",), "Not found")]


def test_subscribing_before_there_is_a_token_waits_for_it() -> None:
    protocol = AlorMarket()

    number = protocol.subscribe([quotes()])
    silent = sent(protocol)
    asked = begin(protocol)

    assert (number, silent) == (0, [])
    assert [request["opcode"] for request in asked] == ["QuotesSubscribe", "ping"]


def test_columns_of_a_kind_that_is_not_here_are_none() -> None:
    assert AlorMarket().COLUMNS.get("orders", {}) == {}
    assert set(QUOTES) <= set(AlorMarket().COLUMNS.get("quotes", {}))


@pytest.mark.parametrize("kind", ["orders", "pnl", "news"])
def test_kind_that_is_not_here_is_refused_before_anything_is_kept(kind: Any) -> None:
    protocol = opened(AlorMarket())

    with pytest.raises(UsageError, match=kind):
        protocol.subscribe([quotes(), Subscription(kind, "D00000", ())])

    assert sent(protocol) == []
    assert begin(protocol)[:-1] == []

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aries_nb.brokers import parsing
from aries_nb.brokers.aries.charts import AriesCharts
from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.model import MarketStatus, Pong, SessionOpened, Unreadable
from tests.brokers.aries.lines import (
    FULL,
    FULL_VALUES,
    MS,
    NS,
    RECEIVED,
    answer_pings,
    auth_success,
    book,
    counts,
    event,
    frame,
    line,
    opened,
    quote,
    quotes,
    records,
    reopen,
    said,
    sale,
    sent,
    trades,
    update,
    values,
    venues,
)
from tests.brokers.refusals import by_symbol

GOOD = line(quote(**FULL))
GOOD_RECORD = (quotes(), NS, FULL_VALUES)


# Frames.


@pytest.mark.parametrize(
    "framed",
    [
        GOOD,
        GOOD + b"\n",
        b"\n\n" + GOOD + b"\n\n",
        GOOD + b"\r\n",
        b"\r\n" + GOOD + b"\r\n \t\r\n",
        b"  " + GOOD + b"  ",
    ],
)
def test_blank_lines_and_either_line_end_are_no_messages(framed: bytes) -> None:
    market = opened(quotes())

    found, notices = market.receive([framed], RECEIVED)

    assert list(found) == [GOOD_RECORD]
    assert list(notices) == []


def test_lines_of_a_frame_come_in_order() -> None:
    market = opened(quotes(), quotes("AAPL"))

    found = records(market, quote(**FULL), quote("AAPL", **FULL), quote(bidPrice=1.0))

    assert [(record[0].symbol, record[2][0]) for record in found] == [("MSFT", 501.1), ("AAPL", 501.1), ("MSFT", 1.0)]


def test_line_separators_of_unicode_inside_a_text_do_not_split_it() -> None:
    market = opened(quotes(fields=("bid_exchange",)))
    raw = json.dumps(quote(bidExchange="A\u2028B\u2029C\u0085D"), ensure_ascii=False).encode()

    found, notices = market.receive([raw + b"\n" + b"{}" + b"\n" + raw], RECEIVED)

    assert [record[2] for record in found] == [("A\u2028B\u2029C\u0085D",)] * 2
    assert len(notices) == 1


@pytest.mark.parametrize(
    "rubbish", [b"{", b"null", b"[]", b"\xff\xfe", b'{"type":"news"}', b'{"payload":{"type":"quote"}}']
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_rest_of_a_frame_is_used_when_a_line_is_bad(rubbish: bytes, place: int) -> None:
    market = opened(quotes())
    lines = [line(quote(**FULL)), line(quote(bidPrice=2.0))]
    lines.insert(place, rubbish)

    found, notices = market.receive([b"\n".join(lines)], RECEIVED)

    assert [record[2][0] for record in found] == [501.1, 2.0]
    assert [type(notice) for notice in notices] == [Unreadable]


def test_two_objects_on_one_line_are_both_used_also_when_another_line_is_bad() -> None:
    both = line(quote(**FULL)) + b" " + line(quote(bidPrice=2.0))

    alone, _ = opened(quotes()).receive([both], RECEIVED)
    with_a_bad_line, _ = opened(quotes()).receive([both + b"\nrubbish"], RECEIVED)

    assert list(alone) == list(with_a_bad_line)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x00\x01\x02",
        b"\xff" * 50,
        b"\xef\xbb\xbf",
        b'"text"',
        b"12",
        b"true",
        b"[{}]",
        b"[" + GOOD + b"]",
        b'{"type":"event","payload":' + b"\xc3\x28}",
        GOOD[:-1],
        GOOD + GOOD[:5],
    ],
)
def test_rubbish_is_counted_and_its_beginning_kept(rubbish: bytes) -> None:
    market = opened(quotes())

    _, notices = market.receive([rubbish], RECEIVED)

    assert [type(notice) for notice in notices] == [Unreadable]


def test_two_mebibytes_of_rubbish_leave_200_characters() -> None:
    market = opened(quotes())

    for rubbish in (b"x", b'"', b"\xff", b"[", b'{"token":"', b"eyJ", b'"token"'):
        _, (unreadable,) = market.receive([rubbish * (2 * 2**20 // len(rubbish))], RECEIVED)

        assert isinstance(unreadable, Unreadable)
        assert len(unreadable.excerpt) <= 200
        assert len(unreadable.reason) <= 300


def test_empty_frame_says_nothing() -> None:
    market = opened(quotes())

    assert market.receive([b""], RECEIVED) == ([], [])


def nested(template: bytes, depth: int) -> list[bytes]:
    return [
        template.replace(b"HERE", text)
        for text in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth)
    ]


@pytest.mark.parametrize(
    "template",
    [
        b"HERE",
        b'{"type":HERE}',
        b'{"type":"pong","id":HERE}',
        b'{"type":"event","payload":HERE}',
        b'{"type":"event","payload":{"action":HERE}}',
        b'{"type":"event","payload":{"action":"error","error":HERE}}',
        b'{"type":"event","payload":{"action":"authExpired","error":HERE}}',
        b'{"type":"event","payload":{"action":"authSuccess","data":HERE}}',
        b'{"type":"event","payload":{"status":HERE,"error":1}}',
        b'{"type":"event","payload":{"action":"update","type":HERE,"data":{}}}',
        b'{"type":"event","payload":{"action":"update","type":"marketStatus","data":{"exchanges":{"nyse":HERE}}}}',
        b'{"type":"event","payload":{"action":"update","type":"marketStatus","data":{"market":HERE}}}',
        b'{"type":"event","payload":{"action":"update","type":"quote","symbol":"MSFT","data":{"bidPrice":HERE}}}',
        b'{"type":"event","payload":{"action":"update","type":"quote","symbol":"MSFT","data":{"new":HERE}}}',
        b'{"type":"event","payload":{"action":"update","type":"quote","symbol":HERE,"data":{}}}',
        b'{"type":"event","payload":{"action":"update","type":"quote","symbol":"MSFT","data":{},"timestamp":HERE}}',
        b'{"type":"event","payload":{"action":"update","type":"level2","symbol":"MSFT","data":{"orderBook":HERE}}}',
    ],
)
def test_depth_of_nesting_never_raises(template: bytes) -> None:
    market = opened(quotes(), book())

    # Near the interpreter's limit the parser still gets through and what handles its result may not.
    for depth in (1, 10, *range(850, 1010, 3), 5_000, 100_000):
        for raw in nested(template, depth):
            market.receive([raw], RECEIVED)

    assert list(market.receive([GOOD], RECEIVED)[0]) == [GOOD_RECORD]


@pytest.mark.parametrize("stream", ["quote", "trade", "level2", "timeAndSales", "greeks"])
def test_symbol_without_a_subscription_is_named(stream: str) -> None:
    market = opened(quotes())
    data = {"orderBook": ["1:2:3"]} if stream == "level2" else {}

    found, notices = market.receive([line(update(stream, data, symbol="TSLA"))], RECEIVED)

    (unreadable,) = said(notices)
    assert list(found) == []
    assert counts(notices) == {("", "unasked"): 1}
    assert isinstance(unreadable, Unreadable)
    assert unreadable.reason == "a symbol that is not subscribed"
    assert "TSLA" in unreadable.excerpt


@pytest.mark.parametrize(
    ("asked", "spelled"),
    [("aapl", "AAPL"), ("BRK/B", "BRK.B"), ("BRK B", "BRK.B"), ("$SPX", "SPX"), ("brk.b", "BRK/B")],
)
def test_symbol_in_the_spelling_of_the_server_is_the_one_asked_for(asked: str, spelled: str) -> None:
    market = opened(quotes(asked), trades(asked), book(asked))

    found, notices = market.receive(
        [
            line(quote(symbol=spelled, **FULL)),
            line(sale(symbol=spelled, price="1", size="2")),
            line(update("level2", {"orderBook": ["1:2:3"]}, symbol=spelled)),
        ],
        RECEIVED,
    )

    assert [(each.kind, each.symbol) for each, _, _ in found] == [
        (kind, asked) for kind in ("quotes", "trades", "book")
    ]
    assert said(notices) == []


def test_spellings_that_differ_in_capitals_alone_are_each_requested_and_get_the_same() -> None:
    kinds = (quotes, trades, book, venues)
    market = opened(*(kind("aapl") for kind in kinds))
    market.subscribe([kind("AAPL") for kind in kinds])

    assert [[item["symbol"] for item in message["payload"]] for message in sent(market, "subscribe")] == [["AAPL"]]
    for bid_size, spelled in enumerate(("AAPL", "aapl"), 1):
        found, notices = market.receive(
            [
                line(quote(symbol=spelled, **{**FULL, "bidSize": bid_size})),
                line(sale(symbol=spelled, price="1", size="2")),
                line(update("level2", {"orderBook": ["1:2:3"], "quotes": ["X:1:2:3:4"]}, symbol=spelled)),
            ],
            RECEIVED,
        )
        got = {(each.kind, each.symbol) for each, _, _ in found}
        assert got == {(kind().kind, symbol) for kind in kinds for symbol in ("aapl", "AAPL")}
        assert said(notices) == []

    market.unsubscribe([kind("aapl") for kind in kinds])
    left, _ = market.receive([line(quote(symbol="AAPL", **FULL))], RECEIVED)
    assert [each.symbol for each, _, _ in left] == ["AAPL"]
    assert not sent(market, "unsubscribe")
    market.unsubscribe([kind("AAPL") for kind in kinds])
    assert sent(market, "unsubscribe")[-1]["payload"] == ["AAPL"]


@pytest.mark.parametrize("first", ["AAPL", "aapl"])
def test_spelling_that_is_refused_refuses_no_other(first: str) -> None:
    other = {"AAPL": "aapl", "aapl": "AAPL"}[first]
    market = opened()
    market.subscribe([quotes("MSFT"), quotes(first), quotes(other)])

    assert by_symbol(refused(market, "unknown symbol: aapl")) == [(("aapl",), "unknown symbol: aapl")]
    market.unsubscribe([quotes("aapl")])
    market.subscribe([quotes("aapl"), trades("AAPL")])
    assert [item["symbol"] for item in sent(market, "subscribe")[-1]["payload"]] in (["AAPL", "aapl"], ["aapl", "AAPL"])
    assert not sent(market, "unsubscribe")
    found, _ = market.receive([line(quote(symbol="AAPL", **FULL))], RECEIVED)
    assert {each.symbol for each, _, _ in found} == {"aapl", "AAPL"}


def test_symbols_of_the_same_letters_are_not_taken_for_each_other() -> None:
    market = opened(quotes("BRK.B"), quotes("BRK/B"))

    exact, _ = market.receive([line(quote(symbol="BRK.B", **FULL))], RECEIVED)
    other, notices = market.receive([line(quote(symbol="BRKB", **FULL))], RECEIVED)

    assert [each.symbol for each, _, _ in exact] == ["BRK.B"]
    assert list(other) == []
    assert counts(notices) == {("", "unasked"): 1}


def test_spelling_is_looked_up_again_when_symbols_change() -> None:
    market = opened(quotes("aapl"))
    market.receive([line(quote(symbol="AAPL", **FULL))], RECEIVED)

    market.unsubscribe([quotes("aapl")])
    gone, _ = market.receive([line(quote(symbol="AAPL", **FULL))], RECEIVED)
    market.subscribe([quotes("Aapl")])
    back, _ = market.receive([line(quote(symbol="AAPL", **FULL))], RECEIVED)

    assert list(gone) == []
    assert [each.symbol for each, _, _ in back] == ["Aapl"]


@pytest.mark.parametrize("connection", [AriesMarket, AriesCharts])
def test_work_for_a_symbol_does_not_grow_with_the_number_of_symbols(
    connection: type[AriesMarket | AriesCharts], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    letters = parsing._letters
    monkeypatch.setattr(parsing, "_letters", lambda symbol: looked_at.append(symbol) or letters(symbol))
    protocol, many = connection(), [quotes(f"S{number}") for number in range(500)]

    protocol.subscribe(many)
    protocol.unsubscribe(many)

    assert len(looked_at) <= 4 * len(many)


def test_more_of_a_symbol_than_was_asked_for_is_no_noise() -> None:
    market = opened(quotes())

    found = records(
        market,
        update("trade", {"lastPrice": 1.0}),
        update("level2", {"orderBook": ["1:2:3"]}),
        sale(price="1", size="2"),
        update("greeks", {"delta": 1.0}),
        quote(spread=0.1),
        quote(),
    )

    assert found == []


def test_update_just_after_unsubscribe_is_no_noise() -> None:
    market = opened(quotes(), book(), trades())

    market.unsubscribe([quotes(), book(), trades()])

    late = (quote(**FULL), update("level2", {"orderBook": ["1:2:3"]}), sale(price="1"))
    assert records(market, *late) == []


def test_updates_that_go_on_after_the_server_saw_the_unsubscribe_are_noise() -> None:
    market = opened(quotes())
    market.unsubscribe([quotes()])
    market.subscribe([])
    answer_pings(market)

    _, notices = market.receive([GOOD], RECEIVED)

    assert [type(notice) for notice in said(notices)] == [Unreadable]


def test_pong_to_a_ping_from_before_an_unsubscribe_proves_nothing() -> None:
    market = opened(quotes())
    market.subscribe([])
    market.unsubscribe([quotes()])
    answer_pings(market)

    assert records(market, quote(**FULL)) == []


# Merging.


def test_absent_field_is_unchanged_and_null_is_missing() -> None:
    market = opened(quotes())

    merged = values(market, quote(**FULL), quote(bidSize=1), quote(askPrice=None), quote(askSize=2))

    expected = [FULL_VALUES, (501.1, 1, 501.14, 200), (501.1, 1, math.nan, 200), (501.1, 1, math.nan, 2)]
    assert merged == [pytest.approx(each, nan_ok=True) for each in expected]


def test_field_that_never_came_is_missing() -> None:
    fields = ("bid_price", "bid_exchange", "bid_timestamp", "last_price", "delta")
    market = opened(quotes(fields=fields))

    (merged,) = values(market, quote(bidPrice=1.0))

    assert merged == pytest.approx((1.0, "", -(2**63), math.nan, math.nan), nan_ok=True)


def test_quote_trade_and_greeks_of_a_symbol_become_one_row() -> None:
    market = opened(quotes(fields=("bid_price", "ask_price", "last_price", "delta", "rho")))

    merged = values(
        market,
        quote(bidPrice=1.0, askPrice=2.0),
        update("trade", {"lastPrice": 3.0}),
        update("greeks", {"rho": 5.0, "delta": 4.0}),
        quote(askPrice=2.5),
    )

    assert merged[-2:] == [(1.0, 2.0, 3.0, 4.0, 5.0), (1.0, 2.5, 3.0, 4.0, 5.0)]


def test_time_is_that_of_the_kind_of_event_then_the_payload_s_then_of_receipt() -> None:
    market = opened(quotes(fields=("bid_price", "last_price", "delta")), trades())

    found = records(
        market,
        update("quote", {"bidPrice": 1.0, "quoteTimestamp": MS + 1}, timestamp=MS),
        update("trade", {"lastPrice": 1.0, "tradeTimestamp": MS + 2}, timestamp=MS),
        update("timeAndSales", {"price": "1", "tradeTimestamp": str(MS + 3)}, timestamp=MS),
        update("greeks", {"delta": 1.0}, timestamp=MS),
        update("quote", {"bidPrice": 2.0}, timestamp=MS),
        quote(bidPrice=3.0),
    )

    expected = [NS + 1_000_000, NS + 2_000_000, NS + 3_000_000, NS, NS, RECEIVED]
    assert [record[1] for record in found] == expected


def test_times_among_the_fields_are_in_nanoseconds() -> None:
    market = opened(quotes(fields=("bid_price", "bid_timestamp", "trade_timestamp")))

    merged = values(market, quote(bidPrice=1.0, bidTimestamp=MS), update("trade", {"tradeTimestamp": MS + 1}))

    assert merged == [(1.0, NS, -(2**63)), (1.0, NS, NS + 1_000_000)]


def test_update_that_changes_nothing_is_a_row_all_the_same() -> None:
    market = opened(quotes())

    merged = values(market, quote(**FULL), quote(**FULL))

    assert merged == [FULL_VALUES, FULL_VALUES]


# Subscribing.


def subscribed(market: AriesMarket) -> list[list[dict[str, Any]]]:
    return [request["payload"] for request in sent(market, "subscribe")]


def test_only_what_is_needed_is_asked_for_and_the_times() -> None:
    market = opened()

    market.subscribe([quotes(fields=("bid_price", "ask_exchange", "last_price"))])

    (payload,) = subscribed(market)
    expected = {
        "symbol": "MSFT",
        "quoteFields": ["askExchange", "bidPrice", "quoteTimestamp"],
        "tradeFields": ["lastPrice", "tradeTimestamp"],
    }
    assert payload == [expected]


def test_each_kind_is_asked_for_by_its_own_option() -> None:
    market = opened()

    market.subscribe([trades(fields=("price", "side", "trade_id", "venue")), book("AAPL")])
    market.subscribe([quotes("MSFT261218C00500000", fields=("delta",))])

    tape = ["price", "tradeExchange", "tradeSeq", "tradeTimestamp"]
    assert subscribed(market) == [
        [{"symbol": "MSFT", "timeAndSales": True, "timeAndSalesFields": tape}, {"symbol": "AAPL", "level2": True}],
        [{"symbol": "MSFT261218C00500000", "symbolType": "option", "greeksFields": ["delta"]}],
    ]


def test_request_has_an_id_and_a_ping_behind_it_whose_number_is_returned() -> None:
    market = opened()

    number = market.subscribe([quotes()])

    request, ping = sent(market)
    assert (request["type"], ping["type"]) == ("subscribe", "ping")
    assert isinstance(request["id"], str)
    _, notices = market.receive([line({"type": "pong", "id": ping["id"]})], RECEIVED)
    assert list(notices) == [Pong(number)]


def test_second_view_of_a_covered_symbol_asks_for_nothing() -> None:
    market = opened(quotes())

    market.subscribe([quotes(), quotes(fields=("bid_price",)), quotes(fields=("bid_size", "ask_price"))])

    assert subscribed(market) == []


def test_more_fields_ask_for_the_new_ones_only() -> None:
    market = opened(quotes())

    market.subscribe([quotes(fields=("bid_price", "spread", "last_price"))])

    (payload,) = subscribed(market)
    assert payload == [{"symbol": "MSFT", "quoteFields": ["spread"], "tradeFields": ["lastPrice", "tradeTimestamp"]}]


def test_another_kind_of_a_symbol_asks_for_that_kind_only() -> None:
    market = opened(quotes())

    market.subscribe([book()])

    assert subscribed(market) == [[{"symbol": "MSFT", "level2": True}]]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])])
def test_no_request_names_more_than_a_hundred_symbols(count: int, sizes: list[int]) -> None:
    market = opened()

    market.subscribe([quotes(f"S{number}") for number in range(count)])

    payloads = subscribed(market)
    assert [len(payload) for payload in payloads] == sizes
    assert [item["symbol"] for payload in payloads for item in payload] == [f"S{number}" for number in range(count)]


def test_second_view_starts_with_what_is_known() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))

    market.subscribe([quotes(fields=("bid_price", "ask_price"))])

    found = records(market, quote(bidSize=5))
    assert found == [
        (quotes(fields=("bid_price", "ask_price")), NS, (501.1, 501.14)),
        (quotes(), RECEIVED, (501.1, 5.0, 501.14, 200.0)),
    ]


def test_second_view_that_was_given_up_and_made_again_starts_once() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))
    again = quotes(fields=("bid_price",))

    market.subscribe([again])
    market.unsubscribe([again])
    market.subscribe([again])

    assert records(market) == [(again, NS, (501.1,))]


def test_view_of_the_quotes_does_not_start_with_a_print() -> None:
    market = opened(trades())
    records(market, sale(price="5", size="6"))

    market.subscribe([quotes(fields=("price", "size"))])

    assert records(market) == []


def test_second_view_made_while_nothing_has_come_starts_empty() -> None:
    market = opened(quotes())

    market.subscribe([quotes(fields=("bid_price",))])

    assert records(market) == []


# Unsubscribing.


def unsubscribed(market: AriesMarket) -> list[list[Any]]:
    return [request["payload"] for request in sent(market, "unsubscribe")]


def test_last_view_ends_the_symbol() -> None:
    market = opened(quotes(), book(), trades())

    market.unsubscribe([quotes(), book(), trades()])

    assert unsubscribed(market) == [["MSFT"]]


def test_symbols_given_up_together_go_in_one_request() -> None:
    market = opened(quotes(), quotes("AAPL"), book("TSLA"), quotes("TSLA"))

    market.unsubscribe([quotes(), quotes("AAPL"), book("TSLA")])

    assert unsubscribed(market) == [["MSFT", "AAPL", {"symbol": "TSLA", "level2": True}]]


@pytest.mark.parametrize(
    ("gone", "left", "item"),
    [
        (quotes(fields=("bid_price", "spread")), quotes(), {"quoteFields": ["spread"]}),
        (quotes(fields=("bid_price", "last_price")), quotes(), {"trade": True}),
        (quotes(fields=("last_price",)), quotes(fields=("price",)), {"tradeFields": ["lastPrice"]}),
        (quotes(fields=("delta", "rho")), quotes(fields=("rho",)), {"greeksFields": ["delta"]}),
        (quotes(fields=("bid_price", "rho")), quotes(), {"greeks": True}),
        (quotes(), book(), {"quote": True}),
        (book(), quotes(), {"level2": True}),
        (trades(), quotes(), {"timeAndSales": True}),
    ],
)
def test_what_another_view_needs_goes_on(gone: Any, left: Any, item: dict[str, Any]) -> None:
    market = opened(gone, left)

    market.unsubscribe([gone])

    assert unsubscribed(market) == [[{"symbol": "MSFT", **item}]]


def test_view_that_was_covered_by_another_ends_in_silence() -> None:
    market = opened(quotes(), quotes(fields=("bid_price",)))

    market.unsubscribe([quotes(fields=("bid_price",))])

    assert sent(market) == []


def test_fewer_fields_of_the_tape_never_end_the_symbol() -> None:
    # There is no way to drop single fields of time & sales, and an item that names the symbol alone drops everything.
    market = opened(trades(), trades(fields=("price", "venue")))

    market.unsubscribe([trades(fields=("price", "venue"))])

    assert unsubscribed(market) == []
    assert values(market, sale(price="1", size="2", tradeSeq="3")) == [(1.0, 2.0, 3)]


def test_unknown_subscription_is_given_up_in_silence() -> None:
    market = opened()

    market.unsubscribe([quotes(), book("AAPL")])

    assert sent(market) == []


def test_nothing_is_delivered_to_a_view_that_ended() -> None:
    market = opened(quotes(), quotes(fields=("bid_price",)), book(), trades())

    market.unsubscribe([quotes(fields=("bid_price",)), book(), trades()])

    late = (quote(**FULL), update("level2", {"orderBook": ["1:2:3"]}), sale(price="1"))
    assert records(market, *late) == [GOOD_RECORD]


def test_symbol_given_up_and_wanted_again_is_asked_for_again() -> None:
    market = opened(quotes())
    market.unsubscribe([quotes()])
    sent(market)

    market.subscribe([quotes()])

    (payload,) = subscribed(market)
    assert [item["symbol"] for item in payload] == ["MSFT"]


# Reconnecting.


def test_everything_is_asked_for_once_after_open_and_authentication() -> None:
    market = AriesMarket()
    number = market.subscribe([quotes(), book(), quotes("AAPL"), trades("AAPL")])
    before = market.outgoing()

    messages = reopen(market)
    market.receive([line(auth_success())], RECEIVED)

    assert number == 0
    assert list(before) == []
    assert [message["type"] for message in messages] == ["subscribe", "ping"]
    assert [sorted(item) for item in messages[0]["payload"]] == [
        ["level2", "quoteFields", "symbol"],
        ["quoteFields", "symbol", "timeAndSales", "timeAndSalesFields"],
    ]
    assert sent(market) == []


def test_everything_is_asked_for_again_on_each_connection() -> None:
    market = opened(quotes(fields=("bid_price", "last_price")), trades(), book("AAPL"))

    first, second = reopen(market), reopen(market)

    assert [message["payload"] for message in first if message["type"] == "subscribe"] == [
        message["payload"] for message in second if message["type"] == "subscribe"
    ]
    assert len(first[0]["payload"]) == 2


def test_what_was_given_up_while_the_connection_was_down_is_not_asked_for_again() -> None:
    market = opened(quotes(), quotes("AAPL"))
    market.open(0.0)

    market.unsubscribe([quotes()])

    assert list(market.outgoing()) == []
    market.receive([line(auth_success())], RECEIVED)
    assert [item["symbol"] for item in subscribed(market)[0]] == ["AAPL"]


@pytest.mark.parametrize("fields", [("bid_price", "bid_size", "ask_price", "ask_size"), ("bid_price", "last_price")])
@pytest.mark.parametrize("trade_is_newer", [True, False])
def test_snapshot_that_repeats_the_last_row_gives_no_second_one(
    fields: tuple[str, ...], *, trade_is_newer: bool
) -> None:
    events = [quote(**FULL), update("trade", {"lastPrice": 3.0, "tradeTimestamp": MS + (5 if trade_is_newer else -5)})]
    market = opened(quotes(fields=fields))
    before = records(market, *events)

    reopen(market)
    again = records(market, *events)
    after = values(market, quote(bidPrice=2.0))

    assert before != []
    assert again == []
    assert after == [(2.0, *before[-1][2][1:])]


@pytest.mark.parametrize("change", [{"bidPrice": 7.0}, {"quoteTimestamp": MS + 1}])
def test_snapshot_that_differs_gives_a_row(change: dict[str, Any]) -> None:
    market = opened(quotes())
    records(market, quote(**FULL))

    reopen(market)
    again = records(market, quote(**FULL | change))

    assert len(again) == 1


def test_what_a_snapshot_repeats_completes_a_row_that_was_emitted_without_it() -> None:
    fields = quotes(fields=("bid_price", "last_price"))
    trade = update("trade", {"lastPrice": 3.0, "tradeTimestamp": MS})
    market = opened(fields)
    records(market, quote(**FULL), trade)

    reopen(market)
    again = values(market, quote(**FULL | {"bidPrice": 7.0}), trade)

    assert again == [pytest.approx((7.0, math.nan), nan_ok=True), (7.0, 3.0)]


def test_snapshot_behind_a_request_for_more_fields_gives_no_second_row() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))
    more = quotes(fields=("bid_price", "spread"))

    market.subscribe([more])
    found = records(market, quote(**FULL, spread=0.5))

    assert found == [(more, NS, (501.1, 0.5))]


def test_snapshot_behind_a_request_for_another_kind_gives_no_second_row() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))

    market.subscribe([book()])

    assert records(market, quote(**FULL)) == []
    assert len(records(market, quote(**FULL))) == 1


def test_repetition_is_news_once_the_snapshot_must_have_come() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))
    market.subscribe([book()])
    answer_pings(market)

    assert records(market, quote(**FULL)) == [GOOD_RECORD]


def test_second_break_compares_with_the_row_before_it() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))
    reopen(market)
    changed = FULL | {"bidPrice": 7.0}
    records(market, quote(**changed))

    reopen(market)

    assert records(market, quote(**changed)) == []
    reopen(market)
    assert len(records(market, quote(**FULL))) == 1


def test_no_value_from_before_a_break_passes_for_fresh() -> None:
    market = opened(quotes(), quotes(fields=("bid_price", "bid_exchange", "last_price")))
    records(market, quote(**FULL, bidExchange="Q"), update("trade", {"lastPrice": 3.0}))

    reopen(market)
    found = values(market, quote(bidSize=1), quote(askSize=2), update("trade", {"lastPrice": 4.0}))

    nan = math.nan
    expected = [(nan, 1, nan, nan), (nan, 1, nan, 2), (nan, "", 4.0)]
    assert found == [pytest.approx(each, nan_ok=True) for each in expected]


def test_view_made_after_a_break_does_not_start_with_what_was_before_it() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))
    market.open(0.0)

    market.subscribe([quotes(fields=("bid_price",))])
    market.receive([line(auth_success())], RECEIVED)

    assert records(market) == []


def test_view_made_just_before_a_break_does_not_start_with_what_was_before_it() -> None:
    market = opened(quotes())
    records(market, quote(**FULL))
    market.subscribe([quotes(fields=("bid_price",))])
    market.open(0.0)

    found, notices = market.receive([line(auth_success())], RECEIVED)

    assert list(found) == []
    assert list(notices) == [SessionOpened(None, is_renewal=False)]


def test_prints_go_on_after_a_break() -> None:
    market = opened(trades())
    values(market, sale(price="1", size="2", tradeSeq="3"))

    reopen(market)
    after = values(market, sale(price="4", tradeSeq="5"))

    assert after == [pytest.approx((4.0, math.nan, 5), nan_ok=True)]


def test_print_that_a_server_repeats_behind_a_request_gives_no_second_row() -> None:
    last = sale(price="1", size="2", tradeSeq="3", tradeTimestamp=str(MS))
    market = opened(trades())
    values(market, last)

    reopen(market)

    assert records(market, last) == []


@pytest.mark.parametrize("fields", [("price", "size"), ("price", "size", "trade_id")])
def test_prints_alike_without_a_number_are_never_taken_for_one(fields: tuple[str, ...]) -> None:
    last = sale(price="1", size="2", tradeTimestamp=str(MS))
    market = opened(trades(fields=fields))
    values(market, last)

    market.subscribe([quotes()])

    assert len(records(market, last, last)) == 2


# Refusals.


def refused(market: AriesMarket, reason: str, *, code: int = 404) -> list[Any]:
    (request,) = sent(market, "subscribe")
    _, notices = market.receive([line(event("error", error=reason, status=code, id=request["id"]))], RECEIVED)
    return list(notices)


def test_refusal_names_the_symbols_that_its_text_names() -> None:
    market = opened()
    market.subscribe([quotes("AAPL"), quotes("NOPE"), quotes("NIX")])

    said = refused(market, "unknown symbols: NOPE, NIX")

    assert by_symbol(said) == [(("NOPE", "NIX"), "unknown symbols: NOPE, NIX")]


def test_refusal_may_name_a_symbol_in_capitals() -> None:
    market = opened()
    market.subscribe([quotes("aapl"), quotes("nope")])

    assert by_symbol(refused(market, "unknown symbol NOPE")) == [(("nope",), "unknown symbol NOPE")]


def test_refusal_that_names_none_is_about_all_of_the_request() -> None:
    market = opened()
    market.subscribe([quotes("AAPL"), quotes("MSFT")])

    said = refused(market, "too many symbols")

    assert by_symbol(said) == [(("AAPL", "MSFT"), "too many symbols")]


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("unknown symbol BRK.B", ("BRK.B",)),
        ("unknown symbol BRK", ("BRK",)),
        ("BRK.", ("BRK",)),
        ("BRK.B and BRK", ("BRK", "BRK.B")),
        ("BRKX", ("BRK", "BRK.B", "B")),
        ("'B' is not known", ("B",)),
    ],
)
def test_symbol_inside_another_word_is_not_named(reason: str, named: tuple[str, ...]) -> None:
    market = opened()
    market.subscribe([quotes("BRK"), quotes("BRK.B"), quotes("B")])

    (said,) = refused(market, reason)

    assert [each.symbol for each in said.subscriptions] == list(named)


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("A symbol is unknown: NOPE", ("NOPE",)),
        ("NO DATA ON NOPE", ("NOPE",)),
        ("A limit on the connection: NOPE. Ask for ALL symbols at a time", ("NOPE",)),
        ("IT IS NOT ALLOWED TO ASK FOR ALL OF THIS", ("A", "ON", "ALL", "IT", "NOPE")),
        ("A request was refused", ("A", "ON", "ALL", "IT", "NOPE")),
        ("unknown symbols: A, NOPE, ON", ("A", "ON", "NOPE")),
        ("unknown symbols: A NOPE ON", ("A", "ON", "NOPE")),
        ("unknown symbol A", ("A",)),
        ("unknown symbol A.", ("A",)),
        ("symbol ON is unknown", ("ON",)),
        ("'A' is not known", ("A",)),
        ("ON: unknown", ("ON",)),
        ("no rights for IT", ("IT",)),
        ("NOPE and ALL", ("ALL", "NOPE")),
    ],
)
def test_a_word_of_the_sentence_is_no_symbol(reason: str, named: tuple[str, ...]) -> None:
    market = opened()
    market.subscribe([quotes("A"), quotes("ON"), quotes("ALL"), quotes("IT"), quotes("NOPE")])

    (said,) = refused(market, reason)

    assert [each.symbol for each in said.subscriptions] == list(named)


def test_refusal_of_one_stream_leaves_the_others_of_its_symbol_running() -> None:
    market = opened(quotes("MSFT"))
    sent(market)
    market.subscribe([book("MSFT")])
    refused(market, "no level 2 rights: MSFT")

    market.unsubscribe([book("MSFT")])
    kept = unsubscribed(market)
    market.unsubscribe([quotes("MSFT")])

    assert (kept, unsubscribed(market)) == ([], [["MSFT"]])


def test_refusal_of_more_fields_leaves_those_that_run() -> None:
    market = opened(quotes("MSFT", ("bid_price",)))
    sent(market)
    market.subscribe([quotes("MSFT", ("ask_price",))])
    refused(market, "too many fields: MSFT")

    market.subscribe([quotes("MSFT", ("ask_size",))])

    (request,) = sent(market, "subscribe")
    assert request["payload"] == [{"symbol": "MSFT", "quoteFields": ["askPrice", "askSize"]}]


def test_refusal_before_the_pong_of_its_request() -> None:
    market = opened()
    number = market.subscribe([quotes("NOPE")])
    request, ping = sent(market)

    _, said = market.receive(
        [frame(event("error", error="unknown symbol NOPE", id=request["id"]), {"type": "pong", "id": ping["id"]})],
        RECEIVED,
    )

    assert by_symbol(said) == [(("NOPE",), "unknown symbol NOPE"), Pong(number)]


def test_refused_symbol_is_asked_for_again_when_it_is_wanted_again() -> None:
    market = opened()
    market.subscribe([quotes("NOPE")])
    refused(market, "unknown symbol NOPE")
    market.unsubscribe([quotes("NOPE")])
    assert unsubscribed(market) == []

    market.subscribe([quotes("NOPE")])

    assert [item["symbol"] for item in subscribed(market)[0]] == ["NOPE"]


def test_number_of_requests_remembered_is_bounded() -> None:
    market = opened()
    for _ in range(3_000):
        market.subscribe([quotes()])
        market.unsubscribe([quotes()])
        market.outgoing()

    market.subscribe([quotes("NOPE")])

    assert len(market._requests) <= 1_000
    assert by_symbol(refused(market, "unknown symbol")) == [(("NOPE",), "unknown symbol")]


# Level 2.


def depth(*rows: Any, **payload: Any) -> dict[str, Any]:
    return update("level2", {"orderBook": list(rows)}, **payload)


def test_level_2_rows_come_as_price_bid_and_ask_size() -> None:
    market = opened(book())

    found = records(market, depth("0:501.10:700", "200:501.14:0", timestamp=MS), depth("0,501.10,0"))

    assert found == [
        (book(), NS, (501.1, 700.0, 0.0, 501.14, 0.0, 200.0)),
        (book(), RECEIVED, (501.1, 0.0, 0.0)),
    ]


@pytest.mark.parametrize(
    "row",
    ["", ":", "1:2", "1:2:3:4", "a:b:c", "1,2:3", "nan:1:2", "1:nan:2", "1:2:nan", "inf:1:2", "1:-inf:2", "1:1e999:2"],
)
def test_bad_level_2_row_is_named_and_the_others_are_used(row: str) -> None:
    market = opened(book())

    (record,), (unreadable,) = market.receive([line(depth("5:3.0:4", row, "0:2.0:1"))], RECEIVED)

    assert record[2] == (3.0, 4.0, 5.0, 2.0, 1.0, 0.0)
    assert isinstance(unreadable, Unreadable)
    assert unreadable.excerpt == row


def test_update_of_bad_level_2_rows_alone_is_no_update() -> None:
    market = opened(book())

    found, notices = market.receive([line(depth("rubbish", "nan:nan:nan"))], RECEIVED)

    assert list(found) == []
    assert len(said(notices)) == 2
    assert counts(notices) == {("book", "unreadable"): 1}


def test_level_2_without_rows_of_ours_says_nothing() -> None:
    market = opened(book())

    found = records(market, update("level2", {"quotes": ["ARCX:501.14:200:501.09:400"]}), update("level2", {}))

    assert found == []


# Market status.


def test_market_status_needs_no_subscription() -> None:
    market = opened()

    _, said = market.receive([line(event("update", type="marketStatus", data={"market": "open"}))], RECEIVED)

    assert list(said) == [MarketStatus((("market", "open"),))]


@pytest.mark.parametrize(
    ("said", "expected"),
    [(False, False), ("true", True), ("False", False), (5, 5), (0.5, 0.5), (10**30, "1" + "0" * 30), ("open", "open")],
)
def test_market_status_holds_values_under_names_in_snake_case(said: object, expected: object) -> None:
    market = opened()
    data = {"indicesGroups": {"S_AND_P": said}, "afterHours": said, "currencies": {"fxSpot": said}}

    _, (status,) = market.receive([line(event("update", type="marketStatus", data=data))], RECEIVED)

    assert isinstance(status, MarketStatus)
    assert [name for name, _ in status.entries] == ["indices_groups.s_and_p", "after_hours", "currencies.fx_spot"]
    assert all(value == expected and type(value) is type(expected) for _, value in status.entries)


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])  # of 1 s
def test_the_time_of_a_market_status_is_read_in_any_unit(unit: int) -> None:
    market = opened()
    message = event("update", type="marketStatus", data={"market": "open"})
    message["payload"]["timestamp"] = 1_772_463_845 * unit

    _, (status,) = market.receive([line(message)], RECEIVED)

    assert status == MarketStatus((("market", "open"),), 1_772_463_845 * 10**9)


def test_market_status_is_bounded() -> None:
    market = opened()
    data = {f"k{number}": "x" * 10_000 for number in range(1_000)} | {"k" * 10_000: {"y" * 10_000: 1}}

    _, (status,) = market.receive([line(event("update", type="marketStatus", data=data))], RECEIVED)

    assert isinstance(status, MarketStatus)
    assert len(status.entries) == 100
    assert all(len(str(text)) <= 500 for entry in status.entries for text in entry)


# Whatever a peer sends.

REAL = [
    line(quote(**FULL)),
    line(update("trade", {"lastPrice": 1.5, "tradeTimestamp": MS, "tick": "+"}, timestamp=MS)),
    line(sale(price="1.5", size="20", tradeSeq="7", tradeTimestamp=str(MS), symbol="MSFT")),
    line(depth("0:501.10:700", "200:501.14:0", timestamp=MS)),
    line(update("greeks", {"delta": 0.5})),
    line(event("update", type="marketStatus", data={"market": "open", "exchanges": {"nyse": "open"}})),
    line(auth_success(expiresIn=2_700_000)),
    line(event("error", error="unknown symbol MSFT", id="subscribe-2")),
    line(event("refreshAuth", data={"expiresIn": 300_000})),
    line({"type": "pong", "id": "ping-3"}),
    line({"type": "response", "id": "auth-1", "payload": {"status": 200}}),
]
EVERYTHING = (
    quotes(fields=("bid_price", "bid_exchange", "bid_timestamp", "last_price", "delta")),
    quotes(),
    trades(),
    book(),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def writable(record: Any) -> bool:
    subscription, ts, merged = record
    if not 0 < ts < 2**63:
        return False
    for value in merged:
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return False
    return subscription.kind == "book" or len(merged) == len(subscription.fields)


def check(market: AriesMarket, raw: bytes) -> None:
    found, notices = market.receive([raw], RECEIVED)

    assert all(writable(record) for record in found)
    for notice in notices:
        if isinstance(notice, Unreadable):
            assert len(notice.excerpt) <= 200
            (notice.reason + notice.excerpt).encode()


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_no_bytes_ever_raise(raw: bytes) -> None:
    check(opened(*EVERYTHING), raw)


@given(
    st.lists(
        st.tuples(st.sampled_from(REAL), st.integers(0, 300), st.integers(0, 20), st.binary(max_size=6)), max_size=4
    )
)
@settings(max_examples=100)
def test_no_mutilated_message_ever_raises(cuts: list[tuple[bytes, int, int, bytes]]) -> None:
    market = opened(*EVERYTHING)

    check(market, b"\n".join(raw[:at] + instead + raw[at + gone :] for raw, at, gone, instead in cuts))
    reopen(market)
    check(market, b"\n".join(REAL))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


PLACES = [(raw, place) for raw in REAL for place in places(json.loads(raw)) if place]


@given(st.lists(st.tuples(st.sampled_from(PLACES), json_values), min_size=1, max_size=4))
@settings(max_examples=120)
@example([((REAL[0], ("payload", "action")), [])])
@example([((REAL[7], ("payload", "error")), {"a": [1]})])
def test_no_value_in_any_place_of_a_message_ever_raises(
    changes: list[tuple[tuple[bytes, tuple[Any, ...]], Any]],
) -> None:
    market = opened(*EVERYTHING)
    lines = []
    for (raw, place), value in changes:
        message = json.loads(raw)
        inner = message
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        lines.append(line(message))

    check(market, b"\n".join(lines))
    market.tick(1.0)
    reopen(market)
    check(market, b"\n".join(REAL))


def test_sixty_unknown_symbols_of_one_request_are_all_named() -> None:
    names = [f"UNKNOWN{number:02d}" for number in range(60)]
    market = opened()
    market.subscribe([quotes(name) for name in ["AAPL", *names]])
    (request,) = sent(market, "subscribe")

    text = "unknown symbols: " + ", ".join(names)
    error = {"type": "event", "payload": {"action": "error", "error": text, "id": request["id"]}}
    _, (rejected,) = market.receive([line(error)], RECEIVED)

    assert [each.symbol for each in rejected.subscriptions] == names
    assert rejected.is_unknown_symbol
    assert len(rejected.reason) <= 200


# The middle and the spread.

MIDDLE = ("mid_price", "spread")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"bidPrice": 500, "askPrice": 500.5, "midPrice": 500.25, "spread": 0.5}, (500.25, 0.5)),
        ({"bidPrice": 0, "askPrice": 500.5, "midPrice": 250.25, "spread": 500.5}, (math.nan, math.nan)),
        ({"bidPrice": 500, "askPrice": None, "midPrice": 250, "spread": -500}, (math.nan, math.nan)),
        ({"bidPrice": 0.01, "askPrice": 199_999.99, "midPrice": 100_000, "spread": 199_999.98}, (math.nan, math.nan)),
        ({"bidPrice": 500.5, "askPrice": 500, "midPrice": 500.25, "spread": -0.5}, (math.nan, -0.5)),
        ({"bidPrice": 500.1, "askPrice": 500.3}, (500.2, 0.2)),
        ({"midPrice": 500.25, "spread": 0.5}, (math.nan, math.nan)),
    ],
)
def test_middle_and_spread_are_those_of_two_sides_that_are_prices(
    data: dict[str, Any], expected: tuple[float, float]
) -> None:
    market = opened(quotes(fields=MIDDLE))

    assert values(market, quote(**data)) == [pytest.approx(expected, nan_ok=True)]


def test_a_side_that_vanishes_alone_takes_the_middle_with_it_and_brings_it_back() -> None:
    market = opened(quotes(fields=MIDDLE))
    sides = {"bidPrice": 500.0, "askPrice": 500.5}

    assert values(market, quote(**sides, midPrice=500.25, spread=0.5)) == [(500.25, 0.5)]
    assert values(market, quote(askPrice=0.0)) == [pytest.approx((math.nan, math.nan), nan_ok=True)]
    found, notices = market.receive([line(quote(askPrice=0.0))], RECEIVED)
    assert (list(found), counts(notices)) == ([], {("quotes", "rowless"): 1})
    assert values(market, quote(askPrice=500.5)) == [(500.25, 0.5)]

    reopen(market)
    assert values(market, quote(midPrice=500.25)) == [pytest.approx((math.nan, math.nan), nan_ok=True)]


def test_a_side_that_ends_by_its_size_alone_has_no_price_until_its_size_is_another() -> None:
    sizes = ("bid_price", "bid_size", "ask_price", "ask_size")
    market = opened(quotes(fields=sizes), quotes(fields=MIDDLE))
    told = {"bidPrice": 500.0, "bidSize": 100, "askPrice": 500.5, "askSize": 200, "midPrice": 500.25, "spread": 0.5}

    whole = values(market, quote(**told))
    gone = values(market, quote(askSize=0))
    bid = values(market, quote(bidSize=300))
    back = values(market, quote(askSize=100))

    nan = math.nan
    assert whole == [(500.0, 100, 500.5, 200), (500.25, 0.5)]
    assert gone == [pytest.approx((500.0, 100, nan, 0), nan_ok=True), pytest.approx((nan, nan), nan_ok=True)]
    assert bid == [pytest.approx((500.0, 300, nan, 0), nan_ok=True)]
    assert back == [(500.0, 300, 500.5, 100), (500.25, 0.5)]


def test_sides_that_join_a_middle_before_any_quote_wait_for_it() -> None:
    market = opened(quotes(fields=MIDDLE), quotes(fields=("bid_price", "bid_size", "ask_price", "ask_size")))

    assert len(values(market, quote(bidPrice=500.0, bidSize=100))) == 1


def test_who_joins_a_quote_without_an_ask_gets_none() -> None:
    fields = ("bid_price", "bid_size", "ask_price", "ask_size")
    market = opened(quotes(fields=fields))
    values(market, quote(bidPrice=500.0, bidSize=100, askPrice=500.5, askSize=200))
    values(market, quote(askSize=0))

    joined = quotes(fields=("ask_price", "ask_size"))
    market.subscribe([joined])
    found, _ = market.receive([], RECEIVED)

    assert [record[2] for record in found if record[0] == joined] == [pytest.approx((math.nan, 0), nan_ok=True)]


def test_a_middle_that_joins_a_running_quote_knows_its_sides() -> None:
    market = opened(quotes())
    values(market, quote(**FULL))

    market.subscribe([quotes(fields=MIDDLE)])

    assert sent(market, "subscribe")[0]["payload"] == [{"symbol": "MSFT", "quoteFields": ["midPrice", "spread"]}]
    assert (501.12, 0.04) in values(market, quote(midPrice=501.12, spread=0.04))

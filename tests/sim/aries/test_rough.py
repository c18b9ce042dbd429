from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from aries_nb.sim.market.instruments import EQUITIES
from aries_nb.sim.market.options import Contract
from aries_nb.sim.market.rough import EXTREME_SIZES, STUB_ASK, STUB_BID
from tests.sim.rough import NOW, AriesSample

DAY_MS = 86_400_000


@pytest.mark.parametrize("trouble", ["late_prints", "stub_quotes", "halts", "missing_sides"])
def test_trouble_shows_within_a_minute_at_the_default_rate(trouble):
    troubled = AriesSample("AAPL", rough=trouble, rough_seconds=20.0)
    kind = AriesSample("AAPL")

    troubled.advance(15), kind.advance(15)

    assert troubled.lines != kind.lines


def test_same_seed_gives_the_same_troubles():
    first, second = (AriesSample("AAPL", rough=True) for _ in range(2))

    first.advance(), second.advance()

    assert first.lines == second.lines


def test_market_without_troubles_is_the_kind_one_byte_for_byte():
    kind, other = AriesSample("AAPL"), AriesSample("AAPL", rough=[], rough_seconds=1.0)

    kind.advance(20), other.advance(20)

    assert kind.lines == other.lines


def test_sides_vanish_in_each_form_and_come_back():
    sample = AriesSample("AAPL", rough="missing_sides", rough_seconds=1.0)

    bids = [(each.get("bidPrice", ""), each["bidSize"]) for each in sample.data("quote") if "bidSize" in each]

    assert (0, 0) in bids
    assert (None, None) in bids
    assert [price for price, size in bids if price == "" and size == 0] != []
    assert sum(bool(size) for _, size in bids) > len(bids) / 2


def test_missing_side_has_no_level_in_the_book_either():
    sample = AriesSample("AAPL", rough="missing_sides", rough_seconds=1.0)

    sides = [
        tuple(any(float(row.split(":")[place]) for row in each["orderBook"]) for place in (0, 2))
        for each in sample.data("level2", 30)
    ]

    assert {(True, True), (False, True), (True, False), (False, False)} == set(sides)


def test_stub_quotes_come_while_trades_go_on():
    sample = AriesSample("AAPL", rough="stub_quotes")

    payloads = sample.advance()

    asks = [each["data"].get("askPrice") for each in payloads if each["type"] == "quote"]
    bids = [each["data"].get("bidPrice") for each in payloads if each["type"] == "quote"]
    prices = [each["data"]["price"] for each in payloads if each["type"] == "trade" and "price" in each["data"]]
    assert STUB_ASK in asks
    assert STUB_BID in bids
    assert all(200 < price < 350 for price in prices)


def test_halt_empties_the_book_and_ends_with_an_auction():
    sample = AriesSample("AAPL", rough="halts", rough_seconds=6.0)
    payloads = sample.advance()

    books = [each["data"]["orderBook"] for each in payloads if each["type"] == "level2"]
    empty = [rows for rows in books if all(row.startswith("0:") and row.endswith(":0") for row in rows)]
    locked = [rows for rows in books if any(float(r.split(":")[0]) and float(r.split(":")[2]) for r in rows)]
    trades = [each["timestamp"] for each in payloads if each["type"] == "trade"]
    assert empty
    assert locked
    assert max(later - earlier for earlier, later in itertools.pairwise(trades)) >= 250


def test_a_halt_of_the_market_is_told_and_nothing_trades():
    sample = AriesSample("AAPL", "MSFT", rough="market_halts", rough_seconds=6.0)
    payloads = sample.advance()

    first, *changes = (each for each in payloads if each["type"] == "marketStatus")
    statuses = [each["data"]["market"] for each in (first, *changes)]
    halted, opened = (
        next(each["timestamp"] for each in changes if each["data"]["market"] == word) for word in ("halted", "open")
    )
    trades = [each["timestamp"] for each in payloads if each["type"] == "trade"]
    assert statuses[:3] == ["open", "halted", "open"]
    assert not [stamp for stamp in trades if halted < stamp < opened]
    assert trades


def test_late_print_has_an_older_time_and_a_lower_number():
    prints = AriesSample("AAPL", rough="late_prints").data("timeAndSales")

    numbers = [int(each["tradeSeq"]) for each in prints]
    times = [int(each["tradeTimestamp"]) for each in prints]
    late = [n for n in range(1, len(numbers)) if numbers[n] < numbers[n - 1]]
    assert late
    assert all(times[n] <= times[n - 1] for n in late)
    assert len(set(numbers)) == len(numbers)


def test_corrected_print_has_the_number_of_the_first_and_another_price():
    prints = AriesSample("AAPL", rough="corrected_prints").data("timeAndSales")

    counts = Counter(each["tradeSeq"] for each in prints)
    twice = [[float(each["price"]) for each in prints if each["tradeSeq"] == n] for n, k in counts.items() if k > 1]
    assert twice
    assert all(wrong == round(wrong, 2) == pytest.approx(1.004 * right, abs=0.01) for wrong, right in twice)


def test_cancelled_print_is_withdrawn_with_size_zero():
    sample = AriesSample("AAPL", rough="cancelled_prints")
    true: list[float] = []
    sample.feed.on_trade.append(lambda _symbol, _ns, price, _size: true.append(price))

    prints = sample.data("timeAndSales")

    withdrawn = [each["tradeSeq"] for each in prints if each["size"] == "0"]
    sent = [float(each["price"]) for each in prints if each["tradeSeq"] in withdrawn and each["size"] != "0"]
    assert withdrawn
    assert all(price not in true for price in sent)


def test_times_are_ahead_in_quotes_and_trades():
    payloads = AriesSample("AAPL", rough="times_ahead").advance()

    for stream in ("quote", "trade"):
        ahead = [
            each["data"][f"{stream}Timestamp"] - each["timestamp"]
            for each in payloads
            if f"{stream}Timestamp" in each["data"] and each["type"] == stream
        ]
        wrong = [each for each in ahead if each > 0]
        assert wrong
        assert set(wrong) <= {DAY_MS // 24, DAY_MS, 30 * DAY_MS}


def test_times_in_seconds_in_quotes_and_trades():
    payloads = AriesSample("AAPL", rough="times_in_seconds").advance()

    for name in ("quoteTimestamp", "tradeTimestamp"):
        stamps = [each["data"][name] for each in payloads if name in each["data"] and each["type"] != "timeAndSales"]
        assert [stamp for stamp in stamps if NOW <= stamp <= NOW + 13] != []


def test_sizes_are_fractions_and_huge():
    sizes = [each["size"] for each in AriesSample("AAPL", rough="extreme_sizes").data("timeAndSales")]

    assert set(map(str, EXTREME_SIZES)) <= set(sizes)


@pytest.mark.parametrize(("symbol_type", "is_known"), [(None, False), ("equity", False), ("option", True)])
def test_option_is_unknown_unless_it_is_named_one(symbol_type, is_known):
    sample = AriesSample(rough="options")
    symbol = Contract("AAPL", sample.feed.market.expiries("AAPL")[2], "C", 270.0).symbol
    named = {} if symbol_type is None else {"symbolType": symbol_type}
    sample.advance(0)

    sample.market.receive(
        json.dumps({"type": "subscribe", "id": "o", "payload": [{"symbol": symbol, "quoteFields": "*", **named}]}), NOW
    )

    (answer,) = sample.advance(0)
    assert (answer["type"] == "quote", "unknown" in str(answer)) == (is_known, not is_known)


def test_tiny_and_negative_prices_are_listed():
    sample = AriesSample("TINY", "CRUDE", rough="extreme_prices")

    payloads = sample.advance()

    def prices(symbol):
        quotes = [each["data"] for each in payloads if each.get("symbol") == symbol and each["type"] == "quote"]
        return [each["bidPrice"] for each in quotes if "bidPrice" in each]

    assert all(5e-6 < price < 2e-5 for price in prices("TINY"))
    assert all(-45 < price < -30 for price in prices("CRUDE"))
    assert prices("TINY")
    assert prices("CRUDE")


def test_symbols_are_answered_in_the_spelling_of_the_server():
    sample = AriesSample("aapl", "BRK/B", rough="server_spelling")
    sample.chart("msft")

    named = {each["symbol"] for each in sample.advance(5) if "symbol" in each}

    assert named == {"AAPL", "BRK.B", "MSFT"}


def test_some_streams_are_refused_while_others_go_on():
    sample = AriesSample(*EQUITIES, rough="stream_refusals")

    payloads = sample.advance(5)

    refused = [each["error"] for each in payloads if each["action"] == "error"]
    assert 10 < len(refused) < len(EQUITIES)
    assert all(text.startswith("A subscription was refused: ") for text in refused)
    assert {each["type"] for each in payloads if each["action"] == "update"} >= {"quote", "trade", "level2"}


def test_charts_are_refused_as_well():
    sample = AriesSample(rough="stream_refusals")
    for symbol in EQUITIES:
        sample.chart(symbol)

    errors = [each for each in sample.advance(1) if each["action"] == "error"]

    assert 0 < len(errors) < len(EQUITIES)


def test_charts_have_the_troubles_of_quotes():
    sample = AriesSample(rough="missing_sides,stub_quotes", rough_seconds=1.0)
    sample.chart("AAPL")

    bids = [each["data"]["v"].get("bid", 1.0) for each in sample.advance() if each["type"] == "quote"]

    assert {0, None, STUB_BID} <= set(bids)


def test_all_troubles_together_leave_the_messages_readable():
    sample = AriesSample("AAPL", "SPX", "TINY", "CRUDE", rough=True)
    sample.chart("MSFT")

    assert len(sample.advance()) > 300
    assert all(json.loads(line) for line in sample.lines)


def test_delays_make_the_times_of_quotes_and_trades_older_than_they_are_sent():
    sample = AriesSample("AAPL", rough="delays")
    late = {"quote": set(), "trade": set()}
    sample.advance(0.1)  # the snapshot is of the past

    for _ in range(100):
        for each in sample.advance(0.2):
            if each["type"] in late and f"{each['type']}Timestamp" in each["data"]:
                late[each["type"]].add(each["timestamp"] - each["data"][f"{each['type']}Timestamp"])

    assert 30 <= min(late["quote"]) < 60 < max(late["quote"]) <= 80
    assert 5 <= min(late["trade"]) < 15 < max(late["trade"]) <= 30

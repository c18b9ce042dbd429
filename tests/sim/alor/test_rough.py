from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime

import pytest

from aries_nb.sim.market.rough import EXTREME_SIZES, STUB_ASK, STUB_BID
from tests.sim.rough import NOW, AlorSample

QUOTES, BOOK, TRADES = "QuotesSubscribe", "OrderBookGetAndSubscribe", "AllTradesGetAndSubscribe"
INSTRUMENTS = "InstrumentsGetAndSubscribeV2"


def sample_of(opcode, rough, code="SBER", **options):
    sample = AlorSample(rough=rough, **options)
    sample.subscribe(opcode, code)
    return sample


@pytest.mark.parametrize("opcode", [QUOTES, BOOK, TRADES, INSTRUMENTS])
def test_same_seed_gives_the_same_troubles(opcode):
    first, second = (sample_of(opcode, "halts,late_prints,missing_sides,stub_quotes") for _ in range(2))

    assert first.data(opcode) == second.data(opcode)


def test_sides_vanish_in_each_form_and_come_back():
    quotes = sample_of(QUOTES, "missing_sides", rough_seconds=1.0).data(QUOTES)

    bids = [each.get("bid", "absent") for each in quotes]
    assert {0, None, "absent"} <= set(bids)
    assert sum(bool(bid) and bid != "absent" for bid in bids) > len(bids) / 2


def test_missing_side_has_no_level_in_the_book_either():
    books = sample_of(BOOK, "missing_sides", rough_seconds=1.0).data(BOOK, 30)

    sides = {(bool(each["bids"]), bool(each["asks"])) for each in books}
    assert sides == {(True, True), (False, True), (True, False), (False, False)}


def test_stub_quotes_are_in_quotes_and_book():
    sample = AlorSample(rough="stub_quotes")
    for opcode in (QUOTES, BOOK):
        sample.subscribe(opcode, "SBER")

    frames = sample.advance()

    assert STUB_BID in {each["data"]["bid"] for each in frames if each.get("guid") == QUOTES}
    asks = [each["data"]["asks"] for each in frames if each.get("guid") == BOOK]
    assert [levels for levels in asks if [level["price"] for level in levels] == [STUB_ASK]] != []


def test_halt_is_reported_by_the_status_and_by_an_empty_book():
    sample = AlorSample(rough="halts", rough_seconds=6.0)
    for opcode in (INSTRUMENTS, BOOK, TRADES):
        sample.subscribe(opcode, "SBER", depth=20 if opcode == BOOK else 0)

    frames = sample.advance()

    statuses = [each["data"].get("tradingStatus") for each in frames if each.get("guid") == INSTRUMENTS]
    changes = [status for status in statuses if status is not None]
    books = [each["data"] for each in frames if each.get("guid") == BOOK]
    assert changes[:4] == [17, 2, 107, 17]
    assert [each for each in books if not each["bids"] and not each["asks"]] != []
    assert [each for each in books if each["bids"] and each["bids"][0]["price"] == each["asks"][0]["price"]] != []


def test_a_halt_of_the_market_is_that_of_every_instrument():
    sample = AlorSample(rough="market_halts", rough_seconds=6.0)
    for code in ("SBER", "GAZP"):
        sample.subscribe(INSTRUMENTS, code, guid=code)
        sample.subscribe(TRADES, code, guid=f"{code} trades")

    frames = sample.advance()

    for code in ("SBER", "GAZP"):
        statuses = [each["data"].get("tradingStatus") for each in frames if each.get("guid") == code]
        assert [status for status in statuses if status is not None][:4] == [17, 2, 107, 17]


def test_late_print_has_an_older_time_and_a_lower_number():
    trades = sample_of(TRADES, "late_prints").data(TRADES)

    late = [(before, each) for before, each in itertools.pairwise(trades) if each["id"] < before["id"]]
    assert late
    assert all(each["timestamp"] <= before["timestamp"] for before, each in late)


def test_corrected_print_has_the_number_of_the_first_and_another_price():
    trades = sample_of(TRADES, "corrected_prints").data(TRADES)

    counts = Counter(each["id"] for each in trades)
    twice = [[each["price"] for each in trades if each["id"] == number] for number, n in counts.items() if n > 1]
    assert twice
    assert all(wrong == round(wrong, 2) == pytest.approx(1.004 * right, abs=0.01) for wrong, right in twice)


def test_cancelled_print_is_withdrawn_with_size_zero_and_makes_no_bar():
    sample = AlorSample(rough="cancelled_prints")
    sample.subscribe(TRADES, "SBER")
    sample.subscribe("BarsGetAndSubscribe", "SBER", tf="60", skipHistory=True, **{"from": int(NOW)})

    frames = sample.advance()

    trades = [each["data"] for each in frames if each.get("guid") == TRADES]
    withdrawn = {each["id"] for each in trades if not each["qty"]}
    wrong = [each["price"] for each in trades if each["id"] in withdrawn and each["qty"]]
    bars = [each["data"] for each in frames if each.get("guid") == "BarsGetAndSubscribe"]
    assert wrong
    assert max(each["high"] for each in bars) < min(wrong)


def test_times_are_ahead_and_in_seconds():
    trades = sample_of(TRADES, "times_ahead,times_in_seconds").data(TRADES)

    stamps = [each["timestamp"] for each in trades]
    seconds = [each for each in trades if each["timestamp"] < 10**11]
    assert max(stamps) >= (NOW + 3600) * 1000
    assert seconds
    assert all(datetime.fromisoformat(each["time"]).year == 2026 for each in seconds)


def test_sizes_are_fractions_and_huge():
    sizes = {each["qty"] for each in sample_of(TRADES, "extreme_sizes").data(TRADES)}

    assert set(EXTREME_SIZES) <= sizes


@pytest.mark.parametrize("exchange", ["MOEX", "SPBX"])
def test_tiny_and_negative_prices_are_listed(exchange):
    sample = AlorSample(rough="extreme_prices")
    sample.subscribe(QUOTES, "CRUDE", exchange)
    sample.subscribe(BOOK, "TINY", exchange)

    frames = sample.advance(3)

    bids = [each["data"]["bid"] for each in frames if each.get("guid") == QUOTES]
    asks = [each["data"]["asks"][0]["price"] for each in frames if each.get("guid") == BOOK]
    assert bids
    assert all(-45 < bid < -30 for bid in bids)
    assert asks
    assert all(5e-6 < ask < 2e-5 for ask in asks)


def test_symbol_is_answered_in_the_spelling_of_the_server():
    quotes = sample_of(QUOTES, "server_spelling", "sber").data(QUOTES, 2)

    assert {each["symbol"] for each in quotes} == {"SBER"}


def test_some_streams_are_refused_while_others_go_on():
    codes = []
    for code in ("SBER", "GAZP", "LKOH", "ROSN", "NVTK", "GMKN", "TATN", "VTBR", "PLZL", "CHMF", "MGNT", "MOEX"):
        sample = sample_of(QUOTES, "stream_refusals", code)
        codes += [each["httpCode"] for each in sample.advance(0.1) if "requestGuid" in each]

    assert set(codes) == {200, 403}


def test_delays_make_the_times_of_quotes_and_trades_older_than_they_are_sent():
    late = {QUOTES: set(), TRADES: set()}
    for opcode, name in ((QUOTES, "ob_ms_timestamp"), (TRADES, "timestamp")):
        sample = sample_of(opcode, "delays")
        sample.data(opcode, 0.1)  # the snapshot is of the past

        for _ in range(100):
            times = [each[name] for each in sample.data(opcode, 0.1)]
            late[opcode] |= {round(sample.now * 1_000 - each) for each in times[-1:]}

    # What is sent within a turn of 0.1 s is stamped within it.
    assert 30 <= min(late[QUOTES]) <= max(late[QUOTES]) <= 180
    assert 5 <= min(late[TRADES]) <= max(late[TRADES]) <= 130

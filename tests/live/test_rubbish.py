"""What a server should not send: counted and kept as an excerpt, and nothing else is lost by it."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.net.patience import eventually

if TYPE_CHECKING:
    import pandas as pd

    import aries_nb as anb
    from aries_nb.sim import Simulator

MIB = 2**20


def newest(quotes: anb.LiveFrame, count: int) -> pd.DataFrame:
    """The rows that arrived last: by exchange time those of `quote` are older than the simulator's."""
    rows, _ = quotes._tape.frame_since(quotes.received - count)
    assert len(rows) == count
    return rows


def quote(symbol: str = "AAPL", raw: str = "", **data: Any) -> str:
    inside = raw or json.dumps(data)
    return (
        f'{{"type":"event","payload":{{"action":"update","type":"quote","symbol":"{symbol}",'
        f'"data":{inside},"timestamp":1772463845012}}}}'
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rubbish", "not JSON"),
        ("x" * 2 * MIB, "not JSON"),
        ('{"type": "event", ' * 50, "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"type":"event"}]', "a JSON list, not an object"),
        ("5", "a JSON int, not an object"),
        ("null", "a JSON NoneType, not an object"),
        ('{"type":"gossip","payload":{}}', "unknown type 'gossip'"),
        ('{"payload":5}', "unknown type"),
        ('{"type":"event","payload":{"action":"dance"}}', "unknown event 'dance'"),
        ('{"type":"event","payload":{"action":"update","type":"news","data":{}}}', "unknown stream 'news'"),
        ('{"type":"event","payload":{"action":"update","type":"quote","data":{"bidPrice":1}}}', "without a symbol"),
        ('{"type":"event","payload":{"action":"update","type":"quote","symbol":"AAPL"}}', "without data"),
        (quote("TSLA", bidPrice=1.0), "a symbol that is not subscribed"),
        ("\x00\x01", "not JSON"),
    ],
)
def test_a_line_that_cannot_be_used_is_counted_and_kept(text: str, reason: str, sim: Simulator, feed: anb.Feed) -> None:
    trades = feed.trades("AAPL", "MSFT").wait(rows=5)

    sim.broadcast(text)
    eventually(lambda: feed.stats().unreadable == 1)
    trades.wait(rows=trades.received + 20)

    assert len(feed.unreadable) == 1
    assert reason in feed.unreadable[0][0]
    assert len(feed.unreadable[0][1]) <= 200
    assert (feed.state, feed.stats().reconnects, len(feed.gaps)) == ("live", 0, 0)
    ids = trades.df.groupby("symbol", observed=True)["trade_id"]
    assert {1} == set(ids.diff().dropna())


def test_a_symbol_that_was_not_asked_for_is_named(sim: Simulator, feed: anb.Feed) -> None:
    feed.quotes("AAPL")

    sim.broadcast(quote("TSLA", bidPrice=1.0))
    eventually(lambda: feed.unreadable)

    assert feed.unreadable == [("a symbol that is not subscribed", "QuoteUpdate TSLA")]


def test_good_lines_around_a_bad_one_in_a_frame_are_used(sim: Simulator, feed: anb.Feed) -> None:
    sim.set_market("closed")
    quotes = feed.quotes("AAPL", fields=["bid_price"]).wait()

    before = quotes.received
    sim.broadcast("\n".join([quote(bidPrice=1.0), "rubbish", "", quote(bidPrice=2.0), "[]", quote(bidPrice=3.0)]))
    quotes.wait(rows=before + 3)

    assert list(newest(quotes, 3)["bid_price"]) == [1.0, 2.0, 3.0]
    assert [reason for reason, _ in feed.unreadable] == ["not JSON: JSONDecodeError", "a JSON list, not an object"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('{"bidPrice":"501.25","bidSize":"7"}', (501.25, 7.0)),
        ('{"bidPrice":501.25,"bidSize":null}', (501.25, math.nan)),
        ('{"bidPrice":501.25,"bidSize":NaN}', (501.25, math.nan)),
        ('{"bidPrice":501.25,"bidSize":1e400}', (501.25, math.nan)),
        ('{"bidPrice":501.25,"bidSize":-Infinity}', (501.25, math.nan)),
        ('{"bidPrice":501.25,"bidSize":"many"}', (501.25, math.nan)),
        ('{"bidPrice":501.25,"bidSize":[7]}', (501.25, math.nan)),
        ('{"bidPrice":501.25,"bidSize":true}', (501.25, math.nan)),
        ('{"bidPrice":" 501.25 ","bidSize":7e0,"surprise":{"a":[1]}}', (501.25, 7.0)),
    ],
)
def test_a_number_in_disguise_is_read_and_no_number_is_missing(
    raw: str, expected: tuple[float, float], sim: Simulator, feed: anb.Feed
) -> None:
    sim.set_market("closed")
    quotes = feed.quotes("AAPL", fields=["bid_price", "bid_size"]).wait()

    before = quotes.received
    sim.broadcast(quote(raw=raw))
    quotes.wait(rows=before + 1)

    price, size = newest(quotes, 1)[["bid_price", "bid_size"]].iloc[0]
    is_noted = feed.stats().unreadable == 1
    assert expected[0] == price
    assert expected[1] == size or (math.isnan(expected[1]) and math.isnan(size))
    assert is_noted == (math.isnan(size) and "null" not in raw)
    assert feed.state == "live"


@pytest.mark.parametrize("venue", ["\\ud800", "\\u2028", "\\u0000", "<b>", "a" * 100_000])
def test_a_text_of_any_kind_is_a_text(venue: str, sim: Simulator, feed: anb.Feed) -> None:
    sim.set_market("closed")
    trades = feed.trades("AAPL")

    data = f'{{"price":"1.5","size":"1","tradeSeq":"1","tradeExchange":"{venue}","tradeTimestamp":"1772463845009"}}'
    sim.broadcast(quote(raw=data).replace('"type":"quote"', '"type":"timeAndSales"'))
    trades.wait()

    assert list(trades.df["price"]) == [1.5]
    assert feed.state == "live"
    assert repr(trades.df)


def test_ten_thousand_lines_of_rubbish_are_counted_and_the_newest_kept(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait()

    sim.broadcast("\n".join(f"rubbish {number}" for number in range(10_000)))
    eventually(lambda: feed.stats().unreadable == 10_000)
    quotes.wait(rows=quotes.received + 10)

    assert [f"rubbish {number}" for number in range(9_950, 10_000)] == [excerpt for _, excerpt in feed.unreadable]
    assert feed.stats().reconnects == 0


def test_a_frame_beyond_16_mib_is_one_gap_that_says_so(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait()

    sim.broadcast("x" * (16 * MIB + 1))
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    quotes.wait(rows=quotes.received + 10)

    (reason,) = feed.gaps.df["reason"]
    assert reason.startswith("closed by us (1009")
    assert feed.gaps.df["ended"].notna().all()


def test_statistics_add_up(sim: Simulator, feed: anb.Feed) -> None:
    begun = time.monotonic()
    quotes, trades, book = feed.quotes("AAPL", "MSFT"), feed.trades("AAPL"), feed.book("AAPL")
    trades.wait(rows=20)
    sim.broadcast("rubbish\nrubbish")
    eventually(lambda: feed.stats().unreadable == 2)
    sim.set_market("closed")
    eventually(lambda: feed.market_status["market"] == "closed")
    eventually(lambda: feed.stats().records == quotes.received + trades.received + book.updates)

    now = feed.stats()
    controls = now.messages - now.records - now.unreadable
    assert 2 <= controls < now.records / 4  # answers to pings among them, of which there are more the longer it takes
    assert sim.statistics().messages_sent + 2 == now.messages
    assert (now.streams, now.reconnects, now.renewals, now.gaps) == (4, 0, 0, 0)
    assert now.octets > 50 * now.messages
    lasted = time.monotonic() - begun
    assert 0 <= now.lag_ms < 1000 * lasted
    assert 0 <= now.silence_s < lasted

"""`fields="*"`: every field that the broker has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers.aries.messages import GREEKS_FIELDS, QUOTE_FIELDS, TRADE_FIELDS
from aries_nb.errors import UsageError

if TYPE_CHECKING:
    from aries_nb.live import Feed
    from aries_nb.sim import Simulator

EVERY = {**QUOTE_FIELDS, **TRADE_FIELDS, **GREEKS_FIELDS}


def test_every_field_of_a_share_comes(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", fields="*").wait(rows=20, timeout=60)

    row = quotes.latest.loc["AAPL"]
    assert set(quotes.df.columns) == {"received", "symbol", *EVERY}
    known = ("bid_price", "mid_price", "spread", "last_price", "total_volume", "trade_seq", "high_52_week", "tick")
    assert row[list(known)].notna().all()
    assert row[list(GREEKS_FIELDS)].isna().all()


def test_the_same_call_is_the_same_frame_and_so_are_all_fields_by_name(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", fields="*")

    assert feed.quotes("AAPL", fields="*") is quotes
    assert feed.quotes("AAPL", fields=list(EVERY)) is quotes


def test_every_field_of_an_option_has_the_greeks(feed: Feed) -> None:
    options = feed.options("AAPL")
    contract = str(options.contracts(options.expiries[0]).index[0])

    quotes = feed.quotes(contract, fields="*").wait(rows=2, timeout=60)

    assert quotes.df.iloc[-1][list(GREEKS_FIELDS)].notna().all()


def test_what_another_frame_wants_stays_when_every_field_goes(feed: Feed, sim: Simulator) -> None:
    every, some = feed.quotes("AAPL", fields="*"), feed.quotes("AAPL", fields=["bid_price"])
    before = sim.subscriptions()[0]["AAPL"]["quote"]

    every.close()
    some.wait(rows=some.received + 20, timeout=60)
    feed.quotes("MSFT").wait(timeout=60)  # what was sent before has been received

    after = sim.subscriptions()[0]["AAPL"]
    assert set(before) == set(QUOTE_FIELDS.values())
    assert set(after["quote"]) == {"bidPrice", "quoteTimestamp"}
    assert after["trade"] == []


def test_every_field_of_a_print_comes(feed: Feed) -> None:
    trades = feed.trades("AAPL", fields="*").wait(rows=20, timeout=60)

    assert {"price", "size", "side", "trade_id", "venue", "tick"} < set(trades.df.columns)
    assert set(trades.df["tick"]) <= {"+", "-", "0"}


def test_a_star_among_names_is_no_field(feed: Feed) -> None:
    with pytest.raises(UsageError, match=r"unknown field '\*'"):
        feed.quotes("AAPL", fields=["bid_price", "*"])

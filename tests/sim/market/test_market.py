from __future__ import annotations

import math
import statistics
from datetime import date
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.sim.market.book import VISIBLE_LEVELS
from aries_nb.sim.market.instruments import EQUITIES, INDICES
from aries_nb.sim.market.listings import Focus, OptionListing, Quote, Trade, TradedListing
from aries_nb.sim.market.market import ClusteredNoise, Market
from aries_nb.sim.market.options import Contract

TODAY = date(2026, 3, 2)
SEEDS = st.integers(0, 10_000)


def traded(market: Market, symbol: str) -> TradedListing:
    listing = market.listing(symbol)
    assert isinstance(listing, TradedListing)
    return listing


def option(market: Market, root: str = "AAPL", right: str = "C") -> OptionListing:
    strikes = market.strikes(root)
    contract = Contract(root, market.expiries(root)[5], right, strikes[len(strikes) // 2])  # type: ignore[arg-type]
    listing = market.listing(contract.symbol)
    assert isinstance(listing, OptionListing)
    return listing


def run(seed: int, symbols: list[str], steps: int, focus: Focus = "book") -> list[tuple[Quote, Trade | None]]:
    market = Market(seed, TODAY)
    events = []
    for number in range(steps):
        if number % 25 == 0:
            market.drift(0.05)
        listing = traded(market, symbols[number % len(symbols)])
        trade = listing.step(focus)
        events.append((listing.quote(), trade))
    return events


def test_same_seed_gives_the_same_events() -> None:
    first = run(7, ["AAPL", "MSFT"], 400)

    again = run(7, ["AAPL", "MSFT"], 400)
    other = run(8, ["AAPL", "MSFT"], 400)

    assert again == first
    assert other != first


def test_options_asked_for_in_another_order_do_not_change_the_shares() -> None:
    plain, asked = Market(3, TODAY), Market(3, TODAY)
    option(asked)
    for market in (plain, asked):
        for _ in range(50):
            market.drift(0.05)
            traded(market, "AAPL").step("book")

    assert traded(asked, "AAPL").quote() == traded(plain, "AAPL").quote()


@settings(max_examples=25)
@given(seed=SEEDS, symbol=st.sampled_from([*EQUITIES]), focus=st.sampled_from(["book", "quotes", "trades"]))
def test_book_quote_and_trade_agree_at_every_instant(seed: int, symbol: str, focus: Focus) -> None:
    market = Market(seed, TODAY)
    listing = traded(market, symbol)
    for number in range(200):
        if number % 20 == 0:
            market.drift(0.05)
        trade = listing.step(focus)
        quote = listing.quote()

        assert 0 < quote.bid_price < quote.ask_price
        assert min(quote.bid_size, quote.ask_size) > 0
        assert round(quote.bid_price * 100) == listing.book.bids.ticks[0]
        assert quote.ask_size == listing.book.asks.sizes[0]
        assert min(len(listing.book.bids.ticks), len(listing.book.asks.ticks)) >= VISIBLE_LEVELS
        if trade:
            assert trade.size > 0
            assert listing.low <= trade.price <= listing.high


@settings(max_examples=25)
@given(seed=SEEDS, symbol=st.sampled_from(["AAPL", "COST", "PFE"]))
def test_trade_happens_at_the_quote_and_takes_its_size_from_it(seed: int, symbol: str) -> None:
    market = Market(seed, TODAY)
    listing = traded(market, symbol)
    market.drift(0.05)
    for _ in range(300):
        before = listing.quote()
        volume, number = listing.volume, listing.number
        trade = listing.step("quotes")
        if trade is None:
            continue
        after = listing.quote()

        assert trade.number == number + 1
        assert listing.volume == volume + trade.size
        price, size = (
            (before.ask_price, before.ask_size) if trade.side == "buy" else (before.bid_price, before.bid_size)
        )
        left = (after.ask_price, after.ask_size) if trade.side == "buy" else (after.bid_price, after.bid_size)
        assert trade.price == price
        assert left == (price, size - trade.size) if trade.size < size else left[0] != price


@given(seed=SEEDS)
def test_with_a_focus_no_event_is_in_vain(seed: int) -> None:
    market = Market(seed, TODAY)
    listing = traded(market, "AAPL")
    seen = listing.quote()
    for _ in range(100):
        listing.step("quotes")
        changed, seen = seen != listing.quote(), listing.quote()
        assert changed

    assert all(listing.step("trades") for _ in range(100))


def test_prices_are_whole_cents_written_short() -> None:
    for quote, trade in run(1, [*EQUITIES], 2000):
        for price in (quote.bid_price, quote.ask_price, *([trade.price] if trade else [])):
            assert price == float(f"{price:.2f}")


def test_quotes_follow_the_fair_price() -> None:
    market = Market(5, TODAY)
    listing = traded(market, "NVDA")
    for _ in range(2000):
        market.drift(0.05)
        for _ in range(5):
            listing.step("book")

    quote = listing.quote()

    assert (quote.bid_price + quote.ask_price) / 2 == pytest.approx(listing.fair() / 100, abs=0.1)


def test_shares_move_together_and_by_their_volatility() -> None:
    market = Market(2, TODAY)
    moves: dict[str, list[float]] = {"AAPL": [], "MSFT": [], "KO": []}
    before = {symbol: market.shares[symbol].growth for symbol in moves}
    for _ in range(4000):
        market.drift(1.0)
        for symbol, held in before.items():
            now = market.shares[symbol].growth
            moves[symbol].append(math.log(now / held))
            before[symbol] = now

    together = statistics.correlation(moves["AAPL"], moves["MSFT"])
    yearly = {symbol: statistics.stdev(held) * math.sqrt(252 * 6.5 * 3600) for symbol, held in moves.items()}

    assert 0.2 < together < 0.9
    assert 0.6 * 0.27 < yearly["AAPL"] < 1.6 * 0.27
    assert yearly["KO"] < yearly["AAPL"]


def test_volatility_comes_in_clusters() -> None:
    noise = ClusteredNoise(Random(4))
    shocks = [abs(noise.draw(1.0)) for _ in range(20_000)]

    echo = statistics.correlation(shocks[:-5], shocks[5:])

    assert echo > 0.05
    assert 0.7 < statistics.fmean(shock * shock for shock in shocks) < 1.4


@pytest.mark.parametrize("symbol", [*INDICES])
def test_index_follows_its_members(symbol: str) -> None:
    market = Market(9, TODAY)
    index = market.indices[symbol]
    for _ in range(500):
        market.drift(5.0)
    index.step("trades")

    growth = statistics.fmean(market.shares[member].growth for member in index.index.members)

    assert index.last.price == pytest.approx(index.index.level * growth**index.index.exponent, rel=1e-4, abs=0.006)
    assert not isinstance(index, TradedListing)


@settings(max_examples=20)
@given(seed=SEEDS, root=st.sampled_from(["AAPL", "PFE", "NVDA"]), right=st.sampled_from("CP"))
def test_option_quotes_enclose_the_model_price_of_the_share(seed: int, root: str, right: str) -> None:
    market = Market(seed, TODAY)
    listing = option(market, root, right)
    for _ in range(60):
        market.drift(0.05)
        for _ in range(4):
            listing.step("quotes")
        quote = listing.quote()
        assert 0 < quote.bid_price < quote.ask_price

    middle = (listing.quote().bid_price + listing.quote().ask_price) / 2

    assert middle == pytest.approx(max(0.03, listing.greeks().price), abs=0.04 + 2.5 * listing.book.spread / 100)


def test_call_gains_and_put_loses_when_the_share_rises() -> None:
    market = Market(1, TODAY)
    call, put = option(market, right="C"), option(market, right="P")
    before = call.fair(), put.fair()

    market.shares["AAPL"].move(0.02)

    assert call.fair() > before[0]
    assert put.fair() < before[1]


@pytest.mark.parametrize(
    "symbol", ["", "NOPE", "aapl", "AAPL240119C00150000", "SPX260320C06700000", "NOPE260320C00100000"]
)
def test_unknown_and_expired_symbols_have_no_listing(symbol: str) -> None:
    assert Market(1, TODAY).listing(symbol) is None

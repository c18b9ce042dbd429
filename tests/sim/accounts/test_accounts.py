from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.errors import UsageError
from aries_nb.sim.accounts.accounts import (
    Accounts,
    BalanceChanged,
    CandleChanged,
    Change,
    NewsPublished,
    OrderChanged,
    PositionChanged,
    WatchlistsChanged,
)
from aries_nb.sim.market.market import Market
from tests.sim.trading import NOW, TODAY, check_sums, quiet_accounts

if TYPE_CHECKING:
    from collections.abc import Sequence


def lived(seed: int, turns: int = 400) -> list[Change]:
    accounts = Accounts(Market(seed, TODAY), seed, orders_per_s=5.0, news_s=2.0, watchlist_s=2.0)
    return [change for turn in range(turns) for change in accounts.advance(0.05, NOW + turn * 0.05)]


def test_same_seed_gives_the_same_changes() -> None:
    assert lived(3) == lived(3)
    assert lived(3) != lived(4)


def test_everything_that_can_change_does() -> None:
    kinds = {type(change) for change in lived(1)}

    assert kinds == {
        OrderChanged, PositionChanged, BalanceChanged, CandleChanged, WatchlistsChanged, NewsPublished
    }  # fmt: skip


def test_accounts_start_with_cash_positions_and_no_profit() -> None:
    accounts = quiet_accounts()

    assert accounts.names == ("ACC-1", "ACC-2")
    for account in accounts.names:
        books = accounts.figures(account)
        assert len(books.positions) >= 2
        assert books.cash > 0
        assert books.equity == books.starting_equity == accounts.equity(account)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_money_adds_up_at_every_moment(seed: int) -> None:
    accounts = Accounts(Market(seed, TODAY), seed, orders_per_s=20.0)
    for turn in range(200):
        accounts.advance(0.05, NOW + turn * 0.05)
        for account in accounts.names:
            check_sums(accounts.figures(account))


def test_published_changes_give_the_final_state() -> None:
    accounts = Accounts(Market(2, TODAY), 2, orders_per_s=20.0)
    quantities = {
        (account, each.position.symbol): each.position.quantity
        for account in accounts.names
        for each in accounts.figures(account).positions
    }
    for turn in range(400):
        for change in accounts.advance(0.05, NOW + turn * 0.05):
            if isinstance(change, PositionChanged):
                position = change.holding.position
                quantities[change.account, position.symbol] = position.quantity
                assert (change.holding.mark is None) == (position.quantity == 0)

    assert {key: quantity for key, quantity in quantities.items() if quantity} == {
        (account, each.position.symbol): each.position.quantity
        for account in accounts.names
        for each in accounts.figures(account).positions
    }


def test_order_placed_between_turns_is_published_with_the_next() -> None:
    accounts = quiet_accounts()
    accounts.advance(0.05, NOW)

    accounts.brokerage.place("ACC-1", "KO", "buy", "market", 1, now=NOW)
    changes = accounts.advance(0.05, NOW + 0.05)

    assert [type(change).__name__ for change in changes] == [
        "OrderChanged", "OrderChanged", "OrderChanged", "PositionChanged", "BalanceChanged"
    ]  # fmt: skip


def test_candles_follow_the_equity() -> None:
    accounts = quiet_accounts()
    for turn in range(40):
        accounts.advance(0.5, NOW + turn * 0.5)

    last = accounts.candles("ACC-1", "1m", NOW, now=NOW + 20)[-1]

    books = accounts.figures("ACC-1")
    assert last.close == books.equity - books.starting_equity != Decimal(0)


def test_history_is_there_before_the_first_turn() -> None:
    found = quiet_accounts().candles("ACC-2", "1h", NOW - 86_400, now=NOW)

    assert len(found) == 25
    assert found[-1].close == 0


@pytest.mark.parametrize("second", [0, 5, 14, 15, 29, 44])
def test_candle_of_the_start_holds_only_values_of_the_balances(second: int) -> None:
    accounts = quiet_accounts()
    begin = NOW // 60 * 60 + second
    accounts.brokerage.place("ACC-1", "AAPL", "buy", "market", 50, now=begin)
    published = [accounts.equity("ACC-1") - accounts.brokerage.ledger("ACC-1").starting_equity]
    before, first = accounts.candles("ACC-1", "1m", begin - 60, now=begin)

    for turn in range(1, 16):
        accounts.advance(1.0, begin + turn)
        published.append(accounts.equity("ACC-1") - accounts.brokerage.ledger("ACC-1").starting_equity)

    candle, *_ = accounts.candles("ACC-1", "1m", begin, now=begin + 15)
    assert published[0] < 0
    assert before.close == first.open == first.high == first.low == first.close == published[0]
    assert (candle.open, candle.high, candle.low, candle.close) == (
        published[0],
        max(published),
        min(published),
        published[-1],
    )


def test_changes_by_prices_alone_are_published_once_per_second() -> None:
    accounts = quiet_accounts()

    published = [accounts.advance(0.05, NOW + turn * 0.05) for turn in range(60)]

    assert sum(bool(changes) for changes in published) == 3
    assert {type(change) for changes in published for change in changes} == {
        PositionChanged, BalanceChanged, CandleChanged
    }  # fmt: skip


def test_market_moved_by_its_owner_is_not_moved_again() -> None:
    driven, alone = Market(1, TODAY), Market(1, TODAY)
    accounts = Accounts(driven, 1, orders_per_s=0.0)

    for turn in range(5):
        driven.drift(0.05)
        accounts.advance(0.05, NOW + turn * 0.05)
        alone.drift(0.05)

    assert driven.shares["AAPL"].fair() == alone.shares["AAPL"].fair()


def test_market_not_moved_by_its_owner_is_moved() -> None:
    accounts = quiet_accounts()
    before = accounts.market.shares["AAPL"].fair()

    accounts.advance(0.05, NOW)

    assert accounts.market.shares["AAPL"].fair() != before


def test_listener_is_called_until_it_is_removed() -> None:
    accounts = quiet_accounts()
    received: list[tuple[int, float]] = []

    def listen(changes: Sequence[Change], now: float) -> None:
        received.append((len(changes), now))

    accounts.add_listener(listen)
    accounts.brokerage.place("ACC-1", "KO", "buy", "limit", 1, price=1, now=NOW)
    accounts.publish(NOW)
    accounts.remove_listener(listen)
    accounts.remove_listener(listen)
    accounts.brokerage.place("ACC-1", "KO", "buy", "limit", 1, price=1, now=NOW)
    accounts.advance(0.05, NOW + 1)

    assert received == [(3, NOW)]


def test_unknown_account_is_refused() -> None:
    with pytest.raises(UsageError, match="ACC-1, ACC-2"):
        quiet_accounts().figures("NOPE")

"""What a chain of options has besides its rows: the strike at the money, and charts over the strikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aries_nb.errors import FeedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.live import Feed
    from aries_nb.live.market.options import OptionChain


@pytest.fixture
def chain(feed: Feed) -> Iterator[OptionChain]:
    with feed.options("MSFT", feed.options("MSFT").expiries[3], strikes=2).wait(timeout=60) as chain:
        yield chain


def test_the_strike_at_the_money_is_the_nearest_to_the_price_of_the_underlying(chain: OptionChain) -> None:
    strikes = chain.df["strike"]

    money, spot = chain.at_the_money, chain.spot

    assert money in set(strikes)
    # The share moves on meanwhile, by far less than the step between two strikes.
    assert abs(money - spot) < strikes.diff().max()


def test_a_chart_of_the_smile_is_drawn_from_the_rows_of_the_chain(chain: OptionChain) -> None:
    chart = chain.chart()

    chart.draw()

    calls, puts = chart.figure.data[:2]
    assert calls.x.tolist() == puts.x.tolist() == sorted(set(chain.df["strike"]))
    assert all(0.05 < volatility < 1 for volatility in (*calls.y, *puts.y))
    assert chart.figure.layout.title.text == f"MSFT {chain.expiry}"


def test_the_same_chart_again_is_the_same_and_ends_with_the_chain(chain: OptionChain) -> None:
    chart = chain.chart("delta", "gamma")
    again = chain.chart("delta", "gamma")

    chain.close()

    assert chart is again
    assert chart.is_closed
    with pytest.raises(FeedError, match="is closed"):
        chain.chart("vega")


def test_a_column_that_is_not_in_the_chain_is_refused_with_those_that_are(chain: OptionChain) -> None:
    with pytest.raises(UsageError, match=r"no number column 'charm'.*delta"):
        chain.chart("charm")

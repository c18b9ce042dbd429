from __future__ import annotations

import math
from random import Random

from aries_nb.sim.accounts.newsroom import MAX_HEADLINES, RELEASES, Newsroom
from aries_nb.sim.market.instruments import EQUITIES


def test_headlines_are_plain_text_about_listed_symbols_in_both_types() -> None:
    newsroom = Newsroom(Random(1), tuple(EQUITIES), 5.0)

    published = newsroom.advance(3000.0, 77.0)

    assert 400 < len(published) < 800
    assert {headline.type for headline in published} == {"news", "press_release"}
    for headline in published:
        assert set(headline.symbols) <= set(EQUITIES)
        assert all(symbol in headline.title for symbol in headline.symbols)
        assert (headline.title + headline.body).isascii()
        assert headline.topics
        assert headline.type == "news" or set(headline.topics) <= RELEASES
    assert [headline.number for headline in published] == list(range(1, len(published) + 1))
    assert list(newsroom.headlines) == published[-MAX_HEADLINES:]


def test_infinite_mean_publishes_nothing() -> None:
    assert Newsroom(Random(1), tuple(EQUITIES), math.inf).advance(1e9, 0.0) == []

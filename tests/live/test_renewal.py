"""Sessions that end soon, on every connection of a feed, and tokens that come from an OAuth server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from aries_nb.errors import TokenError
from aries_nb.live import connect
from aries_nb.live.feed import Feed
from aries_nb.net import BROKERS, Secret, oauth_client
from tests.live.conftest import QUICK
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.sim import Simulator

SESSION_S, WARNING_S = 1.0, 0.5


class Source:
    """Gives tokens until it is told to fail."""

    def __init__(self) -> None:
        self.is_failing = False
        self.calls = 0

    def __call__(self) -> Secret:
        self.calls += 1
        if self.is_failing:
            raise TokenError("the token service is down", advice="Wait.")
        return Secret(f"token {self.calls}")


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def feed(serve: Callable[..., Simulator], source: Source) -> Iterator[Feed]:
    sim = serve(rate=500, session_seconds=SESSION_S, warn_seconds=WARNING_S)
    with Feed(BROKERS["aries"], sim.url, source, at_close=lambda closed: None, rule=QUICK) as feed:
        feed.wait_open(10)
        yield feed


def test_sessions_are_renewed_on_every_connection_without_a_gap_or_a_doubled_row(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", fields=["bid_price", "ask_price"])
    prints = feed.trades("AAPL")
    positions = feed.account("ACC-1").positions

    eventually(lambda: feed.stats().renewals >= 8)

    assert (len(feed.gaps), feed.state, feed.stats().reconnects) == (0, "live", 0)
    assert not positions.is_stale
    trade_ids = prints.df["trade_id"]
    assert trade_ids.is_unique
    assert quotes.df.index.is_monotonic_increasing


def test_a_renewal_that_fails_is_told_and_mended_when_the_source_recovers(feed: Feed, source: Source) -> None:
    quotes = feed.quotes("AAPL")
    positions = feed.account("ACC-1").positions

    source.is_failing = True
    eventually(lambda: feed.state == "reconnecting")
    told = feed.stats().last_error
    source.is_failing = False
    eventually(lambda: feed.state == "live")

    assert told
    eventually(lambda: quotes.is_live and positions.is_live and not positions.is_stale)
    assert {gap.stream for gap in feed._gaps.all()} == {"market", "accounts"}
    before = quotes.received
    eventually(lambda: quotes.received > before)


def test_a_login_by_client_credentials_opens_sockets_and_http(serve: Callable[..., Simulator]) -> None:
    sim = serve(token="only this or what the token endpoint gives")
    login = oauth_client(client_id="sim-client", client_secret="sim-secret")

    with connect("aries", url=sim.url, token=login) as feed:
        same = connect("aries", url=sim.url, token=oauth_client(client_id="sim-client", client_secret="sim-secret"))

        assert feed.accounts == ("ACC-1", "ACC-2")
        assert feed.account("ACC-1").positions.wait().is_live
        assert same is feed


def test_a_login_that_is_refused_is_a_clear_error_at_once(serve: Callable[..., Simulator]) -> None:
    sim = serve(token="only this or what the token endpoint gives")
    began = time.monotonic()

    with pytest.raises(TokenError) as refused:
        connect("aries", url=sim.url, token=oauth_client(client_id="sim-client", client_secret="wr0ng-secret"))

    assert "wr0ng" not in str(refused.value)
    assert time.monotonic() - began < 5

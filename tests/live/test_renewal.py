"""Sessions that end soon, on every connection of a feed, and tokens that come from an OAuth server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import TokenError
from aries_nb.live import connect
from aries_nb.live.feed import Feed
from aries_nb.model import Secret
from aries_nb.net.auth.oauth import oauth_client
from tests.live.conftest import QUICK
from tests.live.witness import Witness, received_prints, received_states
from tests.net.patience import RENEWED_SOON, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.sim import Simulator

SOON = {"session_seconds": 2.0, "warn_seconds": 1.0}


class Source:
    """Returns tokens until it is set to fail."""

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
def sim(serve: Callable[..., Simulator], request: pytest.FixtureRequest) -> Simulator:
    """A market whose sessions end soon, or as the test's parameter says."""
    return serve(rate=500, seed=4, **getattr(request, "param", SOON))


@pytest.fixture
def witness(sim: Simulator) -> Witness:
    return Witness(sim)


@pytest.fixture
def feed(sim: Simulator, source: Source, witness: Witness) -> Iterator[Feed]:
    with Feed(BROKERS["aries"], sim.url, source, at_close=lambda closed: None, rule=QUICK) as feed:
        feed.wait_open(30)
        yield feed


@pytest.mark.parametrize("sim", [RENEWED_SOON], indirect=True)
def test_sessions_are_renewed_on_all_three_endpoints_without_a_gap_or_a_doubled_row(
    feed: Feed, sim: Simulator, witness: Witness
) -> None:
    prints, charts = feed.trades("AAPL"), feed.trades("MSFT", endpoint="charts")
    quotes = feed.quotes("AAPL", fields=["bid_price", "ask_price"])
    account = feed.account("ACC-1")
    orders, positions = account.orders, account.positions
    known = len(witness.order_states("ACC-1"))

    eventually(lambda: min(witness.renewals()) >= 2 and len(witness.order_states("ACC-1")) >= known + 3)
    sim.set_market("closed")  # what is on its way arrives, and nothing is sent any more but talk about the sessions
    eventually(lambda: witness.has_all_arrived(feed.stats().messages))

    assert len(witness.renewals()) == 3
    assert (len(feed.gaps), feed.state, feed.stats().reconnects) == (0, "live", 0)
    assert received_prints(prints) == witness.prints("AAPL")
    assert received_prints(charts) == witness.prints("MSFT")
    states = witness.order_states("ACC-1")[known:]
    assert received_states(orders)[-len(states) :] == states
    assert not positions.is_stale
    assert quotes.df.index.is_monotonic_increasing


def test_a_renewal_that_fails_is_told_and_mended_when_the_source_recovers(
    feed: Feed, source: Source, witness: Witness
) -> None:
    frames = [feed.quotes("AAPL"), feed.trades("AAPL"), feed.trades("MSFT", endpoint="charts")]
    positions = feed.account("ACC-1").positions

    source.is_failing = True
    eventually(lambda: positions.is_stale and not any(frame.is_live for frame in frames))
    eventually(lambda: "the token service is down" in feed.stats().last_error)
    state, shown = feed.state, feed._source.card().error
    source.is_failing = False
    eventually(lambda: feed.state == "live")

    assert state == "reconnecting"
    assert "the token service is down. Wait." in shown
    eventually(lambda: all(frame.is_live for frame in frames) and positions.is_live and not positions.is_stale)
    gaps = feed.gaps.df
    assert sorted(gaps["stream"]) == ["accounts", "charts", "market"]
    assert gaps["ended"].notna().all()
    before = [frame.received for frame in frames]
    eventually(lambda: all(frame.received > count for frame, count in zip(frames, before, strict=True)))
    received = Counter(received_prints(frames[1]))
    assert not received - Counter(witness.prints("AAPL"))  # none more often than it was sent


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
        connect(
            "aries", url=sim.url, token=oauth_client(client_id="sim-client", client_secret="wr0ng-secret"), timeout=60
        )

    assert "wr0ng" not in str(refused.value)
    assert time.monotonic() - began < 60


def test_a_token_function_that_hangs_is_an_error_in_time_and_lets_the_interpreter_exit() -> None:
    program = """
import threading
import aries_nb as anb

try:
    anb.connect("aries", url="ws://127.0.0.1:9", token=threading.Event().wait, timeout=0.2)
except anb.ConnectError as error:
    print(error)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stderr, done.returncode) == ("", 0)
    assert "no session (ws://127.0.0.1:9/v1/market/ws, after 0.2 s)" in done.stdout

"""Rows of docs/alor.md against the simulated broker: one feed a format asks for every opcode, and what is said is kept.

Each with the reply after the snapshot and before it.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.brokers.alor import session as alor_session
from aries_nb.errors import SubscriptionRefusedError, UnknownSymbolError, UsageError
from aries_nb.live import Feed, LiveBook, connect
from aries_nb.model import BAR_COLUMNS
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.sim import AlorOptions, Simulator
from tests.live.alor_feeds import open_alor, serve_alor
from tests.live.conftest import QUICK
from tests.live.test_protocol_rows import Talk
from tests.net.patience import eventually
from tests.sim.alor.client import AlorClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["open_alor", "serve_alor"]

SHARES, OTHER_SHARES, DERIVATIVES = "D00001", "D00002", "7500001"
HANDLED = {"httpCode": 200, "message": "Handled successfully"}


class Bars:
    """Bars of the socket, which a feed has for what goes on after a break."""

    def __init__(self, feed: Feed) -> None:
        options = (("interval", "3600"), ("start", str(int(time.time()) - 5 * 86_400)))  # a weekend may be in it
        self._link = feed._link
        self._tape = self._link.tape("bars", ("SBER",), BAR_COLUMNS, options=options, limit=1_000)

    def __len__(self) -> int:
        return len(self._tape.frame())

    def close(self) -> None:
        self._link.release(self._tape)


class Row(NamedTuple):
    """A request about an instrument or a portfolio, and the call that sends it.

    `marks` are those of past and of new objects, `form` is the format that is asked for.
    """

    opcode: str
    code: str
    hold: Callable[[Feed], Any]
    marks: frozenset[bool] = frozenset()
    form: str = "Slim"


BOTH = frozenset({True, False})
ROWS = (
    # Of what no portfolio here holds: positions are marked at quotes as well.
    Row("QuotesSubscribe", "AAPL", lambda feed: feed.quotes("SPBX:AAPL", min_interval_ms=25)),
    Row("AllTradesGetAndSubscribe", "SBER", lambda feed: feed.trades("SBER"), frozenset({False})),
    Row("OrderBookGetAndSubscribe", "SBER", lambda feed: feed.book("SBER", min_interval_ms=25), BOTH),
    Row("BarsGetAndSubscribe", "SBER", Bars),
    Row("InstrumentsGetAndSubscribeV2", "SBER", lambda feed: feed.instruments("SBER")),
    Row("OrdersGetAndSubscribeV2", SHARES, lambda feed: feed.account(SHARES).orders, BOTH),
    Row("StopOrdersGetAndSubscribeV2", SHARES, lambda feed: feed.account(SHARES).stop_orders, BOTH),
    Row("TradesGetAndSubscribeV2", SHARES, lambda feed: feed.account(SHARES).fills.source, BOTH, "Heavy"),
    Row("PositionsGetAndSubscribeV2", SHARES, lambda feed: feed.account(SHARES).positions, BOTH),
    # Of another portfolio: a summary contains the cash of its positions, which are then requested once for both.
    Row("SummariesGetAndSubscribeV2", OTHER_SHARES, lambda feed: feed.account(OTHER_SHARES).balances),
    Row("RisksGetAndSubscribe", SHARES, lambda feed: feed.account(SHARES).risks),
    Row(
        "SpectraRisksGetAndSubscribe",
        DERIVATIVES,
        lambda feed: feed.account(DERIVATIVES).derivative_risks,
        form="Simple",
    ),
)


class Everything:
    """One feed that asks for all rows, and what was said on its two connections."""

    def __init__(self, sim: Simulator, feed: Feed, talks: tuple[Talk, Talk]) -> None:
        self.sim = sim
        self.feed = feed
        self.talks = talks
        self._passed = 0
        self.held = {row.opcode: row.hold(feed) for row in ROWS}

    def request(self, row: Row) -> tuple[dict[str, Any], Talk]:
        """The request for a row, and where it was made."""
        found = [
            (said, talk)
            for talk in self.talks
            for said in list(talk.said)
            if said["opcode"] == row.opcode and row.code in (said.get("code"), said.get("portfolio"))
        ]
        # Orders ask for own trades as well, which are requested again for their list.
        *_, (request, talk) = found
        return request, talk

    def of(self, row: Row) -> list[dict[str, Any]]:
        """Everything that was received for a row, in order."""
        request, talk = self.request(row)
        guid = request["guid"]
        return [each for each in list(talk.heard) if guid in (each.get("guid"), each.get("requestGuid"))]

    def marks(self, row: Row) -> list[bool]:
        """Which objects of a row were there before it was asked for, where they say so."""
        name = {"Slim": "h"}.get(row.form, "existing")
        found = [each["data"].get(name) for each in self.of(row) if "data" in each]
        return [mark for mark in found if isinstance(mark, bool)]  # "h" of a quote or a bar is its high

    def is_live(self, row: Row) -> bool:
        """Whether something came after the snapshot: unmarked, or, where nothing is marked, one object more."""
        return False in self.marks(row) if row.marks else sum("data" in each for each in self.of(row)) >= 2

    def pass_mark(self) -> None:
        """Wait until everything that the server has sent so far was received."""
        self._passed += 1
        mark = {"requestGuid": f"mark-{self._passed}", **HANDLED}
        self.sim.broadcast(json.dumps(mark))
        eventually(lambda: all(mark in list(talk.heard) for talk in self.talks))


def open_at(sim: Simulator) -> set[tuple[str, str]]:
    """Guid and format of all streams that a server has."""
    return {(guid, each["format"]) for client in sim.subscriptions() for guid, each in client.items()}


def count_of(held: Any) -> int:
    """How many rows there are."""
    return len(held.df if isinstance(held, LiveBook) else held)


@pytest.fixture(scope="module", params=[False, True], ids=["snapshot first", "reply first"])
def everything(request: pytest.FixtureRequest) -> Iterator[Everything]:
    """A feed, when all of its streams have become live."""
    with ExitStack() as stack:
        sim = stack.enter_context(Simulator(AlorOptions(rate=400, ack_first=request.param, orders_per_s=200)))
        give_a_past(sim)
        found = Everything(sim, *stack.enter_context(tapped(sim)))
        for status in ("closed", "open"):  # of instruments nothing else changes
            sim.set_market(status)
        for row in ROWS:
            eventually(partial(found.is_live, row), f"{row.opcode}, live", seconds=60)
        yield found


def give_a_past(sim: Simulator) -> None:
    """Wait until the portfolio of shares has had orders of every kind."""
    with AlorClient(sim.url) as bare:
        bare.request("StopOrdersGetAndSubscribeV2", "stops", exchange="MOEX", portfolio=SHARES)
        bare.request("TradesGetAndSubscribeV2", "fills", exchange="MOEX", portfolio=SHARES)
        missing = {"stops", "fills"}
        while missing:
            missing.discard(bare.receive().get("guid", ""))


@contextmanager
def tapped(sim: Simulator) -> Iterator[tuple[Feed, tuple[Talk, Talk]]]:
    """A feed of which all that is said is kept, of market and accounts."""
    talks = Talk(), Talk()
    broker = BROKERS["alor"]
    broker = replace(broker, market=talks[0].tap(broker.market), accounts=talks[1].tap(broker.accounts))
    with Feed(broker, sim.url, fixed_token("a token"), at_close=lambda closed: None, rule=QUICK) as feed:
        feed.wait_open(30)
        yield feed, talks


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.opcode)
def test_stream_is_asked_for_told_and_given_up(everything: Everything, row: Row) -> None:
    request, _ = everything.request(row)
    held = everything.held[row.opcode]
    count = count_of(held)

    held.close()
    eventually(lambda: sum("requestGuid" in each for each in everything.of(row)) == 2, "the second reply")
    everything.pass_mark()
    heard = everything.of(row)

    replies = [place for place, each in enumerate(heard) if "requestGuid" in each]
    is_reply_first = everything.sim.options.ack_first or row.marks == {False}  # type: ignore[attr-defined]
    assert (request["format"], request["token"]) == (row.form, "a token")
    assert [heard[place] for place in replies] == [{"requestGuid": request["guid"], **HANDLED}] * 2
    assert (replies[0] == 0) is is_reply_first
    assert replies[1] == len(heard) - 1, "nothing comes behind the reply to unsubscribe"
    assert set(everything.marks(row)) == row.marks
    assert everything.marks(row) == sorted(everything.marks(row), reverse=True)
    assert (request["guid"], row.form) not in open_at(everything.sim)
    assert count > 0
    assert (everything.feed.stats().unreadable, everything.feed.stats().last_error) == (0, "")


# What holds on every connection.


def test_a_ping_has_its_reply_and_goes_out_by_itself_as_well(
    serve_alor: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alor_session, "PING_SECONDS", 0.1)  # in place of 20 s
    with tapped(serve_alor(rate=50)) as (_, (talk, _)):
        eventually(lambda: len(answered_pings(talk)) >= 4)

        asked = [each["guid"] for each in list(talk.said) if each["opcode"] == "ping"]
        answered = answered_pings(talk)

    assert answered == asked[: len(answered)]
    assert len(set(asked)) == len(asked)


def answered_pings(talk: Talk) -> list[str]:
    """The guids of pings, in the order of their replies."""
    replies = [each for each in list(talk.heard) if each.get("requestGuid", "").startswith("ping-")]
    assert [each | HANDLED for each in replies] == replies
    return [each["requestGuid"] for each in replies]


@pytest.mark.parametrize(
    ("symbol", "code"), [("NYSE:AAPL", 400), ("SBER1", 404), ("LKOH", 429)], ids=["400", "404", "429"]
)
def test_a_request_that_is_refused_names_its_symbol_and_leaves_the_others(
    serve_alor: Callable[..., Simulator], symbol: str, code: int
) -> None:
    sim = serve_alor(rate=400, subscription_limit=2 if code == 429 else 5_000)
    with tapped(sim) as (feed, (talk, _)):
        others = feed.trades("SBER", "GAZP").wait()

        error = SubscriptionRefusedError if code == 429 else UnknownSymbolError
        with pytest.raises(error, match=symbol) as refused:
            feed.quotes(symbol)
        others.wait(rows=others.received + 20)
        (reply,) = (each for each in list(talk.heard) if each.get("httpCode", 200) != 200)

    assert reply["httpCode"] == code
    assert reply["message"] in str(refused.value)
    assert (feed.stats().reconnects, feed.stats().unreadable) == (0, 0)


def test_a_portfolio_of_somebody_else_is_refused_with_403(serve_alor: Callable[..., Simulator]) -> None:
    sim = serve_alor()
    with tapped(sim) as (feed, (_, talk)):
        feed.account(SHARES).orders  # noqa: B018 - so that there is a connection
        with pytest.raises(UsageError, match="is not available"):
            feed._accounts.link.table("orders", "D99999")  # type: ignore[union-attr]

        codes = [each["httpCode"] for each in list(talk.heard) if "httpCode" in each]

    assert 403 in codes
    assert {200, 403} == set(codes)


def test_a_request_that_nobody_answers_is_refused_in_time_and_what_runs_goes_on(
    serve_alor: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = serve_alor(rate=400)
    with tapped(sim) as (feed, (talk, _)):
        trades = feed.trades("SBER").wait()
        swallow(sim, "GAZP")
        monkeypatch.setattr(alor_session, "REPLY_SECONDS", 0.3)  # in place of 10 s

        with pytest.raises(SubscriptionRefusedError, match=r"GAZP.*no answer within"):
            feed.quotes("GAZP")
        trades.wait(rows=trades.received + 20)

        asked = [each for each in list(talk.said) if each.get("code") == "GAZP"]
        assert len(asked) == 1
        assert (feed.state, feed.stats().reconnects) == ("live", 0)


def swallow(sim: Simulator, code: str) -> None:
    """Have a server lose the requests for an instrument."""

    def lose() -> None:
        for client in sim._server.clients:  # type: ignore[attr-defined]
            receive = client.session.receive
            client.session.receive = lambda frame, *times, receive=receive: code in str(frame) or receive(frame, *times)

    sim._call(lose)


def test_thousands_asked_for_at_once_are_not_given_up_while_the_server_is_still_answering(
    serve_alor: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alor_session, "REPLY_SECONDS", 3.0)  # in place of 10 s
    sim, symbols = serve_alor(rate=50), [f"SIM{number:05d}" for number in range(1, 801)]
    with tapped(sim) as (feed, (talk, _)):
        each_request_takes(sim, 0.005)

        quotes = feed.quotes(*symbols)
        eventually(lambda: len(quotes.latest.dropna(subset="ts")) == len(symbols), "a quote of each")
        eventually(lambda: replies(talk, "quotes") == len(symbols), "a reply to each")

        eventually(lambda: feed.stats().behind_s == 0.0)  # a busy machine may still read what has come

        assert (feed.state, feed.stats().last_error) == ("live", "")


def replies(talk: Talk, stream: str) -> int:
    """How many requests for a stream have been answered."""
    return sum(str(each.get("requestGuid")).startswith(stream) for each in list(talk.heard))


def each_request_takes(sim: Simulator, seconds: float) -> None:
    """Make a server slow at answering."""

    def slow() -> None:
        for client in sim._server.clients:  # type: ignore[attr-defined]
            receive = client.session.receive
            client.session.receive = lambda *given, receive=receive: (time.sleep(seconds), receive(*given))

    sim._call(slow)


def test_a_401_without_a_guid_ends_the_connection_and_the_next_one_has_another_token(
    serve_alor: Callable[..., Simulator],
) -> None:
    sim = serve_alor(token="none but those issued", faults=frozenset({"empty_guid"}), rate=400)
    service = sim._server.tokens  # type: ignore[attr-defined]
    with connect("alor", url=sim.url, token=sim.options.refresh_token) as feed:  # type: ignore[attr-defined]
        trades = feed.trades("SBER").wait()
        sim._call(lambda: setattr(service, "_key", b"another key"))  # no token of before is good any more

        quotes = feed.quotes("GAZP").wait()
        trades.wait(rows=trades.received + 20)

        assert quotes.is_live
        assert (feed.state, feed.stats().reconnects, service.issued) == ("live", 1, 2)
        assert "the server refuses the token: Invalid JWT token!" in feed.gaps.df["reason"].iloc[0]
        assert {each["code"] for client in sim.subscriptions() for each in client.values()} == {"SBER", "GAZP"}


def test_everything_is_asked_for_again_under_the_same_guids(serve_alor: Callable[..., Simulator]) -> None:
    sim = serve_alor(rate=400)
    with tapped(sim) as (feed, _):
        held = [feed.trades("SBER"), feed.quotes("SBER", "GAZP"), feed.book("LKOH"), feed.instruments("SBER")]
        before = sim.subscriptions()

        sim.drop_connections()
        eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
        after = sim.subscriptions()

        assert [each.is_live for each in held] == [True] * 4
    asked = [{guid: (each["kind"], each["code"]) for guid, each in client.items()} for client in (*before, *after)]
    assert len(asked[0]) == 5
    assert asked == [asked[0]] * 2

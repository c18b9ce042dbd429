"""Thousands of streams at once: the loop runs on in between, and no request is lost, doubled or overtaken."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.brokers.aries.account_objects import rows_of
from aries_nb.brokers.aries.accounts import ROWS_A_CALL
from aries_nb.model import ORDER_COLUMNS, QUOTE_COLUMNS, Subscription
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.background import on_network
from aries_nb.net.intake import ROUTES_A_TURN, Route
from aries_nb.net.session import Session
from aries_nb.net.websocket import FRAMES_A_TURN
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from aries_nb.store import GapLog, RollingFrame, Table
from tests.net.conftest import QUICK
from tests.net.patience import eventually
from tests.net.rude import RudeServer, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from websockets.asyncio.server import ServerConnection

    Open = Callable[[str], Session]

MANY = 1_050
SYMBOLS = [f"SIM{number:05d}" for number in range(1, MANY + 1)]  # Aries' simulator refuses them, in its own time
OPTIONS = {"aries": SimOptions(rate=1), "alor": AlorOptions(rate=1)}
both = pytest.mark.parametrize("name", ["aries", "alor"])


@pytest.fixture
def live() -> Iterator[Open]:
    """Open a live session with the simulator of a broker; closed with the test."""
    with ExitStack() as stack:

        def begin(name: str) -> Session:
            sim = stack.enter_context(Simulator(OPTIONS[name]))
            endpoint = BROKERS[name].market
            url = sim.url + endpoint.path
            session = Session(url, endpoint.make(), fixed_token("any"), GapLog().stream("test"), rule=QUICK)
            stack.callback(lambda: session.close().result(30))
            session.wait_open(30)
            return session

        yield begin


def routes() -> list[Route]:
    fields = tuple(column.name for column in QUOTE_COLUMNS[:2])
    tape = RollingFrame(QUOTE_COLUMNS[:2], SYMBOLS, limit=10_000)
    return [Route(Subscription("quotes", symbol, fields), tape, code) for code, symbol in enumerate(SYMBOLS)]


class LoopTurns:
    """Numbers the turns of the network's loop, and adds up the work done in each."""

    def __init__(self) -> None:
        self.work: Counter[int] = Counter()
        self.number = 0
        self.is_over = False
        on_network(self._turn).result(30)

    def note(self, count: int) -> None:
        self.work[self.number] += count

    def _turn(self) -> None:
        self.number += 1
        if not self.is_over:
            asyncio.get_running_loop().call_soon(self._turn)


@pytest.fixture
def turns() -> Iterator[LoopTurns]:
    counted = LoopTurns()
    yield counted
    counted.is_over = True


def spied(turns: LoopTurns, function: Callable[..., Any]) -> Callable[..., Any]:
    def noted(items: Sequence[Any]) -> Any:
        turns.note(len(items))
        return function(items)

    return noted


def requested(frames: Sequence[str]) -> Counter[str]:
    """How often each symbol was subscribed to."""
    found: Counter[str] = Counter()
    for frame in frames:
        message = json.loads(frame)
        if message.get("type") == "subscribe":
            found.update(item["symbol"] for item in message["payload"])
        elif "code" in message:
            found[message["code"]] += 1
    return found


@both
def test_loop_runs_on_after_so_many_routes(name: str, live: Open, turns: LoopTurns) -> None:
    session, many = live(name), routes()
    for method in ("attach", "detach"):
        setattr(session.intake, method, spied(turns, getattr(session.intake, method)))

    session.subscribe(many).result(60)
    session.unsubscribe(many).result(60)

    assert sum(turns.work.values()) == 2 * MANY
    assert max(turns.work.values()) == ROUTES_A_TURN


def test_loop_runs_on_after_so_many_frames_also_after_a_break(live: Open, turns: LoopTurns) -> None:
    session = live("alor")
    session.subscribe(routes()).result(60)
    turns.work.clear()
    whole = session._send_queue.send

    async def send(socket: Any, outgoing: Callable[[], Sequence[str]]) -> None:
        class Noted(list[str]):
            def __iter__(self) -> Iterator[str]:
                for frame in super().__iter__():
                    turns.note(1)
                    yield frame

        await whole(socket, lambda: Noted(outgoing()))

    session._send_queue.send = send  # type: ignore[method-assign]
    on_network(lambda: session._socket.transport.abort()).result(30)  # type: ignore[union-attr]
    eventually(lambda: session.state == "live" and session.reconnects == 1, 20)

    assert sum(turns.work.values()) > MANY
    assert max(turns.work.values()) <= FRAMES_A_TURN + 1  # the frame that the next turn sends has been looked at


def test_loop_runs_on_while_a_day_of_orders_is_decoded(turns: LoopTurns, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {"ordersV2": [{"clOrdId": f"O{n}", "ordStatus": "FILLED"} for n in range(MANY)], "positions": []}

    async def behave(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        async for text in connection:
            message = json.loads(text)
            if message["type"] == "ping":
                await say(connection, {"type": "pong", "id": message["id"]})
            else:
                await say(
                    connection,
                    {"type": "subscribed", "id": message["id"], "payload": {"topic": "account", "data": many}},
                )

    def spied(kind: Any, items: Any, line: bytes) -> Any:
        turns.note(len(items))
        return rows_of(kind, items, line)

    monkeypatch.setattr("aries_nb.brokers.aries.accounts.rows_of", spied)
    columns = ORDER_COLUMNS[:1]
    table = Table(columns, ["A"], key=["order_id"])
    with RudeServer(behave) as server:
        session = Session(server.url, BROKERS["aries"].accounts.make(), fixed_token("any"), GapLog().stream("test"))
        session.wait_open(30)
        session.subscribe([Route(Subscription("orders", "A", ("order_id",)), table, 0)]).result(60)
        count = len(table)
        session.close().result(30)

    assert (count, sum(turns.work.values())) == (MANY, MANY)  # all of them once the server's answer counts as processed
    assert max(turns.work.values()) == ROWS_A_CALL


@both
def test_calls_take_effect_in_their_order(name: str, live: Open) -> None:
    session, many = live(name), routes()

    session.subscribe(many)
    session.unsubscribe(many)
    session.subscribe(many[:7])
    session.unsubscribe(many[:3]).result(60)

    assert session.intake.subscriptions == [route.subscription for route in many[3:7]]


@both
def test_cut_in_the_middle_everything_is_requested_once_on_the_next_connection(name: str, live: Open) -> None:
    session, many = live(name), routes()
    frames: list[str] = []
    attached: list[int] = []
    protocol: Any = session._protocol
    opening, outgoing, attach = protocol.open, protocol.outgoing, session.intake.attach

    def opened(now: float) -> None:
        frames.clear()
        opening(now)

    def queued() -> Sequence[str]:
        frames.extend(found := outgoing())
        return found

    def cutting(turn: Sequence[Route]) -> list[Subscription]:
        attached.append(len(turn))
        if len(attached) == 3:
            session._socket.transport.abort()  # type: ignore[union-attr]
        return attach(turn)

    protocol.open, protocol.outgoing, session.intake.attach = opened, queued, cutting  # type: ignore[method-assign]
    session.subscribe(many).result(60)
    eventually(lambda: session.state == "live" and session.reconnects == 1, 20)

    assert sum(attached) == MANY
    eventually(lambda: requested(frames) == Counter(SYMBOLS), 20)


@both
def test_closed_in_the_middle_nobody_waits(name: str, live: Open) -> None:
    session = live(name)

    answer = session.subscribe(routes())
    session.close().result(30)

    answer.result(30)

from __future__ import annotations

import asyncio
import errno
import json
import socket
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import serve
from websockets.frames import Frame, Opcode

from aries_nb.errors import ConnectError, FeedError, TokenError
from aries_nb.model import QUOTE_COLUMNS, Column, RecordBuffer, Secret, Subscription
from aries_nb.net.background import on_network
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.connection_errors import ConnectionLostError
from aries_nb.net.gap_tracking import PingBarriers
from aries_nb.net.intake import Route
from aries_nb.net.session import Session
from aries_nb.net.websocket import connected
from aries_nb.store import RollingFrame
from tests.net.forward_proxy import papers
from tests.net.patience import RENEWED_SOON, eventually
from tests.net.rude import RudeListener, RudeServer, answer_pings, say

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from websockets.asyncio.server import ServerConnection

    from aries_nb.sim import Simulator

    Serve = Callable[..., Simulator]
    Open = Callable[..., Session]

FIELDS = tuple(column.name for column in QUOTE_COLUMNS)


def quotes(*symbols: str) -> tuple[RollingFrame, list[Route]]:
    tape = RollingFrame(QUOTE_COLUMNS, symbols, limit=100_000)
    return tape, [Route(Subscription("quotes", symbol, FIELDS), tape, code) for code, symbol in enumerate(symbols)]


def gaps(session: Session) -> list[Any]:
    ledger: Any = session._gap_tracker._gaps._log
    return list(ledger.all())


def ended_gaps(session: Session) -> int:
    return sum(gap.ended is not None for gap in gaps(session))


# Live, closed, and the way there.


def test_it_becomes_live_and_notifies_its_observers(serve: Serve, open_session: Open) -> None:
    seen: list[str] = []
    sim = serve()
    session = open_session(sim.url)
    session.watch(lambda: seen.append(session.state))

    session.wait_open(30)
    session.close().result(30)

    assert seen == ["live", "closed"]
    assert sim.statistics().auths == 1


def test_market_status_is_kept(serve: Serve, open_session: Open) -> None:
    sim = serve()
    session = open_session(sim.url)
    session.wait_open(30)

    sim.set_market("closed", after_hours=True)
    eventually(lambda: session.status_reports[1] == 2)

    reports, _ = session.status_reports
    assert [report.entries["market"] for report in reports] == ["open", "closed"]
    assert reports[-1].entries["after_hours"] is True
    assert {"exchanges.nasdaq", "currencies.crypto"} <= set(reports[-1].entries)
    assert 0 < reports[-1].ts <= reports[-1].received + 1_000_000_000


@pytest.mark.parametrize("form", ["event", "response", "anonymous"])
def test_every_accepted_form_of_authentication_opens_it(form: str, serve: Serve, open_session: Open) -> None:
    session = open_session(serve(auth_reply=form, **RENEWED_SOON).url)

    session.wait_open(30)
    eventually(lambda: session.renewals >= 1)

    assert (session.state, len(gaps(session))) == ("live", 0)


def test_a_lack_of_descriptors_that_passes_ends_a_connection_and_not_the_session(
    serve: Serve, open_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(serve().url)
    session.wait_open(30)
    errors = [OSError(errno.EMFILE, "Too many open files")]
    turn = session.read_monitor.turn

    def fails_once(*arguments: Any) -> None:
        if errors:
            raise errors.pop()
        turn(*arguments)

    monkeypatch.setattr(session.read_monitor, "turn", fails_once)

    eventually(lambda: session.reconnects == 1 and session.state == "live")

    assert (errors, session.error) == ([], None)
    assert [gap.reason for gap in gaps(session)] == ["Too many open files"]


def test_a_first_connection_without_descriptors_says_so(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def connected(*_: object) -> AsyncIterator[None]:
        raise OSError(errno.EMFILE, "Too many open files")
        yield

    monkeypatch.setattr("aries_nb.net.websocket.connected", connected)

    with pytest.raises(ConnectError, match=r"run out of resources: Too many open files.*ulimit"):
        open_session("ws://127.0.0.1:1").wait_open(60)


def test_closing_twice_is_closing_once(serve: Serve, open_session: Open) -> None:
    sim = serve()
    session = open_session(sim.url)
    session.wait_open(30)

    session.close()
    session.close()
    eventually(lambda: sim.statistics().connections_open == 0)

    assert (session.state, session.error, len(gaps(session))) == ("closed", None, 0)


def test_it_can_be_closed_before_it_is_open(open_session: Open) -> None:
    async def silent(_: RudeServer, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read()

    with RudeListener(silent) as server:
        session = open_session(server.url)
        session.close()

        with pytest.raises(ConnectError, match="closed before it was open"):
            session.wait_open(60)


def test_it_can_be_closed_from_the_networks_own_thread(serve: Serve, open_session: Open) -> None:
    session = open_session(serve().url)
    session.wait_open(30)

    on_network(session.close).result(30)

    eventually(lambda: session.state == "closed")


# Servers that are none, or none of ours.


def test_an_address_where_nothing_listens_is_an_error_at_once(open_session: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        session = open_session(f"ws://127.0.0.1:{unused.getsockname()[1]}")

        with pytest.raises(ConnectError, match=r"cannot connect: .*127\.0\.0\.1.*Check the address"):
            session.wait_open(60)

    assert session.state == "failed"


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_what_speaks_no_websocket_is_named_so(greeting: bytes, open_session: Open) -> None:
    async def answer(_: RudeServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(greeting)

    with RudeListener(answer) as server:
        session = open_session(server.url)

        with pytest.raises(ConnectError, match="no WebSocket server of this broker"):
            session.wait_open(60)


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"503 Service Unavailable"])
def test_a_server_that_takes_no_connection_for_now_is_named_so(status: bytes, open_session: Open) -> None:
    async def answer(_: RudeServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    with RudeListener(answer) as server:
        session = open_session(server.url)

        with pytest.raises(ConnectError, match=f"takes no connection now: HTTP {status[:3].decode()}"):
            session.wait_open(60)


def test_a_server_that_never_answers_runs_into_the_callers_timeout(open_session: Open) -> None:
    async def silent(_: RudeServer, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read()

    with RudeListener(silent) as server:
        session = open_session(server.url)

        with pytest.raises(ConnectError, match=r"no session .*after 0\.2 s.*longer timeout"):
            session.wait_open(0.2)
        session.close()


def test_a_server_that_never_answers_the_token_is_named_so(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.brokers.aries.session.AUTH_SECONDS", 0.1)
    monkeypatch.setattr("aries_nb.net.session.TICK_SECONDS", 0.05)

    async def mute(_: RudeServer, connection: ServerConnection) -> None:
        await connection.wait_closed()

    with RudeServer(mute) as server:
        session = open_session(server.url)

        with pytest.raises(ConnectError, match="no answer to the token"):
            session.wait_open(60)


def test_wss_to_a_server_without_tls_is_named_so(serve: Serve, open_session: Open) -> None:
    session = open_session(serve().url.replace("ws://", "wss://"))

    with pytest.raises(ConnectError, match="TLS"):
        session.wait_open(60)


def test_tls_that_makes_no_sense_is_named_so(open_session: Open) -> None:
    async def babble(_: RudeServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    with RudeListener(babble) as server:
        session = open_session(server.url.replace("ws://", "wss://"))

        with pytest.raises(ConnectError, match="certificate or TLS is not acceptable"):
            session.wait_open(60)


def test_messages_through_tls_are_whole_and_in_order_although_some_of_each_read_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, trusted = 20_000, papers(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.authority))
    messages: list[bytes] = []

    async def flood(connection: ServerConnection) -> None:
        for number in range(count):
            await connection.send(str(number))

    def take(unread: deque[bytes]) -> None:
        for _ in range(min(len(unread), 100)):
            messages.append(unread.popleft())

    async def read() -> None:
        async with asyncio.timeout(60), serve(flood, "127.0.0.1", 0, compression=None, ssl=trusted.tls) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(Secret(f"wss://127.0.0.1:{port}")) as socket:
                await socket.deliver(take)

    with pytest.raises(ConnectionLostError, match="1000"):
        asyncio.run(read())

    assert messages == [b"%d" % number for number in range(count)]


def test_a_certificate_without_a_trusted_issuer_is_refused(open_session: Open, tmp_path: Path) -> None:
    with RudeServer(RudeServer.log_in, tls=papers(tmp_path, "127.0.0.1").tls) as server:
        session = open_session(server.url)

        with pytest.raises(ConnectError, match=r"not acceptable \(CERTIFICATE_VERIFY_FAILED\)"):
            session.wait_open(60)

    assert server.tokens == []


def test_a_redirect_is_not_followed(serve: Serve, open_session: Open) -> None:
    elsewhere = serve()

    async def redirect(_: RudeServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        place = f"{elsewhere.url}/v1/market/ws"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())

    with RudeListener(redirect) as server:
        session = open_session(server.url)

        with pytest.raises(ConnectError, match="302"):
            session.wait_open(60)

    assert elsewhere.statistics().connections_total == 0


def test_a_server_on_this_machine_is_reached_without_the_proxy(
    serve: Serve, open_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    session = open_session(serve().url)

    session.wait_open(30)

    assert session.state == "live"


# Breaks.


@pytest.mark.parametrize(("code", "reason"), [(1001, "the server stops"), (1008, "policy"), (1013, "too slow")])
def test_a_close_is_one_gap_that_names_code_and_reason(
    code: int, reason: str, serve: Serve, open_session: Open
) -> None:
    sim = serve()
    session = open_session(sim.url)
    session.wait_open(30)

    sim.close_connections(code, reason)
    eventually(lambda: ended_gaps(session) == 1)

    assert [f"the server closed the connection ({code}: {reason})"] == [gap.reason for gap in gaps(session)]
    assert (session.state, session.reconnects) == ("live", 1)


def test_when_it_is_live_again_everything_is_running_again(serve: Serve, open_session: Open) -> None:
    sim = serve()
    session = open_session(sim.url)
    session.wait_open(30)
    _, streams = quotes("AAPL", "MSFT")
    assert session.subscribe(streams).result(30) == {}
    before = sim.subscriptions()

    sim.drop_connections()
    eventually(lambda: session.reconnects == 1 and session.state == "live")

    assert before == sim.subscriptions()
    assert [gap.reason for gap in gaps(session)] == ["the connection was cut"]


def test_a_read_that_takes_long_is_published_in_between_and_each_message_has_its_own_time(
    open_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 200
    update = {"action": "update", "type": "quote", "symbol": "AAPL", "timestamp": 1, "data": {"bidPrice": 1}}
    message = json.dumps({"type": "event", "payload": update}).encode()
    may_send = threading.Event()

    async def burst(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await answer_pings(connection, 2)
        await asyncio.to_thread(may_send.wait, 10)
        connection.transport.write(Frame(Opcode.TEXT, message).serialize(mask=False) * count)  # one read of the client
        await connection.wait_closed()

    with RudeServer(burst) as server:
        session = open_session(server.url)
        session.wait_open(30)
        tape, routes = quotes("AAPL")
        session.subscribe(routes).result(30)
        take, visible, looks = session.intake.take, [], []

        def slow(frame: bytes, received: int) -> Any:
            time.sleep(0.002)
            return take(frame, received)

        monkeypatch.setattr(session.intake, "take", slow)
        monkeypatch.setattr(session.read_monitor, "in_burst", lambda socket, now: looks.append(len(socket.unread)))
        tape.watch(lambda: visible.append(tape.version))
        may_send.set()
        eventually(lambda: tape.version == count)

    received = tape.frame_since(0)[0]["received"]
    assert len(visible) >= 0.002 * count / 0.1  # a tenth of a second at most, also on a busy machine
    # It is published at fifths of a second as well: what is computed then sees all that was received before.
    assert set(looks) <= {count - version for version in visible[:-1]}
    assert received.is_unique


def test_accept_then_kick_is_not_hammered(open_session: Open) -> None:
    async def kick(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await answer_pings(connection, 1)
        await connection.close(1011, "go away")

    rule = BackoffRule(first=0.05, cap=5.0, cap_after_live=0.2)
    with RudeServer(kick) as server:
        session = open_session(server.url, rule=rule)
        session.wait_open(30)
        eventually(lambda: len(server.times) >= 7)
        session.close()

    waits = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    least = [0.05 / 2] + [0.2 / 2] * (len(waits) - 1)
    assert [(wait, low) for wait, low in zip(waits, least, strict=True) if wait < low] == []


def test_a_server_that_kicks_before_the_first_pong_was_never_live(open_session: Open) -> None:
    async def kick(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await connection.close(1011, "go away")

    with RudeServer(kick) as server:
        session = open_session(server.url)

        with pytest.raises(ConnectError, match=r"1011: go away"):
            session.wait_open(60)


def test_a_server_that_stops_answering_pings_is_dead(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.brokers.aries.session.PING_SECONDS", 0.1)
    monkeypatch.setattr("aries_nb.brokers.aries.session.PONG_SECONDS", 1.0)  # a busy machine answers late
    monkeypatch.setattr("aries_nb.net.session.TICK_SECONDS", 0.05)

    async def fall_silent(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await answer_pings(connection, 1 if len(server.times) == 1 else None)
        await connection.wait_closed()

    with RudeServer(fall_silent) as server:
        session = open_session(server.url)
        session.wait_open(30)
        eventually(lambda: ended_gaps(session) == 1)
        session.close()

    assert [gap.reason for gap in gaps(session)] == ["no answer to a ping within 1 s"]


def test_a_stream_asked_for_during_a_break_runs_after_it(serve: Serve, open_session: Open) -> None:
    sim = serve()
    session = open_session(sim.url, rule=BackoffRule(first=2.0, cap=2.0, cap_after_live=2.0))
    session.wait_open(30)
    sim.drop_connections()
    eventually(lambda: session.state == "reconnecting")
    tape, streams = quotes("AAPL")

    refused = session.subscribe(streams).result(30)
    assert session.state == "reconnecting"
    eventually(lambda: len(tape) > 0)

    assert refused == {}
    assert [list(client) for client in sim.subscriptions()] == [["AAPL"]]


def test_a_stream_asked_for_while_the_connection_breaks_is_no_error(serve: Serve, open_session: Open) -> None:
    sim = serve()
    session = open_session(sim.url)
    session.wait_open(30)
    symbols = ["AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "JPM", "V", "SPX"]

    for symbol in symbols:
        sim.drop_connections()
        assert session.subscribe(quotes(symbol)[1]).result(30) == {}
    eventually(lambda: session.state == "live" and [sorted(symbols)] == [sorted(c) for c in sim.subscriptions()])

    assert session.error is None


def test_a_stream_subscribed_and_unsubscribed_during_a_break_leaves_nothing(serve: Serve, open_session: Open) -> None:
    sim = serve()
    session = open_session(sim.url, rule=BackoffRule(first=0.3, cap=0.3, cap_after_live=0.3))
    session.wait_open(30)
    tape, streams = quotes("AAPL")
    session.subscribe(streams).result(30)
    eventually(lambda: len(tape) > 0)
    sim.drop_connections()
    eventually(lambda: session.state == "reconnecting")
    part = [
        Route(
            Subscription("quotes", "AAPL", ("bid_price",)), RollingFrame((Column("bid_price"),), ["AAPL"], limit=9), 0
        )
    ]

    session.subscribe(part).result(30)
    session.unsubscribe(part).result(30)
    eventually(lambda: session.state == "live")

    assert session.error is None
    assert [streams[0].subscription] == session.intake.subscriptions


def test_a_store_that_fails_fails_the_session_aloud(
    serve: Serve, open_session: Open, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        buffer = RecordBuffer()

        def publish(self) -> None:
            raise MemoryError("no room")

        def interrupted(self) -> None: ...

    session = open_session(serve().url)
    session.wait_open(30)

    session.subscribe([Route(Subscription("quotes", "AAPL", FIELDS), Full(), 0)])
    eventually(lambda: session.state == "failed")
    on_network(session._completed).result(30)  # by the answer to a ping, which may be in the same read

    assert session.state == "failed"
    assert isinstance(session.error, FeedError)
    assert isinstance(session.error.__cause__, MemoryError)
    assert "no room" in str(session.error)
    assert [record.getMessage()[:16] for record in caplog.records] == ["the session with"]


# Tokens.


def test_a_refused_token_is_fatal_and_sent_once(serve: Serve, open_session: Open) -> None:
    sim = serve(token="good")
    session = open_session(sim.url, "bad one")

    with pytest.raises(TokenError, match=r"refused \(authentication failed\).*Get a new one"):
        session.wait_open(60)

    assert (session.state, sim.statistics().connections_total, sim.statistics().auths) == ("failed", 1, 0)


def test_a_source_that_has_a_fresher_token_gets_a_second_try(serve: Serve, open_session: Open) -> None:
    sim = serve(token="good one")
    tokens = iter(["stale one", "good one"])
    session = open_session(sim.url, secrets(lambda: next(tokens)))

    session.wait_open(30)

    assert (session.state, sim.statistics().connections_total) == ("live", 2)


def test_a_source_of_ever_new_bad_tokens_gets_no_third_try(serve: Serve, open_session: Open) -> None:
    sim = serve(token="good one")
    numbers = iter(range(1000))
    session = open_session(sim.url, secrets(lambda: f"bad {next(numbers)}"))

    with pytest.raises(TokenError):
        session.wait_open(60)

    assert sim.statistics().connections_total == 2


def test_a_token_refused_at_a_reconnect_is_fatal_as_well(open_session: Open) -> None:
    async def refuse_the_second(server: RudeServer, connection: ServerConnection) -> None:
        if len(server.times) == 1:
            await server.log_in(connection)
            await answer_pings(connection, 1)
            return
        request = await server.hear_token(connection)
        await say(
            connection, {"type": "event", "payload": {"action": "error", "error": "revoked", "id": request["id"]}}
        )
        await connection.wait_closed()

    with RudeServer(refuse_the_second) as server:
        session = open_session(server.url)
        session.wait_open(30)
        eventually(lambda: session.state == "failed")

    assert isinstance(session.error, TokenError)
    assert len(server.times) == 2
    assert [gap.ended for gap in gaps(session)] == [None]


def test_a_server_that_is_gone_after_a_refusal_is_not_hammered(open_session: Open) -> None:
    async def refuse_once_then_slam(server: RudeServer, connection: ServerConnection) -> None:
        if len(server.times) == 1:
            await server.log_in(connection)
            await answer_pings(connection, 1)
        elif len(server.times) == 2:
            request = await server.hear_token(connection)
            payload = {"action": "error", "error": "expired", "id": request["id"]}
            await say(connection, {"type": "event", "payload": payload})
            await connection.wait_closed()
        else:
            connection.transport.abort()

    numbers = iter(range(1000))
    with RudeServer(refuse_once_then_slam) as server:
        session = open_session(
            server.url, secrets(lambda: f"token {next(numbers)}"), rule=BackoffRule(first=0.1, cap=0.1)
        )
        session.wait_open(30)
        eventually(lambda: len(server.times) >= 6)
        session.close()

    waits = [later - earlier for earlier, later in zip(server.times[2:], server.times[3:], strict=False)]
    assert min(waits) >= 0.05


def test_a_source_that_fails_at_first_is_the_error_itself(serve: Serve, open_session: Open) -> None:
    def fail() -> str:
        raise TokenError("the vault is shut")

    session = open_session(serve().url, fail)

    with pytest.raises(TokenError, match="the vault is shut"):
        session.wait_open(60)


def test_a_source_that_fails_during_a_break_is_asked_again(serve: Serve, open_session: Open) -> None:
    sim = serve()
    failures = iter([False, True, True, True, False])

    def fetch() -> str:
        if next(failures):
            raise TokenError("the vault is out of reach")
        return "a token"

    session = open_session(sim.url, secrets(fetch))
    session.wait_open(30)

    sim.drop_connections()
    eventually(lambda: ended_gaps(session) == 1)

    assert (session.state, len(gaps(session))) == ("live", 1)
    assert sim.statistics().connections_total == 2


# Renewal.


def test_renewal_in_place_keeps_every_print(serve: Serve, open_session: Open) -> None:
    sim = serve(**RENEWED_SOON, rate=500)
    session = open_session(sim.url)
    session.wait_open(30)
    tape = RollingFrame((Column("price"), Column("trade_id", "integer")), ["AAPL"], limit=100_000)
    session.subscribe([Route(Subscription("trades", "AAPL", ("price", "trade_id")), tape, 0)]).result(30)

    eventually(lambda: session.renewals >= 4)

    ids = tape.frame()["trade_id"]
    assert len(ids) > 20
    assert {1} == set(ids.diff().dropna())
    assert (sim.statistics().connections_total, [gap.cause for gap in gaps(session)]) == (1, [])


def test_a_renewal_without_a_token_is_tried_again_in_time(serve: Serve, open_session: Open) -> None:
    sim = serve(**RENEWED_SOON)
    failures = iter([False, True, True])

    def fetch() -> str:
        if next(failures, False):
            raise TokenError("the vault is out of reach")
        return "a token"

    session = open_session(sim.url, secrets(fetch))
    session.wait_open(30)
    eventually(lambda: session.renewals >= 2)

    assert (sim.statistics().connections_total, len(gaps(session))) == (1, 0)


def test_a_session_that_expired_for_want_of_a_token_comes_back_with_one(serve: Serve, open_session: Open) -> None:
    sim = serve(session_seconds=0.4)
    is_shut = threading.Event()

    def fetch() -> str:
        if is_shut.is_set():
            raise TokenError("the vault is out of reach")
        return "a token"

    session = open_session(sim.url, secrets(fetch))
    session.wait_open(30)
    is_shut.set()
    eventually(lambda: session.state == "reconnecting")
    is_shut.clear()
    eventually(lambda: ended_gaps(session) >= 1)

    assert [gap.reason for gap in gaps(session)][:1] == ["authExpired: session expired"]


def test_a_refused_renewal_is_shown_and_leads_to_a_token_error(serve: Serve, open_session: Open) -> None:
    sim = serve(session_seconds=0.6, token="good one")
    tokens = iter(["good one"])
    session = open_session(sim.url, secrets(lambda: next(tokens, "bad one")))
    session.wait_open(30)

    eventually(lambda: session.state == "failed")

    assert isinstance(session.error, TokenError)
    assert sim.statistics().connections_total == 2


def secrets(fetch: Callable[[], str]) -> Any:
    from aries_nb.net.auth.tokens import token_from

    return token_from(fetch)


def test_an_answered_ping_resolves_what_was_asked_before_it_and_nothing_later() -> None:
    async def resolved() -> list[list[bool]]:
        barriers = PingBarriers()
        waiting = [barriers.wait_for(number) for number in (1, 2, 3)]
        found = []
        for release in (lambda: barriers.release(2), barriers.release):
            release()
            found.append([each.done() for each in waiting])
        return found

    assert asyncio.run(resolved()) == [[True, True, False], [True, True, True]]

"""The token is sent to the server and appears nowhere else."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import TYPE_CHECKING, Any, cast

import pytest

from aries_nb.errors import TokenError
from aries_nb.model import Secret
from aries_nb.net.auth.tokens import token_from
from aries_nb.net.connection_errors import ConnectionLostError
from aries_nb.net.http_client import HttpClient
from aries_nb.net.websocket import SendQueue, connected
from tests.net.http_server import HttpServer, Reply
from tests.net.patience import RENEWED_SOON, eventually
from tests.net.rude import RudeServer, answer_pings, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.server import ServerConnection

    from aries_nb.net.session import Session
    from aries_nb.sim import Simulator

TOKEN = "hunter2-and-some-more"


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    ours = [record for record in caplog.records if record.threadName == "aries-nb-network"]
    return "\n".join(logging.Formatter().format(record) + repr(record.args) for record in ours)


def test_the_token_is_in_no_log_record(
    open_session: Callable[..., Session], caplog: pytest.LogCaptureFixture, serve: Callable[..., Simulator]
) -> None:
    caplog.set_level(logging.DEBUG)
    sim = serve(**RENEWED_SOON, token=TOKEN)
    session = open_session(sim.url, TOKEN)

    session.wait_open(30)
    eventually(lambda: session.renewals >= 1)
    sim.drop_connections()
    eventually(lambda: session.reconnects == 1 and session.state == "live")
    session.close()

    assert "the connection was cut" in everything_logged(caplog)
    assert "hunter2" not in everything_logged(caplog)


def test_a_refusal_that_echoes_the_token_does_not_bring_it_into_the_error(
    open_session: Callable[..., Session], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def echo(server: RudeServer, connection: ServerConnection) -> None:
        request = await server.hear_token(connection)
        payload = {"action": "error", "error": f"bad token {TOKEN}", "id": request["id"]}
        await say(connection, {"type": "event", "payload": payload})
        await connection.wait_closed()

    with RudeServer(echo) as server:
        session = open_session(server.url, TOKEN)
        with pytest.raises(TokenError, match=r"bad token \*\*\*") as caught:
            session.wait_open(60)

    assert server.tokens == [TOKEN]
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
    assert "hunter2" not in session.last_error + everything_logged(caplog)


@pytest.mark.parametrize(
    "words",
    [
        f"you sent {TOKEN}",
        f'{{"type": "event", "payload": {{"action": "error", "error": "not {TOKEN}", "id": "x"}}}}',
        f'{{"type": "event", "payload": {{"action": "what", "said": "{TOKEN}"}}}}',
    ],
)
def test_whatever_echoes_the_token_is_kept_without_it(words: str, open_session: Callable[..., Session]) -> None:
    async def echo(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await say(connection, words)
        await answer_pings(connection, 1)
        await connection.close(1008, f"no more {TOKEN}")

    with RudeServer(echo) as server:
        session = open_session(server.url, TOKEN)
        session.wait_open(30)
        eventually(lambda: session.reconnects >= 1)
        session.close()

    ledger: Any = session._gap_tracker._gaps._log
    kept = [repr(item) for item in session.intake.excerpts] + [repr(gap) for gap in ledger.all()]
    assert "no more ***" in "".join(kept)
    assert "hunter2" not in session.last_error + repr(session.rejected) + "".join(kept)


def test_a_late_echo_of_a_token_that_was_renewed_since_is_redacted(open_session: Callable[..., Session]) -> None:
    tokens = iter(["first-hunter2-token", "second-hunter2-token"])

    async def echo(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await answer_pings(connection, 1)
        await say(connection, {"type": "event", "payload": {"action": "refreshAuth"}})
        await server.log_in(connection)
        await say(connection, {"type": "event", "payload": {"action": "error", "error": f"late: {server.tokens[0]}"}})
        await connection.wait_closed()

    with RudeServer(echo) as server:
        session = open_session(server.url, token_from(lambda: next(tokens)))
        session.wait_open(30)
        eventually(lambda: session.last_error)

        assert session.last_error == "late: ***"


def test_a_frame_that_cannot_be_sent_ends_the_connection_and_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def send(url: str) -> None:
        async with connected(Secret(url)) as socket:
            await SendQueue(lambda ping: None).send(socket, lambda: [TOKEN, cast("str", 5)])
            while True:
                await socket.recv()

    async def repeat(_: RudeServer, connection: ServerConnection) -> None:
        await connection.send(await connection.recv())
        await connection.wait_closed()

    with RudeServer(repeat) as server, pytest.raises(ConnectionLostError, match="the connection was cut"):
        asyncio.run(send(server.url))

    assert "sending raised TypeError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_cookie_that_a_server_sets_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reply = Reply(200, b"in", {"Set-Cookie": f"session={TOKEN}"})

    with HttpServer(lambda asked: reply) as server:
        client = HttpClient(server.url, token_from(TOKEN))
        body = client.get("/x")
        client.close()

    assert body == b"in"
    assert "receive_response_headers.complete" in caplog.text
    assert "hunter2" not in caplog.text

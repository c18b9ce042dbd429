from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import nats
import pytest

from aries_nb import ConnectError
from aries_nb.errors import TokenError
from aries_nb.rooms import format as wire
from aries_nb.rooms.trial import TrialServer
from tests.rooms.cable import Cable
from tests.rooms.server import free_port
from tests.rooms.test_faults import ended, of_quotes
from tests.rooms.test_rooms import assert_same, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFUSED = (
    "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE", "STREAM.UPDATE", "STREAM.CREATE", "STREAM.SNAPSHOT",
    "STREAM.RESTORE", "CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE",
)  # fmt: skip
COMMAND = [sys.executable, "-m", "aries_nb"]


@pytest.fixture
def trial() -> Iterator[TrialServer]:
    with TrialServer("room42", port=0) as server:
        yield server


def test_a_room_for_a_trial_has_a_publisher_and_a_reader(trial, feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=20)
    feed.serve(str(trial.address), token=trial.publisher.reveal())

    theirs = enter(str(trial.address), token=trial.reader.reveal()).quotes("AAPL")

    assert_same(quotes, theirs)


@pytest.mark.parametrize("token", [None, "wrong", "reader:wrong"])
def test_nobody_enters_without_a_token_of_the_room(trial, enter, token):
    with pytest.raises(TokenError):
        enter(str(trial.address), token=token)


def test_a_reader_cannot_serve(trial, feed, monkeypatch):
    monkeypatch.setattr("aries_nb.rooms.publisher.ANSWER_SECONDS", 1.0)  # the server does not answer
    with pytest.raises(ConnectError):
        feed.serve(str(trial.address), token=trial.reader.reveal())


def test_a_reader_can_neither_publish_nor_delete_nor_have_the_server_publish(trial, feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=20)
    feed.serve(str(trial.address), token=trial.publisher.reveal())
    address = trial.address
    errors: list[str] = []

    async def attempts() -> None:
        told: asyncio.Queue[Exception] = asyncio.Queue()  # by a task of the client
        user, _, password = trial.reader.reveal().partition(":")
        client = await nats.connect(
            address.server, user=user, password=password, error_cb=told.put, inbox_prefix=address.inbox
        )
        subjects = [address.rows("0" * 16), address.beats, address.catalog, "$JS.API.STREAM.NAMES"]
        for stream in (address.row_stream, address.state_stream):
            subjects += [f"$JS.API.{what}.{stream}" for what in REFUSED]
        for subject in subjects:
            await client.publish(subject, b"{}", reply=client.new_inbox())
            await client.flush()
        for subject in ("anb.other.>", "_INBOX_other.>"):
            await client.subscribe(subject)
            await client.flush()
        errors.extend([str(await asyncio.wait_for(told.get(), 60)) for _ in range(3 + 2 * len(REFUSED) + 1 + 2)])
        await client.close()

    asyncio.run(attempts())

    assert all("permissions violation" in error.lower() for error in errors)
    assert_same(quotes, enter(str(address), token=trial.reader.reveal()).quotes("AAPL"))


@pytest.mark.parametrize(("broker", "name", "symbol"), [("aries", "ACC-1", "AAPL"), ("alor", "D00001", "SBER")])
def test_what_is_at_the_server_has_no_account_no_token_and_no_user(
    make_feed, enter, stack, monkeypatch, tmp_path, broker, name, symbol
):
    monkeypatch.setattr(wire, "COMPRESSION", None)
    # Names of a machine and a user that no other octets have by chance, as those of two letters.
    monkeypatch.setattr(socket, "gethostname", lambda: "a-machine-called-hunter2")
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "a-user-called-hunter2")
    server = stack.enter_context(TrialServer("room42", port=0, folder=tmp_path / "kept"))
    publisher, reader = server.publisher.reveal(), server.reader.reveal()
    port = int(server.address.server.rpartition(":")[2])
    to_server, to_reader = (stack.enter_context(Cable(port)) for _ in range(2))
    feed = make_feed(broker)
    account = feed.account(name)
    tables = [getattr(account, table) for table in feed.tables if table not in {"watchlists", "news", "pnl"}]
    equity = account.equity
    until(lambda: len(account.positions.df) > 0 and len(account.orders.df) > 0)
    until(lambda: any(subscription.kind == "quotes" for subscription in held(feed)))
    quotes, held_book = feed.quotes(symbol).wait(rows=50), feed.book(symbol)
    feed.serve(f"{to_server.url}/room42", token=publisher)
    room = enter(f"{to_reader.url}/room42", token=reader)
    theirs, their_book = room.quotes(symbol), room.book(symbol).wait()
    assert_same(quotes, theirs)

    passed = b"".join(to_server.passed) + b"".join(to_reader.passed)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())

    of_user = {account.name, "a token", socket.gethostname(), getpass.getuser()}
    of_account = {text for table in tables for text in table.df.index.astype(str) if len(text) > 3} - {symbol}
    assert len(of_account) > 1
    # A connection has the password of its user, as the server asks for it: what is stored has none.
    secrets = {publisher, reader, *(each.partition(":")[2] for each in (publisher, reader))}
    for octets, hidden in ((passed, of_user | of_account), (stored, of_user | of_account | secrets)):
        assert symbol.encode() in octets
        assert [text for text in hidden if text.encode() in octets] == []
        assert {*re.findall(rb'"kind":"(\w+)"', octets)} == {b"quotes", b"book"}
    assert all(each.is_open for each in (*tables, equity, held_book, their_book))


def held(feed) -> list:
    """What is subscribed to for accounts, and not for the user."""
    return [routes[0].subscription for routes in feed._link._streams.values() if routes[0].sink in feed._link._own]


def serving(*arguments: str, token: str = "") -> tuple[subprocess.Popen[str], dict[str, object]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, env=os.environ | {"ARIES_NB_ROOM_TOKEN": token}
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_the_commands_run_a_server_and_publish_and_a_killed_publisher_is_told(enter, stack):
    server, said = serving("room", "--port", str(free_port()))
    stack.callback(server.stdout.close)
    stack.callback(server.wait)
    stack.callback(server.send_signal, signal.SIGTERM)
    publish = ["serve", "sim", "--symbols", "AAPL", "--kinds", "quotes", "--account", "ACC-1", "--to", str(said["url"])]
    first, _ = serving(*publish, token=str(said["publisher"]))
    stack.callback(first.stdout.close)
    room = enter(str(said["url"]), token=str(said["reader"]))
    theirs = room.quotes("AAPL").wait(rows=20)
    until(lambda: len(room.account("ACC-1").positions.df) > 0)

    first.kill()
    first.wait()
    until(lambda: room.state == "reconnecting")
    before = len(theirs.df)
    second, _ = serving(*publish, token=str(said["publisher"]))
    stack.callback(second.stdout.close)
    stack.callback(second.wait)
    stack.callback(second.terminate)

    gaps = of_quotes(ended(room))
    assert gaps["cause"].tolist() == ["publisher gone"]
    assert gaps["filled"].tolist() == [False]
    until(lambda: len(theirs.df) > before + 20)


def test_a_server_that_does_not_start_says_why(enter: Callable):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConnectError, match="did not start"):
        TrialServer("room42", port=taken.getsockname()[1])

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aries_nb import ConnectError
from tests.net.forward_proxy import Cable, ForwardProxy, forget_the_network, papers
from tests.rooms.server import NatsServer, free_port
from tests.rooms.test_address import tls_server
from tests.rooms.test_rooms import assert_same

if TYPE_CHECKING:
    from pathlib import Path

HOST = "teacher.example"


def test_a_room_is_reached_as_websocket_on_443_through_a_proxy(feed, enter, stack, tmp_path: Path, monkeypatch):
    forget_the_network(monkeypatch)
    shown = papers(tmp_path, HOST)
    monkeypatch.setenv("SSL_CERT_FILE", str(shown.authority))
    port = free_port()
    more = f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}\nauthorization {{ token: hunter2 }}'
    server = stack.enter_context(NatsServer(tmp_path / "nats", more))
    secured = stack.enter_context(Cable(port, papers=shown))
    proxy = stack.enter_context(ForwardProxy({HOST: secured.port}, credentials="me:secret"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    quotes = feed.quotes("AAPL").wait(rows=20)
    feed.serve(server.room(), token="hunter2")

    room = enter(f"wss://{HOST}/room42", token="hunter2")

    assert_same(quotes, room.quotes("AAPL"))
    assert proxy.asked == [f"{HOST}:443"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_room_over_tls_goes_through_a_proxy(feed, enter, stack, tmp_path: Path, monkeypatch, scheme: str):
    forget_the_network(monkeypatch)
    more = tls_server(tmp_path / "tls", monkeypatch, is_trusted=True, host=HOST)
    server = stack.enter_context(NatsServer(tmp_path / "nats", more))
    proxy = stack.enter_context(ForwardProxy({HOST: server.port}))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http:", f"{scheme}:"))
    address = f"tls://{HOST}:4222/room42"
    quotes = feed.quotes("AAPL").wait(rows=20)
    feed.serve(address, token="hunter2")

    assert_same(quotes, enter(address, token="hunter2").quotes("AAPL"))
    assert {each.partition(":")[0] for each in proxy.asked} == {HOST}


def test_a_proxy_that_refuses_is_named_without_its_password(enter, stack, monkeypatch):
    forget_the_network(monkeypatch)
    proxy = stack.enter_context(ForwardProxy({}, credentials="me:hunter2"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("hunter2", "wrong"))

    with pytest.raises(ConnectError, match="requires a user and a password") as refused:
        enter(f"tls://{HOST}/room42", token="hunter2")

    assert "wrong" not in str(refused.value)


def test_a_server_that_is_not_there_is_said_soon(enter):
    with pytest.raises(ConnectError, match="cannot connect") as refused:
        enter(f"nats://127.0.0.1:{free_port()}/room42")

    assert "refused" in str(refused.value).lower() or "Connect call failed" in str(refused.value)

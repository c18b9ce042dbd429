from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
import trustme

from aries_nb import ConnectError, UsageError
from aries_nb.rooms.address import RoomAddress, is_room
from tests.rooms.server import NatsServer
from tests.rooms.test_rooms import assert_same

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("tls://teacher/room42", "tls://teacher:4222"),
        ("tls://teacher:4223/room42", "tls://teacher:4223"),
        ("wss://teacher/room42", "wss://teacher:443"),
        ("nats://127.0.0.1/room42", "nats://127.0.0.1:4222"),
        ("nats://[::1]:1/room42", "nats://[::1]:1"),
    ],
)
def test_an_address_has_a_server_and_a_room(text, server):
    address = RoomAddress.of(text)

    assert (address.server, address.name) == (server, "room42")
    assert is_room(text)


@pytest.mark.parametrize(
    "text",
    [
        "nats://teacher/room42", "ws://teacher/room42", "tls://teacher", "tls://teacher/", "tls:///room42",
        "tls://teacher/a.b", "tls://teacher/a/b", "tls://teacher/room>", "tls://teacher/room 42", "http://teacher/room42",
        "tls://teacher:99999/room42", f"tls://teacher/{'r' * 65}",
    ],
)  # fmt: skip
def test_what_is_no_address_or_would_go_unencrypted_is_refused(text):
    with pytest.raises(UsageError):
        RoomAddress.of(text)


@pytest.mark.parametrize("text", ["tls://u:hunter2@teacher/room42", "tls://teacher/room42?token=hunter2"])
def test_a_token_in_an_address_is_refused_and_not_shown(text):
    with pytest.raises(UsageError) as refused:
        RoomAddress.of(text)

    assert "hunter2" not in str(refused.value)


def test_no_brokers_name_is_a_room():
    assert not any(map(is_room, ("sim", "aries", "https://api.aries.com", None, "tls:", 4)))


class PlainServer:
    """A server that says it has no TLS, and notes what it is sent."""

    def __init__(self, first: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.got = b""
        self._first = first
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.sendall(self._first)
            connection.settimeout(2)
            try:
                while data := connection.recv(65_536):
                    self.got += data
                    connection.sendall(b"PONG\r\n")
            except OSError:
                return

    def close(self) -> bytes:
        self._thread.join()
        self._listener.close()
        return self.got


@pytest.mark.parametrize("token", ["hunter2", "reader:hunter2", None])
def test_no_token_is_sent_where_a_server_says_it_has_no_tls(enter, token):
    server = PlainServer(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"auth_required":true}\r\n')

    with pytest.raises(ConnectError):
        enter(f"tls://127.0.0.1:{server.port}/room42", token=token)

    assert b"hunter2" not in server.close()


def tls_server(folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool, host: str = "localhost") -> str:
    authority = trustme.CA()
    folder.mkdir()
    pair = authority.issue_cert(host, "127.0.0.1")
    pair.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    files = f'cert_file: "{folder}/server.pem", key_file: "{folder}/server.pem"'
    return f"tls {{ {files} }}\nauthorization {{ token: hunter2 }}"


def test_over_tls_a_room_is_the_same(feed, enter, stack, tmp_path, monkeypatch):
    more = tls_server(tmp_path / "tls", monkeypatch, is_trusted=True)
    server = stack.enter_context(NatsServer(tmp_path / "nats", more))
    quotes = feed.quotes("AAPL").wait(rows=20)
    address = f"tls://localhost:{server.port}/room42"
    feed.serve(address, token="hunter2")

    assert_same(quotes, enter(address, token=lambda: "hunter2").quotes("AAPL"))


def test_a_certificate_without_a_trusted_issuer_is_refused(enter, stack, tmp_path, monkeypatch):
    more = tls_server(tmp_path / "tls", monkeypatch, is_trusted=False)
    server = stack.enter_context(NatsServer(tmp_path / "nats", more))

    with pytest.raises(ConnectError, match="certificate"):
        enter(f"tls://localhost:{server.port}/room42", token="hunter2")


def test_the_brokers_token_is_not_sent_to_a_room(enter, monkeypatch):
    monkeypatch.setenv("ARIES_NB_TOKEN", "hunter2")
    server = PlainServer(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"auth_required":true}\r\n')

    with pytest.raises(ConnectError):
        enter(f"nats://127.0.0.1:{server.port}/room42", timeout=1)

    sent = server.close()
    assert b"CONNECT" in sent
    assert b"hunter2" not in sent

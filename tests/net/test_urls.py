from __future__ import annotations

import traceback

import pytest

from aries_nb.errors import UsageError
from aries_nb.net.urls import checked_url, shown_url


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("wss://api.example.com", "wss://api.example.com/v1"),
        ("wss://api.example.com/", "wss://api.example.com/v1"),
        ("wss://api.example.com:8443/eu/", "wss://api.example.com:8443/eu/v1"),
        ("ws://127.0.0.1:9", "ws://127.0.0.1:9/v1"),
        ("ws://127.8.9.10:9", "ws://127.8.9.10:9/v1"),
        ("ws://localhost:9", "ws://localhost:9/v1"),
        ("ws://LOCALHOST:9", "ws://LOCALHOST:9/v1"),
        ("ws://[::1]:9", "ws://[::1]:9/v1"),
    ],
)
def test_a_good_address_gets_the_path(base: str, expected: str) -> None:
    assert expected == checked_url(base, "/v1")


@pytest.mark.parametrize(
    "base",
    [
        "ws://192.168.1.7:9",
        "ws://api.example.com",
        "ws://localhost.example.com",
        "ws://0.0.0.0:9",
        "ws://[2001:db8::1]:9",
        "ws://127.0.0.1.example.com",
    ],
)
def test_plain_ws_to_another_machine_is_refused(base: str) -> None:
    with pytest.raises(UsageError, match="unencrypted"):
        checked_url(base, "/v1")


@pytest.mark.parametrize(
    "base", ["", "https://a.example", "a.example:80", "wss://", "wss://a:99999", "ws://[::1", "/x"]
)
def test_what_is_no_websocket_address_is_refused_with_advice(base: str) -> None:
    with pytest.raises(UsageError, match=r"address.*Give it as wss://"):
        checked_url(base, "/v1")


@pytest.mark.parametrize(
    "base",
    [
        "wss://user:hunter2@a.example",
        "wss://hunter2@a.example",
        "wss://:hunter2@a.example",
        "wss://user:hun/hunter2@a.example",
        "wss://user:hunter?hunter2@a.example",
        "wss://user:hunter#hunter2@a.example",
        "wss://user:hunter2@[::1",
        "wss://user:hunter2@a.example:port",
        "user:hunter2@a.example",
        "https://user:hunter2@a.example",
        "ws://user:hunter2@192.168.0.1",
        "wss://a.example?token=hunter2",
        "wss://a.example/path#hunter2",
    ],
)
def test_credentials_in_an_address_are_refused_and_never_shown(base: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_url(base, "/v1")

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
    assert "hunter2" not in shown


@pytest.mark.parametrize("given", ["wss://a.example/ws/?token=1", "wss://a.example?a=%2F&b=/", "wss://a.example/ws/"])
def test_an_address_that_the_broker_gave_stays_as_it_is(given: str) -> None:
    assert checked_url(given, "", has_query=True) == given


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:9/v1/ws", "ws://127.0.0.1:9/v1/ws"),
        ("wss://user:secret@a.example/x?token=1#2", "wss://a.example/x"),
        ("wss://a.example/x?y=secret@b", "wss://…"),
        ("user:secret@a.example", "a.example"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_shown_address_holds_no_secret(url: str, expected: str) -> None:
    assert expected == shown_url(url)

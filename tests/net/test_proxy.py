"""Connections through a company's proxy: its choice, its use, and the errors."""

from __future__ import annotations

import importlib.util
import logging
import traceback
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.errors import ConnectError
from aries_nb.net.auth.token_endpoint import OAuthEndpoints, request_token
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.http_client import HttpClient
from aries_nb.net.proxy import proxy_for
from tests.net.forward_proxy import Cable, ForwardProxy, Papers, forget_the_network, papers
from tests.net.http_server import HttpServer, Reply, Script
from tests.net.patience import eventually
from tests.net.rude import RudeListener

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from aries_nb.net.session import Session
    from aries_nb.sim import Simulator

HOST = "market.example"  # which only the proxy can find
SOCKETS, PAGES = f"wss://{HOST}", f"https://{HOST}"
PASSWORD = "hunter2"
FRESH_PONGS = 25  # of longer than the proxy waits


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return papers(tmp_path_factory.mktemp("papers"), HOST)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, shown: Papers) -> None:
    forget_the_network(monkeypatch)
    monkeypatch.setenv("SSL_CERT_FILE", str(shown.authority))


@pytest.fixture
def begin() -> Iterator[Callable[[Any], Any]]:
    """Start servers, closed with the test."""
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def secured(serve: Callable[..., Simulator], begin: Callable[[Any], Any], shown: Papers) -> Cable:
    """A simulated market behind TLS."""
    port = int(serve().url.rpartition(":")[2])
    cable: Cable = begin(Cable(port, papers=shown))
    return cable


# Which one.


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HTTPS_PROXY": "http://a.example:3128"}, "http://a.example:3128 of HTTPS_PROXY"),
        ({"https_proxy": "http://a.example:3128"}, "http://a.example:3128 of https_proxy"),
        ({"ALL_PROXY": "http://a.example"}, "http://a.example:80 of ALL_PROXY"),
        ({"all_proxy": "https://a.example"}, "https://a.example:443 of all_proxy"),
        ({"HTTPS_PROXY": "a.example:3128"}, "http://a.example:3128 of HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://a.example:1", "ALL_PROXY": "http://b.example:1"}, "http://a.example:1 of HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://a.example", "https_proxy": "http://b.example"}, "http://b.example:80 of https_proxy"),
        ({"ALL_PROXY": "socks5://[2001:db8::1]"}, "socks5://[2001:db8::1]:1080 of ALL_PROXY"),
        ({"HTTPS_PROXY": f"http://me:{PASSWORD}@a.example:1/"}, "http://a.example:1 of HTTPS_PROXY"),
        ({"HTTP_PROXY": "http://a.example:3128"}, "None"),
        ({"HTTPS_PROXY": "http://a.example:1", "NO_PROXY": "other.example,market.example"}, "None"),
        ({"HTTPS_PROXY": "http://a.example:1", "no_proxy": ".example"}, "None"),
        ({"ALL_PROXY": "http://a.example:1", "NO_PROXY": "*"}, "None"),
        ({"HTTPS_PROXY": "http://a.example:1", "NO_PROXY": "et.example"}, "http://a.example:1 of HTTPS_PROXY"),
        ({}, "None"),
    ],
)  # fmt: skip
def test_the_proxy_is_that_of_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    told = [str(proxy_for(url)).removeprefix("the proxy ") for url in (SOCKETS, PAGES)]
    assert [expected, expected] == told


@pytest.mark.parametrize("host", ["127.0.0.1:8443", "localhost", "[::1]:8443", "127.8.9.10"])
def test_what_is_on_this_machine_needs_no_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://a.example:3128")

    assert (proxy_for(f"wss://{host}"), proxy_for(f"https://{host}")) == (None, None)


@pytest.mark.parametrize(
    "address",
    ["ftp://me:hunter2@a.example", "http://", "http://me:hunter2@a.example:port", "http://me:hunter/hunter2@a.example",
     "http://me:hunter2@a.example/path", "http://me:hunter2#1@a.example", "http://me:hunter2@[::1"],
)  # fmt: skip
def test_what_is_no_address_of_a_proxy_is_refused_and_not_shown(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)

    with pytest.raises(ConnectError, match=r"HTTPS_PROXY holds is no address.*http://HOST:PORT") as caught:
        proxy_for(SOCKETS)

    assert "hunter" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)


def test_a_socks_proxy_without_its_packages_says_what_to_install(
    open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "aries_nb.net.proxy.find_spec", lambda name: None if name in {"python_socks", "socksio"} else found(name)
    )
    monkeypatch.setenv("ALL_PROXY", f"socks5://me:{PASSWORD}@a.example")
    session = open_session(SOCKETS)

    with pytest.raises(ConnectError, match=r"python_socks and socksio.*pip install 'aries_nb\[socks\]'") as caught:
        session.wait_open(60)

    assert PASSWORD not in str(caught.value)


# Through it.


@pytest.mark.parametrize(
    ("variable", "scheme"), [("HTTPS_PROXY", "http"), ("ALL_PROXY", "http"), ("ALL_PROXY", "socks5h")]
)
def test_sockets_and_http_go_through_it(
    variable: str, scheme: str, secured: Cable, begin: Callable[[Any], Any], open_session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    proxy = begin(ForwardProxy({HOST: secured.port}))
    monkeypatch.setenv(variable, proxy.url.replace("http", scheme))

    session = open_session(SOCKETS)
    session.wait_open(30)
    client = HttpClient(PAGES, fixed_token("a token"))
    body = client.get("/v1/market/status")
    client.close()

    assert session.state == "live"
    assert body.startswith(b"{")
    assert proxy.asked == [HOST if scheme == "socks5h" else f"{HOST}:443"] * 2


def test_a_login_goes_through_it(begin: Callable[[Any], Any], shown: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    server = begin(HttpServer(Script(Reply(200, b'{"access_token": "fresh", "token_type": "bearer"}'))))
    secured = begin(Cable(int(server.url.rpartition(":")[2]), papers=shown))
    proxy = begin(ForwardProxy({HOST: secured.port}))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    granted = request_token(OAuthEndpoints(f"{PAGES}/a", f"{PAGES}/t"), "refresh_token", {"refresh_token": "old"})

    assert granted.access.reveal() == "fresh"
    assert proxy.asked == [f"{HOST}:443"]


def test_only_the_proxy_is_sent_its_password(
    secured: Cable, begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    proxy = begin(ForwardProxy({HOST: secured.port}, credentials=f"me:{PASSWORD}"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    session = open_session(SOCKETS)
    session.wait_open(30)
    client = HttpClient(PAGES, fixed_token("a token"))
    client.get("/v1/market/status")
    client.close()
    session.close()

    assert len(proxy.asked) == 2
    assert PASSWORD not in repr(proxy_for(SOCKETS)) + str(proxy_for(SOCKETS)) + caplog.text


def test_a_quiet_session_is_kept_open_by_pings(
    secured: Cable, begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.brokers.aries.session.PING_SECONDS", 0.1)
    monkeypatch.setattr("aries_nb.net.session.TICK_SECONDS", 0.05)
    proxy = begin(ForwardProxy({HOST: secured.port}, idle_seconds=2.0))  # a busy machine sends its pings late
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    session = open_session(SOCKETS)
    session.wait_open(30)
    heard = session.intake.frames

    eventually(lambda: session.intake.frames >= heard + FRESH_PONGS)

    assert (session.state, session.reconnects, proxy.cuts, proxy.asked) == ("live", 0, 0, [f"{HOST}:443"])


def test_without_them_it_would_be_cut_and_comes_back(
    secured: Cable, begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = begin(ForwardProxy({HOST: secured.port}, idle_seconds=0.5))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    session = open_session(SOCKETS)
    session.wait_open(30)

    eventually(lambda: proxy.cuts and session.reconnects and session.state == "live")

    assert session.last_error == "the connection was cut"


def test_a_session_is_closed_quickly_though_the_proxy_hangs(
    secured: Cable, begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = begin(ForwardProxy({HOST: secured.port}))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    session = open_session(SOCKETS)
    session.wait_open(30)
    socket = session._socket
    assert socket is not None
    proxy.pull()

    session.close().result(60)

    assert session.state == "closed"
    assert socket.close_timeout == 1  # seconds; TLS would wait for many more


# Where it fails.


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (403, r"the proxy http://127\.0\.0\.1:\d+ of HTTPS_PROXY refuses to connect to the server \(HTTP 403\)"),
        (
            407,
            r"of HTTPS_PROXY requires a user and a password, or other ones \(HTTP 407\)",
        ),
        (503, r"the proxy http://127\.0\.0\.1:\d+ of HTTPS_PROXY does not reach the server \(HTTP 503\)"),
    ],
)
def test_a_refusal_says_that_it_is_the_proxys(
    refusal: int, expected: str, begin: Callable[[Any], Any], open_session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    proxy = begin(ForwardProxy({}, refusal=refusal, credentials=f"me:{PASSWORD}"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    check_both(open_session, expected)

    assert PASSWORD not in caplog.text


def test_a_wrong_password_is_named_and_not_shown(
    begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = begin(ForwardProxy({}, credentials="me:right"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("right", PASSWORD))

    check_both(open_session, r"requires a user and a password, or other ones \(HTTP 407\)")


def test_a_proxy_that_is_not_there_is_named(
    open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@127.0.0.1:9")

    check_both(open_session, r"the proxy http://127\.0\.0\.1:9 of HTTPS_PROXY cannot be reached")


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b""])
def test_what_is_no_proxy_is_named_so(
    greeting: bytes, begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_: RudeListener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(greeting)

    server = begin(RudeListener(answer))
    monkeypatch.setenv("HTTPS_PROXY", server.url.replace("ws", "http"))

    check_both(open_session, r"the proxy http://127\.0\.0\.1:\d+ of HTTPS_PROXY")


def test_a_proxy_that_does_not_reach_the_server_says_so(
    begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", begin(ForwardProxy({})).url)

    check_both(open_session, r"of ALL_PROXY does not reach the server \(HTTP 502\)")


def test_a_socks_proxy_that_does_not_reach_the_server_says_so(
    begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", begin(ForwardProxy({})).url.replace("http", "socks5h"))

    # Over HTTP as well, but httpcore 1.0.9 leaves that socket to the garbage collector.
    with pytest.raises(ConnectError, match="of ALL_PROXY did not connect to the server, or is no proxy"):
        open_session(SOCKETS).wait_open(60)


def test_a_proxy_that_says_nothing_is_waited_for_no_longer_than_a_server(
    begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.net.websocket.OPEN_SECONDS", 0.2)
    proxy = begin(ForwardProxy({}))
    proxy.pull()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    session = open_session(SOCKETS)

    with pytest.raises(ConnectError, match=r"no answer in time, on the way through the proxy http://127\.0\.0\.1"):
        session.wait_open(60)


def check_both(open_session: Callable[..., Session], expected: str) -> None:
    """Sockets and HTTP raise the same text, without the password."""
    session = open_session(SOCKETS)
    with pytest.raises(ConnectError, match=expected) as of_sockets:
        session.wait_open(60)
    client = HttpClient(PAGES, fixed_token("a token"), pause=lambda seconds: False)
    with pytest.raises(ConnectError, match=expected) as of_pages:
        client.get("/v1/market/status")
    client.close()
    told = [text for each in (of_sockets, of_pages) for text in traceback.format_exception(each.value)]
    assert PASSWORD not in "".join(told) + session.last_error


# Whom we believe.


def test_a_proxy_that_inspects_tls_without_a_trusted_issuer_is_refused_with_advice(
    secured: Cable, begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("HTTPS_PROXY", begin(ForwardProxy({HOST: secured.port})).url)

    check_both(open_session, r"not acceptable \(CERTIFICATE_VERIFY_FAILED\); .*name its certificate in SSL_CERT_FILE")


def test_a_certificate_for_another_name_is_refused(
    secured: Cable, begin: Callable[[Any], Any], open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", begin(ForwardProxy({"other.example": secured.port})).url)

    with pytest.raises(ConnectError, match=r"not acceptable \(CERTIFICATE_VERIFY_FAILED\), on the way"):
        open_session("wss://other.example").wait_open(60)


def test_a_bundle_that_is_set_for_requests_is_believed(
    secured: Cable, begin: Callable[[Any], Any], shown: Papers, open_session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(shown.authority))
    monkeypatch.setenv("HTTPS_PROXY", begin(ForwardProxy({HOST: secured.port})).url)
    session = open_session(SOCKETS)

    session.wait_open(30)

    assert session.state == "live"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_that_is_none_is_named(
    variable: str, open_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/nowhere/company.pem")

    check_both(open_session, rf"{variable} names no file of certificates \(/nowhere/company.pem\)")

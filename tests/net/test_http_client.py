from __future__ import annotations

import errno
import gzip
import logging
import socket
import threading
import time
import traceback
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.errors import ClosedError, ConnectError, FeedError, TokenError, UsageError
from aries_nb.model import Secret
from aries_nb.net.auth.tokens import fixed_token, token_from
from aries_nb.net.http_client import HttpClient, http_base
from aries_nb.net.limits import RateLimit
from tests.net.forward_proxy import papers
from tests.net.http_server import Asked, HttpServer, Reply, Script
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hunter2-and-some-more"


class Pauses:
    """Records the waits without waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False


@pytest.fixture
def clients() -> Iterator[Any]:
    made: list[HttpClient] = []

    def make(base: str, token: Any = None, **options: Any) -> HttpClient:
        client = HttpClient(base, token or fixed_token(TOKEN), **{"pause": Pauses(), "jitter": lambda: 0.0, **options})
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def shown_with_locals(error: BaseException) -> str:
    """A traceback with locals, as rich and pytest show it, without the test's own frames, which hold the token."""
    seen: list[str] = []
    trace: Any = traceback.TracebackException.from_exception(error, capture_locals=True)
    while trace is not None:
        ours = [frame for frame in trace.stack if "/tests/" not in frame.filename]
        seen += [repr(frame.locals) for frame in ours] + list(trace.format_exception_only())
        trace = trace.__cause__ or trace.__context__
    return "\n".join(seen) + repr(error.args) + repr(vars(error))


@pytest.mark.parametrize(
    ("sockets", "expected"),
    [
        ("wss://api.example.com", "https://api.example.com"),
        ("wss://api.example.com:8443/feed/", "https://api.example.com:8443/feed"),
        ("ws://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("ws://localhost:8080", "http://localhost:8080"),
    ],
)
def test_the_address_of_the_sockets_gives_that_of_http(sockets: str, expected: str) -> None:
    assert http_base(sockets) == expected


def test_plain_sockets_elsewhere_give_no_address() -> None:
    with pytest.raises(UsageError, match="unencrypted"):
        http_base("ws://api.example.com")


@pytest.mark.parametrize(
    "base", ["http://api.example.com", "ftp://127.0.0.1", "https://", "https://me:pw@host", "https://host?token=x"]
)
def test_a_base_that_could_leak_the_token_is_refused(base: str) -> None:
    with pytest.raises(UsageError) as caught:
        HttpClient(base, fixed_token(TOKEN))

    assert "pw" not in str(caught.value)
    assert "token=x" not in str(caught.value)


def test_a_get_brings_the_body_and_sends_the_token_and_the_query(clients: Any) -> None:
    with HttpServer(Script(Reply(body=b'{"s": "ok"}'))) as server:
        body = clients(server.url).get("/v1/chart/history", {"symbol": "BRK B", "to": "5"})

    assert body == b'{"s": "ok"}'
    assert server.asked[0].path == "/v1/chart/history?symbol=BRK+B&to=5"
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_packed_answer_is_unpacked(clients: Any) -> None:
    with HttpServer(Script(Reply(body=gzip.compress(b"words"), headers={"Content-Encoding": "gzip"}))) as server:
        assert clients(server.url).get("/") == b"words"


def test_the_path_cannot_lead_to_another_host(clients: Any) -> None:
    with pytest.raises(UsageError, match="not a path"):
        clients("https://api.example.com").get(".evil.com/")


def test_what_may_pass_is_asked_again_with_growing_pauses(clients: Any) -> None:
    pauses = Pauses()
    script = Script(Reply(503), Reply(500), Reply(408), Reply(body=b"there"))
    with HttpServer(script) as server:
        body = clients(server.url, pause=pauses).get("/x")

    assert body == b"there"
    assert pauses.seconds == [0.25, 0.5, 1.0]


def test_the_jitter_spreads_a_pause(clients: Any) -> None:
    pauses = Pauses()
    with HttpServer(Script(Reply(503), Reply())) as server:
        clients(server.url, pause=pauses, jitter=lambda: 0.5).get("/x")

    assert pauses.seconds == [0.375]


def test_four_attempts_are_all(clients: Any) -> None:
    with HttpServer(Script(Reply(503, b"in repair"))) as server:
        with pytest.raises(ConnectError, match="HTTP 503: in repair"):
            clients(server.url).get("/x")

        assert len(server.asked) == 4


@pytest.mark.parametrize(("header", "expected"), [("7", 7.0), ("86400", 30.0), ("soon", 0.25), ("-3", 0.25)])
def test_a_wish_to_wait_is_honoured_up_to_a_cap(header: str, expected: float, clients: Any) -> None:
    pauses = Pauses()
    with HttpServer(Script(Reply(429, headers={"Retry-After": header}), Reply())) as server:
        clients(server.url, pause=pauses).get("/x")

    assert pauses.seconds == [expected]


def test_a_wish_to_wait_until_a_date_is_honoured(clients: Any) -> None:
    pauses = Pauses()
    until = formatdate(time.time() + 20, usegmt=True)
    with HttpServer(Script(Reply(429, headers={"Retry-After": until}), Reply())) as server:
        clients(server.url, pause=pauses).get("/x")

    assert 10.0 < pauses.seconds[0] <= 20.0


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refusal_is_not_repeated(status: int, clients: Any) -> None:
    with HttpServer(Script(Reply(status, b'{"error": "no\x00\nsuch"}'))) as server:
        with pytest.raises(FeedError, match=rf'HTTP {status}: {{"error": "no such"}}'):
            clients(server.url).get("/x")

        assert len(server.asked) == 1


def test_a_long_text_of_the_server_is_cut(clients: Any) -> None:
    with HttpServer(Script(Reply(400, b"<b>" * 10_000))) as server, pytest.raises(FeedError) as caught:
        clients(server.url).get("/x")

    assert len(str(caught.value)) < 400


def test_no_connection_is_tried_again_and_then_said(clients: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        pauses = Pauses()
        with pytest.raises(ConnectError, match=r"refused.*127\.0\.0\.1.*Check the address"):
            clients(f"http://127.0.0.1:{taken.getsockname()[1]}", pause=pauses).get("/x")

    assert len(pauses.seconds) == 3


def test_a_lack_of_descriptors_is_an_error_of_this_library(clients: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = clients("http://127.0.0.1:1", pause=Pauses())
    error = OSError(errno.EMFILE, "Too many open files: 'httpx/__init__.py'")
    monkeypatch.setattr(client, "_ask", lambda *_: (_ for _ in ()).throw(error))

    with pytest.raises(ConnectError, match=r"run out of resources: Too many open files.*ulimit"):
        client.get("/x")


def test_a_server_that_speaks_no_http_is_an_error_that_says_so(clients: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            for _ in range(4):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(f"220 hello {TOKEN}\r\n\r\n".encode())

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(ConnectError, match="does not speak HTTP") as caught:
            clients(f"http://127.0.0.1:{listener.getsockname()[1]}").get("/x")
        thread.join()

    assert "hunter2" not in shown_with_locals(caught.value)


def test_a_redirect_is_not_followed(clients: Any) -> None:
    with HttpServer(Script(Reply())) as elsewhere:
        away = Reply(302, headers={"Location": elsewhere.url})
        with (
            HttpServer(Script(away)) as server,
            pytest.raises(FeedError, match="HTTP 302: it redirects to another address"),
        ):
            clients(server.url).get("/x")

        assert elsewhere.asked == []


def test_an_answer_without_end_is_cut_off(clients: Any) -> None:
    bomb = gzip.compress(bytes(4 * 2**20))
    with HttpServer(Script(Reply(body=bomb, headers={"Content-Encoding": "gzip"}))) as server:
        with pytest.raises(FeedError, match="longer than 1 MiB"):
            clients(server.url, most_bytes=2**20).get("/x")

        assert len(server.asked) == 1


def test_a_refused_token_is_replaced_once(clients: Any) -> None:
    tokens = iter(["old-token", "new-token"])
    with HttpServer(Script(Reply(401), Reply(body=b"in"))) as server:
        body = clients(server.url, token_from(lambda: next(tokens))).get("/x")

    assert body == b"in"
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer old-token", "Bearer new-token"]


def test_a_refusal_reaches_a_renewable_source(clients: Any) -> None:
    class Source:
        token = Secret("old-token")

        def __call__(self) -> Secret:
            return self.token

        def refused(self, token: Secret) -> None:
            assert token == Secret("old-token")
            self.token = Secret("new-token")

    with HttpServer(Script(Reply(401), Reply(body=b"in"))) as server:
        assert clients(server.url, Source()).get("/x") == b"in"


def test_a_fresh_token_that_is_refused_as_well_ends_it(clients: Any) -> None:
    tokens = iter(["first-token", "second-token", "third-token"])
    with HttpServer(Script(Reply(401, b"first-token or second-token is bad"))) as server:
        with pytest.raises(TokenError, match=r"HTTP 401: \*\*\* or \*\*\* is bad"):
            clients(server.url, token_from(lambda: next(tokens))).get("/x")

        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": "no options of NOPE", "codes": [], "metadata": {}}', "no options of NOPE"),
        (b'{"error": {"type": "NOT_FOUND", "code": "NOT_FOUND", "message": "no such thing"}}', "no such thing"),
        (b'{"code": "TooEarly", "message": "come later"}', "come later"),
        (b'{"error": "invalid_grant", "error_description": "it is used"}', "invalid_grant: it is used"),
        (b'{"error": "' + b"x" * 300 + b'"}', "x" * 199 + "…"),
        (b'{"error": "half a \\ud800 character"}', "half a ? character"),
        (b'{"error": "of s\\u0065cret-token"}', "of ***"),
        (b'{"error": 5}', '{"error": 5}'),
        (b'["no"]', '["no"]'),
        (b"no JSON", "no JSON"),
    ],
)
def test_of_a_refusal_in_json_the_text_within_is_shown(clients: Any, body: bytes, expected: str) -> None:
    with HttpServer(Script(Reply(404, body))) as server:
        with pytest.raises(FeedError) as caught:
            clients(server.url, fixed_token("secret-token")).get("/x")

        assert caught.value.what == f"the server refused the request (HTTP 404: {expected})"


def test_the_same_token_is_not_sent_again_after_its_refusal(clients: Any) -> None:
    with HttpServer(Script(Reply(401))) as server:
        with pytest.raises(TokenError):
            clients(server.url).get("/x")

        assert len(server.asked) == 1


def test_a_server_on_this_machine_is_asked_past_the_proxy(clients: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpServer(Script(Reply())) as proxy, HttpServer(Script(Reply(body=b"direct"))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)

        assert clients(server.url).get("/x") == b"direct"

        assert proxy.asked == []


def test_a_close_ends_a_request_that_waits_for_the_server(clients: Any) -> None:
    release = threading.Event()

    def stall(asked: Asked) -> Reply:
        release.wait(60)
        return Reply()

    with HttpServer(stall) as server:
        client = clients(server.url)
        closer = threading.Thread(target=lambda: (eventually(lambda: server.asked), client.close()))
        closer.start()

        with pytest.raises(ClosedError):
            client.get("/x")

        assert not release.is_set()
        release.set()
        closer.join()


def test_a_close_ends_a_pause(clients: Any) -> None:
    with HttpServer(Script(Reply(429, headers={"Retry-After": "25"}))) as server:
        client = clients(server.url, pause=None)
        closer = threading.Thread(target=lambda: (eventually(lambda: server.asked), client.close()))
        closer.start()
        began = time.monotonic()

        with pytest.raises(ClosedError):
            client.get("/x")

        closer.join()
        assert time.monotonic() - began < 25  # as long as it was asked to pause


def test_a_closed_client_asks_nothing_more(clients: Any) -> None:
    with HttpServer(Script(Reply())) as server:
        client = clients(server.url)
        client.get("/x")
        client.close()
        client.close()

        with pytest.raises(ClosedError):
            client.get("/x")

        assert len(server.asked) == 1


def test_many_threads_share_a_client(clients: Any) -> None:
    bodies: list[bytes] = []
    with HttpServer(lambda asked: Reply(body=asked.path.encode())) as server:
        client = clients(server.url)
        threads = [threading.Thread(target=lambda n=n: bodies.append(client.get(f"/{n}"))) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(bodies) == [f"/{n}".encode() for n in range(8)]


@pytest.mark.parametrize("status", [200, 401, 404, 503])
def test_the_token_is_in_no_log_record_and_no_error(
    status: int, clients: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = None
    error: BaseException = ValueError()
    with HttpServer(Script(Reply(status, f"you sent {TOKEN}".encode()))) as server:
        client = clients(server.url)
        try:
            client.get("/x")
        except FeedError as caught:
            error = caught

    logged = "\n".join(logging.Formatter().format(record) + repr(record.args) for record in caplog.records)
    assert "httpcore" in {record.name.partition(".")[0] for record in caplog.records}
    assert "hunter2" not in logged
    assert "hunter2" not in shown_with_locals(error) + repr(client)


def test_a_failure_below_shows_no_frame_that_holds_the_token(clients: Any) -> None:
    with HttpServer(Script(Reply())) as server, pytest.raises(ConnectError) as caught:
        clients(server.url).get("/x\nX-Evil: 1")

    assert server.asked == []
    assert "hunter2" not in shown_with_locals(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_certificate_without_a_trusted_issuer_is_refused(clients: Any, tmp_path: Any) -> None:
    server = HttpServer(Script(Reply()))
    server._server.socket = papers(tmp_path, "localhost").tls.wrap_socket(server._server.socket, server_side=True)
    with server:
        with pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            clients(server.url.replace("http://127.0.0.1", "https://localhost")).get("/x")

        assert server.asked == []


def test_a_refusal_for_too_many_requests_delays_all_clients_of_the_rate_limit(clients: Any) -> None:
    rate_limit, turns = RateLimit(100.0), []

    def pause(seconds: float) -> bool:
        turns.append(rate_limit.reserve(time.monotonic()))
        return True  # closed meanwhile

    with HttpServer(Script(Reply(429, headers={"Retry-After": "7"}))) as server, pytest.raises(ClosedError):
        clients(server.url, rate_limit=rate_limit, pause=pause).get("/x")

    assert 5.0 < turns[0] <= 7.0


def test_close_ends_the_wait_for_a_turn(clients: Any) -> None:
    rate_limit = RateLimit(1.0)
    rate_limit.pause(time.monotonic(), 600.0)
    client = clients("http://127.0.0.1:9", rate_limit=rate_limit)
    closing = threading.Timer(0.05, client.close)
    closing.start()

    with pytest.raises(ClosedError):
        client.get("/x")
    closing.join()

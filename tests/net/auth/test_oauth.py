from __future__ import annotations

import base64
import copy
import hashlib
import json
import logging
import pickle
import signal
import socket
import sys
import threading
import traceback
import types
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest

from aries_nb.errors import ConnectError, FeedError, TokenError, UsageError
from aries_nb.net.auth.oauth import OAuthToken, oauth, oauth_client, oauth_login
from aries_nb.net.auth.token_endpoint import OAuthEndpoints
from aries_nb.net.http_client import HttpClient
from tests.net.http_server import Asked, HttpServer, Reply
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRETS = ("client-hunter2", "refresh-hunter2", "access-hunter2", "code-hunter2")


class Issuer:
    """A small authorization server: rotates refresh tokens if set to, and accepts each code once."""

    def __init__(self, *, life: float | None = 3600, rotates: bool = False) -> None:
        self.life = life
        self.rotates = rotates
        self.refresh_token = "refresh-hunter2-0"
        self.challenges: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.reply: Reply | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.issued = 0

    def __call__(self, asked: Asked) -> Reply:
        if asked.path.startswith("/authorize?"):
            return self.authorize(dict(parse_qsl(asked.path.partition("?")[2])))
        self.gate.wait(60)
        if self.reply is not None:
            return self.reply
        is_json = asked.headers["content-type"] == "application/json"
        fields = json.loads(asked.body) if is_json else dict(parse_qsl(asked.body.decode()))
        if not self.accepts(fields):
            return Reply(
                400, b'{"error": "invalid_grant", "error_description": "' + asked.body.replace(b'"', b"'") + b'"}'
            )
        return self.issue(with_refresh=fields["grant_type"] != "client_credentials")

    def accepts(self, fields: dict[str, str]) -> bool:
        if fields["client_id"] != "app":
            return False
        if fields["grant_type"] == "refresh_token":
            return fields["refresh_token"] == self.refresh_token
        if fields["grant_type"] == "client_credentials":
            return fields["client_secret"] == "client-hunter2"
        if self.redirects.pop(fields["code"], None) != fields["redirect_uri"]:
            return False
        challenge = self.challenges.pop(fields["code"])
        if not challenge:
            return fields["client_secret"] == "client-hunter2"
        digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge

    def issue(self, *, with_refresh: bool) -> Reply:
        self.issued += 1
        answer: dict[str, Any] = {"access_token": f"access-hunter2-{self.issued}", "token_type": "Bearer"}
        if self.life is not None:
            answer["expires_in"] = self.life
        if with_refresh and self.rotates:
            self.refresh_token = f"refresh-hunter2-{self.issued}"
        if with_refresh:
            answer["refresh_token"] = self.refresh_token
        return Reply(body=json.dumps(answer).encode(), headers={"Content-Type": "application/json"})

    def authorize(self, fields: dict[str, str]) -> Reply:
        code = f"code-hunter2-{len(self.redirects)}"
        self.redirects[code] = fields["redirect_uri"]
        self.challenges[code] = fields.get("code_challenge", "")
        back = urlencode({"code": code, "state": fields["state"]})
        return Reply(302, headers={"Location": f"{fields['redirect_uri']}?{back}"})


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def server(issuer: Issuer) -> Iterator[HttpServer]:
    with HttpServer(issuer) as server:
        yield server
        issuer.gate.set()


@pytest.fixture
def endpoints(server: HttpServer) -> OAuthEndpoints:
    return OAuthEndpoints(server.url + "/authorize", server.url + "/token")


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """The used part of the package `keyring`, in memory."""
    kept: dict[tuple[str, str], str] = {}
    package: Any = types.ModuleType("keyring")
    package.get_password = lambda service, name: kept.get((service, name))
    package.set_password = lambda service, name, value: kept.__setitem__((service, name), value)
    monkeypatch.setitem(sys.modules, "keyring", package)
    return kept


def refreshing(endpoints: OAuthEndpoints, **options: Any) -> OAuthToken:
    given = {"client_id": "app", "client_secret": "client-hunter2", "refresh_token": "refresh-hunter2-0"}
    return oauth(endpoints=endpoints, **{**given, **options})


def in_browser(url: str) -> bool:
    """Act as browser and user: open the page, agree, follow the redirect."""

    def visit() -> None:
        page = httpx.get(url, follow_redirects=True, trust_env=False)
        assert page.status_code == 200

    threading.Thread(target=visit).start()
    return True


def fields_of(asked: Asked) -> dict[str, str]:
    return dict(parse_qsl(asked.body.decode()))


def shown_with_locals(error: BaseException) -> str:
    seen: list[str] = []
    trace: Any = traceback.TracebackException.from_exception(error, capture_locals=True)
    while trace is not None:
        seen += [repr(frame.locals) for frame in trace.stack if "/tests/" not in frame.filename]
        seen += list(trace.format_exception_only())
        trace = trace.__cause__ or trace.__context__
    return "\n".join(seen) + repr(error.args) + repr(vars(error))


# A refresh token.


def test_a_refresh_token_brings_an_access_token(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    token = refreshing(endpoints)()

    assert token.reveal() == "access-hunter2-1"
    assert fields_of(server.asked[0]) == {
        "grant_type": "refresh_token",
        "client_id": "app",
        "client_secret": "client-hunter2",
        "refresh_token": "refresh-hunter2-0",
    }


def test_a_server_that_wants_json_gets_it(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    asks_json = OAuthEndpoints(endpoints.authorize, endpoints.token, is_json=True)

    token = refreshing(asks_json, refresh_token="refresh-hunter2-0")()

    assert token.reveal() == "access-hunter2-1"
    assert server.asked[0].headers["content-type"] == "application/json"
    assert json.loads(server.asked[0].body)["grant_type"] == "refresh_token"


@pytest.mark.parametrize(("life", "fresh_for"), [(3600, 3570.0), (100, 90.0), (None, 3570.0)])
def test_a_token_is_kept_until_shortly_before_its_end(
    life: float | None, fresh_for: float, issuer: Issuer, endpoints: OAuthEndpoints
) -> None:
    issuer.life = life
    source, clock = refreshing(endpoints), Clock()
    source._clock = clock
    source()
    clock.now += fresh_for - 0.5
    before = source().reveal()
    clock.now += 1.0

    after = source().reveal()

    assert [before, after] == ["access-hunter2-1", "access-hunter2-2"]


def in_ten_threads(work: Callable[[], None], issuer: Issuer, server: HttpServer) -> None:
    """Have ten threads ask before the first answer comes."""
    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    eventually(lambda: server.asked)
    issuer.gate.set()
    for thread in threads:
        thread.join()


def test_ten_threads_cause_one_fetch(issuer: Issuer, server: HttpServer, endpoints: OAuthEndpoints) -> None:
    issuer.gate.clear()
    source = refreshing(endpoints)
    tokens: list[str] = []
    in_ten_threads(lambda: tokens.append(source().reveal()), issuer, server)

    assert tokens == ["access-hunter2-1"] * 10
    assert len(server.asked) == 1


def test_a_failure_reaches_all_who_wait(issuer: Issuer, server: HttpServer, endpoints: OAuthEndpoints) -> None:
    issuer.gate.clear()
    issuer.reply = Reply(503)
    source = refreshing(endpoints)
    outcomes: list[type] = []

    def ask() -> None:
        try:
            source()
        except FeedError as error:
            outcomes.append(type(error))

    in_ten_threads(ask, issuer, server)

    assert outcomes == [ConnectError] * 10


def test_a_rotated_refresh_token_is_used_next_and_passed_to_the_user(
    issuer: Issuer, server: HttpServer, endpoints: OAuthEndpoints
) -> None:
    issuer.rotates = True
    told: list[str] = []
    source = refreshing(endpoints, on_refresh_token=told.append)

    source.refused(source())
    source()

    assert told == ["refresh-hunter2-1", "refresh-hunter2-2"]
    assert fields_of(server.asked[1])["refresh_token"] == "refresh-hunter2-1"


def test_a_refresh_token_that_stays_is_not_passed_to_the_user(endpoints: OAuthEndpoints) -> None:
    told: list[str] = []
    source = refreshing(endpoints, on_refresh_token=told.append)

    source.refused(source())
    source()

    assert told == []


def test_a_broken_on_refresh_token_costs_no_token(
    issuer: Issuer, endpoints: OAuthEndpoints, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(refresh: str) -> None:
        raise OSError(f"cannot write {refresh}")

    issuer.rotates = True

    token = refreshing(endpoints, on_refresh_token=broken)()

    assert token.reveal() == "access-hunter2-1"
    assert "on_refresh_token raised OSError" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_an_error_and_is_not_repeated(
    status: int, issuer: Issuer, server: HttpServer, endpoints: OAuthEndpoints
) -> None:
    issuer.reply = Reply(status, b'{"error": "invalid_grant"}')
    source = refreshing(endpoints)
    with pytest.raises(TokenError, match=f"HTTP {status}.*invalid_grant"):
        source()

    with pytest.raises(TokenError, match=r"refused this login before.*Log in again"):
        source()

    assert len(server.asked) == 1


def test_an_error_within_an_answer_of_success_is_a_refusal(issuer: Issuer, endpoints: OAuthEndpoints) -> None:
    issuer.reply = Reply(200, b'{"error": "invalid_grant"}')

    with pytest.raises(TokenError, match="invalid_grant"):
        refreshing(endpoints)()


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_failure_that_passes_leaves_the_refresh_token_good(
    status: int, issuer: Issuer, endpoints: OAuthEndpoints
) -> None:
    issuer.reply = Reply(status, b"later")
    source = refreshing(endpoints)
    with pytest.raises(ConnectError, match=f"HTTP {status}: later"):
        source()
    issuer.reply = None

    assert source().reveal() == "access-hunter2-1"


def test_no_connection_to_the_token_endpoint_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/token"

        with pytest.raises(ConnectError, match=r"refused.*/token"):
            refreshing(OAuthEndpoints(url, url))()


def test_an_address_that_is_no_token_endpoint_is_said(issuer: Issuer, endpoints: OAuthEndpoints) -> None:
    issuer.reply = Reply(404, b"no page")

    with pytest.raises(FeedError, match=r"no token endpoint.*404"):
        refreshing(endpoints)()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"5",
        b"\xff",
        b'{"access_token": 5}',
        b'{"access_token": "a\\nb"}',
        b'{"access_token": ""}',
        b'{"access_token": "access-hunter2", "expires_in": "soon"}',
        b'{"error": {"type": "INTERNAL"}}',
    ],
)
def test_rubbish_is_a_token_error_and_is_not_shown(body: bytes, issuer: Issuer, endpoints: OAuthEndpoints) -> None:
    issuer.reply = Reply(200, body)

    with pytest.raises(TokenError) as caught:
        refreshing(endpoints)()

    assert "hunter2" not in shown_with_locals(caught.value)


# Client credentials.


def test_client_credentials_bring_a_token_as_a_form(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    asks_json = OAuthEndpoints(endpoints.authorize, endpoints.token, is_json=True)

    token = oauth_client(client_id="app", client_secret="client-hunter2", scope="a b", endpoints=asks_json)()

    assert token.reveal() == "access-hunter2-1"
    assert fields_of(server.asked[0])["scope"] == "a b"


def test_client_credentials_that_are_refused_are_not_sent_again(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    source = oauth_client(client_id="app", client_secret="wrong-hunter2", endpoints=endpoints)
    with pytest.raises(TokenError):
        source()

    with pytest.raises(TokenError, match="before"):
        source()

    assert len(server.asked) == 1


# A login in the browser.


def test_a_login_by_pkce_brings_a_token_and_then_refreshes(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    opened: list[str] = []

    def open_url(url: str) -> bool:
        opened.append(url)
        return in_browser(url)

    source = oauth_login(client_id="app", scope="a b", open_url=open_url, endpoints=endpoints)

    first = source()
    source.refused(first)
    second = source()

    asked = parse_qs(urlsplit(opened[0]).query)
    assert [first.reveal(), second.reveal()] == ["access-hunter2-1", "access-hunter2-2"]
    assert len(opened) == 1
    assert (asked["code_challenge_method"], asked["scope"]) == (["S256"], ["a b"])
    assert fields_of(server.asked[-1])["grant_type"] == "refresh_token"


def test_a_login_of_an_application_with_a_secret_sends_it(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    source = oauth_login(client_id="app", client_secret="client-hunter2", open_url=in_browser, endpoints=endpoints)

    source()

    asked = fields_of(server.asked[-1])
    assert asked["client_secret"] == "client-hunter2"
    assert "code_verifier" not in asked


def test_a_login_uses_the_port_that_is_registered(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    uri = f"http://localhost:{port}/back"

    oauth_login(client_id="app", redirect_uri=uri, open_url=in_browser, endpoints=endpoints)()

    assert fields_of(server.asked[-1])["redirect_uri"] == uri


def test_a_port_that_is_taken_is_said(endpoints: OAuthEndpoints) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}/back"

        with pytest.raises(UsageError, match=r"port \d+ cannot be used.*another port"):
            oauth_login(client_id="app", redirect_uri=uri, open_url=in_browser, endpoints=endpoints)()


@pytest.mark.parametrize(
    "uri", ["https://127.0.0.1/x", "http://example.com/x", "http://0.0.0.0/x", "http://127.0.0.1/x?y"]
)
def test_a_redirect_address_must_be_on_this_machine(uri: str, endpoints: OAuthEndpoints) -> None:
    with pytest.raises(UsageError, match="on this machine"):
        oauth_login(client_id="app", redirect_uri=uri, open_url=in_browser, endpoints=endpoints)()


def coming_back(*queries: str, statuses: list[int] | None = None) -> Callable[[str], bool]:
    """A browser that returns with each of `queries`; STATE in one stands for the right state."""

    def open_url(url: str) -> bool:
        asked = dict(parse_qsl(urlsplit(url).query))

        def visit() -> None:
            for query in queries:
                target = asked["redirect_uri"] + query.replace("STATE", asked["state"])
                page = httpx.get(target, trust_env=False)
                if statuses is not None:
                    statuses.append(page.status_code)

        threading.Thread(target=visit).start()
        return True

    return open_url


def test_an_answer_with_a_foreign_state_is_not_taken(server: HttpServer, endpoints: OAuthEndpoints) -> None:
    statuses: list[int] = []
    browser = coming_back("?code=evil&state=x", "?code=evil", "/else?code=evil&state=STATE", statuses=statuses)
    source = oauth_login(client_id="app", open_url=browser, timeout=1.0, endpoints=endpoints)

    with pytest.raises(TokenError, match="there was no login within 1 s; 2 answers belonged to another login"):
        source()

    assert statuses == [400, 400, 404]
    assert server.asked == []


def test_a_user_who_declines_gets_an_error_that_says_so(endpoints: OAuthEndpoints) -> None:
    browser = coming_back("?error=access_denied&error_description=no%0Athanks&state=STATE")
    source = oauth_login(client_id="app", open_url=browser, endpoints=endpoints)
    with pytest.raises(TokenError, match="refused \\(access_denied no thanks\\)"):
        source()

    with pytest.raises(TokenError, match=r"login did not succeed.*Make a new"):
        source()


def test_a_connection_that_says_nothing_does_not_hold_up_the_login(endpoints: OAuthEndpoints) -> None:
    idle: list[socket.socket] = []

    def open_url(url: str) -> bool:
        back = urlsplit(dict(parse_qsl(urlsplit(url).query))["redirect_uri"])
        idle.append(socket.create_connection(("127.0.0.1", back.port or 0)))
        return in_browser(url)

    token = oauth_login(client_id="app", open_url=open_url, endpoints=endpoints)()

    assert token.reveal() == "access-hunter2-1"
    idle[0].close()


def test_a_machine_without_a_browser_gets_advice(endpoints: OAuthEndpoints) -> None:
    with pytest.raises(TokenError, match=r"no browser.*open_url=print"):
        oauth_login(client_id="app", open_url=lambda url: False, endpoints=endpoints)()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Make SIGINT interrupt, which it does not in a process that a shell put into the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="signals go to a thread only on POSIX")
def test_a_login_that_is_interrupted_frees_its_port(endpoints: OAuthEndpoints, interruptible: None) -> None:
    ports: list[int] = []

    def open_url(url: str) -> None:
        ports.append(urlsplit(dict(parse_qsl(urlsplit(url).query))["redirect_uri"]).port or 0)
        eventually(lambda: source._pending)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    source = oauth_login(client_id="app", open_url=open_url, endpoints=endpoints)

    with pytest.raises(KeyboardInterrupt):
        source()

    eventually(lambda: source._pending is None)
    with socket.create_server(("127.0.0.1", ports[0])) as again:
        assert again.getsockname()[1] == ports[0]
    with pytest.raises(TokenError, match="login did not succeed"):
        source()


# The keyring.


def test_a_login_that_is_remembered_is_not_asked_for_again(
    endpoints: OAuthEndpoints, keyring: dict[tuple[str, str], str]
) -> None:
    oauth_login(client_id="app", open_url=in_browser, remember=True, endpoints=endpoints)()
    assert keyring == {("aries_nb", "app"): "refresh-hunter2-0"}

    token = oauth_login(client_id="app", open_url=lambda url: False, remember=True, endpoints=endpoints)()

    assert token.reveal() == "access-hunter2-2"


def test_a_refresh_token_of_the_keyring_goes_back_there_when_rotated(
    issuer: Issuer, endpoints: OAuthEndpoints, keyring: dict[tuple[str, str], str]
) -> None:
    issuer.rotates = True
    keyring["aries_nb", "app"] = "refresh-hunter2-0"

    oauth(client_id="app", endpoints=endpoints)()

    assert keyring == {("aries_nb", "app"): "refresh-hunter2-1"}


def test_a_token_that_another_notebook_rotated_is_found_in_the_keyring(
    issuer: Issuer, endpoints: OAuthEndpoints, keyring: dict[tuple[str, str], str]
) -> None:
    keyring["aries_nb", "app"] = "refresh-hunter2-0"
    source = oauth(client_id="app", endpoints=endpoints)
    source.refused(source())
    issuer.refresh_token = keyring["aries_nb", "app"] = "refresh-hunter2-elsewhere"

    token = source()

    assert token.reveal() == "access-hunter2-2"


def test_a_remembered_login_that_has_run_out_opens_the_browser(
    endpoints: OAuthEndpoints, keyring: dict[tuple[str, str], str]
) -> None:
    keyring["aries_nb", "app"] = "refresh-of-last-year"

    token = oauth_login(client_id="app", open_url=in_browser, remember=True, endpoints=endpoints)()

    assert token.reveal() == "access-hunter2-1"
    assert keyring == {("aries_nb", "app"): "refresh-hunter2-0"}


def test_an_empty_keyring_says_how_to_fill_it(endpoints: OAuthEndpoints, keyring: Any) -> None:
    with pytest.raises(TokenError, match=r"holds no refresh token for 'app'.*remember=True"):
        oauth(client_id="app", endpoints=endpoints)()


# Which server.


def test_a_source_without_endpoints_takes_those_it_is_bound_to(endpoints: OAuthEndpoints) -> None:
    source = oauth(client_id="app", client_secret="client-hunter2", refresh_token="refresh-hunter2-0")
    with pytest.raises(UsageError, match="knows no server"):
        source()

    source.bind(endpoints)

    assert source().reveal() == "access-hunter2-1"


def test_a_source_goes_to_one_server_only(endpoints: OAuthEndpoints) -> None:
    source = refreshing(endpoints)
    source.bind(endpoints)

    with pytest.raises(UsageError, match="belongs to"):
        source.bind(OAuthEndpoints("https://evil.example/authorize", "https://evil.example/token"))


@pytest.mark.parametrize("url", ["http://example.com/token", "ftp://127.0.0.1", "https://me:pw@example.com/", "token"])
def test_an_endpoint_that_could_leak_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        OAuthEndpoints("https://example.com", url)
    with pytest.raises(UsageError):
        OAuthEndpoints(url, "https://example.com")


# What a source is, and what it does not show.


def test_sources_made_alike_are_equal(endpoints: OAuthEndpoints) -> None:
    other = refreshing(endpoints, refresh_token="another")

    assert refreshing(endpoints) == refreshing(endpoints)
    assert len({refreshing(endpoints), refreshing(endpoints), other}) == 2


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_client_id_is_refused_without_showing_the_rest(blank: str) -> None:
    with pytest.raises(UsageError, match="client_id") as caught:
        oauth(client_id=blank, client_secret="client-hunter2", refresh_token="refresh-hunter2")
    with pytest.raises(UsageError, match="client_id") as caught_too:
        oauth_client(client_id=blank, client_secret="client-hunter2")

    assert "hunter2" not in shown_with_locals(caught.value) + shown_with_locals(caught_too.value)


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_source_does_not_leave_the_process(leave: Any, endpoints: OAuthEndpoints) -> None:
    with pytest.raises(TypeError, match="not to be pickled"):
        leave(refreshing(endpoints))


def test_no_secret_is_in_a_log_record_a_repr_or_the_console(
    issuer: Issuer, endpoints: OAuthEndpoints, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    issuer.rotates = True
    login = oauth_login(client_id="app", client_secret="client-hunter2", open_url=in_browser, endpoints=endpoints)
    login.refused(login())
    login()
    refreshing(endpoints, refresh_token=issuer.refresh_token)()

    threads = {"aries-nb-oauth"}
    records = [record for record in caplog.records if record.threadName in threads]
    logged = "\n".join(logging.Formatter().format(record) + repr(record.args) for record in records)
    printed = capfd.readouterr()
    assert "httpcore" in {record.name.partition(".")[0] for record in records}
    for secret in SECRETS:
        assert secret not in logged + repr(login) + printed.out + printed.err


@pytest.mark.parametrize(
    "reply", [None, Reply(500, b"client-hunter2 refresh-hunter2-wrong"), Reply(404, b"client-hunter2")]
)
def test_no_secret_is_in_an_error_though_the_server_echoes_it(
    reply: Reply | None, issuer: Issuer, endpoints: OAuthEndpoints
) -> None:
    issuer.reply = reply
    source = refreshing(endpoints, refresh_token="refresh-hunter2-wrong")

    with pytest.raises(FeedError, match=r"\*\*\*") as caught:
        source()

    assert "hunter2" not in shown_with_locals(caught.value)


def test_no_secret_is_in_an_error_though_the_server_echoes_it_as_it_was_sent(endpoints: OAuthEndpoints) -> None:
    source = refreshing(endpoints, refresh_token="refresh/hunter2+wrong==")

    with pytest.raises(TokenError, match=r"\*\*\*") as caught:
        source()

    assert "hunter2" not in shown_with_locals(caught.value)


def test_a_client_gets_its_tokens_from_the_source(issuer: Issuer, endpoints: OAuthEndpoints) -> None:
    def answer(asked: Asked) -> Reply:
        good = asked.headers["authorization"] == "Bearer access-hunter2-2"
        return Reply(200, b"in") if good else Reply(401)

    with HttpServer(answer) as broker:
        client = HttpClient(broker.url, refreshing(endpoints))

        assert client.get("/x") == b"in"

        client.close()
    assert issuer.issued == 2

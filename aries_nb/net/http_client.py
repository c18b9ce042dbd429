"""Asking a broker over HTTP: with the token, with retries, and no longer than it is wanted."""

from __future__ import annotations

import json
import logging
import random
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakSet

from aries_nb.errors import ClosedError, ConnectError, FeedError, TokenError, UsageError
from aries_nb.model import Secret
from aries_nb.net.background import register_fork_aware, run_on_thread
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.connection_errors import explain
from aries_nb.net.limits import RateLimit, count_values
from aries_nb.net.proxy import Proxy, proxy_for
from aries_nb.net.redaction import Redactor
from aries_nb.net.tls import tls_context
from aries_nb.net.tokens import RenewableToken, TokenSource, ask
from aries_nb.net.urls import checked_url, is_loopback, shown_url

if TYPE_CHECKING:
    import httpx

__all__ = [
    "HttpClient",
    "HttpResponse",
    "SocketDeadline",
    "checked_http_url",
    "describe",
    "http_base",
    "new_client",
    "send_request",
]

ATTEMPTS = 4
RULE = BackoffRule(first=0.5, cap=8.0)
LONGEST_ASKED_WAIT = 30.0  # seconds; a Retry-After beyond it is cut, for somebody waits in a cell
RETRIED = frozenset({408, 425, 429})  # and every 5xx: a GET may be repeated (RFC 9110, 9.2.2)
UNAUTHORIZED, TOO_MANY = 401, 429
SILENCE_SECONDS = 15.0  # without a byte, or for a connection to come about
TOTAL_SECONDS = 60.0  # for one exchange: a server that trickles is given up
MOST_BYTES = 64 * 2**20  # of a decoded body: an answer of hours of bars has a tenth of it
MOST_VALUES = 4_000_000  # in the JSON of one, by what it becomes in memory
SHOWN_CHARACTERS = 200  # of a server's text, as everywhere in this package
OUR_THREADS = "aries-nb-"
READ_FOR_EXCERPT = 2**12  # bytes of a body, of which it is made


def http_base(url: str) -> str:
    """The HTTP address beside a base address of sockets: wss:// becomes https://, ws:// (loopback) http://.

    Raises UsageError where `url` is not an address that a session may connect to.
    """
    return "http" + checked_url(url, "").removeprefix("ws")


class HttpClient:
    """GET requests to one broker. Any thread may ask, except the network's: `get` blocks.

    `base` is an address as `http_base` gives it. `token` is asked before each request, so it should answer from
    memory where it can. Each request waits for its turn of `rate_limit`, which others may share. `pause` waits
    some seconds and says whether the client was closed meanwhile; it and `jitter`, a number from [0, 1), are for tests.
    """

    def __init__(
        self,
        base: str,
        token: TokenSource,
        *,
        rate_limit: RateLimit | None = None,
        most_bytes: int = MOST_BYTES,
        pause: Callable[[float], bool] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.base = checked_http_url(base)
        self._token = token
        self._rate_limit = rate_limit or RateLimit()
        self._most_bytes = most_bytes
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        self._jitter = jitter
        self._guard = threading.Lock()  # of `_client`, `_pending` and `_running`
        self._client: httpx.Client | None = None
        self._pending: set[Future[HttpResponse]] = set()
        self._running = 0
        register_fork_aware(self)

    def __repr__(self) -> str:
        return f"HttpClient({self.base!r})"

    def token(self) -> Secret:
        """The access token of now. Raises TokenError."""
        return ask(self._token)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of the answer to a GET of `path` (from "/" on, below the base) with `params` as its query.

        Repeats, four attempts in all, what may succeed later: no answer, 408, 425, 429 (no sooner than its Retry-After,
        at most 30 s) and 5xx. Raises TokenError where a fresh token is refused as well, ConnectError where no answer
        came, FeedError for any other refusal, and ClosedError once `close` is called, also while this waits.
        """
        if not path.startswith("/"):
            raise UsageError(f"{path!r} is not a path", advice='Begin it with "/".')
        backoff = Backoff(RULE)
        for attempt in range(1, ATTEMPTS + 1):
            asked = 0.0
            try:
                answer = self._on_thread(lambda: self._authorized(path, params or {}))
            except ConnectError as error:
                failure: FeedError = error
            else:
                if answer.is_success:
                    return answer.body
                failure = self._refusal(path, answer)
                if answer.status not in RETRIED and answer.status < 500:
                    raise failure
                asked = _retry_after(answer)
                if answer.status == TOO_MANY:
                    self._rate_limit.pause(time.monotonic(), asked)  # whoever else asks would get the same answer
            if attempt == ATTEMPTS:
                raise failure
            if self._pause(max(asked, backoff.next(lived=None, jitter=self._jitter()))):
                break
        raise self._closed_error()

    def close(self) -> None:
        """End every request; idempotent. Whoever waits for one gets ClosedError at once."""
        self._closed.set()
        with self._guard:
            client, self._client = self._client, None
            pending, is_idle = list(self._pending), not self._running
        for future in pending:
            future.cancel()
        # A connection that is being made just now would outlive the client: whoever makes it closes the client then.
        if client is not None and is_idle:
            client.close()

    def after_fork(self) -> None:
        """Be closed in a fork; the connections go on in its parent."""
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._closed.set()
        self._pending, self._running = set(), 0  # the client stays as it is: to let it go would be to close it

    def _on_thread(self, work: Callable[[], HttpResponse]) -> HttpResponse:
        """Do `work` on a thread of its own: a close or an interrupt need not wait for the server."""
        with self._guard:
            if self._closed.is_set():
                raise self._closed_error()
            future = run_on_thread(work, name="aries-nb-http")
            self._pending.add(future)
        try:
            return future.result()
        except CancelledError:
            raise self._closed_error() from None
        finally:
            with self._guard:
                self._pending.discard(future)

    def _authorized(self, path: str, params: Mapping[str, str]) -> HttpResponse:
        """The answer to one request; where the token was refused, to a second one with a fresh token."""
        token = ask(self._token)
        answer = self._ask(path, params, token)
        if answer.status != UNAUTHORIZED:
            return answer
        if isinstance(self._token, RenewableToken):
            self._token.refused(token)
        fresh = ask(self._token)
        if fresh != token:
            answer = self._ask(path, params, fresh)
        if answer.status == UNAUTHORIZED:
            what = f"the token was refused ({describe(answer.without(token, fresh))})"
            raise TokenError(what, where=self.base + path, advice="Get a new one and connect again.")
        return answer if answer.is_success else answer.without(token)

    def _ask(self, path: str, params: Mapping[str, str], token: Secret) -> HttpResponse:
        turn = self._rate_limit.reserve(time.monotonic())
        if turn > 0 and self._closed.wait(turn):
            raise self._closed_error()
        with self._guard:
            if self._closed.is_set():
                raise self._closed_error()
            client = self._client = self._client or new_client(self.base)
            self._running += 1
        url = self.base + path
        try:
            answer = send_request(
                client,
                lambda: client.build_request(
                    "GET", url, params=dict(params), headers={"Authorization": f"Bearer {token.reveal()}"}
                ),
                where=url,
                most_bytes=self._most_bytes,
            )
        finally:
            with self._guard:
                self._running -= 1
                is_last = self._closed.is_set() and not self._running
            if is_last:
                client.close()
        return answer if answer.is_success else answer.without(token)

    def _refusal(self, path: str, answer: HttpResponse) -> FeedError:
        where = self.base + path
        if answer.status in RETRIED or answer.status >= 500:
            advice = "Wait a while, then ask again." if answer.status < 500 else "The server fails; try again later."
            return ConnectError(f"the server could not answer ({describe(answer)})", where=where, advice=advice)
        if answer.status < 400:
            target = "it leads elsewhere, and a token is not carried along"
            return FeedError(f"HTTP {answer.status}: {target}", where=where, advice="Check the address.")
        advice = "Check what was asked for, and that the token's scope covers it."
        return FeedError(f"the server refused the request ({describe(answer)})", where=where, advice=advice)

    def _closed_error(self) -> ClosedError:
        return ClosedError("the connection is closed", where=self.base, advice="Connect again.")


def _retry_after(answer: HttpResponse) -> float:
    """Seconds that the server asks to wait, a number or a date (RFC 9110, 10.2.3); 0 where it asks for none."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_ASKED_WAIT)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_ASKED_WAIT)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a server answered. `headers` has lower-case names; `body` is not in the repr: it may hold tokens."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    def without(self, *secrets: Secret | None) -> HttpResponse:
        """What of the body is for a message, with `***` in place of what must not be told on, should it be echoed."""
        redact = Redactor(*(secret for secret in secrets if secret is not None))
        # Masked after it was taken out of JSON, where a token may be written in other characters.
        return HttpResponse(
            self.status, self.headers, redact.without_secrets(_words_in(_readable(self.body))).encode(errors="replace")
        )


def checked_http_url(url: str) -> str:
    """`url` without a slash at its end.

    Raises UsageError where it is no https:// address, or is plain http:// to another machine: a token would travel
    readable by everyone on the way.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"{shown_url(url)!r} is not an address", advice="Give it as https://HOST[:PORT].") from None
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"{shown_url(url)!r} is not a plain HTTP address", advice="Give it as https://HOST[:PORT][/PATH]."
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"plain http:// to {host} would send your token unencrypted",
            advice="Use https://; http:// is for 127.0.0.1 only.",
        )
    return url.rstrip("/")


def new_client(url: str) -> httpx.Client:
    """A client for the server at `url`: TLS verified, redirects not followed, by the proxy that is set for it.

    Raises ConnectError where what is set of proxies or certificates cannot be used.
    """
    import httpx

    logging.getLogger("httpcore.http11").addFilter(_without_headers)
    is_secure = url.startswith("https://")
    tls = tls_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which verifies, if it is ever used
    proxy = proxy_for(url) if is_secure else None  # else it is on this machine
    # A redirect is never followed: the token would go to wherever it leads.
    return httpx.Client(
        timeout=SILENCE_SECONDS,
        follow_redirects=False,
        trust_env=False,
        verify=tls,
        proxy=None if proxy is None else _through(proxy, tls),
        headers={"Accept-Encoding": "gzip"},
        event_hooks={"request": [SocketDeadline()]},
    )


def send_request(
    client: httpx.Client, make: Callable[[], httpx.Request], *, where: str, most_bytes: int = MOST_BYTES
) -> HttpResponse:
    """Send the request that `make` builds, and read the whole answer, whatever its status.

    `make` is called here so that a header or body with a token in it is no variable of a frame that may be shown.
    Raises ConnectError where no answer came, FeedError where it is longer than `most_bytes` or `MOST_VALUES`.
    """
    reason: str | None = None
    try:
        answer = _exchanged(client, make, most_bytes)
    except Exception as error:  # the border to httpx: see the module's docstring
        answer, reason = None, _explain(error, where)
    except BaseException as error:  # an interrupt: without the frames of httpx
        error.__context__ = error.__cause__ = None
        raise error.with_traceback(None) from None
    if reason is not None:
        raise ConnectError(f"no answer: {reason}", where=where, advice="Check the address and the network.")
    if answer is None:
        size = f"{most_bytes / 2**20:g} MiB or {MOST_VALUES:,} values"
        raise FeedError(f"the answer is longer than {size}", where=where, advice="Ask for less at once.")
    return answer


def describe(answer: HttpResponse) -> str:
    """What a server said, for a message: the status and at most 200 printable characters. Mask it before."""
    text = _readable(answer.body)
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(text) > SHOWN_CHARACTERS:
        text = text[: SHOWN_CHARACTERS - 1] + "…"
    return f"HTTP {answer.status}: {text}" if text else f"HTTP {answer.status}"


def _without_headers(record: logging.LogRecord) -> bool:
    """Cut what httpcore logs at DEBUG of an answer to us: a server may set a cookie that is as good as a token."""
    if record.threadName and record.threadName.startswith(OUR_THREADS):
        record.msg = str(record.msg).partition(" return_value=")[0]
    return True


def _readable(body: bytes) -> str:
    return body[:READ_FOR_EXCERPT].decode(errors="replace")


def _words_in(text: str) -> str:
    """What an error in JSON says: `error`, or its `message`, `error_description`, `message`; else the whole text."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(told, dict):
        return text
    error = told.get("error")
    words = (
        error.get("message") if isinstance(error, dict) else error,
        told.get("error_description"),
        told.get("message"),
    )
    return ": ".join(dict.fromkeys(word for word in words if isinstance(word, str) and word.strip())) or text


def _exchanged(client: httpx.Client, make: Callable[[], httpx.Request], most_bytes: int) -> HttpResponse | None:
    sockets = client.event_hooks["request"][0]
    assert isinstance(sockets, SocketDeadline), "the client is one of new_client"
    with sockets.cut_after(TOTAL_SECONDS):
        return _received(client.send(make(), stream=True), most_bytes)


def _received(response: httpx.Response, most_bytes: int) -> HttpResponse | None:
    try:
        body, unpack = bytearray(), _unpacking(response.headers.get("content-encoding", ""))
        for piece in response.iter_raw():
            body += unpack(piece, most_bytes + 1 - len(body))
            if len(body) > most_bytes:
                return None
        if count_values(body) > MOST_VALUES:
            return None
        return HttpResponse(
            response.status_code, {name.lower(): value for name, value in response.headers.items()}, bytes(body)
        )
    finally:
        response.close()


def _unpacking(encoding: str) -> Callable[[bytes, int], bytes]:
    """What unpacks a piece of a body to at most so many bytes.

    httpx would unpack all of a piece, and again whatever was packed several times: a few kilobytes fill the memory.
    """
    import httpx

    if encoding.strip().lower() == "gzip":
        packed = zlib.decompressobj(16 + zlib.MAX_WBITS)
        return packed.decompress
    if encoding.strip().lower() in {"", "identity"}:
        return lambda piece, most: piece[:most]
    raise httpx.DecodingError("packed in a way that was not asked for")


def _through(proxy: Proxy, tls: ssl.SSLContext) -> httpx.Proxy:
    import httpx

    address = proxy.address.reveal()
    return httpx.Proxy(address, ssl_context=tls if address.startswith("https://") else None)


def _explain(error: Exception, where: str) -> str:
    """One line about a failure, from texts that hold nothing of what was sent or received."""
    import httpx

    proxy = _way_out(where)
    by = "" if proxy is None else f", on the way through {proxy}"
    broken = _tls_error(error) if isinstance(error, httpx.ConnectError) else None
    if broken is not None:
        return explain(broken) + by
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"it did not come in time{by}"
    if proxy is not None and isinstance(error, httpx.ProxyError):
        status = str(error)[:3]  # where the proxy speaks HTTP; its words after that are not shown
        return proxy.explain(int(status) if status.isdecimal() else None)
    if proxy is not None and isinstance(error, httpx.ConnectError):
        return f"{proxy} cannot be reached ({error})"
    if isinstance(error, httpx.ConnectError | httpx.ReadError | httpx.WriteError | httpx.ProxyError):
        return (str(error) or "the connection was cut") + by
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError | zlib.error):
        return f"what answered broke off, or does not speak HTTP{by}"
    return type(error).__name__


def _way_out(where: str) -> Proxy | None:
    try:
        return proxy_for(where) if where.startswith("https://") else None
    except FeedError:
        return None  # it was another when the client was made


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """What is wrong with TLS, of which httpx only keeps the text."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


class SocketDeadline:
    """A hook for each request of a client, by which it learns of the client's connections. Any thread may use it."""

    def __init__(self) -> None:
        self._streams: WeakSet[object] = WeakSet()
        self._guard = threading.Lock()

    def __call__(self, request: httpx.Request) -> None:
        """Learn of the connection that this request opens, if it does."""
        request.extensions = {**request.extensions, "trace": self._note}

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Cut every connection of the client, should the block take longer. Raises TimeoutError then.

        They are shut down, not closed, so that whoever reads wakes up and finds no other socket under their number.
        """
        is_over = threading.Event()

        def end() -> None:
            is_over.set()
            self._cut()

        timer = threading.Timer(seconds, end)
        timer.name, timer.daemon = "aries-nb-http-deadline", True
        timer.start()
        try:
            yield
        except Exception:
            if not is_over.is_set():
                raise
        finally:
            timer.cancel()
        if is_over.is_set():  # also where it came to an end: that of the connection may have passed for the body's
            raise TimeoutError

    def _note(self, event: str, told: Mapping[str, object]) -> None:
        stream = told.get("return_value")
        if event.endswith(".complete") and hasattr(stream, "get_extra_info"):
            with self._guard:
                self._streams.add(stream)

    def _cut(self) -> None:
        with self._guard:
            streams = list(self._streams)
        for stream in streams:
            below = stream.get_extra_info("socket")  # type: ignore[attr-defined]
            with suppress(OSError):  # ended, or wrapped into TLS: that is a stream of its own
                below.shutdown(socket.SHUT_RDWR)

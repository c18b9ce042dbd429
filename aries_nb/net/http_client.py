"""HTTP requests to a broker: with its token, with retries, limited in size and time, ended by `close`.

The exceptions of httpx carry the request, and their stack frames hold its header and body as plain text, so a traceback
that shows local variables would show the token. Therefore every exception of httpx is replaced by one of this package,
made from its text alone.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import ssl
import threading
import zlib
from asyncio import AbstractEventLoop
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakSet

from aries_nb.errors import ClosedError, ConnectError, FeedError, TokenError, UsageError
from aries_nb.model import Secret
from aries_nb.model.clock import elapsed, wall_ns
from aries_nb.net.auth.tokens import RenewableToken, TokenSource, ask
from aries_nb.net.background import register_fork_aware, run_on_thread, runs_one_of
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.connection_errors import enough_resources, explain, is_for_now
from aries_nb.net.limits import RateLimit, count_values
from aries_nb.net.proxy import Proxy, proxy_for
from aries_nb.net.redaction import Redactor
from aries_nb.net.tls import tls_context
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
LONGEST_ASKED_WAIT = 30.0  # seconds; a longer Retry-After is cut: a cell waits
UNAUTHORIZED, TOO_MANY = 401, 429
READ_TIMEOUT_SECONDS = 15.0  # without a byte, or to connect
TOTAL_SECONDS = 60.0  # for one exchange, so that a server that trickles bytes is cut off
MOST_BYTES = 64 * 2**20  # of a decoded body; hours of bars are a tenth of it
MOST_VALUES = 4_000_000  # in the JSON of a body, by its size in memory once decoded
SHOWN_CHARACTERS = 200  # of a server's text, as in the whole package
OUR_THREADS = "aries-nb-"
READ_FOR_EXCERPT = 2**12  # bytes of a body that an excerpt is made from


def http_base(url: str) -> str:
    """Return the HTTP address for `url`, a broker's WebSocket address: https:// for wss://, http:// for ws://.

    Raises UsageError for any other address, and for ws:// to another machine.
    """
    return "http" + checked_url(url, "").removeprefix("ws")


class HttpClient:
    """Sends GET requests to one broker. Any thread may call, except the network's thread, because `get` blocks.

    `base` is an address as `http_base` returns it. `token` is called before each request, so it should cache the token.
    Each request waits for `rate_limit`, which clients may share; None is no limit. `most_bytes` limits the size of a
    decompressed body. On the event `loops` nothing is requested, as that would hold them up. `pause`, which waits some
    seconds and returns whether the client was closed meanwhile, and `jitter`, which returns a random number from [0,
    1), are replaced in tests.
    """

    def __init__(
        self,
        base: str,
        token: TokenSource,
        *,
        rate_limit: RateLimit | None = None,
        most_bytes: int = MOST_BYTES,
        loops: Collection[AbstractEventLoop] = (),
        pause: Callable[[float], bool] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.base = checked_http_url(base)
        self._token = token
        self._rate_limit = rate_limit or RateLimit()
        self._most_bytes = most_bytes
        self._loops = loops
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
        """Return the current access token. Raises TokenError if there is none."""
        return ask(self._token)

    @property
    def may_block(self) -> bool:
        """Whether `get` may be called on this thread: it runs no event loop that must not be held up."""
        return not runs_one_of(self._loops)

    def check_may_block(self) -> None:
        """Raise UsageError where `get` may not be called on this thread; else return."""
        if not self.may_block:
            what = "a request over HTTP would hold up the event loop until the server answers"
            advice = "Await the call on another thread: `await asyncio.to_thread(feed.reference.search, 'Apple')`."
            raise UsageError(what, where=self.base, advice=advice)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """Send a GET request for `path` with `params` as its query, and return the body of the response.

        `path` begins with "/" and is appended to the base address. Makes up to four attempts if a later one may
        succeed: after no answer, 408, 425, 429 (no sooner than its Retry-After, at most 30 s) and 5xx. Raises
        TokenError if a fresh token is refused as well, ConnectError if all attempts failed, FeedError for any other
        refusal, ClosedError once `close` is called, also during a wait, and UsageError on an event loop that must not
        be held up.
        """
        self.check_may_block()
        if not path.startswith("/"):
            raise UsageError(f"{path!r} is not a path", advice='Begin it with "/".')
        backoff = Backoff(RULE)
        for attempt in range(1, ATTEMPTS + 1):
            retry_after = 0.0
            try:
                with enough_resources(self.base + path):
                    answer = self._on_thread(lambda: self._authorized(path, params or {}))
            except ConnectError as error:
                failure: FeedError = error
            else:
                if answer.is_success:
                    return answer.body
                failure = self._refusal(path, answer)
                if not is_for_now(answer.status):  # a GET may be repeated (RFC 9110, 9.2.2)
                    raise failure
                retry_after = _retry_after(answer)
                if answer.status == TOO_MANY:
                    self._rate_limit.pause(elapsed(), retry_after)  # other requests would get the same answer
            if attempt == ATTEMPTS:
                raise failure
            if self._pause(max(retry_after, backoff.next(lived=None, jitter=self._jitter()))):
                break
        raise self._closed_error()

    def close(self) -> None:
        """Close the client and its connections; idempotent.

        Calls of `get` that are waiting raise ClosedError at once.
        """
        self._closed.set()
        with self._guard:
            client, self._client = self._client, None
            pending, is_idle = list(self._pending), not self._running
        for future in pending:
            future.cancel()
        # While a connection is being made it would outlive the client: the thread that makes it then closes the client.
        if client is not None and is_idle:
            client.close()

    def after_fork(self) -> None:
        """Mark the client as closed in a forked child process.

        The connections belong to the parent and are left alone.
        """
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._closed.set()
        self._pending, self._running = set(), 0  # the client is kept: freeing it would close it

    def _on_thread(self, work: Callable[[], HttpResponse]) -> HttpResponse:
        """Run `work` on a new thread, wait for it, and return its result.

        `close` or a keyboard interrupt ends the wait at once. Raises ClosedError once the client is closed.
        """
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
        """Return the response to a GET request for `path`, with the token and with `params` as its query.

        If the token is refused (401), return the response to a second request with a fresh one. Raises TokenError if
        that is refused as well, or the source has no other token.
        """
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
        turn = self._rate_limit.reserve(elapsed())
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
        if is_for_now(answer.status):
            advice = "Wait a while, then ask again." if answer.status < 500 else "The server fails; try again later."
            return ConnectError(f"the server could not answer ({describe(answer)})", where=where, advice=advice)
        if answer.status < 400:
            target = "it redirects to another address, and a token is not sent there"
            return FeedError(f"HTTP {answer.status}: {target}", where=where, advice="Check the address.")
        advice = "Check what was asked for, and that the token's scope covers it."
        return FeedError(f"the server refused the request ({describe(answer)})", where=where, advice=advice)

    def _closed_error(self) -> ClosedError:
        return ClosedError("the connection is closed", where=self.base, advice="Connect again.")


def _retry_after(answer: HttpResponse) -> float:
    """Return the seconds to wait by the header Retry-After, at most 30; 0 without one.

    The header holds a number of seconds or a date (RFC 9110, 10.2.3).
    """
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_ASKED_WAIT)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - wall_ns() / 1e9
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_ASKED_WAIT)


class NoHttp(HttpClient):
    """Stands for the server of a replay, which is never asked; `base` says what is replayed."""

    may_block = True

    def __init__(self, base: str) -> None:
        self.base = base

    def __repr__(self) -> str:
        return f"NoHttp({self.base!r})"

    def token(self) -> Secret:
        """Raise UsageError."""
        raise self._refused()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:  # noqa: ARG002 - as of a server
        """Raise UsageError."""
        raise self._refused()

    def close(self) -> None:
        """Do nothing."""

    def _refused(self) -> UsageError:
        advice = "It has what was recorded. Ask a live feed."
        return UsageError("a replay asks no server", where=self.base, advice=advice)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP response. `headers` has names in lower case; `body` is not in the repr, since it may hold tokens."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    def without(self, *secrets: Secret | None) -> HttpResponse:
        """Return a copy for error messages, in whose body `***` replaces the given secrets; the headers are unchanged.

        The body is only the server's error message if it is JSON with one, else its first 4 KiB.
        """
        redact = Redactor(*(secret for secret in secrets if secret is not None))
        # Redacted after decoding the JSON, which may write a token in other characters.
        return HttpResponse(
            self.status,
            self.headers,
            redact.without_secrets(_error_message(_readable(self.body))).encode(errors="replace"),
        )


def checked_http_url(url: str) -> str:
    """Return `url` without a slash at its end.

    Raises UsageError if it is no https:// address, or is plain http:// to another machine, which would send the token
    unencrypted.
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
    """Return a new httpx client for the server at `url`: TLS verified, redirects not followed.

    It connects through the proxy configured for the address, if any. Raises ConnectError if the configured proxy or
    certificates cannot be used.
    """
    import httpx

    logging.getLogger("httpcore.http11").addFilter(_without_headers)
    is_secure = url.startswith("https://")
    tls = tls_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, if it is used at all
    proxy = proxy_for(url) if is_secure else None  # otherwise the server is on this machine
    # A redirect is never followed: the token would be sent to its target.
    return httpx.Client(
        timeout=READ_TIMEOUT_SECONDS,
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
    """Send the request that `make` builds, and return the whole response, whatever its status.

    `make` is called here so that a header or body with a token is no local variable that a traceback may show. `where`
    is the address in error messages. Raises ConnectError if no response came, FeedError if its body is longer than
    `most_bytes` or has more than four million JSON values.
    """
    reason: str | None = None
    try:
        answer = _sent(client, make, most_bytes)
    except Exception as error:  # the border to httpx, see the module's docstring
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
    """Return a response as text for a message: its status and at most 200 printable characters of its body.

    Secrets are not removed: pass the copy that `without` returns.
    """
    text = _readable(answer.body)
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(text) > SHOWN_CHARACTERS:
        text = text[: SHOWN_CHARACTERS - 1] + "…"
    return f"HTTP {answer.status}: {text}" if text else f"HTTP {answer.status}"


def _without_headers(record: logging.LogRecord) -> bool:
    """Log filter that cuts response headers from the DEBUG log of httpcore, since a cookie may be as good as a token.

    Returns True, so each record is logged.
    """
    if record.threadName and record.threadName.startswith(OUR_THREADS):
        record.msg = str(record.msg).partition(" return_value=")[0]
    return True


def _readable(body: bytes) -> str:
    return body[:READ_FOR_EXCERPT].decode(errors="replace")


def _error_message(text: str) -> str:
    """Return the error message in a JSON body: `error` or its `message`, `error_description`, `message`, joined.

    Returns the whole text if it is no JSON object or has none of these.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(content, dict):
        return text
    error = content.get("error")
    words = (
        error.get("message") if isinstance(error, dict) else error,
        content.get("error_description"),
        content.get("message"),
    )
    return ": ".join(dict.fromkeys(word for word in words if isinstance(word, str) and word.strip())) or text


def _sent(client: httpx.Client, make: Callable[[], httpx.Request], most_bytes: int) -> HttpResponse | None:
    sockets = client.event_hooks["request"][0]
    assert isinstance(sockets, SocketDeadline), "the client is one of new_client"
    with sockets.cut_after(TOTAL_SECONDS):
        return _received(client.send(make(), stream=True), most_bytes)


def _received(response: httpx.Response, most_bytes: int) -> HttpResponse | None:
    try:
        body, decompress = bytearray(), _decompressor(response.headers.get("content-encoding", ""))
        for piece in response.iter_raw():
            body += decompress(piece, most_bytes + 1 - len(body))
            if len(body) > most_bytes:
                return None
        if count_values(body) > MOST_VALUES:
            return None
        return HttpResponse(
            response.status_code, {name.lower(): value for name, value in response.headers.items()}, bytes(body)
        )
    finally:
        response.close()


def _decompressor(encoding: str) -> Callable[[bytes, int], bytes]:
    """Return a function that decompresses the next chunk of a body to at most the given number of bytes.

    `encoding` is the body's Content-Encoding: "gzip", or "" or "identity" for none; any other raises
    httpx.DecodingError. httpx itself would decompress a whole chunk, and repeatedly one compressed several times: a few
    kB could fill the memory.
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
    """Return one line of text about `error`, with which a request to the address `where` failed.

    It contains nothing that was sent or received.
    """
    import httpx

    proxy = _proxy_or_none(where)
    by = "" if proxy is None else f", on the way through {proxy}"
    broken = _tls_error(error) if isinstance(error, httpx.ConnectError) else None
    if broken is not None:
        return explain(broken) + by
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"it did not come in time{by}"
    if proxy is not None and isinstance(error, httpx.ProxyError):
        status = str(error)[:3]  # if the proxy speaks HTTP; its text is not shown
        return proxy.explain(int(status) if status.isdecimal() else None)
    if proxy is not None and isinstance(error, httpx.ConnectError):
        return f"{proxy} cannot be reached ({error})"
    if isinstance(error, httpx.ConnectError | httpx.ReadError | httpx.WriteError | httpx.ProxyError):
        return (str(error) or "the connection was cut") + by
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError | zlib.error):
        return f"what answered broke off, or does not speak HTTP{by}"
    return type(error).__name__


def _proxy_or_none(where: str) -> Proxy | None:
    try:
        return proxy_for(where) if where.startswith("https://") else None
    except FeedError:
        return None  # the configuration has changed since the client was made


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error that caused an error of httpx, None if no TLS error did.

    httpx itself keeps only its text.
    """
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


class SocketDeadline:
    """Limits the total time of the exchanges of an httpx client; httpx limits only each wait for a byte.

    It is installed as a request hook of the client, by which it learns of the client's sockets. Any thread may use it.
    """

    def __init__(self) -> None:
        self._streams: WeakSet[object] = WeakSet()
        self._guard = threading.Lock()

    def __call__(self, request: httpx.Request) -> None:
        """Request hook: record the network connection that this request opens, if it opens one."""
        request.extensions = {**request.extensions, "trace": self._record_stream}

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Context manager: if its block takes longer than `seconds`, cut all connections and raise TimeoutError.

        All connections of the client are cut, also those of its other requests. The sockets are shut down, not closed:
        a blocked read then returns, and no descriptor is reused while a thread still reads from it.
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
        if is_over.is_set():  # even without an error: the cut may look like the end of the body
            raise TimeoutError

    def _record_stream(self, event: str, details: Mapping[str, object]) -> None:
        stream = details.get("return_value")
        if event.endswith(".complete") and hasattr(stream, "get_extra_info"):
            with self._guard:
                self._streams.add(stream)

    def _cut(self) -> None:
        with self._guard:
            streams = list(self._streams)
        for stream in streams:
            below = stream.get_extra_info("socket")  # type: ignore[attr-defined]
            with suppress(OSError):  # closed, or wrapped by TLS, which is a stream of its own
                below.shutdown(socket.SHUT_RDWR)

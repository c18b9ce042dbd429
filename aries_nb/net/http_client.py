"""Asking a broker over HTTP: with the token, with retries, and no longer than it is wanted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aries_nb.errors import ClosedError, ConnectError, FeedError, TokenError, UsageError
from aries_nb.net.aside import run_aside
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.forks import left_in_a_fork
from aries_nb.net.http_exchange import MOST_BYTES, Answer, checked_http_url, exchange, new_client, said
from aries_nb.net.pace import Pace
from aries_nb.net.tokens import RenewableToken, Secret, TokenSource, ask
from aries_nb.net.urls import checked_url

if TYPE_CHECKING:
    import httpx

__all__ = ["HttpClient", "http_base"]

ATTEMPTS = 4
RULE = BackoffRule(first=0.5, cap=8.0)
LONGEST_ASKED_WAIT = 30.0  # seconds; a Retry-After beyond it is cut, for somebody waits in a cell
RETRIED = frozenset({408, 425, 429})  # and every 5xx: a GET may be repeated (RFC 9110, 9.2.2)
UNAUTHORIZED, TOO_MANY = 401, 429


def http_base(url: str) -> str:
    """The HTTP address beside a base address of sockets: wss:// becomes https://, ws:// (loopback) http://.

    Raises UsageError where `url` is not an address that a session may connect to.
    """
    return "http" + checked_url(url, "").removeprefix("ws")


class HttpClient:
    """GET requests to one broker. Any thread may ask, except the network's: `get` blocks.

    `base` is an address as `http_base` gives it. `token` is asked before each request, so it should answer from
    memory where it can. Each request waits for its turn of `pace`, which others may share. `pause` waits some seconds
    and says whether the client was closed meanwhile; it and `jitter`, a number from [0, 1), are there for tests.
    """

    def __init__(
        self,
        base: str,
        token: TokenSource,
        *,
        pace: Pace | None = None,
        most_bytes: int = MOST_BYTES,
        pause: Callable[[float], bool] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.base = checked_http_url(base)
        self._token = token
        self._pace = pace or Pace()
        self._most_bytes = most_bytes
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        self._jitter = jitter
        self._guard = threading.Lock()  # of `_client`, `_pending` and `_running`
        self._client: httpx.Client | None = None
        self._pending: set[Future[Answer]] = set()
        self._running = 0
        left_in_a_fork(self)

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
                answer = self._aside(lambda: self._authorized(path, params or {}))
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
                    self._pace.hold(time.monotonic(), asked)  # whoever else asks would get the same answer
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

    def leave(self) -> None:
        """Be closed in a fork; the connections go on in its parent."""
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._closed.set()
        self._pending, self._running = set(), 0  # the client stays as it is: to let it go would be to close it

    def _aside(self, work: Callable[[], Answer]) -> Answer:
        """Do `work` on a thread of its own: a close or an interrupt need not wait for the server."""
        with self._guard:
            if self._closed.is_set():
                raise self._closed_error()
            future = run_aside(work, name="aries-nb-http")
            self._pending.add(future)
        try:
            return future.result()
        except CancelledError:
            raise self._closed_error() from None
        finally:
            with self._guard:
                self._pending.discard(future)

    def _authorized(self, path: str, params: Mapping[str, str]) -> Answer:
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
            what = f"the token was refused ({said(answer.without(token, fresh))})"
            raise TokenError(what, where=self.base + path, advice="Get a new one and connect again.")
        return answer if answer.is_success else answer.without(token)

    def _ask(self, path: str, params: Mapping[str, str], token: Secret) -> Answer:
        turn = self._pace.turn(time.monotonic())
        if turn > 0 and self._closed.wait(turn):
            raise self._closed_error()
        with self._guard:
            if self._closed.is_set():
                raise self._closed_error()
            client = self._client = self._client or new_client(self.base)
            self._running += 1
        url = self.base + path
        try:
            answer = exchange(
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

    def _refusal(self, path: str, answer: Answer) -> FeedError:
        where = self.base + path
        if answer.status in RETRIED or answer.status >= 500:
            advice = "Wait a while, then ask again." if answer.status < 500 else "The server fails; try again later."
            return ConnectError(f"the server could not answer ({said(answer)})", where=where, advice=advice)
        if answer.status < 400:
            target = "it leads elsewhere, and a token is not carried along"
            return FeedError(f"HTTP {answer.status}: {target}", where=where, advice="Check the address.")
        advice = "Check what was asked for, and that the token's scope covers it."
        return FeedError(f"the server refused the request ({said(answer)})", where=where, advice=advice)

    def _closed_error(self) -> ClosedError:
        return ClosedError("the connection is closed", where=self.base, advice="Connect again.")


def _retry_after(answer: Answer) -> float:
    """Seconds that the server asks to wait, a number or a date (RFC 9110, 10.2.3); 0 where it asks for none."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_ASKED_WAIT)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_ASKED_WAIT)

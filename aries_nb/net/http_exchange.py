"""One HTTP request and its answer, bounded in size and time, with nothing of httpx left in what is raised.

The exceptions of httpx carry the request, and the frames below it hold the header and the body as plain text: a
traceback that shows locals would show the token. So every failure ends here as a text, and is raised anew.
"""

from __future__ import annotations

import json
import logging
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aries_nb.errors import ConnectError, FeedError, UsageError
from aries_nb.net.connection_errors import explain
from aries_nb.net.crammed import values_in
from aries_nb.net.http_sockets import Sockets
from aries_nb.net.proxy import Proxy, proxy_for
from aries_nb.net.redaction import Mask
from aries_nb.net.tls import tls_context
from aries_nb.net.tokens import Secret
from aries_nb.net.urls import is_loopback, shown_url

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "checked_http_url", "exchange", "new_client", "said"]

SILENCE_SECONDS = 15.0  # without a byte, or for a connection to come about
TOTAL_SECONDS = 60.0  # for one exchange: a server that trickles is given up
MOST_BYTES = 64 * 2**20  # of a decoded body: an answer of hours of bars has a tenth of it
MOST_VALUES = 4_000_000  # in the JSON of one, by what it becomes in memory
SHOWN_CHARACTERS = 200  # of a server's text, as everywhere in this package
OUR_THREADS = "aries-nb-"
READ_FOR_EXCERPT = 2**12  # bytes of a body, of which it is made


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. `headers` has lower-case names; `body` is not in the repr: it may hold tokens."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    def without(self, *secrets: Secret | None) -> Answer:
        """What of the body is for a message, with `***` in place of what must not be told on, should it be echoed."""
        mask = Mask(*(secret for secret in secrets if secret is not None))
        # Masked after it was taken out of JSON, where a token may be written in other characters.
        return Answer(
            self.status, self.headers, mask.without_tokens(_words_in(_readable(self.body))).encode(errors="replace")
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
        event_hooks={"request": [Sockets()]},
    )


def exchange(
    client: httpx.Client, make: Callable[[], httpx.Request], *, where: str, most_bytes: int = MOST_BYTES
) -> Answer:
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


def said(answer: Answer) -> str:
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


def _exchanged(client: httpx.Client, make: Callable[[], httpx.Request], most_bytes: int) -> Answer | None:
    sockets = client.event_hooks["request"][0]
    assert isinstance(sockets, Sockets), "the client is one of new_client"
    with sockets.cut_after(TOTAL_SECONDS):
        return _received(client.send(make(), stream=True), most_bytes)


def _received(response: httpx.Response, most_bytes: int) -> Answer | None:
    try:
        body, unpack = bytearray(), _unpacking(response.headers.get("content-encoding", ""))
        for piece in response.iter_raw():
            body += unpack(piece, most_bytes + 1 - len(body))
            if len(body) > most_bytes:
                return None
        if values_in(body) > MOST_VALUES:
            return None
        return Answer(
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

"""Login in the browser: OAuth authorization code (RFC 6749, 4.1) with PKCE (RFC 7636), redirected to this machine."""

from __future__ import annotations

import os
import secrets
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlencode, urlsplit

from aries_nb.errors import TokenError, UsageError
from aries_nb.model import Secret
from aries_nb.model.clock import elapsed

__all__ = ["CallbackServer", "authorize_url", "open_browser", "pkce_pair"]

POLL_SECONDS = 0.1
STALLED_SECONDS = 10.0  # browsers open connections ahead and send nothing on them
PAGE = "<!doctype html><meta charset=utf-8><title>{0}</title><p>{0}</p>"
SHOWN_CHARACTERS = 200


def pkce_pair() -> tuple[Secret, str]:
    """Return a new PKCE code verifier, which is secret, and the challenge for it (method S256)."""
    from oauthlib.oauth2 import WebApplicationClient

    client = WebApplicationClient("")
    verifier = client.create_code_verifier(64)
    return Secret(verifier), client.create_code_challenge(verifier, "S256")


def authorize_url(endpoint: str, **fields: str) -> str:
    """Return the address of the login page, `endpoint` with `fields` as its query; blank fields are left out.

    Not made by oauthlib, which refuses every http:// address, even on this machine, unless an environment variable is
    set.
    """
    present = {"response_type": "code", **{name: value for name, value in fields.items() if value}}
    return f"{endpoint}?{urlencode(present)}"


def open_browser(open_url: Callable[[str], object], url: str) -> None:
    """Open `url` in a browser by calling `open_url`. Raises TokenError if that raises or returns False."""
    try:
        opened = open_url(url)
    except Exception as error:  # the border to the user's code
        opened, reason = False, f" ({type(error).__name__})"
    else:
        reason = ""
    if opened is False:
        advice = "Pass open_url=print, and open the address that it shows in a browser on this machine."
        raise TokenError(f"no browser could be opened for the login{reason}", advice=advice)


class CallbackServer(socketserver.ThreadingTCPServer):
    """Local web server to which the browser is redirected after a login. It runs on the thread that calls `wait`.

    `redirect_uri` is http://127.0.0.1[:PORT]/PATH, or localhost, as registered with the broker. Without a port (or with
    0) a free one is used, and the attribute `redirect_uri` names it. Raises UsageError for any other address, and if
    the port is in use.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would let two servers share the port

    def __init__(self, redirect_uri: str) -> None:
        parts = urlsplit(redirect_uri)
        if parts.scheme != "http" or parts.hostname not in {"127.0.0.1", "localhost"} or parts.query or parts.fragment:
            advice = "Register and pass http://127.0.0.1:PORT/callback."
            raise UsageError(f"{redirect_uri!r} is no redirect address on this machine", advice=advice)
        try:
            super().__init__(("127.0.0.1", parts.port or 0), _Callback)
        except OSError as error:
            what = f"port {parts.port} cannot be used for the login's answer ({error.strerror})"
            raise UsageError(what, advice="End what uses it (another login?), or take another port.") from error
        self.timeout = POLL_SECONDS
        self.path = parts.path or "/"
        self.redirect_uri = f"http://{parts.hostname}:{self.server_address[1]}{parts.path}"
        self.state = secrets.token_urlsafe(32)
        self.answer: Secret | str | None = None  # the code, or the reason for none
        self.foreign_answers = 0

    def wait(self, seconds: float, cancelled: threading.Event) -> Secret:
        """Serve until the browser brings the login's authorization code, and return the code.

        Raises TokenError if the user or the server refuses, after `seconds`, and when the event `cancelled` is set.
        """
        deadline = elapsed() + seconds
        while self.answer is None:
            if cancelled.is_set():
                raise TokenError("the login was interrupted", advice="Run it again.")
            if elapsed() > deadline:
                strange = f"; {self.foreign_answers} answers belonged to another login" if self.foreign_answers else ""
                advice = f"Try again; is {self.redirect_uri} registered with the broker?"
                raise TokenError(f"there was no login within {seconds:g} s{strange}", advice=advice)
            self.handle_request()
        if isinstance(self.answer, str):
            raise TokenError(f"the login was refused ({self.answer})", advice="Try again, and allow the access.")
        return self.answer

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore an error in a request: the default prints a traceback when a browser drops the connection."""


class _Callback(BaseHTTPRequestHandler):
    timeout = STALLED_SECONDS
    server: CallbackServer

    def do_GET(self) -> None:
        """Store the login's code if the request has the random `state` of this login, and answer with a short page.

        Any page in the browser can reach this port, so requests with another state are refused.
        """
        path, _, query = self.path.partition("?")
        if path != self.server.path:
            self._reply(404, "There is nothing here.")
            return
        fields = {name: values[0] for name, values in parse_qs(query).items()}
        if not secrets.compare_digest(fields.get("state", "").encode(), self.server.state.encode()):
            self.server.foreign_answers += 1
            self._reply(400, "This answer belongs to another login.")
            return
        code, refused = fields.get("code"), fields.get("error", "an answer without a code")
        answer: Secret | str = Secret(code) if code else _printable(f"{refused} {fields.get('error_description', '')}")
        try:
            self._reply(200, "Logged in: this window may be closed." if code else "The login was refused.")
        finally:
            self.server.answer = self.server.answer or answer

    def _reply(self, status: int, text: str) -> None:
        body = PAGE.format(text).encode()
        self.send_response(status)
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "Connection": "close",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "aries_nb"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by http.server
        """Log nothing: the default logs each request line, which contains the login's code."""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:SHOWN_CHARACTERS].strip()

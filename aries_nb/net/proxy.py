"""Choice of the proxy, by one rule for WebSockets and HTTP.

The environment variables are those of curl and requests: HTTPS_PROXY, then ALL_PROXY, not for hosts in NO_PROXY; the
lower-case name of each comes first. If none is set, the system settings of macOS or Windows apply.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aries_nb.errors import ConnectError
from aries_nb.model import Secret
from aries_nb.net.urls import is_loopback

__all__ = ["Proxy", "proxy_for"]

SECURE_PORT = 443
PORTS = {"http": 80, "https": SECURE_PORT, "socks5": 1080, "socks5h": 1080}  # if the address has none
SOCKS = {"socks": "socks5h"}  # as Windows writes it; macOS writes http:// for a SOCKS proxy
SOCKS_PACKAGES = ("python_socks", "socksio")  # for websockets, and for httpx
SETTINGS = "the system's settings"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A configured proxy, at `address`, which may contain user and password.

    `shown` is the address without them, for messages; `origin` is where the proxy is configured.
    """

    address: Secret
    shown: str
    origin: str
    """Where it is configured: the name of a variable, or the system's settings."""

    def __str__(self) -> str:
        return f"the proxy {self.shown} of {self.origin}"

    def explain(self, status: int | None) -> str:
        """Return a text for users that explains why the proxy refused, by the HTTP status that it sent (RFC 9110, 15).

        `status` None means that it sent no HTTP answer.
        """
        if status is None:
            return f"{self} did not connect to the server, or is no proxy"
        if status == 407:
            how = "http://USER:PASSWORD@HOST:PORT"
            return f"{self} requires a user and a password, or other ones (HTTP 407); give them as {how}"
        if status >= 500:
            return f"{self} does not reach the server (HTTP {status})"
        return f"{self} refuses to connect to the server (HTTP {status}); ask its administrator to allow it"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for `url`, a wss:// or https:// address; None for a direct connection.

    Connections within this machine are always direct. Raises ConnectError if the configured proxy cannot be used.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(f"{host}:{parts.port or SECURE_PORT}"):
        return None
    known = getproxies()
    for scheme in ("https", "all", "socks"):
        if known.get(scheme):
            return _checked(Secret(known[scheme]), scheme)
    return None


def _checked(given: Secret, scheme: str) -> Proxy:
    """Return the proxy with its address in the form that both websockets and httpx accept.

    `given` is the configured value and `scheme` that of its variable: "https", "all" or "socks". Raises ConnectError if
    it is no address of a proxy, or the packages for SOCKS are missing.
    """
    variable = f"{scheme}_proxy"
    origin = next((name for name in (variable, variable.upper()) if os.environ.get(name)), SETTINGS)
    parsed = _parsed(given, scheme)
    if parsed is None:
        advice = "Give it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, other characters as %XX."
        raise ConnectError(f"what {origin} holds is no address of a proxy", advice=advice)
    kind, user, place = parsed
    missing = [name for name in SOCKS_PACKAGES if find_spec(name) is None] if kind.startswith("socks") else []
    if missing:
        what = f"{origin} names a SOCKS proxy, for which {' and '.join(missing)} must be installed"
        raise ConnectError(what, where=f"{kind}://{place}", advice="pip install 'aries_nb[socks]'")
    return Proxy(Secret(f"{kind}://{user}{place}"), f"{kind}://{place}", origin)


def _parsed(given: Secret, scheme: str) -> tuple[str, str, str] | None:
    """Return a proxy's scheme; its user and password, followed by "@", or ""; its host and port.

    Returns None if the configured value `given` is no address of a proxy.
    """
    text = given.reveal().strip()
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        kind, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        return None
    kind = "socks5h" if scheme == "socks" and kind == "http" else SOCKS.get(kind, kind)
    is_bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    if kind not in PORTS or not host or not is_bare or not text.isprintable():
        return None
    user, at, _ = parts.netloc.rpartition("@")
    if at and ":" not in user:
        user += ":"  # a user without a password has an empty one
    return kind, user + at, f"{f'[{host}]' if ':' in host else host}:{port or PORTS[kind]}"

"""Checks of a server's address before anything is sent to it, and its form without secrets for messages."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from aries_nb.errors import UsageError

__all__ = ["checked_url", "is_loopback", "shown_url"]


def checked_url(base: str, path: str, *, has_query: bool = False) -> str:
    """Return the address of an endpoint: the base address `base`, without a slash at its end, followed by `path`.

    With `has_query`, `base` is a whole address that the broker gave: it may have a query and is returned as it is.
    Raises UsageError if `base` is no ws:// or wss:// address, holds more than a host, a port and a path, or is plain
    ws:// to another machine, which would send the token unencrypted.
    """
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        # Not chained: the error may quote a part of the address that is a password.
        raise UsageError(f"{shown_url(base)!r} is not an address", advice="Give it as wss://HOST[:PORT].") from None
    if parts.scheme not in {"ws", "wss"} or not host:
        raise UsageError(
            f"{shown_url(base)!r} is not a WebSocket address",
            advice="Give it as wss://HOST[:PORT], or ws://127.0.0.1:PORT for a server on this machine.",
        )
    if parts.scheme == "ws" and not is_loopback(host):
        raise UsageError(
            f"plain ws:// to {host} would send your token unencrypted",
            advice="Use wss://; ws:// is for 127.0.0.1 only.",
        )
    if "@" in parts.netloc or (parts.query and not has_query) or parts.fragment:
        raise UsageError(
            f"the address {shown_url(base)!r} holds more than a host, a port and a path",
            advice="Pass a token as token=… or in ARIES_NB_TOKEN, never in the address.",
        )
    if has_query:  # whole: its path may end in a slash that the server insists on
        return parts.geturl()
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}"


def shown_url(url: str) -> str:
    """Return the address `url` without user, password, query and fragment, to be shown in messages.

    The rest is replaced by "…" if a password may hold a "?", so that the host cannot be found.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    place, _, beyond = rest.replace("#", "?").partition("?")
    if "@" in beyond:
        return f"{scheme}{mark}…"  # a password may hold a "?", so the host cannot be found
    return f"{scheme}{mark}{place.rpartition('@')[2]}"


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address means this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

"""The errors with which a connection ends: internal ones, and functions that make those that users see.

In all of them `where` is the address of the server without secrets.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aries_nb.errors import ConnectError, FeedError, TokenError
from aries_nb.model import Cause
from aries_nb.net.tls import FILE

__all__ = [
    "ConnectionLostError",
    "TokenRefusedError",
    "crashed",
    "enough_resources",
    "explain",
    "is_for_now",
    "never_connected",
    "not_open_within",
    "token_refused",
]

LATER = frozenset({408, 425, 429})
RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
UNKNOWN_ISSUER = {18, 19, 20, 21}  # OpenSSL's codes for a chain without a trusted issuer


class ConnectionLostError(Exception):
    """Internal error: this connection ended, but a new one may succeed.

    `cause` is the kind of break, as shown in `feed.gaps`.
    """

    def __init__(self, reason: str, cause: Cause = "cut") -> None:
        super().__init__(reason)
        self.cause: Cause = cause


class TokenRefusedError(ConnectionLostError):
    """Internal error: the server refused the token on this connection. A fresh token may succeed on a new one."""


def explain(error: Exception) -> str:
    """Return one line of text for users that says why a connection failed with `error`."""
    if isinstance(error, ConnectionLostError):
        return str(error)
    if isinstance(error, ssl.SSLError):
        # A proxy that inspects TLS, as companies have it, or a server that is not the one it claims to be.
        is_unknown = isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in UNKNOWN_ISSUER
        advice = f"; if your company's proxy inspects TLS, name its certificate in {FILE}" if is_unknown else ""
        return f"the server's certificate or TLS is not acceptable ({error.reason or error}){advice}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error) or type(error).__name__


@contextmanager
def enough_resources(where: str) -> Iterator[None]:
    """Raise ConnectError if the block fails because this process has no file descriptor, thread or memory left.

    `where` says for what they were needed. Errors of this library pass unchanged.
    """
    try:
        yield
    except FeedError:
        raise
    except (OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            raise
        reason = "out of memory" if isinstance(error, MemoryError) else explain(error)
        raise _out_of_resources(reason, where) from error


def is_for_now(status: int) -> bool:
    """Return whether an HTTP status says that the same request may succeed later (RFC 9110, 15.5 and 15.6)."""
    return status in LATER or status >= 500


def never_connected(reason: str, where: str, error: Exception) -> ConnectError:
    """Return the error for users when the first attempt to connect to the address `where` failed with `error`.

    `reason` says why.
    """
    if isinstance(error, OSError) and error.errno in RESOURCES:
        return _out_of_resources(reason, where)
    return ConnectError(f"cannot connect: {reason}", where=where, advice="Check the address and the network.")


def not_open_within(seconds: float, where: str) -> ConnectError:
    """Return the error for users when no session with the address `where` was open after `seconds`."""
    advice = "Check the address, or try again with a longer timeout."
    return ConnectError("no session", where=f"{where}, after {seconds:g} s", advice=advice)


def _out_of_resources(reason: str, where: str) -> ConnectError:
    advice = "Close feeds and files that are not needed, or raise the limits of this process (ulimit -n, -u, -v)."
    return ConnectError(f"this process has run out of resources: {reason}", where=where, advice=advice)


def token_refused(reason: str, where: str) -> TokenError:
    """Return the error for users when the server at `where` refused the token, with its text as `reason`."""
    return TokenError(f"the token was refused ({reason})", where=where, advice="Get a new one and connect again.")


def crashed(error: Exception, reason: str, where: str) -> FeedError:
    """Return the error for users when a defect in the code ended the session with the address `where`.

    The code is that of this package or of an adapter. `reason` is the repr of `error` with tokens redacted. If nothing
    was redacted, `error` is its cause, without stack frames, whose variables may hold tokens; the log has the traceback
    as text.
    """
    advice = "The log says where; please report it if the code is ours."
    failure = FeedError(f"the session failed: {reason}", where=where, advice=advice)
    if reason == repr(error):
        error.__cause__ = error.__context__ = None
        failure.__cause__ = error.with_traceback(None)
    return failure

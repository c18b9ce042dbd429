"""Why a connection ended, in words for a person."""

from __future__ import annotations

import ssl

__all__ = ["LostError", "RefusedError", "explain"]


class LostError(Exception):
    """This connection is over; another may succeed."""


class RefusedError(LostError):
    """The server refused the token on this connection."""


def explain(error: Exception) -> str:
    """One line about why a connection failed."""
    if isinstance(error, LostError):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return f"the server's certificate or TLS is not acceptable ({error.reason or error})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    said = error.strerror if isinstance(error, OSError) else None
    return said or str(error) or type(error).__name__

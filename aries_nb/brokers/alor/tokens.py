"""Tokens of ALOR: claims of access tokens, and the exchange of refresh tokens (protocol page §2).

Pure: no I/O. No function raises for a malformed token, and none stores a token.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from typing import Any

import msgspec

from aries_nb.brokers.parsing import number, shown

__all__ = ["REFRESH_PATH", "AlorTokenExchange", "expiry_of", "portfolios_in", "read_refresh", "refresh_body"]

REFRESH_PATH = "/refresh"  # a POST at the token service, with `refresh_body`
MOST_CHARACTERS = 20_000


class AlorTokenExchange:
    """Implements `TokenExchange` (§2.1)."""

    def is_access(self, token: str) -> bool:
        """Whether a token is an access token: a JWT with an expiry."""
        return expiry_of(token) is not None

    def request(self, refresh_token: str) -> bytes:
        """The JSON to post."""
        return refresh_body(refresh_token)

    def read(self, body: bytes) -> str:
        """The access token in an answer. Raises ValueError."""
        return read_refresh(body)

    def expiry(self, token: str) -> float | None:
        """Expiry of an access token, in s since the epoch."""
        return expiry_of(token)


def expiry_of(token: str) -> float | None:
    """Expiry of an access token in s since the epoch; None if it has none."""
    exp = number(_claims(token).get("exp"))
    return exp if exp is not None and exp > 0 else None


def portfolios_in(token: str) -> tuple[str, ...]:
    """The portfolios that an access token names, in the broker's order; () if none."""
    said = _claims(token).get("portfolios")
    texts = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
    return tuple(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


def refresh_body(refresh_token: str) -> bytes:
    """The JSON to post to the token service."""
    return msgspec.json.encode({"token": refresh_token})


def read_refresh(body: bytes) -> str:
    """The access token in an answer of the token service. Raises ValueError if there is none."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("the answer is not JSON") from None  # the cause would hold the token
    said = answer if isinstance(answer, dict) else {}
    token = next((value for key, value in said.items() if key.lower() == "accesstoken"), None)
    if not isinstance(token, str) or not token:
        raise ValueError(f"the answer has no access token (it says {shown(said.get('message', ''))!r})")
    return token


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, not verified: they serve for scheduling only. {} for anything else."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > MOST_CHARACTERS:
        return {}
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (msgspec.DecodeError, ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}

"""Tokens of ALOR: claims of access tokens, and the exchange of refresh tokens (ALOR protocol page §2).

No I/O. No function raises for a malformed token, and none stores a token.
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
    """ALOR's exchange of refresh tokens for access tokens (ALOR protocol page §2.1). Implements `TokenExchange`."""

    def is_access(self, token: str) -> bool:
        """Return whether a token is an access token: a JWT (JSON web token) with an expiry."""
        return expiry_of(token) is not None

    def request(self, refresh_token: str) -> bytes:
        """Return the JSON body to post to the token service, which exchanges `refresh_token` for an access token."""
        return refresh_body(refresh_token)

    def read(self, body: bytes) -> str:
        """Return the access token in the body of the token service's answer. Raises ValueError if there is none."""
        return read_refresh(body)

    def expiry(self, token: str) -> float | None:
        """Return when an access token expires, in s since the epoch; None if it does not say."""
        return expiry_of(token)


def expiry_of(token: str) -> float | None:
    """Return when an access token expires, in s since the epoch; None if it does not say."""
    exp = number(_claims(token).get("exp"))
    return exp if exp is not None and exp > 0 else None


def portfolios_in(token: str) -> tuple[str, ...]:
    """Return the portfolios that an access token names, in the broker's order; () if it names none."""
    said = _claims(token).get("portfolios")
    texts = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
    return tuple(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


def refresh_body(refresh_token: str) -> bytes:
    """Return the JSON body to post to the token service, which exchanges `refresh_token` for an access token."""
    return msgspec.json.encode({"token": refresh_token})


def read_refresh(body: bytes) -> str:
    """Return the access token in the body of the token service's answer. Raises ValueError if there is none."""
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
    """Return the claims of a JWT (JSON web token), {} for any other text.

    They are not verified, as they only serve to plan the renewal and to list portfolios.
    """
    parts = token.split(".")
    if len(parts) != 3 or len(token) > MOST_CHARACTERS:
        return {}
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (msgspec.DecodeError, ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}

"""Refresh tokens of ALOR for access tokens, as its token service trades them (protocol page §2.1)."""

from __future__ import annotations

from aries_nb.brokers.alor.tokens import expiry_of, read_refresh, refresh_body

__all__ = ["AlorExchange"]


class AlorExchange:
    """The way of the token service; see `interface.TokenExchange`."""

    def is_access(self, token: str) -> bool:
        """Whether a token is an access token: a JWT that names its end."""
        return expiry_of(token) is not None

    def request(self, refresh_token: str) -> bytes:
        """What is posted."""
        return refresh_body(refresh_token)

    def read(self, body: bytes) -> str:
        """The access token in an answer. Raises ValueError."""
        return read_refresh(body)

    def expiry(self, token: str) -> float | None:
        """When an access token ends."""
        return expiry_of(token)

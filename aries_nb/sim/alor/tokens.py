"""Token service of the simulated ALOR broker: exchanges refresh tokens for access tokens, which are JWTs.

No I/O; time is passed in, in Unix s. Source: ALOR's protocol page §2 and §15 (U34: the HTTP status of a refused token
request). The broker signs with ES256; HS256 is sufficient for every client examined (§2.2), since none checks the
signature.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aries_nb.sim.alor.settings import AlorOptions

__all__ = ["SCOPES", "Bearer", "RefreshError", "TokenService"]

SCOPES = "OrdersRead OrdersCreate Trades Personal Stats"
LOGIN = "P000001"
MOST_CHARACTERS = 8192


@dataclass(frozen=True, slots=True)
class Bearer:
    """Owner of an access token.

    `subject` is the user, to whom limits of connections apply; `portfolios` those that may be read. `expires` is in
    Unix s, None for a token that does not expire.
    """

    subject: str
    portfolios: frozenset[str]
    expires: float | None


class RefreshError(Exception):
    """Raised for a refused token request; `status` is the HTTP status of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"


class TokenService:
    """Issues access tokens and checks them. Owned by the server's event loop.

    Servers of the same seed accept each other's tokens, so that a restarted server accepts those in use; a token of
    another seed is like one of another environment. `issued` counts access tokens. `portfolios` are those of the
    user.
    """

    def __init__(self, options: AlorOptions, portfolios: Sequence[str]) -> None:
        self.issued = 0
        self._options = options
        self._portfolios = tuple(portfolios)
        self._key = hashlib.sha256(f"{options.seed} token key".encode()).digest()

    def __repr__(self) -> str:
        return f"<TokenService: {self.issued} access tokens issued>"

    def refresh(self, fields: Mapping[str, Any], now: float) -> dict[str, str]:
        """Return the answer to `POST /refresh`, with an access token.

        `fields` are those of the request, `now` is in Unix s. Field names are case-insensitive (ALOR's protocol
        page §2.1). Raises RefreshError if the request is refused.
        """
        asked = {name.lower(): value for name, value in fields.items()}
        token, allowed = asked.get("token"), asked.get("allowedportfolios")
        if not isinstance(token, str) or not token:
            raise RefreshError(400, "token is required")
        if not _same(token, self._options.refresh_token):
            raise RefreshError(403, "the refresh token is malformed or has expired")
        if allowed is not None and not (isinstance(allowed, list) and all(isinstance(name, str) for name in allowed)):
            raise RefreshError(400, "allowedPortfolios must be an array of strings")
        granted = [name for name in self._portfolios if not allowed or name in allowed]
        if not granted:
            raise RefreshError(403, "none of the allowed portfolios belongs to this user")
        return {"AccessToken": self.issue(now, granted)}

    def issue(self, now: float, portfolios: Sequence[str] | None = None, *, seconds: float | None = None) -> str:
        """Return a new access token for these portfolios (None: all of the user), issued at `now` (Unix s).

        `seconds` is its life, None for the option `token_seconds`. It is counted in `issued`.
        """
        self.issued += 1
        claims = {
            "sub": LOGIN,
            "ent": "client",
            "ein": "00000",
            "clientid": "1000001",
            "azp": "aries-nb-sim",
            "agreements": "00001 00002",
            "portfolios": " ".join(self._portfolios if portfolios is None else portfolios),
            "scope": SCOPES,
            "exp": int(now + (self._options.token_seconds if seconds is None else seconds)),
            "iat": int(now),
            "jti": str(self.issued),
        }
        signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT', 'cty': 'JWT'})}.{_encoded(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def read(self, token: str, now: float) -> Bearer | None:
        """Return the owner of an access token at `now` (Unix s); None if it is not accepted.

        The fixed token of the options belongs to the user with all portfolios. Without one, so does every text
        that is not blank and does not have the form of a JWT.
        """
        claims = self._claims(token)
        if claims is not None:
            if now >= claims["exp"]:
                return None
            return Bearer(claims["sub"], frozenset(claims["portfolios"].split()), claims["exp"])
        fixed = self._options.token
        accepted = bool(token.strip()) and token.count(".") != 2 if fixed is None else _same(token, fixed)
        return Bearer(LOGIN, frozenset(self._portfolios), None) if accepted else None

    def _claims(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token signed by this service; None for any other text."""
        signed, _, signature = token.rpartition(".")
        if len(token) > MOST_CHARACTERS or not _same(signature, self._signature(signed)):
            return None
        text = signed.partition(".")[2]
        claims: dict[str, Any] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return claims

    def _signature(self, signed: str) -> str:
        digest = hmac.digest(self._key, signed.encode(errors="surrogatepass"), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encoded(part: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _same(given: str, expected: str) -> bool:
    """Return whether two texts are equal, compared in constant time; external text may contain lone surrogates."""
    return hmac.compare_digest(*(text.encode(errors="surrogatepass") for text in (given, expected)))

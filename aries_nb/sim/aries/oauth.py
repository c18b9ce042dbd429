"""Token issuer of the simulated Aries broker: authorization codes, PKCE, refresh and client credentials.

Source: Aries' protocol page §6; where it is silent, RFC 6749 (codes, tokens, errors) and RFC 7636 (PKCE). No I/O; time
is passed in, in Unix s. Tokens are opaque text (assumed: the broker's are JWTs, which clients need not parse). An
authorization request of a browser is granted at once, without a consent page.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCOPES", "OAuthError", "OAuthServer", "OAuthSettings"]

#: Protocol page §6.
SCOPES = (
    "user:information", "watchlist:information", "watchlist:management", "account:information", "order:execution",
    "order:information", "position:information", "market:information", "calendar:information", "options:information",
    "analytics:information", "market:supplemental",
)  # fmt: skip
#: Without a registered redirect_uri codes are sent to the user's machine only.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: RFC 7636 §4.1.
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
TOKEN_BYTES = 32

ErrorName = Literal[
    "access_denied", "invalid_client", "invalid_grant", "invalid_request", "unsupported_grant_type",
    "unsupported_response_type",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class OAuthSettings:
    """The client registered with the simulated broker, and lifetimes of codes and tokens in s.

    `redirect_uri` None accepts every http address of this machine; a text must match exactly (Aries' protocol page
    §6). The secret is valid for this simulator only.
    """

    client_id: str = "sim-client"
    client_secret: str = field(default="sim-secret", repr=False)
    redirect_uri: str | None = None
    access_seconds: float = 3600.0
    refresh_seconds: float = 2_592_000.0
    code_seconds: float = 600.0


class OAuthError(Exception):
    """Raised for a refused OAuth request. `status` is the HTTP status of the answer, `name` and `text` its fields.

    Source: RFC 6749 §5.2.
    """

    def __init__(self, name: ErrorName, text: str) -> None:
        super().__init__(name, text)
        self.name = name
        self.text = text
        self.status = 401 if name == "invalid_client" else 400

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class _Grant(NamedTuple):
    """What an issued authorization code, access token or refresh token permits, until `expires` (Unix s).

    Only codes have a PKCE `challenge` and the `redirect_uri` to which they were sent.
    """

    expires: float
    scope: str
    #: Granted with PKCE alone: such a client has no secret.
    is_public: bool = False
    redirect_uri: str = ""
    challenge: str = ""

    def __repr__(self) -> str:
        return f"<grant until {self.expires:.0f}>"


class OAuthServer:
    """Issues and checks all authorization codes and tokens of a simulated broker. Owned by the server's event loop.

    `token` is a fixed token that is accepted in addition to issued ones; None accepts every other text that is not
    blank, as the WebSockets do. A token issued here is never accepted after its expiry.
    """

    def __init__(self, settings: OAuthSettings | None = None, token: str | None = None) -> None:
        self.settings = settings or OAuthSettings()
        self._token = token
        self._codes: dict[str, _Grant] = {}
        self._access: dict[str, _Grant] = {}
        self._refresh: dict[str, _Grant] = {}

    def __repr__(self) -> str:
        return f"<OAuthServer of {self.settings.client_id}: {len(self._access)} access tokens>"

    def is_valid(self, token: str, now: float) -> bool:
        """Return whether a bearer token is accepted at `now` (Unix s), on the WebSockets and over HTTP."""
        grant = self._access.get(token)
        if grant is not None:
            return now < grant.expires
        if self._token is None:
            return bool(token.strip())
        return _same(token, self._token)

    def authorize(self, query: Mapping[str, str], now: float) -> str:
        """Grant an authorization request; return the address to which to redirect the browser, with a code or an error.

        Raises OAuthError if the client or its redirect_uri is unknown: a browser must not be redirected then.
        """
        uri = query.get("redirect_uri", "")
        if query.get("client_id") != self.settings.client_id:
            raise OAuthError("invalid_client", "unknown client_id")
        if not self._is_redirect(uri):
            raise OAuthError("invalid_request", "redirect_uri is not the registered one")
        challenge = query.get("code_challenge", "")
        state = {"state": query["state"]} if "state" in query else {}
        if query.get("response_type") != "code":
            return _with_query(uri, {"error": "unsupported_response_type", **state})
        if challenge and query.get("code_challenge_method") != "S256":
            return _with_query(
                uri, {"error": "invalid_request", "error_description": "code_challenge_method must be S256", **state}
            )
        _drop_expired(self._codes, now)
        code = secrets.token_urlsafe(TOKEN_BYTES)
        scope = query.get("scope") or " ".join(SCOPES)
        self._codes[code] = _Grant(now + self.settings.code_seconds, scope, redirect_uri=uri, challenge=challenge)
        return _with_query(uri, {"code": code, **state})

    def token(self, fields: Mapping[str, str], now: float) -> dict[str, object]:
        """Return the answer to a token request with these fields, at `now` (Unix s).

        A code is used up by any attempt, a refresh token by a successful one. Raises OAuthError if the request
        is refused.
        """
        if fields.get("client_id") != self.settings.client_id:
            raise OAuthError("invalid_client", "unknown client_id")
        has_secret = "client_secret" in fields
        secret = fields.get("client_secret", "")
        if has_secret and not _same(secret, self.settings.client_secret):
            raise OAuthError("invalid_client", "wrong client_secret")
        match fields.get("grant_type"):
            case "authorization_code" | "code":  # both names are documented (§8 D20)
                return self._redeem(fields, now, has_secret=has_secret)
            case "refresh_token":
                return self._renew(fields.get("refresh_token", ""), now, has_secret=has_secret)
            case "client_credentials":
                if not has_secret:
                    raise OAuthError("invalid_client", "client_secret is required")
                return self._issue(_Grant(0.0, fields.get("scope") or " ".join(SCOPES)), now, with_refresh=False)
            case None:
                raise OAuthError("invalid_request", "grant_type is required")
            case _:
                raise OAuthError("unsupported_grant_type", "use authorization_code, refresh_token, client_credentials")

    def _redeem(self, fields: Mapping[str, str], now: float, *, has_secret: bool) -> dict[str, object]:
        # A code is removed by the first attempt, even a wrong one: its verifier cannot be guessed by repetition.
        code = self._codes.pop(fields.get("code", ""), None)
        if code is None or now >= code.expires:
            raise OAuthError("invalid_grant", "the code is unknown, used or expired")
        if fields.get("redirect_uri") != code.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one the code was sent to")
        verifier = fields.get("code_verifier", "")
        if (code.challenge or verifier) and not _verifies(verifier, code.challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit the code_challenge")
        if not code.challenge and not has_secret:
            raise OAuthError("invalid_client", "client_secret or code_verifier is required")
        return self._issue(code._replace(is_public=not has_secret), now)

    def _renew(self, token: str, now: float, *, has_secret: bool) -> dict[str, object]:
        grant = self._refresh.get(token)
        if grant is None or now >= grant.expires:
            raise OAuthError("invalid_grant", "the refresh token is unknown, used or expired")
        if not has_secret and not grant.is_public:
            raise OAuthError("invalid_client", "client_secret is required")
        del self._refresh[token]  # rotation: assumed, the page leaves it open
        return self._issue(grant, now)

    def _issue(self, grant: _Grant, now: float, *, with_refresh: bool = True) -> dict[str, object]:
        settings = self.settings
        _drop_expired(self._refresh, now)
        # Expired access tokens are retained: where any text is accepted they must not pass as unknown ones.
        _drop_expired(self._access, now - settings.refresh_seconds)
        access, refresh = (secrets.token_urlsafe(TOKEN_BYTES) for _ in range(2))
        issued = _Grant(now + settings.access_seconds, grant.scope, grant.is_public)
        self._access[access] = issued
        answer: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(settings.access_seconds),
            "scope": grant.scope,
        }
        if with_refresh:
            self._refresh[refresh] = issued._replace(expires=now + settings.refresh_seconds)
            answer |= {"refresh_token": refresh, "refresh_token_expires_in": int(settings.refresh_seconds)}
        return answer

    def _is_redirect(self, uri: str) -> bool:
        if self.settings.redirect_uri is not None:
            return uri == self.settings.redirect_uri
        try:
            parts = urlsplit(uri)
        except ValueError:
            return False
        return uri.isascii() and parts.scheme == "http" and parts.hostname in LOOPBACK and not parts.fragment


def _verifies(verifier: str, challenge: str) -> bool:
    """Return whether a PKCE code verifier has the form required and fits the S256 challenge (RFC 7636 §4.6)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return _same(digest.decode(), challenge)


def _same(given: str, issued: str) -> bool:
    """Return whether two texts are equal, compared in constant time; external text may contain lone surrogates."""
    return compare_digest(*(text.encode(errors="surrogatepass") for text in (given, issued)))


def _with_query(uri: str, fields: Mapping[str, str]) -> str:
    parts = urlsplit(uri)
    query = "&".join(part for part in (parts.query, urlencode(fields)) if part)
    return urlunsplit(parts._replace(query=query))


def _drop_expired(grants: dict[str, _Grant], now: float) -> None:
    for key in [key for key, grant in grants.items() if grant.expires <= now]:
        del grants[key]

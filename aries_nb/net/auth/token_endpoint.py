"""Requests for access tokens to an OAuth 2 token endpoint (RFC 6749), made with oauthlib and sent with httpx."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aries_nb.brokers import TokenExchange
from aries_nb.errors import ConnectError, FeedError, TokenError, UsageError
from aries_nb.model import Secret
from aries_nb.model.clock import wall_ns
from aries_nb.net.auth.tokens import checked_secret
from aries_nb.net.connection_errors import is_for_now
from aries_nb.net.http_client import HttpResponse, checked_http_url, describe, new_client, send_request

if TYPE_CHECKING:
    import httpx

__all__ = ["IssuedToken", "OAuthEndpoints", "request_token"]

MOST_BYTES = 2**20
ASSUMED_LIFE = 3600.0  # seconds, if the server names none (assumed: typical by the protocol page, section 6)
ASSUMED_OWN_LIFE = 1500.0  # of a token of a broker's own exchange that names no expiry
LONGEST_LIFE = 366 * 86400.0
REFUSALS = frozenset({400, 401, 403})  # RFC 6749, 5.2: 400, or 401 for the client; 403 by some servers
ADVICE = "Check the client's id and secret and the redirect address; or log in again for a new refresh token."


@dataclass(frozen=True, slots=True)
class OAuthEndpoints:
    """A broker's addresses for OAuth: `authorize`, its login page, and `token`, its token endpoint.

    `is_json` is for a server that takes codes and refresh tokens as JSON instead of the form fields of RFC 6749.
    `exchange` is for a broker that has its own way, other than OAuth, to exchange refresh tokens for access tokens, and
    no login page; else None. Raises UsageError for an address that is neither https:// nor on this machine.
    """

    authorize: str
    token: str
    is_json: bool = False
    exchange: TokenExchange | None = None

    def __post_init__(self) -> None:
        if self.exchange is None:
            checked_http_url(self.authorize)
        checked_http_url(self.token)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An issued access token, its remaining life in seconds, and the refresh token issued with it, if any."""

    access: Secret
    life: float
    refresh: Secret | None


def request_token(endpoints: OAuthEndpoints, grant_type: str, fields: Mapping[str, str | Secret | None]) -> IssuedToken:
    """Request an access token at the broker's token endpoint, for `grant_type`, the OAuth name of the grant.

    `fields` are those of the grant; one with the value None is not sent. Raises TokenError if the token is refused
    (400, 401, 403, or an error in a response of 200): the same fields will not succeed later. Raises ConnectError if
    the server cannot be reached or answers 408, 425, 429 or 5xx, FeedError if the address is no token endpoint.
    """
    is_json = endpoints.is_json and grant_type != "client_credentials"  # protocol page, section 6
    url, own = endpoints.token, endpoints.exchange
    with new_client(url) as client:
        if own is None:
            request = _request(client, url, grant_type, fields, is_json=is_json)
        else:
            request = _own_request(client, url, own, fields.get("refresh_token"))
        answer = send_request(client, request, where=url, most_bytes=MOST_BYTES)
    secrets = [value for value in fields.values() if isinstance(value, Secret)]
    if answer.is_success:
        granted = _parsed_token(answer) if own is None else _parsed_own_token(answer, own)
        if isinstance(granted, IssuedToken):
            advice = "The server's answer cannot be used; report it to the broker."
            return IssuedToken(checked_secret(granted.access, advice), granted.life, granted.refresh)
        raise TokenError(f"no token was issued ({granted})", where=url, advice=ADVICE)
    reason = describe(answer.without(*secrets))
    if answer.status in REFUSALS:
        raise TokenError(f"no token was issued ({reason})", where=url, advice=ADVICE)
    if is_for_now(answer.status):
        raise ConnectError(f"the token endpoint cannot answer now ({reason})", where=url, advice="Try again later.")
    raise FeedError(f"this is no token endpoint ({reason})", where=url, advice="Check the address.")


def _request(
    client: httpx.Client, url: str, grant_type: str, fields: Mapping[str, str | Secret | None], *, is_json: bool
) -> Callable[[], httpx.Request]:
    """Return a function that builds the OAuth request of `client` to `url` from `fields` and `grant_type`.

    The caller calls it only when it sends, so that no local variable holds a token. `is_json`: the body is JSON, not a
    form. A field with the value None is not sent.
    """
    from oauthlib.oauth2.rfc6749.parameters import prepare_token_request

    def make() -> httpx.Request:
        plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items()}
        form: str = prepare_token_request(grant_type, **plain)
        content = json.dumps(dict(parse_qsl(form))) if is_json else form
        kind = "application/json" if is_json else "application/x-www-form-urlencoded"
        headers = {"Content-Type": kind, "Accept": "application/json"}
        return client.build_request("POST", url, content=content.encode(), headers=headers)

    return make


def _own_request(
    client: httpx.Client, url: str, own: TokenExchange, refresh_token: str | Secret | None
) -> Callable[[], httpx.Request]:
    """Return a function that builds the request of `client` to `url` for a broker's own token exchange, `own`.

    The caller calls it only when it sends, so that no local variable holds a token. Raises UsageError if
    `refresh_token` is no `Secret`.
    """
    if not isinstance(refresh_token, Secret):
        raise UsageError(
            "tokens are issued for refresh tokens only", where=url, advice="Use anb.oauth(refresh_token=…)."
        )

    def make() -> httpx.Request:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return client.build_request("POST", url, content=own.request(refresh_token.reveal()), headers=headers)

    return make


def _parsed_own_token(answer: HttpResponse, own: TokenExchange) -> IssuedToken | str:
    """Return the token in `answer` that a broker's own exchange issued, or a text that says why there is none.

    `own` decodes it; without an expiry it is taken to live 1,500 s. Never raises, so that no traceback shows the
    response.
    """
    try:
        access = own.read(answer.body)
    except ValueError:
        return "an answer without an access token"
    end = own.expiry(access)
    life = ASSUMED_OWN_LIFE if end is None else min(max(end - wall_ns() / 1e9, 0.0), LONGEST_LIFE)
    return IssuedToken(Secret(access), life, None)


def _parsed_token(answer: HttpResponse) -> IssuedToken | str:
    """Return the token in `answer` that an OAuth endpoint issued, or a text that says why there is none.

    Without an expiry it is taken to live 3,600 s. Never raises, so that no traceback shows the response.
    """
    from oauthlib.oauth2 import OAuth2Error
    from oauthlib.oauth2.rfc6749.parameters import parse_token_response

    try:
        token = parse_token_response(answer.body.decode())
        access, refresh, life = token["access_token"], token.get("refresh_token"), token.get("expires_in")
        if not isinstance(access, str) or not isinstance(refresh, str | None):
            return "an answer with a token that is no text"
        life = float(life) if life is not None else ASSUMED_LIFE
        return IssuedToken(Secret(access), min(max(life, 0.0), LONGEST_LIFE), Secret(refresh) if refresh else None)
    except OAuth2Error as error:
        known = type(error).__name__ != "CustomOAuth2Error"
        return str(error.error) if known else "an error that OAuth does not know"
    except Exception as error:  # a malformed response makes oauthlib raise anything
        return f"an answer that is none of OAuth: {type(error).__name__}"

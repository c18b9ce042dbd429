"""The background loop, the session and what it needs: addresses, backoff, tokens."""

from aries_nb.net.address import checked_url, shown_url
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.http_client import HttpClient, http_base
from aries_nb.net.intake import Stream
from aries_nb.net.oauth import OAuthToken, oauth, oauth_client, oauth_login
from aries_nb.net.session import Session
from aries_nb.net.token_endpoint import OAuthEndpoints
from aries_nb.net.token_keyring import keyring_token
from aries_nb.net.tokens import Secret, TokenSource, fixed_token, token_from
from aries_nb.wire import BROKERS, Broker, Endpoint, Reference

__all__ = [
    "BROKERS",
    "BackoffRule",
    "Broker",
    "Endpoint",
    "HttpClient",
    "OAuthEndpoints",
    "OAuthToken",
    "Reference",
    "Secret",
    "Session",
    "Stream",
    "TokenSource",
    "checked_url",
    "fixed_token",
    "http_base",
    "keyring_token",
    "oauth",
    "oauth_client",
    "oauth_login",
    "shown_url",
    "token_from",
]

"""The background loop, the session and what it needs: addresses, backoff, tokens."""

from aries_nb.brokers import (
    BROKERS,
    AccountReference,
    Argument,
    Broker,
    Endpoint,
    Fact,
    Facts,
    FactType,
    Lookup,
    Query,
    Reference,
    Topic,
)
from aries_nb.net.allowance import Allowance
from aries_nb.net.aside import run_aside
from aries_nb.net.background import on_network, on_network_later
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.forks import left_in_a_fork
from aries_nb.net.http_client import HttpClient, http_base
from aries_nb.net.intake import Stream
from aries_nb.net.keyring import keyring_token
from aries_nb.net.oauth import OAuthToken, oauth, oauth_client, oauth_login
from aries_nb.net.pool import Pool
from aries_nb.net.session import Session
from aries_nb.net.token_endpoint import OAuthEndpoints
from aries_nb.net.tokens import FunctionToken, Hidden, Secret, TokenSource, fixed_token, hidden, token_from
from aries_nb.net.urls import checked_url, shown_url

__all__ = [
    "BROKERS",
    "AccountReference",
    "Allowance",
    "Argument",
    "BackoffRule",
    "Broker",
    "Endpoint",
    "Fact",
    "FactType",
    "Facts",
    "FunctionToken",
    "Hidden",
    "HttpClient",
    "Lookup",
    "OAuthEndpoints",
    "OAuthToken",
    "Pool",
    "Query",
    "Reference",
    "Secret",
    "Session",
    "Stream",
    "TokenSource",
    "Topic",
    "checked_url",
    "fixed_token",
    "hidden",
    "http_base",
    "keyring_token",
    "left_in_a_fork",
    "oauth",
    "oauth_client",
    "oauth_login",
    "on_network",
    "on_network_later",
    "run_aside",
    "shown_url",
    "token_from",
]

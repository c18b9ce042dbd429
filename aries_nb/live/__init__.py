"""The objects that a user has in a notebook: the feed, live frames, order books, tables and accounts."""

from aries_nb.live.account.account import Account
from aries_nb.live.connect import connect
from aries_nb.live.feed import Feed
from aries_nb.live.market.book import LiveBook
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.statistics import FeedStatistics
from aries_nb.live.table import LiveTable
from aries_nb.net.auth.keyring import keyring_token
from aries_nb.net.auth.oauth import oauth, oauth_client, oauth_login
from aries_nb.net.auth.token_endpoint import OAuthEndpoints

__all__ = [
    "Account",
    "Feed",
    "FeedStatistics",
    "LiveBook",
    "LiveFrame",
    "LiveTable",
    "OAuthEndpoints",
    "connect",
    "keyring_token",
    "oauth",
    "oauth_client",
    "oauth_login",
]

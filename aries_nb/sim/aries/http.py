"""The HTTP side of the simulated Aries broker: routes, bearer tokens and errors.

Source: protocol page §6 and §7. Placing, replacing and cancelling orders is not offered.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from aiohttp import web

from aries_nb.sim.aries.http_accounts import AccountAnswers
from aries_nb.sim.aries.http_bars import BarAnswers
from aries_nb.sim.aries.http_market import MarketAnswers
from aries_nb.sim.aries.oauth import OAuthError, OAuthServer
from aries_nb.sim.http_answers import Answer, Query, RefusedError, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aries_nb.sim.accounts.accounts import Accounts
    from aries_nb.sim.aries.feed import AriesFeed
    from aries_nb.sim.http_answers import ErrorShape
    from aries_nb.sim.market.history import History
    from aries_nb.sim.settings import SimOptions

__all__ = ["HttpApi"]

#: The browser's path (§6), and the one of the API for those who know its base alone (assumed).
AUTHORIZE = ("/oauth2/authorize", "/v1/oauth2/authorize")
TOKEN = "/v1/oauth2/token"  # noqa: S105 - a path
HEALTH = "/tv/health"
MOST_BODY_BYTES = 2**16
FORM = "application/x-www-form-urlencoded"


class HttpApi:
    """Answers requests from the market, its history and the accounts. Belongs to the thread of the server's loop.

    `oauth` None makes one with the fixed token of `options`; without `accounts` their routes and the news are unknown.
    `errors` chooses between the two documented shapes of errors.
    """

    def __init__(
        self,
        options: SimOptions,
        feed: AriesFeed,
        history: History,
        *,
        oauth: OAuthServer | None = None,
        accounts: Accounts | None = None,
        errors: ErrorShape = "flat",
    ) -> None:
        self.oauth = oauth or OAuthServer(token=options.token)
        self._errors = errors
        self._market = MarketAnswers(feed, history)
        self._accounts = None if accounts is None else AccountAnswers(accounts)
        market, bars = self._market, BarAnswers(history, self._market.is_known)
        self._routes: dict[str, Callable[[Query, float], object]] = {
            "/v1/marketdata/equities/details": market.equities,
            "/v1/marketdata/options/details": market.options,
            "/v1/marketdata/search": market.search,
            "/v1/market/status": market.status,
            "/v1/chart/quotes": market.quotes,
            "/v1/chart/config": market.config,
            "/v1/chart/symbols": market.symbol,
            "/v1/chart/search": market.chart_search,
            "/v1/chart/time": _clock,
            "/v1/chart/history": bars.history,
            "/v1/chart/tick-history": bars.ticks,
            "/v1/stocks/aggs": bars.aggregates,
        }
        if self._accounts is not None:
            self._routes |= {
                "/v1/news": self._accounts.news,
                "/v1/config/watchlist": self._accounts.watchlists,
                "/v2/users/me/accounts": self._accounts.mine,
            }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; for `aiohttp.web.Server`."""
        body = await request.content.read(MOST_BODY_BYTES + 1)
        while len(body) <= MOST_BODY_BYTES and not request.content.at_eof():
            body += await request.content.read(MOST_BODY_BYTES + 1 - len(body))
        answer = self.answer(
            request.method,
            request.rel_url.raw_path,
            dict(request.rel_url.query),
            body,
            authorization=request.headers.get("Authorization", ""),
            content_type=request.content_type,
            now=time.time(),
        )
        # Nothing here is to be kept by anybody on the way, tokens least of all (RFC 6749 §5.1).
        headers = {"Cache-Control": "no-store"}
        if answer.location:
            headers["Location"] = answer.location
        if isinstance(answer.body, str):
            return web.Response(status=answer.status, text=answer.body, headers=headers)
        text = json.dumps(answer.body, separators=(",", ":"), allow_nan=False)
        return web.Response(status=answer.status, text=text, content_type="application/json", headers=headers)

    def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes = b"",
        *,
        authorization: str = "",
        content_type: str = "application/json",
        now: float,
    ) -> Answer:
        """Answer a request that came at `now` (Unix s); `path` is still percent-encoded. Never raises for a bad one."""
        try:
            _check_text(path, *query.keys(), *query.values())
            if path in AUTHORIZE and method == "GET":
                return Answer(302, "", self.oauth.authorize(query, now))
            if path == TOKEN:
                _expect(method, "POST")
                return Answer(200, self.oauth.token(_fields(body, content_type), now))
            if path == HEALTH:
                return Answer(200, {"status": "ok"})
            self._admit(authorization, now)
            return Answer(200, self._found(method, path, Query(query), now))
        except OAuthError as error:
            return Answer(error.status, {"error": error.name, "error_description": error.text})
        except RefusedError as error:
            return refusal(self._errors, error, str(uuid4()))

    def _admit(self, authorization: str, now: float) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise RefusedError(401, "a bearer token is required")
        if not self.oauth.is_valid(token.strip(), now):
            raise RefusedError(401, "the token is not valid or has expired")

    def _found(self, method: str, path: str, query: Query, now: float) -> object:
        route = self._routes.get(path)
        if route is not None:
            _expect(method, "GET")
            return route(query, now)
        version, *parts = (unquote(part) for part in path.removeprefix("/").split("/"))
        match (version, *parts):
            case ("v1", "options", "snapshot", "chain", root):
                _expect(method, "GET")
                return self._market.chain(root, query, now)
            case ("v1", "options", _, "expiry-dates") | ("v1", "options", _, "contracts", _):
                _expect(method, "GET")
                return self._market.listed_options(path.removeprefix("/v1"))
            case ("v1", "config", "watchlist", number) if self._accounts is not None:
                _expect(method, "GET")
                return self._accounts.watchlist(number)
            case (_, "accounts", account, *what) if self._accounts is not None:
                _expect(method, "GET")
                return self._accounts.of_account(account, (version, *what), query, now)
        raise RefusedError(404, "unknown path")


def _clock(query: Query, now: float) -> str:  # noqa: ARG001 - all routes are called alike
    """The server's time as plain text, in Unix s."""
    return str(int(now))


def _check_text(*texts: str) -> None:
    """Refuse what was not UTF-8, of which aiohttp leaves half characters: they cannot be written out again."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise RefusedError(400, "the address is not UTF-8") from error


def _expect(method: str, expected: str) -> None:
    if method != expected:
        raise RefusedError(405, f"use {expected}")


def _fields(body: bytes, content_type: str) -> dict[str, str]:
    """The fields of a token request, sent as JSON or as a form (§8 D20)."""
    if len(body) > MOST_BODY_BYTES:
        raise OAuthError("invalid_request", "the body is too long")
    try:
        text = body.decode()
        fields: Any = dict(parse_qsl(text)) if content_type == FORM else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OAuthError("invalid_request", "the body is neither JSON nor a form") from error
    if not isinstance(fields, dict):
        raise OAuthError("invalid_request", "the body must be an object")
    return {name: value for name, value in fields.items() if isinstance(value, str)}

"""HTTP server of the simulated Aries broker: routes, bearer tokens and errors.

Source: Aries' protocol page §6 and §7. Orders cannot be placed, replaced or cancelled.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl
from uuid import uuid4

from aries_nb.sim.aries.http_accounts import AccountRoutes
from aries_nb.sim.aries.http_bars import BarRoutes
from aries_nb.sim.aries.http_market import MarketRoutes
from aries_nb.sim.aries.oauth import OAuthError, OAuthServer
from aries_nb.sim.http_answers import MOST_BODY_BYTES, HttpError, HttpResponse, HttpServer, Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim.accounts.accounts import Accounts
    from aries_nb.sim.aries.feed import AriesFeed
    from aries_nb.sim.http_answers import HttpRequest
    from aries_nb.sim.market.history import History
    from aries_nb.sim.settings import SimOptions

__all__ = ["AriesHttpServer"]

ErrorShape = Literal["flat", "nested"]
#: Names of the nested shape, by HTTP status.
ERROR_TYPES = {
    400: "BAD_REQUEST",
    401: "AUTHENTICATION",
    403: "AUTHORIZATION",
    404: "NOT_FOUND",
    405: "BAD_REQUEST",
    422: "VALIDATION",
    429: "RATE_LIMIT",
}
#: The path for browsers (§6), and the same below the base of the API (assumed).
AUTHORIZE = ("/oauth2/authorize", "/v1/oauth2/authorize")
TOKEN = "/v1/oauth2/token"  # noqa: S105 - a path
HEALTH = "/tv/health"
FORM = "application/x-www-form-urlencoded"


class AriesHttpServer(HttpServer):
    """Answers the HTTP requests to the simulated Aries broker from its market, history and accounts.

    `oauth` None makes a token issuer with the fixed token of `options`. Without `accounts` the routes of accounts
    and news are unknown. `errors` chooses between the two documented forms of errors. Owned by the server's event
    loop.
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
        self._market = MarketRoutes(feed, history)
        self._accounts = None if accounts is None else AccountRoutes(accounts)
        market, bars = self._market, BarRoutes(history, self._market.is_known)
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

    def _respond(self, request: HttpRequest) -> HttpResponse:
        method, path, now = request.method, request.path, request.real_time
        try:
            if path in AUTHORIZE and method == "GET":
                return HttpResponse(302, "", self.oauth.authorize(request.query, now))
            if path == TOKEN:
                request.expect("POST")
                return HttpResponse(200, self.oauth.token(_fields(request.body, request.content_type), now))
        except OAuthError as error:
            return HttpResponse(error.status, {"error": error.name, "error_description": error.text})
        if path == HEALTH:
            return HttpResponse(200, {"status": "ok"})
        self._check_token(request)
        return HttpResponse(200, self._route(request))

    def _refused(self, error: HttpError) -> HttpResponse:
        return _error(self._errors, error, str(uuid4()))

    def _check_token(self, request: HttpRequest) -> None:
        if not request.bearer_token:
            raise HttpError(401, "a bearer token is required")
        if not self.oauth.is_valid(request.bearer_token, request.real_time):
            raise HttpError(401, "the token is not valid or has expired")

    def _route(self, request: HttpRequest) -> object:
        path, query, now = request.path, Query(request.query), request.now
        route = self._routes.get(path)
        if route is not None:
            request.expect("GET")
            return route(query, now)
        version, *parts = request.parts
        match (version, *parts):
            case ("v1", "options", "snapshot", "chain", root):
                request.expect("GET")
                return self._market.chain(root, query, now)
            case ("v1", "options", _, "expiry-dates") | ("v1", "options", _, "contracts", _):
                request.expect("GET")
                return self._market.listed_options(path.removeprefix("/v1"))
            case ("v1", "config", "watchlist", number) if self._accounts is not None:
                request.expect("GET")
                return self._accounts.watchlist(number)
            case (_, "accounts", account, *what) if self._accounts is not None:
                request.expect("GET")
                return self._accounts.of_account(account, (version, *what), query, now)
        raise HttpError(404, "unknown path")


def _error(shape: ErrorShape, error: HttpError, request_id: str) -> HttpResponse:
    """Return the response to a refused request, in one of the two error forms that the broker documents.

    `shape` "flat" has the text under `error`, "nested" an object with type, code, text, details and `request_id`.
    `error` gives the status, the text and the name of the wrong parameter.
    """
    code, text = ERROR_TYPES.get(error.status, "INTERNAL"), error.text
    details = [{"code": code, "description": text, "field": error.field}] if error.field else []
    body: dict[str, Any] = {"error": text, "codes": details, "metadata": {}}
    if shape == "nested":
        body = {"error": {"type": code, "code": code, "message": text, "details": details, "request_id": request_id}}
    return HttpResponse(error.status, body)


def _clock(query: Query, now: float) -> str:  # noqa: ARG001 - signature of all routes
    """Return the time `now` in whole Unix s, as plain text; the answer to the request for the server's time."""
    return str(int(now))


def _fields(body: bytes, content_type: str) -> dict[str, str]:
    """Return the text fields of a token request, sent as JSON or as a form; other fields are left out.

    The broker documents both encodings (Aries' protocol page §8, D20: the body of a token request). Raises OAuthError
    if the body is neither.
    """
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

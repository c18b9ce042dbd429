"""HTTP server of the simulated ALOR: token service, check of bearer tokens, routes, and statistics of the server.

Source: ALOR's protocol page §2.1 and §13. Bodies of errors are assumed. Unlike the broker, it serves nothing without a
token, except `/sim/statistics`, which is not the broker's: for tests that run the simulator as a process it returns
counters, and for each connection its subscriptions with the states sent and held back.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from aries_nb.sim.alor.http_market import MarketRoutes
from aries_nb.sim.alor.http_portfolios import PastFills, PortfolioRoutes
from aries_nb.sim.alor.tokens import RefreshError
from aries_nb.sim.http_answers import MOST_BODY_BYTES, HttpError, HttpResponse, HttpServer, Query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aries_nb.sim.alor.feed import AlorFeed
    from aries_nb.sim.alor.portfolios import Portfolios
    from aries_nb.sim.alor.session import AlorSession
    from aries_nb.sim.alor.settings import AlorOptions
    from aries_nb.sim.alor.tokens import Bearer, TokenService
    from aries_nb.sim.http_answers import HttpRequest
    from aries_nb.sim.settings import Statistics

__all__ = ["AlorHttpServer", "Backend"]

#: Words of the paths, in lower case, that stand where names of instruments or orders may stand as well.
FIXED_WORDS = frozenset(
    [
        "alltrades",
        "availableboards",
        "fortsrisk",
        "history",
        "orders",
        "positions",
        "quotes",
        "risk",
        "stoporders",
        "summary",
        "trades",
    ]
)


class Backend(Protocol):
    """What the HTTP routes need of the simulated ALOR server (an interface)."""

    options: AlorOptions
    feed: AlorFeed
    portfolios: Portfolios
    tokens: TokenService

    def statistics(self) -> Statistics:
        """Return the server's counters since its start."""

    def sessions(self) -> Sequence[AlorSession]:
        """Return the sessions of all open connections."""

    def activate_accounts(self) -> None:
        """Start the simulated trader in the portfolios; a second call does nothing, and nothing stops it.

        Called by the first request for a portfolio: the portfolios do not change before.
        """


class AlorHttpServer(HttpServer):
    """Answers the HTTP requests to the simulated ALOR from the state of its server.

    Owned by the server's event loop.
    """

    is_ascii = False

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._market = MarketRoutes(backend.feed)
        past = PastFills(backend.feed.history, backend.options.seed)
        self._portfolios = PortfolioRoutes(backend.portfolios, past)
        #: For each subject the requests left, and the time of that count.
        self._request_budgets: defaultdict[str, tuple[float, float]] = defaultdict(
            lambda: (backend.options.http_rate, 0.0)
        )

    async def _prepare(self, request: HttpRequest) -> None:
        parts = _spelled(request.parts)
        if parts[:2] == ["md", "v2"] and parts[-1] == "history":
            await asyncio.to_thread(self._market.prepare, parts[2:], Query(request.query))

    async def _encode(self, request: HttpRequest, body: object) -> str:
        if _spelled(request.parts)[-2:] == ["alltrades", "history"]:
            return await asyncio.to_thread(self._json, body)
        return self._json(body)

    def _respond(self, request: HttpRequest) -> HttpResponse:
        now = request.real_time
        if request.path == "/refresh":
            request.expect("POST")
            try:
                return HttpResponse(200, self._backend.tokens.refresh(_fields(request.query, request.body), now))
            except RefreshError as error:
                return HttpResponse(error.status, {"code": str(error.status), "message": error.text})
        request.expect("GET")
        if request.path == "/sim/statistics":
            return HttpResponse(200, self._statistics())
        bearer = self._backend.tokens.read(request.bearer_token, now)
        if bearer is None:
            raise HttpError(401, "Invalid JWT token!")
        self._count_request(bearer.subject, now)
        return HttpResponse(200, self._route(_spelled(request.parts), Query(request.query), bearer, request.now))

    def _refused(self, error: HttpError) -> HttpResponse:
        # A wrong parameter is answered with 400 (§13).
        status = 400 if error.status == 422 else error.status
        return HttpResponse(status, {"code": str(status), "message": error.text})

    def _route(self, parts: list[str], query: Query, bearer: Bearer, now: float) -> object:
        match parts:
            case ["md", "v2", "time"]:
                return int(now)
            case ["md", "v2", "clients", login, "positions"]:
                self._backend.activate_accounts()
                return self._portfolios.positions(self._owned_by(login, bearer), query, now)
            case ["md", "v2", "clients", exchange, portfolio, *what]:
                self._backend.activate_accounts()
                return self._portfolios.current(_owner(exchange, portfolio, bearer), what, query, now)
            case ["md", "v2", "stats", exchange, portfolio, "history", "trades", *symbol] if len(symbol) < 2:
                self._backend.activate_accounts()
                query = Query({**query.values, "ticker": symbol[0]}) if symbol else query
                return self._portfolios.past_fills(_owner(exchange, portfolio, bearer), query, now)
            case ["md", "v2", *what]:
                return self._market.answer(what, query, now)
        raise HttpError(404, "unknown path")

    def _owned_by(self, login: str, bearer: Bearer) -> list[tuple[str, str]]:
        """Return each (exchange, portfolio) of a login. Raises HttpError (403) for the login of another user."""
        if login != bearer.subject:
            raise HttpError(403, f"Login '{login[:100]}' is not available")
        accounts = (name.partition(":") for name in self._backend.portfolios.accounts.names)
        return [(exchange, portfolio) for exchange, _, portfolio in accounts if portfolio in bearer.portfolios]

    def _count_request(self, subject: str, now: float) -> None:
        """Count one request against the rate limit of a user, the `subject` of a token; `now` is in Unix s.

        The number that is left grows by the option `http_rate` per second, up to one second's worth. Raises
        HttpError (429) if less than one is left (ALOR's protocol page §10).
        """
        rate = self._backend.options.http_rate
        left, since = self._request_budgets[subject]
        left = min(rate, left + (now - since) * rate)
        self._request_budgets[subject] = (max(left - 1.0, 0.0), now)
        if left < 1.0:
            raise HttpError(429, "Too many requests")

    def _statistics(self) -> dict[str, Any]:
        connections = [session.subscriptions() for session in self._backend.sessions()]
        return {**asdict(self._backend.statistics()), "connections": connections}


def _spelled(parts: list[str]) -> list[str]:
    """Return the parts of a path with its fixed words in lower case, as the routes have them.

    The words before and after names: the broker takes both `/md/v2/Clients/` and `/md/v2/clients/`, by which public
    clients call it. Names of exchanges, portfolios and instruments are left as they are.
    """
    return [part.lower() if place < 3 or part.lower() in FIXED_WORDS else part for place, part in enumerate(parts)]


def _owner(exchange: str, portfolio: str, bearer: Bearer) -> tuple[str, str]:
    if portfolio not in bearer.portfolios:
        raise HttpError(403, f"Portfolio '{portfolio[:100]}' is not available")
    return exchange.upper(), portfolio


def _fields(query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the fields of a token request: those of its JSON body, or of the query if the body is blank.

    Raises HttpError (400) if they are not valid JSON (ALOR's protocol page §2.1).
    """
    if len(body) > MOST_BODY_BYTES:
        raise HttpError(400, "the body is too long")
    try:
        if body.strip():
            fields = json.loads(body)
        else:
            fields = dict(query)
            for name in fields:
                if name.lower() == "allowedportfolios":
                    fields[name] = json.loads(fields[name])
    except (ValueError, RecursionError) as error:
        raise HttpError(400, "the request is not JSON") from error
    if not isinstance(fields, dict):
        raise HttpError(400, "the body must be an object")
    return fields

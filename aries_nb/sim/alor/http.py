"""The HTTP side of the simulated ALOR: the token service, bearer tokens, routes, and what the server itself can tell.

Source: protocol page §2.1 and §13. Bodies of errors are assumed. Unlike the broker's, it serves nothing without a
token. `/sim/statistics` is the simulator's own, for whoever runs it as a process: counts, and for every connection its
subscriptions with the states that were sent and held back.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from aiohttp import web

from aries_nb.sim.alor.http_market import MarketAnswers
from aries_nb.sim.alor.http_portfolios import PastFills, PortfolioAnswers
from aries_nb.sim.alor.tokens import RefreshError
from aries_nb.sim.http_answers import Answer, Query, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aries_nb.sim.alor.feed import AlorFeed
    from aries_nb.sim.alor.portfolios import Portfolios
    from aries_nb.sim.alor.session import AlorSession
    from aries_nb.sim.alor.settings import AlorOptions
    from aries_nb.sim.alor.tokens import Bearer, TokenService
    from aries_nb.sim.settings import Statistics

__all__ = ["AlorHttp", "Behind"]

MOST_BODY_BYTES = 2**16
MARKET_PATH, TAPE_PATH = "/md/v2/", "/alltrades/history"


class Behind(Protocol):
    """The server whose state is asked for."""

    options: AlorOptions
    feed: AlorFeed
    portfolios: Portfolios
    tokens: TokenService

    def statistics(self) -> Statistics:
        """Count what has happened so far."""

    def sessions(self) -> Sequence[AlorSession]:
        """The sessions of all connections."""

    def ask_accounts(self) -> None:
        """Let the portfolios live from now on."""


class AlorHttp:
    """Answers requests. Belongs to the thread of the server's loop."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind
        self._market = MarketAnswers(behind.feed)
        past = PastFills(behind.feed.history, behind.options.seed)
        self._portfolios = PortfolioAnswers(behind.portfolios, past)
        #: Of each subject the requests that are left, and when that was.
        self._allowances: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (behind.options.http_rate, 0.0))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; for `aiohttp.web.Server`."""
        body = await request.content.read(MOST_BODY_BYTES + 1)
        while len(body) <= MOST_BODY_BYTES and not request.content.at_eof():
            body += await request.content.read(MOST_BODY_BYTES + 1 - len(body))
        path, query = request.rel_url.raw_path, dict(request.rel_url.query)
        if path.endswith("/history") and path.startswith(MARKET_PATH):
            # Elsewhere, so that the market goes on meanwhile.
            await asyncio.to_thread(self._market.prepare, _parts(path.removeprefix(MARKET_PATH)), Query(query))
        answer = self.answer(
            request.method,
            path,
            query,
            body,
            authorization=request.headers.get("Authorization", ""),
            now=time.time(),
        )
        text = await asyncio.to_thread(_json, answer.body) if path.endswith(TAPE_PATH) else _json(answer.body)
        headers = {"Cache-Control": "no-store"}
        return web.Response(status=answer.status, text=text, content_type="application/json", headers=headers)

    def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes = b"",
        *,
        authorization: str = "",
        now: float,
    ) -> Answer:
        """Answer a request that came at `now` (Unix s); `path` is still percent-encoded. Never raises for a bad one."""
        try:
            _check_text(path, *query.keys(), *query.values())
            if path == "/refresh":
                _expect(method, "POST")
                return Answer(200, self._behind.tokens.refresh(_fields(query, body), now))
            _expect(method, "GET")
            if path == "/sim/statistics":
                return Answer(200, self._statistics())
            bearer = self._bearer(authorization, now)
            self._spend(bearer.subject, now)
            return Answer(200, self._found(_parts(path), Query(query), bearer, now))
        except RefreshError as error:
            return Answer(error.status, {"code": str(error.status), "message": error.text})
        except RefusedError as error:
            # What is wrong with a parameter is 400 here (§13).
            status = 400 if error.status == 422 else error.status
            return Answer(status, {"code": str(status), "message": error.text})

    def _found(self, parts: list[str], query: Query, bearer: Bearer, now: float) -> object:
        match parts:
            case ["md", "v2", "time"]:
                return int(now)
            case ["md", "v2", "Clients", exchange, portfolio, *what]:
                self._behind.ask_accounts()
                return self._portfolios.current(_own(exchange, portfolio, bearer), what, query, now)
            case ["md", "v2", "Stats", exchange, portfolio, "history", "trades"]:
                self._behind.ask_accounts()
                return self._portfolios.past_fills(_own(exchange, portfolio, bearer), query, now)
            case ["md", "v2", *what]:
                return self._market.found(what, query, now)
        raise RefusedError(404, "unknown path")

    def _bearer(self, authorization: str, now: float) -> Bearer:
        scheme, _, token = authorization.partition(" ")
        bearer = self._behind.tokens.read(token.strip(), now) if scheme.lower() == "bearer" else None
        if bearer is None:
            raise RefusedError(401, "Invalid JWT token!")
        return bearer

    def _spend(self, subject: str, now: float) -> None:
        """Take one request out of what the rate allows a user (§10)."""
        rate = self._behind.options.http_rate
        left, since = self._allowances[subject]
        left = min(rate, left + (now - since) * rate)
        self._allowances[subject] = (max(left - 1.0, 0.0), now)
        if left < 1.0:
            raise RefusedError(429, "Too many requests")

    def _statistics(self) -> dict[str, Any]:
        connections = [session.subscriptions() for session in self._behind.sessions()]
        return {**asdict(self._behind.statistics()), "connections": connections}


def _own(exchange: str, portfolio: str, bearer: Bearer) -> tuple[str, str]:
    if portfolio not in bearer.portfolios:
        raise RefusedError(403, f"Portfolio '{portfolio[:100]}' is not available")
    return exchange.upper(), portfolio


def _json(body: object) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _parts(path: str) -> list[str]:
    return [unquote(part) for part in path.removeprefix("/").split("/")]


def _check_text(*texts: str) -> None:
    """Refuse what was not UTF-8, of which aiohttp leaves half characters: they cannot be written out again."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise RefusedError(400, "the address is not UTF-8") from error


def _expect(method: str, expected: str) -> None:
    if method != expected:
        raise RefusedError(405, f"use {expected}")


def _fields(query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The fields of a request for a token: the body wins over the query (§2.1)."""
    if len(body) > MOST_BODY_BYTES:
        raise RefusedError(400, "the body is too long")
    try:
        if body.strip():
            fields = json.loads(body)
        else:
            fields = dict(query)
            for name in fields:
                if name.lower() == "allowedportfolios":
                    fields[name] = json.loads(fields[name])
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the request is not JSON") from error
    if not isinstance(fields, dict):
        raise RefusedError(400, "the body must be an object")
    return fields

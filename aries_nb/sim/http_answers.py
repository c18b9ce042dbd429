"""Base class of the simulated brokers' HTTP servers, with their requests, responses and parsing of parameters.

Imports aiohttp, which takes 0.4 s: code that a server for WebSockets alone needs does not belong here.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from urllib.parse import unquote

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aries_nb.sim.market.troubles import Occurrences

__all__ = ["HttpError", "HttpRequest", "HttpResponse", "HttpServer", "Query"]

#: A time above this is in ms: as seconds it would be the year 5138 (§7, "ms accepted").
MOST_SECONDS = 100_000_000_000
MOST_BODY_BYTES = 2**16


class HttpResponse(NamedTuple):
    """An HTTP response to send, free of aiohttp's types: a `str` body goes as plain text, any other as JSON."""

    status: int
    body: object
    #: Target of a redirect.
    location: str = ""


class HttpRequest(NamedTuple):
    """A received HTTP request, free of aiohttp's types.

    `path` is percent-encoded, `query` is decoded. `authorization` is the whole header, "" if there is none. `now`
    is the market time of the answer in Unix s, `wall` the real one, by which tokens expire; None for the same.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""
    authorization: str = ""
    content_type: str = "application/json"
    now: float = 0.0
    wall: float | None = None

    @property
    def real_time(self) -> float:
        """The time of the answer by this computer's clock, in Unix s."""
        return self.now if self.wall is None else self.wall

    @property
    def parts(self) -> list[str]:
        """The parts of the path between its slashes, percent-decoded."""
        return [unquote(part) for part in self.path.removeprefix("/").split("/")]

    @property
    def bearer_token(self) -> str:
        """The token of an "Authorization: Bearer" header; "" if there is none."""
        scheme, _, token = self.authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def expect(self, method: str) -> None:
        """Raise HttpError (405) if the request's method is not `method`."""
        if self.method != method:
            raise HttpError(405, f"use {method}")

    def check_text(self) -> None:
        """Raise HttpError (400) if the address was not UTF-8.

        aiohttp passes lone surrogates, which cannot be encoded again.
        """
        try:
            "".join([self.path, *self.query.keys(), *self.query.values()]).encode()
        except UnicodeEncodeError as error:
            raise HttpError(400, "the address is not UTF-8") from error


class HttpError(Exception):
    """Raised for a request that is to be answered with an error.

    `status` is the HTTP status, `text` the message, `field` the name of the wrong parameter ("" if it is about
    none).
    """

    def __init__(self, status: int, text: str, field: str = "") -> None:
        super().__init__(status, text, field)
        self.status = status
        self.text = text
        self.field = field

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"


class Query:
    """The query parameters of an HTTP request; its methods raise HttpError (422) for a missing or wrong one."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def text(self, name: str, default: str | None = None) -> str:
        """Return a query parameter as text, without outer blanks; if it is absent or blank, return `default`.

        `default` None means that the parameter is required: HttpError (422) is raised.
        """
        value = self.values.get(name, "").strip() or default
        if value is None:
            raise HttpError(422, f"{name} is required", name)
        return value

    def choice(self, name: str, choices: Collection[str], default: str | None = None) -> str:
        """Return a query parameter that must be one of `choices`; if it is absent or blank, return `default`.

        `default` None means that the parameter is required. Raises HttpError (422) for any other value.
        """
        value = self.text(name, default)
        if value not in choices:
            raise HttpError(422, f"{name} must be one of {', '.join(choices)}", name)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a query parameter that is "true" or "false" in any case; if it is absent or blank, return `default`.

        Python clients send "True". Raises HttpError (422) for any other value.
        """
        value = self.text(name, str(default)).lower()
        if value not in ("true", "false"):
            raise HttpError(422, f"{name} must be true or false", name)
        return value == "true"

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return a query parameter that must be a whole number from `low` to `high`, both included.

        If it is absent or blank, the result is `default`; None means that it is required. Raises HttpError
        (422) otherwise.
        """
        value = self.text(name, None if default is None else str(default))
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise HttpError(422, f"{name} must be a whole number from {low} to {high}", name)
        return number

    def number(self, name: str) -> float | None:
        """Return a query parameter that must be a finite number; None if it is absent.

        Raises HttpError (422) for other text, also if it is blank.
        """
        if name not in self.values:
            return None
        try:
            value = float(self.values[name])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise HttpError(422, f"{name} must be a number", name)
        return value

    def seconds(self, name: str) -> float:
        """Return a required query parameter that is a time, in Unix s.

        A number above 100,000,000,000 is taken for Unix ms. Raises HttpError (422) if it is absent or no
        number.
        """
        self.text(name)
        value = self.number(name)
        assert value is not None
        return value / 1000 if abs(value) > MOST_SECONDS else value

    def symbols(self, most: int, default: str | None = None) -> list[str]:
        """Return the query parameter "symbols", a comma-separated list, as 1 to `most` names without duplicates.

        If it is absent or blank, `default` stands for it; None means that it is required. Raises HttpError
        (422) otherwise.
        """
        names = [name.strip() for name in self.text("symbols", default).split(",")]
        found = list(dict.fromkeys(name for name in names if name))
        if not 0 < len(found) <= most:
            raise HttpError(422, f"symbols must be 1 to {most} symbols", "symbols")
        return found


class HttpServer(ABC):
    """Answers the HTTP requests to one simulated broker; subclasses say how. Owned by the server's event loop."""

    #: Whether bodies are JSON in ASCII, or in UTF-8.
    is_ascii: ClassVar[bool] = True
    #: Times at which an answer hangs, and for how long in s: in the rough market alone.
    hangs: Occurrences | None = None
    hang_seconds = 0.0
    #: Returns the market time in Unix s.
    market_time: Callable[[], float] = staticmethod(time.time)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request; the function given to `aiohttp.web.Server`.

        Reads at most 65,537 bytes of its body: one more than is allowed, by which `_respond` recognises a body
        that is too long.
        """
        body = await request.content.read(MOST_BODY_BYTES + 1)
        while len(body) <= MOST_BODY_BYTES and not request.content.at_eof():
            body += await request.content.read(MOST_BODY_BYTES + 1 - len(body))
        asked = HttpRequest(
            request.method,
            request.rel_url.raw_path,
            dict(request.rel_url.query),
            body,
            request.headers.get("Authorization", ""),
            request.content_type,
        )
        # Tokens are posted: without one nothing else could be seen.
        if self.hangs is not None and request.method == "GET" and self.hangs.is_due(self.market_time()):
            await asyncio.sleep(self.hang_seconds)
            self.hangs.passed(self.market_time())  # others that fell into this one
        await self._prepare(asked)
        answer = self.answer(asked._replace(now=self.market_time(), wall=time.time()))
        # No cache on the way may keep an answer, tokens least of all (RFC 6749 §5.1).
        headers = {"Cache-Control": "no-store"}
        if answer.location:
            headers["Location"] = answer.location
        if isinstance(answer.body, str):
            return web.Response(status=answer.status, text=answer.body, headers=headers)
        text = await self._encode(asked, answer.body)
        return web.Response(status=answer.status, text=text, content_type="application/json", headers=headers)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request. An HttpError is not raised but answered in the broker's form."""
        try:
            request.check_text()
            return self._respond(request)
        except HttpError as error:
            return self._refused(error)

    async def _prepare(self, request: HttpRequest) -> None:  # noqa: B027 - most answers need no preparation
        """Prepare the answer to `request`; `handle` awaits this on the event loop before it calls `answer`.

        An override computes slow parts in a thread that it starts, and stores them where its `_respond` finds them.
        This base class does nothing.
        """

    async def _encode(self, request: HttpRequest, body: object) -> str:  # noqa: ARG002 - for a subclass with long answers
        """Return a body as JSON text.

        `handle` awaits this on the event loop. An override may encode long answers in a thread that it starts;
        it recognises them by `request`.
        """
        return self._json(body)

    @abstractmethod
    def _respond(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request. Raises HttpError, which `answer`, the caller, turns into an error response.

        Runs on the event loop, so it must not take long: see `_prepare`.
        """

    @abstractmethod
    def _refused(self, error: HttpError) -> HttpResponse:
        """Return the HTTP response, in the broker's form, that reports this error to the client."""

    def _json(self, body: object) -> str:
        return json.dumps(body, separators=(",", ":"), ensure_ascii=self.is_ascii, allow_nan=False)

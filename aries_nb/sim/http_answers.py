"""What a request over HTTP asks and what it gets: the reading of parameters, and refusals in the broker's two shapes.

Source: protocol page §6 (end).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Answer", "ErrorShape", "Query", "RefusedError", "refusal", "rfc3339"]

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
#: A time above this is in ms: as seconds it would be the year 5138 (§7, "ms accepted").
MOST_SECONDS = 100_000_000_000
MOST_CHARACTERS = 100


class Answer(NamedTuple):
    """An answer without a transport: a text goes out as it is, anything else as JSON."""

    status: int
    body: object
    #: Where a redirect leads.
    location: str = ""


class RefusedError(Exception):
    """A request that is answered with an error; `field` names the parameter that is wrong."""

    def __init__(self, status: int, text: str, field: str = "") -> None:
        super().__init__(status, text, field)
        self.status = status
        self.text = text
        self.field = field

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"


class Query:
    """The parameters of a request; whatever is wrong with one raises RefusedError with status 422."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def text(self, name: str, default: str | None = None) -> str:
        """A parameter that must be there, and not blank, unless it has a default."""
        value = self.values.get(name, "").strip() or default
        if value is None:
            raise RefusedError(422, f"{name} is required", name)
        return value

    def choice(self, name: str, choices: Collection[str], default: str | None = None) -> str:
        """A parameter that is one of some texts."""
        value = self.text(name, default)
        if value not in choices:
            raise RefusedError(422, f"{name} must be one of {', '.join(choices)}", name)
        return value

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within limits, both included."""
        value = self.text(name, None if default is None else str(default))
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise RefusedError(422, f"{name} must be a whole number from {low} to {high}", name)
        return number

    def number(self, name: str) -> float | None:
        """A finite number; None if it is not given."""
        if name not in self.values:
            return None
        try:
            value = float(self.values[name])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise RefusedError(422, f"{name} must be a number", name)
        return value

    def seconds(self, name: str) -> float:
        """A time in Unix s or ms, given in Unix s."""
        self.text(name)
        value = self.number(name)
        assert value is not None
        return value / 1000 if abs(value) > MOST_SECONDS else value

    def symbols(self, most: int, default: str | None = None) -> list[str]:
        """The comma list `symbols`, each once."""
        names = [name.strip() for name in self.text("symbols", default).split(",")]
        found = list(dict.fromkeys(name for name in names if name))
        if not 0 < len(found) <= most:
            raise RefusedError(422, f"symbols must be 1 to {most} symbols", "symbols")
        return found


def refusal(shape: ErrorShape, error: RefusedError, request_id: str) -> Answer:
    """The body of an error: flat, or nested with `error` as an object."""
    code, text = ERROR_TYPES.get(error.status, "INTERNAL"), error.text
    details = [{"code": code, "description": text, "field": error.field}] if error.field else []
    body: dict[str, Any] = {"error": text, "codes": details, "metadata": {}}
    if shape == "nested":
        body = {"error": {"type": code, "code": code, "message": text, "details": details, "request_id": request_id}}
    return Answer(error.status, body)


def rfc3339(seconds: float) -> str:
    """A Unix time as text, in UTC with ms."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

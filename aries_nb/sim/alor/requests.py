"""Requests of a client of the simulated ALOR server: each is read with its defaults, or refused with code and text.

Source: ALOR's protocol page §4, §5, and §15 (U1: replies to invalid requests, U9: a `frequency` out of range, U10: a
`depth` out of range). Upper and lower case do not matter in opcodes and
enumerations (§3.3).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from aries_nb.sim.alor.bars import LATEST, read_timeframe
from aries_nb.sim.alor.instruments import EXCHANGES
from aries_nb.sim.alor.messages import FORMATS
from aries_nb.sim.alor.prints import MOST_PRINTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aries_nb.sim.alor.messages import Format

__all__ = [
    "OPCODES",
    "PORTFOLIO_KINDS",
    "Kind",
    "MarketKind",
    "PortfolioKind",
    "RefusedError",
    "SubscribeRequest",
    "read_request",
]

MarketKind = Literal["book", "bars", "quotes", "trades", "instruments"]
PortfolioKind = Literal[
    "orders", "stop_orders", "old_stop_orders", "fills", "positions", "summaries", "risks", "derivative_risks"
]
Kind = MarketKind | PortfolioKind
PORTFOLIO_KINDS: tuple[PortfolioKind, ...] = get_args(PortfolioKind)

_OPCODES: dict[str, Kind] = {
    "OrderBookGetAndSubscribe": "book",
    "BarsGetAndSubscribe": "bars",
    "QuotesSubscribe": "quotes",
    "AllTradesGetAndSubscribe": "trades",
    "AllTradesSubscribe": "trades",
    "InstrumentsGetAndSubscribeV2": "instruments",
    "OrdersGetAndSubscribeV2": "orders",
    "StopOrdersGetAndSubscribeV2": "stop_orders",
    "StopOrdersGetAndSubscribe": "old_stop_orders",
    "TradesGetAndSubscribeV2": "fills",
    "PositionsGetAndSubscribeV2": "positions",
    "SummariesGetAndSubscribeV2": "summaries",
    "RisksGetAndSubscribe": "risks",
    "SpectraRisksGetAndSubscribe": "derivative_risks",
}
#: By the opcode in lower case.
OPCODES = {name.lower(): kind for name, kind in _OPCODES.items()}

FREQUENCY_MS = 175
MOST_FREQUENCY_MS = 86_400_000
LEAST_FREQUENCY_MS: dict[Format, int] = {"simple": 25, "slim": 10, "heavy": 500}
BOOK_DEPTH, MOST_BOOK_DEPTH = 20, 50
STATUSES = frozenset({"working", "filled", "canceled", "rejected"})
MOST_TEXT = 200
UNITED_EXCHANGE = "UNITED"  # of united accounts; it has no instruments (ALOR's protocol page D14)


class RefusedError(Exception):
    """Raised for a client's request that is answered with a `code` other than 200 and a `text`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """A client's request for one subscription, with defaults filled in and values clamped to their limits.

    `form` is the format, `code` the instrument's symbol, `board` "" its primary one. `depth` is the number of levels of
    a book, or of past trades to send. `timeframe` is as `read_timeframe` returns it. Fields that do not apply to the
    kind are empty or zero. `frequency_ms` is the shortest interval between two states, zero for kinds of which every
    state is sent. `since` is Unix time in s, the start of the requested bars. Empty `statuses` mean all.
    """

    kind: Kind
    guid: str
    form: Format
    exchange: str
    code: str = ""
    board: str = ""
    portfolio: str = ""
    depth: int = 0
    frequency_ms: int = 0
    timeframe: str = ""
    since: int = 0
    skip_history: bool = False
    statuses: frozenset[str] = frozenset()


def read_request(kind: Kind, guid: str, message: Mapping[str, Any]) -> SubscribeRequest:
    """Return the request for a subscription of a `kind`, with this `guid`, from the fields of a client's message.

    Raises RefusedError (400) if a field is missing or has an invalid value.
    """
    form = _choice(message, "format", FORMATS, "simple")
    exchange = _text(message, "exchange").upper()
    if exchange not in EXCHANGES and not (exchange == UNITED_EXCHANGE and kind in PORTFOLIO_KINDS):
        raise RefusedError(400, f"Unknown exchange '{exchange[:MOST_TEXT]}'")
    if kind in PORTFOLIO_KINDS:
        return SubscribeRequest(
            kind,
            guid,
            form,
            exchange,
            portfolio=_text(message, "portfolio"),
            # The deprecated stop orders have no `skipHistory` (§4.2).
            skip_history=kind != "old_stop_orders" and _flag(message, "skipHistory"),
            statuses=_statuses(message) if kind in ("orders", "stop_orders") else frozenset(),
        )
    is_conflated = kind in ("book", "bars", "quotes")
    is_bars = kind == "bars"
    return SubscribeRequest(
        kind,
        guid,
        form,
        exchange,
        code=_text(message, "code"),
        board=_optional(message, "instrumentGroup"),
        depth=_depth(kind, message),
        frequency_ms=_frequency(message, form) if is_conflated else 0,
        timeframe=_timeframe(message) if is_bars else "",
        since=max(0, min(_required_number(message, "from"), LATEST)) if is_bars else 0,
        skip_history=is_bars and _flag(message, "skipHistory"),
    )


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(400, f"Request message should contain '{name}' field!")
    return value.strip()


def _optional(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    if value is not None and not isinstance(value, str):
        raise RefusedError(400, f"Field '{name}' should be a string")
    return (value or "").strip()


def _choice(message: Mapping[str, Any], name: str, choices: tuple[Format, ...], default: Format) -> Format:
    value = _optional(message, name).lower()
    for choice in choices:
        if value == choice:
            return choice
    if value:
        raise RefusedError(400, f"Unknown {name} '{value[:MOST_TEXT]}'")
    return default


def _flag(message: Mapping[str, Any], name: str) -> bool:
    value = message.get(name)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise RefusedError(400, f"Field '{name}' should be true or false")
    return bool(value)


def _number(message: Mapping[str, Any], name: str) -> int | None:
    """Return the whole number in a field, as a number or as text, which clients also send (ALOR's protocol page §4.1).

    None if it is absent or blank. Raises RefusedError (400) for anything else.
    """
    value = message.get(name)
    if value is None or value == "":
        return None
    try:
        # In Python True and False are numbers.
        return int(json.dumps(value) if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RefusedError(400, f"Field '{name}' should be a number") from error


def _required_number(message: Mapping[str, Any], name: str) -> int:
    value = _number(message, name)
    if value is None:
        raise RefusedError(400, f"Request message should contain '{name}' field!")
    return value


def _depth(kind: Kind, message: Mapping[str, Any]) -> int:
    if kind not in ("book", "trades"):
        return 0
    value = _number(message, "depth")
    if kind == "trades":
        return max(0, min(value or 0, MOST_PRINTS))
    return BOOK_DEPTH if value is None or value < 1 else min(value, MOST_BOOK_DEPTH)


def _frequency(message: Mapping[str, Any], form: Format) -> int:
    value = _number(message, "frequency")
    return FREQUENCY_MS if value is None else min(max(value, LEAST_FREQUENCY_MS[form]), MOST_FREQUENCY_MS)


def _timeframe(message: Mapping[str, Any]) -> str:
    value = message.get("tf")
    if value is None or value == "":
        raise RefusedError(400, "Request message should contain 'tf' field!")
    found = read_timeframe(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    if found is None:
        raise RefusedError(400, f"Unknown tf '{str(value)[:MOST_TEXT]}'")
    return found


def _statuses(message: Mapping[str, Any]) -> frozenset[str]:
    value = message.get("orderStatuses")
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RefusedError(400, "Field 'orderStatuses' should be an array of strings")
    statuses = frozenset(each.lower() for each in value)
    if statuses - STATUSES:
        raise RefusedError(400, f"Unknown order status, use some of: {', '.join(sorted(STATUSES))}")
    return statuses

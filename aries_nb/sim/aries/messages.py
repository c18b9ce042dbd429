"""Encoding of all messages of the simulated Aries market endpoint, one line of ASCII JSON each.

Source: protocol page §1.7 (ASCII), §1.10, §2.2, §2.3, §3.1, §3.4-3.6, §4.2; `stamp` is always Unix time in ms.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aries_nb.sim.market.market import MarketHours

__all__ = [
    "ChartEvent",
    "ErrorCode",
    "auth_success",
    "chart_update",
    "control",
    "error",
    "market_status",
    "pong",
    "response",
    "rfc3339",
    "update",
    "update_prefix",
]

#: Chosen by the simulator: the page lists none (§9 U5).
ErrorCode = Literal["UNAUTHENTICATED", "BAD_REQUEST", "UNKNOWN_SYMBOL", "UNKNOWN_TOPIC", "FORBIDDEN", "NOT_FOUND"]
#: Labels of chart events; the page documents only their data (assumed, §4.2).
ChartEvent = Literal["quote", "trade"]

_encode = msgspec.json.Encoder().encode


def update_prefix(stream: str, symbol: str) -> str:
    """The constant beginning of a stream's update events, for `update`."""
    names = f'"type":{json.dumps(stream)},"symbol":{json.dumps(symbol)}'
    return f'{{"type":"event","payload":{{"action":"update",{names},"data":'


def update(prefix: str, data: Mapping[str, Any], stamp: int) -> str:
    """One update event; text in `data` must be ASCII. Floats are written so that they parse back exactly."""
    return f'{prefix}{_encode(data).decode()},"timestamp":{stamp}}}}}'


def chart_update(kind: ChartEvent, symbol: str, data: Mapping[str, Any], stamp: int) -> str:
    """One event of the charts endpoint, with the time on the envelope (§1.10, §4.2)."""
    payload = {"action": "update", "type": kind, "symbol": symbol, "data": data}
    return _line({"type": "event", "timestamp": rfc3339(stamp / 1000), "payload": payload})


def market_status(hours: MarketHours, stamp: int) -> str:
    """The market's state, pushed after authentication and on change (§3.1)."""
    now = hours.market
    data = {
        "market": now,
        "earlyHours": hours.early_hours,
        "afterHours": hours.after_hours,
        "exchanges": {"nasdaq": now, "nyse": now, "otc": now},
        "currencies": {"crypto": "open", "fx": "open"},
        "indicesGroups": {"dow_jones": now, "nasdaq": now, "s_and_p": now},
        "serverTime": rfc3339(stamp / 1000),
    }
    return _event({"action": "update", "type": "marketStatus", "data": data, "timestamp": stamp})


def auth_success(
    form: Literal["event", "response", "anonymous"], ident: str | None, expires_ms: int, stamp: int
) -> str:
    """The reply to an accepted token, in one of the three documented forms (§2.2)."""
    payload: dict[str, Any] = {"action": "authSuccess"}
    if form == "event" and ident is not None:
        payload["id"] = ident
    payload |= {"data": {"expiresIn": expires_ms}, "timestamp": stamp}
    return response(ident, payload) if form == "response" else _event(payload)


def control(action: str, stamp: int, *, ident: str | None = None, **more: object) -> str:
    """A control event of a session: authRequired, authTimeout, refreshAuth, authExpired (§2.3)."""
    payload: dict[str, Any] = {"action": action, **more}
    if ident is not None:
        payload["id"] = ident
    return _event({**payload, "timestamp": stamp})


def error(text: str, stamp: int, *, code: ErrorCode, ident: str | None = None) -> str:
    """An error event (§3.6); the codes are the simulator's (§9 U5)."""
    return control("error", stamp, ident=ident, error=text, code=code)


def response(ident: str | None, payload: Mapping[str, Any]) -> str:
    """The reply to a request (§3.5)."""
    envelope: dict[str, Any] = {"type": "response"}
    if ident is not None:
        envelope["id"] = ident
    return _line({**envelope, "payload": payload})


def pong(ident: str | None) -> str:
    """The reply to a ping, with its id if it had one (§2.4)."""
    return _line({"type": "pong"} if ident is None else {"type": "pong", "id": ident})


def rfc3339(seconds: float) -> str:
    """A Unix time in s as RFC 3339 text, in UTC with ms."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(payload: Mapping[str, Any]) -> str:
    return _line({"type": "event", "payload": payload})


def _line(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=True)

"""Encoding of all messages of the simulated Aries market endpoint, one line of ASCII JSON each.

Source: Aries' protocol page §1.7 (ASCII), §1.10, §2.2, §2.3, §3.1, §3.4-3.6, §4.2; `stamp` is always Unix time in ms.
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
    """Return the beginning, which never changes, of a line of JSON with an update event; `update` appends the rest.

    `stream` is the event's type, such as "quote".
    """
    names = f'"type":{json.dumps(stream)},"symbol":{json.dumps(symbol)}'
    return f'{{"type":"event","payload":{{"action":"update",{names},"data":'


def update(prefix: str, data: Mapping[str, Any], stamp: int) -> str:
    """Return one update event as a line of JSON; `prefix` is that of its stream, `stamp` its time in Unix ms.

    Text in `data` must be ASCII. Floats are written so that they parse back exactly.
    """
    return f'{prefix}{_encode(data).decode()},"timestamp":{stamp}}}}}'


def chart_update(kind: ChartEvent, symbol: str, data: Mapping[str, Any], stamp: int) -> str:
    """Return one event of the charts endpoint as a line of JSON; `stamp` is its time in Unix ms.

    `kind` is "quote" or "trade", `data` the values by their names on that endpoint. The time is a field of the
    envelope, not of the payload (Aries' protocol page §1.10, §4.2).
    """
    payload = {"action": "update", "type": kind, "symbol": symbol, "data": data}
    return _line({"type": "event", "timestamp": rfc3339(stamp / 1000), "payload": payload})


def market_status(hours: MarketHours, stamp: int) -> str:
    """Return the event with the market's state as a line of JSON; `stamp` is the present time in Unix ms.

    It is sent after authentication and on each change (Aries' protocol page §3.1).
    """
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
    """Return the reply to an accepted token as a line of JSON, in one of the three forms of Aries' protocol page §2.2.

    `ident` is the request's id, None for a request without one; `expires_ms` the lifetime of the authentication in ms,
    `stamp` the present time in Unix ms.
    """
    payload: dict[str, Any] = {"action": "authSuccess"}
    if form == "event" and ident is not None:
        payload["id"] = ident
    payload |= {"data": {"expiresIn": expires_ms}, "timestamp": stamp}
    return response(ident, payload) if form == "response" else _event(payload)


def control(action: str, stamp: int, *, ident: str | None = None, **more: object) -> str:
    """Return an event about the session as a line of JSON: authRequired, authTimeout, refreshAuth or authExpired.

    `stamp` is its time in Unix ms, `ident` the id of the request that it answers, None for none. `more` are further
    fields. Source: Aries' protocol page §2.3.
    """
    payload: dict[str, Any] = {"action": action, **more}
    if ident is not None:
        payload["id"] = ident
    return _event({**payload, "timestamp": stamp})


def error(text: str, stamp: int, *, code: ErrorCode, ident: str | None = None) -> str:
    """Return an error event as a line of JSON (Aries' protocol page §3.6).

    The codes are the simulator's own: the page lists none (§9, U5: error codes and texts). `stamp` is its time in Unix
    ms, `ident` the id of the request that it answers, None for none.
    """
    return control("error", stamp, ident=ident, error=text, code=code)


def response(ident: str | None, payload: Mapping[str, Any]) -> str:
    """Return the response to the request with the id `ident` as a line of JSON (Aries' protocol page §3.5).

    None leaves the id out.
    """
    envelope: dict[str, Any] = {"type": "response"}
    if ident is not None:
        envelope["id"] = ident
    return _line({**envelope, "payload": payload})


def pong(ident: str | None) -> str:
    """Return the reply to a ping as a line of JSON, with the ping's id unless `ident` is None.

    Source: Aries' protocol page §2.4.
    """
    return _line({"type": "pong"} if ident is None else {"type": "pong", "id": ident})


def rfc3339(seconds: float) -> str:
    """Return a Unix time in s as RFC 3339 text, in UTC with ms, such as 2024-01-19T15:30:00.250Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(payload: Mapping[str, Any]) -> str:
    return _line({"type": "event", "payload": payload})


def _line(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=True)

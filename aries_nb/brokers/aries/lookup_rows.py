"""Decoders of Aries' answers to look-ups, one function per topic, which takes the body (Aries protocol page §7).

A field that cannot be used is a missing value; a row without its symbol is left out. Each raises ValueError for an
answer that cannot be used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aries_nb.brokers.aries.http import bar_rows
from aries_nb.brokers.aries.lookup_fields import (
    AGGREGATES,
    BARS,
    CHAIN,
    CHART_SEARCH,
    CONFIG,
    DETAILS,
    INSTRUMENT,
    QUOTES,
    SEARCH,
    STATUS,
    LookupField,
)
from aries_nb.brokers.parsing import integer, json_object, json_value, nanoseconds, number, shown, text, writable
from aries_nb.brokers.protocol import LookupTopic, LookupType, LookupValue
from aries_nb.model import NOT_A_TIME

__all__ = ["READERS", "AnswerPage"]

MOST_CHARACTERS = 2_000  # of one text; longer ones are cut
MOST_TEXTS = 1_000
_FLAGS = {"true": True, "false": False}
NS_FROM = 10**17  # a larger Unix time is in ns: as ms it would be the year 3,170,000


class AnswerPage(NamedTuple):
    """The rows of one answer, the refused symbols, and the parameter (name, value) of the next page, None at the end.

    `columns` maps names to types. `refused` maps a symbol to the server's text; the symbol is "" if the answer does not
    repeat that of the call.
    """

    columns: Mapping[str, LookupType]
    rows: Sequence[tuple[LookupValue, ...]]
    refused: Mapping[str, str] = {}
    cursor: tuple[str, str] | None = None


def _details(body: bytes) -> AnswerPage:
    answer = _object(body)
    refused = {
        symbol: shown(item.get("error", ""))
        for item in _items(answer.get("errors") or [])
        if isinstance(symbol := item.get("symbol"), str)
    }
    return _table(DETAILS, answer.get("data") or [])._replace(refused=refused)


def _quotes(body: bytes) -> AnswerPage:
    """Return the rows of an answer with quotes, whose items have one of two forms.

    Either the key `s` is a status, "ok" or "error", and `n` the symbol, or `s` is the symbol (Aries protocol page §8,
    deviation D15).
    """
    rows, refused = [], {}
    for item in _items(_object(body).get("d")):
        status, name = item.get("s"), item.get("n")
        symbol = status if isinstance(status, str) and status not in ("ok", "error") else name
        if not isinstance(symbol, str) or not symbol:
            continue
        if status == "error":
            refused[symbol] = shown(item.get("errmsg", ""))
        else:
            rows.append((writable(symbol), *_row(QUOTES, item)[1:]))
    return AnswerPage(_types(QUOTES), rows, refused)


def _search(body: bytes) -> AnswerPage:
    return _table(SEARCH, json_value(body))


def _chart_search(body: bytes) -> AnswerPage:
    return _table(CHART_SEARCH, json_value(body))


def _instrument(body: bytes) -> AnswerPage:
    return _unknown(_types(INSTRUMENT), body) or _single(INSTRUMENT, body)


def _config(body: bytes) -> AnswerPage:
    return _single(CONFIG, body)


def _status(body: bytes) -> AnswerPage:
    return _single(STATUS, body)


def _chain(body: bytes) -> AnswerPage:
    answer = _object(body)
    page = _table(CHAIN, answer.get("results") or [])
    place = list(CHAIN).index("type")
    rows = [(*row[:place], str(row[place]).lower(), *row[place + 1 :]) for row in page.rows]
    return page._replace(rows=rows, cursor=_cursor("next", answer.get("next")))


def _aggregates(body: bytes) -> AnswerPage:
    answer = _object(body)
    page = _table(AGGREGATES, answer.get("results") or [])
    rows = [row for row in page.rows if row[0] != NOT_A_TIME and not _lacks_a_price(row[1:5])]
    return page._replace(rows=rows, cursor=_cursor("next", answer.get("next")))


def _tick_bars(body: bytes) -> AnswerPage:
    """Return the bars in parallel arrays, with `t` in ms; `nextTo` is the cursor of the page of earlier bars."""
    if page := _unknown(BARS, body):
        return page
    answer = _object(body)
    if answer.get("s") == "no_data":
        return AnswerPage(BARS, [])
    rows: list[tuple[LookupValue, ...]] = []
    for time, *values in bar_rows(answer):
        row = (_value("time", time), *(_value("number", value) for value in values))
        if row[0] != NOT_A_TIME and not _lacks_a_price(row[1:5]):
            rows.append(row)
    return AnswerPage(BARS, rows, cursor=_cursor("cursor", answer.get("nextTo")))


def _server_time(body: bytes) -> AnswerPage:
    """Return the server's time as one row; the body is a Unix time in seconds as plain text."""
    moment = nanoseconds(body[:40].decode("ascii", "replace").strip())
    if moment is None:
        raise ValueError("the answer is no time")
    return AnswerPage({"ts": "time", "resolution_s": "number"}, [(moment, 1.0)])


def _health(body: bytes) -> AnswerPage:  # noqa: ARG001 - all readers are called alike
    return AnswerPage({}, [])


READERS: Mapping[LookupTopic, Callable[[bytes], AnswerPage]] = {
    "details": _details,
    "quotes": _quotes,
    "search": _search,
    "chart_search": _chart_search,
    "instrument": _instrument,
    "chain": _chain,
    "tick_bars": _tick_bars,
    "aggregates": _aggregates,
    "market_status": _status,
    "chart_config": _config,
    "server_time": _server_time,
    "health": _health,
}


def _unknown(columns: Mapping[str, LookupType], body: bytes) -> AnswerPage | None:
    """Return the page for an answer `body` that says that the symbol is unknown, None for any other answer.

    The page has the given columns, no rows, and the server's text under the symbol "" in `refused`. Such an answer is
    an error whose text has the word "symbol" (assumed).
    """
    answer = json_value(body)
    said = answer.get("errmsg") if isinstance(answer, dict) and answer.get("s") == "error" else None
    is_unknown = isinstance(said, str) and "symbol" in said.lower()
    return AnswerPage(columns, [], {"": shown(said)}) if is_unknown else None


def _table(fields: Mapping[str, LookupField], items: object) -> AnswerPage:
    """Return a page with one row per item of a list; a row whose first column is empty text is left out."""
    rows = [row for item in _items(items) if (row := _row(fields, item))[0] != ""]
    return AnswerPage(_types(fields), rows)


def _single(fields: Mapping[str, LookupField], body: bytes) -> AnswerPage:
    return AnswerPage(_types(fields), [_row(fields, _object(body))])


def _types(fields: Mapping[str, LookupField]) -> dict[str, LookupType]:
    return {column: field.type for column, field in fields.items()}


def _row(fields: Mapping[str, LookupField], item: Mapping[str, Any]) -> tuple[LookupValue, ...]:
    return tuple(_value(field.type, _at(item, field.path)) for field in fields.values())


def _at(item: object, path: Iterable[str]) -> object:
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _value(type_: LookupType, value: object) -> LookupValue:
    """Return a JSON value converted to the column type `type_`, or the missing value of that type if it is unusable.

    Missing are NaN for a number, 0 for an integer, `NOT_A_TIME`, None for a flag, () for texts, "" for text.
    """
    match type_:
        case "number":
            found = number(value)
            return math.nan if found is None else found
        case "integer":
            return integer(value) or 0
        case "time":
            return _moment(value)
        case "flag":
            return _FLAGS.get(value) if isinstance(value, str) else value if isinstance(value, bool) else None
        case "texts":
            items = value if isinstance(value, list) else []
            return tuple(_text(item) for item in items[:MOST_TEXTS])
        case _:
            return _text(value)


def _text(value: object) -> str:
    return (text(value) or "")[:MOST_CHARACTERS]


def _moment(value: object) -> int:
    """Return `value`, a Unix time in s, ms or ns, or ISO 8601 text, as ns since the epoch.

    Returns `NOT_A_TIME` if it is unusable. The unit is found by the size of the number: above 1e17 it is in ns, above
    1e11 in ms, else in s.
    """
    if isinstance(value, int) and not isinstance(value, bool) and NS_FROM < value < 2**63:
        return value
    found = nanoseconds(value)
    return NOT_A_TIME if found is None else found


def _lacks_a_price(values: Iterable[LookupValue]) -> bool:
    return any(value != value for value in values)  # NaN


def _cursor(name: str, value: object) -> tuple[str, str] | None:
    """Return the parameter `name` of the call for the next page, as (name, value); None if there is no next page.

    `value` is the cursor in the answer; absent or 0 means that there is no next page (assumed, as for orders).
    """
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return (name, text) if text not in ("", "0") and len(text) <= MOST_CHARACTERS else None


def _items(items: object) -> list[dict[str, Any]]:
    if not isinstance(items, list):
        raise ValueError("the answer has no list of items")  # noqa: TRY004 - a bad answer, not a bad call
    return [item for item in items if isinstance(item, dict)]


def _object(body: bytes) -> dict[str, Any]:
    answer = json_object(body)
    if answer.get("s") == "error":
        raise ValueError(f"the server says {shown(answer.get('errmsg', 'error'))!r}")
    return answer

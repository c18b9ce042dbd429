"""Objects of the Aries accounts endpoint as rows: orders, positions, balances … (Aries protocol page §5.4).

Keys are matched without regard to case and underscores: the vendor writes `todayRealizedPnL` here and `is_sim` there.
Unknown fields are ignored; a field that is absent or blank has its type's missing value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from aries_nb.brokers.aries.account_fields import FIELDS, INFO_KEYS, REQUIRED, UNUSED_PRICES, folded
from aries_nb.brokers.parsing import MOST_NOTED, decimal, excerpt, integer, nanoseconds, number, text, writable
from aries_nb.model import MISSING, NOT_A_TIME, ColumnType, Kind, Unreadable, Value
from aries_nb.model.contracts import OPTION_MULTIPLIER, implied_multiplier, is_option_symbol

__all__ = ["AccountRow", "AccountRows", "kind_of", "row_of", "rows_of", "snapshot_in", "watchlist_rows"]

AccountRow: TypeAlias = dict[str, Value]
ZERO_TIME = "0001-01-01"  # Go's zero time: not set
ADJUSTED = Decimal(2)  # an option's multiplier that differs from 100 by more is another one; by less it is a commission
# Columns in which 0 means that there is none (§5.4).
UNTOLD: Mapping[Kind, tuple[str, ...]] = {"orders": ("average_price",), "positions": ("average_price", "price")}


# The keys that identify an object's kind; keys that several kinds have do not.
_SIGNS: Mapping[Kind, frozenset[str]] = {
    "orders": frozenset(map(folded, ("clOrdId", "ordStatus", "cumQty", "leavesQty"))),
    "positions": frozenset(map(folded, ("averagePrice", "costBasis", "todayPl", "quantity"))),
    "accounts": frozenset(map(folded, INFO_KEYS)) - {"status"},
    "balances": frozenset(key for field in FIELDS["balances"].values() for key in field.keys),
}
_NAMES: Mapping[str, Kind] = {
    "order": "orders",
    "position": "positions",
    "balance": "balances",
    "info": "accounts",
}


def row_of(kind: Kind, item: object, line: bytes) -> tuple[AccountRow | None, list[Unreadable]]:
    """Return the object `item` as a row with every column of its kind, and notices about unusable fields.

    The row is None if `item` is no JSON object or lacks a required key. `line` is the message, of which notices quote
    the beginning.
    """
    if not isinstance(item, dict):
        return None, [Unreadable(f"{kind} hold something that is no object", excerpt(line))]
    said: dict[str, Any] = {}
    for key, value in item.items():
        said.setdefault(folded(key), value)
    row: AccountRow = {}
    problems: list[Unreadable] = []
    for column, field in FIELDS[kind].items():
        value = next((said[key] for key in field.keys if key in said), None)
        usable = None if _is_blank(value) else _SPECIAL.get(column, _READ[field.type])(value)
        if usable is None and not _is_blank(value):
            problems.append(Unreadable(f"{column} of {kind} is no usable {field.type}", excerpt(line)))
        row[column] = MISSING[field.type] if usable is None else usable
    for column in UNUSED_PRICES.get(str(row.get("type", "")).upper(), ()) if kind == "orders" else ():
        # "0" or "" where an order type has no such price (§5.4); any other value stays.
        if row[column] == 0:
            row[column] = MISSING["decimal"]
    for column in UNTOLD.get(kind, ()):
        if row[column] == 0:
            row[column] = MISSING["decimal"]  # an average or a price of 0 is none
    if kind == "positions":
        row["multiplier"] = _multiplier(row)
    absent = [name for name in REQUIRED.get(kind, ()) if row[name] in ("", NOT_A_TIME) or _is_unset(kind, name, said)]
    if absent:
        problems.append(Unreadable(f"{kind} without a usable {absent[0]}", excerpt(line)))
        return None, problems
    return row, problems


def _multiplier(row: AccountRow) -> Decimal:
    """Return the multiplier of a position's instrument: 100 of an option, 1 of a share.

    An option of which the broker's own value says something else was adjusted (assumed). Of anything else it is what
    the value implies, NaN where that does not say it.
    """
    kind = str(row["security_type"]).upper()
    is_option = kind == "OPTION" or is_option_symbol(str(row["symbol"]))
    if not is_option and kind in ("", "EQUITY"):
        return Decimal(1)
    pairs = (("cost_basis", "average_price"), ("market_value", "price"))
    implied = [
        implied_multiplier(*(_amount(row[name]) for name in (value, "quantity", price))) for value, price in pairs
    ]
    known = [each for each in implied if each.is_finite()]
    if is_option and not (known and all(abs(each - OPTION_MULTIPLIER) > ADJUSTED for each in known)):
        return OPTION_MULTIPLIER
    return known[0] if known else Decimal("NaN")


def _amount(value: Value) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal("NaN")


def watchlist_rows(item: object, line: bytes) -> tuple[list[AccountRow], list[Unreadable]]:
    """Return the watchlist `item` as rows, one per symbol with its place from 0, and notices about the rest.

    An empty watchlist is one row with place 0 and symbol ""; an unusable one gives no rows. `line` is the message, of
    which notices quote the beginning.
    """
    row, problems = row_of("watchlists", item, line)
    if row is None or not isinstance(item, dict):
        return [], problems
    symbols = next((value for key, value in item.items() if folded(key) == "symbols"), None)
    if not isinstance(symbols, list | None):
        problems.append(Unreadable("symbols of watchlists are not a list", excerpt(line)))
        symbols = None
    texts: list[str] = []
    for symbol in symbols or ():
        if isinstance(symbol, str) and symbol:
            texts.append(writable(symbol))
        else:
            problems.append(Unreadable("a symbol of watchlists is no text", excerpt(line)))
    return [{**row, "place": place, "symbol": symbol} for place, symbol in enumerate(texts or [""])], problems


class AccountRows(NamedTuple):
    """Rows of the usable objects in a message, each with its own time (ns since the epoch, None if it has none).

    `problems` are notices about what could not be used; `lost` is the number of objects that gave no row.
    """

    rows: list[tuple[int | None, AccountRow]]
    problems: list[Unreadable]
    lost: int


def rows_of(kind: Kind, items: Iterable[object], line: bytes) -> AccountRows:
    """Return the objects `items` of a kind as rows, in their order; news are sorted, the oldest first.

    A watchlist gives one row for each of its symbols. `line` is the message, of which notices quote the beginning.
    """
    rows: list[tuple[int | None, AccountRow]] = []
    problems: list[Unreadable] = []
    lost = 0
    for item in items:
        if kind == "watchlists":
            found, unusable = watchlist_rows(item, line)
        else:
            row, unusable = row_of(kind, item, line)
            found = [row] if row is not None else []
        problems += unusable if len(problems) < MOST_NOTED else ()
        lost += not found
        rows += [(_time_of(item, kind), row) for row in found]
    if kind == "news":
        rows.sort(key=lambda each: each[0] or 0)
    return AccountRows(rows, problems, lost)


def kind_of(name: object, item: object) -> Kind | None:
    """Return the kind of table that an account event is about, such as "orders"; None if it is unknown.

    The event's `name`, such as "account.order", decides, else the keys of its object `item`.
    """
    if isinstance(name, str) and (kind := _NAMES.get(folded(name).rpartition(".")[2].removesuffix("s"))):
        return kind
    return next(iter(_kinds(item)), None)


def snapshot_in(body: Mapping[str, Any]) -> list[tuple[Kind, object]]:
    """Return the full lists of orders, positions, balances and infos in a payload, as (kind, list) pairs; [] if none.

    They may be under the key `data` or `snapshot` of the payload `body`, or in `body` itself; the first of these that
    has any counts (which one the server uses is open question U16 of the Aries protocol page). A list is returned
    undecoded, null as [], a balance or an info as a list of one. The object under the key `account` may be a balance,
    an info, or both in one (assumed).
    """
    for place in (body.get("data"), body.get("snapshot"), body):
        if isinstance(place, dict):
            parts = list(_parts({folded(key): value for key, value in place.items()}))
            if parts:
                return parts
    return []


def _parts(place: Mapping[str, Any]) -> Iterable[tuple[Kind, object]]:
    for key in ("ordersv2", "orders"):
        if key in place:
            yield "orders", [] if place[key] is None else place[key]
            break
    if "positions" in place:
        yield "positions", [] if place["positions"] is None else place["positions"]
    singles = [place.get(key) for key in ("account", "balance", "info", "accountinfo")]
    if isinstance(singles[0], dict):
        singles += [singles[0].get(key) for key in ("balance", "info")]
    for single in singles:
        for kind in _kinds(single):
            if kind in ("balances", "accounts"):
                yield kind, [single]


def _kinds(item: object) -> Iterable[Kind]:
    if isinstance(item, dict):
        keys = {folded(key) for key, value in item.items() if not isinstance(value, dict)}
        yield from (kind for kind, signs in _SIGNS.items() if keys & signs)


def _time_of(item: object, kind: Kind) -> int | None:
    """Return when the object `item` was last changed, in ns since the epoch, by its own field `updatedAt`.

    If `kind` is "news", `timestamp` and `publishedAt` count as well. Returns None if the object has no such field, as
    P&L candles.
    """
    if not isinstance(item, dict):
        return None
    names = ("updatedat", "timestamp", "publishedat") if kind == "news" else ("updatedat",)
    said = {folded(key): value for key, value in item.items()}
    return next((ts for name in names if (ts := nanoseconds(said.get(name)))), None)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and (not value.strip() or value.startswith(ZERO_TIME)))


def _is_unset(kind: Kind, column: str, said: Mapping[str, Any]) -> bool:
    """Return whether the value of the required integer column `column` was absent or unusable in an object of a kind.

    `said` is the object with its keys in lower case without underscores. The row alone does not show it, because the
    missing value of an integer, 0, is a valid number too. Returns False for a column of another type.
    """
    field = FIELDS[kind][column]
    return field.type == "integer" and not any(integer(said.get(key)) is not None for key in field.keys)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return text(value)


def _joined(value: object) -> str | None:
    if not isinstance(value, list):
        return _text(value)
    texts = [_text(each) for each in value]
    return None if None in texts else ", ".join(text for text in texts if text)


def _json(value: object) -> str | None:
    if not isinstance(value, list | dict):
        return _text(value)
    try:
        return json.dumps(value, separators=(",", ":"), default=str) if value else ""
    except RecursionError:
        return None


_READ: Mapping[ColumnType, Callable[[object], Value | None]] = {
    "decimal": decimal,
    "number": number,
    "integer": integer,
    "time": nanoseconds,
    "text": _text,
}
_SPECIAL: Mapping[str, Callable[[object], Value | None]] = {"authors": _joined, "symbols": _joined, "legs": _json}

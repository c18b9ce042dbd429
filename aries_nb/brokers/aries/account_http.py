"""Aries' account tables over HTTP: the calls, and their answers as the same rows as on the WebSocket.

No I/O and no clock. Objects are decoded by the module `account_objects`, as on the WebSocket. Source: Aries protocol
page §7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from aries_nb.brokers.aries.account_objects import AccountRow, rows_of
from aries_nb.brokers.aries.topics import FINISHED, wants, words
from aries_nb.brokers.parsing import json_value, path_segment
from aries_nb.brokers.protocol import AccountPage, Query
from aries_nb.model import Kind, Subscription

__all__ = ["AriesAccountHttp"]

_MOST_ORDERS = 500  # on one page (§7)
_MOST_NAMES = 10  # symbols, and topics, per call for news (§7)
_HISTORY_NS = 90 * 86_400 * 10**9  # the longest span per call (§7)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The keys that may hold a list. News may also be the whole answer; a single object may be wrapped (assumed).
_LISTS: Mapping[Kind, tuple[str, ...]] = {
    "orders": ("orders", "ordersV2"),
    "positions": ("positions",),
    "accounts": ("accounts",),
    "watchlists": ("watchlist", "watchlists"),
    "news": ("news", "items"),
}
_WRAPPED = ("data", "balance", "watchlist")


class AriesAccountHttp:
    """HTTP calls for the tables of an account, without I/O. Implements `AccountReference`.

    Times are in ns since the epoch.
    """

    def snapshot(self, subscription: Subscription) -> Sequence[Query]:
        """Return the calls for all rows of a subscription's table.

        One call; for news one for each combination of up to ten symbols with up to ten topics; for P&L none, as Aries
        has no such call.
        """
        account = path_segment(subscription.symbol)
        match subscription.kind:
            case "balances":
                return [Query(f"/v2/accounts/{account}/balance")]
            case "positions":
                return [Query(f"/v1/accounts/{account}/positions")]
            case "orders":
                return [_first_page(f"/v2/accounts/{account}/orders")]
            case "accounts":
                return [Query("/v2/users/me/accounts")]
            case "watchlists":
                return [Query("/v1/config/watchlist")]
            case "news":
                return _news(subscription)
            case _:
                return []

    def watchlist(self, number: int) -> Query:
        """Return the call for one watchlist by its number; `read` decodes its answer as that for all lists."""
        return Query(f"/v1/config/watchlist/{number}")

    def order_history(self, account: str, start_ns: int, end_ns: int) -> Sequence[Query]:
        """Return the calls for orders placed from `start_ns` to `end_ns`, both included, in spans of at most 90 days.

        `account` is the account's id. Times are in ns since the epoch. Whether the answers include working orders is
        unknown; `read` accepts them.
        """
        path = f"/v2/accounts/{path_segment(account)}/orders/history"
        spans = range(start_ns, max(end_ns, start_ns + 1), _HISTORY_NS)
        return [
            _first_page(path, (("from", _text(start)), ("to", _text(min(start + _HISTORY_NS, end_ns)))))
            for start in spans
        ]

    def fill_history(self, account: str, start_ns: int) -> Sequence[Query]:  # noqa: ARG002
        """Return no calls, whatever the arguments: Aries lists orders, not executions."""
        return []

    def read(self, subscription: Subscription, query: Query, body: bytes) -> AccountPage:
        """Return the rows in `body`, the answer to `query`, with values in the order of the subscription's fields.

        Raises ValueError for an answer that cannot be used. Rows that the subscription does not cover are left out:
        infos of other accounts, news about other symbols.
        """
        kind = subscription.kind
        answer = json_value(body, exact=True)
        items = [_single(answer)] if kind == "balances" else _items(kind, answer)
        found, problems, _ = rows_of(kind, items, body)
        rows = [
            (ts or 0, tuple(row[field] for field in subscription.fields))
            for ts, row in found
            if _is_meant(subscription, row)
        ]
        is_full = kind != "news" and not query.path.endswith("/history")
        return AccountPage(rows, is_full, _following(query, answer), problems)

    def is_finished(self, status: str) -> bool:
        """Return whether an order with this status has ended: filled, cancelled, rejected, expired or replaced."""
        return status.upper() in FINISHED


def _first_page(path: str, params: tuple[tuple[str, str], ...] = ()) -> Query:
    return Query(path, (*params, ("limit", str(_MOST_ORDERS)), ("cursor", "0")))


def _following(query: Query, answer: object) -> Query | None:
    """Return the call for the page after that of `query`, by the answer's `nextCursor`; None if that page is the last.

    It is the last if the cursor is absent, 0 or that of `query`, and if `query` takes no cursor.
    """
    cursor = answer.get("nextCursor") if isinstance(answer, dict) else None
    params = dict(query.params)
    if not isinstance(cursor, int | str) or str(cursor) in ("", "0", params.get("cursor")) or "cursor" not in params:
        return None
    return Query(query.path, tuple({**params, "cursor": str(cursor)}.items()))


def _news(subscription: Subscription) -> list[Query]:
    """Return the calls for a subscription's news.

    Without symbols Aries answers for SPY alone (Aries protocol page §7), without topics for all topics.
    """
    symbols, topics = (sorted(words(subscription, option)) for option in ("symbols", "topics"))
    return [
        Query("/v1/news", tuple((name, ",".join(chosen)) for name, chosen in asked if chosen))
        for asked in (
            (("symbols", symbols[at : at + _MOST_NAMES]), ("topics", topics[of : of + _MOST_NAMES]))
            for at in range(0, len(symbols) or 1, _MOST_NAMES)
            for of in range(0, len(topics) or 1, _MOST_NAMES)
        )
    ]


def _is_meant(subscription: Subscription, row: AccountRow) -> bool:
    if subscription.kind == "accounts":
        return row["trading_account_id"] == subscription.symbol
    return wants(subscription, row)


def _items(kind: Kind, answer: object) -> Sequence[object]:
    """Return the list of objects of a kind in an answer, [] for null; a single watchlist is returned as a list of one.

    `kind` decides under which keys the list may be; news may also be the whole answer. Raises ValueError if there is no
    list.
    """
    if isinstance(answer, list) and kind == "news":
        return answer
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004 - a bad answer, not a bad call
    for key in _LISTS[kind]:
        if key in answer and (answer[key] is None or isinstance(answer[key], list)):
            return answer[key] or []
    single = _single(answer)
    if kind == "watchlists" and isinstance(single, dict) and "id" in single:
        return [single]
    raise ValueError(f"the answer has no list of {kind}")


def _single(answer: object) -> object:
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004 - a bad answer, not a bad call
    return next((answer[key] for key in _WRAPPED if isinstance(answer.get(key), dict)), answer)


def _text(ns: int) -> str:
    """Return a time in ns since the epoch as RFC 3339 text in UTC, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=ns // 1_000)).isoformat(timespec="microseconds").replace("+00:00", "Z")

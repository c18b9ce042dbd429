"""Topics of an Aries accounts connection: subscriptions, newest rows, pending requests (protocol page §5).

Orders, positions, balances and infos of one account come on one topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aries_nb.brokers.aries.account_fields import ACCOUNT_COLUMN_TYPES
from aries_nb.brokers.aries.account_objects import AccountRow
from aries_nb.model import CLEAR, MISSING, PUT, TABLE_KEYS, Kind, Pong, Record, Subscription, Values

__all__ = [
    "ACK_SECONDS",
    "FINISHED",
    "PNL_INTERVALS",
    "ROWS_KEPT",
    "TOPIC_NAMES",
    "AccountTopic",
    "PendingRequests",
    "TopicKey",
    "key_of",
    "wants",
    "words",
]

ACK_SECONDS = 10.0  # protocol page §5.2: as the vendor's client
ROWS_KEPT = 5_000  # of each table, for later subscriptions; the oldest are dropped once there are a tenth more
PNL_INTERVALS = ("15s", "1m", "5m", "15m", "1h", "1d", "1mo")  # protocol page §5.1 and D8
PNL_INTERVAL = "1m"  # the default of the vendor's client

# Names of a topic in events, the old ones too (D7).
TOPIC_NAMES: Mapping[str, str] = {
    "account": "account",
    "accUpdates": "account",
    "pnl": "pnl",
    "pnlCandle": "pnl",
    "watchlist": "watchlist",
    "watchlistUpdates": "watchlist",
    "news": "news",
}
_TOPICS: Mapping[Kind, str] = {
    "orders": "account",
    "positions": "account",
    "balances": "account",
    "accounts": "account",
    "pnl": "pnl",
    "watchlists": "watchlist",
    "news": "news",
}
FINISHED = frozenset({"FILLED", "CANCELED", "CANCELLED", "REPLACED", "REJECTED", "EXPIRED", "SUPERSEDED"})


class TopicKey(NamedTuple):
    """Subject of one request. `interval` and `start` are those of a P&L, else ""."""

    topic: str
    account: str
    interval: str = ""
    start: str = ""

    @property
    def scope(self) -> tuple[str, str]:
        """Subject of one unsubscribe: it ends all P&L intervals of an account together (§5.2)."""
        return self.topic, self.account


def key_of(subscription: Subscription) -> TopicKey:
    """The topic that a subscription needs."""
    if subscription.kind == "pnl":
        options = dict(subscription.options)
        interval = options.get("interval") or PNL_INTERVAL
        return TopicKey("pnl", subscription.symbol, interval, options.get("start", ""))
    return TopicKey(_TOPICS[subscription.kind], subscription.symbol)


class _NewestRows:
    """The newest row of each key, those put last at the end."""

    __slots__ = ("_key", "rows", "ts")

    def __init__(self, kind: Kind, ts: int = 0) -> None:
        self._key = TABLE_KEYS[kind]
        self.ts = ts
        self.rows: dict[tuple[Any, ...], tuple[int, AccountRow]] = {}

    def put(self, ts: int, row: AccountRow) -> None:
        key = tuple(row[name] for name in self._key)
        self.rows.pop(key, None)
        self.rows[key] = (ts, row)
        self.ts = max(ts, self.ts)

    def trim(self) -> None:
        """Drop the oldest rows beyond the limit, finished orders first; many at once, as it scans all rows."""
        excess = len(self.rows) - ROWS_KEPT
        if excess > ROWS_KEPT // 10:
            finished = [key for key, (_, row) in self.rows.items() if row.get("status") in FINISHED]
            gone = dict.fromkeys([*finished[:excess], *self.rows])
            for key in list(gone)[:excess]:
                del self.rows[key]


class AccountTopic:
    """One topic: its subscriptions, and its newest rows on this connection."""

    def __init__(self, key: TopicKey) -> None:
        self.key = key
        self.subscriptions: dict[Subscription, None] = {}
        self._tables: dict[Kind, _NewestRows] = {}

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of a subscribe frame (§5.1); for news the union of all subscriptions."""
        key = self.key
        if key.topic == "watchlist":
            return {"topic": "watchlist"}
        if key.topic == "news":
            return {"topic": "news", "params": _news_params(self.subscriptions)}
        params = {"accountId": key.account}
        if key.start:
            params["startTime"] = key.start
        if key.interval:
            params["interval"] = key.interval
        return {"topic": key.topic, "params": params}

    def add(self, subscription: Subscription) -> list[Record]:
        """Add a subscription; returns its initial records."""
        if subscription in self.subscriptions:
            return []
        self.subscriptions[subscription] = None
        table = self._tables.get(subscription.kind)
        if table is None:
            return []
        rows = [_put(subscription, ts, row) for ts, row in table.rows.values() if wants(subscription, row)]
        return [_clear(subscription, table.ts), *rows]

    def forget(self) -> None:
        """Drop all rows when the connection breaks: rows from before it must not pass for fresh."""
        self._tables.clear()

    def replace(self, kind: Kind, ts: int, rows: Iterable[tuple[int, AccountRow]]) -> list[Record]:
        """Replace all rows; returns a `CLEAR` record per subscription and the records of the rows."""
        self._tables[kind] = _NewestRows(kind, ts)
        clears = [_clear(subscription, ts) for subscription in self.subscriptions if subscription.kind == kind]
        return [*clears, *self.put(kind, rows)]

    def put(self, kind: Kind, rows: Iterable[tuple[int, AccountRow]]) -> list[Record]:
        """Put rows with their times in place of those with the same key; returns their records."""
        rows = list(rows)
        if not rows:
            return []
        table = self._tables.setdefault(kind, _NewestRows(kind))
        records: list[Record] = []
        for ts, row in rows:
            table.put(ts, row)
            for subscription in self.subscriptions:
                if subscription.kind == kind and wants(subscription, row):
                    records.append(_put(subscription, ts, row))
        table.trim()
        return records


def _put(subscription: Subscription, ts: int, row: AccountRow) -> Record:
    return subscription, ts, (PUT, *[row[field] for field in subscription.fields])


def _clear(subscription: Subscription, ts: int) -> Record:
    types = ACCOUNT_COLUMN_TYPES[subscription.kind]
    values: Values = (CLEAR, *[MISSING[types[field]] for field in subscription.fields])
    return subscription, ts, values


def wants(subscription: Subscription, row: AccountRow) -> bool:
    """Whether a subscription covers a news item; an item without symbols is for all subscriptions."""
    if subscription.kind != "news":
        return True
    symbols = words(subscription, "symbols")
    about = str(row["symbols"])
    return not symbols or not about or not symbols.isdisjoint(about.split(", "))


def words(subscription: Subscription, option: str) -> set[str]:
    """The comma separated words of an option."""
    text = dict(subscription.options).get(option, "")
    return {word.strip() for word in text.split(",") if word.strip()}


def _news_params(subscriptions: Iterable[Subscription]) -> dict[str, list[str]]:
    """Union of all symbols and topics; no limit where one subscription has none."""
    params: dict[str, list[str]] = {}
    for option in ("symbols", "topics"):
        wanted = [words(subscription, option) for subscription in subscriptions]
        if all(wanted):
            params[option] = sorted(set().union(*wanted))
    return params


class PendingRequests:
    """Requests of this connection without an answer yet, and the pongs held back for them (protocol page §5.2).

    Requests and pings share one count: a pong is released once no request before it is pending.
    """

    def __init__(self) -> None:
        self._pending: dict[str, tuple[TopicKey, int, float]] = {}
        self._held: list[Pong] = []

    def clear(self) -> None:
        """Drop everything for a new connection."""
        self._pending.clear()
        self._held.clear()

    def asked(self, request: str, key: TopicKey, number: int, now: float) -> None:
        """Add a request by its id and number."""
        self._pending[request] = (key, number, now)

    def answered(self, request: str) -> TopicKey | None:
        """Remove a request and return its key; None where it is not pending."""
        return self._pending.pop(request, (None,))[0]

    def forget(self, key: TopicKey) -> None:
        """Remove all requests of a key."""
        for request in [request for request, (about, _, _) in self._pending.items() if about == key]:
            del self._pending[request]

    def overdue(self, now: float) -> list[TopicKey]:
        """Remove the requests older than `ACK_SECONDS` and return their keys."""
        late = [request for request, (_, _, since) in self._pending.items() if now - since > ACK_SECONDS]
        return [self._pending.pop(request)[0] for request in late]

    def hold(self, pong: Pong) -> None:
        """Hold a pong back until the requests before it are answered."""
        self._held.append(pong)

    def released(self) -> Sequence[Pong]:
        """Drain the pongs without a pending request before them."""
        if not self._held:
            return ()
        first = min((number for _, number, _ in self._pending.values()), default=None)
        free = [pong for pong in self._held if first is None or pong.number < first]
        self._held = [pong for pong in self._held if first is not None and pong.number >= first]
        return free

"""Topics of an Aries accounts connection: subscriptions, newest rows, pending requests (Aries protocol page §5).

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
    """What one request asks for: a topic of the account with the id `account`, "" for watchlists and news.

    `interval` and `start` are the candle length and first time (RFC 3339 text) of P&L candles; "" for other topics.
    """

    topic: str
    account: str
    interval: str = ""
    start: str = ""

    @property
    def scope(self) -> tuple[str, str]:
        """Topic and account, by which an unsubscribe request names what it ends (Aries protocol page §5.2).

        One such request ends the P&L candles of all intervals. So `AriesAccounts` sends one only when no other key with
        this scope is left; it also uses the scope to recognise late events about an account that was just unsubscribed.
        """
        return self.topic, self.account


def key_of(subscription: Subscription) -> TopicKey:
    """Return the key of the topic that serves a subscription."""
    if subscription.kind == "pnl":
        options = dict(subscription.options)
        interval = options.get("interval") or PNL_INTERVAL
        return TopicKey("pnl", subscription.symbol, interval, options.get("start", ""))
    return TopicKey(_TOPICS[subscription.kind], subscription.symbol)


class _NewestRows:
    """The newest row of each key of one table, with its time (ns since the epoch), in the order of the latest changes.

    `ts` is the newest of all times, also of rows that were dropped.
    """

    __slots__ = ("_key", "rows", "ts")

    def __init__(self, kind: Kind, ts: int = 0) -> None:
        self._key = TABLE_KEYS[kind]
        self.ts = ts
        self.rows: dict[tuple[Any, ...], tuple[int, AccountRow]] = {}

    def put(self, ts: int, row: AccountRow) -> None:
        """Store a row with its time (ns since the epoch) as the newest, in place of the row with the same key."""
        key = tuple(row[name] for name in self._key)
        self.rows.pop(key, None)
        self.rows[key] = (ts, row)
        self.ts = max(ts, self.ts)

    def trim(self) -> None:
        """Drop the oldest rows beyond 5,000, finished orders first.

        Does nothing up to 5,500 rows, because it scans all of them.
        """
        excess = len(self.rows) - ROWS_KEPT
        if excess > ROWS_KEPT // 10:
            finished = [key for key, (_, row) in self.rows.items() if row.get("status") in FINISHED]
            gone = dict.fromkeys([*finished[:excess], *self.rows])
            for key in list(gone)[:excess]:
                del self.rows[key]


class AccountTopic:
    """One topic of a connection: its subscriptions, and its newest rows on this connection."""

    def __init__(self, key: TopicKey) -> None:
        self.key = key
        self.subscriptions: dict[Subscription, None] = {}
        self._tables: dict[Kind, _NewestRows] = {}

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of the frame that subscribes to the topic (Aries protocol page §5.1).

        For news it names the symbols and topics of all subscriptions.
        """
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
        """Add a subscription. Returns its first records, a full list of the known rows; [] if none are known."""
        if subscription in self.subscriptions:
            return []
        self.subscriptions[subscription] = None
        table = self._tables.get(subscription.kind)
        if table is None:
            return []
        rows = [_put(subscription, ts, row) for ts, row in table.rows.values() if wants(subscription, row)]
        return [_clear(subscription, table.ts), *rows]

    def forget(self) -> None:
        """Drop all rows, because the connection broke and they may be out of date."""
        self._tables.clear()

    def replace(self, kind: Kind, ts: int, rows: Iterable[tuple[int, AccountRow]]) -> list[Record]:
        """Replace all rows of a kind by `rows`, each with its time, and return the records of the new full list.

        The list begins with a `CLEAR` record per subscription, at time `ts`. Times are in ns since the epoch.
        """
        self._tables[kind] = _NewestRows(kind, ts)
        clears = [_clear(subscription, ts) for subscription in self.subscriptions if subscription.kind == kind]
        return [*clears, *self.put(kind, rows)]

    def put(self, kind: Kind, rows: Iterable[tuple[int, AccountRow]]) -> list[Record]:
        """Put rows of a kind, each with its time, in place of those with the same key, and return their records.

        Times are in ns since the epoch. Each subscription of that kind that covers a row gets a record. Other rows
        stay.
        """
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
    """Return whether a subscription covers a row: all rows except news about other symbols.

    News without symbols are covered by every subscription.
    """
    if subscription.kind != "news":
        return True
    symbols = words(subscription, "symbols")
    about = str(row["symbols"])
    return not symbols or not about or not symbols.isdisjoint(about.split(", "))


def words(subscription: Subscription, option: str) -> set[str]:
    """Return the comma-separated words in an option of a subscription; an empty set without that option."""
    text = dict(subscription.options).get(option, "")
    return {word.strip() for word in text.split(",") if word.strip()}


def _news_params(subscriptions: Iterable[Subscription]) -> dict[str, list[str]]:
    """Return the parameters of the request for news: the union of the symbols and of the topics of all subscriptions.

    No symbols, or topics, if one subscription names none, which means all.
    """
    params: dict[str, list[str]] = {}
    for option in ("symbols", "topics"):
        wanted = [words(subscription, option) for subscription in subscriptions]
        if all(wanted):
            params[option] = sorted(set().union(*wanted))
    return params


class PendingRequests:
    """Requests of this connection without an answer yet, and the pongs (answers to pings) held back for them.

    Requests and pings are numbered together: a pong is released once no earlier request is pending. Source: Aries
    protocol page §5.2.
    """

    def __init__(self) -> None:
        self._pending: dict[str, tuple[TopicKey, int, float]] = {}
        self._held: list[Pong] = []

    def clear(self) -> None:
        """Forget all pending requests and held pongs; called when a new connection opens."""
        self._pending.clear()
        self._held.clear()

    def asked(self, request: str, key: TopicKey, number: int, now: float) -> None:
        """Add a request with the id `request`, its topic's key and its number, sent at time `now` (s, monotonic)."""
        self._pending[request] = (key, number, now)

    def answered(self, request: str) -> TopicKey | None:
        """Remove the request with this id and return its topic's key; None if it is not pending."""
        return self._pending.pop(request, (None,))[0]

    def forget(self, key: TopicKey) -> None:
        """Remove all pending requests for a topic's key."""
        for request in [request for request, (about, _, _) in self._pending.items() if about == key]:
            del self._pending[request]

    def overdue(self, now: float) -> list[TopicKey]:
        """Remove the requests unanswered for over 10 s at `now` (s, monotonic); return the keys of their topics."""
        late = [request for request, (_, _, since) in self._pending.items() if now - since > ACK_SECONDS]
        return [self._pending.pop(request)[0] for request in late]

    def hold(self, pong: Pong) -> None:
        """Hold a pong (answer to a ping) back until all requests with a smaller number are answered."""
        self._held.append(pong)

    def released(self) -> Sequence[Pong]:
        """Return the held pongs (answers to pings) before which no request is pending any more, and remove them."""
        if not self._held:
            return ()
        first = min((number for _, number, _ in self._pending.values()), default=None)
        free = [pong for pong in self._held if first is None or pong.number < first]
        self._held = [pong for pong in self._held if first is not None and pong.number >= first]
        return free

"""The Aries accounts endpoint as a state machine (Aries protocol page §2 and §5); see `BrokerProtocol`.

The symbol of a subscription is an account's id; that of watchlists and news is "". A P&L names its candles in its
options: ("interval", one of `PNL_INTERVALS`) and ("start", RFC 3339 time with zone). News may name ("symbols", …) and
("topics", …), each comma separated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from aries_nb.brokers.aries.account_fields import ACCOUNT_COLUMN_TYPES, folded
from aries_nb.brokers.aries.account_objects import AccountRow, kind_of, rows_of, snapshot_in
from aries_nb.brokers.aries.connection import AriesConnection, time_of
from aries_nb.brokers.aries.session import is_refusal, request_of
from aries_nb.brokers.aries.topics import ACK_SECONDS, TOPIC_NAMES, AccountTopic, PendingRequests, TopicKey, key_of
from aries_nb.brokers.parsing import RequestRefused, excerpt, lines
from aries_nb.model import (
    Counted,
    Kind,
    Notice,
    Pong,
    Received,
    Record,
    Rejected,
    Subscription,
    Unfinished,
    Unreadable,
)

__all__ = ["AriesAccounts"]

ROWS_A_CALL = 250  # decoded in one call of `receive`: a day of orders at once would hold up the network's loop
_ACKS = ("subscribed", "response", "pong")  # types that settle a request (§5.2)
# The keys that may wrap a list (assumed; the second is that of REST).
_WRAPPED: Mapping[str, tuple[str, ...]] = {
    "pnl": ("candles",),
    "watchlist": ("watchlist", "watchlists"),
    "news": ("news", "items"),
}


@dataclass(slots=True)
class _AccountMessage:
    """A message of a topic while it is processed: its body, its time in ns, and the records and notices made of it.

    `raw` is the message as a line of JSON. `is_event` is False for the answer to a request, which may lack data without
    being unreadable.
    """

    raw: bytes
    body: Mapping[str, Any]
    is_event: bool
    ts: int
    records: list[Record]
    notices: list[Notice]

    def unreadable(self, reason: str) -> None:
        """Append a notice that the message could not be decoded, for `reason`."""
        self.notices.append(Unreadable(reason, excerpt(self.raw)))

    def lost(self, topic: AccountTopic, kind: Kind | None = None, count: int = 1) -> None:
        """Append notices that `count` objects of the message were unreadable, one for each subscription of the topic.

        With `kind` only for the topic's subscriptions of that kind. Nothing is appended if `count` is 0.
        """
        if count:
            users = (each for each in topic.subscriptions if kind in (None, each.kind))
            self.notices += [Counted(each, "unreadable", count) for each in users]

    def rows(self, topic: AccountTopic, kind: Kind, items: Iterable[object]) -> list[tuple[int, AccountRow]]:
        """Return the usable ones of the objects `items` as rows of a kind, each with its time.

        The time, in ns since the epoch, is the object's own, else the message's. Notices about unusable objects are
        appended, and the objects are counted by `lost` for the subscriptions of `topic`.
        """
        found, problems, lost = rows_of(kind, items, self.raw)
        self.notices += problems
        self.lost(topic, kind, lost)
        return [(ts or self.ts, row) for ts, row in found]


class AriesAccounts(AriesConnection[TopicKey]):
    """A connection for accounts, watchlists and news. Implements `BrokerProtocol`."""

    COLUMNS = ACCOUNT_COLUMN_TYPES
    HAS_TABLES = True
    IS_EXACT = True
    DERIVED: ClassVar[tuple[str, ...]] = ("_steps", "_list_steps")

    def __init__(self) -> None:
        super().__init__()
        self._topics: dict[TopicKey, AccountTopic] = {}
        self._sent: dict[TopicKey, dict[str, Any]] = {}
        self._unsubscribed: set[tuple[str, str]] = set()
        self._pending_requests = PendingRequests()
        self._steps: Iterator[None] = iter(())  # of what is left to decode, with a stop after so many rows
        self._list_steps: Iterable[None] = ()  # of the lists in the line that is being decoded
        self._records: list[Record] = []  # decoded by these steps
        self._notices: list[Notice] = []

    def noted(self) -> None:
        """Raise TypeError where more of a frame is left, which no noted state has."""
        if self._list_steps:
            raise TypeError("more of a frame is left")

    def derive(self, _: object) -> None:
        """Make what a noted state has not: nothing is left to decode."""
        self._steps, self._list_steps = iter(()), ()

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode frames received at `received` (ns since the epoch), or go on with a frame that is not finished.

        Returns records and notices, each in order; `Unfinished` while more of a long list is left. The list is in the
        records as a whole.
        """
        first, read = super().receive(frames, received)
        if frames:
            return first, read
        records, notices = list(first), list(read)
        self._go_on(records, notices)
        return records, notices

    def tick(self, now: float) -> Sequence[Notice]:
        """Send keepalive pings and check time limits of the session and of each pending request; return notices.

        `now` is in seconds of a monotonic clock. A request without an answer for 10 s counts as refused (notice
        `Rejected`).
        """
        notices = list(super().tick(now))
        for key in self._pending_requests.overdue(now):
            self._sent.pop(key, None)
            reason = f"no answer about {key.topic} within {ACK_SECONDS:.0f} s"
            notices.append(Rejected(self._users(key), reason))
        if not self._list_steps:
            notices += self._pending_requests.released()
        return notices

    def _forget(self) -> None:
        self._steps, self._list_steps, self._records, self._notices = iter(()), (), [], []
        self._sent.clear()
        self._unsubscribed.clear()
        self._pending_requests.clear()
        for topic in self._topics.values():
            topic.forget()

    def _add(self, subscription: Subscription) -> Iterable[TopicKey]:
        key = key_of(subscription)
        topic = self._topics.setdefault(key, AccountTopic(key))
        self._initial_records += topic.add(subscription)
        return (key,)

    def _remove(self, subscriptions: Sequence[Subscription]) -> None:
        for subscription in subscriptions:
            key = key_of(subscription)
            topic = self._topics.get(key)
            if topic is None:
                continue
            topic.subscriptions.pop(subscription, None)
            if not topic.subscriptions:
                self._end(key)

    def _subscribed(self) -> Iterable[TopicKey]:
        return list(self._topics)

    def _ask(self, keys: Iterable[TopicKey]) -> int:
        for key in keys:
            payload = self._topics[key].payload
            if self._sent.get(key) != payload:
                request = self._session.send("subscribe", payload)
                self._pending_requests.asked(request, key, self._session.count, self._session.now)
                self._sent[key] = payload
        return self._session.ping()

    def _end(self, key: TopicKey) -> None:
        del self._topics[key]
        self._pending_requests.forget(key)
        self._unsubscribed.add(key.scope)
        was_sent = self._sent.pop(key, None) is not None
        if was_sent and self._session.is_open and all(other.scope != key.scope for other in self._topics):
            params = {"params": {"accountId": key.account}} if key.account else {}
            self._session.send("unsubscribe", {"topic": key.topic, **params})

    def _read(self, frame: bytes, received: int, records: list[Record], notices: list[Notice]) -> None:
        self._steps = chain(self._steps, self._steps_of(frame, received))
        self._go_on(records, notices)

    def _steps_of(self, frame: bytes, received: int) -> Iterator[None]:
        for raw in lines(frame):
            self._read_line(raw, received, self._records, self._notices)
            yield from self._list_steps
            self._list_steps = ()
        self._notices += self._pending_requests.released()

    def _go_on(self, records: list[Record], notices: list[Notice]) -> None:
        is_unfinished = next(self._steps, False) is None
        records += self._records
        notices += self._notices
        self._records.clear()
        self._notices.clear()
        if is_unfinished:
            notices.append(Unfinished())
        else:
            self._steps = iter(())

    def _message(
        self, message: Mapping[str, Any], raw: bytes, received: int, records: list[Record], notices: list[Notice]
    ) -> None:
        payload = message.get("payload")
        body = payload if isinstance(payload, dict) else {}
        name = body.get("topic")
        topic = TOPIC_NAMES.get(name) if isinstance(name, str) else None
        if not is_refusal(body):
            key = self._answered(message, topic)
            if key is not None or topic is not None:
                ts = time_of(message, received)
                line = _AccountMessage(raw, body, message.get("type") == "event", ts, records, notices)
                self._take((key.topic if key is not None else topic) or "", key, line)
                return
        notices.extend(self._control(message, raw))

    def _answered(self, message: Mapping[str, Any], topic: str | None) -> TopicKey | None:
        is_answer = message.get("type") in _ACKS or topic is not None
        return self._pending_requests.answered(request_of(message)) if is_answer else None

    def _ponged(self, pong: Pong) -> Iterable[Pong]:
        self._pending_requests.hold(pong)
        return ()

    def _rejected(self, refused: RequestRefused) -> Rejected:
        key = self._pending_requests.answered(refused.request) if refused.request else None
        if key is not None:
            self._sent.pop(key, None)
        return Rejected(() if key is None else self._users(key), excerpt(refused.reason))

    def _users(self, key: TopicKey) -> tuple[Subscription, ...]:
        topic = self._topics.get(key)
        return () if topic is None else tuple(topic.subscriptions)

    def _take(self, topic: str, key: TopicKey | None, line: _AccountMessage) -> None:
        """Append the records and notices of a topic's message to `line`, which holds the message.

        `key` is that of the request which the message answers, None for an event.
        """
        if topic == "account":
            self._take_account(key, line)
            return
        content = line.body.get("data", line.body.get("snapshot"))
        items = _unwrapped(content, _WRAPPED[topic])
        if items is None and topic != "watchlist" and line.is_event and isinstance(content, dict):
            items = [content]
        if items is None:
            if line.is_event and key is None:
                line.unreadable(f"an event of {topic} without a list")
                scope = (topic, self._account_of(content, line, topic) if topic == "pnl" else "")
                for each in [self._topics[other] for other in self._topics if other.scope == scope]:
                    line.lost(each)
        elif topic == "pnl":
            self._list_steps = self._take_candles(items, key, line)
        elif found := self._topics.get(TopicKey(topic, "")):
            if topic == "watchlist":
                line.records += found.replace("watchlists", line.ts, line.rows(found, "watchlists", items))
            else:
                line.records += found.put("news", line.rows(found, "news", items))

    def _take_account(self, key: TopicKey | None, line: _AccountMessage) -> None:
        lists = snapshot_in(line.body)
        data = line.body.get("data")
        if lists:
            topic = self._topic_of(key, next((items for _, items in lists if items), None), line)
            if topic is None:
                return
            self._list_steps = _replacing(topic, lists, line)
        elif isinstance(data, dict | list):
            self._list_steps = self._taking(key, data if isinstance(data, list) else [data], line)
        elif key is None and line.is_event:
            line.unreadable("an account event without data")
            meant = kind_of(line.body.get("name"), data)
            topic = self._topic_of(key, data, line) if meant is not None else None
            if topic is not None:
                line.lost(topic, meant)

    def _taking(self, key: TopicKey | None, items: Sequence[object], line: _AccountMessage) -> Iterator[None]:
        for count, item in enumerate(items, 1):
            self._take_object(key, item, line)
            if not count % ROWS_A_CALL:
                yield

    def _take_object(self, key: TopicKey | None, item: object, line: _AccountMessage) -> None:
        kind = kind_of(line.body.get("name"), item)
        if kind is not None:
            topic = self._topic_of(key, item, line)
            line.records += topic.put(kind, line.rows(topic, kind, [item])) if topic is not None else ()
        elif line.is_event:
            line.unreadable("an account event of an unknown kind")

    def _topic_of(self, key: TopicKey | None, item: object, line: _AccountMessage) -> AccountTopic | None:
        if key is not None:
            return self._topics.get(key)
        account = self._account_of(item, line, "account")
        return None if account is None else self._topics[TopicKey("account", account)]

    def _take_candles(self, items: Sequence[object], key: TopicKey | None, line: _AccountMessage) -> Iterator[None]:
        places = (line.body.get("data"), line.body, line.body.get("params"))
        for count, item in enumerate(items, 1):
            if not count % ROWS_A_CALL:
                yield
            said = next((str(value) for place in (item, *places) if (value := _of(place, "interval"))), "")
            account = key.account if key is not None else self._account_of(item, line, "pnl")
            running = [other for other in self._topics if other.topic == "pnl" and other.account == account]
            wanted = [other for other in running if (other == key if key is not None else said in ("", other.interval))]
            if len({other.interval for other in wanted}) > 1:
                line.unreadable("a candle that does not name its interval")
                for other in wanted:
                    line.lost(self._topics[other], "pnl")
                continue
            for other in wanted:
                rows = line.rows(self._topics[other], "pnl", [item])
                line.records += self._topics[other].put(
                    "pnl", [(ts, {**row, "interval": other.interval}) for ts, row in rows]
                )

    def _account_of(self, item: object, line: _AccountMessage, topic: str) -> str | None:
        """Return the id of the subscribed account to which the object `item` belongs; None if it cannot be found.

        Only accounts subscribed for `topic` ("account" or "pnl") count. The id is named in the object or its message
        `line`; if neither names one, it is that of the only subscribed account. For None a notice is appended to
        `line`, unless the named account has just been unsubscribed, or none is named and none subscribed.
        """
        accounts = {key.account for key in self._topics if key.topic == topic}
        first = item[0] if isinstance(item, list) and item else item
        places = (first, line.body.get("data"), line.body, line.body.get("params"))
        said = [_of(place, name) for place in places for name in ("accountid", "tradingaccountid")]
        named = [each for each in said if isinstance(each, str) and each]
        # What `target` means is not stated: a subscribed account's id decides, anything else is ignored (assumed).
        for each in (*named, line.body.get("target")):
            if isinstance(each, str) and each in accounts:
                return each
        if not named and len(accounts) == 1:
            return next(iter(accounts))
        if not self._unsubscribed.isdisjoint((topic, each) for each in named) or (not named and not accounts):
            return None
        line.unreadable("an account that is not subscribed" if named else "an event that does not name its account")
        return None


def _replacing(topic: AccountTopic, lists: Sequence[tuple[Kind, object]], line: _AccountMessage) -> Iterator[None]:
    """Replace the rows of a topic by those in `lists`, each of a kind, with a stop after each 250 rows."""
    for kind, items in lists:
        if not isinstance(items, list):
            line.unreadable(f"{kind} of a snapshot are not a list")
            line.lost(topic, kind)
            continue
        rows = line.rows(topic, kind, items[:ROWS_A_CALL])
        for start in range(ROWS_A_CALL, len(items), ROWS_A_CALL):
            yield
            rows += line.rows(topic, kind, items[start : start + ROWS_A_CALL])
        line.records += topic.replace(kind, line.ts, rows)


def _unwrapped(content: object, keys: Sequence[str]) -> Sequence[object] | None:
    """Return the list in a message's content: the content itself, or the list under the first of `keys` that has one.

    Returns None if there is no list.
    """
    if isinstance(content, list):
        return content
    wrapped = [content.get(key) for key in keys] if isinstance(content, dict) else []
    return next((items for items in wrapped if isinstance(items, list)), None)


def _of(place: object, name: str) -> object:
    """Return the value in the object `place` whose key, in lower case without underscores, is `name`.

    Returns None if there is no such key, and if `place` is no object.
    """
    if not isinstance(place, dict):
        return None
    return next((value for key, value in place.items() if folded(key) == name), None)

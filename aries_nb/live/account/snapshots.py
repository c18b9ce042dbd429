"""HTTP snapshots of the user's tables, inserted into the live tables that the stream keeps current.

They are requested when a table is made, and for all tables after each interruption of the stream, to add what it
missed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import TypeVar

import pandas as pd

from aries_nb.brokers import AccountReference, Query
from aries_nb.errors import ClosedError, ConnectError, FeedError, UsageError
from aries_nb.live.connection import Link
from aries_nb.live.table import LiveTable
from aries_nb.model import NOT_A_TIME, Subscription, Value, Values
from aries_nb.net.events.answers import Get, Reply
from aries_nb.net.http_client import HttpClient
from aries_nb.store import FetchedRows, ReportedFillLog, TableListener, TableRow
from aries_nb.store.values import RECEIPT, frame_of

__all__ = ["Snapshots"]

log = logging.getLogger("aries_nb")

T = TypeVar("T", bound=LiveTable)

SECOND = 1_000_000_000
MARGIN_NS = 60 * SECOND  # how far the broker's clock and ours may be apart round a gap
OLDEST_NS = 366 * 86_400 * SECOND  # an order that worked for longer is not looked for in the history
PAUSES = (5.0, 15.0, 60.0)  # seconds of market time between retries of a failed request, until the next break
MOST_PAGES = 1_000
MOST_ROWS = 100_000  # of one snapshot; ten times what a table holds


@dataclass(frozen=True, slots=True)
class _Missing:
    """What a table's stream may have missed while it was interrupted: changes from `since` on (ns since the epoch).

    Of a table of orders, `working` are the ids of the orders that were unfinished when the stream broke, as they may
    have ended since; `placed` is when the first of them was placed, in ns since the epoch (`since` where there is
    none). For other tables `working` is empty and `placed` unused.
    """

    since: int
    working: frozenset[Value] = frozenset()
    placed: int = 0  # when the first of them was placed, in ns

    def and_(self, other: _Missing) -> _Missing:
        """Return one record of what was missed in this interruption of the stream and in the `other` one."""
        return _Missing(min(self.since, other.since), self.working | other.working, min(self.placed, other.placed))


@dataclass(slots=True, eq=False)
class _FilledTable:
    """A live table whose contents `Snapshots` requests over HTTP, and what must still be requested for it.

    `made` is when it was registered, in ns since the epoch. `missing` is what its stream may have missed, None for
    nothing. `steps` are the requests still to be made, one after the other; a break replaces them. `failures` counts
    those in a row, each of which is repeated after a pause.
    """

    live: LiveTable
    subscription: Subscription
    made: int
    missing: _Missing | None
    fills: ReportedFillLog | None = None  # the log that takes past executions
    is_due: bool = True
    steps: deque[Callable[[], object]] = field(default_factory=deque)
    failures: int = 0


class Snapshots:
    """Requests the contents of the live tables of one connection over HTTP, and inserts them on the network's thread.

    Any thread may call. Where a request fails, the stream goes on; the feed's last error and the log name the table.
    """

    def __init__(self, link: Link, http: HttpClient, reference: AccountReference | None) -> None:
        self._link = link
        self._http = http
        self._reference = reference
        self._arrivals = link.arrivals
        self._tables: list[_FilledTable] = []  # network's thread
        self._is_live = False  # network's thread
        self._broke_at = 0  # ns since the epoch, network's thread
        self._is_closed = False
        self._pending = 0  # requests
        self._undo = (link.watch(self._look), self._arrivals.restarted.add(self._restart))
        self._arrivals.do(self._look)

    def keep(self, live: T, *listeners: TableListener) -> T:
        """Keep a live table filled: insert HTTP snapshots now and after each interruption until it closes; return it.

        `listeners` are the listeners of `live`: a `ReportedFillLog` among them also gets the executions that happened
        during an interruption, from the broker's history. Only returns `live` where the broker has no snapshots.
        """
        if self._reference is None:
            return live
        fields = tuple(column.name for column in live.columns)
        subscription = Subscription(live.kind, live.account, fields, live._source.options)
        fills = next((each for each in listeners if isinstance(each, ReportedFillLog)), None)

        def add() -> None:
            now = self._arrivals.now
            # Orders that end before the connection is back are missed as well.
            missing = None if self._is_live or live.kind != "orders" else _Missing(now, placed=now)
            made = now
            if self._arrivals.subscriptions is not None:  # as it was then: made on a live connection, at its time
                missing, made = None, self._arrivals.subscriptions.get(subscription, now)
            self._tables.append(_FilledTable(live, subscription, made, missing, fills))
            self._fill_due()

        self._arrivals.do(add)
        return live

    def order_history(self, account: str, start: int, end: int) -> pd.DataFrame:
        """Return the finished orders that were placed from `start` to `end`, in the columns of a table of orders.

        Times are in ns since the epoch; one row each, index `order_id`, oldest first. Blocks. Raises UsageError where
        the broker has no such history, FeedError for a reply that cannot be parsed, ConnectError or TokenError without
        a reply.
        """
        if self._reference is None:
            raise UsageError("this broker has no history of orders")
        columns = self._link.table_columns("orders")
        subscription = Subscription("orders", account, tuple(column.name for column in columns))
        queries = self._reference.order_history(account, start, end)
        if not queries:
            advice = "`orders.df` has the orders of the session."
            raise UsageError("this broker has no history of orders", where=self._http.base, advice=advice)
        rows, _ = self._requested(self._http.get, subscription, queries)
        received = self._link.clock.now_ns()
        flat = [(ts or received, received, account, *values) for ts, values in rows]
        frame = frame_of((*RECEIPT, *columns), flat)
        # Two requested spans share their common end.
        frame = frame.drop_duplicates("order_id", keep="last").sort_values("created", kind="stable")
        return frame.set_index("order_id")

    def load_fills(self, log: ReportedFillLog, account: str, start: int, end: int) -> None:
        """Insert own executions in [start, end), ns since the epoch, into a log of them.

        Blocks, except in a replay. Raises UsageError where the broker has no history of executions, FeedError for a
        reply that cannot be parsed, ConnectError or TokenError without a reply.
        """
        answers = self._arrivals.answers
        if not answers.is_replay:
            self._http.check_may_block()
        if self._reference is None or not self._reference.fill_history(account, start):
            raise UsageError("this broker has no history of own executions", where=self._http.base)
        inserted = self._arrivals.do(lambda: self._ask_for_fills(log, account, start, end)).result()
        if not answers.is_replay:  # which inserts them when it comes to their answer
            inserted.result()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is requested, nor will be without another break."""
        return not self._pending and not any(each.missing or each.is_due or each.steps for each in self._tables)

    def close(self) -> None:
        """Make no more requests; idempotent. A pending request ends when the HTTP client is closed."""
        for undo in self._undo:
            undo()
        self._is_closed = True

    # The network's thread.

    def _restart(self) -> None:
        """Begin anew, as a replay does: the tables are filled again once the stream is live."""
        self._is_live, self._pending, self._broke_at = False, 0, 0
        for each in self._tables:
            each.is_due, each.missing, each.failures = True, None, 0
            each.steps.clear()

    def _look(self) -> None:
        was_live, self._is_live = self._is_live, self._link.state == "live"
        is_broken, is_back = was_live and not self._is_live, self._is_live and not was_live
        self._broke_at = self._arrivals.now if is_broken else self._broke_at
        for each in self._tables:
            if is_back:
                each.is_due, each.failures = True, 0
            if is_broken:
                each.steps.clear()
            if is_broken and (each.live.kind == "orders" or each.fills is not None):
                lost = self._lost(each.live)
                each.missing = lost if each.missing is None else each.missing.and_(lost)
        self._fill_due()

    def _lost(self, orders: LiveTable) -> _Missing:
        """Return what a live table of orders or of executions may miss because its stream breaks now.

        It counts from the last message of the connection on.
        """
        assert self._reference is not None, "without it no table is filled"
        silence = self._link.statistics().silence_s
        since = self._arrivals.now - (round(silence * SECOND) if isfinite(silence) else 0)
        if orders.kind != "orders":
            return _Missing(since)
        names = [column.name for column in orders.columns]
        status, placed, order = (names.index(name) for name in ("status", "created", "order_id"))
        rows = [row.values for row in orders._source.store.rows()]
        working = [row for row in rows if not self._reference.is_finished(str(row[status]))]
        times = [int(at) for row in working if isinstance(at := row[placed], int) and at != NOT_A_TIME]
        return _Missing(since, frozenset(row[order] for row in working), min((since, *times)))

    def _fill_due(self) -> None:
        """Request what the tables that are due have now, and what they may have missed in an interruption."""
        if self._is_closed or not self._is_live:
            return
        assert self._reference is not None or not self._tables, "without it no table is filled"
        self._tables = [each for each in self._tables if each.live.is_open]
        for each in self._tables:
            if each.is_due and self._reference is not None:
                each.is_due = False
                queries = self._reference.snapshot(each.subscription)
                steps = [partial(self._ask_for, each, [query], f"{at}") for at, query in enumerate(queries)]
                each.steps = deque([*steps, partial(self._ask_for_missing, each)])
                self._step(each)

    def _step(self, filled: _FilledTable) -> None:
        """Make the next request for a table, if any is left."""
        if filled.steps and not self._is_closed and filled.live.is_open:
            filled.steps.popleft()()

    def _failed(self, filled: _FilledTable, error: FeedError) -> None:
        """Report a request that failed, and repeat it after a pause if the connection failed; a refusal is final."""
        filled.steps.clear()
        if isinstance(error, ClosedError) or self._is_closed:
            return  # the feed's end
        what = f"{filled.live.kind} of {filled.live.account}" if filled.live.account else filled.live.kind
        problem = f"{what} could not be filled over HTTP, the stream goes on: {error}"
        self._link.report(problem)
        log.warning("%s", problem)
        if isinstance(error, ConnectError) and filled.failures < len(PAUSES):
            pause = PAUSES[filled.failures]
            filled.failures += 1
            self._arrivals.timer.at(self._arrivals.now + round(pause * SECOND), partial(self._again, filled))

    def _again(self, filled: _FilledTable, _instant: int) -> None:
        if not filled.steps:
            filled.is_due = True
            self._fill_due()

    def _ask_for_missing(self, filled: _FilledTable) -> None:
        """Request what an interruption may have left out from the broker's history, as no list of current rows has it.

        For example orders that ended meanwhile.
        """
        missing, log_, account = filled.missing, filled.fills, filled.live.account
        if missing is None:
            return
        if log_ is None:
            queries = self._history_of(account, missing)
            if queries:
                self._ask_for(filled, queries, "missed", missing)
            else:
                filled.missing = None
            return
        breaks = filled.live._source.store.breaks

        def taken(done: Future[None]) -> None:
            error = done.exception()
            if isinstance(error, FeedError):
                if filled.live._source.store.breaks == breaks:
                    self._failed(filled, error)
            elif filled.missing is missing:
                filled.missing = None

        # Beyond both ends, as clocks differ; known executions are recognised by their number.
        end = self._arrivals.now + MARGIN_NS
        self._ask_for_fills(log_, account, missing.since - MARGIN_NS, end).add_done_callback(taken)

    def _ask_for_fills(self, log: ReportedFillLog, account: str, start: int, end: int) -> Future[None]:
        """Request own executions in [start, end), in ns since the epoch, and insert them into their log."""
        reference = self._reference
        assert reference is not None, "the callers look"
        queries = reference.fill_history(account, start)
        columns = self._link.table_columns("fills")
        subscription = Subscription("fills", account, tuple(column.name for column in columns))

        def insert(reply: Reply[tuple[list[tuple[int, Values]], bool]]) -> None:
            self._pending -= 1
            rows, _ = reply.value()
            log.insert([TableRow(ts, reply.received, account, values) for ts, values in rows if start <= ts < end])

        self._pending += 1
        work = lambda get, _: self._requested(get, subscription, queries)  # noqa: E731
        return self._arrivals.answers.ask("fills", account, self._http.get, work, insert, lane=self)

    def _history_of(self, account: str, missing: _Missing) -> Sequence[Query]:
        assert self._reference is not None, "without it no table is filled"
        now = self._arrivals.now
        # The broker selects orders by when they were placed, which may be long before the break for working ones.
        start = max(min(missing.since, missing.placed) - MARGIN_NS, now - OLDEST_NS)
        return self._reference.order_history(account, start, now + MARGIN_NS)

    def _ask_for(
        self, filled: _FilledTable, queries: Sequence[Query], what: str, missing: _Missing | None = None
    ) -> None:
        """Send queries over HTTP and insert the rows of their replies into the table, then make the next request.

        With `missing`, only rows of orders that may have ended in that interruption; None inserts all. Inserts nothing
        where the stream broke after the request: changes between the reply and the stream would be missed, and all is
        requested again then. `what` tells the requests of a table from one another.
        """
        store = filled.live._source.store
        breaks = store.breaks

        def insert(reply: Reply[tuple[list[tuple[int, Values]], bool]]) -> None:
            self._pending -= 1
            # A replay asks for all that was ever asked for, perhaps once more than the feed did before the break.
            is_since = self._arrivals.answers.is_replay and reply.asked > self._broke_at
            if store.breaks != breaks and not is_since:
                return
            try:
                rows, is_full = reply.value()
            except FeedError as error:
                self._failed(filled, error)
                return
            if missing is not None:
                rows = [row for row in rows if self._is_missed(filled, missing, row[1])]
            completed = self._completing(filled)
            timed = [(ts or reply.received, completed(values)) for ts, values in rows]
            store.insert(FetchedRows(timed, reply.asked, reply.received, store.breaks, is_full))
            if missing is not None and filled.missing is missing:
                filled.missing = None
            self._step(filled)

        subscription = filled.subscription
        options = " ".join(f"{name}={value}" for name, value in subscription.options)
        key = f"{subscription.kind} {subscription.symbol} {options} {what}"
        self._pending += 1
        work = lambda get, _: self._requested(get, subscription, queries)  # noqa: E731
        self._arrivals.answers.ask("snapshot", key, self._http.get, work, insert, lane=self)

    def _completing(self, filled: _FilledTable) -> Callable[[Values], Values]:
        """Return a function that completes a row from HTTP: values that are NaN in it are taken from the streamed row.

        The streamed row is that of now. Applies to tables of one row, and to orders, of which the streamed row must
        have the same filled quantity; other rows are returned unchanged.
        """
        is_orders = filled.live.kind == "orders"
        if filled.live._source.store.key and not is_orders:
            return lambda values: values
        names = [column.name for column in filled.live.columns]
        places = [names.index(name) for name in ("order_id", "filled")] if is_orders else []
        streamed = {
            tuple(row.values[place] for place in places): row.values for row in filled.live._source.store.rows()
        }

        def completed(values: Values) -> Values:
            known = streamed.get(tuple(values[place] for place in places), values)
            pairs = zip(values, known, strict=True)
            return tuple(old if isinstance(new, Decimal) and new.is_nan() else new for new, old in pairs)

        return completed

    def _is_missed(self, filled: _FilledTable, missing: _Missing, values: Values) -> bool:
        """Return whether an order's row from the history may be news to the table, as its end was possibly missed.

        True for an order that was unfinished when the stream broke, and for one that was updated since then and after
        the table was made. `values` are the row's, in the order of the subscription's fields.
        """
        row: Mapping[str, Value] = dict(zip(filled.subscription.fields, values, strict=True))
        updated = row["updated"]
        assert isinstance(updated, int), "times are whole numbers"
        # A broker may truncate its times to whole seconds.
        return row["order_id"] in missing.working or updated >= max(missing.since - MARGIN_NS, filled.made - SECOND)

    def _requested(
        self, get: Get, subscription: Subscription, queries: Iterable[Query]
    ) -> tuple[list[tuple[int, Values]], bool]:
        """Send queries with `get`, follow all pages, and return (rows, whether they are all that the broker has).

        A row is a pair of exchange time (ns since the epoch, 0 where unknown) and values; the rows are sorted. Raises
        FeedError for a page that cannot be parsed, ConnectError or TokenError without a reply.
        """
        assert self._reference is not None, "the callers look"
        rows: list[tuple[int, Values]] = []
        is_full = True
        for first in queries:
            query: Query | None = first
            for _ in range(MOST_PAGES):
                if query is None or len(rows) > MOST_ROWS:
                    break
                body = get(query.path, dict(query.params))
                try:
                    page = self._reference.read(subscription, query, body)
                except ValueError as error:
                    raise FeedError(str(error), where=self._http.base + query.path) from error
                if page.unreadable:
                    reasons = ", ".join(sorted({each.reason for each in page.unreadable}))
                    log.warning("%s: %d parts cannot be parsed: %s", query.path, len(page.unreadable), reasons)
                rows += page.rows
                is_full = is_full and page.is_full
                query = page.following
            is_full = is_full and query is None
        rows.sort(key=lambda row: row[0])
        return rows, is_full

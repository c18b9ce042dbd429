"""HTTP snapshots of the user's tables, inserted into the live tables that the stream keeps current.

They are requested when a table is made, and for all tables after each interruption of the stream, to add what it
missed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import TypeVar

import pandas as pd

from aries_nb.brokers import AccountReference, Query
from aries_nb.errors import ClosedError, ConnectError, FeedError, UsageError
from aries_nb.live.connection import Link
from aries_nb.live.table import LiveTable
from aries_nb.model import NOT_A_TIME, Subscription, Value, Values
from aries_nb.net.background import on_network, run_on_thread
from aries_nb.net.http_client import HttpClient
from aries_nb.store import FetchedRows, ReportedFillLog, TableListener, TableRow
from aries_nb.store.values import RECEIPT, frame_of

__all__ = ["Snapshots"]

log = logging.getLogger("aries_nb")

T = TypeVar("T", bound=LiveTable)

SECOND = 1_000_000_000
MARGIN_NS = 60 * SECOND  # how far the broker's clock and ours may be apart round a gap
OLDEST_NS = 366 * 86_400 * SECOND  # an order that worked for longer is not looked for in the history
PAUSES = (5.0, 15.0, 60.0)  # seconds between retries of a failed request, until the next break
INSERT_SECONDS = 10.0
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
    nothing. `is_due`: a snapshot must be requested now. `has_failed`: the last request failed, and is repeated after a
    pause.
    """

    live: LiveTable
    subscription: Subscription
    made: int
    missing: _Missing | None
    fills: ReportedFillLog | None = None  # the log that takes past executions
    is_due: bool = True
    has_failed: bool = False


class Snapshots:
    """Requests the contents of the live tables of one connection over HTTP, on a thread of its own.

    Any thread may call. Where a request fails, the stream goes on; the feed's last error and the log name the table.
    """

    def __init__(self, link: Link, http: HttpClient, reference: AccountReference | None) -> None:
        self._link = link
        self._http = http
        self._reference = reference
        self._tables: list[_FilledTable] = []
        self._is_live = False
        self._is_working = False
        self._is_closed = False
        self._wake_event = threading.Event()
        self._guard = threading.Lock()  # of all of these; the network's thread takes it when the state changes
        self._undo = link.watch(self._look)
        self._look()

    def keep(self, live: T, *listeners: TableListener) -> T:
        """Keep a live table filled: insert HTTP snapshots now and after each interruption until it closes; return it.

        `listeners` are the listeners of `live`: a `ReportedFillLog` among them also gets the executions that happened
        during an interruption, from the broker's history. Only returns `live` where the broker has no snapshots.
        """
        if self._reference is None:
            return live
        fields = tuple(column.name for column in live.columns)
        subscription = Subscription(live.kind, live.account, fields, live._source.options)
        now = self._link.clock.now_ns()
        with self._guard:
            # Orders that end before the connection is back are missed as well.
            missing = None if self._is_live or live.kind != "orders" else _Missing(now, placed=now)
            fills = next((each for each in listeners if isinstance(each, ReportedFillLog)), None)
            self._tables.append(_FilledTable(live, subscription, now, missing, fills))
        self._wake()
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
        rows, _ = self._requested(subscription, queries)
        received = self._link.clock.now_ns()
        flat = [(ts or received, received, account, *values) for ts, values in rows]
        frame = frame_of((*RECEIPT, *columns), flat)
        # Two requested spans share their common end.
        frame = frame.drop_duplicates("order_id", keep="last").sort_values("created", kind="stable")
        return frame.set_index("order_id")

    def fill_history(self, account: str, start: int, end: int) -> list[TableRow]:
        """Return own executions in [start, end), oldest first, in the columns of the broker's table of them.

        Times are in ns since the epoch. Blocks. Raises UsageError where the broker has no history of executions,
        FeedError for a reply that cannot be parsed, ConnectError or TokenError without a reply.
        """
        queries = () if self._reference is None else self._reference.fill_history(account, start)
        if not queries:
            raise UsageError("this broker has no history of own executions", where=self._http.base)
        columns = self._link.table_columns("fills")
        subscription = Subscription("fills", account, tuple(column.name for column in columns))
        rows, _ = self._requested(subscription, queries)
        received = self._link.clock.now_ns()
        return [TableRow(ts, received, account, values) for ts, values in rows if start <= ts < end]

    def close(self) -> None:
        """Make no more requests; idempotent. A pending request ends when the HTTP client is closed."""
        self._undo()
        with self._guard:
            self._is_closed = True
            self._tables.clear()
        self._wake_event.set()

    # The network's thread, when the state changes; it must return at once.

    def _look(self) -> None:
        with self._guard:
            was_live, self._is_live = self._is_live, self._link.state == "live"
            is_broken, is_back = was_live and not self._is_live, self._is_live and not was_live
            for each in self._tables:
                each.is_due = each.is_due or is_back
                if is_broken and (each.live.kind == "orders" or each.fills is not None):
                    lost = self._lost(each.live)
                    each.missing = lost if each.missing is None else each.missing.and_(lost)
        self._wake()

    def _lost(self, orders: LiveTable) -> _Missing:
        """Return what a live table of orders or of executions may miss because its stream breaks now.

        It counts from the last message of the connection on.
        """
        assert self._reference is not None, "without it no table is filled"
        silence = self._link.statistics().silence_s
        since = self._link.clock.now_ns() - (round(silence * SECOND) if isfinite(silence) else 0)
        if orders.kind != "orders":
            return _Missing(since)
        names = [column.name for column in orders.columns]
        status, placed, order = (names.index(name) for name in ("status", "created", "order_id"))
        rows = [row.values for row in orders._source.store.rows()]
        working = [row for row in rows if not self._reference.is_finished(str(row[status]))]
        times = [int(at) for row in working if isinstance(at := row[placed], int) and at != NOT_A_TIME]
        return _Missing(since, frozenset(row[order] for row in working), min((since, *times)))

    def _wake(self) -> None:
        with self._guard:
            if self._is_closed or not self._is_live or not any(each.is_due for each in self._tables):
                return
            must_begin, self._is_working = not self._is_working, True
        self._wake_event.set()
        if must_begin:
            run_on_thread(self._work, name="aries-nb-snapshots")

    # The thread that requests.

    def _work(self) -> None:
        """Request snapshots of all tables that are due; repeat failed requests after pauses, a limited number of times.

        Tables that are registered meanwhile are filled as well. The body of the snapshots' thread, which ends with it.
        """
        pauses = iter(PAUSES)
        while True:
            self._wake_event.clear()
            try:
                for filled in self._due():
                    self._fill(filled)
            except ClosedError:
                pass  # the feed's end
            except Exception:  # the border of the thread: the tables stay as they are until the next break
                log.exception("snapshots")
            with self._guard:
                if any(each.is_due for each in self._tables) and self._is_live and not self._is_closed:
                    continue
                pause = next(pauses, None) if any(each.has_failed for each in self._tables) else None
                if pause is None or self._is_closed:
                    self._is_working = False
                    return
            self._wake_event.wait(pause)
            with self._guard:
                for each in self._tables:
                    each.is_due, each.has_failed = each.is_due or each.has_failed, False

    def _due(self) -> Iterator[_FilledTable]:
        while True:
            with self._guard:
                self._tables = [each for each in self._tables if each.live.is_open]
                due = next((each for each in self._tables if each.is_due), None)
                if due is None or not self._is_live or self._is_closed:
                    return
                due.is_due = due.has_failed = False
            yield due

    def _fill(self, filled: _FilledTable) -> None:
        """Request the current contents of a table, and what it may have missed in an interruption, and insert both.

        Does not raise where a request fails: the error is logged and becomes the feed's last error, and a request
        without a connection is marked to be repeated. Raises ClosedError where the feed was closed.
        """
        assert self._reference is not None, "without it no table is filled"
        what = f"{filled.live.kind} of {filled.live.account}" if filled.live.account else filled.live.kind
        try:
            for query in self._reference.snapshot(filled.subscription):
                self._ask_for(filled, [query])
            missing = filled.missing
            if missing is not None:
                is_whole = self._fill_missing(filled, missing)
                with self._guard:
                    if is_whole and filled.missing is missing:
                        filled.missing = None
        except ClosedError:
            raise
        except FeedError as error:
            # A refusal is final; a failed connection is tried again.
            filled.has_failed = isinstance(error, ConnectError)
            problem = f"{what} could not be filled over HTTP, the stream goes on: {error}"
            self._link.report(problem)
            log.warning("%s", problem)

    def _fill_missing(self, filled: _FilledTable, missing: _Missing) -> bool:
        """Request what `missing` names from the broker's history, as no list of current rows has it, and insert it.

        For example orders that ended during the interruption. Returns False where the stream broke again after the
        request, so that the reply was not inserted; else True, also where the broker has no history.
        """
        log, account = filled.fills, filled.live.account
        if log is None:
            queries = self._history_of(account, missing)
            return not queries or self._ask_for(filled, queries, missing)
        # Beyond both ends, as clocks differ; known executions are recognised by their number.
        rows = self.fill_history(account, missing.since - MARGIN_NS, self._link.clock.now_ns() + MARGIN_NS)
        on_network(lambda: log.insert(rows)).result(INSERT_SECONDS)
        return True

    def _history_of(self, account: str, missing: _Missing) -> Sequence[Query]:
        assert self._reference is not None, "without it no table is filled"
        now = self._link.clock.now_ns()
        # The broker selects orders by when they were placed, which may be long before the break for working ones.
        start = max(min(missing.since, missing.placed) - MARGIN_NS, now - OLDEST_NS)
        return self._reference.order_history(account, start, now + MARGIN_NS)

    def _ask_for(self, filled: _FilledTable, queries: Iterable[Query], missing: _Missing | None = None) -> bool:
        """Send queries over HTTP and insert the rows of their replies into the table.

        With `missing`, only rows of orders that may have ended in that interruption; None inserts all. Returns False,
        and inserts nothing, where the stream is not live or broke after the request; else True.
        """
        breaks, asked = filled.live._source.store.breaks, self._link.clock.now_ns()
        if self._link.state != "live":
            return False  # changes between the reply and the stream would be missed; it is requested again then
        rows, is_full = self._requested(filled.subscription, queries)
        if missing is not None:
            rows = [row for row in rows if self._is_missed(filled, missing, row[1])]
        received = self._link.clock.now_ns()
        completed = self._completing(filled)
        timed = [(ts or received, completed(values)) for ts, values in rows]
        answer = FetchedRows(timed, asked, received, breaks, is_full)
        return on_network(lambda: filled.live._source.store.insert(answer)).result(INSERT_SECONDS)

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

    def _requested(self, subscription: Subscription, queries: Iterable[Query]) -> tuple[list[tuple[int, Values]], bool]:
        """Send queries over HTTP, follow all pages, and return (rows, whether they are all that the broker has).

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
                body = self._http.get(query.path, dict(query.params))
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

"""`LivePositions`: the positions of an account, valued at the feed's own quotes (`account.positions`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cached_property
from typing import Any, Self

import pandas as pd

from aries_nb.errors import WaitTimeoutError
from aries_nb.live.account.marks import (
    FrameQuotes,
    LiveMarks,
    MarkQuotes,
    Quotes,
    marks_of,
    prices_of,
    with_bonds,
    without,
)
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject
from aries_nb.live.moments.parts import FrameSnapshot, Moment
from aries_nb.live.moments.tables import TableSnapshot
from aries_nb.live.table import LiveTable, TableSource
from aries_nb.live.waiting import wait_for, wait_for_async
from aries_nb.model import Column, Kind, TableData
from aries_nb.model.clock import elapsed
from aries_nb.model.contracts import OPTION_MULTIPLIER, implied_multiplier, is_option_symbol
from aries_nb.store import UNKNOWN, ZERO, Held, Mark, SplitWatch, Table, exactly
from aries_nb.store.log import RowChange, by_name

__all__ = [
    "LivePositions",
    "PositionsSnapshot",
    "PositionsSource",
    "SeenMultipliers",
    "cost_of",
    "holdings",
    "is_margined",
    "is_money",
    "marked",
    "multiplier_of",
]

FIRST_MARKS_SECONDS = 3.0  # since it was made: the longest wait for quotes of the instruments held
MARK_COLUMNS = (Column("mark_price", "decimal"), Column("mark_pnl", "decimal"))


class LivePositions(LiveTable):
    """The broker's table of positions, one row each, with their value at the marks of the feed's own quotes.

    `mark_price` (see `account.equity`) and `mark_pnl` (the unrealised P&L at it) are computed by this library; `price`
    and `unrealized_pnl` are the broker's. The computed ones are NaN until the first quote of an instrument, while its
    quotes are not live, and where neither its sides nor its last price are believable. Quotes of the instruments held
    are subscribed to from the beginning, and `wait` waits for the first ones as well, for three seconds at most, as an
    instrument may have none. Quantities are in shares or contracts, never lots. Some brokers list money as positions
    (`is_currency` "true"); its price and P&L are the broker's. Any thread may read. `quotes` are those of
    which marks are made.
    """

    def __init__(
        self,
        quotes: MarkQuotes,
        link: Link,
        callbacks: Callbacks,
        kind: Kind,
        account: str,
        **options: Any,  # noqa: ANN401 - those of every table
    ) -> None:
        super().__init__(link, callbacks, kind, account, **options)
        self._made_at = elapsed()
        self._marks = LiveMarks(self._held_now, self._watches[0], quotes, callbacks.worker(), link.arrivals, account)

    @property
    def df(self) -> pd.DataFrame:
        """The current positions at the current quotes, index `symbol`; a snapshot that belongs to the caller."""
        frame = super().df
        rows: dict[object, dict[str, Any]] = {row["symbol"]: row for row in self.rows()}
        for name, _ in MARK_COLUMNS:
            frame[name] = [float(rows[symbol][name]) if symbol in rows else float("nan") for symbol in frame.index]
        return frame

    def rows(self) -> list[dict[str, object]]:
        """Return the current positions as dictionaries, with money and quantities as exact decimal.Decimal.

        `mark_price` and `mark_pnl`, computed from the feed's own quotes, are among them.
        """
        marks = self._marks.now()
        return [row | marked(row, marks) for row in super().rows()]

    def wait(self, *, changes: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `changes` rows were added or changed, and all instruments held have a price of the feed's quotes.

        It waits for prices until three seconds after the table was made at most. `timeout` is in seconds, None for no
        limit; returns this object. Raises WaitTimeoutError where rows are missing, not for prices; ClosedError, or the
        error that ended the feed.
        """
        begun = elapsed()
        super().wait(changes=changes, timeout=timeout)
        with suppress(WaitTimeoutError):
            left = self._marks_left(begun, timeout)
            wait_for(self._is_marked, (self._watches[0], self._marks.watch), timeout=left, what="marks")
        return self

    async def until(self, *, changes: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that `changes` rows were added or changed, and all instruments held have a price of the feed's quotes.

        `wait` for async code: the event loop keeps running. It waits for prices until three seconds after the table was
        made at most. `timeout` is in seconds, None for no limit; returns this object. Raises WaitTimeoutError where
        rows are missing, not for prices; ClosedError, or the error that ended the feed.
        """
        begun = elapsed()
        await super().until(changes=changes, timeout=timeout)
        with suppress(WaitTimeoutError):
            left = self._marks_left(begun, timeout)
            await wait_for_async(self._is_marked, (self._watches[0], self._marks.watch), timeout=left, what="marks")
        return self

    def close(self) -> None:
        """Stop the stream and the quotes; idempotent. Data received so far stays readable."""
        self._marks.close()
        super().close()

    @property
    def _source(self) -> PositionsSource:
        check = self._check_coming
        return PositionsSource(self, self._table, self._gap_selection, self._options, check=check, marks=self._marks)

    def _captured(self, moment: Moment) -> PositionsSnapshot:
        quotes = [frame._captured(moment) for frame in self._marks.every_frame]  # noqa: SLF001 - of live objects
        splits = self._marks.splits if moment.until is None else SplitWatch()
        return PositionsSnapshot(self.account, self._table, moment, quotes, splits)

    @property
    def _uses(self) -> tuple[LiveObject, ...]:
        return self._marks.frames

    def _marks_left(self, begun: float, timeout: float | None) -> float:
        """Return how long `wait` may still wait for the first prices of the feed's quotes, in seconds.

        `begun` is the time by the monotonic clock at which it was called, `timeout` its argument.
        """
        now = elapsed()
        until = self._made_at + FIRST_MARKS_SECONDS if timeout is None else begun + timeout
        return max(min(until, self._made_at + FIRST_MARKS_SECONDS) - now, 0.0)

    def _is_marked(self) -> bool:
        return not self.is_live or self._marks.now().keys() >= self._held().keys()

    def _held(self) -> dict[str, Held]:
        return self._held_now()()

    def _held_now(self) -> Callable[[], dict[str, Held]]:
        rows, columns = self._table.rows(), self._table.columns
        return lambda: {symbol: held for symbol, held in holdings(by_name(rows, columns)).items() if held.quantity}


class PositionsSource(TableSource):
    """The data of positions for views and other live objects: the broker's table, and prices of the feed's own quotes.

    Any thread. `table` are the arguments of a `TableSource`, `check` too; `marks` has the prices.
    """

    def __init__(self, *table: Any, check: Callable[[], None], marks: LiveMarks) -> None:  # noqa: ANN401
        super().__init__(*table, check=check)
        self.marks = marks

    @property
    def version(self) -> int:
        """A number that grows with every change of a row and every quote, and changes with the state of the feed."""
        return super().version + (0 if self._moved() is not None else 2 * self.marks.version)

    def table(self) -> TableData:
        """Return the positions at the quotes, of now or of the moment at which the feed's views stand, for views."""
        data, past = super().table(), self._moved()
        columns = (*data.columns, *MARK_COLUMNS)
        names = [column.name for column in data.columns]
        marks = self.marks.now() if not isinstance(past, PositionsSnapshot) else past.prices if past.is_held else {}
        valued = (marked(dict(zip(names, row, strict=True)), marks) for row in data.rows)
        rows = tuple((*row, *ours.values()) for row, ours in zip(data.rows, valued, strict=True))
        return TableData(data.title, columns, rows, data.key, is_stale=data.is_stale, note=data.note)


class PositionsSnapshot(TableSnapshot):
    """The positions of an account as they were at one moment, valued at the quotes of then. Any thread.

    `quotes` are the frames of quotes of which marks are made, the first that has a price counts.
    """

    def __init__(
        self, account: str, table: Table, moment: Moment, quotes: Sequence[FrameSnapshot], splits: SplitWatch
    ) -> None:
        super().__init__("positions", account, table, moment)
        self._quotes = quotes
        self._splits = splits

    @cached_property
    def marks(self) -> dict[str, Mark]:
        """The mark of each instrument quoted, or the reason why it had none."""
        others = self._moment.quotes if self._moment.until is not None else ()
        every = dict.fromkeys((*self._quotes, *others))
        marks = marks_of(Quotes([_quotes_of(each) for each in every if each.is_held], ()))
        lost = (symbol for each in every if not each.is_held for symbol in each.symbols)
        marks = dict.fromkeys(lost, Mark(UNKNOWN, "its quotes are not held so far back")) | marks
        prices, lasts = prices_of(marks)
        held = with_bonds(holdings(self.rows()), marks)
        return without(marks, self._splits.doubtful(held, prices, self._moment.now, lasts=lasts))

    @property
    def prices(self) -> dict[str, Decimal]:
        """The mark of each instrument that had one, in exact decimals."""
        return {symbol: mark.price for symbol, mark in self.marks.items() if mark.price.is_finite()}

    @property
    def df(self) -> pd.DataFrame:
        """The positions at the quotes of then, with `mark_price` and `mark_pnl`, index `symbol`."""
        frame, marks = super().df, self.prices
        values = {row["symbol"]: marked(row, marks) for row in self.rows()}
        for name in ("mark_price", "mark_pnl"):
            frame[name] = [float(values[symbol][name]) for symbol in frame.index]
        return frame


class SeenMultipliers:
    """The multipliers of positions with these columns, also of those that were closed; listens to their table."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [column.name for column in columns]
        self._known: dict[str, Decimal] = {}

    def take(self, changes: Sequence[RowChange]) -> None:
        """Remember the multipliers of changed rows; the table's thread."""
        for change in changes:
            row = dict(zip(self._names, change.row.values, strict=True))
            symbol, multiplier = str(row["symbol"]), multiplier_of(row)
            if multiplier.is_finite() or symbol not in self._known:
                self._known[symbol] = multiplier

    def restart(self) -> None:
        """Know none again, because a replay begins anew."""
        self._known = {}

    def now(self) -> dict[str, Decimal]:
        """Return the newest known multiplier of each instrument, NaN where none is known; any thread."""
        return dict(self._known)


def is_money(row: Mapping[str, object]) -> bool:
    """Return whether a row of a table of positions is an amount of money, which has no quotes."""
    return row.get("is_currency") == "true"


def multiplier_of(row: Mapping[str, Any]) -> Decimal:
    """Return the contract multiplier of a position: what one unit of its price is worth, for one unit of quantity.

    The broker's column `multiplier`, NaN where it is not known. Where the broker has none: that of the symbol of an
    option, else what the broker's price and value imply, else 1.
    """
    sent = row.get("multiplier")
    if isinstance(sent, Decimal):
        return sent
    if is_option_symbol(str(row["symbol"])):
        return OPTION_MULTIPLIER
    found = implied_multiplier(*(Decimal(row[name]) for name in ("market_value", "quantity", "price")))
    return found if found.is_finite() else Decimal(1)


def is_margined(row: Mapping[str, object]) -> bool:
    """Return whether a row of a table of positions is of an instrument that is not paid for, such as a future."""
    return row.get("is_margined") == "true"


def cost_of(row: Mapping[str, Any]) -> Decimal | None:
    """Return the broker's value of a position at its average price, which is not rounded as the average is.

    None where it has none.
    """
    cost, quantity, price = row.get("cost_basis"), row["quantity"], row["average_price"]
    if not isinstance(cost, Decimal) or not (cost.is_finite() and quantity.is_finite()) or not cost:
        return None
    is_negative = (quantity < 0) != (price.is_finite() and price < 0)
    return cost.copy_abs().copy_negate() if is_negative else cost.copy_abs()


def holdings(rows: Sequence[Mapping[str, Any]]) -> dict[str, Held]:
    """Return what is held of each instrument, by the rows of a table of positions."""
    found = {}
    for row in rows:
        cost, quantity = cost_of(row), row["quantity"]
        if cost is None:
            with exactly():
                cost = quantity * row["average_price"]
        is_other = is_margined(row) or is_option_symbol(str(row["symbol"]))
        is_share = not is_other and str(row.get("security_type", "")).upper() in ("", "EQUITY")
        if not is_money(row):
            found[str(row["symbol"])] = Held(quantity, cost, is_share)
    return found


def marked(row: Mapping[str, Any], marks: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return a position's `mark_price` (price of the feed's own quotes) and `mark_pnl` (unrealised P&L at it), by name.

    `row` is the broker's record, `marks` the prices by symbol; both values are NaN for an instrument that `marks`
    lacks. The P&L of a closed position is 0. Money has the broker's price and P&L.
    """
    if is_money(row):
        return {"mark_price": row["price"], "mark_pnl": row["unrealized_pnl"]}
    mark = marks.get(row["symbol"], UNKNOWN)
    if not row["quantity"]:
        return {"mark_price": mark, "mark_pnl": ZERO}
    with exactly():
        profit = (mark - row["average_price"]) * row["quantity"] * multiplier_of(row)
    return {"mark_price": mark, "mark_pnl": profit}


def _quotes_of(frame: FrameSnapshot) -> FrameQuotes:
    newest = frame.rows.board(is_stale=not frame.is_live)
    return FrameQuotes(newest, newest.symbols if newest.is_stale else frame.from_before_a_gap(), frame.rows.rows(0))

"""Computes the equity of an account at the feed's own quotes, and attributes its changes to causes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aries_nb.live.account.fills import LiveFills
from aries_nb.live.account.marks import Quotes, marks_of, mid_at, prices_of, with_bonds, without
from aries_nb.live.account.positions import (
    LivePositions,
    cost_of,
    holdings,
    is_margined,
    is_money,
    multiplier_of,
)
from aries_nb.live.account.sampling import Sampling
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.table import LiveTable
from aries_nb.model import Column, EquityData, GapSpan, Observers, TableData, Values
from aries_nb.model.settings import settings
from aries_nb.net.events.arrivals import Arrivals, Use
from aries_nb.store import (
    CASH,
    PRICE_AHEAD,
    SETTLING_NS,
    UNKNOWN,
    ZERO,
    Attribution,
    Contribution,
    Fill,
    Mark,
    Portfolio,
    Reconciliation,
    SplitWatch,
    equity,
    exactly,
    open_portfolio,
    unmarked,
)
from aries_nb.store.log import TableRow, by_name

__all__ = [
    "CAUSES",
    "TOTAL",
    "EquitySource",
    "LearnedTerms",
    "Moment",
    "books_of",
    "broker_sums",
    "explained_rows",
    "reasons_of",
]

MOST_SAMPLES = 20_000
FIRST_NS = 3_000_000_000  # the longest wait for lists of positions and orders and for a price of each instrument
TOTAL = "total"
ACCRUED_STEP = Decimal("1e-12")  # the accrued interest of one unit, out of that of a fill, is rounded to this
SAME = Decimal("0.005")  # a smaller difference from the broker's equity is one of rounding
_NO_QUOTE = Mark(UNKNOWN, "no quote yet")
CAUSES = ("price_move", "trade", "fee", "unexplained")


class Moment(NamedTuple):
    """A computation of equity: its time `ts` (ns since the epoch), equity, the broker's equity, and cash.

    `attribution` is what changed equity from the first computation with known sums until this one. `taken` is the
    number of fills (own executions) that had arrived when it was made.
    """

    ts: int
    equity: Decimal
    broker_equity: Decimal
    cash: Decimal
    attribution: Attribution
    taken: int


class _Inputs(NamedTuple):
    """All that equity is computed of, as it was at the instant `ts` of market time; none of it changes later.

    `fills` are those that had arrived since the instant before, `taken` the number of all. `is_early`: less than three
    seconds after the computation began.
    """

    ts: int
    positions: Sequence[TableRow]
    balances: Sequence[TableRow]
    fills: Sequence[Fill]
    taken: int
    quotes: Quotes
    is_early: bool


class EquitySource:
    """Computes equity on a thread of its own and attributes its changes to causes; read by views and live objects.

    Each computation is of an instant of market time, a multiple of 0.2 s, and of what had arrived by then.

    `opening` is the computation from which changes are attributed, `now` the newest computation since then; both are
    None before attribution begins. `known` is the number of computations since then whose equity is known.
    """

    def __init__(
        self, positions: LivePositions, balances: LiveTable, fills: LiveFills, arrivals: Arrivals, callbacks: Callbacks
    ) -> None:
        self._arrivals = arrivals
        self._positions = positions
        self._balances = balances
        self._fills = fills
        self.marks = positions._source.marks
        self._samples: deque[tuple[int, float, float]] = deque(maxlen=MOST_SAMPLES)
        self._learned = LearnedTerms()
        self.unmarked: tuple[str, ...] = ()
        self.reasons: dict[str, str] = {}
        self.known = 0  # moments
        self._observers = Observers()
        self._guard = threading.Lock()
        self._made_at: int | None = None
        self._captured = 0  # fills
        self._unused: list[Fill] = []  # fills of instants that were not computed, or before attribution began
        self._due: int | None = None  # the instant of a decision that needs no change
        self._splits = SplitWatch()
        self._reconciliation: Reconciliation | None = None
        self.opening: Moment | None = None  # from when on there is an attribution
        self.now: Moment | None = None  # the newest moment after it
        self.unpriced: tuple[str, ...] = ()
        self._is_closed = False
        # A thread of its own: a user's callbacks may block.
        self._callbacks = callbacks.worker()
        self._sampling = Sampling(arrivals, self._callbacks, self._capture, self._compute)
        self._undo = [
            source.watch(self._sampling.changed)
            for source in (positions._source, balances._source, fills._source, self.marks)
        ]
        self._undo.append(arrivals.restarted.add(self._restart))
        arrivals.do(self._ask_to_begin)

    def worker(self) -> Callbacks:
        """Return callbacks with a thread of their own, for work on the computed values; it ends with the feed."""
        return self._callbacks.worker()

    @property
    def is_computed(self) -> bool:
        """Whether all instants of which the inputs were taken have been computed."""
        return self._sampling.is_computed

    @property
    def version(self) -> int:
        """A number that grows with every computation: its time, ns since the epoch; 0 before the first."""
        return self._samples[-1][0] if self._samples else 0

    def equity(self) -> EquityData:
        """Return the newest 20,000 computations of equity as arrays, and the change of equity by instrument and cause.

        The change is that since attribution began; empty before.
        """
        with self._guard:
            samples = list(self._samples)
        ts, ours, theirs = zip(*samples, strict=True) if samples else ((), (), ())
        by_cause = tuple(
            (name, tuple(map(float, values[:-1]))) for name, values in explained_rows(self.attribution)[:-1]
        )
        return EquityData(np.array(ts, "int64"), np.array(ours, "f8"), np.array(theirs, "f8"), CAUSES, by_cause)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps of quotes, balances and positions, oldest first.

        Spans that overlap are merged.
        """
        return _merged(
            [*self.marks.gap_spans(), *self._balances._source.gap_spans(), *self._positions._source.gap_spans()]
        )

    def table(self) -> TableData:
        """Return the values of `LiveEquity.explained` in exact decimals as a table for views."""
        columns = (Column("symbol", "text"), *(Column(name, "decimal") for name in (*CAUSES, TOTAL)))
        rows: tuple[Values, ...] = tuple((name, *values) for name, values in explained_rows(self.attribution))
        opening, unpriced = self.opening, self.unpriced
        note = "" if opening is None else f"since {settings.clock(opening.ts)}"
        note += "".join(f"; {name} not known: {reason}" for name, reason in self.reasons.items())
        note += "".join(f"; assumed of {name}: {text}" for name, text in self._assumed_now().items())
        note += f"; fills without a price: {', '.join(unpriced)}" if unpriced else ""
        return TableData(
            "What moved it", columns, rows, ("symbol",), is_stale=self._positions.is_stale, note=note.removeprefix("; ")
        )

    def moments(self, after: int) -> list[tuple[int, float]]:
        """Return (time in ns since the epoch, equity) of each computation later than `after`, oldest first.

        Only those since attribution began, and with a known equity.
        """
        found: list[tuple[int, float]] = []
        opening = self.opening
        with self._guard:
            for ts, ours, _ in reversed(self._samples):
                if ts <= after or opening is None or ts < opening.ts:
                    break
                found.append((ts, ours))
        return [(ts, ours) for ts, ours in reversed(found) if ours == ours]

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each computation, on the thread that computes, and once by `close`.

        It must return at once. Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    @property
    def is_open(self) -> bool:
        """Whether neither this object nor a table that equity is computed from was closed."""
        sources = (self._positions, self._balances, self._fills, self._fills.source)
        return not self._is_closed and all(source.is_open for source in sources)

    def books(self) -> Portfolio:
        """Return the broker's current cash and positions in exact decimals."""
        store = self._balances._source.store
        cash, _ = broker_sums(store.rows(), store.columns)
        return books_of(self._positions.rows(), self.marks.all(), cash, self._learned)

    def missing(self) -> dict[str, str]:
        """Return what makes equity unknown now, and why, in a few words."""
        if not len(self._balances):
            return {CASH: "the broker has sent no balance"}
        if not self._positions._source.is_answered:
            return {"positions": "the broker has sent none"}
        return dict(self.reasons)

    def assumptions(self) -> dict[str, str]:
        """Return what equity assumes where the broker's documents leave it open, by instrument and "cash"."""
        found = {}
        rows, marks = self._positions.rows(), self.marks.all()
        for row in rows:
            symbol = str(row["symbol"])
            interest = marks.get(symbol, _NO_QUOTE).accrued
            has_interest = interest.is_finite()
            rate = multiplier_of(row) if "is_currency" in row else UNKNOWN  # of a broker with several currencies
            is_bond = bool(self._learned.accrued.get(symbol) or (has_interest and interest))
            if row["quantity"] and is_margined(row):
                found[symbol] = "its variation margin counts from its average price"
            elif row["quantity"] and self._learned.accrued.get(symbol) and not has_interest:
                found[symbol] = "its accrued interest is that of the newest own execution"
            elif row["quantity"] and not is_bond and rate.is_finite() and rate != 1:  # a share in another currency
                found[symbol] = f"a unit of its price is worth {rate.normalize():f}, the exchange rate at its purchase"
        if _is_cash_derived(rows):
            found[CASH] = "the broker's value of the portfolio less that of its positions"
        return found

    def _assumed_now(self) -> dict[str, str]:
        """Return what equity assumes, if it differs from the broker's."""
        now = self.now
        has_both = now is not None and now.equity.is_finite() and now.broker_equity.is_finite()
        is_same = not has_both or now is None or abs(now.equity - now.broker_equity) < SAME
        return {} if is_same else self.assumptions()

    def check_coming(self) -> None:
        """Raise the error that ended the feed, or ClosedError, if no more changes can arrive; else return."""
        self._balances._source.check_coming()

    @property
    def attribution(self) -> Attribution:
        """The change of equity by instrument and cause since attribution began; empty before that."""
        return Attribution({}) if self.now is None else self.now.attribution

    def fills_between(self, opening: Moment, now: Moment) -> pd.DataFrame:
        """Return the fills that had not arrived at the computation `opening` but had at `now`, as `account.fills.df`.

        Only those that count in the attribution: older ones in the broker's lists of all fills do not.
        """
        fills, end = self._fills._source.entries_since(opening.taken)
        numbered = zip(range(end - len(fills), end), fills, strict=True)
        counted = [number for number, fill in numbered if number < now.taken and self._is_counted(fill)]
        return self._fills.df.loc[lambda rows: rows.index.isin(counted)]

    def close(self) -> None:
        """Stop computing; what was computed so far stays readable. Idempotent."""
        self._is_closed = True
        self._sampling.close()
        self._callbacks.close()
        for undo in self._undo:
            undo()
        self._observers.notify()  # waiting threads find it closed

    # The network's thread.

    def _ask_to_begin(self) -> None:
        """Begin now; in a replay when equity began in the recording, if it did."""
        name = f"equity {self._positions.account}"
        self._arrivals.used_by(name, self._begin)
        if name not in self._arrivals.recorded:
            self._arrivals.use(Use(name))

    def _begin(self, _: Use) -> None:
        if self._made_at is None:
            self._made_at = self._arrivals.now
            self._sampling.changed()

    def _restart(self) -> None:
        self._made_at, self._captured = None, 0
        self._sampling.restart(self._forget)

    def _capture(self, instant: int) -> _Inputs | None:
        """Return what equity is computed of; None before the broker has sent it."""
        balances = self._balances._source.store.rows()
        if not balances or self._made_at is None:
            return None
        is_early = instant - self._made_at < FIRST_NS
        if is_early and not (self._positions._source.is_answered and self._fills._source.is_answered):
            return None  # cash without positions is not the equity
        fills, taken = self._fills._source.entries_since(self._captured)
        self._captured = taken
        positions = self._positions._source.store.rows()
        return _Inputs(instant, positions, balances, fills, taken, self.marks.quotes(instant), is_early)

    # The callbacks' thread.

    def _forget(self) -> None:
        """Know nothing again, because a replay begins anew."""
        self._splits, self._reconciliation, self._due, self._unused = SplitWatch(), None, None, []
        self._learned = LearnedTerms()
        self.opening = self.now = None
        self.unpriced, self.known = (), 0
        with self._guard:
            self._samples.clear()
            self.unmarked, self.reasons = (), {}
        self._observers.notify()

    def _compute(self, inputs: _Inputs, has_changed: bool) -> None:  # noqa: FBT001 - see `Sampling`
        self._unused += inputs.fills
        ts, fills = inputs.ts, self._unused
        if not has_changed and (self._due is None or ts < self._due):
            return
        self._due = None
        if self._reconciliation is not None:
            self._unused = []
        self._learned.take(fills)
        rows = by_name(inputs.positions, self._positions._source.store.columns)
        every = marks_of(inputs.quotes)
        prices, lasts = prices_of(every)
        held, traded = with_bonds(holdings(rows), every), self._traded(fills)
        doubtful, splits = self._splits.take(held, prices, ts, lasts=lasts, traded=traded)
        if PRICE_AHEAD in doubtful.values():
            self._decide_after(ts, SETTLING_NS)
        every = without(every, doubtful)
        marks = {symbol: mark.price for symbol, mark in every.items() if mark.price.is_finite()}
        cash, theirs = broker_sums(inputs.balances, self._balances._source.store.columns)
        books = books_of(rows, every, cash, self._learned)
        ours = equity(books, marks)
        reasons = reasons_of(books, unmarked(books, marks), every)
        missing = tuple(reasons)
        now = Moment(ts, ours, theirs, books.cash, Attribution({}), inputs.taken)
        underway: dict[str, Decimal] = {}
        if self._reconciliation is not None:
            unmeasured = {*doubtful, *(split.symbol for split in splits)}
            measured = self._measured(fills, unmeasured, inputs.quotes)
            self._reconciliation.take(books, marks, measured, ts, splits=splits)
            pause = self._reconciliation.pause(ts)
            self._decide_after(ts, None if pause is None else round(pause * 1e9))
            underway = self._reconciliation.underway(ts)
            with exactly():
                cash = books.cash - underway.get(CASH, ZERO)
                now = now._replace(equity=ours - sum(underway.values()), cash=cash)
        elif self._can_begin(books, missing, is_early=inputs.is_early):
            self._reconciliation = Reconciliation(books, marks)
            self.opening = now
            self._unused = []
        if self._reconciliation is not None:
            self.now = now._replace(attribution=self._reconciliation.attribution(underway))
        with self._guard:
            self._samples.append((now.ts, float(now.equity), float(theirs)))
            # Not before: a reader of a name here finds the equity that it makes unknown.
            self.unmarked, self.reasons = missing, reasons
        self.known += ours.is_finite() and self.opening is not None
        self._observers.notify()

    def _decide_after(self, ts: int, pause: int | None) -> None:
        """Compute again `pause` ns after the instant `ts` if nothing changes until then; None for not."""
        if pause is not None:
            self._due = ts + pause if self._due is None else min(self._due, ts + pause)

    def _can_begin(self, books: Portfolio, missing: Sequence[str], *, is_early: bool) -> bool:
        """Return whether attribution of changes can begin with `books`: the cash and all quantities held are known.

        While `is_early` (the first seconds after this object was made) the prices of all instruments held must be known
        too.
        """
        is_known = all(held.quantity.is_finite() for held in books.positions.values())
        return books.cash.is_finite() and is_known and not (is_early and bool(missing))

    def _measured(self, fills: Sequence[Fill], unmeasured: Collection[str], quotes: Quotes) -> list[Fill]:
        """Return those of `fills` that count since attribution began, with `mid`, our quotes' mid-price at their time.

        `mid` stays NaN for a fill that may stand for several executions, as their times are unknown, and where the
        price is that of before or after a split: of the instruments `unmeasured`. The instruments of fills without a
        price are added to `unpriced`.
        """
        counted = [_fee_alone(fill) if fill.is_currency else fill for fill in fills if self._is_counted(fill)]
        unpriced = (fill.symbol for fill in counted if not fill.price.is_finite())
        self.unpriced = tuple(dict.fromkeys((*self.unpriced, *unpriced)))
        return [
            fill
            if fill.is_combined or fill.symbol in unmeasured
            else fill._replace(mid=mid_at(quotes, fill.symbol, fill.ts))
            for fill in counted
        ]

    def _traded(self, fills: Sequence[Fill]) -> dict[str, Decimal]:
        """Return by how much fills change the quantity held of each instrument."""
        sums: dict[str, Decimal] = {}
        with exactly():
            for fill in fills:
                if self._is_counted(fill) and not fill.is_currency:
                    sums[fill.symbol] = sums.get(fill.symbol, ZERO) + fill.signed
        return sums

    def _is_counted(self, fill: Fill) -> bool:
        """Return whether a fill counts in the attribution; the broker's lists of all fills have older ones too.

        True for a streamed fill, and for one from a list or derived from one if its time is not before the opening.
        """
        return not (fill.is_combined or fill.is_listed) or (self.opening is not None and fill.ts >= self.opening.ts)


class LearnedTerms:
    """What fills say of their instruments, where neither the position nor the quotes say it.

    `multipliers` by symbol, and `accrued`, the accrued interest of one unit.
    """

    def __init__(self, fills: Iterable[Fill] = ()) -> None:
        self.multipliers: dict[str, Decimal] = {}
        self.accrued: dict[str, Decimal] = {}
        self.take(fills)

    def take(self, fills: Iterable[Fill]) -> None:
        """Learn from further fills."""
        for fill in fills:
            if fill.multiplier is not None and fill.multiplier.is_finite():
                self.multipliers[fill.symbol] = fill.multiplier
            if fill.accrued:
                with exactly():
                    self.accrued[fill.symbol] = abs(fill.accrued / fill.quantity).quantize(ACCRUED_STEP)


def books_of(
    table: Sequence[Mapping[str, Any]], marks: Mapping[str, Mark], cash: Decimal, learned: LearnedTerms
) -> Portfolio:
    """Return the broker's cash and the positions in `table`; `marks` have the accrued interest."""
    rows = {str(row["symbol"]): row for row in table if not is_money(row)}
    holdings = {symbol: (_decimal(row["quantity"]), _decimal(row["average_price"])) for symbol, row in rows.items()}
    multipliers, accrued = {}, {}
    for symbol, row in rows.items():
        multiplier, interest = multiplier_of(row), marks.get(symbol, _NO_QUOTE).accrued
        multipliers[symbol] = multiplier if multiplier.is_finite() else learned.multipliers.get(symbol, multiplier)
        accrued[symbol] = interest if interest.is_finite() else learned.accrued.get(symbol, ZERO)
    margined = [symbol for symbol, row in rows.items() if is_margined(row)]
    books = open_portfolio(cash, holdings, multipliers=multipliers, margined=margined, accrued=accrued)
    positions = dict(books.positions)
    for symbol in books.margined & positions.keys():
        cost = cost_of(rows[symbol])
        positions[symbol] = positions[symbol] if cost is None else positions[symbol]._replace(cost=cost)
    return replace(books, positions=positions, is_cash_derived=_is_cash_derived(table))


def broker_sums(balances: Sequence[TableRow], columns: Sequence[Column]) -> tuple[Decimal, Decimal]:
    """Return the broker's newest cash and equity out of a table of balances; NaN where it has sent none."""
    rows = by_name(balances, columns)
    return (_decimal(rows[0]["cash"]), _decimal(rows[0]["equity"])) if rows else (UNKNOWN, UNKNOWN)


def _is_cash_derived(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether positions, rows of a broker that lists money among them, have none: its cash is what its sums leave."""
    return any("is_currency" in row for row in rows) and not any(map(is_money, rows))


def _fee_alone(fill: Fill) -> Fill:
    """Return the fee of an exchange of money, whose amounts are both in the cash."""
    return fill._replace(quantity=ZERO, fee=fill.fee if fill.fee.is_finite() else ZERO)


def reasons_of(books: Portfolio, missing: Sequence[str], marks: Mapping[str, Mark]) -> dict[str, str]:
    """Return why the value of each missing instrument is unknown, and why the cash is, if it is."""
    reasons = {symbol: _reason(books, symbol, marks.get(symbol, _NO_QUOTE)) for symbol in missing}
    return reasons if books.cash.is_finite() else {**reasons, CASH: "the broker has sent none"}


def _reason(books: Portfolio, symbol: str, mark: Mark) -> str:
    held = books.positions[symbol]
    if not held.quantity.is_finite():
        return "no quantity"
    if not mark.price.is_finite():
        return mark.reason
    return "no average price" if books.multiplier(symbol).is_finite() else "not known what its price is worth"


def _merged(spans: Sequence[GapSpan]) -> tuple[GapSpan, ...]:
    """Return the spans with overlapping ones merged, oldest first; a merged span has the cause of its first."""
    merged: list[GapSpan] = []
    for span in sorted(spans, key=lambda span: span.started):
        last = merged[-1] if merged else None
        if last is None or (last.ended is not None and last.ended < span.started):
            merged.append(span)
        else:
            is_over = last.ended is not None and span.ended is not None
            merged[-1] = last._replace(ended=max(last.ended or 0, span.ended or 0) if is_over else None)
    return tuple(merged)


def explained_rows(attribution: Attribution) -> list[tuple[str, tuple[Decimal, ...]]]:
    """Return a name, the values by cause and their sum for each instrument, then for "cash" and "total".

    Empty where no instrument was held or traded.
    """
    contributions = dict(sorted(attribution.contributions.items()))
    if not contributions:
        return []
    contributions[CASH] = contributions.pop(CASH, Contribution())
    return [(name, (*each, each.total)) for name, each in (*contributions.items(), (TOTAL, attribution.causes))]


def _decimal(value: object) -> Decimal:
    assert isinstance(value, Decimal)
    return value

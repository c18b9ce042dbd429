"""Own executions (fills): reported by the broker as such, or derived from the states of orders where it reports none.

An order's state has its filled quantity in all and the average price. The difference between two states is a fill.
`fill_between` is pure; `DerivedFillLog` listens to a table of orders, `ReportedFillLog` to one of executions.
An order with several legs has the fills of its legs.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal, NamedTuple, TypeAlias

import pandas as pd

from aries_nb.model import NOT_A_TIME, Column, Value
from aries_nb.model.contracts import OPTION_MULTIPLIER, implied_multiplier, is_option_symbol
from aries_nb.store.log import LOG_LIMIT, Log, RowChange, TableRow
from aries_nb.store.values import MOST_DIGITS, RECEIPT, UNKNOWN, ZERO, exactly, frame_of, is_usable

__all__ = ["FILL_COLUMNS", "DerivedFillLog", "Fill", "FillLog", "OrderState", "ReportedFillLog", "fill_between"]

FILL_COLUMNS = (
    Column("symbol", "text"),
    Column("side", "text"),
    Column("quantity", "decimal"),
    Column("price", "decimal"),
    Column("multiplier", "decimal"),
    Column("amount", "decimal"),
    Column("fee", "decimal"),
    Column("order_id", "text"),
    Column("is_combined", "integer"),
    Column("source", "text"),
)
PRICE_STEP = Decimal("1e-10")  # fills' prices are rounded to this; a quotient may have endless digits
MOST_ORDERS = 50_000  # orders whose state is remembered, so that no snapshot yields their fills again
MOST_FILLS = 200_000  # executions whose ids are remembered, for the same reason
MOST_STATES = 8  # of one execution, each of which was corrected by the next
MOST_AHEAD_NS = 86_400_000_000_000  # an order's time further ahead of its receipt orders no states: it is an error
COMBINATION = "{} (legs not known)"  # the symbol of a fill of several legs, none of which can be named

# The account, the order and, for an order with several legs, the symbol of the leg.
OrderKey: TypeAlias = tuple[str, str, str]


class Fill(NamedTuple):
    """An own execution at `ts` (exchange time, ns since the epoch), of an order of the user.

    `side` is the direction. `quantity` is above 0; below 0 it takes back earlier executions of the order, which the
    exchange cancelled or corrected; 0 adds to the fee of an earlier one. `price` is NaN where the broker gave no
    average price. `fee` is above 0 where it was paid, NaN where the broker gives none. `is_combined`: derived from a
    list of all orders, as after a gap or at the first connection; it may stand for several executions, and `ts` is that
    of the last. `is_listed`: reported in a list of all fills, so it may be older than fills before it. `source`:
    reported as it happened ("stream"), in such a list ("list"), or by a request for past fills ("history"). `mid` is
    the middle of our own quotes at `ts`, NaN where it was not looked up or there was no quote; set by the code that
    values fills. `multiplier` is what one unit of the price is worth for one unit of quantity, None for that of the
    position, NaN where only that of the position, when it comes, can say. `accrued` is the accrued interest paid in
    addition to the price, in all. `is_currency`: money was exchanged for money, of which there is no position.
    """

    ts: int
    account: str
    symbol: str
    side: Literal["buy", "sell"]
    quantity: Decimal
    price: Decimal
    order_id: str
    fee: Decimal = ZERO
    is_combined: bool = False
    is_listed: bool = False
    source: Literal["stream", "list", "history"] = "stream"
    mid: Decimal = UNKNOWN
    multiplier: Decimal | None = None
    accrued: Decimal = ZERO
    is_currency: bool = False

    @property
    def signed(self) -> Decimal:
        """The change of the position by this fill: `quantity` of a purchase, its negative of a sale."""
        return self.quantity if self.side == "buy" else -self.quantity


class OrderState(NamedTuple):
    """The part of an order's state that determines fills: `filled` is the quantity so far in all, at `average_price`.

    `ts` is in ns since the epoch; of two states of one order the one with the later `ts` is the later state if
    `is_timed`, the order's own time. `replaces` is the id of the order that this one replaced, "" for none. `side` is
    the broker's text; `average_price` is NaN where the broker gave none, `quantity` (ordered) as well. `is_done`: by
    its status it is filled entirely. `leg` is the symbol of the leg, "" of an order without legs. `security_type`
    is the broker's text, "" for none.
    """

    ts: int
    account: str
    order_id: str
    symbol: str
    side: str
    filled: Decimal
    average_price: Decimal
    replaces: str = ""
    quantity: Decimal = UNKNOWN
    is_timed: bool = True
    is_done: bool = False
    leg: str = ""
    security_type: str = ""

    @property
    def key(self) -> OrderKey:
        """What identifies the order, or one leg of it."""
        return self.account, self.order_id, self.leg


def fill_between(before: OrderState | None, now: OrderState, *, is_combined: bool = False) -> Fill | None:
    """Return the fill between two states of one order, `before` None for an order not seen yet; None without a fill.

    There is none where no more is filled than before (a state repeated or late) and where the side is unknown. A later
    state with less filled takes executions back: the fill's quantity is below 0. The price is (average × filled now -
    average × filled before) / quantity, rounded to 10 places. It is as exact as the broker's average price: one that is
    rounded to a unit u puts it off by at most u/2 × (filled now + filled before) / quantity. An average price of 0 or
    missing means "not known" (Aries' protocol page §5.4). `is_combined`: `now` is from a list of all orders, so states
    in between may have been missed; the fill then has `is_combined` set and the source "list", else "stream".
    """
    filled_before = ZERO if before is None else before.filled
    side = _side(now.side)
    if side is None or not is_usable(now.filled) or now.filled == filled_before:
        return None
    if before is not None and not _is_later(before, now):
        return None
    with exactly():
        quantity = now.filled - filled_before
        paid_before = ZERO if before is None else _paid(before)
        price = ((_paid(now) - paid_before) / quantity).quantize(PRICE_STEP)
    source: Literal["stream", "list"] = "list" if is_combined else "stream"
    return Fill(
        now.ts,
        now.account,
        now.symbol,
        side,
        quantity,
        price,
        now.order_id,
        fee=UNKNOWN,  # an order has none
        is_combined=is_combined,
        source=source,
        multiplier=_usual_multiplier(now.symbol, now.security_type),
    )


def _corrected_between(before: OrderState, now: OrderState) -> Sequence[Fill]:
    """Return what a later state of an order corrects, of which as much is filled at another average price; () without.

    All that was filled is taken back, and follows anew at the average price of now. Average prices that differ by their
    rounding alone, to two places or more, are the same.
    """
    is_later = before.is_timed and now.is_timed and now.ts > before.ts
    is_same_order = before.key == now.key and before.filled == now.filled and now.filled > 0
    prices = (before.average_price, now.average_price)
    if not (is_later and is_same_order and all(map(is_usable, prices))):
        return ()
    with exactly():
        places = min(max(int(price.as_tuple().exponent) for price in prices), -2)
        one, other = (price.quantize(Decimal(1).scaleb(places)) for price in prices)
    if one == other:
        return ()
    made = fill_between(None, now)
    taken_back = fill_between(before, now._replace(filled=ZERO))
    return tuple(fill for fill in (taken_back, made) if fill is not None)


class FillLog(Log[tuple[Fill, int]]):
    """The newest fills (own executions) in the order of arrival, each with its receipt in ns since the epoch.

    It remembers the multipliers of instruments, so that those of a fill stay when a position is closed.
    """

    def __init__(self, limit: int = LOG_LIMIT) -> None:
        super().__init__(limit)
        self._traded: dict[str, Decimal] = {}  # multipliers by fills
        self._held: dict[str, Decimal] = {}  # by positions; NaN only where none is known

    def restart(self) -> None:
        """Know no fills and no multipliers again, because a replay begins anew."""
        self._traded, self._held = {}, {}
        super().restart()

    def extend(self, entries: Iterable[tuple[Fill, int]]) -> None:
        """Append fills, remember their multipliers, and make them visible to readers; the writer's thread only."""
        new = list(entries)
        own = {fill.symbol: fill.multiplier for fill, _ in new if fill.multiplier is not None}
        self._traded |= {symbol: each for symbol, each in own.items() if each.is_finite()}
        super().extend(new)

    def frozen(self, until: int | None = None) -> FillLog:
        """Return the fills of now, which never change, or those that had arrived by a time of receipt, in ns."""
        log = FillLog(self._limit)
        log._traded, log._held = dict(self._traded), dict(self._held)
        kept, base, end = self._published
        if until is not None:
            end = base + bisect_right(kept, until, hi=end - base, key=lambda entry: entry[1])
        log._published = kept, base, end
        return log

    def learn(self, multipliers: Mapping[str, Decimal]) -> None:
        """Remember the multipliers of positions, by symbol; NaN where unknown. Any thread."""
        known = self._held
        self._held |= {symbol: each for symbol, each in multipliers.items() if each.is_finite() or symbol not in known}

    def frame(self, multipliers: Mapping[str, Decimal] | None = None, *, first: int = 0) -> pd.DataFrame:
        """Return one row a fill (own execution) from number `first` on, in the order of arrival.

        The index numbers all of the log from 0.

        Columns ts (exchange time) and received (UTC), account, symbol, side ("buy", "sell"), quantity (below 0 where
        executions are taken back, 0 where a fee came later), price (NaN where unknown), multiplier (what one unit of
        the price is worth for one unit of quantity, in the account's currency), amount (quantity × price × multiplier,
        with the accrued interest; both NaN where unknown), fee (above 0 where paid, NaN where unknown; all float64),
        order_id, is_combined and source. `is_combined` (bool): derived from a list of all orders, as after a gap, so
        the row may be several executions of that order. `source`: reported as it happened ("stream"), in a list of all
        fills or orders ("list"), or by a request for past fills ("history"). The frame belongs to the caller.

        `multipliers` are those of positions, by symbol, and are remembered; they count where a fill does not show its
        own.
        """
        self.learn(multipliers or {})
        entries, end = self.entries(first)
        rows = []
        with exactly():
            for fill, received in entries:
                multiplier = self._multiplier(fill)
                amount = fill.quantity * fill.price * multiplier + fill.accrued if fill.quantity else ZERO
                row = (fill.ts, received, fill.account, fill.symbol, fill.side, fill.quantity, fill.price)
                rows.append((*row, multiplier, amount, fill.fee, fill.order_id, fill.is_combined, fill.source))
        frame = frame_of((*RECEIPT, *FILL_COLUMNS), rows).astype({"is_combined": "bool"})
        return frame.set_index(pd.RangeIndex(end - len(rows), end))

    def _multiplier(self, fill: Fill) -> Decimal:
        """Return the multiplier of a fill: its own, else that of the position, else that of other fills."""
        own = Decimal(1) if fill.multiplier is None else fill.multiplier
        if fill.multiplier is not None and own.is_finite():
            return own
        held = self._held.get(fill.symbol, own)
        return held if fill.symbol in self._held and held.is_finite() else self._traded.get(fill.symbol, held)


class ReportedFillLog(FillLog):
    """The fills (own executions) that a broker reports as such; listens to a table with `model.FILL_COLUMNS`.

    A fill that is reported again, as after an interruption of the stream, counts once. One that comes again with
    another side, quantity or price is corrected: it is taken back by a fill with a quantity below 0, and follows anew,
    unless its quantity is 0 now. One whose fee comes later, or changes, is followed by a fill with a quantity of 0 and
    what is added to the fee. One without a side or a quantity is skipped. `columns` are those of the table; the newest
    `limit` fills are kept.
    """

    def __init__(self, columns: Sequence[Column], *, limit: int = LOG_LIMIT) -> None:
        super().__init__(limit)
        self._places = {column.name: place for place, column in enumerate(columns)}
        self._seen: dict[tuple[str, str], tuple[Fill, ...]] = {}  # what was reported of each, the newest last

    def restart(self) -> None:
        """Know no fills again, because a replay begins anew."""
        self._seen = {}
        super().restart()

    def take(self, changes: Sequence[RowChange]) -> None:
        """Append the executions of these changes that are not known yet; the writer's thread only."""
        self._append([entry for change in changes for entry in self._news(change)])

    def insert(self, rows: Sequence[TableRow]) -> int:
        """Append past executions that are not known yet; return the number appended. The writer's thread only.

        Only as many as there is room for within the limit, the newest of them: older fills do not evict newer ones.
        """
        room = max(self._limit - len(self), 0)
        new = [row for row in rows if self._key(row) not in self._seen]
        kept = sorted(new, key=lambda row: row.ts)[max(len(new) - room, 0) :]
        news = [entry for row in kept for entry in self._news(RowChange(row, is_snapshot=True))]
        self._append([(fill._replace(source="history"), received) for fill, received in news])
        return len(news)

    def _key(self, row: TableRow) -> tuple[str, str]:
        return row.account, str(row.values[self._places["fill_id"]])

    def _news(self, change: RowChange) -> list[tuple[Fill, int]]:
        """Return what a report adds to the log, each with its time of receipt, and remember it."""
        key, received = self._key(change.row), change.row.received
        now = _reported_fill(change, {name: change.row.values[place] for name, place in self._places.items()})
        known = self._seen.get(key, ())
        if now is None or not (known or now.quantity):
            return []
        if not known:
            self._seen[key] = (now,)
            return [(now, received)]
        last = known[-1]
        if not _is_same_execution(last, now):
            if any(_is_same_execution(each, now) for each in known):
                return []  # it repeats what was corrected since
            self._seen[key] = (*known, now)[-MOST_STATES:]
            taken_back = last._replace(quantity=-last.quantity, fee=last.fee.copy_negate(), accrued=-last.accrued)
            return [(fill, received) for fill in (taken_back, now) if fill.quantity]
        with exactly():
            more = now.fee - (last.fee if last.fee.is_finite() else ZERO)
        if not more.is_finite() or not now.quantity:
            return []
        self._seen[key] = (*known[:-1], last._replace(fee=now.fee))
        return [(last._replace(quantity=ZERO, fee=more, accrued=ZERO), received)] if more else []

    def _append(self, news: Sequence[tuple[Fill, int]]) -> None:
        for key in list(self._seen)[: max(len(self._seen) - MOST_FILLS, 0)]:
            del self._seen[key]
        self.extend(sorted(news, key=lambda each: (each[1], each[0].ts)))  # of a list; others as they were received


@dataclass
class _Count:
    """The state up to which fills were derived: of one order, or of several that go on counting one another's fills."""

    state: OrderState | None = None


@dataclass
class _KnownOrder:
    """The newest state of an order, and the count that its fills belong to.

    `is_placed`: whether it goes on from the order that it replaced is decided. `began_at_zero`: it was seen with
    nothing filled.
    """

    newest: OrderState
    count: _Count = field(default_factory=_Count)
    is_placed: bool = False
    began_at_zero: bool = False


class DerivedFillLog(FillLog):
    """The fills (own executions) that follow from the states of orders; listens to a table of orders.

    `columns` are those of that table, of which it needs order_id, symbol, side, filled and average_price. An order that
    replaces another (column `replaces`) either goes on counting what that one had filled, as in FIX, or counts its own
    from 0: its first states show which, or its quantity, else it goes on (assumed; the broker does not say). An order
    with legs (column `legs`, a JSON list of objects with symbol, side, ratio and average price) has the fills of its
    legs; the side of a leg is its own, whatever the side of the order (assumed). The newest `limit` fills are kept.
    """

    def __init__(self, columns: Sequence[Column], *, limit: int = LOG_LIMIT) -> None:
        super().__init__(limit)
        self._places = {column.name: place for place, column in enumerate(columns)}
        self._orders: dict[OrderKey, _KnownOrder] = {}
        self._successors: dict[OrderKey, OrderKey] = {}  # of orders whose fills came before those of the replaced one
        self._goes_on: bool | None = None  # how this broker counts, once it has shown that

    def restart(self) -> None:
        """Know no orders again, because a replay begins anew."""
        self._orders, self._successors, self._goes_on = {}, {}, None
        super().restart()

    def take(self, changes: Sequence[RowChange]) -> None:
        """Append the own executions that follow from these changes of orders; the writer's thread only."""
        states = [(change.row.received, state, change) for change in changes for state in self._states(change.row)]
        # A full list, of one time of receipt, may have an order before the one that it replaces. How much is received
        # before it is passed on differs, in a replay too.
        replaced = {(received, state.replaces) for received, state, _ in states}
        states.sort(key=lambda each: (each[0], each[1].ts, (each[0], each[1].order_id) not in replaced))
        fills = [(fill, received) for received, state, change in states for fill in self._fills(state, change)]
        for key in list(self._orders)[: max(len(self._orders) - MOST_ORDERS, 0)]:
            del self._orders[key]
            self._successors.pop(key, None)
        for key in list(self._successors)[: max(len(self._successors) - MOST_ORDERS, 0)]:
            del self._successors[key]
        self.extend(fills)

    def _fills(self, now: OrderState, change: RowChange) -> Sequence[Fill]:
        if not is_usable(now.filled):
            return ()
        order = self._orders.pop(now.key, None) or _KnownOrder(now)
        self._orders[now.key] = order  # the orders updated last are remembered longest
        self._place(order, now)
        order.newest = _newest(order.newest, now)
        before = order.count.state
        fill = fill_between(before, now, is_combined=change.is_snapshot)
        order.count.state = now if before is None else _newest(before, now)
        return _corrected_between(before, now) if fill is None and before is not None else (fill,) if fill else ()

    def _place(self, order: _KnownOrder, now: OrderState) -> None:
        """Decide, once something is filled, whether an order goes on counting from the one that it replaced."""
        if order.is_placed:
            return
        if not now.filled:
            order.began_at_zero = True
            return
        order.is_placed = True
        key, replaced = now.key, (now.account, now.replaces, now.leg)
        before = self._orders.get(replaced) if now.replaces else None
        after = self._orders.get(self._successors.get(key, key))
        if before is not None and before is not order and before.newest.filled:
            if self._is_continued(before.newest, now, began_at_zero=order.began_at_zero):
                order.count = before.count
        elif now.replaces:
            self._successors[replaced] = key  # fills of the replaced order may still come
        if (
            after is not None
            and after is not order
            and self._is_continued(now, after.newest, began_at_zero=after.began_at_zero)
        ):
            order.count = after.count

    def _is_continued(self, before: OrderState, now: OrderState, *, began_at_zero: bool) -> bool:
        """Return whether the filled quantity of `now` contains that of `before`, the order that it replaced."""
        quantity = now.quantity if now.quantity.is_finite() else max(now.filled, before.filled)
        has_quantities = now.quantity.is_finite() and before.quantity.is_finite()
        is_same = now.filled == before.filled and (
            now.average_price == before.average_price or not (now.average_price + before.average_price).is_finite()
        )
        if now.filled < before.filled or (now.is_done and now.filled < quantity):
            self._goes_on = False
        elif now.filled > quantity or (is_same and not (began_at_zero and now.quantity != before.quantity)):
            self._goes_on = True
        elif began_at_zero:
            self._goes_on = False
        elif has_quantities and quantity == before.quantity:
            return True
        elif has_quantities and quantity <= before.quantity - before.filled:
            return False
        else:  # neither says so: a purchase at less than nothing is none
            paid, paid_before = _paid(now), _paid(before)
            has_paid = paid.is_finite() and paid_before.is_finite()
            return self._goes_on is not False and not (has_paid and (paid - paid_before) * paid < 0)
        return self._goes_on

    def _states(self, row: TableRow) -> Iterator[OrderState]:
        """Yield the state of the order in a row, or that of each of its legs."""
        value = {name: row.values[place] for name, place in self._places.items()}
        filled, quantity = Decimal(value["filled"]), Decimal(value.get("quantity", UNKNOWN))
        updated = value.get("updated", NOT_A_TIME)
        state = OrderState(
            ts=row.ts,
            account=row.account,
            order_id=str(value["order_id"]),
            symbol=str(value["symbol"]),
            side=str(value["side"]),
            filled=filled if is_usable(filled) and filled >= 0 else UNKNOWN,
            average_price=_price(value["average_price"]),
            replaces=str(value.get("replaces", "")),
            quantity=quantity if is_usable(quantity) else UNKNOWN,
            is_timed=isinstance(updated, int) and NOT_A_TIME < updated < row.received + MOST_AHEAD_NS,
            is_done=str(value.get("status", "")).lower() == "filled",
            security_type=str(value.get("security_type", "")),
        )
        legs = _legs(str(value.get("legs", "")))
        if legs:
            yield from (_leg_state(state, leg, is_only=len(legs) == 1) for leg in legs)
        elif legs is None or str(value.get("category", "")).upper() == "MULTI_LEG":
            symbol = COMBINATION.format(state.symbol)
            yield state._replace(symbol=symbol, average_price=UNKNOWN, security_type="")
        else:
            yield state


class _Leg(NamedTuple):
    symbol: str
    side: str
    ratio: Decimal
    average_price: Decimal


def _legs(text: str) -> list[_Leg] | None:
    """Return the legs of an order in a JSON text, [] where it has none; None where they cannot be named."""
    if not text:
        return []
    try:
        return [_leg(item) for item in json.loads(text, parse_float=str, parse_int=str)]
    except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation, RecursionError):
        return None


def _leg(item: Mapping[str, object]) -> _Leg:
    """Return a leg of an order; keys are compared without case and underscores. Raises where it cannot be named."""
    value = {name.replace("_", "").lower(): str(each) for name, each in item.items() if each is not None}
    symbol, side = value["symbol"], value["side"]
    ratio = Decimal(value.get("ratioqty") or value.get("ratio") or "1")
    if not symbol or _side(side) is None or not is_usable(ratio) or ratio <= 0:
        raise ValueError("a leg without symbol, side or ratio")
    return _Leg(symbol, side, ratio, _price(value.get("avgprice") or value.get("averageprice") or "NaN"))


def _leg_state(order: OrderState, leg: _Leg, *, is_only: bool) -> OrderState:
    with exactly():
        return order._replace(
            symbol=leg.symbol,
            side=leg.side,
            leg=leg.symbol,
            security_type="",  # that of the order, which a leg may not have
            filled=order.filled * leg.ratio,
            quantity=order.quantity * leg.ratio,
            average_price=order.average_price if is_only and leg.average_price.is_nan() else leg.average_price,
        )


def _price(value: Value) -> Decimal:
    """Return an average price; NaN where it is 0, which means that the broker gave none."""
    price = Decimal(value)
    return price if is_usable(price) and price else UNKNOWN


def _reported_fill(change: RowChange, value: Mapping[str, Value]) -> Fill | None:
    side, quantity = _side(str(value["side"])), Decimal(value["quantity"])
    if side is None or not is_usable(quantity) or quantity < 0:
        return None
    price, fee = Decimal(value["price"]), Decimal(value["fee"])
    accrued = Decimal(value.get("accrued_interest", ZERO))
    accrued = accrued if is_usable(accrued) else ZERO
    return Fill(
        ts=change.row.ts,
        account=change.row.account,
        symbol=str(value["symbol"]),
        side=side,
        quantity=quantity,
        price=price if is_usable(price) else UNKNOWN,
        order_id=str(value["order_id"]),
        fee=fee if is_usable(fee) else UNKNOWN,
        is_listed=change.is_snapshot,
        source="list" if change.is_snapshot else "stream",
        multiplier=_fill_multiplier(value, quantity, price, accrued),
        accrued=accrued,
        is_currency=value.get("is_currency") == "true",
    )


def _is_same_execution(one: Fill, other: Fill) -> bool:
    is_same_price = one.price == other.price or not (one.price.is_finite() or other.price.is_finite())
    return one.side == other.side and one.quantity == other.quantity and (is_same_price or not one.quantity)


def _usual_multiplier(symbol: str, security_type: str = "") -> Decimal | None:
    """Return 100 for an option, None for a share, NaN for any other type of security, which only a position names."""
    kind = security_type.upper()
    if kind == "OPTION" or is_option_symbol(symbol):
        return OPTION_MULTIPLIER
    return None if kind in ("", "EQUITY") else UNKNOWN


def _fill_multiplier(value: Mapping[str, Value], quantity: Decimal, price: Decimal, accrued: Decimal) -> Decimal | None:
    """Return the multiplier of an execution by its value, if the broker says that, else by its symbol.

    Whether the value contains the accrued interest is not known: of the two multipliers the one with fewer digits
    counts (assumed).
    """
    if "fill_value" not in value:
        return _usual_multiplier(str(value["symbol"]), str(value.get("security_type", "")))
    amount = abs(Decimal(value["fill_value"]))
    if not (is_usable(amount) and is_usable(price)):
        return UNKNOWN
    with exactly():
        amounts = (amount, amount - accrued) if accrued else (amount,)
    found = [implied_multiplier(each, quantity, price, is_exact=True) for each in amounts]
    return min(found, key=lambda each: len(each.as_tuple().digits) if each.is_finite() else MOST_DIGITS)


def _is_later(before: OrderState, now: OrderState) -> bool:
    """Return whether `now` is a later state than `before`: by the order's own time, else by what is filled.

    Of two orders that count together the one with more filled is the later one, as each has its own times.
    """
    if before.order_id == now.order_id and before.is_timed and now.is_timed and before.ts != now.ts:
        return now.ts > before.ts
    return now.filled > before.filled


def _newest(before: OrderState, now: OrderState) -> OrderState:
    """Return the state of an order with which its next state is compared: the later one.

    A state that arrives late must not make the next one yield a fill again. Of equally filled states it has the newer
    average price that is known.
    """
    if now.filled != before.filled:
        return now if _is_later(before, now) else before
    older, newer = sorted((before, now), key=lambda state: state.ts)
    return newer if newer.average_price.is_finite() else newer._replace(average_price=older.average_price)


def _paid(state: OrderState) -> Decimal:
    """Return average price × filled quantity; NaN where the broker gave no average price, 0 where nothing is filled."""
    if not state.filled:
        return ZERO
    is_known = is_usable(state.average_price) and state.average_price != 0
    return state.average_price * state.filled if is_known else UNKNOWN


def _side(text: str) -> Literal["buy", "sell"] | None:
    """Return the side of an order by the beginning of its text: selling short sells, buying to cover buys.

    None for any other text.
    """
    if text.lower().startswith("buy"):
        return "buy"
    return "sell" if text.lower().startswith("sell") else None

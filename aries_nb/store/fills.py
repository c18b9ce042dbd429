"""Own executions (fills): reported by the broker as such, or derived from the states of orders where it reports none.

An order's state has its filled quantity in all and the average price. The difference between two states is a fill.
`fill_between` is pure; `DerivedFillLog` listens to a table of orders, `ReportedFillLog` to one of executions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

import pandas as pd

from aries_nb.model import Column, Value
from aries_nb.store.log import LOG_LIMIT, Log, RowChange, TableRow
from aries_nb.store.values import RECEIPT, UNKNOWN, ZERO, exactly, frame_of, is_usable

__all__ = ["FILL_COLUMNS", "DerivedFillLog", "Fill", "FillLog", "OrderState", "ReportedFillLog", "fill_between"]

FILL_COLUMNS = (
    Column("symbol", "text"),
    Column("side", "text"),
    Column("quantity", "decimal"),
    Column("price", "decimal"),
    Column("fee", "decimal"),
    Column("order_id", "text"),
    Column("is_combined", "integer"),
    Column("source", "text"),
)
PRICE_STEP = Decimal("1e-10")  # fills' prices are rounded to this; a quotient may have endless digits
MOST_ORDERS = 50_000  # orders whose state is remembered, so that no snapshot yields their fills again
MOST_FILLS = 200_000  # executions whose ids are remembered, for the same reason


class Fill(NamedTuple):
    """An own execution at `ts` (exchange time, ns since the epoch), of an order of the user.

    `quantity` is above 0, `side` is the direction. `price` is NaN where the broker gave no average price. `fee` is
    above 0 where it was paid, 0 where the broker gives none. `is_combined`: derived from a list of all orders, as after
    a gap or at the first connection; it may stand for several executions, and `ts` is that of the last. `is_listed`:
    reported in a list of all fills, so it may be older than fills before it. `source`: reported as it happened
    ("stream"), in such a list ("list"), or by a request for past fills ("history"). `mid` is the middle of our own
    quotes at `ts`, NaN where it was not looked up or there was no quote; set by the code that values fills.
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

    @property
    def signed(self) -> Decimal:
        """The change of the position by this fill: `quantity`, below 0 for a sale."""
        return self.quantity if self.side == "buy" else -self.quantity


class OrderState(NamedTuple):
    """The part of an order's state that determines fills: `filled` is the quantity so far in all, at `average_price`.

    `ts` is in ns since the epoch. `replaces` is the id of the order that this one replaced, "" for none. `side` is the
    broker's text; `average_price` is NaN where the broker gave none.
    """

    ts: int
    account: str
    order_id: str
    symbol: str
    side: str
    filled: Decimal
    average_price: Decimal
    replaces: str = ""


def fill_between(before: OrderState | None, now: OrderState, *, is_combined: bool = False) -> Fill | None:
    """Return the fill between two states of one order, `before` None for an order not seen yet; None without a fill.

    There is none where no more is filled than before (a state repeated, late, or taken back) and where the side is
    unknown. The price is (average × filled now - average × filled before) / quantity, rounded to 10 places. It is as
    exact as the broker's average price: one that is rounded to a unit u puts it off by at most u/2 × (filled now +
    filled before) / quantity. An average price of 0 or missing means "not known" (Aries' protocol page §5.4).
    `is_combined`: `now` is from a list of all orders, so states in between may have been missed; the fill then has
    `is_combined` set and the source "list", else "stream".
    """
    filled_before = ZERO if before is None else before.filled
    side = _side(now.side)
    if side is None or not is_usable(now.filled) or not now.filled > filled_before:
        return None
    with exactly():
        quantity = now.filled - filled_before
        paid_before = ZERO if before is None else _paid(before)
        price = ((_paid(now) - paid_before) / quantity).quantize(PRICE_STEP)
    source: Literal["stream", "list"] = "list" if is_combined else "stream"
    return Fill(
        now.ts, now.account, now.symbol, side, quantity, price, now.order_id, is_combined=is_combined, source=source
    )


class FillLog(Log[tuple[Fill, int]]):
    """The newest fills (own executions) in the order of arrival, each with its receipt in ns since the epoch."""

    def frame(self) -> pd.DataFrame:
        """Return one row a fill (own execution) in the order of arrival; the index numbers all of the log from 0.

        Columns ts (exchange time) and received (UTC), account, symbol, side ("buy", "sell"), quantity, price (NaN where
        unknown), fee (above 0 where paid; all float64), order_id, is_combined and source. `is_combined` (bool): derived
        from a list of all orders, as after a gap, so the row may be several executions of that order. `source`:
        reported as it happened ("stream"), in a list of all fills or orders ("list"), or by a request for past fills
        ("history"). The frame belongs to the caller.
        """
        entries, end = self.entries()
        rows = [
            (fill.ts, received, fill.account, fill.symbol, fill.side, fill.quantity, fill.price, fill.fee,
             fill.order_id, fill.is_combined, fill.source)
            for fill, received in entries
        ]  # fmt: skip
        frame = frame_of((*RECEIPT, *FILL_COLUMNS), rows).astype({"is_combined": "bool"})
        return frame.set_index(pd.RangeIndex(end - len(rows), end))


class ReportedFillLog(FillLog):
    """The fills (own executions) that a broker reports as such; listens to a table with `model.FILL_COLUMNS`.

    A fill that is reported again, as after an interruption of the stream, counts once. One without a side or a quantity
    is skipped. `columns` are those of the table; the newest `limit` fills are kept.
    """

    def __init__(self, columns: Sequence[Column], *, limit: int = LOG_LIMIT) -> None:
        super().__init__(limit)
        self._places = {column.name: place for place, column in enumerate(columns)}
        self._seen: dict[tuple[str, str], None] = {}

    def take(self, changes: Sequence[RowChange]) -> None:
        """Append the executions of these changes that are not known yet; the writer's thread only."""
        self._append(self._news(changes))

    def insert(self, rows: Sequence[TableRow]) -> int:
        """Append past executions that are not known yet; return the number appended. The writer's thread only.

        Only as many as there is room for within the limit, the newest of them: older fills do not evict newer ones.
        """
        news = self._news([RowChange(row, is_snapshot=True) for row in rows])
        room = max(self._limit - len(self), 0)
        kept = sorted(news.items(), key=lambda each: each[1][0].ts)[max(len(news) - room, 0) :]
        self._append({key: (fill._replace(source="history"), received) for key, (fill, received) in kept})
        return len(kept)

    def _news(self, changes: Sequence[RowChange]) -> dict[tuple[str, str], tuple[Fill, int]]:
        """Return the executions that were not reported before, by account and id, each with its time of receipt."""
        found: dict[tuple[str, str], tuple[Fill, int]] = {}
        for change in changes:
            value = {name: change.row.values[place] for name, place in self._places.items()}
            key = (change.row.account, str(value["fill_id"]))
            fill = _reported_fill(change, value) if key not in self._seen and key not in found else None
            if fill is not None:
                found[key] = (fill, change.row.received)
        return found

    def _append(self, news: Mapping[tuple[str, str], tuple[Fill, int]]) -> None:
        self._seen |= dict.fromkeys(news)
        for key in list(self._seen)[: max(len(self._seen) - MOST_FILLS, 0)]:
            del self._seen[key]
        self.extend(sorted(news.values(), key=lambda each: each[0].ts))


class DerivedFillLog(FillLog):
    """The fills (own executions) that follow from the states of orders; listens to a table of orders.

    `columns` are those of that table, of which it needs order_id, symbol, side, filled and average_price. An order that
    replaces another (column `replaces`) starts from what that one had filled, if its own filled quantity is as much or
    more: assumed, as in FIX; the broker does not say. The newest `limit` fills are kept.
    """

    def __init__(self, columns: Sequence[Column], *, limit: int = LOG_LIMIT) -> None:
        super().__init__(limit)
        self._places = {column.name: place for place, column in enumerate(columns)}
        self._states: dict[tuple[str, str], OrderState] = {}

    def take(self, changes: Sequence[RowChange]) -> None:
        """Append the own executions that follow from these changes of orders; the writer's thread only."""
        states = [(self._state(change.row), change) for change in changes]
        # A full list may contain an order before the one that it replaces.
        replaced = {state.replaces for state, _ in states}
        states.sort(key=lambda each: (each[0].ts, each[0].order_id not in replaced))
        fills = [(self._fill(state, change), change.row.received) for state, change in states]
        for key in list(self._states)[: max(len(self._states) - MOST_ORDERS, 0)]:
            del self._states[key]
        self.extend((fill, received) for fill, received in fills if fill is not None)

    def _fill(self, now: OrderState, change: RowChange) -> Fill | None:
        key = (now.account, now.order_id)
        before = self._states.get(key)
        if before is None:
            replaced = self._states.get((now.account, now.replaces)) if now.replaces else None
            before = replaced if replaced is not None and now.filled >= replaced.filled else None
        fill = fill_between(before, now, is_combined=change.is_snapshot)
        self._states.pop(key, None)  # the orders updated last are remembered longest
        self._states[key] = now if before is None else _furthest(before, now)
        return fill

    def _state(self, row: TableRow) -> OrderState:
        value = {name: row.values[place] for name, place in self._places.items()}
        filled, average_price = Decimal(value["filled"]), Decimal(value["average_price"])
        return OrderState(
            ts=row.ts,
            account=row.account,
            order_id=str(value["order_id"]),
            symbol=str(value["symbol"]),
            side=str(value["side"]),
            filled=filled if is_usable(filled) and filled > 0 else ZERO,
            average_price=average_price if is_usable(average_price) and average_price else UNKNOWN,
            replaces=str(value.get("replaces", "")),
        )


def _reported_fill(change: RowChange, value: Mapping[str, Value]) -> Fill | None:
    side, quantity = _side(str(value["side"])), Decimal(value["quantity"])
    if side is None or not is_usable(quantity) or quantity <= 0:
        return None
    price, fee = Decimal(value["price"]), Decimal(value["fee"])
    return Fill(
        ts=change.row.ts,
        account=change.row.account,
        symbol=str(value["symbol"]),
        side=side,
        quantity=quantity,
        price=price if is_usable(price) else UNKNOWN,
        order_id=str(value["order_id"]),
        fee=fee if is_usable(fee) else ZERO,
        is_listed=change.is_snapshot,
        source="list" if change.is_snapshot else "stream",
    )


def _furthest(before: OrderState, now: OrderState) -> OrderState:
    """Return the state of an order with which its next state is compared: of two states, that with more filled.

    A state that arrives late must not make the next one yield a fill again. Of equally filled states, `now`, unless
    only `before` has an average price.
    """
    if now.filled != before.filled:
        return max(before, now, key=lambda state: state.filled)
    return now if now.average_price.is_finite() else before


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

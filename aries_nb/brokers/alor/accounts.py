"""ALOR's portfolios: orders, stop orders, own trades, positions, summaries and risks (ALOR protocol page §7).

The symbol of a subscription is the portfolio, "D00000" or "MOEX:D00000". Quantities are in pieces, or in lots if the
column's name has "lots"; money is exact (`Decimal`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, localcontext
from typing import ClassVar

from aries_nb.brokers.alor.account_fields import TABLE_FIELDS
from aries_nb.brokers.alor.averages import PricedOrders
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.fields import DEFAULT_EXCHANGE, column_types
from aries_nb.brokers.alor.streams import AlorStream
from aries_nb.brokers.alor.tables import PortfolioStream
from aries_nb.model import PUT, ColumnType, Counted, Kind, Notice, Received, Record, Subscription, Value

__all__ = ["AlorAccounts", "SummaryWithCash"]

_UNKNOWN = Decimal("NaN")
_FIELDS = ("symbol", "is_currency", "market_value", "quantity", "cost_basis", "is_margined")


class AlorAccounts(AlorConnection):
    """A connection for portfolios, separate from that for market data. Implements `BrokerProtocol`.

    A subscription to a summary also subscribes to the positions, from which its cash is computed; one to orders also
    subscribes to own trades, from which their average prices are computed. `exchange` is the default for portfolios
    without one.
    """

    MAKERS: ClassVar[Mapping[Kind, type[AlorStream]]] = {
        kind: PortfolioStream for kind in TABLE_FIELDS if kind != "instruments"
    }
    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]] = {
        kind: column_types(TABLE_FIELDS[kind]) for kind in MAKERS
    }

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        super().__init__(exchange=exchange)
        # Each under both of its subscriptions.
        self._summaries: dict[Subscription, SummaryWithCash] = {}
        self._priced: dict[Subscription, list[PricedOrders]] = {}

    def open(self, now: float) -> None:
        """Reset for a new connection at time `now` (s, monotonic).

        The summaries and positions received on the previous one, and orders that wait for an average price, are
        dropped.
        """
        super().open(now)
        for summary in self._summaries.values():
            summary.forget()
        for users in self._priced.values():
            for orders in users:
                orders.forget()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add subscriptions, and those from whose streams their computed columns (cash, average price) are made.

        Returns the number of the ping sent after the requests; 0 while there is no token. Raises UsageError for a kind
        that is no table of a portfolio.
        """
        more: list[Subscription] = []
        for subscription in subscriptions:
            if subscription.kind == "balances" and subscription not in self._summaries:
                summary = SummaryWithCash(subscription)
                self._summaries |= {subscription: summary, summary.positions: summary}
                more.append(summary.positions)
            elif subscription.kind == "orders" and subscription not in self._priced:
                orders = PricedOrders(subscription)
                if orders.is_wanted:
                    self._priced[subscription] = [orders]
                    self._priced.setdefault(orders.fills, []).append(orders)
                    more.append(orders.fills)
        return super().subscribe([*subscriptions, *more])

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove subscriptions, and those added only to compute their columns (cash, average price)."""
        more: list[Subscription] = []
        for subscription in subscriptions:
            summary = self._summaries.pop(subscription, None)
            if summary is not None:
                del self._summaries[summary.positions]
                more.append(summary.positions)
            for orders in self._priced.pop(subscription, []):
                users = self._priced[orders.fills]
                users.remove(orders)
                if not users:
                    del self._priced[orders.fills]
                    more.append(orders.fills)
        super().unsubscribe([*subscriptions, *more])

    def _receive_frame(self, frame: bytes, received: int) -> Received:
        """Decode a frame received at `received` (ns since the epoch), and return its records and notices.

        Summaries and orders get their computed columns, cash and average price.
        """
        records, notices = super()._receive_frame(frame, received)
        if self._priced:
            records, notices = self._with_prices(records, notices)
        if not self._summaries:
            return records, notices
        found: list[Record] = []
        counted: list[Notice] = []
        for record in records:
            summary = self._summaries.get(record[0])
            if summary is None:
                found.append(record)
            else:
                summary.take(record)
        for subscription, summary in self._summaries.items():
            if subscription == summary.balances:
                summed, count = summary.drained(received)
                found += summed
                counted += count
        return found, [*notices, *counted]

    def _with_prices(self, records: Sequence[Record], notices: Sequence[Notice]) -> Received:
        found: list[Record] = []
        counted: list[Notice] = []
        for record in records:
            users = self._priced.get(record[0])
            if users is None:
                found.append(record)
                continue
            for orders in users:
                priced, count = orders.take(record)
                found += [priced] if priced is not None else []
                counted += [count] if count is not None else []
        return found, [*notices, *counted] if counted else notices


class SummaryWithCash:
    """The summary of one portfolio, with a `cash` column computed from its positions (ALOR protocol page §7.5, §7.6).

    `balances` is the subscription to the summary; `positions` is the one to the positions, which the connection adds.
    The broker's summary has no cash. It is computed as the sum of the currency positions at their current value, which
    is taken to be in the portfolio's currency (assumed: the page does not say). Where no position is money, as in some
    derivatives portfolios, it is the summary's value of the portfolio less the broker's value of the positions when the
    summary came, of margined ones their variation margin (assumed); NaN where one of these is unknown. No summary is
    emitted before the list of positions has come.
    """

    def __init__(self, balances: Subscription) -> None:
        self.balances = balances
        self.positions = Subscription("positions", balances.symbol, _FIELDS)
        self._place = 1 + balances.fields.index("cash") if "cash" in balances.fields else None
        self._equity_place = 1 + balances.fields.index("equity") if "equity" in balances.fields else None
        self._conflated = 0  # summaries not emitted, because a newer one or a break came first
        self._is_pending = False
        self.forget()

    def forget(self) -> None:
        """Drop the summary and the positions, because the connection broke.

        A summary that was not emitted yet is counted as conflated by the next `drained`.
        """
        self._conflated += self._is_pending
        self._is_pending = False
        self._money: dict[Value, Decimal] | None = None
        self._values: dict[Value, Decimal] = {}  # of the positions that are no money
        self._rest: Decimal | None = None  # the newest summary's value of the portfolio less these
        self._latest: Record | None = None
        self._has_news = False

    def take(self, record: Record) -> None:
        """Store a record of the summary or of the positions; `drained` returns the summary completed with its cash."""
        subscription, _, (mark, *values) = record
        if subscription == self.balances:
            self._conflated += self._is_pending
            self._latest, self._has_news, self._is_pending = record, True, True
            self._rest = None
        elif mark != PUT:
            self._money, self._has_news, self._values = {}, True, {}
        else:
            symbol, is_currency, value, *held = values
            if is_currency == "true":
                if isinstance(value, Decimal):
                    self._money = {**(self._money or {}), symbol: value}
                    self._has_news = True
            else:
                self._values[symbol] = _value_of(value, *held)

    def _cash(self, values: Sequence[Value]) -> Decimal:
        """Return the cash: the money among the positions, else what the summary's value leaves for it."""
        if self._money or self._equity_place is None:
            return sum((self._money or {}).values(), Decimal(0)) if self._money else _UNKNOWN
        if self._rest is None:
            equity = values[self._equity_place]
            with localcontext(Context(prec=60, traps=[])):  # absurd amounts become NaN
                taken = sum(self._values.values(), Decimal(0))
                self._rest = equity - taken if isinstance(equity, Decimal) else _UNKNOWN
        return self._rest if self._rest.is_finite() else _UNKNOWN

    def drained(self, received: int) -> Received:
        """Return the summary with its cash as the one record, if either has changed since the last call, and notices.

        No record is returned before both the summary and the list of positions have come. The notices count summaries
        that were replaced before they were emitted, and those emitted again with other cash. `received` is the time of
        receipt in ns since the epoch.
        """
        counted: list[Notice] = []
        if self._conflated:
            counted.append(Counted(self.balances, "conflated", self._conflated))
            self._conflated = 0
        if not self._has_news or self._latest is None or self._money is None:
            return [], counted
        if not self._is_pending:
            counted.append(Counted(self.balances, "filled"))  # emitted before, with other cash
        self._has_news = self._is_pending = False
        subscription, ts, values = self._latest
        self._latest = (subscription, received, values)  # later changes of cash have their own time
        if self._place is not None:
            values = (*values[: self._place], self._cash(values), *values[self._place + 1 :])
        return [(subscription, ts, values)], counted


def _value_of(value: Value, quantity: Value, cost: Value, is_margined: Value) -> Decimal:
    """Return what a position adds to the value of its portfolio; of a margined one its variation margin.

    The sign of both values is that of the quantity (assumed), whether the broker writes it or not.
    """
    if not (isinstance(quantity, Decimal) and isinstance(value, Decimal) and isinstance(cost, Decimal)):
        return _UNKNOWN
    if not quantity:
        return Decimal(0)
    with localcontext(Context(prec=60, traps=[])):
        amount = abs(value) - abs(cost) if is_margined == "true" else abs(value)
        return -amount if quantity < 0 else amount

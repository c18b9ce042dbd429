"""Average fill price of ALOR's orders, computed from own trades (ALOR protocol page §7.1, §7.4).

The broker's order messages have none.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Context, Decimal, localcontext

from aries_nb.model import PUT, Counted, Record, Subscription, Value

__all__ = ["PricedOrders"]

_UNKNOWN = Decimal("NaN")
_FIELDS = ("fill_id", "order_id", "quantity", "price")
_STEP = Decimal("1e-8")  # averages are rounded to this: a quotient may not terminate
_MOST_ORDERS = 50_000  # orders whose trades are kept; older ones get no price any more
_MOST_TRADES = 200_000  # of all these orders together: the parts of a single fill are unbounded


class PricedOrders:
    """The orders of one portfolio, with the column `average_price` computed from own trades.

    `orders` is the subscription to the orders; `fills` is the one to the own trades, which the connection adds. The
    price is rounded to eight decimal places. It is NaN while the known trades do not add up to the filled quantity: for
    an order filled in part in an earlier trading session, and until the trades of a fill arrive. The order's field
    `volume` is not used, since it is computed with the limit price. Trades of the newest 50,000 orders are remembered,
    200,000 at most; an order whose trades were dropped has NaN.
    """

    def __init__(self, orders: Subscription) -> None:
        self.orders = orders
        self.fills = Subscription("fills", orders.symbol, _FIELDS)
        places = {name: 1 + place for place, name in enumerate(orders.fields)}
        self._places = tuple(places.get(name, 0) for name in ("order_id", "filled", "average_price"))
        # Quantity and price by order and trade. Kept over breaks: a repeated trade has the same number.
        self._trades: dict[Value, dict[Value, tuple[Decimal, Decimal]]] = {}
        self._count = 0  # number of all these trades
        # The newest record of each order as the broker sent it, and the average price that it was emitted with.
        self._rows: dict[Value, tuple[Record, Decimal]] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether the subscription has the columns without which no average price can be added to its records.

        They are order id, filled quantity and average price.
        """
        return all(self._places)

    def forget(self) -> None:
        """Drop the records of orders, because the connection broke: the full list of orders comes again.

        The trades are kept.
        """
        self._rows.clear()

    def take(self, record: Record) -> tuple[Record | None, Counted | None]:
        """Process a record of the orders or of the own trades; return the order's record to emit, None for none.

        The second value is a notice if an order is emitted again because its trades have arrived, else None; the notice
        counts that record as one without a message. A record of a trade itself is never emitted. A record `CLEAR` of
        the orders is returned unchanged.
        """
        subscription, _, (mark, *_) = record
        if subscription == self.orders:
            return (self._priced(record) if mark == PUT else record), None
        if mark != PUT:
            return None, None
        order_id = self._note(record)
        if order_id not in self._rows:
            return None, None
        waiting, price = self._rows[order_id]
        priced = self._priced(waiting)
        if priced is waiting or self._rows[order_id][1] == price:
            return None, None
        return priced, Counted(self.orders, "filled")

    def _note(self, record: Record) -> Value:
        _, _, (_, fill_id, order_id, quantity, price) = record
        if isinstance(quantity, Decimal) and isinstance(price, Decimal):
            trades = self._trades.setdefault(order_id, {})
            self._count += fill_id not in trades
            trades[fill_id] = (quantity, price)
            while self._count > _MOST_TRADES or len(self._trades) > _MOST_ORDERS:
                self._count -= len(self._trades.pop(next(iter(self._trades))))
        return order_id

    def _priced(self, record: Record) -> Record:
        """Return an order's record with the average price of its trades in place of the missing one.

        While the known trades do not add up to the filled quantity, the record is returned unchanged. It is
        stored: when more trades come, or a trade is corrected, it is completed.
        """
        subscription, ts, values = record
        order_place, filled_place, price_place = self._places
        order_id, filled = values[order_place], values[filled_place]
        self._rows.pop(order_id, None)
        if not isinstance(filled, Decimal) or not filled.is_finite() or not filled:
            return record
        price = _average(self._trades.get(order_id, {}).values(), filled)
        self._rows[order_id] = record, price
        if len(self._rows) > _MOST_ORDERS:
            del self._rows[next(iter(self._rows))]
        if not price.is_finite():
            return record
        return subscription, ts, (*values[:price_place], price, *values[price_place + 1 :])


def _average(trades: Collection[tuple[Decimal, Decimal]], filled: Decimal) -> Decimal:
    """Return the average price of trades (quantity, price) if their quantities add up to `filled`, else NaN.

    The price is rounded to eight decimal places. It is NaN as well for amounts too large to compute with.
    """
    with localcontext(Context(prec=40, traps=[])):  # absurd amounts become NaN
        quantity = sum((each for each, _ in trades), Decimal(0))
        if quantity != filled:
            return _UNKNOWN
        price = (sum((each * price for each, price in trades), Decimal(0)) / quantity).quantize(_STEP).normalize()
        if not price.is_finite():
            return _UNKNOWN
        return price.quantize(Decimal(1)) if price == price.to_integral_value() else price

"""What of an ALOR portfolio is cash: its summary does not say, but money stands among its positions (§7.5, §7.6)."""

from __future__ import annotations

from decimal import Decimal

from aries_nb.model import PUT, Counted, Notice, Received, Record, Subscription, Value

__all__ = ["CashedSummary"]

_UNKNOWN = Decimal("NaN")
_FIELDS = ("symbol", "is_currency", "market_value")


class CashedSummary:
    """The summary of one portfolio, with the cash that its positions tell in the column `cash`.

    Money is summed up at its current value, which is taken to be in the portfolio's own currency (assumed: the page
    does not say). Until the list of positions is here no summary is told; NaN where the list has no money in it.
    """

    def __init__(self, balances: Subscription) -> None:
        self.balances = balances
        self.positions = Subscription("positions", balances.symbol, _FIELDS)
        self._place = 1 + balances.fields.index("cash") if "cash" in balances.fields else None
        self._conflated = 0  # summaries that were not told, for a newer one or a break came first
        self._is_untold = False
        self.forget()

    def forget(self) -> None:
        """Drop everything at a break."""
        self._conflated += self._is_untold
        self._is_untold = False
        self._money: dict[Value, Decimal] | None = None
        self._latest: Record | None = None
        self._has_news = False

    def take(self, record: Record) -> None:
        """Take a record of either of the two."""
        subscription, _, (mark, *values) = record
        if subscription == self.balances:
            self._conflated += self._is_untold
            self._latest, self._has_news, self._is_untold = record, True, True
        elif mark != PUT:
            self._money, self._has_news = {}, True
        else:
            symbol, is_currency, value = values
            if is_currency == "true" and isinstance(value, Decimal):
                self._money = {**(self._money or {}), symbol: value}
                self._has_news = True

    def drained(self, received: int) -> Received:
        """The summary as it is now, if it or the cash has changed since the last call, and what is to be counted."""
        counted: list[Notice] = []
        if self._conflated:
            counted.append(Counted(self.balances, "conflated", self._conflated))
            self._conflated = 0
        if not self._has_news or self._latest is None or self._money is None:
            return [], counted
        if not self._is_untold:
            counted.append(Counted(self.balances, "filled"))  # told before, with other cash
        self._has_news = self._is_untold = False
        subscription, ts, values = self._latest
        self._latest = (subscription, received, values)  # cash that changes afterwards is of then
        if self._place is not None:
            cash = sum(self._money.values(), Decimal(0)) if self._money else _UNKNOWN
            values = (*values[: self._place], cash, *values[self._place + 1 :])
        return [(subscription, ts, values)], counted

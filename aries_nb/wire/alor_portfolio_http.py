"""What of a portfolio ALOR tells over HTTP: the calls, and their answers as the rows that the socket brings (§13).

Pure: nobody is called here. The Heavy format is asked for: it has every column there is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal

from aries_nb.model import Kind, Subscription, Unreadable, Values
from aries_nb.wire.alor_streams import Dialect, key_of
from aries_nb.wire.alor_symbols import DEFAULT_EXCHANGE, instrument_of
from aries_nb.wire.alor_tables import PortfolioStream
from aries_nb.wire.aries_lenient import excerpt
from aries_nb.wire.aries_options import path_segment
from aries_nb.wire.interface import AccountPage, Query

__all__ = ["AlorPortfolioHttp"]

_PATHS: Mapping[Kind, str] = {
    "orders": "orders",
    "stop_orders": "stoporders",
    "fills": "trades",
    "positions": "positions",
    "balances": "summary",
    "risks": "risk",
    "derivative_risks": "fortsrisk",
}


class AlorPortfolioHttp:
    """The calls beside a portfolio's socket; `exchange` is that of portfolios and symbols which name none."""

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        self._exchange = exchange

    def snapshot(self, subscription: Subscription) -> Sequence[Query]:
        """Ask for all that a table holds, one question; of orders and own trades those of the session."""
        name = _PATHS.get(subscription.kind)
        exchange, portfolio, _ = instrument_of(subscription.symbol, self._exchange)
        path = f"/md/v2/Clients/{path_segment(exchange)}/{path_segment(portfolio)}"
        return [Query(f"{path}/{name}", (("format", "Heavy"),))] if name else []

    def order_history(self, account: str, start_ns: int, end_ns: int) -> Sequence[Query]:  # noqa: ARG002
        """Orders of past sessions cannot be asked for."""
        return []

    def read(self, subscription: Subscription, query: Query, body: bytes) -> AccountPage:  # noqa: ARG002
        """The rows of one answer, in the fields of the subscription. Raises ValueError for what is no such answer."""
        try:
            answer = json.loads(body, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise ValueError("the answer is not JSON") from error
        items = answer if isinstance(answer, list) else [answer]
        if not isinstance(answer, dict | list):
            raise ValueError("the answer is neither an object nor a list")  # noqa: TRY004 - a bad answer, not a bad call
        reader = PortfolioStream(key_of(subscription), Dialect("heavy", self._exchange))
        rows: list[tuple[int, Values]] = []
        problems: list[Unreadable] = []
        for item in items:
            if not isinstance(item, dict):
                problems.append(Unreadable(f"{subscription.kind} hold something that is no object", excerpt(body)))
                continue
            row, found = reader.whole_row(item, body)
            problems += found
            if row is not None:
                rows.append((reader.time_of(row), tuple(reader.values_of(subscription, row))))
        return AccountPage(rows, is_full=True, following=None, unreadable=problems)

    def is_finished(self, status: str) -> bool:
        """Whether an order of this status has ended."""
        return status.lower() != "working"

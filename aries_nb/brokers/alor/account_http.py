"""ALOR's portfolio tables over HTTP: the calls, and their answers as the same rows as on the WebSocket.

No I/O. The format "Heavy" is requested, as it has all columns. Source: ALOR protocol page §13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from aries_nb.brokers.alor.fields import DEFAULT_EXCHANGE, Format, instrument_of
from aries_nb.brokers.alor.streams import key_of
from aries_nb.brokers.alor.tables import PortfolioStream
from aries_nb.brokers.parsing import excerpt, json_value, path_segment
from aries_nb.brokers.protocol import AccountPage, Query
from aries_nb.model import Kind, Subscription, Unreadable, Values

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
FILLS_PER_CALL = 1_000
_PAST = "/history/trades"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMS: tuple[Format, ...] = ("heavy", "simple", "slim")


class AlorPortfolioHttp:
    """HTTP calls for the tables of a portfolio, without I/O. Implements `AccountReference`.

    `exchange` is the default for portfolios and symbols without one.
    """

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        self._exchange = exchange

    def snapshot(self, subscription: Subscription) -> Sequence[Query]:
        """Return the call for all rows of a subscription's table, as a list of one; [] if ALOR has no such call.

        For orders and own trades the rows are those of the present trading session.
        """
        name = _PATHS.get(subscription.kind)
        exchange, portfolio, _ = instrument_of(subscription.symbol, self._exchange)
        path = f"/md/v2/Clients/{path_segment(exchange)}/{path_segment(portfolio)}"
        return [Query(f"{path}/{name}", (("format", "Heavy"),))] if name else []

    def order_history(self, account: str, start_ns: int, end_ns: int) -> Sequence[Query]:  # noqa: ARG002
        """Return no calls, whatever the arguments: ALOR does not list orders of past trading sessions."""
        return []

    def fill_history(self, account: str, start_ns: int) -> Sequence[Query]:
        """Return the calls for own trades since `start_ns` of past trading sessions, then for all of the present one.

        `account` is the portfolio, such as "D00000" or "MOEX:D00000". A trade may be in the answers to both. Past
        trades are requested in whole days and come in pages. A day begins earlier in Moscow than in UTC, so the date
        covers `start_ns` (ns since the epoch) in either time zone; which one the broker means is not documented.
        """
        exchange, portfolio, _ = instrument_of(account, self._exchange)
        day = (_EPOCH + timedelta(seconds=start_ns // 1_000_000_000)).date()
        path = f"/md/v2/Stats/{path_segment(exchange)}/{path_segment(portfolio)}{_PAST}"
        span = (("dateFrom", str(day)), ("descending", "false"), ("limit", str(FILLS_PER_CALL)))
        return [Query(path, (*span, ("format", "Heavy"))), *self.snapshot(Subscription("fills", account, ()))]

    def read(self, subscription: Subscription, query: Query, body: bytes) -> AccountPage:
        """Return the rows in `body`, the answer to `query`, with values in the order of the subscription's fields.

        Raises ValueError for an answer that is neither a JSON object nor a list. An item without its id, or a position
        without its symbol, is left out, with a notice.
        """
        answer = json_value(body, exact=True)
        items = answer if isinstance(answer, list) else [answer]
        if not isinstance(answer, dict | list):
            raise ValueError("the answer is neither an object nor a list")  # noqa: TRY004 - a bad answer, not a bad call
        is_past = query.path.endswith(_PAST)
        key = key_of(subscription)
        readers = {form: PortfolioStream(key._replace(format=form), self._exchange) for form in _FORMS}
        whole = readers["heavy"]
        rows: list[tuple[int, Values]] = []
        problems: list[Unreadable] = []
        for item in items:
            if not isinstance(item, dict):
                problems.append(Unreadable(f"{subscription.kind} hold something that is no object", excerpt(body)))
                continue
            row, found = readers[_format_of(item) if is_past else "heavy"].whole_row(item, body)
            problems += found
            if row is not None:
                rows.append((whole.time_of(row), tuple(whole.values_of(subscription, row))))
        following = _next_page(query, items) if is_past else None
        return AccountPage(rows, is_full=not is_past, following=following, unreadable=problems)

    def is_finished(self, status: str) -> bool:
        """Return whether an order with this status has ended: with any status but "working"."""
        return status.lower() != "working"


def _format_of(item: Mapping[str, object]) -> Format:
    """Return the message format of the past trade `item`, found by its keys.

    It is "slim" with the key "eid", "simple" with "orderno", else "heavy". Whether the call for past trades sends the
    requested format is not known (assumed not).
    """
    if "eid" in item:
        return "slim"
    return "simple" if "orderno" in item else "heavy"


def _next_page(query: Query, items: Sequence[object]) -> Query | None:
    """Return the call for the page of past trades that follows `items`, the answer to `query`; None if there is none.

    It asks from the largest trade number in `items`; whether the server then repeats that trade is unknown. There is no
    further page if `items` are fewer than 1,000, have no number as id, or none but the one that `query` asked from.
    """
    ids = [str(item.get("id")) for item in items if isinstance(item, dict)]
    numbers = [int(each) for each in ids if each.isascii() and each.isdigit()]
    params = dict(query.params)
    if len(items) < FILLS_PER_CALL or not numbers or str(max(numbers)) == params.get("from"):
        return None
    return Query(query.path, tuple({**params, "from": str(max(numbers))}.items()))

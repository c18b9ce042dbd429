"""ALOR's bars over HTTP: the calls, and the decoding of their answers, without I/O (ALOR protocol page §13)."""

from __future__ import annotations

from aries_nb.brokers.alor.bars import DAY, length_name
from aries_nb.brokers.alor.fields import DEFAULT_EXCHANGE, instrument_of, symbol_of
from aries_nb.brokers.alor.tokens import portfolios_in
from aries_nb.brokers.parsing import json_object, nanoseconds, timed_bars
from aries_nb.brokers.protocol import Query
from aries_nb.errors import UsageError
from aries_nb.model import BarPage

__all__ = ["AlorHttp"]

_NS = 1_000_000_000
# The names of a bar's values, in any format (§6.2).
_BAR = {"time": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


class AlorHttp:
    """HTTP calls for accounts and bars, without I/O. Implements `Reference`; `read_` methods raise ValueError.

    `exchange` is the default for symbols without one.
    """

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        self._exchange = exchange

    def accounts(self) -> Query:
        """Raise UsageError: ALOR has no call that lists portfolios. The token names them, see `accounts_in`."""
        raise UsageError(
            "the broker does not list portfolios over HTTP",
            where="ALOR",
            advice='Name the portfolio, as in feed.account("D00000").',
        )

    def read_accounts(self, body: bytes) -> tuple[str, ...]:  # noqa: ARG002
        """Raise ValueError for any body: ALOR has no answer that lists portfolios."""
        raise ValueError("portfolios are named by the token, not by an answer")

    def accounts_in(self, token: str) -> tuple[str, ...]:
        """Return the portfolios that an access token names, () if none (ALOR protocol page §2.2)."""
        return portfolios_in(token)

    def account_id(self, name: str) -> tuple[str, str]:
        """Return a portfolio as subscriptions name it, and without its exchange, as the token names it.

        The default exchange is left out of the first: "MOEX:D00000" gives ("D00000", "D00000"), "united:D00000" gives
        ("UNITED:D00000", "D00000").
        """
        exchange, portfolio, _ = instrument_of(name, self._exchange)
        return symbol_of(portfolio, exchange.upper(), self._exchange), portfolio

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """Return the call for bars of `interval_s` seconds that start in [start_ns, end_ns), in ns since the epoch.

        `symbol` may name an exchange and a board, as "MOEX:SBER@TQBR". Raises UsageError for a bar length that ALOR
        does not have over HTTP. Both times are rounded up to whole seconds. Whether the server includes a bar that
        starts at `end_ns` is not documented.
        """
        if interval_s > DAY:
            raise UsageError(f"no bars of {interval_s} s", where="ALOR", advice="Take a day at most.")
        exchange, code, board = instrument_of(symbol, self._exchange)
        # Rounded up both: a bar starts at a whole second. Whether `to` is included is not documented.
        span = (("from", str(-(-start_ns // _NS))), ("to", str(-(-end_ns // _NS))))
        which = (("symbol", code), ("exchange", exchange), ("tf", length_name(interval_s)), *span)
        group = (("instrumentGroup", board),) if board else ()
        return Query("/md/v2/history", (*which, *group, ("format", "Simple")))

    def read_bars(self, body: bytes) -> BarPage:
        """Return the bars in `body`, an answer, oldest first, each start once, with NaN for a missing volume.

        A bar without a usable time or price is left out. The answer's field `prev` is the start of the bar before the
        first one, if older bars follow; the page's `next_end_ns` is one second later, so that the next request includes
        that bar. Raises ValueError if there is no list of bars.
        """
        answer = json_object(body)
        items = answer.get("history")
        if not isinstance(items, list):
            raise ValueError("the answer has no list of bars")  # noqa: TRY004 - a bad answer, not a bad call
        rows = [
            [item.get(long, item.get(short)) for long, short in _BAR.items()]
            for item in items
            if isinstance(item, dict)
        ]
        before = nanoseconds(answer.get("prev"))
        return timed_bars(rows, None if before is None else before + _NS)

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """Return the start of the bar that contains the time `ts_ns`.

        Bars count from midnight UTC (assumed, for days as well). Both times are in ns since the epoch, `interval_s` is
        the bar length in seconds.
        """
        length = interval_s * _NS
        return ts_ns // length * length

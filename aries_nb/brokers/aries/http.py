"""What is asked of Aries over HTTP, and how the answers read (protocol page §7). Pure: nobody is called here."""

from __future__ import annotations

from aries_nb.brokers.answers import json_object
from aries_nb.brokers.aries.bars import bar_start, bars_from, bars_query
from aries_nb.brokers.protocol import Query
from aries_nb.model import Bars

__all__ = ["AriesHttp"]


class AriesHttp:
    """The reference calls. Each `read_` raises ValueError for an answer that cannot be what was asked for."""

    def accounts_in(self, token: str) -> None:
        """Tokens say nothing of accounts."""

    def accounts(self) -> Query:
        """Ask which accounts the user has."""
        return Query("/v2/users/me/accounts")

    def read_accounts(self, body: bytes) -> tuple[str, ...]:
        """The identifiers of the accounts, in the broker's order."""
        accounts = json_object(body).get("accounts")
        if not isinstance(accounts, list):
            raise ValueError("the answer has no list of accounts")  # noqa: TRY004 - a bad answer, not a bad call
        names = [item.get("trading_account_id") for item in accounts if isinstance(item, dict)]
        return tuple(name for name in names if isinstance(name, str) and name)

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """Ask for the bars that start in [start_ns, end_ns). Raises UsageError for a length that there is not."""
        return bars_query(symbol, interval_s, start_ns, end_ns)

    def read_bars(self, body: bytes) -> Bars:
        """The bars of one answer, the latest first page first (§7)."""
        return bars_from(json_object(body))

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """When the bar begins in which a time lies."""
        return bar_start(ts_ns, interval_s)

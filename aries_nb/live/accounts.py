"""The side of a feed that belongs to the user: accounts, watchlists, news, on a connection of their own.

The connection is made when the first of them is asked for; market data never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from aries_nb.errors import FeedError, UsageError
from aries_nb.live.account import Account
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.frame import LiveFrame
from aries_nb.live.link import Link, opened
from aries_nb.live.snapshots import Snapshots
from aries_nb.live.table import LiveTable
from aries_nb.model import Kind
from aries_nb.net import AccountReference, Endpoint, HttpClient, Reference

__all__ = ["Accounts", "tables_at"]

# What there may be of the user's, by the names that a feed and its accounts have for it.
TABLES: Mapping[str, Kind] = {
    "orders": "orders",
    "fills": "fills",
    "positions": "positions",
    "balances": "balances",
    "info": "accounts",
    "pnl": "pnl",
    "stop_orders": "stop_orders",
    "risks": "risks",
    "derivative_risks": "derivative_risks",
    "watchlists": "watchlists",
    "news": "news",
}
RECKONED_HERE = frozenset({"fills", "pnl"})  # where the broker does not tell


def tables_at(endpoint: Endpoint) -> tuple[str, ...]:
    """Which of them there are with a broker whose accounts are at this endpoint."""
    wire = endpoint.make()
    return tuple(name for name, kind in TABLES.items() if name in RECKONED_HERE or wire.columns(kind))


class Accounts:
    """What of the user's is held. Every method may be called from any thread."""

    def __init__(
        self,
        connect: Callable[[], Link],
        http: HttpClient,
        reference: Reference,
        callbacks: Callbacks,
        quotes: Callable[[Sequence[str]], LiveFrame],
        *,
        beside: AccountReference | None = None,
    ) -> None:
        self._quotes = quotes
        self._beside = beside
        self._snapshots: Snapshots | None = None
        self._connect = connect
        self._http = http
        self._reference = reference
        self._callbacks = callbacks
        self._link: Link | None = None
        self._accounts: dict[str, Account] = {}
        self._tables: dict[object, LiveTable] = {}
        self._guard = threading.RLock()

    @property
    def link(self) -> Link | None:
        """The connection, None while nobody has asked for anything."""
        return self._link

    def names(self) -> tuple[str, ...]:
        """Which accounts the user has, as the token says, or the broker when it is asked."""
        named = self._reference.accounts_in(self._http.token().reveal())
        if named is not None:
            return named
        query = self._reference.accounts()
        body = self._http.get(query.path, dict(query.params))
        try:
            return self._reference.read_accounts(body)
        except ValueError as error:
            where = self._http.base + query.path
            raise FeedError(f"the list of accounts cannot be read: {error}", where=where) from error

    def account(self, name: str | None) -> Account:
        """The account of this name; without a name the only one there is."""
        chosen = self._only_one() if name is None else name  # asks the broker: nobody else is to wait for that
        with self._guard:
            account = self._accounts.get(chosen)
            if account is None or not account.is_open:
                account = self._accounts[chosen] = Account(
                    *self._opened(), self._callbacks, chosen, quotes=self._quotes
                )
            return account

    def watchlists(self) -> LiveTable:
        """All watchlists of the user. Raises UsageError where the broker has none."""
        return self._table("watchlists", lambda link: LiveTable(link, self._callbacks, "watchlists"))

    def news(self, options: tuple[tuple[str, str], ...]) -> LiveTable:
        """News, chosen by `options` of the broker's own. Raises UsageError where it has none."""
        make = lambda link: LiveTable(link, self._callbacks, "news", options=options)  # noqa: E731
        return self._table(("news", options), make)

    def close(self) -> None:
        """Give everything up and end the connection; idempotent."""
        self._http.close()
        with self._guard:
            for account in self._accounts.values():
                account.close()
            for table in self._tables.values():
                table.close()
            if self._snapshots is not None:
                self._snapshots.close()
            if self._link is not None:
                self._link.close()

    def _table(self, key: object, make: Callable[[Link], LiveTable]) -> LiveTable:
        with self._guard:
            table = self._tables.get(key)
            if table is None or not table.is_open:
                link, snapshots = self._opened()
                table = self._tables[key] = snapshots.keep(make(link))
            return table

    def _only_one(self) -> str:
        names = self.names()
        if len(names) == 1:
            return names[0]
        if not names:
            raise UsageError("this user has no account", where=self._http.base)
        raise UsageError("there is more than one account", advice=f"Name one of: {', '.join(names)}.")

    def _opened(self) -> tuple[Link, Snapshots]:
        if self._link is None or self._snapshots is None:
            self._link = opened(self._connect())
            self._snapshots = Snapshots(self._link, self._http, self._beside)
        return self._link, self._snapshots

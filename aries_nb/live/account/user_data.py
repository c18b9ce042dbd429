"""The user's data of a feed: accounts, watchlists and news, on a connection of their own.

The connection is made on first use; market data never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

from aries_nb.brokers import AccountReference, Endpoint, Reference
from aries_nb.errors import ClosedError, FeedError, UsageError
from aries_nb.live.account.account import Account
from aries_nb.live.account.marks import MarkQuotes
from aries_nb.live.account.snapshots import Snapshots
from aries_nb.live.arguments import checked_symbols, checked_text, checked_topics
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.endpoints import opened
from aries_nb.live.live_object import LiveObject
from aries_nb.live.table import LiveTable
from aries_nb.model import FillMark, Kind, RestingOrder
from aries_nb.model.prices import is_price
from aries_nb.net.connection_errors import enough_resources
from aries_nb.net.http_client import HttpClient

__all__ = ["UserData", "tables_at"]

# The tables that a broker may have, by their names on a feed and its accounts.
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
DERIVED = frozenset({"fills", "pnl"})  # computed here where the broker does not send them


def tables_at(endpoint: Endpoint | None) -> tuple[str, ...]:
    """Return the names of the user's tables that a broker has, given the endpoint of its accounts; () for None.

    A name is the attribute of an account or of the feed. `fills` and `pnl` are always among them: this library computes
    them where the broker does not send them.
    """
    if endpoint is None:
        return ()
    return tuple(name for name, kind in TABLES.items() if name in DERIVED or kind in endpoint.columns)


class UserData:
    """The accounts, watchlists and news of one user, on a connection of their own. Any thread may call every method.

    `connect` is a function that makes this connection; it is called on first use, by the thread that needs it. `quotes`
    are those of which marks are made. `reference` has the list of accounts, `account_reference` the HTTP snapshots of
    tables; None where the broker has none. `recorded` returns the accounts of a replay or a
    room, None of a feed of a broker.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        http: HttpClient,
        reference: Reference | None,
        callbacks: Callbacks,
        quotes: MarkQuotes,
        *,
        account_reference: AccountReference | None = None,
        recorded: Callable[[], tuple[str, ...]] | None = None,
    ) -> None:
        self._quotes = quotes
        self._account_reference = account_reference
        self._snapshots: Snapshots | None = None
        self._connect = connect
        self._http = http
        self._reference = reference
        self._callbacks = callbacks
        self._link: Link | None = None
        self._accounts: dict[str, Account] = {}
        self._tables: dict[object, LiveTable] = {}
        self._recorded = recorded
        self._named: tuple[str, ...] = ()
        self._is_closed = False
        self._guard = threading.RLock()  # held to look up and to write, never during a request
        self._making = threading.RLock()  # one connection and one table of each, however many threads ask

    @property
    def link(self) -> Link | None:
        """The connection to the endpoint of the accounts, None before the first use."""
        return self._link

    def holders(self) -> list[tuple[str, tuple[LiveObject, ...]]]:
        """Return what holds the live objects of the user's data: its name, and these objects."""
        with self._guard:
            accounts, tables = list(self._accounts.values()), tuple(self._tables.values())
        return [*((f"account {account.name}", account._held) for account in accounts), ("the feed", tables)]  # noqa: SLF001

    @property
    def known(self) -> tuple[str, ...]:
        """The names of the accounts that were listed or opened so far; nothing is requested."""
        with self._guard:
            return tuple({*self._named, *(self._recorded() if self._recorded else ()), *self._accounts})

    def working_orders(self, symbol: str) -> tuple[RestingOrder, ...]:
        """Return the user's unfinished limit orders in a symbol, of the accounts whose orders are streamed now."""
        reference = self._account_reference
        if self._link is None or reference is None:
            return ()
        found = []
        for row in self._link.table_rows("orders"):
            if row["symbol"] != symbol or reference.is_finished(str(row["status"])):
                continue
            price, left = (float(each) for each in (row["price"], Decimal(row["quantity"]) - Decimal(row["filled"])))
            if is_price(price) and left > 0:
                found.append(RestingOrder(str(row["side"]), price, left))
        return tuple(found)

    def own_fills(self, symbols: Collection[str] | None) -> list[FillMark]:
        """Return the newest fills (own executions) in these symbols, of the accounts whose fills are in use.

        None is all symbols.
        """
        with self._guard:
            accounts = list(self._accounts.values())
        sources = [account._source for account in accounts]
        marks = [mark for source in sources if source is not None for mark in source.marks()]
        return [mark for mark in marks if symbols is None or mark.symbol in symbols]

    def names(self) -> tuple[str, ...]:
        """Return the names of the user's accounts, from the token where it has them, else requested from the broker.

        On an event loop that must not be held up, they are those of the last request.

        Raises UsageError where the broker has no such list, FeedError for a reply that cannot be parsed, ConnectError
        or TokenError without a reply.
        """
        if self._recorded is not None:
            return self._recorded()
        if self._reference is None:
            raise UsageError("this broker has no list of accounts", where=self._http.base, advice="Name the account.")
        named = self._reference.accounts_in(self._http.token().reveal())
        if named is not None:
            return named
        if not self._http.may_block:
            if self._named:
                return self._named
            what = "the user's accounts are not listed yet, and a request would hold up the event loop"
            advice = "Name the account, or `await asyncio.to_thread(lambda: feed.accounts)` first."
            raise UsageError(what, where=self._http.base, advice=advice)
        query = self._reference.accounts()
        body = self._http.get(query.path, dict(query.params))
        try:
            self._named = self._reference.read_accounts(body)
        except ValueError as error:
            where = self._http.base + query.path
            raise FeedError(f"the list of accounts cannot be read: {error}", where=where) from error
        return self._named

    def account(self, name: str | None) -> Account:
        """Return the account of this name, None for the only one. An open account of an earlier call is returned again.

        It is recognised in capitals or not, where the user's accounts are listed.

        Raises UsageError where there is no such account, or several and no name; ConnectError or TokenError without a
        connection.
        """
        advice = "Pass its name as text; `feed.accounts` lists them."
        chosen = self._only_one() if name is None else checked_text(name, "no account", advice=advice)
        chosen, ident = (chosen, chosen) if self._reference is None else self._reference.account_id(chosen)
        with self._guard:
            account = self._accounts.get(chosen)
        if account is not None and account.is_open:
            return account
        if name is not None:
            chosen = chosen.removesuffix(ident) + self._listed(ident, chosen)
        link, snapshots = self._opened()
        with self._guard:
            self._check_open()
            account = self._accounts.get(chosen)
            if account is None or not account.is_open:
                account = Account(link, snapshots, self._callbacks, chosen, quotes=self._quotes)
                self._accounts[chosen] = account
            return account

    def watchlists(self) -> LiveTable:
        """Return all watchlists of the user as one live table. Raises UsageError where the broker has none."""
        return self._table("watchlists", lambda link: LiveTable(link, self._callbacks, "watchlists"))

    def news(self, symbols: Sequence[str], topics: str | Sequence[str]) -> LiveTable:
        """Return news about these symbols and topics as a live table; without any, all news.

        Raises UsageError where the broker has none.
        """
        names = checked_symbols(symbols) if symbols else ()
        options = (("symbols", ",".join(names)), ("topics", ",".join(checked_topics(topics))))
        make = lambda link: LiveTable(link, self._callbacks, "news", options=options)  # noqa: E731
        return self._table(("news", options), make)

    def close(self) -> None:
        """Close all accounts and tables, the connection and the HTTP client; idempotent."""
        self._http.close()
        with self._guard:
            self._is_closed = True
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
        if table is not None and table.is_open:
            return table
        with self._making:
            link, snapshots = self._opened()
            table = self._tables.get(key)
            if table is None or not table.is_open:
                table = make(link)
                with self._guard:
                    self._check_open()  # else its stream has ended with the connection
                    self._tables[key] = snapshots.keep(table)
            return table

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the feed is closed", where=self._http.base, advice="Connect again.")

    def _listed(self, ident: str, name: str) -> str:
        """Return the account `ident`, called `name` by the user, as the list of accounts spells it.

        Where neither the token nor the broker lists the accounts, any name passes, and the server decides when tables
        are subscribed to. The list is requested once, and again for a name that is not in it. Raises UsageError where
        the user has no such account.
        """
        if found := _spelled(ident, self._named):
            return found
        try:
            names = self.names()
        except ClosedError:
            raise
        except FeedError:
            return ident
        if not names and self._recorded is None:
            return ident
        if found := _spelled(ident, names):
            return found
        advice = f"There are: {', '.join(names) or 'none'}; `feed.accounts` lists them."
        raise UsageError(f"this user has no account {name!r}", where=self._http.base, advice=advice)

    def _only_one(self) -> str:
        names = self.names()
        if len(names) == 1:
            return names[0]
        if not names:
            raise UsageError("this user has no account", where=self._http.base)
        raise UsageError("there is more than one account", advice=f"Name one of: {', '.join(names)}.")

    def _opened(self) -> tuple[Link, Snapshots]:
        with self._making, enough_resources("connecting to the accounts"):
            self._check_open()
            if self._link is None or self._snapshots is None:
                link = opened(self._connect())
                snapshots = Snapshots(link, self._http, self._account_reference)
                with self._guard:
                    self._link, self._snapshots = link, snapshots
                    if self._is_closed:  # the feed was closed meanwhile: the connection would outlive it
                        snapshots.close()
                        link.close()
                self._check_open()
            return self._link, self._snapshots


def _spelled(ident: str, names: Sequence[str]) -> str:
    """Return `ident` as it is spelled in `names`: itself, else the only one that is equal but for capitals, else ""."""
    alike = [each for each in names if each.upper() == ident.upper()]
    return ident if ident in names else alike[0] if len(alike) == 1 else ""

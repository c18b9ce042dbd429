"""HTTP routes of the simulated Aries accounts, orders, watchlists and news.

Source: Aries' protocol page §7.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aries_nb.sim.aries import account_objects as objects
from aries_nb.sim.http_answers import HttpError

if TYPE_CHECKING:
    from aries_nb.sim.accounts.accounts import Accounts
    from aries_nb.sim.http_answers import Query

__all__ = ["AccountRoutes"]

#: Protocol page §7: limits of news requests and of the period of an order history.
MOST_NEWS_SYMBOLS, MOST_NEWS_TOPICS = 10, 10
MOST_HISTORY_SECONDS = 90 * 86_400


class AccountRoutes:
    """Answers HTTP requests for the simulated accounts, all of which belong to the user."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def mine(self, query: Query, now: float) -> dict[str, Any]:  # noqa: ARG002 - signature of all routes
        """Return the answer with all accounts of the user; query and `now` are ignored."""
        return objects.account_list(self._accounts)

    def watchlists(self, query: Query, now: float) -> dict[str, Any]:  # noqa: ARG002 - signature of all routes
        """Return the answer with all watchlists of the user; query and `now` are ignored."""
        return objects.watchlists(self._accounts)

    def watchlist(self, number: str) -> dict[str, Any]:
        """Return one watchlist of the user (its form is assumed). Raises HttpError (404) for an unknown number."""
        for each in self._accounts.watchlists:
            if str(each.number) == number:
                return objects.watchlist_object(each)
        raise HttpError(404, "unknown watchlist")

    def news(self, query: Query, now: float) -> dict[str, Any]:  # noqa: ARG002 - signature of all routes
        """Return the latest news about the parameter `symbols`, SPY by default, under the key `news`.

        At most 50, newest first. That key is the one that the vendor's client expects.
        """
        symbols = query.symbols(MOST_NEWS_SYMBOLS, "SPY")
        topics = [topic.strip() for topic in query.values.get("topics", "").split(",") if topic.strip()]
        if len(topics) > MOST_NEWS_TOPICS:
            raise HttpError(422, f"topics must be at most {MOST_NEWS_TOPICS}", "topics")
        return {"news": objects.news(self._accounts, symbols=symbols, topics=topics)}

    def of_account(self, account: str, what: tuple[str, ...], query: Query, now: float) -> dict[str, Any]:
        """Return the answer about one part of an account, such as its orders. `now` is in Unix s.

        `what` is the version, such as "v2", then the path after the account's id. The `query` of orders selects a
        page, that of their history also the period. Raises HttpError (404) for an unknown account or path, (422) for
        a wrong parameter.
        """
        accounts = self._accounts
        if account not in accounts.names:
            raise HttpError(404, "unknown account")
        match what:
            case ("v2", "balance"):
                return objects.balance(accounts, account)
            case ("v1", "positions"):
                return objects.positions(accounts, account)
            case ("v2", "orders"):
                return objects.active_orders(accounts, account, **_page(query))
            case ("v2", "orders", "history"):
                start, end = _moment(query, "from"), _moment(query, "to") if "to" in query.values else now
                if end - start > MOST_HISTORY_SECONDS:
                    raise HttpError(422, "from and to must be at most 90 days apart", "from")
                return objects.order_history(accounts, account, start=start, end=end, **_page(query))
            case _:
                raise HttpError(404, "unknown path")


def _page(query: Query) -> dict[str, int]:
    return {
        "limit": query.integer("limit", 1, objects.MAX_ORDERS, objects.DEFAULT_ORDERS),
        "cursor": query.integer("cursor", 0, 10**12, 0),
    }


def _moment(query: Query, name: str) -> float:
    """Return the time in the required query parameter `name`, in Unix s.

    It may be RFC 3339 or a date (UTC without a zone), or a number: Unix ms if it is above 100,000,000,000, else Unix
    s. The protocol page does not say which. Raises HttpError (422) if it is absent or anything else.
    """
    try:
        moment = datetime.fromisoformat(query.text(name))
    except ValueError:
        return query.seconds(name)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

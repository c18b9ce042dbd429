from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.sim import SimOptions
from aries_nb.sim.accounts.accounts import Accounts
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.http import AriesHttpServer
from aries_nb.sim.http_answers import HttpRequest
from aries_nb.sim.market.history import History

if TYPE_CHECKING:
    from aries_nb.sim.http_answers import HttpResponse

NOW = 1_772_471_845.0


class Api:
    """The API on accounts that have traded for some minutes."""

    def __init__(self) -> None:
        options = SimOptions()
        feed = AriesFeed(options, date(2026, 3, 2))
        history = History(feed.market, NOW)
        self.accounts = Accounts(feed.market, 1, orders_per_s=5.0, news_s=2.0)
        for second in range(120):
            self.accounts.advance(1.0, NOW + second)
        self.now = NOW + 120
        self.http = AriesHttpServer(options, feed, history, accounts=self.accounts)

    def get(self, path: str, **query: Any) -> HttpResponse:
        renamed = {name.rstrip("_"): str(value) for name, value in query.items()}
        return self.http.answer(HttpRequest("GET", path, renamed, authorization="Bearer t", now=self.now))

    def found(self, path: str, **query: Any) -> Any:
        answer = self.get(path, **query)
        assert answer.status == 200, answer
        return answer.body


@pytest.fixture(scope="module")
def api() -> Api:
    return Api()


def test_every_account_of_the_user_can_be_asked_for(api: Api) -> None:
    names = [each["trading_account_id"] for each in api.found("/v2/users/me/accounts")["accounts"]]

    assert names == list(api.accounts.names)
    for name in names:
        assert api.found(f"/v2/accounts/{name}/balance")["accountId"] == name
        assert {row["accountId"] for row in api.found(f"/v1/accounts/{name}/positions")["positions"]} <= {name}
        assert "orders" in api.found(f"/v2/accounts/{name}/orders")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/accounts/ACC-9/balance",
        "/v2/accounts/ACC-1/positions",
        "/v2/accounts/ACC-1/nope",
        "/v2/accounts/ACC-1",
        "/v1/accounts/ACC-1/balance",
        "/v1/config/watchlist/999999",
    ],
)
def test_unknown_accounts_lists_and_paths_are_not_found(api: Api, path: str) -> None:
    assert api.get(path).status == 404


def test_order_history_is_paged_by_its_cursor(api: Api) -> None:
    path, asked = "/v2/accounts/ACC-1/orders/history", {"from_": "2026-03-01", "limit": 5}
    orders, cursor = [], 0
    while True:
        answer = api.found(path, **asked, cursor=cursor)
        orders += [order["clOrdId"] for order in answer["orders"] or ()]
        cursor = answer["nextCursor"]
        if not cursor:
            break

    assert len(orders) > 5
    assert len(set(orders)) == len(orders)
    whole = api.found(path, from_="2026-03-01", limit=500)["orders"]
    assert orders == [order["clOrdId"] for order in whole]


def test_order_history_takes_times_in_every_usual_form(api: Api) -> None:
    path = "/v2/accounts/ACC-1/orders/history"

    answers = [
        api.found(path, from_=form, limit=500)
        for form in (int(NOW), int(NOW * 1000), "2026-03-02T17:17:25Z", "2026-03-02T17:17:25")
    ]

    assert NOW == 1_772_471_845
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["orders"]


@pytest.mark.parametrize(
    "query", [{}, {"from_": "yesterday"}, {"from_": "2025-01-01"}, {"from_": int(NOW), "limit": 501}]
)
def test_order_history_keeps_its_limits(api: Api, query: dict[str, Any]) -> None:
    assert api.get("/v2/accounts/ACC-1/orders/history", **query).status == 422


def test_watchlists_come_together_or_one_by_one(api: Api) -> None:
    lists = api.found("/v1/config/watchlist")["watchlist"]

    assert lists
    assert [api.found(f"/v1/config/watchlist/{each['id']}") for each in lists] == lists


def test_news_are_about_the_symbols_asked_for(api: Api) -> None:
    symbols = {symbol for headline in api.accounts.headlines for symbol in headline.symbols}

    answer = api.found("/v1/news", symbols=",".join(sorted(symbols)[:3]))["news"]

    assert answer
    assert all(set(item["symbols"]) & set(sorted(symbols)[:3]) for item in answer)
    assert all("SPY" in item["symbols"] for item in api.found("/v1/news")["news"])
    assert api.get("/v1/news", symbols=",".join(f"S{number}" for number in range(11))).status == 422
    assert api.get("/v1/news", topics=",".join(f"t{number}" for number in range(11))).status == 422

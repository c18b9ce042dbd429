"""The HTTP API of the simulated ALOR, over the port and through its routes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aries_nb.sim import AlorOptions, Simulator
from aries_nb.sim.alor.http import AlorHttpServer
from aries_nb.sim.alor.server import AlorServer
from aries_nb.sim.http_answers import HttpRequest
from tests.sim.alor.client import AlorClient

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400
SBER = {"exchange": "MOEX", "symbol": "SBER"}
OURS = "/md/v2/Clients/MOEX/D00001"


class Api:
    """The routes of a server that does not run."""

    def __init__(self, **options: Any) -> None:
        self.server = AlorServer(AlorOptions(**{"orders_per_s": 100.0, **options}))
        self.http = AlorHttpServer(self.server)
        self.now = self.server.feed.history.start

    def get(self, path: str, **query: Any) -> Any:
        status, body, _ = self.request(path, query)
        assert status == 200, body
        return body

    def request(self, path: str, query: dict[str, Any], token: str = "t", method: str = "GET") -> Any:
        texts = {name.rstrip("_"): str(value) for name, value in query.items()}
        self.now += 0.1  # within the rate of requests
        return self.http.answer(HttpRequest(method, path, texts, authorization=f"Bearer {token}", now=self.now))


@pytest.fixture(scope="module")
def api() -> Api:
    """Routes of a server whose portfolios have traded."""
    made = Api()
    for _ in range(100):
        made.now += 0.2
        made.server.portfolios.accounts.advance(0.2, made.now)
    return made


@pytest.fixture(scope="module")
def market() -> Iterator[Simulator]:
    with Simulator(AlorOptions(rate=2000)) as sim:
        yield sim


def test_bars_over_http_are_those_of_the_subscription(market: Simulator) -> None:
    base, since = market.url.replace("ws:", "http:"), int(time.time()) - 6 * DAY
    token = httpx.post(f"{base}/refresh", json={"Token": "sim-refresh"}).json()["AccessToken"]
    with AlorClient(market.url) as bare:
        bare.request("AllTradesSubscribe", exchange="MOEX", code="SBER")
        bare.receive_data(100)
        market.set_market("closed")  # so that no trade happens between both answers
        bare.request(
            "BarsGetAndSubscribe", "b", exchange="MOEX", code="SBER", tf="300", format="Slim", **{"from": since}
        )
        received = bare.receive_until(lambda frame: frame.get("requestGuid") == "b")
        frames = [frame["data"] for frame in received if frame.get("guid") == "b"]
        query = {**SBER, "tf": "300", "from": since, "to": int(time.time()), "format": "Slim"}
        answer = httpx.get(f"{base}/md/v2/history", params=query, headers={"Authorization": f"Bearer {token}"}).json()
        market.set_market("open")

    assert len(frames) > 200
    assert answer["history"] == frames
    assert (answer["next"], answer["prev"] < since) == (None, True)


def test_pages_of_bars_join_without_a_gap(api: Api) -> None:
    last = int(api.server.feed.history.start) - DAY
    first = last - 10 * DAY
    whole = api.get("/md/v2/history", **SBER, tf="3600", from_=first, to=last)["history"]

    pages: list[Any] = []
    start = first
    while start is not None and start <= last:
        page = api.get("/md/v2/history", **SBER, tf="3600", from_=start, to=min(start + 3 * DAY, last))
        pages += page["history"]
        start = page["next"]

    assert len(whole) > 30
    assert pages == whole


def test_as_many_bars_as_wanted_are_counted_back(api: Api) -> None:
    last = int(api.server.feed.history.start)

    answer = api.get("/md/v2/history", **SBER, tf="D", from_=last - 1, to=last, countBack=300)

    assert len(answer["history"]) == 300
    assert answer["prev"] < answer["history"][0]["time"]


def test_weeks_begin_on_monday_and_months_on_the_first(api: Api) -> None:
    last = int(api.server.feed.history.start)
    weeks, months, years = (
        [bar["time"] for bar in api.get("/md/v2/history", **SBER, tf=tf, from_=0, to=last)["history"]] for tf in "WMY"
    )

    assert {time.gmtime(start).tm_wday for start in weeks} == {0}
    assert {time.gmtime(start).tm_mday for start in months} == {1}
    assert {time.gmtime(start).tm_yday for start in years} == {1}
    assert len(weeks) > len(months) > len(years) >= 3


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/nowhere", {}, 404),
        ("/md/v2/history", {**SBER, "tf": "60", "to": 1}, 400),
        ("/md/v2/history", {**SBER, "tf": "1h", "from": 0, "to": 1}, 400),
        ("/md/v2/history", {"exchange": "MOEX", "symbol": "NONE", "tf": "60", "from": 0, "to": 1}, 404),
        ("/md/v2/Securities/NYSE/IBM", {}, 404),
        ("/md/v2/Securities/MOEX/SBER/quotes", {}, 404),
        ("/md/v2/Securities/SBER/quotes", {}, 400),
        ("/md/v2/orderbooks/MOEX/SBER", {"depth": 51}, 400),
        ("/md/v2/orderbooks/MOEX/SBER", {"format": "fat"}, 400),
        ("/md/v2/Securities/MOEX/SBER/alltrades/history", {}, 400),
        ("/md/v2/Clients/MOEX/D99999/orders", {}, 403),
        (f"{OURS}/nothing", {}, 404),
        (f"{OURS}/orders/1", {}, 404),
        ("/md/v2/Clients/SPBX/7500001/summary", {}, 404),
        ("/md/v2/Clients/UNITED/D00001/summary", {}, 404),
        ("/md/v2/Securities/UNITED/SBER", {}, 404),
        ("/md/v2/\ud800", {}, 400),
    ],
)
def test_bad_request_gets_an_error_status(api: Api, path: str, query: dict[str, Any], status: int) -> None:
    answer = api.request(path, query)

    assert answer.status == status
    assert set(answer.body) == {"code", "message"}


@pytest.mark.parametrize(
    ("path", "query", "same"),
    [
        ("/md/v2/clients/MOEX/D00001/orders", {}, f"{OURS}/orders"),
        ("/md/v2/clients/MOEX/D00001/stopOrders", {}, f"{OURS}/stoporders"),
        ("/md/v2/clients/MOEX/D00001/summary", {}, f"{OURS}/summary"),
        ("/MD/v2/clients/MOEX/D00001/Positions", {"withoutCurrency": "False"}, f"{OURS}/positions"),
        ("/md/v2/stats/MOEX/D00001/history/trades", {"descending": False}, "/md/v2/Stats/MOEX/D00001/history/trades"),
        ("/md/v2/securities/MOEX/SBER/availableBoards", {}, "/md/v2/Securities/MOEX/SBER/availableBoards"),
        (
            "/md/v2/securities/MOEX/SBER/allTrades",
            {"descending": "False", "side": "Any"},
            "/md/v2/Securities/MOEX/SBER/alltrades",
        ),
    ],
)
def test_other_spellings_get_the_same_answer(api: Api, path: str, query: dict[str, Any], same: str) -> None:
    assert api.get(path, **query) == api.get(same)


def test_positions_without_currency_for_a_flag_in_capitals(api: Api) -> None:
    held = api.get(f"{OURS}/positions")

    assert api.get(f"{OURS}/positions", withoutCurrency="True") == [each for each in held if not each["isCurrency"]]
    assert any(each["isCurrency"] for each in held)
    assert api.request(f"{OURS}/positions", {"withoutCurrency": "yes"}).status == 400


def test_own_trades_of_one_instrument(api: Api) -> None:
    trades = api.get(f"{OURS}/trades")
    symbol = trades[0]["symbol"]

    assert api.get(f"{OURS}/{symbol}/trades") == [each for each in trades if each["symbol"] == symbol]
    assert api.get(f"{OURS}/NONE/trades") == []


def test_past_own_trades_of_one_instrument(api: Api) -> None:
    path = "/md/v2/stats/MOEX/D00001/history/trades"
    symbol = api.get(path, limit=1)[0]["symbol"]

    found = api.get(f"{path}/{symbol}", descending="True", limit=5)

    assert found == api.get(path, ticker=symbol, descending="True", limit=5) != []
    assert api.get(f"{path}/NONE") == []


def test_own_trades_of_one_side(api: Api) -> None:
    path = "/md/v2/Stats/MOEX/D00001/history/trades"

    assert {each["side"] for each in api.get(path, side="Sell", limit=200)} == {"sell"}
    assert {each["side"] for each in api.get(path, limit=200)} == {"buy", "sell"}


def test_positions_of_a_login_are_those_of_its_portfolios(api: Api) -> None:
    found = api.get("/md/v2/Clients/P000001/positions", withoutCurrency="True")

    names = {(each["exchange"], each["portfolio"]) for each in found}
    assert len(names) > 1
    assert [each for each in found if (each["exchange"], each["portfolio"]) == ("MOEX", "D00001")] == api.get(
        f"{OURS}/positions", withoutCurrency="True"
    )
    assert api.request("/md/v2/Clients/P999999/positions", {}).status == 403


def test_nothing_is_answered_without_a_good_token(api: Api) -> None:
    assert [api.request("/md/v2/time", {}, token).status for token in ("", "a.bad.one", "t")] == [401, 401, 200]
    assert api.request("/md/v2/time", {}, method="POST").status == 405


def test_requests_of_a_user_are_limited_by_the_second() -> None:
    http = AlorHttpServer(AlorServer(AlorOptions(http_rate=10)))

    def request(now: float) -> int:
        return http.answer(HttpRequest("GET", "/md/v2/time", {}, authorization="Bearer t", now=now)).status

    first = [request(100.0) for _ in range(12)]

    assert (first.count(200), first.count(429)) == (10, 2)
    assert request(101.0) == 200


def test_token_is_got_by_query_or_by_body_and_the_body_wins(market: Simulator) -> None:
    url = market.url.replace("ws:", "http:") + "/refresh"
    asked = [
        httpx.post(url, params={"token": "sim-refresh", "allowedPortfolios": '["D00002"]'}),
        httpx.post(url, json={"token": "sim-refresh"}, params={"token": "bad"}),
        httpx.post(url, params={"token": "bad"}),
        httpx.post(url),
        httpx.post(url, content=b"{"),
        httpx.get(url),
    ]

    assert [answer.status_code for answer in asked] == [200, 200, 403, 400, 400, 405]
    assert [list(answer.json()) for answer in asked[:2]] == [["AccessToken"]] * 2


def test_instruments_have_lots_boards_and_steps(api: Api) -> None:
    sber, lkoh, aapl = (api.get(f"/md/v2/Securities/{name}") for name in ("MOEX/SBER", "MOEX/LKOH", "SPBX/AAPL"))

    terms = [(each["lotsize"], each["minstep"], each["primary_board"], each["currency"]) for each in (sber, lkoh, aapl)]
    assert terms == [(10, 0.01, "TQBR", "RUB"), (1, 0.5, "TQBR", "RUB"), (1, 0.01, "SPBX", "USD")]
    assert api.get("/md/v2/Securities/MOEX/SBER/availableBoards") == ["TQBR", "SMAL"]
    assert sber["priceMin"] < sber["priceMax"]


def test_instruments_are_found_and_listed_by_market(api: Api) -> None:
    found = api.get("/md/v2/Securities", query="sber")
    futures = api.get("/md/v2/Securities/MOEX", market="FORTS", limit=100)
    page = api.get("/md/v2/Securities", exchange="SPBX", limit=3, offset=2)

    assert [each["symbol"] for each in found] == ["SBER", "SBERP"]
    assert len(futures) == 10
    assert {each["board"] for each in futures} == {"RFUD"}
    assert all(each["cancellation"] and each["marginbuy"] > 0 for each in futures)
    assert [each["exchange"] for each in page] == ["SPBX"] * 3


def test_quotes_and_books_have_the_forms_of_the_subscriptions(api: Api) -> None:
    quotes = api.get("/md/v2/Securities/MOEX:SBER,SPBX:AAPL/quotes", format="slim")
    book = api.get("/md/v2/orderbooks/MOEX/SBER", depth=3, format="Heavy")

    assert [(quote["sym"], quote["lot"]) for quote in quotes] == [("SBER", 10), ("AAPL", 1)]
    assert list(book) == ["bids", "asks", "msTimestamp", "existing"]
    assert (len(book["bids"]), book["bids"][0]["price"], book["asks"][0]["price"]) == (
        3,
        quotes[0]["bid"],
        quotes[0]["ask"],
    )


def test_the_trades_of_the_session_can_be_filtered(market: Simulator) -> None:
    base = market.url.replace("ws:", "http:")
    with AlorClient(market.url) as bare:
        bare.request("AllTradesGetAndSubscribe", exchange="MOEX", code="GAZP")
        received = bare.receive_data(200)
        bare.request("unsubscribe")
        bare.sync()

    def request(**query: Any) -> list[dict[str, Any]]:
        url, headers = f"{base}/md/v2/Securities/MOEX/GAZP/alltrades", {"Authorization": "Bearer t"}
        found: list[dict[str, Any]] = httpx.get(url, params=query, headers=headers).json()
        return found

    last = received[-1]["id"]
    every, some = request(toId=last), request(side="buy", take=5, descending="true", toId=last)
    assert [each["id"] for each in every] == [each["id"] for each in received]
    assert [each["id"] for each in some] == [each["id"] for each in received[::-1] if each["side"] == "buy"][:5]


def test_portfolio_over_http_is_that_of_the_books(api: Api) -> None:
    books = api.server.portfolios.accounts.figures("MOEX:D00001")
    positions = api.get(f"{OURS}/positions")
    orders, fills = api.get(f"{OURS}/orders", format="Heavy"), api.get(f"{OURS}/trades")

    assert api.get(f"{OURS}/summary")["portfolioEvaluation"] == float(books.equity)
    assert api.get(f"{OURS}/risk")["riskStatus"] == "Ok"
    assert api.get(f"{OURS}/fortsrisk")["moneyAmount"] == float(books.equity)
    assert [each["symbol"] for each in positions] == [each.position.symbol for each in books.positions] + ["RUB"]
    assert api.get(f"{OURS}/positions", withoutCurrency="true") == positions[:-1]
    assert api.get(f"{OURS}/positions/RUB") == positions[-1]
    assert api.get(f"{OURS}/orders/{orders[0]['id']}", format="Heavy") == orders[0]
    assert {fill["orderno"] for fill in fills} <= {order["id"] for order in orders}
    assert {stop["type"] for stop in api.get(f"{OURS}/stoporders")} == {"stop"}


def test_own_trades_can_be_paged(api: Api) -> None:
    path = "/md/v2/Stats/MOEX/D00001/history/trades"
    fills = api.get(f"{OURS}/trades")

    newest = api.get(path, limit=3, descending="true")
    later = api.get(path, limit=1000, from_=fills[5]["id"])

    assert newest == fills[:-4:-1]
    assert later == fills[5:]
    assert api.get(path, dateFrom="2999-01-01") == []


def test_clock_is_the_servers(api: Api) -> None:
    assert api.get("/md/v2/time") == int(api.now)


# Trades of past sessions.

PAST_TAPE = "/md/v2/Securities/MOEX/SBER/alltrades/history"


def test_pages_of_past_trades_join_without_a_gap(api: Api) -> None:
    _, opened, _ = api.server.feed.history.sessions("SBER")[-3]
    span = {"from_": opened + 3_600, "to": opened + 5_400}

    whole = api.get(PAST_TAPE, limit=50_000, **span)
    pages = [api.get(PAST_TAPE, limit=400, offset=start, **span) for start in range(0, whole["total"], 400)]

    assert {page["total"] for page in pages} == {len(whole["list"])}
    assert [each for page in pages for each in page["list"]] == whole["list"]
    assert len(whole["list"]) > 1_000
    numbers = [each["id"] for each in whole["list"]]
    assert numbers == sorted(set(numbers))
    times = [each["timestamp"] / 1000 for each in whole["list"]]
    assert span["from_"] <= min(times) <= max(times) <= span["to"]
    assert {each["side"] for each in whole["list"]} == {"buy", "sell"}


def test_past_trades_are_those_of_which_the_bars_are_made(api: Api) -> None:
    _, opened, _ = api.server.feed.history.sessions("SBER")[-2]
    span = {"from_": opened, "to": opened + 3_599.999}
    bar = api.get("/md/v2/history", **SBER, tf="3600", from_=opened, to=opened)["history"][0]

    trades = api.get(PAST_TAPE, limit=50_000, **span)["list"]

    prices = [each["price"] for each in trades]
    assert (prices[0], max(prices), min(prices), prices[-1]) == (bar["open"], bar["high"], bar["low"], bar["close"])
    assert sum(each["qty"] for each in trades) == bar["volume"]


def test_past_trades_over_sessions_are_counted_and_come_before_those_of_now(api: Api) -> None:
    sessions = api.server.feed.history.sessions("SBER")
    first, last = sessions[-12][1], sessions[-2][1] + 600

    found = api.get(PAST_TAPE, limit=5, offset=100_000, from_=first, to=last)
    _, places, _ = api.server.feed.history.past_trades("SBER", (first * 10**9, last * 10**9), 0, 10**9)
    live = api.server.feed.channel(api.server.feed.security("MOEX", "SBER")).prints.add(1, 1.0, 1.0, "buy").number  # type: ignore[arg-type]

    assert found["total"] == len(places)
    assert [each["id"] - found["list"][0]["id"] for each in found["list"]] == list(
        places[100_000:100_005] - places[100_000]
    )
    assert found["list"][-1]["id"] < live


def test_past_of_a_recorded_or_unknown_instrument_is_empty_or_refused(api: Api) -> None:
    assert api.get("/md/v2/Securities/MOEX/SIM00001/alltrades/history", limit=5) == {"total": 0, "list": []}
    assert api.request("/md/v2/Securities/MOEX/NONE/alltrades/history", {"limit": 5}).status == 404


def test_slow_answers_are_made_outside_the_loop(market: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, threads = market._server.feed, []  # type: ignore[union-attr]
    for name in ("prepare_days", "past_trades"):
        made = getattr(feed.history, name)

        def noted(*args: Any, made: Any = made) -> Any:
            threads.append(threading.current_thread())
            return made(*args)

        monkeypatch.setattr(feed.history, name, noted)
    base, token = market.url.replace("ws:", "http:"), {"Authorization": "Bearer t"}
    loop = market._call(threading.current_thread)

    days = httpx.get(f"{base}/md/v2/history", params={**SBER, "tf": "D", "from": 0, "to": 2**31}, headers=token)
    trades = httpx.get(base + PAST_TAPE, params={"limit": 7}, headers=token)

    assert (len(days.json()["history"]) > 700, len(trades.json()["list"])) == (True, 7)
    assert len(threads) == 2
    assert loop not in threads


# Margins and past own trades.


def test_margin_of_a_future_is_a_part_of_what_a_contract_is_worth(api: Api) -> None:
    futures = {each["symbol"][:2]: each for each in api.get("/md/v2/Securities/MOEX", market="FORTS", limit=100)}
    worth = {root: each["priceMax"] / 1.2 / each["minstep"] * each["pricestep"] for root, each in futures.items()}

    # A thousand dollars, ten barrels of oil, a hundred shares: none has a value of millions.
    assert {root: round(each["marginbuy"] / worth[root], 2) for root, each in futures.items()} == dict.fromkeys(
        futures, 0.15
    )
    assert (futures["Si"]["pricestep"], futures["BR"]["pricestep"], futures["SR"]["pricestep"]) == (1.0, 8.125, 1.0)
    assert all(1_000 < each["marginbuy"] < 100_000 for each in futures.values())


def test_derivatives_block_the_margin_of_their_contracts(api: Api) -> None:
    url = "/md/v2/Clients/MOEX/7500001"
    contracts = {each["symbol"]: each["qtyUnits"] for each in api.get(f"{url}/positions", withoutCurrency="true")}
    listed = {each["symbol"]: each for each in api.get("/md/v2/Securities/MOEX", market="FORTS", limit=100)}

    blocked = api.get(f"{url}/fortsrisk")["moneyBlocked"]

    # The listed margin is that of the centre of the price limits, which follows the price in steps.
    expected = sum(abs(count) * listed[symbol]["marginbuy"] for symbol, count in contracts.items())
    assert contracts
    assert blocked == pytest.approx(expected, rel=0.15)
    assert api.get(f"{url}/summary")["initialMargin"] == blocked


def test_own_trades_go_back_before_the_start_and_are_paged_by_their_numbers(api: Api) -> None:
    path, session = "/md/v2/Stats/MOEX/D00001/history/trades", api.get(f"{OURS}/trades")
    pages: list[Any] = []
    start = 0
    while True:
        page = api.get(path, limit=400, from_=start)
        pages += page[bool(pages) :]
        start = page[-1]["id"]
        if len(page) < 400:
            break

    numbers = [int(each["id"]) for each in pages]
    bought = {
        side: sum(each["qtyUnits"] for each in pages[: -len(session)] if each["side"] == side)
        for side in ("buy", "sell")
    }
    assert len(pages) > 1_000
    assert numbers == sorted(set(numbers))
    assert [each["date"] for each in pages] == sorted(each["date"] for each in pages)
    assert pages[-len(session) :] == session
    assert bought["buy"] == bought["sell"]
    assert pages[0]["date"] < time.strftime("%Y-%m-%d", time.gmtime(api.now - 60 * DAY))


def test_own_trades_of_an_ended_session_are_past_only() -> None:
    api = Api()
    for _ in range(40):
        api.now += 0.2
        api.server.portfolios.accounts.advance(0.2, api.now)
    ended = api.get(f"{OURS}/trades")

    api.server.portfolios.begin_session()

    assert ended
    assert api.get(f"{OURS}/trades") == []
    assert api.get("/md/v2/Stats/MOEX/D00001/history/trades", from_=ended[0]["id"], limit=1000) == ended

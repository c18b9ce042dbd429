from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.sim import SimOptions
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.http import AriesHttpServer
from aries_nb.sim.aries.http_bars import MOST_BARS
from aries_nb.sim.aries.oauth import OAuthServer, OAuthSettings
from aries_nb.sim.http_answers import HttpRequest, HttpResponse
from aries_nb.sim.market.history import NEW_YORK, History, session_open

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TODAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 12, 17, 25, tzinfo=NEW_YORK).timestamp()
OPENED = session_open(TODAY)
FRIDAY = session_open(date(2026, 2, 27))


class Api:
    """The API on a fresh market, without a socket."""

    def __init__(self, *, accounts: Any = None, errors: Any = "flat", oauth: Any = None, **options: Any) -> None:
        made = SimOptions(**options)
        self.feed = AriesFeed(made, TODAY)
        self.history = History(self.feed.market, NOW)
        self.http = AriesHttpServer(made, self.feed, self.history, oauth=oauth, accounts=accounts, errors=errors)

    def get(
        self, path: str, *, token: str | None = "t", method: str = "GET", body: bytes = b"", **query: Any
    ) -> HttpResponse:
        renamed = {name.rstrip("_"): str(value) for name, value in query.items()}
        authorization = "" if token is None else f"Bearer {token}"
        return self.http.answer(HttpRequest(method, path, renamed, body, authorization, now=NOW))

    def found(self, path: str, **query: Any) -> Any:
        answer = self.get(path, **query)
        assert answer.status == 200, answer
        return json.loads(json.dumps(answer.body, allow_nan=False))

    def trade(self, count: int, symbol: str = "AAPL") -> None:
        for number in range(count):
            self.history.trade(symbol, int((NOW + number) * 1e9), 260.0 + number % 10, 10)


@pytest.fixture
def api() -> Api:
    return Api()


def test_equity_details_show_the_market_as_it_is(api: Api) -> None:
    share = api.feed.market.shares["MSFT"]

    answer = api.found("/v1/marketdata/equities/details", symbols="MSFT,NOPE,MSFT261218C00500000")

    (row,) = answer["data"]
    quote = share.quote()
    assert (row["bidPrice"], row["askPrice"], row["bidSize"]) == (quote.bid_price, quote.ask_price, quote.bid_size)
    assert row["closePrice"] == share.previous_close
    assert row["netChange"] == round(share.last.price - share.previous_close, 2)
    assert row["tradeTimestamp"] == "2026-03-02T17:17:25.000Z"
    assert type(row["tick"]) is int
    assert [error["symbol"] for error in answer["errors"]] == ["NOPE", "MSFT261218C00500000"]


def test_trade_time_is_that_of_the_last_live_trade(api: Api) -> None:
    api.trade(3)

    row = api.found("/v1/marketdata/equities/details", symbols="AAPL")["data"][0]

    assert row["tradeTimestamp"] == "2026-03-02T17:17:27.000Z"


def test_option_details_and_listed_options_agree(api: Api) -> None:
    dates = api.found("/v1/options/AAPL/expiry-dates")
    contracts = api.found(f"/v1/options/AAPL/contracts/{dates['expiryDates'][3]}")
    symbol = contracts["calls"][5]["symbol"]

    answer = api.found("/v1/marketdata/options/details", symbols=f"{symbol},AAPL")

    (row,) = answer["data"]
    assert row["symbol"] == symbol
    assert row["bidPrice"] <= row["midPrice"] <= row["askPrice"]
    assert answer["errors"] == [{"symbol": "AAPL", "error": "unknown option"}]
    assert api.get("/v1/options/NOPE/expiry-dates").status == 404
    assert api.get("/v1/options/AAPL/contracts/2001-01-01").status == 404


def test_chart_quotes_name_what_is_unknown(api: Api) -> None:
    answer = api.found("/v1/chart/quotes", symbols="AAPL,NOPE")

    known, unknown = answer["d"]
    assert known["n"] == "AAPL"
    assert known["v"]["lp"] == api.feed.market.shares["AAPL"].last.price
    assert {"bid", "ask", "ch", "chp", "open_price", "prev_close_price", "description"} <= known["v"].keys()
    assert unknown == {"s": "error", "n": "NOPE", "v": {}}


def test_history_comes_in_parallel_arrays(api: Api) -> None:
    answer = api.found("/v1/chart/history", symbol="AAPL", resolution="60", from_=OPENED, to=int(NOW))

    assert answer["s"] == "ok"
    assert answer["t"] == [OPENED, OPENED + 3600, OPENED + 7200]
    assert {len(answer[name]) for name in "tohlcv"} == {3}
    assert answer["c"][-1] == api.feed.market.shares["AAPL"].opening


def test_history_takes_milliseconds_as_well(api: Api) -> None:
    in_seconds, in_ms = (
        api.found("/v1/chart/history", symbol="AAPL", resolution="5", from_=OPENED * unit, to=int(NOW) * unit)
        for unit in (1, 1000)
    )

    assert in_ms == in_seconds


def test_history_without_bars_names_the_last_before(api: Api) -> None:
    sunday = OPENED - 86_400

    answer = api.found("/v1/chart/history", symbol="AAPL", resolution="1", from_=sunday, to=sunday + 3600)

    assert answer == {"s": "no_data", "nextTime": FRIDAY + 389 * 60}
    assert api.found("/v1/chart/history", symbol="AAPL", resolution="1", from_=0, to=10) == {"s": "no_data"}
    assert api.found("/v1/chart/history", symbol="SPX", resolution="1", from_=0, to=NOW) == {"s": "no_data"}


def test_history_beyond_the_limit_is_paged(api: Api) -> None:
    end, pages = int(NOW), []
    for _ in range(3):
        answer = api.found("/v1/chart/history", symbol="KO", resolution="1", from_=OPENED - 120 * 86_400, to=end)
        pages.insert(0, answer["t"])
        if "nextTo" not in answer:
            break
        end = int(answer["nextTo"])

    times = [time for page in pages for time in page]
    assert [len(page) for page in pages[1:]] == [MOST_BARS]
    assert times == sorted(set(times))
    assert times[-1] == int(NOW) // 60 * 60 - 60


def test_charts_say_in_the_body_what_they_do_not_know(api: Api) -> None:
    asked = {"from_": OPENED, "to": int(NOW)}

    assert api.found("/v1/chart/history", symbol="NOPE", resolution="1", **asked)["s"] == "error"
    assert api.found("/v1/chart/history", symbol="AAPL", resolution="7", **asked)["s"] == "error"
    assert api.found("/v1/chart/tick-history", symbol="AAPL", resolution="7T")["s"] == "error"
    assert api.found("/v1/chart/tick-history", symbol="AAPL", resolution="1T", cursor="x")["s"] == "error"


def test_tick_history_is_paged_by_its_cursor(api: Api) -> None:
    api.trade(95)

    first = api.found("/v1/chart/tick-history", symbol="AAPL", resolution="10T", countback=6)
    second = api.found("/v1/chart/tick-history", symbol="AAPL", resolution="10T", countback=6, cursor=first["nextTo"])

    assert first["t"][-1] == int((NOW + 90) * 1000)
    assert second["t"] + first["t"] == [int((NOW + 10 * number) * 1000) for number in range(10)]
    assert first["v"][-1] == 50
    assert "nextTo" not in second
    assert api.found("/v1/chart/tick-history", symbol="MSFT", resolution="1T") == {"s": "no_data"}


def test_tick_history_keeps_within_its_budget_of_trades(api: Api) -> None:
    api.trade(60_000)

    answers = [
        api.found("/v1/chart/tick-history", symbol="AAPL", resolution=name, countback=100_000)
        for name in ("1T", "1000T")
    ]

    assert [len(answer["t"]) for answer in answers] == [5000, 50]


def test_history_has_tick_bars_by_time(api: Api) -> None:
    api.trade(20)

    answer = api.found("/v1/chart/history", symbol="AAPL", resolution="10T", from_=NOW + 5, to=NOW + 60)

    assert answer["t"] == [int(NOW + 10)]


def test_aggregates_agree_with_the_chart(api: Api) -> None:
    api.trade(100)

    bars = api.found("/v1/stocks/aggs", ticker="AAPL", multiplier=1, timespan="hour", from_=TODAY, to=TODAY)
    chart = api.found("/v1/chart/history", symbol="AAPL", resolution="60", from_=OPENED, to=NOW + 86_400)

    assert [row["t"] // 1000 for row in bars["results"]] == chart["t"]
    assert [row["v"] for row in bars["results"]] == chart["v"]
    assert all(row["l"] <= row["vw"] <= row["h"] for row in bars["results"])
    assert bars["results"][-1]["n"] > 100


def test_aggregates_of_days_include_both_dates(api: Api) -> None:
    answer = api.found(
        "/v1/stocks/aggs", ticker="AAPL", multiplier=1, timespan="day", from_="2026-02-26", to="2026-03-02"
    )

    days = [datetime.fromtimestamp(row["t"] / 1000, NEW_YORK).date() for row in answer["results"]]
    assert len(days) == 3
    assert answer["resultsCount"] == 3
    assert answer["status"] == "OK"


def test_aggregates_are_paged_in_either_direction(api: Api) -> None:
    asked = {"ticker": "AAPL", "multiplier": 5, "timespan": "minute", "from_": OPENED * 1000, "to": int(NOW * 1000)}
    whole = api.found("/v1/stocks/aggs", **asked)["results"]

    first = api.found("/v1/stocks/aggs", **asked, sort="desc", limit=20)
    rest = api.found("/v1/stocks/aggs", **asked, sort="desc", limit=20, next=first["next"])

    assert first["results"] + rest["results"] == whole[::-1]
    assert "next" not in rest
    assert parse_qs(urlsplit(first["nextUrl"]).query)["next"] == [first["next"]]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/chart/history", {"symbol": "AAPL", "resolution": "1", "from_": "x", "to": 5}),
        ("/v1/chart/history", {"symbol": "AAPL", "resolution": "1", "to": 5}),
        ("/v1/chart/history", {"symbol": "AAPL", "resolution": "1", "from_": "nan", "to": "inf"}),
        ("/v1/chart/tick-history", {"symbol": "AAPL", "resolution": "1T", "countback": 0}),
        ("/v1/stocks/aggs", {"ticker": "AAPL", "multiplier": 1, "timespan": "second", "from_": 0, "to": 1}),
        ("/v1/stocks/aggs", {"ticker": "AAPL", "multiplier": 0, "timespan": "day", "from_": 0, "to": 1}),
        ("/v1/stocks/aggs", {"ticker": "AAPL", "multiplier": 1, "timespan": "day", "from_": "2026-13-01", "to": 1}),
        ("/v1/marketdata/search", {"query": "A", "limit": 101}),
        ("/v1/marketdata/search", {}),
        ("/v1/marketdata/equities/details", {"symbols": " , "}),
        ("/v1/options/snapshot/chain/AAPL", {"limit": 251}),
        ("/v1/options/snapshot/chain/AAPL", {"contractType": "swap"}),
        ("/v1/market/status", {"exchange": "XX"}),
    ],
)
def test_wrong_parameters_are_refused_with_422(api: Api, path: str, query: dict[str, Any]) -> None:
    answer = api.get(path, **query)

    assert answer.status == 422
    assert answer.body["error"]  # type: ignore[index]


def test_errors_come_in_the_flat_shape_or_in_the_nested_one() -> None:
    flat, nested = (Api(errors=shape).get("/v1/marketdata/search").body for shape in ("flat", "nested"))

    assert flat == {
        "error": "query is required",
        "codes": [{"code": "VALIDATION", "description": "query is required", "field": "query"}],
        "metadata": {},
    }
    assert isinstance(nested, dict)
    assert nested["error"]["type"] == "VALIDATION"
    assert nested["error"]["message"] == "query is required"
    assert re.fullmatch(r"[0-9a-f-]{36}", nested["error"]["request_id"])


def test_search_finds_shares_indices_and_options(api: Api) -> None:
    plain = api.found("/v1/marketdata/search", query="sp", limit=5)
    options = api.found("/v1/marketdata/search", query=".AAPL26", limit=30)

    assert {(row["symbol"], row["type"]) for row in plain} >= {("SPX", "index"), ("SPY", "stock")}
    assert len(options) == 30
    assert {row["type"] for row in options} == {"option"}
    assert api.found("/v1/marketdata/search", query="/ES") == []
    assert api.found("/v1/chart/search", query="MSFT")[0]["exchange"] == "NASDAQ"


def test_chart_describes_itself(api: Api) -> None:
    config = api.found("/v1/chart/config")

    for name in config["supported_resolutions"]:
        answer = api.found("/v1/chart/history", symbol="AAPL", resolution=name, from_=NOW - 430 * 86_400, to=NOW + 1)
        assert answer["s"] == ("no_data" if name.endswith("T") else "ok")
    assert api.found("/v1/chart/symbols", symbol="AAPL")["timezone"] == "America/New_York"
    assert api.get("/v1/chart/symbols", symbol="NOPE").status == 404
    assert api.get("/v1/chart/time").body == str(int(NOW))


def test_market_status_is_that_of_the_simulated_market(api: Api) -> None:
    assert api.found("/v1/market/status", exchange="US") == {
        "exchange": "US",
        "isOpen": True,
        "session": "regular",
        "timestamp": int(NOW),
        "timezone": "America/New_York",
    }


def test_chain_has_greeks_and_keeps_to_its_filters(api: Api) -> None:
    expiry = api.found("/v1/options/AAPL/expiry-dates")["expiryDates"][4]

    answer = api.found(
        "/v1/options/snapshot/chain/AAPL",
        expirationDate=expiry,
        strikePriceGte=250,
        strikePriceLt=280,
        contractType="call",
    )

    rows = answer["results"]
    strikes = [row["details"]["strikePrice"] for row in rows]
    deltas = [row["greeks"]["delta"] for row in rows]
    assert strikes == [250.0, 255.0, 260.0, 265.0, 270.0, 275.0]
    assert {row["details"]["expirationDate"] for row in rows} == {expiry}
    assert deltas == sorted(deltas, reverse=True)
    assert all(row["lastQuote"]["bid"] < row["lastQuote"]["ask"] for row in rows)


def test_chain_is_paged_without_gap_or_repetition(api: Api) -> None:
    asked = {"expirationDateLte": "2026-03-13", "strikePriceGt": 230, "strikePriceLte": 300}
    tickers, cursor = [], {}
    while True:
        answer = api.found("/v1/options/snapshot/chain/AAPL", **asked, limit=17, **cursor)
        tickers += [row["details"]["ticker"] for row in answer["results"]]
        if "next" not in answer:
            break
        cursor = {"next": answer["next"]}

    whole = api.found("/v1/options/snapshot/chain/AAPL", **asked, limit=250)["results"]
    assert tickers == [row["details"]["ticker"] for row in whole]
    assert len(set(tickers)) == len(tickers) == 2 * 2 * 14


def test_recorded_share_is_unknown_over_http(tmp_path: Any) -> None:
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    row = {"ts": [moment], "symbol": ["AAPL"], "price": [1.0], "size": [1.0], "side": ["buy"]}
    pq.write_table(pa.table(row), tmp_path / "trades.parquet")
    api = Api(tapes=(tmp_path / "trades.parquet",))

    assert api.get("/v1/stocks/aggs", ticker="AAPL", multiplier=1, timespan="day", from_=0, to=1).status == 404
    assert api.get("/v1/options/snapshot/chain/AAPL").status == 404
    assert api.found("/v1/chart/symbols", symbol="MSFT")["name"] == "MSFT"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/v1/orders", "POST", 404),
        ("/v1/chart/history/", "GET", 404),
        ("/v1/chart/config", "POST", 405),
        ("/v1/options/%2e%2e%2fAAPL/expiry-dates", "GET", 404),
        ("/v2/users/me/accounts", "GET", 404),
    ],
)
def test_other_paths_and_methods_are_refused(api: Api, path: str, method: str, status: int) -> None:
    assert api.get(path, method=method).status == status


def test_health_needs_no_token(api: Api) -> None:
    assert api.get("/tv/health", token=None).status == 200


def test_every_other_path_needs_a_token_even_an_unknown_one(api: Api) -> None:
    for path in ("/v1/chart/config", "/v1/nope"):
        assert api.get(path, token=None).status == 401
        assert api.get(path, token=" ").status == 401


def test_only_the_fixed_token_and_issued_ones_are_accepted() -> None:
    api = Api(token="fixed")
    body = json.dumps({"grant_type": "client_credentials", "client_id": "sim-client", "client_secret": "sim-secret"})

    issued = api.get("/v1/oauth2/token", token=None, method="POST", body=body.encode())

    assert isinstance(issued.body, dict)
    tokens = ("fixed", issued.body["access_token"], "other")
    assert [api.get("/v1/chart/config", token=token).status for token in tokens] == [200, 200, 401]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 60_000, b"x" * 70_000])
def test_rubbish_for_a_token_is_an_invalid_request(api: Api, body: bytes) -> None:
    answer = api.get("/v1/oauth2/token", token=None, method="POST", body=body)

    assert answer.status == 400
    assert isinstance(answer.body, dict)
    assert answer.body["error"] == "invalid_request"


@pytest.mark.parametrize("field", ["client_id", "client_secret", "code", "code_verifier", "refresh_token"])
def test_half_a_character_is_refused_like_any_wrong_text(api: Api, field: str) -> None:
    fields = {"grant_type": "client_credentials", "client_id": "sim-client", "client_secret": "sim-secret"}
    grant = {"code": "code", "code_verifier": "code", "refresh_token": "refresh_token"}.get(field, "client_credentials")
    body = json.dumps({**fields, "grant_type": grant, field: "\ud800"}).encode()

    assert api.get("/v1/oauth2/token", token=None, method="POST", body=body).status in {400, 401}
    assert Api(token="fixed").get("/v1/chart/config", token="\udcff").status == 401


def test_refused_token_request_has_the_error_of_the_standard(api: Api) -> None:
    body = json.dumps({"grant_type": "authorization_code", "client_id": "sim-client", "code": "x"}).encode()

    answer = api.get("/v1/oauth2/token", token=None, method="POST", body=body)

    assert answer.status == 400
    assert isinstance(answer.body, dict)
    assert answer.body["error"] == "invalid_grant"


FUZZED = Api()
PATHS = [
    "/v1/marketdata/equities/details",
    "/v1/marketdata/search",
    "/v1/chart/quotes",
    "/v1/chart/history",
    "/v1/chart/tick-history",
    "/v1/stocks/aggs",
    "/v1/options/snapshot/chain/KO",
    "/oauth2/authorize",
]
NAMES = {
    "symbols": ["AAPL", ",", "A" * 300],
    "symbol": ["AAPL", "\udcff", "%00"],
    "ticker": ["SPX", "AAPL"],
    "query": [".", "/", ".AAPL", "a"],
    "resolution": ["1", "12M", "1000T"],
    "timespan": ["minute", "year"],
    "multiplier": ["1", "24", "1000", "-1"],
    "from": ["0", "-1e300", "1e300", "0001-01-01", "9999-12-31", "1772463845"],
    "to": ["0", "-1e300", "1e300", "0001-01-01", "9999-12-31", "1772463846000"],
    "cursor": ["0", "9" * 5000, "٣"],
    "next": ["0", "9" * 5000],
    "limit": ["1", "x", "٣"],
    "strikePrice": ["70", "nan", "1_0"],
    "expirationDateGt": ["", "\udcff", "2026-06-01"],
    "client_id": ["sim-client"],
    "redirect_uri": ["http://localhost/\udcff", "http://localhost/"],
    "response_type": ["code"],
    "state": ["\udcff"],
}
QUERIES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in NAMES.items()})


@settings(max_examples=120)
@given(path=st.sampled_from(PATHS), query=QUERIES)
def test_no_query_breaks_the_server(path: str, query: dict[str, str]) -> None:
    answer = FUZZED.http.answer(HttpRequest("GET", path, query, authorization="Bearer t", now=NOW))

    assert answer.status in {200, 302, 400, 401, 404, 422}
    assert json.dumps(answer.body, allow_nan=False).isascii()
    assert answer.location.isascii()


def served(api: Api, work: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    """Run a function with a client of a real server on its own port."""

    async def run() -> None:
        runner = web.ServerRunner(web.Server(api.http.handle, access_log=None))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
                await work(client)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_browser_and_client_get_from_consent_to_bars_over_a_real_socket() -> None:
    api = Api(token="fixed", oauth=OAuthServer(OAuthSettings(), "fixed"))

    async def work(client: httpx.AsyncClient) -> None:
        consent = await client.get(
            "/oauth2/authorize",
            params={
                "response_type": "code",
                "client_id": "sim-client",
                "redirect_uri": "http://localhost:9/cb",
                "state": "z",
            },
        )
        code = parse_qs(urlsplit(consent.headers["location"]).query)["code"][0]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": "http://localhost:9/cb",
            "client_id": "sim-client",
            "client_secret": "sim-secret",
        }
        pair = await client.post("/v1/oauth2/token", data=form)
        again = await client.post("/v1/oauth2/token", json=form)
        renewed = await client.post(
            "/v1/oauth2/token",
            json={**form, "grant_type": "refresh_token", "refresh_token": pair.json()["refresh_token"]},
        )
        headers = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
        asked = {"symbol": "AAPL", "resolution": "D", "from": 0, "to": int(NOW)}
        bars = await client.get("/v1/chart/history", params=asked, headers=headers)
        clock = await client.get("/v1/chart/time", headers=headers)
        refused = await client.get("/v1/chart/history", params=asked)

        assert (consent.status_code, pair.status_code, renewed.status_code) == (302, 200, 200)
        assert pair.headers["cache-control"] == "no-store"
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert bars.json()["s"] == "ok"
        assert clock.headers["content-type"].startswith("text/plain")
        assert clock.text.isdecimal()
        assert (refused.status_code, refused.json()["error"]) == (401, "a bearer token is required")

    served(api, work)


def test_long_body_is_refused_over_a_real_socket(api: Api) -> None:
    async def work(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/oauth2/token", content=b"x" * 300_000)

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")

    served(api, work)

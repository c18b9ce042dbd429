"""Every opcode in every format against the running server: request, snapshot, live, unsubscribe, in both orders.

Names and their order are copied from the protocol page's tables (§6, §7), not from the server.
"""

from __future__ import annotations

import json
import time
from datetime import date, datetime
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from aries_nb.sim import AlorOptions, Simulator
from aries_nb.sim.alor.instruments import securities, traded_instruments
from aries_nb.sim.alor.market_objects import limits_centre
from aries_nb.sim.market.listings import EquityListing
from tests.sim.alor.client import AlorClient

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = ("Simple", "Slim", "Heavy")
PORTFOLIO = {"exchange": "MOEX", "portfolio": "D00001"}


class Case(NamedTuple):
    """The request, and the names of an object in each format; `flag` is the name of the history flag."""

    opcode: str
    request: dict[str, Any]
    names: tuple[str, str, str]
    flags: tuple[str, str, str] = ("", "", "")


ORDER = (
    "id symbol board brokerSymbol portfolio exchange comment type side status transTime updateTime endTime qtyUnits"
    " qtyBatch qty filledQtyUnits filledQtyBatch filled price existing timeInForce iceberg volume",
    "id sym bd tic p ex cmt t s st tt ut et q qb fq fqb px h tf i v",
    "id symbol board brokerSymbol portfolio exchange comment type side status transTime updateTime endTime qtyUnits"
    " qtyBatch filledQtyUnits filledQtyBatch price existing timeInForce iceberg volume",
)
STOP_ORDER = (
    "id exchangeOrderId symbol brokerSymbol portfolio exchange comment board type side condition status transTime"
    " updateTime endTime error qtyUnits qtyBatch qty filled filledQtyUnits filledQtyBatch price avg_price stopPrice"
    " existing timeInForce iceberg volume protectingSeconds",
    "id eid sym tic p ex cmt bd t s cnd st tt ut et err q qb fq fqb px pxavg pxs h tf i v psec",
    "id exchangeOrderId symbol brokerSymbol portfolio exchange comment board type side condition status transTime"
    " updateTime endTime error qtyUnits qtyBatch filledQtyUnits filledQtyBatch price avgPrice stopPrice existing"
    " timeInForce iceberg volume protectingSeconds",
)
OLD_STOP = "id symbol brokerSymbol exchange board type stopPrice side status endTime qty filledQtyBatch price existing"
RISK = (
    "portfolio exchange portfolioEvaluation portfolioLiquidationValue initialMargin minimalMargin correctedMargin"
    " riskCoverageRatioOne riskCoverageRatioTwo riskCategoryId clientType hasForbiddenPositions hasNegativeQuantity"
    " riskStatus calculationTime"
)
SUMMARY = (
    "buyingPowerAtMorning buyingPower profit profitRate portfolioEvaluation portfolioLiquidationValue initialMargin"
    " correctedMargin riskBeforeForcePositionClosing commission buyingPowerByCurrency"
)
TRADE = (
    "id orderno symbol board qty price time timestamp oi existing side",
    "id sym bd q px t oi h s",
    "id symbol board qty price time timestamp oi existing side",
)
FLAGS = ("existing", "h", "existing")
SBER = {"exchange": "MOEX", "code": "SBER", "instrumentGroup": "TQBR"}

CASES = (
    Case(
        "OrderBookGetAndSubscribe",
        {**SBER, "depth": 5, "frequency": 0},
        ("snapshot bids asks timestamp ms_timestamp existing", "b a t h", "bids asks msTimestamp existing"),
        FLAGS,
    ),
    Case(
        "BarsGetAndSubscribe",
        {**SBER, "tf": "60", "skipHistory": False, "splitAdjust": True, "frequency": 10},
        ("time close open high low volume", "t c o h l v", "time close open high low volume"),
    ),
    Case(
        "QuotesSubscribe",
        {**SBER, "frequency": "0"},
        (
            "symbol exchange description prev_close_price last_price last_price_timestamp high_price low_price"
            " accruedInt volume open_interest ask bid ask_vol bid_vol ob_ms_timestamp open_price yield lotsize lotvalue"
            " facevalue type total_bid_vol total_ask_vol accrued_interest change change_percent",
            "sym ex desc tst tso o h l c v acci oi y ask bid av bv tbv tav lot lotv fv t",
            "symbol exchange description currency prevClosePrice lastPrice lastPriceTimestamp highPrice lowPrice"
            " accruedInterest volume openInterest ask bid askVol bidVol obMsTimestamp openPrice yield lotSize lotValue"
            " faceValue type totalBidVol totalAskVol change changePercent",
        ),
    ),
    Case("AllTradesGetAndSubscribe", {**SBER, "depth": 3, "includeVirtualTrades": False}, TRADE, FLAGS),
    Case("AllTradesSubscribe", {**SBER, "depth": 3, "repeatCount": 1}, TRADE, FLAGS),
    Case("OrdersGetAndSubscribeV2", PORTFOLIO, ORDER, FLAGS),
    Case("StopOrdersGetAndSubscribeV2", PORTFOLIO, STOP_ORDER, FLAGS),
    Case(
        "StopOrdersGetAndSubscribe",
        PORTFOLIO,
        (OLD_STOP, "id sym tic ex bd t pxs s st exp q fqb px e", OLD_STOP),
        ("existing", "e", "existing"),
    ),
    Case(
        "TradesGetAndSubscribeV2",
        {**PORTFOLIO, "instrumentGroup": "TQBR"},
        (
            "id orderno comment symbol brokerSymbol exchange date board qtyUnits qtyBatch qty price accruedInt side"
            " existing commission repoSpecificFields volume",
            "id eid cmt sym tic ex d b q qb px ai s h cms r v",
            "id orderNo comment symbol brokerSymbol exchange date board qtyUnits qtyBatch qty price accruedInt side"
            " existing commission repoSpecificFields volume settleDate",
        ),
        FLAGS,
    ),
    Case(
        "PositionsGetAndSubscribeV2",
        PORTFOLIO,
        (
            "volume currentVolume symbol brokerSymbol portfolio exchange avgPrice qtyUnits openUnits lotSize shortName"
            " qtyT0 qtyT1 qtyT2 qtyTFuture qtyT0Batch qtyT1Batch qtyT2Batch qtyTFutureBatch qtyBatch openQtyBatch qty"
            " open dailyUnrealisedPl unrealisedPl isCurrency existing",
            "v cv sym tic p ex pxavg q o lot n q0 q1 q2 qf upd up cur h",
            "volume currentVolume symbol brokerSymbol portfolio exchange avgPrice qtyUnits openUnits lotSize shortName"
            " qtyT0 qtyT1 qtyT2 qtyTFuture qtyT0Batch qtyT1Batch qtyT2Batch qtyTFutureBatch openQtyBatch"
            " dailyUnrealisedPl unrealisedPl isCurrency existing",
        ),
        FLAGS,
    ),
    Case(
        "SummariesGetAndSubscribeV2",
        PORTFOLIO,
        (SUMMARY, "bpm bp p pr pe plv im mgc r cms bpv2", SUMMARY),
    ),
    Case("RisksGetAndSubscribe", PORTFOLIO, (RISK, "p ex pe plv mgi mgmn mgc r1 r2 rid ct fpos nq rst t", RISK)),
    Case(
        "SpectraRisksGetAndSubscribe",
        {"exchange": "MOEX", "portfolio": "7500001"},
        (
            "balanceMoney portfolio moneyFree moneyBlocked fee moneyOld moneyAmount moneyPledgeAmount vmInterCl"
            " vmCurrentPositions varMargin indicativeVarMargin netOptionValue posRisk isLimitsSet",
            "p f b fee o a pa mgc mgp ivm nov pr lim",
            "portfolio moneyFree moneyBlocked fee moneyOld moneyAmount moneyPledgeAmount vmInterCl vmCurrentPositions"
            " varMargin indicativeVarMargin netOptionValue posRisk isLimitsSet",
        ),
    ),
)


@pytest.fixture(scope="module", params=[False, True], ids=["snapshot first", "reply first"])
def market(request: pytest.FixtureRequest) -> Iterator[tuple[Simulator, bool]]:
    """A busy server whose portfolios have a history of every kind."""
    options = AlorOptions(rate=1500, ack_first=request.param, conflate=False, orders_per_s=400)
    with Simulator(options) as sim:
        with AlorClient(sim.url) as bare:
            bare.request("StopOrdersGetAndSubscribeV2", "stops", **PORTFOLIO)
            bare.request("TradesGetAndSubscribeV2", "fills", **PORTFOLIO)
            bare.request("AllTradesGetAndSubscribe", "trades", **SBER)
            missing = {"stops", "fills", "trades"}
            while missing:
                missing.discard(bare.receive().get("guid", ""))
            for guid in ("stops", "fills", "trades"):
                bare.request("unsubscribe", guid)
            bare.sync()
        yield sim, request.param


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.opcode)
def test_opcode_is_served(market: tuple[Simulator, bool], case: Case, form: str) -> None:
    sim, is_reply_first = market
    place = FORMATS.index(form)
    flag = case.flags[place]
    extra = {"from": int(time.time()) - 86_400 * 4} if case.opcode == "BarsGetAndSubscribe" else {}
    with AlorClient(sim.url) as bare:
        bare.request(case.opcode, "a-1", format=form, **case.request, **extra)
        frames = bare.receive_until(lambda frame: "requestGuid" in frame)
        count = len(frames)
        # Without a flag, an object beyond those of the snapshot is a live one.
        frames += bare.receive_until(lambda frame: frame["data"].get(flag) is False if flag else True)
        frames += [{"data": data} for data in bare.receive_data(1, "a-1")]
        bare.request("Unsubscribe", "a-1")
        code = bare.receive_reply("a-1")
        after = bare.sync()
    replies = [frame for frame in frames if "requestGuid" in frame]
    objects = [frame["data"] for frame in frames if "data" in frame]
    flags = [each[flag] for each in objects] if flag else []

    assert replies == [{"requestGuid": "a-1", "httpCode": 200, "message": "Handled successfully"}]
    assert (count == 1) is is_reply_first
    assert [list(each) for each in objects] == [case.names[place].split()] * len(objects)
    assert flags == sorted(flags, reverse=True)
    assert not flag or {True, False} == set(flags)
    assert (code, after) == ((200, "Handled successfully"), [])


@pytest.mark.parametrize("form", FORMATS)
def test_instruments_are_whole_first_and_then_only_what_changed(market: tuple[Simulator, bool], form: str) -> None:
    sim, _ = market
    place = FORMATS.index(form)
    names = "symbol exchange board tradingStatus tradingStatusInfo priceMin priceMax", "sym ex bd st sti pxmn pxmx"
    with AlorClient(sim.url) as bare:
        bare.request("InstrumentsGetAndSubscribeV2", "i-1", format=form, exchange="MOEX", code="LKOH")
        (whole,) = bare.receive_data(1, "i-1")
        sim.set_market("closed")
        (closed,) = bare.receive_data(1, "i-1")
        sim.set_market("open")
        (opened,) = bare.receive_data(1, "i-1")
        bare.request("unsubscribe", "i-1")
        code = bare.receive_reply("i-1")
        sim.set_market("closed")
        sim.set_market("open")
        after = bare.sync()

    expected = names[place == 1].split()
    assert list(whole) == expected
    assert list(closed) == list(opened) == [expected[0], *expected[3:5]]
    assert [each[expected[3]] for each in (whole, closed, opened)] == [17, 18, 17]
    assert (code, after) == ((200, "Handled successfully"), [])


def test_price_limits_follow_the_price_but_not_to_and_fro_with_every_trade() -> None:
    gazp = EquityListing(traded_instruments(date(2026, 3, 2))["GAZP"], Random(7))
    step = gazp.rounded(gazp.previous_close / 100)
    edge = (round(gazp.last.price / step) + 0.5) * step  # where the nearest centre changes

    centres = [0.0]
    for price in [edge - 0.01, edge + 0.01] * 50 + [edge + 0.4 * step]:
        gazp.last = gazp.last._replace(price=price)
        centres.append(limits_centre(gazp, centres[-1]))

    assert len(set(centres[1:101])) == 1
    assert centres[-1] - centres[1] == pytest.approx(step)


def test_a_future_has_margins(market: tuple[Simulator, bool]) -> None:
    sim, _ = market
    with AlorClient(sim.url) as bare:
        code = next(name for name in future_codes() if name.startswith("Si"))
        bare.request("InstrumentsGetAndSubscribeV2", "i-1", exchange="MOEX", code=code, instrumentGroup="RFUD")
        (whole,) = bare.receive_data(1, "i-1")

    assert list(whole)[-2:] == ["marginBuy", "marginSell"]


def test_text_of_frames_is_the_brokers_own(market: tuple[Simulator, bool]) -> None:
    sim, is_reply_first = market
    with AlorClient(sim.url) as bare:
        bare.request("QuotesSubscribe", 'q"1', format="Slim", **SBER)
        bare.receive_until(lambda frame: "data" in frame)
        bare.receive_until(lambda frame: "requestGuid" in frame or is_reply_first)

    data = next(text for text in bare.frames if "data" in _parsed(text))
    reply = next(text for text in bare.frames if "requestGuid" in _parsed(text))
    assert data.startswith('{ "data": {"sym":"SBER","ex":"MOEX","desc":"Сбербанк",')
    assert data.endswith(r'}, "guid":"q\"1" }')
    assert reply == r'{"requestGuid":"q\"1","httpCode":200,"message":"Handled successfully"}'


def test_numbers_of_trades_need_64_bits(market: tuple[Simulator, bool]) -> None:
    sim, _ = market
    with AlorClient(sim.url) as bare:
        bare.request("AllTradesGetAndSubscribe", depth=50, **SBER)
        trades = bare.receive_data(60)

    numbers = [trade["id"] for trade in trades]
    assert min(numbers) > 2**53
    assert numbers == list(range(numbers[0], numbers[0] + 60))
    assert all(trade["time"].endswith("Z") and len(trade["time"]) == 28 for trade in trades)


def test_the_american_shares_trade_under_their_own_exchange(market: tuple[Simulator, bool]) -> None:
    sim, _ = market
    with AlorClient(sim.url) as bare:
        bare.request("QuotesSubscribe", exchange="SPBX", code="AAPL")
        (quote,) = bare.receive_data(1)

    assert (quote["symbol"], quote["exchange"], quote["lotsize"]) == ("AAPL", "SPBX", 1)
    assert quote["bid"] < quote["ask"]


def test_up_to_fifty_levels_a_side_best_first(market: tuple[Simulator, bool]) -> None:
    sim, _ = market
    with AlorClient(sim.url) as bare:
        bare.request("OrderBookGetAndSubscribe", depth=99, **SBER)
        (book,) = bare.receive_data(1)

    bids, asks = ([level["price"] for level in book[side]] for side in ("bids", "asks"))
    assert (len(bids), len(asks)) == (50, 50)
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]


def future_codes() -> list[str]:
    today = datetime.now().astimezone().date()
    return [security.symbol for security in securities(today).values() if security.is_future]


def _parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found

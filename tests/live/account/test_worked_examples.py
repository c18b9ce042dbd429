"""A worked example of each kind of instrument of both brokers: bought, moved, sold in part, flipped, expired.

Ten are bought at the first price; the price moves to the second; four are sold at the third and sixteen at the fourth,
so that ten are short; the price moves to the fifth; at the sixth the broker settles what is left, without a fill. The
gains before fees after each of these are worked out by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pandas as pd
import pytest

from tests.live.account.scripted import ScriptedAlor, ScriptedAries, connected, iso
from tests.live.account.test_any_order import FEE, Account, Kind
from tests.net.patience import eventually

CASH = Decimal(1_000_000)
SHARE = ("200", "210", "212", "205", "207", "190")
RTS = ("110000", "112000", "113000", "109000", "109500", "108000")

ARIES = {
    "share": ("AAPL", Kind("1", "200"), SHARE, ("0", "100", "120", "58", "228")),
    "option of a few cents": ("KO261218C00090000", Kind("100", "0.05"),
                              ("0.05", "0.06", "0.07", "0.04", "0.05", "0.01"),
                              ("0", "10", "20", "-8", "32")),
    "option": ("MSFT261218C00500000", Kind("100", "12"), ("12", "14", "15", "11", "13", "0.01"),
               ("0", "2000", "3000", "-1400", "11590")),
    "option that was adjusted": ("BABA2261218P00090000", Kind("100", "12"), ("12", "14", "15", "11", "13", "0.01"),
                                 ("0", "2000", "3000", "-1400", "11590")),
}  # fmt: skip
ALOR = {
    "share": ("SBER", Kind("1", "200"), SHARE, ("0", "100", "120", "58", "228")),
    "share in another currency": ("AMD", Kind("92.37", "200"), SHARE, ("0", "9237", "11084.4", "5357.46", "21060.36")),
    "bond": ("SU26238RMFS4", Kind("10", "98.5", accrued="5.7"), ("98.5", "99", "99.5", "98", "98.2", "100"),
             ("0", "50", "100", "-10", "-190")),
    "future": ("SiZ6", Kind("1", "92000", is_margined=True), ("92000", "92500", "92600", "91800", "91900", "91000"),
               ("0", "5000", "6000", "200", "9200")),
    "future in dollars": ("RIZ6", Kind("1.62", "110000", is_margined=True), RTS,
                          ("0", "32400", "48600", "1620", "25920")),
    "small future in dollars": ("RMZ6", Kind("0.162", "1100", is_margined=True),
                                ("1100", "1120", "1130", "1090", "1095", "1080"),
                                ("0", "32.4", "48.6", "1.62", "25.92")),
    "future by its long name": ("Si-12.26", Kind("1", "92000", is_margined=True),
                                ("92000", "92500", "92600", "91800", "91900", "91000"),
                                ("0", "5000", "6000", "200", "9200")),
    "perpetual future": ("USDRUBF", Kind("1000", "81.2", is_margined=True),
                         ("81.2", "81.5", "81.6", "81", "81.1", "80.9"), ("0", "3000", "4000", "-600", "1400")),
    "future with negative prices": ("CLZ6", Kind("10", "-37.5", is_margined=True),
                                    ("-37.5", "-37", "-36.5", "-38", "-37.8", "-40"),
                                    ("0", "50", "100", "-10", "210")),
    "option on a future": ("Si92500BL6", Kind("1", "1500", is_margined=True),
                           ("1500", "1700", "1800", "1400", "1450", "1"), ("0", "2000", "3000", "100", "14590")),
}  # fmt: skip
CASES = [("aries", name) for name in ARIES] + [("alor", name) for name in ALOR]


@pytest.mark.parametrize(("broker", "name"), CASES)
def test_an_instrument_is_worth_what_it_should_be(broker: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.live.account.sampling.SAMPLE_NS", 10_000_000)  # in place of 0.2 s
    monkeypatch.setattr("aries_nb.store.reconciliation.REST_NS", 500_000_000)  # in place of 1 s
    symbol, kind, prices, gains = (ARIES if broker == "aries" else ALOR)[name]
    books = Account(CASH, {symbol: Decimal(0)}, {symbol: Decimal(0)})
    server: ScriptedAries | ScriptedAlor = ScriptedAries(["D1"]) if broker == "aries" else ScriptedAlor()
    with server, connected(broker, server.url) as feed:
        server.open("D1", CASH, ())
        if isinstance(server, ScriptedAlor):
            server.accrued[symbol] = float(kind.accrued)
        report: Callable[..., None] = partial(_aries if broker == "aries" else _alor, server, books, symbol, kind)
        account = feed.account("D1")
        assert len(account.fills) == 0
        given: list[pd.DataFrame] = []
        account.fills.on_update(given.append)
        equity = account.equity.wait()

        def is_worth(gain: str, fees: int) -> Callable[[], bool]:
            value = float(CASH + Decimal(gain) - fees * FEE)
            return lambda: abs(equity.df["equity"].iloc[-1] - value) < 1e-5 * max(1, float(kind.multiplier))

        bought, moved, sold, flipped, left, settled = map(Decimal, prices)
        quote = lambda price: server.quote(symbol, float(price), float(price), float(price))  # noqa: E731
        quote(bought)
        report(Decimal(10), bought)
        eventually(is_worth(gains[0], 1), "bought")
        quote(moved)
        eventually(is_worth(gains[1], 1), "moved")
        is_assumed = kind.is_margined or name == "share in another currency"  # at the exchange rate of the purchase
        assert set(equity.assumptions) == ({symbol} if is_assumed else set())
        quote(sold)
        report(Decimal(-4), sold)
        eventually(is_worth(gains[2], 2), "sold in part")
        quote(left)
        report(Decimal(-16), flipped)
        eventually(is_worth(gains[3], 3), "flipped")
        eventually(lambda: abs(equity.explained.loc["total", "fee"] + 3 * float(FEE)) < 1e-6, "all fees are found")
        explained = equity.explained
        report(Decimal(10), settled, is_settled=True)
        eventually(is_worth(gains[4], 3), "expired")

        traded = zip((10, 4, 16), (bought, sold, flipped), strict=True)
        amounts = [quantity * (price * Decimal(kind.multiplier) + Decimal(kind.accrued)) for quantity, price in traded]
        assert account.fills.df["amount"].tolist() == pytest.approx([float(each) for each in amounts])
        # The first may be given before the position whose multiplier it has.
        assert pd.concat(given)["amount"].tolist()[1:] == pytest.approx([float(each) for each in amounts[1:]])
        assert equity.assumptions.keys() <= {symbol}
        assert explained["unexplained"].abs().sum() < 1e-6
        assert explained.loc["total", "total"] == pytest.approx(float(Decimal(gains[3]) - 3 * FEE), abs=1e-3)


def _aries(
    server: ScriptedAries, books: Account, symbol: str, kind: Kind, signed: Decimal, price: Decimal, *,
    is_settled: bool = False,
) -> None:  # fmt: skip
    books.trade(symbol, kind, signed, price)
    if is_settled:
        books.cash += FEE
    else:
        done = {"cumQty": str(abs(signed)), "leavesQty": "0", "ordStatus": "FILLED", "avgPrice": str(price)}
        server.order("D1", f"O{signed}", symbol, signed, **done, updatedAt=iso(time.time_ns()))
    server.position("D1", symbol, books.quantity[symbol], books.average(symbol, kind))
    server.money("D1", books.cash)


def _alor(
    server: ScriptedAlor, books: Account, symbol: str, kind: Kind, signed: Decimal, price: Decimal, *,
    is_settled: bool = False,
) -> None:  # fmt: skip
    books.trade(symbol, kind, signed, price)
    if is_settled:
        books.cash += FEE
    else:
        values = {"price": price, "volume": round(abs(signed * price) * Decimal(kind.multiplier), 2)}
        values |= {"accruedInt": abs(signed) * Decimal(kind.accrued), "commission": None if kind.is_margined else FEE}
        server.trade("D1", f"{abs(signed)}", symbol, signed, **values, date=iso(time.time_ns()))
    quantity = books.quantity[symbol]
    server.position("D1", symbol, quantity, books.average(symbol, kind), books.cost[symbol])
    server.money("D1", books.cash)


def test_money_of_several_currencies_is_the_sum_of_their_values() -> None:
    with ScriptedAlor() as server, connected("alor", server.url) as feed:
        server.open("D1", Decimal(50_000), ())
        dollars = {**server.money_row(Decimal(1000)), "symbol": "USD", "volume": 80_000, "currentVolume": 81_250}
        server.rows["positions", "D1"].append(dollars)

        equity = feed.account("D1").equity.wait()

        assert equity.df["equity"].iloc[-1] == 131_250


def test_currency_that_is_bought_is_money_and_costs_its_fee() -> None:
    with ScriptedAlor() as server, connected("alor", server.url) as feed:
        server.open("G1", CASH, ())
        account = feed.account("G1")
        assert len(account.fills) == 0
        equity = account.equity.wait()

        said = {"price": 80, "volume": 80_000, "accruedInt": 0, "commission": 5, "date": iso(time.time_ns())}
        server.trade("G1", "1", "USD000UTSTOM", Decimal(1000), **said, board="CETS")
        dollars = {**server.money_row(Decimal(1000)), "symbol": "USD", "volume": 80_000, "currentVolume": 80_000}
        server.tell("positions", "G1", dollars)
        server.money("G1", CASH - 80_005)

        eventually(lambda: equity.explained["total"].get("total") == -5)
        assert equity.df["equity"].iloc[-1] == CASH - 5
        assert equity.explained["unexplained"].abs().sum() == 0
        assert account.fills.df["amount"].tolist() == [80_000]

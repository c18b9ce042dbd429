"""Executions that a broker corrects, as a user of both sees them: in the fills, and in what explains equity."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.live.account.scripted import ScriptedAlor, ScriptedAries, connected, iso
from tests.net.patience import eventually

if TYPE_CHECKING:
    from aries_nb.live import Account

CASH, TEN = Decimal(100_000), Decimal(10)


def begin(account: Account) -> None:
    """Let fills and equity be followed before anything happens."""
    account.fills  # noqa: B018 - the first use subscribes
    account.equity.wait(moments=1)


def is_explained(account: Account, symbol: str, **wanted: float) -> bool:
    row = account.equity.explained
    if symbol not in row.index:
        return False
    return all(abs(row.loc[symbol, name] - value) < 1e-9 for name, value in wanted.items())


def quantities(account: Account) -> list[tuple[float, float]]:
    return list(zip(account.fills.df["quantity"], account.fills.df["price"], strict=True))


def test_aries_a_corrected_average_price_corrects_the_fill_and_what_explains_equity() -> None:
    now = time.time_ns()
    with ScriptedAries(["ACC-1"]) as server:
        server.open("ACC-1", CASH, [("KO", TEN, Decimal(60))])
        server.quote("KO", 60, 60, 60)
        server.quote("MSFT", 500, 500, 500)
        with connected("aries", server.url) as feed:
            account = feed.account("ACC-1")
            begin(account)
            state = {"ordStatus": "FILLED", "cumQty": "10"}
            server.order("ACC-1", "O-1", "MSFT", TEN, avgPrice="500", updatedAt=iso(now), **state)
            eventually(lambda: len(account.fills) == 1)

            server.order("ACC-1", "O-1", "MSFT", TEN, avgPrice="499", updatedAt=iso(now + 10**9), **state)
            server.order("ACC-1", "O-1", "MSFT", TEN, ordStatus="PARTIALLY_FILLED", cumQty="4", avgPrice="500")
            server.position("ACC-1", "MSFT", TEN, Decimal(499))
            server.money("ACC-1", CASH - 4_990)

            eventually(lambda: is_explained(account, "MSFT", trade=10, unexplained=0))
            assert quantities(account) == [(10, 500), (-10, 500), (10, 499)]
            order = account.orders.df.loc["O-1"]
            assert (order["status"], order["filled"]) == ("FILLED", 10)  # the state without a time is from before


def test_alor_a_corrected_execution_and_a_late_fee_reach_fills_orders_and_what_explains_equity() -> None:
    with ScriptedAlor() as server:
        server.open("D00000", CASH, [("LKOH", TEN, Decimal(7_000), Decimal(70_000))])
        server.quote("LKOH", 7_000, 7_000, 7_000)
        server.quote("SBER", 300, 300, 300)
        with connected("alor", server.url) as feed:
            account = feed.account("D00000")
            begin(account)
            said = {"date": iso(time.time_ns()), "accruedInt": 0}
            server.trade("D00000", "1", "SBER", TEN, price=300, volume=3_000, commission=0, **said)
            eventually(lambda: len(account.fills) == 1)

            server.trade("D00000", "1", "SBER", TEN, price=299, volume=2_990, commission=0, **said)
            server.trade("D00000", "1", "SBER", TEN, price=299, volume=2_990, commission=1.5, **said)
            server.trade("D00000", "1", "SBER", TEN, price=300, volume=3_000, commission=0, **said)  # late
            server.position("D00000", "SBER", TEN, Decimal(299), Decimal(2_990))
            server.money("D00000", CASH - 2_990 - Decimal("1.5"))

            eventually(lambda: is_explained(account, "SBER", trade=10, fee=-1.5, unexplained=0))
            assert quantities(account) == [(10, 300), (-10, 300), (10, 299), (0, 299)]
            assert account.fills.df["fee"].sum() == 1.5

"""How positions end without a trade, as users of both brokers see it: named in what explains equity."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aries_nb.live import Account
from tests.live.account.scripted import ScriptedAlor, ScriptedAries, connected
from tests.net.patience import eventually

CASH = Decimal(100_000)
EXPIRED, LATER = "X261127C00090000", "X291221C00090000"  # the first on a day that is over


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.live.account.sampling.SAMPLE_NS", 10_000_000)  # in place of 0.2 s
    monkeypatch.setattr("aries_nb.store.reconciliation.SETTLING_NS", 300_000_000)  # in place of 5 s


def begun(account: Account, *symbols: str) -> Account:
    account.fills  # noqa: B018 - the first use subscribes
    account.equity.wait()
    eventually(lambda: account.positions.df.loc[list(symbols), "mark_price"].notna().all())
    return account


def check_named(account: Account, label: str, total: float, value: float) -> None:
    """Wait until a row of what explains equity says that, and nothing is unexplained; no other message follows."""
    eventually(lambda: label in account.equity.explained.index, label)
    explained = account.equity.explained
    assert explained.loc[label, "total"] == pytest.approx(total)
    assert explained["unexplained"].abs().sum() == pytest.approx(0)
    assert account.equity.df["equity"].iloc[-1] == pytest.approx(value)


@pytest.mark.parametrize(("contracts", "how", "total"), [(-1, "assigned", 200), (1, "exercised", -200)])
@pytest.mark.parametrize("order", ["option, shares, money", "money, option, shares", "shares, money, option"])
def test_an_option_that_becomes_shares_is_named(contracts: int, how: str, total: float, order: str) -> None:
    shares, option, cash = Decimal(100 * contracts), Decimal(contracts), CASH - 9_000 * contracts
    with ScriptedAries(["D1"]) as server:
        server.open("D1", CASH, [("X", Decimal(50), Decimal(80)), (LATER, option, Decimal(10))])
        server.quote("X", 100, 100, 100)
        server.quote(LATER, 12, 12, 12)
        with connected("aries", server.url) as feed:
            account = begun(feed.account("D1"), "X", LATER)

            for what in order.split(", "):
                match what:
                    case "option":
                        server.position("D1", LATER, Decimal(0), Decimal(0))
                    case "shares":
                        server.position("D1", "X", 50 + shares, Decimal(80))
                    case _:
                        server.money("D1", cash)

            check_named(account, f"{LATER} {how}", total, float(cash + 100 * (50 + shares)))


def test_an_option_that_expires_is_named() -> None:
    with ScriptedAries(["D1"]) as server:
        server.open("D1", CASH, [(EXPIRED, Decimal(2), Decimal(10))])
        server.quote(EXPIRED, 0.05, 0.05, 0.05)
        with connected("aries", server.url) as feed:
            account = begun(feed.account("D1"), EXPIRED)

            server.position("D1", EXPIRED, Decimal(0), Decimal(0))

            check_named(account, f"{EXPIRED} expired", -10, 100_000)


def test_a_future_that_is_settled_is_named() -> None:
    with ScriptedAlor() as server:
        server.open("D1", CASH, [("RTS-12.25", Decimal(4), Decimal(110_000), Decimal(712_800))])
        server.quote("RTS-12.25", 114_000, 114_000, 114_000)
        with connected("alor", server.url) as feed:
            account = begun(feed.account("D1"), "RTS-12.25")

            server.position("D1", "RTS-12.25", Decimal(0), Decimal(0), Decimal(0))
            server.money("D1", CASH + 25_000)  # 25,920 at the last price

            check_named(account, "RTS-12.25 settled", -920, 125_000)


def test_a_bond_that_is_redeemed_is_named() -> None:
    with ScriptedAlor() as server:
        server.accrued["SU26238RMFS4"] = 35.4
        server.open("D1", CASH, [("SU26238RMFS4", Decimal(10), Decimal("98.5"), Decimal(9_850))])
        server.quote("SU26238RMFS4", 99.8, 99.8, 99.8)
        with connected("alor", server.url) as feed:
            account = begun(feed.account("D1"), "SU26238RMFS4")

            server.position("D1", "SU26238RMFS4", Decimal(0), Decimal(0), Decimal(0))
            server.money("D1", CASH + 10_354)

            check_named(account, "SU26238RMFS4 settled", 20, 110_354)

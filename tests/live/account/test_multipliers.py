"""Multipliers of instruments: what a position has shown stays known in `account.fills` once it is closed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.live.account.scripted import ScriptedAries, connected, iso
from tests.net.patience import eventually

CRATE = {"symbol": "/ESZ6", "securityType": "FUTURE", "averagePrice": "5000"}
ORDER = {
    "clOrdId": "O-1",
    "symbol": "/ESZ6",
    "side": "BUY",
    "securityType": "FUTURE",
    "qty": "2",
    "cumQty": "2",
    "leavesQty": "0",
    "ordStatus": "FILLED",
    "avgPrice": "5000",
    "type": "LIMIT",
    "category": "FUTURE",
}


def test_a_fill_keeps_the_multiplier_of_a_position_that_is_closed() -> None:
    held = {**CRATE, "quantity": "2", "costBasis": "500000"}
    with ScriptedAries(["D1"]) as server:
        server.open("D1", Decimal(1_000_000), [])
        with connected("aries", server.url) as feed:
            account = feed.account("D1")
            held_now, fills = account.positions, account.fills
            eventually(lambda: account.orders._source.is_answered and held_now._source.is_answered)

            server.tell("account", "D1", {"name": "account.order", **ORDER, "updatedAt": iso(1_772_463_845 * 10**9)})
            fills.wait(fills=1)
            assert fills.df[["multiplier", "amount"]].isna().all(axis=None)
            server.tell("account", "D1", {"name": "account.position", **held})
            eventually(lambda: len(account.positions) == 1)
            server.tell("account", "D1", {"name": "account.position", **CRATE, "quantity": "0", "averagePrice": "0"})
            eventually(lambda: account.positions.df["quantity"].sum() == 0)

            assert account.fills.df[["multiplier", "amount"]].iloc[0].tolist() == pytest.approx([50, 500_000])

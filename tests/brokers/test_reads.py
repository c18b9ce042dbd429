"""A read of several frames gives what they give one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.market import AlorMarket
from tests.brokers.alor import lines as alor
from tests.brokers.alor.objects import item
from tests.brokers.aries import account_lines, lines
from tests.brokers.aries.lines import RECEIVED

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.brokers import BrokerProtocol

    Case = Callable[[], tuple[BrokerProtocol, list[bytes]]]


def aries_market() -> tuple[Any, list[bytes]]:
    frames = [lines.frame(lines.quote(bidPrice=float(price)), lines.quote(askPrice=3.0)) for price in range(5)]
    return lines.opened(lines.quotes()), [*frames, b"rubbish", lines.line(lines.quote(bidPrice=9.0))]


def aries_accounts() -> tuple[Any, list[bytes]]:
    frames = [
        lines.line(account_lines.account_event("order", account_lines.order(clOrdId=f"ORD-{number}")))
        for number in range(5)
    ]
    return account_lines.opened(account_lines.ORDERS), [*frames, b"rubbish", frames[0]]


def alor_market() -> tuple[Any, list[bytes]]:
    protocol = alor.opened(AlorMarket(), alor.quotes(), alor.trades())
    frames = [alor.data("quotes-1", alor.quote(bid=float(price))) for price in range(5)]
    prints = [alor.data("trades-2", alor.trade(number)) for number in range(1, 4)]
    return protocol, [*frames, b"rubbish", *prints, frames[0]]


def alor_balances() -> tuple[Any, list[bytes]]:
    protocol = alor.opened(AlorAccounts(), alor.every("balances"))
    guids = {kind: guid for kind in ("balances", "positions") for guid in protocol._guids if guid.startswith(kind)}
    money = item("positions", sym="RUB", cur=True)
    summaries = [alor.data(guids["balances"], item("balances")) for _ in range(3)]
    return protocol, [alor.data(guids["positions"], money), *summaries, b"rubbish", summaries[0]]


@pytest.mark.parametrize("case", [aries_market, aries_accounts, alor_market, alor_balances])
def test_frames_of_one_read_give_what_they_give_one_by_one(
    case: Callable[[], tuple[BrokerProtocol, list[bytes]]],
) -> None:
    single, frames = case()
    whole, _ = case()
    records: list[Any] = []
    notices: list[Any] = []
    for frame in frames:
        found, said = single.receive([frame], RECEIVED)
        records += found
        notices += said

    together, emitted = whole.receive(frames, RECEIVED)

    assert len(records) >= 3
    assert (records, notices) == (list(together), list(emitted))


@pytest.mark.parametrize("case", [aries_market, aries_accounts, alor_market, alor_balances])
def test_a_read_without_a_frame_says_nothing(case: Case) -> None:
    protocol, _ = case()

    records, notices = protocol.receive([], RECEIVED)

    assert (list(records), list(notices)) == ([], [])

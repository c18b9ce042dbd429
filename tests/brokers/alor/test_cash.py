"""The cash of an ALOR portfolio, which stands among its positions, in the rows of its summary; prices of positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.tables import price_of
from aries_nb.model import Record
from tests.brokers.alor.lines import (
    RECEIVED,
    answer,
    begin,
    data,
    every,
    guid_of,
    opened,
    receive,
    records,
    reply,
    sent,
)
from tests.brokers.alor.objects import item

BALANCES, POSITIONS = every("balances"), every("positions")
PRICED = ("quantity", "average_price", "market_value", "cost_basis")


def money(amount: str, symbol: str = "RUB", *, existing: bool = False) -> dict[str, Any]:
    values = {"symbol": symbol, "isCurrency": True, "currentVolume": Decimal(amount), "existing": existing}
    return item("positions", **values)


def cash(found: list[Record]) -> list[str]:
    place = 1 + BALANCES.fields.index("cash")
    return [str(record[2][place]) for record in found if record[0] == BALANCES]


def asked() -> tuple[AlorAccounts, str, str, str]:
    """A protocol that has asked for a summary, with the guids of the summary, of the positions and of the ping."""
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    protocol.subscribe([BALANCES])
    summary, positions, ping = (request["guid"] for request in sent(protocol))
    return protocol, summary, positions, ping


def test_summary_is_emitted_with_the_cash_among_the_positions() -> None:
    protocol, summary, positions, _ = asked()

    early = records(
        protocol, data(summary, item("balances")), reply(summary), data(positions, money("90", existing=True))
    )
    listed = records(protocol, reply(positions))
    changed = records(protocol, data(positions, money("75.50")))

    assert early == []
    assert cash(listed) == ["90"]
    assert cash(changed) == ["75.50"]
    assert {record[0] for record in [*listed, *changed]} == {BALANCES}
    assert changed[0][1] == RECEIVED


def test_money_of_all_currencies_is_summed_up_at_its_value() -> None:
    protocol = opened(AlorAccounts(), BALANCES)
    guid = guid_of(protocol, POSITIONS)

    found = records(
        protocol, data("balances-1", item("balances")), data(guid, money("100")), data(guid, money("2.5", "USD"))
    )

    assert cash(found) == ["100004.10", "100", "102.5"]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([{}], "96989.10"),  # a share worth 3,015
        ([{"symbol": "SiZ6", "volume": Decimal(368_000), "currentVolume": Decimal(370_000)}], "98004.10"),
        ([{"symbol": "SiZ6", "qtyUnits": -4, "volume": Decimal(-368_000), "currentVolume": Decimal(-370_000)}],
         "102004.10"),
        ([{"qtyUnits": -10, "currentVolume": Decimal(3015)}], "103019.10"),  # the sign is that of the quantity
        ([{"qtyUnits": 0, "currentVolume": None}], "100004.10"),
        ([{"currentVolume": None}], "NaN"),
    ],
)  # fmt: skip
def test_cash_without_money_among_the_positions_is_what_the_value_of_the_portfolio_leaves(
    held: list[dict[str, Any]], expected: str
) -> None:
    protocol, summary, positions, _ = asked()

    rows = [data(positions, item("positions", existing=True, **values)) for values in held]
    records(protocol, *rows, reply(positions))
    found = records(protocol, data(summary, item("balances")))
    later = records(protocol, data(positions, item("positions", currentVolume=Decimal(9999))))

    assert cash(found) == [expected]
    assert cash(later) == []  # the summary that goes with it has not come


def test_positions_that_are_wanted_besides_are_one_stream_with_the_cash() -> None:
    protocol = opened(AlorAccounts(), BALANCES)
    protocol.subscribe([POSITIONS])
    requests = sent(protocol)
    answer(protocol, requests)

    found = records(protocol, data("balances-1", item("balances")), data(guid_of(protocol, POSITIONS), money("90")))
    protocol.unsubscribe([POSITIONS])
    kept = sent(protocol)
    later = records(protocol, data(guid_of(protocol, POSITIONS), money("80")))

    assert [each["opcode"] for each in requests] == ["unsubscribe", "PositionsGetAndSubscribeV2", "ping"]
    assert {record[0] for record in found} == {BALANCES, POSITIONS}
    assert cash(found)[-1] == "90"
    assert kept == []
    assert (cash(later), {record[0] for record in later}) == (["80"], {BALANCES})


def test_after_a_break_no_cash_from_before_it_is_emitted() -> None:
    protocol, summary, positions, _ = asked()
    records(protocol, data(positions, money("90", existing=True)), reply(positions), data(summary, item("balances")))
    replies = begin(protocol)

    early = records(protocol, data(summary, item("balances")))
    found = records(protocol, *(reply(each["guid"]) for each in replies), data(positions, money("80")))

    assert early == []
    assert cash(found) == ["100004.10", "80"]


def test_summary_given_up_gives_the_positions_up_as_well() -> None:
    protocol = opened(AlorAccounts(), BALANCES)

    protocol.unsubscribe([BALANCES])
    found, notices = receive(protocol, data("positions-2", money("90")), data("balances-1", item("balances")))

    assert [each["guid"] for each in sent(protocol, "unsubscribe")] == ["balances-1", "positions-2"]
    assert (found, notices) == ([], [])


@pytest.mark.parametrize(
    ("emitted", "expected"),
    [
        ("10 301.10 3015.0 3011.00", "301.5"),
        ("-50 413.2151 -20653 -20660.755", "413.06"),
        ("3 33.3333 100 100", "33.33333333"),
        ("10 98.5 9900 9850", "99"),  # a bond at 98.5 % of 1,000
        ("2 0.00015 330 300", "0.000165"),
        ("0 0 0 0", "NaN"),
        ("10 301.10 NaN 3011", "NaN"),
        ("1 1 1e60 1e-60", "NaN"),
    ],
)
def test_price_is_worked_out_of_the_value_in_units_of_the_average_price(emitted: str, expected: str) -> None:
    row = dict(zip(PRICED, map(Decimal, emitted.split()), strict=True))

    assert str(price_of(row)) == expected


def test_price_without_its_parts_is_not_known() -> None:
    assert str(price_of({"quantity": Decimal(1)})) == "NaN"

"""The average price of an ALOR order, out of the own trades that filled it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aries_nb.brokers.alor import averages as alor_averages
from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.model import PUT, Counted, Record, Subscription
from tests.brokers.alor.lines import RECEIVED, answer, begin, data, every, opened, receive, reply, sent
from tests.brokers.alor.objects import item

ORDERS = every("orders")


def order(filled: int, ident: str = "5", **values: Any) -> bytes:
    return data("orders-1", item("orders", id=ident, filledQtyUnits=Decimal(filled), **values))


def trade(ident: str, quantity: int, price: str, orderno: str = "5", **values: Any) -> bytes:
    said = {"id": ident, "orderno": orderno, "qtyUnits": quantity, "price": Decimal(price)}
    return data("fills-2", item("fills", **said, **values))


def averages(found: list[Record]) -> list[str]:
    place = 1 + ORDERS.fields.index("average_price")
    return [str(record[2][place]) for record in found]


def emitted(protocol: AlorAccounts, *frames: bytes) -> tuple[list[Record], list[tuple[Subscription, str]]]:
    """Records, and what is counted as something else than a message of its own."""
    replies = [protocol.receive([frame], RECEIVED) for frame in frames]
    found = [record for records, _ in replies for record in records]
    return found, [(each.subscription, each.what) for _, said in replies for each in said if isinstance(each, Counted)]


def test_order_after_its_trades_has_their_mean_price() -> None:
    protocol = opened(AlorAccounts(), ORDERS)

    found, counted = emitted(protocol, trade("1", 10, "300.10"), trade("2", 30, "300.50"), order(40))

    assert averages(found) == ["300.4"]
    assert {record[0] for record in found} == {ORDERS}
    assert counted == []


def test_order_before_its_trades_is_emitted_again_once_they_are_all_there() -> None:
    protocol = opened(AlorAccounts(), ORDERS)

    found, counted = emitted(protocol, order(40), trade("1", 10, "300.10"), trade("2", 30, "300.50"))

    assert averages(found) == ["NaN", "300.4"]
    assert counted == [(ORDERS, "filled")]


def test_order_is_emitted_again_once_a_trade_is_corrected() -> None:
    protocol = opened(AlorAccounts(), ORDERS)
    emitted(protocol, order(40), trade("1", 10, "300.10"), trade("2", 30, "300.50"))

    found, counted = emitted(protocol, trade("2", 30, "300.90"), trade("2", 30, "300.90"))

    assert averages(found) == ["300.7"]
    assert counted == [(ORDERS, "filled")]


def test_trade_sent_twice_counts_once() -> None:
    protocol = opened(AlorAccounts(), ORDERS)

    found, _ = receive(protocol, trade("1", 10, "300.10"), trade("1", 10, "300.10", existing=True), order(10))

    assert averages(found) == ["300.1"]


@pytest.mark.parametrize("trades", [(), (("1", 10, "300.10"),), (("1", 50, "300.10"),)])
def test_price_is_missing_while_the_trades_do_not_add_up(trades: tuple[tuple[str, int, str], ...]) -> None:
    protocol = opened(AlorAccounts(), ORDERS)

    found, _ = receive(protocol, *(trade(*each) for each in trades), order(40), trade("9", 40, "1", orderno="other"))

    assert averages(found) == ["NaN"]


def test_trades_beyond_the_limit_take_the_oldest_order_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alor_averages, "_MOST_TRADES", 3)
    protocol = opened(AlorAccounts(), ORDERS)
    old = [trade("1", 10, "300.10"), trade("2", 10, "300.10"), trade("2", 10, "300.10")]

    found, _ = receive(
        protocol, *old, order(20), *(trade(each, 5, "7", orderno="6") for each in "34"), order(20), order(10, ident="6")
    )

    assert averages(found) == ["300.1", "NaN", "7"]


def test_order_filled_in_endless_parts_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alor_averages, "_MOST_TRADES", 3)
    orders = alor_averages.PricedOrders(ORDERS)

    for number in range(100):
        orders.take((orders.fills, RECEIVED, (PUT, number, "5", Decimal(1), Decimal(7))))

    assert sum(map(len, orders._trades.values())) <= 3


def test_order_that_filled_nothing_has_no_price() -> None:
    protocol = opened(AlorAccounts(), ORDERS)

    found, _ = receive(protocol, order(0, status="canceled"), trade("1", 1, "2", orderno="other"))

    assert averages(found) == ["NaN"]


def test_price_is_known_at_once_after_a_break() -> None:
    protocol = opened(AlorAccounts(), ORDERS)
    receive(protocol, trade("1", 40, "300.25"), order(40))
    begin(protocol)

    found, _ = receive(protocol, order(40, existing=True), reply("orders-1"))

    assert averages(found) == ["NaN", "300.25"]  # the first one is the sign that a list begins


def test_own_trades_are_given_up_with_the_last_who_wants_prices() -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))
    some = Subscription("orders", "D00000", ("order_id", "filled", "average_price"))
    protocol.subscribe([ORDERS, some])
    sent(protocol)

    protocol.unsubscribe([ORDERS])
    first = [each["guid"] for each in sent(protocol, "unsubscribe")]
    protocol.unsubscribe([some])
    last = [each["guid"] for each in sent(protocol, "unsubscribe")]

    assert (first, last) == ([], ["orders-1", "fills-2"])


def test_who_wants_no_prices_asks_for_no_trades() -> None:
    protocol = AlorAccounts()
    answer(protocol, begin(protocol))

    protocol.subscribe([Subscription("orders", "D00000", ("order_id", "filled"))])

    assert [each["opcode"] for each in sent(protocol)] == ["OrdersGetAndSubscribeV2", "ping"]

from __future__ import annotations

import pytest

from aries_nb.wire.aries_streams import QUOTE_COLUMN_TYPES, Wanted, item_to_subscribe, item_to_unsubscribe, wanted
from tests.wire.lines import book, quotes, trades


def test_wants_of_a_symbol_are_united() -> None:
    need = wanted([quotes(fields=("bid_price",)), quotes(fields=("spread", "last_price")), book(), trades()])

    expected = {
        "level2": (),
        "quoteFields": ("bidPrice", "quoteTimestamp", "spread"),
        "timeAndSalesFields": ("price", "size", "tradeSeq", "tradeTimestamp"),
        "tradeFields": ("lastPrice", "tradeTimestamp"),
    }
    assert expected == need


def test_nobody_wants_nothing() -> None:
    assert wanted([]) == {}


@pytest.mark.parametrize("field", QUOTE_COLUMN_TYPES)
def test_every_field_of_quotes_can_be_asked_for(field: str) -> None:
    (names,) = wanted([quotes(fields=(field,))]).values()

    item = item_to_subscribe("X", wanted([quotes(fields=(field,))]))

    assert item["symbol"] == "X"
    assert set(names) == {name for option, value in item.items() if option.endswith("Fields") for name in value}


def test_side_of_a_print_is_not_asked_for() -> None:
    assert wanted([trades(fields=("side",))]) == {"timeAndSalesFields": ("price", "tradeTimestamp")}


def test_switches_and_field_lists_have_their_own_form() -> None:
    item = item_to_subscribe("X", {"level2": (), "greeksFields": ("delta",), "timeAndSalesFields": ("price",)})

    expected = {
        "symbol": "X",
        "level2": True,
        "greeksFields": ["delta"],
        "symbolType": "option",
        "timeAndSales": True,
        "timeAndSalesFields": ["price"],
    }
    assert expected == item


@pytest.mark.parametrize(
    ("old", "left", "item"),
    [
        ({"level2": ()}, {}, "X"),
        ({"level2": (), "quoteFields": ("a",)}, {"quoteFields": ("a",)}, {"symbol": "X", "level2": True}),
        ({"quoteFields": ("a", "b", "c")}, {"quoteFields": ("b",)}, {"symbol": "X", "quoteFields": ["a", "c"]}),
        ({"tradeFields": ("a",), "level2": ()}, {"level2": ()}, {"symbol": "X", "trade": True}),
        ({"greeksFields": ("a",), "level2": ()}, {"level2": ()}, {"symbol": "X", "greeks": True}),
        ({"timeAndSalesFields": ("a",), "level2": ()}, {"level2": ()}, {"symbol": "X", "timeAndSales": True}),
    ],
)
def test_unsubscribe_item_takes_away_what_is_not_left(old: Wanted, left: Wanted, item: object) -> None:
    assert item_to_unsubscribe("X", old, left) == item

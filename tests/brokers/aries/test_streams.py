from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers.aries.messages import (
    GREEKS_FIELDS,
    OLD_TRADE_FIELDS,
    QUOTE_FIELDS,
    TIME_AND_SALES_FIELDS,
    TRADE_FIELDS,
)
from aries_nb.brokers.aries.streams import (
    QUOTE_COLUMN_TYPES,
    RequestOptions,
    item_to_subscribe,
    item_to_unsubscribe,
    options_of,
)
from tests.brokers.aries.lines import book, quotes, trades

if TYPE_CHECKING:
    from collections.abc import Collection

OLD_COLUMNS = {column for column, name in TRADE_FIELDS.items() if name in OLD_TRADE_FIELDS}


def test_wants_of_a_symbol_are_united() -> None:
    need = options_of([quotes(fields=("bid_price",)), quotes(fields=("spread", "last_price")), book(), trades()])

    expected = {
        "level2": (),
        "quoteFields": ("askPrice", "askSize", "bidPrice", "bidSize", "quoteTimestamp", "spread"),
        "timeAndSalesFields": ("price", "size", "tradeSeq", "tradeTimestamp"),
        "tradeFields": ("lastPrice", "tradeTimestamp"),
    }
    assert expected == need


def test_no_subscription_needs_no_option() -> None:
    assert options_of([]) == {}


@pytest.mark.parametrize("field", QUOTE_COLUMN_TYPES)
def test_every_field_of_quotes_can_be_asked_for(field: str) -> None:
    (names,) = options_of([quotes(fields=(field,))]).values()

    item = item_to_subscribe("X", options_of([quotes(fields=(field,))]))

    assert item["symbol"] == "X"
    assert set(names) == {name for option, value in item.items() if option.endswith("Fields") for name in value}


@pytest.mark.parametrize(
    ("option", "fields"),
    [("quoteFields", QUOTE_FIELDS), ("greeksFields", GREEKS_FIELDS), ("tradeFields", set(TRADE_FIELDS) - OLD_COLUMNS)],
)
def test_all_fields_of_an_option_are_a_star(option: str, fields: Collection[str]) -> None:
    item = item_to_subscribe("X", options_of([quotes(fields=tuple(fields))]))

    assert item[option] == "*"


def test_all_fields_of_prints_are_a_star() -> None:
    item = item_to_subscribe("X", options_of([trades(fields=tuple(TIME_AND_SALES_FIELDS))]))

    assert item == {"symbol": "X", "timeAndSales": True, "timeAndSalesFields": "*"}


def test_fields_of_the_old_list_are_named_as_no_star_has_them() -> None:
    item = item_to_subscribe("X", options_of([quotes(fields=tuple(TRADE_FIELDS))]))

    assert set(item["tradeFields"]) == set(TRADE_FIELDS.values())


def test_every_field_of_a_share_is_asked_for_without_greeks_and_of_an_option_with_them() -> None:
    every = tuple(QUOTE_COLUMN_TYPES)

    share, option = (options_of([quotes(symbol, every)]) for symbol in ("MSFT", "MSFT261218C00500000"))

    assert set(share) == {"quoteFields", "tradeFields"}
    assert set(option) == {"quoteFields", "tradeFields", "greeksFields"}


def test_what_is_left_of_a_star_is_what_is_not_taken_away() -> None:
    all_of_it, left = options_of([quotes(fields=tuple(QUOTE_FIELDS))]), options_of([quotes(fields=("bid_price",))])

    item = item_to_unsubscribe("X", all_of_it, left)

    assert isinstance(item, dict)
    assert set(item["quoteFields"]) == set(QUOTE_FIELDS.values()) - {"bidPrice", "quoteTimestamp"}


def test_side_of_a_print_is_not_asked_for() -> None:
    assert options_of([trades(fields=("side",))]) == {"timeAndSalesFields": ("price", "tradeTimestamp")}


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
    ("symbol", "is_contract"),
    [
        ("MSFT261218C00500000", True),
        ("BABA2261218C00145000", True),  # adjusted
        ("2SPX261218P06000000", True),
        ("BRK.B261218C00500000", True),
        ("MSFT  261218C00500000", True),  # padded
        ("MSFT", False),
        ("BRK.B", False),
        ("12345261218C00500000", False),
        ("MSFT261218X00500000", False),
    ],
)
def test_contracts_are_asked_for_as_options(symbol: str, is_contract: bool) -> None:
    assert item_to_subscribe(symbol, {"quoteFields": ("bidPrice",)}).get("symbolType") == (
        "option" if is_contract else None
    )


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
def test_unsubscribe_item_takes_away_what_is_not_left(old: RequestOptions, left: RequestOptions, item: object) -> None:
    assert item_to_unsubscribe("X", old, left) == item

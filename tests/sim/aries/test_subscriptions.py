from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.sim.aries.subscriptions import (
    GREEKS_FIELDS,
    QUOTE_FIELDS,
    TIME_AND_SALES_FIELDS,
    TRADE_FIELDS,
    BadRequestError,
    Selection,
    read_subscribe_item,
    read_unsubscribe_item,
)

ALL = Selection(quote=QUOTE_FIELDS, trade=TRADE_FIELDS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ALL),
        ({"quoteFields": None, "tradeFields": None}, ALL),
        ({"quoteFields": "*"}, Selection(quote=QUOTE_FIELDS)),
        ({"quoteFields": ["*"]}, Selection(quote=QUOTE_FIELDS)),
        ({"quoteFields": "bidPrice"}, Selection(quote=("bidPrice",))),
        ({"quoteFields": ["askPrice", "bidPrice", "askPrice"]}, Selection(quote=("askPrice", "bidPrice"))),
        ({"tradeFields": ["lastPrice"]}, Selection(trade=("lastPrice",))),
        ({"tradeFields": ["tradeExchange"]}, Selection(trade=("tradeExchange",))),
        ({"quoteFields": [], "tradeFields": ["price"]}, Selection(trade=("price",))),
        ({"fields": "*"}, ALL),
        ({"fields": ["bidPrice", "lastPrice"]}, Selection(quote=("bidPrice",), trade=("lastPrice",))),
        ({"fields": ["price"], "quoteFields": ["spread"]}, Selection(quote=("spread",), trade=("price",))),
        ({"timeAndSales": True}, Selection(time_and_sales=TIME_AND_SALES_FIELDS)),
        ({"timeAndSales": True, "timeAndSalesFields": "price"}, Selection(time_and_sales=("price",))),
        ({"timeAndSales": True, "timeAndSalesFields": ["*"]}, Selection(time_and_sales=TIME_AND_SALES_FIELDS)),
        ({"timeAndSalesFields": ["size"]}, Selection(time_and_sales=("size",))),
        ({"timeAndSales": False, "timeAndSalesFields": "*"}, ALL),
        ({"level2": True}, Selection(level2=True)),
        ({"level2": True, "quoteFields": "*"}, Selection(level2=True, quote=QUOTE_FIELDS)),
        ({"greeksFields": "*", "symbolType": "option"}, Selection(greeks=GREEKS_FIELDS)),
        ({"greeksFields": ["delta"], "symbolType": "option"}, Selection(greeks=("delta",))),
        ({"greeksFields": "*"}, Selection()),
    ],
)
def test_subscribe_item_follows_the_defaulting_rules(options: dict[str, Any], expected: Selection) -> None:
    item = read_subscribe_item({"symbol": "AAPL", **options})

    assert item.symbol == "AAPL"
    assert item.selection == expected
    assert item.unknown == ()


@pytest.mark.parametrize(
    "item",
    [
        "AAPL", 7, None, [], {}, {"symbol": 7}, {"symbol": " "},
        {"symbol": "AAPL", "quoteFields": 7},
        {"symbol": "AAPL", "quoteFields": [7]},
        {"symbol": "AAPL", "level2": "yes"},
        {"symbol": "AAPL", "symbolType": 7},
    ],
)  # fmt: skip
def test_item_of_another_form_is_refused(item: object) -> None:
    with pytest.raises(BadRequestError):
        read_subscribe_item(item)


def test_unknown_fields_are_named_and_passed_over() -> None:
    item = read_subscribe_item({"symbol": "AAPL", "quoteFields": ["bidPrice", "nope"], "fields": ["neither"]})

    assert item.selection == Selection(quote=("bidPrice",))
    assert item.unknown == ("nope", "neither")


@pytest.mark.parametrize(
    ("item", "left"),
    [
        ("AAPL", Selection()),
        ({"symbol": "AAPL"}, Selection()),
        ({"symbol": "AAPL", "quote": True}, Selection(trade=("price", "size"), level2=True)),
        ({"symbol": "AAPL", "level2": True}, Selection(quote=("bidPrice", "askPrice"), trade=("price", "size"))),
        (
            {"symbol": "AAPL", "level2": True, "quoteFields": ["askPrice"]},
            Selection(quote=("bidPrice",), trade=("price", "size")),
        ),
        (
            {"symbol": "AAPL", "tradeFields": ["price", "size"]},
            Selection(quote=("bidPrice", "askPrice"), level2=True),
        ),
        (
            {"symbol": "AAPL", "quote": False},
            Selection(quote=("bidPrice", "askPrice"), trade=("price", "size"), level2=True),
        ),
    ],
)
def test_unsubscribe_item_says_what_ends(item: object, left: Selection) -> None:
    held = Selection(quote=("bidPrice", "askPrice"), trade=("price", "size"), level2=True)

    ended = read_unsubscribe_item(item)

    assert held.without(ended.selection) == left


def test_field_taken_from_everything_leaves_all_others() -> None:
    ended = read_unsubscribe_item({"symbol": "AAPL", "quoteFields": ["spread"]})

    assert ALL.without(ended.selection).quote == tuple(name for name in QUOTE_FIELDS if name != "spread")


selections = st.builds(
    Selection,
    quote=st.lists(st.sampled_from(QUOTE_FIELDS), unique=True).map(tuple),
    trade=st.lists(st.sampled_from(TRADE_FIELDS), unique=True).map(tuple),
    time_and_sales=st.lists(st.sampled_from(TIME_AND_SALES_FIELDS), unique=True).map(tuple),
    greeks=st.lists(st.sampled_from(GREEKS_FIELDS), unique=True).map(tuple),
    level2=st.booleans(),
)


@settings(max_examples=40)
@given(first=selections, second=selections)
def test_selections_unite_and_part_as_sets_do(first: Selection, second: Selection) -> None:
    both = first.united(second)

    assert both.united(second) == both
    assert not both.without(first).without(second)
    assert both.without(second).without(second) == first.without(second)

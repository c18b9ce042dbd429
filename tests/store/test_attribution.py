"""The change of equity, split by instrument and cause: by hand, and against equity itself."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext

from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.store.attribution import Attribution, Contribution, MarkUpdate, attribute
from aries_nb.store.fills import Fill
from aries_nb.store.valuation import Portfolio, apply_fills, equity, open_portfolio

NAN = Decimal("NaN")
SYMBOLS = ("MSFT", "OPTION")
MULTIPLIERS = {"OPTION": Decimal(100)}


def fill(
    quantity: str | int | Decimal,
    price: str | int | Decimal,
    symbol: str = "MSFT",
    fee: str | int = 0,
    *,
    mid: str | int | Decimal = NAN,
) -> Fill:
    signed = Decimal(quantity)
    side = "buy" if signed > 0 else "sell"
    return Fill(0, "ACC-1", symbol, side, abs(signed), Decimal(price), "ORD-1", Decimal(fee), mid=Decimal(mid))


def mark(price: str | int | Decimal, symbol: str = "MSFT") -> MarkUpdate:
    return MarkUpdate(symbol, Decimal(price))


def holding(**quantities: int) -> Portfolio:
    holdings = {symbol: (Decimal(quantity), Decimal(10)) for symbol, quantity in quantities.items()}
    return open_portfolio(Decimal(1000), holdings, multipliers=MULTIPLIERS)


def contribution(price: str | int = 0, trade: str | int = 0, fee: str | int = 0) -> Contribution:
    return Contribution(Decimal(price), Decimal(trade), Decimal(fee))


def through(
    portfolio: Portfolio, marks: dict[str, Decimal], events: Sequence[Fill | MarkUpdate]
) -> tuple[Portfolio, dict[str, Decimal]]:
    moved = {event.symbol: event.price for event in events if isinstance(event, MarkUpdate)}
    return apply_fills(portfolio, [event for event in events if isinstance(event, Fill)]), marks | moved


# Worked examples.


def test_a_mark_that_moves_is_a_price_move_of_what_is_held() -> None:
    attribution = attribute(holding(MSFT=5), {"MSFT": Decimal(10)}, [mark(11), mark(13)])

    assert attribution.contributions == {"MSFT": contribution(price=15)}


def test_a_fill_counts_by_how_much_its_price_is_better_than_the_middle_of_its_moment() -> None:
    events = [fill(2, "9.5", fee=1, mid="9.4"), mark(11), fill(-2, "10.8", mid="10.5")]

    attribution = attribute(holding(), {"MSFT": Decimal(10)}, events)

    # From the middle of the purchase to that of the sale, whatever the marks before and between.
    assert attribution.contributions == {"MSFT": contribution(price="2.2", trade="0.4", fee=-1)}
    assert attribution.total == Decimal("1.6")


def test_a_fill_without_a_middle_moves_from_its_own_price_on() -> None:
    events = [fill(2, "9.5"), mark(11), fill(-2, "10.8")]

    attribution = attribute(holding(), {"MSFT": Decimal(10)}, events)

    assert attribution.contributions == {"MSFT": contribution(price="2.6")}


def test_a_contract_counts_with_its_multiplier() -> None:
    events = [fill(1, "2.1", "OPTION", mid=2), mark("2.5", "OPTION")]

    attribution = attribute(holding(), {"OPTION": Decimal(2)}, events)

    assert attribution.contributions == {"OPTION": contribution(price=50, trade=-10)}


def test_what_is_only_quoted_is_no_part() -> None:
    attribution = attribute(holding(MSFT=1), {"MSFT": Decimal(10)}, [mark(5, "AAPL"), mark(6, "AAPL")])

    assert attribution.contributions == {"MSFT": contribution()}


# Unknown values.


def test_what_is_held_without_a_mark_at_the_beginning_is_unknown() -> None:
    attribution = attribute(holding(MSFT=5, OPTION=1), {"OPTION": Decimal(2)}, [mark(11), mark(3, "OPTION")])

    assert attribution.contributions["MSFT"].price.is_nan()
    assert attribution.contributions["OPTION"] == contribution(price=100)
    assert attribution.total.is_nan()


def test_what_is_held_without_a_mark_at_the_end_is_unknown() -> None:
    assert attribute(holding(MSFT=5), {"MSFT": Decimal(10)}, [mark("NaN")]).total.is_nan()
    assert attribute(holding(), {}, [fill(1, 10)]).total.is_nan()


def test_a_fill_before_there_is_any_mark_moves_to_the_first() -> None:
    attribution = attribute(holding(), {}, [fill(2, 10, mid=11), fill(1, 13), mark(12), mark(14)])

    assert attribution.contributions == {"MSFT": contribution(price=2 * 3 + 1, trade=2)}


def test_a_round_trip_without_any_quote_says_nothing_of_trading() -> None:
    attribution = attribute(holding(), {}, [fill(2, 10, fee=1), fill(-2, 12)])

    assert attribution.contributions == {"MSFT": contribution(price=4, fee=-1)}


def test_a_mark_lost_and_found_explains_the_whole_move() -> None:
    attribution = attribute(holding(MSFT=5), {"MSFT": Decimal(10)}, [mark("NaN"), mark(12)])

    assert attribution.contributions == {"MSFT": contribution(price=10)}


def test_a_mark_lost_while_nothing_is_held_measures_no_later_fill() -> None:
    events = [mark("NaN"), fill(2, 10), mark(12), fill(-2, 12), mark("NaN"), fill(1, 20), mark(21)]

    attribution = attribute(holding(), {"MSFT": Decimal(5)}, events)

    assert attribution.contributions == {"MSFT": contribution(price=4 + 1)}


def test_a_fill_without_price_is_unknown() -> None:
    attribution = attribute(holding(), {"MSFT": Decimal(10)}, [fill(2, "NaN", mid=10), mark(11)])

    assert attribution.contributions["MSFT"].trade.is_nan()
    assert attribution.contributions["MSFT"].price == 2


# Property tests.

quantities = st.integers(-9, 9).filter(bool) | st.decimals(-3, 3, places=3).filter(bool)
prices = st.decimals("0.01", 99, places=3)
mids = prices | st.just(NAN)
fills = st.builds(fill, quantities, prices, st.sampled_from(SYMBOLS), st.sampled_from(["0", "0.35"]), mid=mids)
closings = st.builds(fill, st.sampled_from([-2, -1, 1, 2]), prices, st.sampled_from(SYMBOLS), mid=mids)  # through zero
known = st.builds(mark, prices, st.sampled_from(SYMBOLS))
unknown = st.builds(mark, st.just("NaN"), st.sampled_from(SYMBOLS))
holdings = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, st.integers(-2, 2)))
some_marks = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices | st.just(NAN)))
events = st.lists(fills | closings | known | unknown, max_size=15)


@given(holdings, some_marks, events)
@settings(max_examples=100)
def test_the_parts_add_up_exactly_to_the_change_of_equity(
    held: dict[str, int], marks: dict[str, Decimal], happened: list[Fill | MarkUpdate]
) -> None:
    before = holding(**held)

    attribution = attribute(before, marks, happened)

    after, marks_after = through(before, marks, happened)
    with localcontext() as context:
        context.prec = 200
        change = equity(after, marks_after) - equity(before, marks)
    assert attribution.total == change or (attribution.total.is_nan() and change.is_nan())


@given(holdings, some_marks, events, st.integers(0, 15))
@settings(max_examples=100)
def test_a_sequence_cut_in_two_explains_the_same_part_by_part(
    held: dict[str, int], marks: dict[str, Decimal], happened: list[Fill | MarkUpdate], cut: int
) -> None:
    before = holding(**held)
    between, marks_between = through(before, marks, happened[:cut])

    first = attribute(before, marks, happened[:cut])
    second = attribute(between, marks_between, happened[cut:])

    whole = attribute(before, marks, happened)
    if not (first.total.is_nan() or second.total.is_nan()):
        assert first + second == whole


@given(holdings, some_marks, events)
def test_nothing_added_is_nothing_changed(
    held: dict[str, int], marks: dict[str, Decimal], happened: list[Fill | MarkUpdate]
) -> None:
    attribution = attribute(holding(**held), marks, happened)

    assert repr(attribution + Attribution({})) == repr(attribution)

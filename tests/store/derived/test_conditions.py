from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.errors import UsageError
from aries_nb.store.derived.conditions import Condition, Transitions

SECOND = 1_000_000
NAN = math.nan
COLUMNS = ("bid_price", "ask_price", "bid_size", "price")

HOSTILE = [
    "__import__('os').system('touch /tmp/owned')",
    "price.__class__.__base__.__subclasses__() > 1",
    "price.real > 1",
    "eval('1') > price",
    "open('/etc/passwd') > price",
    "exec(price) > 1",
    "(lambda: 1)() > price",
    "lambda: price > 1",
    "[price for price in (1, 2)] > 1",
    "[x for x in ().__class__.__mro__]",
    "{price: 1} > 1",
    "{price} > 1",
    "price[0] > 1",
    "price[0:1] > 1",
    "price ** 2 > 1",
    "9 ** 9 ** 9 ** 9 > price",
    "10 ** 1000000000 > price",
    "price << 1000000000 > 1",
    "price >> 1 > 1",
    "price % 2 > 1",
    "price // 2 > 1",
    "price @ price > 1",
    "price & 1 > 0",
    "(price > 1) | (price < 2)",
    "~price > 1",
    "price > 'a' * 1000000000",
    "f'{price}' > 1",
    "b'1' > price",
    "price is 1",
    "price is not 1",
    "price in (1, 2)",
    "price not in [1]",
    "price > 1 if price > 2 else price < 3",
    "(price := 3) > 1",
    "price = 3",
    "price > 1; import os",
    "import os",
    "price > 1\nimport os",
    "await price > 1",
    "yield price",
    "*price > 1",
    "price > ...",
    "price > None",
    "price > True",
    "price > 1j",
    "price > " + "9" * 390,
    "price > 1e999",
    "price > " + "9" * 10_000,
    "(" * 190 + "price" + ")" * 190,
    "(" * 5_000 + "price" + ")" * 5_000,
    "-" * 300 + "price > 1",
    "not " * 80 + "price > 1",
    "+".join(["price"] * 100_000) + " > 1",
    "price > 1 and " * 100_000 + "price > 1",
    "price > 1 # and more",
    "price > 1\x00",
    "price > 1\\\n",
    "price > \ud800",
    "print(price) > 1",
    "ts > 1",
    "np > 1",
    "__builtins__ > 1",
    "self > 1",
    "__class__ > 1",
    "",
    " ",
    "()",
    "price",
    "price > ",
    "1 < 2",
    "1 + 1",
    "price + (price > 1) > 2",
    "price > 1 and price",
    "not price",
    "-(price > 1) > 0",
    "price > (price > 1)",
    "price <> 1",
    "price > 0x1g",
    "1if price else 2",
]


def over(text: str, **columns: list[float]) -> list[float]:
    rows = {name: np.array(values, "float64") for name, values in columns.items()}
    found: list[float] = Condition(text, list(rows)).over(rows).tolist()
    return found


def same(found: list[float], expected: list[float]) -> bool:
    return np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30].encode("unicode_escape").decode())
def test_a_text_that_is_no_condition_only_raises_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        Condition(text, COLUMNS)

    assert len(str(raised.value)) < 500


def test_there_are_at_least_50_hostile_texts() -> None:
    assert len(set(HOSTILE)) >= 50


@pytest.mark.parametrize("what", [None, 3, b"price > 1", ["price > 1"]])
def test_what_is_no_text_is_refused(what: object) -> None:
    with pytest.raises(UsageError):
        Condition(what, COLUMNS)  # type: ignore[arg-type]


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        Condition(text, COLUMNS)


def test_numbers_and_comparisons_are_computed_for_each_row() -> None:
    rows = {"bid": [1.0, 2.0, 3.0], "ask": [2.0, 2.5, 2.0]}

    assert over("ask - bid > 0.4", **rows) == [1.0, 1.0, 0.0]
    assert over("(ask + bid) / 2 >= 2.25", **rows) == [0.0, 1.0, 1.0]
    assert over("-bid * 2 < -3 and ask != 2", **rows) == [0.0, 1.0, 0.0]
    assert over("1 < bid <= 2 or bid == 3", **rows) == [0.0, 1.0, 1.0]
    assert over("not bid > 2", **rows) == [1.0, 1.0, 0.0]
    assert over("+bid > 1e0 or 2 > 3", **rows) == [0.0, 1.0, 1.0]


def test_a_missing_value_makes_a_condition_unknown_unless_the_rest_decides() -> None:
    rows = {"a": [NAN, NAN, NAN, 1.0], "b": [1.0, 5.0, NAN, 1.0]}

    assert same(over("a > 3", **rows), [NAN, NAN, NAN, 0.0])
    assert same(over("not a > 3", **rows), [NAN, NAN, NAN, 1.0])
    assert same(over("a != 3", **rows), [NAN, NAN, NAN, 1.0])
    assert same(over("a > 3 or b > 3", **rows), [NAN, 1.0, NAN, 0.0])
    assert same(over("a > 3 and b > 3", **rows), [0.0, NAN, NAN, 0.0])


def test_a_division_by_zero_is_unknown() -> None:
    assert same(over("a / b > 0", a=[1.0, 0.0, 4.0], b=[0.0, 0.0, 2.0]), [NAN, NAN, 1.0])


def test_mid_and_spread_stand_for_bid_and_ask_unless_a_column_has_the_name() -> None:
    sides = {"bid_price": [269.0, 270.5], "ask_price": [270.0, 271.0]}

    assert over("mid > 270", **sides) == [0.0, 1.0]
    assert over("spread > 0.7", **sides) == [1.0, 0.0]
    assert over("mid > 270", **sides, mid=[280.0, 1.0]) == [1.0, 0.0]
    with pytest.raises(UsageError, match="'mid', which is no number column"):
        Condition("mid > 270", ["price"])


def fired(*rows: tuple[float, int, float], symbols: int = 2, cuts: tuple[int, ...] = ()) -> list[float]:
    """The times in s at which an alert fires; rows of (second, code, truth), taken in pieces that end at `cuts`."""
    transitions = Transitions(symbols)
    found: list[float] = []
    for first, last in zip((0, *cuts), (*cuts, len(rows)), strict=True):
        piece = rows[first:last]
        at = np.array([round(second * SECOND) for second, _, _ in piece], "int64")
        codes, truth = np.array([code for _, code, _ in piece], "int8"), np.array([each for *_, each in piece])
        found += [at[place] / SECOND for place in transitions.take(codes, at, truth.astype("float64"))]
    return found


def test_it_fires_when_false_becomes_true_and_not_while_it_stays_true() -> None:
    assert fired((0, 0, 0), (1, 0, 1), (2, 0, 1), (3, 0, 1)) == [1.0]


def test_what_is_true_from_the_beginning_has_not_become_true() -> None:
    assert fired((0, 0, 1), (1, 0, 1), (1.5, 0, 0), (2, 0, 1)) == []
    assert fired((0, 0, 1), (1, 0, 0), (2, 0, 1)) == [2.0]


def test_it_fires_again_only_after_a_second_of_false_without_a_break() -> None:
    assert fired((0, 0, 0), (1, 0, 1), (2, 0, 0), (2.9, 0, 1), (3, 0, 0), (3.999, 0, 1)) == [1.0]
    assert fired((0, 0, 0), (1, 0, 1), (2, 0, 0), (2.5, 0, 0), (3.0, 0, 1)) == [1.0, 3.0]


def test_each_symbol_fires_by_itself() -> None:
    assert fired((0, 0, 0), (0, 1, 0), (1, 1, 1), (1.1, 0, 1), (1.2, 1, 0), (1.3, 1, 1)) == [1.0, 1.1]


def test_what_is_unknown_changes_nothing() -> None:
    assert fired((0, 0, 0), (1, 0, NAN), (2, 0, 1), (3, 0, NAN), (9, 0, 1)) == [2.0]


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2), st.sampled_from((0.0, 1.0, NAN))), max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_it_fires_as_a_plain_loop_says_however_the_rows_are_cut(
    steps: list[tuple[int, int, float]], cuts: list[int]
) -> None:
    at, rows = 0.0, []
    for tenths, code, truth in steps:
        at = round(at + tenths / 10, 1)
        rows.append((at, code, truth))
    expected = []
    newest: dict[int, float] = {}
    false_since: dict[int, float] = {}
    was_true: set[int] = set()
    for second, code, truth in rows:
        if math.isnan(truth):
            continue
        if truth and newest.get(code) == 0.0 and (code not in was_true or second - false_since[code] > 0.99):
            expected.append(second)
        if truth:
            was_true.add(code)
        elif newest.get(code) != 0.0:
            false_since[code] = second
        newest[code] = truth

    found = fired(*rows, symbols=3, cuts=tuple(sorted(min(cut, len(rows)) for cut in cuts)))

    assert found == expected

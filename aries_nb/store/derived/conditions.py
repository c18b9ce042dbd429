"""Conditions written as text, such as "mid > 270 and spread < 0.05", computed over rows, and when they fire.

A text is parsed by `ast` and never run: names of columns, numbers, + - * /, comparisons, and, or, not. Anything else
raises UsageError. A value that is missing makes a condition unknown, unless the rest decides it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from aries_nb.errors import UsageError

if TYPE_CHECKING:
    from aries_nb.model import Codes, Numbers, Times

__all__ = ["SHORTHANDS", "Condition", "Transitions"]

MOST_CHARACTERS = 400
MOST_DEPTH = 20
AGAIN_US = 1_000_000
SHORTHANDS = {"mid": "(bid_price + ask_price) / 2", "spread": "ask_price - bid_price"}
"""Names that stand for others, where no column has them."""
_ADVICE = 'Use column names, numbers, + - * /, comparisons, and, or, not, as in "mid > 270 and spread < 0.05".'
_CHARACTERS = re.compile(r"[\w\s.()+\-*/<>=!]*")
_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_Kind: TypeAlias = Literal["number", "truth"]
_Computed: TypeAlias = "Callable[[Mapping[str, Numbers]], Any]"


class Condition:
    """A condition over number columns. `columns` are the names that the text may use.

    `names` are those that it uses; `key` is equal for texts that differ in blanks and brackets alone. Raises UsageError
    for a text that is no condition, is longer than 400 characters, nested more than 20 deep, or names what is no
    column.
    """

    def __init__(self, text: str, columns: Collection[str]) -> None:
        if not isinstance(text, str):
            raise UsageError(f"{type(text).__name__} is no condition", advice=_ADVICE)
        self.text = text.strip()
        self.names: set[str] = set()
        self._columns = columns
        parsed = _parsed(self.text)
        kind, self._compute = self._read(parsed, MOST_DEPTH)
        self.key = ast.dump(parsed)
        if kind != "truth":
            raise UsageError(f"{_shown(text)} is a number and no condition", advice="Compare it, as in mid > 270.")
        if not self.names:
            raise UsageError(f"{_shown(text)} names no column", advice=f"There are {', '.join(columns)}.")

    def over(self, columns: Mapping[str, Numbers]) -> Numbers:
        """Return for each row 1.0 where the condition holds, 0.0 where it does not, NaN where that is unknown.

        A division by zero is unknown.
        """
        with np.errstate(all="ignore"):
            found: Numbers = self._compute(columns)
        return found

    def _read(self, node: ast.expr, depth: int) -> tuple[_Kind, _Computed]:
        """Return what a part of the text is, and the function that computes it."""
        if not depth:
            raise UsageError(f"{_shown(self.text)} is nested too deeply", advice=_ADVICE)
        match node:
            case ast.Name(id=name):
                return "number", self._column(name, depth)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return "number", self._number(value)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                function = _ARITHMETIC[type(op)]
                first, second = self._part(left, "number", depth), self._part(right, "number", depth)
                return "number", lambda rows: _finite(function(first(rows), second(rows)))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                inner, sign = self._part(operand, "number", depth), -1.0 if isinstance(op, ast.USub) else 1.0
                return "number", lambda rows: sign * inner(rows)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._part(operand, "truth", depth)
                return "truth", lambda rows: 1.0 - inner(rows)
            case ast.BoolOp(op=op, values=values):
                return "truth", _joined([self._part(value, "truth", depth) for value in values], op)
            case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
                type(op) in _COMPARISONS for op in ops
            ):
                sides = [self._part(side, "number", depth) for side in (left, *comparators)]
                pairs = [
                    _compared(_COMPARISONS[type(op)], sides[place], sides[place + 1]) for place, op in enumerate(ops)
                ]
                return "truth", _joined(pairs, ast.And())
        part = _shown(ast.get_source_segment(self.text, node) or self.text)
        raise UsageError(f"{part} has no place in a condition", advice=_ADVICE)

    def _part(self, node: ast.expr, wanted: _Kind, depth: int) -> _Computed:
        kind, compute = self._read(node, depth - 1)
        if kind != wanted:
            have = "a condition where a number" if kind == "truth" else "a number where a condition"
            raise UsageError(f"{_shown(self.text)} has {have} is expected", advice=_ADVICE)
        return compute

    def _column(self, name: str, depth: int) -> _Computed:
        if name in self._columns:
            self.names.add(name)
            return lambda rows: rows[name]
        meant = _parsed(SHORTHANDS[name]) if name in SHORTHANDS else None
        if meant is None or not {each.id for each in ast.walk(meant) if isinstance(each, ast.Name)} <= {*self._columns}:
            what = f"{_shown(self.text)} names {_shown(name)}, which is no number column"
            raise UsageError(what, advice=f"There are {', '.join(self._columns)}.")
        return self._read(meant, depth)[1]

    def _number(self, value: float) -> _Computed:
        try:
            number = np.float64(value)
        except OverflowError:
            number = np.float64("inf")
        if not np.isfinite(number):
            raise UsageError(f"{_shown(self.text)} has a number that is too large", advice=_ADVICE)
        return lambda _: number


class Transitions:
    """At which rows the condition of one alert fires: where it becomes true after it was false, symbol by symbol.

    It fires again only after it was false for one second, without a break. A symbol of which the first known value is
    true has not become true: it does not fire then. What is unknown changes nothing. One thread.
    """

    def __init__(self, symbols: int) -> None:
        self.holds = np.full(symbols, np.nan)
        """The newest known value of each symbol: 1.0 true, 0.0 false, NaN before the first."""
        self._false_since = np.zeros(symbols, "int64")
        self._was_true = np.zeros(symbols, "bool")

    def take(self, codes: Codes, at: Times, truth: Numbers) -> list[int]:
        """Take rows in the order of arrival; return the places of those that fire.

        `codes` are those of the symbols, `at` market times of receipt in us since the epoch, `truth` as
        `Condition.over` returns it.
        """
        known = np.flatnonzero(~np.isnan(truth))
        order = known[np.argsort(codes[known], kind="stable")]
        of, values = codes[order], truth[order]
        before = np.concatenate([[np.nan], values[:-1]])
        is_first = np.concatenate([[True], of[1:] != of[:-1]])[: len(of)]
        before = np.where(is_first, self.holds[of], before[: len(of)])
        changed = np.sort(order[before != values])  # NaN differs from all
        fired = [place for place in changed.tolist() if self._change(int(codes[place]), int(at[place]), truth[place])]
        self.holds[of] = values  # the last of each counts
        return fired

    def _change(self, code: int, at: int, value: float) -> bool:
        """Note that a symbol's value has changed; return whether the alert fires."""
        if not value:
            self._false_since[code] = at
            self.holds[code] = value
            return False
        was_false = self.holds[code] == 0.0
        is_new = not self._was_true[code] or at - self._false_since[code] >= AGAIN_US
        self._was_true[code] = True
        self.holds[code] = value
        return bool(was_false and is_new)


def _parsed(text: str) -> ast.expr:
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"a condition of {len(text):,} characters", advice=f"Use at most {MOST_CHARACTERS}.")
    if not _CHARACTERS.fullmatch(text):
        raise UsageError(f"{_shown(text)} is no condition", advice=_ADVICE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning):
        raise UsageError(f"{_shown(text)} is no condition", advice=_ADVICE) from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _finite(values: Numbers) -> Numbers:
    return np.where(np.isfinite(values), values, np.nan)


def _compared(function: Callable[[Any, Any], Any], left: _Computed, right: _Computed) -> _Computed:
    def compute(rows: Mapping[str, Numbers]) -> Any:  # noqa: ANN401 - an array, or a number of a part without columns
        first, second = left(rows), right(rows)
        return np.where(np.isnan(first) | np.isnan(second), np.nan, function(first, second))

    return compute


def _joined(parts: list[_Computed], op: ast.boolop) -> _Computed:
    """Return the function that joins truths by and, or: NaN where neither part decides."""
    smaller, decisive = (np.minimum, 0.0) if isinstance(op, ast.And) else (np.maximum, 1.0)

    def compute(rows: Mapping[str, Numbers]) -> Any:  # noqa: ANN401 - as of `_compared`
        found = parts[0](rows)
        for part in parts[1:]:
            other = part(rows)
            found = np.where((found == decisive) | (other == decisive), decisive, smaller(found, other))
        return found

    return compute

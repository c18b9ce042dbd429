"""Plans of derived frames: what computes their rows, and how they are named and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from types import CodeType, FunctionType
from typing import NamedTuple

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.live.callbacks import same_function
from aries_nb.model import Kind
from aries_nb.store import RollingFrame
from aries_nb.store.derived.combined import Rebased
from aries_nb.store.derived.row_by_row import Assigned, AssignedColumn, DependsOnOtherRows, OfSymbol, tried
from aries_nb.store.derived.rows import Machine

__all__ = ["Plan", "assigned", "check_names", "function_key", "of_symbol", "rebased"]

OWN_NAMES = {"ts", "received", "symbol", "seq"}
PLAIN = (int, float, str, bool, bytes, tuple, frozenset, type(None))
ROWS_TRIED = 1_000


class Plan(NamedTuple):
    """What a derived frame is to be: `machine` computes its rows, `name` is shown in its repr, views and errors.

    `kind` None is that of the source, `shown` are the columns of its charts, () for the usual ones. `window` has
    `limit` or `window_ns` of its `RollingFrame`, None for those of the source. `is_by_time`: the newest row is that
    with the latest exchange time, else the one that arrived last; None as of the source. `is_from_now`: rows that the
    source has are left out.
    """

    machine: Machine
    name: str
    kind: Kind | None = None
    shown: tuple[str, ...] = ()
    window: dict[str, int | None] | None = None
    is_by_time: bool | None = None
    is_from_now: bool = False


def of_symbol(tape: RollingFrame, symbol: str, name: str) -> Plan:
    """Return the plan of one symbol's part of a frame, whose rows are in `tape`."""
    return Plan(OfSymbol(tape.columns, tape.symbols, symbol), f"{name}[{symbol!r}]")


def check_names(names: Iterable[str], taken: Iterable[str] = ()) -> None:
    """Raise UsageError for a name that no column may have: one of every frame, one of `taken`, or a blank one."""
    for name in names:
        if name in OWN_NAMES or name in taken or not name.strip():
            raise UsageError(f"{name!r} cannot be the name of a column", advice="Choose another one.")


def assigned(tape: RollingFrame, columns: Mapping[str, AssignedColumn], name: str) -> Plan:
    """Return the plan of a frame with columns more, which functions compute from the rows in `tape`.

    Raises UsageError for names that are taken, for values that are none of a column, for functions that depend on other
    rows, and where a function raises.
    """
    check_names(columns)
    for column, function in columns.items():
        if not callable(function) and not isinstance(function, str | Real | np.bool_):
            what = f"{type(function).__name__} is no function of the rows, nor one value for all"
            raise UsageError(f"{column}: {what}", advice=f"Pass a function: assign({column}=lambda df: …).")
    if not columns:
        raise UsageError(
            "no column was given", advice="Name one: assign(spread=lambda df: df.ask_price - df.bid_price)."
        )
    try:
        types = tried(tape.columns, tape.symbols, tape.tail(ROWS_TRIED), columns)
    except DependsOnOtherRows as found:
        advice = "Each row must be computed from itself; see rolling, ewm and anb.derive for what looks at several."
        raise UsageError(str(found), advice=advice) from None
    except Exception as error:  # the border to the user's code
        raise UsageError(f"the function raised {type(error).__name__}: {error}", advice="Try it on `.df`.") from error
    machine = Assigned(tape.columns, tape.symbols, columns, types)
    shown = tuple(column for column in columns if types[column] == "number")
    return Plan(machine, f"{name} with {', '.join(columns)}", shown=shown)


def rebased(tape: RollingFrame, columns: Sequence[str], to: float, name: str) -> Plan:
    """Return the plan of a frame with values as a share of the first ones of each symbol, from now on."""
    made = columns[0] if len(columns) == 1 else "mid"
    return Plan(Rebased(columns, tape.symbols, to, made), f"{name} from {to:g}", shown=(made,), is_from_now=True)


def function_key(function: object) -> object:
    """Return a key that is equal for a function and for the one that the same cell defines when it runs again.

    The plain values of the notebook's variables that it uses belong to it: with another value it is another function.
    """
    if not callable(function):
        return type(function), repr(function)
    if not isinstance(function, FunctionType):
        return same_function(function)
    values = function.__globals__
    used = [(name, values[name]) for name in _names(function.__code__) if name in values]
    plain = tuple((name, type(value), value) for name, value in used if isinstance(value, PLAIN))
    return same_function(function), plain


def _names(code: CodeType) -> Sequence[str]:
    inner = [name for each in code.co_consts if isinstance(each, CodeType) for name in _names(each)]
    return [*code.co_names, *inner]

"""Plans of as-of joins: of two live frames, or of a live frame and a DataFrame of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.derived.plan import Plan
from aries_nb.live.gaps import GapSelection
from aries_nb.model import Column
from aries_nb.store.derived.as_of import AsOfJoin, FixedRows, JoinedColumn, Key
from aries_nb.store.derived.row_by_row import type_of, values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.live.market.frame_views import FrameViews
    from aries_nb.model import Times

__all__ = ["JoinedBy", "SameObject", "joined", "joined_to_fixed", "unfilled_gaps"]

JoinedBy: TypeAlias = Literal["received", "ts"]
TIMES = ("ts", "received")
MOST_REMEMBERED = 1_000_000  # rows


class SameObject:
    """A key that is equal for the same object alone, which it keeps: of what cannot be hashed."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __hash__(self) -> int:
        return id(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameObject) and other._value is self._value


def joined(left: FrameViews, right: FrameViews, *, on: JoinedBy) -> Plan:
    """Return the plan of the join of two frames.

    Raises UsageError for an unknown `on`, for frames without a common symbol, and where the order of arrival is not
    known, as of frames of two feeds.
    """
    by: Key = "ts" if _checked(on) == "ts" else "seq"
    if by == "seq" and left._link.arrivals is not right._link.arrivals:
        what = "the order in which the rows of two feeds arrived is not known"
        raise UsageError(what, advice='Pass on="ts" to join by exchange time, or the other frame\'s `.df`.')
    codes = [right.symbols.index(symbol) if symbol in right.symbols else -1 for symbol in left.symbols]
    if max(codes) < 0:
        advice = f"The other has {', '.join(right.symbols[:10])}."
        raise UsageError("the two frames have no symbol in common", advice=advice)
    gaps, symbols = right._gap_selection, right.symbols
    machine = AsOfJoin(
        left._tape.columns,
        left.symbols,
        _named(right._tape.columns, left._tape.columns),
        codes,
        by=by,
        gaps=lambda: unfilled_gaps(gaps, symbols),
        most=min(right._tape.window["limit"] or MOST_REMEMBERED, MOST_REMEMBERED),
    )
    return Plan(machine, f"{left._name} as of {right._name}")


def joined_to_fixed(left: FrameViews, right: pd.DataFrame, *, on: JoinedBy) -> Plan:
    """Return the plan of the join of a frame with a DataFrame of the user's.

    Its times are its index, or its column `ts`; where it has a column `received`, `on` "received" goes by that. With a
    column `symbol` each row belongs to a symbol, without one to all. Raises UsageError for an unknown `on`, for times
    that are none or have no zone, and for values that are no column.
    """
    by: Key = "ts" if _checked(on) == "ts" else "received"
    symbols = right["symbol"].astype("str") if "symbol" in right else None
    ts = _times(right.get("ts", right.index))
    received = _times(right["received"]) if "received" in right else ts
    columns: list[Column] = []
    values: list[NDArray[Any]] = []
    texts: dict[str, Sequence[str]] = {}
    for column, series in right.drop(columns=[*TIMES, "symbol"], errors="ignore").items():
        try:
            kind = type_of(series)
            own = values_of(series, kind)
        except (TypeError, ValueError) as error:
            raise UsageError(f"column {column!r}: {error}", advice="Leave it out: .drop(columns=…).") from None
        if kind == "text":
            own, known = pd.factorize(own)
            texts[str(column)] = list(known)
        columns.append(Column(str(column), kind))
        values.append(own)
    known_symbols = [""] if symbols is None else list(dict.fromkeys(symbols))
    codes = np.zeros(len(right), "int64") if symbols is None else pd.Index(known_symbols).get_indexer(pd.Index(symbols))
    places = {symbol: 0 if symbols is None else code for code, symbol in enumerate(known_symbols)}
    machine = AsOfJoin(
        left._tape.columns,
        left.symbols,
        _named(columns, left._tape.columns),
        [places.get("" if symbols is None else symbol, -1) for symbol in left.symbols],
        by=by,
        fixed=FixedRows(codes, ts, received, values, texts),
    )
    return Plan(machine, f"{left._name} as of a DataFrame")


def unfilled_gaps(gaps: GapSelection, symbols: Sequence[str]) -> Iterable[tuple[int, int | None]]:
    """Return the starts of gaps that were not filled, in us, each with the code of its symbol, None for all."""
    return [
        (gap.started // 1_000, symbols.index(gap.symbol) if gap.symbol in symbols else None)
        for gap in gaps.all()
        if not gap.filled
    ]


def _checked(on: object) -> object:
    if on not in ("received", "ts"):
        advice = 'Pass "received", what you knew when, or "ts", what was true.'
        raise UsageError(f"on={on!r} is no order of a join", advice=advice)
    return on


def _named(right: Sequence[Column], left: Sequence[Column]) -> list[JoinedColumn]:
    """Return the right frame's columns, those of a name that the left one has with another name."""
    taken = {*TIMES, "symbol", "seq", *(column.name for column in left)}
    named: list[JoinedColumn] = []
    for column in right:
        name = column.name
        while name in taken or name in ("ts_right", "received_right"):
            name += "_right"
        taken.add(name)
        named.append(JoinedColumn(column, name))
    return named


def _times(values: pd.Index[Any] | pd.Series[Any]) -> Times:
    """Return times in us since the epoch. Raises UsageError for what is no time, is missing, or has no zone."""
    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        what = f"{values.name or 'the index'} has no times with a zone, but {values.dtype}"
        raise UsageError(what, advice='Make it one: .tz_localize("UTC"), or pd.to_datetime(…, utc=True).')
    if values.hasnans:
        what = f"{values.name or 'the index'} has missing times"
        raise UsageError(what, advice="Leave these rows out: .dropna(), or by .index.notna() of the index.")
    return pd.DatetimeIndex(values).tz_convert("UTC").as_unit("us").asi8.astype("int64")

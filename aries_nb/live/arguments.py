"""What a user asks for, checked before anything is sent: symbols, fields, windows, names, times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from numbers import Real
from typing import Literal

import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.model import Column, ColumnType

__all__ = [
    "checked_columns",
    "checked_interval_ms",
    "checked_pnl_interval",
    "checked_start",
    "checked_symbols",
    "checked_text",
    "checked_topics",
    "checked_window",
]

DEFAULT_ROWS = 100_000
MAX_ROWS = 100_000_000
MAX_INTERVAL_MS = 3_600_000
SHOWN_CHARACTERS = 200


def checked_symbols(symbols: Sequence[object]) -> tuple[str, ...]:
    """Symbols as given, each once, in order. Raises UsageError for none, a blank or anything but text."""
    if not symbols:
        raise UsageError("no symbol was given", advice='Name at least one, as in feed.quotes("AAPL").')
    for symbol in symbols:
        if not is_symbol(symbol):
            raise UsageError(f"{symbol!r} is not a symbol", advice='Pass each as text: feed.quotes("AAPL", "MSFT").')
    return tuple(dict.fromkeys(str(symbol).strip() for symbol in symbols))


def is_symbol(symbol: object) -> bool:
    """Whether something can be a symbol at all."""
    return isinstance(symbol, str) and len(symbol.strip()) > 0 and len(symbol) <= 64 and symbol.strip().isprintable()


def checked_columns(
    fields: Sequence[str] | Literal["*"] | None, known: Mapping[str, ColumnType], usual: Sequence[Column]
) -> tuple[Column, ...]:
    """The columns for `fields` ("*": all), in the order in which the broker's records carry them. Raises UsageError."""
    if fields == "*":
        fields = list(known)
    if isinstance(fields, str):
        raise UsageError(f"fields={fields!r} is text", advice=f"Pass a list: fields=[{fields!r}].")
    if fields is not None and not isinstance(fields, Iterable):
        raise UsageError(f"fields={fields!r} is no list of names", advice='Pass one: fields=["bid_price"].')
    names = [column.name for column in usual] if fields is None else [str(field) for field in fields]
    if not names:
        raise UsageError("fields=[] asks for nothing", advice="Leave fields out for the usual ones.")
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=3, cutoff=0.5)
            hint = f"Did you mean {', '.join(near)}?" if near else f"Known are: {', '.join(known)}."
            raise UsageError(f"unknown field {name!r}", advice=hint)
    return tuple(Column(name, kind) for name, kind in known.items() if name in names)


def checked_interval_ms(interval: object, *, conflates: bool) -> tuple[tuple[str, str], ...]:
    """The option of a subscription for `min_interval_ms`, () for None. Raises UsageError.

    `conflates` says whether the endpoint can be asked to hold states back at all.
    """
    if interval is None:
        return ()
    if not conflates:
        what = "min_interval_ms= is for brokers that hold quotes and books back"
        raise UsageError(what, advice="Leave it out: here every state is sent.")
    if isinstance(interval, bool) or not isinstance(interval, int) or not 1 <= interval <= MAX_INTERVAL_MS:
        advice = f"Pass whole milliseconds, from 1 to {MAX_INTERVAL_MS:,}."
        raise UsageError(f"min_interval_ms={interval!r} is no interval", advice=advice)
    return (("min_interval_ms", str(interval)),)


def checked_window(window: object, rows: object) -> dict[str, int | None]:
    """`limit` (rows) and `window_ns` (nanoseconds) for a tape; 100,000 rows by default. Raises UsageError."""
    if rows is not None and window is not None:
        raise UsageError("both rows= and window= were given", advice="Choose one.")
    if window is None:
        limit = DEFAULT_ROWS if rows is None else rows
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise UsageError(f"rows={limit!r} is no number of rows", advice="Pass a whole number of at least 1.")
        if limit > MAX_ROWS:
            raise UsageError(f"rows={limit:,} does not fit into memory", advice=f"Pass at most {MAX_ROWS:,}.")
        return {"limit": limit, "window_ns": None}
    try:
        # A bare number, as text as well, has no unit: pandas would take it for nanoseconds.
        is_bare = isinstance(window, Real) or (isinstance(window, str) and window.strip().isdecimal())
        span = pd.NaT if is_bare else pd.Timedelta(window).as_unit("ns")  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(
            f"window={window!r} is no span of time", advice='Write it like "15min", "30s" or "2h".'
        ) from error
    if pd.isna(span) or span <= pd.Timedelta(0):
        raise UsageError(f"window={window!r} holds no rows", advice='Give a positive span, like "15min".')
    return {"limit": None, "window_ns": span.as_unit("ns").value}


def checked_text(text: object, otherwise: str, *, advice: str) -> str:
    """Text without blanks round it. Raises UsageError, "… is `otherwise`", for a blank and for what cannot be sent."""
    if isinstance(text, str) and text.strip():
        try:
            text.encode()
        except UnicodeEncodeError:  # half a character
            pass
        else:
            return text.strip()
    raise UsageError(f"{_cut(text)} is {otherwise}", advice=advice)


def checked_topics(topics: object) -> tuple[str, ...]:
    """Topics of news, each once, in order; a text on its own is one topic. Raises UsageError."""
    items = (topics,) if isinstance(topics, str) else topics
    advice = 'Pass each as text: topics=["earnings"].'
    if not isinstance(items, Iterable) or isinstance(items, bytes):
        raise UsageError(f"topics={_cut(topics)} is no list of topics", advice=advice)
    return tuple(dict.fromkeys(checked_text(topic, "no topic of news", advice=advice) for topic in items))


def checked_start(start: object) -> str:
    """A time as RFC 3339 in UTC, which it is taken to be in where it names no zone. Raises UsageError."""
    moment: object = pd.NaT
    if isinstance(start, str | datetime):
        try:
            moment = pd.Timestamp(start)
        except (ValueError, OverflowError):
            moment = pd.NaT
    if not isinstance(moment, pd.Timestamp):
        advice = 'Write it like "2026-03-02" or "2026-03-02T14:30Z", or pass a pandas.Timestamp.'
        raise UsageError(f"start={_cut(start)} is no time", advice=advice)
    utc = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
    return utc.isoformat().replace("+00:00", "Z")


def checked_pnl_interval(interval: object, known: Sequence[str]) -> str:
    """The length of a candle of profit and loss, one of the `known`. Raises UsageError."""
    if not isinstance(interval, str) or interval not in known:
        raise UsageError(
            f"interval={_cut(interval)} is no length of a candle", advice=f"There are: {', '.join(known)}."
        )
    return interval


def _cut(value: object) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"

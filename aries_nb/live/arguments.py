"""Checks of a user's arguments before anything is sent: symbols, fields, counts, windows, texts, times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Literal, TypeGuard

import numpy as np
import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.model import Column, ColumnType
from aries_nb.model.clock import Clock

__all__ = [
    "checked_columns",
    "checked_count",
    "checked_interval",
    "checked_interval_ms",
    "checked_moment",
    "checked_period",
    "checked_span_ns",
    "checked_symbol",
    "checked_symbols",
    "checked_text",
    "checked_topics",
    "checked_window",
    "finite_number",
    "is_whole",
    "rfc3339",
]

DEFAULT_ROWS = 100_000
MAX_ROWS = 100_000_000
MAX_INTERVAL_MS = 3_600_000
SHOWN_CHARACTERS = 200
SEPARATORS = re.compile("[,;]")  # between several symbols in one text
DAYS = re.compile(r"(?<=\d)\s*[dw]\b")


def checked_count(value: object, name: str, of: str, *, most: int | None = None, or_none: str = "") -> int:
    """Return `value` if it is a whole number from 1 to `most` (None: no maximum). Raises UsageError otherwise.

    The error says "`name`=… is no number of `of`". `or_none` is added to its advice where None may be passed instead;
    the caller handles None.
    """
    if not is_whole(value) or value < 1 or (most is not None and value > most):
        span = "of at least 1" if most is None else f"from 1 to {most:,}"
        raise UsageError(f"{name}={_cut(value)} is no number of {of}", advice=f"Pass a whole number {span}{or_none}.")
    return int(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, of numpy too; not a boolean, nor a span of time, which numpy takes for one."""
    return isinstance(value, Integral) and not isinstance(value, bool | np.timedelta64)


def finite_number(value: object) -> float:
    """Return a real number as a float; NaN for one that no finite float holds, and for what `is_whole` excludes."""
    if not isinstance(value, Real) or isinstance(value, bool | np.timedelta64):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def checked_symbols(symbols: Sequence[object]) -> tuple[str, ...]:
    """Return the symbols without surrounding blanks, each once, in the given order; "AAPL, MSFT" is two symbols.

    Raises UsageError where there is none, where one is not printable text of 1 to 64 characters, and for several words
    that each begin with a letter, such as "AAPL MSFT", which may be one symbol or two.
    """
    if not symbols:
        raise UsageError("no symbol was given", advice='Name at least one, as in feed.quotes("AAPL").')
    each = [part for symbol in symbols for part in (SEPARATORS.split(symbol) if isinstance(symbol, str) else (symbol,))]
    for symbol in each:
        if not is_symbol(symbol):
            advice = 'Pass each as text: feed.quotes("AAPL", "MSFT").'
            raise UsageError(f"{_cut(symbol)} is not a symbol", advice=advice)
        words = str(symbol).split()
        if len(words) > 1 and all(word[0].isalpha() for word in words):
            advice = f"Put commas between several: {', '.join(words)!r}. One such as BRK B is written BRK.B."
            raise UsageError(f"{str(symbol).strip()!r} may be one symbol or {len(words)}", advice=advice)
    return tuple(dict.fromkeys(str(symbol).strip() for symbol in each))


def checked_symbol(symbol: object) -> str:
    """Return a symbol without surrounding blanks. Raises UsageError for no symbol, and for several."""
    symbols = checked_symbols([symbol])
    if len(symbols) > 1:
        raise UsageError(f"{symbol!r} is {len(symbols)} symbols", advice=f'Call it for each, as with "{symbols[0]}".')
    return symbols[0]


def is_symbol(symbol: object) -> bool:
    """Whether a value can be a symbol: printable text of 1 to 64 characters, not only blanks."""
    return isinstance(symbol, str) and len(symbol.strip()) > 0 and len(symbol) <= 64 and symbol.strip().isprintable()


def checked_columns(
    fields: Sequence[str] | Literal["*"] | None, known: Mapping[str, ColumnType], usual: Sequence[Column]
) -> tuple[Column, ...]:
    """Return the columns that a user names in `fields`, in the order of `known`, all columns of the broker's records.

    `fields` "*" stands for all of them, None for `usual`. Raises UsageError for an unknown name, an empty list, and
    anything but a list of names.
    """
    if fields == "*":
        fields = list(known)
    if isinstance(fields, str):
        raise UsageError(f"fields={fields!r} is text", advice=f"Pass a list: fields=[{fields!r}].")
    if fields is not None and not isinstance(fields, Iterable):
        raise UsageError(f"fields={fields!r} is no list of names of fields", advice='Pass one: fields=["bid_price"].')
    names = [column.name for column in usual] if fields is None else [str(field) for field in fields]
    if not names:
        raise UsageError("fields=[] names no field", advice="Leave fields out for the usual ones.")
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=3, cutoff=0.5)
            hint = f"Did you mean {', '.join(near)}?" if near else f"Known are: {', '.join(known)}."
            raise UsageError(f"unknown field {name!r}", advice=hint)
    return tuple(Column(name, kind) for name, kind in known.items() if name in names)


def checked_interval_ms(interval: object, *, conflates: bool) -> tuple[tuple[str, str], ...]:
    """Return `min_interval_ms=` of a user as the option of a subscription, a pair of name and text; () for None.

    `conflates` says whether the endpoint can leave out states of a symbol that follow within an interval. Raises
    UsageError where it cannot, and for anything but whole milliseconds from 1 to an hour.
    """
    if interval is None:
        return ()
    if not conflates:
        what = "min_interval_ms= is for brokers that can limit how often quotes and books are sent"
        raise UsageError(what, advice="Leave it out: here every state is sent.")
    return (("min_interval_ms", str(checked_count(interval, "min_interval_ms", "milliseconds", most=MAX_INTERVAL_MS))),)


def checked_window(window: object, rows: object) -> dict[str, int | None]:
    """Return the arguments of a `RollingFrame`: `limit` in rows and `window_ns` in nanoseconds, one of the two None.

    `window` is a span of time such as "15min", `rows` a number of rows; 100,000 rows where both are None. Raises
    UsageError for both together and for an invalid one.
    """
    if rows is not None and window is not None:
        raise UsageError("both rows= and window= were given", advice="Choose one.")
    if window is None:
        limit = DEFAULT_ROWS if rows is None else checked_count(rows, "rows", "rows")
        if limit > MAX_ROWS:
            raise UsageError(f"rows={limit:,} does not fit into memory", advice=f"Pass at most {MAX_ROWS:,}.")
        return {"limit": limit, "window_ns": None}
    return {"limit": None, "window_ns": checked_span_ns(window, "window")}


def checked_span_ns(value: object, name: str) -> int:
    """A span of time such as "15min" in nanoseconds, above 0. Raises UsageError, "`name`=…"."""
    try:
        # A bare number, as text as well, has no unit: pandas would take it for nanoseconds.
        is_number = isinstance(value, Real) and not isinstance(value, np.timedelta64)
        is_bare = is_number or (isinstance(value, str) and value.strip().isdecimal())
        # pandas deprecates "d" and "w".
        text = DAYS.sub(lambda found: found[0].upper(), value) if isinstance(value, str) else value
        span = pd.NaT if is_bare else pd.Timedelta(text).as_unit("ns")  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(
            f"{name}={value!r} is no span of time", advice='Write it like "15min", "30s" or "2h".'
        ) from error
    if is_bare:
        raise UsageError(f"{name}={value!r} has no unit", advice='Write it like "15min", "30s" or "2h".')
    if pd.isna(span) or span <= pd.Timedelta(0):
        raise UsageError(f"{name}={value!r} is no positive span of time", advice='Give one like "15min".')
    return int(span.as_unit("ns").value)


def checked_span_us(value: object, name: str) -> int:
    """A span of exchange time such as "30s" in microseconds, 1 or more. Raises UsageError, "`name`=…"."""
    span = checked_span_ns(value, name) // 1_000
    if not span:
        raise UsageError(f"{name}={value!r} is too short", advice="Pass 1 us or more.")
    return span


def checked_text(text: object, otherwise: str, *, advice: str) -> str:
    """Return `text` without surrounding blanks.

    Raises UsageError, "… is `otherwise`", where it is blank, no text, or cannot be encoded as UTF-8. `advice` is what
    the error advises.
    """
    if isinstance(text, str) and text.strip():
        try:
            text.encode()
        except UnicodeEncodeError:  # half a character
            pass
        else:
            return text.strip()
    raise UsageError(f"{_cut(text)} is {otherwise}", advice=advice)


def checked_topics(topics: object) -> tuple[str, ...]:
    """Return the topics of news that a user names, each once, in order; a single text is one topic.

    Raises UsageError for anything but text or a list of texts, and for a blank one.
    """
    items = (topics,) if isinstance(topics, str) else topics
    advice = 'Pass each as text: topics=["earnings"].'
    if not isinstance(items, Iterable) or isinstance(items, bytes):
        raise UsageError(f"topics={_cut(topics)} is no list of topics", advice=advice)
    return tuple(dict.fromkeys(checked_text(topic, "no topic of news", advice=advice) for topic in items))


def checked_moment(value: object, name: str) -> pd.Timestamp:
    """Return a time or day as a Timestamp in UTC, in ns; one without a time zone is taken to be in UTC.

    A day stands for its midnight. `value` is text, a date, datetime, Timestamp or numpy.datetime64. Raises UsageError,
    "`name`=…", for anything else, and for a time before 1678 or after 2261, which nanoseconds since 1970 cannot hold.
    """
    moment: object = pd.NaT
    # A bare number has no unit: pandas would take it for nanoseconds.
    if isinstance(value, str | date | np.datetime64):
        try:
            moment = pd.Timestamp(value)
        except (ValueError, OverflowError):
            moment = pd.NaT
    if not isinstance(moment, pd.Timestamp):
        advice = 'Write it like "2026-03-02" or "2026-03-02T14:30Z", or pass a pandas.Timestamp.'
        raise UsageError(f"{name}={_cut(value)} is no time", advice=advice)
    try:
        utc = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
        return utc.as_unit("ns")
    except (ValueError, OverflowError):
        raise UsageError(f"{name}={_cut(value)} is too far away", advice="Pass a time from 1678 to 2261.") from None


def checked_period(start: object, end: object, clock: Clock) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return a start and an end as Timestamps in UTC; `end` None means now by `clock`.

    Raises UsageError for an invalid time, and where the start is not before the end.
    """
    first = checked_moment(start, "start")
    last = pd.Timestamp(clock.now_ns(), tz="UTC") if end is None else checked_moment(end, "end")
    if first >= last:
        raise UsageError(f"start={first} is not before the end, {last}", advice="Pass an earlier start.")
    return first, last


def rfc3339(moment: pd.Timestamp) -> str:
    """Return a time in UTC as text in the form of RFC 3339, such as "2026-03-02T14:30:00Z"."""
    return moment.isoformat().replace("+00:00", "Z")


def checked_interval(interval: object, known: Mapping[str, int], what: str) -> str:
    """Return the name in `known`, which has seconds by name, of a span of time such as "5min", "300s" or a timedelta.

    Raises UsageError, "`interval` is no `what`", where there is none of that length.
    """
    if isinstance(interval, str) and interval in known:
        return interval
    with suppress(UsageError):
        seconds = checked_span_ns(interval, "interval") / 1e9
        for name, length in known.items():
            if length == seconds:
                return name
    raise UsageError(f"{_cut(interval)} is no {what}", advice=f"There are: {', '.join(known)}.")


def _cut(value: object) -> str:
    """Return the repr of a value, cut to 200 characters."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"

"""Full quotes, cut into partial updates in any way and framed in any way, give the same frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.brokers.aries.messages import QUOTE_FIELDS, TRADE_FIELDS
from aries_nb.brokers.aries.streams import QUOTE_COLUMN_TYPES
from aries_nb.model import Column, Record, Subscription
from aries_nb.store import RollingFrame
from tests.brokers.aries.lines import MS, RECEIVED, line, opened, update

SYMBOLS = ("MSFT", "AAPL")
COLUMNS = ("bid_price", "bid_size", "ask_price", "ask_size", "bid_exchange", "bid_timestamp", "last_price", "tick")
WIRE_NAMES = {**QUOTE_FIELDS, **TRADE_FIELDS}
QUOTE_PART = tuple(column for column in COLUMNS if column in QUOTE_FIELDS)
TRADE_PART = tuple(column for column in COLUMNS if column in TRADE_FIELDS)

OF_TYPE = {
    "number": st.floats(-1e9, 1e9).map(lambda value: round(value, 4)) | st.integers(0, 10**9) | st.none(),
    "text": st.sampled_from(["Q", "", "long text \u2028 with a separator"]),
    "time": st.integers(MS, MS + 10_000),
}


class Quote(NamedTuple):
    """The state of a symbol at one moment, every field of it."""

    symbol: str
    ms: int
    fields: dict[str, Any]


def full_quotes(size: int) -> st.SearchStrategy[list[Quote]]:
    fields = st.fixed_dictionaries({column: OF_TYPE[QUOTE_COLUMN_TYPES[column]] for column in COLUMNS})
    quote = st.builds(Quote, st.sampled_from(SYMBOLS), st.integers(MS, MS + 5), fields)
    return st.lists(quote, min_size=1, max_size=size)


def event(quote: Quote, columns: tuple[str, ...] | list[str], *, is_text: bool) -> bytes:
    """One partial update with these columns, which are of the same kind of event."""
    stream, time = ("quote", "quoteTimestamp") if columns[0] in QUOTE_PART else ("trade", "tradeTimestamp")
    data = {WIRE_NAMES[column]: quote.fields[column] for column in columns}
    if is_text:
        data = {name: value if value is None else str(value) for name, value in data.items()}
    return line(update(stream, data | {time: quote.ms}, symbol=quote.symbol))


def whole(quote: Quote) -> list[bytes]:
    return [event(quote, QUOTE_PART, is_text=False), event(quote, TRADE_PART, is_text=False)]


def cut(draw: st.DrawFn, quote: Quote, before: dict[str, Any]) -> list[bytes]:
    """The same quote as partial updates: what changed at least, in any order and number of events."""
    changed = [column for column in COLUMNS if column not in before or before[column] != quote.fields[column]]
    repeated = draw(st.lists(st.sampled_from(COLUMNS), unique=True, max_size=3))
    events = []
    for part in (QUOTE_PART, TRADE_PART):
        left = draw(st.permutations([column for column in part if column in changed or column in repeated]))
        while left:
            count = draw(st.integers(1, len(left)))
            events.append(event(quote, left[:count], is_text=draw(st.booleans())))
            left = left[count:]
    # An event that repeats a column of this very quote closes it, so that there is a row at this point.
    return [*draw(st.permutations(events)), event(quote, QUOTE_PART[:1], is_text=False)]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[Quote], list[list[bytes]]]:
    quotes = draw(full_quotes(6))
    before: dict[str, dict[str, Any]] = {}
    events = []
    for quote in quotes:
        events.append(cut(draw, quote, before.get(quote.symbol, {})))
        before[quote.symbol] = quote.fields
    return quotes, events


@st.composite
def frames_of(draw: st.DrawFn, lines: list[bytes]) -> list[bytes]:
    """The lines as frames: any number in each, blank lines between, with or without an end of line."""
    frames = []
    while lines:
        count = draw(st.integers(1, len(lines)))
        blank = draw(st.sampled_from([b"\n", b"\n\n", b"\r\n", b"\n \n\r\n"]))
        frames.append(
            draw(st.sampled_from([b"", b"\n"]))
            + blank.join(lines[:count])
            + draw(st.sampled_from([b"", b"\n", b"\r\n"]))
        )
        lines = lines[count:]
    return frames


def market() -> AriesMarket:
    return opened(*(Subscription("quotes", symbol, COLUMNS) for symbol in SYMBOLS))


def feed(market: AriesMarket, frames: list[bytes]) -> Iterator[Record]:
    for number, frame in enumerate(frames):
        records, notices = market.receive([frame], RECEIVED + number)
        assert list(notices) == []
        yield from records


def tape(frames: list[bytes]) -> pd.DataFrame:
    """What a rolling frame holds after these frames, each of them published."""
    protocol = market()
    store = RollingFrame([Column(name, QUOTE_COLUMN_TYPES[name]) for name in COLUMNS], SYMBOLS, limit=1_000)
    for frame in frames:
        for subscription, ts, values in protocol.receive([frame], RECEIVED)[0]:
            store.buffer.add(SYMBOLS.index(subscription.symbol), ts, values)
        store.buffer.mark(RECEIVED)
        store.publish()
    return store.frame_since(0)[0]  # in the order of arrival


def expected_values(quote: Quote) -> tuple[Any, ...]:
    """The values of a row; a side whose size alone is 0 has no price."""
    fields = dict(quote.fields)
    for side, other in (("bid", "ask"), ("ask", "bid")):
        if fields[f"{side}_size"] == 0 and fields[f"{other}_size"] != 0:
            fields[f"{side}_price"] = None
    return tuple(
        fields[column] * 1_000_000 if QUOTE_COLUMN_TYPES[column] == "time" else fields[column] for column in COLUMNS
    )


def or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


@given(cuts(), st.data())
@settings(max_examples=80)
def test_merged_values_equal_the_full_quote_s(
    drawn: tuple[list[Quote], list[list[bytes]]], data: st.DataObject
) -> None:
    quotes, events = drawn
    frames = data.draw(frames_of([each for some in events for each in some]))

    found = list(feed(market(), frames))

    closing, at = [], -1
    for some in events:
        at += len(some)
        closing.append(found[at])
    assert len(found) == sum(map(len, events))
    for quote, (subscription, ts, values) in zip(quotes, closing, strict=True):
        assert (subscription.symbol, ts) == (quote.symbol, quote.ms * 1_000_000)
        assert expected_values(quote) == tuple(map(or_none, values))


@given(cuts(), st.data())
@settings(max_examples=25)
def test_rows_at_the_end_of_each_quote_are_those_of_the_full_quotes(
    drawn: tuple[list[Quote], list[list[bytes]]], data: st.DataObject
) -> None:
    quotes, events = drawn
    frames = data.draw(frames_of([each for some in events for each in some]))
    ends = pd.Series(list(map(len, events))).cumsum() - 1

    partial = tape(frames)
    full = tape([b"\n".join(whole(quote)) for quote in quotes])

    left, right = (
        frame.reset_index().astype({"symbol": str, "bid_exchange": str, "tick": str}) for frame in (partial, full)
    )
    pd.testing.assert_frame_equal(left.iloc[ends].reset_index(drop=True), right.iloc[1::2].reset_index(drop=True))


@given(cuts(), st.data())
@settings(max_examples=25)
def test_grouping_into_frames_changes_nothing_at_all(
    drawn: tuple[list[Quote], list[list[bytes]]], data: st.DataObject
) -> None:
    _, events = drawn
    lines = [each for some in events for each in some]

    one_by_one = tape(lines)
    grouped = tape(data.draw(frames_of(lines)))
    in_one = tape([b"\n".join(lines)])

    pd.testing.assert_frame_equal(one_by_one, grouped)
    pd.testing.assert_frame_equal(one_by_one, in_one)


@given(
    cuts(),
    st.lists(st.sampled_from([b"{", b"\xff", b"[]", b"null", b'{"type":"pong"}']), min_size=1, max_size=5),
    st.data(),
)
@settings(max_examples=30)
def test_bad_lines_among_them_change_nothing_either(
    drawn: tuple[list[Quote], list[list[bytes]]], rubbish: list[bytes], data: st.DataObject
) -> None:
    _, events = drawn
    lines = [each for some in events for each in some]
    spoilt = list(lines)
    for bad in rubbish:
        spoilt.insert(data.draw(st.integers(0, len(spoilt))), bad)

    clean = tape(lines)
    with_rubbish = tape(data.draw(frames_of(spoilt)))

    pd.testing.assert_frame_equal(clean, with_rubbish)

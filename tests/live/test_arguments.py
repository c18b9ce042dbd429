"""What a user passes, checked where it is passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from aries_nb.errors import UsageError
from aries_nb.live.arguments import (
    checked_count,
    checked_interval,
    checked_moment,
    checked_period,
    checked_symbol,
    checked_symbols,
    checked_text,
    checked_topics,
    rfc3339,
)
from aries_nb.model.clock import WallClock

NO_TEXT = ["", "  ", "\ud800", "A\udfff", None, 5, b"ACC-1", ["ACC-1"], ...]


@pytest.mark.parametrize("text", ["ACC-1", " ACC-1 ", "счёт", "\U0001f4c8"])
def test_text_comes_without_the_blanks_round_it(text: str) -> None:
    assert checked_text(text, "no account", advice="") == text.strip()


@pytest.mark.parametrize("text", NO_TEXT, ids=repr)
def test_what_is_no_text_or_cannot_be_sent_is_refused(text: object) -> None:
    with pytest.raises(UsageError, match=r"is no account\. Name one\.$"):
        checked_text(text, "no account", advice="Name one.")


def test_a_long_value_is_cut_where_it_is_shown() -> None:
    with pytest.raises(UsageError) as caught:
        checked_text(["x" * 10_000], "no account", advice="")

    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ("earnings", ("earnings",)),
        (["earnings", "mergers", "earnings"], ("earnings", "mergers")),
        (("earnings",), ("earnings",)),
        ((), ()),
    ],
)
def test_topics_come_once_each_and_a_text_is_one(topics: object, expected: tuple[str, ...]) -> None:
    assert checked_topics(topics) == expected


@pytest.mark.parametrize("topics", [5, None, b"earnings", [5], ["\ud800"], "\ud800", [""], ...], ids=repr)
def test_what_are_no_topics_are_refused(topics: object) -> None:
    with pytest.raises(UsageError, match="topic"):
        checked_topics(topics)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("2026-11-22", "2026-11-22T00:00:00Z"),
        ("2026-11-22T03:00+03:00", "2026-11-22T00:00:00Z"),
        (pd.Timestamp("2026-11-22", tz="UTC"), "2026-11-22T00:00:00Z"),
        (pd.Timestamp("2026-11-22 12:00:00.5"), "2026-11-22T12:00:00.500000Z"),
        (datetime(2026, 11, 22, 14, 30, tzinfo=UTC), "2026-11-22T14:30:00Z"),
        (datetime(2026, 11, 22, 3, tzinfo=timezone(timedelta(hours=3))), "2026-11-22T00:00:00Z"),
    ],
)
def test_a_start_is_written_with_its_zone(start: object, expected: str) -> None:
    assert rfc3339(checked_moment(start, "start")) == expected


@pytest.mark.parametrize("start", ["soon", "", "\ud800", 20261122, None, pd.NaT, ...], ids=repr)
def test_what_is_no_time_is_refused(start: object) -> None:
    with pytest.raises(UsageError, match=r"start=.* is no time\. Write it like"):
        checked_moment(start, "start")


@pytest.mark.parametrize("start", ["1500-01-01", "2300-01-01T00:00Z", datetime(1, 1, 1, tzinfo=UTC)], ids=repr)
def test_a_time_that_nanoseconds_cannot_hold_is_refused(start: object) -> None:
    with pytest.raises(UsageError, match=r"end=.* is too far away\. Pass a time from 1678 to 2261\.$"):
        checked_moment(start, "end")


def test_a_period_ends_after_it_begins() -> None:
    first, last = checked_period("2026-11-22", "2026-11-22T00:00:01Z", WallClock())

    assert (last - first).total_seconds() == 1
    assert checked_period("2026-11-22", None, WallClock())[1] <= pd.Timestamp.now("UTC")
    with pytest.raises(UsageError, match=r"start=2026-11-23 .* is not before the end, 2026-11-22 "):
        checked_period("2026-11-23", "2026-11-22", WallClock())


@pytest.mark.parametrize("count", [1, 7, 10, np.int64(7), np.uint8(10)])
def test_a_count_is_a_whole_number_within_its_limits(count: int) -> None:
    found = checked_count(count, "depth", "levels", most=10)

    assert found == count
    assert type(found) is int


@pytest.mark.parametrize("count", [0, -1, 11, True, 2.0, "3", None, np.bool_(1), np.timedelta64(5), ...], ids=repr)
def test_what_is_no_count_is_refused_with_its_limits(count: object) -> None:
    with pytest.raises(UsageError, match=r"^depth=.* is no number of levels\. Pass a whole number from 1 to 10\.$"):
        checked_count(count, "depth", "levels", most=10)


def test_an_open_count_is_refused_with_what_else_can_be_passed() -> None:
    with pytest.raises(UsageError, match=r"count=0 is no number of prints\. .* of at least 1, or None for all\.$"):
        checked_count(0, "count", "prints", or_none=", or None for all")


LENGTHS = {"15s": 15, "1min": 60, "1d": 86_400}


@pytest.mark.parametrize(
    ("interval", "name"),
    [("1min", "1min"), ("60s", "1min"), (pd.Timedelta("1min"), "1min"), (timedelta(seconds=15), "15s"), ("1D", "1d")],
    ids=repr,
)
def test_an_interval_is_one_of_those_that_there_are_however_it_is_spelled(interval: object, name: str) -> None:
    assert checked_interval(interval, LENGTHS, "length of a candle") == name


@pytest.mark.parametrize("interval", ["2min", "", "\ud800", None, 60, ..., ["1min"]], ids=repr)
def test_another_interval_is_refused_with_those_that_there_are(interval: object) -> None:
    with pytest.raises(UsageError, match=r"no length of a candle\. There are: 15s, 1min, 1d\.$"):
        checked_interval(interval, LENGTHS, "length of a candle")


def test_symbols_may_be_one_text_with_commas() -> None:
    assert checked_symbols(["AAPL, MSFT", "NVDA"]) == ("AAPL", "MSFT", "NVDA")
    with pytest.raises(UsageError, match=r"'AAPL,MSFT' is 2 symbols\. Call it for each, as with \"AAPL\""):
        checked_symbol("AAPL,MSFT")
    with pytest.raises(UsageError, match="'' is not a symbol"):
        checked_symbols(["AAPL,"])
    assert checked_symbols(["AAPL;MSFT"]) == ("AAPL", "MSFT")


@pytest.mark.parametrize("text", ["AAPL MSFT", "SBER RIZ6", "BRK B"])
def test_several_words_are_no_symbol(text: str) -> None:
    with pytest.raises(UsageError, match=r"may be one symbol or 2\. Put commas between several: '\w+, \w+'"):
        checked_symbols([text])


@pytest.mark.parametrize("symbol", ["AAPL  261218C00250000", "ES 03-26"])
def test_a_symbol_may_have_a_blank_before_a_date(symbol: str) -> None:
    assert checked_symbols([symbol]) == (symbol,)

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model import TRADE_COLUMNS, Column
from aries_nb.store import RollingFrame
from aries_nb.store.derived.arrow import arrow_table

NOW = 1_772_463_845_000_000_000
SECOND = 1_000_000_000


class Prints:
    """A frame of trades of A and B; each `print` is published at once, a second after the one before."""

    def __init__(self, **window: Any) -> None:
        self.rolling = RollingFrame(TRADE_COLUMNS, ["A", "B"], **window)
        self.now = NOW

    def add(self, number: int, price: float, size: float = 1.0, **options: Any) -> None:
        values = (price, size, "buy", number, options.get("venue", "X"), "live")
        self.rolling.buffer.add(options.get("code", 0), options.get("ts", self.now), values)
        self.rolling.buffer.mark(self.now)
        self.now += SECOND

    def print(self, number: int, price: float, size: float = 1.0, **options: Any) -> None:
        self.add(number, price, size, **options)
        self.rolling.publish()

    def rows(self) -> list[tuple[int, float, float]]:
        frame = self.rolling.frame()
        return list(zip(frame["trade_id"], frame["price"], frame["size"], strict=True))


def test_a_corrected_print_replaces_the_first_and_a_cancelled_one_leaves() -> None:
    prints = Prints()

    prints.print(1, 100.0, 5.0)
    prints.print(2, 110.0, 7.0, ts=NOW + 1)
    prints.print(3, 101.0, 2.0)
    prints.print(2, 101.5, 7.0, ts=NOW + 1_000)
    prints.print(3, 101.0, 0.0)

    assert prints.rows() == [(1, 100.0, 5.0), (2, 101.5, 7.0)]
    assert prints.rolling.frame()["source"].tolist() == ["live", "corrected"]
    assert len(prints.rolling) == 2
    assert prints.rolling.version == 5  # nothing that was received is lost


def test_a_correction_in_the_same_read_replaces_as_well() -> None:
    prints = Prints()

    prints.add(1, 100.0)
    prints.add(2, 110.0)
    prints.add(2, 101.5)
    prints.add(2, 101.25)
    prints.add(1, 100.0, 0.0)
    prints.rolling.publish()

    assert prints.rows() == [(2, 101.25, 1.0)]
    assert len(prints.rolling) == 1


def test_corrections_have_what_came_first_and_what_was_made_of_it() -> None:
    prints = Prints()

    prints.print(1, 100.0, 5.0)
    prints.print(2, 110.0, 7.0)
    prints.print(1, 101.5, 6.0)
    prints.print(2, 110.0, 0.0)

    told = prints.rolling.corrections()
    assert told["trade_id"].tolist() == [1, 2]
    assert told["price"].tolist() == [100.0, 110.0]
    assert told["new_price"].tolist() == [101.5, 110.0]
    assert told["new_size"].tolist() == [6.0, 0.0]
    assert (told["corrected"] - told["received"]).dt.total_seconds().tolist() == [2.0, 2.0]
    assert told["symbol"].iloc[0] == "A"


def test_counts_add_up_also_once_rows_have_left_the_window() -> None:
    prints = Prints(limit=4)
    numbers = [1, 2, 2, 3, 3, 4, 5, 6, 6]
    sizes = [1, 1, 2, 1, 0, 1, 1, 1, 2]

    for number, size in zip(numbers, sizes, strict=True):
        prints.print(number, 100.0, float(size))
        counts = prints.rolling.message_counts()
        assert 2 * (counts.received + counts.filled) == sum(counts)
        assert counts.visible == len(prints.rolling) == len(prints.rolling.frame())

    assert counts.corrected == 4  # the first prints 2, 3 and 6, and the message that cancels 3
    assert counts.received == 9


def test_a_late_print_is_a_print_and_a_number_of_another_symbol_or_venue_another_trade() -> None:
    prints = Prints()

    prints.print(5, 100.0)
    prints.print(4, 101.0)  # late
    prints.print(5, 102.0, code=1)
    prints.print(5, 103.0, venue="Y")

    assert len(prints.rolling.frame()) == 4
    assert prints.rolling.message_counts().corrected == 0


def test_a_message_that_cancels_may_name_no_venue() -> None:
    prints = Prints()

    prints.print(5, 100.0)
    prints.print(5, 100.0, 0.0, venue="")

    assert prints.rows() == []


def test_numbers_that_begin_anew_on_the_next_day_correct_nothing() -> None:
    prints = Prints()

    prints.print(5, 100.0)
    prints.now += 13 * 3_600 * SECOND
    prints.print(5, 102.0)

    assert prints.rows() == [(5, 100.0, 1.0), (5, 102.0, 1.0)]


def test_prints_without_a_number_and_frames_without_numbers_correct_nothing() -> None:
    prints = Prints()
    plain = RollingFrame([Column("price"), Column("size")], ["A"])

    prints.print(0, 100.0)
    prints.print(0, 100.0, 0.0)
    for size in (1.0, 0.0):
        plain.buffer.add(0, NOW, (100.0, size))
        plain.buffer.mark(NOW)
        plain.publish()

    assert 2 == len(prints.rolling.frame()) == len(plain.frame())


def test_the_latest_trade_is_not_a_cancelled_one() -> None:
    prints = Prints()

    prints.print(1, 100.0, 5.0)
    prints.print(2, 110.0, 7.0)
    prints.print(1, 99.0, 5.0, ts=NOW)
    before = prints.rolling.latest()[0]
    prints.print(2, 110.0, 0.0)
    after = prints.rolling.latest()[0]
    prints.print(1, 99.0, 0.0)

    assert before is not None
    assert after is not None
    assert before[2] == (110.0, 7.0, "buy", 2, "X", "live")
    assert after[2] == (99.0, 5.0, "buy", 1, "X", "corrected")
    assert prints.rolling.latest()[0] is None


@pytest.mark.parametrize("corrected", ["another", "itself"])
def test_the_latest_trade_that_has_left_the_window_stays_it_unless_it_is_cancelled_itself(corrected: str) -> None:
    prints = Prints(limit=3)
    prints.print(1, 100.0)
    prints.print(2, 110.0)
    for number in range(1, 4):
        prints.print(number, 50.0, code=1)

    before = prints.rolling.latest()[0]
    prints.print(1 if corrected == "another" else 2, 99.0, 0.0)

    assert before is not None
    assert before[2][0] == 110.0
    assert prints.rolling.latest()[0] == (before if corrected == "another" else None)


def test_the_latest_trade_that_has_left_the_window_stays_it_when_its_number_comes_of_another_venue() -> None:
    prints = Prints(limit=3)
    prints.print(2, 110.0)
    for number in range(1, 4):
        prints.print(number, 50.0, code=1)

    prints.print(2, 90.0, venue="Y", ts=NOW - SECOND)
    latest = prints.rolling.latest()[0]

    assert latest is not None
    assert latest[2][0] == 110.0


def test_a_late_trade_that_is_corrected_is_not_newer_than_one_that_has_left_the_window() -> None:
    prints = Prints(limit=3)
    prints.print(2, 110.0)
    for number in range(1, 3):
        prints.print(number, 50.0, code=1)
    prints.print(1, 99.0, ts=NOW - SECOND)

    prints.print(1, 98.0, ts=NOW - SECOND)

    latest = prints.rolling.latest()[0]
    assert latest is not None
    assert latest[2][0] == 110.0


def test_of_equal_times_a_corrected_print_keeps_its_place_when_the_first_has_left_the_window() -> None:
    prints = Prints(limit=3)
    prints.print(1, 100.0, ts=NOW)
    prints.print(2, 110.0, ts=NOW)
    prints.print(1, 101.0, ts=NOW)

    before = prints.rows()
    prints.print(1, 50.0, code=1)

    assert [row[1] for row in before] == [101.0, 110.0]
    assert [row[1] for row in prints.rows()] == [101.0, 110.0, 50.0]
    assert arrow_table(prints.rolling)["price"].to_pylist() == [101.0, 110.0, 50.0]
    for number in (2, 3):
        prints.print(number, 50.0, code=1)
    assert prints.rolling._published.void.placed == ()


def test_the_newest_print_is_the_last_one_where_one_of_its_time_was_corrected_after_it() -> None:
    prints = Prints(limit=2)
    prints.print(1, 100.0, ts=NOW)
    prints.print(2, 110.0, ts=NOW)
    prints.print(1, 101.0, ts=NOW)

    assert [row[1] for row in prints.rows()] == [101.0, 110.0]
    assert prints.rolling.tail(1)["price"].tolist() == [110.0]


def test_each_way_of_reading_leaves_out_what_does_not_count() -> None:
    prints = Prints()
    prints.print(1, 100.0)
    prints.print(2, 110.0)
    prints.print(3, 101.0)
    prints.print(2, 110.0, 0.0)

    rows = prints.rolling.rows(0)

    assert prints.rolling.tail(5)["price"].tolist() == [100.0, 101.0]
    assert prints.rolling.tail(1)["price"].tolist() == [101.0]
    assert prints.rolling.last(60_000_000)["price"].tolist() == [100.0, 101.0]
    assert prints.rolling.ticks("price").values.tolist() == [100.0, 101.0]
    assert rows.is_credible.tolist() == [True, False, True, False]
    assert rows.corrected == 2
    assert prints.rolling.frame_since(0)[0]["price"].tolist() == [100.0, 110.0, 101.0, 110.0]  # as received


def test_memory_is_shared_again_once_the_correction_has_left_the_window() -> None:
    prints = Prints(limit=3)
    prints.print(1, 100.0)
    prints.print(1, 101.0)
    for number in range(2, 6):
        prints.print(number, 100.0)

    first, second = prints.rolling.frame(), prints.rolling.frame()

    assert np.shares_memory(first["price"].to_numpy(), second["price"].to_numpy())
    assert prints.rolling.corrections().empty
    assert prints.rolling.message_counts().corrected == 1


def test_a_frame_that_takes_rows_over_takes_those_that_count_and_corrects_them() -> None:
    lender, taker = Prints(), Prints()
    lender.print(7, 100.0)
    lender.print(8, 110.0)
    lender.print(8, 110.0, 0.0)

    taker.now = lender.now
    taker.rolling.take_over([(lender.rolling, {0: 0})])
    taker.print(7, 101.0)

    assert taker.rows() == [(7, 101.0, 1.0)]


@pytest.mark.parametrize("size", [nan, 3.0])
def test_a_correction_of_a_print_that_has_left_is_a_row_and_its_withdrawal_none(size: float) -> None:
    prints = Prints(limit=2)
    for number in range(1, 5):
        prints.print(number, 100.0)

    prints.print(1, 99.0, size)
    prints.print(2, 99.0, 0.0)

    assert prints.rolling.frame()["trade_id"].tolist() == [1]


steps = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0.0, 1.0, 2.0]), st.integers(0, 1)), max_size=60)


@given(steps, st.integers(1, 20), st.integers(1, 5))
def test_rows_equal_a_plain_list_of_the_newest_of_each_number(
    steps: list[tuple[int, float, int]], limit: int, batch: int
) -> None:
    prints = Prints(limit=limit)
    known: list[tuple[int, float, int, int]] = []  # number, size, code, row
    highest = [0, 0]
    for row, (number, size, code) in enumerate(steps):
        prints.add(number, 100.0 + row, size, code=code)
        if (row + 1) % batch == 0:
            prints.rolling.publish()
        is_old, highest[code] = number <= highest[code], max(highest[code], number)
        known = [each for each in known if not is_old or (each[0], each[2]) != (number, code)]
        if size or not is_old:
            known.append((number, size, code, row))
    prints.rolling.publish()

    written = prints.rolling.version
    expected = [100.0 + row for *_, row in known if row >= written - limit]
    assert expected == prints.rolling.frame()["price"].tolist()
    assert 2 * prints.rolling.message_counts().received == sum(prints.rolling.message_counts())


def test_of_equal_times_a_corrected_print_has_the_place_of_the_first() -> None:
    prints = Prints()
    for number in range(1, 5):
        prints.print(number, 100.0 + number, ts=NOW)

    prints.print(2, 90.0, ts=NOW)
    prints.print(2, 91.0, ts=NOW)

    assert prints.rolling.frame()["price"].tolist() == [101.0, 91.0, 103.0, 104.0]
    assert prints.rolling.tail(2)["price"].tolist() == [103.0, 104.0]
    latest = prints.rolling.latest()[0]
    assert latest is not None
    assert latest[2][0] == 104.0


@pytest.mark.parametrize("window", [{"limit": 5}, {"window_ns": 5 * SECOND}])
def test_what_is_corrected_does_not_depend_on_how_much_is_written_together(window: dict[str, Any]) -> None:
    """As a replay at another speed passes more at once."""
    found = []
    for together in (1, 4, 40):
        prints = Prints(**window)
        for number in range(1, 41):
            before = number - 3 * (number % 4) if number % 4 > 1 and number > 12 else number  # 6 or 9 before
            prints.add(before if number % 8 else number - 2, 100.0 + number, 0.0 if number % 11 == 0 else 1.0)
            if number % together == 0:
                prints.rolling.publish()
        found.append((prints.rolling.frame().to_csv(), prints.rolling.message_counts(), prints.rolling.latest()))

    assert found[0][1].corrected
    assert repr(found[0]) == repr(found[1]) == repr(found[2])

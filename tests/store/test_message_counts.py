from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model import CLEAR, PUT, Column, CountedAs
from aries_nb.store import FetchedRows, MessageCounts, OrderBook, RollingFrame, Table

NOW = 1_772_463_845_000_000_000
OTHERS: tuple[CountedAs, ...] = ("duplicated", "rowless", "unreadable", "conflated")
counted = st.tuples(st.sampled_from(OTHERS), st.integers(1, 5))
rows = st.integers(0, 2)


def _sum_of_parts(counts: MessageCounts) -> int:
    return sum(counts[2:])


@given(st.lists(st.one_of(rows, counted), max_size=30), st.integers(1, 6))
def test_counts_of_a_rolling_frame_account_for_every_message(
    steps: list[int | tuple[CountedAs, int]], limit: int
) -> None:
    rolling = RollingFrame([Column("price")], ["A", "B", "C"], limit=limit)
    taken = 0
    beside = dict.fromkeys(OTHERS, 0)

    for step in steps:
        if isinstance(step, int):
            rolling.buffer.add(step, NOW, (1.0,))
            rolling.buffer.mark(NOW)
            rolling.publish()
            taken += 1
        else:
            rolling.buffer.counted[step[0]] += step[1]
            beside[step[0]] += step[1]

    counts = rolling.message_counts()
    assert taken + sum(beside.values()) == counts.received == _sum_of_parts(counts)
    assert (min(taken, limit), max(taken - limit, 0)) == (counts.visible, counts.evicted)
    assert beside == {what: getattr(counts, what) for what in OTHERS}


def test_row_that_another_frame_lent_was_not_received() -> None:
    rolling = RollingFrame([Column("price")], ["A"], limit=5)

    rolling.buffer.add(0, NOW, (1.0,))
    rolling.buffer.mark(NOW)
    rolling.buffer.counted["filled"] += 1
    rolling.publish()

    assert MessageCounts(0, 1, 1, 0, 0, 0, 0, 0) == rolling.message_counts()


def test_book_shows_the_newest_update_and_has_conflated_the_others() -> None:
    book = OrderBook("A")
    empty = book.message_counts()

    for _ in range(3):
        book.buffer.add(0, NOW, (1.0, 2.0, 0.0))
    book.buffer.mark(NOW)
    book.buffer.counted["unreadable"] += 1
    book.publish()

    assert MessageCounts(0, 0, 0, 0, 0, 0, 0, 0) == empty
    assert MessageCounts(
        received=4, filled=0, visible=1, evicted=0, conflated=2, duplicated=0, rowless=0, unreadable=1
    ) == (book.message_counts())


puts = st.tuples(st.just("put"), st.lists(st.integers(0, 3), min_size=1, max_size=4))
lists = st.tuples(st.just("list"), st.lists(st.integers(0, 3), max_size=4, unique=True))
answers = st.tuples(st.sampled_from(["answer", "full answer"]), st.lists(st.integers(0, 3), max_size=4, unique=True))
breaks = st.just(("break", list[int]()))


@given(st.lists(st.one_of(puts, lists, answers, breaks), max_size=20), st.booleans(), st.integers(2, 5))
def test_counts_of_a_table_account_for_every_state(
    steps: list[tuple[str, list[int]]], is_timed: bool, limit: int
) -> None:
    columns = [Column("order", "integer"), Column("updated", "time") if is_timed else Column("price")]
    table = Table(columns, ["ACC"], key=["order"], limit=limit)
    told = asked = 0

    for at, (what, orders) in enumerate(steps):
        values = [(order, NOW + at * (-1) ** order) for order in orders]
        if what == "break":
            table.interrupted()
        elif "answer" in what:
            # Asked for just before the newest of the stream, or just after it.
            when = NOW + at - len(orders) % 2
            answer = FetchedRows([(NOW, each) for each in values], when, NOW + at, table.breaks, what == "full answer")
            asked += len(values) * table.insert(answer)
        else:
            if what == "list":
                table.buffer.add(0, NOW, (CLEAR, 0, 0))
            for each in values:
                table.buffer.add(0, NOW, (PUT, *each))
            table.buffer.mark(NOW + at)
            table.publish()
            told += len(values)

        counts = table.message_counts()
        assert (told, asked) == (counts.received, counts.filled)
        assert told + asked == _sum_of_parts(counts)
        assert (len(table), table.evicted) == (counts.visible, counts.evicted)

"""A bounded log against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aries_nb.store.log import Log


@given(st.lists(st.lists(st.integers(), max_size=9), max_size=12), st.integers(1, 6), st.integers(0, 40))
def test_holds_the_newest_entries_of_a_plain_list(batches: list[list[int]], limit: int, first: int) -> None:
    log, plain = Log[int](limit), list[int]()
    for batch in batches:
        log.extend(batch)
        plain += batch

        gone = max(len(plain) - limit, 0)
        assert log.entries() == (plain[gone:], len(plain))
        assert log.entries(first) == (plain[max(first, gone) :], len(plain))
        assert (log.version, log.evicted, len(log)) == (len(plain), gone, len(plain) - gone)


def test_what_a_reader_took_stays_as_it_was() -> None:
    log = Log[int](2)
    log.extend([1, 2])
    taken, _ = log.entries()

    log.extend([3, 4, 5])

    assert taken == [1, 2]


def test_an_observer_is_called_once_for_each_batch_and_not_for_none() -> None:
    log, calls = Log[int](9), list[int]()
    undo = log.watch(lambda: calls.append(log.version))
    log.extend([1, 2])
    log.extend([])
    undo()

    log.extend([3])

    assert calls == [2]

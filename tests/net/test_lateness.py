"""That messages come later and later is told in a second or two, and nothing else is mistaken for it."""

from __future__ import annotations

from aries_nb.net.lateness import Lateness

TURN = 0.25


def turns(lateness: Lateness, *lags: float, since: float = 0.0, count: int = 10, rate: float = 40.0) -> list[float]:
    """How far behind after each turn, of which each has `count` messages of one lag."""
    behind = []
    for number, lag in enumerate(lags):
        lateness.turn(since + number * TURN, [lag + 0.01, *[lag] * (count - 1)], rate)
        behind.append(round(lateness.seconds, 6))
    return behind


def test_a_reader_that_falls_behind_is_told_within_a_second_of_being_late_by_one() -> None:
    lateness = Lateness()

    behind = turns(lateness, *[0.0] * 8, *[number * 0.2 for number in range(1, 13)])

    assert behind[:13] == [0.0] * 13
    assert behind[13:] == [1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4]
    assert str(lateness) == "messages come 2.4 s later than at their quickest"


def test_clocks_that_differ_make_no_difference() -> None:
    lateness, ahead = Lateness(), Lateness()
    lags = [*[0.0] * 8, *[number * 0.2 for number in range(1, 13)]]

    assert turns(ahead, *[lag - 3_600 for lag in lags]) == turns(lateness, *lags)


def test_it_is_over_as_soon_as_messages_come_in_time() -> None:
    lateness = Lateness()
    turns(lateness, *[0.0] * 8, *[number * 0.2 for number in range(1, 13)])

    assert turns(lateness, 0.3, since=5.0) == [0.0]
    assert not lateness.is_late


def test_a_change_is_worth_a_word_once() -> None:
    lateness = Lateness()

    lags = [0, 0, 0, 0, 1.5, 1.5, 1.5, 0, 0]
    said = [lateness.turn(number * TURN, [lag] * 10, 40.0) for number, lag in enumerate(lags)]

    assert [number for number, each in enumerate(said) if each] == [5, 7]


def test_old_rows_of_a_snapshot_are_no_lateness() -> None:
    lateness = Lateness()

    assert turns(lateness, *[0.1] * 8, *[7_200.0] * 8, *[0.1] * 4) == [0.0] * 20


def test_a_burst_that_is_read_at_once_is_no_lateness() -> None:
    lateness = Lateness()

    assert turns(lateness, *[0.1] * 20, 1.4, *[0.1] * 4) == [0.0] * 25


def test_where_many_messages_come_little_time_is_much() -> None:
    lags = [0.01, 0.01, 0.15, 0.2, 0.25]

    behind = [turns(Lateness(), *lags, rate=rate) for rate in (2_000, 20_000)]

    assert behind == [[0.0] * 5, [0.0, 0.0, 0.0, 0.19, 0.24]]


def test_a_turn_of_the_loop_is_no_lateness_whatever_the_rate() -> None:
    assert turns(Lateness(), 0.01, 0.01, *[0.05] * 8, rate=1e6) == [0.0] * 10


def test_a_few_messages_say_nothing() -> None:
    lateness = Lateness()

    assert turns(lateness, *[0.0] * 8, *[2.0] * 8, count=4) == [0.0] * 16


def test_too_much_unread_for_a_moment_is_told_at_the_first_turn_that_is_late_at_all() -> None:
    lateness, calm = Lateness(), Lateness()
    for each in (lateness, calm):
        turns(each, *[0.01] * 8, rate=1_000)

    looks = [lateness.look(2.0, 2_500), lateness.look(2.05, 4_000), lateness.look(2.11, 4_000)]

    assert looks == [False, False, True]
    assert turns(lateness, 0.1, since=2.2, rate=1_000) == [0.09]
    assert turns(calm, 0.1, since=2.2, rate=1_000) == [0.0]


def test_a_burst_that_leaves_much_unread_is_no_lateness_while_its_messages_are_in_time_or_of_the_past() -> None:
    lateness = Lateness()
    turns(lateness, *[0.01] * 8)
    lateness.look(2.0, 9_000)

    is_full = lateness.look(2.2, 9_000)

    assert is_full
    assert turns(lateness, 0.04, 7_200.0, since=2.2) == [0.0, 0.0]


def test_less_unread_in_between_begins_anew() -> None:
    lateness = Lateness()

    looks = [lateness.look(now, unread) for now, unread in ((0.0, 3_000), (0.2, 2_499), (0.3, 3_000), (0.45, 3_000))]

    assert looks == [False, False, False, True]


def test_it_stays_said_between_two_turns_while_much_is_unread() -> None:
    lateness = Lateness()
    turns(lateness, *[0.01] * 8)
    lateness.look(2.0, 3_000)
    lateness.look(2.2, 3_000)
    turns(lateness, 0.3, since=2.2)

    said = lateness.turn(2.21, [], 40.0)

    assert not said
    assert lateness.is_late


def test_a_break_forgets_what_was_unread() -> None:
    lateness = Lateness()
    turns(lateness, *[0.01] * 8)
    lateness.look(2.0, 3_000)
    lateness.look(2.2, 3_000)
    turns(lateness, 0.3, since=2.2)

    lateness.interrupted()

    assert not lateness.is_late
    assert not lateness.look(2.4, 3_000)


def test_of_the_lags_half_and_all_but_one_in_a_hundred_are_told() -> None:
    lateness = Lateness()

    before = lateness.percentiles_ms()
    lateness.turn(0.0, [0.005] * 150 + [0.02] * 48 + [0.5] * 2, 40.0)

    assert [number != number for number in before] == [True, True]
    assert lateness.percentiles_ms() == (5.0, 20.0)


def test_rows_of_the_past_are_none_of_the_lags() -> None:
    lateness = Lateness()
    lateness.turn(0.0, [7_200.0, 30.0, 0.005], 40.0)
    lateness.turn(100.0, [60.0], 40.0)  # it may have been on its way as long as that
    lateness.interrupted()

    lateness.turn(200.0, [60.0, 0.005], 40.0)

    assert list(lateness._lags) == [0.005, 60.0, 0.005]

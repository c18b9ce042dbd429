from __future__ import annotations

import pytest

from aries_nb.sim.clock import MAX_SPEED, MarketClock

NS = 10**9
START = 1_772_463_845 * NS
TURN = NS // 20


@pytest.fixture
def clock() -> MarketClock:
    made = MarketClock(START, TURN)
    made.is_steered = True
    made.begin(0)
    return made


def make(clock: MarketClock, steady: float) -> int:
    """Make the turns that are due at a time in s; return how many they were."""
    due = clock.due(round(steady * NS))
    clock.turns += due
    return due


def test_turns_are_due_by_the_pace(clock: MarketClock) -> None:
    assert [make(clock, seconds) for seconds in (0.04, 0.05, 0.09, 0.2)] == [0, 1, 0, 3]
    assert clock.now_ns == START + 4 * TURN
    assert clock.wait_ns(round(0.21 * NS)) == round(0.04 * NS)

    clock.play(10.0, round(0.21 * NS))

    assert clock.wait_ns(round(0.212 * NS)) == round(0.003 * NS)
    assert make(clock, 0.31) == 20


def test_speed_that_no_computer_holds_is_as_fast_as_possible(clock: MarketClock) -> None:
    clock.play(250, 0)
    held = clock.speed
    clock.play(251, 0)

    assert (held, clock.speed) == (250, MAX_SPEED)
    assert clock.has_no_pace


def test_a_turn_that_comes_late_is_made_up_for_and_nothing_is_left_out(clock: MarketClock) -> None:
    made = make(clock, 0.2)
    clock.settle(round(0.2 * NS), 0)
    late = make(clock, 0.4)

    assert (made, late) == (4, 4)
    assert not clock.settle(round(0.4 * NS), 0)
    # Time that is lost for good makes market time fall behind, by whole turns.
    assert clock.settle(round(5.0 * NS), 0)
    assert make(clock, 5.0) == 0
    assert make(clock, 5.05) == 1
    assert clock.now_ns == START + 9 * TURN


def test_a_clock_that_nobody_steers_follows_the_computers() -> None:
    clock = MarketClock(START, TURN)
    clock.begin(0)
    make(clock, 0.1)

    assert not clock.settle(round(0.1 * NS), START + 2 * TURN)
    assert clock.settle(round(5.0 * NS), START + 5 * NS)
    assert clock.now_ns == START + 5 * NS
    assert clock.settle(round(5.01 * NS), START - 3600 * NS)
    assert clock.now_ns == START - 3600 * NS


def test_a_pause_ends_the_running_turn_and_time_then_stands(clock: MarketClock) -> None:
    make(clock, 0.12)

    clock.pause(START + round(0.12 * NS), round(0.13 * NS))
    last = make(clock, 0.13)
    clock.arrived(round(0.13 * NS))

    assert (last, clock.now_ns) == (1, START + 3 * TURN)
    assert make(clock, 60.0) == 0
    assert clock.wait_ns(60 * NS) is None
    clock.play(1.0, 60 * NS)
    assert make(clock, 60.05) == 1


def test_a_pause_does_not_make_a_turn_twice(clock: MarketClock) -> None:
    make(clock, 0.1)

    clock.pause(START + 2 * TURN, round(0.1 * NS))
    clock.pause(START + 3 * TURN, round(0.1 * NS))

    assert (clock.due(NS), clock.goal) == (0, None)


def test_a_seek_makes_whole_turns_at_once_and_then_goes_on_as_before(clock: MarketClock) -> None:
    make(clock, 0.1)

    clock.seek(START + NS + 1, round(0.1 * NS))
    made = make(clock, 0.1)

    assert (clock.has_no_pace, made) == (True, 19)
    assert clock.now_ns == START + 21 * TURN
    clock.arrived(round(0.2 * NS))
    assert make(clock, 0.25) == 1


def test_it_does_not_go_back(clock: MarketClock) -> None:
    make(clock, 1.0)

    with pytest.raises(ValueError, match="does not go back"):
        clock.seek(START, NS)
    clock.seek(clock.now_ns, NS)
    assert clock.due(NS) == 0


def test_without_a_pace_some_turns_are_due_at_any_time(clock: MarketClock) -> None:
    clock.play(MAX_SPEED, 0)

    assert make(clock, 0.0) > 0
    assert clock.wait_ns(0) == 0
    assert clock.anchor(7) == (clock.now_ns, 7)

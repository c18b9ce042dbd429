from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aries_nb.net.events import steered_clock
from aries_nb.net.events.steered_clock import Course, SteeredClock

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 10**9
NOON = 1_800_000_000 * SECOND


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the steady clock stand, and go on by so many seconds."""
    now = [5 * SECOND]
    monkeypatch.setattr(steered_clock, "steady_ns", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += round(seconds * SECOND)

    return go_on


def test_it_goes_on_at_the_pace_from_the_moment_that_the_market_names(pass_time: Callable[[float], None]) -> None:
    clock = SteeredClock()
    clock.steer(Course(NOON, 4 * SECOND, 2.0))

    first = clock.now_ns()
    pass_time(1.5)

    assert (first - NOON, clock.now_ns() - NOON) == (2 * SECOND, 5 * SECOND)
    assert clock.wait_s(NOON + 6 * SECOND) == 0.5
    assert clock.wait_s(NOON) == 0.0


def test_a_market_that_stands_has_no_moment_to_wait_for(pass_time: Callable[[float], None]) -> None:
    clock = SteeredClock()
    clock.steer(Course(NOON, 5 * SECOND, 0.0))

    pass_time(60.0)

    assert clock.now_ns() == NOON
    assert clock.wait_s(NOON + 1) is None


def test_it_never_goes_back_but_waits_for_a_market_that_is_behind(pass_time: Callable[[float], None]) -> None:
    clock = SteeredClock()
    clock.steer(Course(NOON, 5 * SECOND, 1.0))
    pass_time(2.0)

    clock.steer(Course(NOON + SECOND, 7 * SECOND, 1.0))
    at_once = clock.now_ns()
    pass_time(0.5)
    waiting = clock.now_ns()
    pass_time(1.5)

    assert [at_once - NOON, waiting - NOON, clock.now_ns() - NOON] == [2 * SECOND, 2 * SECOND, 3 * SECOND]


def test_neither_a_servers_time_nor_those_of_messages_correct_it(pass_time: Callable[[float], None]) -> None:
    clock = SteeredClock()
    clock.steer(Course(NOON, 5 * SECOND, 1.0))

    for _ in range(10):
        pass_time(1.0)
        assert not clock.observe([-3_600 * SECOND] * 10)
    assert not clock.handshake("Mon, 30 Nov 2026 00:00:00 GMT")

    assert (clock.now_ns() - NOON, clock.offset_s, str(clock), clock.corrections) == (10 * SECOND, 0.0, "", 0)


def test_whoever_waits_is_told_of_a_change() -> None:
    clock, told = SteeredClock(), []
    clock.changed.add(lambda: told.append(clock.now_ns()))

    clock.steer(Course(NOON, 5 * SECOND, 0.0))

    assert told == [NOON]


def test_what_comes_after_it_parts_is_a_microsecond_later_also_where_it_stands(
    pass_time: Callable[[float], None],
) -> None:
    clock = SteeredClock()
    clock.steer(Course(NOON + 300, 5 * SECOND, 0.0))

    clock.part()
    parted = clock.now_ns()
    clock.part()
    clock.steer(Course(NOON + 1_000, 5 * SECOND, 0.0))  # the market is behind, by less than any turn

    assert (parted - NOON, clock.now_ns() - NOON) == (1_000, 2_000)
    clock.steer(Course(NOON + SECOND, 5 * SECOND, 2.0))
    pass_time(1.0)
    assert clock.now_ns() == NOON + 3 * SECOND

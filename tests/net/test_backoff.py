from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aries_nb.net.backoff import Backoff, BackoffRule

RULE = BackoffRule(first=0.5, cap=30.0, cap_after_live=4.0, healthy=10.0)
MOST_JITTER = 1 - 2**-53


def waits(lives: list[float | None], jitter: float) -> list[float]:
    backoff = Backoff(RULE)
    return [backoff.next(lived=lived, jitter=jitter) for lived in lives]


def test_delays_double_up_to_the_cap() -> None:
    delays = waits([None] * 9, MOST_JITTER)

    assert [round(delay, 9) for delay in delays] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_jitter_spreads_each_delay_over_its_upper_half() -> None:
    least, most = waits([None] * 4, 0.0), waits([None] * 4, MOST_JITTER)

    assert least == [0.25, 0.5, 1, 2]
    assert [round(high / low, 9) for low, high in zip(least, most, strict=True)] == [2.0] * 4


def test_a_short_life_does_not_start_over_and_waits_its_own_cap_from_the_second_on() -> None:
    delays = waits([1.0] * 5, MOST_JITTER)

    assert [round(delay, 9) for delay in delays] == [0.5, 4, 4, 4, 4]


def test_a_short_life_after_many_refusals_waits_no_longer_than_its_own_cap() -> None:
    delays = waits([*[None] * 8, 1.0, None], MOST_JITTER)

    assert [round(delay, 9) for delay in delays[-2:]] == [4, 30]


def test_who_accepts_and_kicks_sees_one_attempt_in_three_seconds_and_never_two_within_two() -> None:
    draws = random.Random(1)
    backoff = Backoff(BackoffRule())

    first, *delays = [backoff.next(lived=0.1, jitter=draws.random()) for _ in range(1000)]

    assert 0.25 <= first <= 0.5
    assert min(delays) >= 2.0
    assert round(sum(delays) / len(delays), 1) == 3.0


def test_clients_that_fail_together_drift_apart() -> None:
    draws = random.Random(1)
    clients = [Backoff(BackoffRule()) for _ in range(500)]
    reached = [0.0] * len(clients)

    while min(reached) < 60.0:  # an outage of a minute
        waiting = [number for number, at in enumerate(reached) if at < 60.0]
        for number in waiting:
            reached[number] += clients[number].next(lived=None, jitter=draws.random())

    back = Counter(int(at) for at in reached)
    assert max(back.values()) <= 0.1 * len(clients)  # in the busiest second
    assert max(reached) - 60.0 <= 30.0


def test_a_healthy_life_starts_over() -> None:
    delays = waits([None, None, None, 10.0, None], MOST_JITTER)

    assert [round(delay, 9) for delay in delays] == [0.5, 1, 2, 0.5, 1]


def test_thousands_of_failures_do_not_overflow() -> None:
    delays = waits([None] * 5000, 0.0)

    assert delays[-1] == 15.0


@given(st.lists(st.tuples(st.none() | st.floats(0, 1e6), st.floats(0, MOST_JITTER)), max_size=60))
def test_every_delay_is_within_bounds(steps: list[tuple[float | None, float]]) -> None:
    backoff = Backoff(RULE)

    delays = [backoff.next(lived=lived, jitter=jitter) for lived, jitter in steps]

    for (lived, _), delay in zip(steps, delays, strict=True):
        assert RULE.first / 2 <= delay <= (RULE.cap if lived is None else RULE.cap_after_live)

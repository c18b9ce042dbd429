from __future__ import annotations

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


def test_a_short_life_does_not_start_over_but_never_waits_beyond_its_own_cap() -> None:
    delays = waits([1.0] * 8, MOST_JITTER)

    assert [round(delay, 9) for delay in delays] == [0.5, 1, 2, 4, 4, 4, 4, 4]


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

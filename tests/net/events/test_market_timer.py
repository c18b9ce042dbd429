"""Work at instants of market time has its place in the order of events, live as in a replay."""

from __future__ import annotations

import asyncio
import random

from aries_nb.net.events.arrivals import CLOCK, Arrivals, EventRing
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.net.events.market_timer import MarketTimer

START = 1_800_000_000_000_000_000
TENTH = 100_000_000
HOUR = 36_000 * TENTH


class SetClock:
    def __init__(self) -> None:
        self.held, self.base = None, 0

    def now_ns(self) -> int:
        return START if self.held is None else self.held


def replayed() -> MarketTimer:
    return MarketTimer(SetClock(), is_live=False)


def test_work_sees_the_events_received_at_its_instant_and_none_later():
    timer, seen = replayed(), []
    timer.run(START)
    timer.at(START + 10, lambda now: seen.append(f"work at {now - START}"))

    for received in (START + 9, START + 10, START + 10, START + 11):
        timer.run(received)
        seen.append(received - START)

    assert seen == [9, 10, 10, "work at 10", 11]


def test_instants_come_in_their_order_and_equal_ones_in_that_of_registration():
    timer, seen = replayed(), []
    for name, after in (("c", 3), ("a", 1), ("d", 3), ("b", 2)):
        timer.at(START + after, lambda now, name=name: seen.append((name, now - START, timer.now - START)))

    timer.run(START + 100)

    assert seen == [("a", 1, 1), ("b", 2, 2), ("c", 3, 3), ("d", 3, 3)]
    assert timer.now == START + 100


def test_work_may_register_more_that_is_due_before_the_same_event():
    timer, seen = replayed(), []

    def again(now: int) -> None:
        seen.append(now - START)
        if len(seen) < 4:
            timer.at(now + 5, again)

    timer.at(START + 5, again)
    timer.run(START + 16)

    assert seen == [5, 10, 15]
    assert timer.is_due(START + 21)


def test_instant_in_the_past_is_that_of_the_event_being_worked_on():
    timer, seen = replayed(), []
    timer.run(START + 50)

    timer.at(START + 10, seen.append)
    timer.run(START + 50)
    assert seen == []
    timer.run(START + 51)

    assert seen == [START + 50]


def test_cancelled_work_is_not_done():
    timer, seen = replayed(), []
    cancel = timer.at(START + 1, seen.append)
    timer.at(START + 1, seen.append)

    cancel()
    timer.run(START + 2)

    assert seen == [START + 1]


def test_work_that_fails_holds_up_no_other(caplog):
    timer, seen = replayed(), []
    timer.at(START + 1, lambda _now: 1 / 0)
    timer.at(START + 2, seen.append)

    timer.run(START + 3)

    assert seen == [START + 2]
    assert "ZeroDivisionError" in caplog.text


def test_clock_set_back_does_nothing_twice():
    timer, seen = replayed(), []
    timer.at(START + 10, seen.append)

    for received in (START + 11, START - 1_000, START + 20):
        timer.run(received)

    assert seen == [START + 10]


def running(clock: ExchangeClock) -> int:
    held, clock.held = clock.held, None
    now, clock.held = clock.now_ns(), held
    return now


async def kept_live() -> list[int]:
    clock = ExchangeClock()
    timer, late = MarketTimer(clock), []
    done = asyncio.Event()
    begun = clock.now_ns()
    instants = [begun + ms * 1_000_000 for ms in (60, 20, 40)]
    for instant in instants:
        timer.at(instant, lambda now: late.append(running(clock) - now))
    timer.at(max(instants), lambda _now: done.set())
    await asyncio.wait_for(done.wait(), 60)
    return late


def each_tenth(timer: MarketTimer, seen: list[int]) -> None:
    """Have work due every tenth of a second from now on."""

    def again(now: int) -> None:
        seen.append(now)
        timer.at(now + TENTH, again)

    timer.at(timer.now + TENTH, again)


def test_what_a_correction_of_the_clock_passes_over_is_due_once():
    clock = ExchangeClock()
    timer, seen = MarketTimer(clock, is_live=False), []
    timer.run(START)
    each_tenth(timer, seen)

    clock.base += 3 * HOUR
    timer.run(START + 3 * HOUR + 1)
    timer.run(START + 3 * HOUR + TENTH + 2)

    assert seen == [START + 3 * HOUR + 1, START + 3 * HOUR + TENTH + 1]


async def corrected_live() -> tuple[list[int], list[tuple[int, str]]]:
    arrivals, ring, seen = Arrivals(), EventRing(), []
    arrivals.journals = (ring,)
    with arrivals.event(0, "first"):
        each_tenth(arrivals.timer, seen)
    arrivals.clock.base += 3 * HOUR
    done = asyncio.Event()
    arrivals.timer.at(arrivals.clock.now_ns() + 3 * TENTH, lambda _now: done.set())
    await asyncio.wait_for(done.wait(), 60)
    return seen, [(received, what) for _, received, _, what, _ in ring.events]


def test_a_correction_that_no_event_follows_is_one_itself_so_that_a_replay_does_the_same():
    seen, events = asyncio.run(corrected_live())

    assert [what for _, what in events] == [CLOCK, "first", CLOCK]
    assert seen[:2] == [events[-1][0], events[-1][0] + TENTH]
    assert events[-1][0] - events[0][0] >= 3 * HOUR


def test_what_is_due_where_nobody_was_there_is_done_once_at_its_end():
    timer, seen = replayed(), []

    def again(now: int) -> None:
        seen.append(now - START)
        timer.at(now + 5, again)

    timer.at(START + 5, again)
    timer.at(START + 5_001, lambda now: seen.append(("later", now - START)))
    timer.skip(START + 5_000)
    timer.run(START + 5_003)

    assert seen == [5_000, ("later", 5_001)]


def test_live_instants_are_kept_without_any_event():
    late = asyncio.run(kept_live())

    assert len(late) == 3
    assert min(late) > 0, "an event may still be received at the instant itself"


def test_same_events_give_the_same_order_however_live_time_cuts_them():
    seed = random.Random(5)
    events = sorted(seed.randrange(START, START + 1_000) for _ in range(300))
    due = [seed.randrange(START, START + 1_000) for _ in range(100)]

    def order(looks: list[int]) -> list[tuple[str, int]]:
        timer, seen = replayed(), []
        for instant in due:
            timer.at(instant, lambda now: seen.append(("due", now)))
        for received, is_event in sorted([*((each, True) for each in events), *((each, False) for each in looks)]):
            timer.run(received)  # a look of the loop, between events, is no event
            if is_event:
                seen.append(("event", received))
        return [*seen, ("left", timer.is_due(START + 2_000))]

    assert order([]) == order([seed.randrange(START, START + 1_000) for _ in range(200)])

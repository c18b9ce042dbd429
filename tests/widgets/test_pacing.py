import math
from itertools import pairwise

import pytest

from aries_nb.widgets.pacing import BUSY_PATIENCE_S, PERIOD_S, FramePacing, MessageBudget, next_frame_at


def paced(
    seconds: float, *, start: float = 100.0, busy_since: float | None = None, answer=lambda at: False
) -> list[float]:
    """Return the times of all frames of a source that always changes; time moves in steps of a millisecond."""
    pace, sent = FramePacing(), []
    for step in range(int(seconds * 1000)):
        now = start + step / 1000
        if pace.unanswered and answer(now):
            pace.reported(now, unanswered=0)
        if next_frame_at(pace, now, busy_since) <= now:
            pace.sent(now)
            sent.append(now)
    return sent


def test_answered_frames_keep_the_grid_at_about_11_a_second():
    frames = paced(20.0, answer=lambda _: True)

    assert 10 * 20 <= len(frames) <= 11.2 * 20
    assert abs((frames[-1] - frames[0]) / (len(frames) - 1) - PERIOD_S) < 1e-3


def test_a_late_step_does_not_shift_the_grid():
    pace = FramePacing()
    pace.sent(100 * PERIOD_S)

    pace.sent(101 * PERIOD_S + 0.02)

    assert pace.due == pytest.approx(102 * PERIOD_S)


def test_all_views_are_due_at_the_same_moments():
    early, late = FramePacing(), FramePacing()

    early.sent(10.0)
    late.sent(10.03)

    assert early.due == late.due


def test_after_a_pause_frames_are_not_caught_up():
    pace = FramePacing()
    pace.sent(10.0)

    pace.sent(50.0)

    assert 50.0 < pace.due <= 50.0 + PERIOD_S


def waiting(at):
    """A view that answered once, and then sent the frames of a second until `at`, and has no answer."""
    pace = FramePacing()
    pace.reported(at - 2, unanswered=0)
    for number in range(pace.in_flight - 1, -1, -1):
        pace.sent(at - number * PERIOD_S)
    return pace


def test_the_frames_of_one_second_may_be_unanswered_and_no_more():
    pace = waiting(10.0)

    assert 1.0 <= pace.unanswered * PERIOD_S < 1.0 + PERIOD_S
    assert next_frame_at(pace, 10.1, None) > 10.1
    pace.reported(10.1, unanswered=pace.unanswered - 1)
    assert next_frame_at(pace, 10.1, None) <= 10.1


def test_one_answer_a_second_keeps_a_view_at_its_full_rate():
    frames = paced(20.0, answer=lambda now: round(now * 1000) % 1000 == 0)

    assert len(frames) >= 10.5 * 20


def test_an_answer_to_an_older_frame_counts_as_life():
    pace = waiting(10.0)

    pace.reported(12.0, unanswered=pace.unanswered - 1)
    pace.sent(12.0)

    # During a cell that lets answers in, the wait starts again with each.
    assert next_frame_at(pace, 12.1, busy_since=9.0) == pytest.approx(12.0 + BUSY_PATIENCE_S)


def test_a_sign_that_answers_nothing_frees_nothing():
    pace = waiting(10.0)

    pace.reported(10.2)

    assert next_frame_at(pace, 10.5, None) > 10.5


def test_a_view_that_comes_into_sight_sends_one_frame_until_its_first_answer():
    frames = paced(4.0, answer=lambda now: now >= 103.5)

    assert frames[:2] == pytest.approx([100.0, 103.0])
    assert frames[2] == pytest.approx(103.5, abs=0.01)
    assert len(frames) == pytest.approx(2 + 0.5 / PERIOD_S, abs=2)


def test_a_view_seen_again_waits_for_no_answer_to_what_it_sent_before():
    pace = waiting(10.0)

    pace.shown()

    assert next_frame_at(pace, 10.1, None) <= 10.1
    pace.sent(10.1)
    assert next_frame_at(pace, 10.3, None) > 10.3
    pace.reported(10.3, unanswered=0)
    assert next_frame_at(pace, 10.3, None) <= 10.3


def test_a_browser_that_is_gone_is_tried_after_one_second_and_then_every_five():
    frames = paced(23.0, answer=lambda now: now < 100.05)

    gaps = [round(later - earlier, 1) for earlier, later in pairwise(frames)]
    assert [gap for gap in gaps if gap > 0.1] == [1.0, 5.0, 5.0, 5.0, 5.0]
    assert len(frames) == 1 + 12 + 5


def test_a_blocking_cell_is_painted_by_time_at_full_rate_for_half_a_minute():
    frames = paced(30.0, busy_since=100.0)

    assert len(frames) >= 300


def test_a_cell_without_any_sign_slows_down_step_by_step_to_one_frame_a_second():
    frames = paced(90.0, busy_since=100.0)

    rates = [sum(100 + a <= at < 100 + a + 10 for at in frames) for a in (0, 32, 48, 75)]
    assert rates[0] >= 100
    assert rates[0] > rates[1] > rates[2] > rates[3]
    assert 9 <= rates[3] <= 11


def test_a_cell_that_awaits_is_paced_by_its_answers():
    frames = paced(20.0, busy_since=99.0, answer=lambda now: round(now * 1000) % 2000 == 0)

    assert 12 * 10 <= len(frames) <= 22 * 10


def test_a_cell_that_first_awaits_and_then_blocks_stops_for_a_moment():
    frames = paced(6.0, busy_since=99.0, answer=lambda now: now < 103)

    gaps = [later - earlier for earlier, later in pairwise(frames)]
    assert max(gaps) < 0.4
    assert len(frames) > 60


def test_a_hidden_view_waits_for_ever():
    assert next_frame_at(FramePacing(is_visible=False), 1.0, None) == math.inf


def test_the_budget_lets_at_most_300_messages_a_second_through():
    budget, spent = MessageBudget(), 0

    for step in range(10_000):
        if budget.wait_s(50 + step / 1000) == 0.0:
            budget.spend(4)
            spent += 4

    assert spent <= 300 * 10 + 64
    assert spent >= 2900


def test_the_budget_says_when_to_come_back():
    budget = MessageBudget(rate=100.0, reserve=10.0)
    budget.wait_s(0.0)
    budget.spend(30)

    wait = budget.wait_s(0.0)

    assert 0 < wait < 0.3
    assert budget.wait_s(wait) == 0.0


def test_views_of_any_period_are_due_at_the_same_moments():
    for period in (PERIOD_S, 0.5, 1.0):
        pace = FramePacing(period)
        for now in (0.0, 0.3, 1000.123, 5e5 + 0.45):
            pace.sent(now)

            assert pace.due / PERIOD_S == pytest.approx(round(pace.due / PERIOD_S), abs=1e-6)
            assert now < pace.due <= now + period + PERIOD_S

"""Market time: this computer's, and corrected where messages or the server's answer show that it is far off."""

from __future__ import annotations

import itertools
from email.utils import formatdate

import pytest

from aries_nb.net.events import exchange_clock
from aries_nb.net.events.exchange_clock import ExchangeClock, described

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
NOW = 1_790_000_000 * SECOND


class Computer:
    """The clocks of a computer: `steady` cannot be set, `wall` is off by `off` ns."""

    def __init__(self) -> None:
        self.steady, self.off = 50 * SECOND, 0

    @property
    def true(self) -> int:
        return NOW + self.steady

    def wall(self) -> int:
        return self.true + self.off


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    computer = Computer()
    monkeypatch.setattr(exchange_clock, "steady_ns", lambda: computer.steady)
    monkeypatch.setattr(exchange_clock, "wall_ns", computer.wall)
    return computer


def receive(
    computer: Computer, clock: ExchangeClock, *, messages: int, behind: int = 0, every: int = SECOND // 4
) -> bool:
    """Let messages arrive, stamped `behind` ns before they do; whether they corrected the clock."""
    corrected = False
    for number in range(messages):
        computer.steady += SECOND // 4
        latency = (number % 5) * 20_000_000
        corrected |= clock.observe([clock.now_ns() - (computer.true - behind - latency)])
    return corrected


def test_a_computer_that_is_right_is_not_corrected(computer: Computer) -> None:
    clock = ExchangeClock()

    assert not receive(computer, clock, messages=50)
    assert not clock.handshake(formatdate(computer.true / 1e9, usegmt=True))
    assert (clock.now_ns(), clock.offset_s, str(clock)) == (computer.true, 0.0, "")


def receive_many(computer: Computer, clock: ExchangeClock, *, messages: int, moment: int | None = None) -> bool:
    """Let so many messages arrive in each turn of two seconds, all of one `moment` or of now; as `receive`."""
    corrected = False
    for _ in range(8):
        computer.steady += SECOND // 4
        ages = [SECOND // 4 * (messages - number) // messages for number in range(messages)]
        lags = [clock.now_ns() - age - (computer.true - age if moment is None else moment) for age in ages]
        corrected |= clock.observe([lag + number % 7 * 1_000_000 for number, lag in enumerate(lags)])
    return corrected


def test_the_offset_is_known_while_the_clock_is_held(computer: Computer) -> None:
    computer.off = -3 * HOUR
    clock = ExchangeClock()
    receive(computer, clock, messages=8)

    clock.held = computer.true - HOUR

    assert clock.offset_s == pytest.approx(3 * HOUR / SECOND, abs=1)


@pytest.mark.parametrize("messages", [3, 50, 256, 3_000])
@pytest.mark.parametrize("off", [-3 * HOUR, -30 * SECOND, 30 * SECOND, 3 * HOUR])
def test_a_busy_stream_shows_it_as_well(computer: Computer, off: int, messages: int) -> None:
    computer.off = off
    clock = ExchangeClock()

    assert receive_many(computer, clock, messages=messages)
    assert abs(clock.now_ns() - computer.true) <= SECOND


@pytest.mark.parametrize("messages", [3, 50, 256, 3_000])
@pytest.mark.parametrize("away", [-20 * SECOND, 20 * SECOND])
def test_many_messages_of_one_moment_correct_nothing(computer: Computer, away: int, messages: int) -> None:
    clock = ExchangeClock()

    assert not receive_many(computer, clock, messages=messages, moment=computer.true + away)


@pytest.mark.parametrize("off", [-3 * HOUR, -30 * SECOND, 30 * SECOND, 3 * HOUR, 25 * HOUR])
def test_messages_show_how_far_the_computer_is_off_within_two_seconds(computer: Computer, off: int) -> None:
    computer.off = off
    clock = ExchangeClock()

    assert receive(computer, clock, messages=8)
    assert abs(clock.now_ns() - computer.true) <= SECOND
    assert clock.offset_s == pytest.approx(-off / SECOND, abs=1)


@pytest.mark.parametrize("off", [-3 * HOUR, 3 * HOUR])
def test_the_servers_answer_to_the_handshake_shows_it_before_any_message(computer: Computer, off: int) -> None:
    computer.off = off
    clock = ExchangeClock()

    assert clock.handshake(formatdate(computer.true / 1e9, usegmt=True))
    assert abs(clock.now_ns() - computer.true) <= SECOND
    assert not receive(computer, clock, messages=20)


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Foo 2026 00:00:00 GMT"])
def test_an_answer_without_a_usable_date_changes_nothing(computer: Computer, date: str) -> None:
    assert not ExchangeClock().handshake(date)


def test_messages_overrule_an_answer_with_a_wrong_date(computer: Computer) -> None:
    clock = ExchangeClock()
    clock.handshake(formatdate((computer.true - 2 * HOUR) / 1e9, usegmt=True))

    receive(computer, clock, messages=8)

    assert abs(clock.now_ns() - computer.true) <= SECOND
    assert clock.offset_s == 0.0
    assert not clock.handshake(formatdate((computer.true - 2 * HOUR) / 1e9, usegmt=True))


@pytest.mark.parametrize("step", [-HOUR, -60 * SECOND, 60 * SECOND, HOUR])
def test_market_time_does_not_follow_when_the_computers_clock_is_set(computer: Computer, step: int) -> None:
    clock = ExchangeClock()
    receive(computer, clock, messages=8)

    computer.off = step

    assert not receive(computer, clock, messages=8)
    assert clock.now_ns() == computer.true
    assert clock.offset_s == -step / SECOND


def test_a_clock_that_is_set_right_is_followed_again(computer: Computer) -> None:
    computer.off = -3 * HOUR
    clock = ExchangeClock()
    receive(computer, clock, messages=8)

    computer.off = 0

    assert clock.offset_s == 0.0
    assert abs(clock.now_ns() - computer.true) <= SECOND


def test_single_wrong_times_among_right_ones_correct_nothing(computer: Computer) -> None:
    clock = ExchangeClock()

    for _ in range(30):
        assert not receive(computer, clock, messages=3)
        assert not receive(computer, clock, messages=1, behind=-30 * 24 * HOUR)

    assert clock.now_ns() == computer.true


def test_the_last_trades_of_a_closed_market_correct_nothing(computer: Computer) -> None:
    clock, close = ExchangeClock(), computer.true - 16 * HOUR

    for late in itertools.islice(itertools.cycle((0, 40, 7)), 60):
        computer.steady += SECOND // 4
        assert not clock.observe([clock.now_ns() - (close - late * SECOND)])


def test_messages_that_come_late_after_some_on_time_correct_nothing(computer: Computer) -> None:
    clock = ExchangeClock()
    receive(computer, clock, messages=8)

    assert not receive(computer, clock, messages=40, behind=20 * SECOND)


def test_a_recording_of_last_month_corrects_nothing(computer: Computer) -> None:
    assert not receive(computer, ExchangeClock(), messages=40, behind=30 * 24 * HOUR)


def test_a_backlog_read_in_one_go_corrects_nothing(computer: Computer) -> None:
    clock = ExchangeClock()

    assert not clock.observe([3 * HOUR - number * SECOND for number in range(200)])
    assert not clock.observe([3 * HOUR] * 200)


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (0.0, ""),
        (10_800.0, "this computer's clock is 3 h behind the exchange's: set it; market time is corrected"),
        (-5_459.6, "this computer's clock is 1 h 31 min ahead of the exchange's: set it; market time is corrected"),
        (10_798.9, "this computer's clock is 3 h behind the exchange's: set it; market time is corrected"),
        (-2_399.2, "this computer's clock is 40 min ahead of the exchange's: set it; market time is corrected"),
        (95.2, "this computer's clock is 1 min 35 s behind the exchange's: set it; market time is corrected"),
        (12.3, "this computer's clock is 12 s behind the exchange's: set it; market time is corrected"),
    ],
)
def test_it_is_said_in_words(offset: float, text: str) -> None:
    assert described(offset) == text

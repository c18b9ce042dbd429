"""Time from receipt to the screen: measured where the browser answers, and nowhere else."""

import threading

import pytest

from aries_nb.widgets import Board, Painter
from tests.widgets.sources import Boards, Busy, Clock, Notes

START = 1_772_463_845_000_000_000
MS = 1_000_000


class Screen:
    """A board on display, with a scripted browser and a manual clock."""

    def __init__(self, clock: Clock, busy: Busy) -> None:
        self.clock, self.busy = clock, busy
        self.source = Boards()
        self.notes = self.source.lags = Notes(lambda: self.now)
        self.painter = Painter(clock, busy, is_threaded=False)
        self.board = Board(self.source)
        self.board.widget.open()
        self.board.watch(self.painter)

    @property
    def now(self) -> int:
        return START + round(self.clock.now * 1e9)

    def pass_ms(self, ms: float) -> None:
        self.clock.now += ms / 1e3

    def receive(self, price: float) -> None:
        self.source.put(0, price, 5, price + 0.1, 7, price)
        self.notes.newest = self.now

    def frame(self) -> int:
        """Draw what is new; the number of the frame."""
        self.pass_ms(100)
        self.painter.step()
        return self.board.frames

    def answer(self, number: int, *, waited: object = 0) -> None:
        self.board.widget.comm.acknowledge(number, waited=waited)

    def see(self, *, is_visible: bool) -> None:
        self.board.widget.comm.answer({"method": "custom", "content": {"visible": is_visible, "view": "a"}})


@pytest.fixture
def loading(clock, busy):
    """A board of which the browser has not reported anything yet."""
    screen = Screen(clock, busy)
    yield screen
    screen.board.close()
    screen.painter.stop()


@pytest.fixture
def screen(loading):
    loading.see(is_visible=True)
    return loading


def test_it_is_counted_from_the_receipt_of_the_newest_row_to_the_answer_less_what_the_browser_waited(screen):
    screen.pass_ms(1)
    screen.receive(100.0)
    number = screen.frame()
    screen.pass_ms(60)

    screen.answer(number, waited=25.0)

    assert screen.notes.lags_ms == pytest.approx([100 + 60 - 25])


@pytest.mark.parametrize("waited", [None, "25", -25.0, float("nan"), 1e9])
def test_odd_waiting_times_of_the_browser_are_ignored(screen, waited):
    screen.pass_ms(1)
    screen.receive(100.0)
    number = screen.frame()

    screen.answer(number, waited=waited)

    assert screen.notes.lags_ms == pytest.approx([100])


def test_of_frames_answered_together_the_one_that_was_painted_counts(screen):
    screen.answer(screen.frame())
    numbers = []
    for price in (100.0, 101.0, 102.0):
        screen.pass_ms(1)
        screen.receive(price)
        numbers.append(screen.frame())
    screen.pass_ms(10)

    screen.answer(numbers[1])

    assert screen.notes.lags_ms == pytest.approx([100 + 101 + 10])


def test_a_frame_without_a_newer_row_is_no_sample(screen):
    screen.pass_ms(1)
    screen.receive(100.0)
    screen.answer(screen.frame())
    screen.source.is_stale = True
    screen.source.version += 1
    screen.pass_ms(5_000)

    screen.answer(screen.frame())

    assert len(screen.notes.lags_ms) == 1
    assert screen.board.frames == 2


def test_rows_from_before_the_view_could_be_seen_are_no_samples(screen):
    screen.see(is_visible=False)
    screen.receive(100.0)
    screen.pass_ms(60_000)
    screen.see(is_visible=True)

    screen.answer(screen.frame())

    assert screen.board.frames == 1
    assert screen.notes.lags_ms == []


def test_what_the_browser_needs_to_load_a_view_is_no_lag(loading):
    loading.receive(100.0)
    first = loading.frame()
    loading.pass_ms(2_000)
    loading.answer(first)
    loading.pass_ms(1)
    loading.receive(101.0)

    loading.answer(loading.frame())

    assert loading.notes.lags_ms == pytest.approx([100])


def test_an_answer_that_may_have_waited_for_a_cell_is_not_measured(screen):
    screen.pass_ms(1)
    screen.receive(100.0)
    before = screen.frame()
    screen.busy.since, screen.busy.cells = screen.clock.now, 1
    screen.receive(101.0)
    during = screen.frame()
    screen.pass_ms(5_000)
    screen.busy.since = None

    screen.answer(before)
    screen.answer(during)

    assert screen.notes.lags_ms == []
    screen.receive(102.0)
    screen.answer(screen.frame())
    assert screen.notes.lags_ms == pytest.approx([100])


def test_an_answer_that_comes_past_the_cell_is_measured(screen):
    screen.busy.since, screen.busy.cells = screen.clock.now, 1
    screen.pass_ms(1)
    screen.receive(100.0)
    number = screen.frame()

    beside = threading.Thread(target=screen.answer, args=(number,))
    beside.start()
    beside.join()

    assert screen.notes.lags_ms == pytest.approx([100])


def test_a_source_that_does_not_want_to_know_is_painted_all_the_same(painter, clock):
    source = Boards()
    board = Board(source)
    board.widget.open()
    board.watch(painter)
    source.put(0, 100.0, 5, 100.1, 7, 100.0)
    clock.now += 1

    painter.step()
    board.widget.comm.acknowledge(1)

    assert board.lags is None
    assert painter.statistics().waiting == 0
    board.close()


def test_a_long_time_without_an_answer_keeps_few_frames_in_mind(screen):
    screen.busy.since, screen.busy.cells = screen.clock.now, 1
    for price in range(200):
        screen.receive(100.0 + price)
        screen.frame()
        screen.pass_ms(1_000)

    (watched,) = screen.painter._watched.values()

    assert screen.board.frames > 100
    assert len(watched.pace.awaited) == 64

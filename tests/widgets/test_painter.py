import math
import threading

import pytest

from aries_nb.widgets import Board, Painter
from aries_nb.widgets.cell_watch import CellWatch, NeverBusy, cell_watch
from aries_nb.widgets.pacing import PERIOD_S, FramePacing
from tests.widgets.sources import Boards, Busy

UNANSWERED = FramePacing().in_flight


@pytest.fixture
def source():
    source = Boards()
    source.put(0, 100.0, 5, 100.1, 7, 100.0)
    return source


@pytest.fixture
def board(source, painter):
    board = Board(source)
    board.widget.open()
    board.watch(painter)
    yield board
    board.close()


def test_a_new_view_is_drawn_at_once(painter, board):
    painter.step()

    assert board.frames == 1
    assert len(board.widget.comm.sent) == 1


def test_an_unchanged_source_is_not_drawn_again(painter, board, clock):
    painter.step()
    board.widget.comm.acknowledge(1)
    clock.now += 0.5

    painter.step()

    assert painter.statistics().draws == 1


def test_frames_without_an_answer_are_few_until_one_is_answered(painter, board, source, clock):
    painter.step()
    board.widget.comm.acknowledge(1)
    clock.now += 0.1
    for step in range(UNANSWERED + 3):
        source.put(0, 100.1 + step, 5, 200.2, 7, 100.1)
        painter.step()
        clock.now += 0.1
    assert board.frames == 1 + UNANSWERED

    board.widget.comm.acknowledge(3)
    painter.step()

    assert board.frames == 1 + UNANSWERED + 1


def test_a_view_seen_again_sends_one_whole_frame_until_it_is_answered(painter, board, source, clock):
    painter.step()
    board.widget.comm.acknowledge(1)
    board.widget.comm.answer({"method": "custom", "content": {"visible": True, "view": "a"}})
    board.widget.comm.answer({"method": "custom", "content": {"visible": False, "view": "a"}})
    board.widget.comm.answer({"method": "custom", "content": {"visible": True, "view": "of a page just opened"}})
    for step in range(3):
        clock.now += 0.1
        source.put(0, 100.1 + step, 5, 200.2, 7, 100.1)
        painter.step()

    assert board.frames == 2
    assert "delta" not in board.widget.comm.sent[-1]


def test_the_acknowledgement_of_an_older_frame_leaves_the_newer_ones_waiting(painter, board, source, clock, busy):
    busy.since = clock.now
    for _ in range(3):
        source.put(0, source.version, 5, 100.2, 7, 100.1)
        painter.step()
        clock.now += 0.1

    board.widget.comm.acknowledge(2)

    assert painter.statistics().waiting == 1


def test_a_hidden_view_is_not_drawn_until_it_is_seen_again(painter, board, source, clock):
    painter.step()
    board.widget.comm.answer({"method": "custom", "content": {"visible": True, "view": "a"}})
    board.widget.comm.answer({"method": "custom", "content": {"visible": False, "view": "a"}})
    board.widget.comm.acknowledge(1)
    source.put(0, 100.1, 5, 100.2, 7, 100.1)
    clock.now += 10
    assert painter.step() == math.inf
    assert board.frames == 1

    board.widget.comm.answer({"method": "custom", "content": {"visible": True, "view": "b"}})
    painter.step()

    assert board.frames == 2


def test_one_of_two_displays_in_sight_is_enough(painter, board):
    for content in ({"visible": True, "view": "a"}, {"visible": True, "view": "b"}, {"visible": False, "view": "a"}):
        board.widget.comm.answer({"method": "custom", "content": content})

    assert painter.statistics().visible == 1


def test_each_of_many_displays_of_a_view_is_known_until_it_is_removed(painter, board):
    displays = [f"display {number}" for number in range(60)]
    for display in displays:
        board.widget.comm.answer({"method": "custom", "content": {"visible": True, "view": display}})
    forgotten = []
    board.widget.forget_sent = lambda: forgotten.append(True)  # the next frame would be whole

    for display in displays[1:]:
        board.widget.comm.answer({"method": "custom", "content": {"visible": False, "view": display}})

    assert forgotten == []
    assert painter.statistics().visible == 1


def test_rubbish_from_the_browser_is_ignored(painter, board):
    for content in (None, 7, {"ack": "x"}, {"visible": "yes"}, {}):
        board.widget.comm.answer({"method": "custom", "content": content})

    assert painter.statistics().visible == 1


def test_a_view_that_fails_does_not_stop_the_others_and_says_so(painter, board, source, clock, caplog):
    broken = Boards()
    broken.board = lambda: 1 / 0
    failing = Board(broken)
    failing.watch(painter)

    for _ in range(5):
        painter.step()
        clock.now += 0.1

    assert board.frames == 1
    assert isinstance(failing.error, ZeroDivisionError)
    assert "division by zero" in failing.widget.problem
    assert painter.statistics().errors == 1
    assert len(caplog.records) == 1
    failing.close()


def test_a_connection_that_breaks_ends_no_pass_of_the_painter(painter, board, source, clock, caplog):
    def breaks(*_, **__):
        raise OSError("connection is gone")

    failing = Board(Boards())
    failing.widget.open()
    failing.watch(painter)
    whole = failing.widget.comm.publish_msg
    failing.widget.comm.publish_msg = breaks
    for _ in range(50):  # with frames, signs of life, and pictures of twice ten seconds
        painter.step()
        board.widget.comm.acknowledge(board.frames)
        clock.now += 0.5
        source.put(0, clock.now, 1, clock.now, 1, clock.now)

    failing.widget.comm.publish_msg = whole
    failing.close()
    assert board.frames > 10
    assert failing.errors
    assert "connection is gone" in caplog.text


def test_a_view_recovers_when_its_source_does(painter, clock, caplog):
    source = Boards()
    good, source.board = source.board, lambda: 1 / 0
    board = Board(source)
    board.widget.open()
    board.watch(painter)
    painter.step()
    source.board = good
    clock.now += 4

    painter.step()

    assert board.error is None
    assert board.widget.problem == ""
    assert board.errors == 1
    board.close()


def test_a_source_whose_version_fails_is_a_failing_view(painter, caplog):
    class Broken(Boards):
        @property
        def version(self):
            raise RuntimeError("gone")

        @version.setter
        def version(self, value):
            pass

        def board(self):
            raise RuntimeError("gone")

    board = Board(Broken())
    board.watch(painter)

    painter.step()

    assert str(board.error) == "gone"
    board.close()


def test_staleness_that_changes_no_version_is_seen_within_a_second(painter, board, source, clock):
    painter.step()
    board.widget.comm.acknowledge(1)
    source.is_stale = True
    clock.now += 1.0

    painter.step()

    assert board.frames == 2


def test_all_views_together_stay_within_the_budget(painter, clock, busy):
    busy.since = clock.now
    sources = [Boards() for _ in range(60)]
    boards = [Board(source) for source in sources]
    for board in boards:
        board.watch(painter)

    for step in range(400):
        for source in sources:
            source.put(0, step, 5, 100.2, 7, 100.1)
        painter.step()
        clock.now += 0.01

    counts = [board.frames for board in boards]
    assert sum(counts) <= 300 * 4 + 60
    assert sum(counts) > 300 * 4 * 0.9
    assert max(counts) - min(counts) <= 3
    for board in boards:
        board.close()


def test_the_thread_starts_with_the_first_view_and_ends_with_the_last(source):
    painter = Painter(busy=Busy())
    board = Board(source)
    board.widget.open()
    drawn = threading.Event()
    draw = board._draw
    board._draw = lambda: drawn.set() or draw()
    assert not painter.statistics().is_running

    board.watch(painter)
    thread = next(thread for thread in threading.enumerate() if thread.name == "aries-nb-painter")
    assert drawn.wait(30)
    board.close()
    thread.join(30)

    assert not thread.is_alive()
    assert not painter.statistics().is_running


def test_a_closed_view_is_not_drawn(painter, board, source):
    board.close()

    assert painter.statistics().views == 0
    assert board.draw() == 0


def test_cells_are_followed_by_ipythons_events(clock):
    class Events:
        def __init__(self):
            self.functions = {}

        def register(self, event, function):
            self.functions[event] = function

        def unregister(self, event, function):
            assert self.functions.pop(event) == function

    events = Events()
    watch = CellWatch(events, clock)

    watch.start()
    assert watch.since == clock.now
    events.functions["post_run_cell"]("result")
    assert watch.since is None
    clock.now += 5
    events.functions["pre_run_cell"]("info")
    assert watch.since == clock.now
    watch.stop()
    assert events.functions == {}


def test_a_script_is_never_busy(clock):
    assert isinstance(cell_watch(clock), NeverBusy)


def beats(board):
    return sum("beat" in data.get("content", {}) for data in board.widget.comm.sent)


def test_a_quiet_view_sends_a_sign_of_life_every_two_seconds_that_is_answered_like_a_frame(painter, board, clock):
    painter.step()
    board.widget.comm.acknowledge(1)
    for _ in range(100):
        clock.now += 0.1
        if painter.step() and painter.statistics().waiting:
            board.widget.comm.acknowledge(1)

    assert board.frames == 1
    assert beats(board) in {4, 5}
    assert painter.statistics().waiting == 0


def test_a_closed_tab_is_sent_few_signs_of_life(painter, board, clock):
    painter.step()
    for _ in range(600):
        clock.now += 0.1
        painter.step()

    assert UNANSWERED <= beats(board) < 60 / 5 + UNANSWERED


def test_a_hidden_view_is_sent_no_sign_of_life(painter, board, clock):
    painter.step()
    board.widget.comm.answer({"method": "custom", "content": {"visible": False, "view": "a"}})

    clock.now += 10
    painter.step()

    assert beats(board) == 0


def test_a_view_that_changes_between_the_frames_of_another_is_drawn_with_the_next_of_them(
    painter, board, source, clock
):
    other = Boards()
    second = Board(other)
    second.widget.open()
    second.watch(painter)
    drawn_at = []
    for step in range(200):
        clock.now += 0.01
        source.put(0, step, 5, 300.0, 7, 100.1)
        if step % 13 == 0:
            other.put(0, step, 5, 300.0, 7, 100.1)
        before = board.frames + second.frames
        painter.step()
        if board.frames + second.frames > before:
            drawn_at.append(clock.now)
            board.widget.comm.acknowledge(board.frames)
            second.widget.comm.acknowledge(second.frames)

    assert second.frames >= 14
    assert len(drawn_at) <= 2 / PERIOD_S + 2
    second.close()


def test_on_a_quiet_page_a_change_is_drawn_soon(painter, board, source, clock):
    painter.step()
    board.widget.comm.acknowledge(1)
    clock.now += 0.5
    painter.step()
    source.put(0, 100.2, 5, 100.3, 7, 100.2)

    clock.now += 0.021
    painter.step()

    assert board.frames == 2

"""Messages of one pass leave as one, and of frames and lines only what changed."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from aries_nb.widgets import Board, transport
from aries_nb.widgets.anywidget_view import panel_class
from aries_nb.widgets.transport import FrameChanges, Message, Outbox
from aries_nb.widgets.widget_model import LiveFigure
from tests.widgets.sources import Boards


class Sender:
    def __init__(self, model_id, page="page"):
        self.model_id, self.page, self.sent = model_id, page, []
        self.is_closed = self.is_failing = False

    def send_now(self, message):
        if self.is_failing:
            raise OSError("not sent")
        self.sent.append(message)


def frame(*values):
    data = {"method": "update", "state": {}, "buffer_paths": [["frame"]]}
    return Message(data, [np.array(values, "<f8").tobytes()])


def changed_by(message, before):
    """The frame that a page makes of the message's changes."""
    assert message.data["delta"] == {"after": before[0], "length": len(before)}
    count = len(message.buffers[0]) // 12
    after = np.array(before)
    after[np.frombuffer(message.buffers[0][8 * count :], "<u4")] = np.frombuffer(message.buffers[0][: 8 * count], "<f8")
    return after.tolist()


def test_what_is_sent_in_a_pass_leaves_as_one_message_with_all_buffers():
    outbox, one, two = Outbox(), Sender("one"), Sender("two")

    with outbox.one_pass():
        assert outbox.takes(one, Message({"a": 1}, [b"x", b"y"]))
        assert outbox.takes(two, Message({"b": 2}, [b"z"]))

    content = {"all": [["one", {"a": 1}, 2], ["two", {"b": 2}, 1]]}
    assert one.sent == [Message({"method": "custom", "content": content}, [b"x", b"y", b"z"])]
    assert two.sent == []
    assert outbox.saved() == 1


def test_each_page_gets_its_own_and_a_single_one_as_it_is():
    outbox, here, there = Outbox(), Sender("one", "here"), Sender("two", "there")

    with outbox.one_pass():
        outbox.takes(here, Message({"a": 1}, []))
        outbox.takes(there, Message({"b": 2}, []))

    assert (here.sent, there.sent) == ([Message({"a": 1}, [])], [Message({"b": 2}, [])])


def test_outside_a_pass_and_before_an_answer_messages_are_sent_at_once():
    outbox = Outbox()

    assert not outbox.takes(Sender("one"), Message({}, []))
    with outbox.one_pass():
        assert not outbox.takes(Sender("new", page=None), Message({}, []))


def test_a_view_that_was_closed_in_a_pass_takes_no_other_with_it():
    outbox, closed, others = Outbox(), Sender("closed"), [Sender("one"), Sender("two")]

    with outbox.one_pass():
        for sender in (closed, *others):
            outbox.takes(sender, Message({}, []))
        closed.is_closed = True  # by a cell or another thread: the page throws away what comes on its connection

    assert closed.sent == []
    assert [[part[0] for part in each.data["content"]["all"]] for each in others[0].sent] == [["one", "two"]]


def test_what_cannot_be_sent_keeps_no_other_view_and_no_later_pass_from_being_sent(caplog):
    outbox, senders = Outbox(), [Sender("one"), Sender("two"), Sender("three")]
    senders[0].is_failing = True

    for _ in range(2):
        with outbox.one_pass():
            for sender in senders:
                outbox.takes(sender, Message({"of": sender.model_id}, []))

    assert [[each.data["of"] for each in sender.sent] for sender in senders] == [[], ["two"] * 2, ["three"] * 2]
    assert outbox.saved() == 0
    assert len(caplog.records) == 1


def test_a_closed_comm_is_known_to_its_batch(figure):
    assert not figure._batch.is_closed

    figure.comm.close()

    assert figure._batch.is_closed


def test_beside_a_page_that_takes_no_changes_all_pages_get_whole_messages(figure):
    x = np.arange(100.0)
    figure.answered(None)
    figure.answered("page")  # of another page: each message goes to both

    draw(figure, x[:90], x[:90])

    assert "delta" not in draw(figure, x, x)


def test_a_frame_is_sent_as_its_changes_if_these_are_few():
    changes, before = FrameChanges(), [1.0, np.nan, 3.0, 4.0, 5.0, 6.0, 7.0]
    changes.shorten(frame(*before), is_whole=False)

    message = changes.shorten(frame(2.0, np.nan, 3.0, 4.5, 5.0, 6.0, 7.0), is_whole=False)

    assert changed_by(message, before)[2:] == [3.0, 4.5, 5.0, 6.0, 7.0]
    assert len(message.buffers[0]) == 2 * 12
    assert "delta" not in changes.shorten(frame(3.0, 2, 2, 2, 2, 2, 2), is_whole=False).data
    assert "delta" not in changes.shorten(frame(4.0), is_whole=False).data


def test_after_a_page_asked_for_the_state_the_next_frame_is_whole():
    changes = FrameChanges()
    for number in (1.0, 2.0):
        changes.shorten(frame(number, 0, 0, 0, 0), is_whole=False)

    changes.forget()

    assert "delta" not in changes.shorten(frame(3.0, 0, 0, 0, 0), is_whole=False).data


def test_a_page_that_takes_no_changes_gets_whole_frames():
    changes = FrameChanges()
    changes.shorten(frame(1.0, 0, 0, 0, 0), is_whole=True)

    assert "delta" not in changes.shorten(frame(2.0, 0, 0, 0, 0), is_whole=True).data


@pytest.fixture
def figure():
    figure = LiveFigure(data=[go.Scatter(), go.Scatter()])
    figure.open()
    figure.answered("page")
    yield figure
    figure.close()


def draw(figure, x, y, trace=1):
    before = len(figure.comm.sent)
    with figure.one_message(), figure.batch_update():
        figure.data[trace].update({"x": x, "y": y}, overwrite=True)
    (message,) = figure.comm.sent[before:]
    return message


def test_of_a_line_that_grew_and_lost_its_oldest_points_the_new_ones_are_sent(figure):
    x, y = np.arange(100.0), np.arange(100.0) / 3
    draw(figure, x[:90], y[:90])

    message = draw(figure, x[4:], y[4:])

    assert [line[1:] for line in message["delta"]["lines"]] == [[4, 86, 90], [4, 86, 90]]


def test_lines_are_sent_whole_while_a_cell_runs(figure):
    outbox, x, before = transport.get_outbox(), np.arange(100.0), len(figure.comm.sent)
    for is_whole, end in ((True, 80), (True, 90), (False, 100)):
        with outbox.one_pass(is_whole=is_whole), figure.one_message(), figure.batch_update():
            figure.data[1].update({"x": x[:end], "y": x[:end]}, overwrite=True)

    assert ["delta" in message for message in figure.comm.sent[before:]] == [False, False, True]


def test_only_an_answer_shows_that_a_view_takes_changes(figure):
    figure.forget_sent()
    said = [[figure.model_id, {"want": "state"}]]
    figure.comm.answer({"method": "custom", "content": {"page": "a", "said": said}})
    assert figure._batch.page is None

    said = [[figure.model_id, {"ack": 0}]]
    figure.comm.answer({"method": "custom", "content": {"page": "a", "said": said}})
    assert figure._batch.page == "a"


def test_a_thinned_line_is_sent_whole_and_the_next_points_alone(figure):
    x = np.arange(100.0)
    draw(figure, x, x)

    assert "delta" not in draw(figure, x[::7].copy(), x[::7].copy())
    grown = np.append(x[::7], 101.0)
    assert [line[1:] for line in draw(figure, grown, grown)["delta"]["lines"]] == [[0, 15, 15], [0, 15, 15]]


def test_after_an_edit_of_traces_lines_are_sent_whole(figure):
    x = np.arange(100.0)
    draw(figure, x, x)

    figure.add_scatter(x=[1.0], y=[2.0])

    assert "delta" not in draw(figure, np.append(x, 100.0), np.append(x, 100.0))


def test_a_lost_state_is_asked_for_and_the_next_lines_are_whole(figure):
    x = np.arange(100.0)
    draw(figure, x, x)

    figure.comm.answer({"method": "custom", "content": {"want": "state"}})

    assert "delta" not in draw(figure, np.append(x, 100.0), np.append(x, 100.0))


def parts(*boards):
    """What was sent of the boards: id of the model, and data; parts of joined messages each by itself."""
    for board in boards:
        for data in board.widget.comm.sent:
            joined = data["content"].get("all") if data["method"] == "custom" else None
            yield from ((each[0], each[1]) for each in joined or [(board.widget.model_id, data)])


def test_views_that_have_answered_are_drawn_with_one_message(painter, monkeypatch):
    monkeypatch.setattr(transport, "MOST_HELD_S", 60.0)  # however slow the machine
    source = Boards()
    boards = sorted((Board(source), Board(source)), key=id, reverse=True)  # addresses in memory must not matter
    for board in boards:
        board.widget.open()
        board.watch(painter)
        said = [[board.widget.model_id, {"ack": 0}]]
        board.widget.comm.answer({"method": "custom", "content": {"page": "page", "said": said}})
    source.put(0, 100.5, 500, 100.75, 700, 100.5)

    painter.step()

    sent = boards[0].widget.comm.sent + boards[1].widget.comm.sent
    assert [data["method"] for data in sent] == ["custom"]
    updates = [model for model, data in parts(*boards) if data["method"] == "update"]
    assert updates == [board.widget.model_id for board in boards]
    assert painter.statistics().messages == 1
    for board in boards:
        board.close()


def test_a_panel_that_has_answered_is_sent_the_changes_of_its_frame():
    panel = panel_class("ladder")()
    panel.open()
    for number in (1.0, 2.0, 3.0):
        panel.frame = frame(number, 5, 6, 7, 8, 9).buffers[0]
        panel.answered("page")

    deltas = [data.get("delta") for data in panel.comm.sent]
    assert deltas == [None, None, {"after": 2.0, "length": 6}]  # whole once after the first answer
    panel.layout.close()
    panel.close()

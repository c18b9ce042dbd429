"""What a thread sends within `as_one` is sent as one message with everything; the rest is passed on."""

from __future__ import annotations

import threading

import pytest

from aries_nb.widgets.plotly_view import MessageBatch


class FakeComm:
    def __init__(self):
        self.sent = []

    def send(self, data, buffers=None):
        self.sent.append((data, buffers))


@pytest.fixture
def comm():
    return FakeComm()


def update(state, paths=()):
    return {"method": "update", "state": state, "buffer_paths": list(paths)}


def test_updates_leave_as_one_with_their_buffers_in_order(comm):
    gathering = MessageBatch(comm)

    with gathering.as_one():
        comm.send(update({"edit": 1}))
        comm.send(update({"data": {}}, [["data", "x"]]), buffers=[b"x"])
        comm.send(update({"more": {}}, [["more", "y"]]), buffers=[b"y"])

    expected = update({"edit": 1, "data": {}, "more": {}}, [["data", "x"], ["more", "y"]])
    assert comm.sent == [(expected, [b"x", b"y"])]


def test_an_update_that_is_taken_back_at_once_still_leaves(comm):
    gathering = MessageBatch(comm)

    with gathering.as_one():
        comm.send(update({"update": {"y": 1}}))
        comm.send(update({"update": None}))

    assert [data["state"] for data, _ in comm.sent] == [{"update": {"y": 1}}]


def test_other_methods_and_other_threads_pass_at_once(comm):
    gathering = MessageBatch(comm)

    with gathering.as_one():
        comm.send({"method": "custom", "content": 1})
        thread = threading.Thread(target=comm.send, args=(update({"theirs": 1}),))
        thread.start()
        thread.join()
        during = len(comm.sent)

    assert during == len(comm.sent) == 2


def test_nothing_sent_is_no_message(comm):
    with MessageBatch(comm).as_one():
        pass

    assert comm.sent == []


def test_what_was_gathered_leaves_although_drawing_raised(comm):
    gathering = MessageBatch(comm)

    def draw():
        with gathering.as_one():
            comm.send(update({"edit": 1}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw()

    assert [data["state"] for data, _ in comm.sent] == [{"edit": 1}]

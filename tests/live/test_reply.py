"""The reply to one query."""

from __future__ import annotations

from aries_nb.live.waiting import PendingReply


def put(reply: PendingReply, text: str) -> None:
    reply.buffer.add(0, 1, (text,))
    reply.buffer.mark(2)


def test_a_reply_is_there_once_it_is_published() -> None:
    reply = PendingReply()

    put(reply, "[1]")
    before = reply.text
    reply.publish()

    assert (before, reply.text) == (None, "[1]")
    assert reply.buffer.codes == []


def test_the_callback_is_called_for_a_reply_and_for_nothing_else() -> None:
    reply, calls = PendingReply(), list[str | None]()
    undo = reply.watch(lambda: calls.append(reply.text))

    reply.publish()
    reply.interrupted()
    put(reply, "[1]")
    reply.publish()
    undo()
    put(reply, "[2]")
    reply.publish()

    assert calls == ["[1]"]


def test_a_break_keeps_the_reply() -> None:
    reply = PendingReply()
    put(reply, "[1]")
    reply.publish()

    reply.interrupted()

    assert reply.text == "[1]"

"""One answer to one question."""

from __future__ import annotations

from aries_nb.store import PendingReply


def put(slip: PendingReply, text: str) -> None:
    slip.inbox.add(0, 1, (text,))
    slip.inbox.mark(2)


def test_an_answer_is_there_once_it_is_published() -> None:
    slip = PendingReply()

    put(slip, "[1]")
    before = slip.text
    slip.publish()

    assert (before, slip.text) == (None, "[1]")
    assert slip.inbox.codes == []


def test_who_watches_hears_of_the_answer_and_of_nothing_else() -> None:
    slip, rung = PendingReply(), list[str | None]()
    undo = slip.watch(lambda: rung.append(slip.text))

    slip.publish()
    slip.interrupted()
    put(slip, "[1]")
    slip.publish()
    undo()
    put(slip, "[2]")
    slip.publish()

    assert rung == ["[1]"]


def test_a_break_leaves_what_has_come() -> None:
    slip = PendingReply()
    put(slip, "[1]")
    slip.publish()

    slip.interrupted()

    assert slip.text == "[1]"

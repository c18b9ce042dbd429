"""HTTP answers are events: a replay applies the recorded ones, in their order, and makes no request."""

from __future__ import annotations

import random
import threading

import pytest

from aries_nb.errors import ConnectError, FeedError
from aries_nb.net.background import on_network
from aries_nb.net.events.answers import ANSWER, Answer
from aries_nb.net.events.arrivals import Arrivals

SECONDS = 10


class Server:
    """Returns the bodies of a path in their order, or raises."""

    def __init__(self, **bodies: list[bytes | FeedError]) -> None:
        self._bodies = bodies
        self.asked: list[str] = []

    def get(self, path, params=None):
        self.asked.append(path)
        body = self._bodies[path.strip("/")].pop(0)
        if isinstance(body, FeedError):
            raise body
        return body


class Recorded:
    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers

    def extend(self, group):
        received, connection, what, _, bodies = group
        if what == ANSWER:
            self._answers += map(Answer.from_bytes, bodies)
            assert (self._answers[-1].received, connection) == (received, 0)


def two_pages(get, _asked):
    return get("/orders", {"page": "1"}) + get("/orders", {"page": "2"})


def outcome(reply):
    try:
        return reply.value()
    except FeedError as error:
        return str(error)


def asked(arrivals, server, work=two_pages, *, kind="snapshot", key="orders ACC-1", is_wanted=lambda: True):
    ask = lambda: arrivals.answers.ask(kind, key, server.get, work, outcome, is_wanted=is_wanted)  # noqa: E731
    return arrivals.do(ask).result(SECONDS).result(SECONDS)


def test_answer_is_recorded_before_it_is_applied_and_applied_again_in_a_replay():
    server, recorded = Server(orders=[b"one ", b"two"]), []
    arrivals = Arrivals()
    arrivals.journals = (Recorded(recorded),)

    live = asked(arrivals, server)
    replay = Arrivals(is_replay=True).answers
    done = replay.ask("snapshot", "orders ACC-1", Server().get, two_pages, outcome)
    assert not done.done()
    replay.give(Answer.from_bytes(recorded[0].to_bytes()))

    assert (live, done.result(0)) == (b"one two", b"one two")
    assert recorded[0].asked <= recorded[0].received
    assert recorded[0].bodies == (b"one ", b"two")


@pytest.mark.parametrize("error", [ConnectError("no answer", where="http://x/orders"), FeedError("refused")])
def test_failed_request_is_an_event_too(error):
    server, recorded = Server(orders=[b"one ", error]), []
    arrivals = Arrivals()
    arrivals.journals = (Recorded(recorded),)
    kinds = []

    def kind_of(reply):
        with pytest.raises(FeedError) as caught:
            reply.value()
        kinds.append(type(caught.value))
        return str(caught.value)

    ask = lambda: arrivals.answers.ask("bars", "AAPL", server.get, two_pages, kind_of)  # noqa: E731
    live = arrivals.do(ask).result(SECONDS).result(SECONDS)
    replay = Arrivals(is_replay=True).answers
    replay.give(Answer.from_bytes(recorded[0].to_bytes()))
    again = replay.ask("bars", "AAPL", Server().get, two_pages, kind_of).result(0)

    assert (live, kinds) == (again, [type(error)] * 2)


def test_answers_go_to_the_questions_of_their_kind_and_key_in_order():
    replay = Arrivals(is_replay=True).answers
    seen = []

    def ask(key, number):
        take = lambda reply: seen.append((key, number, reply.asked, outcome(reply)))  # noqa: E731
        replay.ask("trades", key, Server().get, lambda get, _: get("/trades"), take)

    ask("AAPL", 1)
    ask("MSFT", 2)
    ask("AAPL", 3)
    for key, at in (("MSFT", 10), ("AAPL", 11), ("AAPL", 12), ("AAPL", 13)):
        replay.give(Answer("trades", key, at, at + 5, (str(at).encode(),)))
    ask("AAPL", 4)

    assert seen == [("MSFT", 2, 10, b"10"), ("AAPL", 1, 11, b"11"), ("AAPL", 3, 12, b"12"), ("AAPL", 4, 13, b"13")]


def test_caller_that_waits_makes_the_requests_itself():
    arrivals, threads = Arrivals(), []

    def work(get, asked):
        threads.append(threading.current_thread())
        return get("/orders"), asked

    found = arrivals.answers.fetch("bars", "AAPL", Server(orders=[b"one"]).get, work, lambda reply: reply)

    assert found.value() == (b"one", found.asked)
    assert threads == [threading.current_thread()]
    fetch = arrivals.answers.fetch
    with pytest.raises(FeedError, match="refused"):
        fetch("bars", "AAPL", Server(orders=[FeedError("refused")]).get, two_pages, lambda reply: reply.value())


def test_question_not_needed_any_more_is_not_asked_but_recorded():
    server, recorded = Server(), []
    arrivals = Arrivals()
    arrivals.journals = (Recorded(recorded),)

    live = asked(arrivals, server, is_wanted=lambda: False)

    assert server.asked == []
    assert live == "the snapshot of orders ACC-1 is not needed any more."
    assert recorded[0].error == ("UnwantedError", "the snapshot of orders ACC-1 is not needed any more", "", "")


def test_what_an_adapter_raises_is_an_error_of_the_answer():
    live = asked(Arrivals(), Server(), lambda _get, _asked: 1 / 0)

    assert "ZeroDivisionError" in live


def test_questions_of_one_lane_are_asked_one_after_the_other():
    arrivals = Arrivals()
    order, done = [], []

    def ask(number):
        def work(get, _asked):
            order.append(("begun", number))
            get("/n")
            order.append(("over", number))

        return arrivals.answers.ask("n", str(number), lambda *_: b"", work, outcome, lane="one")

    done = on_network(lambda: [ask(number) for number in range(5)]).result(SECONDS)
    for each in done:
        each.result(SECONDS)

    assert order == [(what, number) for number in range(5) for what in ("begun", "over")]


def test_recorded_answer_is_the_same_and_rubbish_is_refused():
    seed = random.Random(3)
    whole = Answer("bars", "AAPL 1min", 1, 2, (b"", seed.randbytes(50), b"\n{}"), ("ConnectError", "a", "b", "c"))
    data = whole.to_bytes()

    assert Answer.from_bytes(data) == whole
    for wrong in (b"", b"{}\n", b"[1]\n", data[:-1], data + b"x", b"{" * 9_999, data.replace(b"50", b"-1", 1)):
        with pytest.raises(ValueError, match="no recorded answer"):
            Answer.from_bytes(wrong)

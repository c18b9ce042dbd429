"""HTTP answers as events: asked for on a thread, applied on the network's thread at a place in the order of events.

What an answer does to the data is a function of the question, its bodies, the times of both, and the data themselves.
A replay therefore makes no request: a question waits for the recorded answer of its kind and key.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from typing import Generic, NamedTuple, Protocol, TypeVar

from aries_nb.errors import ClosedError, ConnectError, FeedError, TokenError, UsageError
from aries_nb.model import Checkpointed
from aries_nb.net.background import on_network, run_on_thread

__all__ = ["ANSWER", "LISTED", "Answer", "Answers", "Get", "Reply", "Requests", "UnwantedError"]

log = logging.getLogger("aries_nb")

T = TypeVar("T")
R = TypeVar("R")

LISTED = "options"
"""The kind of answers that are no event of the data: lists of options, the same whenever a replay asks for them."""

ANSWER = "http"
"""The event whose body is an answer at the moment at which it is applied, as `Answer.to_bytes` writes it."""


class Events(Protocol):
    """The part of `Arrivals` that `Answers` uses."""

    def moment(self) -> AbstractContextManager[int]:
        """Hold the clock at now; gives that time."""

    def note(self, connection: int, what: str, body: bytes = b"") -> None:
        """Add an event to the journal, if there is one."""

    @property
    def is_noting(self) -> bool:
        """Whether there is a journal."""

    def on_late(self) -> None:
        """Have a replay begin anew, as a question was asked after its answer."""


class Get(Protocol):
    """Interface of `HttpClient.get`: the body of the response to a GET request of `path`, or a FeedError."""

    def __call__(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """Return the body."""


class Requests(NamedTuple):
    """The part of an `HttpClient` that makes requests, those of one question: see `Answers.ask`."""

    base: str
    get: Get

    def check_may_block(self) -> None:
        """Return: it is used on threads that are for requests."""


class UnwantedError(FeedError):
    """Nothing was requested, as nobody needed the answer any more."""


class Answer(NamedTuple):
    """What came of a question: the bodies of its responses in their order, and the error that ended it.

    `kind` says what it fills ("snapshot", "trades", "bars"), `key` of what: the same in a replay. `asked` and
    `received` are market times in ns since the epoch. `error` is None, or the class, what, where and advice of a
    FeedError.
    """

    kind: str
    key: str
    asked: int
    received: int
    bodies: tuple[bytes, ...] = ()
    error: tuple[str, str, str, str] | None = None

    def to_bytes(self) -> bytes:
        """Return it as bytes: one line of JSON with everything but the bodies, then the bodies."""
        head = {**self._asdict(), "bodies": [len(body) for body in self.bodies]}
        return b"".join([json.dumps(head).encode(), b"\n", *self.bodies])

    def masked(self, mask: Callable[[bytes], bytes]) -> Answer:
        """Return it with bodies as `mask` returns them, which may have other lengths."""
        return self._replace(bodies=tuple(map(mask, self.bodies)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Answer:
        """Return the answer that `to_bytes` wrote. Raises ValueError for anything else."""
        line, _, rest = data.partition(b"\n")
        try:
            head = json.loads(line)
            kind, key, error, sizes = head["kind"], head["key"], head["error"], head["bodies"]
            asked, received = head["asked"], head["received"]
            texts = [kind, key, *(error or ())]
            are_right = all(isinstance(text, str) for text in texts) and len(texts) in (2, 6)
            are_right &= all(type(number) is int and number >= 0 for number in (asked, received, *sizes))
        except (KeyError, TypeError, ValueError, RecursionError) as wrong:
            raise ValueError("no recorded answer") from wrong
        if not are_right or sum(sizes) != len(rest):
            raise ValueError("no recorded answer")
        bodies, at = [], 0
        for size in sizes:
            bodies.append(rest[at : at + size])
            at += size
        return cls(kind, key, asked, received, tuple(bodies), None if error is None else tuple(error))


class Reply(Generic[T]):
    """An answer and what was read from it, as it is applied: `value` raises the FeedError of a failed request."""

    def __init__(self, asked: int, received: int, value: T | FeedError) -> None:
        self.asked, self.received = asked, received
        self._value = value

    def value(self) -> T:
        """Return what was read. Raises the error of the request, or of a body that cannot be read."""
        if isinstance(self._value, FeedError):
            raise self._value
        return self._value


class _Question(Generic[T, R]):
    """A question that has no answer yet; `done` gets what `apply` returns."""

    def __init__(
        self,
        subject: tuple[str, str],
        asked: int,
        work: Callable[[Get, int], T],
        apply: Callable[[Reply[T]], R],
        is_wanted: Callable[[], bool],
    ) -> None:
        self.kind, self.key = subject
        self.asked = asked
        self.work = work
        self.apply = apply
        self.is_wanted = is_wanted
        self.done: Future[R] = Future()

    def requested(self, get: Get) -> tuple[T | FeedError, tuple[bytes, ...]]:
        """Make the requests; return what was read, or the error, and the bodies. Blocks."""
        bodies: list[bytes] = []

        def noted(path: str, params: Mapping[str, str] | None = None) -> bytes:
            bodies.append(get(path, params))
            return bodies[-1]

        if not self.is_wanted():
            return UnwantedError(f"the {self.kind} of {self.key} is not needed any more"), ()
        try:
            return self.work(noted, self.asked), tuple(bodies)
        except FeedError as error:
            return error, tuple(bodies)
        except Exception as error:  # the border of the thread: an adapter's code
            failed = FeedError(f"the {self.kind} of {self.key} failed: {error!r}")
            failed.__cause__ = error
            return failed, tuple(bodies)

    def read(self, answer: Answer) -> T | FeedError:
        """Return what was read from a recorded answer, or its error."""
        if answer.error is not None:
            return _error_of(answer.error)
        left = deque(answer.bodies)

        def recorded(path: str, params: Mapping[str, str] | None = None) -> bytes:  # noqa: ARG001 - as of the request
            if not left:
                raise FeedError(f"the recording has no further page of the {self.kind} of {self.key}")
            return left.popleft()

        try:
            return self.work(recorded, answer.asked)
        except FeedError as error:
            return error

    def settle(self, reply: Reply[T]) -> None:
        """Apply the answer; the network's thread."""
        try:
            result = self.apply(reply)
        except Exception as error:  # the border: who waits for it raises it
            if not isinstance(error, FeedError):
                log.exception("an answer about the %s of %s could not be applied", self.kind, self.key)
            self.done.set_exception(error)
        else:
            self.done.set_result(result)


class Answers(Checkpointed):
    """The one place where HTTP answers reach the data of a feed.

    Each is an event of the feed itself. In a replay (`is_replay`) no request is made: `give` takes the recorded ones.
    Used on the network's thread only.
    """

    STATE = ("_given",)

    def __init__(self, events: Events, *, is_replay: bool = False) -> None:
        self._events = events
        self.is_replay = is_replay
        self._waiting: dict[tuple[str, str], deque[_Question[object, object]]] = {}  # of a replay
        self._given: dict[tuple[str, str], deque[Answer]] = {}  # of a replay: nobody has asked for them yet
        self._lanes: dict[object, deque[Callable[[], None]]] = {}  # of requests that are made one after the other
        self._guard = threading.Lock()  # of these
        self.listed: dict[str, bytes] = {}
        """Of a replay: the recorded lists of options, by key."""

    def ask(
        self,
        kind: str,
        key: str,
        get: Get,
        work: Callable[[Get, int], T],
        apply: Callable[[Reply[T]], R],
        *,
        lane: object = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Future[R]:
        """Have `work` make its requests with the function that it is given, on a thread, then `apply` what it returns.

        `apply` is called on the network's thread, between two events, also with the FeedError of a failed request; it
        must return at once. Returns a future with its result. `kind` and `key` name the question.
        `work` must be a function of the bodies and its second argument alone, the market time of the question in ns;
        `get` is `HttpClient.get`. Questions of one `lane`, None for
        their kind and key, are asked one after the other; where `is_wanted` is False by then, none is asked.
        """
        question = self._question((kind, key), work, apply, is_wanted)
        if not self.is_replay:
            self._queue((kind, key) if lane is None else lane, lambda: self._request(question, get))
        return question.done

    def fetch(self, kind: str, key: str, get: Get, work: Callable[[Get, int], T], apply: Callable[[Reply[T]], R]) -> R:
        """`ask` for a caller that waits, and whose own thread makes the requests; not the network's, nor in a replay.

        Returns what `apply` does, and raises what it raises.
        """
        question = on_network(lambda: self._question((kind, key), work, apply, lambda: True)).result()
        self._request(question, get)
        return question.done.result()

    def note_listed(self, key: str, body: bytes) -> None:
        """Have a list of options in the recording."""
        with self._events.moment() as now:
            if self._events.is_noting:
                self._events.note(0, ANSWER, Answer(LISTED, key, now, now, (body,)).to_bytes())

    def _question(
        self,
        subject: tuple[str, str],
        work: Callable[[Get, int], T],
        apply: Callable[[Reply[T]], R],
        is_wanted: Callable[[], bool],
    ) -> _Question[T, R]:
        """Return a new question; of a replay with its answer, or waiting for it."""
        with self._events.moment() as asked:
            question = _Question(subject, asked, work, apply, is_wanted)
        if self.is_replay:
            given = self._given.get(subject)
            if given:
                answer = given.popleft()
                question.settle(Reply(answer.asked, answer.received, question.read(answer)))
                self._events.on_late()
            else:
                self._waiting.setdefault(subject, deque()).append(question)  # type: ignore[arg-type]
        return question

    @property
    def is_waiting(self) -> bool:
        """Whether a question waits for its answer."""
        return any(self._waiting.values())

    def restart(self) -> None:
        """Have no questions and no answers, because a replay begins anew."""
        self._waiting.clear()
        self._given.clear()

    def give(self, answer: Answer) -> None:
        """Apply a recorded answer to what waits for it, else keep it for who asks later. In a replay only."""
        if answer.kind == LISTED:
            return
        subject = answer.kind, answer.key
        waiting = self._waiting.get(subject)
        if waiting:
            question = waiting.popleft()
            question.settle(Reply(answer.asked, answer.received, question.read(answer)))
        else:
            self._given.setdefault(subject, deque()).append(answer)

    def _request(self, question: _Question[T, R], get: Get) -> None:
        value, bodies = question.requested(get)
        with suppress(ClosedError):  # in a fork, or at the end of the process
            on_network(lambda: self._apply(question, value, bodies)).result()

    def _apply(self, question: _Question[T, R], value: T | FeedError, bodies: tuple[bytes, ...]) -> None:
        with self._events.moment() as received:
            if self._events.is_noting:
                error = None
                if isinstance(value, FeedError):
                    error = (type(value).__name__, value.what, value.where, value.advice)
                answer = Answer(question.kind, question.key, question.asked, received, bodies, error)
                self._events.note(0, ANSWER, answer.to_bytes())
            question.settle(Reply(question.asked, received, value))

    def _queue(self, lane: object, job: Callable[[], None]) -> None:
        with self._guard:
            is_running = lane in self._lanes
            self._lanes.setdefault(lane, deque()).append(job)
        if not is_running:
            run_on_thread(lambda: self._work(lane), name="aries-nb-http-answers")

    def _work(self, lane: object) -> None:
        while True:
            with self._guard:
                jobs = self._lanes[lane]
                if not jobs:
                    del self._lanes[lane]
                    return
                job = jobs.popleft()
            job()


def _error_of(fields: tuple[str, str, str, str]) -> FeedError:
    """Return the error that an answer names; a FeedError where its class has other arguments."""
    name, what, where, advice = fields
    plain = (UsageError, ClosedError, ConnectError, TokenError, UnwantedError)
    made = {each.__name__: each for each in plain}.get(name, FeedError)
    return made(what, where=where, advice=advice)

"""Lists of observers under several threads: each registration ends when its owner says so, and none is left behind."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aries_nb.live.callbacks import Callbacks
from aries_nb.model import Column, Observers
from aries_nb.store import GapLog, OrderBook, RollingFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    # What adds an observer, and what calls all of them.
    Watched: TypeAlias = tuple[Callable[[Callable[[], None]], Callable[[], None]], Callable[[], object]]

THREADS, TIMES = 4, 3_000


def of_a_rolling_frame() -> Watched:
    tape = RollingFrame((Column("price"),), ("AAPL",), limit=10)

    def change() -> None:
        tape.buffer.add(0, 1, (1.0,))
        tape.buffer.mark(1)
        tape.publish()

    return tape.watch, change


def of_a_book() -> Watched:
    book = OrderBook("AAPL")
    return book.watch, book.interrupted


def of_gaps() -> Watched:
    gaps = GapLog()
    return gaps.watch, lambda: gaps.opened("quotes", started=1, reason="a test")


def of_jobs() -> Watched:
    callbacks = Callbacks()

    def change() -> None:
        done = threading.Event()
        callbacks.add(done.set)  # jobs run in the order in which they came
        assert done.wait(30)
        callbacks.close()

    return callbacks.add, change


def of_the_list_itself() -> Watched:
    observers = Observers()
    return observers.add, observers.notify


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching_often")
@pytest.mark.parametrize("make", [of_a_rolling_frame, of_a_book, of_gaps, of_jobs, of_the_list_itself])
def test_four_threads_that_add_and_remove_leave_nothing_behind(
    make: Callable[[], Watched],
) -> None:
    watch, change = make()
    calls: list[int] = []
    begin, is_over = threading.Barrier(THREADS), time.monotonic() + 20

    def add_and_remove(number: int) -> None:
        begin.wait(30)
        for _ in range(TIMES):
            watch(lambda: calls.append(number))()
            if time.monotonic() > is_over:
                break

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(add_and_remove, range(THREADS)))
    calls.clear()
    change()

    assert calls == []


def test_observers_are_called_in_the_order_in_which_they_were_added() -> None:
    observers, calls = Observers(), []
    observers.add(lambda: calls.append("first"))
    observers.add(lambda: calls.append("second"))

    observers.notify()

    assert calls == ["first", "second"]


def test_each_registration_is_removed_by_its_own_function_however_often_it_is_called() -> None:
    observers, calls = Observers(), []
    callback = lambda: calls.append("called")  # noqa: E731
    remove = observers.add(callback)
    observers.add(callback)

    remove()
    remove()
    observers.notify()

    assert calls == ["called"]


def test_one_that_raises_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    observers, calls = Observers(), []

    def fail() -> None:
        raise ValueError("no")

    observers.add(fail)
    observers.add(lambda: calls.append("called"))

    observers.notify()

    assert calls == ["called"]
    assert caplog.messages == ["an observer raised"]


def test_a_callback_may_add_and_remove() -> None:
    observers, calls = Observers(), []

    def once() -> None:
        remove()
        observers.add(lambda: calls.append("added"))

    remove = observers.add(once)

    observers.notify()
    observers.notify()

    assert calls == ["added"]


def test_a_finalizer_may_remove_what_another_removal_lets_go_of() -> None:
    observers, calls = Observers(), []

    class Owner:
        def __init__(self) -> None:
            self.remove = observers.add(lambda: calls.append("called"))

        def __call__(self) -> None:
            pass

        def __del__(self) -> None:
            self.remove()

    remove = observers.add(Owner())

    remove()
    observers.notify()

    assert calls == []

"""Base classes of live objects (a store, the stream that fills it, the views of it), and the registry of open ones."""

from __future__ import annotations

import sys
import threading
import weakref
from abc import ABCMeta, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from weakref import WeakMethod, WeakSet, WeakValueDictionary

from aries_nb.errors import BoundToProcess, ClosedError, FeedError, WaitTimeoutError
from aries_nb.live.arguments import checked_count
from aries_nb.live.callbacks import Callbacks, News, Registrations
from aries_nb.live.connection import Link
from aries_nb.live.gaps import Gaps, GapSelection
from aries_nb.live.waiting import Watch, wait_for, wait_for_async
from aries_nb.model import Observers, RecordSink
from aries_nb.model.clock import elapsed
from aries_nb.net.connection_errors import enough_resources
from aries_nb.store import Gap, MessageCounts, OrderBook, RollingFrame, Table

if TYPE_CHECKING:
    import pandas as pd

    from aries_nb.live.moments.parts import Moment

__all__ = ["LiveObject", "LiveRegistry", "SessionViews", "StreamedObject", "browser_session"]

T = TypeVar("T")
LiveObjectT = TypeVar("LiveObjectT", bound="LiveObject")
FIRST_VIEW_SECONDS = 1.0


def browser_session() -> object:
    """Return an object for the browser session whose cell runs on this thread, None where a process has one kernel.

    marimo runs all sessions of an application in one process, and each shows only the models that it has opened.
    """
    marimo = sys.modules.get("marimo._runtime.context")
    context = None if marimo is None else marimo.safe_get_context()
    return None if context is None else context.stream


class SessionViews:
    """The views of a feed itself, one of each kind for each browser session. Any thread.

    They are held weakly: the painter holds those on display. After `close` they are shown without their widgets.
    """

    def __init__(self) -> None:
        self._views: WeakValueDictionary[object, Any] = WeakValueDictionary()
        self._is_closed = False

    def shown(self, kind: object, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - views are imported when they are shown
        """Return the open view of this kind in the present session, else the one that `make` returns now."""
        key = browser_session(), kind
        view = self._views.get(key)
        if view is None or view.is_closed:
            view = self._views[key] = make()
            if self._is_closed:
                view.close()
        return view

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def close(self) -> None:
        """Close all views; idempotent."""
        self._is_closed = True
        with ExitStack() as steps:  # an interrupt of one does not skip the others
            for view in list(self._views.values()):
                steps.callback(view.close)


class _Making(ABCMeta):
    """Notes of each live object that its constructor has returned: another thread may find it before."""

    def __call__(cls, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - those of any live object
        """Make a live object."""
        made = super().__call__(*given, **named)
        made._is_made = True  # noqa: SLF001 - a class of this module
        return made


class LiveObject(BoundToProcess, metaclass=_Making):
    """Base class of live objects: a store that is filled in the background until it is closed or garbage-collected.

    Any thread may read. A context manager: leaving the block closes the object. `watch` registers a function to be
    called after each change of the store, and returns one that ends the calls. `release` ends the stream; it must not
    refer to this object, which could never be garbage-collected then. `name` is shown in errors.
    """

    _is_made = False  # while its constructor runs

    def __init__(
        self, link: Link, callbacks: Callbacks, watch: Watch, name: str, *, release: Callable[[], None]
    ) -> None:
        self._link = link
        self._callbacks = callbacks
        self._registrations = Registrations(callbacks, name)
        self._name = name
        self._watches: tuple[Watch, ...] = (watch, link.watch)
        self._sources: WeakSet[object] = WeakSet()  # that views hold, and which refer to this object
        self._used_at = elapsed()
        self._views: WeakValueDictionary[object, Any] = WeakValueDictionary()  # the painter holds those on display
        # Rebinding the variable when a cell runs again must end the old subscription.
        self._release = weakref.finalize(self, release)
        self._release.atexit = False

    @property
    def is_open(self) -> bool:
        """Whether `close` has not been called."""
        return self._release.alive

    @property
    def is_live(self) -> bool:
        """Whether updates can arrive: the connection is live, this object is open and its streams were not given up."""
        return self.is_open and self._link.state == "live" and not self._is_given_up

    def on_update(self, callback: Callable[[pd.DataFrame], object]) -> Callable[[], None]:
        """Call `callback` with what is new as a DataFrame, on the callbacks' thread.

        Of quotes, trades and fills: the new rows in the columns of `df`; of tables: the new states of rows in the
        columns of `log`; of bars: the rows of `df` that are new or have changed; of a book or an option chain: `df`,
        after a change.

        Returns a function that ends the calls. A function that is registered again, as when its cell runs again,
        replaces itself; `close` removes it. A slow callback gets more at once and never slows the stream. Rows that
        have left a rolling window before it is called are missed, and their number is logged. A callback that raises is
        logged, and called again with what is new then. Raises ClosedError after `close`, UsageError for what is no
        function.
        """
        self._use()
        return self._registrations.add_news(callback, self._news(), self._watches[0])

    async def __aiter__(self) -> AsyncIterator[pd.DataFrame]:
        """Yield what is there as a DataFrame, then what is new each time, as `on_update` does; for `async for`.

        The event loop keeps running. Ends when this object or the feed is closed. Raises the error that ended the feed.
        """
        self._use()
        news = self._news(whole=True)
        found: list[pd.DataFrame] = []

        def is_done() -> bool:
            new = news()
            if new is not None:
                found.append(new)
                return True
            with suppress(ClosedError):
                self._check()
                return not self.is_open
            return True

        while True:
            # A list of thousands takes longer to become a DataFrame than the loop may be held up.
            await wait_for_async(is_done, self._watches, timeout=None, what=self._name, on_thread=True)
            if not found:
                return
            yield found.pop()

    def close(self) -> None:
        """Stop the stream, the callbacks and the views; idempotent. Data received so far stays readable."""
        self._registrations.close()
        self._release()
        for view in list(self._views.values()):
            view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        if not self._count() and self.is_live:
            with suppress(WaitTimeoutError):  # nothing has arrived: the view is empty
                self._wait(1, "rows", timeout=FIRST_VIEW_SECONDS, what=self._name)
        bundle: dict[str, Any] = self._first_view()._repr_mimebundle_(include, exclude)
        return bundle

    @property
    def _is_refused(self) -> bool:
        """Whether this object is empty because the server refused its subscription after the call that made it."""
        return False

    def _captured(self, moment: Moment) -> Any:  # noqa: ANN401, ARG002 - a part of a snapshot
        """Return what a snapshot of this moment has of this object, None for nothing; a hook.

        It must be quick, and what it returns must never change. The network's thread.
        """
        return None

    @abstractmethod
    def _count(self) -> int:
        """Return the number of rows, updates or bars that have arrived so far; a hook that each subclass implements.

        `wait` compares it with the number that it waits for. Any thread.
        """

    @abstractmethod
    def _news(self, *, whole: bool = False) -> News:
        """Return a function that returns what is new since its last call, None for nothing; a hook of each subclass.

        The first call returns what is new since now, with `whole` also what is there already.
        """

    @abstractmethod
    def _first_view(self) -> Any:  # noqa: ANN401 - views are imported when they are shown
        """Return the view that a cell shows for this object, a new one or the open one.

        A hook that each subclass implements; it is called on the thread that runs the cells.
        """

    def _check(self) -> None:
        """Raise the error that ended the connection for good, or ClosedError if it was closed; else return."""
        self._link.check()

    @property
    def _state(self) -> str:
        if self._is_given_up:
            return "given up"
        return self._link.state if self.is_open else "closed"

    @property
    def _parts(self) -> tuple[LiveObject, ...]:
        """The live objects that belong to this one; a hook."""
        return ()

    @property
    def _uses(self) -> tuple[LiveObject, ...]:
        """The live objects that this one holds, which others may hold as well; a hook. `_parts` by default."""
        return self._parts

    def _references_to(self, part: LiveObject) -> int:  # noqa: ARG002
        """Return how many references this object and its sources have to one of `_parts`; a hook."""
        return 0

    @property
    def _stores(self) -> tuple[RecordSink, ...]:
        """The stores whose streams end while this object is not used; a hook. () for an object that keeps them."""
        return ()

    @property
    def _is_given_up(self) -> bool:
        return any(self._link.is_given_up(store) for store in self._stores)

    def _use(self) -> None:
        """Note that this object is used now; streams that were given up begin again, without waiting for the server.

        What is read to call a user's function is no use, so that an obsolete function does not keep its frame.
        """
        self._link.settle()
        is_given_up = self._is_given_up
        if is_given_up or not self._callbacks.is_current():
            self._used_at = elapsed()
        if is_given_up:
            for store in self._stores:
                self._link.take_up(store)

    def _give_up(self, reason: str) -> None:
        """End the streams until this object is used; a gap with `reason` begins. The network's thread only."""
        for store in self._stores:
            self._link.give_up(store, reason)

    def _wait(self, count: int, counted: str, *, timeout: float | None, what: str) -> Self:
        """Block until `count` have arrived; `counted` names the argument of the caller, which is checked here."""
        has_enough = self._has(checked_count(count, counted, counted))
        self._use()
        wait_for(has_enough, self._watches, timeout=timeout, what=what)
        return self

    async def _until(self, count: int, counted: str, *, timeout: float | None, what: str) -> Self:
        has_enough = self._has(checked_count(count, counted, counted))
        self._use()
        await wait_for_async(has_enough, self._watches, timeout=timeout, what=what)
        return self

    def _has(self, count: int) -> Callable[[], bool]:
        def is_done() -> bool:
            if self._count() >= count:
                return True
            self._check()
            if not self.is_open:
                raise ClosedError(f"{self._name} is closed", advice="Ask the feed for it again.")
            return False

        return is_done

    def _view(self, key: object, make: Callable[[], T]) -> T:
        """Return the open view with this key, else the one that `make` returns now, and keep it.

        It is kept by a weak reference, so that it can be garbage-collected once it is not on display. With it, a cell
        that runs again shows its view again. Raises FeedError where this object is closed.
        """
        key = browser_session(), key
        view: Any = self._views.get(key)
        if view is None or view.is_closed:
            if not self.is_open:
                raise FeedError(f"{self._name} is closed", advice="Ask the feed for it again.")
            view = self._views[key] = make()
            view.when_used = WeakMethod(self._use)
            view.shown = self._link.arrivals.shown
        self._use()
        return cast("T", view)


class StreamedObject(LiveObject):
    """Base class of live objects that subscriptions fill: adds message counts, gaps and callbacks for gaps.

    `store` is what the stream fills, `release` ends that stream and must not refer to this object, `name` is shown in
    errors. `gaps` are its interruptions, None for those of the streams that fill the store.
    """

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        store: RollingFrame | OrderBook | Table,
        name: str,
        *,
        release: Callable[[], None],
        gaps: GapSelection | None = None,
    ) -> None:
        super().__init__(link, callbacks, store.watch, name, release=release)
        self._store = store
        self._gap_selection = link.gaps_of(store) if gaps is None else gaps
        self._gaps = Gaps(self._gap_selection)

    @property
    def _stores(self) -> tuple[RecordSink, ...]:
        return (self._store,)

    def _give_up(self, reason: str) -> None:
        for store in self._stores:
            gap = self._link.give_up(store, reason)
            if gap is not None and store is self._store:
                self._gap_selection.add(gap)

    @property
    def ledger(self) -> MessageCounts:
        """Counts of the stream's messages by outcome.

        received + filled = visible + evicted + conflated + duplicated + rowless + unreadable + corrected; see
        docs/ledger.md.
        """
        return self._store.message_counts()

    @property
    def gaps(self) -> Gaps:
        """The interruptions of this object's symbols since it was made; `.df` has one row each."""
        return self._gaps

    def on_gap(self, callback: Callable[[Gap], object]) -> Callable[[], None]:
        """Call `callback` with each gap when it begins, when it ends and when it is filled, on the callbacks' thread.

        Returns a function that ends the calls. A function that is registered again, as when its cell runs again,
        replaces itself; `close` removes it. Raises ClosedError after `close`, UsageError for what is no function.
        """
        return self._gap_selection.on_gap(self._registrations, callback)

    def close(self) -> None:
        """Stop the stream, the callbacks and the views; idempotent. Data received so far stays readable."""
        self._gap_selection.close()
        super().close()


class LiveRegistry:
    """Weak references to the open frames, books, bars and chains of a feed, by the arguments they were made for.

    `check` is called before one is made, and raises where that is impossible. Any thread.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._objects: WeakValueDictionary[object, LiveObject] = WeakValueDictionary()
        self._locks: WeakValueDictionary[object, threading.RLock] = WeakValueDictionary()
        self._observers = Observers()
        self._is_closed = False
        # Locked only to look up and to write: making an object may wait for the network, and must not block others.
        self._guard = threading.RLock()

    def same(self, key: object, make: Callable[[], LiveObjectT]) -> LiveObjectT:
        """Return the open object with this key, else the one that `make` returns now, and register it.

        An object whose subscription the server has refused is made anew. Simultaneous callers with one key get one
        object; callers with another key do not wait. Raises the errors of `make`, and ClosedError where the feed is
        closed.
        """
        with self._guard:
            lock = self._locks.setdefault(key, threading.RLock())
        with lock:
            self._check()
            live = self._objects.get(key)
            if live is not None and live._is_refused:  # noqa: SLF001 - a class of this module
                live.close()  # it stays empty: the server is asked again, as rights may have changed
            if live is None or not live.is_open:
                with enough_resources("making a live object"):
                    live = make()
                with self._guard:
                    is_late = self._is_closed
                    self._objects[key] = live
                if is_late:  # it would outlive the feed
                    live.close()
                    self._check()
                self._observers.notify()
            live._use()  # noqa: SLF001
            return cast("LiveObjectT", live)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each object that is made, on the thread that made it; it must return at once.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    def open_objects(self) -> list[LiveObject]:
        """Return the registered objects that are open."""
        with self._guard:
            every = list(self._objects.values())
        return [live for live in every if live.is_open]

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the open frames, in the order in which they were made."""
        return tuple(dict.fromkeys(each for live in self.open_objects() for each in getattr(live, "symbols", ())))

    def close(self) -> None:
        """Close all registered objects; one that is being made is closed when it is ready."""
        with self._guard:
            self._is_closed = True
            every = list(self._objects.values())
        with ExitStack() as steps:  # an interrupt of one does not skip the others
            for live in every:
                steps.callback(live.close)

"""`DerivedFrame`: a live frame that is computed from others, in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.derived.plan import Plan
from aries_nb.live.derived.worker import SLOW_SECONDS, Job
from aries_nb.live.live_object import LiveObject, StreamedObject
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.market.frame_views import FrameSource
from aries_nb.live.staleness import Staleness
from aries_nb.model import BoardData
from aries_nb.net.background import Background
from aries_nb.store import MessageCounts
from aries_nb.store.derived.computed import ComputedFrame
from aries_nb.store.derived.reader import RowReader
from aries_nb.store.derived.windows import GapStart

__all__ = ["DerivedCounts", "DerivedFrame"]

SHOWN_CHARACTERS = 200
_deriving = threading.local()  # `is_on` while this thread computes a frame


class DerivedCounts(MessageCounts):
    """The counts of a derived frame's rows, and what it came of: `sources`, `missed`, `gaps`, `errors`.

    A row counts as received where it is computed for the first time, as filled where it is written again because a
    later row changed it. `sources` has the counts of each frame that it is computed from, by its name. `missed` rows of
    these had left their window before they could be read, or came too late for any. `gaps` of their streams were not
    filled. `errors` rows have missing values because a function raised.
    """

    sources: dict[str, MessageCounts]
    missed: int
    gaps: int
    errors: int

    def __repr__(self) -> str:
        lacks = f"missed={self.missed}, gaps={self.gaps}, errors={self.errors}"
        return f"{super().__repr__()[:-1]}, {lacks}, sources={list(self.sources)})"


class DerivedFrame(LiveFrame):
    """A live frame whose rows are computed from those of others, on a thread of their own, up to 20 times a second.

    A reader first has computed what is pending, so that it sees no older rows than those of the sources. It is closed
    with any of its sources, and keeps them from being garbage-collected. Its window is as long as that of the first
    source, in rows of its own.
    """

    def __init__(self, sources: Sequence[LiveFrame], plan: Plan) -> None:
        first = sources[0]
        self._of = tuple(sources)
        self._plan = plan
        self._machine = machine = plan.machine
        self.kind = plan.kind or first.kind
        self.symbols = tuple(machine.symbols)
        self._derived_by = type(self)
        self._alerts = first._alerts
        window = plan.window or first._tape.window
        by_time = first._tape._are_events if plan.is_by_time is None else plan.is_by_time
        clock = first._link.clock.now_ns
        tape = ComputedFrame(machine.columns, self.symbols, is_by_time=by_time, clock=clock, **window)
        self._tape: ComputedFrame = tape
        self._guard = threading.RLock()  # of all that is computed
        self._readers = [RowReader(each._tape, is_from_now=plan.is_from_now) for each in sources]
        self._complete = 0
        self._missed = 0
        self._accept_derivations()
        self._is_ended = False  # by an error of the machine: nothing more is computed
        self.error: Exception | None = None
        self._job = Job(self._advance, [job for each in sources for job in each._jobs])
        undo = [each._tape.watch(self._job.wake) for each in sources]
        StreamedObject.__init__(
            self, first._link, first._callbacks, tape, plan.name, release=partial(_call_all, undo),
            gaps=first._gap_selection.again(),
        )  # fmt: skip
        self._staleness = Staleness(tape, self._link, self._gap_selection)
        self._reported: set[str] = set()
        for each in sources:
            each._dependents.add(self)
        self._advance()
        self._job.wake()

    @property
    def ledger(self) -> DerivedCounts:
        """Counts of this frame's rows by outcome, with those of the frames that it is computed from, as `sources`.

        See docs/derived.md.
        """
        self._catch_up()
        counts = DerivedCounts(*self._tape.message_counts())
        counts.sources = {each._name: each.ledger for each in self._of}
        counts.missed = self._missed + getattr(self._machine, "late", 0)
        counts.gaps = sum(not gap.filled for gap in self._gap_selection.all())
        counts.errors = getattr(self._machine, "errors", 0)
        return counts

    @property
    def received(self) -> int:
        """The number of rows since the frame was made, those that have left the window included."""
        self._catch_up()
        return super().received

    def __len__(self) -> int:
        self._catch_up()
        return super().__len__()

    def __repr__(self) -> str:
        problem = self._problem()
        return super().__repr__() if not problem else f"{super().__repr__()[:-1]}, {problem}>"

    # Inside.

    @property
    def _jobs(self) -> tuple[Job, ...]:
        return (self._job,)

    @property
    def _title(self) -> str:
        return self._plan.name

    @property
    def _is_computed(self) -> bool:
        return True

    @property
    def _shown(self) -> tuple[str, ...]:
        return self._plan.shown

    @property
    def _uses(self) -> tuple[LiveObject, ...]:
        return self._of

    @property
    def _stores(self) -> tuple[()]:
        return ()

    @property
    def _is_given_up(self) -> bool:
        return any(each._is_given_up for each in self._of)

    @property
    def _is_refused(self) -> bool:
        return not self._tape.version and any(each._is_refused for each in self._of)

    def _refused(self) -> dict[str, str]:
        refused: dict[str, str] = {}
        for each in self._of:
            refused |= {symbol: why for symbol, why in each._refused().items() if symbol in self.symbols}
        return refused

    def _make_source(self) -> FrameSource:
        return DerivedSource(self, self._tape, self._link, self._staleness, self._gap_selection)

    def _use(self) -> None:
        for each in self._of:
            each._use()
        super()._use()
        self._catch_up()

    def _check(self) -> None:
        if not self.is_open:
            closed = [each._name for each in self._of if not each.is_open]
            because = f", as {closed[0]}, which it is computed from, is closed" if closed else ""
            raise ClosedError(f"{self._name} is closed{because}", advice="Ask the feed for it again.")
        ended = self._ended()
        if ended is not None:
            what = f"{ended._name} has stopped: {ended.error}"
            raise UsageError(what, advice="Make it anew with another function.") from ended.error
        super()._check()

    @property
    def is_live(self) -> bool:
        """Whether rows can come: those of the sources do, this is open, and no error ended the computation."""
        return super().is_live and self._ended() is None

    @property
    def _state(self) -> str:
        return "stopped" if self.is_open and self._ended() is not None else super()._state

    def _ended(self) -> DerivedFrame | None:
        """Return which frame an error has ended, so that no more rows come here: this one or one of its sources."""
        sources = (each._ended() for each in self._of if isinstance(each, DerivedFrame))
        return self if self._is_ended else next(filter(None, sources), None)

    def _check_coming(self) -> None:
        self._use()
        if not self._tape.version:
            for each in self._of:
                each._check_coming()

    def _catch_up(self) -> None:
        """Compute what is pending. Not on the network's thread, nor in a function that is computed itself."""
        if getattr(_deriving, "is_on", False) or Background.shared().is_current():
            return
        self._compute_pending()

    def _compute_pending(self) -> None:
        for each in self._of:
            if isinstance(each, DerivedFrame):
                each._compute_pending()
        with self._guard:  # rows that were read are written before it is free
            is_done = self._is_done
        if not is_done:
            self._advance()

    def _advance(self) -> None:
        """Compute the rows that the sources' new rows make, and call the observers."""
        is_changed = False
        with self._guard:
            if not self._is_ended:
                before, _deriving.is_on = getattr(_deriving, "is_on", False), True
                try:
                    is_changed = self._computed()
                except Exception as error:  # the border to the user's functions
                    self.error = error
                    self._is_ended = True
                    is_changed = True
                finally:
                    _deriving.is_on = before
        if is_changed:
            self._tape.notify()
        self._report()

    def _computed(self) -> bool:
        is_restarted = self._is_restarted
        if is_restarted:
            for reader in self._readers:
                reader.restart()
            self._machine.restart()
            self._tape.restart()
        self._complete = complete = min(each._complete_until() for each in self._of)
        # All rows up to this one are there, of each source, so that the order of arrival does not depend on passes.
        is_of_one_feed = len({id(each._link.arrivals) for each in self._of}) == 1
        until = complete if len(self._of) > 1 and is_of_one_feed else None
        new = [reader.take(until) for reader in self._readers]
        if not any(new):
            return is_restarted
        self._missed += sum(piece.missed for pieces in new for piece in pieces)
        rows = self._machine.advance(new)
        self.error = getattr(self._machine, "error", None)
        if rows is not None:
            self._tape.append(rows)
        return is_restarted or rows is not None

    def _complete_until(self) -> int:
        complete = min(each._complete_until() for each in self._of)
        with self._guard:
            if self._is_restarted:
                return 0  # a replay has begun anew, and the rows here are of before
            return complete if self._is_done else self._complete

    @property
    def _is_restarted(self) -> bool:
        return any(reader.is_restarted for reader in self._readers)

    @property
    def _is_done(self) -> bool:
        """Whether nothing is left to be computed; with `_guard` held."""
        return all(reader.is_done and not reader.is_restarted for reader in self._readers)

    def _gap_starts(self) -> list[GapStart]:
        own, found = set(self.symbols), []
        for each in self._of:
            is_renamed = not own & set(each.symbols)  # then a gap of any symbol concerns all here
            for begin, symbol in each._gap_starts():
                if is_renamed or not symbol or symbol in own:
                    found.append((begin, "" if is_renamed else symbol))
        return found

    def _problem(self) -> str:
        """Return in a few words what is wrong with the computation; "" where nothing is."""
        if self.error is not None:
            text = f"{type(self.error).__name__}: {self.error}"
            return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
        running = self._job.running_seconds
        if running > SLOW_SECONDS:
            return f"slow: computing for {running:.1f} s"
        return f"slow: {self._job.seconds:.1f} s a computation, done less often" if self._job.is_slow else ""

    def _report(self) -> None:
        problem = self._problem()
        kind = problem.partition(":")[0]
        if problem and kind not in self._reported:
            self._reported.add(kind)
            self._callbacks.report(f"{self._name}: {problem}")


def _call_all(functions: Sequence[Callable[[], None]]) -> None:
    for each in functions:
        each()


class DerivedSource(FrameSource):
    """The data of a derived frame for views, with what is wrong with its computation."""

    _frame: DerivedFrame

    def board(self) -> BoardData:
        """Return the newest numbers of each symbol, and what is wrong with the computation as the market's state."""
        data = super().board()
        problem = self._frame._problem()
        return replace(data, market=problem) if problem else data

    def trading_state(self) -> str:
        """Return in a few words what is wrong with the computation, else what does not trade as usual."""
        return self._frame._problem() or super().trading_state()

"""`derive`: any function of live frames, computed at instants of market time."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_span_us
from aries_nb.live.derived.frame import DerivedFrame
from aries_nb.live.derived.plan import Plan, check_names, function_key
from aries_nb.live.market.frame import LiveFrame
from aries_nb.model import Column, TableData
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.store import RollingFrame
from aries_nb.store.derived.rows import DerivedRows, NewRows
from aries_nb.store.past.frames import CapturedFrame, FrozenFrame

if TYPE_CHECKING:
    from aries_nb.widgets import Blotter

__all__ = ["InstantsFrame", "derive"]

MOST_PENDING = 100  # instants of a live feed that wait; of more the oldest are left out
ROWS_KEPT = 100_000
FIRST_SECONDS = 10.0


def derive(function: Callable[..., object], *sources: LiveFrame, every: str = "500ms") -> LiveFrame:
    """Return a live frame of what `function` returns for the DataFrames of `sources`, computed at instants.

    `anb.derive(lambda q, t: t.price.iloc[-1] - q.bid_price.iloc[-1], quotes, trades, every="500ms").chart()`. The
    instants are the multiples of `every` in market time. The function gets `df` of each source as it was then, on a
    thread of its own, and a replay gives the same rows. A number or a Series of numbers becomes one row at the instant,
    in the column `value` or one for each label; None makes none. A DataFrame replaces `latest` and `df`. Where it
    raises, the row has missing values and `error` says why; a function that is too slow gets fewer instants, `repr`
    says so, and `ledger.missed` counts those left out. It is called once here, to know what it returns.

    Raises UsageError without a source, for sources of several feeds, for an invalid span, where the function raises
    for the rows that are there, and for what is no result.
    """
    if not callable(function):
        raise UsageError(
            f"{type(function).__name__} is no function", advice="Pass one: anb.derive(lambda q: …, quotes)."
        )
    if not sources or not all(isinstance(each, LiveFrame) for each in sources):
        raise UsageError("derive needs live frames", advice="Pass those of feed.quotes or feed.trades.")
    if len({id(each._link.arrivals) for each in sources}) > 1:
        raise UsageError("the frames are of several feeds", advice="Each feed has instants of its own: take one.")
    span = checked_span_us(every, "every") * 1_000
    key = "derive", function_key(function), span, tuple(map(id, sources))
    return sources[0]._derivations.same(key, lambda: InstantsFrame(sources, function, span, every))


class _Result(NamedTuple):
    """What the function returned: `values` by column, or a DataFrame; neither for None."""

    values: Mapping[str, float] | None
    frame: pd.DataFrame | None


class _Nothing:
    """The machine of a frame that is not computed row by row."""

    def __init__(self, columns: Sequence[Column], symbol: str) -> None:
        self.columns = tuple(columns)
        self.symbols = (symbol,)
        self.errors = self.late = 0

    def advance(self, new: Sequence[Sequence[NewRows]]) -> DerivedRows | None:  # noqa: ARG002 - as of every machine
        return None

    def restart(self) -> None:
        self.errors = self.late = 0


class InstantsFrame(DerivedFrame):
    """A live frame with a row for each instant, computed by a function of what its sources held then."""

    def __init__(
        self, sources: Sequence[LiveFrame], function: Callable[..., object], every_ns: int, every: str
    ) -> None:
        self._function = function
        self._newest: pd.DataFrame | None = None
        first = sources[0]._link
        for each in () if first.is_on_a_loop else sources:
            each.wait(rows=1, timeout=FIRST_SECONDS)
        try:
            result = _result(function(*(each.df for each in sources)))
        except Exception as error:  # the border to the user's code
            what = f"the function raised {type(error).__name__}: {error}"
            raise UsageError(what, advice="Try it on `.df` of the frames.") from error
        self._is_table = result.frame is not None
        if result.frame is not None:
            self._newest = result.frame
        check_names(result.values or ())
        columns = [Column(name) for name in result.values or ({} if self._is_table else {"value": 0.0})]
        name = getattr(function, "__name__", "derived")
        self._label = "derived" if name == "<lambda>" else name
        tapes = [None if isinstance(each, DerivedFrame) else each._tape for each in sources]
        self._instants = instants = _Instants(first.arrivals, tapes, every_ns)
        self._restarts = 0
        shown = tuple(column.name for column in columns)
        plan = Plan(
            _Nothing(columns, self._label),
            f"{self._label} of {', '.join(each._name for each in sources)} every {every}",
            kind="quotes",
            shown=shown,
            window={"limit": ROWS_KEPT, "window_ns": None},
            is_by_time=False,
        )
        super().__init__(sources, plan)
        self._readers = []  # no row is read
        instants.wake = self._job.wake
        instants.start(_roots(sources))
        weakref.finalize(self, instants.close).atexit = False

    @property
    def df(self) -> pd.DataFrame:
        """One row an instant, oldest first; or the newest DataFrame that the function returned."""
        self._check_coming()
        return self._newest.copy() if self._newest is not None else super().df

    @property
    def latest(self) -> pd.DataFrame:
        """The newest row, index `symbol`; or the newest DataFrame that the function returned."""
        self._check_coming()
        return self._newest.copy() if self._newest is not None else super().latest

    def close(self) -> None:
        """Stop the computation, the callbacks and the views; idempotent. The sources stay open."""
        self._instants.close()
        super().close()

    # Inside.

    @property
    def _is_restarted(self) -> bool:
        return self._restarts != self._instants.restarts

    @property
    def _is_done(self) -> bool:
        return not self._instants.pending and not self._is_restarted

    def _computed(self) -> bool:
        instants, machine = self._instants, self._machine
        is_changed = False
        if self._is_restarted:
            self._restarts = instants.restarts
            self._tape.restart()
            machine.restart()
            is_changed = True
        self._complete = min(each._complete_until() for each in self._of)
        rows: list[tuple[int, int, Mapping[str, float]]] = []
        for _ in range(1 if self._job_is_slow else len(instants.pending)):
            if not instants.pending:
                break
            at, seq, captured = instants.pending.popleft()
            frames = [self._frame_at(place, each, at) for place, each in enumerate(captured)]
            try:
                result = _result(self._function(*frames))
                self.error = None
            except Exception as error:  # the border to the user's code
                self.error = error
                machine.errors += 1  # type: ignore[attr-defined]
                result = _Result({}, None)
            if result.frame is not None:
                self._newest, is_changed = result.frame, True
            if result.values is not None and not self._is_table:
                rows.append((at // 1_000, seq, result.values))
        machine.late = instants.missed  # type: ignore[attr-defined]
        if instants.pending:
            self._job.wake()
        if rows:
            self._tape.append(self._rows(rows))
        return is_changed or bool(rows)

    @property
    def _job_is_slow(self) -> bool:
        return self._job.is_slow and not self._link.arrivals.is_replay

    def _frame_at(self, place: int, captured: CapturedFrame | None, at: int) -> pd.DataFrame:
        if captured is not None:
            return FrozenFrame(captured).frame()
        source = self._of[place]
        assert isinstance(source, DerivedFrame)
        source._compute_pending()
        with source._guard:
            return FrozenFrame(CapturedFrame.of(source._tape), at).frame()

    def _rows(self, rows: Sequence[tuple[int, int, Mapping[str, float]]]) -> DerivedRows:
        times = np.array([at for at, *_ in rows], "int64")
        seq = np.array([seq for _, seq, _ in rows], "int64")
        columns = [
            np.array([values.get(column.name, math.nan) for *_, values in rows], "float64")
            for column in self._machine.columns
        ]
        return DerivedRows(times, times, seq, np.zeros(len(rows), "int8"), columns)

    def _first_view(self) -> Any:  # noqa: ANN401 - of the kind that the result has
        if not self._is_table:
            return super()._first_view()
        from aries_nb.widgets import Blotter

        source = _TableOfFrame(self)
        self._sources.add(source)
        view: Blotter = self._view("table", lambda: Blotter(source))
        return view


class _Instants:
    """Takes what the sources hold at each instant, on the network's thread; it refers to no live object.

    `tapes` has None for a source that is computed itself: its rows are cut by their receipt later.
    """

    def __init__(self, arrivals: Arrivals, tapes: Sequence[RollingFrame | None], every_ns: int) -> None:
        self._arrivals = arrivals
        self._tapes = tapes
        self._every = every_ns
        self.pending: deque[tuple[int, int, list[CapturedFrame | None]]] = deque()
        self.missed = 0
        self.restarts = 0
        self.wake: Callable[[], None] = lambda: None
        self._cancel: Callable[[], None] | None = None
        self._watched: Sequence[RollingFrame] = ()
        self._origins: list[int] = []  # of these
        self._is_anew = False
        self._is_closed = False
        self._undo: list[Callable[[], None]] = []

    def start(self, watched: Iterable[RollingFrame]) -> None:
        """Begin with the next instant, of a replay with the one after the next rows of `watched`. Any thread.

        These are frames of streams, which call their watchers on the network's thread.
        """
        self._watched = tuple(watched)
        self._origins = [each.origin for each in self._watched]
        self._undo = [each.watch(self._begin) for each in self._watched]
        self._undo.append(self._arrivals.restarted.add(self._restart))
        self._undo.append(self._arrivals.timer.went_back.add(self._look_again))
        # A replay begins anew, and comes back to here: it has had instants already.
        self._arrivals.soon(self._arrivals.on_late if self._arrivals.is_replay else self._begin)

    def close(self) -> None:
        """End the instants; idempotent. Any thread."""
        self._is_closed = True
        for undo in self._undo:
            undo()
        if self._cancel is not None:
            self._cancel()

    def _begin(self) -> None:
        origins = [each.origin for each in self._watched]
        if origins != self._origins and not self._arrivals.is_replay:  # the frames of a room whose replay went back
            self._restart()
            self._is_anew = True
        self._origins = origins
        if self._cancel is None and not self._is_closed:
            now = self._arrivals.now
            self._cancel = self._arrivals.timer.at((now // self._every + 1) * self._every, self._take)

    def _look_again(self) -> None:
        """Begin again where market time went back behind rows that began anew."""
        if self._is_anew and self._cancel is not None:
            self._cancel()
            self._cancel = None
            self._begin()

    def _restart(self) -> None:
        if self._cancel is not None:
            self._cancel()
        self._cancel = None
        self.pending.clear()
        self.missed = 0
        self.restarts += 1
        self.wake()

    def _take(self, at: int) -> None:
        if self._is_closed:
            return
        self._is_anew = False
        captured = [None if tape is None else CapturedFrame.of(tape) for tape in self._tapes]
        self.pending.append((at, self._arrivals.next - 1, captured))
        if len(self.pending) > MOST_PENDING and not self._arrivals.is_replay:
            self.pending.popleft()
            self.missed += 1
        self._cancel = self._arrivals.timer.at(at + self._every, self._take)
        self.wake()


class _TableOfFrame:
    """The newest DataFrame of a function as a table for a view. Any thread."""

    def __init__(self, live: InstantsFrame) -> None:
        self._live = live

    @property
    def version(self) -> int:
        """A number that changes with every DataFrame, and with the state of the feed."""
        return 2 * id(self._live._newest) + (not self._live.is_live)

    def table(self) -> TableData:
        """Return its rows; the index is the first column where it has a name."""
        found = self._live._newest
        assert found is not None
        frame = found.reset_index() if found.index.name is not None else found
        types = pd.api.types
        numbers = {
            name: types.is_numeric_dtype(frame[name]) and not types.is_complex_dtype(frame[name]) for name in frame
        }
        columns = tuple(Column(str(name), "number" if numbers[name] else "text") for name in frame)
        values = [
            frame[name].astype("float64").tolist() if numbers[name] else frame[name].astype("str").tolist()
            for name in frame
        ]
        rows: Any = tuple(zip(*values, strict=True))
        return TableData(self._live._label, columns, rows, key=(), is_stale=not self._live.is_live)


def _roots(sources: Iterable[LiveFrame]) -> set[RollingFrame]:
    """Return the rows of the streams that frames are computed from, however many frames are between."""
    return {
        tape for each in sources for tape in (_roots(each._of) if isinstance(each, DerivedFrame) else (each._tape,))
    }


def _result(value: object) -> _Result:
    """Return what a function returned, as values or a DataFrame. Raises TypeError for what is neither."""
    if value is None or isinstance(value, pd.DataFrame):
        return _Result(None, value)
    if isinstance(value, pd.Series | Mapping):
        return _Result({str(name): _float(each) for name, each in value.items()}, None)
    if isinstance(value, Real | np.bool_):
        return _Result({"value": float(value)}, None)
    if value is pd.NA or value is pd.NaT:
        return _Result({"value": math.nan}, None)
    raise TypeError(f"{type(value).__name__} is no number, Series or DataFrame")


def _float(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, complex | np.complexfloating):  # of numpy's `float` would drop the imaginary part
        raise TypeError("complex numbers are no column of a live frame")
    return float(value)

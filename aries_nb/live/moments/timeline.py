"""`Timeline`: moves the views of a feed to a past moment, and back to what is new."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pandas as pd

from aries_nb.errors import BoundToProcess, ClosedError, UsageError
from aries_nb.live.arguments import checked_span_ns
from aries_nb.live.live_object import SessionViews
from aries_nb.live.moments.clock import PlaybackMarks, checked_speed, past_instant
from aries_nb.live.moments.parts import exact_clock, exact_clocks
from aries_nb.model import PlaybackData, PlaybackMove
from aries_nb.model.clock import elapsed
from aries_nb.net.background import on_network, on_network_later
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.replay_clock import MAX_SPEED

__all__ = ["Timeline"]

STEP_S = 0.1  # between two moments while the past plays
LIVE_NS = 200_000_000  # a moment closer to now is now
REDRAWN_HZ = 4
MOVES_SHIFT = 40


class Timeline(BoundToProcess):
    """The time of a feed's views: they show what is new, or what was at `now`, as far as that is in memory.

    What is received goes on, and so do frames, callbacks and recordings: only views stand. `feed.at(timeline.now)` has
    the same as data. In a cell it shows a transport bar, which does the same. Any thread.
    """

    def __init__(
        self, arrivals: Arrivals, views: SessionViews, marks: PlaybackMarks, held_from: Callable[[], int | None]
    ) -> None:
        self._arrivals = arrivals
        self._views = views
        self._source = _TimelineSource(arrivals, marks, held_from)

    @property
    def now(self) -> pd.Timestamp:
        """The moment that the views show, UTC; the market time where they show what is new."""
        at = self._arrivals.shown.at
        return pd.Timestamp((self._source.now_ns() if at is None else at) // 1_000, unit="us", tz="UTC")

    @property
    def is_live(self) -> bool:
        """Whether the views show what is new."""
        return self._arrivals.shown.at is None

    def seek(self, instant: object) -> None:
        """Have the views show a past moment: a time such as "14:31:07.5" on the clock's day, or a Timestamp.

        Raises UsageError for what is no time, for one that has not come, and for one of which nothing is in memory.
        As all that move the views, ClosedError once the feed is closed.
        """
        self._check()
        now, first = self._source.now_ns(), self._source.first()
        wanted = past_instant(instant, now)
        if not first // 1_000 <= wanted // 1_000 <= now // 1_000:
            oldest, newest, _ = exact_clocks(first, now, wanted)
            reach = f"In memory is what came from {oldest} to {newest}."
            raise UsageError(f"{instant} is outside of what is held", advice=reach)
        self._source.stand(wanted)

    def pause(self) -> None:
        """Have the views stand at the moment that they show."""
        self._check()
        self._source.stand(self._source.shown_ns())

    def play(self, speed: float | str | None = None) -> None:
        """Have views of a past moment go on from there, `speed` times as fast; None as before, "max" to what is new."""
        self._check()
        self._source.play(None if speed is None else checked_speed(speed))

    def step(self, span: str = "1s") -> None:
        """Have the views show a moment that is later by a span such as "1s", and stand there."""
        self._check()
        self._source.stand(self._source.shown_ns() + checked_span_ns(span, "span"))

    def live(self) -> None:
        """Have the views show what is new again."""
        self._check()
        self._source.live()

    def _check(self) -> None:
        if self._views.is_closed:
            raise ClosedError("the feed is closed", advice="Connect again.")

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        from aries_nb.widgets import PlaybackBar

        bar = self._views.shown("timeline", lambda: PlaybackBar(self._source))
        bundle: dict[str, Any] = bar._repr_mimebundle_(include, exclude)
        return bundle

    def __repr__(self) -> str:
        state = "live" if self.is_live else f"views stand at {exact_clock(self._source.shown_ns())}"
        return f"<timeline: {state}, held from {exact_clock(self._source.first())} on>"


class _TimelineSource:
    """The data of the bar, and what moves the views: only numbers are set, which the painter follows. Any thread."""

    def __init__(self, arrivals: Arrivals, marks: PlaybackMarks, held_from: Callable[[], int | None]) -> None:
        self._arrivals = arrivals
        self._shown = arrivals.shown
        self._marks = marks
        self._held_from = held_from
        self._speed = 1.0
        self._playing: tuple[int, float] | None = None  # the moment and the time at which it began
        self._moves = 0
        self._first = (-1.0, 0)

    @property
    def version(self) -> int:
        """A number that grows with every move, and with the time."""
        return ((self._moves + self._shown.number) << MOVES_SHIFT) + int(elapsed() * REDRAWN_HZ)

    def now_ns(self) -> int:
        """Return the market time."""
        return self._arrivals.clock.now_ns()

    def shown_ns(self) -> int:
        """Return the moment that the views show."""
        at = self._shown.at
        return self.now_ns() if at is None else at

    def first(self) -> int:
        """Return from when on anything is in memory; looked up once a second."""
        looked_at, first = self._first
        if elapsed() - looked_at >= 1.0 or looked_at < 0:
            now = self.now_ns()
            first = min(self._held_from() or now, now)
            self._first = elapsed(), first
        return first

    def playback(self) -> PlaybackData:
        """Return where the views are, how fast they go on, and what is marked on the time axis."""
        now, at = self.now_ns(), self._shown.at
        return PlaybackData(
            now=now if at is None else at,
            first=min(self.first(), now if at is None else at),
            last=now,
            speed=self._speed,
            is_playing=at is None or self._playing is not None,
            is_over=False,
            is_moving=False,
            marks=tuple(mark for mark in self._marks.marks() if mark.ended is None or mark.ended >= self.first()),
            is_live=at is None,
        )

    def move(self, request: PlaybackMove, done: Callable[[], None]) -> None:
        """Carry out what the user asks for, and return at once; a time outside of what is held is its first or last."""
        what, value = request
        if what == "seek":
            self.stand(int(value))
        elif what == "pause":
            self.stand(self.shown_ns())
        elif what == "play":
            self.play(None)
        elif what == "speed":
            self.play(value, is_asked=False)
        elif what == "step":
            self.stand(self.shown_ns() + int(value))
        else:
            self.live()
        done()

    def stand(self, at: int) -> None:
        """Have the views show a moment, and stand there."""
        self._playing = None
        now = self.now_ns()
        self._shown.move(min(max(at, self.first()), now))
        self._moves += 1

    def live(self) -> None:
        """Have the views show what is new."""
        self._playing = None
        self._shown.move(None)
        self._moves += 1

    def play(self, speed: float | None, *, is_asked: bool = True) -> None:
        """Have views of the past go on; with `is_asked` False only where they do."""
        self._speed = self._speed if speed is None or speed == MAX_SPEED else speed
        at, was_playing = self._shown.at, self._playing is not None
        self._moves += 1
        if at is None:
            return
        if speed == MAX_SPEED:
            self.live()
        elif is_asked or was_playing:
            self._playing = playing = at, elapsed()
            on_network(lambda: self._go_on(playing))

    # The network's thread.

    def _go_on(self, playing: tuple[int, float]) -> None:
        if self._playing is not playing:
            return
        at = playing[0] + int((elapsed() - playing[1]) * self._speed * 1e9)
        if at >= self.now_ns() - LIVE_NS:
            self.live()
            return
        self._shown.move(at)
        on_network_later(STEP_S, lambda: self._go_on(playing))

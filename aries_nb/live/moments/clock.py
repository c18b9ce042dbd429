"""`feed.clock`: market time, and of a replay its control: pause, play, step, seek."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from numbers import Real
from typing import Any, NoReturn

import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_count, checked_span_ns
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import SessionViews
from aries_nb.model import FillMark, PlaybackData, PlaybackMark, PlaybackMove
from aries_nb.model.settings import settings
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.net.events.playback import Playback
from aries_nb.net.events.replay_clock import MAX_SPEED

__all__ = ["FeedClock", "PlaybackClock", "PlaybackMarks", "checked_speed", "checked_step", "instant_of", "past_instant"]

log = logging.getLogger("aries_nb")

ADVICE = (
    "Record it (`feed.record`), and move in the replay (`anb.replay`). "
    "A simulated market can be moved where `connect` starts it, without url=."
)
VERSION_NS = 20_000_000  # of market time; a view of the clock is drawn less often
MOVES_SHIFT = 40  # the market time in units of VERSION_NS needs fewer bits
MOST_MARKS = 500


class FeedClock:
    """The market time of a feed: what its staleness, bars, windows and times of receipt go by. Any thread.

    It is this computer's time when the feed was made, and does not jump when the computer's clock is set. Where that is
    more than five seconds from the exchange's, market time is corrected: first by the time that the server names in its
    answer to the connection, then by the exchange times of messages that arrive one after the other.
    """

    def __init__(self, clock: ExchangeClock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        """Return the market time in ns since the epoch, UTC."""
        return self._clock.running_ns()

    @property
    def now(self) -> pd.Timestamp:
        """The market time, UTC, in microseconds."""
        return pd.Timestamp(self._clock.running_ns() // 1_000, unit="us", tz="UTC")

    @property
    def offset_s(self) -> float:
        """By how many seconds the exchange's clock is ahead of this computer's; 0.0 for less than five seconds."""
        return self._clock.offset_s

    def __str__(self) -> str:
        """What to say of this computer's clock, "" where it is right."""
        return str(self._clock)

    def __repr__(self) -> str:
        return f"<clock: {self.now:%Y-%m-%d %H:%M:%S} UTC{', ' * bool(str(self))}{self}>"

    def pause(self) -> None:
        """Stop the market of a replay, or a simulated one. Raises UsageError: a live market goes on."""
        self._refuse("paused")

    def play(self, speed: float | str | None = None) -> None:  # noqa: ARG002 - as of a replay
        """Let the market of a replay, or a simulated one, go on. Raises UsageError: a live market has one pace."""
        self._refuse("made faster")

    def step(self, span: str | None = None, *, events: int | None = None) -> None:  # noqa: ARG002 - as of a replay
        """Go on by a little in a replay, or a simulated market. Raises UsageError: a live one goes on by itself."""
        self._refuse("stepped")

    def seek(self, instant: object) -> None:  # noqa: ARG002 - as of a replay
        """Go to another moment of a replay, or a later one of a simulated market. Raises UsageError."""
        self._refuse("moved in time")

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(f"a live market cannot be {what}", advice=ADVICE)

    def _repr_html_(self) -> str:
        said = f": {self}" * bool(str(self))
        advice = f"A live market cannot be moved in time. {ADVICE}"
        return (
            f"<p>Market time <b>{settings.clock(self.now_ns())}</b>{html.escape(said)}<br><small>{advice}</small></p>"
        )


class PlaybackClock(FeedClock):
    """The market time of a replay, and its control. Any thread, and any cell, also beside one that runs.

    All that the feed shows is what it showed at this time: frames, books, accounts, gaps, views. In a cell it shows a
    transport bar, which does the same; `views` keeps it, `marks` are on its time axis.
    """

    def __init__(self, playback: Playback, views: SessionViews, marks: PlaybackMarks) -> None:
        super().__init__(playback.clock)
        self._playback = playback
        self._views = views
        self._source = _BarSource(playback, marks)

    @property
    def start(self) -> pd.Timestamp:
        """The time of the first event of the recording, UTC."""
        return pd.Timestamp(self._playback.first // 1_000, unit="us", tz="UTC")

    @property
    def end(self) -> pd.Timestamp:
        """The time of the last event of the recording, UTC."""
        return pd.Timestamp(self._playback.last // 1_000, unit="us", tz="UTC")

    @property
    def speed(self) -> float:
        """How many times faster than recorded it plays, or would play; infinite for "max"."""
        return self._playback.clock.speed

    @property
    def is_playing(self) -> bool:
        """Whether it goes on: not paused, and not at the end."""
        return self._playback.clock.is_playing

    def pause(self) -> None:
        """Stand still at this moment."""
        self._playback.pause().result()

    def play(self, speed: float | str | None = None) -> None:
        """Go on from this moment, `speed` times faster than recorded, "max" for as fast as possible; None as before.

        At the end it stays there. Raises UsageError for a speed that is not above 0.
        """
        self._playback.play(None if speed is None else checked_speed(speed)).result()

    def step(self, span: str | None = None, *, events: int | None = None) -> None:
        """Go on by a span of market time such as "1s", or by `events` received messages, and stand still there.

        "1s" without arguments. Blocks until it is there. Raises UsageError for both, for a span or number that is not
        above 0.
        """
        span_ns, frames = checked_step(span, events)
        (self._playback.advance(span_ns) if frames is None else self._playback.step(frames)).result()

    def seek(self, instant: object) -> None:
        """Go to a moment: a time such as "14:31:07.5" on the clock's day, a whole time, a Timestamp, or a datetime.

        Times without zone are in `anb.settings.timezone`. Blocks until it is there, or another seek takes its place; it
        plays or stands still as before. What it shows is exact. It is quick, whatever the distance, for books and
        frames; with accounts, bars, tables or something computed all events from the beginning on have to be passed.
        Raises UsageError for what is no time, and for one outside of the recording.
        """
        wanted = instant_of(instant, self.now)
        # Users see microseconds.
        if not self._playback.first // 1_000 <= wanted // 1_000 <= self._playback.last // 1_000:
            first, last = settings.clock(self._playback.first), settings.clock(self._playback.last)
            raise UsageError(f"{instant} is outside of the recording", advice=f"It reaches from {first} to {last}.")
        self._playback.seek(min(max(wanted, self._playback.first), self._playback.last)).result()

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        from aries_nb.widgets import PlaybackBar

        bar = self._views.shown("clock", lambda: PlaybackBar(self._source))
        bundle: dict[str, Any] = bar._repr_mimebundle_(include, exclude)
        return bundle

    def __repr__(self) -> str:
        pace = "max" if self.speed == MAX_SPEED else f"× {self.speed:g}"
        state = pace if self.is_playing else "at the end" if self._playback.is_over else "paused"
        span = f"{self.start:%H:%M:%S} to {self.end:%H:%M:%S}"
        return f"<clock of a replay: {self.now:%Y-%m-%d %H:%M:%S} UTC, {state}, {span}>"


class PlaybackMarks:
    """What is marked on the time axis of a feed: its gaps, the user's fills and annotations. Any thread.

    A mark stays after the replay went back to a time before it. `fills` returns the newest fills of all instruments,
    `arrivals` has what the user marked.
    """

    def __init__(self, gaps: GapSelection, fills: Callable[[], Iterable[FillMark]], arrivals: Arrivals) -> None:
        self._gaps = gaps
        self._arrivals = arrivals
        self._fills = fills
        self._known: dict[tuple[object, ...], PlaybackMark] = {}

    def marks(self) -> tuple[PlaybackMark, ...]:
        """Return those known by now, at most the newest 1,000, oldest first."""
        for gap in self._gaps.all()[-MOST_MARKS:]:
            if not gap.filled:
                self._add(PlaybackMark("gap", gap.started, gap.ended, f"gap ({gap.cause})"))
        for fill in list(self._fills())[-MOST_MARKS:]:
            done = "sold" if fill.quantity < 0 else "bought"
            text = f"{done} {abs(fill.quantity):,.10g} {fill.symbol} at {fill.price:,.10g}"
            self._add(PlaybackMark("fill", fill.ts, fill.ts, text))
        for at, text in self._arrivals.annotations:
            self._add(PlaybackMark("note", at, at, text))
        marks = sorted(list(self._known.values()), key=lambda mark: mark.started)  # noqa: C414 - other threads add
        return tuple(marks[-2 * MOST_MARKS :])

    def _add(self, mark: PlaybackMark) -> None:
        # A gap that lasts is known by its beginning; it is not again without an end after the replay went back.
        key = (mark.kind, mark.started, mark.text)
        known = self._known.get(key)
        if known is None or known.ended is None:
            self._known[key] = mark


class _BarSource:
    """The data of the transport bar of a replay. Any thread."""

    def __init__(self, playback: Playback, marks: PlaybackMarks) -> None:
        self._playback = playback
        self._marks = marks
        self._moves = 0
        self._problem = ""
        playback.observers.add(self._moved)

    @property
    def version(self) -> int:
        """A number that grows with every move, and changes with the time."""
        return (self._moves << MOVES_SHIFT) + self._playback.clock.now_ns() // VERSION_NS

    def playback(self) -> PlaybackData:
        """Return where the replay is, how fast it plays, and what is marked on its time axis."""
        playback = self._playback
        target = playback.target
        return PlaybackData(
            now=playback.clock.now_ns() if target is None else target,
            first=playback.first,
            last=playback.last,
            speed=playback.clock.speed,
            is_playing=playback.clock.is_playing,
            is_over=playback.is_over and target is None,
            is_moving=target is not None,
            marks=self._marks.marks(),
            problem=self._problem,
        )

    def move(self, request: PlaybackMove, done: Callable[[], None]) -> None:
        """Carry out what the user asks for, and return at once; a time outside of the recording is its first or last.

        `done` is called once `playback` follows the request: of a seek now, as it has the new time at once.
        """
        playback, (what, value) = self._playback, request
        if what == "seek":
            future = playback.seek(min(max(int(value), playback.first), playback.last))
            done()
        elif what == "pause":
            future = playback.pause()
        elif what == "play":
            future = playback.play()
        elif what == "speed":
            future = playback.set_speed(checked_speed("max" if value == MAX_SPEED else value))
        elif what == "step":
            future = playback.advance(int(value))
        else:
            future = playback.step(int(value))
        future.add_done_callback(lambda future: self._ended(future, done))

    def _ended(self, future: Future[None], done: Callable[[], None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            log.error("the replay could not be moved: %r", error)
        self._problem = "" if error is None else f"not moved: {error}"
        self._moved()
        done()

    def _moved(self) -> None:
        self._moves += 1


def checked_speed(speed: object) -> float:
    """Return a speed as a number, infinite for "max". Raises UsageError for one that is not above 0."""
    if speed == "max":
        return MAX_SPEED
    if isinstance(speed, bool) or not isinstance(speed, Real) or not float(speed) > 0:
        raise UsageError(f"speed={speed!r} is no speed", advice='Pass a number above 0, or "max".')
    return float(speed)


def checked_step(span: object, events: object) -> tuple[int, int | None]:
    """Return a span in ns ("1s" for None), and a number of events, None where the span counts.

    Raises UsageError for both, and for a span or number that is not above 0.
    """
    if events is None:
        return checked_span_ns("1s" if span is None else span, "span"), None
    if span is not None:
        raise UsageError("both a span and events", advice="Give one of them.")
    return 0, checked_count(events, "events", "events")


def instant_of(instant: object, now: pd.Timestamp) -> int:
    """Return a moment in ns since the epoch; a time alone is on the day of `now`, by the settings' time zone.

    Raises UsageError for what is no time.
    """
    zone = settings.timezone
    wrong = UsageError(f"{instant!r} is no time", advice='Pass a time such as "14:31:07.5", or a Timestamp.')
    if isinstance(instant, str) and not any(map(str.isdigit, instant)):
        raise wrong  # pandas knows "now" and "today", by this computer's clock and in UTC
    try:
        whole: Any = f"{now.tz_convert(zone):%Y-%m-%d} {instant}" if _is_time(instant) else instant
        given = pd.Timestamp(whole)
        if isinstance(instant, Real) or pd.isna(given):
            raise wrong
        given = given.tz_localize(zone) if given.tz is None else given
        return given.as_unit("ns").value  # ValueError for one out of bounds
    except (ValueError, TypeError):
        raise wrong from None


def past_instant(instant: object, now: int) -> int:
    """Return a moment as `instant_of`; of one in whole microseconds, as clocks tell them, the end of that one.

    `now` is in ns since the epoch, and later than what is returned unless the moment has yet to come.
    """
    wanted = instant_of(instant, pd.Timestamp(now // 1_000, unit="us", tz="UTC"))
    return min(wanted + 999, now) if wanted <= now and wanted % 1_000 == 0 else wanted


def _is_time(instant: object) -> bool:
    return isinstance(instant, str) and ":" in instant and "-" not in instant and "T" not in instant

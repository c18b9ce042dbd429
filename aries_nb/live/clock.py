"""`feed.clock`: market time, and of a replay its control: pause, play, step, seek."""

from __future__ import annotations

from numbers import Real
from typing import Any, NoReturn

import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_count, checked_span_ns
from aries_nb.model.settings import settings
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.net.events.playback import MAX_SPEED, Playback

__all__ = ["FeedClock", "PlaybackClock", "checked_speed"]


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
        return self._clock.now_ns()

    @property
    def now(self) -> pd.Timestamp:
        """The market time, UTC, in microseconds."""
        return pd.Timestamp(self._clock.now_ns() // 1_000, unit="us", tz="UTC")

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
        """Stop the market of a replay at this moment. Raises UsageError: a live market goes on."""
        self._refuse("paused")

    def play(self, speed: float | str | None = None) -> None:  # noqa: ARG002 - as of a replay
        """Let the market of a replay go on. Raises UsageError: a live market has one pace."""
        self._refuse("made faster")

    def step(self, span: str | None = None, *, events: int | None = None) -> None:  # noqa: ARG002 - as of a replay
        """Go on by a little in a replay. Raises UsageError: a live market goes on by itself."""
        self._refuse("stepped")

    def seek(self, instant: object) -> None:  # noqa: ARG002 - as of a replay
        """Go to another moment of a replay. Raises UsageError: a live market has only now."""
        self._refuse("moved in time")

    def _refuse(self, what: str) -> NoReturn:
        advice = "Record it (`feed.record`), and move in the replay (`anb.replay`)."
        raise UsageError(f"a live market cannot be {what}", advice=advice)


class PlaybackClock(FeedClock):
    """The market time of a replay, and its control. Any thread, and any cell, also beside one that runs.

    All that the feed shows is what it showed at this time: frames, books, accounts, gaps, views.
    """

    def __init__(self, playback: Playback) -> None:
        super().__init__(playback.clock)
        self._playback = playback

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
        self._playback.pause()

    def play(self, speed: float | str | None = None) -> None:
        """Go on from this moment, `speed` times faster than recorded, "max" for as fast as possible; None as before.

        At the end it stays there. Raises UsageError for a speed that is not above 0.
        """
        self._playback.play(self.speed if speed is None else checked_speed(speed))

    def step(self, span: str | None = None, *, events: int | None = None) -> None:
        """Go on by a span of market time such as "1s", or by `events` received messages, and stand still there.

        "1s" without arguments. Blocks until it is there. Raises UsageError for both, for a span or number that is not
        above 0.
        """
        if events is not None:
            if span is not None:
                raise UsageError("both a span and events", advice="Give one of them.")
            self._playback.step(checked_count(events, "events", "events"))
            return
        span_ns = checked_span_ns("1s" if span is None else span, "span")
        self._playback.pause()
        self._playback.seek(min(self.now_ns() + span_ns, self._playback.last))

    def seek(self, instant: object) -> None:
        """Go to a moment: a time such as "14:31:07.5" on the clock's day, a whole time, a Timestamp, or a datetime.

        Times without zone are in `anb.settings.timezone`. Blocks until it is there; it plays or stands still as before.
        Raises UsageError for what is no time, and for one outside of the recording.
        """
        wanted = instant_of(instant, self.now)
        # Users see microseconds.
        if not self._playback.first // 1_000 <= wanted // 1_000 <= self._playback.last // 1_000:
            first, last = settings.clock(self._playback.first), settings.clock(self._playback.last)
            raise UsageError(f"{instant} is outside of the recording", advice=f"It reaches from {first} to {last}.")
        self._playback.seek(min(max(wanted, self._playback.first), self._playback.last))

    def __repr__(self) -> str:
        pace = "max" if self.speed == MAX_SPEED else f"× {self.speed:g}"
        state = pace if self.is_playing else "at the end" if self._playback.is_over else "paused"
        span = f"{self.start:%H:%M:%S} to {self.end:%H:%M:%S}"
        return f"<clock of a replay: {self.now:%Y-%m-%d %H:%M:%S} UTC, {state}, {span}>"


def checked_speed(speed: object) -> float:
    """Return a speed as a number, infinite for "max". Raises UsageError for one that is not above 0."""
    if speed == "max":
        return MAX_SPEED
    if isinstance(speed, bool) or not isinstance(speed, Real) or not float(speed) > 0:
        raise UsageError(f"speed={speed!r} is no speed", advice='Pass a number above 0, or "max".')
    return float(speed)


def instant_of(instant: object, now: pd.Timestamp) -> int:
    """Return a moment in ns since the epoch; a time alone is on the day of `now`, by the settings' time zone.

    Raises UsageError for what is no time.
    """
    zone = settings.timezone
    wrong = UsageError(f"{instant!r} is no time", advice='Pass a time such as "14:31:07.5", or a Timestamp.')
    try:
        whole: Any = f"{now.tz_convert(zone):%Y-%m-%d} {instant}" if _is_time(instant) else instant
        given = pd.Timestamp(whole)
    except (ValueError, TypeError):
        raise wrong from None
    if isinstance(instant, Real) or pd.isna(given):
        raise wrong
    given = given.tz_localize(zone) if given.tz is None else given
    return given.as_unit("ns").value


def _is_time(instant: object) -> bool:
    return isinstance(instant, str) and ":" in instant and "-" not in instant and "T" not in instant

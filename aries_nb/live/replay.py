"""`replay`: a feed that plays a recording back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from aries_nb.brokers import Broker, broker_named
from aries_nb.errors import RecordingError, UsageError
from aries_nb.live.clock import PlaybackClock, checked_speed
from aries_nb.live.feed import Feed
from aries_nb.live.recording import checked_path
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.recording import RecordingReader

__all__ = ["replay"]


def replay(
    path: str | Path, *, speed: float | str = 1.0, start: object = None, broker: str | Broker | None = None
) -> Feed:
    """Return a feed that plays a recording back: the same frames, books, bars, accounts, gaps, counts and views.

    `path` is what `feed.record(path)` or `connect(record=path)` wrote. It begins to play at once, `speed` times faster
    than recorded, "max" for as fast as possible, from `start` on: a time such as "14:30", or from its beginning.
    `feed.clock` pauses, steps, seeks, and changes the speed. Whatever is asked for, and whenever, holds what it would
    hold had it been asked for when the recording subscribed to it. `broker` is needed where the recording is of a
    broker of your own: its `Broker`; a name that is not the recording's is refused.

    No server is asked, and no token needed. Raises UsageError for a path that is no recording, for a symbol or field
    that was not recorded, a speed that is not above 0, and a start outside of the recording; RecordingError for a
    recording of a newer format, or one that cannot be read.
    """
    pace = checked_speed(speed)
    folder = checked_path(path)
    expected = broker.name if isinstance(broker, Broker) else broker
    reader = RecordingReader(folder, broker=expected)
    if reader.summary.first_received is None:
        raise RecordingError("the recording is empty", where=str(folder), advice="Record for a while.")
    known = broker if isinstance(broker, Broker) else broker_named(reader.header.broker)
    chosen = reader.header.header.get("choices")
    if known.choose is not None and isinstance(chosen, Mapping):
        known = known.choose(**{name: each for name, each in chosen.items() if name in known.choices})
    feed = Feed(known, str(folder), fixed_token("none"), at_close=lambda _: None, events=reader.events)
    try:
        clock = cast("PlaybackClock", feed.clock)
        if start is not None:
            clock.seek(start)
        clock.play(pace)
    except UsageError:
        feed.close()
        raise
    return feed

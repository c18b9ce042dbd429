"""What a feed offers of moments: snapshots, its past, the timeline of its views, annotations."""

from __future__ import annotations

from datetime import datetime

from aries_nb.errors import BoundToProcess, UsageError
from aries_nb.live.arguments import checked_text
from aries_nb.live.moments.snapshot import Snapshot, SnapshotMaker
from aries_nb.live.moments.timeline import Timeline
from aries_nb.net.events.arrivals import Arrivals

__all__ = ["FeedMoments"]

MOST_TEXT = 500  # characters of an annotation


class FeedMoments(BoundToProcess):
    """Base of a feed: its moments. Any thread."""

    _snapshots: SnapshotMaker
    _timeline: Timeline
    _arrivals: Arrivals

    def annotate(self, text: str) -> None:
        """Mark this moment with a text, such as "news": on the time axis of `timeline`, in recordings and replays.

        Raises UsageError for what is no text, an empty one, or one of more than 500 characters, and in a replay.
        """
        self._check()
        said = checked_text(text, "no annotation", advice='Pass a text such as "news".')
        if len(said) > MOST_TEXT:
            raise UsageError(f"an annotation of {len(said):,} characters", advice=f"Pass at most {MOST_TEXT}.")
        if self._arrivals.is_replay:
            raise UsageError("a replay is not annotated", advice="Annotate the feed that is recorded.")
        self._arrivals.do(lambda: self._arrivals.annotate(said)).result()

    def snapshot(self) -> Snapshot:
        """Return all that is open now, as of one moment: `now[quotes].df`, `now.book("AAPL")`, `now.account().equity`.

        Also `now.gaps`, `now.ledger`, `now.seq` and `now.ts`. Taken between two frames of the network, of all
        connections; it copies no rows, and never changes.
        """
        self._check()
        return self._snapshots.take()

    def at(self, instant: str | datetime) -> Snapshot:
        """Return all that is open as it was at an instant, as far as that is held in memory; see `snapshot`.

        A time such as "14:31:07.5" on the clock's day, a whole time, a Timestamp, or a datetime; without zone it is in
        `anb.settings.timezone`. Raises UsageError for what is no time or has not come yet, and for an instant of which
        nothing is held any more, with the time from which on it is.
        """
        self._check()
        return self._snapshots.at(instant)

    def timeline(self) -> Timeline:
        """Return the transport bar of the feed's views: it moves them to a past moment, and back to what is new.

        As far as that is in memory; what is received goes on. `feed.at(timeline.now)` has the same as data.
        """
        self._check()
        return self._timeline

    def _check(self) -> None:
        """Raise ClosedError where the feed is closed; the feed has it."""
        raise NotImplementedError

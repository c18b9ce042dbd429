"""What a feed has done, counted: each connection for itself, and all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aries_nb.model import State

__all__ = ["FeedStatistics", "combined", "worst"]

# The first of them that a connection of the feed is in is the state of the feed: no part of it may fail unseen.
_WORST_FIRST: tuple[State, ...] = ("failed", "reconnecting", "connecting", "closed", "live")


@dataclass(frozen=True, slots=True)
class FeedStatistics:
    """What a feed has done since it was connected."""

    state: State
    """connecting, live, reconnecting, failed or closed."""
    messages: int
    """Messages received, control messages included."""
    messages_per_s: float
    """Over about the last second."""
    octets: int
    """Bytes of their text."""
    records: int
    """Messages that became a row, or a book's update."""
    unreadable: int
    """Messages, or parts of one, that could not be used; `feed.unreadable` shows the newest."""
    streams: int
    """Subscriptions that are running."""
    reconnects: int
    """Times that a live connection broke."""
    renewals: int
    """Times that the session was renewed in place."""
    gaps: int
    """Interruptions, see `feed.gaps.df`."""
    lag_ms: float
    """Exchange time to receipt, median of late, by the two clocks as they are; NaN before the first message."""
    behind_s: float
    """How many seconds later than at their quickest messages come now: they are read more slowly than they are sent.

    0 while they come as they should, which a second more is, unless there are over 2,000 messages in it."""
    silence_s: float
    """Seconds since the last message; NaN before the first."""
    last_error: str
    """The newest thing that went wrong, "" if nothing has."""


def worst(states: Sequence[State]) -> State:
    """The state of several connections together."""
    return min(states, key=_WORST_FIRST.index)


def combined(parts: Sequence[FeedStatistics]) -> FeedStatistics:
    """Add up the connections of a feed; lag and silence are those of the first, the market's."""
    first = parts[0]
    return FeedStatistics(
        state=worst([part.state for part in parts]),
        messages=sum(part.messages for part in parts),
        messages_per_s=sum(part.messages_per_s for part in parts),
        octets=sum(part.octets for part in parts),
        records=sum(part.records for part in parts),
        unreadable=sum(part.unreadable for part in parts),
        streams=sum(part.streams for part in parts),
        reconnects=sum(part.reconnects for part in parts),
        renewals=sum(part.renewals for part in parts),
        gaps=sum(part.gaps for part in parts),
        lag_ms=first.lag_ms,
        behind_s=max(part.behind_s for part in parts),
        silence_s=first.silence_s,
        last_error=next((part.last_error for part in parts if part.last_error), ""),
    )

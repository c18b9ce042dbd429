"""What a feed has done, counted: each connection for itself, and all together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aries_nb.model import CardData, State

__all__ = ["FeedStatistics", "card_data", "combined", "worst"]

# The first of them that a connection of the feed is in is the state of the feed: no part of it may fail unseen.
_WORST_FIRST: tuple[State, ...] = ("failed", "reconnecting", "connecting", "closed", "live")


@dataclass(frozen=True, slots=True, kw_only=True)
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
    unasked: int
    """Data messages of what nobody has subscribed to, such as those still under way when a frame was closed."""
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
    lag_p99_ms: float
    """The same, which all but one in a hundred stay below; NaN in the first quarter of a second."""
    visible_p50_ms: float = math.nan
    """Receipt until a row could be read, median of the newest; NaN before the first. `frame.lag` has each frame's."""
    visible_p99_ms: float = math.nan
    """The same, which all but one in a hundred stay below."""
    painted_p50_ms: float = math.nan
    """Receipt until the browser had painted a row, median of the last minute.

    NaN where no view is on display, and where its answers cannot come in, as while a cell blocks the kernel."""
    painted_p99_ms: float = math.nan
    """The same, which all but one in a hundred stay below."""
    behind_s: float
    """How many seconds later than at their quickest messages come now: they are read more slowly than they are sent.

    0 while they come as they should, which a second more is, unless there are over 2,000 messages in it."""
    silence_s: float
    """Seconds since the last message; NaN before the first."""
    last_error: str
    """The newest thing that went wrong, "" if nothing has."""


def card_data(now: FeedStatistics, *, name: str, url: str, error: str) -> CardData:
    """What of it the status card shows."""
    return CardData(
        name=name,
        url=url,
        state=now.state,
        streams=now.streams,
        messages=now.messages,
        messages_per_s=now.messages_per_s,
        lag_ms=now.lag_ms,
        gaps=now.gaps,
        unreadable=now.unreadable,
        silence_s=now.silence_s,
        error=error,
        behind_s=now.behind_s,
        lag_p99_ms=now.lag_p99_ms,
        painted_p50_ms=now.painted_p50_ms,
        painted_p99_ms=now.painted_p99_ms,
    )


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
        unasked=sum(part.unasked for part in parts),
        streams=sum(part.streams for part in parts),
        reconnects=sum(part.reconnects for part in parts),
        renewals=sum(part.renewals for part in parts),
        gaps=sum(part.gaps for part in parts),
        lag_ms=first.lag_ms,
        lag_p99_ms=first.lag_p99_ms,
        behind_s=max(part.behind_s for part in parts),
        silence_s=first.silence_s,
        last_error=next((part.last_error for part in parts if part.last_error), ""),
        visible_p50_ms=_most([part.visible_p50_ms for part in parts]),
        visible_p99_ms=_most([part.visible_p99_ms for part in parts]),
        painted_p50_ms=_most([part.painted_p50_ms for part in parts]),
        painted_p99_ms=_most([part.painted_p99_ms for part in parts]),
    )


def _most(lags: Sequence[float]) -> float:
    return max((lag for lag in lags if not math.isnan(lag)), default=math.nan)

"""Statistics of a feed, of each connection and of all together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import pandas as pd

from aries_nb.model import State
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.net.events.playback_run import PlaybackSession
from aries_nb.net.session import Session
from aries_nb.rooms.session import RoomSession
from aries_nb.store import MessageCounts

__all__ = ["FeedStatistics", "combined", "ledger_frame", "most_streams", "statistics_of", "worst"]

# The feed has the worst state of its connections: no part of it may fail unseen.
_WORST_FIRST: tuple[State, ...] = ("failed", "reconnecting", "connecting", "closed", "live")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatistics:
    """Counts and latencies of a feed since it was connected; a snapshot that does not change."""

    state: State
    """The worst state of the connections: connecting, live, reconnecting, failed or closed."""
    messages: int
    """Messages received, control messages included."""
    messages_per_s: float
    """Messages a second, over about the last second."""
    octets: int
    """Bytes of the messages' text."""
    records: int
    """Records of messages: rows, updates of books, states of orders."""
    unreadable: int
    """Messages, or parts of them, that could not be parsed; `feed.unreadable` shows the newest."""
    unasked: int
    """Data messages without a subscription, such as those under way when a frame was closed."""
    streams: int
    """Active subscriptions."""
    most_streams: int | None = None
    """The number of subscriptions that the broker allows on all its connections together; None without a limit."""
    connections: int = 0
    """Connections that are open now, of all feeds with this feed's address, as the broker counts them."""
    most_connections: int | None = None
    """The number of connections that the broker allows; None without a limit."""
    reconnects: int
    """The number of times that a live connection broke."""
    renewals: int
    """The number of times that the session was renewed without a reconnect."""
    gaps: int
    """The number of interruptions, those that last included; `feed.gaps.df` lists them."""
    lag_ms: float
    """Median time in ms from exchange time to receipt on the market's connection, of the newest 1,000 samples.

    Slightly negative where the clocks differ by less than is corrected; NaN before a message."""
    lag_p99_ms: float
    """99th percentile of what `lag_ms` is the median of; NaN in the first quarter of a second."""
    visible_p50_ms: float = math.nan
    """Median time in ms from receipt until a row can be read, of the newest 1,000 samples; NaN before the first.

    A sample is the oldest of the rows that a frame or book makes visible together. `frame.lag` has each frame's."""
    visible_p99_ms: float = math.nan
    """99th percentile of what `visible_p50_ms` is the median of."""
    painted_p50_ms: float = math.nan
    """Median time in ms from receipt until the browser had painted a row, of the last minute.

    NaN where no view is on display, or while a cell blocks the kernel and the browser's answers with it."""
    painted_p99_ms: float = math.nan
    """99th percentile of what `painted_p50_ms` is the median of."""
    behind_s: float
    """Delay of messages in seconds over the shortest one measured: they are read more slowly than they are sent.

    0 below one second, unless more than 2,000 messages arrived in that time."""
    silence_s: float
    """Seconds since the last message on the market's connection; NaN before the first."""
    clock_offset_s: float = 0.0
    """Seconds by which the exchange's clock is ahead of this computer's; 0.0 for a difference of less than five.

    Market time, and with it every time of receipt, is corrected by it."""
    last_error: str
    """The newest problem as text, "" without one."""

    def _repr_html_(self) -> str:
        shown = {
            field.name: f"{value:,.4g}" if isinstance(value := getattr(self, field.name), float) else value
            for field in fields(self)
        }
        return pd.Series(shown, dtype="object").to_frame("").to_html(header=False)


def statistics_of(session: Session | PlaybackSession | RoomSession, clock: ExchangeClock) -> FeedStatistics:
    """Return the counts and latencies of one connection."""
    intake, last = session.intake, session.intake.last_received
    p50_ms, p99_ms = session.read_monitor.lag.percentiles_ms()
    return FeedStatistics(
        state=session.state,
        messages=intake.messages,
        messages_per_s=session.read_monitor.messages_per_s if session.state == "live" else 0.0,
        octets=intake.octets,
        records=intake.records,
        unreadable=intake.unreadable,
        unasked=intake.unasked,
        streams=len(intake),
        reconnects=session.reconnects,
        renewals=session.renewals,
        gaps=0,  # the link counts them, those of closed connections included
        lag_ms=intake.lag_ms if math.isnan(p50_ms) else p50_ms,  # in the first quarter of a second
        lag_p99_ms=p99_ms,
        behind_s=session.read_monitor.lag.seconds if session.state == "live" else 0.0,
        silence_s=(clock.now_ns() - last) / 1e9 if last else float("nan"),
        last_error=session.last_error,
    )


def worst(states: Sequence[State]) -> State:
    """Return the worst of one or more states, in the order failed, reconnecting, connecting, closed, live."""
    return min(states, key=_WORST_FIRST.index)


def combined(parts: Sequence[FeedStatistics]) -> FeedStatistics:
    """Return the statistics of one or more connections together.

    Lag and silence are those of the first connection, which is the market's. Counts are added up; of the delays within
    this process, and of `behind_s`, the longest counts.
    """
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
        clock_offset_s=first.clock_offset_s,
        last_error=next((part.last_error for part in parts if part.last_error), ""),
        visible_p50_ms=_most([part.visible_p50_ms for part in parts]),
        visible_p99_ms=_most([part.visible_p99_ms for part in parts]),
        painted_p50_ms=_most([part.painted_p50_ms for part in parts]),
        painted_p99_ms=_most([part.painted_p99_ms for part in parts]),
    )


def most_streams(a_connection: int | None, connections: int | None) -> int | None:
    """Return how many subscriptions a broker allows that limits those of a connection, and its connections.

    None where it does not limit either.
    """
    return None if a_connection is None or connections is None else a_connection * connections


def _most(lags: Sequence[float]) -> float:
    return max((lag for lag in lags if not math.isnan(lag)), default=math.nan)


def ledger_frame(lines: Iterable[tuple[str, str, str, MessageCounts]]) -> pd.DataFrame:
    """Return one row for each stream: its names `stream`, `kind` and `symbols`, and its message counts."""
    rows = [(*names, *counts) for *names, counts in lines]
    return pd.DataFrame(rows, columns=pd.Index(("stream", "kind", "symbols", *MessageCounts._fields)))

"""Message counts: what became of each message of a subscription, as counts that add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aries_nb.model import CountedAs

__all__ = ["MessageCounts", "counts_of"]


class MessageCounts(NamedTuple):
    """Counts since the subscription was made. `received + filled` is the sum of the six that follow.

    The unit is what a row is made of: a quote, a print, an update of a book, a state of an order.
    """

    received: int
    """Messages that the stream brought."""
    filled: int
    """Rows that no message brought: from the broker's history, or copied from another frame that had them already."""
    visible: int
    """Rows that can be read now; of a book, which shows one state, the newest update."""
    evicted: int
    """Rows that have left the window."""
    conflated: int
    """States that a newer state of the same thing has replaced; never trades."""
    duplicated: int
    """Messages that had been received before."""
    rowless: int
    """Messages understood that make no row: no field of the frame in them, or past data that was not requested."""
    unreadable: int
    """Messages that could not be used; `feed.unreadable` shows the newest."""


def counts_of(
    counted: Mapping[CountedAs, int], *, rows: int, filled: int, visible: int, evicted: int = 0, conflated: int = 0
) -> MessageCounts:
    """The counts of a store with `rows` rows written, `filled` of them by no message; `counted` messages made no row.

    Values that must be of one moment are passed by keyword; `counted` may go on growing meanwhile.
    """
    duplicated, rowless, unreadable = counted["duplicated"], counted["rowless"], counted["unreadable"]
    lost = counted["conflated"]
    return MessageCounts(
        received=rows - filled + lost + duplicated + rowless + unreadable,
        filled=filled,
        visible=visible,
        evicted=evicted,
        conflated=conflated + lost,
        duplicated=duplicated,
        rowless=rowless,
        unreadable=unreadable,
    )

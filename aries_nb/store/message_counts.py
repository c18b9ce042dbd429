"""What became of every message of a subscription, as counts that add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aries_nb.model import CountedAs

__all__ = ["MessageCounts", "counts_of"]


class MessageCounts(NamedTuple):
    """Counts since the subscription was made. `received + filled` is the sum of the six that follow.

    What is counted is what a row is made of: a quote, a print, an update of a book, the state of an order.
    """

    received: int
    """What the stream has brought."""
    filled: int
    """Rows that came otherwise: out of the broker's history, or lent by another frame that knew them already."""
    visible: int
    """Rows that can be read now; of a book, which shows one state, the newest update."""
    evicted: int
    """Rows that have left the window."""
    conflated: int
    """States that a newer one of the same thing has replaced; never those of trades."""
    duplicated: int
    """Told before."""
    rowless: int
    """Understood, and no row: nothing in it that a row would show, or of the past that nobody asked for."""
    unreadable: int
    """Of no use; `feed.unreadable` shows the newest."""


def counts_of(
    counted: Mapping[CountedAs, int], *, rows: int, filled: int, visible: int, evicted: int = 0, conflated: int = 0
) -> MessageCounts:
    """The ledger of a store that has taken so many rows, `filled` of them no messages; `counted` were no rows.

    What is read together with the rows, in one moment, is passed by name; what is counted beside them may go on.
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

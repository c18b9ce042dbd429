"""Message counts: the messages of a subscription counted by outcome, so that the counts add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aries_nb.model import CountedAs

__all__ = ["MessageCounts", "counts_of"]


class MessageCounts(NamedTuple):
    """Counts of the messages of a store (frame, book or table) by outcome, since it was made.

    A message here is what makes one row or changes a book once: a quote, a trade, an update of a book, a state of an
    order. `received + filled` is the sum of the seven other counts.
    """

    received: int
    """Messages that the stream has delivered, repeated and unreadable ones included."""
    filled: int
    """Rows without a message of their own.

    From the broker's history or an HTTP request, copied from another frame that had them already, or written again
    because a message of another stream completed them, such as an order with the average price of its trades."""
    visible: int
    """Rows that can be read now; of a book, which shows one state, 1, and 0 before the first update."""
    evicted: int
    """Rows that have left the frame's window, or a full table, to make room for newer ones."""
    conflated: int
    """States that a newer state of the same row or book has replaced; trades are never conflated."""
    duplicated: int
    """Messages that had been received before."""
    rowless: int
    """Messages understood that make no row: no field of the frame in them, or past data that was not requested."""
    unreadable: int
    """Messages that could not be parsed; `feed.unreadable` shows the newest."""
    corrected: int = 0
    """Rows that no longer count: prints that a later message corrected or cancelled, and messages that cancel one."""


def counts_of(
    counted: Mapping[CountedAs, int],
    *,
    rows: int,
    filled: int,
    visible: int,
    evicted: int = 0,
    conflated: int = 0,
    corrected: int = 0,
) -> MessageCounts:
    """Return the counts of a store that has written `rows` rows, `filled` of them without a message.

    `counted` are the messages without a row, by reason; it may go on growing meanwhile. `visible` and `evicted` are
    rows, `conflated` rows that newer ones have replaced, `corrected` those that no longer count.
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
        corrected=corrected,
    )

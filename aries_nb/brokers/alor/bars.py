"""Bars of one instrument at ALOR, past and current, as a stream (ALOR protocol page §6.2 and §9).

A record's time is the start of its bar; a later record with the same time replaces it. No message says where the past
ends or that a bar is closed: a bar counts as closed once the next one has started.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aries_nb.brokers.alor.streams import Key, ShapedStream, frequency_of, instrument_body, ns_of, text_option
from aries_nb.errors import UsageError
from aries_nb.model import Record
from aries_nb.model.clock import MOST_AHEAD_NS

__all__ = ["LENGTHS", "BarStream", "length_name"]

SECOND = 1_000_000_000
PAUSE_NS = SECOND  # the past ends with the first pause of this length (§9, client rule)
MINUTE, DAY = 60, 86_400
# Bar lengths in seconds with a name of their own (§4); others are written as a number.
LENGTHS: Mapping[int, str] = {DAY: "D", 7 * DAY: "W", 30 * DAY: "M", 365 * DAY: "Y"}


def length_name(interval_s: int) -> str:
    """Return ALOR's name of the bar length `interval_s`, in seconds.

    It is the seconds as text, such as "60", or "D", "W", "M", "Y" for the longest. Lengths are the whole divisors of a
    day, a day, and 7, 30 and 365 days. Raises UsageError for any other.
    """
    if interval_s in LENGTHS:
        return LENGTHS[interval_s]
    if 0 < interval_s < DAY and DAY % interval_s == 0:
        return str(interval_s)
    raise UsageError(f"no bars of {interval_s} s", where="ALOR", advice="Take a length that divides a day, or a day.")


class BarStream(ShapedStream):
    """Bars of one instrument from the option `start` (Unix seconds) on, with volumes in lots.

    After a break they are requested again from the last bar known to be closed. `is_past_over`: the past bars have been
    delivered. The bar length is the option `interval` in seconds, 60 without one. Raises UsageError for a bar length
    that ALOR does not have.
    """

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        text = text_option(key, "interval")
        self._interval_s = int(text[:12]) if text.isdecimal() else MINUTE
        self._length = length_name(self._interval_s)
        start = text_option(key, "start")
        self._from = int(start) if start.isdecimal() and len(start) < 12 else 0
        self._closed = 0  # the latest bar known to be closed, s since the epoch
        self._newest = 0
        self._is_accepted = False
        self._last_received = 0
        self.is_past_over = False

    def body(self) -> dict[str, Any]:
        """Return the server request for the stream, without guid (stream id) and token (ALOR protocol page §6.2).

        It asks for the bars from the option `start` on, or from the last bar known to be closed if that is later. If
        there is neither, only new bars are requested.
        """
        start = max(self._closed, self._from)
        return {
            "opcode": "BarsGetAndSubscribe",
            **instrument_body(self),
            "tf": self._length,
            "from": start,
            "skipHistory": start == 0,
            **frequency_of(self),
        }

    def forget(self) -> None:
        """Reset the state, because the connection broke: bars come again from the last closed one."""
        super().forget()
        self._closed = self._closed or self._newest
        self._newest = 0
        self._is_accepted = self.is_past_over = False

    def replied(self, received: int) -> Sequence[Record]:
        """Process the server's acceptance of the request, and return no records.

        From now on the past bars count as delivered once the bar of the current interval comes, or after a pause of 1
        second. `received` is in ns since the epoch.
        """
        self._is_accepted = True
        self.is_past_over = self._runs(self._newest, received)
        self._last_received = received
        return ()

    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401
        """Return one record per subscription for the bar `data`, received at `received` (ns since the epoch).

        A bar that starts before the newest known one is counted as duplicated, one without a usable time as unreadable;
        neither makes a record. A missing price or volume is NaN.
        """
        self.has_received = True
        start = ns_of(data.start) // SECOND
        if data.start is None and self.is_unusable():
            return ()
        is_usable = 0 < start * SECOND <= received + MOST_AHEAD_NS  # later ones must not wait for one of next month
        if not is_usable or start < self._newest:
            self.count("duplicated" if is_usable else "unreadable")
            return ()
        if start > self._newest:
            self._closed = max(self._newest, self._closed)
            self._newest = start
        silent = received - self._last_received >= PAUSE_NS
        self._last_received = received
        self.is_past_over |= self._is_accepted and (silent or self._runs(start, received))
        records: list[Record] = []
        for subscription in self.subscriptions:
            read = [getattr(data, field) for field in subscription.fields]
            records.append((subscription, start * SECOND, tuple([math.nan if each is None else each for each in read])))
        return records

    def _runs(self, start: int, received: int) -> bool:
        return start > 0 and (start + self._interval_s) * SECOND > received

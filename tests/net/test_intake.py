from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, cast

from hypothesis import given
from hypothesis import strategies as st

from aries_nb.brokers import BROKERS
from aries_nb.model import RecordBuffer, Subscription, Unfinished
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.intake import KEPT_UNREADABLE, Intake, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

BID = Subscription("quotes", "AAPL", ("bid_price",))
ASK = Subscription("quotes", "AAPL", ("ask_price",))
MS = 1_772_463_845_000  # of exchange times; smaller numbers are taken for seconds


class Sink:
    def __init__(self) -> None:
        self.buffer = RecordBuffer()
        self.published = 0
        self.breaks = 0

    def publish(self) -> None:
        self.published += 1

    def interrupted(self) -> None:
        self.breaks += 1

    @property
    def rows(self) -> list[tuple[int, int, tuple[Any, ...]]]:
        width = len(self.buffer.values) // max(len(self.buffer.codes), 1)
        values = batched(self.buffer.values, width)
        return list(zip(self.buffer.codes, self.buffer.ts, values, strict=True))


def batched(values: list[Any], width: int) -> list[tuple[Any, ...]]:
    return [tuple(values[at : at + width]) for at in range(0, len(values), width or 1)]


def quote(ms: int, symbol: str = "AAPL", **data: float) -> bytes:
    payload = {"action": "update", "type": "quote", "symbol": symbol, "data": data, "timestamp": ms}
    return json.dumps({"type": "event", "payload": payload}).encode()


def intake_with(*streams: Route) -> Intake:
    protocol = BROKERS["aries"].market.make()
    intake = Intake(protocol)
    protocol.subscribe(intake.attach(streams))
    return intake


def test_a_record_goes_to_every_sink_with_the_symbols_code_there() -> None:
    first, second = Sink(), Sink()
    intake = intake_with(Route(BID, first, 0), Route(BID, second, 3))

    intake.take(quote(MS, bidPrice=9.5), 5)

    assert first.rows == [(0, MS * 10**6, (9.5,))]
    assert second.rows == [(3, MS * 10**6, (9.5,))]


def test_the_time_of_receipt_is_marked_once_a_frame() -> None:
    sink = Sink()
    intake = intake_with(Route(BID, sink, 0))

    intake.take(b"\n".join([quote(1000, bidPrice=1), quote(1001, bidPrice=2)]), 5)
    intake.take(quote(1002, bidPrice=3), 6)

    assert sink.buffer.marks == [(2, 5), (3, 6)]


def numbers(sink: Sink) -> list[int]:
    """The arrival number of each record in a buffer."""
    runs = (*sink.buffer.runs, (len(sink.buffer.codes), 0))
    return [at + offset for (start, offset), (end, _) in pairwise(runs) for at in range(start, end)]


def test_records_are_numbered_as_they_arrive_over_all_connections() -> None:
    arrivals = Arrivals()
    sinks = [Sink() for _ in range(3)]
    intakes = []
    for symbol, sink in zip(("AAPL", "MSFT", "TSLA"), sinks, strict=True):
        protocol = BROKERS["aries"].market.make()
        intakes.append(Intake(protocol, arrivals=arrivals))
        protocol.subscribe(intakes[-1].attach([Route(Subscription("quotes", symbol, ("bid_price",)), sink, 0)]))

    for turn in (0, 1, 0, 2, 2, 0):
        symbol = ("AAPL", "MSFT", "TSLA")[turn]
        intakes[turn].take(b"\n".join(quote(ms, symbol, bidPrice=ms) for ms in (1, 2)), 5)

    assert [numbers(sink) for sink in sinks] == [[1, 2, 5, 6, 11, 12], [3, 4], [7, 8, 9, 10]]
    assert [len(sink.buffer.runs) for sink in sinks] == [3, 1, 1]  # one a run, not one a record


@given(st.lists(st.lists(st.sampled_from("ABCX"), max_size=6), max_size=8))
def test_each_record_has_its_number_in_every_sink_that_it_goes_to(frames: list[list[str]]) -> None:
    alone, both, other = Sink(), Sink(), Sink()
    streams = {symbol: Subscription("quotes", symbol, ("bid_price",)) for symbol in "ABC"}
    routes = [Route(streams["A"], alone, 0), Route(streams["A"], both, 0), Route(streams["B"], both, 1)]
    intake = intake_with(*routes, Route(streams["C"], other, 0))
    expected: dict[Sink, list[int]] = {alone: [], both: [], other: []}

    number = 0
    for frame in frames:
        intake.take(b"\n".join(quote(7, symbol, bidPrice=1.0) for symbol in frame), 5)
        for symbol in frame:
            if symbol != "X":  # of which the protocol makes no record
                number += 1
                for sink in {"A": (alone, both), "B": (both,), "C": (other,)}[symbol]:
                    expected[sink].append(number)

    assert {sink: numbers(sink) for sink in expected} == expected


def test_a_record_that_was_unsubscribed_a_moment_ago_keeps_its_number() -> None:
    gone, sink = Sink(), Sink()
    msft = Subscription("quotes", "MSFT", ("bid_price",))
    intake = intake_with(Route(BID, gone, 0), Route(msft, sink, 0))
    intake.detach([Route(BID, gone, 0)])

    intake.take(b"\n".join(quote(7, symbol, bidPrice=1.0) for symbol in ("MSFT", "AAPL", "MSFT")), 5)

    assert numbers(sink) == [1, 3]


def test_only_a_first_route_makes_a_subscription_new() -> None:
    intake = Intake(BROKERS["aries"].market.make())
    mine, yours = Route(BID, Sink(), 0), Route(BID, Sink(), 0)

    news = [intake.attach([mine]), intake.attach([mine]), intake.attach([yours, Route(ASK, Sink(), 0)])]

    assert news == [[BID], [], [ASK]]
    assert intake.subscriptions == [BID, ASK]


def test_only_the_last_route_ends_a_subscription() -> None:
    mine, yours = Route(BID, Sink(), 0), Route(BID, Sink(), 0)
    intake = intake_with(mine, yours)

    gone = [intake.detach([mine]), intake.detach([mine]), intake.detach([yours])]

    assert gone == [[], [], [BID]]
    assert intake.subscriptions == []


def test_two_codes_of_one_sink_leave_one_by_one() -> None:
    sink = Sink()
    intake = intake_with(Route(BID, sink, 0), Route(BID, sink, 1))

    intake.detach([Route(BID, sink, 0)])
    intake.take(quote(1000, bidPrice=1), 5)
    intake.publish()

    assert sink.buffer.codes == [1]
    assert sink.published == 1


def test_a_record_of_a_subscription_that_just_ended_is_dropped() -> None:
    sink = Sink()
    intake = intake_with(Route(BID, sink, 0))

    intake.detach([Route(BID, sink, 0)])
    intake.take(quote(1000, bidPrice=1), 5)

    assert sink.rows == []


def test_everything_that_comes_is_counted() -> None:
    intake = intake_with(Route(BID, Sink(), 0))
    frames = [quote(1000, bidPrice=1), quote(1001, bidPrice=2) + b"\n" + quote(1002, bidPrice=3) + b"\n", b"rubbish"]

    for received, frame in enumerate(frames, 7):
        intake.take(frame, received)

    assert (3, 4, sum(map(len, frames))) == (intake.frames, intake.messages, intake.octets)
    assert (intake.records, intake.unreadable, intake.last_received) == (3, 1, 9)


def test_lag_is_the_median_of_receipt_less_exchange_time() -> None:
    intake = intake_with(Route(BID, Sink(), 0))
    unknown = intake.lag_ms

    for ms, lag in ((MS, 5), (MS + 1, 7), (MS + 2, 90)):
        intake.take(quote(ms, bidPrice=1), (ms + lag) * 10**6)

    assert math.isnan(unknown)
    assert intake.lag_ms == 7.0


def test_the_newest_unreadable_messages_are_kept_and_all_are_counted() -> None:
    intake = intake_with()

    for number in range(KEPT_UNREADABLE + 10):
        intake.take(f"rubbish {number}".encode(), number)

    assert intake.unreadable == KEPT_UNREADABLE + 10
    assert [f"rubbish {number}" for number in range(10, KEPT_UNREADABLE + 10)] == [e.excerpt for e in intake.excerpts]


def test_what_is_kept_goes_through_the_mask() -> None:
    intake = Intake(BROKERS["aries"].market.make(), lambda text: text.replace("hunter2", "***"))

    intake.take(b"you said hunter2", 1)

    assert [item.excerpt for item in intake.excerpts] == ["you said ***"]


class InParts:
    """A protocol that decodes each frame in three calls, with a record of each, and of a call without a frame."""

    COLUMNS: ClassVar[dict[Any, Any]] = {}
    HAS_TABLES = False

    def __init__(self) -> None:
        self._left = 0

    def receive(self, frames: Sequence[bytes], received: int) -> Any:
        self._left = 2 if frames else max(self._left - 1, 0)
        return [(BID, received, (float(self._left),))], [Unfinished()] if self._left else []


def test_the_time_of_the_newest_frame_follows_a_correction_once() -> None:
    """Frames come between a correction, as by the answer to a handshake, and the next look at lags."""
    arrivals = Arrivals()
    intake = Intake(BROKERS["aries"].market.make(), arrivals=arrivals)
    before = intake.last_received
    intake.take(b"{}", 500)

    arrivals.clock.base -= 70
    corrected = intake.last_received
    intake.take(b"{}", 440)
    intake.clock_corrected()

    assert (before, corrected, intake.last_received) == (0, 430, 440)


def test_the_parts_of_a_frame_were_received_when_it_was() -> None:
    sink = Sink()
    intake = Intake(cast("Any", InParts()))
    intake.attach([Route(BID, sink, 0)])

    for received in (5, 6, 7):
        assert intake.is_unfinished is (received > 5)
        intake.take(b"{}", received)

    assert sink.buffer.marks == [(1, 5), (2, 5), (3, 5)]
    assert (intake.frames, intake.is_unfinished, numbers(sink)) == (1, False, [1, 2, 3])


def test_what_waits_between_two_parts_leaves_the_frame_to_be_taken_to_its_end() -> None:
    sink = Sink()
    intake = Intake(cast("Any", InParts()))
    intake.attach([Route(BID, sink, 0)])

    intake.take(b"{}", 5)
    intake.take_more(6)
    intake.take(b"{}", 7)
    intake.take_more(8)
    intake.take(b"{}", 9)
    intake.take_more(10)

    assert (intake.frames, intake.is_unfinished) == (1, False)
    assert sink.buffer.marks == [(1, 5), (2, 5), (3, 5), (4, 10)]


def test_what_comes_without_a_frame_counts_as_unasked_where_nothing_is_subscribed() -> None:
    intake = Intake(cast("Any", InParts()))

    intake.take_more(5)

    assert (intake.records, intake.unasked, intake.new_lags()) == (1, 1, [])


def test_a_break_interrupts_each_sink_once() -> None:
    sink = Sink()
    intake = intake_with(Route(BID, sink, 0), Route(ASK, sink, 0))

    intake.interrupted()

    assert sink.breaks == 1

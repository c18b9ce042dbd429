from __future__ import annotations

import json
import math
from typing import Any

from aries_nb.brokers import BROKERS
from aries_nb.model import RecordBuffer, Subscription
from aries_nb.net.intake import KEPT_UNREADABLE, Intake, Route

BID = Subscription("quotes", "AAPL", ("bid_price",))
ASK = Subscription("quotes", "AAPL", ("ask_price",))


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


def quote(ms: int, **data: float) -> bytes:
    payload = {"action": "update", "type": "quote", "symbol": "AAPL", "data": data, "timestamp": ms}
    return json.dumps({"type": "event", "payload": payload}).encode()


def intake_with(*streams: Route) -> Intake:
    protocol = BROKERS["aries"].market.make()
    intake = Intake(protocol)
    protocol.subscribe(intake.attach(streams))
    return intake


def test_a_record_goes_to_every_sink_with_the_symbols_code_there() -> None:
    first, second = Sink(), Sink()
    intake = intake_with(Route(BID, first, 0), Route(BID, second, 3))

    intake.take(quote(1000, bidPrice=9.5), 5)

    assert first.rows == [(0, 10**9, (9.5,))]
    assert second.rows == [(3, 10**9, (9.5,))]


def test_the_time_of_receipt_is_marked_once_a_frame() -> None:
    sink = Sink()
    intake = intake_with(Route(BID, sink, 0))

    intake.take(b"\n".join([quote(1000, bidPrice=1), quote(1001, bidPrice=2)]), 5)
    intake.take(quote(1002, bidPrice=3), 6)

    assert sink.buffer.marks == [(2, 5), (3, 6)]


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

    for ms, lag in ((1000, 5), (1001, 7), (1002, 90)):
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


def test_a_break_interrupts_each_sink_once() -> None:
    sink = Sink()
    intake = intake_with(Route(BID, sink, 0), Route(ASK, sink, 0))

    intake.interrupted()

    assert sink.breaks == 1

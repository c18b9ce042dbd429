"""What a checkpoint of a replay has: all that is a function of the events; and how many there are."""

from __future__ import annotations

from typing import Any

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.model import QUOTE_COLUMNS, Checkpointed
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.checkpoints import EVERY_SECONDS, MOST, Checkpoints
from aries_nb.net.events.playback_run import NoGaps, PlaybackRun, PlaybackSession
from aries_nb.net.events.replay_clock import ReplayClock
from aries_nb.store import GapLog, OrderBook, RollingFrame, Table
from aries_nb.store.derived.reader import RowReader

SECOND = 1_000_000_000

# What is no part of the state: it stays the same, belongs to observers, is made anew, or is empty where one is taken.
NO_STATE = {
    PlaybackSession: {
        "_arrivals", "_barriers", "_clock", "_endpoint", "_gap_tracker", "_observers", "_protocol", "_redact_text",
        "_where", "connection", "intake", "number", "on_trade_gap", "read_monitor", "status_observers",
    },
    "Intake": {
        "_appenders_of", "_arrivals", "_by_columns", "_connection", "_fresh", "_protocol", "_redact", "_routes",
        "_sinks", "_targets_of",
    },
    "GapTracker": {"_clock", "_gaps", "_intake", "_running"},
    "ReadMonitor": {"_clock", "_intake", "_notify", "_where"},
    "Answers": {"_events", "_guard", "_lanes", "_waiting", "is_replay", "listed"},
    Arrivals: {
        "_connections", "_users", "answers", "clock", "is_replay", "journals", "late", "mask", "recorded", "restarted",
        "shown", "subscriptions", "timer", "_waiting",  # nothing waits after `publish`
        "counted", "first_routes", "latest_before", "sessions", "ticked",  # of a live feed
    },
    GapLog: {"_lock", "_observers", "clock"},
    OrderBook: {"_clock", "_history", "_lock", "_observers", "_version", "buffer", "lags", "symbol"},
    Table: {
        "_clock", "_filled_at", "_frame", "_history", "_is_finished", "_limit", "_listeners", "_observers", "_places",
        "_status_at", "_updated", "accounts", "buffer", "columns", "key",
    },
    RollingFrame: {
        "_are_events", "_backfill_number", "_backfills", "_first_capacity", "_is_backfilling", "_limit", "_observers",
        "_order", "_prices", "_published", "_sorted", "_window_us", "buffer", "columns", "lags", "symbols",
        "readers", "receipts", "missing",
        "_before",  # of a live feed
    },
}  # fmt: skip


def arrivals() -> Arrivals:
    return Arrivals(ReplayClock(0), is_replay=True)


def session() -> PlaybackSession:
    return PlaybackSession("here", BROKERS["aries"].market.make(), NoGaps(), arrivals(), 1)


@pytest.mark.parametrize(
    "part",
    [
        session(),
        session().intake,
        session()._gap_tracker,
        session().read_monitor,
        arrivals(),
        arrivals().answers,
        GapLog(),
        OrderBook("AAPL"),
        Table((), ("ACC-1",), key=()),
        RollingFrame(QUOTE_COLUMNS, ("AAPL",), limit=5),
    ],
    ids=lambda part: type(part).__name__,
)
def test_each_attribute_is_in_a_checkpoint_or_known_not_to_be_state(part: Checkpointed) -> None:
    known: Any = NO_STATE.get(type(part)) or NO_STATE[type(part).__name__]

    assert vars(part).keys() == known | set(part.STATE)


def taken(checkpoints: Checkpoints, count: int, *stores: Any) -> None:
    """Take a checkpoint at each of so many seconds."""
    for second in range(count):
        run = PlaybackRun({}, arrivals(), lambda _name, _number: NoGaps(), "here")
        run.done, run.latest = second, second * SECOND
        checkpoints.take(run.arrivals, run, stores, run.latest + 1)


def test_a_seek_finds_the_newest_state_before_it() -> None:
    checkpoints = Checkpoints([])
    taken(checkpoints, 10)

    found = [checkpoints.before(instant, arrivals()) for instant in (-1, 0, 5 * SECOND - 1, 5 * SECOND, 100 * SECOND)]

    assert [each and each.run.done for each in found] == [None, 0, 4, 5, 9]


def test_of_many_states_every_other_one_goes_and_fewer_follow() -> None:
    checkpoints = Checkpoints([])
    taken(checkpoints, 3 * MOST)

    places = [each.run.done for each in checkpoints._states]

    assert len(places) <= MOST
    assert places[-1] == 3 * MOST - 1
    assert not checkpoints.passed(EVERY_SECONDS)


def test_rows_count_and_a_state_with_too_many_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = RollingFrame(QUOTE_COLUMNS, ("AAPL",), limit=10_000)
    for number in range(1_000):
        frame.buffer.add(0, number, (1.0,) * len(QUOTE_COLUMNS))
    frame.buffer.mark(5)
    frame.publish()
    copy = frame.checkpoint()
    assert copy is not None
    octets = sum(column.nbytes for column in copy["rows"].values())

    monkeypatch.setattr("aries_nb.net.events.checkpoints.MOST_BYTES", 5 * octets)
    many, none = Checkpoints([]), Checkpoints([])
    taken(many, 20, frame)
    monkeypatch.setattr("aries_nb.net.events.checkpoints.MOST_BYTES", octets - 1)
    taken(none, 20, frame)

    assert 2 < len(many._states) <= 5
    assert not none._states


def test_what_cannot_be_copied_leaves_no_checkpoint() -> None:
    due, asked, computed, listened = arrivals(), arrivals(), arrivals(), Checkpoints([])
    due.timer.at(5, lambda _: None)
    asked.answers.ask("bars", "AAPL", lambda *_: b"", lambda *_: None, lambda _: None)
    computed.restarted.add(lambda: None)
    table = Table((), ("ACC-1",), key=(), listeners=[object()])  # type: ignore[list-item]
    taken(listened, 3, table)

    assert [each.checkpoint() for each in (due, asked, computed)] == [None] * 3
    assert not listened._states


def test_what_is_computed_of_all_rows_does_not_go_on_from_a_checkpoint() -> None:
    frame, checkpoints, computed = RollingFrame(QUOTE_COLUMNS, ("AAPL",), limit=5), Checkpoints([]), arrivals()
    taken(checkpoints, 3, frame)
    assert checkpoints.before(SECOND, arrivals()) is not None

    computed.restarted.add(lambda: None)
    assert checkpoints.before(SECOND, computed) is None

    reader = RowReader(frame)
    assert checkpoints.before(SECOND, arrivals()) is None
    del reader
    assert checkpoints.before(SECOND, arrivals()) is not None


def test_a_protocol_that_cannot_be_copied_is_said_and_left(caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints([])
    run = PlaybackRun({"market": BROKERS["aries"].market}, arrivals(), lambda _name, _number: NoGaps(), "here")
    run.sessions["market"][0]._protocol.lines = (line for line in ())  # type: ignore[attr-defined]
    with caplog.at_level("INFO", "aries_nb"):
        checkpoints.take(run.arrivals, run, (), 1)

    assert not checkpoints._states
    assert not checkpoints.passed(1e9)
    assert "cannot be copied" in caplog.text


def test_a_frame_that_goes_on_from_a_checkpoint_has_its_rows_counts_and_larger_numbers() -> None:
    frame = RollingFrame(QUOTE_COLUMNS, ("AAPL", "MSFT"), limit=50)

    def add(count: int) -> None:
        for number in range(frame.version, frame.version + count):
            frame.buffer.number(number)
            frame.buffer.add(number % 2, number * 1_000, tuple(float(number) for _ in QUOTE_COLUMNS))
        frame.buffer.mark(5_000)
        frame.publish()

    add(70)
    before, counts, latest = frame.frame().copy(), frame.message_counts(), frame.latest()
    checkpoint = frame.checkpoint()
    add(100)
    version = frame.version
    assert checkpoint is not None
    frame.resume(checkpoint)

    assert before.equals(frame.frame())
    assert (counts, latest, 20) == (frame.message_counts(), frame.latest(), frame.evicted)
    assert frame.version - frame.origin == 70
    assert frame.origin > version

"""A first seek far ahead begins from a state that the recording noted, and shows what the recorded feed showed."""

from __future__ import annotations

import gc
import random
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.live.recordings.recording import RecordedDay
from aries_nb.model import Column
from aries_nb.model.journal import Event, Hole
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.background import on_network
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events import noted_states, notes, playback, state_codec
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.notes import NOTED, StateNotes
from aries_nb.net.events.notes import ROWS as ROWS_NOTED
from aries_nb.net.lag import LagMonitor
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from aries_nb.store import RollingFrame, frame_states
from tests.live.recorded import Day
from tests.live.test_replay import SYMBOLS, sha256
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = {"aries": (40, 15, 10), "alor": (4, 2, 40)}  # of quotes and trades, which come at other rates
LONG = {"quotes": ["bid_price", "ask_price"], "trades": ["price", "size"]}  # frames whose windows are never full
TOKEN = "a token of some length"


class Recorded(NamedTuple):
    path: Path
    broker: str
    events: list[Event]
    hashes: dict[str, str]


def asked(feed: Feed, broker: str) -> dict[str, Any]:
    one, other = SYMBOLS[broker]
    some, few, prints = ROWS[broker]
    return {
        "quotes": feed.quotes(one, other, rows=some),
        "fields": feed.quotes(other, rows=few, fields=["bid_price", "last_price"]),
        "trades": feed.trades(one, other, rows=prints),
        "book": feed.book(one, depth=10),
    }


def shown(feed: Feed, live: dict[str, Any]) -> dict[str, str]:
    found = {name: sha256(each.df) for name, each in live.items()}
    found |= {f"latest {name}": sha256(live[name].latest) for name in ("quotes", "fields", "trades")}
    found["gaps"] = sha256(feed.gaps.df)
    found |= {f"ledger {name}": repr(each.ledger) for name, each in live.items()}
    return found


def feed_of(broker: str, url: str, **options: Any) -> Feed:
    return Feed(BROKERS[broker], url, fixed_token(TOKEN), at_close=lambda _: None, **options)


@pytest.fixture(scope="module", params=["aries", "alor"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    broker, path = request.param, tmp_path_factory.mktemp("recorded") / "day.anb"
    options = SimOptions(rate=2_000) if broker == "aries" else AlorOptions(rate=2_000)
    with (
        pytest.MonkeyPatch.context() as patch,
        Simulator(options) as market,
        feed_of(broker, market.url, record=path, rule=BackoffRule(first=0.01, cap=0.05)) as feed,
    ):
        patch.setattr(frame_states, "MOST_RECENT", 10**6)  # however long it takes until the next one
        patch.setattr(notes, "MOST_ROWS", 10**6)
        feed.wait_open(30)
        live = asked(feed, broker)
        long = [getattr(feed, kind)(*SYMBOLS[broker], fields=fields) for kind, fields in LONG.items()]

        def note(count: int) -> None:
            for _ in range(count):
                rows = live["trades"].ledger.received
                eventually(lambda rows=rows: live["trades"].ledger.received > rows + 30)
                eventually(is_noted)

        def is_noted() -> bool:
            own = feed._recorder.notes
            before = own._noted
            on_network(own.note).result()
            return own._noted > before

        note(4)
        market.drop_connections()
        eventually(lambda: len(feed.gaps.df) and feed.gaps.df["ended"].notna().all())
        note(4)
        ring = feed._recorder._ring
        hashes, count = on_network(lambda: (shown(feed, live), len(ring.events))).result()
        assert all(len(each.df) for each in long)
    return Recorded(path, broker, list(islice(RecordingReader(path).events(), count)), hashes)


@pytest.fixture(autouse=True)
def _search_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "LEAST_SHARE", 10**9)


def replay(recorded: Recorded, *, has_states: bool = True) -> Feed:
    events = recorded.events if has_states else [each for each in recorded.events if each.what != NOTED]
    past = feed_of(recorded.broker, "ws://127.0.0.1:1", recorded=Day(events))
    past.clock.pause()
    return past


def counts(past: Feed) -> list[object]:
    """What a replay counts of its connections, but for messages that this replay has not asked for."""
    names = ("frames", "messages", "octets", "records", "unreadable", "excerpts", "is_unfinished")
    sessions = past._playback._run.sessions["market"]
    return [
        *([getattr(each.intake, name) for name in names] for each in sessions),
        *((each.state, each.reconnects, each.renewals, each.rejected, each.running) for each in sessions),
        past._playback.arrivals.next,
    ]


def begun(past: Feed) -> Event | None:
    return past._playback._run.begun


def test_states_are_noted_without_the_token(recorded: Recorded) -> None:
    states = [each for each in recorded.events if each.what == NOTED]

    assert len(states) >= 6
    assert not any(TOKEN.encode() in each.body for each in recorded.events)


def test_a_first_seek_to_the_end_begins_near_it(recorded: Recorded) -> None:
    with replay(recorded) as past:
        live = asked(past, recorded.broker)
        past.clock.seek(past.clock.end)

        assert shown(past, live) == recorded.hashes
        assert begun(past) is not None
        assert past._playback._run.done < len(recorded.events) / 2


@pytest.mark.parametrize("seed", range(2))
def test_first_seeks_anywhere_show_what_was_there(recorded: Recorded, seed: int) -> None:
    rng = random.Random(seed)
    with replay(recorded) as past, replay(recorded, has_states=False) as whole:
        live, all_of = asked(past, recorded.broker), asked(whole, recorded.broker)
        for _ in range(2):
            instant = past.clock.start + (past.clock.end - past.clock.start) * rng.random()
            past.clock.seek(instant)
            whole.clock.seek(instant)

            assert shown(past, live) == shown(whole, all_of)
            assert counts(past) == counts(whole)
        past.clock.play("max")
        eventually(lambda: not past.clock.is_playing)
        assert shown(past, live) == recorded.hashes


def test_states_are_found_in_the_files_of_a_recording(recorded: Recorded) -> None:
    day = RecordedDay(RecordingReader(recorded.path))
    with feed_of(recorded.broker, "ws://127.0.0.1:1", recorded=day) as past:
        past.clock.pause()
        live = asked(past, recorded.broker)
        past.clock.seek(past.clock.end)
        there = shown(past, live)
        state = begun(past)
        past._playback._notes.give_up()
        past._playback._checkpoints.clear()
        past.clock.seek(past.clock.start)
        past.clock.seek(past.clock.end)

        assert state is not None
        assert begun(past) is None
        assert shown(past, live) == there


def test_a_recording_with_a_hole_is_played_from_its_beginning(recorded: Recorded) -> None:
    at = len(recorded.events) // 3
    first, *_, last = recorded.events[at : at + 50]
    hole = Hole("damaged", first.seq, first.received, last.seq, last.received).event()
    holed = recorded._replace(events=[*recorded.events[:at], hole, *recorded.events[at + 50 :]])
    with replay(holed) as past, replay(holed, has_states=False) as whole:
        live, all_of = asked(past, recorded.broker), asked(whole, recorded.broker)
        past.clock.seek(past.clock.end)
        whole.clock.seek(whole.clock.end)

        assert begun(past) is None
        assert "recording" in set(past.gaps.df["cause"])
        assert shown(past, live) == shown(whole, all_of)


def test_what_is_asked_for_after_a_seek_is_the_same(recorded: Recorded) -> None:
    with replay(recorded) as past:
        past.clock.seek(past.clock.end)
        assert begun(past) is not None

        live = asked(past, recorded.broker)

        assert shown(past, live) == recorded.hashes


def test_frames_of_other_symbols_are_whole(recorded: Recorded) -> None:
    one, other = SYMBOLS[recorded.broker]
    _, few, prints = ROWS[recorded.broker]
    with replay(recorded) as past, replay(recorded, has_states=False) as whole:
        some = [(each, each.quotes(other, rows=few), each.trades(one, rows=prints // 2)) for each in (past, whole)]
        for feed, *_ in some:
            feed.clock.seek(feed.clock.end)

        assert begun(past) is not None
        (_, *found), (_, *expected) = some
        assert [sha256(each.df) for each in found] == [sha256(each.df) for each in expected]
        assert [each.ledger for each in found] == [each.ledger for each in expected]


@pytest.mark.parametrize("has_rows", [True, False])
@pytest.mark.parametrize("kind", ["quotes", "trades"])
def test_a_frame_that_never_filled_its_window_has_all_rows(recorded: Recorded, kind: str, *, has_rows: bool) -> None:
    """They are noted as well; where they are missing, all events are passed."""
    one, other = SYMBOLS[recorded.broker]
    events = recorded.events if has_rows else [each for each in recorded.events if each.what != ROWS_NOTED]
    with replay(recorded._replace(events=events)) as past, replay(recorded, has_states=False) as whole:
        ask = [partial(getattr(each, kind), fields=LONG[kind]) for each in (past, whole)]
        some = [[each(one), each(one, window="1s"), each(other, one), each(other, rows=900)] for each in ask]
        for share in (0.8, 1.0):
            for feed in (past, whole):
                feed.clock.seek(feed.clock.start + (feed.clock.end - feed.clock.start) * share)
            found, expected = ([(sha256(each.df), sha256(each.latest), each.ledger) for each in of] for of in some)

            assert found == expected
        if kind == "quotes" or not has_rows:  # trades may have been filled in
            assert (begun(past) is not None) is has_rows


@pytest.mark.parametrize("what", ["cut", "flipped", "empty", "of another version"])
def test_damaged_states_are_no_states(recorded: Recorded, what: str) -> None:
    def damaged(body: bytes) -> bytes:
        place = len(body) // 2
        flipped = body[:place] + bytes([body[place] ^ 0x5A]) + body[place + 1 :]
        return {"cut": body[:place], "flipped": flipped, "empty": b"", "of another version": b"x" + body[1:]}[what]

    events = [each._replace(body=damaged(each.body)) if each.what == NOTED else each for each in recorded.events]
    with replay(recorded._replace(events=events)) as past:
        live = asked(past, recorded.broker)
        past.clock.seek(past.clock.end)
        if what != "flipped":  # of which a part may be another value
            assert shown(past, live) == recorded.hashes
            assert begun(past) is None


def _without_session(state: dict[str, Any]) -> None:
    for *_, session in state["sessions"]:
        vars(session["protocol"])["_session"] = 5


def _without_parts(state: dict[str, Any]) -> None:
    for *_, session in state["sessions"]:
        del session["reads"]


def _of_other_protocols(state: dict[str, Any]) -> None:
    state["sessions"] = [(*each, {**session, "protocol": LagMonitor()}) for *each, session in state["sessions"]]


def _of_other_codes(state: dict[str, Any]) -> None:
    state["stores"] = [(number, dict.fromkeys(codes, 10_000), *rest) for number, codes, *rest in state["stores"]]


def _with_values_for_methods(state: dict[str, Any]) -> None:
    for *_, session in state["sessions"]:
        vars(session["protocol"])["receive"] = session["own"]["tick"] = 5


def _with_bad_counts(state: dict[str, Any]) -> None:
    for *_, session in state["sessions"]:
        session["intake"]["excerpts"] = session["intake"]["_lags"] = None


MADE_UP = [
    _without_session, _without_parts, _of_other_protocols, _of_other_codes, _with_values_for_methods, _with_bad_counts,
]  # fmt: skip


@pytest.mark.parametrize("change", MADE_UP)
def test_a_state_that_a_stranger_made_up_is_left_out(
    recorded: Recorded, change: Callable[[dict[str, Any]], None]
) -> None:
    def made_up(body: bytes) -> bytes:
        state = state_codec.unpack(body)
        change(state)
        return state_codec.pack(state)

    events = [each._replace(body=made_up(each.body)) if each.what == NOTED else each for each in recorded.events]
    with replay(recorded._replace(events=events)) as past:
        live = asked(past, recorded.broker)
        past.clock.seek(past.clock.end)
        assert shown(past, live) == recorded.hashes

    *_, before, last = (each.received for each in events if each.what == NOTED)
    with replay(recorded._replace(events=events)) as past, replay(recorded, has_states=False) as whole:
        live, all_of = asked(past, recorded.broker), asked(whole, recorded.broker)
        for feed in (past, whole):  # to what follows a state
            feed._playback.seek((before + last) // 2).result()

        assert shown(past, live) == shown(whole, all_of)
        assert begun(past) is None


def test_a_replay_goes_on_where_a_made_up_state_fails_later(recorded: Recorded) -> None:
    with replay(recorded) as past:
        live = asked(past, recorded.broker)
        past.clock.seek(past.clock.start + (past.clock.end - past.clock.start) * 0.9)
        assert begun(past) is not None
        for session in past._playback.sessions("market"):
            on_network(lambda session=session: delattr(session.intake, "_lags")).result()

        past.clock.play("max")
        eventually(lambda: not past.clock.is_playing)

        assert begun(past) is None
        assert shown(past, live) == recorded.hashes


def test_stores_of_which_rows_are_noted_have_numbers_of_their_own() -> None:
    notes = StateNotes(Arrivals(), [], lambda: False)
    gone, kept = (RollingFrame((Column("price"),), ("A",), limit=9) for _ in range(2))
    first = [number for number, _ in notes._rows([gone, kept])]
    del gone
    gc.collect()
    later = [number for number, _ in notes._rows([kept, RollingFrame((Column("price"),), ("A",), limit=9)])]

    assert first == [0, 1]
    assert later == [1, 2]


def test_rows_that_are_too_many_are_left_out(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noted_states, "MOST_ROW_BYTES", 1)
    with replay(recorded) as past:
        live = asked(past, recorded.broker)
        past.clock.seek(past.clock.end)

        assert shown(past, live) == recorded.hashes


def test_states_with_what_was_there_before_are_not_noted(recorded: Recorded, tmp_path: Path) -> None:
    """A feed that went on with a recording has gaps of it, which another recording has not."""
    path = tmp_path / "day.anb"
    options = SimOptions() if recorded.broker == "aries" else AlorOptions()
    with Simulator(options) as market:
        for count in range(2):
            with feed_of(recorded.broker, market.url, record=path) as feed:
                feed.wait_open(30)
                assert feed._recorder._is_noting() == (not count)
                feed.record(tmp_path / f"{count}.anb")
                assert feed._recorder._is_noting() == (not count)


def test_sessions_of_all_kinds_can_be_noted(recorded: Recorded) -> None:
    options = SimOptions() if recorded.broker == "aries" else AlorOptions()
    with Simulator(options) as market, feed_of(recorded.broker, market.url) as feed:
        feed.wait_open(30)
        live = asked(feed, recorded.broker)
        one, _ = SYMBOLS[recorded.broker]
        objects = [feed.bars(one), feed.account("D00001" if recorded.broker == "alor" else feed.accounts[0])]
        eventually(lambda: len(live["trades"].df))

        def packed() -> list[tuple[bytes, bytes]]:
            bodies = [state_codec.pack(each._protocol) for each in feed._arrivals.sessions]
            return [(body, state_codec.pack(state_codec.unpack(body))) for body in bodies]

        found = on_network(packed).result()
        assert len(found) >= 2
        assert all(first == again for first, again in found)
        assert len(objects) == 2

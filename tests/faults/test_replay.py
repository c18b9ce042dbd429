"""Recordings under schedules of faults, also of the rough market, replay to the hashes of the recording process.

Each schedule records a feed of market and accounts through the proxy with the faults. That process writes the hashes of
what the feed shows at the end. Another one replays the file: at × 1, × 10 and as fast as possible, and by random mixes
of pauses, steps, seeks and speeds. `-m long` runs 200 schedules and 200 mixes of each broker, for an hour.
"""

from __future__ import annotations

import logging
import random
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aries_nb.errors import FeedError
from aries_nb.live import Feed
from aries_nb.live.recordings.recording import RecordedDay
from aries_nb.recording import RecordingReader
from aries_nb.sim import Simulator
from aries_nb.sim.market.troubles import read_troubles
from tests.faults.conftest import shorten
from tests.faults.course import ALOR, ARIES, RULE, Ground, Schedule
from tests.faults.faults import Cut, Rubbish, Step
from tests.faults.proxy import FaultProxy
from tests.faults.schedules import drawn
from tests.live import test_replay as market_of
from tests.live import test_replay_of_accounts as accounts_of
from tests.net.patience import eventually

log = logging.getLogger(__name__)

# Without those that hold the whole market or a request up for longer than a schedule lasts.
ROUGH = read_troubles("all") - {"halts", "market_halts", "hanging_http", "stream_refusals"}
FEW_STEPS = (Step(20, Rubbish("text")), Step(10, Cut("torn")), Step(10, Cut("close", 1011)))
SCHEDULES, START = 400, 20_261_130  # of both brokers together
AT_PACE_1 = 8  # of so many schedules one is replayed at × 1, which takes as long as the recording


class Recorded(NamedTuple):
    path: Path
    hashes: dict[str, str]
    until: int


def asked(feed: Feed, broker: str) -> dict[str, Any]:
    market, accounts = market_of.asked(feed, broker), accounts_of.asked(feed, broker)
    return market | accounts | ({"instruments": feed.instruments("SBER")} if broker == "alor" else {})


def shown(feed: Feed, live: dict[str, Any]) -> dict[str, str]:
    found = market_of.shown(feed, live) | accounts_of.shown(live)
    # Frames of marks begin with the rows of others: these count as filled, in a replay as received.
    found["ledger"] = str({name: each.ledger for name, each in live.items() if hasattr(each, "ledger")})
    return found


def recorded(ground: Ground, path: Path, schedule: Schedule, *, is_rough: bool) -> Recorded:
    rough = {"rough": ROUGH, "rough_seconds": 2.0} if is_rough else {}
    options: Any = ground.options(rate=500, seed=schedule.seed, **rough)
    with (
        Simulator(options) as market,
        FaultProxy(market.url, ground.dialect) as proxy,
        accounts_of.opened(ground.name, proxy.url, record=path, rule=RULE) as feed,
    ):
        feed.wait_open(20)
        live = asked(feed, ground.name)
        proxy.begin(schedule.steps)
        eventually(lambda: proxy.is_done, f"the faults of {schedule}")
        proxy.calm()
        eventually(lambda: feed.state == "live" and len(live["trades"].df) > 20, f"live after {schedule}: {feed!r}")
        recording = feed.record(path)

        def look() -> Recorded | None:
            if not accounts_of.is_computed(live):
                return None
            recording._detach()
            return Recorded(path, shown(feed, live), feed._link.clock.now_ns())

        found = next(filter(None, iter(lambda: feed._link.arrivals.do(look).result(), 0)))
        recording.close()
    return found


def replayed(of: Recorded) -> Feed:
    reader = RecordingReader(of.path)
    return accounts_of.opened(reader.header.broker, "ws://127.0.0.1:1", recorded=RecordedDay(reader))


def check_end(past: Feed, live: dict[str, Any], of: Recorded) -> None:
    past._playback.seek(of.until).result(60)
    eventually(lambda: past._playback.settled.is_set() and accounts_of.is_computed(live), "equity and marks")
    differ = {name: (each, of.hashes[name]) for name, each in shown(past, live).items() if each != of.hashes[name]}
    assert not differ, str(differ)


def check_pace(of: Recorded, pace: float | str) -> None:
    """Replay it at one pace."""
    with replayed(of) as past:
        live = asked(past, past.name)
        past.clock.play(pace)
        eventually(lambda: not past.clock.is_playing)
        check_end(past, live, of)


def check_mix(of: Recorded, seed: int, moves: int) -> None:
    """Replay it by a random mix of so many moves, then to the end."""
    rng = random.Random(seed)
    with replayed(of) as past:
        is_late = rng.random() < 0.3
        if is_late:
            past._playback.seek(rng.randrange(past._playback.first, of.until)).result(60)
        live, clock = asked(past, past.name), past.clock
        for _ in range(moves):
            rng.choice(
                [
                    clock.pause,
                    lambda: clock.play(rng.choice([1, 10, "max"])),
                    lambda: clock.step(rng.choice(["1ms", "100ms"])),
                    lambda: clock.step(events=rng.randint(1, 200)),
                    lambda: clock.seek(clock.start + (clock.end - clock.start) * rng.random()),
                ]
            )()
        check_end(past, live, of)


@pytest.mark.parametrize(("ground", "is_rough"), [(ARIES, False), (ALOR, True)], ids=["aries", "alor-rough"])
def test_a_recording_under_faults_ends_at_its_hashes_at_any_pace(
    ground: Ground, tmp_path: Path, *, is_rough: bool
) -> None:
    of = recorded(ground, tmp_path / "day.anb", Schedule(1, FEW_STEPS), is_rough=is_rough)

    check_pace(of, "max")
    check_mix(of, 1, moves=4)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("ground", [ARIES, ALOR], ids=lambda ground: ground.name)
def test_200_recordings_under_faults_end_at_their_hashes_at_any_pace(
    ground: Ground, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--schedules", default=None) or SCHEDULES
    start = request.config.getoption("--start", default=None)
    failed = []
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=shorten) as other:
        for number, schedule in enumerate(islice(drawn(2 * count, START if start is None else start), count // 2)):
            path = tmp_path / f"{number}.anb"
            how: object = "recorded"
            try:
                of = other.submit(recorded, ground, path, schedule, is_rough=number % 2 == 1).result()
                for how in ("max", 10, 1) if number % AT_PACE_1 == 0 else ("max", 10):
                    check_pace(of, how)
                how = "mix"
                check_mix(of, number, moves=8)
            except (AssertionError, FeedError) as error:
                failed.append(f"{number}, {how}: {schedule}: {error}")
                log.warning(failed[-1])  # the rest takes long

    assert not failed, "\n".join(failed)

"""Recordings under random faults, also of the rough market, replay to the hashes of the recording process, at any pace.

Each schedule records a feed of market and accounts while its connections are cut, closed and sent rubbish, at random.
Then each mix of random pauses, steps, seeks and speeds ends at the same hashes. `-m long` runs 200 schedules and 200
mixes of each broker, for an hour.
"""

from __future__ import annotations

import random
import time
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aries_nb.live import Feed
from aries_nb.net.backoff import BackoffRule
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from aries_nb.sim.market.troubles import read_troubles
from tests.live import test_replay as market_of
from tests.live import test_replay_of_accounts as accounts_of
from tests.live.recorded import Day
from tests.net.patience import eventually

# Without those that hold the whole market or a request up for longer than a schedule lasts.
ROUGH = read_troubles("all") - {"halts", "market_halts", "hanging_http", "stream_refusals"}
RULE = BackoffRule(first=0.05, cap=0.2)


class Recorded(NamedTuple):
    broker: str
    day: Day
    hashes: dict[str, str]
    until: int


def asked(feed: Feed, broker: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return market_of.asked(feed, broker), accounts_of.asked(feed, broker)


def shown(feed: Feed, live: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, str]:
    market, accounts = live
    found = market_of.shown(feed, market) | accounts_of.shown(accounts)
    del found["ledger"]  # frames of marks begin with the rows of others: these count as filled, in a replay as received
    return found


def recorded(broker: str, path: Path, seed: int, *, is_rough: bool) -> Recorded:
    rng = random.Random(seed)
    rough = {"rough": ROUGH, "rough_seconds": 2.0} if is_rough else {}
    options: Any = SimOptions if broker == "aries" else AlorOptions
    with (
        Simulator(options(rate=500, seed=seed, **rough)) as market,
        accounts_of.opened(broker, market.url, record=path, rule=RULE) as feed,
    ):
        feed.wait_open(20)
        live = asked(feed, broker)
        faults = [
            market.drop_connections,
            lambda: market.close_connections(rng.choice([1000, 1001, 1011, 4000])),
            lambda: market.broadcast(rng.choice(["{", "[]", "rubbish", '{"type":"event"}', "\0" * 9])),
        ]
        for _ in range(rng.randint(1, 4)):
            time.sleep(rng.uniform(0.1, 1.0))
            rng.choice(faults)()
        eventually(lambda: feed.state == "live" and len(live[0]["trades"].df) > 20, seconds=60)
        ring = feed._recorder._ring

        def look() -> tuple[bool, dict[str, str], int, int]:
            is_done = accounts_of.is_computed(live[1])
            return is_done, shown(feed, live) if is_done else {}, len(ring.events), feed._link.clock.now_ns()

        looks = iter(lambda: feed._link.arrivals.do(look).result(), None)
        hashes, count, until = next(rest for is_done, *rest in looks if is_done)
    return Recorded(broker, Day(list(islice(RecordingReader(path).events(), count)), until), hashes, until)


def check(of: Recorded, seed: int, moves: int) -> None:
    """Replay it by a random mix of so many moves, then to the end."""
    rng = random.Random(seed)
    with accounts_of.opened(of.broker, "ws://127.0.0.1:1", recorded=of.day) as past:
        is_late = rng.random() < 0.3
        if is_late:
            past._playback.seek(rng.randrange(of.day.first, of.until)).result(60)
        live, clock = asked(past, of.broker), past.clock
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
        past._playback.seek(of.until).result(60)
        eventually(lambda: accounts_of.is_computed(live[1]) and shown(past, live) == of.hashes)


@pytest.mark.parametrize("is_rough", [False, True], ids=["calm", "rough"])
@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_a_mix_of_moves_through_a_recording_under_faults_ends_at_its_hashes(
    broker: str, tmp_path: Path, *, is_rough: bool
) -> None:
    day = recorded(broker, tmp_path / "day.anb", 1, is_rough=is_rough)

    for seed in range(2):
        check(day, seed, moves=4)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_200_mixes_over_200_schedules_of_faults_end_at_their_hashes(broker: str, tmp_path: Path) -> None:
    for seed in range(200):
        day = recorded(broker, tmp_path / f"{seed}.anb", seed, is_rough=seed % 2 == 1)
        check(day, seed, moves=8)

from __future__ import annotations

import threading
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.http_client import HttpClient, http_base
from aries_nb.net.limits import RateLimit
from aries_nb.sim import AlorOptions, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 100.0


def most_in_a_second(times: Iterable[float]) -> int:
    ordered = sorted(times)
    return max(bisect_left(ordered, start + 1.0) - place for place, start in enumerate(ordered))


@pytest.mark.parametrize("gap", [0.0, 0.001, 0.013])
def test_no_second_has_more_turns_than_are_allowed(gap: float) -> None:
    rate_limit = RateLimit(LIMIT)

    turns = [asked + rate_limit.reserve(asked) for asked in (gap * number for number in range(500))]

    assert most_in_a_second(turns) <= 0.96 * LIMIT


def test_first_turns_come_at_once_and_again_after_a_rest() -> None:
    rate_limit = RateLimit(LIMIT)

    first = [rate_limit.reserve(0.0) for _ in range(300)]
    later = [rate_limit.reserve(60.0) for _ in range(300)]

    assert first.count(0.0) == 20
    assert later == pytest.approx(first)


def test_a_refusal_delays_every_request_for_as_long_as_it_says() -> None:
    rate_limit = RateLimit(LIMIT)

    rate_limit.pause(10.0, 3.0)

    assert [rate_limit.reserve(10.0), rate_limit.reserve(10.0)] == pytest.approx([3.0, 3.0 + 1 / 75])


def test_without_a_limit_there_is_no_wait() -> None:
    rate_limit = RateLimit()

    rate_limit.pause(0.0, 30.0)

    assert [rate_limit.reserve(0.0) for _ in range(1_000)] == [0.0] * 1_000


def test_many_threads_together_never_exceed_the_rate_limit() -> None:
    pauses: list[float] = []
    rate_limit = RateLimit(LIMIT)
    start = threading.Barrier(8)

    def ask(client: HttpClient) -> list[bytes]:
        start.wait()
        return [client.get("/md/v2/time") for _ in range(20)]

    with Simulator(AlorOptions(http_rate=LIMIT)) as sim:
        # Two clients of one user, as two feeds have them; a pause is what would follow a refusal.
        token, pause = fixed_token("a token"), lambda seconds: bool(pauses.append(seconds))
        clients = [HttpClient(http_base(sim.url), token, rate_limit=rate_limit, pause=pause) for _ in range(2)]
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, clients * 4))
        for client in clients:
            client.close()

    assert [len(each) for each in answers] == [20] * 8
    assert pauses == []

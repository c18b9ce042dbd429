"""Whatever a server sends, the client's memory stays bounded, and the user sees the problem."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.hostile.attacks import ATTACKS, CALM
from tests.hostile.run import Victim, run_attack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.server import Attack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc")


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with Victim() as process:
        run_attack(CALM, process)  # loads what the first connection loads, which no attack costs
        yield process


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_memory_stays_bounded_and_the_user_sees_what_is_the_matter(attack: Attack, victim: Victim) -> None:
    outcome = run_attack(attack, victim)

    assert re.search(attack.sees, outcome.sees), outcome
    assert outcome.more_mb < attack.more_mb, outcome


def test_after_all_of_them_a_good_server_is_served_as_before(victim: Victim) -> None:
    outcome = run_attack(CALM, victim)

    assert outcome.sees == "live"

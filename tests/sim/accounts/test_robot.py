from __future__ import annotations

from collections import Counter
from random import Random

from aries_nb.sim.accounts.robot import MAX_WORKING, Robot
from tests.sim.trading import NOW, broker, check_sums


def test_robot_acts_at_its_rate_and_orders_end_in_every_way() -> None:
    brokerage = broker()
    robot = Robot(Random(1), brokerage, 2.0)
    for turn in range(12_000):
        now = NOW + turn * 0.05
        brokerage.market.drift(0.05)
        brokerage.advance(now)
        robot.advance(0.05, now)
        assert len(brokerage.active_orders("M")) <= MAX_WORKING

    placed, ended = brokerage.drain()[0], Counter(order.status for order in brokerage.finished_orders("M"))

    assert 900 < sum(order.status == "pending_new" for order in placed) < 1300
    assert set(ended) == {"filled", "canceled", "replaced", "rejected", "expired"}
    assert {order.type for order in placed} == {"market", "limit", "stop"}
    for account in ("M", "C"):
        check_sums(brokerage.figures(account))
    assert {fill.account for fill in brokerage.fills} == {"M", "C"}


def test_robot_leaves_the_orders_of_others_alone() -> None:
    brokerage = broker()
    robot = Robot(Random(1), brokerage, 10.0)
    order = brokerage.place("M", "KO", "buy", "limit", 1, price=1, now=NOW)

    robot.advance(100.0, NOW)

    assert order in brokerage.active_orders("M")


def test_robot_without_a_rate_does_nothing() -> None:
    brokerage = broker()

    Robot(Random(1), brokerage, 0.0).advance(1e9, NOW)

    assert brokerage.drain() == ([], [])

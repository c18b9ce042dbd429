"""Troubles at set times, planned or asked for: the same on both simulated brokers, and for all who have that market."""

from __future__ import annotations

import pytest

from aries_nb.errors import UsageError
from aries_nb.sim import AlorOptions, SimOptions
from aries_nb.sim.simulator import make_server
from tests.sim.rough import NOW, AlorSample, AriesSample

PLAN = ("crossed book at 2s for 2s", "halt at 5s for 2s", "late prints at 8s for 2s", "burst at 11s for 1s")


def made(broker, **options):
    """Return a sample, the name of its stream of quotes, and those of best bid and ask there."""
    if broker == "aries":
        return AriesSample("AAPL", **options), "quote", ("bidPrice", "askPrice")
    sample = AlorSample(**options)
    for opcode in ("QuotesSubscribe", "OrderBookGetAndSubscribe", "AllTradesGetAndSubscribe"):
        sample.subscribe(opcode, "SBER")
    return sample, "QuotesSubscribe", ("bid", "ask")


def crossed_at(broker, sample, stream, names):
    """Return the seconds, since the start, in which the best bid was above the best ask."""
    state, found = {}, set()
    for second in range(8):
        for values in sample.data(stream, 1.0):
            state |= {name: value for name, value in values.items() if name in names}
            bid, ask = (state.get(name) or 0.0 for name in names)
            if bid > ask > 0:
                found.add(second)
    return found


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_planned_troubles_are_the_same_in_each_market_of_a_seed(broker):
    first, second, kind = (made(broker, seed=3, troubles=plan)[0] for plan in (PLAN, PLAN, ()))

    assert first.advance(14) == second.advance(14) != kind.advance(14)


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_book_is_crossed_at_its_time_alone(broker):
    assert {2, 3} <= crossed_at(broker, *made(broker, troubles=("crossed book at 2s for 2s",))) <= {2, 3, 4}
    assert crossed_at(broker, *made(broker)) == set()


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_trouble_that_is_asked_for_begins_at_once_and_ends(broker):
    sample, stream, names = made(broker)
    sample.advance(3)

    sample.feed.simulate("crossed book", 2.0, sample.now)

    assert {0, 1} <= crossed_at(broker, sample, stream, names) <= {0, 1, 2}


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_burst_has_ten_times_as_many_events(broker):
    sample, *_ = made(broker, troubles=("burst at 2s for 2s",))
    counts = []
    for _ in range(3):
        before = sample.feed.events
        sample.advance(2)
        counts.append(sample.feed.events - before)

    assert counts == [pytest.approx(200, abs=15), pytest.approx(2_000, abs=60), pytest.approx(200, abs=60)]


@pytest.mark.parametrize(("broker", "symbol"), [("aries", "AAPL"), ("alor", "SBER"), ("alor", "MOEX:SBER")])
def test_trouble_of_one_symbol_is_of_a_symbol_that_is_listed(broker, symbol):
    sample, *_ = made(broker)

    sample.feed.simulate("halt", 1.0, NOW, symbol=symbol)

    with pytest.raises(UsageError, match="unknown symbol NOPE"):
        sample.feed.simulate("halt", 1.0, NOW, symbol="NOPE")
    for of_all in ("outage", "delay", "burst", "market halt"):
        with pytest.raises(UsageError, match=rf"{of_all} happens to the whole market, not to {symbol} alone"):
            sample.feed.simulate(of_all, 1.0, NOW, symbol=symbol)
    with pytest.raises(UsageError, match="Use one of: outage"):
        sample.feed.simulate("weather", 1.0, NOW)
    with pytest.raises(UsageError, match="number above 0"):
        sample.feed.simulate("halt", 0.0, NOW)


@pytest.mark.parametrize("options", [SimOptions, AlorOptions])
def test_plan_for_one_symbol_is_of_a_trouble_and_a_symbol_that_the_market_has(options):
    with pytest.raises(UsageError, match="outage happens to the whole market, not to AAPL alone"):
        options(troubles=("outage of AAPL at 10s",))
    with pytest.raises(UsageError, match="unknown symbol NOPE"):
        make_server(options(troubles=("halt of AAPL at 5s", "halt of NOPE at 10s")))


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_schedule_does_not_grow_without_bound(broker):
    sample, *_ = made(broker)

    for _ in range(1_000):
        sample.feed.simulate("halt", 5.0, NOW)
    with pytest.raises(UsageError, match="1,000 troubles are planned"):
        sample.feed.simulate("halt", 5.0, NOW)
    sample.feed.simulate("halt", 5.0, NOW + 10)  # those are over

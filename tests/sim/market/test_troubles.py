from __future__ import annotations

import itertools

import pytest

from aries_nb.errors import UsageError
from aries_nb.sim import AlorOptions, SimOptions
from aries_nb.sim.market.schedule import read_plan
from aries_nb.sim.market.troubles import TROUBLES, Roughness, read_troubles, trouble_named


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (True, set(TROUBLES) - {"outages", "stalls", "bursts"}),
        ("all", set(TROUBLES) - {"outages", "stalls", "bursts"}),
        ("all,outages", set(TROUBLES) - {"stalls", "bursts"}),
        (False, set()),
        ("", set()),
        ("halts", {"halts"}),
        ("stub-quotes, halts", {"stub_quotes", "halts"}),
        (["halts", "late_prints"], {"halts", "late_prints"}),
    ],
)
def test_troubles_are_chosen_by_name(given, chosen):
    assert read_troubles(given) == chosen


@pytest.mark.parametrize("options", [SimOptions, AlorOptions])
def test_unknown_trouble_is_refused_with_the_list(options):
    with pytest.raises(UsageError, match=r"weather.*missing_sides, stub_quotes"):
        options(rough="halts,weather")


def test_each_trouble_has_one_line():
    assert [text for text in TROUBLES.values() if "\n" in text or not text] == []


def test_no_trouble_by_default():
    assert SimOptions().rough == AlorOptions().rough == frozenset()


def test_trouble_happens_within_half_of_the_interval_and_again():
    roughness = Roughness(frozenset(["halts"]), 1, 20.0)
    times = roughness.occurrences("halts", "AAPL")

    due = [second for second in range(200) if times.is_due(float(second))]

    assert due[0] <= 11
    assert all(9 <= later - earlier <= 31 for earlier, later in itertools.pairwise(due))


def test_times_depend_on_seed_trouble_and_subject():
    def due(seed, trouble, subject):
        times = Roughness(frozenset(TROUBLES), seed, 20.0).occurrences(trouble, subject)
        return [second for second in range(300) if times.is_due(float(second))]

    assert due(1, "halts", "AAPL") == due(1, "halts", "AAPL")
    others = [due(2, "halts", "AAPL"), due(1, "late_prints", "AAPL"), due(1, "halts", "MSFT")]
    assert due(1, "halts", "AAPL") not in others


def test_trouble_that_is_not_chosen_never_happens():
    roughness = Roughness(frozenset(), 1, 20.0)

    assert not any(roughness.occurrences("halts", "AAPL").is_due(float(second)) for second in range(300))
    assert not roughness.is_refused("level2 AAPL")
    assert roughness.spelled("brk/b") == "brk/b"


@pytest.mark.parametrize(("kind", "least", "most"), [("quote", 30, 80), ("trade", 5, 30)])
def test_delays_stay_within_their_bounds_and_keep_the_order(kind, least, most):
    delays = Roughness(frozenset(["delays"]), 1, 20.0).delays(kind, "AAPL")
    arrived = range(1_000_000, 1_060_000, 7)

    made = [delays.made(each) for each in arrived]

    late = [at - then for at, then in zip(arrived, made, strict=True)]
    assert least <= min(late) < least + 3 * 7
    assert most - 3 * 7 < max(late) <= most
    assert made == sorted(made)


def test_nothing_is_late_where_delays_are_not_chosen():
    delays = Roughness(frozenset(["halts"]), 1, 20.0).delays("quote", "AAPL")

    assert [delays.made(each) for each in (10, 20, 500)] == [10, 20, 500]


@pytest.mark.parametrize("name", ["crossed book", "Crossed-Book", "crossed_books", "crossed books"])
def test_trouble_to_simulate_has_the_name_of_one_or_of_many(name):
    assert trouble_named(name) == "crossed_books"


@pytest.mark.parametrize("name", ["weather", "splits", ""])
def test_trouble_that_cannot_be_simulated_is_refused_with_the_list(name):
    with pytest.raises(UsageError, match=r"Use one of: outage, delay, burst, crossed book, halt"):
        trouble_named(name)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("outage at 10s for 5s", ("outage", 10.0, 5.0, "")),
        (" crossed book of AAPL at 1min for 500ms ", ("crossed book", 60.0, 0.5, "AAPL")),
        ("late_prints of MOEX:SBER at 0.5s", ("late_prints", 0.5, 5.0, "MOEX:SBER")),
    ],
)
def test_plan_of_a_trouble_is_a_sentence(text, plan):
    assert read_plan(text) == plan


@pytest.mark.parametrize("text", ["outage", "outage at ten", "at 5s", "halt at 5", "halt at 5s for", "halt at 5s,", ""])
@pytest.mark.parametrize("options", [SimOptions, AlorOptions])
def test_plan_of_another_form_is_refused_with_an_example(options, text):
    with pytest.raises(UsageError, match=r"is no trouble at a time.*outage at 10s for 5s"):
        options(troubles=(text,))


@pytest.mark.parametrize("text", ["weather at 5s", "halt at 5s for 0s", "halt at 5s for 25h"])
def test_plan_of_what_cannot_be_is_refused(text):
    with pytest.raises(UsageError):
        SimOptions(troubles=(text,))


def test_planned_trouble_holds_for_its_symbol_and_time_alone():
    plan = ("halt of AAPL at 10s for 5s", "late prints at 20s for 5s")
    roughness = SimOptions(troubles=plan, start=100.0).roughness()
    halts = {name: roughness.spells("halts", name) for name in ("AAPL", "MOEX:AAPL", "MSFT")}
    prints = roughness.occurrences("late_prints", "MSFT")

    shares = {name: [each.share(now) for now in (109.9, 110.0, 112.5, 115.0)] for name, each in halts.items()}

    assert shares["AAPL"] == shares["MOEX:AAPL"] == [None, 0.0, 0.5, None]
    assert shares["MSFT"] == [None] * 4
    assert [prints.is_due(now) for now in (119.9, 120.0, 124.9, 125.0)] == [False, True, True, False]

from __future__ import annotations

import itertools

import pytest

from aries_nb.errors import UsageError
from aries_nb.sim import AlorOptions, SimOptions
from aries_nb.sim.market.troubles import TROUBLES, Roughness, read_troubles


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (True, set(TROUBLES)),
        ("all", set(TROUBLES)),
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

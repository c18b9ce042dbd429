import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.widgets.charts.line_points import LinePoints, thinned

steps = st.lists(st.integers(min_value=0, max_value=50), min_size=1, max_size=400)


@settings(max_examples=60, deadline=None)
@given(steps, st.randoms(use_true_random=False), st.integers(min_value=10, max_value=60))
def test_thinning_keeps_ends_and_extremes(gaps, random, count):
    x = np.cumsum(np.array(gaps, dtype=np.float64))
    y = np.array([random.uniform(-1e3, 1e3) for _ in gaps])

    keep = thinned(x, y, count)

    assert keep[0] == 0
    assert keep[-1] == len(x) - 1
    assert np.all(np.diff(keep) > 0)
    assert y[keep].max() == y.max()
    assert y[keep].min() == y.min()
    assert len(keep) <= count


def thinned_by_a_loop(x, y, count):
    """The same as `thinned`, point by point."""
    known = [place for place in range(len(x)) if not np.isnan(y[place])]
    if len(known) <= count:
        return known
    buckets, first, last = count // 2 - 1, x[known[0]], x[known[-1]]
    edges = np.linspace(first, last, buckets + 1) if last > first else np.linspace(0, len(known), buckets + 1) // 1
    members = {}
    for number, place in enumerate(known):
        at = x[place] if last > first else number
        members.setdefault(sum(edge <= at for edge in edges[1:-1].tolist()), []).append(place)
    keep = {known[0], known[-1]}
    for places in members.values():
        keep |= {min(places, key=lambda place: y[place]), max(places, key=lambda place: y[place])}
    return sorted(keep)


values = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.just(np.nan))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 0, 1, 7, 400]), values), max_size=150), st.integers(4, 40), st.booleans())
def test_thinning_picks_what_a_plain_loop_picks(points, count, is_one_moment):
    x = 1.7e12 + np.cumsum(np.array([0 if is_one_moment else step for step, _ in points], dtype=np.float64))
    y = np.array([value for _, value in points], dtype=np.float64)

    keep = thinned(x, y, count).tolist()

    assert thinned_by_a_loop(x, y, count) == keep
    assert len(keep) <= count
    assert sorted(set(keep)) == keep


def test_a_missing_number_is_a_hole_and_hides_no_extreme():
    y = np.sin(np.arange(1000.0) / 50)
    y[[0, 400, 999]] = np.nan

    keep = thinned(np.arange(1000.0), y, 20)

    assert (keep[0], keep[-1]) == (1, 998)
    assert not np.isnan(y[keep]).any()
    assert y[keep].max() == np.nanmax(y)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=90), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_a_line_fed_in_pieces_is_bounded_and_keeps_the_extremes_of_all(sizes, seed):
    random, points, fed = np.random.default_rng(seed), LinePoints(limit=50), 0
    all_y = []
    for size in sizes:
        y = random.normal(size=size)
        numbers = np.arange(fed, fed + size)
        points.extend(numbers, numbers * 10.0, y)
        fed += size
        all_y.append(y)
        assert len(points.x) <= 50

    whole = np.concatenate(all_y)
    if len(whole):
        assert points.y.max() == whole.max()
        assert points.y.min() == whole.min()
        assert points.x[-1] == (fed - 1) * 10.0
        assert points.y[-1] == whole[-1]


def test_points_that_left_the_window_are_dropped():
    points = LinePoints()
    points.extend(np.arange(10), np.arange(10.0), np.arange(10.0))

    points.drop_before(7)

    assert points.x.tolist() == [7.0, 8.0, 9.0]


def test_missing_numbers_are_skipped():
    points = LinePoints()

    points.extend(np.arange(3), np.arange(3.0), np.array([1.0, np.nan, 3.0]))

    assert points.y.tolist() == [1.0, 3.0]


def test_nothing_but_missing_numbers_changes_nothing():
    points = LinePoints()

    points.extend(np.arange(2), np.arange(2.0), np.full(2, np.nan))

    assert not points.is_changed


def test_a_late_tick_does_not_run_the_line_backwards():
    points = LinePoints()
    points.extend(np.arange(2), np.array([10.0, 20.0]), np.ones(2))

    points.extend(np.arange(2, 4), np.array([15.0, 30.0]), np.ones(2))

    assert points.x.tolist() == [10.0, 20.0, 20.0, 30.0]


def test_ticks_of_one_moment_are_thinned_too():
    y = np.arange(5000.0)

    keep = thinned(np.zeros(5000), y, 100)

    assert len(keep) <= 100
    assert keep[-1] == 4999

import numpy as np
import pytest

from aries_nb.errors import UsageError
from aries_nb.model import BookMarks, RestingOrder
from aries_nb.widgets import Ladder
from aries_nb.widgets.panels.ladder import PriceStep
from tests.widgets.sources import Books

SPREAD, MIDDLE, IMBALANCE, LAST, LAST_SIZE = range(5, 10)


class Marked(Books):
    known = BookMarks(100.0, 7.0, (RestingOrder("buy", 99.0, 2.5),), "halted")

    def marks(self):
        return self.known


def drawn(source, **options):
    ladder = Ladder(source, **options)
    ladder.draw()
    assert ladder.error is None
    frame = np.frombuffer(ladder.widget.frame, dtype="<f8")
    found = ladder.widget.description, frame, ladder._picture()
    ladder.close()
    return found


@pytest.mark.parametrize(
    ("prices", "decimals", "step"),
    [
        ([267.95, 267.96, 267.98, 267.93, 267.92], 2, 0.01),
        ([5000.25, 5000.5, 5001.0, 4999.75, 4999.5], 2, 0.25),
        ([102_350.0, 102_355.0, 102_360.0, 102_370.0, 102_345.0], 0, 5.0),
        ([8.73e-6, 8.74e-6, 8.76e-6, 8.77e-6, 8.80e-6], 8, 1e-8),
        ([267.95, 267.97], 2, 0.01),  # too few to know
        ([], 0, 1.0),
        ([1e300, 99.5, np.nan], 1, 0.1),
        ([-37.63, -37.64, -37.66, -37.60, 0.05], 2, 0.01),
    ],
)
def test_the_step_is_the_largest_of_which_all_prices_are_multiples(prices, decimals, step):
    assert PriceStep(None).of(np.array(prices), decimals) == pytest.approx(step)


def test_the_step_shrinks_with_the_first_price_between_two_others():
    found = PriceStep(None)
    coarse = np.array([100.0, 100.5, 101.0, 101.5, 102.0])

    steps = [found.of(coarse, 1), found.of(np.array([100.25]), 2), found.of(coarse, 2)]

    assert steps == [0.5, 0.25, 0.25]


def test_a_ladder_knows_more_levels_than_its_rows():
    source = Books()
    source.bids = np.column_stack([np.arange(99.0, 49.0, -0.5), np.full(100, 1.0)])

    description, frame, _ = drawn(source, depth=5)

    assert (description["depth"], frame[2]) == (5, 100)


def test_the_imbalance_is_that_of_the_rows():
    source = Books()
    source.bids = np.array([[99.0, 30.0], [98.5, 1000.0]])
    source.asks = np.array([[100.0, 10.0], [100.5, 1000.0]])

    _, frame, picture = drawn(source, depth=1)

    assert frame[IMBALANCE] == 0.5
    assert "imbalance +50%" in picture


def test_stub_quotes_have_no_imbalance():
    source = Books()
    source.bids, source.asks = np.array([[0.01, 30.0]]), np.array([[199_999.99, 10.0]])

    _, frame, picture = drawn(source)

    assert np.isnan(frame[[SPREAD, MIDDLE, IMBALANCE]]).all()
    assert "imbalance" not in picture


def test_the_last_trade_own_orders_and_a_halt_are_shown():
    description, frame, picture = drawn(Marked())

    assert frame[LAST : LAST_SIZE + 1].tolist() == [100.0, 7.0]
    assert description["orders"] == [["buy", 99.0, "2.5"]]
    assert description["state"] == "halted"
    assert all(text in picture for text in ("AAPL · halted", ">last<", ">own 2.5<"))


def test_an_empty_book_has_neither_imbalance_nor_spread_and_says_so():
    source = Books()
    source.bids = source.asks = np.empty((0, 2))
    source.integrity = "empty"

    description, frame, picture = drawn(source)

    assert np.isnan(frame[[SPREAD, MIDDLE, IMBALANCE, LAST]]).all()
    assert description["reason"] == "empty: no bid and no ask"
    assert not description["is_doubtful"]
    assert "empty: no bid and no ask" in picture


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_of_nothing_is_refused(step):
    with pytest.raises(UsageError, match="step="):
        Ladder(Books(), step=step)

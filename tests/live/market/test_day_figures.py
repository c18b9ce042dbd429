import time

import numpy as np
import pytest

from aries_nb.live.market.day_figures import DayFigures
from tests.live.alor_feeds import open_alor, serve_alor  # noqa: F401 - fixtures


def board_of(frame):
    frame._repr_mimebundle_()
    data = frame._source.board()
    return dict(zip(data.columns, data.numbers.T, strict=True))


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


@pytest.fixture(params=["aries", "alor"])
def quotes(request):
    if request.param == "aries":
        return request.getfixturevalue("feed").quotes("AAPL", "MSFT").wait(rows=10)
    sim = request.getfixturevalue("serve_alor")(rate=2000)
    return request.getfixturevalue("open_alor")(sim).quotes("SBER", "GAZP").wait(rows=10)


def test_a_board_shows_the_day_of_each_symbol_without_columns_in_the_frame(quotes):
    columns = list(quotes.df.columns)

    until(lambda: np.isfinite(board_of(quotes)["change_percent"]).all())

    board = board_of(quotes)
    assert list(board)[-5:] == ["net_change", "change_percent", "high_price", "low_price", "total_volume"]
    assert (board["low_price"] <= board["high_price"]).all()
    base = board["last_price"] - board["net_change"]
    np.testing.assert_allclose(board["change_percent"], 100 * board["net_change"] / base)
    assert list(quotes.df.columns) == columns


def test_the_figures_end_with_their_frame(quotes):
    board_of(quotes)
    link = quotes._link
    streams = len(link.ledgers())

    quotes.close()

    assert streams > 1
    assert link.ledgers() == []


def test_a_frame_that_is_not_displayed_subscribes_to_nothing_more(quotes):
    assert len(quotes._link.ledgers()) == 1


def test_fields_that_the_frame_has_are_its_own(feed):
    quotes = feed.quotes("AAPL", fields="*").wait(rows=10)

    board = board_of(quotes)

    assert len(quotes._link.ledgers()) == 1
    assert list(board)[-1] == "change_percent"
    assert list(board).count("net_change") == 1


def test_a_cut_is_one_gap_of_a_displayed_frame(feed, sim):
    quotes = feed.quotes("AAPL").wait(rows=10)
    board_of(quotes)

    sim.drop_connections()
    until(lambda: len(quotes.gaps.df) and feed.state == "live")

    assert len(quotes.gaps.df) == len(feed.gaps.df) == 1


def test_a_refusal_of_the_figures_leaves_the_quotes(feed):
    quotes = feed.quotes("AAPL").wait(rows=10)

    figures = DayFigures(quotes._link, ("NOPE",), ["last_price"])

    assert figures.version == 0
    assert quotes.is_live

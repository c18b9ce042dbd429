import numpy as np
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.live.market.instruments import TradingState
from tests.live.alor_feeds import open_alor, serve_alor  # noqa: F401 - fixtures
from tests.live.market.test_day_figures import until


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, ""),
        ({"market": "open", "exchanges.nyse": "open"}, ""),
        ({"market": "closed", "exchanges.nyse": "closed"}, "market closed"),
        ({"market": "halted"}, "market halted"),
        ({"market": "open", "after_hours": True}, "after hours"),
        ({"market": "closed", "early_hours": True, "after_hours": False}, "pre-market"),
        ({"market": "open", "exchanges.nyse": "halted", "exchanges.nasdaq": "open"}, "NYSE halted"),
    ],
)
def test_a_market_that_is_not_open_is_named(status, words):
    assert BROKERS["aries"].market.hours.market_state(status) == words


@pytest.mark.parametrize(
    ("code", "words"), [(17, ""), (0, ""), (2, "halted: break in trading"), (119, "opening auction"), (5, "status 5")]
)
def test_the_trading_status_of_an_instrument_is_named(code, words):
    assert BROKERS["alor"].market.hours.trading_state({"trading_status": code}) == words


def test_a_halt_of_the_market_shows_on_board_ladder_and_chart(feed, sim):
    quotes, book = feed.quotes("AAPL").wait(rows=5), feed.book("AAPL").wait(updates=1)
    views = quotes._first_view(), book.ladder(), quotes.chart()

    sim.set_market("halted")
    until(lambda: feed.market_status.get("market") == "halted")

    for view in views:
        view.draw()
    board, ladder, chart = views
    assert board.widget.description["market"] == ladder.widget.description["state"] == "market halted"
    assert "market halted" in chart.figure.layout.title.text
    assert all("market halted" in view._repr_mimebundle_()["text/plain"] for view in (board, ladder))


def test_a_halt_of_an_instrument_shows_on_its_row_and_its_ladder(serve_alor, open_alor):  # noqa: F811
    feed = open_alor(serve_alor(rate=500))
    quotes, book = feed.quotes("SBER", "GAZP").wait(rows=5), feed.book("SBER").wait(updates=1)
    board, ladder = quotes._first_view(), book.ladder()
    table = quotes._states._table
    until(lambda: len(table.rows()) == 2)
    place = [column.name for column in table.columns].index("trading_status")
    rows = [row._replace(values=_with(row.values, place, 2 if row.account == "SBER" else 17)) for row in table.rows()]
    for states in (quotes._states, book._states):
        states._table = type(
            "Halted", (), {"columns": table.columns, "rows": lambda _: rows, "is_stale": False, "version": 1}
        )()

    board.draw()
    ladder.draw()

    assert board.widget.description["states"] == {"SBER": "halted: break in trading"}
    assert ladder.widget.description["state"] == "halted: break in trading"
    assert np.isfinite(board._board_source.board().numbers[:, 0]).all()


def test_the_status_of_instruments_ends_with_the_frame(serve_alor, open_alor):  # noqa: F811
    feed = open_alor(serve_alor(rate=500))
    quotes = feed.quotes("SBER").wait(rows=5)
    quotes._first_view()
    kinds = sorted(kind for _, kind, *_ in quotes._link.ledgers())

    quotes.close()

    assert kinds == ["instruments", "quotes", "quotes"]
    assert quotes._link.ledgers() == []


def test_a_refused_status_leaves_the_market_alone(serve_alor, open_alor):  # noqa: F811
    feed = open_alor(serve_alor(rate=500))

    states = TradingState(feed._link, ("NOPE",))

    assert (states.by_symbol(), states.market) == ({}, "")


def _with(values, place, value):
    return (*values[:place], value, *values[place + 1 :])


def test_a_table_of_instruments_comes_at_once_next_to_a_board(serve_alor, open_alor):  # noqa: F811
    feed = open_alor(serve_alor(rate=500))
    feed.quotes("SBER", "GAZP").wait(rows=5)._first_view()

    table = feed.instruments("SBER", "GAZP").wait(changes=2)

    assert list(table.df.index) == ["SBER", "GAZP"]

import pytest

from tests.live.market.test_day_figures import until


@pytest.fixture
def book(feed):
    return feed.book("AAPL").wait(updates=1)


def test_a_ladder_knows_the_last_trade_of_an_open_frame(feed, book):
    assert book._source.marks().last_price != book._source.marks().last_price  # NaN

    trades = feed.trades("AAPL").wait(rows=1)

    marks = book._source.marks()
    assert marks.last_price > 0
    assert marks.last_size > 0
    trades.close()
    quotes = feed.quotes("AAPL").wait(rows=20)
    until(lambda: book._source.marks().last_price > 0)
    assert len(quotes)


def test_a_ladder_knows_the_unfinished_orders_of_open_accounts(feed, book, monkeypatch):
    rows = [
        {"symbol": symbol, "side": side, "status": status, "price": price, "quantity": 10, "filled": filled}
        for symbol, side, status, price, filled in [
            ("AAPL", "buy", "NEW", 99.5, 4),
            ("MSFT", "buy", "NEW", 99.5, 0),
            ("AAPL", "sell", "CANCELED", 101.0, 0),
            ("AAPL", "sell", "NEW", 0, 0),
            ("AAPL", "sell", "PARTIALLY_FILLED", 101.5, 10),
        ]
    ]
    accounts = feed.account("ACC-1").orders
    monkeypatch.setattr(type(feed._accounts.link), "table_rows", lambda _, kind: rows if kind == "orders" else [])

    assert [tuple(order) for order in book._source.marks().orders] == [("buy", 99.5, 6.0)]
    accounts.close()

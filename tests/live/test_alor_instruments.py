"""How instruments are traded now, as a live table, against the simulated broker that streams it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import UnknownSymbolError, UsageError
from aries_nb.live import Feed, connect
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.sim import Simulator
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["open_alor", "serve_alor"]


@pytest.fixture
def sim(serve_alor: Callable[..., Simulator]) -> Simulator:
    return serve_alor(rate=400)


@pytest.fixture
def feed(sim: Simulator, open_alor: Callable[..., Feed]) -> Feed:
    return open_alor(sim)


def test_each_instrument_is_a_row_under_the_name_it_was_asked_for(
    sim: Simulator, open_alor: Callable[..., Feed]
) -> None:
    future = next(name for name in open_alor(sim).reference.instruments(market="FORTS").index if name.startswith("SR"))
    symbols = ("SBER", "MOEX:GAZP@TQBR", "SPBX:AAPL", future)

    frame = open_alor(sim).instruments(*symbols).wait(changes=4).df

    assert frame.index.name == "symbol"
    assert tuple(frame.index) == symbols
    assert list(frame["exchange"]) == ["MOEX", "MOEX", "SPBX", "MOEX"]
    assert list(frame["trading_status"]) == [17] * 4
    assert (frame["price_min"] < frame["price_max"]).all()
    assert list(frame["margin_buy"].isna()) == [True, True, True, False]


def test_partial_update_changes_what_it_tells_and_keeps_the_rest(sim: Simulator, feed: Feed) -> None:
    instruments = feed.instruments("SBER", "GAZP").wait(changes=2)
    before = instruments.df

    sim.set_market("closed")
    eventually(lambda: list(instruments.df["trading_status"]) == [18, 18], "the new status")

    kept = ["exchange", "board", "price_min", "price_max"]
    assert instruments.df[kept].equals(before[kept])
    statuses = instruments.log.groupby("symbol")["trading_status"]
    assert {symbol: list(each) for symbol, each in statuses} == {"SBER": [17, 18], "GAZP": [17, 18]}


def test_after_a_break_the_rows_are_confirmed_anew(sim: Simulator, feed: Feed) -> None:
    instruments = feed.instruments("SBER", "GAZP").wait(changes=2)

    sim.drop_connections()
    eventually(lambda: instruments.is_stale, "the break")
    eventually(lambda: not instruments.is_stale, "rows that are sent again")

    assert list(instruments.df["trading_status"]) == [17, 17]


def test_same_call_is_the_same_table_and_what_is_closed_ends_its_streams(feed: Feed) -> None:
    instruments = feed.instruments("SBER", "GAZP").wait()

    assert feed.instruments("SBER", "GAZP") is instruments
    assert feed.stats().streams == 2
    instruments.close()
    assert len(instruments.df) > 0
    eventually(lambda: feed.stats().streams == 0, "the end of the streams")
    assert feed.instruments("SBER", "GAZP") is not instruments


def test_view_has_what_is_told_of_these_instruments(feed: Feed) -> None:
    instruments = feed.instruments("SBER", "GAZP").wait(changes=2)

    html = instruments._repr_mimebundle_()
    shown = (html[0] if isinstance(html, tuple) else html)["text/html"]

    assert "SBER" in shown
    assert "Price min" in shown
    assert "Margin" not in shown
    assert repr(instruments) == "<instruments SBER, GAZP: 2 rows, live>"


def test_symbol_that_is_not_known_is_refused_and_nothing_is_kept(feed: Feed) -> None:
    with pytest.raises(UnknownSymbolError, match="NOPE"):
        feed.instruments("SBER", "NOPE")

    eventually(lambda: feed.stats().streams == 0, "no stream of that call")


def test_broker_that_does_not_stream_them_says_what_else_there_is() -> None:
    with (
        Simulator() as market,
        Feed(BROKERS["aries"], market.url, fixed_token("a token"), at_close=lambda closed: None) as feed,
    ):
        feed.wait_open(30)

        with pytest.raises(UsageError, match=r"feed\.reference\.instrument"):
            feed.instruments("AAPL")


def test_change_of_a_quote_is_there_without_choosing_a_format(sim: Simulator, feed: Feed) -> None:
    quotes = feed.quotes("SBER", fields=["last_price", "previous_close_price", "net_change", "currency"]).wait(rows=1)

    row = quotes.df.iloc[-1]

    assert row["net_change"] == pytest.approx(row["last_price"] - row["previous_close_price"])
    assert row["currency"] == "RUB"


def test_a_format_cannot_be_chosen_when_connecting() -> None:
    with pytest.raises(UsageError, match="the format of messages cannot be chosen"):
        connect("sim-alor", format="simple")

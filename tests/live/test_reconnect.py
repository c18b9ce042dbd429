"""The server drops everything thirty times: the feed comes back each time by itself, and nothing is doubled."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pandas as pd

from tests.live.selected import selected
from tests.live.test_tapes import QUOTE_FIELDS, recorded, to_the_millisecond
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import aries_nb as anb
    from aries_nb.sim import Simulator

DROPS = 30
SEED = 20_260_302


def drop_at_random_moments(sim: Simulator, feed: anb.Feed) -> list[list[Any]]:
    """Drop all connections, each time after a random number of further messages; what was subscribed after each."""
    moments, after = Random(SEED), []
    for number in range(1, DROPS + 1):
        target = feed.stats().messages + moments.randrange(150)
        eventually(partial(lambda wanted: feed.stats().messages >= wanted, target))
        sim.drop_connections()
        eventually(partial(lambda wanted: feed.stats().reconnects == wanted and feed.state == "live", number))
        after.append(selected(sim))
    return after


def test_thirty_drops_leave_every_stream_running_once_and_double_nothing(
    tapes: Path, serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed]
) -> None:
    path = tapes / "aapl_quotes.parquet"
    sim = serve(tapes=(path,), speed=250.0, rate=1500, flush_seconds=0.01, seed=SEED)
    feed = open_feed(sim)
    quotes = feed.quotes("AAPL", fields=QUOTE_FIELDS)
    synthetic = feed.quotes("MSFT", "NVDA")
    trades = feed.trades("MSFT", "NVDA")
    book = feed.book("MSFT")
    before, requests = selected(sim), sim.statistics().subscribe_requests

    after = drop_at_random_moments(sim, feed)
    for frame in (quotes, synthetic, trades):
        frame.wait(rows=frame.received + 50)
    book.wait(updates=book.updates + 10)
    now = sim.statistics()

    # Live again each time, every subscription back exactly once.
    assert [before] * DROPS == after
    assert (now.connections_open, now.connections_total) == (1, DROPS + 1)
    assert requests + DROPS == now.subscribe_requests
    assert (feed.state, feed.stats().reconnects, feed.stats().unreadable) == ("live", DROPS, 0)

    # One gap an interruption, each ended before the next began.
    gaps = feed.gaps.df
    assert len(gaps) == DROPS
    assert (gaps["started"] < gaps["ended"]).all()
    assert (gaps["ended"].iloc[:-1].to_numpy() <= gaps["started"].iloc[1:].to_numpy()).all()
    assert {"the connection was cut"} == set(gaps["reason"])

    # No print twice, none out of order; what is missing falls into a gap.
    for _, prints in trades.df.groupby("symbol"):
        steps = prints["trade_id"].diff().dropna()
        assert (steps >= 1).all()
        assert (steps > 1).sum() <= DROPS

    # Quotes of the tape: the file's rows in order, none twice.
    positions = places_in(recorded(path), quotes.df)
    assert (positions.diff().dropna() >= 1).all()
    assert len(quotes.df) > DROPS
    assert (positions.diff() > 1).sum() <= DROPS

    assert book.integrity == "ok"


def test_synthetic_quotes_are_not_repeated_by_a_snapshot(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT", fields=QUOTE_FIELDS)

    drop_at_random_moments(sim, feed)
    quotes.wait(rows=quotes.received + 50)

    for _, rows in quotes.df.groupby("symbol"):
        same = (rows[QUOTE_FIELDS] == rows[QUOTE_FIELDS].shift()).all(axis=1)
        assert not (same & (rows.index.to_series().diff() == pd.Timedelta(0)).to_numpy()).any()


def test_a_book_from_before_a_break_does_not_pass_for_fresh(
    serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed]
) -> None:
    sim = serve(rate=2000)
    feed = open_feed(sim)
    book = feed.book("AAPL").wait(updates=5)

    sim.set_market("closed")
    eventually(lambda: feed.market_status["market"] == "closed")
    sim.drop_connections()
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    during = book.integrity
    sim.set_market("open")
    eventually(lambda: book.integrity == "ok")

    assert during == "gap"


def places_in(file: pd.DataFrame, frame: pd.DataFrame) -> pd.Series:
    """Where in the file each row of the frame stands: the times of this tape are all different."""
    places = pd.Series(range(len(file)), index=to_the_millisecond(file["ts"]))
    assert places.index.is_unique
    found = places.reindex(to_the_millisecond(frame.index))
    assert found.notna().all()
    rows = file.iloc[found.to_numpy("int64")]
    for column in QUOTE_FIELDS:
        assert (rows[column].to_numpy("float64") == frame[column].to_numpy()).all(), column
    return found.reset_index(drop=True)

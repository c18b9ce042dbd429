"""Recorded markets through the simulated ALOR: every row, and with its conflation the newest row of each interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.errors import UsageError
from aries_nb.live import Feed
from aries_nb.model import Received, Record
from aries_nb.sim import Simulator
from tests.live.alor_feeds import open_alor, serve_alor
from tests.live.test_tapes import QUOTE_FIELDS, assert_equal_rows, recorded
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["open_alor", "serve_alor"]


class KeptRecords(AlorMarket):
    """A connection that keeps what it has sent, in order."""

    told: list[Record]

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        records, notices = super().receive(frames, received)
        self.told += records
        return records, notices


class Turns:
    """When the server's turns were, each with what was due by then already played (Unix s)."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self.times: list[float] = []
        feed: Any = sim._server.feed
        flush = feed.flush

        def noted(now: float) -> None:
            self.times.append(now)
            flush(now)

        sim._call(lambda: setattr(feed, "flush", noted))

    def newest_of_each_interval(self, file: pd.DataFrame, speed: float, interval: float) -> list[int]:
        """The rows (positions) that are left where of each interval only the newest is sent."""
        player = self._sim._call(lambda: only_player(self._sim))
        times = file["ts"].astype("int64").to_numpy()
        started, due = player.started, player.started + interval
        sent, played = [], 0
        for now in (each for each in self.times if each > started):
            while played < len(times) and times[played] <= times[0] + (now - started) * speed * 1e9:
                played += 1
            if now >= due and played > (sent[-1] + 1 if sent else 0):
                sent.append(played - 1)
                due = now + interval
        return sent


def only_player(sim: Simulator) -> Any:
    (channel,) = sim._server.feed._recorded_channels()
    (player,) = channel._players.values()
    return player


def test_recorded_quotes_arrive_exactly_as_they_are_in_the_file(
    tapes: Path, serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    path = tapes / "eurusd_quotes.parquet"
    file = recorded(path)
    feed = open_alor(serve_alor(tapes=(path,), speed=None, conflate=False))

    quotes = feed.quotes("EURUSD", fields=QUOTE_FIELDS).wait(rows=len(file), timeout=60)

    assert_equal_rows(file, quotes.df, QUOTE_FIELDS)
    assert (feed.stats().unreadable, feed.stats().gaps) == (0, 0)


def test_sixty_thousand_recorded_quotes_arrive_exactly_as_they_are_in_the_file(
    tapes: Path, serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    path = tapes / "aapl_quotes.parquet"
    file = recorded(path)
    sim = serve_alor(tapes=(path,), speed=None, conflate=False)
    feed = open_alor(sim, exchange="SPBX")

    quotes = feed.quotes("AAPL", fields=QUOTE_FIELDS).wait(rows=len(file), timeout=60)

    assert_equal_rows(file, quotes.df, QUOTE_FIELDS)
    assert (feed.stats().unreadable, feed.stats().gaps, sim.statistics().held_back) == (0, 0, 0)


@pytest.mark.parametrize("conflate", [False, True])
def test_recorded_trades_arrive_exactly_with_conflation_as_well(
    tapes: Path, serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], conflate: bool
) -> None:
    path = tapes / "btcusdt_trades.parquet"
    file = recorded(path)
    feed = open_alor(serve_alor(tapes=(path,), speed=None, conflate=conflate))

    trades = feed.trades("BTCUSDT").wait(rows=len(file), timeout=60)

    assert_equal_rows(file, trades.df, ["price", "size"])
    assert list(file["side"]) == list(trades.df["side"])
    assert [1] * (len(file) - 1) == trades.df["trade_id"].diff().dropna().astype("int64").tolist()


def test_recorded_books_arrive_row_by_row_as_they_are_in_the_file(
    tapes: Path, serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    path = tapes / "xrpusdt_book.parquet"
    file = recorded(path)
    told: list[Record] = []

    def make() -> KeptRecords:
        protocol = KeptRecords()
        protocol.told = told
        return protocol

    broker = BROKERS["alor"]
    kept = replace(broker, market=replace(broker.market, make=make))
    feed = open_alor(serve_alor(tapes=(path,), speed=None, conflate=False), broker=kept)

    # The first frame is the book as it stood before the tape: empty.
    book = feed.book("XRPUSDT", depth=20).wait(updates=1 + len(file), timeout=60)

    recorded_sides = [sides_in(row) for row in file.to_dict("records")]
    assert recorded_sides == sides_after_each(told[1:])
    assert recorded_sides[-1] == tuple(
        book.df.loc[book.df["side"] == side, ["price", "size"]].to_numpy().tolist() for side in ("buy", "sell")
    )


def sides_in(row: Any) -> tuple[list[list[float]], ...]:
    """Bids and asks of a row of the file, best first."""
    return tuple(
        [[float(price), float(size)] for price, size in zip(row[f"{side}_prices"], row[f"{side}_sizes"], strict=True)]
        for side in ("bid", "ask")
    )


def sides_after_each(records: Sequence[Record]) -> list[tuple[list[list[float]], ...]]:
    """Bids and asks as they stand after each record, best first."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    found = []
    for _, _, values in records:
        numbers = iter(map(float, values))
        for price, bid, ask in zip(numbers, numbers, numbers, strict=True):
            bids[price], asks[price] = bid, ask
        found.append(
            (
                [[price, bids[price]] for price in sorted(bids, reverse=True) if bids[price]],
                [[price, asks[price]] for price in sorted(asks) if asks[price]],
            )
        )
    return found


@pytest.mark.parametrize("interval_ms", [None, 400])
def test_conflated_quotes_are_the_files_newest_rows_of_each_interval(
    tapes: Path, serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], interval_ms: int | None
) -> None:
    path, speed = tapes / "eurusd_quotes.parquet", 16_000.0  # six hours in 1.4 s
    file = recorded(path)
    sim = serve_alor(tapes=(path,), speed=speed)
    turns = Turns(sim)
    feed = open_alor(sim)

    quotes = feed.quotes("EURUSD", fields=QUOTE_FIELDS, min_interval_ms=interval_ms)
    eventually(lambda: sim._call(lambda: only_player(sim).is_finished and not sim._server.feed._pending))
    ((counts,),) = (list(client.values()) for client in sim.subscriptions())
    quotes.wait(rows=counts["sent"])
    expected = turns.newest_of_each_interval(file, speed, (interval_ms or 175) / 1000)

    assert_equal_rows(file.iloc[expected], quotes.df, QUOTE_FIELDS)
    assert counts["frequency"] == (interval_ms or 175)
    assert 3 <= counts["sent"] == len(expected) < len(file)
    assert counts["held_back"] == len(file) - len(expected)


def test_a_book_and_quotes_are_held_back_as_long_as_each_asks(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor()
    feed = open_alor(sim)

    held = [
        feed.book("SBER", min_interval_ms=1_000),
        feed.book("SBER"),
        feed.quotes("SBER", min_interval_ms=2_000),
        feed.quotes("SBER"),
    ]

    (client,) = sim.subscriptions()
    assert [(each["kind"], each["frequency"]) for each in client.values()] == [
        ("book", 1_000),
        ("book", 175),
        ("quotes", 2_000),
        ("quotes", 175),
    ]
    assert feed.book("SBER", min_interval_ms=1_000) is held[0]
    assert feed.quotes("SBER", min_interval_ms=2_000) is held[2]


def test_books_of_different_intervals_end_by_themselves(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor()
    feed = open_alor(sim)
    slow, slow_too, usual = (
        feed.book("SBER", min_interval_ms=1_000),
        feed.book("SBER", depth=5, min_interval_ms=1_000),
        feed.book("SBER"),
    )

    slow.close()
    before = feed.stats().streams
    slow_too.close()
    eventually(lambda: len(sim.subscriptions()[0]) == 1)

    assert before == 2
    assert [each["frequency"] for each in sim.subscriptions()[0].values()] == [175]
    assert usual.is_live


@pytest.mark.parametrize("wrong", [0, -5, 1.5, "250", True, 3_600_001])
def test_an_interval_that_cannot_be_is_refused_before_anything_is_sent(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], wrong: Any
) -> None:
    sim = serve_alor()
    feed = open_alor(sim)

    for ask in (feed.quotes, feed.book):
        with pytest.raises(UsageError, match=r"is no number of milliseconds\. Pass a whole number from 1 to 3,600,000"):
            ask("SBER", min_interval_ms=wrong)

    assert sim.statistics().subscribe_requests == 0


def test_where_every_state_is_sent_an_interval_is_refused(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve()
    feed = open_feed(sim)

    for ask in (feed.quotes, feed.book):
        with pytest.raises(UsageError, match=r"Leave it out: here every state is sent"):
            ask("AAPL", min_interval_ms=250)
    with pytest.raises(UsageError, match=r"Leave it out: here every state is sent"):
        feed.quotes("AAPL", endpoint="charts", min_interval_ms=250)

    assert sim.statistics().subscribe_requests == 0

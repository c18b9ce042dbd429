from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live.waiting import wait_for_async
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim import Simulator


def test_wait_gives_the_frame_once_the_rows_are_there(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL")

    result = quotes.wait(rows=50)

    assert result is quotes
    assert quotes.received >= 50


def test_wait_counts_rows_that_have_left_the_window(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", rows=5).wait(rows=200)

    assert 5 == len(quotes) == len(quotes.df)
    assert quotes.received == quotes.evicted + 5


def test_wait_runs_out_of_time_with_a_word_on_what_it_waited_for(feed: anb.Feed) -> None:
    quotes, book = feed.quotes("AAPL"), feed.book("AAPL")

    with pytest.raises(
        anb.WaitTimeoutError, match=r"1000000000 rows of quotes AAPL did not come within 0\.05 s.*feed\.unreadable"
    ):
        quotes.wait(rows=10**9, timeout=0.05)
    with pytest.raises(anb.WaitTimeoutError, match=r"1000000000 updates of AAPL's book did not come within 0\.05 s"):
        book.wait(updates=10**9, timeout=0.05)


def test_a_timeout_is_a_builtin_timeout_as_well(feed: anb.Feed) -> None:
    with pytest.raises(TimeoutError):
        feed.quotes("AAPL").wait(rows=10**9, timeout=0)


def test_until_lets_the_callers_loop_go_on(feed: anb.Feed) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async def main() -> int:
        heart = asyncio.create_task(beat())
        quotes = feed.quotes("AAPL")
        await quotes.until(rows=(wanted := quotes.received + 300))  # a tenth of a second and more
        await feed.book("AAPL").until(updates=5)
        heart.cancel()
        return quotes.received - wanted

    surplus = asyncio.run(main())

    assert surplus >= 0
    assert beats > 10


def test_until_runs_out_of_time(feed: anb.Feed) -> None:
    with pytest.raises(anb.WaitTimeoutError, match="did not come within"):
        asyncio.run(feed.quotes("AAPL").until(rows=10**9, timeout=0.05))
    with pytest.raises(anb.WaitTimeoutError, match="did not come within"):
        asyncio.run(feed.book("AAPL").until(updates=10**9, timeout=0.05))


def test_many_can_wait_at_once(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL")

    async def main() -> list[anb.LiveFrame]:
        return await asyncio.gather(*(quotes.until(rows=rows) for rows in range(1, 60)))

    assert [quotes] * 59 == asyncio.run(main())


def test_a_feed_closed_meanwhile_ends_the_wait(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL")

    async def main() -> None:
        waiting = asyncio.create_task(quotes.until(rows=10**9, timeout=None))
        await quotes.until(rows=1)
        await asyncio.to_thread(feed.close)
        await waiting

    with pytest.raises(anb.ClosedError):
        asyncio.run(main())


def test_a_wait_goes_on_through_a_break(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait()

    sim.drop_connections()
    eventually(lambda: feed.stats().reconnects == 1)
    quotes.wait(rows=quotes.received + 10)

    eventually(lambda: feed.state == "live")  # rows come before the answer that proves nothing more was missed


def test_a_token_refused_later_ends_every_wait(
    serve: Callable[..., Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    sim = serve(token="good one", session_seconds=0.4)
    tokens = iter(["good one"])
    feed = anb.connect("aries", url=sim.url, token=lambda: next(tokens, "bad one"))
    quotes = feed.quotes("AAPL").wait()

    with pytest.raises(anb.TokenError, match="refused"):
        quotes.wait(rows=10**9)
    with pytest.raises(anb.TokenError, match="refused"):
        feed.quotes("MSFT")
    feed.close()

    assert len(quotes.df) > 0


def test_the_newest_rows_alone_are_those_of_the_whole_frame(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=200)
    feed.close()

    frame = quotes.df
    assert frame.index.is_monotonic_increasing
    assert quotes.tail(7).equals(frame.tail(7))
    assert quotes.tail(10**6).equals(frame)
    assert quotes.last("100ms").equals(frame[frame.index >= frame.index[-1] - pd.Timedelta("100ms")])


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": -1}, {"n": "5"}, {"span": "soon"}, {"span": 30}, {"span": "-1s"}])
def test_what_is_no_number_of_rows_or_no_span_is_refused(feed: anb.Feed, wrong: dict[str, Any]) -> None:
    quotes = feed.quotes("AAPL")

    with pytest.raises(anb.UsageError, match=next(iter(wrong))):
        _ = quotes.tail(**wrong) if "n" in wrong else quotes.last(**wrong)


def test_wide_has_a_column_a_symbol_and_a_row_a_second(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    eventually(lambda: quotes.df.index[-1] - quotes.df.index[0] > pd.Timedelta("1500ms"))
    feed.close()
    frame = quotes.df

    wide = quotes.wide("bid_price", every="200ms")

    assert (list(wide.columns), wide.columns.name, wide.index.name) == (["AAPL", "MSFT"], "symbol", "ts")
    assert wide.index.dtype == frame.index.dtype
    for symbol in ("AAPL", "MSFT"):
        rows = frame[frame["symbol"] == symbol]
        expected = [rows["bid_price"][rows.index <= moment].tolist()[-1:] or [float("nan")] for moment in wide.index]
        assert wide[symbol].dropna().tolist() == [value for (value,) in expected if value == value]


@pytest.mark.parametrize(
    ("column", "every"), [("nope", "1s"), ("symbol", "1s"), ("bid_price", "soon"), ("bid_price", "1ns")]
)
def test_wide_refuses_what_it_cannot_make(feed: anb.Feed, column: str, every: str) -> None:
    quotes = feed.quotes("AAPL").wait(rows=5)

    with pytest.raises(anb.UsageError):
        quotes.wide(column, every=every)


def test_a_condition_that_is_looked_at_on_a_thread_is_waited_for_no_longer_than_the_timeout() -> None:
    end = threading.Event()

    async def main() -> None:
        await wait_for_async(lambda: end.wait(5) or True, (), timeout=0.05, what="it", on_thread=True)

    with pytest.raises(anb.WaitTimeoutError, match=r"it did not come within 0\.05 s"):
        asyncio.run(main())

    assert not end.is_set()
    end.set()


def test_what_a_condition_raises_on_a_thread_passes_through() -> None:
    def look() -> bool:
        raise TimeoutError("its own")

    async def main() -> None:
        await wait_for_async(look, (), timeout=10, what="it", on_thread=True)

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(main())

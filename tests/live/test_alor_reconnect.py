"""After breaks a feed on ALOR holds what one holds that was never dropped, and the ledger says what was filled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.live import gap_fill as refill
from aries_nb.live.market import bars as live_bars
from aries_nb.model import BAR_COLUMNS, Resumed
from aries_nb.net.backoff import BackoffRule
from aries_nb.sim import Simulator
from aries_nb.sim.alor.prints import MOST_PRINTS
from tests.brokers.alor.lines import RECEIVED, begin, data, opened, receive, reply, trade, trades
from tests.live.alor_feeds import open_alor, serve_alor
from tests.live.market_clock import PRICES, minutes_of, run_fast
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed, LiveFrame

__all__ = ["open_alor", "serve_alor"]

TRADE_COLUMNS = ["symbol", "price", "size", "side", "trade_id", "venue"]
BREAKS = 6
AWAY = BackoffRule(0.25, 0.25, 0.25)  # long enough for trades to be missed


def drop(sim: Simulator, *, first: int = 0, count: int = 1) -> None:
    """Cut some clients off, in the order in which they came; the others stay connected."""
    clients = sim._call(lambda: list(sim._server.clients))
    for client in clients[first : first + count]:
        sim._call(client.connection.transport.abort)


def same_rows(frame: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether each symbol has the same trades in the same order; symbols may be interleaved otherwise."""
    ordered = [each[TRADE_COLUMNS].sort_values(["symbol", "trade_id"], kind="stable") for each in (frame, other)]
    return ordered[0].astype({"symbol": str}).equals(ordered[1].astype({"symbol": str}))


def break_again_and_again(sim: Simulator, feed: Feed, dropped: LiveFrame) -> None:
    for number in range(1, BREAKS + 1):
        before = dropped.received
        eventually(lambda enough=before + 40: dropped.received >= enough)  # type: ignore[misc]
        drop(sim, first=index_of(sim, feed))
        eventually(lambda done=number: feed.stats().reconnects == done and feed.state == "live")  # type: ignore[misc]


def index_of(sim: Simulator, feed: Feed) -> int:
    """Which of the server's clients is the feed's: that with the port its socket has."""
    port = feed._link._pool.sessions[0]._socket.transport.get_extra_info("sockname")[1]  # type: ignore[union-attr]
    ports = sim._call(lambda: [each.connection.remote_address[1] for each in sim._server.clients])
    return ports.index(port)


def test_trades_across_breaks_equal_those_of_a_feed_that_was_never_dropped(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=1_500)
    witness_feed, feed = open_alor(sim), open_alor(sim, rule=AWAY)
    witness = witness_feed.trades("SBER", "GAZP")
    witness.wait(rows=1)
    dropped = feed.trades("SBER", "GAZP")

    break_again_and_again(sim, feed, dropped)
    sim.set_market("closed")
    first = dropped.df.groupby("symbol")["trade_id"].min()
    expected = lambda: after(witness.df, first)  # noqa: E731
    eventually(lambda: len(dropped.df) == len(expected()), "every trade")
    gaps = feed.gaps.df

    assert same_rows(expected(), dropped.df)
    assert all(rows["trade_id"].is_monotonic_increasing for _, rows in dropped.df.groupby("symbol"))
    assert not dropped.df["trade_id"].duplicated().any()
    assert trades_within(witness.df, gaps) > BREAKS  # there was something to miss
    assert len(gaps) == BREAKS
    assert gaps["filled"].all()
    assert len(witness_feed.gaps) == 0


def after(frame: pd.DataFrame, first: pd.Series) -> pd.DataFrame:
    """The rows from the first trade of each symbol on."""
    return frame[frame["trade_id"] >= frame["symbol"].map(first).astype("int64")]


def trades_within(frame: pd.DataFrame, gaps: pd.DataFrame) -> int:
    received = frame["received"]
    return sum(int(((received > gap.started) & (received < gap.ended)).sum()) for gap in gaps.itertuples())


def test_a_gap_of_quotes_stays_and_that_of_trades_beside_them_is_told_as_filled(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=1_000)
    feed = open_alor(sim)
    prints, quotes = feed.trades("SBER", "GAZP").wait(rows=20), feed.quotes("SBER")
    heard_gaps: list[tuple[str, bool]] = []
    feed.on_gap(lambda gap: heard_gaps.append((gap.stream, gap.filled)))

    drop(sim)
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    eventually(lambda: ("market trades", True) in heard_gaps)
    gaps = feed.gaps.df

    assert list(zip(gaps["stream"], gaps["symbol"], gaps["filled"], strict=True)) == [
        ("market", "", False),
        ("market trades", "", True),
    ]
    assert gaps["started"].nunique() == gaps["ended"].nunique() == 1
    assert heard_gaps[-2:] == [("market", False), ("market trades", True)]
    assert feed.stats().gaps == 1
    quotes.wait(rows=quotes.received + 1)
    assert prints.is_live


def test_rows_that_fill_a_gap_are_there_when_it_is_told(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=2_000)
    others = open_alor(sim).trades("SBER")  # the market goes on while we are away
    feed = open_alor(sim, rule=AWAY)
    prints = feed.trades("SBER").wait(rows=20)
    held: list[tuple[int, int]] = []

    def note() -> None:
        (gap,) = feed._gaps.all()
        if gap.ended is not None:
            frame = prints.df  # on the network's thread: nothing can come between
            started, ended = (pd.Timestamp(ns, tz="UTC") for ns in (gap.started, gap.ended))
            missed = (frame["received"] >= started) & (frame.index < ended)
            held.append((int(missed.sum()), int((frame["trade_id"].diff().dropna() != 1).sum())))

    feed._gaps.watch(note)
    drop(sim, first=index_of(sim, feed))
    eventually(lambda: held)

    assert others.is_live
    assert held[0][0] > 50
    assert held[0][1] == 0


def test_a_gap_wider_than_the_streams_past_is_filled_over_http(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=200)
    feed = open_alor(sim, rule=BackoffRule(0.4, 0.4, 0.4))
    prints = feed.trades("SBER", "GAZP").wait(rows=20)
    narrow = feed.trades("SBER", fields=["source", "trade_id"]).wait(rows=10)
    told: list[int] = []
    narrow.on_update(lambda rows: told.extend(rows["trade_id"]))

    drop(sim)
    eventually(lambda: feed.state == "reconnecting")
    sim._call(lambda: trade_a_lot(sim, "SBER", MOST_PRINTS + 500))
    eventually(lambda: (feed.gaps.df["symbol"] == "SBER").any() and feed.gaps.df["filled"].iloc[-1])
    for frame in (prints, narrow):
        eventually(lambda frame=frame: frame.ledger.filled and frame.df["source"].iloc[-1] == "live")
    gaps, frame = prints.gaps.df, prints.df

    for one in (frame[frame["symbol"] == "SBER"], frame[frame["symbol"] == "GAZP"], narrow.df):
        assert set(np.diff(one["trade_id"].to_numpy())) == {1}
    assert list(zip(gaps["stream"], gaps["symbol"], gaps["filled"], strict=True)) == [
        ("market trades", "", True),
        ("market trades", "SBER", True),
    ]
    assert gaps["missed"].iloc[-1] >= MOST_PRINTS + 500
    assert prints.ledger.filled == narrow.ledger.filled >= 500
    assert (narrow.df["source"] == "history").sum() == gaps["missed"].iloc[-1]
    eventually(lambda: told and told == narrow.df["trade_id"].tolist()[-len(told) :])


def test_a_gap_that_cannot_be_filled_is_told_so_and_the_stream_goes_on(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = serve_alor(rate=200)
    feed = open_alor(sim, rule=BackoffRule(0.4, 0.4, 0.4))
    monkeypatch.setattr(refill, "HOLD_NS", 0)
    prints = feed.trades("SBER", "GAZP").wait(rows=20)
    eventually(lambda: set(prints.df["symbol"]) == {"SBER", "GAZP"})

    drop(sim)
    eventually(lambda: feed.state == "reconnecting")
    sim._call(lambda: trade_a_lot(sim, "SBER", MOST_PRINTS + 500))
    eventually(lambda: len(feed.gaps) > 0 and feed.gaps.df["ended"].notna().all())
    eventually(lambda: len(prints) > MOST_PRINTS)
    gaps = feed.gaps.df
    frame = prints.df
    missing, others = (frame[frame["symbol"] == name]["trade_id"].diff().dropna() for name in ("SBER", "GAZP"))

    assert list(zip(gaps["stream"], gaps["symbol"], gaps["filled"], strict=True)) == [
        ("market", "", False),
        ("market trades", "", True),
        ("market trades", "SBER", False),
    ]
    assert "the broker's past does not reach back so far" in gaps["reason"].iloc[-1]
    assert missing.max() >= 500
    assert (missing > 1).sum() == 1
    assert others.eq(1).all()


def trade_a_lot(sim: Simulator, symbol: str, count: int) -> None:
    """Let so many trades happen at once, on the server's thread."""
    feed: Any = sim._server.feed
    channel = feed.channel(feed.security("MOEX", symbol))
    for _ in range(count):
        channel._publish_trade(time.time_ns(), 300.0, 1, "buy")


@pytest.mark.parametrize(
    ("past", "is_filled", "count"),
    [([11, 12, 13], True, 2), ([12, 13], False, 2), ([], False, 0), ([10, 11], True, 0)],
    ids=["reaches back", "begins later", "is empty", "nothing was missed"],
)
def test_the_past_fills_a_gap_if_it_reaches_back_to_what_was_known(
    past: list[int], is_filled: bool, count: int
) -> None:
    protocol = opened(AlorMarket(), trades(fields=("trade_id",)))
    clock = RECEIVED // 1_000_000
    receive(protocol, data("trades-1", trade(10, ms=clock + 10)), data("trades-1", trade(11, ms=clock + 11)))
    request, ping = begin(protocol, now=60.0)
    history = [data("trades-1", trade(each, ms=clock + each, existing=True)) for each in past]

    _, notices = receive(protocol, *history, reply(request["guid"]), reply(ping["guid"]))

    assert [each for each in notices if isinstance(each, Resumed)] == [Resumed("trades", "SBER", is_filled, count)]


def test_where_nothing_was_known_a_short_past_is_all_of_it() -> None:
    protocol = opened(AlorMarket(), trades(fields=("trade_id",)))
    request, ping = begin(protocol, now=60.0)

    _, notices = receive(protocol, reply(request["guid"]), reply(ping["guid"]))

    assert Resumed("trades", "SBER", is_filled=True) in notices


def test_bars_of_the_socket_go_on_from_the_last_closed_one(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=400)
    witness_feed, feed = open_alor(sim), open_alor(sim, rule=AWAY)
    options = (("interval", "1"), ("start", str(int(time.time()) - 5)))
    witness, dropped = (
        each._link.tape("bars", ("SBER",), BAR_COLUMNS, options=options, limit=100_000) for each in (witness_feed, feed)
    )

    eventually(lambda: len(last_of_each(dropped)) >= 2 and len(witness))
    drop(sim, first=index_of(sim, feed))
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    requests = [each for each in sim.subscriptions() for each in each.values()]
    sim.set_market("closed")
    eventually(lambda: last_of_each(dropped).equals(last_of_each(witness)), "the same bars")
    resumed = dropped.frame()

    assert len(requests) == 2
    assert len(last_of_each(dropped)) >= 2
    is_after = resumed["received"] > pd.Timestamp(feed.gaps.df["started"].iloc[-1])
    known = resumed.index[~is_after].unique()  # when the connection was cut
    assert resumed.index[is_after][0] == known[-2]  # the bar that ran was not closed, the one before it was


def last_of_each(tape: Any) -> pd.DataFrame:
    """The last state of each bar."""
    frame = tape.frame()[[column.name for column in BAR_COLUMNS]]
    return frame.groupby(frame.index).last()


def test_minute_bars_equal_those_of_a_feed_that_was_never_dropped(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        live_bars, "MARGIN_NS", 30 * live_bars.SECOND
    )  # a quarter of a second for what travels meanwhile
    run_fast(monkeypatch, since=pd.Timestamp("2026-03-03 12:17:40", tz="Europe/Moscow"), speed=60)
    sim = serve_alor(rate=600)
    witness_feed, feed = open_alor(sim), open_alor(sim, rule=AWAY)
    witness, dropped = (each.bars("SBER", "1min", history="1h") for each in (witness_feed, feed))
    first = dropped.df.index[0]  # asked for a moment later, it may begin a minute later

    eventually(lambda: has_live_bar(dropped))
    drop(sim, first=index_of(sim, feed))
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    cut = len(dropped)
    eventually(lambda: has_live_bar(dropped, after=cut))
    sim.set_market("closed")
    traded = minutes_of(sim.trades("SBER", first.timestamp())).index
    eventually(lambda: len(dropped) == len(traded) and are_same_bars(witness.df[first:], dropped.df), "the same bars")

    frame = dropped.df
    assert not frame.index.has_duplicates
    assert traded.as_unit("ns").equals(frame.index.as_unit("ns"))
    # "corrected": a trade that the break delayed by more than two seconds after the end of its bar.
    assert {"history", "live"} <= set(frame["source"]) <= {"history", "live", "corrected"}
    assert len(feed.gaps) == 1
    assert len(witness_feed.gaps) == 0


def has_live_bar(bars: live_bars.LiveBars, *, after: int = 0) -> bool:
    """Whether one that is complete was made of live trades alone, after so many bars."""
    later = bars.df.iloc[after:]
    return bool((later["complete"] & (later["source"] == "live")).any())


def are_same_bars(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether all bars but the running one are complete and equal."""
    one, other = one.iloc[:-1], other.iloc[:-1]
    is_complete = bool(one["complete"].all() and other["complete"].all())
    return is_complete and one.index.equals(other.index) and np.array_equal(one[PRICES], other[PRICES])

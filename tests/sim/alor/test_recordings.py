"""Recorded markets through the simulated ALOR: row by row without conflation, latest-wins with it."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from websockets.protocol import State

from aries_nb.sim import AlorOptions, Simulator
from aries_nb.sim.alor.server import AlorServer, FrameClient
from aries_nb.sim.alor.session import AlorSession
from tests.sim.alor.client import AlorClient

if TYPE_CHECKING:
    from pathlib import Path


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def milliseconds(row: dict[str, Any]) -> int:
    return int(row["ts"].value // 1_000_000) if hasattr(row["ts"], "value") else math.floor(row["ts"].timestamp() * 1e3)


@pytest.mark.parametrize("form", ["Simple", "Slim"])
def test_quotes_are_the_files_rows(tapes: Path, form: str) -> None:
    path = tapes / "eurusd_quotes.parquet"
    expected = [(row["bid_price"], row["bid_size"], row["ask_price"], row["ask_size"]) for row in rows_of(path)]
    names = ("bid", "bv", "ask", "av") if form == "Slim" else ("bid", "bid_vol", "ask", "ask_vol")
    with Simulator(AlorOptions(tapes=(path,), speed=None, conflate=False)) as sim, AlorClient(sim.url) as bare:
        bare.request("QuotesSubscribe", exchange="MOEX", code="EURUSD", format=form)
        quotes = bare.receive_data(len(expected))
        rest = bare.sync()

    assert [tuple(quote[name] for name in names) for quote in quotes] == expected
    assert rest == []


def test_trades_are_the_files_rows_with_conflation_as_well(tapes: Path) -> None:
    path = tapes / "btcusdt_trades.parquet"
    expected = [(row["price"], row["size"], row["side"], milliseconds(row)) for row in rows_of(path)]
    with Simulator(AlorOptions(tapes=(path,), speed=None)) as sim, AlorClient(sim.url) as bare:
        bare.request("AllTradesGetAndSubscribe", exchange="MOEX", code="BTCUSDT", frequency=1000)
        trades = bare.receive_data(len(expected))

    assert [(each["price"], each["qty"], each["side"], each["timestamp"]) for each in trades] == expected
    assert [each["id"] for each in trades] == list(range(trades[0]["id"], trades[0]["id"] + len(expected)))


def test_books_are_the_files_rows(tapes: Path) -> None:
    path = tapes / "xrpusdt_book.parquet"
    expected = [
        [list(zip(row[f"{side}_prices"], row[f"{side}_sizes"], strict=True)) for side in ("bid", "ask")]
        for row in rows_of(path)
    ]
    with Simulator(AlorOptions(tapes=(path,), speed=None, conflate=False)) as sim, AlorClient(sim.url) as bare:
        bare.request("OrderBookGetAndSubscribe", exchange="MOEX", code="XRPUSDT", format="Slim", depth=20)
        first, *books = bare.receive_data(1 + len(expected))

    assert (first["b"], first["a"], first["h"]) == ([], [], True)
    assert [[[(level["p"], level["v"]) for level in book[side]] for side in ("b", "a")] for book in books] == expected


def test_a_recording_replaces_a_share_of_the_market(tapes: Path) -> None:
    path = tapes / "aapl_quotes.parquet"
    row = rows_of(path)[0]
    with Simulator(AlorOptions(tapes=(path,))) as sim, AlorClient(sim.url) as bare:
        bare.request("QuotesSubscribe", exchange="SPBX", code="AAPL")
        (quote,) = bare.receive_data(1)

    assert (quote["bid"], quote["ask"], quote["exchange"]) == (row["bid_price"], row["ask_price"], "SPBX")


@pytest.mark.parametrize("interval", [50, 400])
def test_conflated_quotes_are_the_last_row_of_each_interval(tapes: Path, interval: int) -> None:
    """With a clock set by the test: every turn plays the rows due, and sends the newest once the interval is over."""
    path, speed, turn = tapes / "eurusd_quotes.parquet", 600.0, 0.01
    rows = rows_of(path)
    server = AlorServer(AlorOptions(tapes=(path,), speed=speed))
    now = 1_000_000.0
    session = AlorSession(server.options, server, now)
    server.clients.append(FrameClient(SimpleNamespace(state=State.OPEN), session))  # type: ignore[arg-type]
    asked = {"exchange": "MOEX", "code": "EURUSD", "frequency": interval, "format": "Slim"}
    session.receive(json.dumps({"opcode": "QuotesSubscribe", "guid": "g", "token": "t", **asked}), now)
    started, due = now, now + interval / 1000
    expected: list[int] = []
    first, played = rows[0]["ts"].timestamp(), 0

    while now < started + 12.0:
        now += turn
        server.feed.play_recordings(now)
        server.feed.flush(now)
        reached = first + (now - started) * speed
        while played < len(rows) and rows[played]["ts"].timestamp() <= reached:
            played += 1
        if now >= due and played > (expected[-1] if expected else 0):
            expected.append(played)
            due = now + interval / 1000
    sent = [json.loads(text)["data"] for text in session.outbox if text.startswith("{ ")]
    counts = session.subscriptions()["g"]

    assert played > 500
    assert [(quote["bid"], quote["ask"]) for quote in sent] == [
        (rows[number - 1]["bid_price"], rows[number - 1]["ask_price"]) for number in expected
    ]
    assert counts["sent"] == len(expected)
    # The newest state may still wait for the end of its interval.
    assert counts["sent"] + counts["held_back"] + (played > expected[-1]) == played


def test_bars_of_a_recording_are_made_of_its_trades(tapes: Path) -> None:
    path = tapes / "btcusdt_trades.parquet"
    rows = rows_of(path)
    with Simulator(AlorOptions(tapes=(path,), speed=None, conflate=False)) as sim, AlorClient(sim.url) as bare:
        bare.request("BarsGetAndSubscribe", exchange="MOEX", code="BTCUSDT", tf="1", format="Slim", **{"from": 0})
        frames = bare.receive_data(len(rows))
    last = {frame["t"]: frame for frame in frames}

    start = math.floor(rows[0]["ts"].timestamp())
    inside = [row for row in rows if math.floor(row["ts"].timestamp()) == start]
    assert (last[start]["o"], last[start]["c"]) == (inside[0]["price"], inside[-1]["price"])
    assert math.isclose(last[start]["v"], math.fsum(row["size"] for row in inside))
    assert sorted(last) == sorted({math.floor(row["ts"].timestamp()) for row in rows})

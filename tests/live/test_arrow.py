"""Live frames and recordings as Arrow data: pyarrow, polars, duckdb and Dask see the rows of `.df`."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.model import QUOTE_COLUMNS, Column
from aries_nb.sim import Simulator
from aries_nb.store import RollingFrame
from aries_nb.store.derived.arrow import arrow_rows, arrow_table
from tests.net.patience import eventually

SECOND = 1_000_000_000
NOW = 1_795_994_502 * SECOND


def put(frame: RollingFrame, ts: int, values: tuple[object, ...], *, code: int = 0, seq: int = 1) -> None:
    frame.buffer.number(seq)
    frame.buffer.add(code, ts, values)  # type: ignore[arg-type]
    frame.buffer.mark(max(ts, NOW))


def test_a_frame_in_order_shares_its_memory() -> None:
    frame = RollingFrame(QUOTE_COLUMNS, ["AAPL", "MSFT"], limit=100)
    for number in range(5):
        put(frame, NOW + number * SECOND, (1.0 + number, 2.0, 3.0, 4.0, float("nan")), code=number % 2)
    frame.publish()
    table = arrow_table(frame)
    assert table.column_names == ["ts", "received", "symbol", *(column.name for column in QUOTE_COLUMNS)]
    pd.testing.assert_frame_equal(
        table.to_pandas().set_index("ts"), frame.frame().astype({"symbol": "category"}), check_categorical=False
    )
    memory = frame._published.slab.arrays["bid_price"]
    (chunk,) = table["bid_price"].chunks
    assert chunk.buffers()[1].address == memory.ctypes.data


def test_rows_out_of_order_texts_and_missing_times_are_those_of_df() -> None:
    columns = (Column("price"), Column("venue", "text"), Column("at", "time"), Column("number", "integer"))
    frame = RollingFrame(columns, ["A"], limit=100)
    missing = -(2**63)
    for ts, values in [(2, (1.0, "X", NOW, 1)), (1, (2.0, "", missing, 2)), (3, (3.0, "Ы", NOW, 3))]:
        put(frame, NOW + ts * SECOND, values)
    frame.publish()
    table = arrow_table(frame)
    assert table["venue"].to_pylist() == ["", "X", "Ы"]
    assert table["at"].to_pylist()[0] is None
    assert table["number"].to_pylist() == [2, 1, 3] == frame.frame()["number"].tolist()
    rows, end = arrow_rows(frame, 1)
    assert (rows["venue"].to_pylist(), end) == (["", "Ы"], 3)
    assert rows["seq"].to_pylist() == [1, 1]


def test_other_libraries_take_a_live_frame(feed: Feed, sim: Simulator) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    sim.close()
    table = pa.table(quotes)
    assert len(pl.DataFrame(quotes)) == table.num_rows == len(quotes.df)
    assert table["bid_price"].to_pandas().equals(quotes.df["bid_price"].reset_index(drop=True))
    assert duckdb.sql("select count(*), min(symbol) from quotes").fetchall() == [(len(quotes.df), "AAPL")]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    path = tmp_path_factory.mktemp("sealed") / "day.anb"
    with anb.connect("sim", rate=2_000, record=path) as feed:
        quotes, trades = feed.quotes("AAPL", "MSFT"), feed.trades("AAPL", fields=["price", "size", "venue"])
        feed.quotes("AAPL", fields=["bid_price"])
        trades.wait(rows=100, timeout=60)
    return path, quotes.df, trades.df


def test_a_recording_has_the_rows_of_its_frames(recorded: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    path, quotes, trades = recorded
    day = anb.recordings(path)
    found = day.df("quotes")
    assert len(found) == len(quotes)
    assert sorted(found["bid_price"].dropna()) == sorted(quotes["bid_price"].dropna())
    assert day.df("trades")["price"].sum() == pytest.approx(trades["price"].sum())
    counted = quotes.groupby("symbol", observed=True).size().to_dict()
    assert dict(day.sql("select symbol, count(*) from quotes group by 1").fetchall()) == counted
    assert day.scan("trades").select(pl.len()).collect().item() == len(trades)
    assert len(day.dask("quotes")) == len(quotes)
    assert found["seq"].is_unique
    again = {file: file.stat().st_mtime_ns for file in (path / "tables").rglob("*.parquet")}
    assert len(anb.recordings(path).df("quotes")) == len(quotes)
    assert {file: file.stat().st_mtime_ns for file in (path / "tables").rglob("*.parquet")} == again


def test_a_query_of_a_running_recording_sees_what_was_synced(tmp_path: Path) -> None:
    path = tmp_path / "day.anb"
    with anb.connect("sim", rate=2_000, seed=int.from_bytes(os.urandom(2), "big"), record=path) as feed:
        quotes = feed.quotes("AAPL").wait(rows=50, timeout=60)
        feed.record(path).flush()
        day = anb.recordings(path)
        first = len(day.df("quotes"))
        assert first >= 50
        count = len(quotes.df)
        quotes.wait(rows=count + 50, timeout=60)
        feed.record(path).flush()
        assert len(anb.recordings(path).df("quotes")) >= count + 50 > first


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_sealed_rows_have_no_print_that_was_corrected_as_a_frame_has_none(
    tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.live.recordings.sealing.PIECE_ROWS", 50)
    monkeypatch.setattr("aries_nb.live.recordings.sealing.TAKEN_ROWS", 20)
    path = tmp_path / "day.anb"
    symbols = ("AAPL", "MSFT") if broker == "aries" else ("SBER", "GAZP")
    market = f"sim-{broker}" if broker != "aries" else "sim"
    with anb.connect(
        market, rate=2_000, rough="corrected_prints,cancelled_prints", rough_seconds=0.5, record=path
    ) as feed:
        trades = feed.trades(*symbols)
        eventually(lambda: trades.ledger.corrected >= 3, seconds=60)
    found = anb.recordings(path).df("trades")
    assert len(found) == len(trades.df)
    assert sorted(found["trade_id"]) == sorted(trades.df["trade_id"])

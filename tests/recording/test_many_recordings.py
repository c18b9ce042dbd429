"""Many recordings, also on a file system of fsspec, are one table; a day and a symbol of it are read alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import aries_nb as anb
from aries_nb.cli import main
from aries_nb.errors import RecordingError, UsageError
from aries_nb.recording import seal
from aries_nb.recording.catalog import Recordings, recordings
from tests.recording.recorded import MADE, events, record

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
DAYS = ("2026-01-05", "2026-01-06", "2026-01-07")
SYMBOLS = ("AAPL", "MSFT", "NVDA", "SPY")
ROWS = 40_000  # of a day
ENGINES = ("duckdb", "polars", "dask", "pandas")


class Counted:
    """How many bytes of files in memory were read."""

    read = 0


class _CountedFile(BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        Counted.read += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        Counted.read += count
        return count


def quotes(day: int, *, without: tuple[str, ...] = ()) -> pa.Table:
    """The rows of a day in the order of arrival, of which each symbol has as many."""
    codes = np.arange(ROWS, dtype=np.int32) % len(SYMBOLS)
    source = np.random.default_rng(day)
    rows = pa.table(
        {
            "received": pa.array((MADE + day * DAY) // 1_000 + np.arange(ROWS), pa.timestamp("us", "UTC")),
            "symbol": pa.DictionaryArray.from_arrays(codes, list(SYMBOLS)),
            "bid_price": source.random(ROWS),
            "ask_price": source.random(ROWS),
            "venue": pa.DictionaryArray.from_arrays(codes % 2, ["X", "Y"]),
            "seq": pa.array(np.arange(ROWS)),
        }
    )
    return rows.drop_columns(list(without))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of three days, of which the first one lacks a column."""
    folder = tmp_path_factory.mktemp("days")
    for day, name in enumerate(DAYS):
        path = record(folder / f"{name} [1].anb", events(20))
        seal(path, "quotes", quotes(day, without=() if day else ("ask_price",)), MADE + day * DAY)
        seal(path, "trades", quotes(day).slice(0, 10), MADE + day * DAY)
    return folder


@pytest.fixture
def remote(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same in memory, by a file system that counts what is read."""
    files = fsspec.filesystem("memory")
    files.put(str(folder), "/days", recursive=True)
    monkeypatch.setattr(
        MemoryFileSystem, "_open", lambda _, path, *__, **___: _CountedFile(files.store[path].getvalue())
    )
    yield "memory://days"
    files.rm("/days", recursive=True)


def answer(engine: str, days: Recordings, **chosen: Any) -> dict[str, tuple[int, float]]:
    """The number of rows of each symbol, and the largest ask price."""
    if engine == "duckdb":
        rows = days.sql("select symbol, count(*), max(ask_price) from quotes group by 1", **chosen).fetchall()
        return {symbol: (count, most) for symbol, count, most in rows}
    if engine == "polars":
        import polars

        grouped = days.scan("quotes", **chosen).group_by("symbol").agg(polars.len(), polars.col("ask_price").max())
        return {symbol: (count, most) for symbol, count, most in grouped.collect().iter_rows()}
    if engine == "dask":
        found = days.dask("quotes", **chosen)[["symbol", "ask_price"]].compute(scheduler="threads", num_workers=2)
    else:
        found = days.df("quotes", **chosen)
    by_symbol = found.groupby("symbol", observed=True)["ask_price"].agg(["size", "max"])
    return {
        str(symbol): (int(count), most) for symbol, (count, most) in zip(by_symbol.index, by_symbol.values, strict=True)
    }


def expected(days: range, symbols: tuple[str, ...] = SYMBOLS) -> dict[str, tuple[int, float]]:
    """The right answer for some days."""
    rows = pd.concat([quotes(day, without=() if day else ("ask_price",)).to_pandas() for day in days])
    each = {symbol: rows["ask_price"][rows["symbol"] == symbol] for symbol in symbols}
    return {symbol: (len(some), some.max()) for symbol, some in each.items()}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_rows_of_all_days_are_one_table(folder, engine):
    days = recordings(folder)

    assert answer(engine, days) == expected(range(3))
    assert answer(engine, days, day=DAYS[1], symbols=["SPY", "MSFT"]) == expected(range(1, 2), ("SPY", "MSFT"))


def test_lines_that_are_chosen_by_pandas_are_scanned_alone(folder):
    days = recordings(folder)

    chosen = days[days["path"].str.contains("01-06")]

    assert isinstance(chosen, Recordings)
    assert answer("duckdb", chosen) == expected(range(1, 2))
    rows = chosen.df("quotes")
    pd.testing.assert_frame_equal(rows, quotes(1).to_pandas(), check_categorical=False)


def test_a_table_that_no_longer_says_where_its_recordings_are_says_so(folder):
    with pytest.raises(UsageError, match="keep the column `path`"):
        recordings(folder).drop(columns="path").df("quotes")


@pytest.mark.parametrize("engine", ENGINES[:3])
def test_what_is_read_for_a_symbol_of_a_day_is_its_share_above_all(remote, engine):
    days = recordings(remote)
    stored = fsspec.filesystem("memory").store
    files = [len(file.getvalue()) for name, file in stored.items() if "/quotes/" in name and "parquet" in name]
    share = sum(files) / len(DAYS) / len(SYMBOLS)
    before = Counted.read

    found = answer(engine, days, day=DAYS[1], symbols="NVDA")

    assert found == expected(range(1, 2), ("NVDA",))
    assert 0 < Counted.read - before <= 3 * share
    assert len(files) == len(DAYS)


def test_a_recording_elsewhere_is_what_it_is_here(folder, remote):
    here, there = recordings(folder), recordings(remote)

    pd.testing.assert_frame_equal(here.drop(columns="path"), pd.DataFrame(there.drop(columns="path")))
    one = recordings(there["path"][0])
    assert one.rows == {"quotes": ROWS, "trades": 10}
    assert len(one.holes()) == 0
    pd.testing.assert_frame_equal(recordings(here["path"][0]).df("trades"), one.df("trades"))
    with pytest.raises(UsageError, match="there is no folder"):
        recordings("memory://nowhere")


def test_the_command_line_checks_recordings_elsewhere(tmp_path, capsys):
    damaged = record(tmp_path / "damaged.anb", events(1_000), per_batch=100)
    file = damaged / "000001.arrows"
    data = bytearray(file.read_bytes())
    data[5_000] ^= 1
    file.write_bytes(data)
    fsspec.filesystem("memory").put(str(damaged), "/checked/damaged.anb", recursive=True)

    assert main(["recordings", "memory://checked", "--check"]) == 1
    assert "damaged.anb: events are missing" in capsys.readouterr().out


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_a_kept_recording_is_sealed_here_and_read_and_replayed_elsewhere(tmp_path, broker):
    import shutil

    kept = tmp_path / "kept.anb"
    shutil.copytree(Path(__file__).parent / "kept" / f"{broker}-1.anb", kept)
    files, url = fsspec.filesystem("memory"), f"memory://{broker}/kept.anb"
    files.put(str(kept), f"/{broker}/kept.anb", recursive=True)

    with pytest.raises(UsageError, match=r"not sealed yet.*\.seal\(\)"):
        anb.recordings(url).df("quotes")
    anb.recordings(tmp_path).seal()
    files.put(str(kept / "tables"), f"/{broker}/kept.anb/tables", recursive=True)
    days = anb.recordings(f"memory://{broker}")

    local = anb.recordings(kept)
    assert days.df("quotes").equals(local.df("quotes"))
    assert days.scan("trades").collect().height == local.rows["trades"]
    with anb.replay(url, speed="max") as past:
        past.clock.seek(past.clock.end)
        assert past.stats().messages > 0


@pytest.mark.parametrize("day", ["today?", 5, "2026-01-05 10:00", "NaT", True])
def test_what_is_no_day_is_said(folder, day):
    with pytest.raises(UsageError, match="is no day"):
        recordings(folder).df("quotes", day=day)


@pytest.mark.parametrize("symbols", [[], [5]])
def test_what_are_no_symbols_is_said(folder, symbols):
    with pytest.raises(UsageError, match="are no symbols"):
        recordings(folder).scan("quotes", symbols=symbols)


def test_a_day_without_rows_is_said(folder):
    with pytest.raises(UsageError, match=r"3 recordings have no rows of 'quotes' of 2026-02-01"):
        recordings(folder).scan("quotes", day="2026-02-01")


def test_a_damaged_file_of_rows_is_said(folder, tmp_path):
    path = record(tmp_path / "a.anb", events(20))
    file = seal(path, "quotes", quotes(0), MADE)
    file.write_bytes(file.read_bytes()[:-9])

    for call in (recordings(tmp_path).df, recordings(tmp_path).scan, recordings(tmp_path).dask):
        with pytest.raises(RecordingError):
            call("quotes")


def test_a_file_system_that_cannot_be_opened_is_said_without_its_keys():
    with pytest.raises(UsageError, match="'nosuch' cannot be opened") as raised:
        recordings("nosuch://days", storage_options={"key": "sesame"})

    assert "sesame" not in str(raised.value)


def test_options_of_a_file_system_without_one_are_refused(folder):
    with pytest.raises(UsageError, match="storage_options are for a URL"):
        recordings(folder, storage_options={"key": "sesame"})


def test_without_fsspec_a_url_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)

    with pytest.raises(UsageError, match=r"pip install 'aries_nb\[analysis\]'"):
        recordings("memory://days")


def test_errors_of_a_file_system_are_errors_of_the_recording(remote, monkeypatch):
    days = recordings(remote)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no route")

    monkeypatch.setattr(MemoryFileSystem, "_open", fail)
    with pytest.raises(RecordingError, match="no route"):
        days.df("quotes")


def test_a_feed_records_to_a_disk():
    with pytest.raises(UsageError, match="copy it there later"):
        anb.connect("sim", record="memory://days/a.anb")

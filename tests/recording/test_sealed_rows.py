"""Rows are sealed as Parquet, and pandas, duckdb, polars and Dask read the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import aries_nb as anb
from aries_nb.errors import RecordingError, UsageError
from aries_nb.recording import seal
from aries_nb.recording.catalog import StoredRecording, recordings
from tests.recording.recorded import MADE, events, record

HOUR = 3_600_000_000_000
SYMBOLS = ("MSFT", "AAPL", "NVDA")


def quotes(hour: int, count: int = 3_000) -> pa.Table:
    """Rows as a frame of quotes holds them, in the order of arrival."""
    numbers = range(hour * count, (hour + 1) * count)
    return pa.table(
        {
            "symbol": pa.array([SYMBOLS[number * 7 % 3] for number in numbers]).dictionary_encode(),
            "received": pa.array(
                [(MADE + hour * HOUR) // 1_000 + number for number in numbers], pa.timestamp("us", "UTC")
            ),
            "bid_price": pa.array([100.0 + number % 50 / 100 for number in numbers]),
            "seq": pa.array(numbers, pa.int64()),
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording with two sealed hours of quotes, and one of trades."""
    made = record(tmp_path / "a [1] 'b'.anb", events(100))
    for hour in (1, 0):
        seal(made, "quotes", quotes(hour), MADE + hour * HOUR + 5)
    seal(made, "trades", quotes(0, 10).drop_columns(["bid_price"]), MADE)
    return made


def test_rows_come_back_in_the_order_of_arrival(path):
    rows = StoredRecording(path).df("quotes")

    expected = pa.concat_tables([quotes(0), quotes(1)]).to_pandas()
    pd.testing.assert_frame_equal(expected, rows, check_categorical=False)
    assert StoredRecording(path).rows == {"quotes": 6_000, "trades": 10}


def test_files_are_sorted_by_symbol_and_arrival_and_only_the_owner_reads_them(path):
    files = sorted((path / "tables" / "quotes").glob("*.parquet"))

    table = pa.parquet.read_table(files[0])
    places = list(zip(table["symbol"].to_pylist(), table["seq"].to_pylist(), strict=True))
    assert sorted(places) == places
    assert [file.name[:13] for file in files] == ["2026-01-05T10", "2026-01-05T11"]
    if sys.platform != "win32":
        modes = {file.stat().st_mode & 0o777 for file in (path / "tables").rglob("*") if file.is_file()}
        assert modes == {0o600}


def test_sealing_twice_is_harmless_and_more_rows_of_an_hour_replace_it(path):
    before = sorted(file.name for file in (path / "tables" / "quotes").iterdir())

    seal(path, "quotes", quotes(0), MADE)
    again = sorted(file.name for file in (path / "tables" / "quotes").iterdir())
    seal(path, "quotes", pa.concat_tables([quotes(0), quotes(5, 100)]), MADE)

    assert before == again
    assert StoredRecording(path).rows["quotes"] == 6_100
    assert len(list((path / "tables" / "quotes").glob("*.parquet"))) == 2


def test_a_file_that_is_not_noted_is_not_read(path):
    folder = path / "tables" / "quotes"
    (folder / "123.parquet.part").write_bytes(b"half")
    (folder / "2026-01-05T12-00000000.parquet").write_bytes(b"not noted")

    assert len(StoredRecording(path).df("quotes")) == 6_000


def test_duckdb_polars_and_dask_with_two_workers_count_the_same(path):
    import dask

    recording = StoredRecording(path)
    counts = recording.df("quotes").groupby("symbol", observed=True).size().to_dict()

    by_duckdb = recording.sql("select symbol, count(*) as n from quotes group by 1").df().set_index("symbol")["n"]
    by_polars = recording.scan("quotes").group_by("symbol").len().collect()
    with dask.config.set(scheduler="threads", num_workers=2):
        by_dask = recording.dask("quotes").groupby("symbol", observed=True).size().compute()

    assert counts == by_duckdb.to_dict()
    assert counts == dict(by_polars.iter_rows())
    assert counts == by_dask.to_dict()


def test_sql_sees_a_table_of_the_user_by_its_name_alone(path):
    mine = pd.DataFrame({"symbol": ["AAPL"], "weight": [2.0]})

    joined = StoredRecording(path).sql("select count(*) as n from trades join mine using (symbol)", mine=mine)

    assert joined.df()["n"].item() in {3, 4}
    with pytest.raises(Exception, match="mine"):
        StoredRecording(path).sql("select * from mine")


def test_a_kind_without_rows_names_those_with_rows(path):
    with pytest.raises(UsageError, match=r"no rows of 'bars'.*There are quotes, trades\."):
        StoredRecording(path).df("bars")


def test_what_is_recorded_is_sealed_before_a_query(path):
    asked = []

    StoredRecording(path, seal=asked.append).df("quotes")

    assert [path] == asked


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("duckdb", lambda recording: recording.sql("select 1")),
        ("polars", lambda recording: recording.scan("quotes")),
        ("dask.dataframe", lambda recording: recording.dask("quotes")),
    ],
)
def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it(path, monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(UsageError, match=r"is not installed.*pip install 'aries_nb\[analysis\]'"):
        call(StoredRecording(path))


@pytest.mark.parametrize("place", [30, -30])
def test_a_flipped_bit_in_a_file_of_rows_is_noticed(path, place):
    file = next((path / "tables" / "quotes").glob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)

    with pytest.raises(RecordingError, match="checksum"):
        StoredRecording(path).df("quotes")


@pytest.mark.parametrize(
    "entry", [{"file": "../../x.parquet", "hour": 0, "rows": 1}, {"file": 5, "hour": 0, "rows": 1}, {"more": 1}, 7]
)
def test_a_manifest_that_names_something_else_is_refused(path, entry):
    from aries_nb.recording.folder import write_json

    write_json(path / "tables" / "quotes" / "manifest.json", {"files": [entry]})

    with pytest.raises(RecordingError, match="damaged"):
        StoredRecording(path).df("quotes")


def test_a_link_to_rows_elsewhere_is_not_followed(path, tmp_path):
    file = next((path / "tables" / "quotes").glob("*.parquet"))
    file.rename(tmp_path / "elsewhere.parquet")
    file.symlink_to(tmp_path / "elsewhere.parquet")

    with pytest.raises(RecordingError):
        StoredRecording(path).df("quotes")
    with pytest.raises(RecordingError):
        StoredRecording(path).scan("quotes")


@pytest.mark.parametrize("kind", ["", "../quotes", "Quotes", "a b"])
def test_a_kind_is_a_name(path, kind):
    with pytest.raises(UsageError, match="cannot be sealed"):
        seal(path, kind, quotes(0), MADE)


def test_a_folder_lists_its_recordings(path, tmp_path):
    record(tmp_path / "b.anb", events(10))
    record(tmp_path / "b.anb", events(20)[10:])
    damaged = record(tmp_path / "c.anb", events(1_000), per_batch=100)
    file = damaged / "000001.arrows"
    data = bytearray(file.read_bytes())
    data[5_000] ^= 1
    file.write_bytes(data)
    newer = record(tmp_path / "d.anb", events(10)) / "recording.json"
    newer.write_text(json.dumps(json.loads(newer.read_text()) | {"format": 9}))
    (tmp_path / "no recording").mkdir()

    table, checked = anb.recordings(tmp_path), anb.recordings(tmp_path, check=True)

    assert list(table) == ["path", "broker", "from", "to", "events", "bytes", "holes", "damage", "quotes", "trades"]
    assert [str(path), *(str(tmp_path / f"{name}.anb") for name in "bcd")] == list(table["path"])
    assert list(table["events"]) == [100, 20, 1_000, 0]
    assert list(table["holes"]) == [0, 1, 0, 0]
    assert list(checked["holes"]) == [0, 1, 1, 0]
    assert table["quotes"].astype(object).where(table["quotes"].notna(), None).tolist() == [6_000, None, None, None]
    assert table["from"][0] == pd.Timestamp(events(1)[0].received // 1_000, unit="us", tz="UTC")
    assert "damaged" in checked["damage"][2]
    assert "format 9" in table["damage"][3]
    assert len(recordings(tmp_path / "no recording")) == 0


def test_holes_are_a_table(tmp_path):
    path = record(tmp_path / "a.anb", events(10))
    record(path, events(20)[10:])

    table = StoredRecording(path).holes()

    assert list(table) == ["from", "to", "seq", "reason"]
    assert table["from"][0] <= table["to"][0]


def test_a_cell_shows_the_recording_escaped(tmp_path):
    path = record(tmp_path / "a<b>.anb", events(10), broker="<script>")

    shown = StoredRecording(path)._repr_html_()

    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "10" in shown


@pytest.mark.parametrize("path", [None, 5, "", " "])
def test_what_is_no_path_is_said(path):
    with pytest.raises(UsageError, match="is no path"):
        anb.recordings(path)


def test_nothing_at_the_path_is_said(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        recordings(tmp_path / "none")

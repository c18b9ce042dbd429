"""Files of a table: exact values, and nothing that a spreadsheet runs."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pandas as pd
import pytest

from aries_nb.model import NOT_A_TIME, Column, TableData
from aries_nb.widgets import Blotter
from aries_nb.widgets.table_export import csv_of, file_name, parquet_of

COLUMNS = (Column("symbol", "text"), Column("price", "decimal"), Column("updated", "time"), Column("text", "text"))
AT = 1_700_000_000_123_456_000
ROWS = (
    ("AAPL", Decimal("1234567.123456789"), AT, "a, b"),
    ("=1+1", Decimal("-0.10"), NOT_A_TIME, '=HYPERLINK("https://example.org";"x")'),
    ("@x", Decimal("NaN"), 0, "\t=1"),
)


class Tables:
    version = 0

    def table(self) -> TableData:
        return TableData("Orders ACC-1", COLUMNS, ROWS, ("symbol",))


def test_a_csv_file_has_exact_values_and_times_with_their_zone():
    lines = list(csv.reader(io.StringIO(csv_of(Tables().table()))))

    assert lines[0] == ["symbol", "price", "updated", "text"]
    assert lines[1] == ["AAPL", "1234567.123456789", "2023-11-14T22:13:20.123456+00:00", "a, b"]


def test_a_text_that_a_spreadsheet_would_run_is_a_text():
    lines = list(csv.reader(io.StringIO(csv_of(Tables().table()))))

    assert lines[2][0] == "'=1+1"
    assert lines[2][1] == "-0.10"  # a number, not a text
    assert lines[2][3].startswith("'=HYPERLINK")
    assert lines[3] == ["'@x", "", "", "'\t=1"]


def test_a_parquet_file_has_typed_columns():
    frame = pd.read_parquet(io.BytesIO(parquet_of(Tables().table(), ["symbol", "price", "updated"])))

    assert list(frame.columns) == ["symbol", "price", "updated"]
    assert frame["updated"][0] == pd.Timestamp(AT // 1_000, unit="us", tz="UTC")
    assert frame["updated"].isna().tolist() == [False, True, True]
    assert frame["price"][1] == -0.1


def test_a_blotter_sends_the_file_to_the_page_that_asked():
    blotter = Blotter(Tables())
    sent = []
    blotter.widget.send = lambda content, buffers=None: sent.append((content, buffers))

    blotter._on_message(None, {"save": "csv", "by": "page"}, [])
    blotter._on_message(None, {"save": "rm -rf", "by": "page"}, [])

    ((content, buffers),) = sent
    assert content == {"file": "Orders-ACC-1.csv", "type": "text/csv", "by": "page"}
    assert buffers[0].decode() == csv_of(Tables().table())
    blotter.close()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_blotter_writes_a_file(tmp_path, ending):
    blotter = Blotter(Tables(), columns=["symbol", "price"])
    path = tmp_path / f"orders.{ending}"

    getattr(blotter, f"to_{ending}")(path)

    read = pd.read_csv if ending == "csv" else pd.read_parquet
    assert list(read(path).columns) == ["symbol", "price"]
    blotter.close()


def test_the_name_of_a_file_holds_no_path():
    assert file_name("../../etc/passwd", "csv") == "etc-passwd.csv"
    assert file_name("…", "csv") == "table.csv"

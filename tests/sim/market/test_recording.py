from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aries_nb.errors import UsageError
from aries_nb.sim.market.recording import Recording, RecordingPlayer, load_recordings, recording_kind

if TYPE_CHECKING:
    from pathlib import Path

START = 1_600_000_000_000_000_000


def write(path: Path, **columns: list[Any]) -> Path:
    count = len(next(iter(columns.values())))
    table: dict[str, Any] = {
        "ts": pa.array([START + number * 1_000_000_500 for number in range(count)], pa.timestamp("ns", "UTC")),
        "symbol": ["A"] * count,
    }
    pq.write_table(pa.table(table | columns), path)
    return path


def quotes(path: Path, count: int = 3) -> Path:
    return write(
        path,
        bid_price=[0.1 + 0.2] * count,
        bid_size=[100] * count,
        ask_price=[1 / 3] * count,
        ask_size=[1.5] * count,
    )


def test_columns_determine_the_kind(tmp_path: Path) -> None:
    book = {"bid_prices": [[1.0]], "bid_sizes": [[1.0]], "ask_prices": [[2.0]], "ask_sizes": [[1.0]]}

    assert recording_kind(quotes(tmp_path / "q")) == "quotes"
    assert recording_kind(write(tmp_path / "t", price=[1.0], size=[1.0], side=["buy"])) == "trades"
    assert recording_kind(write(tmp_path / "b", **book)) == "book"


def test_prices_stay_as_they_are_and_whole_sizes_become_int(tmp_path: Path) -> None:
    (recording,) = load_recordings([quotes(tmp_path / "q")])["A"]

    assert recording.columns["bid_price"] == [0.1 + 0.2] * 3
    assert recording.columns["ask_price"] == [1 / 3] * 3
    assert [type(size) for size in recording.columns["bid_size"]] == [int] * 3
    assert recording.columns["ask_size"] == [1.5] * 3
    assert recording.times == [START, START + 1_000_000_500, START + 2_000_001_000]


def test_missing_numbers_become_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t", price=[float("nan"), 2.0], size=[None, 1.0], side=["buy", None])

    (recording,) = load_recordings([path])["A"]

    assert recording.columns == {"price": [None, 2.0], "size": [None, 1], "side": ["buy", None]}


def test_one_file_may_hold_several_symbols(tmp_path: Path) -> None:
    path = write(tmp_path / "t", symbol=["A", "B", "A"], price=[1.0, 2.0, 3.0], size=[1.0] * 3, side=["buy"] * 3)

    tapes = load_recordings([path])

    assert [tapes["A"][0].columns["price"], tapes["B"][0].columns["price"]] == [[1.0, 3.0], [2.0]]


def test_bad_recordings_are_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no parquet")
    odd = tmp_path / "odd"
    pq.write_table(pa.table({"a": [1]}), odd)
    wrong = write(tmp_path / "wrong", price=["x"], size=[1.0], side=["buy"])
    untimed = write(tmp_path / "untimed", ts=["x"], price=[1.0], size=[1.0], side=["buy"])
    empty = write(tmp_path / "empty", price=[], size=[], side=[])

    with pytest.raises(UsageError, match=re.escape("there is no recording")):
        recording_kind(tmp_path / "missing")
    with pytest.raises(UsageError, match="not a Parquet file"):
        recording_kind(tmp_path / "text")
    with pytest.raises(UsageError, match="of no known kind"):
        recording_kind(odd)
    for path in (wrong, untimed):
        with pytest.raises(UsageError, match="wrong type"):
            load_recordings([path])
    with pytest.raises(UsageError, match="empty"):
        load_recordings([empty])


def test_two_recordings_of_one_stream_are_refused(tmp_path: Path) -> None:
    paths = [quotes(tmp_path / "1"), quotes(tmp_path / "2")]

    with pytest.raises(UsageError, match="two recordings contain quotes of A"):
        load_recordings(paths)


def test_player_returns_rows_when_they_are_due() -> None:
    times = [START, START, START + 1_000_000_000, START + 3_000_000_000]
    player = RecordingPlayer(Recording("A", "trades", "", times, {}), speed=2.0)

    before = list(player.due(100.0, 10))
    player.start(100.0)
    rows = [list(player.due(now, 10)) for now in (100.0, 100.4, 100.5, 101.4, 101.5, 200.0)]

    assert before == []
    assert rows == [[0, 1], [], [2], [], [3], []]
    assert player.is_finished


def test_unpaced_player_returns_all_rows_in_pieces() -> None:
    player = RecordingPlayer(Recording("A", "trades", "", [START] * 5, {}), speed=None)
    player.start(0.0)

    pieces = [list(player.due(0.0, 2)) for _ in range(4)]

    assert pieces == [[0, 1], [2, 3], [4], []]


def test_times_going_back_do_not_change_the_order() -> None:
    player = RecordingPlayer(Recording("A", "trades", "", [START + 10**9, START, START + 2 * 10**9], {}), speed=1.0)
    player.start(0.0)

    assert list(player.due(0.5, 10)) == [0, 1]


@pytest.mark.parametrize(
    ("name", "kind", "symbol", "count"),
    [
        ("aapl_quotes", "quotes", "AAPL", 59_248),
        ("eurusd_quotes", "quotes", "EURUSD", 9_500),
        ("btcusdt_trades", "trades", "BTCUSDT", 1_000),
        ("xrpusdt_book", "book", "XRPUSDT", 50),
    ],
)
def test_recorded_markets_are_read_whole(tapes: Path, name: str, kind: str, symbol: str, count: int) -> None:
    path = tapes / f"{name}.parquet"

    (recording,) = load_recordings([path])[symbol]

    assert (recording.kind, len(recording.times)) == (kind, count)
    assert datetime.fromtimestamp(recording.times[0] / 1e9).year >= 2012

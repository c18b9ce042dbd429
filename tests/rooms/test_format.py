from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from msgspec.structs import replace

from aries_nb.model import Column
from aries_nb.rooms.format import (
    MOST_BATCH_BYTES,
    BatchWriter,
    Catalog,
    GapLine,
    Group,
    RoomDataError,
    StatusLine,
    decode_batch,
    decode_beat,
    decode_catalog,
    encode,
    group_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TIME = pa.timestamp("us", tz="UTC")
GROUP = group_of(
    "quotes",
    ("AAPL", "MSFT"),
    (Column("bid_price"), Column("venue", "text"), Column("at", "time"), Column("n", "integer")),
    (),
)
EPOCH = "0123456789abcdef"


def table(count: int = 3, **other: pa.Array) -> pa.Table:
    columns = {
        "seq": pa.array(range(1, count + 1), pa.int64()),
        "ts": pa.array(range(count), pa.int64()).cast(TIME),
        "received": pa.array([7] * count, pa.int64()).cast(TIME),
        "symbol": pa.array((["AAPL", "MSFT", "TSLA"] * count)[:count]),
        "bid_price": pa.array([float("nan")] * count),
        "venue": pa.array(["é"] * count),
        "at": pa.array([None] * count, TIME),
        "n": pa.array([2**62] * count, pa.int64()),
    }
    return pa.table(columns | other)


def written(rows: pa.Table | None = None, first: int = 5) -> bytes:
    return BatchWriter(GROUP, EPOCH, EPOCH).encode(table() if rows is None else rows, first)


def test_rows_come_back_as_they_were():
    batch = decode_batch(written(), GROUP)

    assert (batch.head.first, batch.rows) == (5, 3)
    (block,) = batch.blocks({"MSFT": 4, "AAPL": 9}, ["n", "venue"], 100)
    assert block.codes == [9, 4]
    assert block.ts.tolist() == [0, 1_000]
    assert block.seq == [101, 102]
    assert block.received == 7_000
    assert [[*column] for column in block.columns] == [[2**62, 2**62], ["é", "é"]]
    assert batch.since(7).head.first == 7
    assert batch.since(7).rows == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: b"",
        lambda: b"\xff" * 400,
        lambda: written()[:-8],
        lambda: written() + b"\0" * 8,
        lambda: written(table(0)),
        lambda: written(table(seq=pa.array([1, None, 3], pa.int64()))),
        lambda: written(table(symbol=pa.array(["AAPL", None, "MSFT"]))),
        lambda: written(table(bid_price=pa.array([1.0, None, 2.0]))),
        lambda: written(table(ts=pa.array([0, 2**62, 1], pa.int64()).cast(TIME))),
        lambda: written(table(received=pa.array([0, -(2**63), 1], pa.int64()).cast(TIME))),
        lambda: written(table(seq=pa.array([-1, 2, 3], pa.int64()))),
        lambda: BatchWriter(group_of("quotes", ("AAPL",), (Column("other"),), ()), EPOCH, EPOCH).encode(
            table(other=pa.array([1.0] * 3)), 0
        ),
        lambda: BatchWriter(GROUP, "nobody", EPOCH).encode(table(), 0),
        lambda: BatchWriter(GROUP, EPOCH, EPOCH).encode(table(), -1),
    ],
)
def test_a_batch_that_is_none_or_beyond_the_bounds_is_refused(spoil: Callable[[], bytes]):
    with pytest.raises(RoomDataError):
        decode_batch(spoil(), GROUP)


def test_a_bomb_is_refused_before_it_is_decompressed():
    bomb = written(table(1_000, venue=pa.array(["x" * 100_000] * 1_000)))
    assert len(bomb) < MOST_BATCH_BYTES / 10

    with pytest.raises(RoomDataError, match="larger than any"):
        decode_batch(bomb, GROUP)


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_batch_is_refused_or_has_rows_of_the_group(seed: int):
    chance = random.Random(seed)
    data = bytearray(written())
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)

    try:
        batch = decode_batch(bytes(data), GROUP)
    except RoomDataError:
        return
    assert batch.table.schema.equals(GROUP.schema)
    batch.blocks({"AAPL": 0, "MSFT": 1}, [name for name, _ in GROUP.columns], 0)


CATALOG = Catalog(1, EPOCH, 1, "aries", (GROUP,))
GAP = GapLine(1, "market quotes", "AAPL", 0, None, "connection", "lost", filled=False, missed=None)
FAR = 2**62 + 1, 2**63  # beyond what a column of times has


def test_a_catalog_comes_back_as_it_was():
    assert decode_catalog(encode(CATALOG)) == CATALOG


@pytest.mark.parametrize(
    "catalog",
    [
        replace(CATALOG, format=2),
        replace(CATALOG, feed="x" * 201),
        replace(CATALOG, epoch="../../etc"),
        replace(CATALOG, groups=(Group("positions", ("A",), (("Price", "number"),)),)),
        replace(CATALOG, groups=(Group("quotes", ("A",), (("symbol", "text"),)),)),
        replace(CATALOG, groups=(Group("quotes", ("A",), (("a", "number"), ("a", "number"))),)),
        replace(CATALOG, groups=(Group("quotes", (), (("a", "number"),)),)),
        replace(CATALOG, groups=(Group("quotes", ("A" * 201,), (("a", "number"),)),)),
        replace(CATALOG, groups=(Group("anything", ("A",), (("a", "number"),)),)),
        replace(CATALOG, groups=(GROUP,) * 2_001),
        replace(CATALOG, format=-1),
        replace(CATALOG, gaps=(replace(GAP, missed=-1),)),
        *(replace(CATALOG, gaps=(replace(GAP, **{name: n}),)) for name in ("started", "ended", "missed") for n in FAR),
        *(replace(CATALOG, reports=(StatusLine(*times, {}),)) for n in FAR for times in ((n, 0), (0, n))),
    ],
)
def test_a_catalog_beyond_the_bounds_is_refused(catalog: Catalog):
    with pytest.raises(RoomDataError):
        decode_catalog(encode(catalog))


@pytest.mark.parametrize("data", [b"", b"null", b"[" * 100_000, b"{}", b'{"epoch":1}', b" " * (5 << 20), b"\xff\xfe"])
def test_what_is_no_message_is_refused(data: bytes):
    with pytest.raises(RoomDataError):
        decode_catalog(data)
    with pytest.raises(RoomDataError):
        decode_beat(data)

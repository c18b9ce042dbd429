"""Perspective from the same bytes: an append-only table with a limit, fed in each form that it takes.

The messages are decoded with msgspec into structs of these fields alone (its own NDJSON reader takes no nested
messages), then given to `Table.update` as rows, as columns, as Arrow and as flat NDJSON. `Table.size()` after each
batch makes it apply the update: without it, the rows would only be queued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from statistics import median
from typing import Any

from msgspec.json import Encoder

from aries_nb.brokers.aries.messages import decoder_for
from tests.bench.results import Effort
from tests.bench.rounds import interleaved

__all__ = ["Read", "best_form", "by_arrow"]

Row = tuple[Any, ...]
Read = Callable[[list[bytes]], list[Row]]

SCHEMA = {
    "ts": "datetime",
    "symbol": "string",
    "bid_price": "float",
    "bid_size": "float",
    "ask_price": "float",
    "ask_size": "float",
}
NAMES = tuple(SCHEMA)
TRIAL_BATCHES = 40
DECODE = decoder_for(frozenset({"bidPrice", "bidSize", "askPrice", "askSize"}))


def best_form(
    batches: list[list[bytes]], effort: Effort, *, limit: int, read: Read | None = None
) -> tuple[str, Callable[[], int]]:
    """The fastest form of input for these batches, by a trial of each, and a turn of a round that uses it.

    `read` decodes the frames of a batch into rows of the schema; without it they are those of Aries.
    """
    forms = {"rows": _as_rows, "columns": _as_columns, "NDJSON": _as_ndjson, "Arrow": _as_arrow}
    few, reader = batches[:TRIAL_BATCHES], read or _rows
    trials = interleaved(
        {name: _competitor(update, few, limit, reader) for name, update in forms.items()}, effort.choose(3, 3, 1)
    )
    best = max(forms, key=lambda name: median(trials[name]))
    return best, _competitor(forms[best], batches, limit, reader)


def by_arrow(batches: list[list[bytes]], *, limit: int, read: Read | None = None) -> Callable[[], int]:
    """A turn of a round that gives these batches as Arrow, for which Perspective is made."""
    return _competitor(_as_arrow, batches, limit, read or _rows)


def _competitor(
    update: Callable[[Any, Sequence[Row]], None], batches: list[list[bytes]], limit: int, read: Read
) -> Callable[[], int]:
    import perspective

    table = perspective.table(SCHEMA, limit=limit)
    total = 0

    def turn() -> int:
        nonlocal total
        count = 0
        for batch in batches:
            rows = read(batch)
            update(table, rows)
            table.size()
            count += len(rows)
        total += count
        assert table.size() == min(total, limit)
        return count

    return turn


def _rows(batch: list[bytes]) -> list[Row]:
    return [_values(envelope.payload) for envelope in chain.from_iterable(map(DECODE, batch))]


def _values(payload: Any) -> Row:
    quote = payload.data
    return quote.quoteTimestamp, payload.symbol, quote.bidPrice, quote.bidSize, quote.askPrice, quote.askSize


def _as_rows(table: Any, rows: Sequence[Row]) -> None:
    table.update([dict(zip(NAMES, row, strict=True)) for row in rows])


def _as_columns(table: Any, rows: Sequence[Row]) -> None:
    table.update(dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True)))


def _as_ndjson(table: Any, rows: Sequence[Row]) -> None:
    named = [dict(zip(NAMES, row, strict=True)) for row in rows]
    table.update(Encoder().encode_lines(named).decode(), format="ndjson")


def _as_arrow(table: Any, rows: Sequence[Row]) -> None:
    import pyarrow as pa

    columns = list(zip(*rows, strict=True))
    arrays = [
        pa.array(columns[0], pa.int64()).cast(pa.timestamp("ms")),
        pa.array(columns[1], pa.string()).dictionary_encode(),
        *(pa.array(column, pa.float64()) for column in columns[2:]),
    ]
    batch = pa.record_batch(arrays, names=NAMES)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    table.update(sink.getvalue().to_pybytes(), format="arrow")

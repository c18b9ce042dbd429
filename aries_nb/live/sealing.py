"""Rows of a recording for other libraries: `recordings`, whose queries see all that is on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
from msgspec.json import decode

from aries_nb.brokers import Broker, Endpoint, broker_named
from aries_nb.model import Column, Subscription
from aries_nb.model.journal import Event
from aries_nb.net.background import Background
from aries_nb.net.events.playback import replayed
from aries_nb.net.intake import Route
from aries_nb.recording import RecordingReader, StoredRecording, catalog
from aries_nb.recording.sealing import seal
from aries_nb.store import GapLog, RollingFrame
from aries_nb.store.arrow import arrow_rows

__all__ = ["broker_of", "frames_of", "recordings"]

SEALED = ("quotes", "trades")
HOUR_NS = 3_600_000_000_000
MOST_ROWS = 1_000_000  # in memory


def recordings(path: str | os.PathLike[str], *, check: bool = False) -> pd.DataFrame | StoredRecording:
    """Return what recordings there are in a folder, or the recording at `path` itself.

    The DataFrame has a row for each recording in the folder: `path`, `broker`, `from` and `to` (UTC), `events`,
    `bytes`, `holes`, `damage`, and the number of sealed rows of each kind. `holes` are those between segments; with
    `check` the whole recordings are read, and all holes are counted. `damage` says what is wrong, "" for nothing.

    A recording has `df("quotes")`, `sql("select …")` (duckdb), `scan("trades")` (polars) and `dask("quotes")`. The
    first of them writes the rows of what was recorded since as Parquet, which takes about as long as a replay.

    Raises UsageError if there is nothing at `path`; for a single recording also RecordingError if it has a newer format
    or cannot be read.
    """
    return catalog.recordings(path, check=check, seal=sealed_rows)

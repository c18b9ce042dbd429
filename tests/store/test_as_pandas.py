"""Rows of a rolling frame behave as a DataFrame of pandas' own types, and no write of a user reaches our memory."""

from __future__ import annotations

import copy
import gc
import io
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aries_nb.model import Column
from aries_nb.store import RollingFrame
from aries_nb.store.shared_frame import _shared

COLUMNS = (Column("price", "number"), Column("venue", "text"), Column("moment", "time"))
SYMBOLS = ("AAPL", "MSFT", "GOOG")
NOW = 1_767_225_600_000_000_000  # ns
COUNT = 300


def rolling_frame(symbols: tuple[str, ...] = SYMBOLS, *, late: bool = False) -> RollingFrame:
    """Rows 0.1 s apart, of which some pairs have one time; with `late` one of them comes 5 s late."""
    rolling = RollingFrame(COLUMNS, symbols, limit=1_000)
    for number in range(COUNT):
        ts = NOW + (number - (number % 50 == 49)) * 100_000_000 - 5_000_000_000 * (late and number == 200)
        price = float("nan") if number % 7 == 0 else 100.0 + number % 13
        rolling.buffer.add(number % len(symbols), ts, (price, ("", "Q", "N")[number % 3], ts))
        rolling.buffer.mark(ts + 1_000_000)
    rolling.publish()
    return rolling


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows in arrays that pandas has made itself."""
    columns = {
        name: pd.array(frame[name].tolist(), dtype="str") if frame[name].dtype == "str" else frame[name].array.copy()
        for name in frame
    }
    return pd.DataFrame(columns, index=pd.DatetimeIndex(frame.index.array.copy(), name="ts"))


OWN = pd.DataFrame(
    {"symbol": ["MSFT", "AAPL", "TSLA"], "signal": [1.0, 2.0, 3.0]},
    index=pd.to_datetime(["2026-01-01T00:00:03Z", "2026-01-01T00:00:04Z", "2026-01-01T00:00:05Z"]).as_unit("us"),
).rename_axis("ts")
BY = {"left_index": True, "right_index": True, "by": "symbol"}
FIRST, LAST = OWN.index[0], OWN.index[-1]

WAYS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "as-of join with a frame of one's own": lambda df: pd.merge_asof(df, OWN, **BY),
    "as-of join of a frame of one's own": lambda df: pd.merge_asof(OWN, df, **BY),
    "as-of join by two columns": lambda df: pd.merge_asof(
        df, df, left_index=True, right_index=True, by=["symbol", "venue"]
    ),
    "merge": lambda df: df.merge(OWN, on="symbol", how="outer").sort_values(["symbol", "price"], kind="stable"),
    "rolling": lambda df: df["price"].rolling("5s").mean(),
    "loc by times": lambda df: df.loc[FIRST:LAST],
    "loc by a day": lambda df: df.loc["2026-01-01"],
    "asof": lambda df: df["price"].asof(FIRST),
    "truncate": lambda df: df.truncate(FIRST, LAST),
    "resample": lambda df: df["price"].resample("1s").mean(),
    "resample by symbol": lambda df: df.groupby("symbol")["price"].resample("1s").ohlc(),
    "pivot_table": lambda df: df.pivot_table(index="ts", columns="symbol", values="price", aggfunc="last"),
    "groupby": lambda df: df.groupby("symbol")["price"].agg(["mean", "std", "count"]),
    "groupby two": lambda df: df.groupby(["symbol", "venue"])["price"].last(),
    "groupby transform": lambda df: df.groupby("symbol")["price"].transform("mean"),
    "groupby shift": lambda df: df.groupby("symbol")["price"].diff(),
    "groupby first text": lambda df: df.groupby("venue")["symbol"].first(),
    "groupby nunique": lambda df: df.groupby("venue")["symbol"].nunique(),
    "value_counts": lambda df: df["symbol"].value_counts(),
    "value_counts of some": lambda df: df.iloc[:2]["symbol"].value_counts(normalize=True),
    "crosstab": lambda df: pd.crosstab(df["symbol"], df["venue"]),
    "concat": lambda df: pd.concat([df, df.iloc[:5]]),
    "concat with one's own": lambda df: pd.concat([df[["symbol"]], OWN]),
    "concat with plain": lambda df: pd.concat([plain(df), df]),
    "map a dictionary": lambda df: df["symbol"].map({"AAPL": 1, "MSFT": 2}),
    "map a function": lambda df: df["symbol"].map(str.lower),
    "map to text": lambda df: df["symbol"].map({"AAPL": "Apple", "MSFT": "Microsoft", "GOOG": "Alphabet"}),
    "map a Series": lambda df: df["symbol"].map(OWN.set_index("symbol")["signal"]),
    "apply": lambda df: df["symbol"].apply(len),
    "replace": lambda df: df.replace({"symbol": {"AAPL": "Apple"}}),
    "str": lambda df: df["symbol"].str.lower().str.contains("a"),
    "add": lambda df: df["symbol"] + "." + df["venue"],
    "equal": lambda df: df[df["symbol"] == "AAPL"],
    "equal to none": lambda df: df["symbol"] == "none",
    "not equal": lambda df: df[df["symbol"] != "AAPL"],
    "less": lambda df: df["symbol"] < "B",
    "compare columns": lambda df: df["symbol"] == df["venue"],
    "isin": lambda df: df["symbol"].isin(["AAPL", "TSLA", None]),
    "isna": lambda df: df.isna(),
    "notna": lambda df: df["venue"].notna(),
    "query": lambda df: df.query("symbol == 'AAPL' and price > 105"),
    "unique": lambda df: pd.Series(df["symbol"].unique()),
    "nunique": lambda df: df.nunique(),
    "duplicated": lambda df: df.drop_duplicates("symbol", keep="last"),
    "sort_values": lambda df: df.sort_values(["symbol", "price"], kind="stable"),
    "set_index": lambda df: df.set_index("symbol", append=True).sort_index().loc[(slice(None), "AAPL"), :],
    "unstack": lambda df: df.drop_duplicates("symbol").set_index("symbol", append=True)["price"].unstack(),
    "reindex": lambda df: df.drop_duplicates("symbol").set_index("symbol").reindex(["AAPL", "none"]),
    "melt": lambda df: df.melt(id_vars="symbol", value_vars=["price"]),
    "factorize": lambda df: pd.Series(pd.factorize(df["symbol"], sort=True)[0]),
    "category": lambda df: df["symbol"].astype("category"),
    "get_dummies": lambda df: pd.get_dummies(df["symbol"]),
    "where": lambda df: df["symbol"].where(df["price"] > 105, "none"),
    "fillna": lambda df: df.fillna({"price": 0.0}),
    "ffill": lambda df: df.ffill(),
    "interpolate": lambda df: df["price"].interpolate(),
    "shift": lambda df: df.shift(1),
    "max": lambda df: df[["symbol", "price"]].max(),
    "describe": lambda df: df["symbol"].describe(),
    "take": lambda df: df.take([3, 1, -1]),
    "negative step": lambda df: df.iloc[::-3],
    "sample": lambda df: df.sample(20, random_state=1),
    "iterate": lambda df: list(df["symbol"]),
    "itertuples": lambda df: [tuple(row)[:3] for row in df.head(9).itertuples()],
    "to_numpy": lambda df: df["symbol"].to_numpy().tolist(),
    "values": lambda df: df[["symbol", "venue"]].to_numpy().tolist(),
    "to_json": lambda df: df.to_json(orient="records", date_format="iso"),
    "to_csv": lambda df: df.to_csv(),
    "to_dict": lambda df: df[["symbol", "venue"]].to_dict("records"),
    "repr": repr,
    "arrow": lambda df: pa.table({"symbol": pa.array(df["symbol"], from_pandas=True)}).to_pylist(),
    "parquet": lambda df: through_parquet(df),
    "pickle": lambda df: pickle.loads(pickle.dumps(df)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle with buffers apart, as joblib does": lambda df: through_buffers(df),
    "hash": lambda df: pd.util.hash_pandas_object(df),
    "cut": lambda df: df.groupby([pd.cut(df["price"], 3), "symbol"], observed=True).size(),
    "cumulate": lambda df: df[["price"]].cumsum(),
    "ewm": lambda df: df["price"].ewm(halflife="2s", times=df.index).mean(),
    "corr": lambda df: df.pivot_table(index="ts", columns="symbol", values="price").ffill().corr(),
    "rank": lambda df: df["price"].rank(),
    "quantile": lambda df: df.groupby("symbol")["price"].quantile([0.1, 0.9]),
    "update": lambda df: updated(df),
    "assign text": lambda df: written(df),
}


def through_parquet(frame: pd.DataFrame) -> pd.DataFrame:
    file = io.BytesIO()
    frame.to_parquet(file)
    return pd.read_parquet(io.BytesIO(file.getvalue()))


def through_buffers(frame: pd.DataFrame) -> pd.DataFrame:
    apart: list[pickle.PickleBuffer] = []
    file = pickle.dumps(frame, protocol=5, buffer_callback=apart.append)
    return pickle.loads(file, buffers=[bytes(each) for each in apart])


def updated(frame: pd.DataFrame) -> pd.DataFrame:
    mine = frame.copy()
    mine.update(pd.DataFrame({"price": [1.0]}, index=mine.index[5:6]))
    return mine


def written(frame: pd.DataFrame) -> pd.DataFrame:
    mine = frame[:]
    mine.iloc[3, mine.columns.get_loc("symbol")] = "other"
    mine.loc[mine["symbol"] == "AAPL", ["venue", "price"]] = ["none", 0.0]
    mine.loc[mine.index[7:9], "moment"] = pd.NaT
    return mine


@pytest.mark.parametrize("way", WAYS)
def test_what_a_quant_types_gives_what_a_plain_frame_gives(way: str) -> None:
    frame = rolling_frame().frame()

    expected, actual = WAYS[way](plain(frame)), WAYS[way](frame)

    if isinstance(expected, pd.DataFrame | pd.Series):
        (pd.testing.assert_frame_equal if isinstance(expected, pd.DataFrame) else pd.testing.assert_series_equal)(
            actual, expected
        )
    else:
        assert expected == actual or (expected != expected and actual != actual)


def test_frames_of_different_symbols_join_in_both_directions() -> None:
    some, others = rolling_frame(("AAPL",)).frame(), rolling_frame(("MSFT", "AAPL")).frame()

    forth, back = pd.merge_asof(some, others, **BY), pd.merge_asof(others, some, **BY)

    assert forth["moment_y"].notna().sum() == COUNT - 1  # the first row of AAPL comes second
    assert set(back.loc[back["moment_y"].notna(), "symbol"]) == {"AAPL"}
    assert some["symbol"].value_counts().to_dict() == {"AAPL": COUNT}


# No write of a user reaches the feed's memory.


def writes(frame: pd.DataFrame) -> dict[str, Callable[[], object]]:
    """Each door to the memory of a DataFrame; many refuse."""
    price, received = frame["price"], frame["received"]
    now = pd.Timestamp("2000-01-01", tz="UTC")

    def make_writeable(array: Any) -> None:
        array.flags.writeable = True
        array[0] = array[1] = 0

    return {
        "array": lambda: price.array.__setitem__(0, -999.0),
        "array of times": lambda: received.array.__setitem__(0, now),
        "array of the index": lambda: frame.index.array.__setitem__(0, now),
        "array of texts": lambda: frame["symbol"].array.__setitem__(0, "none"),
        "values": lambda: price.values.__setitem__(0, -999.0),
        "to_numpy": lambda: price.to_numpy().__setitem__(0, -999.0),
        "asarray": lambda: np.asarray(price).__setitem__(0, -999.0),
        "asarray of an array": lambda: np.asarray(price.array).__setitem__(0, -999.0),
        "flags": lambda: make_writeable(price.to_numpy()),
        "flags of an array": lambda: make_writeable(price.array.to_numpy()),
        "flags of times": lambda: make_writeable(received.array.asi8),
        "flags of the index": lambda: make_writeable(frame.index.asi8),
        "view": lambda: received.array.view("int64").__setitem__(0, 0),
        "frame of numbers": lambda: frame[["price"]].to_numpy().__setitem__(0, -999.0),
        "objects": lambda: frame["symbol"].to_numpy().__setitem__(0, "none"),
        "out of numpy": lambda: np.add(price.array, 1, out=price.array.to_numpy()),
        "sort": lambda: price.array.to_numpy().sort(),
        "arrow": lambda: np.frombuffer(pa.array(price).buffers()[1], "float64").__setitem__(0, -999.0),
        "arrow's texts": lambda: np.frombuffer(pa.array(frame["symbol"]).chunk(0).buffers()[2], "u1").__setitem__(0, 0),
        "at": lambda: frame.at.__setitem__((frame.index[0], "price"), -999.0),
        "iloc": lambda: frame.iloc.__setitem__((0, 2), -999.0),
        "loc": lambda: frame.loc.__setitem__((slice(None), "symbol"), "none"),
        "in place": lambda: frame.fillna({"price": 0.0}, inplace=True),
        "names": lambda: setattr(frame, "columns", list("abcde")),
        "name of the index": lambda: setattr(frame.index, "name", "none"),
    }


@pytest.mark.filterwarnings("ignore")  # pandas advises against some of them
@pytest.mark.parametrize("late", [False, True], ids=["in order", "sorted"])
@pytest.mark.parametrize("door", writes(rolling_frame().frame()))
def test_no_write_reaches_what_others_read(door: str, *, late: bool) -> None:
    rolling = rolling_frame(late=late)
    others, before = rolling.frame(), plain(rolling.frame())

    with suppress(ValueError, TypeError, AttributeError):
        writes(rolling.frame())[door]()

    for frame in (others, rolling.frame()):
        pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("late", [False, True], ids=["in order", "sorted"])
@pytest.mark.parametrize("part", ["frame", "rows", "column", "column without times"])
def test_a_user_can_write_to_what_is_left_of_a_frame_that_is_gone(part: str, *, late: bool) -> None:
    rolling = rolling_frame(late=late)
    mine: Any = rolling.frame()
    mine = {
        "frame": lambda: mine,
        "rows": lambda: mine.loc[FIRST:LAST],
        "column": lambda: mine["price"],
        "column without times": lambda: mine["price"].reset_index(drop=True),
    }[part]()
    del rolling
    gc.collect()

    if isinstance(mine, pd.DataFrame):
        mine.loc[mine["price"] > 105, "price"] = 0.0
        mine.iloc[0] = mine.iloc[1]
        assert mine["price"].max() <= 105
    else:
        mine[mine > 105] = 0.0
        mine.iloc[0] = 1.0
        assert mine.max() <= 105


def test_memory_is_freed_with_the_last_row_of_a_user() -> None:
    gc.collect()
    rolling = rolling_frame()
    before = len(_shared._columns)
    mine = rolling.frame()["price"].iloc[3:9]

    del rolling
    gc.collect()
    shared = len(_shared._columns)
    del mine
    gc.collect()
    rolling_frame()

    assert (shared, len(_shared._columns)) == (before + 1, before)

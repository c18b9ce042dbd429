"""docs/recipes.md: every line runs as it stands, and the results are what the page says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_every_recipe_runs_and_says_what_it_says() -> None:
    names: dict[str, Any] = {}

    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/recipes.md", "exec"), names)

    df = names["df"]
    assert df.index.is_monotonic_increasing
    assert set(names["apple"]["symbol"]) == {"AAPL"}
    pd.testing.assert_frame_equal(names["part"], names["same"])
    assert names["bid_then"] == names["apple"].loc[: names["end"], "bid_price"].dropna().iloc[-1]
    trade = names["joined"].dropna().iloc[-1]
    before = names["quotes"].df.loc[: trade.name]
    assert trade["bid_price"] == before.loc[before["symbol"] == "AAPL", "bid_price"].iloc[-1]
    assert names["with_signal"]["signal"].dropna().isin([1.0, -1.0]).all()
    assert list(names["at_signal"]["symbol"]) == ["AAPL", "MSFT"]
    assert len(names["with_sector"]) >= len(df)
    assert list(names["bids"].columns) == list(names["table"].columns) == ["AAPL", "MSFT"]
    # Of fewer than two different returns there is no correlation: NaN.
    is_known = (names["returns"].std() > 0).to_numpy()
    assert np.allclose(names["correlation"].to_numpy().diagonal()[is_known], 1.0)
    assert np.isnan(names["correlation"].to_numpy().diagonal()[~is_known]).all()
    assert names["counts"].sum() >= 50
    assert set(names["counts"].index) <= {"buy", "sell", "unknown"}
    assert set(names["names"]) == {"Apple", "Microsoft"}
    assert set(names["renamed"]["symbol"]) == {"Apple", "MSFT"}
    assert set(names["both"]["symbol"]) == {"AAPL", "MSFT"}
    assert type(names["again"]) is pd.DataFrame
    assert len(names["means"]) == 2
    assert names["paid"].notna().any()
    assert names["tick_bars"]["trades"].iloc[:-1].eq(20).all()
    assert len(names["alert"].df) == 0
    assert names["count"].df.columns[-1] == "value"
    assert asyncio.run(names["first_rows"]()) > 0

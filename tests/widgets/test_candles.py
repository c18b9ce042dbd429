from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.errors import UsageError
from aries_nb.widgets import Candles
from aries_nb.widgets.ohlc import CandleTape, period_ns
from tests.widgets.sources import RollingRows

SECOND = 1_000_000_000


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3000), max_size=40), min_size=1, max_size=8),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["500ms", "1s", "5s", "1min"]),
)
def test_candles_fed_in_pieces_equal_a_resample_of_all_rows(batches, seed, every):
    random, tape, at, fed = np.random.default_rng(seed), CandleTape(period_ns(every)), 1_700_000_000_000, 0
    frames = []
    for gaps in batches:
        ts = (at + np.cumsum(np.array(gaps, dtype=np.int64))) * 1_000_000
        at = int(ts[-1]) // 1_000_000 if len(ts) else at
        price = np.where(random.random(len(ts)) < 0.1, np.nan, random.normal(100, 1, len(ts)))
        size = random.integers(1, 9, len(ts)).astype(float)
        tape.extend(np.arange(fed, fed + len(ts)), ts, price, size)
        fed += len(ts)
        frames.append(pd.DataFrame({"price": price, "size": size}, index=pd.to_datetime(ts, utc=True)))

    rows = pd.concat(frames).dropna(subset="price")
    starts, bars = tape.columns()
    if rows.empty:
        assert len(starts) == 0
        return
    grouped = rows.resample(every)
    expected = grouped["price"].ohlc().assign(volume=grouped["size"].sum()).dropna().tail(500)
    assert starts.tolist() == (expected.index.as_unit("ns").asi8 / 1e6).tolist()
    for name, values in bars.items():
        np.testing.assert_allclose(values, expected[name])


def test_at_most_500_candles_are_kept():
    tape = CandleTape(SECOND)

    tape.extend(np.arange(1200), np.arange(1200) * SECOND, np.ones(1200), None)

    assert len(tape.columns()[0]) == 500
    assert tape.columns()[0][-1] == 1_199_000.0


def test_a_candle_goes_when_its_last_row_has_left_the_window():
    tape = CandleTape(10 * SECOND)
    tape.extend(np.arange(30), np.arange(30) * SECOND, np.arange(30.0), None)

    tape.drop_before(12)

    starts, bars = tape.columns()
    assert starts.tolist() == [10_000.0, 20_000.0]
    assert bars["open"].tolist() == [10.0, 20.0]


def test_late_rows_go_into_their_own_candle():
    tape = CandleTape(10 * SECOND)

    tape.extend(np.arange(3), np.array([1, 12, 5]) * SECOND, np.array([1.0, 2.0, 3.0]), None)

    assert tape.columns()[1]["close"].tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("5s", 5 * SECOND),
        ("min", 60 * SECOND),
        ("500ms", SECOND // 2),
        (0.5, SECOND // 2),
        (timedelta(hours=1), 3600 * SECOND),
    ],
)
def test_lengths_of_time_are_read(every, expected):
    assert period_ns(every) == expected


@pytest.mark.parametrize("every", ["soon", 0, -1, "0s"])
def test_what_is_no_length_of_time_is_refused(every):
    with pytest.raises(UsageError, match="5s"):
        period_ns(every)


def test_trades_make_candles_with_volume_in_one_update():
    source = RollingRows()
    source.add(np.arange(20) * SECOND, price=np.arange(20.0), size=np.ones(20))
    candles = Candles(source, "5s")

    messages = candles.draw()

    candle, volume = candles.figure.data[1:]
    assert messages == 1
    assert candle.open.tolist() == [0.0, 5.0, 10.0, 15.0]
    assert volume.y.tolist() == [5.0] * 4
    candles.close()


def test_quotes_make_candles_of_the_middle():
    source = RollingRows(columns=("bid_price", "ask_price"))
    source.add([0, SECOND], bid_price=[9.0, 19.0], ask_price=[11.0, 21.0])
    candles = Candles(source, "1min")

    candles.draw()

    assert candles.figure.data[1].high.tolist() == [20.0]
    candles.close()


def test_of_several_symbols_one_has_to_be_named():
    with pytest.raises(UsageError, match="AAPL, MSFT"):
        Candles(RollingRows(("AAPL", "MSFT")))

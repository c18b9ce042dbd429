import re
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.errors import UsageError
from aries_nb.model import BarsData
from aries_nb.widgets import BarCandles, Candles
from aries_nb.widgets.charts.candle_buckets import CandleBuckets, idle_spans, period_us
from tests.widgets.sources import RollingRows

SECOND = 1_000_000  # in us


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3000), max_size=40), min_size=1, max_size=8),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["500ms", "1s", "5s", "1min"]),
)
def test_candles_fed_in_pieces_equal_a_resample_of_all_rows(batches, seed, every):
    random, buckets, at, fed = np.random.default_rng(seed), CandleBuckets(period_us(every)), 1_700_000_000_000, 0
    frames = []
    for gaps in batches:
        ts = (at + np.cumsum(np.array(gaps, dtype=np.int64))) * 1_000
        at = int(ts[-1]) // 1_000 if len(ts) else at
        price = np.where(random.random(len(ts)) < 0.1, np.nan, random.normal(100, 1, len(ts)))
        size = random.integers(1, 9, len(ts)).astype(float)
        buckets.extend(np.arange(fed, fed + len(ts)), ts, price, size)
        fed += len(ts)
        frames.append(pd.DataFrame({"price": price, "size": size}, index=pd.to_datetime(ts, unit="us", utc=True)))

    rows = pd.concat(frames).dropna(subset="price")
    starts, bars = buckets.columns()
    if rows.empty:
        assert len(starts) == 0
        return
    grouped = rows.resample(every)
    expected = grouped["price"].ohlc().assign(volume=grouped["size"].sum()).dropna().tail(500)
    assert starts.tolist() == (expected.index.as_unit("ns").asi8 / 1e6).tolist()
    for name, values in bars.items():
        np.testing.assert_allclose(values, expected[name])


def test_at_most_500_candles_are_kept():
    buckets = CandleBuckets(SECOND)

    buckets.extend(np.arange(1200), np.arange(1200) * SECOND, np.ones(1200), None)

    assert len(buckets.columns()[0]) == 500
    assert buckets.columns()[0][-1] == 1_199_000.0


def test_a_candle_goes_when_its_last_row_has_left_the_window():
    buckets = CandleBuckets(10 * SECOND)
    buckets.extend(np.arange(30), np.arange(30) * SECOND, np.arange(30.0), None)

    buckets.drop_before(12)

    starts, bars = buckets.columns()
    assert starts.tolist() == [10_000.0, 20_000.0]
    assert bars["open"].tolist() == [10.0, 20.0]


def test_late_rows_go_into_their_own_candle():
    buckets = CandleBuckets(10 * SECOND)

    buckets.extend(np.arange(3), np.array([1, 12, 5]) * SECOND, np.array([1.0, 2.0, 3.0]), None)

    assert buckets.columns()[1]["close"].tolist() == [3.0, 2.0]


def test_open_and_close_are_the_first_and_last_by_exchange_time_in_whatever_pieces_rows_come():
    whole, pieces = CandleBuckets(10 * SECOND), CandleBuckets(10 * SECOND)
    ts, prices = np.array([3, 6, 5, 1, 6, 2]) * SECOND, np.array([1.0, 2.0, 9.0, 4.0, 5.0, 6.0])

    whole.extend(np.arange(6), ts, prices, None)
    for row in range(6):
        pieces.extend(np.array([row]), ts[[row]], prices[[row]], None)

    for buckets in (whole, pieces):
        _, bars = buckets.columns()
        assert {name: bars[name].tolist() for name in ("open", "high", "low", "close")} == {
            "open": [4.0], "high": [9.0], "low": [1.0], "close": [5.0]
        }  # fmt: skip


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
    assert period_us(every) == expected


@pytest.mark.parametrize("every", ["soon", 0, -1, "0s"])
def test_what_is_no_length_of_time_is_refused(every):
    with pytest.raises(UsageError, match="5s"):
        period_us(every)


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


def test_a_print_of_size_zero_is_no_trade():
    source = RollingRows()
    source.add(np.arange(4) * SECOND, price=[10.0, 11.0, 99.0, np.nan], size=[1.0, np.nan, 0.0, 1.0])
    candles = Candles(source, "5s")

    candles.draw()

    assert [candles.figure.data[1][name].tolist() for name in ("open", "high", "close")] == [[10.0], [11.0], [11.0]]
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


class ReadyBars:
    """A source of finished bars."""

    def __init__(self, count: int, *, has_volume: bool = True) -> None:
        self.version = 0
        self.is_stale = False
        self.ts = (1_700_000_040 + np.arange(count) * 60) * 1_000 * SECOND
        self.close = np.arange(count, dtype=float) - 3.0
        self.has_volume = has_volume

    def newest(self, most):
        ts, close = self.ts[-most:], self.close[-most:]
        volume = np.ones(len(ts)) if self.has_volume else None
        return BarsData(ts, close - 0.5, close + 1.0, close - 1.0, close, volume, self.is_stale)


def test_ready_bars_are_drawn_in_one_update_with_their_volume():
    candles = BarCandles(ReadyBars(5), title="AAPL · 1min")

    messages = candles.draw()

    candle, volume = candles.figure.data[1:]
    assert messages == 1
    assert candle.x[0] == 1_700_000_040_000.0
    assert candle.close.tolist() == [-3.0, -2.0, -1.0, 0.0, 1.0]
    assert volume.y.tolist() == [1.0] * 5
    candles.close()


def test_only_a_bar_that_changed_makes_a_frame():
    source = ReadyBars(5)
    candles = BarCandles(source, title="AAPL · 1min")
    candles.draw()

    same = candles.draw()
    source.close[-1] = 7.0
    changed = candles.draw()

    assert (same, changed) == (0, 1)
    assert candles.figure.data[1].close.tolist() == [-3.0, -2.0, -1.0, 0.0, 7.0]
    candles.close()


def test_no_more_bars_are_drawn_than_asked_for():
    candles = BarCandles(ReadyBars(5000), title="AAPL", most=2000)

    candles.draw()

    assert len(candles.figure.data[1].x) == 2000
    assert candles.figure.data[1].close[-1] == 4996.0
    candles.close()


@pytest.mark.parametrize("most", [0, 2001, True, "all"])
def test_more_bars_than_a_browser_can_draw_are_refused(most):
    with pytest.raises(UsageError, match="from 1 to 2,000"):
        BarCandles(ReadyBars(5), title="AAPL", most=most)


def test_volumes_too_large_for_their_axis_are_powers_of_ten():
    candles = BarCandles(ReadyBars(5), title="AAPL")

    (huge,) = candles.figure.layout.yaxis2.tickformatstops

    assert (huge.dtickrange, huge.value) == ((1e12, None), "~g")
    candles.close()


def test_bars_without_volume_have_no_axis_for_it():
    candles = BarCandles(ReadyBars(5, has_volume=False), title="P&L <ACC-1>")

    candles.draw()

    assert len(candles.figure.data) == 2
    assert candles.figure.layout.title.text == "P&amp;L &lt;ACC-1&gt;"
    assert "yaxis2" not in candles.figure.layout
    candles.close()


def test_a_night_is_left_out_and_the_users_zoom_kept():
    source = ReadyBars(6)
    source.ts[3:] += 17 * 3600 * 1_000 * SECOND
    candles = BarCandles(source, title="AAPL")
    candles.draw()
    candles.figure.layout.xaxis.range = [1_700_000_040_000.0, 1_700_000_100_000.0]

    source.ts = np.append(source.ts, source.ts[-1] + 24 * 3600 * 1_000 * SECOND)
    source.close = np.append(source.close, 9.0)
    candles.draw()

    breaks = [each.bounds for each in candles.figure.layout.xaxis.rangebreaks]
    assert breaks == [
        ("2023-11-14T22:17:00.000", "2023-11-15T15:17:00.000"),
        ("2023-11-15T15:20:00.000", "2023-11-16T15:19:00.000"),
    ]
    assert candles.figure.layout.xaxis.range == (1_700_000_040_000.0, 1_700_000_100_000.0)
    assert candles.figure.layout.uirevision == "aries-nb"
    candles.close()


def test_bars_of_a_stream_that_broke_say_so():
    source = ReadyBars(3)
    candles = BarCandles(source, title="AAPL")
    candles.draw()

    source.is_stale = True
    candles.draw()
    broken = candles.figure.layout.title.text
    source.is_stale = False
    candles.draw()

    assert (broken, candles.figure.layout.title.text) == ("AAPL · not live", "AAPL")
    candles.close()


def test_without_bars_the_chart_says_so_and_without_a_kernel_it_is_a_picture():
    empty, some = BarCandles(ReadyBars(0), title="AAPL"), BarCandles(ReadyBars(2000), title="AAPL <b>")

    nothing, picture = (chart._repr_mimebundle_() for chart in (empty, some))

    assert empty.figure.layout.annotations[0].text == "no bars yet"
    assert "no data yet" in nothing["text/html"]
    assert "AAPL &lt;b&gt;" in picture["text/html"]
    assert re.search(r"2023-11-15 [\d:]+\N{EN DASH}2023-11-16 [\d:]+ UTC", picture["text/html"])
    assert picture["text/plain"].startswith("AAPL <b> ■ close 1,996\n2023-11-15")
    for chart in (empty, some):
        chart.close()


HOUR = 3_600_000.0


@pytest.mark.parametrize(
    ("starts", "spans"),
    [
        ([], []),
        ([0.0], []),
        ([0.0, 1.0, 2.0, 60.0], []),  # a quiet while, not a night
        ([0.0, HOUR, 4 * HOUR], []),  # three hours of hours
        ([0.0, HOUR, 6 * HOUR], [(2 * HOUR, 6 * HOUR)]),
        ([0.0, 24 * HOUR, 96 * HOUR], []),  # a weekend of days
    ],
)
def test_long_spans_without_a_bar_are_found(starts, spans):
    assert idle_spans(np.array(starts)) == spans


def test_of_too_many_idle_spans_the_longest_are_taken():
    ways = np.tile([1.0, 10.0], 200) * HOUR
    ways[1] = 50 * HOUR
    starts = np.concatenate([[0.0], ways.cumsum()])

    found = idle_spans(starts)

    assert len(found) == 100
    assert found[0] == (2 * HOUR, 51 * HOUR)
    assert found == sorted(found)


def test_an_index_makes_candles_of_its_last_price_until_a_bid_or_ask_comes():
    source = RollingRows(("SPX",), columns=("bid_price", "ask_price", "last_price"))
    candles = Candles(source, "1s")
    source.add([0, SECOND], last_price=[6_724.0, 6_725.0])
    candles.draw()
    index = candles.figure.data[1].close.tolist()

    source.add([2 * SECOND, 3 * SECOND], bid_price=[9.0, 0.0], ask_price=[11.0, 11.0], last_price=[7.0, 7.0])
    candles.draw()

    assert index == [6_724.0, 6_725.0]
    assert candles.figure.data[1].close.tolist() == [10.0]
    assert candles.figure.data[1].x.tolist() == [2_000.0]
    candles.close()


def test_no_candle_is_made_of_a_side_that_is_not_there_or_of_stub_quotes():
    source = RollingRows(columns=("bid_price", "ask_price", "last_price"))
    source.add(
        np.arange(4) * SECOND,
        bid_price=[499.0, 499.0, 0.01, 0.0],
        ask_price=[501.0, 0.0, 199_999.99, 0.0],
        last_price=[500.0] * 4,
    )
    candles = Candles(source, "1min")

    candles.draw()

    candle = candles.figure.data[1]
    assert (candle.low.tolist(), candle.high.tolist()) == ([500.0], [500.0])
    candles.close()


def test_a_print_that_was_cancelled_leaves_its_candle_and_no_other_changes():
    source = RollingRows(limit=5)
    candles = Candles(source, "1s")
    source.add(np.array([0, 1, 2, 3]) * SECOND // 2, price=[10.0, 11.0, 12.0, 99.0], size=[1.0, 2.0, 3.0, 4.0])
    candles.draw()
    source.add([2 * SECOND], price=[13.0], size=[5.0])
    candles.draw()

    source.void.add(3)
    source.add([2 * SECOND + 1], price=[14.0], size=[6.0])  # the first row leaves, its candle stays whole
    candles.draw()

    candle, volume = candles.figure.data[1:3]
    assert candle.x.tolist() == [0.0, 1_000.0, 2_000.0]
    assert candle.open.tolist() == [10.0, 12.0, 13.0]
    assert candle.high.tolist() == [11.0, 12.0, 14.0]
    assert volume.y.tolist() == [3.0, 3.0, 11.0]
    candles.close()


def test_a_candle_none_of_whose_prints_counts_is_gone():
    source = RollingRows()
    candles = Candles(source, "1s")
    source.add([0, SECOND], price=[10.0, 99.0], size=[1.0, 1.0])
    candles.draw()

    source.void.add(1)
    candles.draw()

    assert candles.figure.data[1].x.tolist() == [0.0]
    candles.close()

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, Column
from aries_nb.store import RollingFrame
from aries_nb.store.derived.as_of import AsOfJoin, FixedRows, JoinedColumn, Key
from aries_nb.store.derived.computed import ComputedFrame
from aries_nb.store.derived.reader import RowReader

SECOND = 1_000_000
NOW = 1_772_463_840 * SECOND
SYMBOLS = ["A", "B", "C"]
OTHERS = ["B", "A"]  # the right frame has other symbols, in another order
BID = JoinedColumn(QUOTE_COLUMNS[0], "bid_price")


class Row(NamedTuple):
    """A row of trades, or of quotes: its symbol, when it comes (in s), how much older it is, its price."""

    is_trade: bool
    symbol: str = "A"
    after: float = 0.0
    late: float = 0.0
    price: float = 10.0
    number: int = 0


class Market:
    """Trades and quotes that are joined; each row is published by itself, and joined where that is said."""

    def __init__(self, by: Key = "seq", *, limit: int | None = None, gaps: Any = tuple, most: int = 100_000) -> None:
        self.trades = RollingFrame(TRADE_COLUMNS, SYMBOLS, limit=limit)
        self.quotes = RollingFrame(QUOTE_COLUMNS, OTHERS, limit=limit)
        codes = [1, 0, -1]
        self.machine = AsOfJoin(TRADE_COLUMNS, SYMBOLS, [BID], codes, by=by, gaps=gaps, most=most)
        self.frame = ComputedFrame(self.machine.columns, SYMBOLS, limit=limit)
        self.readers = [RowReader(self.trades), RowReader(self.quotes)]
        self.seq, self.now = 0, NOW
        self.trade_id = 0

    def add(self, *rows: Row) -> Market:
        for row in rows:
            self.seq += 1
            self.now += round(row.after * SECOND)
            self.trade_id = max(self.trade_id + 1, 1)
            number = row.number or self.trade_id
            frame, symbols = (self.trades, SYMBOLS) if row.is_trade else (self.quotes, OTHERS)
            trade = (row.price, 1.0, "buy", number, "X", "live")
            values = trade if row.is_trade else (row.price, *[1.0] * (len(QUOTE_COLUMNS) - 1))
            frame.buffer.number(self.seq)
            frame.buffer.add(symbols.index(row.symbol), (self.now - round(row.late * SECOND)) * 1_000, values)
            frame.buffer.mark(self.now * 1_000)
            frame.publish()
        return self

    def join(self) -> Market:
        rows = self.machine.advance([reader.take() for reader in self.readers])
        if rows is not None:
            self.frame.append(rows)
        return self

    def joined(self) -> pd.DataFrame:
        """The joined rows in the order of arrival of the trades, with their numbers."""
        slab, start, end, _, void = self.frame.published
        at = void.without(slab, np.arange(start, end))
        frame = slab.frame.take(at).assign(seq=slab.seq[at])
        return frame.sort_values("seq")


def trade(symbol: str = "A", **options: Any) -> Row:
    return Row(is_trade=True, symbol=symbol, **options)


def quote(price: float, symbol: str = "A", **options: Any) -> Row:
    return Row(is_trade=False, symbol=symbol, price=price, **options)


def bids(market: Market) -> list[float | None]:
    return [None if np.isnan(bid) else bid for bid in market.joined()["bid_price"]]


def test_by_arrival_each_row_has_the_newest_that_came_before_of_its_symbol() -> None:
    market = Market().add(trade(), quote(1), quote(2, "B"), trade(), quote(3), trade("B"), trade("C"), trade()).join()

    assert bids(market) == [None, 1, 2, None, 3]
    assert market.joined()["ts_right"].isna().tolist() == [True, False, False, True, False]


def test_by_arrival_a_row_that_comes_later_changes_nothing() -> None:
    market = Market().add(quote(1), trade(after=1)).join()

    market.add(quote(2, late=0.5)).join()

    assert bids(market) == [1]


def test_by_exchange_time_a_row_that_comes_later_belongs_to_it() -> None:
    market = Market("ts").add(quote(1), trade(after=1), trade(after=1)).join()
    assert bids(market) == [1, 1]

    market.add(quote(2, after=1, late=1.5), quote(3, after=1, late=2.5)).join()

    assert bids(market) == [1, 3]
    assert market.frame.frame()["bid_price"].tolist() == [1, 3]
    assert len(market.frame) == 2
    assert market.frame.message_counts().corrected == 1


def test_by_exchange_time_a_row_that_goes_makes_those_again_that_it_was_joined_to() -> None:
    trades, prints = RollingFrame(TRADE_COLUMNS, ["A"]), RollingFrame(TRADE_COLUMNS, ["A"])
    price = JoinedColumn(TRADE_COLUMNS[0], "print")
    machine = AsOfJoin(TRADE_COLUMNS, ["A"], [price], [0], by="ts")
    readers = [RowReader(trades), RowReader(prints)]

    def add(frame: RollingFrame, number: int, price: float, size: float = 1.0) -> None:
        frame.buffer.add(0, NOW * 1_000, (price, size, "buy", number, "X", "live"))
        frame.buffer.mark(NOW * 1_000)
        frame.publish()

    def again() -> list[float] | None:
        rows = machine.advance([reader.take() for reader in readers])
        return None if rows is None else list(rows.columns[-1])

    add(trades, 1, 10.0)
    for number in (1, 2, 3):
        add(prints, number, float(number))
    assert again() == [3]
    add(prints, 1, 0.0, size=0.0)  # cancels the first, which is joined to nothing
    assert again() is None
    add(prints, 3, 0.0, size=0.0)
    assert again() == [2]


def test_a_row_of_equal_time_counts_and_of_several_the_last() -> None:
    market = Market("ts").add(trade(), quote(1), quote(2)).join()

    assert bids(market) == [2]


def test_by_exchange_time_each_row_is_made_of_its_own_while_the_memory_of_the_left_frame_turns_over() -> None:
    market = Market("ts", limit=3)
    market.frame = ComputedFrame(market.machine.columns, SYMBOLS, limit=20_000)
    trades = [trade(price=float(number), after=0.001) for number in range(1, 8_201)]  # three times the memory, nearly
    market.add(quote(0), *trades[:6_000]).join()
    market.add(*trades[6_000:8_180]).join()
    # A quote that belongs to trades in the first memory, in the same turn as the third one begins.
    market.add(quote(7, late=8.0), *trades[8_180:]).join()

    frame = market.joined()
    assert frame["price"].tolist() == list(range(1, 8_201))
    assert set(frame["bid_price"][5_000:]) == {7}


def test_from_a_gap_on_nothing_is_known_until_the_next_row() -> None:
    gaps: list[tuple[int, int | None]] = [(NOW + SECOND, None)]
    market = Market(gaps=lambda: gaps)

    market.add(quote(1), trade(after=1), trade(after=1), quote(2, after=1), trade(after=1)).join()
    assert bids(market) == [1, None, 2]

    gaps.append((NOW + 5 * SECOND, 0))  # of the right frame's first symbol alone, B
    market.add(quote(3, "B"), trade(after=3), trade("B"), quote(4, "B"), trade("B")).join()

    assert bids(market)[3:] == [2, None, 4]


def test_by_exchange_time_a_gap_begins_by_the_exchanges_clock() -> None:
    market = Market("ts", gaps=lambda: [(NOW + SECOND, None)])

    # A quote takes 50 ms: what was sent 950 ms after the first is the last that could have come before the gap.
    market.add(quote(9, late=0.5), quote(1, late=0.05), trade(after=1.2, late=0.5), trade(late=0.25), trade(late=0.24))
    market.join()
    assert bids(market) == [1, 1, None]

    market.add(quote(2, after=1, late=0.05), trade(after=0.1), trade(late=1.06)).join()
    assert bids(market) == [1, 1, None, 2, None]


def test_a_corrected_row_is_joined_as_the_first_was_known_and_a_cancelled_one_does_not_count() -> None:
    market = Market().add(quote(1), trade(number=1), trade(number=2, after=1), quote(2)).join()

    market.add(trade(number=1, price=11.0), Row(is_trade=True, number=2)._replace(price=12.0)).join()

    frame = market.joined()
    assert frame["price"].tolist() == [11.0, 12.0]
    assert frame["bid_price"].tolist() == [2, 2]


def test_a_symbols_newest_row_is_known_whatever_has_left_the_window() -> None:
    market = Market(limit=3, most=3).add(quote(1, "B"))

    for number in range(40):
        market.add(quote(number)).join()
    market.add(trade("B"), trade()).join()

    assert bids(market) == [1, 39]
    assert sum(map(len, market.machine._known.values())) < 8


def test_rows_with_a_wrong_time_are_not_joined() -> None:
    assert bids(Market("ts").add(quote(1), quote(2, late=-400), trade(after=1)).join()) == [1]


def test_a_replay_that_begins_anew_is_joined_anew() -> None:
    market = Market("ts").add(quote(1), trade(after=1)).join()

    market.machine.restart()
    market.frame.restart()
    for frame, reader in zip((market.trades, market.quotes), market.readers, strict=True):
        frame.restart()
        reader.restart()
    market.add(trade(after=1), quote(5)).join()

    assert bids(market) == [5]


def test_rows_of_a_users_own_frame_are_joined_by_their_time() -> None:
    times = np.array([NOW - SECOND, NOW + 2 * SECOND, NOW], "int64")
    texts = {"note": ["low", "high"]}
    fixed = FixedRows(np.array([0, 0, 1]), times, times, [np.array([7.0, 8.0, 9.0]), np.array([0, 1, 0])], texts)
    right = [JoinedColumn(Column("level"), "level"), JoinedColumn(Column("note", "text"), "note")]
    machine = AsOfJoin(TRADE_COLUMNS, SYMBOLS, right, [0, 1, -1], by="received", fixed=fixed)
    market = Market()
    market.machine, market.frame = machine, ComputedFrame(machine.columns, SYMBOLS)
    market.readers = market.readers[:1]

    market.add(trade(), trade("B"), trade("C"), trade(after=2)).join()

    frame = market.joined()
    assert frame["level"].fillna(0).tolist() == [7, 9, 0, 8]
    assert frame["note"].tolist() == ["low", "low", "", "high"]


ROWS = st.lists(
    st.builds(
        Row,
        st.booleans(),
        st.sampled_from(OTHERS),
        st.sampled_from((0.0, 0.1, 0.5)),
        st.sampled_from((0.0, 0.0, 0.1, 0.4, 1.2)),
        st.integers(1, 99).map(float),
        st.just(0),
    ),
    max_size=40,
)


@pytest.mark.parametrize("by", ["seq", "ts"])
@settings(max_examples=60)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=6))
def test_it_is_pandas_merge_asof_on_the_final_frames_however_the_rows_are_cut(
    by: Key, rows: list[Row], cuts: list[int]
) -> None:
    market = Market(by)
    for place, row in enumerate(rows):
        if place in cuts:
            market.join()
        market.add(row)
    market.join()

    left, right = (frame.arrays_since(0)[0] for frame in (market.trades, market.quotes))  # in the order of arrival
    trades = pd.DataFrame({"seq": left["seq"], "ts": left["ts"], "symbol": np.array(SYMBOLS)[left["symbol"]]})
    quotes = pd.DataFrame(
        {
            "seq": right["seq"],
            "ts": right["ts"],
            "symbol": np.array(OTHERS)[right["symbol"]],
            "bid_price": right["bid_price"],
        }
    )
    trades, quotes = trades.sort_values(by, kind="stable"), quotes.sort_values(by, kind="stable")
    expected = pd.merge_asof(trades, quotes[[by, "symbol", "bid_price"]], on=by, by="symbol").sort_values("seq")

    found = market.joined()

    assert found["seq"].tolist() == expected["seq"].tolist()
    np.testing.assert_array_equal(found["bid_price"], expected["bid_price"])
    assert len(market.frame) == len(market.trades)

"""Equity, its causes and marks are a function of the events: no thread's timing and no reader has a part in them."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.live.account.account import Account
from aries_nb.live.callbacks import Callbacks
from aries_nb.model import MISSING, PUT, TABLE_KEYS, Column, Observers
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.market_timer import MarketTimer
from aries_nb.net.events.playback import ReplayClock
from aries_nb.store import GapLog, Table
from tests.live.account.test_marks import Quotes
from tests.net.patience import eventually

START = 1_772_463_845_000_000_000
SECOND = 1_000_000_000
SYMBOLS = ("AAPL", "MSFT")
ENDPOINT = BROKERS["alor"].accounts


class Inline(Arrivals):
    """The test's thread is the network's."""

    def __init__(self) -> None:
        super().__init__(ReplayClock(START))
        self.timer = MarketTimer(self.clock, is_live=False)
        self.timer.run(START)

    def do(self, work):
        done = Future()
        done.set_result(work())
        return done


class Feed:
    """What an account needs of a connection, of its snapshots and of the feed's quotes, without any of them."""

    def __init__(self) -> None:
        self.arrivals = Inline()
        self.clock = self.arrivals.clock
        self.state, self.hours, self.address = "live", ENDPOINT.hours, "test"
        self.tables: dict[str, Table] = {}
        self.quotes = Quotes(SYMBOLS)
        self._observers = Observers()
        self._gaps = GapLog(self.clock)
        self.watch = self._observers.add

    def settle(self) -> None:
        return None

    def table_columns(self, kind):
        return tuple(Column(*each) for each in ENDPOINT.columns.get(kind, {}).items())

    def table(self, kind, account, *, options=(), listeners=()):
        table = Table(self.table_columns(kind), (account,), key=TABLE_KEYS[kind], listeners=listeners)
        return self.tables.setdefault(kind, table)

    def gaps_of(self, store):
        from aries_nb.live.gaps import GapSelection

        return GapSelection(self._gaps, {})

    def check(self):
        return None

    def release(self, store):
        return None

    def keep(self, live, *listeners):
        return live

    def subscribe(self, symbols):
        return self.quotes

    def others(self):
        return ()

    def row(self, kind, received, **values):
        table = self.tables[kind]
        names = [column.name for column in table.columns]
        assert values.keys() <= set(names)
        table.buffer.add(0, received, (PUT, *(values.get(c.name, MISSING[c.type]) for c in table.columns)))
        table.buffer.mark(received)
        table.publish()

    def quote(self, symbol, price, received):
        tape = self.quotes.tape
        tape.buffer.add(SYMBOLS.index(symbol), received, (price - 0.01, 5.0, price + 0.01, 5.0, price))
        tape.buffer.mark(received)
        tape.publish()


def position(quantity, average):
    terms = {"multiplier": Decimal(1), "is_currency": "false", "is_margined": "false"}
    return {"quantity": Decimal(quantity), "average_price": Decimal(average), **terms}


def events(count):
    """Yield (instant, what to do with a feed): quotes, fills with their position and cash, and the cash alone."""
    seed = random.Random(11)
    now, cash, held = START + 10**6, Decimal(100_000), {"AAPL": 10, "MSFT": -4}
    prices = {"AAPL": 200.0, "MSFT": 500.0}
    for symbol, quantity in held.items():
        yield now, "positions", {"symbol": symbol, **position(quantity, 190)}
    yield now, "balances", {"cash": cash, "equity": cash}
    yield now, "fills", {"symbol": "AAPL", "fill_id": "0", "quantity": Decimal(0), "side": "buy"}
    for number in range(1, count):
        quiet = seed.random() < 0.02
        now += seed.randrange(1, 8 * SECOND if quiet else SECOND // 8)
        symbol = seed.choice(SYMBOLS)
        if seed.random() < 0.9:
            prices[symbol] = round(prices[symbol] * (2.0 if seed.random() < 0.01 else seed.uniform(0.999, 1.001)), 2)
            yield now, "quote", {"symbol": symbol, "price": prices[symbol]}
            continue
        units, price = seed.choice([-3, -1, 2, 4]), Decimal(str(prices[symbol]))
        held[symbol] += units
        cash -= units * price + seed.choice([Decimal("0.5"), Decimal(300)])
        fill = {"symbol": symbol, "fill_id": str(number), "quantity": Decimal(abs(units)), "price": price}
        yield now, "fills", {**fill, "side": "buy" if units > 0 else "sell", "fee": Decimal("0.5")}
        now += seed.randrange(SECOND)
        yield now, "positions", {"symbol": symbol, **position(held[symbol], 190)}
        yield now, "balances", {"cash": cash, "equity": cash}


@contextmanager
def reading(account, seed):
    """A reader that looks at everything all the time."""
    is_over = threading.Event()

    def hammer():
        while not is_over.is_set():
            for look in (lambda: account.equity.df, lambda: account.equity.explained, lambda: account.positions.df):
                look()
            time.sleep(seed.random() / 500)

    thread = threading.Thread(target=hammer)
    thread.start()
    yield
    is_over.set()
    thread.join()


@contextmanager
def alone(account, seed):
    yield


def hashes(account):
    """The bytes of every visible column."""
    equity = account.equity
    eventually(lambda: equity._source.is_computed and account.positions._marks._sampling.is_computed, seconds=60)
    frames = {"equity": equity.df, "explained": equity.explained, "positions": account.positions.df}
    frames["fills"] = account.fills.df
    found = {"reasons": str(sorted(equity.reasons.items())), "since": str(equity.since)}
    for name, frame in frames.items():
        for column in (None, *frame):
            series = frame.index.to_series() if column is None else frame[column]
            found[f"{name} {column}"] = hashlib.sha256(repr(series.tolist()).encode()).hexdigest()
    assert equity.df["equity"].count() > 0.8 * len(equity.df)
    assert equity.explained.loc["total", "trade"] != 0
    return len(equity.df), found


def played(count, *, pause=lambda: None, around=alone, slow=lambda: None, monkeypatch=None):
    feed, callbacks = Feed(), Callbacks()
    account = Account(feed, feed, callbacks, "D1", quotes=feed)
    compute = account.equity._source._compute
    account.equity._source._sampling._compute = lambda *inputs: (slow(), compute(*inputs))
    for at, (received, what, values) in enumerate(events(count)):
        feed.arrivals.timer.run(received)
        feed.clock.move(received)
        if what == "quote":
            feed.quote(values["symbol"], values["price"], received)
        else:
            feed.row(what, received, **values)
        if at == 1:  # the quotes are subscribed to on a thread: a recorded event says when that was
            eventually(lambda: bool(account.positions._marks._frames))
            begun = around(account, random.Random(count))
            begun.__enter__()
        pause()
    feed.arrivals.timer.run(received + 20 * SECOND)
    begun.__exit__(None, None, None)
    try:
        return hashes(account)
    finally:
        account.close()
        callbacks.close()


@pytest.mark.parametrize("way", ["a reader", "pauses", "a slow thread"])
def test_equity_is_the_same_however_the_threads_run(way):
    seed = random.Random(len(way))
    count = 600
    usual, expected = played(count)

    if way == "a reader":
        found = played(count, around=reading)
    elif way == "pauses":
        found = played(count, pause=lambda: seed.random() < 0.1 and time.sleep(seed.random() / 50))
    else:
        found = played(count, slow=lambda: time.sleep(seed.random() / 100))

    assert usual > 150
    assert found == (usual, expected)


def test_each_computation_is_of_a_multiple_of_a_fifth_of_a_second():
    feed, callbacks = Feed(), Callbacks()
    account = Account(feed, feed, callbacks, "D1", quotes=feed)
    equity = account.equity
    for received, what, values in islice(events(50), 40):
        feed.arrivals.timer.run(received)
        if what == "quote":
            feed.quote(values["symbol"], values["price"], received)
        else:
            feed.row(what, received, **values)
    eventually(lambda: equity._source.is_computed)

    instants = [ts for ts, *_ in equity._source._samples]
    account.close()
    callbacks.close()

    assert instants != []
    assert [ts for ts in instants if ts % (SECOND // 5)] == []
    assert instants == sorted(set(instants))

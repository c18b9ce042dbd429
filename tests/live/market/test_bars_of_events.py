"""Bars are a function of the events: trades, gaps and answers of the history, each at its market time."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext

import pytest

from aries_nb.live.callbacks import Callbacks
from aries_nb.live.market.bars import LiveBars, updated_bars
from aries_nb.model import BarPage, Observers
from aries_nb.net.events.answers import Answer
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.market_timer import GRID_NS
from aries_nb.store import GapLog, RollingFrame

START = 1_772_463_845_000_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND


class Inline(Arrivals):
    """The test's thread is the network's."""

    def __init__(self):
        super().__init__(is_replay=True)
        self.timer.run(START)

    def do(self, work):
        done = Future()
        done.set_result(work())
        return done

    def soon(self, work):
        work()


class Link:
    """What bars need of a connection, without one."""

    def __init__(self):
        self.arrivals = Inline()
        self.clock = self.arrivals.clock
        self.state, self.address, self.is_on_a_loop = "live", "test", True
        self.watch = Observers().add
        self.problems = []
        self.report = self.problems.append

    def columns(self, kind):
        return {"price": "number", "size": "number", "trade_id": "integer", "source": "text"}

    def tape(self, kind, symbols, columns, *, limit, **_):
        self.trades = RollingFrame(columns, symbols, clock=self.clock.now_ns, limit=limit)
        return self.trades

    def settle(self):
        return None

    def is_given_up(self, store):
        return False

    def check(self):
        return None

    def release(self, store):
        return None


class History:
    """The broker's history, out of the bodies of its answers: JSON, a list of bars."""

    symbol = key = "AAPL"

    def __init__(self, get=None):
        self.get = get

    def asking(self, get):
        return History(get)

    def start_of(self, ts):
        return ts // MINUTE * MINUTE

    def ask(self, start, end, *, reached=None):
        bars = [bar for bar in json.loads(self.get("/bars")) if start <= bar[0] < end]
        return BarPage(*([bar[at] for bar in bars] for at in range(6)))


class Market:
    """The trades of the broker, of which its history is made."""

    def __init__(self):
        self.bars = {}

    def trade(self, ts, price, size):
        start = ts // MINUTE * MINUTE
        o, h, low, _, v = self.bars.get(start, (price, price, price, price, 0.0))
        self.bars[start] = o, max(h, price), min(low, price), price, v + size

    def body(self):
        return json.dumps([[start, *bar] for start, bar in self.bars.items()]).encode()


def played(count, *, around=nullcontext, pause=lambda: None, at_once=1):
    """Play a morning and return what is visible on the way; up to `at_once` trades become visible together."""
    seed, link, market, gaps = random.Random(7), Link(), Market(), GapLog()
    arrivals, now, price = link.arrivals, START, 100.0
    for before in range(120):
        market.trade(START - (120 - before) * SECOND, 100.0 + before / 100, 3.0)
    bars = LiveBars(
        link, Callbacks(), updated_bars(link, gaps, History(), interval="1min", span_ns=600 * SECOND), interval="1min"
    )
    notified, found = [], []
    bars._upkeep.observers.add(lambda: notified.append(arrivals.now))
    due, unpublished, number, is_cut = {}, 0, 0, False

    def begin(received):
        nonlocal unpublished
        if unpublished and (unpublished >= at_once or arrivals.timer.is_new(received)):
            link.trades.publish()
            unpublished = 0
        arrivals.timer.run(received)

    with around(bars):
        for event in range(count):
            now += seed.randrange(SECOND // 4) if seed.random() < 0.98 else seed.randrange(40 * SECOND)
            begin(now)
            arrivals.clock.held = now
            if seed.random() < 0.004:
                gap = gaps.stream("market").of_connection(1)
                link.trades.publish()
                unpublished = 0
                gap.closed(ended=now) if is_cut else gap.opened(started=now, reason="a test", cause="cut")
                is_cut = not is_cut
            price = round(price + seed.choice((-0.01, 0.0, 0.01)), 2)
            number += 1
            size = float(seed.randrange(1, 9))
            market.trade(now - 2_000_000, price, size)
            if not is_cut:
                link.trades.buffer.add(0, now - 2_000_000, (price, size, number, ""))
                link.trades.buffer.mark(now)
                unpublished += 1
            for subject, questions in list(arrivals.answers._waiting.items()):
                wait = due.setdefault(subject, event + seed.randrange(1, 12)) if questions else event + 1
                if event >= wait:
                    link.trades.publish()
                    unpublished = 0
                    arrivals.answers.give(Answer(*subject, questions[0].asked, now, (market.body(),)))
                    del due[subject]
            arrivals.clock.held = None
            pause()
            if event % 100 == 99:
                found.append(hashed(bars.df))
        begin(now + 300 * SECOND)
        found.append(hashed(bars.df))
    frame = bars.df
    bars.close()
    return frame, notified, found


def hashed(frame):
    parts = [frame.index.asi8.tobytes(), *(repr(frame[name].tolist()).encode() for name in frame)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@contextmanager
def reading(bars):
    """A reader that looks all the time."""
    is_over = threading.Event()

    def hammer():
        while not is_over.is_set():
            len(bars.df)
            time.sleep(0.0005)

    thread = threading.Thread(target=hammer)
    thread.start()
    yield
    is_over.set()
    thread.join()


def test_bars_are_the_same_whoever_reads_and_however_long_it_takes():
    seed, count = random.Random(1), 3_000
    frame, notified, expected = played(count)

    again = played(count, around=reading, pause=lambda: seed.random() < 0.03 and time.sleep(seed.random() / 100))

    assert set(frame["source"]) >= {"history", "live"}
    assert len(frame) > 10
    assert again[1:] == (notified, expected)


@pytest.mark.parametrize("at_once", [2, 7])
def test_bars_are_the_same_however_many_trades_become_visible_at_once(at_once):
    _, notified, expected = played(2_000)

    _, *found = played(2_000, at_once=at_once)

    assert found == [notified, expected]


def test_each_change_is_at_a_multiple_of_a_tenth_of_a_second():
    _, notified, _ = played(500)

    assert len(notified) > 50
    assert [instant for instant in notified[1:] if instant % GRID_NS] == []

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.alor.quotes import QuoteStream
from aries_nb.brokers.alor.streams import key_of
from aries_nb.brokers.alor.trades import TradeStream
from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, Subscription
from aries_nb.net.lag import LagMonitor
from tests.brokers.alor import lines
from tests.brokers.alor.lines import MS, SECONDS
from tests.columns.streams import Client, assert_equal

if TYPE_CHECKING:
    from tests.brokers.alor.lines import Format

USUAL = tuple(column.name for column in QUOTE_COLUMNS)
CHOICES = (
    USUAL,
    USUAL,
    ("bid_price", "ask_price"),
    ("last_price", "open_interest", "instrument_type", "lot_size", "quote_timestamp"),
    ("bid_price", "currency"),  # in another message format
)
TRADE_CHOICES = (("venue", "trade_id", "side"), tuple(column.name for column in TRADE_COLUMNS), ("price", "size"))
RECEIVED = MS * 1_000_000 + 5_000_000
TAKEN: dict[int, tuple[int, int]] = {}  # records by columns, and all, by seed


class Market:
    """What a server sends to a client's streams."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.symbols = [f"S{number}" for number in range(self.random.choice((1, 3, 30)))]
        self.ms = MS
        self.latest: list[bytes] = []  # frames, which a snapshot repeats
        self.trade_id = 0

    def read(self, client: Client) -> list[bytes]:
        """The frames of a read, for the streams that the client has."""
        source = self.random
        oddity = source.choice((0.0, 0.0, 0.0, 0.02, 0.2))
        streams = list(client.protocol._streams.values())
        kinds = source.choice(
            (("quotes",), ("quotes", "trades"), ("quotes", "trades"), ("quotes", "trades", "bars", "book"))
        )
        streams = [stream for stream in streams if stream.key.kind in kinds]
        if not streams:
            return [self.odd("quotes-1")]
        frames = [self.frame(source.choice(streams), oddity) for _ in range(source.randrange(1, 60))]
        repeated = source.choice((0, 0, 1, 3))
        snapshot, self.latest = self.latest[-repeated:] if repeated else [], frames
        return [*snapshot, *frames]

    def frame(self, stream: Any, oddity: float) -> bytes:
        source = self.random
        self.ms += source.randrange(3)
        if source.random() < oddity:
            return self.odd(stream.guid)
        if stream.key.kind == "trades":
            self.trade_id += source.choice((1, 1, 1, 0))
            other = source.choice(({}, {}, {}, {"s": source.choice(("sell", "SELL", "?", None)), "px": 1.5}))
            if source.random() < oddity:
                other = source.choice(({"h": True}, {"id": None}, {"id": -1}, {"t": SECONDS}, {"t": None}, {"q": 0}))
            early = source.choice((0, 0, 0, 0, 0, 3))  # comes again, or corrects an earlier one
            return lines.data(stream.guid, {**lines.trade(max(self.trade_id - early, 1), ms=self.ms - early), **other})
        if stream.key.kind == "bars":
            return lines.data(stream.guid, lines.bar(SECONDS + 60 * source.randrange(9), source.random()))
        if stream.key.kind == "book":
            bids, asks = {99.5: source.randrange(9)}, {100.5: source.randrange(9)}
            return lines.data(stream.guid, lines.order_book(bids, asks))
        return lines.data(stream.guid, self.quote(stream.key.format))

    def quote(self, form: Format, **other: Any) -> dict[str, Any]:
        source = self.random
        bid, lots, ask, time, last = {
            "slim": ("bid", "bv", "ask", "tso", "c"),
            "simple": ("bid", "bid_vol", "ask", "ob_ms_timestamp", "last_price"),
            "heavy": ("bid", "bidVol", "ask", "obMsTimestamp", "lastPrice"),
        }[form]
        size = source.choice((0, None, *range(1, 20)))
        price = source.choice((0, None, source.randrange(1, 90_000) / 100, source.randrange(1, 90_000) / 100))
        said = {bid: price, lots: size, ask: source.randrange(1, 900), time: self.ms, last: source.random(), **other}
        return lines.quote(form, **said)

    def odd(self, guid: str) -> bytes:
        source = self.random
        return source.choice((
            b"rubbish",
            lines.data(guid, self.quote("slim", tso=None)),
            lines.data(guid, self.quote("slim", tso=SECONDS)),
            lines.data(guid, self.quote("slim", tso=self.ms + 86_400_000)),
            lines.data(guid, self.quote("slim", bid="12.5")),
            lines.data(guid, self.quote("slim", bid="none")),
            lines.data(guid, lines.quote("heavy")),
            lines.data("quotes-99", self.quote("slim")),
            lines.data(guid, []),
            lines.reply(guid, 400, "no such instrument"),
            lines.data(guid, self.quote("slim")) + b"\n" + lines.data(guid, self.quote("slim")),
            lines.data(guid, self.quote("slim"))[:40],
            b"{}",
        ))  # fmt: skip


def clients() -> tuple[Client, Client]:
    by_columns, by_message = (Client(AlorMarket(), is_by_columns=is_by_columns) for is_by_columns in (True, False))
    return by_columns, by_message


def answer(client: Client) -> None:
    """What the server answers to requests."""
    for request in lines.sent(client.protocol):
        if request["opcode"] != "ping":
            client.intake.take(lines.reply(request["guid"]), RECEIVED)


def opened(client: Client) -> None:
    client.protocol.open(0.0)
    client.protocol.authenticate("token-1", 0.0)
    answer(client)


def test_a_side_without_lots_has_no_price_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AlorMarket, "LEAST_FRAMES", 1)
    client, _ = clients()
    client.add([Subscription("quotes", "S0", USUAL)])
    opened(client)
    (stream,) = client.protocol._streams.values()
    stream.is_held = False
    frames = [
        lines.data(stream.guid, lines.quote("slim", bv=lots, tso=MS + at)) for at, lots in enumerate((340, 0, 340))
    ]

    assert client.intake.take_columns(deque(frames), RECEIVED) == 0
    client.publish()

    assert client.frames[0].frame()["bid_price"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("seed", range(60))
def test_by_columns_comes_what_comes_by_message(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AlorMarket, "LEAST_FRAMES", 1)
    source, market = random.Random(seed), Market(seed)
    both = clients()
    kinds = [
        (source.choice(CHOICES), source.randrange(1, len(market.symbols) + 1)) for _ in range(source.choice((1, 1, 3)))
    ]
    has_trades, has_bars = source.random() < 0.5, source.random() < 0.2
    routes: list[list[Any]] = []
    for client in both:
        opened(client)
        limit = {} if seed % 3 else {"limit": 50}
        chosen = [[Subscription("quotes", symbol, fields) for symbol in market.symbols[:few]] for fields, few in kinds]
        routes.append([client.add(each, **limit) for each in chosen])
        if has_trades:
            for fields in TRADE_CHOICES[seed % 3 :]:
                client.add([Subscription("trades", symbol, fields) for symbol in market.symbols])
        if has_bars:
            client.list_all([lines.bars(market.symbols[0]), lines.book(market.symbols[0])])
        answer(client)

    for number in range(source.randrange(4, 16)):
        event, received, is_published = source.random(), RECEIVED + number * 3_000_000, source.random() < 0.7
        for client, own in zip(both, routes, strict=True):
            if event < 0.1:
                opened(client)
            elif event < 0.2:
                fields = (*USUAL, ("high_price", "low_price", "open_price")[number % 3])
                own.append(client.add([Subscription("quotes", symbol, fields) for symbol in market.symbols]))
            elif event < 0.25 and len(own) > 1:
                client.remove(own.pop())
            answer(client)
        frames = market.read(both[0])
        for client in both:
            client.read(frames, received)
            if is_published:
                client.publish()
    for client in both:
        client.publish()

    assert_equal(*both)
    for stream, again in zip(*(client.protocol._streams.values() for client in both), strict=True):
        assert (stream.guid, stream.has_received, stream.latest) == (again.guid, again.has_received, again.latest)
        if isinstance(stream, QuoteStream):
            assert repr(stream._emitted()) == repr(again._emitted())
        elif isinstance(stream, TradeStream):
            kept = ("_seen", "_last_id", "_last_ts", "_since", "is_held")
            assert [repr(getattr(stream, name)) for name in kept] == [repr(getattr(again, name)) for name in kept]
    TAKEN[seed] = both[0].by_columns, both[0].intake.records


def test_much_of_it_is_taken_by_columns() -> None:
    assert sum(taken for taken, _ in TAKEN.values()) >= 0.3 * sum(records for _, records in TAKEN.values())


def test_few_frames_are_taken_by_message() -> None:
    client, _ = clients()
    opened(client)
    subscription = Subscription("quotes", "SBER", USUAL)
    client.add([subscription])
    answer(client)
    guid = client.protocol._streams[key_of(subscription)].guid
    client.read([lines.data(guid, lines.quote())], RECEIVED)  # the first, which may repeat an earlier one

    client.read([lines.data(guid, lines.quote(bid=float(price))) for price in range(2)], RECEIVED)
    few = client.by_columns
    client.read([lines.data(guid, lines.quote(bid=float(price))) for price in range(3)], RECEIVED)

    assert (few, client.by_columns, client.intake.records) == (0, 3, 6)


def lateness(*, is_by_columns: bool, piece: int) -> list[float]:
    """The seconds by which messages are late, each quarter of a second: pieces come, more late from 10 s on."""
    client = Client(AlorMarket(), is_by_columns=is_by_columns)
    opened(client)
    subscription = Subscription("quotes", "SBER", USUAL)
    client.add([subscription])
    answer(client)
    guid = client.protocol._streams[key_of(subscription)].guid
    monitor = LagMonitor()
    given: list[float] = []
    for turn in range(120):
        now = turn / 4
        sent = MS + round((now - max(now - 10, 0) / 2) * 1_000)
        frames = [lines.data(guid, lines.quote(tso=sent, bid=float(number))) for number in range(piece)]
        client.read(frames, MS * 1_000_000 + round(now * 1e9))
        (lags,) = client.lags
        client.lags.clear()
        monitor.turn(now, lags, 4.0 * piece)
        given.append(monitor.seconds)
    assert (client.by_columns >= 119 * piece) == (is_by_columns and piece >= AlorMarket.LEAST_FRAMES)
    return given


LONG_PIECES = [pytest.param(piece, marks=pytest.mark.long) for piece in (100, 450)]


@pytest.mark.parametrize("piece", [1, 2, 3, 20, *LONG_PIECES])
def test_late_messages_are_noticed_by_columns_as_by_message(piece: int) -> None:
    by_columns, by_message = (lateness(is_by_columns=each, piece=piece) for each in (True, False))

    assert by_columns == by_message
    assert max(by_columns) == (0.0 if piece < 5 else 9.875)

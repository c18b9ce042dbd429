"""Contract tests for an adapter: subclass `AdapterContract` in a test file, and pytest runs its tests.

    class TestMine(AdapterContract):
        endpoint = BROKER.market

        def answer(self, sent):            # what the server sends back, as the broker's documents say
            if "auth" in sent:
                yield b'{"event": "authenticated"}'

        def update(self, kind, symbol):    # a message of a stream, and the columns that it must become
            return b'{"symbol": "AAPL", "bid": 270.1}', {"bid_price": 270.1}

No socket, clock or network is used. Importing this module does not need pytest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import ClassVar, get_args

from aries_nb.brokers.protocol import BrokerProtocol, Ping
from aries_nb.brokers.spec import Endpoint
from aries_nb.model import (
    MISSING,
    ColumnType,
    Kind,
    Notice,
    Pong,
    Record,
    SessionLost,
    SessionOpened,
    Side,
    Subscription,
    Unreadable,
    Unrequested,
    Value,
)

__all__ = ["AdapterContract"]

RECEIVED = 1_800_000_000_000_000_000  # ns since the epoch, of every frame here
YEAR_2000, YEAR_2100 = 946_684_800_000_000_000, 4_102_444_800_000_000_000  # ns; a time in ms would lie in 1970
RUBBISH = (
    b"", b" ", b"\n", b"{", b"[", b"null", b"true", b"0", b"-1e999", b'""', b"[]", b"{}", b"[null]", b"[[]]", b"[{}]",
    b'{"":null}', b"\xff\xfe\x00", b"\x00" * 100, b"[" * 10_000, b"9" * 5_000, b'{"T":[{"T":{}}]}', b'[{"T":"q"}]',
)  # fmt: skip


class Exchange:
    """An exchange of messages with a protocol under test; the contract's `answer` plays the server, without a socket.

    `sent`, `notices` and `records` collect what the protocol sent and returned; `now` is its clock in seconds.
    """

    def __init__(self, contract: AdapterContract) -> None:
        self._contract = contract
        self.protocol: BrokerProtocol = contract.endpoint.make()
        self.sent: list[str | bytes] = []
        self.notices: list[Notice] = []
        self.records: list[Record] = []
        self.now = 0.0

    def connect(self) -> None:
        """Open a new connection of the protocol, and log in with the contract's token; returns once all is answered."""
        self.protocol.open(self.now)
        self.protocol.authenticate(self._contract.token, self.now)
        self.pump()

    def pump(self) -> None:
        """Pass what the protocol sends to the contract's `answer`, and the answers to the protocol, until it is silent.

        Raises AssertionError if that does not end within 100 rounds.
        """
        for _ in range(100):
            out = self.protocol.outgoing()
            if not out:
                return
            for each in out:
                if isinstance(each, Ping):
                    self.notices.append(Pong(each.number))
                    continue
                self.sent.append(each)
                self.receive(*self._contract.answer(each))
        raise AssertionError("the adapter and the server's answers never come to an end")

    def receive(self, *frames: bytes) -> Sequence[Record]:
        """Pass frames to the protocol; collect its notices and records, and return the records.

        Without frames nothing is passed and () returned.
        """
        records, notices = self.protocol.receive(frames, RECEIVED) if frames else ((), ())
        self.records += records
        self.notices += notices
        return records

    def of(self, kind: type[Notice]) -> list[Notice]:
        """Return the collected notices that are instances of the class `kind`; [] if there are none."""
        return [notice for notice in self.notices if isinstance(notice, kind)]


class AdapterContract(ABC):
    """Base class of the contract tests of an adapter; a subclass sets `endpoint`, the one under test.

    `symbol` is one for which `answer` and `update` have data; `token` is the one used to log in.
    """

    endpoint: ClassVar[Endpoint]
    symbol: ClassVar[str] = "AAPL"
    token: ClassVar[str] = "key-of-the-contract:secret-of-the-contract"  # noqa: S105 - no secret

    @abstractmethod
    def answer(self, sent: str | bytes) -> Iterable[bytes]:
        """Hook: yield the frames with which the broker's server answers the message `sent`; none for no answer."""

    @abstractmethod
    def update(self, kind: Kind, symbol: str) -> tuple[bytes, Mapping[str, Value]]:
        """Hook: return a server's frame with an update of the stream of `kind` and `symbol`, and its column values.

        The test compares them with the record that the adapter makes of the frame; columns that are not among them must
        be missing values. For a book the values are its levels, each as "price": (bid size, ask size).
        """

    # The tests.

    def test_columns_are_of_known_kinds_and_types(self) -> None:
        """Test: the endpoint has at least one kind of stream, and all columns have known types and snake_case names."""
        unknown = sorted(set(self.endpoint.columns) - set(get_args(Kind)))
        assert not unknown, f"kinds of streams are {', '.join(get_args(Kind))}, not {', '.join(unknown)}"
        for kind in self._kinds():
            for name, type_ in self.endpoint.columns[kind].items():
                assert type_ in get_args(ColumnType), f"{kind}: {name} is of the unknown type {type_!r}"
                assert name.isidentifier(), f"{kind}: {name} is snake_case"
                assert name == name.lower(), f"{kind}: {name} is snake_case"

    def test_login_opens_the_session(self) -> None:
        """Test: a login that the server accepts opens the session exactly once."""
        exchange = self._connected()

        assert len(exchange.of(SessionOpened)) == 1
        assert not exchange.of(Unreadable), "answers of the server are read"

    def test_streams_are_asked_for_once_the_session_is_open(self) -> None:
        """Streams subscribed before there is a connection are requested after each login, not only the first."""
        exchange = Exchange(self)
        exchange.protocol.subscribe([self._subscription(kind) for kind in self._kinds()])
        assert not exchange.protocol.outgoing(), "nothing is sent before there is a connection"

        for _ in range(2):
            exchange.sent.clear()
            exchange.records.clear()
            exchange.connect()
            for kind in self._kinds():
                assert self._told(exchange, kind), f"{kind} flow on each connection"
            asked = [_text(each) for each in exchange.sent if self.symbol in _text(each)]
            assert asked, "each connection asks anew"
            assert len(asked) == len(set(asked)), "the same request is sent twice"

    def test_updates_become_records(self) -> None:
        """A record has the values of the subscription's columns, in its order; absent ones are missing values."""
        for kind in self._kinds():
            exchange = self._connected()
            subscription = self._subscription(kind)
            exchange.protocol.subscribe([subscription])
            exchange.pump()
            exchange.records.clear()
            frame, expected = self.update(kind, self.symbol)

            exchange.receive(frame)

            assert [record[0] for record in exchange.records] == [subscription], f"one record of {kind}"
            ts, values = exchange.records[0][1:]
            assert YEAR_2000 <= ts < YEAR_2100, f"exchange time in ns since the epoch, not {ts}"
            if kind == "book":
                levels = {str(price): (bid, ask) for price, bid, ask in zip(*[iter(values)] * 3, strict=True)}
                assert {float(price): sizes for price, sizes in levels.items()} == {
                    float(price): sizes for price, sizes in expected.items()
                }
                continue
            types = self.endpoint.columns[kind]
            for name, value in zip(subscription.fields, values, strict=True):
                wanted = expected.get(name, MISSING[types[name]])
                assert _equal(value, wanted), f"{kind}: {name} is {value!r}, not {wanted!r}"
                is_side = kind == "trades" and name == "side" and value != MISSING["text"]
                assert not is_side or value in get_args(Side), f"a side is {', '.join(get_args(Side))}, not {value!r}"

    def test_a_stream_is_asked_for_once_and_told_to_each_subscription(self) -> None:
        """Test: two subscriptions of one stream share it, and each gets records with its own columns.

        Removing the last subscription ends the stream.
        """
        kind = self._kinds()[0]
        other = (("another", "subscription"),)  # where the columns alone would make them the same
        both = [self._subscription(kind), Subscription(kind, self.symbol, self._subscription(kind).fields[:1], other)]
        exchange = self._connected()
        exchange.protocol.subscribe(both[:1])
        exchange.pump()
        sent = len(exchange.sent)
        exchange.protocol.subscribe(both[1:])
        exchange.pump()
        again = [each for each in exchange.sent[sent:] if self.symbol in _text(each)]

        assert not again, "a stream that runs is not asked for again"
        served = [record[0] for record in exchange.receive(self.update(kind, self.symbol)[0])]
        assert set(served) >= set(both), "each subscription of a stream gets its records"
        exchange.protocol.unsubscribe(both[:1])
        exchange.pump()
        assert {record[0] for record in exchange.receive(self.update(kind, self.symbol)[0])} == {both[1]}
        sent = len(exchange.sent)
        exchange.protocol.unsubscribe(both[1:])
        exchange.pump()
        assert len(exchange.sent) > sent, "`give_up` has a message that ends the stream"
        assert not exchange.receive(self.update(kind, self.symbol)[0])
        assert exchange.of(Unrequested), "data without a subscription are counted"

    def test_each_request_has_a_barrier(self) -> None:
        """Test: a `Pong` with the number that `subscribe` returned comes once the server has processed the request."""
        exchange = self._connected()
        number = exchange.protocol.subscribe([self._subscription(kind) for kind in self._kinds()])
        exchange.pump()

        assert number > 0
        reached = max((pong.number for pong in exchange.of(Pong) if isinstance(pong, Pong)), default=0)
        assert reached >= number, "an answer to a request yields Acknowledged or Refused, where ACKNOWLEDGES is True"

    def test_rubbish_raises_nothing(self) -> None:
        """Test: whatever a server sends becomes records or notices, never an exception, and the session goes on."""
        kinds = self._kinds()
        exchange = self._connected()
        exchange.protocol.subscribe([self._subscription(kind) for kind in kinds])
        exchange.pump()
        frames = [self.update(kind, self.symbol)[0] for kind in kinds]

        for rubbish in (*RUBBISH, *(cut for frame in frames for cut in _damaged(frame))):
            exchange.receive(rubbish)
        exchange.records.clear()

        for kind in kinds:
            assert self._told(exchange, kind), f"{kind} go on after rubbish"

    def test_a_server_that_falls_silent_is_found(self) -> None:
        """Test: if the server stops answering, the protocol reports `SessionLost` within two minutes.

        A protocol that sends WebSocket pings passes as well, since the session checks their answers.
        """
        exchange = self._connected()
        ends = False
        pings = 0
        for second in range(1, 121):
            notices = exchange.protocol.tick(exchange.now + second)
            ends = ends or any(isinstance(notice, SessionLost) for notice in notices)
            pings += sum(isinstance(each, Ping) for each in exchange.protocol.outgoing())

        assert ends or pings, "a ping at least every two minutes"

    def test_the_token_is_not_repeated(self) -> None:
        """No notice contains the token, and no attribute of the protocol once the login is sent."""
        exchange = self._connected()
        for notice in exchange.notices:
            assert self.token not in repr(notice)
        for name, value in vars(exchange.protocol).items():
            assert self.token not in repr(value), f"the token stays in the attribute {name}"

    # Parts of them.

    def _kinds(self) -> list[Kind]:
        kinds = [kind for kind in get_args(Kind) if kind in self.endpoint.columns]
        assert kinds, f"an endpoint has at least one kind of stream: {', '.join(get_args(Kind))}"
        return kinds

    def _subscription(self, kind: Kind) -> Subscription:
        fields = () if kind == "book" else tuple(self.endpoint.columns[kind])
        return Subscription(kind, self.symbol, fields)

    def _connected(self) -> Exchange:
        exchange = Exchange(self)
        exchange.connect()
        exchange.notices += exchange.protocol.tick(exchange.now)
        return exchange

    def _told(self, exchange: Exchange, kind: Kind) -> bool:
        exchange.receive(self.update(kind, self.symbol)[0])
        return any(record[0].kind == kind for record in exchange.records)


def _damaged(frame: bytes) -> Iterator[bytes]:
    """Yield a frame cut at each of its bytes, and with each of its bytes changed."""
    for place in range(len(frame)):
        yield frame[:place]
        yield frame[:place] + bytes([frame[place] ^ 0x15]) + frame[place + 1 :]


def _text(sent: str | bytes) -> str:
    return sent if isinstance(sent, str) else sent.decode("latin-1")


def _equal(value: Value, wanted: Value) -> bool:
    if isinstance(value, float) and isinstance(wanted, float) and isnan(wanted):
        return isnan(value)
    return value == wanted

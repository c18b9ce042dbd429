"""The base class of adapters, frames in and records out: hostile values, careless hooks, refusals, books."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from aries_nb.brokers import (
    Accepted,
    Acknowledged,
    JsonProtocol,
    Levels,
    Ping,
    Refused,
    Reply,
    TokenExpires,
    Update,
)
from aries_nb.model import (
    Counted,
    Pong,
    Rejected,
    SessionOpened,
    SessionRefused,
    Subscription,
    TokenWanted,
    Unreadable,
    Unrequested,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aries_nb.brokers import Event, StreamKey
    from aries_nb.model import ColumnType, Kind, Notice, Record

RECEIVED = 1_795_000_000_000_000_000
EVENTS = {
    "update": lambda kind, symbol, values, ts=None: Update(kind, symbol, ts, values),
    "levels": lambda symbol, bids, asks, is_all: Levels(symbol, None, bids, asks, is_all),
    "accepted": Accepted,
    "acknowledged": Acknowledged,
    "refused": lambda reason, symbols=(), kind=None: Refused(reason, tuple(symbols), kind),
    "expires": TokenExpires,
    "reply": Reply,
}


class Plain(JsonProtocol):
    """Messages are lists of events: ["update", "quotes", "AAPL", {…}]. One message subscribes to all streams."""

    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]] = {
        "quotes": {"bid_price": "number", "ask_price": "number"},
        "trades": {"price": "number", "venue": "text"},
        "book": {},
    }

    def login(self, token: str) -> Any:
        return {"login": "…"}

    def ask(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
        return [{"ask": streams}]

    def give_up(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
        return [{"give up": streams}]

    def read(self, message: Any) -> Iterator[Event]:
        for name, *rest in message:
            yield EVENTS[name](*rest)


class Answering(Plain):
    ACKNOWLEDGES = True


class EachAlone(Answering):
    """One message a stream."""

    def ask(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
        for stream in streams:
            yield {"ask": [stream]}


def quotes(symbol: str, *fields: str) -> Subscription:
    return Subscription("quotes", symbol, fields or ("bid_price", "ask_price"))


def trades(symbol: str) -> Subscription:
    return Subscription("trades", symbol, ("price", "venue"))


def book(symbol: str) -> Subscription:
    return Subscription("book", symbol)


def opened(protocol: JsonProtocol, *subscriptions: Subscription) -> JsonProtocol:
    """A protocol after its login, with the requests for these streams sent."""
    protocol.subscribe(subscriptions)
    protocol.open(0.0)
    protocol.authenticate("a-token", 0.0)
    tell(protocol, ["accepted"])
    protocol.outgoing()
    return protocol


def tell(protocol: JsonProtocol, *events: list[Any]) -> tuple[list[Record], list[Notice]]:
    records, notices = protocol.receive([json.dumps(events).encode()], RECEIVED)
    return list(records), list(notices)


def sent(protocol: JsonProtocol) -> list[Any]:
    return [each if isinstance(each, Ping) else json.loads(each) for each in protocol.outgoing()]


def of(kind: type[Any], notices: Iterable[Notice]) -> list[Any]:
    return [notice for notice in notices if isinstance(notice, kind)]


# One event of many.


def test_an_event_that_cannot_be_used_does_not_take_the_others_of_its_frame_along() -> None:
    protocol = opened(Plain(), quotes("AAPL"), quotes("MSFT"))

    records, notices = tell(
        protocol,
        ["update", "quotes", "AAPL", {"bid_price": "no price"}],
        ["update", "quotes", "MSFT", {"bid_price": 2}],
        ["update", "quotes", "AAPL", {"no such column": 1}],
        ["update", "quotes", "AAPL", {"bid_price": 1}],
    )

    assert [record[0].symbol for record in records] == ["MSFT", "AAPL"]
    assert of(Counted, notices) == [Counted(quotes("AAPL"), "unreadable")] * 2
    assert len(of(Unreadable, notices)) == 2


def test_a_frame_full_of_unusable_events_is_counted_without_a_notice_for_each() -> None:
    protocol = opened(Plain(), quotes("AAPL"))

    _, notices = tell(protocol, *[["update", "quotes", "AAPL", {"bid_price": []}]] * 1_000)

    assert len(of(Counted, notices)) == 1_000
    assert len(of(Unreadable, notices)) <= 100


def test_a_reader_that_returns_none_has_nothing_to_say() -> None:
    class Silent(Plain):
        def read(self, message: Any) -> Any:
            return None if message == "heartbeat" else super().read(message)

    protocol = opened(Silent(), quotes("AAPL"))

    assert protocol.receive([b'"heartbeat"'], RECEIVED) == ([], [])


@pytest.mark.parametrize("ts", [1.795e18, 1_795_000_000_000_000_000])
def test_exchange_times_are_whole_numbers(ts: float) -> None:
    protocol = opened(Plain(), quotes("AAPL"))

    records, _ = tell(protocol, ["update", "quotes", "AAPL", {"bid_price": 1}, ts])

    assert [(type(record[1]), record[1]) for record in records] == [(int, 1_795_000_000_000_000_000)]


@pytest.mark.parametrize("ts", [-1, 2**63, 1e300, math.inf, "2026-11-27", [], {}])
def test_a_time_that_is_none_is_unreadable(ts: object) -> None:
    protocol = opened(Plain(), quotes("AAPL"))

    records, notices = tell(protocol, ["update", "quotes", "AAPL", {"bid_price": 1}, ts])

    assert records == []
    assert of(Counted, notices) + [notice for notice in notices if isinstance(notice, Unreadable)]


def test_text_can_be_encoded() -> None:
    class Lax(Plain):
        def decode(self, frame: bytes) -> Any:
            return json.loads(frame)

    protocol = opened(Lax(), trades("AAPL"))

    records, _ = tell(protocol, ["update", "trades", "AAPL", {"price": 1, "venue": "half \ud800"}])

    assert records[0][2][1].encode() == b"half ?"  # type: ignore[union-attr]


def test_an_update_of_a_kind_that_there_is_not_is_unreadable_with_the_kinds_there_are() -> None:
    protocol = opened(Plain(), quotes("AAPL"))

    _, notices = tell(protocol, ["update", "quote", "AAPL", {"bid_price": 99}], ["update", "trades", "AAPL", {}])

    (unreadable,) = of(Unreadable, notices)
    assert "yields the kind 'quote', which is not in COLUMNS. Use quotes, trades, book." in unreadable.reason
    assert len(of(Unrequested, notices)) == 1


# Books.


def levels_of(records: Iterable[Record]) -> dict[float, tuple[float, float]]:
    """The levels as a store keeps them: price → size of bid and ask."""
    kept: dict[float, tuple[float, float]] = {}
    for _, _, values in records:
        for price, bid, ask in zip(*[iter(values)] * 3, strict=True):
            kept[price] = bid, ask  # type: ignore[index, assignment]
    return {price: sizes for price, sizes in kept.items() if sizes != (0, 0)}


@pytest.mark.parametrize("level", [[math.nan, 1], [100, math.nan], ["nan", "nan"], [None, 1], [1], [1, 2, 3], 5])
def test_a_level_that_is_none_changes_nothing_and_is_counted(level: Any) -> None:
    class Lax(Plain):
        def decode(self, frame: bytes) -> Any:
            return json.loads(frame)

    protocol = opened(Lax(), book("AAPL"))
    records, _ = tell(protocol, ["levels", "AAPL", [[99, 1]], [[101, 1]], True])

    more, notices = tell(protocol, ["levels", "AAPL", [[98, 1], level], [[102, 1]], False])
    assert (more, of(Counted, notices)) == ([], [Counted(book("AAPL"), "unreadable")])

    more, _ = tell(protocol, ["levels", "AAPL", [[98, 1]], [[102, 1]], False])
    assert levels_of([*records, *more]) == {99: (1, 0), 101: (0, 1), 98: (1, 0), 102: (0, 1)}


def test_negative_prices_are_prices() -> None:
    protocol = opened(Plain(), book("CL"))

    records, _ = tell(protocol, ["levels", "CL", [[-37.63, 5]], [[-37.5, 2]], True])

    assert levels_of(records) == {-37.63: (5, 0), -37.5: (0, 2)}


def test_a_book_that_is_too_deep_loses_its_worst_levels_and_says_so() -> None:
    protocol = opened(Plain(), book("BTC"))
    bids, asks = [[-price, 1] for price in range(1, 10_001)], [[price, 1] for price in range(1, 10_001)]
    records, _ = tell(protocol, ["levels", "BTC", bids, asks, True])
    assert len(levels_of(records)) == 20_000

    more, _ = tell(protocol, ["levels", "BTC", [[-0.5, 7]], [[0.5, 7]], False])
    kept = levels_of([*records, *more])

    assert (kept[-0.5], kept[0.5]) == ((7, 0), (0, 7))
    assert (-1 in kept, 1 in kept) == (True, True)
    assert (-10_000 in kept, 10_000 in kept) == (False, False)


def test_a_book_begins_with_its_first_snapshot_on_each_connection() -> None:
    protocol = opened(Plain(), book("AAPL"))

    for _ in range(2):
        changes, notices = tell(protocol, ["levels", "AAPL", [[98, 1]], [], False])
        whole, _ = tell(protocol, ["levels", "AAPL", [[97, 1]], [[102, 1]], True])
        more, _ = tell(protocol, ["levels", "AAPL", [[96, 1]], [], False])

        assert (changes, of(Counted, notices)) == ([], [Counted(book("AAPL"), "rowless")])
        assert levels_of([*whole, *more]) == {97: (1, 0), 102: (0, 1), 96: (1, 0)}
        opened(protocol)


def test_after_missed_messages_partial_quotes_and_books_begin_anew() -> None:
    class Partial(Plain):
        PARTIAL = frozenset({"quotes"})

    protocol = opened(Partial(), quotes("AAPL"), book("AAPL"))
    tell(protocol, ["update", "quotes", "AAPL", {"bid_price": 99, "ask_price": 101}])
    tell(protocol, ["levels", "AAPL", [[99, 1]], [[101, 1]], True])

    protocol.missed(7)
    ((_, _, values),), _ = tell(protocol, ["update", "quotes", "AAPL", {"bid_price": 98}])
    changes, notices = tell(protocol, ["levels", "AAPL", [[98, 1]], [], False])
    whole, _ = tell(protocol, ["levels", "AAPL", [[97, 1]], [[102, 1]], True])
    more, _ = tell(protocol, ["levels", "AAPL", [[96, 1]], [], False])

    assert values[0] == 98
    assert math.isnan(values[1])
    assert (changes, of(Counted, notices)) == ([], [Counted(book("AAPL"), "rowless")])
    assert levels_of([*whole, *more]) == {97: (1, 0), 102: (0, 1), 96: (1, 0)}
    assert protocol.request_number == 7


# Hooks that raise or return something else.


def test_streams_that_cannot_be_asked_for_after_a_break_are_refused_with_the_reason() -> None:
    class Raises(Plain):
        def ask(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
            raise KeyError("AAPL has no id")

    protocol = Raises()
    protocol.subscribe([quotes("AAPL")])
    protocol.open(0.0)
    protocol.authenticate("a-token", 0.0)

    _, notices = tell(protocol, ["accepted"])

    assert len(of(SessionOpened, notices)) == 1
    (rejected,) = of(Rejected, notices)
    assert rejected.subscriptions == (quotes("AAPL"),)
    assert "KeyError" in rejected.reason
    assert any(isinstance(each, Ping) for each in protocol.outgoing()), "the session is live nevertheless"


@pytest.mark.parametrize("lone", [{"op": "subscribe"}, "subscribe", b"subscribe"])
def test_a_lone_message_in_the_place_of_a_list_is_an_error(lone: Any) -> None:
    class Lone(Plain):
        def ask(self, streams: Sequence[StreamKey]) -> Any:
            return lone

    protocol = opened(Lone())

    with pytest.raises(TypeError, match="a list of messages"):
        protocol.subscribe([quotes("AAPL")])
    assert protocol.outgoing() == []


def test_a_stream_that_was_never_asked_for_is_not_given_up() -> None:
    class Raises(Plain):
        def ask(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
            raise ValueError("no id")

    protocol = opened(Raises())
    with pytest.raises(ValueError, match="no id"):
        protocol.subscribe([quotes("AAPL")])

    protocol.unsubscribe([quotes("AAPL")])

    assert protocol.outgoing() == []


def test_an_end_that_cannot_be_asked_for_is_told() -> None:
    class Raises(Plain):
        def give_up(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
            raise ValueError("no idea")

    protocol = opened(Raises(), quotes("AAPL"))

    protocol.unsubscribe([quotes("AAPL")])

    assert [each.reason for each in of(Rejected, protocol.tick(1.0))] == ["`give_up` raised ValueError: no idea"]


# Answers.


def test_the_ping_of_a_server_is_answered() -> None:
    protocol = opened(Plain(), quotes("AAPL"))

    assert tell(protocol, ["reply", {"pong": 7}], ["reply", "pong"]) == ([], [])

    assert protocol.outgoing() == ['{"pong":7}', "pong"]


def test_a_reply_that_cannot_be_sent_is_unreadable() -> None:
    class Wrong(Plain):
        def read(self, message: Any) -> Iterator[Event]:
            yield Reply(object())

    protocol = opened(Wrong(), quotes("AAPL"))

    _, notices = tell(protocol)

    assert len(of(Unreadable, notices)) == 1
    assert protocol.outgoing() == []


# Refusals.


def test_a_refused_stream_is_asked_for_again_by_the_next_subscription() -> None:
    protocol = opened(Answering())
    protocol.subscribe([quotes("AAPL")])
    tell(protocol, ["acknowledged"])
    tell(protocol, ["refused", "too many", ["AAPL"], "quotes"])
    protocol.outgoing()

    protocol.subscribe([quotes("AAPL", "bid_price")])

    assert {"ask": [["quotes", "AAPL"]]} in sent(protocol)


def test_a_refused_stream_is_not_given_up() -> None:
    protocol = opened(Answering())
    protocol.subscribe([quotes("NOPE")])
    tell(protocol, ["refused", "invalid symbol"])
    protocol.outgoing()

    protocol.unsubscribe([quotes("NOPE")])

    assert sent(protocol) == []


def test_a_refusal_that_names_the_symbol_alone_concerns_the_request_that_it_answers() -> None:
    protocol = opened(Answering())
    protocol.subscribe([quotes("AAPL")])
    tell(protocol, ["acknowledged"])
    number = protocol.subscribe([trades("AAPL")])

    _, notices = tell(protocol, ["refused", "no rights", ["AAPL"]])

    assert [each.subscriptions for each in of(Rejected, notices)] == [(trades("AAPL"),)]
    assert of(Pong, notices) == [Pong(number)]


def test_a_late_refusal_answers_no_other_request() -> None:
    protocol = opened(Answering())
    protocol.subscribe([quotes("AAPL")])
    tell(protocol, ["acknowledged"])
    number = protocol.subscribe([quotes("MSFT")])

    _, notices = tell(protocol, ["refused", "delisted", ["AAPL"]])
    assert [each.subscriptions for each in of(Rejected, notices)] == [(quotes("AAPL"),)]
    assert of(Pong, notices) == []

    _, notices = tell(protocol, ["refused", "no rights"])
    assert [each.subscriptions for each in of(Rejected, notices)] == [(quotes("MSFT"),)]
    assert of(Pong, notices) == [Pong(number)]


def test_an_unknown_symbol_among_many_is_found_and_the_others_run() -> None:
    protocol = opened(Answering())
    number = protocol.subscribe([quotes(symbol) for symbol in "ABCD"])
    protocol.outgoing()

    _, notices = tell(protocol, ["refused", "invalid symbol"])
    assert notices == [Rejected((), "invalid symbol", is_unknown_symbol=True)]
    assert sent(protocol) == [{"ask": [["quotes", one], ["quotes", other]]} for one, other in ("AB", "CD")]

    _, notices = tell(protocol, ["acknowledged"], ["refused", "invalid symbol"])
    assert [each.subscriptions for each in of(Rejected, notices)] == [()]
    assert sent(protocol) == [{"ask": [["quotes", symbol]]} for symbol in "CD"]

    _, notices = tell(protocol, ["refused", "invalid symbol"], ["acknowledged"])
    assert [each.subscriptions for each in of(Rejected, notices)] == [(quotes("C"),)]
    assert of(Pong, notices) == [Pong(number)]


def test_what_was_ended_meanwhile_is_not_asked_for_again() -> None:
    protocol = opened(Answering())
    number = protocol.subscribe([quotes("A"), quotes("B")])
    protocol.unsubscribe([quotes("A"), quotes("B")])
    protocol.outgoing()

    _, notices = tell(protocol, ["refused", "invalid symbol"])

    assert sent(protocol) == []
    assert of(Pong, notices) == [Pong(number)]


def test_without_rights_many_are_refused_at_once() -> None:
    protocol = opened(Answering())
    protocol.subscribe([quotes("A"), quotes("B")])
    protocol.outgoing()

    _, notices = tell(protocol, ["refused", "too many subscriptions"])

    assert [each.subscriptions for each in of(Rejected, notices)] == [(quotes("A"), quotes("B"))]
    assert sent(protocol) == []


def test_of_one_message_a_stream_only_the_refused_one_is_refused() -> None:
    protocol = opened(EachAlone())
    number = protocol.subscribe([quotes("A"), quotes("B"), quotes("C")])

    _, notices = tell(protocol, ["acknowledged"], ["refused", "no rights"], ["acknowledged"])

    assert [each.subscriptions for each in of(Rejected, notices)] == [(quotes("B"),)]
    assert of(Pong, notices) == [Pong(number)]


def test_a_refusal_of_another_kind_of_the_same_symbol_answers_no_other_request() -> None:
    protocol = opened(Answering())
    protocol.subscribe([trades("AAPL")])
    tell(protocol, ["acknowledged"])
    protocol.subscribe([quotes("AAPL")])

    _, notices = tell(protocol, ["refused", "halted", ["AAPL"], "trades"])

    assert [each.subscriptions for each in of(Rejected, notices)] == [(trades("AAPL"),)]
    assert of(Pong, notices) == []


def test_a_refusal_to_end_a_stream_refuses_nothing_that_runs() -> None:
    protocol = opened(Answering())
    protocol.subscribe([quotes("AAPL"), trades("AAPL")])
    tell(protocol, ["acknowledged"])
    protocol.unsubscribe([trades("AAPL")])

    _, notices = tell(protocol, ["refused", "no such stream", ["AAPL"]])

    assert [each.subscriptions for each in of(Rejected, notices)] == [()]


def test_a_stream_refused_while_the_login_is_renewed_is_not_the_login() -> None:
    protocol = opened(Plain(), quotes("AAPL"))
    _, notices = tell(protocol, ["expires"])
    assert of(TokenWanted, notices)
    protocol.authenticate("a-newer-token", 1.0)

    _, notices = tell(protocol, ["refused", "delisted", ["AAPL"]])
    assert of(SessionRefused, notices) == []
    assert [each.subscriptions for each in of(Rejected, notices)] == [(quotes("AAPL"),)]

    _, notices = tell(protocol, ["refused", "bad token"])
    assert of(SessionRefused, notices) == [SessionRefused("bad token")]


def test_the_reason_of_a_refused_login_is_cut() -> None:
    protocol = Plain()
    protocol.open(0.0)
    protocol.authenticate("a-token", 0.0)

    _, notices = tell(protocol, ["refused", "x" * 1_000_000])

    assert len(of(SessionRefused, notices)[0].reason) <= 200

"""The Aries market endpoint as a state machine (Aries protocol page §2 and §3); see `BrokerProtocol`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from typing import Any, ClassVar

from msgspec import UNSET, MsgspecError, Struct, UnsetType
from msgspec.json import encode

from aries_nb.brokers.aries.columns import ColumnReader
from aries_nb.brokers.aries.connection import AriesConnection
from aries_nb.brokers.aries.depth import LevelTwoStreams
from aries_nb.brokers.aries.messages import (
    Envelope,
    GreeksUpdate,
    LevelTwoUpdate,
    Payload,
    QuoteUpdate,
    StatusUpdate,
    TimeAndSalesUpdate,
    TradeUpdate,
    decoder_for,
)
from aries_nb.brokers.aries.prints import PRINT_COLUMN_TYPES, PrintPart
from aries_nb.brokers.aries.session import AriesSession, is_refusal, request_of
from aries_nb.brokers.aries.streams import (
    QUOTE_COLUMN_TYPES,
    MarketStream,
    RequestOptions,
    StreamPart,
    is_everything,
    item_to_subscribe,
    item_to_unsubscribe,
    options_of,
)
from aries_nb.brokers.aries.tolerant import kind_of_update, update_from
from aries_nb.brokers.parsing import SECONDS_AS_MS_NS, RequestRefused, SymbolSpellings, excerpt, millis, shown, unix_ns
from aries_nb.model import (
    BOOK_COLUMNS,
    VENUE_COLUMNS,
    ColumnType,
    Counted,
    Kind,
    MarketStatus,
    Notice,
    Pong,
    ReceivedColumns,
    Record,
    Rejected,
    StatusValue,
    Subscription,
    Unreadable,
    Unrequested,
)

__all__ = ["AriesMarket"]

SYMBOLS_PER_REQUEST = 100  # protocol page U17: "stay modest"
STATUS_ENTRIES = 100
MOST_NUMBER = 2**63  # in the market status; larger ones become text
ANSWER_COLUMN_TYPES: Mapping[str, ColumnType] = {"body": "text"}
_VERSION = "/v1"  # of the paths over HTTP; the socket's have none
# Tickers that are English words, and what stands next to one that is meant as a ticker: an end of the text,
# punctuation, or a word that goes with a symbol.
_ENGLISH_WORDS = re.compile(
    "A|ALL|AN|AND|ANY|ARE|AS|AT|BE|BY|CAN|DATA|DO|FOR|FROM|GO|HAS|HAVE|HE|I|IF|IN|IS|IT|KEY|LOW|MAY|NEW|NO|NOT|NOW|OF|"
    "OFF|ON|ONE|OPEN|OR|OUT|PER|RATE|REAL|SEE|SO|THE|TO|TOO|TWO|UP|US|USE|WAS|WE|WELL|YOU"
)
_BEFORE = r"(?:^|(?<=[^\w\s])|(?<=\b(?:for|and))|(?<=\b(?:or|to))|(?<=ymbol)|(?<=ymbols)|(?<=icker)|(?<=ickers))\s*"
_AFTER = r"(?=\s*(?:$|[^\w\s]|(?:is|was|are|and|or)\b))"
_COLUMN_TYPES: Mapping[Kind, Mapping[str, ColumnType]] = {
    "quotes": QUOTE_COLUMN_TYPES,
    "trades": PRINT_COLUMN_TYPES,
    "book": dict(BOOK_COLUMNS),
    "venues": dict(VENUE_COLUMNS),
    "answers": ANSWER_COLUMN_TYPES,
}


class AriesMarket(AriesConnection[str]):
    """A connection for market data: quotes, trades, books, venues, and queries as over HTTP.

    Implements `BrokerProtocol`.
    """

    COLUMNS = _COLUMN_TYPES
    DERIVED: ClassVar[tuple[str, ...]] = ("_columns", "_decode")
    LEAST_BYTES = 8 * 2**10  # about 40 messages: with fewer `receive_columns` takes longer than `receive`

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[str, dict[Subscription, MarketStream]] = {}
        self._spellings = SymbolSpellings(self._streams)
        self._parts: dict[type[Payload], dict[str, list[StreamPart]]] = {
            kind: {} for kind in (QuoteUpdate, TradeUpdate, GreeksUpdate, TimeAndSalesUpdate)
        }
        self._level_two = LevelTwoStreams()
        self._queries = SocketQueries(self._session)
        self._columns: ColumnReader | None = None  # made when they are needed
        self._decode: Callable[[bytes], list[Envelope[Payload]]] | None = None
        self._unanswered = 0  # the ping after the newest request, until it is answered
        self._sent: dict[str, RequestOptions] = {}
        self._unsubscribing: dict[str, int] = {}

    def derive(self, _: object) -> None:
        """Make what a noted state has not."""
        self._columns = self._decode = None

    def receive_columns(self, frames: Sequence[bytes], received: int) -> ReceivedColumns | None:  # noqa: ARG002
        """Decode frames as `receive` does, but together; None, and nothing has happened, if any is unusual.

        Unusual are all lines but updates of running streams in the vendor's present format, fewer than 8 KiB of them,
        and updates between a request and its answer, which may be snapshots that repeat what is known.
        """
        if self._unanswered or self._initial_records or sum(map(len, frames)) < self.LEAST_BYTES:
            return None
        try:
            decoded = list(map(self._decoder(), frames))
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if self._columns is None:
            self._columns = ColumnReader(self._parts)
        updates = [envelope.payload for envelopes in decoded for envelope in envelopes]
        return self._columns.read(updates, [*accumulate(map(len, decoded))]) if updates else None

    @property
    def request_number(self) -> int:
        """The number of the newest request or ping."""
        return self._session.count

    def missed(self, request_number: int) -> None:
        """Go on after messages that were not received: values are missing until they are sent again."""
        self._session.missed(request_number)
        self._initial_records.clear()
        self._level_two.missed()
        self._unanswered = 0
        for stream in self._every_stream():
            stream.forget()
            for part in stream.parts:
                part.ping_number = 0

    def _forget(self) -> None:
        self._level_two.open()
        self._queries.open()
        self._sent.clear()
        self._unsubscribing.clear()
        for stream in self._every_stream():
            stream.forget()

    def _every_stream(self) -> Iterator[MarketStream]:
        return chain.from_iterable(streams.values() for streams in self._streams.values())

    def _add(self, subscription: Subscription) -> Iterable[str]:
        if subscription.kind == "answers":
            self._queries.add(subscription)
            return ()
        key = self._spellings.key(subscription.symbol)
        streams = self._streams.setdefault(key, {})
        self._spellings.add(key)
        if subscription not in streams:
            stream = MarketStream(subscription)
            if ts := stream.copy_known(streams.values()):
                self._initial_records.append((subscription, ts, stream.row(stream.values)))
            streams[subscription] = stream
            self._route(stream, key)
        return (key,)

    def _remove(self, subscriptions: Sequence[Subscription]) -> None:
        items: list[str | dict[str, Any]] = []
        ended: dict[str, list[Subscription]] = {}
        for subscription in subscriptions:
            self._queries.remove(subscription)
            if subscription.kind != "answers":
                ended.setdefault(self._spellings.key(subscription.symbol), []).append(subscription)
        for key, gone in ended.items():
            streams = self._streams.get(key, {})
            for subscription in gone:
                self._unroute(streams.pop(subscription, None), key)
            left = options_of(streams)  # of all spellings, which may be one symbol to the server
            if not streams:
                self._streams.pop(key, None)
                self._spellings.remove(key)
            for symbol in dict.fromkeys(each.symbol for each in gone):
                need = _options_of(symbol, streams)
                before = self._sent.get(symbol, {})
                if before and before != left:
                    item = item_to_unsubscribe(symbol, before, left)
                    if item != {"symbol": symbol}:  # the bare symbol would end all its streams
                        items.append(item)
                        self._sent[symbol] = need
                if not need:
                    self._sent.pop(symbol, None)
            if not left:
                self._unsubscribing[key] = self._session.count
        if items and self._session.is_open:
            self._session.send("unsubscribe", items)

    def _subscribed(self) -> Iterable[str]:
        return list(self._streams)

    def _read(self, frame: bytes, received: int, records: list[Record], notices: list[Notice]) -> None:
        """Decode a frame received at `received` (ns since the epoch); append what it yields to `records` and `notices`.

        All lines are decoded at once, and one by one only if they do not fit the fast decoder.
        """
        try:
            envelopes = self._decoder()(frame)
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            super()._read(frame, received, records, notices)
        else:
            self._apply(envelopes, received, records, notices)

    def _decoder(self) -> Callable[[bytes], list[Envelope[Payload]]]:
        """Return the fast decoder, which has the fields of all subscriptions."""
        if self._decode is None:
            parts = (self._parts[kind].values() for kind in (QuoteUpdate, TradeUpdate))
            names = (part.names for routed in chain.from_iterable(parts) for part in routed)
            self._decode = decoder_for(frozenset(chain.from_iterable(names)))
        return self._decode

    def _apply(
        self, envelopes: Iterable[Envelope[Payload]], received: int, records: list[Record], notices: list[Notice]
    ) -> None:
        # The hottest loop of the package: each look-up here runs once per message.
        quotes = self._parts[QuoteUpdate]
        add = records.append
        for envelope in envelopes:
            update: Any = envelope.payload
            kind = update.__class__
            try:
                if kind is QuoteUpdate:
                    data = update.data
                    parts = quotes[update.symbol]
                    ms = data.quoteTimestamp
                elif kind is LevelTwoUpdate or kind is StatusUpdate:
                    self._apply_other(update, received, records, notices)
                    continue
                else:
                    data = update.data
                    parts = self._parts[kind][update.symbol]
                    ms = _time_of(data)
            except KeyError:
                if symbol := self._spellings.find(update.symbol):
                    update.symbol = symbol
                    self._apply([envelope], received, records, notices)
                else:
                    self._unrequested(update, notices)
                continue
            # Always in bounds: the decoder refuses other times, and the tolerant path leaves them out.
            ts = (ms or update.timestamp) * 1_000_000
            if ts < SECONDS_AS_MS_NS:
                ts = unix_ns(ms or update.timestamp) or received
            for part in parts:
                values = part.read(data)
                if part.needs_merge or values.count(UNSET):  # half the cost of `in`, which compares twice
                    values = part.merge(values)
                    if values is None:
                        notices.append(Counted(part.stream.subscription, "rowless"))
                        continue
                stream = part.stream
                if part.ping_number and part.repeats(ts, values):
                    notices.append(Counted(stream.subscription, "duplicated"))
                    continue
                part.ts = ts
                stream.values = values
                add((stream.subscription, ts, stream.row(values) if 0.0 in values else values))

    def _apply_other(self, update: Payload, received: int, records: list[Record], notices: list[Notice]) -> None:
        if isinstance(update, LevelTwoUpdate):
            update.symbol = self._spellings.find(update.symbol) or update.symbol
            if not self._level_two.read(update, received, records, notices):
                self._unrequested(update, notices)
        elif isinstance(update, StatusUpdate):
            notices.append(_status(update))

    def _read_line(self, raw: bytes, received: int, records: list[Record], notices: list[Notice]) -> None:
        try:
            envelopes = self._decoder()(raw)
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            super()._read_line(raw, received, records, notices)
        else:
            self._apply(envelopes, received, records, notices)

    def _message(
        self, message: Mapping[str, Any], raw: bytes, received: int, records: list[Record], notices: list[Notice]
    ) -> None:
        if self._session.is_update(message):
            payload, problems = update_from(message["payload"], raw)
            notices.extend(problems)
            if payload is not None:
                self._apply([Envelope(payload)], received, records, notices)
            else:
                notices.extend(self._count_unusable(message["payload"]))
        elif (answer := self._queries.answer(message, received)) is not None:
            records.append(answer)
        else:
            notices.extend(self._control(message, raw))

    def _rejected(self, refused: RequestRefused) -> Rejected:
        """Return a refusal of a request as a notice that names the refused subscriptions.

        These are the subscriptions that need fields which the request added, for the symbols that the text of the
        refusal names, or for all symbols of the request if the text names none. The fields no longer count as running.
        """
        asked = self._requests.get(refused.request, {})
        subscriptions: list[Subscription] = self._queries.of(refused.request)
        in_capitals = {symbol.upper(): symbol for symbol in asked}  # as the server may spell them
        named = _named(refused.reason, tuple(asked)) or _named(refused.reason, tuple(in_capitals))
        for symbol in (in_capitals.get(each, each) for each in named or asked):
            users = self._streams.get(self._spellings.key(symbol), ())
            subscriptions += [each for each in users if each.symbol == symbol and _needs(each, asked[symbol])]
            self._undo(symbol, asked[symbol])
        return Rejected(tuple(subscriptions), excerpt(refused.reason), refused.is_unknown_symbol)

    def _undo(self, symbol: str, before: RequestOptions) -> None:
        """Take back what a refused request added to the fields that count as running for a symbol.

        `before` maps each option of the request to the fields of it that ran before the request, () if none did.
        """
        sent = self._sent.get(symbol, {})
        for option in before.keys() & sent.keys():
            sent = {**sent, option: tuple(name for name in before[option] if name in sent[option])}
            if not sent[option]:
                del sent[option]
        self._sent[symbol] = sent
        if not sent:
            del self._sent[symbol]

    def _ponged(self, pong: Pong) -> Iterable[Pong]:
        for stream in self._every_stream():
            for part in stream.parts:
                if part.ping_number <= pong.number:
                    part.ping_number = 0
        if self._unanswered <= pong.number:
            self._unanswered = 0
        self._unsubscribing = {symbol: count for symbol, count in self._unsubscribing.items() if count >= pong.number}
        return (pong,)

    def _ask(self, keys: Iterable[str]) -> int:
        items: list[dict[str, Any]] = []
        before: dict[str, RequestOptions] = {}
        changed: list[MarketStream] = []
        for key in keys:
            streams = self._streams[key]
            for symbol in dict.fromkeys(each.symbol for each in streams):  # the server may know only one of them
                need = _options_of(symbol, streams)
                have = self._sent.get(symbol, {})
                new = {option: names for option, names in need.items() if option not in have or names != have[option]}
                if new:
                    items.append(item_to_subscribe(symbol, {o: _added(o, n, have.get(o, ())) for o, n in new.items()}))
                    self._sent[symbol] = need
                    before[symbol] = {option: have.get(option, ()) for option in new}
                    changed += streams.values()
        todo = iter(items)
        while batch := list(islice(todo, SYMBOLS_PER_REQUEST)):
            self._note_request(
                self._session.send("subscribe", batch), {i["symbol"]: before[i["symbol"]] for i in batch}
            )
        self._queries.send()
        ping_number = self._session.ping()
        if before:
            self._unanswered = ping_number
        for part in chain.from_iterable(stream.parts for stream in changed):
            part.ping_number = ping_number
        return ping_number

    def _route(self, stream: MarketStream, symbol: str) -> None:
        self._columns = self._decode = None
        self._level_two.add(stream.subscription, symbol)
        if stream.subscription.kind == "trades":
            stream.parts.append(PrintPart(stream))
        for part in stream.parts:
            self._parts[part.update].setdefault(symbol, []).append(part)

    def _unroute(self, stream: MarketStream | None, symbol: str) -> None:
        if stream is None:
            return
        self._columns = self._decode = None
        self._level_two.remove(stream.subscription, symbol)
        for routes in self._parts.values():
            left = [part for part in routes.get(symbol, ()) if part.stream is not stream]
            routes.pop(symbol, None)
            if left:
                routes[symbol] = left

    def _count_unusable(self, payload: Mapping[str, Any]) -> Iterator[Notice]:
        """Yield notices that count an unusable update as unreadable, for the subscriptions of its symbol and kind.

        `payload` is that of the update; nothing is yielded if it names no symbol or an unknown kind.
        """
        symbol, kind = payload.get("symbol"), kind_of_update(payload)
        if isinstance(symbol, str) and kind is not None:
            symbol = self._spellings.find(symbol) or symbol
            users = [part.stream.subscription for part in self._parts.get(kind, {}).get(symbol, ())]
            users += self._level_two.users(symbol) if kind is LevelTwoUpdate else ()
            yield from (Counted(user, "unreadable") for user in users)

    def _unrequested(self, update: Payload, notices: list[Notice]) -> None:
        symbol = getattr(update, "symbol", "")
        notices.append(Unrequested())
        # Data still on its way when the symbol was unsubscribed is no error of the server's.
        if symbol not in self._streams and symbol not in self._unsubscribing:
            notices.append(Unreadable("a symbol that is not subscribed", excerpt(f"{type(update).__name__} {symbol}")))


def _time_of(data: Struct) -> int | UnsetType:
    ms: int | str | UnsetType = getattr(data, "tradeTimestamp", UNSET)
    return millis(ms) or UNSET if isinstance(ms, str) else ms


def _options_of(symbol: str, subscriptions: Iterable[Subscription]) -> RequestOptions:
    """Return the options of a subscribe request that cover those of the subscriptions that have this spelling."""
    return options_of(each for each in subscriptions if each.symbol == symbol)


def _added(option: str, names: tuple[str, ...], have: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of fields to send in a request, those of `names` that are not in `have`, the fields that run.

    Returns `names` unchanged if they are all fields of the option, which are sent as "*", or if none of them is new.
    """
    return names if is_everything(option, names) else tuple(name for name in names if name not in have) or names


def _needs(subscription: Subscription, before: RequestOptions) -> bool:
    """Return whether a subscription needs more than the fields in `before`: those that ran before a request.

    `before` maps each option of the request to them, () if none ran; options that are not in it are ignored.
    """
    need = options_of([subscription])
    return any(
        option in need and (not fields or not set(need[option]) <= set(fields)) for option, fields in before.items()
    )


def _named(text: str, symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the symbols that occur in a text as words; longer ones are searched first, as BRK is in BRK.B.

    A symbol that is an English word counts only in a symbol's place: not ON in "NO DATA ON NOPE".
    """
    named: set[str] = set()
    words = {symbol for symbol in symbols if _ENGLISH_WORDS.fullmatch(symbol)}
    for symbol in sorted(symbols, key=lambda each: (each in words, -len(each))):
        left, right = (_BEFORE, _AFTER) if symbol in words else ("", "")
        rest = re.sub(rf"{left}(?<![^\W_]){re.escape(symbol)}(?![^\W_]){right}", ",", text)
        if rest != text:
            named.add(symbol)
            text = rest
    return tuple(symbol for symbol in symbols if symbol in named)


def _status(update: StatusUpdate) -> MarketStatus:
    flat: list[tuple[str, StatusValue]] = []
    for name, value in islice(update.data.items(), STATUS_ENTRIES):
        inner = value if isinstance(value, dict) else {"": value}
        for key, each in islice(inner.items(), STATUS_ENTRIES):
            flat.append((_snake_case(shown(f"{name}.{key}" if key else name)), _plain(each)))
    return MarketStatus(tuple(flat[:STATUS_ENTRIES]), unix_ns(update.timestamp))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _plain(value: object) -> StatusValue:
    """Return a flag, also one given as text, as bool, a number unchanged, and any other value as text.

    A number given as text stays text, and a number of 2**63 or more becomes text.
    """
    flag = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None
    if flag is not None:
        return flag
    is_number = isinstance(value, int | float) and abs(value) < MOST_NUMBER
    return value if isinstance(value, int | float) and is_number else shown(value)


class SocketQueries:
    """HTTP-like queries that are sent through the market WebSocket and not answered yet (Aries protocol page §3.5).

    A subscription of kind "answers" is a query: its symbol is the path; its first option is a number, which makes it
    unique, the further ones are the parameters. An answer is matched by the id of its request.
    """

    def __init__(self, session: AriesSession) -> None:
        self._session = session
        self._requests: dict[Subscription, str] = {}  # "" while it is not sent

    def open(self) -> None:
        """Mark all unanswered queries as not sent, because a new connection begins."""
        self._requests = dict.fromkeys(self._requests, "")

    def add(self, subscription: Subscription) -> None:
        """Add a query, given as a subscription of kind "answers"; the next `send` sends it.

        Nothing happens if an equal subscription is pending already.
        """
        self._requests.setdefault(subscription, "")

    def remove(self, subscription: Subscription) -> None:
        """Drop a query; its answer will be ignored."""
        self._requests.pop(subscription, None)

    def of(self, request: str) -> list[Subscription]:
        """Return the unanswered query that was sent as the request with this id, as a list of one; [] if none was."""
        return [each for each, sent in self._requests.items() if sent and sent == request]

    def send(self) -> None:
        """Queue the requests of the queries that were not sent yet."""
        for subscription, request in self._requests.items():
            if not request:
                payload: dict[str, Any] = {"method": "GET", "path": subscription.symbol.removeprefix(_VERSION)}
                if parameters := dict(subscription.options[1:]):
                    payload["query"] = parameters
                self._requests[subscription] = self._session.send("request", payload)

    def answer(self, message: Mapping[str, Any], received: int) -> Record | None:
        """Return the record made of an answer to a query; None for any other message and for a refusal.

        `received` is its time in ns since the epoch. The answered query is removed, so a second answer to it makes no
        record.
        """
        payload = message.get("payload")
        if message.get("type") != "response" or not isinstance(payload, dict) or is_refusal(payload):
            return None
        asked = next(iter(self.of(request_of(message))), None)
        if asked is None:
            return None
        del self._requests[asked]
        return asked, received, (_body(payload),)


def _body(payload: Mapping[str, Any]) -> str:
    """Return the result in an answer's payload as JSON text; "" if it cannot be encoded.

    It is under the key `body`, else `data`, else the payload itself: which one the server uses is open question U14 of
    the Aries protocol page.
    """
    body = next((payload[name] for name in ("body", "data") if payload.get(name) is not None), payload)
    try:
        return encode(body).decode()
    except (UnicodeEncodeError, OverflowError, RecursionError):  # a lone surrogate, or too deep
        return ""

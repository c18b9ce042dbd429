"""One connection to ALOR's `/ws` as a state machine (ALOR protocol page §3, §8, §9); see `BrokerProtocol`.

Subclasses name the kinds of streams: market data and portfolios use separate connections (§10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import MsgspecError

from aries_nb.brokers.alor.fields import DEFAULT_EXCHANGE
from aries_nb.brokers.alor.session import REPLY_SECONDS, AlorSession
from aries_nb.brokers.alor.streams import AlorStream, Key, ShapedStream, key_of
from aries_nb.brokers.parsing import excerpt, lines, parse_line
from aries_nb.errors import UsageError
from aries_nb.model import (
    PUT,
    ColumnType,
    Counted,
    Kind,
    Notice,
    Received,
    Record,
    Rejected,
    Resumed,
    SessionLost,
    Subscription,
    Unreadable,
    Unrequested,
)

__all__ = ["AlorConnection"]


class AlorConnection:
    """One connection to ALOR, and its streams, which are kept when the connection breaks. Implements `BrokerProtocol`.

    `exchange` is the default for symbols and portfolios without one. A subclass sets `MAKERS`, the class of each kind
    of stream, and `COLUMNS`, their columns and types.
    """

    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]] = {}
    MAKERS: ClassVar[Mapping[Kind, type[AlorStream]]] = {}

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        self._exchange = exchange
        self._session = AlorSession()
        self._streams: dict[Key, AlorStream] = {}
        self._guids: dict[str, AlorStream] = {}
        self._fast: dict[bytes, ShapedStream] = {}
        self._unsettled: dict[str, AlorStream] = {}
        self._unsubscribed: dict[str, int] = {}
        self._deferred: list[Record] = []
        # They joined a running stream and get initial records with the next frame.
        self._new_subscriptions: list[Subscription] = []
        self._notes: list[Notice] = []
        self._made = 0
        self._received = 0

    def open(self, now: float) -> None:
        """Reset for a new connection at time `now` (s, monotonic).

        All streams are requested again once there is a token. Rows that still waited to be delivered are dropped and
        counted as conflated, trades excepted.
        """
        self._session.open(now)
        self._unsettled.clear()
        self._unsubscribed.clear()
        self._new_subscriptions.clear()
        self._drop_deferred()
        for stream in self._streams.values():
            stream.forget()

    def authenticate(self, token: str, now: float) -> None:
        """Use a token for all further requests. The first one on a connection also requests all streams.

        `now` is in seconds of a monotonic clock.
        """
        if self._session.authenticate(token, now):
            self._ask(self._streams.values())

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add subscriptions, and queue requests for their streams that are not running, then a ping.

        Returns the number of the ping, 0 while there is no token. Raises UsageError for a kind that this connection
        does not have, and for an unknown bar length.
        """
        unknown = sorted({each.kind for each in subscriptions} - self.MAKERS.keys())
        if unknown:
            advice = f"There are {', '.join(self.MAKERS)}."
            raise UsageError(f"no streams of {', '.join(unknown)} here", where="ALOR", advice=advice)
        streams: dict[Key, AlorStream] = {}
        for subscription in subscriptions:
            key = key_of(subscription)
            stream = self._streams.get(key)
            if stream is not None and subscription not in stream.subscriptions:
                if stream.asked and not stream.is_shareable:
                    stream = self._renewed(stream)  # to get its snapshot
                stream.add(subscription)
                self._new_subscriptions.append(subscription)
            elif stream is None:
                stream = self.MAKERS[subscription.kind](key, self._exchange)
                stream.add(subscription)
                self._enlist(stream)
            streams[key] = stream
        return self._ask(streams.values()) if self._session.is_asked else 0

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove subscriptions, and queue requests that end the streams which have no subscription left."""
        self._deferred = [record for record in self._deferred if record[0] not in subscriptions]
        self._new_subscriptions = [each for each in self._new_subscriptions if each not in subscriptions]
        for subscription in subscriptions:
            stream = self._streams.get(key_of(subscription))
            if stream is None or subscription not in stream.subscriptions:
                continue
            if len(stream.subscriptions) == 1:
                self._end(stream)
            else:
                stream.remove(subscription)

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode frames received at `received` (ns since the epoch).

        Returns their records and notices, each in order.
        """
        if len(frames) == 1:
            return self._receive_frame(frames[0], received)
        records: list[Record] = []
        notices: list[Notice] = []
        for frame in frames:
            found, said = self._receive_frame(frame, received)
            records += found
            notices += said
        return records, notices

    def _receive_frame(self, frame: bytes, received: int) -> Received:
        """Decode one frame, received at `received` (ns since the epoch), and return its records and notices.

        A stream's own fast decoder is used if the frame fits it, else the tolerant one. Records and notices that wait
        for the next frame are returned as well, before its own.
        """
        session = self._session
        session.has_received = True
        # A data frame ends in its guid; the decoded envelope's guid confirms that it is one.
        end = frame.rfind(b'"')
        stream = self._fast.get(frame[frame.rfind(b'"', 0, end) + 1 : end])
        if stream is not None and not session.notices and not self._deferred and not self._new_subscriptions:
            try:
                message = stream.decode(frame)
            except (MsgspecError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if message.guid == stream.guid:
                    stream.latest = frame
                    records = stream.take(message.data, received)
                    return records, self._drained() if self._notes else ()
        return self._receive_slowly(frame, received)

    def tick(self, now: float) -> Sequence[Notice]:
        """Send keepalive pings and check time limits of the session and of each pending request; return notices.

        `now` is in seconds of a monotonic clock. A stream without a reply to its request and without data for 10 s
        counts as refused (notice `Rejected`). If the session is lost, `SessionLost` is the only notice.
        """
        notices = self._session.tick(now)
        if any(isinstance(notice, SessionLost) for notice in notices):
            return notices
        for request in self._session.overdue():
            stream = self._guids.get(request.guid)
            if stream is None or not request.is_subscription:
                continue
            if stream.has_received:  # it is running, even without a reply
                self._deferred += stream.replied(self._received)
            else:
                stream.asked = 0
                notices.append(Rejected(tuple(stream.subscriptions), f"no answer within {REPLY_SECONDS:.0f} s"))
        notices += self._pongs()
        return notices

    def outgoing(self) -> Sequence[str]:
        """Return the queued frames in the order of sending, and clear the queue."""
        return self._session.outgoing()

    # Requests.

    def _ask(self, streams: Iterable[AlorStream]) -> int:
        """Queue requests for those of the streams that are not running, then a ping; return the ping's number."""
        for stream in streams:
            if not stream.asked:
                stream.asked = self._session.request(stream.body(), stream.guid)
                self._unsettled[stream.guid] = stream
        return self._session.ping()

    def _enlist(self, stream: AlorStream) -> None:
        self._made += 1
        stream.guid = f"{stream.key.kind}-{self._made}"
        stream.notes = self._notes
        self._streams[stream.key] = stream
        self._guids[stream.guid] = stream
        if isinstance(stream, ShapedStream):
            self._fast[stream.guid.encode()] = stream

    def _end(self, stream: AlorStream) -> None:
        del self._streams[stream.key], self._guids[stream.guid]
        self._unsettled.pop(stream.guid, None)
        self._fast.pop(stream.guid.encode(), None)
        self._session.forget(stream.guid)
        if stream.asked:
            self._unsubscribed[stream.guid] = self._session.request({"opcode": "unsubscribe"}, stream.guid)

    def _renewed(self, stream: AlorStream) -> AlorStream:
        """Replace a stream by a new one with the same key and subscriptions, and return it.

        It has a new guid (stream id) and will be requested again, so that the server sends its snapshot.
        """
        self._end(stream)
        stream.forget()  # counts its waiting rows
        fresh = self.MAKERS[stream.key.kind](stream.key, self._exchange)
        for subscription in stream.subscriptions:
            fresh.add(subscription)
        self._enlist(fresh)
        return fresh

    # Answers.

    def _receive_slowly(self, frame: bytes, received: int) -> Received:
        records, self._deferred = self._deferred, []
        records += self._initial_records()
        notices = self._session.drained()
        self._received = received
        whole = parse_line(frame, exact=True)
        # One object per message (§1); if there are more, they are on separate lines.
        several = list(lines(frame)) if isinstance(whole, Unreadable) and b"\n" in frame.strip() else []
        for line in several or [frame]:
            message = parse_line(line, exact=True) if several else whole
            if isinstance(message, Unreadable):
                notices.append(message)
            elif "data" in message:
                self._take(message, line, records, notices)
            elif "requestGuid" in message or "httpCode" in message or "opcode" in message:
                records += self._answered(message, line)
                notices += [*self._session.drained(), *self._rejected()]
            else:
                notices.append(Unreadable("neither data nor a reply", excerpt(line)))
        notices += self._pongs()
        if self._deferred:
            records += self._deferred
            self._deferred = []
        return records, [*self._drained(), *notices]

    def _initial_records(self) -> list[Record]:
        joined, self._new_subscriptions = self._new_subscriptions, []
        initial_records = [record for each in joined for record in self._streams[key_of(each)].initial_records(each)]
        self._notes += [Counted(record[0], "filled") for record in initial_records]
        return initial_records

    def _drop_deferred(self) -> None:
        """Drop the records that wait for the next frame and that a new connection sends again.

        Dropped rows are counted as conflated. Records of trades are kept, since they are not sent again.
        """
        late, self._deferred = self._deferred, []
        for record in late:
            if record[0].kind == "trades":
                self._deferred.append(record)
            elif record[2][0] == PUT:  # the others are rows of tables
                self._notes.append(Counted(record[0], "conflated"))

    def _drained(self) -> list[Notice]:
        notes = self._notes.copy()
        self._notes.clear()  # the streams share this list
        return notes

    def _take(self, message: Mapping[str, Any], line: bytes, records: list[Record], notices: list[Notice]) -> None:
        data, guid = message["data"], message.get("guid")
        guid = guid if isinstance(guid, str) else ""
        stream = self._guids.get(guid)
        if stream is None:
            notices.append(Unrequested())
            # Data still on its way when the stream was unsubscribed is no error of the server's.
            if guid not in self._unsubscribed:
                notices.append(Unreadable("a guid that is not subscribed", excerpt(line)))
        elif isinstance(data, dict):
            if isinstance(stream, ShapedStream):
                stream.latest = line
            found, problems = stream.read(data, self._received, line)
            records += found
            notices += problems
        else:
            notices.append(Unreadable("data that are not an object", excerpt(line)))
            stream.count("unreadable")

    def _answered(self, message: Mapping[str, Any], line: bytes) -> Sequence[Record]:
        request = self._session.answer(message, line, self._received)
        stream = self._guids.get(request.guid) if request is not None else None
        return stream.replied(self._received) if stream is not None else ()

    def _rejected(self) -> list[Rejected]:
        """Return the refusals in the latest reply as notices, each naming the refused subscriptions.

        Their streams are marked as not running, so that they may be requested again. The session then no longer holds
        these refusals.
        """
        refusals, self._session.refused = self._session.refused, []
        rejected = []
        for refused in refusals:
            stream = self._guids.get(refused.request)
            users = () if stream is None else tuple(stream.subscriptions)
            if stream is not None:
                stream.asked = 0
            rejected.append(Rejected(users, refused.reason, refused.is_unknown_symbol))
        return rejected

    def _pongs(self) -> list[Notice]:
        """Return the pongs (answers to pings) before which every request has been answered.

        Before each come the notices `Resumed` that follow from it: of every trades stream that runs again after a
        break. Each pong is returned once.
        """
        notices: list[Notice] = []
        for pong in self._session.released():
            for guid, stream in list(self._unsettled.items()):
                if stream.asked > pong.number:
                    continue
                del self._unsettled[guid]
                if stream.asked:  # 0 if it was refused
                    self._deferred += stream.settled(self._received)
                    if stream.is_filled is not None:
                        notices.append(Resumed(stream.key.kind, stream.symbol, stream.is_filled, stream.filled_count))
            if self._unsubscribed:
                still = {guid: number for guid, number in self._unsubscribed.items() if number > pong.number}
                self._unsubscribed = still
            notices.append(pong)
        return notices

"""A market endpoint faster than any client: frames made beforehand, written raw to the socket.

    python -m tests.bench.blast RATE MESSAGES_A_FRAME [clock]      prints its ws:// address, serves one client at a time
    python -m tests.bench.blast RATE 1 alor                        the same of ALOR
    python -m tests.bench.blast silent                             answers requests, sends no market data

It speaks just enough of the protocol: any token is accepted, pings are answered, quotes flow while at least one symbol
is subscribed, ALOR's while all are. RATE is messages a second, 0 for as many as the client takes. With `clock` messages
are made as they are sent, and their bid price is the millisecond of that moment, see `price_of`; their bid size is the
reading of the steady clock in ns.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.bench.alor_frames import alor_quotes, data_frame
from tests.bench.frames import MESSAGES_A_FRAME, SYMBOLS, quote_line, quotes_frames

__all__ = ["CLOCK_SPAN_MS", "blasting", "price_of", "silent"]

FRAMES, ALOR_FRAMES = 2_000, 10_000
CHUNK_FRAMES = 64  # written at once; between two chunks the server looks for requests
CLOCK_SPAN_MS = 10_000_000


def blasting(
    rate: int, messages_a_frame: int = MESSAGES_A_FRAME, *, is_clock: bool = False, is_alor: bool = False
) -> AbstractContextManager[str]:
    """A server in a process of its own; gives its address."""
    kind = ["clock"] if is_clock else ["alor"] if is_alor else []
    return _server(str(rate), str(messages_a_frame), *kind)


def silent() -> AbstractContextManager[str]:
    """The same, but no market data is sent: rows are put into the stores by hand."""
    return _server("silent")


@contextmanager
def _server(*options: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.blast", *options],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def price_of(now_ms: int) -> float:
    """The price that says when it was sent: hundredths are milliseconds, of the last 10,000 seconds."""
    return now_ms % CLOCK_SPAN_MS / 100


class Source:
    """What there is to send, and when it is due."""

    def __init__(self, rate: int, messages_a_frame: int, *, is_clock: bool) -> None:
        self.rate = rate
        self.wait = 0.0005 if rate else 0  # seconds between two looks at what is due
        self._per_frame = messages_a_frame
        self._is_clock = is_clock
        lines = b"\n".join(quotes_frames(FRAMES)).split(b"\n")
        frames = [
            _framed(b"\n".join(lines[at : at + messages_a_frame])) for at in range(0, len(lines), messages_a_frame)
        ]
        size = 1 if rate else CHUNK_FRAMES
        self._chunks = [b"".join(frames[at : at + size]) for at in range(0, len(frames), size)]
        self._started = 0.0
        self._sent = 0

    def start(self) -> None:
        """Begin now: no message is due from before."""
        self._started, self._sent = time.monotonic(), 0

    def due(self) -> bytes:
        """What is to be sent now; one chunk where the client sets the pace."""
        first = self._sent
        if not self.rate:
            self._sent += 1
            return self._chunks[first % len(self._chunks)]
        self._sent = int((time.monotonic() - self._started) * self.rate) // self._per_frame
        if self._is_clock:
            return b"".join(self._stamped(number) for number in range(first, self._sent))
        return b"".join(self._chunks[number % len(self._chunks)] for number in range(first, self._sent))

    def _stamped(self, number: int) -> bytes:
        now = time.time_ns() // 1_000_000
        quote = {"bidPrice": price_of(now), "bidSize": time.monotonic_ns(), "askPrice": price_of(now), "askSize": 100}
        symbols = (SYMBOLS[(number * self._per_frame + each) % len(SYMBOLS)] for each in range(self._per_frame))
        return _framed(b"\n".join(quote_line(symbol, quote | {"quoteTimestamp": now}, now) for symbol in symbols))


class SilentSource:
    """Nothing to send, ever."""

    wait = None  # the server sleeps until there is a request

    def start(self) -> None: ...

    def due(self) -> bytes:
        return b""


class AlorSource(Source):
    """The same of ALOR, one object a frame; `name` says under which guid each symbol is sent."""

    def __init__(self, rate: int) -> None:
        super().__init__(rate, 1, is_clock=False)
        self.wait = 1 / rate if rate else 0  # messages come one by one
        self._quotes = list(islice(alor_quotes(), ALOR_FRAMES))

    def name(self, guids: dict[str, str]) -> None:
        """Make the frames for those symbols that are subscribed."""
        frames = [_framed(data_frame(data, guids[symbol])) for symbol, data in self._quotes if symbol in guids]
        size = 1 if self.rate else CHUNK_FRAMES * MESSAGES_A_FRAME
        self._chunks = [b"".join(frames[at : at + size]) for at in range(0, len(frames), size)]


class Blaster:
    """One client's connection, from handshake to end."""

    def __init__(self, connection: socket.socket, source: Any) -> None:
        self._socket = connection
        self._source = source
        self._protocol = ServerProtocol()
        self._subscribed: set[str] = set()
        self._out = bytearray()

    def serve(self) -> None:
        """Answer and send until the client goes."""
        self._socket.setblocking(False)
        while True:
            if not self._out and self._subscribed:
                self._out += self._source.due()
            wait = None if not self._subscribed else self._source.wait
            readable, writable, _ = select.select([self._socket], [self._socket] if self._out else [], [], wait)
            if readable and not self._receive():
                return
            if writable:
                try:
                    del self._out[: self._socket.send(self._out)]
                except BlockingIOError:
                    continue

    def _receive(self) -> bool:
        data = self._socket.recv(65_536)
        if not data:
            return False
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._answer(json.loads(bytes(event.data)))
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                return self._close()
        # Answers go behind what is half written; a protocol's own frames (pong, close) as well.
        self._out += b"".join(self._protocol.data_to_send())
        return True

    def _close(self) -> bool:
        self._socket.setblocking(True)
        self._socket.sendall(self._out + b"".join(self._protocol.data_to_send()))
        return False

    def _answer(self, message: dict[str, Any]) -> None:
        kind, ident, payload = message["type"], message.get("id"), message.get("payload")
        if kind == "request":
            data = {"action": "authSuccess", "id": ident, "data": {"expiresIn": 2_700_000}}
            self._send({"type": "event", "payload": data})
        elif kind == "ping":
            self._send({"type": "pong", "id": ident})
        elif kind in {"subscribe", "unsubscribe"}:
            symbols = {item if isinstance(item, str) else item["symbol"] for item in payload}
            was_idle = not self._subscribed
            self._subscribed = self._subscribed | symbols if kind == "subscribe" else self._subscribed - symbols
            if was_idle:
                self._source.start()

    def _send(self, message: dict[str, Any]) -> None:
        if self._protocol.state is State.OPEN:  # else a close frame came with the request
            self._protocol.send_text(json.dumps(message).encode())


class AlorBlaster(Blaster):
    """The same of ALOR: each request has its reply, and the guid is kept with its symbol."""

    _guids: dict[str, str]

    def serve(self) -> None:
        """Answer and send until the client goes."""
        self._guids = {}
        super().serve()

    def _answer(self, message: dict[str, Any]) -> None:
        opcode, guid = message["opcode"], message["guid"]
        if opcode == "QuotesSubscribe":
            self._guids[message["code"]] = guid
        elif opcode == "unsubscribe":
            self._guids = {symbol: each for symbol, each in self._guids.items() if each != guid}
        if opcode != "ping":
            was_idle = not self._subscribed
            self._subscribed = set(self._guids) if len(self._guids) == len(SYMBOLS) else set()
            if was_idle and self._subscribed:
                self._source.name(self._guids)
                self._source.start()
        self._send({"requestGuid": guid, "httpCode": 200, "message": "Handled successfully"})


def _framed(payload: bytes) -> bytes:
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


def _serve(source: Source | SilentSource, blaster: type[Blaster]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"ws://127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                with connection:
                    blaster(connection, source).serve()
            except ConnectionError:
                continue


if __name__ == "__main__":
    if sys.argv[1:] == ["silent"]:
        _serve(SilentSource(), Blaster)
    elif "alor" in sys.argv[3:]:
        _serve(AlorSource(int(sys.argv[1])), AlorBlaster)
    else:
        _serve(Source(int(sys.argv[1]), int(sys.argv[2]), is_clock="clock" in sys.argv[3:]), Blaster)

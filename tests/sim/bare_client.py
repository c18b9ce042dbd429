"""Bare WebSocket clients for tests of the protocol: they send messages as given, and split frames into messages."""

from __future__ import annotations

import json
import time
from collections import deque
from contextlib import ExitStack
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PATH = "/v1/market/ws"
TIMEOUT = 60.0


class JsonSocket:
    """A WebSocket that sends and reads JSON without any protocol logic."""

    def __init__(self, url: str) -> None:
        self._stack = ExitStack()
        opened = connect(url, compression=None, max_size=None, ping_interval=None, close_timeout=1)
        self.socket: ClientConnection = self._stack.enter_context(opened)
        self.frames: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, message: object) -> None:
        self.socket.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def receive_frame(self) -> str:
        frame = self.socket.recv(timeout=TIMEOUT)
        assert isinstance(frame, str)
        self.frames.append(frame)
        return frame

    def receive(self) -> dict[str, Any]:
        """The next message of any kind."""
        message: dict[str, Any] = json.loads(self.receive_frame())
        return message

    def receive_until(self, wanted: Any) -> list[dict[str, Any]]:
        """All messages up to the first for which `wanted` is true, that one included."""
        received = [self.receive()]
        deadline = time.monotonic() + TIMEOUT
        while not wanted(received[-1]):
            assert time.monotonic() < deadline, f"not received: {wanted}"
            received.append(self.receive())
        return received

    def receive_close(self) -> tuple[int, str]:
        """Read on to the close frame; its code and reason, 1006 if there was none."""
        try:
            while True:
                self.receive()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


class BareClient(JsonSocket):
    """A connection to an Aries endpoint, whose frames hold one message per line."""

    def __init__(self, url: str, path: str = PATH) -> None:
        super().__init__(url + path)
        self.waiting: deque[dict[str, Any]] = deque()

    def receive(self) -> dict[str, Any]:
        while not self.waiting:
            frame = self.receive_frame()
            assert frame.isascii()
            self.waiting.extend(json.loads(line) for line in frame.split("\n") if line)
        return self.waiting.popleft()

    def receive_updates(self, stream: str, count: int) -> list[dict[str, Any]]:
        """The payloads of the next `count` updates of one stream; others are skipped."""
        updates = []
        while len(updates) < count:
            payload = self.receive().get("payload", {})
            if payload.get("action") == "update" and payload.get("type") == stream:
                updates.append(payload)
        return updates

    def receive_answer(self, ident: str) -> dict[str, Any]:
        """The next message with this id, in its envelope or payload."""
        return self.receive_until(lambda m: ident in (m.get("id"), m.get("payload", {}).get("id")))[-1]

    def sync(self) -> list[dict[str, Any]]:
        """All messages that the server sends in reply to those so far."""
        self.send({"type": "ping", "id": "sync"})
        return self.receive_until(lambda m: m == {"type": "pong", "id": "sync"})[:-1]

    def log_in(self, token: str = "a token", ident: str = "auth-1") -> dict[str, Any]:
        self.send(auth(token, ident))
        return self.receive_until(lambda m: m["payload"].get("action") == "authSuccess")[-1]

    def subscribe(self, *items: Any, ident: str = "sub-1") -> None:
        self.send({"type": "subscribe", "id": ident, "payload": list(items)})

    def unsubscribe(self, *items: Any, ident: str = "unsub-1") -> None:
        self.send({"type": "unsubscribe", "id": ident, "payload": list(items)})

    def request(self, path: str, method: str = "GET", ident: str = "request-1") -> dict[str, Any]:
        self.send({"type": "request", "id": ident, "payload": {"method": method, "path": path}})
        return self.receive_answer(ident)


def auth(token: Any, ident: str = "auth-1", **body: Any) -> dict[str, Any]:
    payload = {"method": "post", "path": "/auth", "body": {"action": "auth", "token": token, **body}}
    return {"type": "request", "id": ident, "payload": payload}


def streams(**subscribed: Any) -> dict[str, Any]:
    """One symbol's subscription as the server reports it."""
    return {"quote": [], "trade": [], "level2": False, "timeAndSales": [], "greeks": []} | subscribed

"""A client that knows nothing: it sends what it is told and splits what it gets; tests see the protocol bare."""

from __future__ import annotations

import json
import time
from collections import deque
from contextlib import ExitStack
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PATH = "/v1/market/ws"
TIMEOUT = 10.0


class JsonSocket:
    """A WebSocket of the tests' own that sends and reads JSON, without checks, answers or a state."""

    def __init__(self, url: str) -> None:
        self._stack = ExitStack()
        opened = connect(url, compression=None, max_size=None, ping_interval=None, close_timeout=1)
        self.socket: ClientConnection = self._stack.enter_context(opened)
        self.frames: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, message: object) -> None:
        self.socket.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def hear_frame(self) -> str:
        frame = self.socket.recv(timeout=TIMEOUT)
        assert isinstance(frame, str)
        self.frames.append(frame)
        return frame

    def hear(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        message: dict[str, Any] = json.loads(self.hear_frame())
        return message

    def hear_until(self, wanted: Any) -> list[dict[str, Any]]:
        """All messages up to the first for which `wanted` is true, that one included."""
        heard = [self.hear()]
        deadline = time.monotonic() + TIMEOUT
        while not wanted(heard[-1]):
            assert time.monotonic() < deadline, f"not heard: {wanted}"
            heard.append(self.hear())
        return heard

    def hear_close(self) -> tuple[int, str]:
        """Read on to the close frame; its code and reason, 1006 if there was none."""
        try:
            while True:
                self.hear()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


class BareClient(JsonSocket):
    """A connection to an endpoint of Aries, whose frames hold one message a line."""

    def __init__(self, url: str, path: str = PATH) -> None:
        super().__init__(url + path)
        self.waiting: deque[dict[str, Any]] = deque()

    def hear(self) -> dict[str, Any]:
        while not self.waiting:
            frame = self.hear_frame()
            assert frame.isascii()
            self.waiting.extend(json.loads(line) for line in frame.split("\n") if line)
        return self.waiting.popleft()

    def hear_updates(self, stream: str, count: int) -> list[dict[str, Any]]:
        """The payloads of the next `count` updates of one stream; others are passed over."""
        updates = []
        while len(updates) < count:
            payload = self.hear().get("payload", {})
            if payload.get("action") == "update" and payload.get("type") == stream:
                updates.append(payload)
        return updates

    def hear_answer(self, ident: str) -> dict[str, Any]:
        """The next message that carries this id, wherever."""
        return self.hear_until(lambda m: ident in (m.get("id"), m.get("payload", {}).get("id")))[-1]

    def sync(self) -> list[dict[str, Any]]:
        """Everything that the server had to say to what was sent so far."""
        self.say({"type": "ping", "id": "sync"})
        return self.hear_until(lambda m: m == {"type": "pong", "id": "sync"})[:-1]

    def log_in(self, token: str = "a token", ident: str = "auth-1") -> dict[str, Any]:
        self.say(auth(token, ident))
        return self.hear_until(lambda m: m["payload"].get("action") == "authSuccess")[-1]

    def subscribe(self, *items: Any, ident: str = "sub-1") -> None:
        self.say({"type": "subscribe", "id": ident, "payload": list(items)})

    def unsubscribe(self, *items: Any, ident: str = "unsub-1") -> None:
        self.say({"type": "unsubscribe", "id": ident, "payload": list(items)})

    def ask(self, path: str, method: str = "GET", ident: str = "request-1") -> dict[str, Any]:
        self.say({"type": "request", "id": ident, "payload": {"method": method, "path": path}})
        return self.hear_answer(ident)


def auth(token: Any, ident: str = "auth-1", **body: Any) -> dict[str, Any]:
    payload = {"method": "post", "path": "/auth", "body": {"action": "auth", "token": token, **body}}
    return {"type": "request", "id": ident, "payload": payload}


def streams(**subscribed: Any) -> dict[str, Any]:
    """What the server tells of one symbol's subscription."""
    return {"quote": [], "trade": [], "level2": False, "timeAndSales": [], "greeks": []} | subscribed

"""A client of the simulated ALOR that knows nothing: it sends what it is told and keeps the text of what it gets."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TIMEOUT = 10.0


class AlorClient:
    def __init__(self, url: str) -> None:
        self._stack = ExitStack()
        opened = connect(f"{url}/ws", compression=None, max_size=None, ping_interval=None, close_timeout=1)
        self.socket: ClientConnection = self._stack.enter_context(opened)
        self.texts: list[str] = []

    def __enter__(self) -> AlorClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, message: object) -> None:
        self.socket.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def ask(self, opcode: str, guid: str = "g-1", token: str = "a token", **more: Any) -> None:
        self.say({"opcode": opcode, "guid": guid, "token": token, **more})

    def hear(self) -> dict[str, Any]:
        """The next frame, whatever it is."""
        text = self.socket.recv(timeout=TIMEOUT)
        assert isinstance(text, str)
        self.texts.append(text)
        heard: dict[str, Any] = json.loads(text)
        return heard

    def hear_until(self, wanted: Any) -> list[dict[str, Any]]:
        """All frames up to the first for which `wanted` is true, that one included."""
        heard = [self.hear()]
        deadline = time.monotonic() + TIMEOUT
        while not wanted(heard[-1]):
            assert time.monotonic() < deadline, f"not heard: {wanted}"
            heard.append(self.hear())
        return heard

    def hear_reply(self, guid: str = "g-1") -> tuple[int, str]:
        """Code and text of the reply to a request; data frames are passed over."""
        reply = self.hear_until(lambda frame: frame.get("requestGuid") == guid)[-1]
        return reply["httpCode"], reply["message"]

    def hear_data(self, count: int, guid: str = "g-1") -> list[dict[str, Any]]:
        """The next `count` objects of one subscription; everything else is passed over."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = self.hear()
            if frame.get("guid") == guid:
                found.append(frame["data"])
        return found

    def sync(self) -> list[dict[str, Any]]:
        """Everything that the server had to say to what was sent so far."""
        self.ask("ping", "sync")
        return self.hear_until(lambda frame: frame.get("requestGuid") == "sync")[:-1]

    def hear_close(self) -> int:
        """Read on to the end; the code of the close frame, 1006 if there was none."""
        try:
            while True:
                self.hear()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

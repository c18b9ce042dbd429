"""The stream and symbol of a message, found without the code under test, and each broker's error messages."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.pipe import Line

__all__ = ["Alor", "Aries", "Dialect", "Key"]

# The kind of a stream in the broker's own word, and its symbol or account.
Key: TypeAlias = tuple[str, str]


class Dialect(ABC):
    """Finds the stream of a broker's message. One object per connection, since guids are valid on one only."""

    accepts: ClassVar[bytes]  # what is in the first message that takes a token for good

    @staticmethod
    @abstractmethod
    def lines(payload: bytes) -> list[bytes]:
        """The messages in a frame."""

    @staticmethod
    @abstractmethod
    def frames(lines: Sequence[bytes]) -> list[bytes]:
        """Messages as payloads of frames, as few as the broker would send."""

    @abstractmethod
    def asked(self, text: bytes) -> None:
        """Record the requests of the client."""

    @abstractmethod
    def key(self, line: bytes) -> Key | None:
        """The stream that a message belongs to; None for a message about the session."""

    def is_open(self, delivered: Sequence[Line]) -> bool:
        """Whether the client's token has been accepted: a refusal before that does not mean that it expired."""
        return any(self.accepts in line.text for line in delivered)

    @staticmethod
    @abstractmethod
    def expiry() -> bytes:
        """The message that the session or its token has expired."""

    @staticmethod
    @abstractmethod
    def stranger() -> bytes:
        """A message of a stream that was not requested."""


class Aries(Dialect):
    """NDJSON; symbols of the market, accounts by their name."""

    accepts = b'"authSuccess"'

    @staticmethod
    def lines(payload: bytes) -> list[bytes]:
        return [line for line in payload.split(b"\n") if line.strip()]

    @staticmethod
    def frames(lines: Sequence[bytes]) -> list[bytes]:
        return [b"\n".join(lines)] if lines else []

    def asked(self, text: bytes) -> None:
        pass

    def key(self, line: bytes) -> Key | None:
        message = json.loads(line)
        payload = message.get("payload")
        if message.get("type") != "event" or not isinstance(payload, dict):
            return None
        if payload.get("action") in ("update", "snapshot") and "symbol" in payload:
            # The charts endpoint has its time in the envelope, the market endpoint in the payload.
            kind = f"charts {payload['type']}" if "timestamp" in message else str(payload["type"])
            return kind, str(payload["symbol"])
        if "topic" in payload:
            return str(payload.get("name") or payload["topic"]), str(payload.get("target") or "")
        return None

    @staticmethod
    def expiry() -> bytes:
        return _json({"type": "event", "payload": {"action": "authExpired", "error": "session expired"}})

    @staticmethod
    def stranger() -> bytes:
        data = {"action": "update", "type": "quote", "symbol": "STRANGER", "data": {"bidPrice": 1.0}, "timestamp": 1}
        return _json({"type": "event", "payload": data})


class Alor(Dialect):
    """One object per frame; the request says which stream a guid names."""

    accepts = b'"httpCode":200'

    def __init__(self) -> None:
        self._guids: dict[str, Key] = {}

    @staticmethod
    def lines(payload: bytes) -> list[bytes]:
        return [payload]

    @staticmethod
    def frames(lines: Sequence[bytes]) -> list[bytes]:
        return list(lines)

    def asked(self, text: bytes) -> None:
        request = json.loads(text)
        opcode = request["opcode"]
        if opcode not in ("ping", "unsubscribe"):
            # The same quotes at two intervals are two streams.
            pace = f"@{request['frequency']}" if "frequency" in request else ""
            self._guids[request["guid"]] = opcode + pace, request.get("code") or request.get("portfolio")

    def key(self, line: bytes) -> Key | None:
        message = json.loads(line)
        return self._guids.get(message.get("guid", "")) if "data" in message else None

    @staticmethod
    def expiry() -> bytes:
        return _json({"requestGuid": "", "httpCode": 401, "message": "Invalid JWT token!"})

    @staticmethod
    def stranger() -> bytes:
        return _json({"data": {"price": 1.0}, "guid": "stranger-1"})


def _json(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()

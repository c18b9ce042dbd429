"""Questions on the Aries market socket: a request out, its response in, found again by its id (protocol page §3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.json import encode

from aries_nb.brokers.aries.session import AriesSession, is_refusal, request_of
from aries_nb.model import ColumnType, Record, Subscription

__all__ = ["ANSWER_COLUMN_TYPES", "Questions"]

ANSWER_COLUMN_TYPES: Mapping[str, ColumnType] = {"body": "text"}
_VERSION = "/v1"  # of the paths over HTTP; the socket's have none


class Questions:
    """The questions that have no answer yet. A subscription of kind "answers" is one: its symbol is the path.

    Its options are a number, so that no two are alike, and the parameters.
    """

    def __init__(self, session: AriesSession) -> None:
        self._session = session
        self._requests: dict[Subscription, str] = {}  # "" while it is not sent

    def open(self) -> None:
        """Begin a new connection: what was asked on the one before is asked again."""
        self._requests = dict.fromkeys(self._requests, "")

    def add(self, subscription: Subscription) -> None:
        """Take a question, to be sent with the next `send`."""
        self._requests.setdefault(subscription, "")

    def remove(self, subscription: Subscription) -> None:
        """Forget a question; its answer is of no use to anybody."""
        self._requests.pop(subscription, None)

    def send(self) -> dict[str, str]:
        """Queue what has not been sent; returns which request asks for which path."""
        sent: dict[str, str] = {}
        for subscription, request in self._requests.items():
            if not request:
                payload: dict[str, Any] = {"method": "GET", "path": subscription.symbol.removeprefix(_VERSION)}
                if parameters := dict(subscription.options[1:]):
                    payload["query"] = parameters
                self._requests[subscription] = request = self._session.send("request", payload)
                sent[request] = subscription.symbol
        return sent

    def answer(self, message: Mapping[str, Any], received: int) -> Record | None:
        """The answer that a message is; None where it is none, or a refusal."""
        payload = message.get("payload")
        if message.get("type") != "response" or not isinstance(payload, dict) or is_refusal(payload):
            return None
        request = request_of(message)
        asked = next((each for each, sent in self._requests.items() if sent and sent == request), None)
        if asked is None:
            return None
        del self._requests[asked]
        return asked, received, (_body(payload),)


def _body(payload: Mapping[str, Any]) -> str:
    """The result as JSON text, from wherever it is (§9 U14); "" for one that no JSON can say."""
    body = next((payload[name] for name in ("body", "data") if payload.get(name) is not None), payload)
    try:
        return encode(body).decode()
    except (UnicodeEncodeError, OverflowError, RecursionError):  # half a character, or the depth that was just read
        return ""

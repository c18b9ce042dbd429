"""One client's session on the simulated Aries market endpoint: lines in, lines out, time passed in.

It knows no socket, loop or clock. Lines to send wait in `outbox`; `closing` says with which code and reason the
connection ends once they are sent. Source: protocol page §1-3, with the choices of §9.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from aries_nb.sim import aries_messages as messages
from aries_nb.sim.aries_subscriptions import (
    BadRequestError,
    Item,
    Selection,
    read_subscribe_item,
    read_unsubscribe_item,
)

if TYPE_CHECKING:
    from aries_nb.sim.settings import SimOptions

__all__ = ["Directory", "Session"]

POLICY_VIOLATION = 1008
NORMAL_CLOSURE = 1000
#: Ids and texts come back to the client: both are kept short enough for a frame far below 1 MiB.
MAX_ID_CHARACTERS = 1000
MAX_TEXT_CHARACTERS = 2000


class Directory(Protocol):
    """The market behind a session."""

    def offered(self, item: Item) -> Selection | None:
        """Cut an item to what its symbol has; None if the symbol is not known."""

    def subscribed(self, session: Session, symbol: str, asked: Selection, now: float) -> None:
        """Take note that a session's selection of a symbol grew by `asked`, and put the snapshot into its outbox."""

    def unsubscribed(self, session: Session, symbol: str) -> None:
        """Take note that a session's selection of a symbol shrank."""

    def answer(self, method: str, path: str) -> dict[str, Any]:
        """Answer a query; the payload of the response."""

    def hours(self) -> messages.MarketHours:
        """What the market says of itself."""


class Session:
    """The state of one connection. `now` is Unix time in seconds everywhere. Owned by the server's loop."""

    def __init__(self, options: SimOptions, directory: Directory, now: float) -> None:
        self.outbox: list[str] = []
        self.closing: tuple[int, str] | None = None
        self.selections: dict[str, Selection] = {}
        self.auths = self.subscribe_requests = self.unsubscribe_requests = 0
        self._options = options
        self._directory = directory
        self._opened = now
        self._heard = now
        self._expires: float | None = None
        self._is_warned = False

    @property
    def is_authenticated(self) -> bool:
        """Whether a token was accepted and its session has not expired."""
        return self._expires is not None and self.closing is None

    def receive(self, frame: str | bytes, now: float) -> None:
        """Understand one frame: one JSON object, or several joined by newlines (§1.3)."""
        self._heard = now
        try:
            text = frame if isinstance(frame, str) else frame.decode()
        except UnicodeDecodeError:
            self._refuse("the frame is not UTF-8", now)
            return
        for line in text.split("\n"):
            if line.strip() and self.closing is None:
                self._receive_line(line, now)

    def tick(self, now: float) -> None:
        """Let time pass: limits, the warning before the expiry, and the expiry."""
        if self.closing is not None:
            return
        options = self._options
        if self._expires is None:
            if now - self._opened >= options.auth_seconds:
                self._end("authTimeout", "not authenticated in time", now)
        elif now >= self._expires:
            self._end("authExpired", "session expired", now)
        elif not self._is_warned and now >= self._expires - min(options.warn_seconds, options.session_seconds / 2):
            self._is_warned = True
            left = {"expiresIn": round((self._expires - now) * 1000)}
            self.outbox.append(messages.control("refreshAuth", _ms(now), data=left))
        if self.closing is None and now - self._heard >= options.idle_seconds:
            self.close(NORMAL_CLOSURE, f"idle for {options.idle_seconds:g} s")

    def market_changed(self, now: float) -> None:
        """Push the market's state, which changed."""
        if self.is_authenticated:
            self.outbox.append(messages.market_status(self._directory.hours(), _ms(now)))

    def close(self, code: int, reason: str) -> None:
        """End the session: what waits is still sent, but nothing of the market is added to it."""
        self.closing = (code, reason)
        symbols = list(self.selections)
        self.selections.clear()
        for symbol in symbols:
            self._directory.unsubscribed(self, symbol)

    def _receive_line(self, line: str, now: float) -> None:
        ident: str | None = None
        try:
            message = _object(json.loads(line))
            ident = _ident(message)
            self._dispatch(message, ident, now)
        except BadRequestError as error:
            self._refuse(str(error), now, ident)
        except (ValueError, RecursionError):
            self._refuse("not a JSON message", now)

    def _dispatch(self, message: dict[str, Any], ident: str | None, now: float) -> None:
        kind = message.get("type")
        payload = message.get("payload")
        if kind == "ping" or (kind is None and message.get("action") == "ping"):
            self.outbox.append(messages.pong(ident))
        elif kind == "request":
            self._request(payload, ident, now)
        elif kind in ("subscribe", "unsubscribe"):
            if not self._is_allowed(ident, now):
                return
            if not isinstance(payload, list):
                raise BadRequestError("payload must be an array")
            if kind == "subscribe":
                self._subscribe(payload, ident, now)
            else:
                self._unsubscribe(payload, ident, now)
        else:
            raise BadRequestError("unknown type of message")

    def _request(self, payload: object, ident: str | None, now: float) -> None:
        if not isinstance(payload, dict):
            raise BadRequestError("payload must be an object")
        method, path = payload.get("method"), payload.get("path")
        if not isinstance(method, str) or not isinstance(path, str):
            raise BadRequestError("method and path are required")
        if path == "/auth" and method.upper() == "POST":
            self._authenticate(payload.get("body"), ident, now)
        elif self._is_allowed(ident, now):
            self.outbox.append(messages.response(ident, self._directory.answer(method.upper(), path)))

    def _authenticate(self, body: object, ident: str | None, now: float) -> None:
        token = body.get("token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token.strip():
            text = messages.error("token is required", _ms(now), code="UNAUTHENTICATED", ident=ident)
            self.outbox.append(text)
            return
        if self._options.token is not None and token != self._options.token:
            text = messages.error("authentication failed", _ms(now), code="UNAUTHENTICATED", ident=ident)
            self.outbox.append(text)
            self.close(POLICY_VIOLATION, "authentication failed")
            return
        is_first = self._expires is None
        self.auths += 1
        self._expires = now + self._options.session_seconds
        self._is_warned = False
        expires_ms = round(self._options.session_seconds * 1000)
        self.outbox.append(messages.auth_success(self._options.auth_reply, ident, expires_ms, _ms(now)))
        if is_first:
            self.outbox.append(messages.market_status(self._directory.hours(), _ms(now)))

    def _is_allowed(self, ident: str | None, now: float) -> bool:
        if self._expires is None:
            text = messages.control("authRequired", _ms(now), ident=ident, error="authentication required")
            self.outbox.append(text)
            return False
        return True

    def _subscribe(self, payload: list[object], ident: str | None, now: float) -> None:
        self.subscribe_requests += 1
        unknown: list[str] = []
        complaints: list[str] = []
        for entry in payload:
            try:
                item = read_subscribe_item(entry)
            except BadRequestError as error:
                complaints.append(str(error))
                continue
            if item.unknown:
                complaints.append(f"unknown field of {item.symbol}: {', '.join(item.unknown)}")
            selection = self._directory.offered(item)
            if selection is None:
                unknown.append(item.symbol)
                continue
            if selection:
                held = self.selections.get(item.symbol, Selection())
                self.selections[item.symbol] = held.united(selection)
                self._directory.subscribed(self, item.symbol, selection, now)
        if unknown:
            text = f"unknown symbol: {', '.join(dict.fromkeys(unknown))}"
            self.outbox.append(messages.error(_cut(text), _ms(now), code="UNKNOWN_SYMBOL", ident=ident))
        self._conclude(complaints, ident, now, is_acked=not unknown)

    def _unsubscribe(self, payload: list[object], ident: str | None, now: float) -> None:
        self.unsubscribe_requests += 1
        complaints: list[str] = []
        for entry in payload:
            try:
                item = read_unsubscribe_item(entry)
            except BadRequestError as error:
                complaints.append(str(error))
                continue
            held = self.selections.get(item.symbol)
            if held is None:
                continue
            left = held.without(item.selection)
            if left:
                self.selections[item.symbol] = left
            else:
                del self.selections[item.symbol]
            self._directory.unsubscribed(self, item.symbol)
        self._conclude(complaints, ident, now, is_acked=True)

    def _conclude(self, complaints: list[str], ident: str | None, now: float, *, is_acked: bool) -> None:
        if complaints:
            self._refuse("; ".join(dict.fromkeys(complaints)), now, ident)
        elif is_acked and self._options.ack_subscribes:
            self.outbox.append(messages.response(ident, {"status": 200}))

    def _refuse(self, text: str, now: float, ident: str | None = None) -> None:
        self.outbox.append(messages.error(_cut(text), _ms(now), code="BAD_REQUEST", ident=ident))

    def _end(self, action: str, text: str, now: float) -> None:
        self.outbox.append(messages.control(action, _ms(now), error=text))
        self.close(POLICY_VIOLATION, text)


def _object(message: object) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise BadRequestError("a message must be a JSON object")
    return message


def _ident(message: dict[str, Any]) -> str | None:
    ident = message.get("id")
    if ident is not None and not isinstance(ident, str):
        raise BadRequestError("id must be a string")
    if ident is not None and len(ident) > MAX_ID_CHARACTERS:
        raise BadRequestError("id is too long")
    return ident


def _ms(now: float) -> int:
    return int(now * 1000)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}…"

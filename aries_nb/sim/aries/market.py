"""One client's session on the simulated Aries market endpoint.

Source: Aries' protocol page §3, with the choices of §9 for what is not known about the broker.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from aries_nb.sim.aries import messages
from aries_nb.sim.aries.session import AriesSession
from aries_nb.sim.aries.subscriptions import (
    BadRequestError,
    Selection,
    SubscriptionItem,
    read_subscribe_item,
    read_unsubscribe_item,
)

if TYPE_CHECKING:
    from aries_nb.sim.market.market import Market, MarketHours
    from aries_nb.sim.settings import SimOptions

__all__ = ["MarketBackend", "MarketSession"]


class MarketBackend(Protocol):
    """What a session of the market endpoint needs of the simulated market (an interface)."""

    market: Market

    def join(self, session: MarketSession) -> None:
        """Add a session, which from now on gets changes of the market hours and updates of its subscriptions."""

    def leave(self, session: MarketSession) -> None:
        """Remove a session that has ended, with its subscriptions; one that never joined is ignored."""

    def offered(self, item: SubscriptionItem) -> Selection | None:
        """Return those of the requested streams and fields that the item's symbol offers.

        An empty selection if it offers none of them; None if the symbol is unknown.
        """

    def allowed(self, symbol: str, asked: Selection) -> tuple[Selection, tuple[str, ...]]:
        """Return which of the streams are not refused, and the names of those that are."""

    def subscribed(self, session: MarketSession, symbol: str, asked: Selection, now: float) -> None:
        """Put a snapshot of the symbol into the session's outbox (lines to send), and updates from `now` (Unix s) on.

        `asked` are the streams and fields that the session added to its selection.
        """

    def unsubscribed(self, symbol: str) -> None:
        """Send updates of the symbol only as the sessions now select them, after one reduced its selection."""

    def answer(self, method: str, path: str) -> dict[str, Any]:
        """Return the payload of the response to a client's query about options; `method` and `path` are as in HTTP."""

    def hours(self) -> MarketHours:
        """Return whether the simulated market is open, and trades before and after its regular hours."""


class MarketSession(AriesSession):
    """One connection to the simulated Aries market endpoint. Owned by the server's event loop.

    The client selects streams and fields of many symbols; `selections` has them by symbol.
    """

    def __init__(self, options: SimOptions, backend: MarketBackend, now: float) -> None:
        super().__init__(options, now)
        self.selections: dict[str, Selection] = {}
        self._backend = backend

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """Return the subscribed streams and fields of each symbol, in the protocol's names."""
        return {symbol: selection.as_dict() for symbol, selection in self.selections.items()}

    def market_changed(self, now: float) -> None:
        """Send the client the market's state at `now` (Unix s)."""
        self.outbox.append(messages.market_status(self._backend.hours(), int(now * 1000)))

    def _authenticated(self, now: float) -> None:
        self._backend.join(self)
        self.market_changed(now)

    def _answer(self, method: str, path: str) -> dict[str, Any]:
        return self._backend.answer(method, path)

    def _ended(self) -> None:
        self._backend.leave(self)
        self.selections.clear()

    def _subscribe(self, payload: object, ident: str | None, now: float) -> None:
        unknown: list[str] = []
        complaints: list[str] = []
        for entry in _array(payload):
            try:
                item = read_subscribe_item(entry)
            except BadRequestError as error:
                complaints.append(str(error))
                continue
            item = replace(item, symbol=self._backend.market.spelled(item.symbol))
            if item.unknown:
                complaints.append(f"unknown field of {item.symbol}: {', '.join(item.unknown)}")
            selection = self._backend.offered(item)
            if selection is None:
                unknown.append(item.symbol)
                continue
            selection, refused = self._backend.allowed(item.symbol, selection)
            if refused:
                what = f"{' and '.join(refused)} of {item.symbol}"
                text = f"A subscription was refused: {what} needs an entitlement (simulated: stream_refusals)"
                self._refuse(text, now, ident, code="FORBIDDEN")
            if selection:
                selected = self.selections.get(item.symbol, Selection())
                self.selections[item.symbol] = selected.united(selection)
                self._backend.subscribed(self, item.symbol, selection, now)
        if unknown:
            self._refuse(f"unknown symbol: {', '.join(dict.fromkeys(unknown))}", now, ident, code="UNKNOWN_SYMBOL")
        self._conclude(complaints, ident, now, is_acked=not unknown)

    def _unsubscribe(self, payload: object, ident: str | None, now: float) -> None:
        complaints: list[str] = []
        for entry in _array(payload):
            try:
                item = read_unsubscribe_item(entry)
            except BadRequestError as error:
                complaints.append(str(error))
                continue
            item = replace(item, symbol=self._backend.market.spelled(item.symbol))
            selected = self.selections.get(item.symbol)
            if selected is None:
                continue
            left = selected.without(item.selection)
            if left:
                self.selections[item.symbol] = left
            else:
                del self.selections[item.symbol]
            self._backend.unsubscribed(item.symbol)
        self._conclude(complaints, ident, now)


def _array(payload: object) -> list[object]:
    if not isinstance(payload, list):
        raise BadRequestError("payload must be an array")
    return payload

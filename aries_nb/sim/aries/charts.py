"""The simulated Aries charts endpoint: quotes and trades of a symbol under TradingView's names.

Source: Aries' protocol page §4, with the choices of §9: U6, a subscribe is not acknowledged unless the option
`ack_subscribes` is set; U15, a snapshot on subscribe, and a quote and a trade as two events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aries_nb.sim.aries import messages
from aries_nb.sim.aries.data import changes
from aries_nb.sim.aries.session import AriesSession, BadRequestError
from aries_nb.sim.market.listings import EquityListing, OptionListing, TradedListing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aries_nb.sim.market.listings import Listing
    from aries_nb.sim.market.market import Market
    from aries_nb.sim.market.recording import Recording
    from aries_nb.sim.market.troubles import Roughness
    from aries_nb.sim.settings import SimOptions

__all__ = ["ChartBackend", "ChartSubscribers", "ChartsSession", "chart_values", "recorded_chart_values"]

#: "quotes" means quotes and trades; "trades" is accepted as a synonym (assumed, §4.1).
MODES = ("quotes", "trades")
EXCHANGE_NAMES = {"Q": "NASDAQ", "N": "NYSE", "P": "ARCA"}


class ChartBackend(Protocol):
    """What a session of the charts endpoint needs of the simulated market (an interface)."""

    market: Market
    roughness: Roughness

    def is_listed(self, symbol: str, symbol_type: str) -> bool:
        """Return whether a symbol is known; if `symbol_type` is "option", whether it is also an option.

        Any other type, such as "equity" or "index", is not compared with the symbol's own.
        """

    def chart_subscribed(self, symbol: str, outbox: list[str], now: float) -> None:
        """Put a snapshot of a symbol into `outbox`, a list of lines to send, and all updates from `now` (Unix s) on.

        A second call for the same symbol and outbox only puts the snapshot there.
        """

    def chart_unsubscribed(self, symbol: str, outbox: list[str]) -> None:
        """Put no more updates of a symbol into `outbox`, a session's list of lines to send."""


class ChartsSession(AriesSession):
    """One connection to the simulated Aries charts endpoint; each request names one symbol.

    Owned by the server's event loop.
    """

    def __init__(self, options: SimOptions, backend: ChartBackend, now: float) -> None:
        super().__init__(options, now)
        self._symbols: dict[str, dict[str, Any]] = {}
        self._backend = backend

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """Return the subscribed symbols, each with its type of data, which is always "quotes"."""
        return dict(self._symbols)

    def _subscribe(self, payload: object, ident: str | None, now: float) -> None:
        symbol, symbol_type = _read(payload)
        symbol = self._backend.market.spelled(symbol)
        if not self._backend.is_listed(symbol, symbol_type):
            self._refuse(f"unknown symbol: {symbol}", now, ident, code="UNKNOWN_SYMBOL")
            return
        if self._backend.roughness.is_refused(f"charts {symbol}"):
            text = f"A subscription was refused: charts of {symbol} needs an entitlement (simulated: stream_refusals)"
            self._refuse(text, now, ident, code="FORBIDDEN")
            return
        self._symbols[symbol] = {"type": MODES[0]}
        self._backend.chart_subscribed(symbol, self.outbox, now)
        self._conclude((), ident, now)

    def _unsubscribe(self, payload: object, ident: str | None, now: float) -> None:
        symbol = self._backend.market.spelled(_read(payload)[0])
        if self._symbols.pop(symbol, None) is not None:
            self._backend.chart_unsubscribed(symbol, self.outbox)
        self._conclude((), ident, now)

    def _ended(self) -> None:
        for symbol in self._symbols:
            self._backend.chart_unsubscribed(symbol, self.outbox)
        self._symbols.clear()


class ChartSubscribers:
    """The outboxes subscribed to one symbol on the charts endpoint, and the values last sent to them.

    An outbox is a session's list of lines to send. `stamp` is Unix time in ms in all methods.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.outboxes: list[list[str]] = []
        self._values: dict[str, Any] = {}

    def join(self, outbox: list[str], values: Mapping[str, Any], stamp: int) -> None:
        """Put all known values of the symbol into `outbox`, a session's list of lines to send, and changes from now on.

        `values` are the present ones, `stamp` is the time in Unix ms.
        """
        self._values.update(values)
        if self._values:
            outbox.append(messages.chart_update("quote", self.symbol, self._quote(self._values), stamp))
        if not any(other is outbox for other in self.outboxes):
            self.outboxes.append(outbox)

    def leave(self, outbox: list[str]) -> None:
        """Put no more updates of the symbol into `outbox`; nothing happens if it is not subscribed."""
        self.outboxes = [other for other in self.outboxes if other is not outbox]

    def push_quote(self, values: Mapping[str, Any], stamp: int) -> int:
        """Send the subscribers those of the values that changed, at `stamp` (Unix ms).

        Return 1 if a message was sent, else 0.
        """
        changed = changes(self._values, values)
        return self._send("quote", self._quote(changed), stamp) if changed else 0

    def push_trade(self, price: float, size: float, stamp: int) -> int:
        """Send the subscribers a trade of `size` shares or contracts at `stamp` (Unix ms).

        Return 1 if there are any, else 0.
        """
        return self._send("trade", {"s": "ok", "t": stamp, "lp": price, "v": size}, stamp)

    def _quote(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"s": "ok", "n": self.symbol, "v": values}

    def _send(self, kind: messages.ChartEvent, data: Mapping[str, Any], stamp: int) -> int:
        if not self.outboxes:
            return 0
        text = messages.chart_update(kind, self.symbol, data, stamp)
        for outbox in self.outboxes:
            outbox.append(text)
        return 1


def chart_values(listing: Listing) -> dict[str, Any]:
    """Return an instrument's present values by their names on the charts endpoint (Aries' protocol page §4.2).

    An index has no bid, ask, volume or exchange.
    """
    last, previous = listing.last.price, listing.previous_close
    change = round(last - previous, 2)
    values: dict[str, Any] = {
        "lp": last,
        "ch": change,
        "chp": round(100.0 * change / previous, 2),
        "open_price": listing.open,
        "high_price": listing.high,
        "low_price": listing.low,
        "prev_close_price": previous,
        "short_name": listing.symbol,
    }
    if isinstance(listing, TradedListing):
        quote = listing.quote()
        values |= {"bid": quote.bid_price, "ask": quote.ask_price, "volume": listing.volume}
    if isinstance(listing, EquityListing):
        values["exchange"] = EXCHANGE_NAMES[listing.equity.venue]
    elif isinstance(listing, OptionListing):
        values["exchange"] = "OPRA"
    return values


def recorded_chart_values(recording: Recording, row: int) -> dict[str, Any]:
    """Return the values in a row of recorded quotes or trades by their names on the charts endpoint.

    They are the numbers of the file; those that it does not contain are left out.
    """
    names = {"bid": "bid_price", "ask": "ask_price"} if recording.kind == "quotes" else {"lp": "price"}
    values = {name: recording.columns[column][row] for name, column in names.items()}
    return {name: value for name, value in values.items() if value is not None}


def _read(payload: object) -> tuple[str, str]:
    """Return the symbol and the symbol's type of a request.

    Raises BadRequestError if the payload has another form (Aries' protocol page §4.1).
    """
    if not isinstance(payload, dict):
        raise BadRequestError("payload must be an object with one symbol")
    symbol, symbol_type = payload.get("symbol"), payload.get("symbolType", "equity")
    if not isinstance(symbol, str) or not symbol.strip():
        raise BadRequestError("symbol is required")
    if not isinstance(symbol_type, str):
        raise BadRequestError("symbolType must be a string")
    if payload.get("type", MODES[0]) not in MODES:
        raise BadRequestError(f"type must be one of: {', '.join(MODES)}")
    return symbol, symbol_type.lower()

"""What the rough market makes of the quotes and trades of one symbol, before a broker's server encodes them.

Not thread-safe; no I/O, no clock: times are passed in. The market itself is unchanged: histories have its true trades.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aries_nb.sim.market.listings import Listing, Quote
    from aries_nb.sim.market.troubles import Roughness

__all__ = ["Form", "Phase", "Report", "RoughQuote", "RoughSymbol", "rough_sides"]

Phase: TypeAlias = Literal["open", "halted", "auction"]
#: How a side is sent that is not there.
Form: TypeAlias = Literal["zero", "null", "absent"]
MISSING: tuple[tuple[frozenset[str], Form], ...] = tuple(
    (frozenset(sides), form) for sides in (("bid",), ("ask",), ("bid", "ask")) for form in get_args(Form)
)
STUB_BID, STUB_ASK = 0.01, 199_999.99
#: From this share of a halt on, the auction that ends it runs.
AUCTION_SHARE = 0.6
HOUR_MS = 3_600_000
AHEAD_MS = (HOUR_MS, 24 * HOUR_MS, 30 * 24 * HOUR_MS)
#: A part of a share, less than six decimals show, and a size of which a browser by itself writes the first digits only.
EXTREME_SIZES = (0.375, 0.00000012, 2**60)
#: Share of the price by which the first report of a corrected trade is off, and that of a cancelled one.
CORRECTED, CANCELLED = 0.004, 0.05
#: A trade is late by these shares of the mean interval between troubles; a correction comes as late.
LATENESS = (0.05, 0.15)


Levels: TypeAlias = "Sequence[tuple[float, float]]"


class RoughQuote(NamedTuple):
    """Best bid and ask with what is wrong with them: `missing` are the sides that are not there, sent in `form`.

    `stamp` is the time to send, in Unix ms: not always that of the quote.
    """

    quote: Quote
    missing: frozenset[str]
    form: Form
    stamp: int

    def side(self, name: Literal["bid", "ask"]) -> tuple[float | None, float | None]:
        """Return price and size of a side as they are sent: zeros or None where it is missing."""
        if name in self.missing:
            return (0, 0) if self.form == "zero" else (None, None)
        quote = self.quote
        return (quote.bid_price, quote.bid_size) if name == "bid" else (quote.ask_price, quote.ask_size)


class Report(NamedTuple):
    """One report of a trade, as it is sent. `stamp` is its time in Unix ms, `number` that of the trade.

    `is_repeat` is True for one that comes after later trades: a late one, a correction, or with size 0 a withdrawal.
    The last price stays that of another trade. `is_in_seconds` is True where the time is sent as Unix s.
    """

    price: float
    size: float
    side: Literal["buy", "sell", "unknown"]
    number: int
    venue: str
    stamp: int
    is_repeat: bool = False
    is_in_seconds: bool = False

    @property
    def sent_stamp(self) -> int:
        """The time as it is sent: Unix ms, or Unix s where `is_in_seconds`."""
        return self.stamp // 1000 if self.is_in_seconds else self.stamp


class RoughSymbol:
    """The troubles of one symbol. `now` is Unix time in s in all methods.

    `update` is called once for each event of the market, then `reports` if it was a trade.
    """

    def __init__(self, symbol: str, roughness: Roughness) -> None:
        self._seconds = roughness.seconds
        self._rng = roughness.rng(symbol)
        self._missing = roughness.spells("missing_sides", symbol)
        self._crossed = roughness.spells("crossed_books", symbol)
        self._stubs = roughness.spells("stub_quotes", symbol)
        self._halts = roughness.spells("halts", symbol)
        self._market_halts = roughness.market_halts
        self._late = roughness.occurrences("late_prints", symbol)
        self._corrected = roughness.occurrences("corrected_prints", symbol)
        self._cancelled = roughness.occurrences("cancelled_prints", symbol)
        self._sizes = roughness.occurrences("extreme_sizes", symbol)
        self._ahead = {kind: roughness.occurrences("times_ahead", f"{symbol} {kind}") for kind in ("quote", "trade")}
        self._in_seconds = {
            kind: roughness.occurrences("times_in_seconds", f"{symbol} {kind}") for kind in ("quote", "trade")
        }
        self._delays = {kind: roughness.delays(kind, symbol) for kind in ("quote", "trade")}
        self._waiting: list[tuple[float, Report]] = []
        self._next_size = itertools.cycle(EXTREME_SIZES)
        self.phase: Phase = "open"
        self.shown: RoughQuote | None = None

    def phase_at(self, now: float) -> Phase:
        """Return whether the symbol trades at `now`; also sets `phase`."""
        share = self._halts.share(now)
        if share is None:
            share = self._market_halts.share(now)
        self.phase = "open" if share is None else "auction" if share >= AUCTION_SHARE else "halted"
        return self.phase

    def update(self, quote: Quote, stamp: int) -> RoughQuote:
        """Return what is sent for the market's quote at `stamp` (Unix ms); it stays in `shown` until the next call."""
        now = stamp / 1000
        missing: frozenset[str] = frozenset()
        form: Form = "zero"
        if self.phase == "halted":
            missing = frozenset(("bid", "ask"))
        elif self.phase == "auction":
            quote = quote._replace(ask_price=quote.bid_price)
        elif self._stubs.share(now) is not None:
            quote = quote._replace(bid_price=STUB_BID, ask_price=STUB_ASK)
        elif self._crossed.share(now) is not None:
            quote = quote._replace(
                bid_price=quote.ask_price, bid_size=quote.ask_size, ask_price=quote.bid_price, ask_size=quote.bid_size
            )
        elif self._missing.share(now) is not None:
            missing, form = self._missing.choice(MISSING)
        stamp = sent = self._delays["quote"].made(stamp)
        if self.shown is None or (quote, missing, form) != self.shown[:3]:  # else it is not sent
            sent = stamp // 1000 if self._in_seconds["quote"].is_due(now) else self._ahead_of("quote", stamp)
        self.shown = RoughQuote(quote, missing, form, sent)
        return self.shown

    def reports(self, made: Report, listing: Listing, free_number: Callable[[], int]) -> list[Report]:
        """Return the reports to send now for a trade of the market, in `listing`.

        `free_number` returns the number of a trade that never was.
        """
        now = made.stamp / 1000
        made = made._replace(stamp=self._delays["trade"].made(made.stamp))
        found: list[Report] = []
        if self._sizes.is_due(now):
            made = made._replace(size=next(self._next_size))
        if self._cancelled.is_due(now):
            wrong = made._replace(price=_off(made.price, CANCELLED, listing), number=free_number())
            found.append(wrong)
            self._wait(wrong._replace(size=0, is_repeat=True), now)
        if self._late.is_due(now):
            self._wait(made._replace(is_repeat=True), now)
        elif self._corrected.is_due(now):
            found.append(made._replace(price=_off(made.price, CORRECTED, listing)))
            self._wait(made._replace(is_repeat=True), now)
        else:
            is_in_seconds = self._in_seconds["trade"].is_due(now)
            stamp = made.stamp if is_in_seconds else self._ahead_of("trade", made.stamp)
            found.append(made._replace(stamp=stamp, is_in_seconds=is_in_seconds))
        return found

    def overdue(self, now: float) -> list[Report]:
        """Return the late reports, corrections and withdrawals that are to be sent by `now`."""
        due = [report for time, report in self._waiting if time <= now]
        if due:
            self._waiting = [each for each in self._waiting if each[0] > now]
        return due

    def _wait(self, report: Report, now: float) -> None:
        self._waiting.append((now + self._rng.uniform(*LATENESS) * self._seconds, report))

    def _ahead_of(self, kind: str, stamp: int) -> int:
        return stamp + self._rng.choice(AHEAD_MS) if self._ahead[kind].is_due(stamp / 1000) else stamp


def _off(price: float, share: float, listing: Listing) -> float:
    """Return a price that is higher by a share of it, in whole ticks, one at least."""
    ticks = max(1, round(abs(price) * share * listing.scale))
    return listing.rounded(price + ticks / listing.scale)


def rough_sides(shown: RoughQuote, bids: Levels, asks: Levels) -> tuple[Levels, Levels]:
    """Return bids and asks of an order book, best first, with the troubles of its quote.

    A side that is missing has no level, a stub is alone on its side, in an auction the best ask lies at the bid, and in
    a crossed book the best of each side is one more level beyond the other.
    `bids` and `asks` are (price, size).
    """
    quote, bids, asks = shown.quote, list(bids), list(asks)
    if quote.bid_price == STUB_BID:
        bids, asks = [(STUB_BID, quote.bid_size)], [(STUB_ASK, quote.ask_size)]
    elif quote.bid_price == quote.ask_price:
        asks = [(quote.ask_price, quote.ask_size), *asks]
    elif quote.bid_price > quote.ask_price:
        bids, asks = [(quote.bid_price, quote.bid_size), *bids], [(quote.ask_price, quote.ask_size), *asks]
    return [] if "bid" in shown.missing else bids, [] if "ask" in shown.missing else asks

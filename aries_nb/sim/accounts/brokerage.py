"""A simulated brokerage that fills orders against the quotes of the synthetic market. No I/O; time is passed in.

The market is read and never changed: fills take no liquidity from the book and appear in no public trades. Costs and
limits are `FEE`, `LEVERAGE`, and no short sales in a cash account. Buying power is checked when an order is placed, not
at its fills: a rising price may exceed it slightly.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from aries_nb.errors import UsageError
from aries_nb.sim.accounts.ledger import ZERO, Holding, Ledger, Position
from aries_nb.sim.accounts.orders import FINAL, AccountFigures, Fill, Leg, Order, Worth
from aries_nb.sim.market.listings import TradedListing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aries_nb.sim.accounts.orders import AccountTerms, OrderSide, OrderStatus, OrderType
    from aries_nb.sim.market.market import Market
    from aries_nb.sim.market.troubles import Roughness

__all__ = ["FEE", "LEVERAGE", "Brokerage", "Prices"]

Number: TypeAlias = Decimal | int | str

#: USD per fill of any size.
FEE = Decimal("0.10")
#: A margin account may hold this multiple of its equity, long and short together (Regulation T: half is borrowed).
LEVERAGE = 2
MAX_FILLS = 100_000
MAX_FINISHED_ORDERS = 20_000
MAX_BUSTED = 1000


class Prices(NamedTuple):
    """Costs of one at best bid and ask, in the share's currency; `mark`, the middle of both, values positions.

    Sizes are in shares or contracts.
    """

    bid: Decimal
    bid_size: int
    ask: Decimal
    ask_size: int
    mark: Decimal


class Brokerage:
    """All simulated accounts with their orders and fills. Not thread-safe. `now` is Unix time in s in all methods."""

    def __init__(
        self,
        market: Market,
        terms: Iterable[AccountTerms],
        roughness: Roughness | None = None,
        worth: Callable[[str], Worth] = lambda _: Worth(),
    ) -> None:
        self.market = market
        #: Returns what one of a symbol costs, given its quoted price.
        self.worth = worth
        self._roughness = roughness
        self._busts = None if roughness is None else roughness.occurrences("busted_fills", "accounts")
        #: Fills that were taken back, each with the empty one in its place; a server that reports fills empties it.
        self.busted: list[tuple[Fill, Fill]] = []
        self.terms = {each.account: each for each in terms}
        self.fills: deque[Fill] = deque(maxlen=MAX_FILLS)
        # Ledgers at the last split or clearing, and its time: later fills alone can be taken back.
        self._bases: dict[str, Ledger] = {}
        self._based = 0.0
        self._opening: dict[str, dict[str, tuple[Decimal, Decimal]]] = {}
        self._ledgers = {account: self._opened(each) for account, each in self.terms.items()}
        self._working: dict[str, Order] = {}
        self._finished: deque[Order] = deque(maxlen=MAX_FINISHED_ORDERS)
        self._number = 0
        self._order_states: list[Order] = []
        self._touched: dict[tuple[str, str], None] = {}

    # Queries.

    def prices(self, symbol: str) -> Prices:
        """Return the costs of one at best bid and ask; raises UsageError for what is neither a share nor an option.

        They are computed from the fair price if the book is out of date, as that of a share without subscribers
        is.
        """
        share, worth = self.traded(symbol), self.worth(symbol)
        book, fair = share.book, share.fair()
        bid, ask = book.bids.ticks[0], book.asks.ticks[0]
        if abs(book.distance(fair)) > book.spread + 2:
            bid = max(1, round(fair - book.spread / 2))
            ask = bid + book.spread
        return Prices(
            worth.cost(Decimal(bid - share.below) / share.scale),
            book.bids.sizes[0],
            worth.cost(Decimal(ask - share.below) / share.scale),
            book.asks.sizes[0],
            worth.cost(Decimal(bid + ask - 2 * share.below) / (2 * share.scale)),
        )

    def traded(self, symbol: str) -> TradedListing:
        """Return the state of a share or an option; raises UsageError for another symbol."""
        listing = self.market.shares.get(symbol) or self.market.listing(symbol)
        if not isinstance(listing, TradedListing):
            raise UsageError(f"unknown share {symbol!r}", where="brokerage", advice="Use a share of the market.")
        return listing

    def step(self, symbol: str) -> Decimal:
        """Return by how much the cost of one changes with one tick of its price."""
        return self.worth(symbol).point / self.traded(symbol).scale

    def mark(self, symbol: str) -> Decimal:
        """Return the price at which a position in the share is valued: the middle of best bid and ask.

        Raises UsageError if the symbol is not a share of the market.
        """
        return self.prices(symbol).mark

    def ledger(self, account: str) -> Ledger:
        """Return the ledger (cash and positions) of an account. Raises UsageError for an unknown account."""
        if account not in self._ledgers:
            raise UsageError(
                f"unknown account {account!r}", where="brokerage", advice=f"Use one of: {', '.join(self.terms)}."
            )
        return self._ledgers[account]

    def holding(self, account: str, symbol: str) -> Holding:
        """Return the account's open or closed position in a symbol, with the price at which it is valued now.

        That price is None for a closed position. Raises KeyError for a symbol in which the account never had
        one.
        """
        position = self.ledger(account).positions[symbol]
        return Holding(position, self.mark(symbol) if position.quantity else None)

    def equity(self, account: str) -> Decimal:
        """Return an account's cash plus the present value of its positions, in its currency.

        Raises UsageError for an unknown account.
        """
        return self.ledger(account).equity(self.mark)

    def figures(self, account: str) -> AccountFigures:
        """Return an account's present sums, such as cash and equity, and its open positions.

        Raises UsageError for an unknown account.
        """
        ledger = self.ledger(account)
        holdings = ledger.holdings(self.mark)
        active = self.active_orders(account)
        return AccountFigures(
            account=account,
            cash=ledger.cash,
            positions=holdings,
            realised=ledger.realised,
            unrealised=sum((holding.unrealised for holding in holdings), ZERO),
            fees=ledger.fees,
            equity=ledger.equity(self.mark),
            starting_cash=ledger.starting_cash,
            starting_equity=ledger.starting_equity,
            buying_power=self.buying_power(account),
            pending_orders=len(active),
            pending_value=sum((self._worth(order) for order in active), ZERO),
        )

    def buying_power(self, account: str) -> Decimal:
        """Return for what amount the account may still add shares, less what its working orders may add.

        In the account's currency, never negative.
        """
        ledger = self.ledger(account)
        if self.terms[account].kind == "cash":
            free = ledger.cash
        else:
            gross = sum((abs(holding.market_value) for holding in ledger.holdings(self.mark)), ZERO)
            free = LEVERAGE * ledger.equity(self.mark) - gross
        reserved = sum((self._added(order) for order in self.active_orders(account)), ZERO)
        return max(ZERO, free - reserved)

    def active_orders(self, account: str) -> list[Order]:
        """Return the account's working orders (those that may still be filled), oldest first."""
        return [order for order in self._working.values() if order.account == account]

    def finished_orders(self, account: str) -> list[Order]:
        """Return the account's orders in a final state, in the order of their end.

        The last 20,000 of all accounts are retained.
        """
        return [order for order in self._finished if order.account == account]

    # Commands.

    def place(
        self,
        account: str,
        symbol: str,
        side: OrderSide,
        kind: OrderType,
        quantity: Number,
        *,
        price: Number | None = None,
        stop: Number | None = None,
        expires: float | None = None,
        now: float,
    ) -> Order:
        """Place an order and fill it as far as the present quote allows; return its state, which may be "rejected".

        `side` is "buy" or "sell", `kind` "market", "limit" or "stop"; `quantity` is in whole shares. `price` is
        required for a limit order and `stop` for a stop order, and None for others. `expires` and `now` are Unix time
        in s; `expires` None means never. Raises UsageError for an unknown account or share, or invalid values.
        """
        amount = Decimal(quantity)
        _check(kind, amount, price, stop)
        held = self.ledger(account).quantity(symbol)
        self.prices(symbol)
        self._number += 1
        order = Order(
            self._number,
            account,
            symbol,
            side,
            kind,
            amount,
            created=now,
            updated=now,
            price=None if price is None else Decimal(price),
            stop=None if stop is None else Decimal(stop),
            expires=expires,
            is_short=held < 0 or (held == 0 and side == "sell"),
        )
        return self._admit(order)

    def cancel(self, order_id: str, *, now: float) -> bool:
        """Cancel a working order at `now` (Unix s); return True, or False if it is filled, ended or unknown."""
        order = self._working.get(order_id)
        if order is None:
            return False
        self._record(replace(order, status="canceled", updated=now))
        return True

    def replace(
        self, order_id: str, *, quantity: Number | None = None, price: Number | None = None, now: float
    ) -> Order | None:
        """Replace a working order by a new one.

        None keeps the quantity or the price, `quantity` is the new open quantity. The new order carries over
        the filled quantity and its value (as in FIX: cumQty and avgPrice); its quantity is the filled plus the
        open one. Returns the new order, None if the old one is no longer working. Raises UsageError for invalid
        values.
        """
        old = self._working.get(order_id)
        if old is None:
            return None
        rest = old.leaves if quantity is None else Decimal(quantity)
        limit = old.price if price is None else Decimal(price)
        _check(old.type, rest, limit, old.stop)
        self._record(replace(old, status="replaced", updated=now))
        self._number += 1
        fresh = replace(old, number=self._number, quantity=old.filled + rest, price=limit, replaces=old.id)
        if self._roughness is not None and self._roughness.is_drawn("replaced_counts", fresh.id):
            fresh = replace(fresh, quantity=rest, filled=ZERO, value=ZERO)
        return self._admit(replace(fresh, status="pending_new", created=now, updated=now))

    def advance(self, now: float) -> None:
        """Expire the working orders whose time is over, and fill the others as far as the present quotes allow."""
        newest = self.fills[-1] if self.fills else None  # one that was published
        for order in list(self._working.values()):
            if order.expires is not None and now >= order.expires:
                self._record(replace(order, status="expired", updated=now))
            else:
                self._match(order, now)
        if self._busts is not None and newest is not None and newest.quantity and self._busts.is_due(now):
            self.bust(newest, now=now)

    def trade_legs(self, account: str, symbol: str, legs: Sequence[tuple[str, OrderSide]], *, now: float) -> Order:
        """Trade one contract of each leg, a symbol with its side, by one order that is named by `symbol`; return it."""
        self._number += 1
        order = Order(self._number, account, symbol, "buy", "market", Decimal(1), now, now)
        self._order_states += [order, replace(order, status="new")]
        done = []
        for name, side in legs:
            prices = self.prices(name)
            cost = prices.ask if side == "buy" else prices.bid
            self._book(order.id, account, name, side, Decimal(1), cost, now)
            done.append(Leg(name, side, cost))
        return self._record(replace(order, status="filled", filled=Decimal(1), legs=tuple(done)))

    def split(self, symbol: str, ratio: Decimal, *, now: float) -> None:
        """Make `ratio` new shares of each share at `now` (Unix s): of the market, and of all accounts.

        Its working orders are cancelled.
        """
        self.market.shares[symbol].split(float(ratio))
        for order in list(self._working.values()):
            if order.symbol == symbol:
                self.cancel(order.id, now=now)
        self._adjust(symbol, now, lambda ledger: ledger.split(symbol, ratio))

    def settle(self, symbol: str, *, now: float) -> None:
        """Pay the variation margin of a future in all accounts at `now` (Unix s)."""
        mark = self.mark(symbol)
        self._adjust(symbol, now, lambda ledger: ledger.settle(symbol, mark))

    def _adjust(self, symbol: str, now: float, change: Callable[[Ledger], None]) -> None:
        for account, ledger in self._ledgers.items():
            if ledger.quantity(symbol):
                change(ledger)
                self._touched[account, symbol] = None
        self._bases = {account: ledger.copy() for account, ledger in self._ledgers.items()}
        self._based = now

    def bust(self, fill: Fill, *, now: float) -> None:
        """Take a fill back at `now` (Unix s): cash and positions are those without it.

        The order's filled quantity falls by that of the fill. It is open and may be filled again; in the rough market
        half of the orders end as cancelled instead. Nothing happens if the order was replaced since, as the fill then
        belongs to the new one, and for one of several legs.
        """
        order = self._working.get(fill.order_id) or next(
            (each for each in reversed(self._finished) if each.id == fill.order_id), None
        )
        if order is None or order.status == "replaced" or order.legs:
            return
        if order.filled < fill.quantity or fill.time <= self._based:
            return
        empty = fill._replace(quantity=ZERO, fee=ZERO)
        self.fills[self.fills.index(fill)] = empty
        self.busted = [*self.busted[-MAX_BUSTED:], (fill, empty)]
        base = self._bases.get(fill.account)
        ledger = self._opened(self.terms[fill.account]) if base is None else base.copy()
        for each in self.fills:
            if each.account == fill.account and each.quantity and each.time > self._based:
                signed = each.quantity if each.side == "buy" else -each.quantity
                ledger.book(each.symbol, signed, each.price, fee=each.fee, now=each.time)
        held = self._ledgers[fill.account].positions
        for symbol in sorted(held.keys() - ledger.positions.keys()):
            ledger.positions[symbol] = Position(symbol, ZERO, ZERO, ZERO, 0.0)
        self._ledgers[fill.account] = ledger
        self._touched[fill.account, fill.symbol] = None
        left = order.filled - fill.quantity
        status: OrderStatus = order.status
        if status in {"filled", "partially_filled"}:
            is_over = self._roughness is not None and self._roughness.is_drawn("busted_fills", order.id)
            status = "canceled" if is_over else "partially_filled" if left else "new"
        if order in self._finished:
            self._finished.remove(order)
        self._record(
            replace(order, filled=left, value=order.value - fill.quantity * fill.price, status=status, updated=now)
        )

    def drain(self) -> tuple[Sequence[Order], Sequence[tuple[str, str]]]:
        """Return all new states of orders since the last call, and the (account, symbol) of changed positions.

        Each is returned by one call only, so `Accounts`, which publishes them, must be the only caller.
        """
        drained = self._order_states, list(self._touched)
        self._order_states, self._touched = [], {}
        return drained

    def _opened(self, terms: AccountTerms) -> Ledger:
        if terms.account not in self._opening:
            self._opening[terms.account] = {
                symbol: (Decimal(quantity), self.mark(symbol)) for symbol, quantity in terms.holdings
            }
        return Ledger(terms.cash, self._opening[terms.account])

    def _admit(self, order: Order) -> Order:
        self._order_states.append(order)
        refusal = self._refusal(order)
        if refusal:
            return self._record(replace(order, status="rejected", text=refusal))
        return self._match(self._record(replace(order, status="new")), order.created)

    def _refusal(self, order: Order) -> str:
        if self.terms[order.account].kind == "cash" and order.side == "sell":
            selling = sum((each.leaves for each in self._rivals(order) if each.side == "sell"), ZERO)
            if selling + order.leaves > self.ledger(order.account).quantity(order.symbol):
                return "a cash account cannot sell short"
        # A closing order adds nothing and is accepted at any equity.
        added = self._added(order)
        return "insufficient buying power" if added and added + FEE > self.buying_power(order.account) else ""

    def _rivals(self, order: Order) -> Iterator[Order]:
        return (each for each in self.active_orders(order.account) if each.symbol == order.symbol)

    def _added(self, order: Order) -> Decimal:
        """Return the amount by which an order may increase the gross value of the account's positions.

        It is computed as if nothing else were filled before.
        """
        held = self.ledger(order.account).quantity(order.symbol)
        signed = order.leaves if order.side == "buy" else -order.leaves
        return max(ZERO, abs(held + signed) - abs(held)) * self._reference(order)

    def _worth(self, order: Order) -> Decimal:
        return order.leaves * self._reference(order)

    def _reference(self, order: Order) -> Decimal:
        if order.price is not None:
            return order.price
        if order.stop is not None:
            return order.stop
        prices = self.prices(order.symbol)
        return prices.ask if order.side == "buy" else prices.bid

    def _match(self, order: Order, now: float) -> Order:
        """Fill a working order once, as far as the present quote allows.

        Return its new state, or the old one if it is not filled.
        """
        prices = self.prices(order.symbol)
        is_buy = order.side == "buy"
        price, size = (prices.ask, prices.ask_size) if is_buy else (prices.bid, prices.bid_size)
        # A stop order that has a fill was triggered; from then on it is a market order.
        if order.stop is not None and not order.filled and (price < order.stop if is_buy else price > order.stop):
            return order
        if order.price is not None and (price > order.price if is_buy else price < order.price):
            return order
        return self._fill(order, min(order.leaves, Decimal(size)), price, now)

    def _fill(self, order: Order, quantity: Decimal, price: Decimal, now: float) -> Order:
        self._book(order.id, order.account, order.symbol, order.side, quantity, price, now)
        filled = order.filled + quantity
        return self._record(
            replace(
                order,
                filled=filled,
                value=order.value + quantity * price,
                status="filled" if filled == order.quantity else "partially_filled",
                updated=now,
            )
        )

    def _book(
        self, order_id: str, account: str, symbol: str, side: OrderSide, quantity: Decimal, price: Decimal, now: float
    ) -> None:
        signed = quantity if side == "buy" else -quantity
        self.ledger(account).book(symbol, signed, price, fee=FEE, now=now)
        self.fills.append(Fill(now, account, symbol, side, quantity, price, FEE, order_id))
        self._touched[account, symbol] = None

    def _record(self, order: Order) -> Order:
        if order.status in FINAL:
            self._working.pop(order.id, None)
            self._finished.append(order)
        else:
            self._working[order.id] = order
        self._order_states.append(order)
        return order


def _check(kind: OrderType, quantity: Decimal, price: Number | None, stop: Number | None) -> None:
    if not quantity.is_finite() or quantity <= 0 or quantity != quantity.to_integral_value():
        raise UsageError(f"quantity is {quantity}", where="place", advice="Give a positive number of whole shares.")
    if (price is not None) != (kind == "limit") or (stop is not None) != (kind == "stop"):
        raise UsageError(
            f"wrong prices for a {kind} order", where="place", advice="A limit has a price, a stop order a stop."
        )
    for value in (price, stop):
        if value is not None and not Decimal(value) > 0:
            raise UsageError(f"a price is {value}", where="place", advice="Give a positive number.")

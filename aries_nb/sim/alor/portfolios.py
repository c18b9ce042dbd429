"""The portfolios behind the simulated ALOR server: their accounts, and the subscriptions to changes.

Source: ALOR's protocol page §7 and §15 (U30: when sums and positions are sent). A portfolio has one account on each
exchange, in that exchange's currency. The united account (§2.2, D14) has everything of the portfolios that it unites,
and money and sums of its own (assumed). Owned by the server's event loop; no I/O.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from aries_nb.sim.accounts.accounts import Accounts, BalanceChanged, OrderChanged, PositionChanged
from aries_nb.sim.accounts.orders import AccountTerms
from aries_nb.sim.alor import portfolio_objects as objects
from aries_nb.sim.alor.instruments import EXCHANGES, rough_securities, securities
from aries_nb.sim.alor.messages import json_text, renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import date

    from aries_nb.sim.accounts.accounts import Change
    from aries_nb.sim.accounts.orders import AccountFigures, Fill, Order
    from aries_nb.sim.alor.instruments import Security
    from aries_nb.sim.alor.messages import Format, Table
    from aries_nb.sim.alor.requests import Kind
    from aries_nb.sim.alor.settings import AlorOptions
    from aries_nb.sim.alor.subscriptions import Subscription
    from aries_nb.sim.market.market import Market
    from aries_nb.sim.market.troubles import Trouble

__all__ = ["PORTFOLIOS", "UNITED", "Portfolios", "members_of"]

#: Securities, securities without credit, derivatives, and the united account, by their prefixes (§2.2).
PORTFOLIOS = ("D00001", "D00002", "7500001", "E00001")
#: The accounts that the united account unites. Its exchange has no instruments: they are those of `HOME`.
UNITED, HOME = "UNITED:E00001", "MOEX"
MEMBERS = ("MOEX:D00001", "MOEX:7500001")
MOST_FILLS = 20_000
MOST_TAKEN_OVER = 20_000
#: Kinds of object that are sent when an order changes, and when an account's figures change.
_ORDERS: tuple[Kind, ...] = ("orders", "stop_orders", "old_stop_orders")
_SUMMED = ("cash", "positions", "realised", "unrealised", "fees", "equity", "starting_cash", "starting_equity",
           "buying_power", "pending_orders", "pending_value")  # fmt: skip
_SUMS: tuple[Kind, ...] = ("summaries", "risks", "derivative_risks")


class Portfolios:
    """The simulated user's portfolios and the subscriptions to them. `now` is Unix time in s in all methods."""

    def __init__(self, options: AlorOptions, market: Market, today: date) -> None:
        self._securities = securities(today) | {
            (each.exchange, each.symbol): each for each in rough_securities(options.rough)
        }
        by_symbol = {symbol: security for (_, symbol), security in self._securities.items()}
        self.accounts = Accounts(
            market,
            options.seed,
            terms=_terms(self._securities, options.rough),
            orders_per_s=options.orders_per_s,
            news_s=math.inf,
            watchlist_s=math.inf,
            roughness=options.roughness(),
            worth=lambda symbol: by_symbol[symbol].worth,
            futures=[symbol for symbol, security in by_symbol.items() if security.is_future],
        )
        self._roughness = options.roughness()
        self.accounts.add_listener(self._on_changes)
        self._has_zone = "no_zone" not in options.faults
        self._subscriptions: defaultdict[tuple[str, Kind], list[Subscription]] = defaultdict(list)
        #: Every fill with its number, oldest first; fills up to `_past_number` belong to earlier sessions.
        self._fills: deque[tuple[int, Fill]] = deque(maxlen=MOST_FILLS)
        self._past_number = 0
        self._moneys: dict[str, dict[str, Any]] = {}  # as it was sent last, by account
        #: Filled quantity and value that an order carried over from the replaced one: ALOR's starts with zero (§12.3).
        self._taken_over: dict[str, tuple[Decimal, Decimal]] = {}

    @property
    def has_subscribers(self) -> bool:
        """Whether any client subscribes to a portfolio."""
        return any(self._subscriptions.values())

    def subscribe(self, subscription: Subscription) -> None:
        """Send changes of a portfolio, which the subscription's request names, to the subscription from now on."""
        self._subscriptions[self._key(subscription)].append(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send no more changes of a portfolio to a subscription; one that was never subscribed is ignored."""
        subscriptions = self._subscriptions[self._key(subscription)]
        if subscription in subscriptions:
            subscriptions.remove(subscription)

    def history(self, subscription: Subscription, now: float) -> Iterator[str]:
        """Return an iterator over the objects, as JSON text, that a new subscription gets before live updates.

        They are the orders or trades of the day, the positions, or the present sums; none if the request skips
        them. `now` is in Unix s.
        """
        # Changes not yet published come before the snapshot, which already contains them.
        self.accounts.publish(now)
        request = subscription.request
        if request.skip_history:
            return
        for values in self.snapshot(request.kind, request.exchange, request.portfolio, now):
            if not request.statuses or values["status"] in request.statuses:
                yield self._text(request.kind, request.form, values)

    def snapshot(
        self, kind: Kind, exchange: str, portfolio: str, now: float, *, is_existing: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Return an iterator over a portfolio's present objects of a kind, such as its orders.

        They are dicts with the field names of ALOR's Simple format; none for a portfolio without an account on
        the exchange. `is_existing` is True in the initial snapshot, False in an update.
        """
        account = _account(exchange, portfolio)
        if account == UNITED and (kind in _ORDERS or kind in ("fills", "positions")):
            for member in MEMBERS:
                for each in self.snapshot(kind, HOME, _portfolio(member), now, is_existing=is_existing):
                    if not each.get("isCurrency"):
                        yield _of_united(each)
        elif account not in (*self.accounts.names, UNITED):
            return
        elif kind in _ORDERS:
            for order in self._orders(account):
                values = self._order(kind, order, is_existing=is_existing)
                if values is not None:
                    yield values
        elif kind == "fills":
            for number, fill in list(self._fills):
                if fill.account == account and number > self._past_number:
                    yield self.fill_values(number, fill, is_existing=is_existing)
        elif kind == "positions":
            for holding in self._figures(account).positions:
                yield self._position(PositionChanged(account, holding), is_existing=is_existing)
        else:
            yield self._sums(kind, self._figures(account), now)
        if kind == "positions" and "summary_money" not in self._roughness:
            yield self._money(self._figures(account), is_existing=is_existing)

    def begin_session(self) -> None:
        """Begin a new trading session: own trades so far are available over HTTP only, like those before the start.

        The server never calls this: without a call from outside, its whole life is one session.
        """
        self._number_fills()
        self._past_number = self._fills[-1][0] if self._fills else 0

    def fills(self, account: str, now: float) -> list[tuple[int, Fill]]:
        """Return an account's own trades since the start, oldest first, each with its number.

        Trades before the last `begin_session` are included. `now` is in Unix s.
        """
        self.accounts.publish(now)
        owners = members_of(account)
        return [(number, fill) for number, fill in self._fills if fill.account in owners]

    def lots(self, exchange: str) -> dict[str, int]:
        """Return the lot sizes, in shares or contracts, of all instruments of an exchange, by symbol."""
        return {symbol: security.lot for (venue, symbol), security in self._securities.items() if venue == exchange}

    def _figures(self, account: str) -> AccountFigures:
        """Return the sums and positions of an account; those of the united one are the sums of its members'."""
        first, *others = map(self.accounts.figures, members_of(account))
        for other in others:
            sums = {name: getattr(first, name) + getattr(other, name) for name in _SUMMED}
            first = replace(first, account=account, **sums)
        return first

    def fill_values(self, number: int, fill: Fill, *, is_existing: bool = False) -> dict[str, Any]:
        """Return an own trade as a dict with the field names of ALOR's Simple format.

        `is_existing` is True in the initial snapshot, False in an update.
        """
        security = self._security(fill.account, fill.symbol)
        return objects.fill_values(security, number, fill, is_existing=is_existing, has_zone=self._has_zone)

    def formatted(self, kind: Kind, form: Format, values: dict[str, Any]) -> dict[str, Any]:
        """Return an object with the field names of ALOR's format `form`; `values` has those of the Simple format."""
        named = renamed(_TABLES[kind], form, values)
        if kind == "summaries" and form == "slim":
            named["bpv2"] = objects.currencies(named["bpv2"])
        return named

    def _text(self, kind: Kind, form: Format, values: dict[str, Any]) -> str:
        return json_text(self.formatted(kind, form, values))

    def _on_changes(self, changes: Sequence[Change], now: float) -> None:
        self._number_fills()
        for change in changes:
            match change:
                case OrderChanged(order) if order.status == "pending_new":
                    if order.filled and not self._roughness.is_drawn("replaced_counts", f"going on {order.id}"):
                        self._take_over(order)
                case OrderChanged(order):
                    for kind in _ORDERS:
                        self._publish_of(order.account, kind, partial(self._order, kind, order))
                case PositionChanged(account, _):
                    self._publish_of(account, "positions", partial(self._position, change))
                case BalanceChanged(figures):
                    whole = [self._figures(UNITED)] if figures.account in MEMBERS else []
                    for each in (figures, *whole):
                        self._publish_money(each)
                        for kind in _SUMS:
                            self._publish(each.account, kind, partial(self._sums, kind, each, now))

    def _publish_money(self, figures: AccountFigures) -> None:
        """Send the money of an account where it has changed, by a trade or by the clearing of futures."""
        values = self._money(figures)
        if self._moneys.get(figures.account) != values and "summary_money" not in self._roughness:
            self._moneys[figures.account] = values
            self._publish(figures.account, "positions", lambda: values)

    def _take_over(self, order: Order) -> None:
        self._taken_over[order.id] = order.filled, order.value
        if len(self._taken_over) > MOST_TAKEN_OVER:
            del self._taken_over[next(iter(self._taken_over))]

    def _number_fills(self) -> None:
        """Give the fills that are new at the brokerage their trade numbers, and send them to the subscribers."""
        self._withdraw()
        number, last = self._fills[-1] if self._fills else (0, None)
        fresh: list[Fill] = []
        for fill in reversed(self.accounts.brokerage.fills):
            if fill is last:
                break
            fresh.append(fill)
        for count, fill in enumerate(reversed(fresh), number + 1):
            self._fills.append((count, fill))
            self._publish_of(fill.account, "fills", partial(self.fill_values, count, fill))

    def _withdraw(self) -> None:
        """Send each fill that was taken back once more under its number, with quantity 0 (assumed)."""
        for fill, empty in self.accounts.brokerage.busted:
            for place, (number, each) in enumerate(self._fills):
                if each is fill:
                    self._fills[place] = number, empty
                    self._publish_of(fill.account, "fills", partial(self.fill_values, number, empty))
        self.accounts.brokerage.busted.clear()

    def _publish_of(self, account: str, kind: Kind, make: Callable[[], dict[str, Any] | None]) -> None:
        """Do as `_publish`, and send it to the subscriptions of the united account too, if that has this account."""
        self._publish(account, kind, make)
        if account in MEMBERS:
            self._publish(UNITED, kind, lambda: None if (values := make()) is None else _of_united(values))

    def _publish(self, account: str, kind: Kind, make: Callable[[], dict[str, Any] | None]) -> None:
        """Send an object to the subscriptions of its account and kind; `make` is called only if there are any.

        `make` returns the object with the field names of ALOR's Simple format, or None if there is nothing to
        send.
        """
        subscriptions = self._subscriptions[account, kind]
        values = make() if subscriptions else None
        if values is not None:
            for subscription in subscriptions:
                subscription.push(self._text(kind, subscription.request.form, values))

    def _orders(self, account: str) -> list[Order]:
        brokerage = self.accounts.brokerage
        found = brokerage.finished_orders(account) + brokerage.active_orders(account)
        return sorted(found, key=lambda order: order.number)

    def _order(self, kind: Kind, order: Order, *, is_existing: bool = False) -> dict[str, Any] | None:
        """Return an order as an object of a kind ("orders" or one of stop orders); None if it is not of this kind.

        A stop order is among "orders" only once it is triggered. `is_existing` is True in the initial snapshot,
        False in an update.
        """
        security, portfolio = self._security(order.account, order.symbol), _portfolio(order.account)
        filled, value = self._taken_over.get(order.id, (Decimal(0), Decimal(0)))
        order = replace(
            order, quantity=order.quantity - filled, filled=order.filled - filled, value=order.value - value
        )
        # A stop order reaches the exchange only once it is triggered.
        if kind == "orders":
            if order.type == "stop" and not order.filled:
                return None
            write = objects.order_values
        elif order.type == "stop":
            write = objects.stop_order_values
        else:
            return None
        return write(security, portfolio, order, is_existing=is_existing, has_zone=self._has_zone)

    def _position(self, change: PositionChanged, *, is_existing: bool = False) -> dict[str, Any]:
        account, holding = change.account, change.holding
        symbol = holding.position.symbol
        opened = Decimal(dict(self.accounts.brokerage.terms[account].holdings).get(symbol, 0))
        security = self._security(account, symbol)
        return objects.position_values(security, _portfolio(account), holding, opened, is_existing=is_existing)

    def _money(self, figures: AccountFigures, *, is_existing: bool = False) -> dict[str, Any]:
        exchange, portfolio = figures.account.split(":")
        held = (holding.position for holding in figures.positions)
        futures = sum(
            (each.cost for each in held if self._security(figures.account, each.symbol).is_future), Decimal(0)
        )
        currency = EXCHANGES[HOME if figures.account == UNITED else exchange].currency
        return objects.cash_values(currency, exchange, portfolio, figures, futures, is_existing=is_existing)

    def _sums(self, kind: Kind, figures: AccountFigures, now: float) -> dict[str, Any]:
        exchange, portfolio = figures.account.split(":")
        margin = objects.margin_of(figures, partial(self._security, figures.account))
        if kind == "risks":
            return objects.risk_values(exchange, portfolio, figures, margin, now=now, has_zone=self._has_zone)
        if kind == "derivative_risks":
            return objects.derivative_risk_values(portfolio, figures, margin)
        is_derivative = portfolio.startswith("75")
        currency = EXCHANGES[HOME if figures.account == UNITED else exchange].currency
        return objects.summary_values(currency, figures, margin, is_derivative=is_derivative)

    def _security(self, account: str, symbol: str) -> Security:
        exchange = HOME if account == UNITED else account.partition(":")[0]
        return self._securities[exchange, symbol]

    def _key(self, subscription: Subscription) -> tuple[str, Kind]:
        request = subscription.request
        return _account(request.exchange, request.portfolio), request.kind


_TABLES: dict[Kind, Table] = {
    "orders": objects.ORDER,
    "stop_orders": objects.STOP_ORDER,
    "old_stop_orders": objects.OLD_STOP_ORDER,
    "fills": objects.FILL,
    "positions": objects.POSITION,
    "summaries": objects.SUMMARY,
    "risks": objects.RISK,
    "derivative_risks": objects.DERIVATIVE_RISK,
}


def _terms(listed: Mapping[tuple[str, str], Security], troubles: Collection[Trouble]) -> tuple[AccountTerms, ...]:
    """Return the initial state of the account of each portfolio on each exchange.

    In the kind market futures quoted in roubles are used alone. The rough one adds what it is about: a bond, and a
    future quoted in dollars.
    """
    contracts = [security for security in listed.values() if security.is_future]
    bonds = tuple((security.symbol, 40) for security in listed.values() if security.is_bond)
    dollars_a_point = [security.symbol for security in contracts if security.worth.point != 1]
    added = ((dollars_a_point[0], 4),) if "margined_futures" in troubles else ()
    first, *others = (security.symbol for security in contracts if security.step_value == security.step)
    rubles, dollars = Decimal(2_500_000), Decimal(250_000)
    return (
        AccountTerms("MOEX:D00001", "margin", rubles, (("SBER", 1000), ("GAZP", 2000), ("LKOH", -20), *bonds),
                     ("ROSN", "VTBR", "MGNT")),
        AccountTerms("MOEX:D00002", "cash", Decimal(600_000), (("SBER", 300), ("MOEX", 500)), ("AFLT", "ALRS")),
        AccountTerms("MOEX:7500001", "margin", Decimal(20_000_000), ((first, 10), *added), (others[1], others[-1])),
        AccountTerms("SPBX:D00001", "margin", dollars, (("AAPL", 200), ("MSFT", 100), ("TSLA", -50))),
        AccountTerms("SPBX:D00002", "cash", Decimal(60_000), (("KO", 300), ("SPY", 40))),
    )  # fmt: skip


def members_of(account: str) -> tuple[str, ...]:
    """Return the accounts of which an account is made: itself, unless it is the united one."""
    return MEMBERS if account == UNITED else (account,)


def _of_united(values: dict[str, Any]) -> dict[str, Any]:
    """Return an object of a member as one of the united account."""
    return values | {"portfolio": _portfolio(UNITED)} if "portfolio" in values else values


def _account(exchange: str, portfolio: str) -> str:
    return f"{exchange}:{portfolio}"


def _portfolio(account: str) -> str:
    return account.partition(":")[2]

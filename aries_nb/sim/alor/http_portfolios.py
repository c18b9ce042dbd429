"""Portfolios of the simulated ALOR over HTTP: their present state, and own trades of the past.

Source: ALOR's protocol page §13. The objects are those of the subscriptions. Assumed: the own trades of this session
are among those of the past; a client must not count them twice.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from aries_nb.sim.accounts.brokerage import FEE
from aries_nb.sim.accounts.orders import Fill
from aries_nb.sim.alor.http_market import read_format, read_side
from aries_nb.sim.alor.portfolios import members_of
from aries_nb.sim.http_answers import HttpError
from aries_nb.sim.market.history import Resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.sim.accounts.orders import AccountTerms, OrderSide
    from aries_nb.sim.alor.portfolios import Portfolios
    from aries_nb.sim.alor.requests import Kind
    from aries_nb.sim.http_answers import Query
    from aries_nb.sim.market.history import BarArray, History

__all__ = ["PastFills", "PortfolioRoutes"]

Values = dict[str, Any]

LISTS: dict[str, Kind] = {"orders": "orders", "stoporders": "stop_orders", "trades": "fills", "positions": "positions"}
SUMS: dict[str, Kind] = {"summary": "summaries", "risk": "risks", "fortsrisk": "derivative_risks"}
FILLS, MOST_FILLS = 50, 1000
SESSIONS = 60
#: Buy orders in one session, and as many sell orders; each is filled in parts.
ROUND_TRIPS, PARTS = 6, 2
MINUTE = Resolution("minute", 1)


class PortfolioRoutes:
    """Answers HTTP requests for simulated portfolios.

    `owner` is (exchange, portfolio), which the client's token may read.
    """

    def __init__(self, portfolios: Portfolios, past: PastFills) -> None:
        self._portfolios = portfolios
        self._past = past

    def current(self, owner: tuple[str, str], what: list[str], query: Query, now: float) -> object:
        """Return the JSON value that answers a request below `/md/v2/Clients/{exchange}/{portfolio}`.

        `what` are the parts of the path below that, `owner` is (exchange, portfolio), `now` is in Unix s.
        Raises HttpError for an invalid request or an unknown entry.
        """
        match what:
            case [name] if name in SUMS:
                found = list(self._formatted(SUMS[name], owner, query, now))
                if not found:
                    raise HttpError(404, "the portfolio has nothing on this exchange")
                return found[0]
            case [name] if name in LISTS:
                return self._listed(LISTS[name], owner, query, now)
            case [symbol, "trades"]:
                form = read_format(query)
                fills = (values for values in self._values("fills", owner, now) if values["symbol"] == symbol)
                return [self._portfolios.formatted("fills", form, values) for values in fills]
            case [name, ident] if name in LISTS:
                key = "symbol" if name == "positions" else "id"
                for values in self._values(LISTS[name], owner, now):
                    if values[key] == ident:
                        return self._portfolios.formatted(LISTS[name], read_format(query), values)
                raise HttpError(404, f"no such entry in {name}")
        raise HttpError(404, "unknown path")

    def positions(self, owners: list[tuple[str, str]], query: Query, now: float) -> list[Values]:
        """Return the positions of several portfolios, those of one login, as one list; `now` is in Unix s."""
        return [values for owner in owners for values in self._listed("positions", owner, query, now)]

    def past_fills(self, owner: tuple[str, str], query: Query, now: float) -> list[Values]:
        """Return a portfolio's own trades, at most as many as the query parameter `limit` says.

        That is 50 by default, counted from the oldest, or from the newest if `descending` is "true". Further
        query parameters give the first date and trade number (both included), the symbol and the side. `owner` is
        (exchange, portfolio), `now` is in Unix s.
        """
        count = query.integer("limit", 1, MOST_FILLS, FILLS)
        since = _day(query.text("dateFrom", "1970-01-01"))
        first = query.integer("from", 0, 10**18, 0)
        ticker = query.values.get("ticker", "")
        is_newest_first, side = query.flag("descending", default=False), read_side(query)
        found = [
            values
            for values in self._every_fill(":".join(owner), now)
            if values["date"] >= since
            and int(values["id"]) >= first
            and ticker in ("", values["symbol"])
            and side in ("any", values["side"])
        ]
        page = found[:: -1 if is_newest_first else 1][:count]
        return [self._portfolios.formatted("fills", read_format(query), values) for values in page]

    def _every_fill(self, account: str, now: float) -> Iterator[Values]:
        """Return an iterator over an account's own trades of all sessions, oldest first.

        They are dicts with the field names of ALOR's Simple format.
        """
        portfolios = self._portfolios
        known = (portfolios.accounts.brokerage.terms.get(name) for name in members_of(account))
        parts = [self._past.of(terms, portfolios.lots(terms.account.partition(":")[0])) for terms in known if terms]
        past = sorted((fill for part in parts for _, fill in part), key=lambda fill: fill.time)
        for number, fill in (*enumerate(past, 1 - len(past)), *portfolios.fills(account, now)):
            yield portfolios.fill_values(number, fill, is_existing=True)

    def _listed(self, kind: Kind, owner: tuple[str, str], query: Query, now: float) -> list[Values]:
        is_without_money = query.flag("withoutCurrency", default=False)
        return [
            values
            for values in self._formatted(kind, owner, query, now)
            if not (is_without_money and values.get("isCurrency", values.get("cur", False)))
        ]

    def _values(self, kind: Kind, owner: tuple[str, str], now: float) -> Iterator[Values]:
        self._portfolios.accounts.publish(now)
        return self._portfolios.snapshot(kind, *owner, now)

    def _formatted(self, kind: Kind, owner: tuple[str, str], query: Query, now: float) -> Iterator[Values]:
        form = read_format(query)
        return (self._portfolios.formatted(kind, form, values) for values in self._values(kind, owner, now))


class PastFills:
    """Generates the own trades of all accounts in the sessions before the start. Owned by the server's event loop.

    Each day's purchases are sold on the same day, so that they leave the initial positions unchanged. Prices are
    those of the one-minute bars.
    """

    def __init__(self, history: History, seed: int) -> None:
        self._history = history
        self._seed = seed
        self._made: dict[str, list[tuple[int, Fill]]] = {}

    def of(self, terms: AccountTerms, lots: dict[str, int]) -> list[tuple[int, Fill]]:
        """Return an account's fills of past sessions, oldest first, each with its number; the last one has number 0.

        `lots` are the lot sizes, in shares or contracts, by symbol.
        """
        if terms.account not in self._made:
            fills = list(self._fills(terms, lots))
            first = 1 - len(fills)
            numbered = ((number, fill) for number, fill in enumerate(fills, first))
            self._made[terms.account] = [
                (number, fill._replace(order_id=f"ORD-{(number - first) // PARTS - len(fills) // PARTS}"))
                for number, fill in numbered
            ]
        return self._made[terms.account]

    def _fills(self, terms: AccountTerms, lots: dict[str, int]) -> Iterator[Fill]:
        symbols = [*(symbol for symbol, _ in terms.holdings), *terms.favourites]
        traded = [symbol for symbol in symbols if symbol in lots]
        for _, opened, minutes in self._history.sessions(traded[0])[-SESSIONS:]:
            random = Random(f"{self._seed} {terms.account} {opened}")
            symbol = random.choice(traded)
            bars = self._history.bars(symbol, MINUTE, opened, opened + 60 * minutes)
            if len(bars) < 2 * ROUND_TRIPS:
                continue
            moments = sorted(random.sample(range(len(bars)), 2 * ROUND_TRIPS))
            for start, end in zip(moments[::2], moments[1::2], strict=True):
                quantity = PARTS * lots[symbol] * random.randint(1, 20)
                sides: tuple[tuple[int, OrderSide], ...] = ((start, "buy"), (end, "sell"))
                for place, side in sides:
                    yield from _parts(terms.account, symbol, side, quantity, bars[place : place + 1])


def _day(text: str) -> str:
    """Return a date or time in ISO form as text that sorts with the times of fills.

    Raises HttpError (400) for other text.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise HttpError(400, "dateFrom must be a date") from error
    if "T" not in text.upper():
        return str(date.fromisoformat(text[:10]))
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{zoned.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def _parts(account: str, symbol: str, side: OrderSide, quantity: int, bar: BarArray) -> Iterator[Fill]:
    """Return the two fills of an order, one at the first and one at the last price of the one-minute bar `bar`.

    Each has half of `quantity`, which is in shares or contracts.
    """
    part, time = Decimal(quantity // PARTS), float(bar["time"][0])
    for seconds, name in ((7.25, "open"), (41.5, "close")):
        price = Decimal(str(round(float(bar[name][0]), 6)))
        yield Fill(time + seconds, account, symbol, side, part, price, FEE, "")

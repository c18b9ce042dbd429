"""Options of an underlying: the listed expiries, and the live chain of one of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlencode

import numpy as np
import pandas as pd

from aries_nb.brokers import Broker, Query
from aries_nb.errors import (
    BoundToProcess,
    ClosedError,
    ConnectError,
    FeedError,
    SubscriptionRefusedError,
    TokenError,
    UnknownSymbolError,
    UsageError,
    WaitTimeoutError,
)
from aries_nb.live.arguments import checked_columns, checked_count, checked_window
from aries_nb.live.callbacks import Callbacks, News
from aries_nb.live.connection import Link
from aries_nb.live.derived.frame import DerivedFrame
from aries_nb.live.live_object import LiveObject
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.moments.series import CHAIN_FIELDS, ChainSnapshot, nearest_strike, spot_of, with_latest
from aries_nb.model import QUOTE_COLUMNS, BoardData, RecordSink
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.net.http_client import HttpClient

if TYPE_CHECKING:
    from aries_nb.live.moments.parts import Moment
    from aries_nb.model import Numbers
    from aries_nb.widgets.charts.options import StrikeChart
    from aries_nb.widgets.panels.chain import Chain

__all__ = ["ChainSource", "OptionChain", "Options", "checked_expiry"]

log = logging.getLogger("aries_nb")

T = TypeVar("T")

CHAIN_ROWS = 20_000  # of all contracts together; the newest row of each is kept in any case
SPOT_ROWS = 1_000
ASK_SECONDS = 5.0  # the longest wait for a reply on the market connection
SPOT_SECONDS = 2.0  # the longest wait of a new chain for the price of its underlying
NEAREST = 3  # expiries that an error names


class Options(BoundToProcess):
    """The listed options of one underlying: `expiries` are the days on which some expire, the nearest first.

    They are requested when this is made, which blocks. Raises UsageError where the broker lists none, FeedError for a
    reply that cannot be parsed, ConnectError or TokenError without a reply. `link` is the market connection, on which
    they are requested where it can send queries, else over HTTP; None for HTTP only.
    """

    def __init__(self, http: HttpClient, broker: Broker, symbol: str, *, link: Link | None = None) -> None:
        self.symbol = symbol
        self._http = http
        self._link = link
        self._arrivals = None if link is None else link.arrivals
        if broker.options is None:
            raise UsageError("this broker lists no options", where=http.base, advice="Use another broker.")
        self._reference = broker.options
        self.expiries = self._requested(self._reference.expiries(symbol), self._reference.read_expiries)
        if not self.expiries:
            raise UsageError(f"no options of {symbol!r} are listed", where=http.base, advice="Check the symbol.")

    def contracts(self, day: date) -> pd.DataFrame:
        """Return the contracts that expire on `day`, sorted by strike: index `symbol`, columns `type` and `strike`.

        `type` is "call" or "put". Blocks: they are requested now. Raises UsageError where none are listed, FeedError
        for a reply that cannot be parsed, ConnectError or TokenError without a reply.
        """
        contracts = self._requested(self._reference.contracts(self.symbol, day), self._reference.read_contracts)
        if not contracts:
            raise UsageError(f"no options of {self.symbol!r} on {day} are listed", advice="Choose another expiry.")
        return pd.DataFrame(contracts, columns=pd.Index(["symbol", "type", "strike"])).set_index("symbol")

    def __repr__(self) -> str:
        first, last = self.expiries[0], self.expiries[-1]
        return f"<options of {self.symbol}: {len(self.expiries)} expiries, {first} to {last}>"

    def _requested(self, query: Query, read: Callable[[bytes], T]) -> T:
        """Return what `read` makes of the reply to a query, requested on the market connection, else over HTTP.

        HTTP is used where that connection is not live, cannot send queries, refuses this one, or does not reply within
        5 s. Raises UsageError, FeedError, ConnectError or TokenError, as the class says.
        """
        key = f"{query.path}?{urlencode(query.params)}"
        arrivals = self._arrivals
        if arrivals is not None and arrivals.is_replay:
            if key not in arrivals.answers.listed:
                advice = "A replay has the expiries and chains that the feed asked for."
                raise UsageError(f"these options of {self.symbol!r} were not recorded", advice=advice)
            return read(arrivals.answers.listed[key])
        body = self._body(query, read)
        try:
            found = read(body)
        except ValueError as error:
            where = self._http.base + query.path
            raise FeedError(f"the options of {self.symbol!r} cannot be parsed: {error}", where=where) from error
        if arrivals is not None:
            arrivals.do(lambda: arrivals.answers.note_listed(key, body))
        return found

    def _streamed(self, contracts: pd.DataFrame) -> pd.DataFrame:
        """Return the contracts of which quotes with all columns of a chain were recorded; live all of them."""
        every = None if self._arrivals is None else self._arrivals.subscriptions
        if every is None:
            return contracts
        fields = set(CHAIN_FIELDS)
        known = {each.symbol for each in every if each.kind == "quotes" and fields <= set(each.fields)}
        found = contracts[contracts.index.isin(known)]
        if not len(found):
            advice = "A replay has the expiries and chains that the feed asked for."
            raise UsageError(f"no chain of these options of {self.symbol!r} was recorded", advice=advice)
        return found

    def _body(self, query: Query, read: Callable[[bytes], object]) -> bytes:
        self._http.check_may_block()
        if self._link is not None and self._link.state == "live" and self._link.columns("answers"):
            try:
                body = self._link.ask(query, ASK_SECONDS)
                read(body)
            except WaitTimeoutError:
                self._link = None  # a connection that did not reply once is not tried again
            except (UsageError, ValueError):
                log.debug("requesting %s over HTTP", query.path, exc_info=True)
            else:
                return body
        try:
            return self._http.get(query.path, dict(query.params))
        except (ClosedError, ConnectError, TokenError):
            raise
        except FeedError as refused:
            raise UsageError(
                f"the server lists no options of {self.symbol!r}: {refused.what}",
                where=refused.where,
                advice="Check the symbol, and that the token's scope covers options.",
            ) from None


class OptionChain(LiveObject):
    """The options of one underlying and expiry around the money, kept current. Any thread may read.

    The strikes are chosen when it is made: the one nearest to the price of the underlying at that time (the middle one
    where that is unknown) and `strikes` on each side, None for all. `quotes` is the rolling frame of all updates of its
    contracts, with charts and callbacks of its own. A contract that the server refuses is left out, and named in
    `refused`; the error of the refusal is raised where it refuses all.
    """

    def __init__(
        self, link: Link, callbacks: Callbacks, options: Options, expiry: date, *, strikes: int | None
    ) -> None:
        self.symbol = options.symbol
        self.expiry = expiry
        self.expiries = options.expiries
        _check_listed(options, expiry)
        listed = options._streamed(options.contracts(expiry))  # noqa: SLF001 - of this module
        known = link.columns("quotes")

        def frame(symbols: Sequence[str], fields: Sequence[str] | None, rows: int) -> LiveFrame:
            columns = checked_columns(fields, known, QUOTE_COLUMNS)
            window = checked_window(None, rows)
            return LiveFrame(
                link, callbacks, "quotes", symbols, columns=columns, window=window, derived_by=DerivedFrame
            )

        self._underlying: LiveFrame | None = None
        # It need not be a symbol with quotes of its own.
        with suppress(UnknownSymbolError, SubscriptionRefusedError, WaitTimeoutError):
            self._underlying = frame([self.symbol], None, SPOT_ROWS)
            if link.arrivals.subscriptions is None:
                self._underlying.wait(timeout=SPOT_SECONDS)
        around = _around(listed["strike"], self._spot, strikes)
        chosen = listed if link.arrivals.subscriptions is not None else listed[listed["strike"].isin(around)]
        self._refused: dict[str, str] = {}  # when the chain was made
        self.quotes = self._without_refused(list(chosen.index), lambda names: frame(names, CHAIN_FIELDS, CHAIN_ROWS))
        self._contracts = chosen.loc[list(self.quotes.symbols)]
        name = f"options of {self.symbol} on {expiry}"
        # The frames end their own streams when they are garbage-collected: `quotes` can be kept without the chain.
        super().__init__(link, callbacks, self.quotes._source.watch, name, release=lambda: None)

    @property
    def df(self) -> pd.DataFrame:
        """One row a contract, by strike, the call before the put; a snapshot that belongs to the caller.

        Index `symbol`; columns `type` ("call", "put"), `strike`, `bid_price`, `bid_size`, `ask_price`, `ask_size`,
        `last_price` (prices a share, sizes in contracts), `implied_volatility` (a year, 0.25 is 25%), `delta`, `gamma`,
        `theta`, `vega`, `rho` as the broker sends them, `ts` (exchange time, UTC) and `received` (local receipt, UTC).
        Missing values before the first update.
        """
        self._use()
        return with_latest(self._contracts, self.quotes.latest)

    @property
    def chain(self) -> pd.DataFrame:
        """The DataFrame of `df` under another name."""
        return self.df

    @property
    def refused(self) -> dict[str, str]:
        """The contracts that the server refuses to stream, each with its reason; `wait` does not wait for them."""
        later = self._link.refused(self.quotes._tape)  # noqa: SLF001
        return {**self._refused, **{each.symbol: why.reason for each, why in later.items()}}

    @property
    def spot(self) -> float:
        """The last price of the underlying, else the middle of its bid and ask; NaN where neither is known."""
        self._use()
        return self._spot

    @property
    def _spot(self) -> float:
        if self._underlying is None:
            return math.nan
        data = self._underlying._source.board()
        return spot_of(dict(zip(data.columns, data.numbers[0].tolist(), strict=True)))

    @property
    def at_the_money(self) -> float:
        """The strike of this chain that is nearest to `spot`; NaN where `spot` is unknown."""
        return nearest_strike(self._contracts, self.spot)

    def __len__(self) -> int:
        return len(self._contracts)

    def wait(self, *, contracts: int | None = None, timeout: float | None = 10.0) -> Self:
        """Block until `contracts` contracts (None: all of the chain) have a price and a delta; returns the chain.

        Those of `refused` are not waited for. `timeout` is in seconds, None for no limit. Raises WaitTimeoutError,
        ClosedError, the error of the refusal where all are refused, or the error that ended the feed.
        """
        count = self._number(contracts)
        return self._wait(count, "contracts", timeout=timeout, what=f"prices and Greeks of {count} {self._name}")

    async def until(self, *, contracts: int | None = None, timeout: float | None = 10.0) -> Self:
        """Await that `contracts` contracts (None: all) have a price and a delta; the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns the chain. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        count = self._number(contracts)
        return await self._until(count, "contracts", timeout=timeout, what=f"prices and Greeks of {count} {self._name}")

    def chart(self, *columns: str, height: int = 320) -> StrikeChart:
        """Return a live chart of these columns over the strikes, a panel each (default: the implied volatility smile).

        Calls and puts are separate lines, the price of the underlying is a dotted line. `height` is in pixels.
        """
        from aries_nb.widgets.charts.options import StrikeChart

        names = columns or ("implied_volatility",)
        make = lambda: StrikeChart(self._source, names, title=f"{self.symbol} {self.expiry}", height=height)  # noqa: E731
        return self._view(("chart", names, height), make)

    def close(self) -> None:
        """Stop the streams and free the views; idempotent. Data received so far stays readable."""
        super().close()
        self.quotes.close()
        if self._underlying is not None:
            self._underlying.close()

    def __repr__(self) -> str:
        refused = f", {len(self.refused)} refused" if self.refused else ""
        return f"<{self._name}: {len(self)} contracts{refused}, {'live' if self.is_live else self._state}>"

    # Inside.

    @property
    def _source(self) -> ChainSource:
        source = ChainSource(self, self._contracts, self._underlying)
        self._sources.add(source)
        return source

    @property
    def _parts(self) -> tuple[LiveObject, ...]:
        return (self.quotes,) if self._underlying is None else (self.quotes, self._underlying)

    def _captured(self, moment: Moment) -> ChainSnapshot:
        quotes = self.quotes._captured(moment)  # noqa: SLF001 - of live objects
        underlying = None if self._underlying is None else self._underlying._captured(moment)  # noqa: SLF001
        return ChainSnapshot(self._name, moment, self._contracts, quotes, underlying, expiry=self.expiry)

    def _references_to(self, part: LiveObject) -> int:
        return 1 if part is self.quotes else 1 + len(self._sources)

    @property
    def _stores(self) -> tuple[RecordSink, ...]:
        return tuple(store for part in self._parts for store in part._stores)  # noqa: SLF001

    def _give_up(self, reason: str) -> None:
        for part in self._parts:
            part._give_up(reason)  # noqa: SLF001

    def _without_refused(self, names: list[str], frame: Callable[[list[str]], LiveFrame]) -> LiveFrame:
        """Return the frame of those contracts that the server does not refuse. Raises its error if it refuses all."""
        while True:
            try:
                return frame(names)
            except (UnknownSymbolError, SubscriptionRefusedError) as error:
                left = [name for name in names if name not in error.symbols]
                if not left or left == names:
                    raise
                self._refused |= dict.fromkeys((name for name in names if name not in left), error.reason)
                names = left

    def _has(self, count: int) -> Callable[[], bool]:
        def is_done() -> bool:
            later = len(self.refused.keys() - self._refused.keys())
            return self._has_now(min(count, max(len(self) - later, 1)) if later else count)

        return is_done

    def _has_now(self, count: int) -> bool:
        return super()._has(count)()

    def _check(self) -> None:
        self.quotes._check_coming()  # noqa: SLF001
        super()._check()

    def _number(self, contracts: object) -> int:
        if contracts is None:
            return len(self)
        return checked_count(contracts, "contracts", "contracts of this chain", most=len(self))

    def _count(self) -> int:
        data = self.quotes._source.board()
        known = {name: np.isfinite(column) for name, column in zip(data.columns, data.numbers.T, strict=True)}
        has_price: Any = known["bid_price"] | known["ask_price"] | known["last_price"]
        return int(np.count_nonzero(has_price & known["delta"]))

    def _news(self, *, whole: bool = False) -> News:
        seen = 0 if whole else self.quotes.received

        def news() -> pd.DataFrame | None:
            nonlocal seen
            before, seen = seen, self.quotes.received
            return self.df if seen != before else None

        return news

    def _first_view(self) -> Chain:
        from aries_nb.widgets.panels.chain import Chain

        return self._view("chain", lambda: Chain(self._source, title=f"{self.symbol} {self.expiry}"))


class ChainSource:
    """The data of an option chain for views; keeps the chain from being garbage-collected. Any thread."""

    def __init__(self, chain: OptionChain, contracts: pd.DataFrame, underlying: LiveFrame | None) -> None:
        self._chain = chain
        self._contracts = contracts
        self._underlying = underlying

    @property
    def version(self) -> int:
        """A number that grows with every quote of a contract or the underlying, and changes with the feed's state."""
        spot = self._underlying._source.version if self._underlying is not None else 0
        return self._chain.quotes._source.version + spot

    @property
    def clock(self) -> ExchangeClock:
        """The market time, by which the ages of rows count."""
        return self._chain.quotes._source.clock

    @property
    def contracts(self) -> tuple[tuple[str, str, float], ...]:
        """The contracts of the chain as (symbol, "call" or "put", strike), in the order of its rows."""
        return tuple(self._contracts.itertuples(name=None))

    @property
    def spot(self) -> float:
        """The price of the underlying; NaN where it is unknown."""
        return self._chain._spot  # noqa: SLF001 - drawing is no use of the chain

    def board(self) -> BoardData:
        """Return the newest numbers of each contract, as for a quote board."""
        return self._chain.quotes._source.board()


def checked_expiry(expiry: object) -> date:
    """Return the day of a date, a time, or a text such as "2026-12-18". Raises UsageError for anything else."""
    if isinstance(expiry, date) and not pd.isna(expiry):
        return expiry.date() if isinstance(expiry, datetime) else expiry  # a pandas.Timestamp is a datetime
    try:
        return date.fromisoformat(expiry.strip() if isinstance(expiry, str) else "")
    except ValueError:
        raise UsageError(f"{expiry!r} is no expiry", advice='Write it like "2026-12-18".') from None


def _check_listed(options: Options, day: date) -> None:
    """Raise UsageError, with the nearest expiries, where no options expire on `day`; else return."""
    if day not in options.expiries:
        nearest = sorted(sorted(options.expiries, key=lambda other: abs(other - day))[:NEAREST])
        names = ", ".join(map(str, nearest))
        raise UsageError(f"no options of {options.symbol!r} expire on {day}", advice=f"The nearest: {names}.")


def _around(listed: pd.Series[float], spot: float, count: int | None) -> Numbers:
    """Return the strike nearest to `spot` and `count` on each side, ascending; `count` None returns all.

    Where `spot` is not finite, they are chosen around the middle one.
    """
    strikes: Numbers = np.unique(listed.to_numpy(dtype="float64"))
    if count is None:
        return strikes
    middle = int(np.argmin(np.abs(strikes - spot))) if np.isfinite(spot) else len(strikes) // 2
    return strikes[max(0, middle - count) : middle + count + 1]

"""The streams besides quotes, trades, book and account: charts, options, news, watchlists, the status of instruments.

Each is opened by the client behind the proxy and by the witness; `problems` says what differs once it is quiet.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aries_nb.live import Feed, LiveFrame, LiveTable, OptionChain
    from aries_nb.sim import Simulator
    from tests.faults.messages import Key
    from tests.faults.pipe import Crossing

__all__ = ["CHARTS", "Others", "hurry", "problems"]

#: The kinds of the charts endpoint's messages, by frame.
CHARTS = {"quotes": "charts quote", "trades": "charts trade"}
VALUES = {"quotes": ("bid_price", "ask_price", "last_price"), "trades": ("price", "size")}
PRICES = ["type", "strike", "bid_price", "bid_size", "ask_price", "ask_size", "last_price"]
GREEKS = {name: name for name in ("delta", "gamma", "theta", "vega", "rho")}
GREEKS["implied_volatility"] = "impliedVolatility"
#: Mean interval in s of headlines and of changed watchlists.
EVERY_S = 0.2


@dataclass(slots=True)
class Others:
    """The other live objects of a client; what its broker does not have is None or empty."""

    charts: dict[str, LiveFrame]
    chain: OptionChain | None
    tables: tuple[LiveTable, ...]

    @classmethod
    def of(cls, feed: Feed, symbol: str) -> Others:
        """Subscribe to all that the broker has."""
        if "watchlists" not in feed.tables:
            return cls({}, None, (feed.instruments(symbol),))
        rows = 100_000
        charts = {
            "quotes": feed.quotes(symbol, endpoint="charts", rows=rows),
            "trades": feed.trades(symbol, endpoint="charts", rows=rows),
        }
        chain = feed.options(symbol, feed.options(symbol).expiries[1], strikes=1)
        return cls(charts, chain, (feed.news(), feed.watchlists))

    @property
    def is_answered(self) -> bool:
        """Whether each table has its first state."""
        return all(table._source.is_answered for table in self.tables)


def hurry(sim: Simulator) -> None:
    """Let headlines and watchlists of the simulated broker come so often that a short run has some."""
    for part in (sim._server.accounts._newsroom, sim._server.accounts._watchlists):
        part._mean = part._wait = EVERY_S


def problems(ours: Others, theirs: Others, crossings: Sequence[Crossing], turned: set[Key]) -> Iterator[str]:
    """Descriptions of what does not hold; `turned` are the streams whose messages came in another order."""
    for name, frame in ours.charts.items():
        yield from _sums(frame)
        yield from _invented(name, frame, crossings)
        # A trade that was missed is not sent again; a quote is.
        if name == "quotes" and not any(kind == CHARTS[name] for kind, _ in turned):
            yield from _differ(frame, *(each.charts[name].latest[[*VALUES[name]]] for each in (ours, theirs)))
    if ours.chain is not None and theirs.chain is not None:
        chain = ours.chain
        yield from _sums(chain.quotes)
        shaken = {symbol for _, symbol in turned}
        rest = [symbol for symbol in chain.df.index if symbol not in shaken]
        one, two = (each.df.loc[rest] for each in (chain, theirs.chain))
        yield from _differ(chain, one[PRICES], two[PRICES])
        # A new subscription begins with Greeks of that time, which another client gets at the next change of the price.
        sent = pd.DataFrame([_greeks(symbol, crossings) for symbol in rest], one.index, [*GREEKS])
        yield from _differ(chain, one[[*GREEKS]], sent)
    for table, seen in zip(ours.tables, theirs.tables, strict=True):
        yield from _sums(table)
        if table.is_stale:
            yield f"{table!r} is stale"
        if not any(kind == table.kind or kind.startswith("Instruments") for kind, _ in turned):
            yield from _differ(table, *(_stated(each) for each in (table, seen)))


def _sums(held: Any) -> Iterator[str]:
    ledger = held.ledger
    if 2 * (ledger.received + ledger.filled) != sum(ledger):
        yield f"{held!r}: the parts do not add up: {ledger}"


def _greeks(symbol: str, crossings: Sequence[Crossing]) -> dict[str, float]:
    """The newest Greeks that were delivered for a contract."""
    known: dict[str, float] = {}
    for crossing in crossings:
        for line in list(crossing.delivered):
            if line.key == ("greeks", symbol):
                data = json.loads(line.text)["payload"]["data"]
                known |= {name: data[field] for name, field in GREEKS.items() if field in data}
    return known


def _stated(table: LiveTable) -> pd.DataFrame:
    """The rows without the times at which they came."""
    return table.df.drop(columns=["ts", "received"], errors="ignore").sort_index()


def _differ(held: object, ours: pd.DataFrame, theirs: pd.DataFrame) -> Iterator[str]:
    if not ours.equals(theirs):
        yield f"{held!r} differs, ours and theirs:\n{ours.to_string()}\n{theirs.to_string()}"


def _invented(name: str, frame: LiveFrame, crossings: Sequence[Crossing]) -> Iterator[str]:
    """The first row of a frame of charts that was not delivered, or not in this order."""
    expected = (row for crossing in crossings for row in _delivered(name, crossing))
    rows, _ = frame._tape.frame_since(0)
    for at, row in enumerate(rows[[*VALUES[name]]].itertuples(index=False)):
        if not any(all(map(_same, row, each)) for each in expected):
            yield f"{frame!r}: row {at} of {len(rows)} was not sent, is doubled or out of order: {row}"
            return


def _delivered(name: str, crossing: Crossing) -> Iterator[tuple[float, ...]]:
    known = {"bid": math.nan, "ask": math.nan, "lp": math.nan}
    for line in list(crossing.delivered):
        if line.key is not None and line.key[0] == CHARTS[name]:
            data = json.loads(line.text)["payload"]["data"]
            if name == "trades":
                yield data["lp"], data["v"]
            else:
                known |= {field: data["v"][field] for field in known if field in data["v"]}
                yield tuple(known.values())


def _same(one: float, two: float) -> bool:
    return one == two or (math.isnan(one) and math.isnan(two))

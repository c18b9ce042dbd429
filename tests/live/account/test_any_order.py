"""Equity of both brokers against a plain computation, whatever quotes come and in whatever order messages arrive.

The expected values are computed from the scenario alone: what was traded, paid and quoted.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import aries_nb as anb
from tests.live.account.scripted import ScriptedAlor, ScriptedAries, connected, iso
from tests.net.patience import eventually

CASH = Decimal(1_000_000)
FEE = Decimal("1.30")
EXAMPLES = int(os.environ.get("ANY_ORDER_EXAMPLES", "12"))  # of each broker; `tests/soak/any_order.py` runs more
NUMBERS = itertools.count(100)


@dataclass
class Kind:
    """An instrument: how its price becomes money. `accrued` is the interest of one bond."""

    multiplier: str
    price: str
    is_margined: bool = False
    accrued: str = "0"


ARIES = {"share": Kind("1", "100"), "cheap share": Kind("1", "0.25"), "option": Kind("100", "12")}
ALOR = {
    "share": Kind("1", "300"),
    "foreign share": Kind("92.37", "210"),
    "bond": Kind("10", "98.5", accrued="5.7"),
    "future": Kind("1", "92000", is_margined=True),
    "dollar future": Kind("1.62", "112000", is_margined=True),
    "mini future": Kind("0.162", "1120", is_margined=True),
}
KINDS = {"aries": ARIES, "alor": ALOR}


# What a quote shows at a price: bid, ask, last price; and the price at which it values, None for none.
QUOTES: dict[str, Callable[[float], tuple[float, float, float, float | None]]] = {
    "two sides": lambda p: (p * 0.99, p * 1.01, p * 1.3, p),
    "locked": lambda p: (p, p, 0, p),
    "no ask": lambda p: (p * 0.99, 0, p, p),
    "no bid": lambda p: (0, p * 1.01, p, p),
    "no sides": lambda p: (0, 0, p, p),
    "stub": lambda p: (p * 0.0001, p * 400, p, p),
    "stub alone": lambda p: (p * 0.0001, p * 400, 0, None),
    "crossed": lambda p: (p * 1.01, p * 0.99, p, p),
    "crossed alone": lambda p: (p * 1.01, p * 0.99, 0, None),
    "no ask alone": lambda p: (p * 0.99, 0, 0, None),
    "nothing": lambda p: (0, 0, 0, None),
}

trades = st.lists(st.tuples(st.integers(0, 5), st.integers(-30, 30).filter(bool), st.integers(-20, 20)), max_size=4)
quotes = st.lists(st.sampled_from(sorted(QUOTES)), min_size=6, max_size=6)


@dataclass
class Account:
    """The broker's books, as plainly as possible: quantity and cost of each instrument, and money."""

    cash: Decimal = CASH
    quantity: dict[str, Decimal] = field(default_factory=dict)
    cost: dict[str, Decimal] = field(default_factory=dict)

    def trade(self, symbol: str, kind: Kind, signed: Decimal, price: Decimal) -> None:
        held, cost = self.quantity.get(symbol, Decimal(0)), self.cost.get(symbol, Decimal(0))
        paid = signed * price * Decimal(kind.multiplier)
        closing = Decimal(0)
        if held and (held > 0) != (signed > 0):
            closing = min(abs(signed), abs(held)) / abs(held)  # as a share of what is held
        after = held + signed
        opened = paid * (1 - closing * abs(held) / abs(signed))
        realised = -(paid - opened) - cost * closing
        self.quantity[symbol], self.cost[symbol] = after, cost * (1 - closing) + opened
        self.cash += (realised if kind.is_margined else -paid - signed * Decimal(kind.accrued)) - FEE

    def average(self, symbol: str, kind: Kind) -> Decimal:
        quantity = self.quantity[symbol]
        return self.cost[symbol] / quantity / Decimal(kind.multiplier) if quantity else Decimal(0)

    def equity(self, kinds: dict[str, Kind], marks: dict[str, float | None]) -> tuple[float, set[str]]:
        """What the account is worth, and the instruments that have no price."""
        total, missing = float(self.cash), set()
        for symbol, quantity in self.quantity.items():
            kind, mark = kinds[symbol], marks.get(symbol)
            if quantity and mark is None:
                missing.add(symbol)
            elif quantity and mark is not None:
                total += float(quantity) * (mark * float(kind.multiplier) + float(kind.accrued))
                total -= float(self.cost[symbol]) if kind.is_margined else 0
        return (math.nan if missing else total), missing


def symbol_of(name: str, number: int) -> str:
    if name == "option":
        return f"X{number % 10000}261218C00500000"
    first, second = divmod(number % 676, 26)
    letters = chr(65 + first) + chr(65 + second)
    return f"{letters}{'FGHJKM'[number // 676 % 6]}6" if "future" in name else f"S{name[0].upper()}{number}"


@pytest.fixture(scope="module")
def aries() -> Iterator[tuple[ScriptedAries, anb.Feed]]:
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedAries(f"ACC-{number}" for number in range(100, 9999)))
        yield server, stack.enter_context(connected("aries", server.url))


@pytest.fixture(scope="module")
def alor() -> Iterator[tuple[ScriptedAlor, anb.Feed]]:
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedAlor())
        yield server, stack.enter_context(connected("alor", server.url))


@dataclass
class Scenario:
    """Instruments with their opening position, trades in their order, and the quotes at the end."""

    kinds: dict[str, Kind]
    trades: list[tuple[str, Decimal, Decimal]]
    quotes: dict[str, tuple[float, float, float, float | None]]
    seed: int

    def opening(self) -> Account:
        account = Account()
        symbol, kind = next(iter(self.kinds.items()))
        account.quantity[symbol] = Decimal(10)
        account.cost[symbol] = 10 * Decimal(kind.price) * Decimal(kind.multiplier)
        return account


def scenarios(broker: str) -> st.SearchStrategy[Scenario]:
    names = list(KINDS[broker])

    def made(done: list[tuple[int, int, int]], shown: list[str], moved: int, seed: int) -> Scenario:
        symbols = {symbol_of(name, next(NUMBERS)): KINDS[broker][name] for name in names}
        listed = list(symbols)
        traded = []
        for place, signed, percent in done:
            symbol = listed[place % len(listed)]
            price = Decimal(symbols[symbol].price) * (100 + percent) / 100
            traded.append((symbol, Decimal(signed), price))
        last = {
            symbol: QUOTES[shown[place]](float(kind.price) * (1 + moved / 100))
            for place, (symbol, kind) in enumerate(symbols.items())
        }
        return Scenario(symbols, traded, last, seed)

    return st.builds(made, trades, quotes, st.integers(-20, 20), st.integers(0, 10**6))


def interleaved(lanes: list[list[Callable[[], None]]], rng: random.Random) -> None:
    """Call what is in the lanes, each lane in its order, at random among each other."""
    while lanes := [lane for lane in lanes if lane]:
        rng.choice(lanes).pop(0)()


def repeated(lane: list[Callable[[], None]], rng: random.Random) -> list[Callable[[], None]]:
    return [each for each in lane for _ in range(rng.choice([1, 1, 2]))]


def quote_lanes(
    server: ScriptedAries | ScriptedAlor, scenario: Scenario, rng: random.Random
) -> list[list[Callable[[], None]]]:
    lanes = []
    for symbol, last in scenario.quotes.items():
        price = float(scenario.kinds[symbol].price) * rng.uniform(0.9, 1.1)
        between = QUOTES[rng.choice(sorted(QUOTES))](price)
        lanes.append([lambda s=symbol, q=q: server.quote(s, *q[:3]) for q in (between, last)])
    return lanes


def begin(account: anb.Account) -> None:
    """Have the equity computed from prices that are known."""
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().any())
    assert len(account.fills) == 0
    account.equity.wait()


def check(account: anb.Account, scenario: Scenario, expected: Account) -> None:
    equity = account.equity
    value, missing = expected.equity(scenario.kinds, {symbol: quote[3] for symbol, quote in scenario.quotes.items()})
    started = scenario.opening()

    def shown() -> float:
        return float(equity.df["equity"].iloc[-1])

    def signed() -> dict[str, float]:
        fills = account.fills.df
        return (fills["quantity"] * (2 * fills["side"].eq("buy") - 1)).groupby(fills["symbol"]).sum().to_dict()

    wanted = {}
    for symbol, *_ in scenario.trades:
        wanted[symbol] = float(expected.quantity[symbol] - started.quantity.get(symbol, Decimal(0)))

    def is_right() -> bool:
        is_known = math.isnan(shown()) if missing else abs(shown() - value) < 0.05
        return set(equity.unmarked) == set(equity.reasons) == missing and is_known

    def is_explained() -> bool:
        moment = equity.moment()
        change, parts = moment.equity - moment.opening_equity, moment.explained.drop(columns="total")
        sums = [moment.explained.loc["total", "total"], parts.loc["total"].sum(), parts.drop(index="total").sum().sum()]
        return (
            abs(parts["unexplained"]).sum() < 0.05
            and all(abs(each - change) < 1e-6 for each in sums)
            and abs(parts.loc["total", "fee"] + float(FEE) * len(scenario.trades)) < 0.05
        )

    eventually(lambda: signed() == wanted, f"fills {wanted}", seconds=5)
    eventually(is_right, f"equity {value}, without a price {missing}", seconds=5)
    if not missing:
        eventually(is_explained, "all is explained", seconds=5)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.live.account.equity_source.SAMPLE_SECONDS", 0.01)  # in place of 0.2 s


# Without shrinking: each failing example waits for what does not come.
once = settings(
    max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@once
@given(scenario=scenarios("aries"))
def test_equity_of_aries_is_the_plain_one_in_any_order(
    aries: tuple[ScriptedAries, anb.Feed], scenario: Scenario
) -> None:
    server, feed = aries
    rng, name = random.Random(scenario.seed), f"ACC-{next(NUMBERS)}"
    books = scenario.opening()
    server.open(name, CASH, [(s, q, books.average(s, scenario.kinds[s])) for s, q in books.quantity.items()])
    for symbol, kind in scenario.kinds.items():
        server.quote(symbol, *QUOTES["two sides"](float(kind.price))[:3])
    account = feed.account(name)
    begin(account)

    orders, positions, money = [], [], []
    for number, (symbol, signed, price) in enumerate(scenario.trades):
        books.trade(symbol, scenario.kinds[symbol], signed, price)
        done = {"cumQty": str(abs(signed)), "leavesQty": "0", "ordStatus": "FILLED", "avgPrice": str(price)}
        begun = {"cumQty": "0", "leavesQty": str(abs(signed)), "ordStatus": "NEW", "avgPrice": "0"}
        part = {**done, "cumQty": str(abs(signed) // 2), "leavesQty": "1", "ordStatus": "PARTIALLY_FILLED"}
        for place, state in enumerate((begun, part, done)):
            values = {**state, "updatedAt": iso(time.time_ns() + place * 1_000_000)}
            orders.append(lambda n=number, s=symbol, q=signed, v=values: server.order(name, f"{name}-{n}", s, q, **v))
        held = books.quantity[symbol], books.average(symbol, scenario.kinds[symbol])
        positions.append(lambda s=symbol, h=held: server.position(name, s, *h))
        money.append(lambda cash=books.cash: server.money(name, cash))
    orders += rng.sample(orders, len(orders) // 2)
    rng.shuffle(orders)
    lanes = [orders, repeated(positions, rng), repeated(money, rng), *quote_lanes(server, scenario, rng)]
    interleaved(lanes, rng)

    check(account, scenario, books)
    account.close()


@once
@given(scenario=scenarios("alor"))
def test_equity_of_alor_is_the_plain_one_in_any_order(alor: tuple[ScriptedAlor, anb.Feed], scenario: Scenario) -> None:
    server, feed = alor
    rng, name = random.Random(scenario.seed), f"D{next(NUMBERS)}"
    books = scenario.opening()
    held = [(s, q, books.average(s, scenario.kinds[s]), books.cost[s]) for s, q in books.quantity.items()]
    server.open(name, CASH, held)
    for symbol, kind in scenario.kinds.items():
        server.accrued[symbol] = float(kind.accrued)
        server.quote(symbol, *QUOTES["two sides"](float(kind.price))[:3])
    account = feed.account(name)
    begin(account)

    done, positions, money = [], [], []
    for number, (symbol, signed, price) in enumerate(scenario.trades):
        kind = scenario.kinds[symbol]
        books.trade(symbol, kind, signed, price)
        values = {
            "price": price,
            "volume": round(abs(signed) * price * Decimal(kind.multiplier), 2),
            "accruedInt": abs(signed) * Decimal(kind.accrued),
            "commission": None if kind.is_margined else FEE,
            "date": iso(time.time_ns()),
        }
        trade_id = str(next(NUMBERS) * 1000 + number)
        done.append(lambda i=trade_id, s=symbol, q=signed, v=values: server.trade(name, i, s, q, **v))
        held_now = books.quantity[symbol], books.average(symbol, kind), books.cost[symbol]
        positions.append(lambda s=symbol, h=held_now: server.position(name, s, *h))
        money.append(lambda cash=books.cash: server.money(name, cash))
    done += rng.sample(done, len(done) // 2)
    rng.shuffle(done)
    lanes = [done, repeated(positions, rng), repeated(money, rng), *quote_lanes(server, scenario, rng)]
    interleaved(lanes, rng)

    check(account, scenario, books)
    account.close()

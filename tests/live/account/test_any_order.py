"""Equity of both brokers against a plain computation, whatever quotes come and in whatever order messages arrive.

The expected values are computed from the scenario alone: what was traded, paid and quoted. Executions are cancelled or
corrected later, shares are split, and futures are cleared; trades turn long positions into short ones.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import aries_nb as anb
from tests.live.account.scripted import ScriptedAlor, ScriptedAries, connected, iso
from tests.net.patience import eventually

CASH = Decimal(1_000_000)
FEE = Decimal("1.30")
EXAMPLES = int(os.environ.get("ANY_ORDER_EXAMPLES", "12"))  # of each broker; `tests/soak/any_order.py` runs more
NUMBERS = itertools.count(100)  # of instruments
ACCOUNTS = itertools.count(100)


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

places = st.integers(0, 5)
percents = st.integers(-20, 20)
steps = st.lists(
    st.tuples(st.just("trade"), places, st.integers(-30, 30).filter(bool), percents)
    | st.tuples(st.sampled_from(["cancel", "correct", "clear"]), places, st.just(0), percents)
    | st.tuples(st.just("split"), places, st.sampled_from([2, 3, 10]), st.sampled_from([-1, 1])),
    max_size=5,
)
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
        server = stack.enter_context(ScriptedAries(f"ACC-{number}" for number in range(100, 200 + 2 * EXAMPLES)))
        yield server, stack.enter_context(connected("aries", server.url))


@pytest.fixture(scope="module")
def alor() -> Iterator[tuple[ScriptedAlor, anb.Feed]]:
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedAlor())
        yield server, stack.enter_context(connected("alor", server.url))


@dataclass
class Trade:
    """A trade; its quantity is 0 once it was cancelled. It is known until the next split or clearing of its symbol."""

    number: int
    symbol: str
    signed: Decimal
    price: Decimal


@dataclass
class State:
    """What the broker has to report after a step: a trade (also one that was changed), positions and money."""

    trade: Trade | None
    symbol: str
    books: Account


@dataclass
class Scenario:
    """Instruments, the opening, what the broker reports after each step, and the quotes at the end.

    `scale` is by what a price of each instrument was multiplied in splits.
    """

    kinds: dict[str, Kind]
    states: list[State]
    quotes: dict[str, tuple[float, float, float, float | None]]
    scale: dict[str, Decimal]
    seed: int

    def opening(self) -> Account:
        return opening(self.kinds)

    @property
    def last(self) -> Account:
        return self.states[-1].books if self.states else self.opening()

    @property
    def trades(self) -> list[Trade]:
        """The trades as they are in the end."""
        return list({state.trade.number: state.trade for state in self.states if state.trade is not None}.values())

    def signed(self, trade: Trade) -> Decimal:
        """The quantity of a trade before it was cancelled."""
        return next(each.trade.signed for each in self.states if each.trade and each.trade.number == trade.number)


def opening(kinds: dict[str, Kind]) -> Account:
    account = Account()
    symbol, kind = next(iter(kinds.items()))
    account.quantity[symbol] = Decimal(10)
    account.cost[symbol] = 10 * Decimal(kind.price) * Decimal(kind.multiplier)
    return account


def scenarios(broker: str) -> st.SearchStrategy[Scenario]:
    names = list(KINDS[broker])

    def made(done: list[tuple[str, int, int, int]], shown: list[str], moved: int, seed: int) -> Scenario:
        kinds = {symbol_of(name, next(NUMBERS)): KINDS[broker][name] for name in names}
        listed, scale, states = list(kinds), dict.fromkeys(kinds, Decimal(1)), []
        base, open_trades = opening(kinds), []  # what was before a split or clearing cannot be changed
        for number, (what, place, amount, percent) in enumerate(done):
            symbol = listed[place % len(listed)]
            kind, price = kinds[symbol], Decimal(kinds[symbol].price) * scale[symbol] * (100 + percent) / 100
            changed: Trade | None = None
            if what == "trade":
                changed = Trade(number, symbol, Decimal(amount), price)
                open_trades.append(changed)
            elif what in ("cancel", "correct") and open_trades:
                old = open_trades[place % len(open_trades)]
                symbol = old.symbol
                new = old.price * (100 + percent) / 100
                changed = replace(old, signed=Decimal(0)) if what == "cancel" else replace(old, price=new)
                open_trades[open_trades.index(old)] = changed
            books = replayed(base, kinds, open_trades)
            held = books.quantity.get(symbol)
            if what == "split" and held and "share" in names[listed.index(symbol)] and scale[symbol] == 1:
                ratio = Decimal(amount) if percent > 0 or held % amount else 1 / Decimal(amount)
                books.quantity[symbol] *= ratio
                scale[symbol] = 1 / ratio
            elif what == "clear" and held and kind.is_margined:
                cost = held * price * Decimal(kind.multiplier)
                books.cash += cost - books.cost[symbol]
                books.cost[symbol] = cost
            elif changed is None:
                continue
            if what in ("split", "clear"):
                base, open_trades = books, []
            states.append(State(changed, symbol, books))
        last = {
            symbol: QUOTES[shown[place]](float(kind.price) * float(scale[symbol]) * (1 + moved / 100))
            for place, (symbol, kind) in enumerate(kinds.items())
        }
        return Scenario(kinds, states, last, scale, seed)

    return st.builds(made, steps, quotes, percents, st.integers(0, 10**6))


def replayed(base: Account, kinds: dict[str, Kind], trades: list[Trade]) -> Account:
    """The broker's books after these trades, cancelled ones left out."""
    books = Account(base.cash, dict(base.quantity), dict(base.cost))
    for each in trades:
        books.quantity.setdefault(each.symbol, Decimal(0))
        books.cost.setdefault(each.symbol, Decimal(0))
        if each.signed:
            books.trade(each.symbol, kinds[each.symbol], each.signed, each.price)
    return books


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
        price = float(scenario.kinds[symbol].price) * rng.uniform(0.9, 1.1)  # from before any split
        between = QUOTES[rng.choice(sorted(QUOTES))](price)
        lanes.append([lambda s=symbol, q=q: server.quote(s, *q[:3]) for q in (between, last)])
    return lanes


def begin(account: anb.Account) -> None:
    """Have the equity computed from prices that are known."""
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().any())
    assert len(account.fills) == 0
    account.equity.wait()


def check(account: anb.Account, scenario: Scenario) -> None:
    equity, expected = account.equity, scenario.last
    value, missing = expected.equity(scenario.kinds, {symbol: quote[3] for symbol, quote in scenario.quotes.items()})
    has_split = any(each != 1 for each in scenario.scale.values())

    def shown() -> float:
        return float(equity.df["equity"].iloc[-1])

    def signed() -> dict[str, float]:
        fills = account.fills.df
        found = (fills["quantity"] * (2 * fills["side"].eq("buy") - 1)).groupby(fills["symbol"]).sum()
        return {symbol: quantity for symbol, quantity in found.items() if quantity}

    wanted: dict[str, float] = {}
    for each in scenario.trades:
        wanted[each.symbol] = wanted.get(each.symbol, 0) + float(each.signed)
    wanted = {symbol: quantity for symbol, quantity in wanted.items() if quantity}
    fees = float(FEE) * sum(bool(each.signed) for each in scenario.trades)

    def is_right() -> bool:
        is_known = math.isnan(shown()) if missing else abs(shown() - value) < 0.05
        return set(equity.unmarked) == set(equity.reasons) == missing and is_known

    def is_explained() -> bool:
        moment = equity.moment()
        change, parts = moment.equity - moment.opening_equity, moment.explained.drop(columns="total")
        sums = [moment.explained.loc["total", "total"], parts.loc["total"].sum(), parts.drop(index="total").sum().sum()]
        is_whole = all(abs(each - change) < 1e-6 for each in sums)
        # A trade between the halves of a split may come with one of them.
        is_known = abs(parts["unexplained"]).sum() < 0.05 and abs(parts.loc["total", "fee"] + fees) < 0.05
        return is_whole and (is_known or has_split)

    try:
        eventually(lambda: signed() == wanted, f"fills {wanted}")
        eventually(is_right, f"equity {value}, without a price {missing}")
        if not missing:
            eventually(is_explained, "all is explained")
    except AssertionError as error:
        error.add_note(
            f"shown: {shown()}, {equity.reasons}, fills {signed()}\n{equity.explained}\n{account.positions.df}"
        )
        raise


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.live.account.sampling.SAMPLE_NS", 10_000_000)  # in place of 0.2 s
    for name in ("store.splits", "live.account.equity_source"):  # a price that has jumped: in place of 5 s
        monkeypatch.setattr(f"aries_nb.{name}.SETTLING_NS", 300_000_000)


# The threads of the feed draw random numbers while examples are made, which are independent of them.
unrelated = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
# Without shrinking: each failing example waits for what does not come.
once = settings(
    max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@unrelated
@once
@given(scenario=scenarios("aries"))
def test_equity_of_aries_is_the_plain_one_in_any_order(
    aries: tuple[ScriptedAries, anb.Feed], scenario: Scenario
) -> None:
    server, feed = aries
    rng, name = random.Random(scenario.seed), f"ACC-{next(ACCOUNTS)}"
    books = scenario.opening()
    server.open(name, CASH, [(s, q, books.average(s, scenario.kinds[s])) for s, q in books.quantity.items()])
    for symbol, kind in scenario.kinds.items():
        server.quote(symbol, *QUOTES["two sides"](float(kind.price))[:3])
    account = feed.account(name)
    begin(account)

    orders, positions, money, filled = [], [], [], set()
    for number, state in enumerate(scenario.states):
        if (trade := state.trade) is not None:
            before = {"cumQty": "0", "ordStatus": "NEW", "avgPrice": "0"}
            done = {"cumQty": str(abs(trade.signed)), "ordStatus": "FILLED", "avgPrice": str(trade.price)}
            part = {**done, "cumQty": str(abs(trade.signed) // 2), "ordStatus": "PARTIALLY_FILLED"}
            sent = [before | {"ordStatus": "CANCELED"}] if not trade.signed else [done]
            sent = sent if trade.number in filled else [before, part, done]
            filled.add(trade.number)
            for place, values in enumerate(sent):
                stamp = iso(time.time_ns() + (10 * number + place) * 1_000_000)
                send = partial(server.order, name, f"{name}-{trade.number}", trade.symbol, scenario.signed(trade))
                orders.append(partial(send, **values, updatedAt=stamp))
        held = state.books.quantity[state.symbol], state.books.average(state.symbol, scenario.kinds[state.symbol])
        positions.append(partial(server.position, name, state.symbol, *held))
        money.append(partial(server.money, name, state.books.cash))
    orders += rng.sample(orders, len(orders) // 2)
    rng.shuffle(orders)
    lanes = [orders, repeated(positions, rng), repeated(money, rng), *quote_lanes(server, scenario, rng)]
    interleaved(lanes, rng)

    check(account, scenario)
    account.close()


@unrelated
@once
@given(scenario=scenarios("alor"))
def test_equity_of_alor_is_the_plain_one_in_any_order(alor: tuple[ScriptedAlor, anb.Feed], scenario: Scenario) -> None:
    server, feed = alor
    rng, name = random.Random(scenario.seed), f"D{next(ACCOUNTS)}"
    books = scenario.opening()
    held = [(s, q, books.average(s, scenario.kinds[s]), books.cost[s]) for s, q in books.quantity.items()]
    server.open(name, CASH, held)
    for symbol, kind in scenario.kinds.items():
        server.accrued[symbol] = float(kind.accrued)
        server.quote(symbol, *QUOTES["two sides"](float(kind.price))[:3])
    account = feed.account(name)
    begin(account)

    positions, money, dates = [], [], {}
    done: dict[int, list[Callable[[], None]]] = {}  # by trade: what replaces a report has no time that says so
    for state in scenario.states:
        kind = scenario.kinds[state.symbol]
        if (trade := state.trade) is not None:
            size = abs(trade.signed)
            values = {
                "qtyUnits": size,
                "price": trade.price,
                "volume": round(size * trade.price * Decimal(kind.multiplier), 2),
                "accruedInt": size * Decimal(kind.accrued),
                "commission": None if kind.is_margined else FEE if size else 0,
                "date": dates.setdefault(trade.number, iso(time.time_ns())),
            }
            lane = done.setdefault(trade.number, [])
            send = partial(server.trade, name, f"{name}{trade.number}", trade.symbol, scenario.signed(trade), **values)
            lane += [send, *rng.sample([*lane, send], rng.randint(0, 1))]
        books = state.books
        held_now = books.quantity[state.symbol], books.average(state.symbol, kind), books.cost[state.symbol]
        positions.append(partial(server.position, name, state.symbol, *held_now))
        money.append(partial(server.money, name, books.cash))
    lanes = [*done.values(), repeated(positions, rng), repeated(money, rng), *quote_lanes(server, scenario, rng)]
    interleaved(lanes, rng)

    check(account, scenario)
    account.close()

"""Reconciliation of our attribution of equity with the broker's figures: fees that no fill contains, unexplained rest.

Fills (own executions) and marks (prices at which positions are valued) say how equity should have changed; the broker's
cash and quantities say how it did. No difference is left out: it is a fee, or it is unexplained. Pure, and exact in
Decimal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from aries_nb.store.attribution import Attribution, Contribution, RunningAttribution, Worth, trade_of
from aries_nb.store.endings import Ended, endings_of, plain
from aries_nb.store.fills import Fill
from aries_nb.store.splits import SETTLING_NS, Split
from aries_nb.store.valuation import Marks, Portfolio, Position, worth
from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = ["CASH", "Reconciliation"]

CASH = "cash"  # stands for what belongs to no instrument
# The largest difference taken for the fees of fills, as a share of the value traded, and at least this per fill, or per
# contract where one stands for more than its price.
MOST_FEE_SHARE = Decimal("0.01")
MOST_MARGINED_FEE_SHARE = Decimal("0.001")  # of what is margined: it stands for much more than is paid
MOST_SMALL_FEE = Decimal(2)
# The fee of what is margined is decided when position and money have been at rest for this time, in ns: a clearing
# changes both, and what it pays may look like a fee until both have come.
REST_NS = 1_000_000_000
COST_STEP = Decimal("1e-10")  # a quotient may have endless digits
MOST_UNPRICED = 1_000  # fills without a price, of instruments without quotes


class Reconciliation:
    """Attributes to causes how equity by the broker's cash and positions changed since its first portfolio, `reported`.

    `marks` are the prices at which instruments are valued. A small difference in cash while there were fills (own
    executions) is their fee; it belongs to their instrument, or to `CASH` if the fills are of several. Any other
    difference between the broker's figures and those computed from fills and marks is unexplained. A fill with an
    unknown price counts at the middle of our quotes, else at the mark, as soon as there is one; a difference in cash
    may then be its price as well as a fee, and is unexplained. Where the broker's cash is derived, fills that name
    their fee have no other. Used by one thread.
    """

    def __init__(self, reported: Portfolio, marks: Marks) -> None:
        self._reported = reported
        self._terms = reported  # what is known of every instrument so far, if only from a fill
        self._marks = marks
        self._attribution = RunningAttribution(reported, marks)
        with exactly():
            self._worths = self._worths_at(marks)
            self._last_worths = {symbol: known for symbol, known in self._worths.items() if known.is_finite()}
            self._cash = self._agreed = _cash_of(reported)  # computed; the broker's at the latest agreement
        # By instrument, of the fills since the last agreement: their value, and the largest fees whatever that is.
        self._pending: dict[str, tuple[Decimal, Decimal]] = {}
        self._pending_since = 0  # when the newest of these came
        self._smallest: Decimal | None = None  # the least value of one of them
        self._margined = _margined(reported)  # positions, also those that are held no more
        self._differs_since: int | None = None
        self._corrected: set[str] = set()  # instruments of these with executions that were taken back
        self._cleared = ZERO  # by what clearings have changed the cost of positions since the last agreement
        self._moved_at = 0  # when the broker's cash or the cost of what is margined changed
        self._changed_at = 0  # when these, a quantity or the fills did
        self._unpriced: list[Fill] = []  # fills without a price, middle or mark, or of unknown multiplier
        self._events: dict[str, Decimal] = {}  # what splits and the like added to equity, by what they are called
        self._is_guessed = False  # whether we set the price of a pending fill

    def take(
        self, reported: Portfolio, marks: Marks, fills: Sequence[Fill], now: int, *, splits: Sequence[Split] = ()
    ) -> None:
        """Take the broker's portfolio at time `now` (ns since the epoch), the marks, and the fills since the last call.

        A mark is the price at which an instrument is valued; one that is NaN or missing is unknown. `fills` are own
        executions, in their order; `splits` those that the portfolio and the marks show for the first time.
        """
        with exactly():
            for split in splits:
                self._add_event(split.label, self._attribution.split(split.symbol, split.ratio))
                self._worths.pop(split.symbol, None)  # was of a unit before the split, be the price the same
            self._learn(reported, fills)
            for fill in self._priced((*self._unpriced, *(fill for fill in fills if fill.quantity)), marks):
                self._trade(fill, now)
            for fill in fills:
                if not fill.quantity:  # a fee that came later: cash moves by it, or has moved already
                    self._add_pending(fill.symbol, ZERO, abs(fill.fee), now)
            worths = self._worths_held_no_more(reported) | self._worths_at(marks)
            self._last_worths |= {symbol: known for symbol, known in worths.items() if known.is_finite()}
            for symbol in dict.fromkeys((*self._worths, *worths)):
                now_worth = worths.get(symbol, UNKNOWN)
                if not _is_same(now_worth, self._worths.get(symbol, UNKNOWN)):
                    self._attribution.take([Worth(symbol, now_worth)])
            self._cleared += sum(
                (
                    held.cost - before.cost
                    for symbol, held in _margined(reported).items()
                    if (before := self._margined.get(symbol)) is not None and before.quantity == held.quantity
                ),
                ZERO,
            )
            self._margined |= _margined(reported)
            if _money_of(reported) != _money_of(self._reported):
                self._moved_at = self._changed_at = now
            if fills or _quantities_of(reported) != _quantities_of(self._reported):
                self._changed_at = now
            self._reported, self._marks, self._worths = reported, marks, worths
            self._settle(now)

    def pause(self, now: int) -> float | None:
        """Return after how many seconds from `now` (ns) a difference is decided about without another report, or None.

        `take` is to be called then, with what the broker has reported last.
        """
        if self._differs_since is None:
            return None
        due = (self._moved_at + REST_NS, self._changed_at + REST_NS, self._differs_since + SETTLING_NS)
        return min((each - now for each in due if each > now), default=0) / 1e9 or None

    def underway(self, now: int) -> dict[str, Decimal]:
        """Return the differences that may come from the order in which messages arrive; {} if there are none.

        Such as a position that came before the cash that was paid for it. They count for nothing until the broker's
        figures and the fills have been at rest for 1 s by `now` (ns), for 5 s at most. By instrument and `CASH`, in the
        account's currency, as the broker's figures are more than what fills make of them.
        """
        since = self._differs_since
        if since is None or now - self._changed_at >= REST_NS or now - since >= SETTLING_NS:
            return {}
        with exactly():
            found = self._differences()
        return found if all(value.is_finite() for value in found.values()) else {}

    def attribution(self, underway: Mapping[str, Decimal] | None = None) -> Attribution:
        """Return the attribution so far, of the change of equity since the first portfolio.

        Its total is that change to the last digit, NaN where it is unknown; of an equity without the differences that
        are `underway`, if there are any.
        """
        with exactly():
            differences = {} if underway else self._differences()
            rest = {symbol: Contribution(unexplained=value) for symbol, value in differences.items()}
            events = {label: Contribution(price=value) for label, value in self._events.items()}
            return self._attribution.attribution() + Attribution(rest) + Attribution(events)

    def _learn(self, reported: Portfolio, fills: Sequence[Fill]) -> None:
        """Remember multipliers and accrued interest, also of instruments that are not held yet or no more.

        The multiplier of a position counts rather than that of a fill, as it is the newer one.
        """
        multipliers: dict[str, Decimal] = {}
        traded = {fill.symbol: fill.multiplier for fill in fills if fill.multiplier is not None}
        for source in (traded, self._terms.multipliers, reported.multipliers):
            multipliers |= {
                symbol: each for symbol, each in source.items() if each.is_finite() or symbol not in multipliers
            }
        known = self._terms.accrued
        news = {
            symbol: each
            for symbol, each in reported.accrued.items()
            if symbol in reported.positions or symbol not in known  # a bond that is gone has none any more
        }
        accrued = {**known, **news}
        self._terms = replace(reported, multipliers=multipliers, accrued=accrued)

    def _worths_at(self, marks: Marks) -> dict[str, Decimal]:
        return {symbol: worth(self._terms, symbol, price) for symbol, price in marks.items()}

    def _worths_held_no_more(self, reported: Portfolio) -> dict[str, Decimal]:
        """Return the last known worth of each instrument that the broker no longer reports, but our fills leave held.

        Such as an option that expired: its quotes end with the position, before the difference is settled.
        """
        held = self._attribution.quantities()
        gone = (symbol for symbol, quantity in held.items() if quantity and symbol not in reported.positions)
        return {symbol: self._last_worths[symbol] for symbol in gone if symbol in self._last_worths}

    def _multiplier(self, fill: Fill) -> Decimal:
        """Return the multiplier of a fill: its own, else that of its instrument, NaN while it is unknown."""
        if fill.multiplier is not None and fill.multiplier.is_finite():
            return fill.multiplier
        return self._terms.multiplier(fill.symbol)

    def _priced(self, fills: Sequence[Fill], marks: Marks) -> list[Fill]:
        """Return those of `fills` that have a price: their own, else their `mid`, else the new or the last mark.

        A mark is the price at which an instrument is valued. Fills without any of these, or of which it is not known
        what a price is worth, are kept in `_unpriced` for the next call, the newest 1,000 only; one that is dropped
        becomes part of what is unexplained.
        """
        self._unpriced = []
        priced = []
        for fill in fills:
            known = (fill.price, fill.mid, marks.get(fill.symbol, UNKNOWN), self._marks.get(fill.symbol, UNKNOWN))
            price = next((each for each in known if each.is_finite()), None)
            if price is None or not self._multiplier(fill).is_finite():
                self._unpriced.append(fill)
            else:
                self._is_guessed = self._is_guessed or not fill.price.is_finite()
                priced.append(fill._replace(price=price))
        del self._unpriced[:-MOST_UNPRICED]  # a fill that is dropped ends up in the unexplained part
        return priced

    def _trade(self, fill: Fill, now: int) -> None:
        multiplier = self._multiplier(fill)
        trade = trade_of(fill, multiplier)
        paid = trade.fair - trade.gain
        self._attribution.take([trade])
        self._cash -= paid + trade.fee
        contracts = max(abs(fill.quantity), Decimal(1)) if multiplier != 1 else Decimal(1)
        if self._reported.is_cash_derived and fill.fee.is_finite():  # what such money is off by is no fee
            self._add_pending(fill.symbol, ZERO, ZERO, now)
        else:
            self._add_pending(fill.symbol, abs(paid), MOST_SMALL_FEE * contracts, now)
        self._smallest = abs(paid) if self._smallest is None else min(self._smallest, abs(paid))
        if fill.quantity < 0:
            self._corrected.add(fill.symbol)

    def _add_pending(self, symbol: str, value: Decimal, fee: Decimal, now: int) -> None:
        known_value, known_fee = self._pending.get(symbol, (ZERO, ZERO))
        self._pending[symbol] = known_value + value, known_fee + fee
        self._pending_since = now

    def _most_fees(self) -> Decimal:
        """Return the largest fees that the fills since the last agreement can have."""
        margined = self._reported.margined | self._margined.keys()
        shares = {True: MOST_MARGINED_FEE_SHARE, False: MOST_FEE_SHARE}
        return sum(
            (max(value * shares[symbol in margined], fee) for symbol, (value, fee) in self._pending.items()), ZERO
        )

    def _settle(self, now: int) -> None:
        """Assign differences between the broker's cash and quantities and the computed ones to fees or "unexplained".

        A small difference in cash alone, after fills, is their fee at once, if the broker's cash has moved: for
        each fill up to 1 % of its value (0.1 % of what is margined, as soon as the broker's figures are at rest), or 2
        in the account's currency (of an option or future 2 a contract) if that is more. Where the value of a fill is no
        more than that, all have to be at rest, as its cash may not have come. Any other is the ending of
        positions, or unexplained, after it has lasted 5 s by `now` (ns since the epoch), as until then it may come from
        the order in which messages arrived. What is gone and never had a price is then worth the cash that came, if
        nothing else differs, else nothing. The fee of what is margined may come as long after its fill, as no money
        comes with it, and so may the cash of an execution that was corrected: that of the first report comes before,
        and what it was short of, be it small with all fills together, is no fee.
        """
        differences = self._differences()
        rest = differences.pop(CASH, ZERO)
        unknown = {symbol for symbol, value in differences.items() if not value.is_finite()}
        has_moved = not self._pending or _cash_of(self._reported) != self._agreed
        is_small = not differences and rest.is_finite() and abs(rest) <= self._most_fees()
        # The cash of a clearing has not come yet: position and cash differ by what it pays.
        is_small = is_small and not 2 * abs(rest + self._cleared) < abs(rest)
        is_over = self._differs_since is not None and now - self._differs_since >= SETTLING_NS
        is_at_rest = now - self._moved_at >= REST_NS or self._margined.keys().isdisjoint(self._pending)
        # The cash of a trade that is worth no more than a fee may not have come yet.
        is_tiny = self._smallest is not None and self._smallest <= self._most_fees()
        is_at_rest = is_at_rest and (not is_tiny or now - self._changed_at >= REST_NS)
        if is_small and has_moved and (not rest or is_at_rest or is_over):
            if rest:
                self._charge(next(iter(self._pending)) if len(self._pending) == 1 else CASH, rest)
            is_late = now - self._pending_since < SETTLING_NS
            corrected = self._corrected & self._pending.keys() if is_late else set()
            names = self._pending.keys() if corrected else self._reported.margined if is_late else frozenset()
            late = {name: fees for name, fees in self._pending.items() if name in names}
            self._reset()
            self._pending, self._corrected = late, corrected
        elif self._differs_since is None:
            self._differs_since = now
        elif is_over and rest.is_finite() and unknown.isdisjoint(self._reported.positions):
            for symbol in unknown:
                self._value_at_the_end(symbol, rest if len(differences) == 1 else ZERO)
            differences = self._differences()
            rest = differences.pop(CASH, ZERO)
            values, rest = self._with_endings(differences, rest, now)
            for symbol, value in values.items():
                held = self._reported.positions.get(symbol)
                self._attribution.correct(symbol, ZERO if held is None else held.quantity, value)
            if rest:
                self._attribution.correct(CASH, ZERO, rest)
            self._reset()

    def _value_at_the_end(self, symbol: str, came: Decimal) -> None:
        """Value what is gone and never had a mark at the cash that `came` for it, what is margined next to its cost."""
        held = self._attribution.quantities()[symbol]
        cost = _cost_of(-held, self._margined.get(symbol))
        self._worths[symbol] = ((came - cost) / held).quantize(COST_STEP)
        self._attribution.take([Worth(symbol, self._worths[symbol])])

    def _with_endings(
        self, differences: dict[str, Decimal], rest: Decimal, now: int
    ) -> tuple[dict[str, Decimal], Decimal]:
        """Name the endings of positions that explain the differences and those in cash; return what they leave."""
        held = self._attribution.quantities()
        gone = [symbol for symbol in differences if held.get(symbol) and symbol not in self._reported.positions]
        ended = []
        for symbol in gone:
            notional = abs(held[symbol] * self._worths.get(symbol, ZERO))
            is_bond = bool(self._terms.accrued.get(symbol))
            ended.append(Ended(symbol, held[symbol], -differences[symbol], notional, symbol in self._margined, is_bond))
        moved = [symbol for symbol in differences if symbol not in gone]
        now_held = {symbol: self._reported.positions[symbol].quantity for symbol in moved}
        shares = {plain(symbol): now_held[symbol] - held.get(symbol, ZERO) for symbol in moved}
        endings = endings_of(ended, shares, rest, now)
        if not endings:
            return differences, rest
        prices = {each.underlying: each.strike for each in endings}  # where nothing is left, any is right
        prices |= {plain(symbol): known for symbol, known in self._worths.items() if known.is_finite()}
        values = {each: differences[each.symbol] + each.cash + each.units * prices[each.underlying] for each in endings}
        left = sum(differences.values(), ZERO) + rest - sum(values.values(), ZERO)
        for each, value in values.items():
            self._add_event(each.label, value + left if len(values) == 1 else value)
        return dict.fromkeys(differences, ZERO), ZERO if len(values) == 1 else left

    def _add_event(self, label: str, value: Decimal) -> None:
        self._events[label] = self._events.get(label, ZERO) + value

    def _charge(self, symbol: str, rest: Decimal) -> None:
        if self._is_guessed:
            self._attribution.correct(symbol, self._attribution.quantities().get(symbol, ZERO), rest)
        else:
            self._attribution.charge(symbol, rest)

    def _reset(self) -> None:
        self._cash = self._agreed = _cash_of(self._reported)
        self._pending = {}
        self._smallest = None
        self._corrected = set()
        self._cleared = ZERO
        self._is_guessed = False
        self._differs_since = None

    def _differences(self) -> dict[str, Decimal]:
        """Return by how much the broker's positions and cash are worth more than the computed ones, where not equal.

        By instrument and `CASH`, in the account's currency; NaN for an instrument without a price.
        """
        held = self._attribution.quantities()
        found = {}
        rest = _cash_of(self._reported) - self._cash
        for symbol in dict.fromkeys((*held, *self._reported.positions)):
            theirs = self._reported.positions.get(symbol)
            units = (ZERO if theirs is None else theirs.quantity) - held.get(symbol, ZERO)
            if units:
                # Of a margined instrument the cash contains what its units cost, though they were not paid for.
                cost = _cost_of(units, self._margined.get(symbol))
                rest += cost
                found[symbol] = units * self._worths.get(symbol, UNKNOWN) - cost
        return {**found, CASH: rest} if rest or not rest.is_finite() else found


def _cash_of(portfolio: Portfolio) -> Decimal:
    """Return the cash that there would be if margined positions had been paid for: then all positions are alike."""
    margined = (held.cost for symbol, held in portfolio.positions.items() if symbol in portfolio.margined)
    return portfolio.cash - sum(margined, ZERO)


def _money_of(portfolio: Portfolio) -> tuple[Decimal, ...]:
    """Return the cash and the costs of the margined positions, which change together at a clearing."""
    margined = (held.cost for symbol, held in sorted(portfolio.positions.items()) if symbol in portfolio.margined)
    return portfolio.cash, *margined


def _quantities_of(portfolio: Portfolio) -> dict[str, Decimal]:
    return {symbol: held.quantity for symbol, held in portfolio.positions.items()}


def _margined(portfolio: Portfolio) -> dict[str, Position]:
    """Return the margined positions whose quantity and cost are known."""
    held = ((symbol, each) for symbol, each in portfolio.positions.items() if symbol in portfolio.margined)
    return {symbol: each for symbol, each in held if each.quantity and (each.quantity + each.cost).is_finite()}


def _cost_of(units: Decimal, position: Position | None) -> Decimal:
    """Return what some units of a position cost, as many as it has or another number at the same average."""
    if position is None:
        return ZERO
    if units == -position.quantity:
        return -position.cost
    return (units * position.cost / position.quantity).quantize(COST_STEP)


def _is_same(a: Decimal, b: Decimal) -> bool:
    return a == b or not (a.is_finite() or b.is_finite())

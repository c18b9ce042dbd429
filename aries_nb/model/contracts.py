"""Contract multipliers: what one unit of a price is worth, for one unit of quantity, in the account's currency.

A share has 1, a listed option 100, a bond quoted in percent 1 % of its face value, a future the value of one point.
They are exact decimals, and NaN where they are not known.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Context, Decimal, localcontext
from typing import Literal, NamedTuple

__all__ = [
    "OPTION_MULTIPLIER",
    "OPTION_SYMBOL",
    "OptionTerms",
    "expiry_month",
    "implied_multiplier",
    "is_future_code",
    "is_option_symbol",
    "option_root",
    "option_terms",
]

# OSI: root, date, right, strike. The root of a contract that was adjusted, as after a split, ends in a digit, that of a
# FLEX option begins with one. Some tools pad a root to 6 characters.
OPTION_SYMBOL = re.compile(r"(?![\d.]+[CP])([A-Z\d.]{1,6}) *(\d{6})([CP])(\d{8})")
# An adjusted contract is quoted per share as well: its price counts 100 times, whatever it delivers (OCC).
OPTION_MULTIPLIER = Decimal(100)
# Futures and options on futures: SiZ6, Si92500BL6 (calls from A, puts from M on), Si-12.26.
_SHORT_FUTURE = re.compile(r"[A-Za-z][A-Za-z0-9]([FGHJKMNQUVXZ])(\d{1,2})")
_SHORT_OPTION = re.compile(r"[A-Z][A-Za-z0-9]-?\d+(?:\.\d+)?[A-C]([A-X])(\d)[A-E]?")
_LONG_FUTURE = re.compile(r"[A-Za-z]\w*-(\d{1,2})\.(\d{2})\S*")
WIDEST = Decimal("0.005")  # a multiplier that the amounts do not determine to this share is not known,
WIDEST_OF_TEN = Decimal("0.1")  # except a power of ten
_UNKNOWN = Decimal("NaN")
_CONTEXT = Context(prec=60, traps=[])  # absurd amounts become NaN


def is_option_symbol(symbol: str) -> bool:
    """Return whether a symbol is that of a listed option in OSI's form, such as MSFT261218C00500000."""
    return OPTION_SYMBOL.fullmatch(symbol) is not None


def option_root(symbol: str) -> str:
    """Return the root of a listed option's symbol in OSI's form, such as SPXW of SPXW261218C06000000; else ""."""
    found = OPTION_SYMBOL.fullmatch(symbol)
    return "" if found is None else found[1]


class OptionTerms(NamedTuple):
    """The terms of a listed option: a call ("C") or a put ("P"); `strike` in the currency of the underlying."""

    root: str
    expiry: date
    right: Literal["C", "P"]
    strike: Decimal


def option_terms(symbol: str) -> OptionTerms | None:
    """Return the terms that are in the symbol of a listed option in OSI's form, None of any other."""
    found = OPTION_SYMBOL.fullmatch(symbol)
    if found is None:
        return None
    root, day, right, strike = found.groups()
    try:
        expiry = datetime.strptime(day, "%y%m%d").date()
    except ValueError:
        return None
    return OptionTerms(root, expiry, "C" if right == "C" else "P", Decimal(strike).scaleb(-3))


def is_future_code(symbol: str) -> bool:
    """Return whether a symbol is the code of a future, or of an option on one, such as SiZ6, Si-12.26, Si92500BL6."""
    return any(each.fullmatch(symbol) for each in (_SHORT_FUTURE, _SHORT_OPTION, _LONG_FUTURE))


def expiry_month(symbol: str, today: date) -> date | None:
    """Return the first day of the month in which a future, or an option on one, expires, by its code; None of others.

    A year of one digit is the one nearest to `today`.
    """
    if found := _LONG_FUTURE.fullmatch(symbol):
        month, year = int(found[1]), found[2]
    elif found := _SHORT_FUTURE.fullmatch(symbol):
        month, year = "FGHJKMNQUVXZ".index(found[1]) + 1, found[2]
    elif found := _SHORT_OPTION.fullmatch(symbol):
        month, year = "ABCDEFGHIJKLMNOPQRSTUVWX".index(found[1]) % 12 + 1, found[2]
    else:
        return None
    cycle = 10 ** len(year)
    years = range(today.year - cycle // 2, today.year + cycle - cycle // 2)
    return date(next(each for each in years if each % cycle == int(year)), month, 1) if 1 <= month <= 12 else None


def implied_multiplier(value: Decimal, quantity: Decimal, price: Decimal, *, is_exact: bool = False) -> Decimal:
    """Return the multiplier m in value = quantity × price × m, the one with the fewest digits; NaN without one.

    `value` and `price` are rounded to their last digit, so many multipliers are possible: 1 if it is one of them, else
    the one with the fewest digits, and of these the nearest to the quotient. `is_exact`: the price is that of a trade,
    not an average. NaN where an amount is 0 or unknown, and where the price is too coarse to determine m to 0.5 %, or
    to 10 % if a power of ten is possible.
    """
    with localcontext(_CONTEXT):
        value, units, price = abs(value), abs(quantity), abs(price)
        if not all(each.is_finite() and each for each in (value, units, price)):
            return _UNKNOWN
        value_error, price_error = _half_step(value), Decimal(0) if is_exact else _half_step(price)
        if price_error >= price:
            return _UNKNOWN
        low = (value - value_error) / (units * (price + price_error))
        high = (value + value_error) / (units * (price - price_error))
        if low <= 1 <= high:
            return Decimal(1)
        middle = value / (units * price)
        if not middle.is_finite() or high - low > WIDEST * middle:
            power = Decimal(1).scaleb(round(middle.log10())) if middle.is_finite() else _UNKNOWN
            return _plain(power) if low <= power <= high and high - low <= WIDEST_OF_TEN * middle else _UNKNOWN
        for digits in range(1, 30):
            rounded = round(middle, digits - 1 - middle.adjusted())
            if low <= rounded <= high:
                return _plain(rounded)
        return middle


def _plain(number: Decimal) -> Decimal:
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


def _half_step(amount: Decimal) -> Decimal:
    """Return half a unit of the last digit of an amount, half a cent at most: zeros at its end may be left out."""
    exponent = amount.as_tuple().exponent
    return Decimal("0.5").scaleb(min(exponent, -2) if isinstance(exponent, int) else -2)

"""Equity options: Black-Scholes prices and Greeks, listed expiries and strikes, and option symbols in the OSI form.

Source of the symbols' form: Aries' protocol page §3.2 (unpadded root, YYMMDD, C or P, strike x 1000 in 8 digits).
"""

from __future__ import annotations

import math
import re
from datetime import date, timedelta
from typing import Literal, NamedTuple

from dateutil.easter import easter

__all__ = ["Contract", "Greeks", "Right", "black_scholes", "expiries", "parse_contract", "smile", "strikes", "years"]

Right = Literal["C", "P"]

WEEKLY_EXPIRIES = 8
MONTHLY_EXPIRIES = 12
RATE = 0.04
_FIXED = {(6, 19), (7, 4), (12, 25)}  # month and day of holidays that may fall on a Friday
_OSI = re.compile(r"([A-Z]{1,6})(\d{2})(\d{2})(\d{2})([CP])(\d{8})", re.ASCII)
_ROOT_2PI = math.sqrt(2.0 * math.pi)


class Contract(NamedTuple):
    """One listed option: `root` is the symbol of its share, `right` "C" (call) or "P" (put), `strike` in USD."""

    root: str
    expiry: date
    right: Right
    strike: float

    @property
    def symbol(self) -> str:
        """The option's symbol in the OSI form, e.g. AAPL240119C00150000."""
        return f"{self.root}{self.expiry:%y%m%d}{self.right}{round(self.strike * 1000):08d}"


class Greeks(NamedTuple):
    """The model price of an option in USD per share, and its sensitivities.

    `delta` and `gamma` are per USD of the share's price, `theta` per calendar day, `vega` per percentage point of
    volatility, `rho` per percentage point of interest.
    """

    price: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float


def parse_contract(symbol: str) -> Contract | None:
    """Parse an option symbol such as AAPL240119C00150000; None if it has another form or an invalid date."""
    match = _OSI.fullmatch(symbol)
    if match is None:
        return None
    root, year, month, day, right, strike = match.groups()
    try:
        expiry = date(2000 + int(year), int(month), int(day))
    except ValueError:
        return None
    return Contract(root, expiry, "C" if right == "C" else "P", int(strike) / 1000)


def expiries(today: date) -> tuple[date, ...]:
    """Return the expiry dates listed on `today`, soonest first.

    They are the next 8 Fridays and the third Fridays of this and the next 12 months, `today` included. In a week whose
    Friday is a holiday of the New York exchanges, options expire on Thursday.
    """
    friday = today + timedelta((4 - today.weekday()) % 7)
    dates = {friday + timedelta(weeks=week) for week in range(WEEKLY_EXPIRIES)}
    for month in range(MONTHLY_EXPIRIES + 1):
        year, month0 = divmod(today.year * 12 + today.month - 1 + month, 12)
        first = date(year, month0 + 1, 1)
        third_friday = first + timedelta((4 - first.weekday()) % 7 + 14)
        if third_friday >= today:
            dates.add(third_friday)
    days = {friday - timedelta(_is_holiday(friday)) for friday in dates}
    return tuple(sorted(day for day in days if day >= today))


def _is_holiday(friday: date) -> bool:
    """Return whether the New York exchanges are closed on a Friday; a holiday on Saturday is kept the day before.

    New Year's Day on Saturday is not kept.
    """
    tomorrow = friday + timedelta(1)
    is_fixed = (friday.month, friday.day) in {(1, 1), *_FIXED} or (tomorrow.month, tomorrow.day) in _FIXED
    return is_fixed or friday == easter(friday.year) - timedelta(2)


def strikes(price: float) -> tuple[float, ...]:
    """Return the option strikes listed for a share's `price` in USD, lowest first.

    They lie between 60% and 140% of the price, in steps that grow with it.
    """
    step = 0.5 if price < 30 else 1.0 if price < 75 else 2.5 if price < 200 else 5.0 if price < 500 else 10.0
    first, last = math.ceil(0.6 * price / step), math.floor(1.4 * price / step)
    return tuple(number * step for number in range(first, last + 1))


def years(today: date, expiry: date) -> float:
    """Return the time from `today` to `expiry` in years; half a day on the day of expiry itself."""
    return max((expiry - today).days, 0.5) / 365.0


def smile(volatility: float, spot: float, strike: float, *, term: float) -> float:
    """Return the implied volatility per year of an option `strike`, for a share with this `volatility` per year.

    `spot` is the share's price, `term` the time to expiry in years. It rises with the distance of the strike from
    the share's price, more steeply below it. The distance is measured in units of the square root of time, so that
    the smile is steeper for near expiries. Its level is lower for near expiries.
    """
    distance = math.log(strike / spot) / math.sqrt(term + 0.15)
    level = 1.06 - 0.14 * math.exp(-4.0 * term)
    return volatility * (level - 0.12 * distance + 0.22 * distance * distance)


def black_scholes(spot: float, strike: float, term: float, volatility: float, *, right: Right) -> Greeks:
    """Return the price and Greeks of a European option without dividends, at an interest rate of 4% (`RATE`).

    `spot` is the share's price, `term` the time to expiry in years, `volatility` per year, `right` "C" or "P".
    """
    root = math.sqrt(term)
    deviation = volatility * root
    d1 = (math.log(spot / strike) + (RATE + 0.5 * volatility * volatility) * term) / deviation
    d2 = d1 - deviation
    discounted = strike * math.exp(-RATE * term)
    density = math.exp(-0.5 * d1 * d1) / _ROOT_2PI
    decay = -spot * density * volatility / (2.0 * root)
    sign = 1.0 if right == "C" else -1.0
    exercised = discounted * _normal(sign * d2)
    return Greeks(
        price=sign * (spot * _normal(sign * d1) - exercised),
        delta=sign * _normal(sign * d1),
        gamma=density / (spot * deviation),
        theta=(decay - sign * RATE * exercised) / 365.0,
        vega=spot * density * root / 100.0,
        rho=sign * term * exercised / 100.0,
    )


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))

"""The instruments of the simulated ALOR server: shares and futures of Moscow, and American shares at SPBX.

Prices, volatilities and volumes are invented but plausible; exchanges, boards and types are those of ALOR's protocol
page (§4, §6.3). Lots and price steps are plausible as well; they differ, so that a client that assumes 1 is detected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from aries_nb.sim.accounts.orders import Worth
from aries_nb.sim.market.instruments import EQUITIES, Equity, Hours, rough_equities

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    from aries_nb.sim.market.troubles import Trouble

__all__ = [
    "EXCHANGES",
    "MOSCOW_HOURS",
    "Security",
    "Venue",
    "numbered_share",
    "recorded_security",
    "rough_instruments",
    "rough_securities",
    "securities",
    "traded_instruments",
]

MOSCOW_HOURS = Hours("Europe/Moscow", 10 * 60, 8 * 60 + 50)
#: A book message has up to 50 levels (§6.1); some more exist, so that a removed level is followed by an existing one.
LEVELS = 54
#: Codes of the months of futures: the ends of quarters.
MONTHS = {3: "H", 6: "M", 9: "U", 12: "Z"}
#: Shares made on demand, so that any number of instruments can be subscribed: SIM00001 to SIM99999.
NUMBERED = re.compile(r"SIM(\d{5})", re.ASCII)
NUMBERED_LEVELS = 10
#: Margin of a contract as a share of its value (assumed).
MARGIN_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Venue:
    """An exchange of the simulated ALOR: its boards, the default one first, and the currency of its prices."""

    name: str
    boards: tuple[str, ...]
    currency: str


EXCHANGES = {
    venue.name: venue for venue in (Venue("MOEX", ("TQBR", "SMAL", "RFUD"), "RUB"), Venue("SPBX", ("SPBX",), "USD"))
}


@dataclass(frozen=True, slots=True)
class Security:
    """Reference data of an instrument; `lot` is its lot size in shares, `step` the smallest change of its price.

    `boards` begins with the primary one. `kind` is the field `type` of ALOR's protocol page §6.3, `market` the
    section of the exchange, `cfi` the CFI code. Futures have `expires` and `step_value`, the value of one `step` in
    roubles. `accrued` is the accrued interest of one bond. `is_recorded`: a recording feeds it, with the prices and
    sizes of the file.
    """

    symbol: str
    exchange: str
    boards: tuple[str, ...]
    description: str
    kind: str
    market: str
    currency: str
    lot: int
    step: float
    cfi: str
    isin: str = ""
    face_value: float = 1.0
    expires: date | None = None
    step_value: float = 0.0
    accrued: float = 0.0
    is_recorded: bool = False

    @property
    def board(self) -> str:
        """The instrument's primary board, a trading mode of its exchange."""
        return self.boards[0]

    @property
    def worth(self) -> Worth:
        """What one share, contract or bond costs: the price of a bond is in % of its face value, without interest."""
        if self.is_future:
            return Worth(Decimal(str(self.step_value)) / Decimal(str(self.step)))
        if self.is_bond:
            return Worth(Decimal(str(self.face_value)) / 100, Decimal(str(self.accrued)))
        return Worth()

    @property
    def is_bond(self) -> bool:
        """Whether the instrument is a bond."""
        return self.cfi.startswith("DB")

    @property
    def is_future(self) -> bool:
        """Whether the instrument is a future, for which a margin is paid instead of its price."""
        return self.market == "FORTS"

    def margin(self, price: float) -> float:
        """Return the margin of one contract of a future in roubles, given its price."""
        return price / self.step * self.step_value * MARGIN_SHARE


def _share(symbol: str, price: float, volatility: float, volume: float, *, scale: int, lot: int) -> Equity:
    return Equity(
        symbol, price, volatility, volume, venue="M", scale=scale, lot=lot, round_lot=10 * lot, levels=LEVELS,
        hours=MOSCOW_HOURS,
    )  # fmt: skip


#: Share, its description, and its ISIN.
_SHARES = (
    (_share("SBER", 305.20, 0.28, 38.0, scale=100, lot=10), "Сбербанк", "RU0009029540"),
    (_share("SBERP", 303.10, 0.28, 4.0, scale=100, lot=10), "Сбербанк ап", "RU0009029557"),
    (_share("GAZP", 128.45, 0.33, 44.0, scale=100, lot=10), "ГАЗПРОМ ао", "RU0007661625"),
    (_share("LKOH", 6752.5, 0.26, 0.9, scale=2, lot=1), "ЛУКОЙЛ", "RU0009024277"),
    (_share("ROSN", 452.35, 0.30, 5.2, scale=20, lot=1), "Роснефть", "RU000A0J2Q06"),
    (_share("NVTK", 1184.2, 0.36, 2.1, scale=10, lot=1), "Новатэк ао", "RU000A0DKVS5"),
    (_share("GMKN", 131.24, 0.34, 12.0, scale=50, lot=10), "ГМКНорНик", "RU0007288411"),
    (_share("TATN", 648.1, 0.29, 2.6, scale=10, lot=1), "Татнфт 3ао", "RU0009033591"),
    (_share("VTBR", 79.62, 0.37, 21.0, scale=100, lot=1), "ВТБ ао", "RU000A0JP5V6"),
    (_share("PLZL", 2105.0, 0.35, 1.1, scale=5, lot=1), "Полюс", "RU000A0JNAA8"),
    (_share("CHMF", 1024.6, 0.32, 1.3, scale=5, lot=1), "СевСт-ао", "RU0009046510"),
    (_share("MGNT", 3312.5, 0.31, 0.4, scale=2, lot=1), "Магнит ао", "RU000A0JKQU8"),
    (_share("MOEX", 176.54, 0.27, 6.0, scale=100, lot=10), "МосБиржа", "RU000A0JR4A1"),
    (_share("AFLT", 57.38, 0.40, 11.0, scale=100, lot=10), "Аэрофлот", "RU0009062285"),
    (_share("ALRS", 44.21, 0.33, 16.0, scale=100, lot=10), "АЛРОСА ао", "RU0007252813"),
    (_share("HYDR", 0.4312, 0.38, 210.0, scale=10_000, lot=1000), "РусГидро", "RU000A0JPKH7"),
)
#: A bond of the rough market alone; its price is in % of its face value.
_BOND = _share("SU26238RMFS4", 58.37, 0.10, 0.3, scale=1000, lot=1)
#: Roubles per dollar, at which contracts quoted in dollars are settled.
_DOLLAR = 81.25
#: Futures: the root in the form of a share, the underlying, its amount in one contract, and the value of a price step
#: in roubles. Prices in roubles are for the whole contract; oil and gold are quoted in dollars per barrel and ounce.
_FUTURES = (
    (_share("Si", 81_250.0, 0.16, 1.9, scale=1, lot=1), "доллар США - рубль", 1000.0, 1.0),
    (_share("BR", 64.37, 0.34, 0.9, scale=100, lot=1), "нефть Brent", 10.0, 0.01 * 10 * _DOLLAR),
    (_share("SR", 30_840.0, 0.28, 0.4, scale=1, lot=1), "обыкновенные акции Сбербанка", 100.0, 1.0),
    (_share("GZ", 13_120.0, 0.33, 0.5, scale=1, lot=1), "обыкновенные акции Газпрома", 100.0, 1.0),
    (_share("GD", 4102.3, 0.18, 0.1, scale=10, lot=1), "золото", 1.0, 0.1 * _DOLLAR),
)


def traded_instruments(today: date) -> dict[str, Equity]:
    """Return the simulated instruments of all exchanges by symbol: shares, funds and futures, without indices.

    Those left out have no order book. Futures are those that expire in the next two quarters after `today`.
    """
    found = {share.symbol: share for share, _, _ in _SHARES}
    found |= {code: replace(root, symbol=code) for root, *_ in _FUTURES for code, _ in _contracts(root, today)}
    return found | {symbol: replace(equity, levels=LEVELS) for symbol, equity in EQUITIES.items()}


@cache
def securities(today: date) -> dict[tuple[str, str], Security]:
    """Return the reference data of all instruments listed on a day, by (exchange, symbol)."""
    found = [
        Security(share.symbol, "MOEX", ("TQBR", "SMAL"), name, "PS" if share.symbol.endswith("P") else "CS", "FOND",
                 "RUB", share.lot, 1 / share.scale, "ESXXXX", isin)
        for share, name, isin in _SHARES
    ]  # fmt: skip
    for root, name, held, step_value in _FUTURES:
        for code, expires in _contracts(root, today):
            text, kind = f"Фьючерсный контракт {code}", f"Фьючерсный контракт на {name}"
            found.append(
                Security(code, "MOEX", ("RFUD",), text, kind, "FORTS", "RUB", 1, 1 / root.scale, "FXXXXX", "", held,
                         expires, step_value)
            )  # fmt: skip
    found += [
        Security(symbol, "SPBX", ("SPBX",), symbol, "CS", "SPBX", "USD", 1, 0.01, "ESXXXX") for symbol in EQUITIES
    ]
    return {(security.exchange, security.symbol): security for security in found}


def rough_instruments(troubles: Collection[Trouble]) -> dict[str, Equity]:
    """Return the shares and bonds that troubles of the rough market add to the listed ones, by symbol."""
    return rough_equities(troubles) | ({_BOND.symbol: _BOND} if "bonds" in troubles else {})


def rough_securities(troubles: Collection[Trouble]) -> list[Security]:
    """Return the reference data of what the rough market alone lists: shares on every exchange, a bond in Moscow."""
    bond = Security(
        _BOND.symbol, "MOEX", ("TQOB",), "ОФЗ 26238", "Гос. облигация", "FOND", "RUB", 1, 1 / _BOND.scale, "DBFXXX",
        "RU000A1038V6", 1000.0, accrued=24.51,
    )  # fmt: skip
    return ([bond] if "bonds" in troubles else []) + [
        Security(
            share.symbol, venue.name, venue.boards[:1], share.symbol, "CS", "FOND", venue.currency, 1, 1 / share.scale,
            "ESXXXX",
        )
        for share in rough_equities(troubles).values()
        for venue in EXCHANGES.values()
    ]  # fmt: skip


def recorded_security(symbol: str, exchange: str) -> Security:
    """Return the reference data of a symbol that a recording feeds; such a symbol is listed on every exchange."""
    venue = EXCHANGES[exchange]
    board = venue.boards[0]
    return Security(
        symbol, exchange, (board,), symbol, "CS", "FOND", venue.currency, 1, 0.01, "ESXXXX", is_recorded=True
    )


def numbered_share(symbol: str) -> tuple[Equity, Security] | None:
    """Return the share, made on demand, with a symbol SIM00001 to SIM99999, and its reference data.

    None for any other symbol.
    """
    match = NUMBERED.fullmatch(symbol)
    if match is None or not int(match[1]):
        return None
    number = int(match[1])
    share = Equity(
        symbol, 10.0 + number % 990, 0.3, 0.2, venue="M", lot=1, round_lot=1, levels=NUMBERED_LEVELS, hours=MOSCOW_HOURS
    )
    name = f"Симуляция {number}"
    return share, Security(symbol, "MOEX", ("TQBR",), name, "CS", "FOND", "RUB", 1, 0.01, "ESXXXX")


def _contracts(root: Equity, today: date) -> list[tuple[str, date]]:
    """Return codes and expiry dates of a future's contracts of the next two quarters, soonest first.

    A contract expires on the third Thursday of the quarter's last month (assumed); one that expires `today` is
    included.
    """
    found: list[tuple[str, date]] = []
    year, month = today.year, (today.month + 2) // 3 * 3
    while len(found) < 2:
        first = today.replace(year=year, month=month, day=1)
        third = first.replace(day=15 + (3 - first.weekday()) % 7)
        if third >= today:
            found.append((f"{root.symbol}{MONTHS[month]}{year % 10}", third))
        year, month = (year, month + 3) if month < 12 else (year + 1, 3)
    return found

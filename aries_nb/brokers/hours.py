"""When the instruments of a broker are traded: which calendar a symbol follows, and what the broker itself says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aries_nb.brokers.alor.symbols import instrument_of

__all__ = ["ALWAYS_OPEN", "ARIES_HOURS", "UNKNOWN_HOURS", "Hours", "alor_hours"]

# American shares in St. Petersburg trade when their home market does (assumed). Where an exchange is not here, nobody
# knows when it is open, and its silence is never called a fault.
_OF_EXCHANGE = {"MOEX": "XMOS", "SPBX": "XNYS", "UNITED": "XMOS"}  # protocol page §4


@dataclass(frozen=True, slots=True)
class Hours:
    """When a broker's instruments are traded.

    `calendar_of` names the calendar that a symbol follows, by its exchange's market identifier code; "24/7" where it
    is always open, "" where that is not known. `is_quiet` is whether the broker's market status says that the market
    is not in its regular hours: pre-market and after-hours count as quiet.
    """

    calendar_of: Callable[[str], str]
    is_quiet: Callable[[Mapping[str, str | float | bool]], bool]


def alor_hours(exchange: str) -> Hours:
    """`exchange` is that of symbols which name none; this broker says nothing of its hours."""
    return Hours(partial(_calendar_of, exchange=exchange), lambda _: False)


def _is_quiet(status: Mapping[str, str | float | bool]) -> bool:
    """Market page §3.1: `market` is "open" in regular hours; any other text is taken for quiet (assumed)."""
    is_extended = any(status.get(name) is True for name in ("early_hours", "after_hours"))
    return status.get("market", "open") != "open" or is_extended


def _calendar_of(symbol: str, *, exchange: str) -> str:
    return _OF_EXCHANGE.get(instrument_of(symbol, exchange).exchange, "")


UNKNOWN_HOURS = Hours(lambda _: "", _is_quiet)
ALWAYS_OPEN = Hours(lambda _: "24/7", _is_quiet)
# Shares, funds and options of the American exchanges, which keep the same days and hours.
ARIES_HOURS = Hours(lambda _: "XNYS", _is_quiet)

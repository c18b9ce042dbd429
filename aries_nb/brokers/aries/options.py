"""Listed options of Aries over HTTP: the calls, and the decoding of answers, without I/O.

Source: Aries protocol page §7, and §3.5 for the form of the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Literal, TypeGuard

from aries_nb.brokers.parsing import json_object, number, path_segment
from aries_nb.brokers.protocol import OptionContract, Query

__all__ = ["AriesOptions"]

MOST_CHARACTERS = 64  # of a symbol; an OSI symbol has at most 21


class AriesOptions:
    """HTTP calls for listed options, without I/O. Implements `OptionReference`.

    Unusable items of an answer are left out.
    """

    def expiries(self, symbol: str) -> Query:
        """Return the call for the expiry dates of the options on the underlying `symbol`."""
        return Query(f"/v1/options/{path_segment(symbol)}/expiry-dates")

    def read_expiries(self, body: bytes) -> tuple[date, ...]:
        """Return the expiry dates in `body`, an answer to `expiries`, each once, the nearest first.

        Raises ValueError if it has no list of them.
        """
        days = json_object(body).get("expiryDates")
        if not isinstance(days, list):
            raise ValueError("the answer has no list of expiry dates")  # noqa: TRY004 - a bad answer, not a bad call
        return tuple(sorted({day for day in map(_day, days) if day is not None}))

    def contracts(self, symbol: str, expiry: date) -> Query:
        """Return the call for the options on the underlying `symbol` that expire on the date `expiry`."""
        return Query(f"/v1/options/{path_segment(symbol)}/contracts/{expiry:%Y-%m-%d}")

    def read_contracts(self, body: bytes) -> tuple[OptionContract, ...]:
        """Return the options in `body`, an answer, each once, in the order of strikes, a call before its put.

        A list of calls or puts that is null or missing counts as empty (assumed). Raises ValueError if both are
        missing.
        """
        answer = json_object(body)
        if not answer.keys() & {"calls", "puts"}:
            raise ValueError("the answer has neither calls nor puts")
        found = {
            contract.symbol: contract
            for contract in (*_contracts(answer.get("calls"), "call"), *_contracts(answer.get("puts"), "put"))
        }
        return tuple(sorted(found.values(), key=lambda contract: (contract.strike, contract.type, contract.symbol)))


def _contracts(items: object, type_: Literal["call", "put"]) -> Iterator[OptionContract]:
    if items is None:
        return
    if not isinstance(items, list):
        raise ValueError(f"the answer has no list of {type_}s")  # noqa: TRY004 - a bad answer, not a bad call
    for item in items:
        if isinstance(item, dict):
            symbol, strike = item.get("symbol"), number(item.get("strikePrice"))  # also as text (assumed)
            if _is_symbol(symbol) and strike is not None and strike > 0:
                yield OptionContract(symbol, type_, strike)


def _is_symbol(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MOST_CHARACTERS and value.isprintable() and " " not in value


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None

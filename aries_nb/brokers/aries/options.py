"""Listed options of Aries over HTTP: the calls and the reading of answers (protocol page §7; §3.5 for the shapes)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Literal, TypeGuard

from aries_nb.brokers.parsing import json_object, number, path_segment
from aries_nb.brokers.protocol import OptionContract, Query

__all__ = ["AriesOptions"]

MOST_CHARACTERS = 64  # of a symbol; an OSI symbol has at most 21


class AriesOptions:
    """Implements `OptionReference`. Items of an answer that cannot be used are left out."""

    def expiries(self, symbol: str) -> Query:
        """The call for the expiry dates of an underlying's options."""
        return Query(f"/v1/options/{path_segment(symbol)}/expiry-dates")

    def read_expiries(self, body: bytes) -> tuple[date, ...]:
        """The expiry dates, each once, the nearest first. Raises ValueError where there is no list of them."""
        days = json_object(body).get("expiryDates")
        if not isinstance(days, list):
            raise ValueError("the answer has no list of expiry dates")  # noqa: TRY004 - a bad answer, not a bad call
        return tuple(sorted({day for day in map(_day, days) if day is not None}))

    def contracts(self, symbol: str, expiry: date) -> Query:
        """The call for the options of an underlying that expire on a date."""
        return Query(f"/v1/options/{path_segment(symbol)}/contracts/{expiry:%Y-%m-%d}")

    def read_contracts(self, body: bytes) -> tuple[OptionContract, ...]:
        """The options, each once, by strike, the call of a strike before its put.

        A list that is null or missing is an empty one (assumed). Raises ValueError where both are missing.
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

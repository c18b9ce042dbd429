"""Symbols of ALOR instruments and portfolios: `SBER`, `SPBX:AAPL`, `MOEX:SBER@TQBR`, `MOEX:D00000`."""

from __future__ import annotations

from typing import NamedTuple

from aries_nb.brokers.parsing import writable

__all__ = ["DEFAULT_EXCHANGE", "Instrument", "instrument_of", "symbol_of"]

DEFAULT_EXCHANGE = "MOEX"


class Instrument(NamedTuple):
    """The parts of a symbol; `board` is "" for the instrument's primary one (assumed, as clients do)."""

    exchange: str
    code: str
    board: str = ""


def instrument_of(symbol: str, exchange: str = DEFAULT_EXCHANGE) -> Instrument:
    """The instrument or portfolio in a user's text; `exchange` is the default for a text without one."""
    symbol = writable(symbol)  # it is sent in a request
    venue, colon, rest = symbol.partition(":")
    code, _, board = (rest if colon else symbol).partition("@")
    return Instrument(venue if colon and venue else exchange, code, board)


def symbol_of(code: str, venue: str, exchange: str = DEFAULT_EXCHANGE) -> str:
    """The user's spelling of an instrument that the broker names: without the default exchange."""
    return f"{venue}:{code}" if code and venue and venue != exchange else code

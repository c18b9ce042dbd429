from __future__ import annotations

import pytest

from aries_nb.brokers.alor.fields import Instrument, instrument_of, symbol_of


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("SBER", Instrument("MOEX", "SBER")),
        ("SPBX:AAPL", Instrument("SPBX", "AAPL")),
        ("MOEX:SBER@TQBR", Instrument("MOEX", "SBER", "TQBR")),
        ("SBER@TQBR", Instrument("MOEX", "SBER", "TQBR")),
        (":SBER", Instrument("MOEX", "SBER")),
        ("SB\ud800R", Instrument("MOEX", "SB?R")),
        ("MOEX:RTS-9.25M180925CA100000", Instrument("MOEX", "RTS-9.25M180925CA100000")),
    ],
)
def test_symbol_is_read(symbol: str, expected: Instrument) -> None:
    assert instrument_of(symbol) == expected


@pytest.mark.parametrize(("venue", "expected"), [("MOEX", "SBER"), ("SPBX", "SPBX:SBER"), ("", "SBER")])
def test_symbol_is_written_as_it_is_read(venue: str, expected: str) -> None:
    written = symbol_of("SBER", venue)

    assert written == expected
    assert instrument_of(written) == Instrument(venue or "MOEX", "SBER")

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.sim.aries import messages
from aries_nb.sim.market.market import MarketHours


@given(price=st.floats(allow_nan=False, allow_infinity=False), size=st.integers(0, 2**53))
def test_numbers_are_read_back_exactly(price: float, size: int) -> None:
    prefix = messages.update_prefix("quote", "AAPL")

    line = messages.update(prefix, {"bidPrice": price, "bidSize": size}, 1_772_463_845_012)

    assert json.loads(line) == {
        "type": "event",
        "payload": {
            "action": "update",
            "type": "quote",
            "symbol": "AAPL",
            "data": {"bidPrice": price, "bidSize": size},
            "timestamp": 1_772_463_845_012,
        },
    }


@settings(max_examples=40)
@given(text=st.text(), ident=st.none() | st.text())
def test_every_text_stays_on_one_ascii_line(text: str, ident: str | None) -> None:
    lines = [
        messages.error(text, 1, code="BAD_REQUEST", ident=ident),
        messages.response(ident, {"status": 404, "error": text}),
        messages.pong(ident),
        messages.update(messages.update_prefix("quote", text), {}, 1),
    ]

    for line in lines:
        assert line.isascii()
        assert len(line.splitlines()) == 1
        assert isinstance(json.loads(line), dict)


def test_server_time_has_milliseconds() -> None:
    line = messages.market_status(MarketHours(), 1_772_463_845_000)

    assert json.loads(line)["payload"]["data"]["serverTime"] == "2026-03-02T15:04:05.000Z"

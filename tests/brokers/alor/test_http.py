from __future__ import annotations

import json
from typing import Any

import pytest

from aries_nb.brokers.alor.http import AlorHttp
from aries_nb.errors import UsageError
from tests.brokers.alor.lines import FORMATS, SECONDS, Format, bar

NS = 10**9
HTTP = AlorHttp()


def answer(*bars: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"history": bars, "next": None, "prev": None, **more}).encode()


def test_bars_are_asked_for_in_whole_seconds() -> None:
    query = HTTP.bars("MOEX:SBER@TQBR", 60, SECONDS * NS - 1, SECONDS * NS + 1)

    assert query.path == "/md/v2/history"
    assert dict(query.params) == {
        "symbol": "SBER",
        "exchange": "MOEX",
        "instrumentGroup": "TQBR",
        "tf": "60",
        "from": str(SECONDS),
        "to": str(SECONDS + 1),
        "format": "Simple",
    }


def test_day_has_a_name_and_the_usual_exchange_is_that_of_the_object() -> None:
    query = AlorHttp(exchange="SPBX").bars("AAPL", 86_400, 0, NS)

    assert (dict(query.params)["tf"], dict(query.params)["exchange"]) == ("D", "SPBX")


@pytest.mark.parametrize("interval_s", [0, -60, 7, 61, 604_800])
def test_length_that_there_is_not_is_refused(interval_s: int) -> None:
    with pytest.raises(UsageError, match="no bars of"):
        HTTP.bars("SBER", interval_s, 0, NS)


@pytest.mark.parametrize("form", FORMATS)
def test_bars_are_read_oldest_first_and_each_start_once(form: Format) -> None:
    first, second = bar(SECONDS, 101.5, form), bar(SECONDS + 60, 101.7, form)

    found = HTTP.read_bars(answer(second, first, second))

    assert found.start_ns == [SECONDS * NS, (SECONDS + 60) * NS]
    assert (found.open, found.high, found.low, found.close) == ([101.0] * 2, [102.0] * 2, [100.9] * 2, [101.5, 101.7])
    assert found.volume == [731.0, 731.0]
    assert found.next_end_ns is None


def test_bar_that_cannot_be_used_is_left_out_and_a_missing_volume_is_nan() -> None:
    odd = [bar(0), bar(SECONDS, c=None), bar(SECONDS, o="x"), bar(SECONDS + 60, v=None), 7]

    found = HTTP.read_bars(json.dumps({"history": odd}).encode())

    assert found.start_ns == [(SECONDS + 60) * NS]
    assert str(found.volume) == "[nan]"


def test_earlier_bar_is_where_the_next_question_ends() -> None:
    found = HTTP.read_bars(answer(bar(SECONDS), prev=SECONDS - 600))

    assert found.next_end_ns == (SECONDS - 599) * NS


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"history":null}', b'{"history":{}}', b"\xff", b"[" * 5_000])
def test_answer_that_holds_no_bars_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        HTTP.read_bars(body)


@pytest.mark.parametrize(("at", "interval_s", "expected"), [(61, 60, 60), (3_599, 3_600, 0), (86_401, 86_400, 86_400)])
def test_bars_begin_at_whole_intervals_from_midnight_utc(at: int, interval_s: int, expected: int) -> None:
    assert HTTP.bar_start(at * NS + 5, interval_s) == expected * NS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("D00000", ("D00000", "D00000")),
        ("MOEX:D00000", ("D00000", "D00000")),
        ("UNITED:D00000", ("UNITED:D00000", "D00000")),
        ("spbx:D00000", ("SPBX:D00000", "D00000")),
    ],
)
def test_a_portfolio_may_be_named_with_its_exchange(name: str, expected: tuple[str, str]) -> None:
    assert HTTP.account_id(name) == expected


def test_portfolios_are_not_asked_for_but_read_from_the_token() -> None:
    with pytest.raises(UsageError, match="portfolio"):
        HTTP.accounts()
    with pytest.raises(ValueError, match="token"):
        HTTP.read_accounts(b"[]")

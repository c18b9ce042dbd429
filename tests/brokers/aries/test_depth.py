"""Level 2: bid and ask of each venue, and the levels of the book."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from aries_nb.model import CLEAR, PUT, VENUE_COLUMNS, Unreadable
from tests.brokers.aries.lines import (
    MS,
    NS,
    RECEIVED,
    book,
    counts,
    frame,
    line,
    opened,
    quotes,
    records,
    reopen,
    said,
    sent,
    update,
    venues,
)

ARCA, NYSE = "ARCX:501.14:200:501.09:400", "XNYS,501.15,100,501.08,300"


def depth(*rows: str, **data: Any) -> dict[str, Any]:
    return update("level2", {"quotes": list(rows), **data}, timestamp=MS)


def test_venues_have_their_columns() -> None:
    assert list(opened().COLUMNS.get("venues", {}).items()) == [*VENUE_COLUMNS]


def test_rows_of_venues_are_put_by_name_after_a_list_that_begins() -> None:
    market = opened(venues())

    found = records(market, depth(ARCA, NYSE))

    assert [record[:2] for record in found] == [(venues(), NS)] * 3
    assert found[0][2][:2] == (CLEAR, "")
    assert [record[2] for record in found[1:]] == [
        (PUT, "ARCX", 501.09, 400.0, 501.14, 200.0),
        (PUT, "XNYS", 501.08, 300.0, 501.15, 100.0),
    ]


def test_a_side_of_a_venue_without_a_size_has_no_price() -> None:
    (_, row) = records(opened(venues()), depth("ARCX:501.14:0:501.09:400"))

    assert row[2] == pytest.approx((PUT, "ARCX", 501.09, 400.0, math.nan, 0.0), nan_ok=True)


def test_only_the_first_rows_of_a_connection_begin_a_list() -> None:
    market = opened(venues())
    marks = [[record[2][0] for record in records(market, depth(ARCA))] for _ in range(2)]

    reopen(market)
    marks += [[record[2][0] for record in records(market, depth(ARCA))]]

    assert marks == [[CLEAR, PUT], [PUT], [CLEAR, PUT]]


def test_book_and_venues_of_a_symbol_come_from_one_request_and_one_event() -> None:
    market = opened()

    market.subscribe([book(), venues()])
    asked = sent(market, "subscribe")
    found = records(market, depth(ARCA, orderBook=["0:501.1:700"]))

    assert [message["payload"] for message in asked] == [[{"symbol": "MSFT", "level2": True}]]
    assert [record[0].kind for record in found] == ["book", "venues", "venues"]


def test_venues_of_a_running_book_are_not_requested_again() -> None:
    market = opened(book())

    market.subscribe([venues()])

    assert [message["type"] for message in sent(market)] == ["ping"]


def test_either_may_go_and_the_other_stays() -> None:
    market = opened(book(), venues())

    market.unsubscribe([venues()])
    still = [record[0].kind for record in records(market, depth(ARCA, orderBook=["0:501.1:700"]))]
    market.unsubscribe([book()])

    assert still == ["book"]
    assert [message["payload"] for message in sent(market, "unsubscribe")] == [["MSFT"]]


def test_a_book_alone_does_not_look_at_what_venues_say() -> None:
    market = opened(book())

    assert records(market, depth("rubbish", orderBook=[])) == [(book(), NS, ())]


def test_a_price_of_zero_is_none() -> None:
    market = opened(venues())

    (_, (_, _, values)) = records(market, depth("ARCX:0:0:501.09:400"))

    assert values[:4] == (PUT, "ARCX", 501.09, 400.0)
    assert math.isnan(float(values[4]))
    assert values[5] == 0.0


def test_a_price_below_zero_is_one() -> None:
    (_, (_, _, values)) = records(opened(venues()), depth("XNYM:-37.50:200:-37.63:400"))

    assert values == (PUT, "XNYM", -37.63, 400.0, -37.5, 200.0)


@pytest.mark.parametrize(
    "row", ["", "ARCX", "ARCX:1:2:3", "ARCX:1:2:3:4:5", ":1:2:3:4", "ARCX:a:2:3:4", "ARCX:nan:2:3:4"]
)
def test_a_row_that_is_none_is_named_and_the_others_are_read(row: str) -> None:
    market = opened(venues())

    found, notices = market.receive([frame(depth(row, ARCA))], RECEIVED)

    assert [record[2][1] for record in found] == ["", "ARCX"]
    assert [type(notice) for notice in said(notices)] == [Unreadable]
    assert counts(notices) == {("venues", "unreadable"): 1}


@pytest.mark.parametrize("rows", [7, "ARCX:1:2:3:4", {"ARCX": 1}, [1], None])
@pytest.mark.parametrize("spelling", ["level2", "l2"])
def test_what_is_no_list_of_rows_is_named_on_either_path(rows: object, spelling: str) -> None:
    market = opened(venues())

    found, notices = market.receive([line(update(spelling, {"quotes": rows}))], RECEIVED)

    assert list(found) == []
    assert [notice.reason for notice in notices if isinstance(notice, Unreadable)] == [
        "quotes is not a list of text rows"
    ]


def test_old_spellings_carry_venues_too() -> None:
    market = opened(venues())

    found = records(market, update("levelII", {"quotes": [ARCA]}, timestamp=str(MS)))

    assert [record[2][1] for record in found] == ["", "ARCX"]


def test_halves_of_characters_in_a_name_do_no_harm() -> None:
    market = opened(venues(), quotes())
    raw = json.dumps(depth("\ud800X:1:2:3:4")).encode()

    found, notices = market.receive([raw], RECEIVED)

    assert list(found) == []
    assert len(said(notices)) == 1

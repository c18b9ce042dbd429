from __future__ import annotations

from aries_nb.sim.aries.data import BookRows, VenueRows, changes, quote_data
from aries_nb.sim.market.listings import Quote

FIRST = Quote(501.1, 300, 501.14, 200, "Q", "N")


def test_first_quote_has_every_field_and_the_same_again_none() -> None:
    state: dict[str, object] = {}

    first = changes(state, quote_data(state, FIRST, 1000))
    again = quote_data(state, FIRST, 2000)

    assert len(first) == 15
    assert (first["midPrice"], first["spread"]) == (501.12, 0.04)
    assert again == {}


def test_changes_of_a_quote_are_against_its_last_value() -> None:
    state: dict[str, object] = {}
    changes(state, quote_data(state, FIRST, 1000))

    changed = changes(state, quote_data(state, FIRST._replace(bid_price=501.12, bid_size=100), 2000))

    assert changed == {
        "bidPrice": 501.12,
        "bidSize": 100,
        "bidChange": 0.02,
        "bidSizeChange": -200,
        "bidTimestamp": 2000,
        "quoteTimestamp": 2000,
        "midPrice": 501.13,
        "spread": 0.02,
    }


def test_vanished_levels_are_zeros_once() -> None:
    book = BookRows()

    first = book.rows([(501.2, 100), (501.3, 50)], [(501.1, 700)])
    second = book.rows([(501.3, 50)], [(501.1, 600), (501.0, 5)])
    third = book.rows([(501.3, 50)], [(501.1, 600), (501.0, 5)])

    assert first == ["100:501.2:0", "50:501.3:0", "0:501.1:700"]
    assert second == ["50:501.3:0", "0:501.1:600", "0:501.0:5", "0:501.2:0"]
    assert third == second[:-1]


def test_price_that_changes_sides_and_a_locked_book_are_one_row() -> None:
    book = BookRows()
    book.rows([(10.0, 100)], [(9.0, 100)])

    turned = book.rows([(11.0, 5)], [(10.0, 100), (9.0, 100)])
    locked = book.rows([(10.0, 7)], [(10.0, 100), (9.0, 100)])

    assert turned == ["5:11.0:0", "0:10.0:100", "0:9.0:100"]
    assert locked == ["7:10.0:100", "0:9.0:100", "0:11.0:0"]


def test_venues_of_the_best_bid_and_ask_agree_with_the_quote() -> None:
    apart = VenueRows().rows(FIRST, (501.0, 9), (501.2, 8))
    together = VenueRows().rows(FIRST._replace(ask_venue="Q"), (501.0, 9), (501.2, 8))

    assert apart == ["XNAS:501.2:8:501.1:300", "XNYS:501.14:200:501.0:9"]
    assert together == ["XNAS:501.14:200:501.1:300"]


def test_venue_that_was_better_than_the_best_of_now_is_sent_anew() -> None:
    venues = VenueRows()
    venues.rows(FIRST, (501.0, 9), (501.2, 8))

    fallen = venues.rows(FIRST._replace(bid_price=501.05, bid_venue="Z"), (501.0, 9), (501.2, 8))
    same = venues.rows(FIRST._replace(bid_price=501.05, bid_venue="Z"), (501.0, 9), (501.2, 8))

    assert fallen == ["BATS:501.2:8:501.05:300", "XNYS:501.14:200:501.0:9", "XNAS:501.2:8:501.0:9"]
    assert same == fallen[:2]

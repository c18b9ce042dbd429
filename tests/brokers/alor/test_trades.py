"""No trade is lost, repeated or out of order, wherever the connection breaks and whatever order the past comes in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.model import Record, TradeGap
from tests.brokers.alor.lines import RECEIVED, begin, data, opened, receive, records, reply, sent, trade, trades

GUID = "trades-1"
TAPE = trades(fields=("trade_id", "price"))
CLOCK = RECEIVED // 1_000_000  # of ours, in ms


def live(*ids: int) -> list[bytes]:
    return [data(GUID, trade(each, ms=CLOCK + each)) for each in ids]


def past(*ids: int) -> list[bytes]:
    return [data(GUID, trade(each, ms=CLOCK + each, existing=True)) for each in ids]


def ids(found: list[Record]) -> list[int]:
    return [int(record[2][0]) for record in found]


def reopened(protocol: AlorMarket) -> tuple[int, bytes, bytes]:
    """A break and a new connection: the depth asked for, the reply and the pong still to come."""
    request, ping = begin(protocol, now=60.0)
    return request["depth"], reply(request["guid"]), reply(ping["guid"])


def test_past_is_asked_for_only_after_a_break() -> None:
    protocol = AlorMarket()
    begin(protocol)
    protocol.subscribe([TAPE])
    first = sent(protocol)[0]["depth"]
    receive(protocol, reply(GUID))

    depth, _, _ = reopened(protocol)

    assert (first, depth) == (0, 5_000)


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("is_reply_first", [False, True])
def test_missed_trades_come_once_and_in_order(order: str, is_reply_first: bool) -> None:
    protocol = opened(AlorMarket(), TAPE)
    before = records(protocol, *live(11, 12, 13))
    _, accepted, pong = reopened(protocol)
    history = past(*sorted([9, 10, 11, 12, 13, 14, 15], reverse=order == "descending"))

    frames = [accepted, *history] if is_reply_first else [*history, accepted]
    missed = records(protocol, *frames, pong)
    protocol.receive([b"{}"], RECEIVED)
    after = records(protocol, *live(15, 16))

    assert ids(before) == [11, 12, 13]
    assert ids([*missed, *after]) == [14, 15, 16]


def test_missed_trades_come_before_the_first_live_one_where_no_reply_comes() -> None:
    protocol = opened(AlorMarket(), TAPE)
    records(protocol, *live(11))
    reopened(protocol)

    found = records(protocol, *past(10, 11, 12), *live(13))

    assert ids(found) == [12, 13]


def test_gap_wider_than_the_past_yields_all_of_the_past_and_says_between_which_trades_others_are_missing() -> None:
    protocol = opened(AlorMarket(), TAPE)
    records(protocol, *live(11))
    _, accepted, _ = reopened(protocol)

    found, notices = receive(protocol, *past(20, 21, 22), accepted)

    assert ids(found) == [20, 21, 22]
    (after, before) = ((RECEIVED + each * 1_000_000, each) for each in (11, 20))
    assert [notice for notice in notices if isinstance(notice, TradeGap)] == [TradeGap(TAPE, after, before)]


def test_where_nothing_came_before_the_break_only_trades_since_the_subscription_are_emitted() -> None:
    protocol = opened(AlorMarket(), TAPE)
    _, accepted, _ = reopened(protocol)
    early = [data(GUID, trade(each, ms=CLOCK - 100 + each, existing=True)) for each in (1, 2)]

    found = records(protocol, *early, *past(3, 4), accepted)

    assert ids(found) == [3, 4]


def test_past_that_was_not_requested_is_left_out_and_remembered() -> None:
    protocol = opened(AlorMarket(), TAPE)
    unasked = records(protocol, *past(1, 2), *live(3))
    _, accepted, _ = reopened(protocol)

    found = records(protocol, *past(1, 2, 3, 4), accepted)

    assert (ids(unasked), ids(found)) == ([3], [4])


def test_second_break_in_the_middle_of_the_past_loses_nothing() -> None:
    protocol = opened(AlorMarket(), TAPE)
    records(protocol, *live(1))
    reopened(protocol)
    lost = records(protocol, *past(1, 2, 3))
    _, accepted, _ = reopened(protocol)

    found = records(protocol, *past(1, 2, 3, 4), accepted)

    assert (ids(lost), ids(found)) == ([], [2, 3, 4])


def test_past_that_comes_after_live_trades_and_the_pong_is_emitted_all_the_same() -> None:
    protocol = opened(AlorMarket(), TAPE)
    records(protocol, *live(1, 2))
    _, accepted, pong = reopened(protocol)

    found = records(protocol, accepted, pong, *live(6), *past(1, 2, 3, 4, 5, 6), *live(7))

    assert sorted(ids(found)) == [3, 4, 5, 6, 7]


def test_repeated_trade_is_emitted_once_and_one_without_an_id_each_time() -> None:
    protocol = opened(AlorMarket(), TAPE)

    found = records(protocol, *live(5, 5, 4, 6, 4), *live(0, 0))

    assert ids(found) == [5, 4, 6, 0, 0]


def test_a_trade_that_comes_again_with_other_values_is_a_correction_and_each_of_its_states_comes_once() -> None:
    protocol = opened(AlorMarket(), trades(fields=("trade_id", "price", "size")))
    first, second, cancelled = (
        data(GUID, trade(5, ms=CLOCK + 5, price=price, size=size)) for price, size in ((101.0, 7), (99.0, 7), (99.0, 0))
    )

    found = records(protocol, first, first, second, first, second, *live(6), cancelled, cancelled)

    assert [record[2] for record in found] == [(5, 101.0, 7), (5, 99.0, 7), (6, 106.0, 7), (5, 99.0, 0)]


def test_a_correction_is_seen_whatever_columns_are_asked_for_and_whoever_joins_meanwhile() -> None:
    protocol = opened(AlorMarket(), trades(fields=("trade_id",)))
    found = records(protocol, data(GUID, trade(5, ms=CLOCK + 5)))
    protocol.subscribe([TAPE])

    found = records(protocol, data(GUID, trade(5, ms=CLOCK + 5)), data(GUID, trade(5, ms=CLOCK + 5, price=1.0)))

    assert [record[2] for record in found] == [(5,), (5, 1.0)]


def test_a_correction_during_a_break_comes_out_of_the_past_once_and_is_no_missed_trade() -> None:
    protocol = opened(AlorMarket(), TAPE)
    before = records(protocol, *live(11, 12))
    changed = data(GUID, trade(12, ms=CLOCK + 12, price=1.0, existing=True))
    _, accepted, pong = reopened(protocol)

    missed = records(protocol, *past(11), changed, *past(13), accepted, pong)
    _, accepted, pong = reopened(protocol)
    again = records(protocol, *past(11), changed, *past(13), accepted, pong)

    assert ids(before) == [11, 12]
    assert [record[2] for record in missed] == [(12, 1.0), (13, 113.0)]
    assert again == []


def test_ids_beyond_53_bits_are_exact() -> None:
    protocol = opened(AlorMarket(), TAPE)
    large = [2**53 + 1, 2**53 + 2, 1_892_949_370_115_838_203, 2**63 - 1]

    found = records(protocol, *(data(GUID, trade(each)) for each in large))

    assert ids(found) == large


@given(
    st.lists(st.sampled_from(["trade", "trade", "trade", "missed", "break", "repeat"]), max_size=40),
    st.lists(st.booleans(), min_size=10, max_size=10),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_tape_across_breaks_equals_the_unbroken_one(events: list[str], orders: list[bool], random: object) -> None:
    protocol = opened(AlorMarket(), TAPE)
    happened: list[int] = [1]
    emitted = ids(records(protocol, *live(1)))
    is_up = True
    for event in [*events, "break"]:
        if event in ("trade", "missed"):
            happened.append(happened[-1] + 1)
            is_up = is_up and event == "trade"
            emitted += ids(records(protocol, *live(happened[-1]))) if is_up else []
        elif event == "repeat" and is_up:
            emitted += ids(records(protocol, *live(happened[-1])))
        elif event == "break":
            _, accepted, pong = reopened(protocol)
            history = past(*happened)
            random.shuffle(history)  # type: ignore[attr-defined]
            is_reply_first = orders[len(happened) % 10]
            emitted += ids(records(protocol, *([accepted, *history] if is_reply_first else [*history, accepted]), pong))
            emitted += ids(receive(protocol, b"{}")[0])
            is_up = True

    assert emitted == happened


def test_trade_says_whether_it_came_live_or_out_of_the_past() -> None:
    wanted = trades(fields=("trade_id", "source", "price"))
    protocol = opened(AlorMarket(), wanted)
    before = records(protocol, *live(11))
    _, accepted, pong = reopened(protocol)

    after = records(protocol, accepted, *past(11, 12), pong, *live(13))

    emitted = [record[2][:2] for record in [*before, *after]]
    assert emitted == [(11, "live"), (12, "history"), (13, "live")]


@pytest.mark.parametrize("ms", [CLOCK + 5, (CLOCK + 5) * 1_000, (CLOCK + 5) * 1_000_000])
def test_time_of_a_trade_is_read_in_any_unit(ms: int) -> None:
    protocol = opened(AlorMarket(), TAPE)

    (record,) = records(protocol, data(GUID, trade(1, ms=ms)))

    assert record[1] == (CLOCK + 5) * 1_000_000


def test_a_trade_of_next_month_does_not_hide_those_missed_in_a_break() -> None:
    protocol = opened(AlorMarket(), TAPE)
    receive(protocol, *live(1, 2), data(GUID, trade(3, ms=CLOCK + 30 * 86_400_000)))

    _, answer, pong = reopened(protocol)
    found = records(protocol, *past(1, 2), data(GUID, trade(3, ms=CLOCK + 30 * 86_400_000, existing=True)), *past(4, 5))
    found += records(protocol, answer, pong)

    assert ids(found) == [4, 5]

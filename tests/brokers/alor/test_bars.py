from __future__ import annotations

import pytest

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.errors import UsageError
from aries_nb.model import Record
from tests.brokers.alor.lines import (
    RECEIVED,
    SECONDS,
    bar,
    bars,
    begin,
    data,
    opened,
    receive,
    records,
    reply,
    sent,
)

GUID = "bars-1"
NOW = SECONDS // 60 * 60  # when the running minute began


def frames(*starts: int) -> list[bytes]:
    return [data(GUID, bar(start)) for start in starts]


def starts(found: list[Record]) -> list[int]:
    return [record[1] // 10**9 for record in found]


def is_past_over(protocol: AlorMarket) -> bool:
    return protocol._guids[GUID].is_past_over  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("interval", "name"),
    [("15", "15"), ("60", "60"), ("3600", "3600"), ("86400", "D"), ("604800", "W"), ("2592000", "M")],
)
def test_length_has_the_broker_s_name(interval: str, name: str) -> None:
    protocol = AlorMarket()
    begin(protocol)

    protocol.subscribe([bars(interval=interval)])

    assert sent(protocol)[0]["tf"] == name


@pytest.mark.parametrize("interval", ["0", "7", "100000", "61"])
def test_length_that_there_is_not_is_refused_before_anything_is_sent(interval: str) -> None:
    protocol = opened(AlorMarket())

    with pytest.raises(UsageError, match="no bars of"):
        protocol.subscribe([bars(interval=interval)])

    assert sent(protocol) == []


def test_without_a_start_no_history_is_asked_for() -> None:
    protocol = AlorMarket()
    begin(protocol)

    protocol.subscribe([bars(start="")])

    assert sent(protocol)[0]["skipHistory"] is True


def test_bar_is_emitted_again_when_it_changes_and_an_older_one_is_left_out() -> None:
    protocol = opened(AlorMarket(), bars())

    found = records(protocol, *frames(NOW, NOW, NOW + 60, NOW, NOW + 60))

    assert starts(found) == [NOW, NOW, NOW + 60, NOW + 60]


def test_after_a_break_bars_come_again_from_the_last_closed_one() -> None:
    protocol = opened(AlorMarket(), bars(start=str(NOW - 180)))
    records(protocol, *frames(NOW - 120, NOW - 60, NOW))

    request = begin(protocol)[0]
    found = records(protocol, *frames(NOW - 60, NOW, NOW + 60))

    assert (request["from"], request["skipHistory"]) == (NOW - 60, False)
    assert starts(found) == [NOW - 60, NOW, NOW + 60]


def test_after_a_break_with_one_bar_known_it_comes_again() -> None:
    protocol = opened(AlorMarket(), bars(start=""))
    records(protocol, *frames(NOW))

    assert begin(protocol)[0]["from"] == NOW


def test_past_is_over_with_the_reply_behind_a_bar_that_runs_now() -> None:
    protocol = AlorMarket()
    begin(protocol)
    protocol.subscribe([bars()])
    running = RECEIVED // 10**9 // 60 * 60

    receive(protocol, *frames(running - 60))
    closed_only = is_past_over(protocol)
    receive(protocol, *frames(running))
    unanswered = is_past_over(protocol)
    receive(protocol, reply(GUID))

    assert (closed_only, unanswered, is_past_over(protocol)) == (False, False, True)


def test_past_that_follows_the_reply_is_over_with_a_bar_that_runs_now() -> None:
    protocol = AlorMarket()
    begin(protocol)
    protocol.subscribe([bars()])
    running = RECEIVED // 10**9 // 60 * 60

    receive(protocol, reply(GUID), *frames(running - 120, running - 60))
    still = is_past_over(protocol)
    receive(protocol, *frames(running))

    assert (still, is_past_over(protocol)) == (False, True)


def test_past_is_over_after_a_second_of_silence_behind_the_reply() -> None:
    protocol = AlorMarket()
    begin(protocol)
    protocol.subscribe([bars()])
    receive(protocol, *frames(NOW - 6_000), reply(GUID))

    receive(protocol, *frames(NOW - 5_940), received=RECEIVED + 1_500_000_000)

    assert is_past_over(protocol) is True


def test_value_that_is_missing_is_nan_and_a_bar_without_a_time_is_left_out() -> None:
    protocol = opened(AlorMarket(), bars())

    found = records(protocol, data(GUID, bar(NOW, v=None)), data(GUID, bar(NOW, t=None)), data(GUID, bar(NOW, t=0)))

    assert starts(found) == [NOW]
    assert str(found[0][2][4]) == "nan"


def test_a_bar_of_next_month_is_unreadable_and_later_bars_come_all_the_same() -> None:
    protocol = opened(AlorMarket(), bars())

    found = records(protocol, *frames(NOW, NOW + 30 * 86_400, NOW + 60))

    assert starts(found) == [NOW, NOW + 60]

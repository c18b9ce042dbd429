from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.brokers.aries.account_objects import rows_of
from aries_nb.brokers.aries.accounts import ROWS_A_CALL, AriesAccounts
from aries_nb.brokers.aries.topics import ROWS_KEPT
from aries_nb.model import (
    CLEAR,
    ORDER_COLUMNS,
    POSITION_COLUMNS,
    PUT,
    TABLE_KEYS,
    Pong,
    SessionLost,
    Subscription,
    TokenWanted,
    Unfinished,
    Unreadable,
)
from tests.brokers.aries.account_lines import (
    ACCOUNTS,
    BALANCES,
    LISTS,
    MINUTES,
    NEWS,
    ORDERS,
    POSITIONS,
    account_event,
    ack,
    answer,
    asked,
    connected,
    every,
    opened,
    order,
    position,
    records,
    reopen,
    sent,
    table,
    topic_event,
    whole,
)
from tests.brokers.aries.lines import RECEIVED, counts, event, frame, line, said
from tests.brokers.refusals import by_symbol

UPDATED = 1_772_463_845 * 10**9
EVERYTHING = (ORDERS, POSITIONS, BALANCES, ACCOUNTS, MINUTES, LISTS, NEWS)


# Columns.


@pytest.mark.parametrize(("kind", "common"), [("orders", ORDER_COLUMNS), ("positions", POSITION_COLUMNS)])
def test_columns_of_all_brokers_come_first(kind: Any, common: Any) -> None:
    columns = AriesAccounts().COLUMNS.get(kind, {})

    assert list(columns.items())[: len(common)] == [tuple(column) for column in common]


@pytest.mark.parametrize("kind", ["orders", "positions", "balances", "accounts", "pnl", "watchlists", "news"])
def test_every_kind_has_the_columns_of_its_key(kind: Any) -> None:
    columns = AriesAccounts().COLUMNS.get(kind, {})

    assert columns
    assert set(TABLE_KEYS[kind]) <= set(columns)


def test_a_kind_that_the_broker_lacks_has_no_columns() -> None:
    assert not AriesAccounts().COLUMNS.get("stop_orders", {})


def test_balances_have_every_field_of_the_protocol_page() -> None:
    columns = AriesAccounts().COLUMNS.get("balances", {})

    assert len(columns) == 40  # the account's id is the subscription's
    assert columns["day_trade_overnight_reg_t_buying_power"] == "decimal"
    assert columns["sod_ttl_equity_updated_at"] == "time"
    assert columns["pending_orders_count"] == "integer"


# Requests.


def test_each_kind_is_asked_for_by_its_topic() -> None:
    protocol = connected()

    protocol.subscribe(EVERYTHING)

    params = {"accountId": "ACC-1", "startTime": "2026-03-02T14:30:00Z", "interval": "1m"}
    assert [message["payload"] for message in sent(protocol, "subscribe")] == [
        {"topic": "account", "params": {"accountId": "ACC-1"}},
        {"topic": "pnl", "params": params},
        {"topic": "watchlist"},
        {"topic": "news", "params": {}},
    ]


def test_kinds_of_one_account_share_a_topic_until_the_last_is_given_up() -> None:
    protocol = opened(ORDERS, POSITIONS)

    number = protocol.subscribe([BALANCES, ORDERS])
    added = sent(protocol)
    protocol.unsubscribe([ORDERS, BALANCES])
    early = sent(protocol)
    protocol.unsubscribe([POSITIONS])

    assert [message["id"] for message in added] == [f"ping-{number}"]
    assert early == []
    (message,) = sent(protocol)
    assert (message["type"], message["payload"]) == (
        "unsubscribe",
        {"topic": "account", "params": {"accountId": "ACC-1"}},
    )


def test_intervals_of_a_pnl_are_requests_of_their_own_and_end_together() -> None:
    hours = every("pnl", options=(("interval", "1h"), ("start", "2026-03-02T00:00:00Z")))
    protocol = connected()

    protocol.subscribe([MINUTES, hours])
    asked = sent(protocol, "subscribe")
    protocol.unsubscribe([MINUTES])
    first = sent(protocol)
    protocol.unsubscribe([hours])

    assert [message["payload"]["params"]["interval"] for message in asked] == ["1m", "1h"]
    assert first == []
    assert [message["payload"] for message in sent(protocol)] == [{"topic": "pnl", "params": {"accountId": "ACC-1"}}]


@pytest.mark.parametrize("subscription", [LISTS, NEWS])
def test_topics_of_the_user_are_given_up_without_params(subscription: Subscription) -> None:
    protocol = opened(subscription)

    protocol.unsubscribe([subscription])

    assert [message["payload"] for message in sent(protocol)] == [
        {"topic": "watchlist" if subscription is LISTS else "news"}
    ]


def test_news_are_asked_for_as_the_union_of_what_is_wanted() -> None:
    one = every("news", "", (("symbols", "MSFT, AAPL"),))
    other = every("news", "", (("symbols", "TSLA"), ("topics", "earnings")))
    protocol = opened(one)

    protocol.subscribe([other])

    assert [message["payload"] for message in sent(protocol, "subscribe")] == [
        {"topic": "news", "params": {"symbols": ["AAPL", "MSFT", "TSLA"]}}
    ]


def test_nothing_is_asked_before_the_session_is_open_and_everything_after() -> None:
    protocol = AriesAccounts()

    number = protocol.subscribe(EVERYTHING)

    assert number == 0
    assert protocol.outgoing() == []
    assert [message["type"] for message in reopen(protocol)] == ["subscribe"] * 4 + ["ping"]


def test_everything_is_asked_again_after_a_reconnect() -> None:
    protocol = opened(*EVERYTHING)

    again = reopen(protocol)

    assert [message["type"] for message in again] == ["subscribe"] * 4 + ["ping"]


def test_what_was_given_up_is_not_asked_again() -> None:
    protocol = opened(ORDERS, LISTS)
    protocol.unsubscribe([ORDERS])

    again = reopen(protocol)

    assert [message["payload"]["topic"] for message in again if message["type"] == "subscribe"] == ["watchlist"]


# Answers.


def pong(number: int) -> dict[str, Any]:
    return {"type": "pong", "id": f"ping-{number}"}


def notices(protocol: AriesAccounts, *messages: object) -> list[Any]:
    return list(protocol.receive([frame(*messages)], RECEIVED)[1])


def test_pong_waits_for_every_answer() -> None:
    protocol, (first, second), number = asked(ORDERS, LISTS)

    early = notices(protocol, pong(number))
    one = notices(protocol, ack(second))
    last = notices(protocol, ack(first))

    assert (early, one) == ([], [])
    assert last == [Pong(number)]


def test_pong_after_all_answers_is_given_at_once() -> None:
    protocol, (request,), number = asked(ORDERS)
    notices(protocol, ack(request))

    assert notices(protocol, pong(number)) == [Pong(number)]


def test_pong_does_not_wait_for_answers_to_what_was_asked_later() -> None:
    protocol, (request,), number = asked(ORDERS)
    notices(protocol, ack(request))
    protocol.subscribe([LISTS])

    assert notices(protocol, pong(number)) == [Pong(number)]


@pytest.mark.parametrize("kind", ["subscribed", "response", "pong"])
def test_answer_may_be_of_any_type_the_vendors_client_takes(kind: str) -> None:
    protocol, (request,), number = asked(ORDERS)

    found = notices(protocol, pong(number), {"type": kind, "id": request["id"]})

    assert found == [Pong(number)]


@pytest.mark.parametrize(
    "refusal",
    [
        lambda request: event("error", id=request, error="no such account"),
        lambda request: {"type": "response", "id": request, "payload": {"status": 404, "message": "no such account"}},
        lambda request: {
            "type": "subscribed",
            "id": request,
            "payload": {"topic": "account", "error": "no such account"},
        },
        lambda request: {
            "type": "event",
            "id": request,
            "payload": {"topic": "account", "action": "error", "message": "no such account"},
        },
    ],
)
def test_refusal_names_the_account_and_lets_the_pong_go(refusal: Any) -> None:
    protocol, (request,), number = asked(ORDERS)

    found = notices(protocol, pong(number), refusal(request["id"]))

    assert by_symbol(found) == [(("ACC-1",), "no such account"), Pong(number)]


def test_what_was_refused_is_asked_again_by_the_next_subscribe_and_not_given_up_twice() -> None:
    protocol, (request,), _ = asked(ORDERS)
    notices(protocol, event("error", id=request["id"], error="busy"))

    protocol.subscribe([POSITIONS])
    again = sent(protocol, "subscribe")
    notices(protocol, event("error", id=again[0]["id"], error="busy"))
    protocol.unsubscribe([ORDERS, POSITIONS])

    assert len(again) == 1
    assert sent(protocol) == []


def test_error_about_nothing_we_asked_names_no_account() -> None:
    protocol = opened(ORDERS)

    assert by_symbol(notices(protocol, event("error", error="slow down"))) == [((), "slow down")]
    assert by_symbol(notices(protocol, event("error", error="gone", id="unsubscribe-9"))) == [((), "gone")]


def test_missing_answer_is_a_rejection_after_ten_seconds() -> None:
    protocol, _, number = asked(ORDERS)
    notices(protocol, pong(number))

    before = protocol.tick(10.0)
    after = protocol.tick(10.5)

    assert list(before) == []
    assert by_symbol(after) == [(("ACC-1",), "no answer about account within 10 s"), Pong(number)]


def test_snapshot_that_comes_after_the_time_limit_is_still_used() -> None:
    protocol, (request,), number = asked(ORDERS)
    notices(protocol, pong(number))
    protocol.tick(10.5)

    found = records(protocol, ack(request, data={"ordersV2": [order()]}))

    assert [record[2][0] for record in found] == [CLEAR, PUT]


def test_giving_up_what_is_not_answered_lets_the_pong_go() -> None:
    protocol, _, number = asked(ORDERS)
    notices(protocol, pong(number))

    protocol.unsubscribe([ORDERS])

    assert list(protocol.tick(1.0)) == [Pong(number)]


def test_what_an_old_connection_owes_holds_nothing_back_on_a_new_one() -> None:
    protocol, _, old = asked(ORDERS)
    notices(protocol, pong(old))

    request, ping = reopen(protocol)
    found = notices(protocol, ack(request), pong(old), {"type": "pong", "id": ping["id"]})

    assert [f"ping-{notice.number}" for notice in found] == [ping["id"]]


def test_pong_that_is_held_back_at_a_break_is_dropped() -> None:
    protocol, _, number = asked(ORDERS)
    notices(protocol, pong(number))

    protocol.open(0.0)

    assert list(protocol.tick(0.0)) == []


def test_what_was_never_answered_is_asked_again_by_the_next_subscribe() -> None:
    protocol, (request,), _ = asked(ORDERS)
    protocol.tick(10.5)

    protocol.subscribe([POSITIONS])

    assert [message["payload"] for message in sent(protocol, "subscribe")] == [request["payload"]]


def test_error_that_is_no_text_is_shown_all_the_same() -> None:
    protocol, (request,), _ = asked(ORDERS)

    (rejected,) = notices(protocol, event("error", id=request["id"], error={"limit": 0.5}))

    assert by_symbol([rejected]) == [(("ACC-1",), '{"limit": "0.5"}')]


@pytest.mark.parametrize(
    "payload",
    [{}, {"topic": "account"}, {"topic": "account", "data": {"success": True}}, {"topic": "watchlist", "data": {}}],
)
def test_answer_to_an_unsubscribe_is_no_noise(payload: dict[str, Any]) -> None:
    protocol = opened(ORDERS, LISTS)
    protocol.unsubscribe([ORDERS])
    (request,) = sent(protocol)

    assert notices(protocol, {"type": "response", "id": request["id"], "payload": payload}) == []


def test_session_speaks_as_on_the_other_endpoints() -> None:
    protocol = opened(ORDERS)

    said = notices(protocol, event("refreshAuth"), event("authExpired"), {"type": "news"})

    assert said[:2] == [TokenWanted(), SessionLost("authExpired", "token")]
    assert isinstance(said[2], Unreadable)


# Snapshots.

LISTS_OF_ALL = {
    "account": {"accountId": "ACC-1", "cashBalance": "1.50"},
    "positions": [position()],
    "ordersV2": [order()],
}


@pytest.mark.parametrize(
    "place",
    [
        lambda request: ack(request, data=LISTS_OF_ALL),
        lambda request: ack(request, snapshot=LISTS_OF_ALL),
        lambda request: ack(request, **LISTS_OF_ALL),
        lambda request: [ack(request), topic_event("account", LISTS_OF_ALL)],
        lambda request: [ack(request), topic_event("accUpdates", LISTS_OF_ALL)],
        lambda request: [ack(request), topic_event("account", None, snapshot=LISTS_OF_ALL, target="ACC-1")],
    ],
)
def test_snapshot_is_found_wherever_it_is(place: Any) -> None:
    protocol, (request,), _ = asked(ORDERS, POSITIONS, BALANCES)
    messages = place(request)

    found = records(protocol, *(messages if isinstance(messages, list) else [messages]))

    said = [(record[0].kind, record[2][0]) for record in found]
    assert sorted(said) == sorted(
        [(kind, code) for kind in ("orders", "positions", "balances") for code in (CLEAR, PUT)]
    )
    assert [code for kind, code in said if kind == "orders"] == [CLEAR, PUT]
    assert table(found, BALANCES)[()]["cash"] == "1.50"


@pytest.mark.parametrize("nothing", [[], None])
@pytest.mark.parametrize(("key", "subscription"), [("ordersV2", ORDERS), ("orders", ORDERS), ("positions", POSITIONS)])
def test_empty_list_clears(nothing: object, key: str, subscription: Subscription) -> None:
    protocol, (request,), _ = asked(ORDERS, POSITIONS)

    found = records(protocol, ack(request, data={key: nothing, "account": {}}))

    assert [(record[0], record[2][0]) for record in found] == [(subscription, CLEAR)]


def test_account_in_a_snapshot_may_hold_the_info_the_balance_or_both() -> None:
    protocol, (request,), _ = asked(BALANCES, ACCOUNTS)
    info = {"trading_account_id": "ACC-1", "is_sim": True, "status": "OPEN"}

    found = records(
        protocol,
        ack(request, data={"account": info}),
        topic_event("account", {"account": {**info, "cashBalance": "1"}}),
        topic_event("account", {"account": {"info": info, "balance": {"cashBalance": "2"}}}),
    )

    assert [(record[0].kind, record[2][0]) for record in found] == [
        ("accounts", CLEAR), ("accounts", PUT),
        ("accounts", CLEAR), ("accounts", PUT), ("balances", CLEAR), ("balances", PUT),
        ("balances", CLEAR), ("balances", PUT), ("accounts", CLEAR), ("accounts", PUT),
    ]  # fmt: skip
    assert table(found, ACCOUNTS)[()]["is_sim"] == "true"
    assert table(found, BALANCES)[()]["cash"] == "2"


def test_snapshot_that_is_no_list_is_named_and_clears_nothing() -> None:
    protocol, (request,), _ = asked(ORDERS)

    found, notices = protocol.receive([line(ack(request, data={"ordersV2": "many"}))], RECEIVED)

    assert list(found) == []
    assert [type(notice) for notice in said(notices)] == [Unreadable]
    assert counts(notices) == {("orders", "unreadable"): 1}


def test_bad_object_of_a_snapshot_does_not_spoil_the_others() -> None:
    protocol, (request,), _ = asked(ORDERS)

    found, said = protocol.receive(
        [line(ack(request, data={"ordersV2": [order(1), 7, {"symbol": "MSFT"}, order(2)]}))], RECEIVED
    )

    assert list(table(found, ORDERS)) == [("ORD-1",), ("ORD-2",)]
    assert [notice.reason for notice in said if isinstance(notice, Unreadable)] == [
        "orders hold something that is no object",
        "orders without a usable order_id",
    ]


def test_snapshot_after_a_reconnect_ends_rows_that_are_no_more() -> None:
    protocol = opened(ORDERS)
    before = records(protocol, account_event("order", order(1)), account_event("order", order(2)))

    request = next(message for message in reopen(protocol) if message["type"] == "subscribe")
    after = records(protocol, ack(request, data={"ordersV2": [order(2, ordStatus="FILLED")]}))

    rows = table([*before, *after], ORDERS)
    assert {key: row["status"] for key, row in rows.items()} == {("ORD-2",): "FILLED"}


@st.composite
def split(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Final orders, and messages that lead there: a snapshot of some states, then events, in any shape."""
    numbers = draw(st.lists(st.integers(0, 6), unique=True, max_size=6))
    final = [order(n, cumQty=str(draw(st.decimals(0, 9, places=2)))) for n in numbers]
    listed = [item for item in final if draw(st.booleans())]
    stale = [{**item, "cumQty": "0"} for item in final if draw(st.booleans())]
    key = draw(st.sampled_from(["ordersV2", "orders"]))
    events = [item for item in final if item not in listed or item["clOrdId"] in {each["clOrdId"] for each in stale}]
    snapshot = [next((old for old in stale if old["clOrdId"] == item["clOrdId"]), item) for item in listed]
    messages: list[dict[str, Any]] = [topic_event("account", {key: snapshot})]
    while events:
        count = draw(st.integers(1, len(events)))
        some, events = events[:count], events[count:]
        if draw(st.booleans()):
            messages += [account_event("order", item) for item in some]
        elif draw(st.booleans()):
            messages.append(account_event("order", some))
        else:
            messages += [topic_event("accUpdates", item, target="ACC-1") for item in some]
    return final, messages


@settings(max_examples=60, deadline=None)
@given(split(), st.randoms(use_true_random=False))
def test_any_split_into_snapshot_and_events_gives_the_same_rows(
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]], dice: random.Random
) -> None:
    final, messages = parts
    whole, piecewise = opened(ORDERS), opened(ORDERS)
    tail = messages[1:]
    dice.shuffle(tail)

    at_once = records(whole, topic_event("account", {"ordersV2": final}))
    bit_by_bit = [record for message in [messages[0], *tail] for record in records(piecewise, message)]

    assert table(bit_by_bit, ORDERS) == table(at_once, ORDERS)


# Seeding.


def test_stream_added_to_a_running_topic_gets_what_is_known() -> None:
    protocol = opened(ORDERS)
    records(
        protocol,
        topic_event("account", {"positions": [position(), position("AAPL")], "ordersV2": []}),
        account_event("position", position("AAPL", quantity="0")),
    )

    number = protocol.subscribe([POSITIONS])
    found = list(protocol.receive([line(pong(number))], RECEIVED)[0])

    assert [record[2][0] for record in found] == [CLEAR, PUT, PUT]
    assert {key: row["quantity"] for key, row in table(found, POSITIONS).items()} == {("MSFT",): "10", ("AAPL",): "0"}


def test_seed_comes_once_and_before_what_follows() -> None:
    protocol = opened(ORDERS)
    records(protocol, account_event("position", position()))
    protocol.subscribe([POSITIONS, POSITIONS])

    found = records(protocol, account_event("position", position(quantity="11")))

    assert [record[2][0] for record in found] == [CLEAR, PUT, PUT]
    assert table(found, POSITIONS)[("MSFT",)]["quantity"] == "11"
    assert records(protocol) == []


def test_there_is_no_seed_of_what_is_not_known_was_given_up_or_is_from_before_a_break() -> None:
    protocol = opened(ORDERS)
    protocol.subscribe([POSITIONS])
    unknown = records(protocol)
    records(protocol, account_event("balance", {"cashBalance": "1"}))
    protocol.subscribe([BALANCES])
    protocol.unsubscribe([BALANCES])
    given_up = records(protocol)
    reopen(protocol)
    protocol.subscribe([BALANCES])

    assert (unknown, given_up, records(protocol)) == ([], [], [])


def test_seed_that_waits_at_a_break_is_dropped() -> None:
    protocol = opened(ORDERS)
    records(protocol, account_event("position", position()))
    protocol.subscribe([POSITIONS])

    protocol.open(0.0)

    assert records(protocol) == []


def test_known_empty_list_seeds_as_empty() -> None:
    protocol = opened(ORDERS)
    records(protocol, topic_event("account", {"positions": []}))

    protocol.subscribe([POSITIONS])

    assert [record[2][0] for record in records(protocol)] == [CLEAR]


MOST_ROWS = ROWS_KEPT + ROWS_KEPT // 10  # one more, and the oldest are dropped


def test_rows_kept_for_seeding_are_bounded_and_finished_orders_go_first() -> None:
    protocol = opened(ORDERS)
    many = [order(n, ordStatus="FILLED" if n % 2 else "NEW") for n in range(MOST_ROWS)]
    records(protocol, topic_event("account", {"ordersV2": many}))
    records(protocol, account_event("order", order(10**6)))
    again = Subscription("orders", "ACC-1", ("order_id", "status"))

    protocol.subscribe([again])
    rows = table(records(protocol), again)

    assert len(rows) == ROWS_KEPT
    gone = [item for item in many if (item["clOrdId"],) not in rows]
    assert [item["clOrdId"] for item in gone] == [f"ORD-{2 * n + 1}" for n in range(MOST_ROWS + 1 - ROWS_KEPT)]


def test_row_that_came_again_is_not_the_oldest() -> None:
    protocol = opened(ORDERS)
    records(protocol, topic_event("account", {"ordersV2": [order(n) for n in range(MOST_ROWS)]}))
    records(protocol, account_event("order", order(0)), account_event("order", order(10**6)))
    again = Subscription("orders", "ACC-1", ("order_id",))

    protocol.subscribe([again])
    rows = table(records(protocol), again)

    assert (("ORD-0",) in rows, ("ORD-1",) in rows) == (True, False)


# Long lists.


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were decoded at a time."""
    sizes: list[int] = []

    def spied(kind: Any, items: Any, line: bytes) -> Any:
        sizes.append(len(items))
        return rows_of(kind, items, line)

    monkeypatch.setattr("aries_nb.brokers.aries.accounts.rows_of", spied)
    return sizes


@pytest.mark.parametrize("count", [0, 1, ROWS_A_CALL, ROWS_A_CALL + 1, 3 * ROWS_A_CALL])
def test_a_long_list_is_decoded_in_parts_and_comes_as_a_whole(count: int, decoded: list[int]) -> None:
    protocol = opened(ORDERS)
    snapshot = frame(topic_event("account", {"ordersV2": [order(n) for n in range(count)]}))
    calls = [protocol.receive([snapshot], RECEIVED)]
    while Unfinished() in calls[-1][1]:
        assert not calls[-1][0]
        calls.append(protocol.receive((), RECEIVED))

    found, notices = calls[-1]
    assert list(table(found, ORDERS)) == [(f"ORD-{n}",) for n in range(count)]
    assert not notices
    assert len(calls) == len(decoded) == max(1, -(-count // ROWS_A_CALL))
    assert max(decoded) <= ROWS_A_CALL


def test_what_follows_a_long_list_in_its_frame_comes_after_it() -> None:
    protocol = connected()
    ping = protocol.subscribe([ORDERS])
    request, asked_back = sent(protocol)
    pong = {"type": "pong", "id": asked_back["id"]}
    snapshot = ack(request, data={"ordersV2": [order(n, ordStatus="NEW") for n in range(2 * ROWS_A_CALL)]})
    later = account_event("order", order(1, ordStatus="FILLED"))

    first, given = protocol.receive([frame(snapshot, pong, later)], RECEIVED)
    between = protocol.tick(1.0)
    found, notices = protocol.receive((), RECEIVED)

    assert (list(first), list(given), list(between)) == ([], [Unfinished()], [])
    assert table(found, ORDERS)["ORD-1",]["status"] == "FILLED"
    assert [Pong(ping)] == list(notices)


def test_a_long_list_of_a_broken_connection_is_dropped() -> None:
    protocol = opened(ORDERS)
    many = topic_event("account", {"ordersV2": [order(n) for n in range(2 * ROWS_A_CALL)]})
    protocol.receive([frame(many)], RECEIVED)

    protocol.open(0.0)

    assert protocol.receive((), RECEIVED) == ([], [])


def test_a_long_list_of_what_was_unsubscribed_meanwhile_has_no_rows() -> None:
    protocol = opened(ORDERS)
    many = topic_event("account", {"ordersV2": [order(n) for n in range(2 * ROWS_A_CALL)]})
    protocol.receive([frame(many)], RECEIVED)

    protocol.unsubscribe([ORDERS])

    assert protocol.receive((), RECEIVED) == ([], [])


@pytest.mark.parametrize("name", ["event", "candles"])
def test_long_lists_of_changes_come_in_parts(name: str, decoded: list[int]) -> None:
    count = 2 * ROWS_A_CALL
    if name == "event":
        protocol = opened(ORDERS)
        message = account_event("order", [order(n) for n in range(count)])
    else:
        protocol = opened(MINUTES)
        message = topic_event(
            "pnl", {"candles": [{"interval": "1m", "time": 60 * n, "close": 1} for n in range(1, count + 1)]}
        )

    first, given = protocol.receive([frame(message)], RECEIVED)
    found, _ = whole(protocol, b"")

    assert Unfinished() in given
    assert 0 < len(first) <= ROWS_A_CALL
    assert len(first) + len(found) == count == len(decoded)


# Rubbish.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["ACC-1", "account", "pnl", "news", "watchlist", "error", "1", "0.10"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["accountId", "clOrdId", "symbol", "symbols", "qty", "legs", "ordersV2", "positions", "account", "data",
             "candles", "time", "id", "name", "interval", "authors", "status", "error", "target", "timestamp"]
        ) | st.text(max_size=4),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["event", "subscribed", "response", "pong", "x"]),
    topic=st.sampled_from(["account", "accUpdates", "pnl", "watchlist", "news"]) | JSON,
    name=st.sampled_from(["account.order", "account.position", "account.balance", "account.info"]) | JSON,
    request=st.sampled_from(["subscribe-2", "subscribe-3", "ping-9"]) | JSON,
    data=JSON,
    rest=JSON,
)
def test_rubbish_never_raises(
    kind: str, topic: object, name: object, request: object, data: object, rest: object
) -> None:
    protocol = connected()
    columns = protocol.COLUMNS
    protocol.subscribe(EVERYTHING)
    payload = {**(rest if isinstance(rest, dict) else {}), "topic": topic, "name": name, "data": data}

    for message in ({"type": kind, "id": request, "payload": payload}, {"type": kind, "payload": rest}, rest):
        found, said = protocol.receive([line(message)], RECEIVED)
        for record in found:
            assert len(record[2]) == len(record[0].fields) + 1
            for value, column in zip(record[2][1:], columns[record[0].kind].values(), strict=True):
                assert isinstance(value, {"decimal": Decimal, "text": str, "number": float}.get(column, int))
        assert all(len(notice.excerpt) <= 200 for notice in said if isinstance(notice, Unreadable))

    protocol.subscribe([ORDERS])
    answer(protocol)
    good = account_event("order", order(77))
    assert ("ORD-77",) in table(protocol.receive([line(good)], RECEIVED)[0], ORDERS)


@pytest.mark.parametrize("place", ["legs", "symbol", "qty", "authors"])
def test_depth_of_nesting_never_raises(place: str) -> None:
    protocol = opened(ORDERS, NEWS)
    raw = line(account_event("order", order(**{place: "HERE"})))

    for depth in (10, *range(850, 1010, 3), 100_000):
        protocol.receive([raw.replace(b'"HERE"', b"[" * depth + b"]" * depth)], RECEIVED)

    assert len(records(protocol, account_event("order", order()))) == 1


def test_token_of_a_line_that_cannot_be_used_is_masked() -> None:
    protocol = opened(ORDERS)

    _, (unreadable,) = protocol.receive([line({"type": "other", "token": "very-secret-token-value"})], RECEIVED)

    assert isinstance(unreadable, Unreadable)
    assert "secret" not in unreadable.excerpt

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aries_nb.sim.aries.subscriptions import GREEKS_FIELDS, QUOTE_FIELDS, TIME_AND_SALES_FIELDS, TRADE_FIELDS
from aries_nb.sim.market.instruments import INDICES
from tests.sim.bare_client import streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aries_nb.sim import Simulator
    from tests.sim.bare_client import BareClient

Connect = Any
INTEGERS = {"bidSize", "askSize", "bidSizeChange", "askSizeChange", "bidTimestamp", "askTimestamp", "quoteTimestamp",
            "size", "totalVolume", "tickVolume", "tradeSeq", "tradeTimestamp"}  # fmt: skip
TEXTS = {"bidExchange", "askExchange", "tick"}


def option_symbol(bare: BareClient, root: str = "AAPL") -> str:
    expiry = bare.request(f"/options/{root}/expiry-dates")["payload"]["body"]["expiryDates"][4]
    calls = bare.request(f"/options/{root}/contracts/{expiry}")["payload"]["body"]["calls"]
    return calls[len(calls) // 2]["symbol"]


def levels(rows: list[str]) -> tuple[dict[float, float], dict[float, float]]:
    """Asks and bids of compact rows, zeros included."""
    asks, bids = {}, {}
    for row in rows:
        ask, price, bid = (float(part) for part in row.split(":"))
        asks[price], bids[price] = ask, bid
    return asks, bids


@pytest.mark.parametrize(("stream", "fields"), [("quote", QUOTE_FIELDS), ("trade", TRADE_FIELDS)])
def test_snapshot_has_every_field_in_the_type_of_the_page(
    client: Connect, stream: str, fields: tuple[str, ...]
) -> None:
    bare = client()

    bare.subscribe({"symbol": "AAPL", f"{stream}Fields": "*"})
    (payload,) = bare.receive_updates(stream, 1)

    assert payload.keys() == {"action", "type", "symbol", "data", "timestamp"}
    assert payload["data"].keys() == set(fields)
    for name, value in payload["data"].items():
        assert type(value) is (int if name in INTEGERS else str if name in TEXTS else float), name
    assert payload["timestamp"] == payload["data"][f"{stream}Timestamp"]


def test_updates_hold_only_what_changed_and_merge_to_the_next_snapshot(client: Connect) -> None:
    bare = client(rate=2000)
    bare.subscribe({"symbol": "AAPL", "quoteFields": "*"})
    merged = dict(bare.receive_updates("quote", 1)[0]["data"])

    for update in bare.receive_updates("quote", 300):
        changed = {name for name, value in update["data"].items() if merged[name] != value}
        assert changed == update["data"].keys()
        merged |= update["data"]
        assert update["timestamp"] == merged["quoteTimestamp"]
        assert merged["bidPrice"] < merged["askPrice"]
        assert merged["spread"] == round(merged["askPrice"] - merged["bidPrice"], 4)

    # Between the last update and the snapshot only updates may come, which are merged as well.
    bare.subscribe({"symbol": "AAPL", "quoteFields": "*"}, ident="again")
    while True:
        data = bare.receive_updates("quote", 1)[0]["data"]
        if len(data) == len(QUOTE_FIELDS):
            break
        merged |= data
    assert data == merged


def test_only_the_selected_fields_are_sent(client: Connect) -> None:
    bare = client(rate=2000)

    bare.subscribe({"symbol": "AAPL", "quoteFields": ["askPrice", "bidPrice"], "tradeFields": "lastPrice"})
    quotes = bare.receive_updates("quote", 20)
    trades = bare.receive_updates("trade", 5)

    assert list(quotes[0]["data"]) == ["askPrice", "bidPrice"]
    assert all(update["data"] and update["data"].keys() <= {"askPrice", "bidPrice"} for update in quotes)
    assert all(update["data"].keys() == {"lastPrice"} for update in trades)


def test_subscribing_again_unites_the_fields_and_sends_a_new_snapshot(
    serve: Callable[..., Simulator], client: Connect
) -> None:
    sim = serve(rate=1)
    bare = client(sim=sim)
    bare.subscribe({"symbol": "AAPL", "quoteFields": ["bidPrice"]})
    bare.sync()

    bare.subscribe({"symbol": "AAPL", "quoteFields": ["askPrice"], "timeAndSales": True})
    snapshots = [message["payload"]["data"] for message in bare.sync() if message["payload"].get("type") == "quote"]

    assert list(snapshots[0]) == ["bidPrice", "askPrice"]
    assert sim.subscriptions() == [
        {"AAPL": streams(quote=["bidPrice", "askPrice"], timeAndSales=list(TIME_AND_SALES_FIELDS))}
    ]


def test_prints_are_texts_without_snapshot_or_gap(client: Connect) -> None:
    bare = client(rate=1000)

    bare.subscribe({"symbol": "MSFT", "timeAndSales": True})
    prints = [update["data"] for update in bare.receive_updates("timeAndSales", 100)]

    assert all(tuple(data) == TIME_AND_SALES_FIELDS for data in prints)
    assert all(type(value) is str for data in prints for value in data.values())
    numbers = [int(data["tradeSeq"]) for data in prints]
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    assert {data["tick"] for data in prints} == {"+", "-"}
    assert all(float(data["price"]) > 0 and int(data["size"]) > 0 for data in prints)


def test_book_agrees_with_the_quote_and_trades_happen_at_it(client: Connect) -> None:
    bare = client(rate=4000)
    bare.subscribe({"symbol": "AAPL", "level2": True, "quoteFields": "*", "timeAndSales": True})
    quote: dict[str, Any] = {}
    held: tuple[dict[float, float], dict[float, float]] = ({}, {})
    books = prints = 0

    while books < 400:
        payload = bare.receive()["payload"]
        data = payload.get("data", {})
        match payload.get("type"):
            case "quote":
                before = dict(quote)
                quote |= data
            case "timeAndSales":
                # The print follows the quote that it changed: its price was the bid or the ask before.
                prints += 1
                assert float(data["price"]) == before["askPrice" if data["tick"] == "+" else "bidPrice"]
            case "level2":
                books += 1
                asks, bids = levels(data["orderBook"])
                for side, rows in zip(held, (asks, bids), strict=True):
                    side |= rows
                    for price in [price for price, size in side.items() if not size]:
                        del side[price]
                # Read as a whole book or as a change, the result is the same.
                assert held == ({p: s for p, s in asks.items() if s}, {p: s for p, s in bids.items() if s})
                best_ask, best_bid = min(held[0]), max(held[1])
                assert (best_ask, held[0][best_ask]) == (quote["askPrice"], quote["askSize"])
                assert (best_bid, held[1][best_bid]) == (quote["bidPrice"], quote["bidSize"])
                assert len(held[0]) == len(held[1]) == 20
                venues = [[float(part) for part in row.split(":")[1:]] for row in data["quotes"]]
                assert min((ask, size) for ask, size, _, _ in venues) == (quote["askPrice"], quote["askSize"])
                assert max((bid, size) for _, _, bid, size in venues) == (quote["bidPrice"], quote["bidSize"])

    assert prints > 20


def test_book_has_no_snapshot(client: Connect) -> None:
    bare = client(rate=1)
    bare.sync()

    bare.subscribe({"symbol": "AAPL", "level2": True})

    assert bare.sync() == []


@pytest.mark.parametrize("symbol", [*INDICES])
def test_index_has_trades_and_never_quotes(client: Connect, symbol: str) -> None:
    bare = client(rate=500)
    bare.sync()

    bare.subscribe({"symbol": symbol, "quoteFields": "*", "tradeFields": "*", "level2": True, "timeAndSales": True})
    updates = [bare.receive()["payload"] for _ in range(10)]

    assert {update["type"] for update in updates} == {"trade"}
    assert {"lastPrice", "openPrice", "highPrice", "lowPrice", "netChange"} <= updates[0]["data"].keys()


def test_greeks_come_for_options_alone(client: Connect) -> None:
    bare = client(rate=500)
    symbol = option_symbol(bare)
    bare.sync()

    bare.subscribe({"symbol": "AAPL", "greeksFields": "*"})
    silence = bare.sync()
    bare.subscribe({"symbol": symbol, "symbolType": "option", "greeksFields": "*", "quoteFields": ["bidPrice"]})
    greeks = [update["data"] for update in bare.receive_updates("greeks", 20)]

    assert silence == []
    assert tuple(greeks[0]) == GREEKS_FIELDS
    assert 0.3 < greeks[0]["delta"] < 0.8
    assert greeks[0]["theta"] < 0 < greeks[0]["gamma"]
    assert all(data and data.keys() <= set(GREEKS_FIELDS) for data in greeks)


def test_share_is_no_option(client: Connect) -> None:
    bare = client()

    bare.subscribe({"symbol": "AAPL", "symbolType": "option"})

    assert bare.receive_answer("sub-1")["payload"]["code"] == "UNKNOWN_SYMBOL"


def test_unsubscribed_streams_fall_silent(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve(rate=1000)
    bare = client(sim=sim)
    bare.subscribe({"symbol": "AAPL", "quoteFields": ["bidPrice", "bidSize"], "level2": True}, {"symbol": "MSFT"})
    bare.receive_updates("level2", 5)

    bare.unsubscribe("MSFT", "NOPE", {"symbol": "AAPL", "level2": True, "quoteFields": ["bidPrice"]})
    bare.sync()
    left = [bare.receive()["payload"] for _ in range(20)]

    assert sim.subscriptions() == [{"AAPL": streams(quote=["bidSize"])}]
    assert {(update["type"], update["symbol"]) for update in left} == {("quote", "AAPL")}
    assert all(update["data"].keys() == {"bidSize"} for update in left)


def test_two_clients_get_the_same_events_in_their_own_fields(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve(rate=500)
    wide, narrow = client(sim=sim), client(sim=sim)
    narrow.subscribe({"symbol": "AAPL", "quoteFields": ["bidSize"]})
    narrow.receive_updates("quote", 1)
    wide.subscribe({"symbol": "AAPL", "quoteFields": "*"})

    sizes = [
        (u["timestamp"], u["data"]["bidSize"]) for u in wide.receive_updates("quote", 150)[1:] if "bidSize" in u["data"]
    ]
    received = [(u["timestamp"], u["data"]["bidSize"]) for u in narrow.receive_updates("quote", 150)]

    first = received.index(sizes[0])
    common = min(len(sizes), len(received) - first)
    assert common > 20
    assert sizes[:common] == received[first : first + common]


def test_closed_market_stands_still(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve(rate=1000)
    bare = client(sim=sim)
    bare.subscribe({"symbol": "AAPL", "quoteFields": "*"})
    bare.receive_updates("quote", 3)

    sim.set_market("closed")
    events = sim.statistics().market_events
    for _ in range(3):
        bare.sync()

    assert sim.statistics().market_events == events
    sim.set_market("open")
    assert bare.receive_updates("quote", 3)


# Recordings.


def collect_tape(bare: BareClient, stream: str, count: int) -> list[dict[str, Any]]:
    return [{"ts": update["timestamp"], **update["data"]} for update in bare.receive_updates(stream, count)]


def write_quotes(path: Path, count: int) -> list[tuple[int, float, float, float]]:
    rows = [(1_600_000_000_000_000_999 + n * 700_000, 100 + n / 3, 101 + n / 7, n % 5) for n in range(count)]
    times, bids, asks, sizes = zip(*rows, strict=True)
    table = {
        "ts": pa.array(times, pa.timestamp("ns", "UTC")),
        "symbol": ["AAPL"] * count,
        "bid_price": bids, "bid_size": sizes, "ask_price": asks, "ask_size": [0.5] * count,
    }  # fmt: skip
    pq.write_table(pa.table(table), path)
    return rows


@pytest.mark.parametrize("speed", [None, 1.0, 1e9])
def test_every_row_of_recorded_quotes_is_a_message_exactly_as_in_the_file(
    tmp_path: Path, client: Connect, speed: float | None
) -> None:
    rows = write_quotes(tmp_path / "tape.parquet", 500)
    bare = client(tapes=(tmp_path / "tape.parquet",), speed=speed)

    bare.subscribe({"symbol": "AAPL", "quoteFields": ["bidPrice", "askPrice", "bidSize", "askSize", "quoteTimestamp"]})
    received = collect_tape(bare, "quote", len(rows))

    assert received == [
        {
            "ts": ns // 10**6, "bidPrice": bid, "askPrice": ask, "bidSize": size, "askSize": 0.5,
            "quoteTimestamp": ns // 10**6,
        }
        for ns, bid, ask, size in rows
    ]  # fmt: skip
    assert type(received[0]["bidSize"]) is int
    assert bare.sync() == []


def test_recording_waits_for_its_first_subscriber_and_late_ones_get_the_last_row(
    tmp_path: Path, serve: Callable[..., Simulator], client: Connect
) -> None:
    rows = write_quotes(tmp_path / "tape.parquet", 3)
    sim = serve(tapes=(tmp_path / "tape.parquet",), speed=None)
    stranger, first, late = (client(sim=sim) for _ in range(3))
    stranger.subscribe({"symbol": "AAPL", "tradeFields": "*", "level2": True, "timeAndSales": True}, {"symbol": "MSFT"})
    stranger.receive_updates("quote", 20)
    before = sim.statistics().tape_rows_sent

    first.subscribe({"symbol": "AAPL", "quoteFields": "bidPrice"})
    played = collect_tape(first, "quote", 3)
    late.subscribe({"symbol": "AAPL", "quoteFields": "bidPrice"})

    assert before == 0
    assert [row["bidPrice"] for row in played] == [row[1] for row in rows]
    assert collect_tape(late, "quote", 1) == played[-1:]
    assert sim.statistics().tape_rows_sent == 3


def test_recording_replaces_the_share_and_its_options(tmp_path: Path, client: Connect) -> None:
    write_quotes(tmp_path / "tape.parquet", 3)
    bare = client(tapes=(tmp_path / "tape.parquet",))

    assert bare.request("/options/AAPL/expiry-dates")["payload"]["status"] == 404
    assert bare.request("/options/MSFT/expiry-dates")["payload"]["status"] == 200


def tape_columns(path: Path) -> dict[str, list[Any]]:
    table = pq.read_table(path)
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "ts"}
    return {**columns, "ts": [ns // 10**6 for ns in table["ts"].cast(pa.int64()).to_pylist()]}


@pytest.mark.parametrize(("name", "symbol"), [("aapl_quotes", "AAPL"), ("eurusd_quotes", "EURUSD")])
def test_recorded_quotes_arrive_row_by_row(tapes: Path, client: Connect, name: str, symbol: str) -> None:
    path = tapes / f"{name}.parquet"
    columns = tape_columns(path)
    bare = client(tapes=(path,), speed=None, queue_limit=1000)

    bare.subscribe({"symbol": symbol, "quoteFields": ["bidPrice", "bidSize", "askPrice", "askSize"]})
    received = collect_tape(bare, "quote", len(columns["ts"]))

    for ours, theirs in {
        "bidPrice": "bid_price", "bidSize": "bid_size", "askPrice": "ask_price", "askSize": "ask_size", "ts": "ts"
    }.items():  # fmt: skip
        assert [row[ours] for row in received] == columns[theirs]


def test_recorded_trades_arrive_as_prints_and_as_trades(tapes: Path, client: Connect) -> None:
    path = tapes / "btcusdt_trades.parquet"
    columns = tape_columns(path)
    bare = client(tapes=(path,), speed=None, queue_limit=40)

    bare.subscribe({"symbol": "BTCUSDT", "timeAndSales": True, "tradeFields": "*"})
    updates = [
        bare.receive_until(lambda m: m["payload"].get("symbol") == "BTCUSDT")[-1]["payload"] for _ in range(2000)
    ]
    prints = [update["data"] for update in updates if update["type"] == "timeAndSales"]
    trades = [update["data"] for update in updates if update["type"] == "trade"]

    assert [float(data["price"]) for data in prints] == columns["price"]
    assert [float(data["size"]) for data in prints] == columns["size"]
    assert [int(data["tradeTimestamp"]) for data in prints] == columns["ts"]
    assert [{"+": "buy", "-": "sell"}[data["tick"]] for data in prints] == columns["side"]
    assert [data["tradeSeq"] for data in prints] == [str(number) for number in range(1, 1001)]
    assert {data["tradeExchange"] for data in prints} == {"SIM"}
    assert all(type(value) is str for data in prints for value in data.values())
    assert [data["price"] for data in trades] == columns["price"]
    assert [data["size"] for data in trades] == columns["size"]


def test_recorded_book_arrives_level_by_level(tapes: Path, client: Connect) -> None:
    path = tapes / "xrpusdt_book.parquet"
    columns = tape_columns(path)
    bare = client(tapes=(path,), speed=None)

    bare.subscribe({"symbol": "XRPUSDT", "level2": True})
    updates = bare.receive_updates("level2", len(columns["ts"]))

    held: tuple[dict[float, float], dict[float, float]] = ({}, {})
    assert [update["timestamp"] for update in updates] == columns["ts"]
    for number, update in enumerate(updates):
        for side, rows, name in zip(held, levels(update["data"]["orderBook"]), ("ask", "bid"), strict=True):
            side |= rows
            for price in [price for price, size in side.items() if not size]:
                del side[price]
            assert side == dict(zip(columns[f"{name}_prices"][number], columns[f"{name}_sizes"][number], strict=True))

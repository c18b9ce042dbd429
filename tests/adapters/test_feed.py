"""Brokers from outside, through a real socket: rows, reconnects, gaps, message counts, refusals, what they lack."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest

import aries_nb as anb
from aries_nb.brokers import Accepted, Broker, Endpoint, JsonProtocol, Refused, TokenExpires, Update
from tests.adapters import alpaca, packed
from tests.adapters.servers import KEY, SECRET, START, TOKEN, AlpacaServer, PackedServer
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from websockets.asyncio.server import ServerConnection

    from tests.adapters.servers import FakeServer

CASES = [(alpaca.BROKER, AlpacaServer), (packed.BROKER, PackedServer)]


@pytest.fixture(params=CASES, ids=["alpaca", "packed"])
def case(request: pytest.FixtureRequest) -> Iterator[tuple[Broker, FakeServer]]:
    broker, server_class = request.param
    with server_class(unknown=["NOPE"]) as server:
        yield broker, server


@pytest.fixture
def feed(case: tuple[Broker, FakeServer]) -> Iterator[anb.Feed]:
    broker, server = case
    with anb.connect(broker, url=server.url, token=TOKEN) as feed:
        yield feed


@pytest.fixture
def server(case: tuple[Broker, FakeServer]) -> FakeServer:
    return case[1]


def test_rows_arrive_with_their_times_and_values(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait(rows=20)

    df = quotes.df
    assert df.index.is_monotonic_increasing
    assert df.index[0] >= START
    assert df["bid_price"].notna().any()
    assert set(df["symbol"]) == {"AAPL"}
    assert list(quotes.latest.index) == ["AAPL"]


def test_the_message_counts_add_up(feed: anb.Feed, server: FakeServer) -> None:
    quotes = feed.quotes("AAPL", rows=50).wait(rows=120)
    server.is_paused = True
    eventually(lambda: quotes.ledger.received == server.sent["quotes", "AAPL"])

    counts = quotes.ledger
    assert counts.received + counts.filled == (
        counts.visible + counts.evicted + counts.conflated + counts.duplicated + counts.rowless + counts.unreadable
    )
    assert counts.visible == 50
    assert feed.stats().unreadable == 0


def test_a_broken_connection_comes_back_with_one_gap_and_its_cause(feed: anb.Feed, server: FakeServer) -> None:
    quotes = feed.quotes("AAPL").wait(rows=5)

    server.drop()
    eventually(lambda: server.connections == 2 and feed.state == "live")
    before = quotes.received
    quotes.wait(rows=before + 5)

    gaps = feed.gaps.df
    assert len(gaps) == 1
    assert gaps["ended"].notna().all()
    assert list(gaps["cause"]) == ["cut"]
    assert feed.stats().reconnects == 1
    assert server.asked["quotes", "AAPL"] == 2


def test_a_stream_is_asked_for_once_and_ends_with_its_last_frame(feed: anb.Feed, server: FakeServer) -> None:
    first = feed.quotes("AAPL")
    second = feed.quotes("AAPL", fields=["bid_price"])
    second.wait(rows=3)

    first.close()
    second.wait(rows=second.received + 3)
    assert server.given_up["quotes", "AAPL"] == 0
    second.close()

    eventually(lambda: server.given_up["quotes", "AAPL"] == 1)
    assert server.asked["quotes", "AAPL"] == 1


def test_a_board_and_a_chart_are_drawn(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait(rows=10)

    bundle: Any = quotes._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle

    assert "AAPL" in data["text/html"]
    quotes.chart("bid_price")


def test_rubbish_is_counted_and_the_stream_goes_on(feed: anb.Feed, server: FakeServer) -> None:
    quotes = feed.quotes("AAPL").wait(rows=3)

    for rubbish in (b"", b"\xff\x00", b"[[[", b'[{"T":"q","S":"AAPL","bp":[],"t":"?"}]'):
        server.send_to_all(rubbish if isinstance(server, PackedServer) else rubbish.decode("latin-1"))

    quotes.wait(rows=quotes.received + 10)
    assert feed.state == "live"
    assert feed.stats().unreadable >= 3


def test_what_the_broker_lacks_is_a_usage_error_that_names_it(feed: anb.Feed) -> None:
    lacks = [
        ("accounts", lambda: feed.account()),
        ("accounts", lambda: feed.account("X")),
        ("accounts", lambda: feed.accounts),
        ("accounts", lambda: feed.news()),
        ("accounts", lambda: feed.watchlists),
        ("history of bars", lambda: feed.bars("AAPL")),
        ("options", lambda: feed.options("AAPL")),
        ("stream", lambda: feed.instruments("AAPL")),
        ("no endpoint", lambda: feed.quotes("AAPL", endpoint="charts")),
        ("instrument", lambda: feed.reference.instrument("AAPL")),
        ("trades" if feed.name == "packed" else "book", lambda: (feed.trades("AAPL"), feed.book("AAPL"))),
    ]
    for what, call in lacks:
        with pytest.raises(anb.UsageError, match=what):
            call()

    assert feed.tables == ()
    assert feed.state == "live"


# Of one shape.


@pytest.fixture
def alpaca_server() -> Iterator[AlpacaServer]:
    with AlpacaServer(unknown=["NOPE"]) as server:
        yield server


@pytest.fixture
def packed_server() -> Iterator[PackedServer]:
    with PackedServer() as server:
        yield server


def test_nanoseconds_of_a_stamp_are_kept_to_the_microsecond(alpaca_server: AlpacaServer) -> None:
    with anb.connect(alpaca.BROKER, url=alpaca_server.url, token=TOKEN) as feed:
        trades = feed.trades("AAPL").wait(rows=3)

        assert {ts.microsecond % 1000 for ts in trades.df.index} == {0}
        assert trades.df["trade_id"].diff().dropna().eq(1).all()
        assert set(trades.df["venue"]) == {"V"}


def test_a_wrong_login_is_a_token_error(alpaca_server: AlpacaServer) -> None:
    with pytest.raises(anb.TokenError, match="auth failed") as error:
        anb.connect(alpaca.BROKER, url=alpaca_server.url, token=f"{KEY}:not-{SECRET}")

    assert SECRET not in str(error.value)


def test_a_refused_symbol_raises_at_the_call_and_the_others_go_on(alpaca_server: AlpacaServer) -> None:
    with anb.connect(alpaca.BROKER, url=alpaca_server.url, token=TOKEN) as feed:
        quotes = feed.quotes("AAPL").wait(rows=2)

        with pytest.raises(anb.UnknownSymbolError, match="invalid symbol: NOPE"):
            feed.quotes("NOPE")

        quotes.wait(rows=quotes.received + 5)


def test_only_the_unknown_one_of_many_symbols_is_named(alpaca_server: AlpacaServer) -> None:
    with (
        anb.connect(alpaca.BROKER, url=alpaca_server.url, token=TOKEN) as feed,
        pytest.raises(anb.UnknownSymbolError) as unknown,
    ):
        feed.quotes("AAPL", "MSFT", "NOPE", "TSLA")

    assert unknown.value.symbols == ("NOPE",)


def test_a_symbol_that_is_unknown_after_a_break_does_not_end_the_others(alpaca_server: AlpacaServer) -> None:
    with anb.connect(alpaca.BROKER, url=alpaca_server.url, token=TOKEN) as feed:
        quotes = feed.quotes("AAPL", "MSFT", "TSLA").wait(rows=3)
        alpaca_server.unknown = frozenset({"MSFT"})

        alpaca_server.drop()
        eventually(lambda: alpaca_server.connections == 2 and feed.state == "live")
        before = dict(alpaca_server.sent)
        eventually(
            lambda: all(alpaca_server.sent["quotes", each] > before["quotes", each] for each in ("AAPL", "TSLA"))
        )
        quotes.wait(rows=quotes.received + 4)

        assert quotes._source.refused() == {"MSFT": "unknown symbol"}


def test_a_book_of_deltas_and_snapshots_is_kept(packed_server: PackedServer) -> None:
    with anb.connect(packed.BROKER, url=packed_server.url, token=TOKEN) as feed:
        book = feed.book("AAPL", depth=5).wait(updates=25)
        packed_server.is_paused = True
        eventually(lambda: book.updates == packed_server.sent["book", "AAPL"])

        bids = book.df[book.df["side"] == "bid"] if "bid" in set(book.df["side"]) else book.df[book.df["side"] == "buy"]
        assert list(bids["price"]) == [100.0, 99.0, 98.0, 97.0, 96.0]
        assert bids["size"].iloc[0] == packed_server.sent["book", "AAPL"]


def test_partial_updates_are_merged(packed_server: PackedServer) -> None:
    with anb.connect(packed.BROKER, url=packed_server.url, token=TOKEN) as feed:
        quotes = feed.quotes("AAPL").wait(rows=10)

        newest = quotes.df.iloc[5:]
        assert newest[["bid_price", "ask_price", "last_price"]].notna().all().all()


def test_headers_are_signed_anew_for_each_connection_and_never_shown(packed_server: PackedServer) -> None:
    with anb.connect(packed.BROKER, url=packed_server.url, token=TOKEN) as feed:
        feed.quotes("AAPL").wait(rows=3)
        packed_server.drop()
        eventually(lambda: packed_server.connections == 2 and feed.state == "live")

        first, second = ({name.lower(): each[name] for name in each} for each in packed_server.handshakes)
        assert first["x-key"] == KEY
        assert first["x-signature"] != second["x-signature"]
        assert SECRET not in repr(feed) + repr(feed.stats()) + feed.gaps.df.to_string()


def test_a_wrong_signature_is_told_and_holds_no_secret(packed_server: PackedServer) -> None:
    with pytest.raises(anb.FeedError, match="bad signature") as error:
        anb.connect(packed.BROKER, url=packed_server.url, token=f"{KEY}:another-secret-0002")

    assert "another-secret" not in str(error.value)


def test_a_signing_function_that_raises_shows_nothing_of_the_token(packed_server: PackedServer) -> None:
    def sign(token: str) -> dict[str, str]:
        raise ValueError(token)

    broker = Broker("signs", packed_server.url, market=Endpoint("/stream", packed.PackedMarket, headers=sign))
    with pytest.raises(anb.FeedError, match=r"headers of the endpoint cannot be made \(ValueError\)") as error:
        anb.connect(broker, token=TOKEN)

    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None


def test_the_address_may_come_out_of_the_token_answer(packed_server: PackedServer) -> None:
    def address(token: str) -> str:
        return f"{packed_server.url}/stream"

    market = Endpoint("/nowhere", packed.PackedMarket, headers=packed.signed, address=address)
    with anb.connect(Broker("told", "wss://example.com", market=market), token=TOKEN) as feed:
        feed.quotes("AAPL").wait(rows=3)


def test_an_address_that_cannot_be_is_refused_before_anything_is_sent() -> None:
    market = Endpoint("/", packed.PackedMarket, address=lambda token: "ws://example.com/stream?token=" + token)

    with pytest.raises(anb.UsageError, match="unencrypted") as error:
        anb.connect(Broker("told", "wss://example.com", market=market), token=TOKEN)

    assert SECRET not in str(error.value)


def test_a_server_that_answers_no_ping_and_sends_nothing_is_left(
    packed_server: PackedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.net.session.PONG_SECONDS", 2.0)  # a busy machine answers late
    monkeypatch.setattr(packed.PackedMarket, "PING_SECONDS", 0.3)
    with anb.connect(packed.BROKER, url=packed_server.url, token=TOKEN) as feed:
        quotes = feed.quotes("AAPL").wait(rows=3)
        packed_server.freeze()

        eventually(lambda: feed.state == "reconnecting")
        packed_server.thaw()
        eventually(lambda: feed.state == "live")
        quotes.wait(rows=quotes.received + 3)

        assert list(feed.gaps.df["cause"]) == ["silence"]


def test_the_same_broker_again_is_the_same_feed_and_a_new_one_replaces_it(packed_server: PackedServer) -> None:
    def broker() -> Broker:
        return Broker(
            "packed", packed_server.url, market=Endpoint("/stream", packed.PackedMarket, headers=packed.signed)
        )

    made = broker()
    first = anb.connect(made, token=TOKEN)
    assert anb.connect(made, token=TOKEN) is first

    second = anb.connect(broker(), token=TOKEN)  # the cell that makes it has run again

    assert second is not first
    assert first.state == "closed"
    second.close()


def test_a_frame_that_joins_a_quiet_stream_has_its_newest_row_at_once(packed_server: PackedServer) -> None:
    with anb.connect(packed.BROKER, url=packed_server.url, token=TOKEN) as feed:
        first = feed.quotes("AAPL").wait(rows=5)
        packed_server.is_paused = True
        eventually(lambda: first.received == packed_server.sent["quotes", "AAPL"])

        second = feed.quotes("AAPL", fields=["bid_price"]).wait(rows=1)

        assert second.df["bid_price"].iloc[-1] == first.df["bid_price"].iloc[-1]
        assert second.ledger.filled == second.ledger.visible == 1


class Entitled(packed.PackedMarket):
    """Reads the refusals of `LateServer`."""

    def read(self, message: Any) -> Any:
        kind, symbol, _, why = message
        return [Refused(why["refused"], (symbol,), kind)] if "refused" in why else super().read(message)


class LateServer(PackedServer):
    """Refuses a symbol some time after it was asked for, by when other requests are answered."""

    has_rights = False

    def answers(self, connection: ServerConnection, message: str | bytes) -> Iterable[bytes]:
        what, kind, symbol = msgspec.msgpack.decode(message)  # type: ignore[arg-type]
        if symbol != "LATE" or what == "-" or self.has_rights:
            yield from super().answers(connection, message)
            return
        refusal = msgspec.msgpack.encode([kind, symbol, 0, {"refused": "not entitled"}])
        loop = asyncio.get_running_loop()
        loop.call_later(0.2, lambda: asyncio.ensure_future(connection.send(refusal)))


def test_a_refusal_after_the_call_is_raised_by_the_next_look(packed_server: PackedServer) -> None:
    market = Endpoint("/stream", Entitled, headers=packed.signed)
    with LateServer() as server, anb.connect(Broker("late", server.url, market=market), token=TOKEN) as feed:
        quotes, book = feed.quotes("LATE"), feed.book("LATE")
        running = feed.quotes("AAPL").wait(rows=2)

        for look in (quotes.wait, book.wait, lambda: quotes.df, lambda: book.df):
            with pytest.raises(anb.SubscriptionRefusedError, match="not entitled"):
                look()
        running.wait(rows=running.received + 2)


def test_what_was_refused_after_the_call_is_asked_for_again_by_the_same_call() -> None:
    market = Endpoint("/stream", Entitled, headers=packed.signed)
    with LateServer() as server, anb.connect(Broker("late", server.url, market=market), token=TOKEN) as feed:
        quotes, book = feed.quotes("LATE"), feed.book("LATE")
        for refused in (quotes, book):
            with pytest.raises(anb.SubscriptionRefusedError):
                refused.wait()

        server.has_rights = True

        again = feed.quotes("LATE").wait(rows=2), feed.book("LATE").wait(updates=2)
        assert again[0] is not quotes
        assert again[1] is not book
        assert feed.quotes("LATE") is again[0]
        assert not server.given_up, "what was refused does not run"


def test_a_refused_book_is_refused_to_all_who_ask_for_it_at_once(packed_server: PackedServer) -> None:
    class Answers(Entitled):
        ACKNOWLEDGES = True

    market = Endpoint("/stream", Answers, headers=packed.signed)
    with (
        LateServer() as server,
        anb.connect(Broker("late", server.url, market=market), token=TOKEN) as feed,
        ThreadPoolExecutor() as threads,
    ):
        books = [threads.submit(feed.book, "LATE", depth=depth) for depth in (5, 10, 20)]

        assert [type(book.exception(10)) for book in books] == [anb.SubscriptionRefusedError] * 3


# Mistakes in the description.


class Ticks(packed.PackedMarket):
    """Has none of the columns that every broker should have."""

    COLUMNS: ClassVar[Any] = {"quotes": {"mid_price": "number", "yield_percent": "number"}}

    def read(self, message: Any) -> Any:
        yield Update("quotes", message[1], None, {"mid_price": 1.5, "yield_percent": 2})


def test_quotes_without_a_usual_column_have_all_their_columns(packed_server: PackedServer) -> None:
    broker = Broker("ticks", packed_server.url, market=Endpoint("/stream", Ticks, headers=packed.signed))
    with anb.connect(broker, token=TOKEN) as feed:
        assert feed.quotes("AAPL").wait(rows=1).df["mid_price"].iloc[0] == 1.5


def test_a_protocol_that_cannot_be_made_uses_up_no_connection(packed_server: PackedServer) -> None:
    class Half(packed.PackedMarket):
        def __init__(self) -> None:
            raise NotImplementedError("not yet")

    def broker(protocol: type[JsonProtocol]) -> Broker:
        market = Endpoint("/stream", protocol, headers=packed.signed)
        return Broker("half", packed_server.url, market=market, most_connections=1)

    for _ in range(2):
        with pytest.raises(NotImplementedError):
            anb.connect(broker(Half), token=TOKEN)

    anb.connect(broker(packed.PackedMarket), token=TOKEN).close()


def test_the_number_of_connections_is_that_of_the_newest_broker(packed_server: PackedServer) -> None:
    def broker(name: str, most: int) -> Broker:
        market = Endpoint("/stream", packed.PackedMarket, headers=packed.signed)
        return Broker(name, packed_server.url, market=market, most_connections=most)

    with anb.connect(broker("one", 1), token=TOKEN):
        with pytest.raises(anb.ConnectError, match="all 1 connections"):
            anb.connect(broker("two", 1), token=TOKEN)

        anb.connect(broker("two", 2), token=TOKEN).close()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"quotes": {"bid_price": "float"}}, "'float', which is no type.*Use number, text, integer, time"),
        ({"quotes": {"bid_price": "decimal"}}, "'decimal', which is no type"),
        ({"quotes": {"bid_price": float}}, "which is no type"),
        ({"orders": {"order_id": "text"}}, "'orders', which is no kind.*quotes, trades, book"),
        ({"candles": {}}, "'candles', which is no kind"),
    ],
)
def test_columns_that_no_frame_has_are_a_usage_error(columns: Any, message: str, packed_server: PackedServer) -> None:
    class Wrong(packed.PackedMarket):
        COLUMNS = columns

    with pytest.raises(anb.UsageError, match=message):
        anb.connect(Broker("wrong", packed_server.url, market=Endpoint("/stream", Wrong)), token=TOKEN)


@pytest.mark.parametrize("path", ["v2", ".example.net", "@example.net/", ":1", None])
def test_a_path_that_would_run_into_the_host_is_a_usage_error(path: Any) -> None:
    with pytest.raises(anb.UsageError, match="has no slash in front"):
        Endpoint(path, packed.PackedMarket)


def test_a_protocol_that_changes_its_columns_does_not_change_the_endpoint() -> None:
    class Changes(packed.PackedMarket):
        COLUMNS: ClassVar[Any] = {"quotes": {"bid_price": "number"}}

    endpoint = Endpoint("/", Changes)
    Changes.COLUMNS["quotes"]["ask_price"] = "number"

    assert endpoint.columns == {"quotes": {"bid_price": "number"}}


def test_two_brokers_of_one_name_at_two_addresses_are_two_feeds(packed_server: PackedServer) -> None:
    def broker(url: str) -> Broker:
        return Broker("packed", url, market=Endpoint("/stream", packed.PackedMarket, headers=packed.signed))

    with (
        PackedServer() as other,
        anb.connect(broker(packed_server.url), token=TOKEN) as first,
        anb.connect(broker(other.url), token=TOKEN) as second,
    ):
        assert (first.state, second.state) == ("live", "live")


# Adapters that raise.


def test_a_login_that_raises_shows_nothing_of_the_token(
    alpaca_server: AlpacaServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises(alpaca.AlpacaMarket):
        def login(self, token: str) -> Any:
            raise ValueError(f"no colon in {token}")

    broker = Broker("raises", alpaca_server.url, market=Endpoint("/v2/iex", Raises))
    with pytest.raises(
        anb.ConnectError, match=r"login of the endpoint cannot be made \(ValueError\).*of login"
    ) as error:
        anb.connect(broker, token=TOKEN)

    assert (error.value.__cause__, error.value.__context__) == (None, None)
    assert SECRET not in caplog.text


def test_a_renewal_that_raises_is_told_and_the_next_one_works(alpaca_server: AlpacaServer) -> None:
    class Renews(alpaca.AlpacaMarket):
        logins = 0

        def login(self, token: str) -> Any:
            type(self).logins += 1
            if self.logins == 2:
                raise ValueError(token)
            return super().login(token)

        def read(self, message: Any) -> Any:
            return [TokenExpires()] if message == "expires" else super().read(message)

    broker = Broker("renews", alpaca_server.url, market=Endpoint("/v2/iex", Renews))
    with anb.connect(broker, token=TOKEN) as feed:
        alpaca_server.send_to_all('"expires"')
        eventually(lambda: "login of the endpoint cannot be made" in feed.stats().last_error)
        assert SECRET not in feed.stats().last_error

        alpaca_server.send_to_all('"expires"')
        eventually(lambda: feed.stats().renewals == 1)
        assert feed.state == "live"


def test_a_ping_that_raises_fails_the_feed_aloud(alpaca_server: AlpacaServer, caplog: pytest.LogCaptureFixture) -> None:
    class Pings(alpaca.AlpacaMarket):
        PING_SECONDS = 0.3

        def ping(self, number: int) -> Any:
            if number > 1:
                raise ValueError(f"no ping {number}; {TOKEN}")
            return None

    broker = Broker("pings", alpaca_server.url, market=Endpoint("/v2/iex", Pings))
    with anb.connect(broker, token=TOKEN) as feed:
        quotes = feed.quotes("AAPL").wait(rows=2)
        eventually(lambda: feed.state == "failed")

        with pytest.raises(anb.FeedError, match="no ping") as error:
            quotes.wait(rows=1_000_000)

    assert SECRET not in f"{error.value} {error.value.__cause__}"
    assert "in ping" in caplog.text, "the log says where"
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "c2lnbmVk\n"},
        {"X": "c2lnbmVk\r\nY: 1"},
        {"X": "c2lnbmVk é"},
        {"X": None},
        {"X": 5},
        {5: "c2lnbmVk"},
        "c2lnbmVk",
    ],
)
def test_headers_that_cannot_be_sent_are_named_without_their_values(
    headers: Any, packed_server: PackedServer, caplog: pytest.LogCaptureFixture
) -> None:
    market = Endpoint("/stream", packed.PackedMarket, headers=lambda token: headers)

    with pytest.raises(anb.UsageError, match="header") as error:
        anb.connect(Broker("signs", packed_server.url, market=market), token=TOKEN)

    assert "c2lnbmVk" not in str(error.value) + caplog.text


@pytest.mark.parametrize("address", [None, 5, b"wss://example.com"])
def test_an_address_that_is_no_text_is_a_usage_error(address: Any, packed_server: PackedServer) -> None:
    market = Endpoint("/stream", packed.PackedMarket, address=lambda token: address)

    with pytest.raises(anb.UsageError, match="`address` returned a"):
        anb.connect(Broker("told", packed_server.url, market=market), token=TOKEN)


# By name.


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a package's metadata, as pip leaves it."""
    (tmp_path / "their_broker.py").write_text("from tests.adapters.alpaca import BROKER\nWRONG = 1\n")
    (tmp_path / "their_exit.py").write_text("raise SystemExit(3)\n")
    about = tmp_path / "their_broker-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-broker\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[aries_nb.brokers]\ntheirs = their_broker:BROKER\nbroken = no_such_module:BROKER\n"
        "exits = their_exit:BROKER\nwrong = their_broker:WRONG\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("their_broker", None)


def test_a_broker_of_an_installed_package_is_found_by_its_name(installed: Path, alpaca_server: AlpacaServer) -> None:
    assert PathDistribution.at(next(installed.glob("*.dist-info"))).entry_points

    with anb.connect("theirs", url=alpaca_server.url, token=TOKEN) as feed:
        feed.quotes("AAPL").wait(rows=2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", r"entry point 'broken' \(no_such_module:BROKER\) cannot be loaded: ModuleNotFoundError"),
        ("exits", r"entry point 'exits' .* cannot be loaded: SystemExit: 3"),
        ("wrong", r"entry point 'wrong' .* is a int"),
        ("absent", r"unknown broker 'absent'.*Known are: aries, .*broken, exits, theirs, wrong"),
    ],
)
def test_an_entry_point_that_is_no_broker_is_a_usage_error(installed: Path, name: str, message: str) -> None:
    with pytest.raises(anb.UsageError, match=message):
        anb.connect(name)


def test_a_protocol_without_columns_is_refused_where_it_is_named() -> None:
    with pytest.raises(anb.UsageError, match="names no columns"):
        Endpoint("/", lambda: Accepted())  # type: ignore[arg-type, return-value]


def test_a_session_without_streams_is_live_at_once(packed_server: PackedServer) -> None:
    with anb.connect(packed.BROKER, url=packed_server.url, token=TOKEN, timeout=60) as feed:
        assert feed.state == "live"


def test_a_recording_of_an_own_broker_is_queried_with_its_broker(tmp_path: Path) -> None:
    path = tmp_path / "own.anb"
    with AlpacaServer() as server, anb.connect(alpaca.BROKER, url=server.url, token=TOKEN, record=path) as feed:
        rows = len(feed.quotes("AAPL").wait(rows=3, timeout=60).df)

    quotes = anb.recordings(path, broker=alpaca.BROKER).df("quotes")

    assert len(quotes) >= rows
    assert set(quotes["symbol"]) == {"AAPL"}
    with pytest.raises(anb.UsageError, match="not of 'aries'"):
        anb.recordings(path, broker="aries")

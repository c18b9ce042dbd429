"""The contract tests of an adapter, run by two of them; and that they fail for one that breaks the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest

from aries_nb.brokers import Acknowledged, Endpoint
from aries_nb.brokers.testing import AdapterContract
from aries_nb.errors import UsageError
from tests.adapters import alpaca, packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aries_nb.model import Kind, Value


class TestAlpaca(AdapterContract):
    endpoint = alpaca.BROKER.market

    def answer(self, sent: str | bytes) -> Iterable[bytes]:
        asked = json.loads(sent)
        yield b'[{"T":"success","msg":"authenticated"}]' if asked["action"] == "auth" else b'[{"T":"subscription"}]'

    def update(self, kind: Kind, symbol: str) -> tuple[bytes, Mapping[str, Value]]:
        stamp = f'"S":"{symbol}","t":"2026-11-27T14:30:00.123456789Z"'
        if kind == "quotes":
            values = {"bid_price": 270.1, "bid_size": 3.0, "ask_price": 270.12, "ask_size": 4.0}
            return f'[{{"T":"q",{stamp},"bp":270.1,"bs":3,"ap":270.12,"as":4}}]'.encode(), values
        values = {"price": 270.11, "size": 100.0, "trade_id": 52983525029461, "venue": "V"}
        return f'[{{"T":"t",{stamp},"p":270.11,"s":100,"i":52983525029461,"x":"V"}}]'.encode(), values


class TestPacked(AdapterContract):
    endpoint = packed.BROKER.market

    def answer(self, sent: str | bytes) -> Iterable[bytes]:
        return ()

    def update(self, kind: Kind, symbol: str) -> tuple[bytes, Mapping[str, Value]]:
        us = 1_795_000_000_000_000
        if kind == "book":
            self.size = getattr(self, "size", 0.0) + 1.0
            body = {"bids": [[100.0, self.size]], "asks": [[101.0, 2 * self.size]], "all": True}
            levels = {"100": (self.size, 0.0), "101": (0.0, 2 * self.size)}
            return msgspec.msgpack.encode(["book", symbol, us, body]), levels
        body = {"bid_price": 270.1, "last_price": None}
        return msgspec.msgpack.encode(["quotes", symbol, us, body]), {"bid_price": 270.1}


class _Forgets(alpaca.AlpacaMarket):
    """Does not ask again on a new connection."""

    def open(self, now: float) -> None:
        super().open(now)
        self._users.clear()


class _Shouts(alpaca.AlpacaMarket):
    """Raises where the server sends rubbish."""

    def receive(self, frames, received):
        for frame in frames:
            json.loads(frame)
        return super().receive(frames, received)


class _Swaps(alpaca.AlpacaMarket):
    """Gives the bid for the ask."""

    def read(self, message):
        for event in super().read(message):
            if getattr(event, "kind", "") == "quotes":
                event = event._replace(values={**event.values, "ask_price": event.values["bid_price"]})
            yield event


class _Dies(alpaca.AlpacaMarket):
    """Never looks whether the server is there."""

    PING_SECONDS = 1e9


class _Milliseconds(alpaca.AlpacaMarket):
    """Gives times in ms, which lie in 1970 then."""

    def read(self, message):
        for event in super().read(message):
            if getattr(event, "ts", None):
                event = event._replace(ts=event.ts // 1_000_000)
            yield event


class _Stutters(alpaca.AlpacaMarket):
    """Sends each request twice."""

    def ask(self, streams):
        return [*super().ask(streams)] * 2


class _HoldsOn(alpaca.AlpacaMarket):
    """Ends no stream at the server."""

    def give_up(self, streams):
        return []


class _Waits(alpaca.AlpacaMarket):
    """Takes no answer for that of a request."""

    def read(self, message):
        return [event for event in super().read(message) if not isinstance(event, Acknowledged)]


class _Invents(alpaca.AlpacaMarket):
    """Has a kind of stream that there is not."""

    COLUMNS: ClassVar[Any] = {"bbo": {"bid_price": "number"}}


class _Hoards(alpaca.AlpacaMarket):
    """Keeps the token."""

    def login(self, token):
        self.kept = token
        return super().login(token)


@pytest.mark.parametrize(
    ("protocol", "test"),
    [
        (_Forgets, "test_streams_are_asked_for_once_the_session_is_open"),
        (_Shouts, "test_rubbish_raises_nothing"),
        (_Swaps, "test_updates_become_records"),
        (_Dies, "test_a_server_that_falls_silent_is_found"),
        (_Milliseconds, "test_updates_become_records"),
        (_Stutters, "test_streams_are_asked_for_once_the_session_is_open"),
        (_HoldsOn, "test_a_stream_is_asked_for_once_and_told_to_each_subscription"),
        (_Waits, "test_each_request_has_a_barrier"),
        (_Invents, "test_columns_are_of_known_kinds_and_types"),
        (_Invents, "test_updates_become_records"),
        (_Hoards, "test_the_token_is_not_repeated"),
    ],
)
def test_contract_fails_for_an_adapter_that_breaks_it(protocol: type, test: str) -> None:
    class Broken(TestAlpaca):
        endpoint = Endpoint("/", protocol)

    with pytest.raises((AssertionError, ValueError), match=r"\w+"):  # with a word on what is wrong
        getattr(Broken(), test)()


def test_contract_fails_for_a_side_in_the_words_of_the_broker() -> None:
    class Sides(alpaca.AlpacaMarket):
        COLUMNS: ClassVar[Any] = {"trades": {"price": "number", "side": "text"}}

        def read(self, message):
            for event in super().read(message):
                yield event._replace(values={"price": 1, "side": "B"}) if getattr(event, "kind", "") else event

    class Broken(TestAlpaca):
        endpoint = Endpoint("/", Sides)

        def update(self, kind: Kind, symbol: str) -> tuple[bytes, Mapping[str, Value]]:
            return super().update(kind, symbol)[0], {"price": 1.0, "side": "B"}

    with pytest.raises(AssertionError, match="a side is buy, sell, unknown, not 'B'"):
        Broken().test_updates_become_records()


def test_an_instance_in_the_place_of_the_class_is_refused() -> None:
    with pytest.raises(UsageError, match="pass its class"):
        Endpoint("/v2", alpaca.AlpacaMarket())


class TestBookAlone(TestPacked):
    """An adapter with nothing but books keeps the contract."""

    class Books(packed.PackedMarket):
        COLUMNS: ClassVar[Any] = {"book": {}}

    endpoint = Endpoint("/", Books)


class TestOneColumn(TestPacked):
    """So does one with a single column."""

    class Mids(packed.PackedMarket):
        COLUMNS: ClassVar[Any] = {"quotes": {"bid_price": "number"}}

        def read(self, message):
            for event in super().read(message):
                yield event._replace(values={"bid_price": event.values["bid_price"]})

    endpoint = Endpoint("/", Mids)


def test_the_page_shows_the_adapter_that_is_tested() -> None:
    root = Path(__file__).parents[2]
    adapter = (root / "tests" / "adapters" / "alpaca.py").read_text(encoding="utf-8")

    assert f"```python\n{adapter.rstrip()}\n```" in (root / "docs" / "brokers.md").read_text(encoding="utf-8")
    assert len(adapter.splitlines()) <= 60

"""States become bytes and again states, and bytes of a stranger make nothing but values of our own classes."""

from __future__ import annotations

import importlib
import math
from collections import Counter, deque
from decimal import Decimal

import msgspec
import pytest

from aries_nb.model import Secret, Subscription
from aries_nb.net.events import state_codec
from aries_nb.net.events.state_codec import UnknownStateError, pack, unpack
from aries_nb.net.lag import LagMonitor

AAPL = Subscription("quotes", "AAPL", ("bid_price",))


def packed(tree: object) -> bytes:
    return state_codec._fingerprint() + msgspec.msgpack.encode(tree)


@pytest.mark.parametrize(
    "value",
    [
        1, -(2**63), 1.5, math.inf, "text", b"bytes", None, True, (), (1, ("a", None)), [], [1, [2, (3,)]],
        {}, {"a": 1, ("b", 2): [3]}, {1, 2}, frozenset({"a"}), Decimal("1.50"), deque([1, 2], maxlen=3), Counter("aab"),
        AAPL, {AAPL: [AAPL]}, msgspec.UNSET,
    ],
)  # fmt: skip
def test_a_value_comes_back_with_its_types(value: object) -> None:
    found = unpack(pack(value))

    assert found == value
    assert repr(found) == repr(value)


def test_what_occurs_twice_is_one_object_again() -> None:
    one: list[object] = [1]
    one.append(one)
    whole = {"a": one, "b": one, "c": {"d": one}}

    found = unpack(pack(whole))

    assert found["a"] is found["b"] is found["c"]["d"] is found["a"][1]


def test_an_object_comes_back_with_its_attributes() -> None:
    monitor = LagMonitor()
    monitor.turn(1.0, [0.5] * 10, 100.0)

    found = unpack(pack(monitor))

    assert type(found) is LagMonitor
    assert vars(found) == vars(monitor)


def test_a_secret_is_left_out() -> None:
    body = pack([Secret("a long token")])

    assert b"token" not in body
    assert unpack(body)[0].reveal() == "recorded"


@pytest.mark.parametrize("value", [print, lambda: 1, iter(()), object(), 2**64, math, ValueError, {"a": {1: print}}])
def test_what_is_no_state_is_not_packed(value: object) -> None:
    with pytest.raises(TypeError):
        pack(value)


def test_a_state_that_is_too_large_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_codec, "MOST_VALUES", 100)
    with pytest.raises(TypeError, match="too large"):
        pack([[each] for each in range(200)])


def test_bytes_of_another_version_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    body = pack([1])
    monkeypatch.setattr(state_codec, "_fingerprint", lambda: bytes(32))

    with pytest.raises(UnknownStateError, match="another version"):
        unpack(body)


@pytest.mark.parametrize(
    "tree",
    [
        {"object": ["os:system", "ls"]}, {"class": "builtins:eval"}, {"class": "aries_nb.live.feed:Feed"},
        {"class": "aries_nb.net.events.state_codec:pack"}, {"class": "aries_nb.net.events.state_codec:sys"},
        {"object": ["aries_nb.model.records:Subscription", "quotes"]}, {"object": []}, {"object": [1]},
        {"again": 3}, {"again": -1}, {"again": "x"}, {"derive": 0}, {"__init__": 0}, {"unpacked": 1}, {1: 2}, {},
        {"list": 1}, {"dict": [1]}, {"dict": [{"list": []}, 1]}, {"set": [{"list": []}]}, {"decimal": "x"},
        {"deque": [-1]}, {"deque": []}, {"decimal": 1}, {"a": 1, "b": 2},
    ],
)  # fmt: skip
def test_bytes_of_a_stranger_are_refused(tree: object) -> None:
    with pytest.raises(UnknownStateError):
        unpack(packed(tree))


@pytest.mark.parametrize("name", ["turn", "is_late", "__class__", "__deepcopy__", "__reduce_ex__", "mro"])
def test_nothing_takes_the_place_of_a_method(name: str) -> None:
    with pytest.raises(UnknownStateError):
        unpack(packed({"object": ["aries_nb.net.lag:LagMonitor", [name], 1]}))


@pytest.mark.parametrize(
    "name", ["net.auth.keyring:_KeyringToken", "net.auth.oauth:OAuthToken", "net.session:Session", "store:RollingFrame"]
)
def test_classes_that_do_more_than_keep_values_are_refused(name: str) -> None:
    importlib.import_module(f"aries_nb.{name.partition(':')[0]}")
    for what in ({"object": [f"aries_nb.{name}", ["secret"], 1]}, {"class": f"aries_nb.{name}"}):
        with pytest.raises(UnknownStateError):
            unpack(packed(what))


def test_a_class_as_a_value_is_one_of_records() -> None:
    assert unpack(packed({"class": "aries_nb.brokers.aries.messages:QuoteUpdate"})).__name__ == "QuoteUpdate"
    with pytest.raises(UnknownStateError):
        unpack(packed({"class": "aries_nb.brokers.aries.market:AriesMarket"}))


def test_more_values_than_are_written_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_codec, "MOST_VALUES", 100)

    assert unpack(packed([[]] * 99)) == ((),) * 99
    with pytest.raises(UnknownStateError, match="too large"):
        unpack(packed([[]] * 100))


def test_more_bytes_than_are_read_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_codec, "MOST_BYTES", 1_000)

    assert unpack(pack(["x" * 900])) == ["x" * 900]
    with pytest.raises(TypeError, match="too large"):
        pack(["x" * 1_000])


def test_deep_bytes_are_refused() -> None:
    with pytest.raises(UnknownStateError):
        unpack(state_codec._fingerprint() + b"\x91" * 100_000 + b"\x01")

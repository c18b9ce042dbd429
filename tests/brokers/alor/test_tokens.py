from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from aries_nb.brokers.alor.http import AlorHttp
from aries_nb.brokers.alor.tokens import expiry_of, portfolios_in, read_refresh, refresh_body


def jwt(claims: Any) -> str:
    body = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJFUzI1NiJ9.{body}.signature"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("D00000 G00000 7500XYZ", ("D00000", "G00000", "7500XYZ")),
        ("D00000", ("D00000",)),
        (["D1", "D2", 3, ""], ("D1", "D2")),
        (" D1  D1 ", ("D1",)),
        ("", ()),
        (None, ()),
        (5, ()),
    ],
)
def test_portfolios_stand_in_the_token(said: Any, expected: tuple[str, ...]) -> None:
    assert portfolios_in(jwt({"portfolios": said})) == expected
    assert AlorHttp().accounts_in(jwt({"portfolios": said})) == expected


@pytest.mark.parametrize("exp", [1_755_849_600, "1755849600", 1_755_849_600.0])
def test_end_of_a_token_is_read_in_any_spelling(exp: Any) -> None:
    assert expiry_of(jwt({"exp": exp})) == 1_755_849_600


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "a.b",
        "a.b.c",
        "a.é.c",
        "a.e30.c",
        "a.W10.c",
        jwt([1]),
        jwt({"exp": None}),
        jwt({"exp": "x"}),
        "." * 9,
    ],
)
def test_token_that_cannot_be_read_says_nothing(token: str) -> None:
    assert expiry_of(token) is None
    assert portfolios_in(token) == ()


def test_refresh_token_is_posted_as_json() -> None:
    assert json.loads(refresh_body("r-1")) == {"token": "r-1"}


@pytest.mark.parametrize("key", ["AccessToken", "accessToken", "accesstoken"])
def test_access_token_is_read_from_the_answer(key: str) -> None:
    assert read_refresh(json.dumps({key: "t-1"}).encode()) == "t-1"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"AccessToken":""}', b'{"AccessToken":5}', b'{"message":"bad token"}']
)
def test_answer_without_a_token_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        read_refresh(body)

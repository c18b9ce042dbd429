"""The token service of the simulated ALOR."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from aries_nb.sim import AlorOptions
from aries_nb.sim.alor.tokens import Bearer, RefreshError, TokenService

NOW = 1_772_463_845.0
PORTFOLIOS = ("D1", "G1")


def service(**options: Any) -> TokenService:
    return TokenService(AlorOptions(**options), PORTFOLIOS)


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.mark.parametrize("name", ["token", "Token", "TOKEN"])
def test_refresh_token_brings_an_access_token(name: str) -> None:
    tokens = service(token_seconds=60)

    issued = tokens.refresh({name: "sim-refresh"}, NOW)["AccessToken"]

    decoded = claims(issued)
    assert (decoded["sub"], decoded["portfolios"], decoded["exp"]) == ("P000001", "D1 G1", int(NOW) + 60)
    assert decoded["scope"].split() == ["OrdersRead", "OrdersCreate", "Trades", "Personal", "Stats"]
    assert tokens.read(issued, NOW + 59) == Bearer("P000001", frozenset(PORTFOLIOS), int(NOW) + 60)
    assert tokens.read(issued, NOW + 60) is None


def test_access_token_is_bound_to_the_allowed_portfolios() -> None:
    tokens = service()

    issued = tokens.refresh({"token": "sim-refresh", "allowedPortfolios": ["G1", "X"]}, NOW)["AccessToken"]

    assert claims(issued)["portfolios"] == "G1"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"token": ""}, 400),
        ({"token": 7}, 400),
        ({"token": "bad"}, 403),
        ({"token": "\ud800"}, 403),
        ({"token": "sim-refresh", "allowedPortfolios": "D1"}, 400),
        ({"token": "sim-refresh", "allowedPortfolios": ["X"]}, 403),
    ],
)
def test_bad_request_brings_none(fields: dict[str, Any], status: int) -> None:
    tokens = service()

    with pytest.raises(RefreshError) as refused:
        tokens.refresh(fields, NOW)

    assert (refused.value.status, tokens.issued) == (status, 0)


def test_tokens_of_another_environment_are_refused() -> None:
    issued = service(seed=1).issue(NOW)

    assert service(seed=2).read(issued, NOW) is None
    assert service(seed=1).read(issued, NOW) is not None
    assert service(seed=1).read(issued[:-1], NOW) is None


def test_fixed_token_reads_all_portfolios_and_is_the_only_other_one() -> None:
    tokens = service(token="fixed")

    assert tokens.read("fixed", NOW) == Bearer("P000001", frozenset(PORTFOLIOS), None)
    assert tokens.read("other", NOW) is None
    assert service().read("other", NOW) is not None
    assert service().read(" ", NOW) is None


def test_no_token_is_shown() -> None:
    tokens = service(token="fixed", refresh_token="renewing")
    issued = tokens.issue(NOW)

    shown = f"{tokens!r} {AlorOptions(token='fixed', refresh_token='renewing')!r}"

    assert [secret for secret in ("fixed", "renewing", issued) if secret in shown] == []

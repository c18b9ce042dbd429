from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.errors import UsageError
from aries_nb.sim import AlorOptions, SimOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0}, {"rate": 50_001}, {"rate": math.nan}, {"rate": "200"}, {"rate": True}, {"port": -1},
        {"port": 65_536}, {"speed": 0.0}, {"speed": -1.0}, {"session_seconds": 0}, {"warn_seconds": -1},
        {"auth_seconds": 0}, {"auth_reply": "shout"}, {"queue_limit": 0}, {"idle_seconds": 0}, {"flush_seconds": 1},
        {"token": " "},
    ],
)  # fmt: skip
def test_value_out_of_range_is_refused_by_its_name(options: dict[str, Any]) -> None:
    (name,) = options

    with pytest.raises(UsageError, match=f"SimOptions.{name}"):
        SimOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0}, {"token": ""}, {"token_seconds": 0}, {"connection_limit": 0}, {"subscription_limit": 0},
        {"request_rate": 0}, {"http_rate": 0}, {"orders_per_s": -1}, {"refresh_token": " "}, {"faults": {"rain"}},
        {"duplicate_guid": "keep"}, {"unknown_instrument": "guess"}, {"unknown_guid_code": 500},
    ],
)  # fmt: skip
def test_value_out_of_range_is_refused_for_the_second_broker(options: dict[str, Any]) -> None:
    (name,) = options

    with pytest.raises(UsageError, match=f"AlorOptions.{name}"):
        AlorOptions(**options)


def test_missing_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recording"):
        SimOptions(tapes=(tmp_path / "missing.parquet",))


def test_token_is_never_shown() -> None:
    assert "secret" not in repr(SimOptions(token="secret"))

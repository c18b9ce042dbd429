"""Properties that take seconds: of few examples in each run, of many in the long tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["holds_for"]


def holds_for(few: int, many: int, *strategies: Any, **named: Any) -> Callable[[Callable[..., None]], Any]:
    """Like `given` with these strategies: a test of `few` examples, and a long one of `many`."""

    def tested(check: Callable[..., None]) -> Any:
        def test(count: int) -> None:
            settings(max_examples=count)(given(*strategies, **named)(check))()

        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(test, name, getattr(check, name))
        return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.long)])(test)

    return tested

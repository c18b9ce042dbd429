"""Refusals as tests compare them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aries_nb.model import Notice, Rejected


def by_symbol(notices: Iterable[Notice]) -> list[Any]:
    """The notices; of a refusal the symbols of its subscriptions, each once, and the reason."""
    return [
        (tuple(dict.fromkeys(each.symbol for each in notice.subscriptions)), notice.reason)
        if isinstance(notice, Rejected)
        else notice
        for notice in notices
    ]

from __future__ import annotations

import math
from random import Random

from aries_nb.sim.accounts.watchlists import MAX_SYMBOLS, MIN_SYMBOLS, Watchlists
from aries_nb.sim.market.instruments import EQUITIES


def test_every_change_changes_one_list_and_all_sorts_happen() -> None:
    watchlists = Watchlists(Random(1), tuple(EQUITIES), 10.0)
    sorts = set()
    for _ in range(2000):
        before = list(watchlists.lists)
        is_changed = watchlists.advance(0.5)
        assert is_changed == (watchlists.lists != before)
        for old, new in zip(before, watchlists.lists, strict=True):
            assert old.number == new.number
            assert MIN_SYMBOLS <= len(new.symbols) <= MAX_SYMBOLS
            assert len(set(new.symbols)) == len(new.symbols)
            if old.name != new.name:
                sorts.add("rename")
            elif old.symbols != new.symbols:
                sorts.add({1: "add", -1: "remove", 0: "reorder"}[len(new.symbols) - len(old.symbols)])

    assert sorts == {"add", "remove", "reorder", "rename"}


def test_infinite_mean_never_changes_anything() -> None:
    watchlists = Watchlists(Random(1), tuple(EQUITIES), math.inf)

    assert not watchlists.advance(1e9)

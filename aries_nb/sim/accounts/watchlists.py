"""The simulated user's watchlists, which change at random. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["Watchlist", "Watchlists"]

START = (
    ("Core", ("AAPL", "MSFT", "NVDA", "GOOGL", "AMZN")),
    ("Funds", ("SPY", "QQQ", "IWM")),
    ("Ideas", ("KO", "JPM", "BA", "INTC")),
)
ADJECTIVES = ("My", "New", "Quiet", "Bold", "Weekly")
MIN_SYMBOLS, MAX_SYMBOLS = 2, 12


@dataclass(frozen=True, slots=True)
class Watchlist:
    """A named list of symbols in the user's order; `number` identifies it."""

    number: int
    name: str
    symbols: tuple[str, ...]


class Watchlists:
    """All watchlists of the simulated user; one changes every `mean_seconds` on average (infinity: none)."""

    def __init__(self, rng: Random, symbols: Sequence[str], mean_seconds: float) -> None:
        self.lists = [Watchlist(number, name, chosen) for number, (name, chosen) in enumerate(START, 1)]
        self._rng = rng
        self._symbols = symbols
        self._mean = mean_seconds
        self._wait = self._draw_wait()

    def advance(self, seconds: float) -> bool:
        """Advance by `seconds`; return whether a watchlist changed."""
        self._wait -= seconds
        is_changed = False
        while self._wait <= 0:
            self._wait += self._draw_wait()
            place = self._rng.randrange(len(self.lists))
            self.lists[place] = self._edited(self.lists[place])
            is_changed = True
        return is_changed

    def _draw_wait(self) -> float:
        return self._rng.expovariate(1.0 / self._mean) if math.isfinite(self._mean) else math.inf

    def _edited(self, old: Watchlist) -> Watchlist:
        """Return the list with a symbol added, removed or moved, or with another name; it always differs from `old`."""
        rng, symbols = self._rng, list(old.symbols)
        missing = [symbol for symbol in self._symbols if symbol not in symbols]
        drawn = rng.random()
        if drawn < 0.35 and missing and len(symbols) < MAX_SYMBOLS:
            symbols.insert(rng.randrange(len(symbols) + 1), rng.choice(missing))
        elif drawn < 0.65 and len(symbols) > MIN_SYMBOLS:
            del symbols[rng.randrange(len(symbols))]
        elif drawn < 0.9:
            symbols.append(symbols.pop(rng.randrange(len(symbols) - 1)))
        else:
            noun = old.name.rsplit(maxsplit=1)[-1]
            names = [f"{word} {noun}" for word in ADJECTIVES if f"{word} {noun}" != old.name]
            return replace(old, name=rng.choice(names))
        return replace(old, symbols=tuple(symbols))

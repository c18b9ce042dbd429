"""Generated headlines about the symbols of the simulated market, in ASCII. No I/O."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["Headline", "Newsroom"]

MAX_HEADLINES = 500
AUTHORS = ("A. Simulant", "M. Marker", "R. Random", "S. Seed")
#: Topic and headline about one or two symbols.
STORIES = (
    ("earnings", "{0} reports quarterly earnings {word} estimates"),
    ("earnings", "{0} sets the date of its next earnings call"),
    ("analyst", "Analysts turn {word} on {0}"),
    ("analyst", "{0} overtakes {1} in a survey of analysts"),
    ("products", "{0} presents a new line of products"),
    ("management", "{0} names a new head of finance"),
    ("mergers", "{0} and {1} deny talks of a merger"),
    ("markets", "{0} and {1} move in step as volumes grow"),
)
WORDS = ("above", "below", "in line with", "cautious", "hopeful")
RELEASES = frozenset({"earnings", "products", "management"})


@dataclass(frozen=True, slots=True)
class Headline:
    """One generated news item; `number` counts from 1, `time` is Unix time in s."""

    number: int
    title: str
    body: str
    authors: tuple[str, ...]
    symbols: tuple[str, ...]
    topics: tuple[str, ...]
    type: Literal["news", "press_release"]
    time: float


class Newsroom:
    """Generates headlines at random times, one every `mean_seconds` on average (infinity: none).

    Keeps the newest 500.
    """

    def __init__(self, rng: Random, symbols: Sequence[str], mean_seconds: float) -> None:
        self.headlines: deque[Headline] = deque(maxlen=MAX_HEADLINES)
        self._rng = rng
        self._symbols = symbols
        self._mean = mean_seconds
        self._number = 0
        self._wait = self._draw_wait()

    def advance(self, seconds: float, now: float) -> list[Headline]:
        """Advance by `seconds` to `now` (Unix s); return the headlines published in that time, all timed `now`."""
        self._wait -= seconds
        published = []
        while self._wait <= 0:
            self._wait += self._draw_wait()
            published.append(self._write_headline(now))
        self.headlines += published
        return published

    def _draw_wait(self) -> float:
        return self._rng.expovariate(1.0 / self._mean) if math.isfinite(self._mean) else math.inf

    def _write_headline(self, now: float) -> Headline:
        rng = self._rng
        self._number += 1
        topic, form = rng.choice(STORIES)
        pair = rng.sample(self._symbols, 2)
        symbols = tuple(pair if "{1}" in form else pair[:1])
        title = form.format(*pair, word=rng.choice(WORDS[:3] if topic == "earnings" else WORDS[3:]))
        is_release = topic in RELEASES and rng.random() < 0.5
        return Headline(
            number=self._number,
            title=title,
            body=f"{title}. This is a simulated text about {' and '.join(symbols)}; nothing of it is true.",
            authors=(rng.choice(AUTHORS),),
            symbols=symbols,
            topics=(topic,),
            type="press_release" if is_release else "news",
            time=now,
        )

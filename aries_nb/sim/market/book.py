"""A simulated order book in whole ticks; trades take liquidity from it. It is never crossed, and no side is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from random import Random

__all__ = ["DEPTH", "VISIBLE_LEVELS", "Book", "BookSide"]

VISIBLE_LEVELS = 20
#: Usual levels per side: some more than visible, so that a removed level is followed by an existing one.
DEPTH = 24
#: A book this many ticks away from the fair price had no subscriber for long: it is rebuilt around that price.
TOO_FAR = 40

Direction = Literal[1, -1]


class BookSide:
    """One side of an order book, best level first, as parallel lists of prices (`ticks`) and `sizes`.

    Sizes are shares or contracts: one `lot` and `mean_lots` more on average, in whole lots. `direction` is 1 for
    asks, -1 for bids. `depth` is the usual number of levels.
    """

    __slots__ = ("depth", "direction", "lot", "mean_lots", "rng", "sizes", "ticks")

    def __init__(self, direction: Direction, rng: Random, *, lot: int, mean_lots: float, depth: int = DEPTH) -> None:
        self.direction = direction
        self.rng = rng
        self.lot = lot
        self.mean_lots = mean_lots
        self.depth = depth
        self.ticks: list[int] = []
        self.sizes: list[int] = []

    def rebuild(self, best: int) -> None:
        """Replace all levels of this side; `best` is the new best price in ticks."""
        self.ticks = [best]
        self.sizes = [self.draw_size()]
        self._refill()

    def draw_size(self) -> int:
        """Return a random size in shares or contracts: whole lots, exponentially distributed."""
        return (1 + int(self.rng.expovariate(1.0) * self.mean_lots)) * self.lot

    def improve(self) -> None:
        """Add a level one tick better than the best, and remove the levels beyond `depth`."""
        self.ticks.insert(0, self.ticks[0] - self.direction)
        self.sizes.insert(0, self.draw_size())
        del self.ticks[self.depth :], self.sizes[self.depth :]

    def drop_best(self) -> None:
        """Remove the best level; if it is the only one, it gets a new size instead, so that a side is never empty."""
        if len(self.ticks) == 1:
            self.sizes[0] = self.draw_size()
            return
        del self.ticks[0], self.sizes[0]
        self._refill()

    def take(self, size: int) -> int:
        """Trade up to `size` shares or contracts against the best level.

        Return the traded size, at most that of the level.
        """
        left = self.sizes[0] - size
        if left > 0:
            self.sizes[0] = left
            return size
        traded = self.sizes[0]
        self.drop_best()
        return traded

    def resize(self, level: int) -> None:
        """Give a level a new size, different from its present one; `level` counts from the best, which is 0."""
        level = min(level, len(self.ticks) - 1)
        size = self.draw_size()
        self.sizes[level] = size if size != self.sizes[level] else size + self.lot

    def _refill(self) -> None:
        """Add levels behind the last one until there are `depth`, mostly one tick apart.

        Bids end at a price of one tick.
        """
        while len(self.ticks) < self.depth:
            tick = self.ticks[-1] + self.direction * (1 if self.rng.random() < 0.85 else 2)
            if tick < 1:
                return
            self.ticks.append(tick)
            self.sizes.append(self.draw_size())


class Book:
    """Order book of one instrument, in ticks.

    `fair` is the price around which it is built, `spread` the usual distance between bid and ask, `depth` the usual
    number of levels per side. Sizes are multiples of `lot` shares or contracts.
    """

    __slots__ = ("asks", "bids", "rng", "spread")

    def __init__(
        self, rng: Random, fair: float, *, spread: int, lot: int, mean_lots: float, depth: int = DEPTH
    ) -> None:
        self.rng = rng
        self.spread = spread
        self.bids = BookSide(-1, rng, lot=lot, mean_lots=mean_lots, depth=depth)
        self.asks = BookSide(1, rng, lot=lot, mean_lots=mean_lots, depth=depth)
        self.rebuild(fair)

    def rebuild(self, fair: float) -> None:
        """Replace both sides by new levels around the fair price, in ticks."""
        bid = max(1, round(fair - self.spread / 2))
        self.bids.rebuild(bid)
        self.asks.rebuild(bid + self.spread)

    def distance(self, fair: float) -> float:
        """Return how many ticks the fair price is above the middle of best bid and ask; negative if below.

        `fair` is in ticks.
        """
        return fair - 0.5 * (self.bids.ticks[0] + self.asks.ticks[0])

    def follow(self, fair: float) -> None:
        """Make one random change of the best bid or ask that moves the book towards the fair price, in ticks.

        A book that is more than 40 ticks plus its spread away is rebuilt around that price instead.
        """
        distance = self.distance(fair)
        gap = self.asks.ticks[0] - self.bids.ticks[0]
        behind, ahead = (self.bids, self.asks) if distance > 0 else (self.asks, self.bids)
        drawn = self.rng.random()
        if abs(distance) > TOO_FAR + self.spread:
            self.rebuild(fair)
        elif gap > self.spread and (gap > 2 * self.spread or drawn < 0.6):
            behind.improve()
        elif abs(distance) > 0.6 and drawn < 0.5:
            ahead.drop_best()
        else:
            (self.bids if drawn < 0.75 else self.asks).resize(0)

    def resize_deep(self) -> None:
        """Change the size of one random visible level behind the best one of either side."""
        drawn = self.rng.random() * 2.0
        side = self.bids if drawn < 1.0 else self.asks
        side.resize(1 + int((drawn % 1.0) * (VISIBLE_LEVELS - 1)))

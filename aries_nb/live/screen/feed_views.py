"""What a feed shows in a notebook: its status card, and its trading desk."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from aries_nb.errors import BoundToProcess
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.live_object import LiveRegistry, SessionViews
from aries_nb.live.moments.clock import PlaybackClock
from aries_nb.live.screen.card import FeedSource
from aries_nb.live.screen.desk import Desk, Layout, usual_layout
from aries_nb.model import CardData

if TYPE_CHECKING:
    from aries_nb.widgets import Card

__all__ = ["FeedViews"]


class FeedViews(BoundToProcess):
    """Base of a feed: the views of the feed itself. Any thread."""

    _views: SessionViews
    _callbacks: Callbacks
    _registry: LiveRegistry

    def card(self) -> CardData:
        """Return what the status card shows now: state, counts, latencies, and the newest problem in `error`.

        `error` also says by how much this computer's clock is wrong. Any thread.
        """
        return self._source.card()

    def desk(
        self, *symbols: str, window: str = "15min", interval: str = "5s", depth: int = 10, side: str = "board"
    ) -> Desk:
        """Return a trading screen: chart, ladder, time and sales, and a board of these symbols, or an account.

        It shows the first symbol; a click on another moves all views. Without symbols it takes those of the open
        frames, else of the watchlists. `window` is how much of the past is kept, `interval` the length of a candle,
        `depth` the number of levels on each side of the ladder, `side` "board" or "account". A call with equal
        arguments returns the same desk while that is open. Raises UsageError for a wrong value, UnknownSymbolError for
        a symbol that the server refuses.
        """
        feed: Any = self  # the methods of a `DeskFeed` are the subclass's
        feed._check()  # noqa: SLF001
        choices: dict[str, Any] = {"window": window, "interval": interval, "depth": depth, "side": side}
        names = symbols or self._registry.symbols()
        make = lambda: self._new_desk(usual_layout(feed, names, choices))  # noqa: E731
        found: Desk = self._views.shown(("desk", symbols, *choices.values()), make)
        return found

    def _new_desk(self, layout: Layout) -> Desk:
        """Return a desk with the transport bar of the replay, else with the timeline, at its foot."""
        feed: Any = self
        moves = feed.clock if isinstance(feed.clock, PlaybackClock) else feed.timeline()
        return Desk(feed, layout, moves._source)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        from aries_nb.widgets import Card

        card: Card = self._views.shown("card", lambda: Card(self._source))
        return card._repr_mimebundle_(include, exclude)

    @property
    def _source(self) -> FeedSource:
        feed: Any = self
        return FeedSource(feed, self._callbacks, self._registry)

"""What is filled by streams of its own, and accounts for every message of them."""

from __future__ import annotations

from collections.abc import Callable

from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.gaps import Gaps
from aries_nb.live.live_object import Held
from aries_nb.model import GapSpan
from aries_nb.store import Gap, Ledger, OrderBook, Table, Tape

__all__ = ["Streamed"]


class Streamed(Held):
    """A store that streams fill: what they brought, and what they missed."""

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        store: Tape | OrderBook | Table,
        name: str,
        *,
        release: Callable[[], None],
    ) -> None:
        super().__init__(link, store.watch, name, release=release)
        self._callbacks = callbacks
        self._store = store
        self._gaps = link.gaps_of(store)

    @property
    def ledger(self) -> Ledger:
        """What became of every message, as counts that add up."""
        return self._store.ledger()

    @property
    def gaps(self) -> Gaps:
        """What was missed of these symbols: one row an interruption in `.df`."""
        return self._gaps

    def on_gap(self, callback: Callable[[Gap], object]) -> Callable[[], None]:
        """Call back with each gap as it begins and again as it ends, on a thread of its own. Returns the undo."""
        return self._gaps.on_gap(self._callbacks, callback)

    def close(self) -> None:
        """Stop the stream and free the views; idempotent. What has come stays readable."""
        self._gaps.close()
        super().close()

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """When the stream was deaf and has not been filled since, oldest first; for a view that draws."""
        return self._gaps.spans()

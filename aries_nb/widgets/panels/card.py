"""Status card of a feed: its connection state, how many messages came, how late they are, and what is missing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.static_html import table

if TYPE_CHECKING:
    from aries_nb.model import CardData
    from aries_nb.widgets.sources import CardSource

__all__ = ["Card", "shown_url"]

# A live feed that has received nothing for this long is shown as silent, seconds.
QUIET_S = 10.0


class Card(Panel):
    """A live card that shows the state of a feed, drawn twice a second at most."""

    script = "card"
    period_s = 0.5

    def __init__(self, source: CardSource) -> None:
        self._card_source = source
        super().__init__(source)

    def __repr__(self) -> str:
        return "Card()"

    def _compose(self) -> PanelFrame:
        card = self._card()
        description: dict[str, object] = {
            "name": card.name,
            "url": card.url,
            "state": card.state,
            "error": card.error,
            "quiet_s": QUIET_S,
            "behind_s": round(card.behind_s, 1),
            "silent": card.silent,
            "limits": _limits(card),
            "is_full": card.connections == card.most_connections or card.streams == card.most_streams,
        }
        # The browser adds the time since this frame by its own clock.
        head = (
            float(card.streams),
            float(card.messages),
            round(card.messages_per_s, 1),
            float(card.gaps),
            float(card.unreadable),
            round(card.silence_s, 1),
            *(_rounded(lag) for lag in (card.lag_ms, card.lag_p99_ms, card.painted_p50_ms, card.painted_p99_ms)),
        )
        return PanelFrame(description, head, np.empty(0))

    def _picture(self) -> str:
        card = self._card()
        rows = [
            ["State", f"{card.state}, but {card.behind_s:,.1f} s behind" if card.behind_s else card.state],
            ["Address", card.url],
            ["Streams", f"{card.streams:,}"],
            *([["In use", limits]] if (limits := _limits(card)) else []),
            ["Messages", f"{card.messages:,} ({card.messages_per_s:,.0f}/s)"],
            ["Lag, median / 99 %", _both(card.lag_ms, card.lag_p99_ms)],
            ["Painted, median / 99 %", _both(card.painted_p50_ms, card.painted_p99_ms)],
            ["Gaps", f"{card.gaps:,}"],
            ["Unreadable", f"{card.unreadable:,}"],
            ["Silent for", f"{card.silence_s:,.0f} s"],
        ]
        rows += [["Silent streams", f"{card.silent:,}"]] if card.silent else []
        rows += [["Last error", card.error]] if card.error else []
        return table(card.name, ["", ""], rows, text_columns=(0, 1))

    def _card(self) -> CardData:
        card = self._card_source.card()
        return replace(card, url=shown_url(card.url))


def _limits(card: CardData) -> str:
    """What is in use of what the broker allows, "" where it has no limits."""
    counts = (
        (card.connections, card.most_connections, "connections"),
        (card.streams, card.most_streams, "streams"),
    )
    return " · ".join(f"{count:,} of {most:,} {what}" for count, most, what in counts if most is not None)


def _rounded(lag_ms: float) -> float:
    # One NaN object for all: a frame that differs in nothing else is not sent.
    return math.nan if math.isnan(lag_ms) else round(lag_ms, 1)


def _both(p50_ms: float, p99_ms: float) -> str:
    return "unknown" if math.isnan(p50_ms) else f"{p50_ms:,.0f} / {p99_ms:,.0f} ms"


def shown_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, each of which may hold a token; "" if it is invalid."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))

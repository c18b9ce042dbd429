"""Transport bar: play and pause, steps, speed, and a slider over time with its gaps and fills.

Of a replay it moves the market, of a live feed its views.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from aries_nb.model import PlaybackMove
from aries_nb.model.settings import settings
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.static_html import table

if TYPE_CHECKING:
    from aries_nb.model import PlaybackData
    from aries_nb.widgets.sources import PlaybackSource

__all__ = ["PlaybackBar"]

MS_NS = 1_000_000
# The least and the greatest value of each request of a page, in its units: milliseconds for times and spans.
REQUESTS = {
    "live": (0.0, 0.0),
    "pause": (0.0, 0.0),
    "play": (0.0, 0.0),
    "speed": (1e-6, math.inf),
    "seek": (0.0, 9e15 / 1e3),
    "step": (1e-3, 1e10),
    "events": (1.0, 1e6),
}
KINDS = {"gap": "gaps", "fill": "fills", "halt": "halts", "note": "notes"}


class PlaybackBar(Panel):
    """A live transport bar of a replay, or of the views of a live feed: it shows its time, and moves it.

    What a page asks for is passed on to `source` at once, on whichever thread the kernel handles messages: it works
    while a cell runs, where the front end lets messages in.
    """

    script = "playback"

    def __init__(self, source: PlaybackSource) -> None:
        self._playback_source = source
        self._handled = 0.0  # the number of the newest request that the picture follows
        self._requests = 0
        super().__init__(source)
        self.widget.takes_messages_in_cells = True

    def __repr__(self) -> str:
        return "PlaybackBar()"

    @property
    def version(self) -> int:
        """The version of the source, which grows also when a request was carried out."""
        return super().version + self._requests

    def _compose(self) -> PanelFrame:
        handled, data = self._handled, self._playback_source.playback()
        description: dict[str, object] = {
            "first": data.first / MS_NS,
            "last": data.last / MS_NS,
            "marks": [[mark.kind, mark.started / MS_NS, _ms(mark.ended), mark.text] for mark in data.marks],
            "problem": data.problem,
            "hasLive": data.is_live is not None,
        }
        flags = (float(data.is_playing), float(data.is_over), float(data.is_moving))
        return PanelFrame(
            description, (data.now / MS_NS, *flags, data.speed, handled, float(data.is_live is True)), np.empty(0)
        )

    def _picture(self) -> str:
        data = self._playback_source.playback()
        counts = {name: sum(mark.kind == kind for mark in data.marks) for kind, name in KINDS.items()}
        rows = [
            ["Time", _stamp(data.now)],
            ["State", state_of(data)],
            ["From", _stamp(data.first)],
            ["To", _stamp(data.last)],
            *([name.capitalize(), f"{count:,}"] for name, count in counts.items() if count),
            *([["Problem", data.problem]] if data.problem else []),
        ]
        return table("Replay" if data.is_live is None else "Timeline", ["", ""], rows, text_columns=(0, 1))

    def _on_message(self, widget: object, content: object, buffers: object) -> None:
        if isinstance(content, dict) and "move" in content:
            asked = _request(content["move"])
            if asked is not None:
                self._playback_source.move(asked[0], partial(self._done, asked[1]))
        super()._on_message(widget, content, buffers)

    def _done(self, number: float) -> None:
        self._handled = max(self._handled, number)
        self._requests += 1


def _request(asked: object) -> tuple[PlaybackMove, float] | None:
    """Return what a page asks for, with the number that it gave to it; None for anything malformed.

    It sends a name of `REQUESTS`, a value in its units, and the number, which grows from request to request.
    """
    if not isinstance(asked, list) or len(asked) != 3 or not isinstance(asked[0], str) or asked[0] not in REQUESTS:
        return None
    what: Any = asked[0]
    value, number = (math.inf if each == "max" else each for each in asked[1:])
    least, most = REQUESTS[what]
    if not (_is_number(value) and _is_number(number) and least <= value <= most):
        return None
    return PlaybackMove(what, round(value * 1e3) * 1_000 if what in ("seek", "step") else value), number


def state_of(data: PlaybackData) -> str:
    """Return in a few words whether a replay plays, and how fast."""
    if data.is_live:
        return "live"
    if data.is_playing:
        return "as fast as possible" if math.isinf(data.speed) else f"plays × {data.speed:g}"
    return "at the end" if data.is_over else "paused"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _ms(at: int | None) -> float | None:
    return None if at is None else at / MS_NS


def _stamp(at: int) -> str:
    local = datetime.fromtimestamp(settings.local_ns(at) // 1_000_000_000, UTC)
    return f"{local:%Y-%m-%d %H:%M:%S} {settings.timezone}"

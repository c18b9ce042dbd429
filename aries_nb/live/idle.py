"""Gives up the streams of frames that only a notebook's output history still holds, as after a cell was edited.

A broker asks for obsolete streams to end in a timely manner. An object in use is never given up: one that a variable, a
list, another object or a running function refers to, whose own function is called back, or whose view a page shows.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from aries_nb.live.notebook import held_by_history, notebook_shell
from aries_nb.model.clock import elapsed
from aries_nb.net.background import on_network, on_network_later

if TYPE_CHECKING:
    from aries_nb.live.live_object import LiveObject, LiveRegistry

__all__ = ["IdleStreams"]

IDLE_SECONDS = 60.0
LOOKS = 12  # in that time
# A page in the background answers once a minute, as browsers slow their timers down.
PAGE_SECONDS = 65.0
REASON = "not used: only the output history held it"


class IdleStreams:
    """Looks at the open objects of a feed from time to time, on the network's thread, and gives up those not in use.

    An object is given up after `seconds` in which it was not in use and not read. It begins again when it is used.
    `shell` returns IPython's shell in a notebook, else None: then nothing is given up.
    """

    def __init__(
        self, registry: LiveRegistry, *, seconds: float = IDLE_SECONDS, shell: Callable[[], Any] = notebook_shell
    ) -> None:
        self._registry = ref(registry)
        self._seconds = seconds
        self._shell = shell
        self._idle_since: dict[int, float] = {}  # by the object's id

    def start(self) -> None:
        """Begin to look, where this is a notebook. Any thread."""
        if self._shell() is not None:
            on_network(self._later)

    def look(self, shell: Any, objects: list[LiveObject]) -> None:  # noqa: ANN401
        """Give up those of `objects`, the open ones, that have not been in use for long enough.

        Nothing else than the list may refer to them on the caller's side. The network's thread only.
        """
        now, history, runs = elapsed(), held_by_history(shell), _newest_runs(objects)
        before, self._idle_since = self._idle_since, {}
        for place in range(len(objects)):
            key = id(objects[place])
            if _is_in_use(objects, place, history, runs, now):
                continue
            since = max([before.get(key, now), *(each._used_at for each in (objects[place], *objects[place]._parts))])  # noqa: SLF001
            self._idle_since[key] = since
            if now - since >= self._seconds and not objects[place]._is_given_up:  # noqa: SLF001
                objects[place]._give_up(REASON)  # noqa: SLF001

    def _later(self) -> None:
        on_network_later(self._seconds / LOOKS, self._look_again)

    def _look_again(self) -> None:
        registry = self._registry()
        if registry is None or registry.is_closed:
            return
        try:
            self.look(self._shell(), registry.open_objects())
        finally:
            del registry
            self._later()


def _is_in_use(
    objects: list[LiveObject], place: int, history: Counter[int], runs: dict[object, int], now: float
) -> bool:
    """Whether anything but the output history, views that no page shows and obsolete callbacks needs an object."""
    return (
        _is_called_back(objects[place], runs)
        or _is_held(objects, place, history)
        or any(_is_seen(view, now) for view in _views(objects[place]))
    )


def _is_held(objects: list[LiveObject], place: int, history: Counter[int]) -> bool:
    """Whether more refers to an object, or to one of its parts, than the history, its views and its functions do."""
    if _references(objects, place) > history[id(objects[place])] + _own_references(objects[place]):
        return True
    parts = list(objects[place]._parts)  # noqa: SLF001
    for at in range(len(parts)):
        explained = history[id(parts[at])] + _own_references(parts[at])
        if _references(parts, at) > explained + objects[place]._references_to(parts[at]):  # noqa: SLF001
            return True
    return False


def _references(objects: Sequence[object], place: int) -> int:
    """The number of references to an object other than that of the list."""
    return sys.getrefcount(objects[place]) - _OF_LIST


_OF_LIST = 0
_OF_LIST = _references([object()], 0)  # of an object that only a list holds, with that of the call itself


def _own_references(live: LiveObject) -> int:
    """The number of references from the sources of its views and from its registered functions."""
    return len(live._sources) + sum(kind == "update" for kind, _ in live._registrations.cells())  # noqa: SLF001


def _views(live: LiveObject) -> list[Any]:
    return [view for each in (live, *live._parts) for view in each._views.values() if not view.is_closed]  # noqa: SLF001


def _is_seen(view: Any, now: float) -> bool:  # noqa: ANN401 - views are imported when they are shown
    return bool(now - view.seen_at() < PAGE_SECONDS)


def _newest_runs(objects: Collection[LiveObject]) -> dict[object, int]:
    """Return the newest run of a cell in which it registered a function with an object of a kind, by these three."""
    newest: dict[object, int] = {}
    for live in objects:
        for key, cell in live._registrations.cells().items():  # noqa: SLF001
            if cell is not None:
                place = _kind(live), key, cell.cell
                newest[place] = max(newest.get(place, 0), cell.run)
    return newest


def _is_called_back(live: LiveObject, runs: dict[object, int]) -> bool:
    """Whether a function is registered that no later run of the same cell registered with an object of this kind.

    Later runs that register it with this object too are newer registrations of it.
    """
    for each in (live, *live._parts):  # noqa: SLF001
        for key, cell in each._registrations.cells().items():  # noqa: SLF001
            if cell is None or runs.get((_kind(each), key, cell.cell), 0) <= cell.run:
                return True
    return False


def _kind(live: LiveObject) -> tuple[type, str]:
    return type(live), str(getattr(live, "kind", ""))

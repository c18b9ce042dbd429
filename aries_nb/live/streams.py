"""What a feed has open, and what in the notebook holds it, as `feed.streams` shows it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from aries_nb.errors import BoundToProcess, UsageError
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject
from aries_nb.store import RollingFrame

if TYPE_CHECKING:
    from aries_nb.model.clock import Clock

__all__ = ["Streams"]

# What holds live objects: its name, and these objects.
Holder: TypeAlias = tuple[str, tuple[LiveObject, ...]]
RATE_SECONDS = 10
HISTORY = ("Out", "_oh")  # dictionaries in which IPython keeps the results of cells
NEWEST = ("_", "__", "___")  # and the newest results by name


class Streams(BoundToProcess):
    """The open live objects of a feed, numbered from 0; `df` has one row each, `close` closes some of them.

    They are those that were open when this was made: read `feed.streams` again for the present ones.
    """

    def __init__(self, links: Collection[Link], clock: Clock, holders: Callable[[], Sequence[Holder]]) -> None:
        self._clock = clock
        self._holders = holders
        # Not isinstance, which asks weak proxies. One that another thread is making lacks attributes.
        found = [each for each in gc.get_objects() if issubclass(type(each), LiveObject)]
        opened = [each for each in found if each._is_made]  # noqa: SLF001
        own = {id(link) for link in links}
        self._objects = [each for each in opened if each.is_open and id(each._link) in own]  # noqa: SLF001
        self._objects.sort(key=lambda each: each._name)  # noqa: SLF001

    @property
    def df(self) -> pd.DataFrame:
        """One row an object: stream, state, updates (rows or changes so far), rows_per_s, held_by; a snapshot.

        `state` is that of the connection, such as "live", or "given up" where only the output history held the object
        for a minute: it begins again when it is used.

        `rows_per_s` is over the last 10 s, of quotes and trades; NaN for others. `held_by` lists the notebook's
        variables, also lists and dictionaries ("quotes"), "output history", "callback", "view", the account, the other
        streams or the feed that hold it, by name; "another object" where it is none of these.
        """
        names = _variables()
        held: dict[int, list[str]] = {}
        streams = [(each._name, each._uses) for each in self._objects]  # noqa: SLF001
        for name, used in (*self._holders(), *streams):
            for each in used:
                held.setdefault(id(each), []).append(name)
        return pd.DataFrame(
            {
                "stream": pd.array([each._name for each in self._objects], dtype="str"),  # noqa: SLF001
                "state": pd.array([each._state for each in self._objects], dtype="str"),  # noqa: SLF001
                "updates": np.array([each._count() for each in self._objects], "int64"),  # noqa: SLF001
                "rows_per_s": np.array([self._rate(each) for each in self._objects], "float64"),
                "held_by": pd.array([_holders(each, names, held) for each in self._objects], dtype="str"),
            }
        )

    def close(self, *numbers: int) -> None:
        """Close the objects with these numbers, the index of `df`. Raises UsageError for one that there is not."""
        for number in numbers:
            if number not in range(len(self._objects)):
                raise UsageError(f"there is no stream {number!r}", advice=f"Pass numbers below {len(self)}.")
        for number in numbers:
            self._objects[number].close()

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[LiveObject]:
        return iter(self._objects)

    def __repr__(self) -> str:
        return repr(self.df) if len(self) else "<streams: none>"

    def _repr_html_(self) -> str:
        return self.df.to_html()  # pandas escapes texts

    def _rate(self, live: LiveObject) -> float:
        store = getattr(live, "_store", None)
        if not isinstance(store, RollingFrame):
            return float("nan")
        received = store.rows(0).received
        since = self._clock.now_ns() // 1_000 - RATE_SECONDS * 1_000_000
        return 0.0 if received is None else np.count_nonzero(received > since) / RATE_SECONDS


def _variables() -> Mapping[str, object]:
    """The variables of the notebook or script."""
    return dict(vars(sys.modules["__main__"]))


def _holders(live: LiveObject, names: Mapping[str, object], others: Mapping[int, Sequence[str]]) -> str:
    own = {name: value for name, value in names.items() if not name.startswith("_") and name not in HISTORY}
    held = [name for name, value in own.items() if _has(value, live)]
    results = [value for name in HISTORY if isinstance(names.get(name), dict) for value in names[name].values()]  # type: ignore[attr-defined]
    if any(value is live for value in (*results, *(names.get(name) for name in NEWEST))):
        held.append("output history")
    if len(live._registrations):  # noqa: SLF001
        held.append("callback")
    if any(not view.is_closed for view in live._views.values()):  # noqa: SLF001
        held.append("view")
    held += others.get(id(live), ())
    return ", ".join(held) or "another object"


def _has(value: object, live: LiveObject) -> bool:
    """Whether a variable's value is a live object, or a list, tuple, set or dictionary with it."""
    if type(value) is dict:
        value = list(value.values())
    return value is live or (type(value) in (list, tuple, set) and any(each is live for each in value))  # type: ignore[attr-defined]

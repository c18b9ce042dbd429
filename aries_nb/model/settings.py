"""Settings of the display that hold for the whole process, available as `anb.settings`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from aries_nb.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.model.view_data import Numbers

__all__ = ["Engine", "Settings", "check_plotly", "checked_engine", "settings"]

SECOND = 1_000_000_000
QUARTER_MS = 900_000  # clocks of time zones change at quarters of an hour
TEMPLATE = "aries_nb"  # Plotly's name of `anb.template`, our own looks


Engine: TypeAlias = Literal["plotly", "light"]
ENGINES: tuple[Engine, ...] = ("plotly", "light")


class Settings:
    """Settings of the display for the whole process, as `anb.settings`: time zone, engine and template.

    >>> anb.settings.timezone = "Europe/Moscow"
    >>> anb.settings
    Settings(timezone='Europe/Moscow', engine='plotly', template=None)

    A wrong value, or a name that is no setting, raises UsageError and changes nothing. Any thread may read and assign.
    """

    __slots__ = ("_engine", "_template", "_timezone", "_zone")

    def __init__(self) -> None:
        self._timezone = "UTC"
        self._zone: tzinfo = UTC
        self._engine: Engine = "plotly"
        self._template: str | None = None

    @property
    def timezone(self) -> str:
        """The time zone of times in tables: any IANA name, "UTC" by default.

        All views show times in it and name it: time columns of tables, stamps (no kernel, static pictures), notes on
        gaps and on P&L, the time axes of charts. A view on display follows from its next change on; a Plotly chart
        keeps the zone that it was made with. Its figure's x values are the local clock, as if that were UTC: add traces
        and read clicks on that clock. Times in DataFrames, files and arguments are UTC whatever is set here.
        """
        return self._timezone

    @timezone.setter
    def timezone(self, name: str) -> None:
        self._zone = _zone(name)
        self._timezone = name

    @property
    def engine(self) -> Engine:
        """The library that draws charts made from now on without a choice of their own; "plotly" by default.

        "plotly" makes figures to be styled, saved and exported. "light" draws lines, candles and equity on a canvas,
        for many charts on a page; other charts, as bars with nights left out, stay on Plotly.
        """
        return self._engine

    @engine.setter
    def engine(self, name: Engine) -> None:
        self._engine = _known_engine(name)

    @property
    def template(self) -> str | None:
        """The Plotly template of charts made from now on, such as "plotly_dark"; None (default) for our own looks.

        Several are joined by "+". The template's colours of paper, plot, text, grid and hover labels replace ours;
        sizes, margins and the colours of lines and candles stay. Known are the built-in templates, those that were
        registered in `plotly.io.templates` before, and "aries_nb", which is `anb.template`.
        """
        return self._template

    @template.setter
    def template(self, name: str | None) -> None:
        if name is not None:
            known = _templates()
            unknown = [part for part in name.split("+") if part not in known] if isinstance(name, str) else [name]
            if unknown:
                advice = f"There are: {', '.join(sorted(known))}; None for our own looks."
                raise UsageError(f"template={name!r} is no template of Plotly", advice=advice)
        self._template = name

    def local_ns(self, ns: int) -> int:
        """Return a time in ns since the epoch, shifted so that its UTC clock shows the local time in `timezone`."""
        if self._zone is UTC:
            return ns
        offset = datetime.fromtimestamp(ns // SECOND, self._zone).utcoffset()
        return ns if offset is None else ns + int(offset.total_seconds()) * SECOND

    def local_clock(self) -> Callable[[Numbers], Numbers]:
        """Return a function that shifts times in ms since the epoch so that their UTC clock shows the local time.

        The zone is the present `timezone`, whatever is set later. Of an hour that the local clock shows twice, when
        summer time ends, both passes have the same times.
        """
        zone = self._zone

        def shifted(ms: Numbers) -> Numbers:
            import numpy as np

            if zone is UTC or not len(ms):
                return ms
            quarters, places = np.unique(np.floor(np.nan_to_num(ms) / QUARTER_MS), return_inverse=True)
            offsets = [_offset_ms(zone, each) for each in (quarters * QUARTER_MS).tolist()]
            return np.asarray(ms + np.array(offsets)[places])

        return shifted

    def clock(self, ns: int) -> str:
        """Return the time of day of a time in ns since the epoch, in the zone set as `timezone`, as "14:30:00 UTC"."""
        return f"{datetime.fromtimestamp(ns // SECOND, self._zone):%H:%M:%S} {self._timezone}"

    def __setattr__(self, name: str, value: object) -> None:
        names = [each for each, kind in vars(type(self)).items() if isinstance(kind, property)]
        if name not in (*names, *self.__slots__):
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names)}."
            raise UsageError(f"there is no setting {name!r}", advice=hint)
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"Settings(timezone={self.timezone!r}, engine={self.engine!r}, template={self.template!r})"


def _offset_ms(zone: tzinfo, ms: float) -> float:
    offset = datetime.fromtimestamp(ms / 1e3, zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds() * 1e3


def _zone(name: object) -> tzinfo:
    """Return the time zone of an IANA name. Raises UsageError, which suggests a similar name, for anything else."""
    if name == "UTC":
        return UTC
    import zoneinfo  # looks for the system's data: only when it is needed

    if isinstance(name, str):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, or too long
            pass
    near = get_close_matches(str(name), zoneinfo.available_timezones(), n=1)
    hint = f"Did you mean {near[0]}?" if near else 'Pass an IANA name such as "Europe/Moscow", or "UTC".'
    raise UsageError(f"timezone={name!r} is no time zone", advice=hint)


def _templates() -> set[str]:
    """Return the names of Plotly's templates, built in and registered.

    Plotly itself is not imported for that, since it takes half a second.
    """
    spec = find_spec("plotly")
    folder = Path(spec.origin or "").parent / "package_data" / "templates" if spec is not None else None
    names = {path.stem for path in folder.glob("*.json")} if folder is not None else set()
    registered = getattr(sys.modules.get("plotly.io"), "templates", ())
    return names | {*registered, TEMPLATE}


settings = Settings()


def checked_engine(name: str | None) -> Engine:
    """Return the engine that draws a chart: `name`, or `settings.engine` for None. Raises UsageError for any other."""
    return settings.engine if name is None else _known_engine(name)


def check_plotly(name: str | None, what: str) -> None:
    """Check the engine of a chart that only Plotly draws, named `what` in the error; None passes. Raises UsageError."""
    if name is not None and _known_engine(name) != "plotly":
        advice = 'Use "plotly", which leaves times without trading out of the axis.'
        raise UsageError(f"engine={name!r} does not draw {what}", advice=advice)


def _known_engine(name: object) -> Engine:
    for engine in ENGINES:
        if engine == name:
            return engine
    known = " and ".join(f'"{each}"' for each in ENGINES)
    raise UsageError(f"engine={name!r} does not exist", advice=f"There are {known}.")

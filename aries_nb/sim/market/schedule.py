"""Troubles at set times: those that a user asks for at once, and those of a market that are planned from its start.

No clock: times are passed in, in Unix s of market time. Whether a trouble holds depends on that time alone, so that all
who have the same market see the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, TypeAlias

from aries_nb.errors import UsageError

__all__ = ["Plan", "Planned", "PlannedAt", "Schedule", "read_plan"]

SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
USUAL_SECONDS = 5.0
LONGEST_SECONDS = 86_400.0
#: Most troubles that are planned or lasting at a time.
MOST = 1_000
_SPAN = r"(\d+(?:\.\d+)?) ?(ms|s|min|h)"
_PLAN = re.compile(rf"(?P<name>[\w -]+?)(?: of (?P<symbol>\S+))? at {_SPAN}(?: for {_SPAN})?")


class Plan(NamedTuple):
    """A trouble `name` that begins `after` s from the market's start and lasts `seconds`; `symbol` "" is for all."""

    name: str
    after: float
    seconds: float
    symbol: str


class Planned(NamedTuple):
    """A trouble that lasts `seconds` from `start` (Unix s) on; `number` counts them."""

    trouble: str
    start: float
    seconds: float
    symbol: str
    number: int

    def holds(self, subject: str, now: float) -> bool:
        """Return whether it holds at `now` for a subject, such as "AAPL", "MOEX:SBER" or "AAPL quote"."""
        return self.start <= now < self.start + self.seconds and self.symbol in ("", _code(subject.split(" ")[0]))


#: Returns the trouble of one kind that holds for one subject at a time (Unix s); None for none.
PlannedAt: TypeAlias = Callable[[float], "Planned | None"]


class Schedule:
    """The troubles of one market at set times. Owned by the server's event loop."""

    def __init__(self) -> None:
        self._planned: list[Planned] = []
        self._numbers = count()
        #: Whether a trouble was ever planned.
        self.is_used = False

    @property
    def symbols(self) -> set[str]:
        """The symbols, without their exchanges, for which troubles are planned; "" among them for all."""
        return {each.symbol for each in self._planned}

    def add(self, trouble: str, now: float, seconds: float, symbol: str = "", *, after: float = 0.0) -> None:
        """Let a trouble last `seconds`, `after` s from `now` (Unix s) on, for one symbol, "" for all.

        Raises UsageError for a time that is not above 0 or longer than a day, and where 1,000 are planned.
        """
        if not 0 < seconds <= LONGEST_SECONDS:
            raise UsageError(f"seconds={seconds:g}", advice="Give a number above 0, of a day at most.")
        self._planned = [each for each in self._planned if each.start + each.seconds > now]
        if len(self._planned) >= MOST:
            raise UsageError(f"{MOST:,} troubles are planned", advice="Wait until one is over.")
        self._planned.append(Planned(trouble, now + after, seconds, _code(symbol), next(self._numbers)))
        self.is_used = True

    def of(self, trouble: str, subject: str) -> PlannedAt:
        """Return a function that finds the trouble of one kind that holds for a subject at a time, the newest first."""

        def planned(now: float) -> Planned | None:
            for each in reversed(self._planned):
                if each.trouble == trouble and each.holds(subject, now):
                    return each
            return None

        return planned


def read_plan(text: str) -> Plan:
    """Return what a text such as "halt of AAPL at 20s for 5s" plans; without "for" it lasts 5 s.

    Raises UsageError for another form; the name is not checked.
    """
    found = _PLAN.fullmatch(text.strip())
    if found is None:
        advice = 'Write it as "outage at 10s for 5s" or "halt of AAPL at 1min".'
        raise UsageError(f"{text[:100]!r} is no trouble at a time", where="troubles", advice=advice)
    at, unit, lasting, its_unit = found.groups()[2:]
    seconds = float(lasting) * SECONDS[its_unit] if lasting else USUAL_SECONDS
    return Plan(found["name"], float(at) * SECONDS[unit], seconds, found["symbol"] or "")


def _code(symbol: str) -> str:
    """Return a symbol without its exchange."""
    return symbol.rpartition(":")[2]

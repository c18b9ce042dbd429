"""What a measurement gives back: one row for each budget, one line for each peer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

__all__ = ["Budget", "Effort", "Outcome", "Peer"]

T = TypeVar("T")


class Effort(StrEnum):
    """How long a row is measured: for its figures, for rough figures, or only to see that it can be measured."""

    WHOLE = "whole"
    QUICK = "quick"
    SMOKE = "smoke"

    def choose(self, whole: T, quick: T, smoke: T) -> T:
        """The value of this effort out of the three."""
        return {Effort.WHOLE: whole, Effort.QUICK: quick, Effort.SMOKE: smoke}[self]


@dataclass(frozen=True)
class Budget:
    """One measured quantity and its budget; `is_met` None where it could not be measured."""

    what: str
    measured: str
    budget: str
    is_met: bool | None
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.is_met is None:
            return "not measured"
        return "yes" if self.is_met else "MISSED"


@dataclass(frozen=True)
class Peer:
    """A peer's rate at the same work, in rows/s, and how many times ours was faster (median over the rounds)."""

    name: str
    work: str
    rate: float
    times_slower: float


@dataclass
class Outcome:
    """Everything one module of the benchmark found; `notes` are lines worth printing below the tables."""

    budgets: list[Budget] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

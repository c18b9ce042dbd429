"""Delay before the next attempt to connect. Pure: randomness is passed in."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff", "BackoffRule"]


@dataclass(frozen=True, slots=True)
class BackoffRule:
    """Delays in seconds: exponential from `first`, doubled up to `cap`, then spread evenly over [half, whole].

    A connection that was live for `healthy` seconds starts over at `first`. One that was live for a shorter time does
    not, and waits `cap_after_live`, unless it is the first failure: a server that accepts and then disconnects sees an
    attempt every few seconds, not twice a second.
    """

    first: float = 0.5
    cap: float = 30.0
    cap_after_live: float = 4.0
    healthy: float = 10.0


class Backoff:
    """Delays of one connection; counts its failures."""

    def __init__(self, rule: BackoffRule) -> None:
        self._rule = rule
        self._failures = 0

    def next(self, *, lived: float | None, jitter: float) -> float:
        """Seconds to wait after a connection that was live for `lived` seconds (None: never live).

        `jitter` is a random number from [0, 1).
        """
        rule = self._rule
        if lived is not None and lived >= rule.healthy:
            self._failures = 0
        # A larger exponent is beyond every cap, and would overflow after a thousand attempts.
        delay = rule.first * 2.0 ** min(self._failures, 30)
        is_again = self._failures > 0
        self._failures += 1
        if lived is None:
            delay = min(delay, rule.cap)
        else:
            shortly = min(rule.cap, rule.cap_after_live)
            delay = shortly if is_again else min(delay, shortly)
        return delay * (0.5 + 0.5 * jitter)

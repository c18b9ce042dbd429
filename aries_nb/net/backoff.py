"""How long to wait before the next attempt to connect. Pure: randomness is passed in."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff", "BackoffRule"]


@dataclass(frozen=True, slots=True)
class BackoffRule:
    """Delays in seconds: exponential from `first`, doubled up to `cap`, then spread evenly over [half, whole].

    A connection that lived `healthy` seconds starts over. One that was live for a shorter time does not, and waits
    `cap_after_live`, no less and no more, unless it is the first that failed: it was no refusal, and yet a server that
    accepts and then kicks sees an attempt every few seconds.
    """

    first: float = 0.5
    cap: float = 30.0
    cap_after_live: float = 4.0
    healthy: float = 10.0


class Backoff:
    """Counts the attempts of one connection."""

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
        # An exponent beyond this is past every cap; unbounded, it would overflow after a thousand attempts.
        delay = rule.first * 2.0 ** min(self._failures, 30)
        is_again = self._failures > 0
        self._failures += 1
        if lived is None:
            delay = min(delay, rule.cap)
        else:
            shortly = min(rule.cap, rule.cap_after_live)
            delay = shortly if is_again else min(delay, shortly)
        return delay * (0.5 + 0.5 * jitter)

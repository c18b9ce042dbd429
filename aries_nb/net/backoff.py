"""Delay before the next attempt to connect. It uses no clock and no random numbers of its own: both are arguments."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff", "BackoffRule"]


@dataclass(frozen=True, slots=True)
class BackoffRule:
    """Parameters of the delays between attempts to connect, all in seconds.

    A delay starts at `first` and doubles with each failure up to `cap`; the wait is a random share of it, from half to
    all. After a connection that was live for at least `healthy` seconds the delays start again at `first`. After one
    that was live for a shorter time the delay is at most `cap_after_live` at the first failure, and exactly that from
    the second on: so a server that accepts and then disconnects gets an attempt every few seconds, not twice a second.
    """

    first: float = 0.5
    cap: float = 30.0
    cap_after_live: float = 4.0
    healthy: float = 10.0


class Backoff:
    """Computes the delays before the attempts to connect of one connection, from the number of its failures."""

    def __init__(self, rule: BackoffRule) -> None:
        self._rule = rule
        self._failures = 0

    def next(self, *, lived: float | None, jitter: float) -> float:
        """Return the seconds to wait before the next attempt, after a connection has failed.

        `lived` is for how many seconds it was live, None if it never was. `jitter` is a random number from [0, 1).
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

"""One attack on one client in a process of its own, and its outcome."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from tests.hostile.server import Attack, HostileServer

__all__ = ["Outcome", "Victim", "run_attack"]

SECONDS = 60.0  # until the effect of an attack must be visible


@dataclass(frozen=True)
class Outcome:
    """`more_mb`: growth of memory at its peak; `sees`: what the user sees, in one line; `took`: in s."""

    more_mb: float
    sees: str
    took: float


class Victim:
    """The process of a client; used by one thread, ends with the `with` block."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.victim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Victim:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def __call__(self, do: str, **arguments: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the client has died: {self._process.wait(30)}"
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_attack(attack: Attack, victim: Victim) -> Outcome:
    """Run an attack on a client until the user sees its effect, at most a minute."""
    with HostileServer(attack) as server:
        begun = time.monotonic()
        seen = victim("connect", url=server.url, broker=attack.broker, knobs=attack.knobs)
        if attack.answer is not None:
            seen = victim("ask")
            answered, deadline = 0, begun + SECONDS
            # Page after page; a busy machine may take long for one.
            while attack.is_walked and (
                server.answered > answered
                or (not re.search(attack.sees, described(seen)) and time.monotonic() < deadline)
            ):
                answered = server.answered
                time.sleep(0.5)
                seen = victim("look")
        elif attack.greet is None:
            assert not seen["error"], seen
            server.go()
            assert server.done.wait(SECONDS), "the attack did not end"
            deadline, before = time.monotonic() + SECONDS, -1
            # Until the client has read everything, and the user sees the effect.
            while (seen["messages"] != before or not re.search(attack.sees, described(seen))) and (
                time.monotonic() < deadline
            ):
                before = seen["messages"]
                time.sleep(0.05)
                seen = victim("look")
        if server.failed is not None:
            raise server.failed
        took = time.monotonic() - begun
        victim("close")
    return Outcome(seen["more_mb"], described(seen), took)


def described(seen: dict[str, Any]) -> str:
    """What a user sees, in one line."""
    if "state" not in seen:
        return str(seen["error"])
    words = [seen["state"]]
    if seen["unreadable"]:
        words.append(f"{seen['unreadable']} unreadable ({': '.join(seen['excerpt'])[:100]!r})")
    words += [f"gap: {reason!r}" for reason in seen["gaps"][-1:]]
    words += [f"last error: {seen['last_error']!r}"] if seen["last_error"] else []
    words += [f"raised {seen['error']}"] if seen["error"] else []
    return " ; ".join(words)

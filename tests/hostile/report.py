"""Prints the table of docs/security.md: each attack, its cost, what the user sees; each on a client of its own.

`python -m tests.hostile.report`; HOSTILE_BURST=20000 sends more messages of the endless attacks.
"""

from __future__ import annotations

import re
import sys

from tests.hostile.attacks import ATTACKS, CALM
from tests.hostile.run import Victim, run_attack

PLACE = re.compile(r" ?\((ws|http)://127[^)]*\)")


def main() -> None:
    write = sys.stdout.write
    write("| Attack | What it is | More memory, MB | Bound | What the user sees |\n| --- | --- | --- | --- | --- |\n")
    for attack in ATTACKS:
        with Victim() as victim:
            run_attack(CALM, victim)
            outcome = run_attack(attack, victim)
        sees = PLACE.sub("", outcome.sees).replace("|", "\\|").replace("`", "'")
        more = f"{max(outcome.more_mb, 0):.0f} | {attack.more_mb:.0f}"
        write(f"| {attack.name} | {attack.about} | {more} | `{sees[:160]}` |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

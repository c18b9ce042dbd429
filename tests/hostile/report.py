"""Prints the table of docs/security.md: each attack, what it costs, what the user sees; each on a client of its own.

`python -m tests.hostile.report`; HOSTILE_BURST=20000 sends more of what is ever new.
"""

from __future__ import annotations

import re
import sys

from tests.hostile.attacks import ATTACKS, CALM
from tests.hostile.run import Victim, suffer

PLACE = re.compile(r" ?\((ws|http)://127[^)]*\)")


def main() -> None:
    write = sys.stdout.write
    write("| Attack | What it is | More memory, MB | Bound | What the user sees |\n| --- | --- | --- | --- | --- |\n")
    for attack in ATTACKS:
        with Victim() as victim:
            suffer(CALM, victim)
            outcome = suffer(attack, victim)
        sees = PLACE.sub("", outcome.sees).replace("|", "\\|").replace("`", "'")
        more = f"{max(outcome.more_mb, 0):.0f} | {attack.more_mb:.0f}"
        write(f"| {attack.name} | {attack.about} | {more} | `{sees[:160]}` |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Equity and its explanation in a thousand random orders of messages, for each broker, against a plain computation.

Run with `python tests/soak/any_order.py [--examples 1000]`; `tests/live/account/test_any_order.py` is the short form.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

TEST = "tests/live/account/test_any_order.py"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1000)
    examples = parser.parse_known_args()[0].examples
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--timeout=0", TEST]
    return subprocess.run(command, env={**os.environ, "ANY_ORDER_EXAMPLES": str(examples)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Try what is no documented interface against the oldest and the newest plotly, anywidget, ipywidgets and websockets.

Two environments are made, with the versions that pyproject.toml allows, and the tests of models, charts and connections
run in each: `make test-frontends`. Exits with 1 if one fails. In the tests the installed versions stand for both.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
FOLLOWED = ("plotly", "anywidget", "ipywidgets", "websockets")
TESTS = (
    *("tests/widgets/test_widget_model.py", "tests/widgets/test_own_figure.py", "tests/widgets/charts"),
    *("tests/net/test_frame_connection.py", "tests/net/test_websocket.py"),
)
TOOLS = ("pytest>=9,<9.2", "pytest-timeout", "pytest-xdist", "hypothesis")


def requirements(*, is_oldest: bool) -> list[str]:
    """What to install: the project's dependencies, those followed at their lower bound or as new as allowed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    chosen = []
    for requirement in project["dependencies"]:
        name, _, bounds = requirement.partition(">=")
        is_pinned = is_oldest and name in FOLLOWED
        chosen.append(f"{name}=={bounds.partition(',')[0]}" if is_pinned else requirement)
    return [*chosen, *TOOLS]


def passes(folder: Path, *, is_oldest: bool) -> bool:
    """Whether the tests pass with these versions, in an environment made in `folder`."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *requirements(is_oldest=is_oldest)], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    )
    found = [line for line in listed.stdout.splitlines() if line.partition("==")[0] in FOLLOWED]
    sys.stdout.write(f"{'oldest' if is_oldest else 'newest'}: {', '.join(found)}\n")
    sys.stdout.flush()
    tests = [python, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *TESTS]
    return subprocess.run(tests, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Try both; return the exit code."""
    results = []
    for is_oldest in (True, False):
        with TemporaryDirectory() as folder:
            results.append(passes(Path(folder), is_oldest=is_oldest))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

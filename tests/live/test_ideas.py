"""docs/ideas.md: each of the first ideas is one line, and that line runs as it stands."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "ideas.md").read_text(encoding="utf-8")
IDEAS = 16


def test_each_idea_is_a_line_that_runs() -> None:
    names: dict[str, Any] = {}
    first, *blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(first, "docs/ideas.md", "exec"), names)
    names["trades"].wait(rows=100, timeout=60)
    lines = [line for block in blocks for line in block.splitlines() if line]

    made: list[Any] = []
    try:
        for line in lines:
            assert len(ast.parse(line).body) == 1
            made.append(eval(compile(line, "docs/ideas.md", "eval"), names))
        for each in made:
            shown: Any = each._repr_mimebundle_() if hasattr(each, "_repr_mimebundle_") else each._repr_html_()
            assert shown
    finally:
        names["feed"].close()
    assert len(lines) >= IDEAS

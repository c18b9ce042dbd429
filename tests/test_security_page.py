"""docs/security.md: each claim cites a test, and each test that it cites is there; its table has every attack."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.hostile.attacks import ATTACKS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[2:]]


CLAIMS = rows("Claims, each with its test")


def test_every_claim_cites_a_test() -> None:
    assert len(CLAIMS) > 15
    assert [claim for claim, *cited in CLAIMS if not TEST.search("|".join(cited))] == []


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(PAGE))))
def test_every_test_that_is_cited_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))

    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert name in names


def test_every_attack_stands_in_the_table_with_what_it_cost_within_its_bound() -> None:
    listed = {name: (float(cost), float(bound)) for name, _, cost, bound, _ in rows("Hostile servers")}

    assert [attack.name for attack in ATTACKS] == list(listed)
    assert {attack.name: attack.more_mb for attack in ATTACKS} == {name: bound for name, (_, bound) in listed.items()}
    assert [name for name, (cost, bound) in listed.items() if cost >= bound] == []

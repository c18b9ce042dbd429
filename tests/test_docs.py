"""The documentation: each page is reachable, all public objects are on the page of the API, no link is broken."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import aries_nb

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LINKED = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {name for page in PAGES for toctree in re.findall(r"```\{toctree\}(.*?)```", page.read_text(), re.S)
              for name in toctree.split() if not name.startswith(":")}  # fmt: skip

    assert {page.stem for page in PAGES} - {"index"} <= listed
    assert {name for name in listed if not (DOCS / f"{name}.md").exists()} == {"1", "notebooks/*"}


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    page = (DOCS / "api.md").read_text()

    missing = [name for name in aries_nb.__all__ if not re.search(rf"auto\w+:: aries_nb\.(\w+\.)*{name}$", page, re.M)]

    assert missing == []


def test_what_the_page_of_the_api_names_is_there() -> None:
    names = re.findall(r"auto\w+:: ([\w.]+)", (DOCS / "api.md").read_text())

    assert len(names) > 40
    for module, name in (each.rsplit(".", 1) for each in names):
        assert hasattr(import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", re.sub(r"```.*?```", "", page.read_text(), flags=re.S))
    # The site has copies of the notebooks beside its pages.
    folders = (page.parent, ROOT) if page.parent == DOCS else (page.parent,)

    assert [link for link in links if not any((folder / link).exists() for folder in folders)] == []


def test_the_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert citation["version"] == project["version"]
    assert citation["license"] == "BSD-3-Clause"


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda form: form.name)
def test_forms_for_issues_have_a_name_and_fields(form: Path) -> None:
    content = yaml.safe_load(form.read_text())

    assert content["name"]
    assert all(field["attributes"]["label"] for field in content["body"])


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """With every notebook and the tour executed."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", DOCS, tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(tmp_path).as_posix() for page in tmp_path.rglob("*.html")}
    assert {f"{page.stem}.html" for page in PAGES} <= pages
    assert {f"notebooks/{each.stem}.html" for each in (ROOT / "notebooks").glob("*.ipynb")} <= pages
    assert "Error" not in re.sub(r"\w+Error\b", "", (tmp_path / "tour.html").read_text())
    assert "svg" in (tmp_path / "tour.html").read_text()

"""The wheel alone, as `pip install` lays it out: complete, and a live board in a kernel of an environment of its own.

That environment is made without the project: its Python finds third-party packages in those of the tests through a .pth
file, which are the lock's versions. A folder that a .pth file names is only searched; .pth files in it, such as the one
of the editable project, are not read. So `aries_nb` is what was unpacked from the wheel, or is not found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from packaging.metadata import Metadata

from aries_nb.widgets.anywidget_view import panel_class
from tests.kernels import manager_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_client.blocking.client import BlockingKernelClient

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
NOT_PACKAGED = shutil.ignore_patterns("__pycache__")
SECONDS = 60
MOST_BYTES = 2_000_000  # plotly's whole script of 5 MB is read where plotly is installed; the small one is 0.4 MB of it
SHOW = """
import aries_nb as anb
feed = anb.connect("sim")
quotes = feed.quotes("AAPL", "MSFT").wait(rows=20)
display(quotes)
print(anb.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy: a build leaves files behind that the next one would pack."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("aries_nb", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=NOT_PACKAGED)
    build = subprocess.run([sys.executable, "-c", BUILD, made], cwd=source, capture_output=True, text=True)
    assert build.returncode == 0, build.stderr
    (path,) = made.iterdir()
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and what the lock file pins."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, symlinks=os.name != "nt")
    places = sysconfig.get_paths(scheme="venv", vars={"base": str(home), "platbase": str(home)})
    packages = Path(places["purelib"])
    (packages / "packages_of_the_tests.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    bare = Path(places["scripts"]) / ("python.exe" if os.name == "nt" else "python")
    without = subprocess.run([bare, "-c", "import pandas, aries_nb"], cwd=home, capture_output=True, text=True)
    assert "No module named 'aries_nb'" in without.stderr
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    return bare


@pytest.fixture
def kernel(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingKernelClient]:
    """A client of a kernel of that Python, in a folder without the project's sources."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    manager = manager_of(KernelManager)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager._kernel_spec = KernelSpec(argv=command, display_name="bare", language="python")
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "aries_nb").rglob("*") if path.is_file()}

    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("aries_nb/")}

    assert {name for name in files if "__pycache__" not in name} == packed
    assert "aries_nb/widgets/static/board.js" in packed


def test_the_wheel_brings_the_notebooks_as_copies_of_the_users(python: Path, tmp_path: Path) -> None:
    command = [python, "-c", "from aries_nb.cli import _first_notebook; print(_first_notebook())"]
    own = tmp_path / "aries_nb_notebooks"

    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    (own / "02_account_and_pnl.ipynb").write_text("changed")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    assert Path(first) == own / "01_first_light.ipynb"
    assert {path.name for path in own.iterdir()} == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert Path(first).read_text() == (ROOT / "notebooks/01_first_light.ipynb").read_text()
    assert (own / "02_account_and_pnl.ipynb").read_text() == "changed"


def test_the_metadata_is_valid_and_complete(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)

    assert metadata.description_content_type == "text/markdown"
    assert metadata.description.startswith("# aries_nb")
    assert metadata.summary
    assert metadata.license_expression == "BSD-3-Clause AND MIT"
    assert {"lab", "analysis", "keyring", "socks"} <= set(metadata.provides_extra)
    assert metadata.project_urls.keys() >= {"Changelog", "Documentation", "Source"}


def test_the_wheel_is_small_as_it_packs_no_whole_library(wheel: Path) -> None:
    assert wheel.stat().st_size <= MOST_BYTES


def test_a_board_of_the_wheel_is_live_in_a_kernel(kernel: BlockingKernelClient, python: Path) -> None:
    messages: list[dict[str, Any]] = []
    reply = kernel.execute_interactive(SHOW, output_hook=messages.append, timeout=SECONDS)
    assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", []))
    (shown,) = (each["content"]["data"] for each in messages if each["msg_type"] == "display_data")
    board = shown["application/vnd.jupyter.widget-view+json"]["model_id"]
    while not (changes := changes_of(board, messages)):
        messages.append(kernel.get_iopub_msg(timeout=SECONDS))
    opened = next(each["content"]["data"]["state"] for each in messages if opens(each, board))
    printed = "".join(each["content"]["text"] for each in messages if each["msg_type"] == "stream")

    names = [column["name"] for column in opened["description"]["columns"]]
    bids = {texts[0]: numbers[1 + names.index("bid_price")] for _, _, texts, numbers in opened["rows"]["put"]}

    assert python.parents[1] in Path(printed.strip()).parents
    script = panel_class("board").page_script
    brought = next(each["content"]["data"]["state"] for each in messages if opens(each, opened["script_model"][10:]))
    assert opened["_esm"] == script.stub
    assert brought["_css"] == script.style
    assert list(bids) == ["AAPL", "MSFT"]
    assert all(bid > 0 for bid in bids.values())
    assert {texts[0] for _, _, texts, _ in changes[0]["put"]} <= bids.keys()


def opens(message: dict[str, Any], widget: str) -> bool:
    """Whether a message makes a widget."""
    return message["msg_type"] == "comm_open" and message["content"]["comm_id"] == widget


def changes_of(widget: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a board was sent of its rows since it was made, in order; see `widgets.row_updates`."""
    updates = [each for each in messages if each["msg_type"] == "comm_msg" and each["content"]["comm_id"] == widget]
    states = [each["content"]["data"].get("state", {}) for each in updates]
    return [state["rows"] for state in states if state.get("rows")]

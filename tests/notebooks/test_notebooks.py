"""Every notebook runs top to bottom in a real kernel, is stored without outputs, and is readable when static."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from textwrap import indent

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from traitlets.config import Config

from aries_nb.sim import read_troubles
from tests.browser.brokers import written_for
from tests.kernels import make_patient, manager_of

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
#: The troubles of the rough market that notebooks run on as well: all but that which refuses what a cell is about.
ROUGH = sorted(read_troubles("all") - {"stream_refusals"})
CONNECT = re.compile(r'(anb\.connect\("sim[^"]*")')
#: Mean interval in s between two occurrences of a trouble. The fit over the strikes of 03 needs most of their quotes.
ROUGH_SECONDS = {"03": 20}
#: The notebooks on the rough market, on both brokers but for options, which Aries has alone, and ALOR's own. That of 06
#: is rough by itself, and 08 and 09 are about the way from one feed to others.
ON_ROUGH = {f"{path.stem}_rough.ipynb": (path, "") for path in NOTEBOOKS if path.name[:2] not in {"06", "08", "09"}}
ON_ROUGH |= {
    f"{path.stem}_rough_alor.ipynb": (path, "alor") for path in NOTEBOOKS if path.name[:2] in {"01", "02", "05", "07"}
}
#: Notebooks with hidden answers, in which each exercise is answered, right and wrong.
ANSWERED = {
    f"{path.stem}_answered.ipynb": path for path in NOTEBOOKS if "<summary>The answer" in path.read_text("utf-8")
}
#: Those that `make test-long` runs: their cells are much like those of others on the rough market of the same broker.
ONLY_LONG = {
    *("01_first_light_rough.ipynb", "01_first_light_rough_alor.ipynb", "02_account_and_pnl_rough.ipynb"),
    "03_options_rough.ipynb",
    *("04_alor_rough.ipynb", "05_record_and_replay_rough.ipynb", "05_record_and_replay_rough_alor.ipynb"),
    *("07_teach_rough.ipynb", "07_teach_rough_alor.ipynb"),
}

MOST_CELLS = 25
CELL_SECONDS = 180
AT_ONCE = 6  # more of them wait for a processor
WIDGET = "application/vnd.jupyter.widget-view+json"
#: As docs/charts.md says: of a view its picture, not a script that nbconvert loads from elsewhere.
PICTURES = Config({"NbConvertBase": {"display_data_priority": ["text/html", "image/png", "text/plain"]}})
FAILURE = re.compile(r"Traceback|\b[A-Z]\w*Error\b")

# The first test waits for all notebooks to be run.
pytestmark = pytest.mark.timeout(900)
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
#: Each notebook that is run. With its answers it has all cells of the one without, which the long tests run as well.
each_run = pytest.mark.parametrize(
    "name",
    [
        *(path.name for path in NOTEBOOKS if path not in ANSWERED.values()),
        *ANSWERED,
        *(pytest.param(path.name, marks=pytest.mark.long) for path in ANSWERED.values()),
    ],
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory, request):
    """`executed(name)` is the executed notebook, run in a copy of its folder by our own kernel.

    Those that this run asks for run once, several at the same time, each in a kernel of its own: they mostly wait.
    """
    folder = tmp_path_factory.mktemp("notebooks") / "copy"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))

    for name, (path, broker) in ON_ROUGH.items():
        make_rough(folder / (written_for(broker, path, folder) if broker else path.name), folder / name)
    for name, path in ANSWERED.items():
        answer(folder / path.name, folder / name)
    asked = [item.callspec.params for item in request.session.items if item.path == request.path]
    names = sorted({each["name"] for each in asked if "name" in each})

    async def run_all():
        turns = asyncio.Semaphore(AT_ONCE)

        async def run_one(name):
            async with turns:
                return await run(folder / name)

        return await asyncio.gather(*map(run_one, names), return_exceptions=True)

    done = dict(zip(names, asyncio.run(run_all()), strict=True))

    def outcome(name):
        if isinstance(done[name], BaseException):
            raise done[name]
        return done[name]

    return outcome


def make_rough(path, copy):
    """Write a copy of a notebook that connects to the rough market."""
    notebook = nbformat.read(path, as_version=4)
    seconds = ROUGH_SECONDS.get(path.name[:2], 6)
    for cell in code_cells(notebook):
        cell.source = CONNECT.sub(rf"\1, rough={ROUGH!r}, rough_seconds={seconds}", cell.source)
    nbformat.write(notebook, copy)


def answer(path, copy):
    """Write a copy of a notebook in which checks of the hidden answer, and of a wrong one, follow each exercise."""
    notebook, cells = nbformat.read(path, as_version=4), []
    answers = [re.search(r"<details>.*```python\n(.*?)```", cell.source, re.DOTALL) for cell in notebook.cells]
    for cell, found in zip(notebook.cells, [*answers[1:], None], strict=True):
        cells.append(cell)
        if not found:
            continue
        names = re.findall(r"^(\w+) = None\b", cell.source, re.MULTILINE)
        check = re.sub(r"^\w+ = None\b.*\n", "", cell.source, flags=re.MULTILINE)
        wrong = "\n".join(f"{name} += 7" for name in names)
        refused = f"try:\n{indent(check, '    ')}\nexcept AssertionError:\n    print('refused')"
        cells.append(nbformat.v4.new_code_cell(f"{found[1]}{check}"))
        cells.append(nbformat.v4.new_code_cell(f"{found[1]}{wrong}\n{refused}"))
    notebook.cells = cells
    nbformat.write(notebook, copy)


def run(path):
    """Run a notebook; an error in a cell stays in its outputs, a kernel that dies or hangs is raised."""
    client = NotebookClient(
        nbformat.read(path, as_version=4),
        km=manager_of(AsyncKernelManager),
        timeout=CELL_SECONDS,
        startup_timeout=CELL_SECONDS,
        allow_errors=True,  # each test looks for its own
        # As in a file saved without widget state: the reader sees the other formats of each output.
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    environment = os.environ | {"IPYTHONDIR": make_patient(path.parents[1] / f"ipython {path.stem}")}
    # nbclient leaves a kernel manager that it was given running, but for cleanup_kc.
    return client.async_execute(cleanup_kc=True, env=environment)


def troubles(notebook):
    """Errors and output on stderr."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@each_notebook
def test_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)

    nbformat.validate(notebook)
    assert len(notebook.cells) < MOST_CELLS
    assert "widgets" not in notebook.metadata
    assert [cell.source for cell in code_cells(notebook) if cell.outputs or cell.execution_count is not None] == []


@each_run
def test_notebook_runs_top_to_bottom(name, executed):
    assert troubles(executed(name)) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in ONLY_LONG)) for name in ON_ROUGH]
)
def test_notebook_runs_on_the_rough_market(name, executed):
    notebook = executed(name)

    assert any("rough=" in cell.source for cell in code_cells(notebook))
    assert troubles(notebook) == []


@pytest.mark.parametrize("name", ANSWERED)
def test_check_cells_pass_on_the_hidden_answer_and_fail_on_a_wrong_one(name, executed):
    notebook = executed(name)

    assert troubles(notebook) == []
    said = [output.text for cell in code_cells(notebook) for output in cell.outputs if output.get("name") == "stdout"]
    found = [line for text in said for line in text.splitlines() if line in ("no answer yet", "right", "refused")]
    assert found == ["no answer yet", "right", "refused"] * (len(found) // 3)
    assert len(found) >= 3


@each_run
def test_live_objects_leave_something_static(name, executed):
    shown = [output.data for cell in code_cells(executed(name)) for output in cell.outputs if "data" in output]

    live = [data for data in shown if WIDGET in data]
    assert [data for data in live if not (data.get("text/html") or data.get("text/plain"))] == []


@each_run
def test_notebook_as_html_has_each_view_as_its_picture_and_no_failure(name, executed):
    notebook = executed(name)
    live = [output for cell in code_cells(notebook) for output in cell.outputs if WIDGET in output.get("data", {})]

    html, _ = HTMLExporter(config=PICTURES).from_notebook_node(notebook)

    page = BeautifulSoup(html, "html.parser")
    outputs = page.select(".jp-OutputArea-output")
    assert len([each for each in outputs if each.select(".anb-picture")]) == len(live)
    assert [text for output in outputs if FAILURE.search(text := output.get_text())] == []
    assert any(output.find("table") for output in outputs)

"""A real Jupyter server, a real Chromium, and the actions of a user in them.

The server serves both JupyterLab and Notebook 7. It runs with folders of its own for settings, runtime files and
kernels: nothing of the user's is read or written. Every wait is for a condition, none for a fixed time.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import Request, urlopen

from tests.kernels import make_patient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, FloatRect, Locator, Page, Playwright

__all__ = [
    "App",
    "LabServer",
    "Theme",
    "chromium",
    "clear",
    "failures",
    "find_chromium",
    "open_notebook",
    "outputs",
    "run_all",
    "run_cell",
    "serve",
    "settle",
    "standing_still",
    "still_box",
    "value_of",
    "wait_for_output",
    "wait_idle",
]

App = Literal["lab", "notebook"]
Theme = Literal["light", "dark"]

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_BUNDLES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
VIEWPORT = {"width": 1280, "height": 1600}

# No dialogs over a notebook, and no requests to the network.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}

START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOAD_MS = 60_000

# The notebook in front, and the promise of its last run, stored where a later condition can read it.
PANEL = "window.jupyterapp.shell.currentWidget"
RUN = """command => {
    window.ariesRun = {done: false};
    const run = window.ariesRun;
    window.jupyterapp.commands.execute(command).finally(() => { run.done = true; });
}"""
IS_OPEN = f"""() => {{
    const panel = window.jupyterapp && window.jupyterapp.shell && {PANEL};
    const kernel = panel && panel.sessionContext && panel.sessionContext.session && panel.sessionContext.session.kernel;
    return Boolean(kernel && panel.content && panel.content.model && kernel.status === "idle");
}}"""
# What earlier tests left in the page.
CLOSE_ALL = """() => {
  if (!window.jupyterapp?.shell) return;
  for (const panel of [...window.jupyterapp.shell.widgets("main")]) panel.dispose();
  for (const name of Object.keys(window)) if (/^aries[A-Z]/.test(name)) delete window[name];
}"""
OPEN = "path => window.jupyterapp.commands.execute('docmanager:open', { path })"
HAS_LAB = "() => Boolean(window.jupyterapp?.shell?.widgets) && location.pathname.startsWith('/lab')"
IS_IDLE = f"""() => {{
    const panel = {PANEL};
    const cells = panel.content.widgets.filter(cell => cell.model.type === "code");
    const isRun = !window.ariesRun || window.ariesRun.done;
    return isRun && panel.sessionContext.session.kernel.status === "idle"
        && cells.every(cell => cell.model.executionState !== "running");
}}"""
ADD_CELL = f"""source => {{
    const notebook = {PANEL}.content;
    const index = notebook.model.sharedModel.cells.length;
    notebook.model.sharedModel.insertCell(index, {{cell_type: "code", source}});
    notebook.deselectAll();
    notebook.activeCellIndex = index;
    return index;
}}"""
REMOVE_CELL = f"""() => {{
    const {{ sharedModel }} = {PANEL}.content.model;
    sharedModel.deleteCell(sharedModel.cells.length - 1);
}}"""
FAILURES = f"""() => {PANEL}.content.widgets.filter(cell => cell.model.type === "code")
    .flatMap(cell => cell.model.outputs.toJSON())
    .filter(output => output.output_type === "error")
    .map(output => `${{output.ename}}: ${{output.evalue}}`)"""
IS_SETTLED = "() => !document.querySelector('[data-pending=true]')"
HAS_OUTPUT = f"""text => JSON.stringify({PANEL}.content.widgets.at(-1).model.outputs.toJSON()).includes(text)"""
OUTPUTS = f"index => {PANEL}.content.widgets[index].model.outputs.toJSON()"


@dataclass(frozen=True)
class LabServer:
    """A running server; `root` is the folder that it serves."""

    url: str
    root: Path
    token: str = field(repr=False)

    def address(self, notebook: str, app: App) -> str:
        # `reset` forgets the tabs of earlier visits, which only JupyterLab keeps.
        place, reset = ("lab/tree", "reset&") if app == "lab" else ("notebooks", "")
        return f"{self.url}{place}/{notebook}?{reset}token={self.token}"

    def ask(self, path: str, method: str = "GET") -> Any:
        """Answer of the server's REST interface; None where it is empty."""
        request = Request(f"{self.url}api/{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urlopen(request, timeout=STOP_SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def shut_down_kernels(self) -> None:
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")


def find_chromium() -> str | None:
    """Path of a Chromium on this machine."""
    found = (shutil.which(name) for name in (*CHROMIUM_NAMES, *CHROMIUM_BUNDLES))
    return next((path for path in found if path), None)


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(
        executable_path=find_chromium(), headless=True, args=list(CHROMIUM_ARGUMENTS), chromium_sandbox=False
    )
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def serve(notebooks: Path, home: Path) -> Iterator[LabServer]:
    """Serve a copy of `notebooks`; the server writes below `home` only. At the end no kernel is left."""
    root = home / "notebooks"
    shutil.copytree(notebooks, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    token = secrets.token_hex(16)
    log = home / "server.log"
    # Kernels listen on files there: the system allows names of 107 characters.
    with log.open("w") as output, TemporaryDirectory(prefix="anb-") as runtime:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *server_options(root)],
            env=environment(home, token, runtime),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield LabServer(url=wait_for_url(process, Path(runtime), log), token=token, root=root)
        finally:
            stop(process)


def server_options(root: Path) -> list[str]:
    return [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",  # any free one; the runtime file has its number
        "--KernelManager.transport=ipc",  # a port that is free may be another's when the kernel binds it
        f"--ServerApp.root_dir={root}",
        "--LabApp.extension_manager=readonly",  # the other kind uses the network
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]


def environment(home: Path, token: str, runtime: str) -> dict[str, str]:
    """The environment of the server: this Python's packages and kernel, settings of its own."""
    config = home / "config"
    overrides = config / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(SETTINGS))
    own = {
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": config,
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": runtime,
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": make_patient(home / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    return os.environ | {name: str(value) for name, value in own.items()}


def wait_for_url(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """The server's address, once it answers. Only the runtime file has the port."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        for path in runtime.glob("jpserver-*.json"):
            with suppress(ValueError, OSError):  # half written, or not listening yet
                url: str = json.loads(path.read_text())["url"]
                with urlopen(f"{url}api", timeout=5):
                    return url
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    # On SIGTERM the server shuts its kernels down; SIGINT would ask a question first.
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def open_notebook(page: Page, server: LabServer, notebook: str, *, app: App = "lab", theme: Theme = "light") -> None:
    """Open a notebook of the server's folder, and wait until its kernel is ready.

    A page that has JupyterLab already keeps it; its notebook is closed, and the server's kernels are shut down.
    """
    if app == "lab" and page.evaluate(HAS_LAB):
        clear(page, server)
        page.evaluate(OPEN, notebook)
    else:
        page.goto(server.address(notebook, app))
    page.wait_for_function(IS_OPEN, timeout=LOAD_MS)
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", THEMES[theme])
    is_light = json.dumps(str(theme == "light").lower())
    page.wait_for_function(f"() => document.body.dataset.jpThemeLight === {is_light}", timeout=LOAD_MS)


def clear(page: Page, server: LabServer) -> None:
    """Close what is open in JupyterLab, without questions, and shut the server's kernels down."""
    page.evaluate(CLOSE_ALL)
    server.shut_down_kernels()


def run_all(page: Page, *, wait: bool = True, timeout: float = 60.0) -> None:
    """Run all cells, and by default wait until all are done; `timeout` in seconds."""
    page.evaluate(RUN, "notebook:run-all-cells")
    if wait:
        wait_idle(page, timeout=timeout)


def wait_idle(page: Page, *, timeout: float = 60.0) -> None:
    """Wait until the cells are done and the kernel is idle; `timeout` in seconds."""
    page.wait_for_function(IS_IDLE, timeout=timeout * 1000)


def settle(page: Page) -> None:
    """Wait until the kernel is where the page's bars have asked it to be.

    They show at once what they ask for, and their messages have no order with cells: a front end sends them to a thread
    of their own.
    """
    page.wait_for_function(IS_SETTLED)


def run_cell(page: Page, code: str, *, wait: bool = True, timeout: float = 60.0) -> Locator:
    """Append a cell, run it once the page's bars are settled, and return its element in the page."""
    settle(page)
    index = page.evaluate(ADD_CELL, code)
    page.evaluate(RUN, "notebook:run-cell")
    if wait:
        wait_idle(page, timeout=timeout)
    return page.locator(f".jp-Notebook:visible .jp-Cell[data-windowed-list-index='{index}']")


def value_of(page: Page, code: str) -> str:
    """Text of the first output of a cell, which is removed: a longer notebook would scroll views out of sight."""
    run_cell(page, code)
    shown = outputs(page, -1)
    page.evaluate(REMOVE_CELL)
    return str(shown[0].get("text") or shown[0]["data"]["text/plain"]).strip() if shown else ""


def wait_for_output(page: Page, text: str) -> None:
    """Wait until the outputs of the last cell have this text: a kernel that is busy may be so with something else."""
    page.wait_for_function(HAS_OUTPUT, arg=text)


@contextmanager
def standing_still(page: Page) -> Iterator[None]:
    """Stop the process of the notebook's kernel meanwhile, as on a machine that is busy; the front end is not told."""
    kernel = int(value_of(page, "import os; os.getpid()"))
    os.kill(kernel, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kernel, signal.SIGCONT)


def still_box(locator: Locator) -> FloatRect:
    """The place of an element, in sight, once it moves no more and is not covered."""
    locator.hover(trial=True)
    box = locator.bounding_box()
    assert box is not None
    return box


def outputs(page: Page, index: int) -> list[dict[str, Any]]:
    """The outputs of a cell in the notebook format; a negative index counts from the end."""
    count: int = page.evaluate(f"() => {PANEL}.content.widgets.length")
    found: list[dict[str, Any]] = page.evaluate(OUTPUTS, index % count)
    return found


def failures(page: Page) -> list[str]:
    """Errors of all cells of the notebook in front."""
    found: list[str] = page.evaluate(FAILURES)
    return found

"""Each notebook, with JupyterLab's server, fits into the memory of a free Binder machine."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import psutil
import pytest

from tests.notebooks.test_notebooks import NOTEBOOKS, run, troubles

MOST_BYTES = 1_000_000_000
STAYS_SECONDS = 20  # a notebook that has run is looked at, while its views move

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def memory(pid: int) -> int:
    """Bytes of a process and its children; of memory that several share each has its part."""
    found = 0
    process = psutil.Process(pid)
    for each in [process, *process.children(recursive=True)]:
        try:
            used = each.memory_full_info()
            found += getattr(used, "pss", used.rss)  # only Linux knows the parts
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def server_memory(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes of JupyterLab's server that nobody uses yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--ServerApp.root_dir={tmp_path_factory.mktemp('lab')}", "--IdentityProvider.token=", "--allow-root"]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(120):
                try:
                    urlopen(f"http://127.0.0.1:{port}/lab").close()
                    break
                except URLError:
                    time.sleep(0.5)
            return memory(server.pid)
        finally:
            server.terminate()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_needs_less_than_a_gigabyte(path: Path, server_memory: int, tmp_path: Path) -> None:
    copy = Path(shutil.copy(path, tmp_path))
    notebook = nbformat.read(copy, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(f"import time\ntime.sleep({STAYS_SECONDS})"))
    nbformat.write(notebook, copy)
    peak, is_over = 0, threading.Event()
    others = {process.pid for process in psutil.Process().children()}

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.5):
            kernels = [process.pid for process in psutil.Process().children() if process.pid not in others]
            peak = max(peak, sum(map(memory, kernels)))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        executed = asyncio.run(run(copy))
    finally:
        is_over.set()
        watching.join()

    assert troubles(executed) == []
    sys.stdout.write(f"{path.stem}: {peak / 1e6:.0f} MB, and {server_memory / 1e6:.0f} MB of JupyterLab's server\n")
    assert 50_000_000 < peak < MOST_BYTES - server_memory

"""`import aries_nb` does nothing but define names."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

PROBE = """
import asyncio, json, sys, threading
before = {name: id(value) for name, value in vars(asyncio).items()}
loop_before = {name: id(value) for name, value in vars(asyncio.BaseEventLoop).items()}
import aries_nb
print(json.dumps({
    "threads": [thread.name for thread in threading.enumerate()],
    "modules": sorted(name for name in sys.modules if "." not in name),
    "patched": [name for name, value in before.items() if id(getattr(asyncio, name)) != value]
        + [name for name, value in loop_before.items() if id(vars(asyncio.BaseEventLoop)[name]) != value],
    "run": asyncio.run.__module__,
    "undefined": [name for name in aries_nb.__all__ if not hasattr(aries_nb, name)],
}))
"""


@pytest.fixture(scope="module")
def after_import() -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_starts_no_thread(after_import):
    assert after_import["threads"] == ["MainThread"]


@pytest.mark.parametrize("name", ["plotly", "ipywidgets", "anywidget", "websockets", "nest_asyncio", "nest_asyncio2"])
def test_import_leaves_heavy_module_alone(after_import, name):
    assert name not in after_import["modules"]


def test_import_patches_nothing_of_asyncio(after_import):
    assert after_import["patched"] == []
    assert after_import["run"] == "asyncio.runners"


def test_every_public_name_exists(after_import):
    assert after_import["undefined"] == []


@pytest.mark.parametrize("room", ["brokers", "live", "model", "net", "recording", "sim", "store", "widgets"])
def test_every_name_of_a_room_exists(room):
    module = import_module(f"aries_nb.{room}")

    assert [name for name in module.__all__ if not hasattr(module, name)] == []

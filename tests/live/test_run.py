"""`anb.run`, each time in a process of its own: nesting patches asyncio for good."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import aries_nb as anb


def run_script(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def test_outside_a_loop_it_runs_a_coroutine_to_its_end() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert anb.run(work()) == 7


def test_outside_a_loop_it_passes_on_what_the_coroutine_raises() -> None:
    async def work() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        anb.run(work())


def test_inside_a_running_loop_it_runs_a_coroutine_to_its_end() -> None:
    script = """
import asyncio, aries_nb as anb

async def work():
    await asyncio.sleep(0.01)
    return 7

async def cell():
    others = asyncio.create_task(work())
    return anb.run(work()) + await others

print(asyncio.run(cell()))
"""
    assert run_script(script) == "14"


def test_outside_a_loop_asyncio_stays_as_it_was_made() -> None:
    script = """
import asyncio, sys, aries_nb as anb

async def work(): ...

anb.run(work())
print(asyncio.run.__module__, "nest_asyncio2" in sys.modules, "nest_asyncio" in sys.modules)
"""
    assert run_script(script) == "asyncio.runners False False"


def test_versions_that_lose_cells_are_refused_and_the_coroutine_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"nest-asyncio": (1, 6, 0), "nest-asyncio2": (1, 7, 1), "ipykernel": (7, 4, 0)}
    monkeypatch.setattr("aries_nb.asynchronous._version", lambda package: installed.get(package, ()))

    async def work() -> None: ...

    async def cell() -> None:
        anb.run(work())

    with pytest.raises(anb.UsageError, match=r"lose the cells.*await.*nest-asyncio2>=1\.7\.4"):
        asyncio.run(cell())


def test_nothing_to_nest_with_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.asynchronous._version", lambda package: ())

    async def work() -> None: ...

    async def cell() -> None:
        anb.run(work())

    with pytest.raises(anb.UsageError, match="no installed package can nest"):
        asyncio.run(cell())

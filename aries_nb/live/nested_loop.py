"""`run`: runs a coroutine from a notebook's cell, inside the event loop that is running already.

The only module that uses nest-asyncio, and only when `run` is called: streams and widgets do not need it. Nested loops
slow every asyncio task of the process, and the archived nest-asyncio loses the cells queued behind a nested run on
ipykernel 7 and later; nest-asyncio2 from 1.7.4 on does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib import import_module, metadata
from typing import TypeVar

from aries_nb.errors import UsageError

__all__ = ["run"]

T = TypeVar("T")
_GOOD = (1, 7, 4)
_ADVICE = "Use `await` in the cell instead, or install nest-asyncio2>=1.7.4."


def run(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end and return its result, also inside a running event loop, as a notebook's cell is.

    Raises UsageError where the installed packages cannot nest event loops safely; the coroutine is closed then.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    try:
        import_module(_nester()).apply(loop)
    except BaseException:
        work.close()
        raise
    return loop.run_until_complete(work)


def _nester() -> str:
    """Return the name of the module that nests event loops.

    Raises UsageError where none is installed, or only versions that lose the cells queued behind a nested run.
    """
    second = _version("nest-asyncio2")
    if second >= _GOOD:
        return "nest_asyncio2"
    if _version("ipykernel") >= (7,):
        raise UsageError("a nested event loop would lose the cells queued behind it (ipykernel 7)", advice=_ADVICE)
    if not _version("nest-asyncio"):
        raise UsageError("no installed package can nest an event loop", advice=_ADVICE)
    return "nest_asyncio"


def _version(package: str) -> tuple[int, ...]:
    try:
        text = metadata.version(package)
    except metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in text.split(".") if part.isdecimal())

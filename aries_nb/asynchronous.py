"""For async code: `connecting`, which is `connect` within a running event loop, and `run`, which nests loops.

The loop runs on while a feed is opened, also while the package is imported at first use. `run` is the only user of
nest-asyncio, and only when it is called: streams and widgets do not need it. Nested loops slow every asyncio task of
the process, and the archived nest-asyncio loses the cells queued behind a nested run on ipykernel 7 and later;
nest-asyncio2 from 1.7.4 on does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, TypeVar

from aries_nb.errors import UsageError
from aries_nb.net.background import run_on_thread

if TYPE_CHECKING:
    from aries_nb.brokers import Broker
    from aries_nb.live import Feed

__all__ = ["connecting", "run"]

T = TypeVar("T")
THREAD = "aries-nb-connecting"
_GOOD = (1, 7, 4)
_ADVICE = "Use `await` in the cell instead, or install nest-asyncio2>=1.7.4."


@asynccontextmanager
async def connecting(broker: str | Broker = "sim", **arguments: Any) -> AsyncIterator[Feed]:  # noqa: ANN401 - of connect
    """Connect as `connect` does, with the same arguments and errors, for `async with`; leaving it closes the feed.

    >>> async with anb.connecting("sim") as feed:
    ...     async for rows in feed.quotes("AAPL"):
    ...         print(len(rows))

    Connecting and closing happen on another thread, so that the event loop is not held up. Nor does any call but `wait`
    hold it up: `feed.quotes`, `trades`, `book`, `bars`, `instruments`, `news`, `watchlists`, `account` with a name and
    its tables return at once on this loop, and a refusal is raised by what is awaited next. What is requested over HTTP
    and returned raises UsageError on this loop; await it on another thread, as in `await
    asyncio.to_thread(feed.reference.details, "AAPL")`. These are what `reference` looks up, `options`, histories of
    orders and fills, and, unless they are known from the token or from before, `accounts` and `account` without a name.
    """
    # Not on the loop's executor: calls of the user that block may take up all its threads.
    feed = await _opened(run_on_thread(partial(_connect, broker, arguments), name=THREAD))
    feed._loops.add(asyncio.get_running_loop())  # noqa: SLF001
    try:
        yield feed
    finally:
        await asyncio.wrap_future(run_on_thread(feed.close, name=THREAD))


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


def _connect(broker: str | Broker, arguments: dict[str, Any]) -> Feed:
    from aries_nb.live import connect
    from aries_nb.store import RollingFrame

    RollingFrame((), ("",)).frame()  # pandas imports modules at the first DataFrame
    return connect(broker, **arguments)


async def _opened(opening: Future[Feed]) -> Feed:
    """Return the feed once it is open; it is closed then if the caller was cancelled, even if the loop has ended."""
    loop, is_done = asyncio.get_running_loop(), asyncio.Event()

    def finish(_: Future[Feed]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(is_done.set)

    opening.add_done_callback(finish)
    try:
        await is_done.wait()
    except asyncio.CancelledError:
        opening.add_done_callback(_close_later)
        raise
    return opening.result()


def _close_later(opening: Future[Feed]) -> None:
    if opening.exception() is None:
        run_on_thread(opening.result().close, name=THREAD)


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

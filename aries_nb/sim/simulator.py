"""`Simulator` runs the server of one simulated broker on its own thread; `serve` runs it in the caller's event loop."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aries_nb.errors import ClosedError
from aries_nb.sim.alor.server import AlorServer
from aries_nb.sim.alor.settings import AlorOptions
from aries_nb.sim.aries.server import AriesServer
from aries_nb.sim.market.market import MarketHours
from aries_nb.sim.settings import ServerOptions, SimOptions, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from aries_nb.sim.market.history import TradeArray
    from aries_nb.sim.serving import Server

__all__ = ["Simulator", "make_server", "serve"]

T = TypeVar("T")
START_SECONDS = 30.0


class Simulator:
    """Context manager that runs a simulated broker's server while its `with` block runs, on a thread of its own.

    The options choose the protocol: AlorOptions or "alor" for ALOR's, SimOptions or None for Aries'. Methods may be
    called from any thread; all but `close` raise ClosedError before the start and, except `statistics`, after the end.
    Raises UsageError from the constructor for a recording that cannot be read, and on entering if the address cannot be
    listened on.
    """

    def __init__(self, options: ServerOptions | Literal["aries", "alor"] | None = None) -> None:
        if not isinstance(options, ServerOptions):
            options = AlorOptions() if options == "alor" else SimOptions()
        self.options: ServerOptions = options
        self._server = make_server(options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._is_ready = threading.Event()
        self._failure: BaseException | None = None
        self._final_statistics = Statistics()
        self._url = ""

    def __repr__(self) -> str:
        return f"<Simulator {self._url or 'not started'}>"

    @property
    def url(self) -> str:
        """The base URL, e.g. ws://127.0.0.1:40001, to which the broker's paths are appended; "" before the start."""
        return self._url

    def __enter__(self) -> Simulator:
        if self._thread is not None:
            raise ClosedError("a simulator can be entered only once", advice="Make a new one.")
        self._thread = threading.Thread(target=self._run, name="aries_nb-sim", daemon=True)
        self._thread.start()
        if not self._is_ready.wait(START_SECONDS):
            raise ClosedError("the simulator did not start", advice="Is the machine overloaded?")
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._failure is not None and error is None:
            raise self._failure

    def close(self) -> None:
        """Stop serving and close every connection with code 1001. A second call does nothing."""
        if self._thread is None or self._loop is None or self._task is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()

    def statistics(self) -> Statistics:
        """Return the server's counters since its start; after its end, their last values."""
        if self._thread is not None and not self._thread.is_alive():
            return self._final_statistics
        return self._call(self._server.statistics)

    def subscriptions(self) -> list[dict[str, dict[str, Any]]]:
        """Return the present subscriptions of each connected client, as the server sees them.

        Each is a dict by symbol or topic, with the protocol's names. ALOR's are keyed by guid and count the
        states that were `sent`, and those that were `held_back`: replaced by a newer state within the interval
        that the client requested.
        """
        return self._call(lambda: [client.session.subscriptions() for client in self._server.clients])

    def trades(self, symbol: str, first: float, last: float = math.inf) -> TradeArray:
        """Return every trade of a symbol in [first, last), Unix s, those of sessions before the start included.

        A structured array with the fields time (Unix ns), price (in the share's currency) and size (shares),
        about 500,000 rows a session; empty for an unknown symbol. Raises UsageError if live trades have been
        dropped: at least the newest 300,000 of each symbol are retained.
        """
        return self._call(lambda: self._server.trades(symbol, first, last))

    def drop_connections(self) -> int:
        """Abort the TCP connection of every client without a close frame; return the number of clients."""
        return self._call(self._server.drop_connections)

    def close_connections(self, code: int, reason: str = "") -> int:
        """Start closing every connection with a close frame of this code and reason.

        Return the number of connections.
        """
        return self._call(lambda: self._server.close_connections(code, reason))

    def broadcast(self, text: str) -> int:
        """Send a text, unchanged and in its own frame, to every authenticated client; return the number of clients."""
        return self._call(lambda: self._server.broadcast(text))

    def set_market(self, market: str, *, early_hours: bool = False, after_hours: bool = False) -> None:
        """Set the market status ("open" or "closed") and the extended hours, and send them to the clients.

        `early_hours` and `after_hours` say whether there is trading before and after the regular hours. While
        `market` is "closed", neither the synthetic market nor the accounts change.
        """
        self._call(lambda: self._server.set_hours(MarketHours(market, early_hours, after_hours), time.time()))

    def _call(self, work: Callable[[], T]) -> T:
        """Run `work` on the server's thread and return its result.

        Raises ClosedError if the simulator is not running.
        """
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            raise ClosedError(
                "the simulator is not running", advice="Use it inside its `with` block."
            ) from self._failure

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._final_statistics = self._server.statistics()
            self._is_ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

        def ready(url: str) -> None:
            self._url = url
            self._is_ready.set()

        try:
            await self._server.run(ready)
        except asyncio.CancelledError:
            return  # `close` asked for it


def make_server(options: ServerOptions) -> AriesServer | AlorServer:
    """Return a new server, not yet running, of the broker to which the options belong.

    Raises UsageError if a recording cannot be read.
    """
    if isinstance(options, AlorOptions):
        return AlorServer(options)
    assert isinstance(options, SimOptions), "there are two brokers"
    return AriesServer(options)


async def serve(
    options: ServerOptions, *, ready: Callable[[str], None], control: Callable[[Server[Any]], None] | None = None
) -> None:
    """Run a simulated broker's server in this event loop until cancelled; for the command line.

    Calls `control`, if it is given, with the server, and `ready` with the base URL once clients can connect. Raises
    UsageError if the address cannot be listened on or a recording cannot be read.
    """
    server = make_server(options)
    if control is not None:
        control(server)
    await server.run(ready)

"""What every simulated server does with its port: it listens, says where, and ends every connection when it stops."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve as serve_websockets

from aries_nb.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from websockets.asyncio.server import ServerConnection

    from aries_nb.sim.front import Front
    from aries_nb.sim.settings import ServerOptions

__all__ = ["GOING_AWAY", "listening"]

GOING_AWAY = 1001
CLOSE_SECONDS = 2.0


@asynccontextmanager
async def listening(
    options: ServerOptions,
    front: Front,
    serve_client: Callable[[ServerConnection], Awaitable[None]],
    drop_connections: Callable[[], int],
    **more: Any,  # noqa: ANN401 - websockets has the types
) -> AsyncIterator[str]:
    """Serve while the block runs, and hand out the base URL; then close every connection with 1001.

    `drop_connections` is called for those that do not end in time. `more` goes to `websockets.asyncio.server.serve`.
    Raises UsageError if the address cannot be listened on.
    """
    try:
        server = await serve_websockets(
            serve_client,
            options.host,
            options.port,
            create_connection=front.connection_class,
            close_timeout=CLOSE_SECONDS,
            logger=_quiet(),
            **{"compression": None, **more},
        )
    except OSError as error:
        raise UsageError(
            f"cannot listen: {error}", where=f"{options.host}:{options.port}", advice="Use port 0 for a free one."
        ) from error
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
    finally:
        server.close(code=GOING_AWAY, reason="the server stops")
        await front.close(CLOSE_SECONDS)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await server.wait_closed()
        except TimeoutError:
            drop_connections()
            await server.wait_closed()


def _quiet() -> logging.Logger:
    # None of those that `getLogger` finds and that anybody may set to DEBUG, where frames are logged, and with them the
    # tokens that clients send.
    parent = logging.getLogger("aries_nb")
    quiet = logging.Logger("aries_nb.sim", max(logging.INFO, parent.getEffectiveLevel()))
    quiet.parent = parent
    return quiet

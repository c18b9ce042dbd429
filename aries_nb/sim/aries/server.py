"""The simulated Aries server: its endpoints on one port, batching of lines into frames, and slow readers.

Source: Aries' protocol page §1 (framing), §9 U1 (close codes), U18 (batching), U19 (slow readers).
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from aries_nb.sim.accounts.accounts import TERMS, Accounts
from aries_nb.sim.aries.account_objects import worth_of
from aries_nb.sim.aries.accounts import AccountsSession
from aries_nb.sim.aries.charts import ChartsSession
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.market import MarketSession
from aries_nb.sim.aries.oauth import OAuthServer
from aries_nb.sim.market.history import History
from aries_nb.sim.market.options import Contract
from aries_nb.sim.serving import Client, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from aries_nb.sim.accounts.orders import AccountTerms
    from aries_nb.sim.aries.session import AriesSession
    from aries_nb.sim.front import Handler
    from aries_nb.sim.market.market import Market, MarketHours
    from aries_nb.sim.market.troubles import Trouble
    from aries_nb.sim.settings import SimOptions

__all__ = ["AriesServer"]

ACCOUNTS_PATH = "/v1/accounts/ws"
TRY_AGAIN_LATER = 1013
MAX_FRAME_BYTES = 2**20
#: Most lines in a frame, and the size beyond which a frame is halved (§1.5: a frame stays below 1 MiB).
FRAME_LINES = 500
FRAME_CHARACTERS = 2**19
#: Lines waiting for one client up to which an unpaced recording goes on.
PUMP_LINES = 4000
TRAILING_NEWLINE_SHARE = 0.05


class LineClient(Client["AriesSession"]):
    """One connection to the simulated Aries server; its messages are lines, many of which are sent in one frame."""

    def __init__(self, connection: ServerConnection, session: AriesSession, rng: Random) -> None:
        super().__init__(connection, session)
        self._rng = rng

    def frames(self) -> Iterator[tuple[int, str]]:
        """Empty the session's outbox into frames of newline-separated JSON, each once the one before is sent.

        Yield each frame's number of lines and text.
        """
        outbox = self.session.outbox
        while outbox:
            lines = outbox[:FRAME_LINES]
            while len(lines) > 1 and sum(map(len, lines)) > FRAME_CHARACTERS:
                del lines[len(lines) // 2 :]
            del outbox[: len(lines)]
            text = "\n".join(lines)
            yield len(lines), f"{text}\n" if self._rng.random() < TRAILING_NEWLINE_SHARE else text


class AriesServer(Server[LineClient]):
    """The server of all Aries endpoints with all clients. Owned by the event loop that runs `run`.

    The constructor reads the recordings: it raises UsageError before any socket is opened.
    """

    session_counts = ("auths", "subscribe_requests", "unsubscribe_requests")
    feed: AriesFeed
    options: SimOptions

    def __init__(self, options: SimOptions) -> None:
        options = options.started(time.time())
        start = cast("float", options.start)
        feed = AriesFeed(options, datetime.fromtimestamp(start).astimezone().date())
        self.accounts = Accounts(
            feed.market,
            options.seed,
            terms=_terms(feed.market, options.rough),
            orders_per_s=options.orders_per_s,
            roughness=options.roughness(),
            worth=worth_of,
        )
        self.oauth = OAuthServer(token=options.token)
        # The history ends at the market's first state, so it is made before the market moves.
        super().__init__(options, feed, History(feed.market, start))
        feed.on_trade.append(self._history.trade)
        self._endpoints: dict[str, Callable[[float], AriesSession]] = {
            "/v1/market/ws": lambda now: MarketSession(options, feed, now),
            "/v1/charts/ws": lambda now: ChartsSession(options, feed, now),
            ACCOUNTS_PATH: lambda now: AccountsSession(options, self.accounts, now),
        }
        # Accounts start with their first request: making their history takes a moment.
        self._are_accounts_active = False

    def set_hours(self, hours: MarketHours, now: float) -> None:
        """Set the market's hours, and with them open or close it, at `now` (Unix s).

        A change is sent to all clients.
        """
        self.feed.set_hours(hours, now)
        self.wake_all()

    def _socket_settings(self) -> dict[str, Any]:
        return {"ping_interval": None, "max_size": MAX_FRAME_BYTES}

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if _path(request) in self._endpoints:
            return None
        return connection.respond(HTTPStatus.NOT_FOUND, f"Only these are served: {', '.join(self._endpoints)}.\n")

    def _http_handler(self) -> Handler:
        self._are_accounts_active = True
        # Imports aiohttp, which a server for WebSockets alone does not need.
        from aries_nb.sim.aries.http import AriesHttpServer

        http = AriesHttpServer(self.options, self.feed, self._history, oauth=self.oauth, accounts=self.accounts)
        http.hangs = self.feed.roughness.occurrences("hanging_http", "http")
        http.market_time = lambda: self.clock.now
        http.hang_seconds = self.feed.roughness.hang_seconds
        return http.handle

    def _accept(self, connection: ServerConnection) -> LineClient:
        assert connection.request is not None, "the handshake is over"
        path = _path(connection.request)
        self._are_accounts_active = self._are_accounts_active or path == ACCOUNTS_PATH
        session = self._endpoints[path](time.time())
        session.accepts = self.oauth.is_valid
        framing = Random(f"{self.options.seed} framing {self._counts['connections']}")
        return LineClient(connection, session, framing)

    async def _send(self, client: LineClient) -> None:
        session, connection = client.session, client.connection
        try:
            while session.closing is None or session.outbox:
                await client.wake.wait()
                await self._delivers.wait()
                client.wake.clear()
                for lines, frame in client.frames():
                    await connection.send(frame)
                    self._counts["frames"] += 1
                    self._counts["messages"] += lines
                    self._has_room.set()
        except ConnectionClosed:
            return  # `_serve_client` gets the same error and cleans up
        await connection.close(*session.closing)

    def _send_frame(self, client: LineClient, text: str) -> None:
        self._spawn(client.connection.send(text))

    def _advance(self, seconds: float, now: float) -> None:
        self.feed.play_recordings(now)
        if self.feed.hours().market == "closed":
            return
        advance = self.accounts.advance if self._are_accounts_active else self.accounts.advance_news
        advance(seconds, now)

    def _is_behind(self, client: LineClient, most: int) -> bool:
        return len(client.session.outbox) > most

    def _check_limits(self, client: LineClient) -> None:
        session = client.session
        if len(session.outbox) > self.options.queue_limit and session.closing is None:
            self._counts["slow"] += 1
            session.close(TRY_AGAIN_LATER, "too slow")
            session.outbox.clear()
            # The sender may be waiting for room in the socket, which never comes.
            self._spawn(client.connection.close(TRY_AGAIN_LATER, "too slow"))

    def _pump_recordings(self, now: float) -> bool:
        # A row gives a symbol with all kinds of recordings four lines: a quarter of the limit never reaches it.
        return self.feed.pump_recordings(now, max(1, min(PUMP_LINES, self.options.queue_limit // 4)))


def _path(request: Request) -> str:
    return urlsplit(request.path).path


def _terms(market: Market, troubles: Collection[Trouble]) -> tuple[AccountTerms, ...]:
    """Return the accounts at the start: where options are chosen, the first has some calls, and trades puts as well."""
    if "options" not in troubles:
        return TERMS
    first, *others = TERMS
    root, _ = first.holdings[0]
    strikes = market.strikes(root)
    day, later = market.expiries(root)[3:5]
    middle = strikes[len(strikes) // 2]
    call = Contract(root, day, "C", middle).symbol
    puts = [Contract(root, each, "P", middle).symbol for each in (day, later)]
    chosen = replace(first, holdings=(*first.holdings, (call, 3)), favourites=(*puts, *first.favourites))
    return chosen, *others

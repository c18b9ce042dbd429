"""`connect`: from a broker's name to a live feed, equal calls in one process return one; `replay`: a recorded feed."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import cast
from weakref import WeakValueDictionary

from aries_nb.brokers import Broker, broker_named
from aries_nb.errors import TokenError, UsageError
from aries_nb.live.callbacks import same_function
from aries_nb.live.feed import Feed
from aries_nb.live.local_simulator import EmbeddedMarket, SimValue, arguments_from
from aries_nb.live.moments.clock import PlaybackClock, checked_speed
from aries_nb.live.recordings.recording import RecordedDay, broker_of, checked_path
from aries_nb.live.rooms.entering import entered
from aries_nb.model import Hidden, Secret
from aries_nb.net.auth.oauth import OAuthToken, oauth
from aries_nb.net.auth.token_endpoint import OAuthEndpoints
from aries_nb.net.auth.tokens import FunctionToken, TokenSource, fixed_token, hide_token, token_from
from aries_nb.net.background import register_fork_aware, run_on_thread
from aries_nb.net.connection_errors import enough_resources
from aries_nb.net.http_client import http_base
from aries_nb.net.limits import ConnectionLimit
from aries_nb.net.urls import checked_url
from aries_nb.recording import RecordingReader
from aries_nb.recording.remote import place_of
from aries_nb.rooms.address import is_room

__all__ = ["connect", "replay"]


class _OpenFeeds:
    """Registry of the open feeds of this process, by the arguments of `connect`. Any thread."""

    def __init__(self) -> None:
        self._feeds: dict[object, tuple[Feed, EmbeddedMarket | None, Broker | None]] = {}
        # Only while a call holds it: its key has the token.
        self._making: WeakValueDictionary[object, threading.Lock] = WeakValueDictionary()
        self._allowances: dict[str, ConnectionLimit] = {}
        self._guard = threading.Lock()
        atexit.register(self.close)
        register_fork_aware(self)

    def making(self, key: object) -> threading.Lock:
        """Return the lock of one set of arguments, so that equal calls of `connect` at the same time make one feed."""
        with self._guard:
            return self._making.setdefault(key, threading.Lock())

    def connection_limit(self, url: str, broker: Broker) -> ConnectionLimit:
        """Return the limits on connections and requests at an address: one object for all feeds with that address.

        Addresses are compared without regard to capitals and to a slash at their end. The most connections that it
        allows is set to that of `broker`, which may be newer than the object, as when the cell that makes the Broker
        ran again.
        """
        fresh = ConnectionLimit(broker.most_connections, requests_per_second=broker.requests_per_second)
        with self._guard:
            shared = self._allowances.setdefault(checked_url(url, "").lower(), fresh)
            shared.most = broker.most_connections
        return shared

    def get(self, key: object, own: Broker | None) -> Feed | None:
        """Return the open feed of an earlier call with equal arguments, None where there is none to reuse.

        A feed that has failed, or whose simulated market has ended, is closed and not reused; nor is one that was made
        of another `Broker` object than `own` (None: of a broker's name), as when the cell that defines the Broker has
        run again.
        """
        with self._guard:
            feed, market, made_of = self._feeds.get(key, (None, None, None))
        if feed is None:
            return None
        is_over = feed.state in {"failed", "closed"} or made_of is not own
        if is_over or (market is not None and not market.is_running):
            feed.close()
            return None
        return feed

    def put(self, key: object, feed: Feed, market: EmbeddedMarket | None, own: Broker | None) -> None:
        """Register a feed, the simulated market that was started for it, and the user's own Broker that it was made of.

        `market` is None where no market was started, `own` None where the user gave a broker's name.
        """
        with self._guard:
            self._feeds[key] = (feed, market, own)

    def drop(self, feed: Feed) -> None:
        """Remove a closed feed from the registry."""
        with self._guard:
            self._feeds = {key: entry for key, entry in self._feeds.items() if entry[0] is not feed}

    def after_fork(self) -> None:
        """Empty the registry in a forked process: the feeds belong to the parent.

        `connect` then makes new ones in the child.
        """
        self._feeds, self._making, self._allowances = {}, WeakValueDictionary(), {}
        self._guard = threading.Lock()

    def close(self) -> None:
        """Close all feeds; called at the exit of the interpreter."""
        for feed, *_ in list(self._feeds.values()):
            feed.close()


_open_feeds = _OpenFeeds()


def connect(
    broker: str | Broker = "sim",
    *,
    url: str | None = None,
    token: str | Callable[[], str | Secret] | None = None,
    timeout: float = 15.0,
    record: str | Path | None = None,
    **options: SimValue,
) -> Feed:
    """Connect to a broker and return its live feed; a call with equal arguments returns the same feed.

    `broker` is a name such as "aries" or "sim", a name that an installed package declares as an entry point in the
    group "aries_nb.brokers", or a `Broker` of your own (`aries_nb.brokers`). `url` is the base address; None for the
    broker's own. `token` is text, a function that returns text, or a login (`anb.oauth(…)`, `anb.oauth_login(…)`,
    `anb.oauth_client(…)`, `anb.keyring_token()`); None takes it from the environment. Where a broker issues access
    tokens for refresh tokens, the text may be either. `timeout` is in seconds.

    Names that begin with "sim" start a simulated market in a child process, which takes the options `seed`, `rate`
    (messages a second), `tape` (Parquet files of a recording), `speed` (how many times faster than recorded, or
    "max") and `rough`: True for all troubles of real markets, or the names of some, such as "halts,late_prints"
    (`aries-nb sim aries --help` lists them); each comes about every `rough_seconds` for each symbol. `troubles` happen
    at set times of the market, such as ["outage at 10s for 5s", "halt of AAPL at 1min"]; `feed.simulate` lets one
    happen at once. Its `feed.clock` pauses it, and moves it forward. Some brokers take options of their own, such as
    `exchange`; the error for a wrong value lists the right ones.

    `record` is the path of a recording, such as "today.anb": a new one has all from the beginning on, as with
    `feed.record`; one that is there goes on, and the feed begins with the rows, gaps and counts that it has.

    `broker` may be the address of a room, such as "tls://teacher:4222/room42" or "wss://HOST/room42": what another
    process serves with `feed.serve`. `token` is then one for the room's server, or USER:PASSWORD; None takes it from
    ARIES_NB_ROOM_TOKEN, where that is set.

    Blocks until the feed is live. Raises UsageError for an unknown name, option or an invalid address, TokenError
    without a token or with one that the server refuses, ConnectError where no connection is live within `timeout`.
    """
    given = hide_token(token)
    token = None  # a traceback may show this frame
    if is_room(broker):
        return _room(str(broker), given, timeout, url=url, record=record, options=options)
    known = broker_named(broker)
    chosen = {name: options.pop(name) for name in (*known.choices, *known.refuses) if name in options}
    if chosen and known.choose is not None:
        known = known.choose(**chosen)
    is_embedded = bool(known.simulates) and url is None
    if url is not None and not (isinstance(url, str) and url.strip()):
        advice = "Give it as wss://HOST[:PORT], or leave it out for the broker's own."
        raise UsageError(f"url={url!r} is no address", advice=advice)
    if options and not is_embedded:
        names, options = ", ".join(options), {}  # a token may be there under a wrong name
        what = f"{names}= is for the embedded simulated market"
        raise UsageError(what, advice=f"{_takes(known)}A simulated market is embedded where there is no url=.")
    arguments = arguments_from(options)
    source = None if is_embedded and given is None else _source_from(known, given, url=url)
    own = broker if isinstance(broker, Broker) else None
    path = None if record is None else checked_path(record)
    key = (own is not None, known.name, known.url, url, _same_token(given), tuple(arguments), tuple(chosen.items()))
    if not is_embedded:
        checked_url(url or known.url, known.market.path)
    with _open_feeds.making(key), enough_resources(f"connecting to {known.name}"):
        feed = _open_feeds.get(key, own)
        if feed is None:
            _warm_up()
            with ExitStack() as undo:  # an interrupt may come between any two lines
                market = None
                if is_embedded:
                    market = EmbeddedMarket(known.simulates, arguments)
                    undo.callback(market.close)
                make = partial(Feed, choices={name: str(each) for name, each in chosen.items()}, record=path)
                feed = _live_feed(known, url or known.url, source, market=market, timeout=timeout, make=make)
                undo.callback(feed.close)
                _open_feeds.put(key, feed, market, own)
                undo.pop_all()
    if path is not None:
        feed.record(path)
    return feed


def _room(
    address: str,
    given: object,
    timeout: float,
    *,
    url: str | None,
    record: str | Path | None,
    options: Mapping[str, SimValue],
) -> Feed:
    refused = [*options, *(["url"] if url is not None else []), *(["record"] if record is not None else [])]
    if refused:
        raise UsageError(f"a room takes no {refused[0]}=", advice="Pass its address, token= and timeout= only.")
    key = ("room", address, _same_token(given))
    with _open_feeds.making(key), enough_resources("entering a room"):
        feed = _open_feeds.get(key, None)
        if feed is None:
            _warm_up()
            made_of, room = entered(address, given, timeout)
            feed = Feed(made_of, made_of.url, fixed_token("none"), at_close=_open_feeds.drop, room=room)
            _open_feeds.put(key, feed, None, None)
    return feed


def replay(
    path: str | Path, *, speed: float | str = 1.0, start: object = None, broker: str | Broker | None = None
) -> Feed:
    """Return a feed that plays a recording back: the same frames, books, bars, accounts, gaps, counts and views.

    `path` is what `feed.record(path)` or `connect(record=path)` wrote, or the URL of a copy on a file system of fsspec,
    such as "s3://days/today.anb". It begins to play at once, `speed` times faster
    than recorded, "max" for as fast as possible, from `start` on: a time such as "14:30", or from its beginning.
    `feed.clock` pauses, steps, seeks, and changes the speed. Whatever is asked for, and whenever, holds what it would
    hold had it been asked for when the recording subscribed to it. `broker` is needed where the recording is of a
    broker of your own: its `Broker`; a name that is not the recording's is refused.

    No server is asked, and no token needed. Raises UsageError for a path that is no recording, for a symbol or field
    that was not recorded, a speed that is not above 0, and a start outside of the recording; RecordingError for a
    recording of a newer format, or one that cannot be read.
    """
    pace = checked_speed(speed)
    folder = place_of(path) if isinstance(path, str) and "://" in path else checked_path(path)
    expected = broker.name if isinstance(broker, Broker) else broker
    reader = RecordingReader(folder, broker=expected)
    day = RecordedDay(reader)
    known = broker_of(reader, broker if isinstance(broker, Broker) else None)
    feed = Feed(known, str(folder), fixed_token("none"), at_close=_open_feeds.drop, recorded=day)
    _open_feeds.put(object(), feed, None, None)  # so that it is closed at the exit of the interpreter
    try:
        clock = cast("PlaybackClock", feed.clock)
        if start is not None:
            clock.seek(start)
        clock.play(pace)
    except UsageError:
        feed.close()
        raise
    return feed


def _live_feed(
    broker: Broker,
    url: str,
    source: TokenSource | None,
    *,
    market: EmbeddedMarket | None,
    timeout: float,
    make: Callable[..., Feed],
) -> Feed:
    def at_close(closed: Feed) -> None:
        _open_feeds.drop(closed)
        if market is not None:
            market.close()

    if market is not None:
        url = market.url
        source = source or _source_from(broker, market.refresh_token or Secret(token_hex(16)), url=url)
    if source is None:
        raise TokenError("there is no token", advice="Pass token=….")
    if isinstance(source, OAuthToken):
        source()  # a login in the browser happens here, and takes its own time
    limit = _open_feeds.connection_limit(url, broker)
    feed = make(broker, url, source, connection_limit=limit, at_close=at_close, market=market)
    try:
        feed.wait_open(timeout)
    except BaseException:
        feed.close()
        raise
    return feed


def _source_from(broker: Broker, given: object, *, url: str | None) -> TokenSource:
    """Return the source of access tokens for the token that the user gave; `url` None means the broker's own address.

    A text that is a refresh token is exchanged for access tokens where the broker issues them so.
    """
    source = token_from(given)
    login = broker.login
    if login is not None and login.exchange is not None and (given is None or isinstance(given, Secret)):
        text = source()
        if not login.exchange.is_access(text.reveal()):
            source = oauth(refresh_token=text)
    if isinstance(source, OAuthToken) and not (broker.simulates and url is None):
        source.bind(_login_of(broker, url))
    return source


def _login_of(broker: Broker, url: str | None) -> OAuthEndpoints:
    """Return the OAuth endpoints of a broker: on the server at `url` if that is given, else at the broker's address.

    Raises UsageError where the broker has no OAuth login.
    """
    base, login = http_base(url or broker.url), broker.login
    if login is None:
        raise UsageError("this broker has no OAuth login", where=base, advice="Pass token= as text or a function.")
    page, host = (base, base) if url else (login.page, login.host or base)
    return OAuthEndpoints(page + login.authorize, host + login.token, login.is_json, login.exchange)


def _warm_up() -> None:
    """In a notebook's kernel, import jsonschema on a thread while the connection is made.

    The import would delay the first chart: Plotly's figures import nbformat, which imports jsonschema, which compiles a
    grammar for 1.3 s where a certain package is installed. It has no circular imports, so a thread may import it.
    """
    if "ipykernel" in sys.modules and "jsonschema" not in sys.modules:
        run_on_thread(partial(import_module, "jsonschema"), name="aries-nb-warm-up")


def _takes(broker: Broker) -> str:
    return f"{broker.name} takes {', '.join(broker.choices)}. " if broker.choices else ""


def _same_token(given: object) -> object:
    """Return a key that is equal for equal tokens, and for a function that its cell has defined again."""
    return Hidden(same_function(given.reveal())) if isinstance(given, FunctionToken) else given

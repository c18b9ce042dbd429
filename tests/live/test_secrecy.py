"""No token of any kind shows itself: in what a user holds, in a log, in a traceback with locals, in what `ps` lists.

Every token of these tests has `MARK` in it, and no line of this file does: a traceback shows lines as well.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import types
import urllib.request
from collections import deque
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from traceback import TracebackException
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.ultratb import VerboseTB
from rich.traceback import Traceback

import aries_nb as anb
from aries_nb.errors import ConnectError, FeedError, TokenError, UsageError
from aries_nb.model import Hidden
from aries_nb.sim import SimOptions, Simulator
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aries_nb.live import Feed

MARK = "hunter" + "2"
RENEW = '{"type": "event", "payload": {"action": "refreshAuth"}}'


def token(name: str = "token") -> str:
    return f"{name}-{MARK}-and-some-more"


# How a token can be passed.


def as_text(sim: Simulator) -> Any:
    return token()


def as_function(sim: Simulator) -> Any:
    return functools.partial(token, token("argument"))


def as_environment(sim: Simulator) -> Any:
    return None


def as_keyring(sim: Simulator) -> Any:
    return anb.keyring_token()


def as_client(sim: Simulator) -> Any:
    return anb.oauth_client(client_id="sim-client", client_secret=token("client-secret"))


def as_login(sim: Simulator) -> Any:
    return anb.oauth_login(client_id="sim-client", open_url=in_browser, remember=True)


WAYS = (as_text, as_function, as_environment, as_keyring, as_client, as_login)


def in_browser(url: str) -> bool:
    threading.Thread(target=lambda: urllib.request.urlopen(url).read()).start()
    return True


@pytest.fixture(scope="module")
def marked() -> Iterator[None]:
    """Have every token that is drawn by chance or kept by the system carry the mark."""
    kept = {("aries_nb", "token"): token("keyring")}
    keyring: Any = types.ModuleType("keyring")
    keyring.get_password = lambda service, name: kept.get((service, name))
    keyring.set_password = lambda service, name, value: kept.__setitem__((service, name), value)
    numbers = count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "keyring", keyring)
        patch.setenv("ARIES_NB_TOKEN", token("environment"))
        drawn = types.SimpleNamespace(token_urlsafe=lambda octets: f"{next(numbers)}-{token('issued')}")
        patch.setattr("aries_nb.sim.aries.oauth.secrets", drawn)
        patch.setattr(
            "oauthlib.oauth2.WebApplicationClient.create_code_verifier",
            lambda client, length: token("verifier").ljust(length, "v"),
        )
        yield


def begun(**options: Any) -> Simulator:
    """A simulator, not entered yet, whose client has a secret with the mark and whose access tokens are short-lived."""
    sim = Simulator(SimOptions(**options))
    oauth = sim._server.oauth
    oauth.settings = replace(oauth.settings, client_secret=token("client-secret"), access_seconds=1.0)
    return sim


class Records(logging.Handler):
    """Keeps everything that a record says, and the exceptions that came with one."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.names: set[str] = set()
        self.texts: list[str] = []
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names.add(record.name)
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])
        self.texts.append(logging.Formatter().format(record) + repr(vars(record)))


@pytest.fixture(scope="module")
def records() -> Iterator[Records]:
    """What is logged with the root and every other logger at DEBUG."""
    handler, root = Records(), logging.getLogger()
    known = [logging.getLogger(name) for name in list(root.manager.loggerDict)]
    before = [(logger, logger.level) for logger in (root, *known)]
    root.addHandler(handler)
    for logger in (root, *known):
        logger.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    for logger, level in before:
        logger.setLevel(level)


@dataclass
class Used:
    """A feed that has been through everything, all that a user can have of it, and what was logged meanwhile."""

    feed: Feed
    held: list[Any]
    logged: str
    loggers: set[str]
    errors: list[BaseException]


@pytest.fixture(scope="module", params=WAYS)
def used(request: pytest.FixtureRequest, marked: None, records: Records) -> Iterator[Used]:
    first, first_error = len(records.texts), len(records.errors)
    with begun(rate=500) as sim:
        source = request.param(sim)
        with anb.connect("aries", url=sim.url, token=source) as feed:
            quotes, charts = feed.quotes("AAPL"), feed.trades("MSFT", endpoint="charts")
            account = feed.account("ACC-1")
            held = [feed, quotes, charts, feed.book("AAPL"), account]
            held += [account.positions, account.orders, account.fills, account.equity, account.balances]
            held += [
                feed.gaps,
                feed.stats(),
                feed._source.card(),
                feed.unreadable,
                feed.accounts,
                feed.market_status,
                feed.url,
            ]
            quotes.on_update(lambda rows: 1 / 0)
            if request.param in {as_keyring, as_client, as_login}:
                held.append(source)
            if request.param in {as_client, as_login}:
                source.refused(source())  # the next one is asked for with the refresh token, where there is one
            sim.broadcast(RENEW)
            eventually(lambda: feed.stats().renewals == 3 and len(records.errors) > first_error)
            sim.drop_connections()
            eventually(lambda: feed.stats().reconnects == 3 and feed.state == "live")
            held += [feed.stats(), feed.gaps.df, quotes.df]
            shown = [repr(thing) + str(thing) + f"{thing}" for thing in held]
        texts = "\n".join(records.texts[first:])
        yield Used(feed, [*held, *shown], texts, records.names, records.errors[first_error:])


def test_nothing_that_a_user_holds_shows_a_token(used: Used) -> None:
    shown = [text for text in used.held if isinstance(text, str)]

    assert len(shown) > 20
    assert [text for text in shown if MARK in text] == []


def test_no_text_within_what_a_user_holds_is_a_token(used: Used) -> None:
    texts = list(plain_texts(used.held))

    assert "AAPL" in texts
    assert [text for text in texts if MARK in text] == []


def test_nothing_that_a_user_holds_takes_a_token_along_when_pickled(used: Used) -> None:
    left = []
    for thing in used.held:
        try:
            left.append(pickle.dumps(thing))
        except (TypeError, AttributeError, pickle.PicklingError):
            continue  # it does not leave the process

    assert left
    assert [data for data in left if MARK.encode() in data] == []


def test_no_logger_at_debug_is_told_a_token(used: Used) -> None:
    assert {"aries_nb", "httpx", "httpcore.http11"} <= used.loggers
    assert "the connection was cut" in used.logged
    assert MARK not in used.logged


def test_no_traceback_that_is_logged_shows_a_token(used: Used) -> None:
    assert {type(error) for error in used.errors} == {ZeroDivisionError}
    assert [name for error in used.errors[:1] for name, text in shown_with_locals(error).items() if MARK in text] == []


# Errors, shown with their locals.


@pytest.fixture(scope="module")
def refusing(marked: None) -> Iterator[Simulator]:
    with begun(token="only this") as sim:
        yield sim


def unreachable(sim: Simulator) -> str:
    return "ws://127.0.0.1:9"


CALLS: dict[str, tuple[type[FeedError], Callable[[Simulator], object]]] = {
    "text refused": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=as_text(sim))),
    "function refused": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=as_function(sim))),
    "environment refused": (TokenError, lambda sim: anb.connect("aries", url=sim.url)),
    "keyring refused": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=as_keyring(sim))),
    "no server": (ConnectError, lambda sim: anb.connect("aries", url=unreachable(sim), token=as_text(sim))),
    "no time": (ConnectError, lambda sim: anb.connect("aries", url=sim.url, token=as_text(sim), timeout=0.0)),
    "no such broker": (UsageError, lambda sim: anb.connect("arise", token=as_text(sim))),
    "no such option": (UsageError, lambda sim: anb.connect("aries", url=sim.url, tokn=as_text(sim))),
    "no address": (UsageError, lambda sim: anb.connect("aries", url="aries", token=as_text(sim))),
    "plain address": (UsageError, lambda sim: anb.connect("aries", url="ws://a.example", token=as_function(sim))),
    "no token": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=as_text(sim) + "\n" + token())),
    "octets": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=as_text(sim).encode())),  # type: ignore[arg-type]
    "function fails": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=failing)),
    "client refused": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=other_client())),
    "refresh token refused": (TokenError, lambda sim: anb.connect("aries", url=sim.url, token=other_user())),
    "client id": (UsageError, lambda sim: anb.oauth_client(client_id="", client_secret=token())),
    "octets of a secret": (UsageError, lambda sim: anb.oauth(client_id=" ", refresh_token=token().encode())),  # type: ignore[arg-type]
}


def failing() -> str:
    plain = token()
    raise RuntimeError(f"cannot exchange {plain}")


def other_client() -> Any:
    return anb.oauth_client(client_id="sim-client", client_secret=token("wrong"))


def other_user() -> Any:
    return anb.oauth(client_id="sim-client", client_secret=token("client-secret"), refresh_token=token("wrong"))


@pytest.mark.parametrize("name", CALLS)
def test_an_error_of_a_login_shows_no_token_with_its_locals(name: str, refusing: Simulator) -> None:
    expected, call = CALLS[name]

    error = caught(lambda: call(refusing))

    assert type(error) is expected
    assert [renderer for renderer, text in shown_with_locals(error).items() if MARK in text] == []


def test_an_error_after_a_token_has_run_out_shows_no_token_with_its_locals(marked: None) -> None:
    with begun(rate=200) as sim, anb.connect("aries", url=sim.url, token=as_text(sim)) as feed:
        feed.quotes("AAPL").wait()
        sim._server.oauth._token = "only this"
        over_http = caught(lambda: feed.accounts)
        sim.drop_connections()
        eventually(lambda: feed.state == "failed")
        over_socket = caught(lambda: feed.quotes("MSFT"))

        assert (type(over_http), type(over_socket)) == (TokenError, TokenError)
        for error in (over_http, over_socket):
            assert [renderer for renderer, text in shown_with_locals(error).items() if MARK in text] == []


def test_a_renewal_that_fails_shows_no_token(marked: None, records: Records) -> None:
    answers = iter([token("first")])
    first = len(records.texts)

    def run_dry() -> str:
        return next(answers)

    with (
        begun(rate=200) as sim,
        anb.connect("aries", url=sim.url, token=run_dry) as feed,
    ):
        sim.broadcast(RENEW)
        eventually(lambda: "raised StopIteration" in feed.stats().last_error)
        seen = repr(feed) + repr(feed._source.card()) + feed.stats().last_error

    logged = "\n".join(records.texts[first:])
    assert "no token for the renewal" in logged
    assert MARK not in seen + logged


# Other processes.


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_no_process_is_told_a_token_by_its_arguments_or_its_environment(marked: None) -> None:
    with anb.connect("sim", token=token(), seed=31) as feed:
        feed.quotes("AAPL").wait()
        children = [place for place in Path("/proc").glob("[0-9]*") if parent_of(place) == os.getpid()]
        arguments = [read(place / "cmdline") for place in Path("/proc").glob("[0-9]*")]
        environments = [read(place / "environ") for place in children]

    assert any(b"--end-with-input" in read for read in arguments)
    assert environments
    assert MARK.encode() not in b"".join(arguments) + b"".join(environments)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_simulators_own_token_need_not_be_an_argument() -> None:
    command = [sys.executable, "-m", "aries_nb", "sim", "aries", "--end-with-input"]
    environment = {**os.environ, "ARIES_NB_SIM_TOKEN": token("own")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = json.loads(said)["url"]
        listed = read(Path(f"/proc/{process.pid}/cmdline"))
        refused = caught(lambda: anb.connect("aries", url=url, token="another"))
        with anb.connect("aries", url=url, token=token("own")) as feed:
            state = feed.state

    assert (type(refused), state) == (TokenError, "live")
    assert MARK.encode() not in said + listed


def parent_of(place: Path) -> int:
    stat = read(place / "stat")
    return int(stat.rpartition(b")")[2].split()[1]) if stat else 0


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # ended meanwhile, or another user's


# How a traceback is shown, and what can be reached from an object.


def caught(call: Callable[[], object]) -> FeedError:
    with pytest.raises(FeedError) as found:
        call()
    return found.value


def shown_with_locals(error: BaseException) -> dict[str, str]:
    """A traceback as each of those shows it who show locals, whole."""
    kind, trace = type(error), error.__traceback__
    unlimited: Any = {"locals_max_length": None, "locals_max_string": None, "locals_hide_dunder": False}
    stacks = Traceback.extract(kind, error, trace, show_locals=True, **unlimited).stacks
    frames = [frame.locals or {} for stack in stacks for frame in stack.frames]
    shown = {
        # What it would draw without the source, which it takes long to highlight.
        "rich": "\n".join([str(stacks), *(str(node) for variables in frames for node in variables.values())]),
        "pytest": str(pytest.ExceptionInfo.from_exception(error).getrepr(style="long", showlocals=True, chain=True)),
        "IPython": VerboseTB(theme_name="nocolor", include_vars=True).text(kind, error, trace),
        "traceback": "\n".join(with_locals(TracebackException.from_exception(error, capture_locals=True))),
    }
    assert any(frames)
    assert all(kind.__name__ in text for text in shown.values())
    return shown


def with_locals(trace: TracebackException | None) -> Iterator[str]:
    """What is displayed, and the chain that is kept but not displayed."""
    if trace is not None:
        yield from trace.format()
        yield from with_locals(trace.__cause__)
        yield from with_locals(trace.__context__)


def plain_texts(root: object) -> Iterator[str]:
    """Every text that can be reached from an object by attributes, elements, closures and arguments."""
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, str | bytes | bytearray):
            yield thing if isinstance(thing, str) else thing.decode(errors="replace")
        elif id(thing) not in seen and not isinstance(thing, type | types.ModuleType | Hidden):
            seen.add(id(thing))
            waiting += parts_of(thing)


def parts_of(thing: Any) -> Iterable[Any]:
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return list(thing)
    if isinstance(thing, types.FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if cell != types.CellType()] + [
            thing.__defaults__
        ]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    names = [name for kind in type(thing).__mro__ for name in slots_of(kind)]
    return [getattr(thing, "__dict__", None), *(getattr(thing, name, None) for name in names)]


def slots_of(kind: type) -> list[str]:
    slots = kind.__dict__.get("__slots__", ())
    return [slots] if isinstance(slots, str) else list(slots)

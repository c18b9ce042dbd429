"""The checks of the command `aries-nb doctor`: versions and known problems, each with its fix."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import NamedTuple

__all__ = ["Finding", "clock_finding", "examine"]

SERVER_SECONDS = 3.0


class Finding(NamedTuple):
    """The result of one check: `what` was checked and found, whether it `is_ok`, and the `fix` to show if it is not."""

    what: str
    is_ok: bool
    fix: str = ""


# Package, oldest working version, first version that does not work (or None), purpose.
_NEEDED = (
    ("pandas", "3.0", None, "snapshots rely on copy-on-write"),
    ("websockets", "16", None, "the transport"),
    ("plotly", "6.1", "8", "charts"),
    ("anywidget", "0.9.20", None, "board, ladder, card and charts"),
    ("ipywidgets", "8.1.5", "9", "all views"),
    ("msgspec", "0.19", None, "decoding"),
    ("pyarrow", "18.0", None, "recorded markets"),
)


def examine() -> list[Finding]:
    """Run all checks and return their results, in the order in which to show them.

    They change nothing, open no connection, and need no notebook.
    """
    return [
        Finding(f"Python {sys.version.split()[0]}", sys.version_info >= (3, 11), "Use Python 3.11 or newer."),
        *(_package(*row) for row in _NEEDED),
        *_lab(),
        *_known_problems(),
        *_network(),
    ]


def _package(name: str, oldest: str, too_new: str | None, why: str) -> Finding:
    found = _version(name)
    wanted = f"{name}>={oldest}" + (f",<{too_new}" if too_new else "")
    if not found:
        return Finding(f"{name} is missing ({why})", is_ok=False, fix=f"pip install '{wanted}'")
    is_ok = _key(found) >= _key(oldest) and (too_new is None or _key(found) < _key(too_new))
    return Finding(f"{name} {found}", is_ok, f"pip install '{wanted}' ({why})")


def _lab() -> Iterator[Finding]:
    found = _version("jupyterlab") or _version("notebook")
    yield Finding(
        f"a notebook front end ({'found' if found else 'not in this environment'})",
        bool(found) or "JPY_PARENT_PID" in os.environ,
        "pip install 'aries_nb[lab]', unless your front end runs in another environment.",
    )
    for package, why in (("jupyterlab-widgets", "JupyterLab"), ("widgetsnbextension", "Notebook")):
        if found and not _version(package):
            yield Finding(f"{package} is missing", is_ok=False, fix=f"pip install {package}: {why} shows no widget.")


def _known_problems() -> Iterator[Finding]:
    kernel, nest, nest2 = _version("ipykernel"), _version("nest-asyncio"), _version("nest-asyncio2")
    yield Finding(
        f"nested event loops (ipykernel {kernel or 'none'}, nest-asyncio {nest or 'none'}, "
        f"nest-asyncio2 {nest2 or 'none'})",
        not kernel or _key(kernel) < (7,) or (bool(nest2) and _key(nest2) >= (1, 7, 4)),
        "pip install 'nest-asyncio2>=1.7.4': nest-asyncio loses queued cells on ipykernel 7. Only anb.run needs it.",
    )
    yield Finding(
        "asyncio is not patched",
        asyncio.run.__module__ == "asyncio.runners",
        "Something has patched asyncio in this process (nest_asyncio.apply()?), which slows every task: remove it.",
    )
    yield Finding(
        "plotly-resampler is absent",
        not _version("plotly-resampler"),
        "Uninstall it: it forces plotly below 7 and resamples wrongly while zoomed; our charts do without it.",
    )
    yield Finding("threads can send to widgets", sys.platform != "emscripten", "Run a kernel outside the browser.")
    yield from _front_ends()
    token = "set" if "ARIES_NB_TOKEN" in os.environ else "not set; the simulator needs none"
    yield Finding(f"a token for a real broker ({token})", is_ok=True)


def _front_ends() -> Iterator[Finding]:
    """Yield what to expect of a front end other than JupyterLab and Notebook, if this process runs in one."""
    if "COLAB_RELEASE_TAG" in os.environ:
        yield Finding(
            "Colab: views may stand still",
            is_ok=False,
            fix="Colab does not show what a thread sends to a widget (googlecolab/colabtools, issue 3373, open): "
            "use .df and .latest, or run JupyterLab.",
        )
    if "VSCODE_PID" in os.environ or "VSCODE_CWD" in os.environ:
        yield Finding(
            "VS Code: views need its kernel; it saves no state of widgets (microsoft/vscode-jupyter, issue 4404), so a "
            "file that is opened again shows the pictures of the time of display",
            is_ok=True,
        )
    if "marimo" in sys.modules:
        yield Finding("marimo: views are live in each session; exports have the pictures of the display", is_ok=True)


def _network() -> Iterator[Finding]:
    try:
        from aries_nb.brokers import BROKERS
        from aries_nb.errors import FeedError
        from aries_nb.net.proxy import proxy_for
        from aries_nb.net.tls import VARIABLES, tls_context
    except ImportError:
        return  # the missing package is reported above
    ways: dict[str, list[str]] = {}
    try:
        for url in sorted({broker.url for broker in BROKERS.values() if broker.url}):
            ways.setdefault(str(proxy_for(url) or "direct"), []).append(url.removeprefix("wss://"))
    except FeedError as error:
        yield Finding("the route to the brokers", is_ok=False, fix=str(error))
    for way, hosts in ways.items():
        yield Finding(f"the route to {'the brokers' if len(ways) == 1 else ', '.join(hosts)}: {way}", is_ok=True)
    named = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name))
    what = f"certificates of the system ({named or 'and of certifi'})"
    try:
        tls_context()
    except FeedError as error:
        yield Finding(what, is_ok=False, fix=str(error))
    else:
        yield Finding(what, is_ok=True)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _key(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def clock_finding(urls: Sequence[str] = ()) -> Finding:
    """Compare this computer's clock with that of the servers at these addresses; those of the built-in brokers for ().

    Asks the servers in turn, each for 3 s at most, without a token, until one answers with its time. Blocks.
    """
    what = "the clock of this computer"
    try:
        from aries_nb.brokers import BROKERS
        from aries_nb.net.events.exchange_clock import ExchangeClock
        from aries_nb.net.http_client import http_base, new_client
    except ImportError:
        return Finding(f"{what} (not compared: a package is missing)", is_ok=True)
    for url in urls or sorted({broker.url for broker in BROKERS.values() if broker.url}):
        try:
            with new_client(base := http_base(url)) as client:
                date = client.head(base, timeout=SERVER_SECONDS).headers.get("Date", "")
        except Exception as error:
            del error
            continue
        clock = ExchangeClock()
        if date and clock.handshake(date):
            return Finding(f"{what} ({clock})", is_ok=False, fix="Set it, by a time server (NTP) if possible.")
        if date:
            return Finding(f"{what} (right to some seconds, by {url})", is_ok=True)
    return Finding(f"{what} (not compared: no server could be asked)", is_ok=True)

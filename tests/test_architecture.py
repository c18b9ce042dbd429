"""The rooms of the package and the imports allowed between them, checked for every import; the page about them."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PACKAGE = Path(__file__).parents[1] / "aries_nb"
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
PATHS = sorted(PACKAGE.rglob("*.py"))

# Every room may also import errors and model, and itself. The root is `aries_nb/__init__.py`.
ALLOWED = {
    "errors": set(),
    "model": set(),
    "brokers": set(),
    "net": {"brokers"},
    "store": set(),
    "widgets": set(),
    "recording": set(),
    "rooms": {"net", "recording", "store"},  # recording for the reader of Arrow messages that trusts none
    "live": {"brokers", "net", "recording", "rooms", "store", "widgets"},
    "sim": set(),  # never brokers: client and simulator must not share a mistake
    "asynchronous": {"brokers", "live", "net", "store"},  # net for threads that are not those of a loop's executor
    "doctor": {"brokers", "net"},  # for the route to each broker, by which proxy
    "cli": {"live", "recording", "rooms", "sim", "doctor"},
    "root": {"live", "cli", "asynchronous", "recording", "rooms", "widgets"},
    "__main__": {"cli"},
}
SHARED = {"errors", "model"}

# Which libraries belong to which module or room alone.
CONFINED = {
    "plotly": "widgets",
    "ipywidgets": "widgets",
    "anywidget": "widgets",
    "nest_asyncio": "asynchronous",
    "nest_asyncio2": "asynchronous",
}
IMPURE = {
    "asyncio", "concurrent", "http", "multiprocessing", "os", "pandas", "queue", "random", "requests", "secrets",
    "select", "selectors", "socket", "ssl", "subprocess", "threading", "time", "urllib", "websockets",
}  # fmt: skip
IMPURE_CALLS = re.compile(r"(open|print|input)|.*\.(now|utcnow|today)")

# Who may ask which time; every other module asks none. Market time is a feed's, passed in as a `Clock`.
TIMES = {
    "elapsed": {
        "net.websocket", "net.session", "net.events.playback", "net.events.playback_run", "net.events.replay_clock",
        "net.events.notes",
        "net.http_client", "net.auth.oauth_callback", "live.connection", "live.waiting",
        "live.idle", "live.live_object", "live.notebook",
        "live.screen.card", "live.moments.timeline", "live.derived.worker", "live.staleness", "live.account.positions",
        "recording.writer", "rooms.publisher", "rooms.session", "rooms.stream", "rooms.taps", "rooms.trial",
        "widgets.anywidget_view", "widgets.painter", "widgets.transport", "widgets.view",
    },
    "worked": {"net.events.notes"},
    "steady_ns": {
        "net.events.exchange_clock", "net.events.steered_clock", "net.lag", "net.auth.oauth", "rooms.session",
    },
    # This computer's own clock, which may be wrong: compared with another one, with a time that a server named, or
    # shown by a browser on the same computer.
    "wall_ns": {
        "net.events.exchange_clock", "net.lag", "net.http_client", "net.auth.token_endpoint", "live.market.reference",
        "store.latency", "store.order_book", "store.rolling", "store.table", "widgets.anywidget_view",
        "widgets.light_view", "widgets.table_format",
        "widgets.view",
    },
}  # fmt: skip
NO_CLOCK = ("live", "net", "store", "widgets", "model", "brokers", "recording", "rooms")
CLOCK_CALLS = re.compile(
    r"time\.(time|monotonic|perf_counter|process_time|clock_gettime)(_ns)?"
    r"|(datetime|date|Timestamp|pd\.Timestamp|datetime64|np\.datetime64)\.(now|utcnow|today)"
)

DRAWERS = {"utils", "util", "helpers", "helper", "common", "manager", "handler", "info", "misc"}
MOST_LINES = 600
SMALL_LINES, MOST_SMALL = 60, 10
MOST_MODULES = 22

BROKER = re.compile(r"(?<![A-Za-z])(?i:aries|alor)(?![a-z])|(?:Aries|Alor)(?![a-z])")
PACKAGE_NAME = re.compile(r"aries[_-]nb", re.IGNORECASE)
MAY_NAME_BROKERS = ("brokers", "sim", "cli")

NAMED_PATH = re.compile(r"`([\w/]+\.(?:py|js))`")
MOST_FILES_OF_A_WALK = 10
WALKS = re.findall(r"^\*\*(A [\w ]+)\*\*(.+?)\n\n", PAGE, re.MULTILINE | re.DOTALL)


class Import(NamedTuple):
    target: str
    line: int
    is_deferred: bool
    """Inside a function or under `if TYPE_CHECKING`: not run when the module is imported."""


def module_name(path: Path) -> str:
    """The dotted name below the package; "root" for its own `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts) or "root"


MODULES = {module_name(path): path for path in PATHS}
NAMES = sorted(MODULES)


def room(module: str) -> str:
    return module.split(".")[0]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def nodes(node: ast.AST, *, is_deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Each node below, and whether it is left out when the module is imported."""
    for child in ast.iter_child_nodes(node):
        deferred = is_deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        deferred = deferred or (isinstance(node, ast.If) and is_type_checking(node.test) and child in node.body)
        yield child, deferred
        yield from nodes(child, is_deferred=deferred)


def dynamic_target(call: ast.Call) -> str | None:
    """The module's name in `import_module("…")` and `__import__("…")`."""
    called = ast.unparse(call.func).split(".")[-1]
    if called in {"import_module", "__import__"} and call.args and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value)
    return None


def absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = MODULES[module].name == "__init__.py"
    here = ["aries_nb", *([] if module == "root" else module.split("."))]
    parents = here[: len(here) - node.level + is_package]
    return ".".join([*parents, *([node.module] if node.module else [])])


def raw_imports(module: str) -> Iterator[Import]:
    for node, is_deferred in nodes(tree(module)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, is_deferred)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, is_deferred)
        elif isinstance(node, ast.Call) and (target := dynamic_target(node)):
            yield Import(target, node.lineno, is_deferred)


@cache
def inner_imports(module: str) -> tuple[Import, ...]:
    """Imports of our own modules, each as the longest name that is one."""
    found = []
    for entry in raw_imports(module):
        if entry.target.split(".")[0] != "aries_nb":
            continue
        target = entry.target.removeprefix("aries_nb").removeprefix(".")
        while target and target not in MODULES:
            target = target.rpartition(".")[0]
        found.append(entry._replace(target=target or "root"))
    return tuple(found)


@cache
def outer_imports(module: str) -> tuple[Import, ...]:
    """Imports of libraries, by their top name."""
    entries = (entry._replace(target=entry.target.split(".")[0]) for entry in raw_imports(module))
    return tuple(entry for entry in entries if entry.target != "aries_nb")


def texts(module: str) -> Iterator[tuple[int, str]]:
    """Identifiers and string literals with their lines; docstrings are prose and left out."""
    prose = {id(node.value) for node, _ in nodes(tree(module)) if isinstance(node, ast.Expr)}
    for node, _ in nodes(tree(module)):
        line = getattr(node, "lineno", 0)
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(text := getattr(node, field, None), str):
                yield line, text
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in prose:
            yield line, node.value if isinstance(node.value, str) else node.value.decode("latin-1")


def is_in(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def names_broker(text: str) -> bool:
    return BROKER.search(PACKAGE_NAME.sub("", text)) is not None


def of_each(values: Iterable[object]) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make one test of the check of each value: a test for each would cost many times what it checks."""
    values = list(values)
    assert values, "there is nothing to check"

    def tested(check: Callable[[Any], None]) -> Callable[[], None]:
        def test() -> None:
            failures = []
            for value in values:
                try:
                    check(value)
                except AssertionError as error:
                    error.add_note(f"of {value}")
                    failures.append(error)
            if failures:
                raise ExceptionGroup(f"{len(failures)} fail", failures)

        test.__name__ = check.__name__
        return test

    return tested


@of_each(NAMES)
def test_module_enters_only_rooms_it_may(module):
    home = room(module)
    assert home in ALLOWED, "a new room needs its arrows, here and in the design"
    allowed = ALLOWED[home] | SHARED | {home}

    wrong = [
        f"line {entry.line}: {entry.target}" for entry in inner_imports(module) if room(entry.target) not in allowed
    ]

    assert wrong == [], f"{home} may enter only {sorted(allowed)}"


@of_each([name for name in NAMES if room(name) == "live"])
def test_live_enters_widgets_only_at_the_moment_of_display(module):
    early = [entry for entry in inner_imports(module) if room(entry.target) == "widgets" and not entry.is_deferred]

    assert early == []


def test_no_imports_in_a_circle():
    graph = {module: {entry.target for entry in inner_imports(module)} - {module} for module in NAMES}

    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@of_each(CONFINED)
def test_library_stays_in_its_place(library):
    place = CONFINED[library]

    users = [name for name in NAMES if any(entry.target == library for entry in outer_imports(name))]

    assert [name for name in users if not is_in(name, (place,))] == []


@of_each([name for name in NAMES if room(name) == "brokers"])
def test_brokers_are_pure(module):
    imported = {entry.target for entry in outer_imports(module)}
    called = {ast.unparse(node.func) for node, _ in nodes(tree(module)) if isinstance(node, ast.Call)}

    assert imported & IMPURE == set()
    assert [name for name in called if IMPURE_CALLS.fullmatch(name)] == [], "time is handed in, and there is no I/O"


@of_each([name for name in NAMES if room(name) in NO_CLOCK and name != "model.clock"])
def test_time_is_asked_of_one_module_by_those_that_may(module):
    names = [ast.unparse(node) for node, _ in nodes(tree(module)) if isinstance(node, ast.Attribute)]
    imported = {
        alias.name
        for node, _ in nodes(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module == "aries_nb.model.clock"
        for alias in node.names
    }
    by_name = [node.module for node, _ in nodes(tree(module)) if isinstance(node, ast.ImportFrom)]

    assert [name for name in names if CLOCK_CALLS.fullmatch(name)] == [], (
        "ask `aries_nb.model.clock`, or a feed's clock"
    )
    assert "time" not in by_name, "time is asked of `aries_nb.model.clock`"
    assert {name for name in TIMES if module in TIMES[name]} == imported & TIMES.keys()


@of_each([name for name in NAMES if name.count(".") > 1 and room(name) == "brokers"])
def test_no_broker_imports_another(module):
    home = module.split(".")[1]
    homes = {path.parent.name for path in (PACKAGE / "brokers").glob("*/__init__.py")}

    imported = [entry.target.split(".") for entry in inner_imports(module) if room(entry.target) == "brokers"]

    assert [parts for parts in imported if len(parts) > 1 and parts[1] in homes - {home}] == []


@of_each(sorted({path.parent for path in PATHS}))
def test_folder_is_one_idea(folder):
    assert len(list(folder.glob("*.py"))) <= MOST_MODULES


@of_each(NAMES)
def test_module_is_one_idea(module):
    path = MODULES[module]

    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert {part.strip("_") for part in module.split(".")} & DRAWERS == set()


def test_few_modules_are_small():
    small = [
        name
        for name, path in MODULES.items()
        if path.name != "__init__.py" and len(path.read_text(encoding="utf-8").splitlines()) < SMALL_LINES
    ]

    assert len(small) <= MOST_SMALL, f"fold one into its user: {small}"


@of_each([name for name in NAMES if tree(name).body])
def test_module_says_what_it_is_and_what_is_public(module):
    assigned = {
        ast.unparse(target)
        for node in tree(module).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    is_private = module.split(".")[-1].startswith("_")

    assert ast.get_docstring(tree(module)), "a module begins with a docstring"
    assert is_private or "__all__" in assigned, "a public module has __all__; a private one starts with an underscore"


@of_each([name for name in NAMES if not is_in(name, MAY_NAME_BROKERS)])
def test_no_broker_is_named_outside_brokers_and_sim(module):
    named = [f"line {line}: {text}" for line, text in texts(module) if names_broker(text)]

    assert named == []
    assert not names_broker(module)


@of_each(sorted([*PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.css")]))
def test_no_broker_is_named_in_what_the_browser_gets(path):
    assert not names_broker(path.read_text(encoding="utf-8"))


@of_each(sorted(set(NAMED_PATH.findall(PAGE))))
def test_path_that_the_page_names_exists(named):
    root = PACKAGE.parent if named.startswith("tests/") else PACKAGE

    assert (root / named).is_file()


def test_page_has_four_walks_of_few_files():
    files = {title: set(NAMED_PATH.findall(text)) for title, text in WALKS}

    assert len(files) == 4
    assert [title for title, named in files.items() if not 3 < len(named) <= MOST_FILES_OF_A_WALK] == []


def test_page_has_a_row_for_each_room():
    table = re.findall(r"^\| (`.+?`) \|", PAGE.partition("\n## ")[0], re.MULTILINE)

    rooms = {name.removesuffix(".py") for cell in table for name in re.findall(r"`([\w.]+)`", cell)}

    assert rooms == {*ALLOWED} - {"errors", "root", "__main__"}

"""The tables of docs/aries.md and docs/alor.md: what they name exists, and every message in the code is in them."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args, get_origin

import pytest

from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.aries.messages import Payload
from aries_nb.brokers.aries.topics import TOPIC_NAMES
from aries_nb.model import Subscription
from aries_nb.sim.aries.charts import MODES
from tests.live.test_alor_protocol_rows import ROWS as ASKED_BY_A_FEED

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE, TESTS = ROOT / "aries_nb", ROOT / "tests"
PAGE = (ROOT / "docs" / "aries.md").read_text(encoding="utf-8")
ALOR_PAGE = (ROOT / "docs" / "alor.md").read_text(encoding="utf-8")
HEADING = ["Message or request", "Where it is sent or read", "Test"]
NOT_SPOKEN = re.compile(r"not yet(: [^`]+)?|never sent: [^`]+")
PLACE = re.compile(r"`([\w/]+)\.py:([\w.]+)`")
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")

# Messages are distinguished by comparing their type, action, topic or method, under one of these names.
DISTINGUISHED_BY = {"kind", "action", "topic"}
SESSIONS = ("brokers/aries/session.py", "sim/aries/session.py", "sim/aries/accounts.py")
# `broker.py` names the paths of the WebSocket endpoints, which are listed above the tables.
ASKED = [path for path in PACKAGE.glob("brokers/aries/*.py") if path.name != "broker.py"]
HTTP = sorted([*ASKED, *PACKAGE.glob("sim/aries/http*.py")])
PATH = re.compile(r"/(v\d|tv|oauth2)/")


class Row(NamedTuple):
    what: str
    where: str
    test: str


def rows(page: str) -> Iterator[Row]:
    """The rows of every table with the protocol's heading."""
    is_inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells == HEADING:
            is_inside = True
        elif not cells:
            is_inside = False
        elif is_inside and set(line) - set("|- "):
            yield Row(*cells)


ROWS = list(rows(PAGE))
ALOR_ROWS = list(rows(ALOR_PAGE))


@cache
def documented() -> frozenset[str]:
    """The words in code type in the first column."""
    return frozenset(word for row in ROWS for word in re.findall(r"`([^`]+)`", row.what))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def distinguished_kinds(path: Path) -> set[str]:
    """The texts with which a module compares a message's kind."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id in DISTINGUISHED_BY:
            found |= {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and each.value}
    return {text for text in found if isinstance(text, str)}


def paths_asked(path: Path) -> set[tuple[str, ...]]:
    """The HTTP paths that a module builds or matches, each as its fixed parts."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.MatchSequence):
            values = (each.value for each in node.patterns if isinstance(each, ast.MatchValue))
            found.add(tuple(str(value.value) for value in values if isinstance(value, ast.Constant)))
            continue
        pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [str(piece.value) for piece in pieces if isinstance(piece, ast.Constant)]
        if texts and PATH.match(texts[0]):
            found.add(tuple(part for text in texts for part in text.split("?")[0].split("/") if part))
    return found - {()}


def is_within(parts: tuple[str, ...], path: str) -> bool:
    """Whether a path contains all parts, in this order."""
    rest = iter(path.split("/"))
    return all(part in rest for part in parts)


@pytest.mark.parametrize("row", [*ROWS, *ALOR_ROWS], ids=lambda row: re.sub(r"[^\w ]", "", row.what)[:50])
def test_row_names_what_exists_or_says_why_it_is_not_spoken(row: Row) -> None:
    places, tests = PLACE.findall(row.where), TEST.findall(row.test)

    assert bool(places) != bool(NOT_SPOKEN.fullmatch(row.where)), "either where it is, or why not"
    assert tests or (row.test == "—" and not places), "what is spoken has a test"
    for module, name in places:
        assert attrgetter(name)(import_module(f"aries_nb.{module.replace('/', '.')}"))
    for file, name in tests:
        functions = [node.name for node in tree(TESTS / file).body if isinstance(node, ast.FunctionDef)]
        assert name in functions


def talks_to_the_simulator(file: str) -> bool:
    """Whether a file of tests is the simulated broker's own, or runs it: by itself or behind a feed."""
    is_its_own = file.startswith("sim/")
    return is_its_own or bool(re.search(r"\b(Simulator|Feed)\b", (TESTS / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("row", [*ROWS, *ALOR_ROWS], ids=lambda row: re.sub(r"[^\w ]", "", row.what)[:50])
def test_row_has_a_test_against_the_running_simulator(row: Row) -> None:
    tests = [file for file, _ in TEST.findall(row.test)]

    assert row.test == "—" or any(map(talks_to_the_simulator, tests))


def test_tests_of_frames_written_by_hand_are_distinguished_from_those_against_the_simulator() -> None:
    rows = [*ROWS, *ALOR_ROWS]
    found = {file: talks_to_the_simulator(file) for row in rows for file, _ in TEST.findall(row.test)}

    by_hand = {
        "brokers/aries/test_market.py",
        "net/auth/test_oauth.py",
        "brokers/alor/test_market.py",
        "brokers/alor/test_accounts.py",
    }
    assert {file for file, talks in found.items() if not talks} >= by_hand
    assert found["live/test_protocol_rows.py"]
    assert found["live/test_alor_protocol_rows.py"]


def test_tables_are_read() -> None:
    assert len(ROWS) >= 60
    assert PAGE.count(" | ".join(HEADING)) == 6


def test_every_message_of_the_market_is_in_the_table() -> None:
    tags = {(get_origin(kind) or kind).__struct_config__.tag for kind in get_args(Payload)}
    updates = {name for row in ROWS for name in re.findall(r"^`update` of `(\w+)`", row.what)}

    assert updates == tags


def test_every_topic_and_mode_is_in_the_table() -> None:
    assert {*TOPIC_NAMES, *MODES} - documented() == set()


@pytest.mark.parametrize("file", SESSIONS)
def test_every_message_that_a_session_distinguishes_is_in_the_table(file: str) -> None:
    known = distinguished_kinds(PACKAGE / file)

    assert known
    assert known - documented() == set()


@pytest.mark.parametrize("file", ["sim/aries/accounts.py", "sim/aries/account_objects.py"])
def test_every_event_of_an_account_is_in_the_table(file: str) -> None:
    known = set(re.findall(r"[\"`](account\.[a-z]+)[\"`]", (PACKAGE / file).read_text(encoding="utf-8")))

    assert "account.order" in known
    assert known - documented() == set()


def test_every_option_of_a_subscription_is_in_the_table() -> None:
    source = (PACKAGE / "brokers/aries/streams.py").read_text(encoding="utf-8")
    known = set(re.findall(r'"(\w+Fields|level2|timeAndSales|symbolType)"', source))

    assert "quoteFields" in known
    assert known - documented() == set()


@pytest.mark.parametrize("path", HTTP, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_every_path_asked_over_http_is_in_the_table(path: Path) -> None:
    listed = [word for word in documented() if word.startswith("/")]

    missing = [parts for parts in paths_asked(path) if not any(is_within(parts, word) for word in listed)]

    assert missing == []


def test_paths_are_found_in_the_code() -> None:
    found = set().union(*map(paths_asked, HTTP))

    assert ("v1", "chart", "history") in found
    assert ("v1", "options", "expiry-dates") in found
    assert ("v2", "users", "me", "accounts") in found


def alor_documented() -> set[str]:
    return {word for row in ALOR_ROWS for word in re.findall(r"`([^`]+)`", row.what)}


def test_alor_tables_are_read() -> None:
    assert len(ALOR_ROWS) >= 35
    assert ALOR_PAGE.count(" | ".join(HEADING)) == 4


def test_every_opcode_that_is_sent_is_in_the_alor_tables() -> None:
    sent: set[str] = {"ping", "unsubscribe"}
    for protocol in (AlorMarket(), AlorAccounts()):
        protocol.open(0.0)
        protocol.authenticate("a token", 0.0)
        protocol.subscribe([Subscription(kind, "SBER", tuple(protocol.COLUMNS[kind])) for kind in protocol.MAKERS])
        sent |= {json.loads(frame)["opcode"] for frame in protocol.outgoing()}

    assert len(sent) == 14
    assert sent - alor_documented() == set()
    assert sent - {row.opcode for row in ASKED_BY_A_FEED} == {"ping", "unsubscribe"}


def test_every_opcode_that_the_simulated_broker_knows_is_in_the_alor_tables() -> None:
    opcode = re.compile(r"\w+(?:GetAndSubscribe|QuotesSubscribe|TradesSubscribe)(?:V2)?|QuotesSubscribe")
    known = {
        node.value
        for path in PACKAGE.glob("sim/alor/*.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and opcode.fullmatch(node.value)
    }

    assert "QuotesSubscribe" in known
    assert known - alor_documented() == set()


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("brokers/alor/*.py")), ids=lambda path: path.stem)
def test_every_path_asked_of_alor_is_in_the_table(path: Path) -> None:
    listed = [word for word in alor_documented() if word.startswith("/")]

    assert [parts for parts in alor_paths(path) if not any(is_within(parts, word) for word in listed)] == []


def test_paths_of_alor_are_found_in_the_code() -> None:
    found = set().union(*(alor_paths(path) for path in PACKAGE.glob("brokers/alor/*.py")))

    assert found >= {("md", "v2", "history"), ("md", "v2", "Clients")}


def alor_paths(path: Path) -> set[tuple[str, ...]]:
    """The HTTP paths that a module builds, each as its fixed parts."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(tree(path)):
        pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [str(piece.value) for piece in pieces if isinstance(piece, ast.Constant)]
        if texts and texts[0].startswith(("/md/", "/client/")):
            found.add(tuple(part for text in texts for part in text.split("/") if part))
    return found


@pytest.mark.parametrize(("page", "is_alor"), [(PAGE, False), (ALOR_PAGE, True)], ids=["aries", "alor"])
def test_what_is_assumed_is_listed_by_module(page: str, is_alor: bool) -> None:
    listed = set(re.findall(r"^- `([\w/]+\.py)`:", page, re.MULTILINE))
    assumed = {
        path.relative_to(PACKAGE).as_posix()
        for room in ("brokers", "net")
        for path in PACKAGE.glob(f"{room}/**/*.py")
        if re.search(r"\bassumed\b", path.read_text(encoding="utf-8")) and (path.parent.name == "alor") == is_alor
    }

    assert assumed == listed

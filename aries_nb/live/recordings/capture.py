"""`feed.capture`: a notebook that shows what a feed had, with a recording of its market data beside it.

Accounts are left out: the events of their connections, their HTTP answers, and what is computed of them. Account
numbers that are known from these are masked in what is left, as tokens are in any recording.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from msgspec.json import decode

from aries_nb.errors import FeedError, RecordingError, UsageError
from aries_nb.model import Subscription
from aries_nb.model.journal import FRAME, HOLE, Event
from aries_nb.model.settings import settings
from aries_nb.net.events.answers import ANSWER, Answer
from aries_nb.net.events.arrivals import USE
from aries_nb.net.events.notes import NOTED, ROWS
from aries_nb.recording import JSON, RecordingWriter

__all__ = ["capture", "checked_notebook"]

ACCOUNTS = "accounts"  # the endpoint of accounts
MARKET_ANSWERS = frozenset({"bars", "trades"})  # kinds of HTTP answers that are about no account
# What a server calls an account.
NAMED = re.compile(
    rb'"(?:account(?:id|number|no|name|code)?|portfolio|clientcode)"\s*:\s*"([^"\\]{3,64})"', re.IGNORECASE
)
NAMING = frozenset({"session", "again"})  # events that say to which endpoint a connection is
FLUSH_BYTES = 8 << 20
SHOWN_METHODS = {"quotes": "quotes", "trades": "trades", "book": "book"}

Asked = dict[tuple[str, str, tuple[str, ...]], dict[str, None]]


def checked_notebook(path: object) -> Path:
    """Return the path of a notebook that is not there, nor a recording beside it. Raises UsageError."""
    if not isinstance(path, str | Path) or Path(path).suffix != ".ipynb":
        raise UsageError(f"{path!r} is no path of a notebook", advice='Pass one such as "why.ipynb".')
    chosen = Path(path).expanduser().resolve()
    for each in (chosen, chosen.with_suffix(".anb")):
        if each.exists():
            raise UsageError("it is there already", where=str(each), advice="Choose another name.")
    if not chosen.parent.is_dir():
        raise UsageError("there is no folder", where=str(chosen.parent), advice="Make it first.")
    return chosen


def capture(
    events: Callable[[], Iterable[Event]],
    notebook: Path,
    *,
    broker: str,
    choices: Mapping[str, str],
    accounts: Iterable[str],
    last_ns: int,
) -> None:
    """Write the notebook, and the recording of these events beside it; both or neither.

    `accounts` are names that are known besides those in the events, `last_ns` is the span before the end, in ns, with
    which the notebook begins. Raises RecordingError where the disk does not allow it.
    """
    folder = notebook.with_suffix(".anb")
    mask = _mask_of({*accounts, *_names_in(events())})
    noted: dict[str, JSON] = {name: mask(value.encode()).decode() for name, value in choices.items()}
    try:
        asked, first, end = _write(_of_the_market(events(), mask), folder, broker=broker, choices=noted)
        cells = list(_cells(folder.name, asked, max(first, end - last_ns), broker))
        with notebook.open("x", encoding="utf-8") as file:
            json.dump(_notebook(cells), file, indent=1, ensure_ascii=False)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, FeedError):
            raise RecordingError(f"the notebook cannot be written: {error}", where=str(notebook)) from error
        raise


def _write(events: Iterable[Event], folder: Path, *, broker: str, choices: dict[str, JSON]) -> tuple[Asked, int, int]:
    """Write a recording; return what was asked for in it, and the times of its first and last event."""
    asked: Asked = {}
    names: dict[int, str] = {}
    first = latest = waiting = 0
    writer: RecordingWriter | None = None
    try:
        for event in events:
            if event.what == HOLE:  # what goes on after it is another session
                if writer is not None:
                    _close(writer)
                    writer = None
                continue
            if writer is None:
                writer = RecordingWriter(folder, broker=broker, made=event.received, header={"choices": choices})
            writer.add(*event)
            first, latest = first or event.received, max(latest, event.received)
            waiting += len(event.body)
            if waiting > FLUSH_BYTES:
                waiting = 0
                writer.flush(60)
            _note(event, names, asked)
        if not latest:
            raise UsageError("the feed has received nothing yet", advice="Capture it later.")
    finally:
        if writer is not None:
            _close(writer)
    return asked, first, latest


def _close(writer: RecordingWriter) -> None:
    writer.close()
    if writer.error is not None:
        raise writer.error


def _of_the_market(events: Iterable[Event], mask: Callable[[bytes], bytes]) -> Iterator[Event]:
    """Yield the events that are about no account, masked."""
    public = {0}  # connections: of one whose beginning was deleted it is not known what it is
    for event in events:
        if event.what in NAMING:
            name = decode(event.body, type=tuple[Any, ...])[0]
            (public.discard if name == ACCOUNTS else public.add)(event.connection)
        if event.connection not in public or event.what in (USE, NOTED, ROWS):
            continue
        if event.what == ANSWER:
            answer = Answer.from_bytes(event.body)
            if answer.kind in MARKET_ANSWERS:
                yield event._replace(body=answer.masked(mask).to_bytes())
        else:
            yield event if event.what == HOLE else event._replace(body=mask(event.body))


def _names_in(events: Iterable[Event]) -> set[str]:
    """Return the account numbers that occur in events: what accounts were asked for, and what a server calls so."""
    found: set[str] = set()
    private: set[int] = set()
    for event in events:
        if event.what == "session" and decode(event.body, type=tuple[Any, ...])[0] == ACCOUNTS:
            private.add(event.connection)
        if event.connection in private and event.what == "subscribe":
            for each in decode(event.body, type=tuple[Subscription, ...]):
                found.update((each.symbol, *each.symbol.split(":")))
        elif event.what in (FRAME, ANSWER):
            found.update(name.decode(errors="replace") for name in NAMED.findall(event.body))
    return found


def _mask_of(names: Iterable[str]) -> Callable[[bytes], bytes]:
    """Return a function that masks these names, where they stand alone: a part of a number is none."""
    known = sorted({re.escape(name.encode()) for name in names if len(name) > 2}, key=len, reverse=True)
    if not known:
        return lambda body: body
    pattern = re.compile(rb"(?<![0-9A-Za-z.])(?:" + b"|".join(known) + rb")(?![0-9A-Za-z])")
    return lambda body: pattern.sub(lambda found: b"0" * len(found[0]) if found[0].isdigit() else b"***", body)


def _note(event: Event, names: dict[int, str], asked: Asked) -> None:
    """Note the name of a connection, or what was asked for on it."""
    try:
        if event.what == "session":
            names[event.connection] = decode(event.body, type=tuple[str, int])[0]
        elif event.what == "subscribe":
            for each in decode(event.body, type=tuple[Subscription, ...]):
                if each.kind in SHOWN_METHODS and not each.options:
                    key = names.get(event.connection, "market"), each.kind, each.fields
                    asked.setdefault(key, {})[each.symbol] = None
        elif event.what == "refused":
            for each in decode(event.body, type=tuple[Subscription, ...]):
                asked.get((names.get(event.connection, "market"), each.kind, each.fields), {}).pop(each.symbol, None)
    except msgspec.MsgspecError:  # of another version: it is in the recording all the same
        return


def _cells(recording: str, asked: Asked, start: int, broker: str) -> Iterator[tuple[str, str]]:
    """Yield the cells: what they are, and their text."""
    begin = pd.Timestamp(start // 1_000, unit="us", tz="UTC")
    shown = settings.clock(start)
    yield (
        "markdown",
        f"# What the feed had\n\nOf `{broker}`, from {shown} on. The recording is `{recording}`, beside it.",
    )
    yield "code", f'import aries_nb as anb\n\npast = anb.replay({recording!r}, start="{begin}")\npast.clock.pause()'
    yield "code", "past.clock"
    numbers = {kind: count(1) for kind in SHOWN_METHODS}
    for (endpoint, kind, fields), symbols in asked.items():
        source = "" if endpoint == "market" else f", endpoint={endpoint!r}"
        for some in [list(symbols)] if kind != "book" else [[each] for each in symbols]:
            if some:
                number = next(numbers[kind])
                name = kind if number == 1 else f"{kind}_{number}"
                chosen = ", ".join(map(repr, some)) + (f", fields={list(fields)!r}" if kind != "book" else "") + source
                look = name if kind == "book" else f"{name}.df.tail(20)"
                yield "code", f"{name} = past.{SHOWN_METHODS[kind]}({chosen})\n{look}"
    yield "code", "past.gaps.df"


def _notebook(cells: Iterable[tuple[str, str]]) -> dict[str, Any]:
    made = []
    for number, (kind, text) in enumerate(cells):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}}
        cell["source"] = text.splitlines(keepends=True)
        made.append(cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}

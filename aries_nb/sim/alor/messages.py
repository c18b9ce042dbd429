"""Text of the frames that the simulated ALOR server sends, and field names in its three formats.

Source: ALOR's protocol page §3 and §16.3 for the text, the tables of §6 and §7 for names and their order. An object is
made once with its field names in ALOR's Simple format; a `Table` gives the fields of each format with their names and
order.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORMATS",
    "HANDLED",
    "Format",
    "Table",
    "data_frame",
    "iso_time",
    "json_text",
    "renamed",
    "reply",
    "table",
    "with_trailing_zeros",
]

Format = Literal["simple", "slim", "heavy"]
FORMATS: tuple[Format, ...] = ("simple", "slim", "heavy")
#: For each format: name in an object, name on the wire, in the order of the wire.
Table: TypeAlias = dict[Format, tuple[tuple[str, str], ...]]

HANDLED = "Handled successfully"
_DECIMAL = re.compile(r"(?<=\d\.)(\d+)(?=[,}\]])")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def json_text(value: object) -> str:
    """Return a value as compact JSON; non-ASCII text is not escaped (ALOR's protocol page §15, U32)."""
    return _encode(value)


def data_frame(data: str, guid: str) -> str:
    """Return the text of a WebSocket frame that brings `data`, JSON text, to the subscription with this guid.

    The spaces are the broker's own (ALOR's protocol page §3.1).
    """
    return f'{{ "data": {data}, "guid":{_quoted(guid)} }}'


def reply(guid: str, code: int, text: str = HANDLED) -> str:
    """Return the text of the frame that answers the request with this guid with a code, such as 200, and a message."""
    return f'{{"requestGuid":{_quoted(guid)},"httpCode":{code},"message":{_quoted(text)}}}'


def table(*rows: str) -> Table:
    """Make a table of field names from rows "Simple Slim Heavy"; "-" means that a format has no such field.

    A row of one word has that name in all formats; with two words Heavy is as Simple.
    """
    made: dict[Format, list[tuple[str, str]]] = {form: [] for form in FORMATS}
    for row in rows:
        names = row.split()
        simple, slim, heavy = names * 3 if len(names) == 1 else [*names, names[0]] if len(names) == 2 else names
        # A field that is not in Simple is keyed by its name in Heavy, or else in Slim.
        key = simple if simple != "-" else heavy if heavy != "-" else slim
        for form, name in zip(FORMATS, (simple, slim, heavy), strict=True):
            if name != "-":
                made[form].append((key, name))
    return {form: tuple(names) for form, names in made.items()}


def renamed(columns: Table, form: Format, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with the field names and in the order of ALOR's format `form`.

    Fields missing in `values` are left out.
    """
    return {name: values[key] for key, name in columns[form] if key in values}


def iso_time(ns: int, *, has_zone: bool = True) -> str:
    """Return a time in Unix ns as ISO text in UTC, with seven digits of the second (ALOR's protocol page §3.3).

    `has_zone` False leaves out the "Z" for UTC.
    """
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 100:07d}{'Z' if has_zone else ''}"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def with_trailing_zeros(text: str) -> str:
    """Add two zeros to every decimal of a JSON text, as the broker does at times (ALOR's protocol page §3.3)."""
    return _DECIMAL.sub(r"\g<1>00", text)


def _quoted(text: str) -> str:
    """Return a text as a JSON string; lone surrogates, which a client can send but UTF-8 cannot encode, are escaped."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)
    return _encode(text)

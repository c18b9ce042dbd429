"""Tolerant decoding of what a server sends: JSON, numbers, times, text to show. Shared by all brokers.

Only `json_value`, `json_object` and `check_words`, which is for what is sent, raise; the other functions return None or
a missing value for what cannot be used.
"""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from aries_nb.errors import UsageError
from aries_nb.model import BarPage, Subscription, Unreadable

__all__ = [
    "MAX_INTEGER",
    "MAX_MS",
    "MOST_NOTED",
    "SECONDS_AS_MS_NS",
    "RequestRefused",
    "SymbolSpellings",
    "check_words",
    "decimal",
    "excerpt",
    "integer",
    "is_unknown_symbol",
    "json_object",
    "json_value",
    "lines",
    "millis",
    "nanoseconds",
    "number",
    "parse_line",
    "path_segment",
    "shown",
    "text",
    "timed_bars",
    "unix_ns",
    "writable",
]

# The largest Unix time in ms that still fits into int64 ns, rounded down (year 2255).
MAX_MS = 9_000_000_000_000
MAX_INTEGER = 2**63 - 1
EXCERPT_CHARACTERS = 200
MOST_NOTED = 100  # unusable rows of one message that become notices; there may be a million
MOST_DIGITS = 60  # either side of the point; more is no real amount and makes arithmetic slow
MOST_CHARACTERS = 4_300  # of a number with a point; Python's limit for whole numbers
LARGEST_NS = MAX_MS * 1_000_000
_PLAIN_MS = re.compile(r"[1-8][0-9]{12}")  # a Unix time in ms as text, below MAX_MS
# A Unix time below this number is in the unit of so many ns. A larger one than 10¹¹ is not in s (protocol page §4.2).
_UNITS = ((1_000_000_000, 10**11), (1_000_000, 10**14), (1_000, 10**17), (1, math.inf))
SECONDS_AS_MS_NS = 10**17  # a number of seconds that was read as ms gives a time before this, in March 1973
_NUMERIC = (int, float, str, Decimal)  # once: `int | float` is a new object at each evaluation
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECRET = re.compile(r'("[^"]*(?:token|secret|password|authorization)[^"]*"\s*:\s*)"[^"]*("|$)', re.IGNORECASE)
_JWT = re.compile(r"eyJ[\w-]{8,}[\w.-]*")
_SPOKEN = re.compile(r"((?:token|secret|password|bearer)\W{1,3})[\w.~+/=-]{16,}", re.IGNORECASE)
_THING = "(symbol|instrument|ticker|security|exchange|portfolio|account)"
_UNKNOWN_SYMBOL = re.compile(
    rf"(unknown|invalid|no such)\W?{_THING}|{_THING}\b.{{0,300}}\b(not found|unknown|invalid|does not exist)",
    re.IGNORECASE | re.DOTALL,
)
_NOT_ABOUT_SYMBOLS = frozenset({401, 403, 408, 409, 425, 429})
_UNRESERVED = frozenset(f"{string.ascii_letters}{string.digits}-._~".encode())  # RFC 3986, 2.3


class RequestRefused(NamedTuple):
    """A server's refusal of one request, with its text as `reason`.

    `request` is the id under which the broker knows the request, "" if the server does not say. `is_unknown_symbol`: a
    symbol in it does not exist.
    """

    request: str
    reason: str
    is_unknown_symbol: bool = False


def is_unknown_symbol(reason: str, code: object = "") -> bool:
    """Return whether a refusal, by its text `reason` and its error code, says that a symbol does not exist.

    `code` is "" if the server sends none. The result only chooses the error that a user gets. No broker documents its
    codes, so the words searched for are assumed; codes 401, 403, 408, 409, 425, 429 and from 500 on, as those of HTTP,
    say that it is about something else.
    """
    status = number(code)
    if status is not None and (status in _NOT_ABOUT_SYMBOLS or status >= 500):
        return False
    return _UNKNOWN_SYMBOL.search(f"{code} {reason[:MOST_CHARACTERS]}") is not None


def excerpt(line: bytes | str) -> str:
    """Return the beginning of a line for display: at most 200 characters, with tokens replaced by `***`."""
    start = line[: EXCERPT_CHARACTERS * 4]
    text = start.decode("utf-8", "replace") if isinstance(start, bytes) else writable(start)
    masked = _SPOKEN.sub(r"\1***", _JWT.sub("***", _SECRET.sub(r'\1"***\2', text)))
    return masked if len(masked) <= EXCERPT_CHARACTERS else masked[: EXCERPT_CHARACTERS - 1] + "…"


def check_words(subscriptions: Sequence[Subscription]) -> None:
    """Raise UsageError if a subscription has text that cannot be encoded and sent.

    To be called before the subscription is noted or stored: it could not be read in a recording, and a stored one is
    requested on every new connection and would break each.
    """
    words = dict.fromkeys(
        word for each in subscriptions for word in (each.symbol, *each.fields, *chain.from_iterable(each.options))
    )
    for word in words:
        try:
            is_usable = isinstance(word, str) and bool(msgspec.json.encode(word))
        except UnicodeEncodeError:  # a lone surrogate
            is_usable = False
        if not is_usable:
            raise UsageError(f"{excerpt(repr(word))} cannot be sent", advice="Pass text that can be encoded.")


def shown(value: object) -> str:
    """Return any JSON value as text for display: at most 200 characters, with tokens replaced by `***`."""
    try:
        return excerpt(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    except RecursionError:
        return "…"


def lines(frame: bytes) -> Iterator[bytes]:
    """Yield the lines of a frame that are not blank. Only a line feed ends a line (Aries protocol page §1.7)."""
    return (line for line in frame.split(b"\n") if line and not line.isspace())


def parse_line(line: bytes, *, exact: bool = False) -> dict[str, Any] | Unreadable:
    """Return the JSON object in one line, or the notice `Unreadable`, which says why there is none.

    NaN and Infinity are decoded as numbers; functions such as `number` reject them later. With `exact`, numbers with a
    point are read as `Decimal`, digit for digit.
    """
    try:
        value = json.loads(line, parse_float=_exact if exact else None)
    except (ValueError, ArithmeticError, RecursionError) as error:
        return Unreadable(f"not JSON: {type(error).__name__}", excerpt(line))
    if not isinstance(value, dict):
        return Unreadable(f"a JSON {type(value).__name__}, not an object", excerpt(line))
    return value


def _exact(literal: str) -> Decimal:
    if len(literal) > MOST_CHARACTERS:
        raise ValueError("a number too long to be one")
    return Decimal(literal)


def number(value: object) -> float | None:
    """Return `value`, a finite number or a text that is one, as float; None for anything else.

    The value None (JSON null) gives NaN.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, _NUMERIC):
        return None
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        return None  # Python reads 1_000 and full-width digits; no broker writes them
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def unix_ns(value: float) -> int:
    """Return a Unix time in s, ms, us or ns as ns since the epoch, exactly where it is whole; 0 if it is out of range.

    The unit is recognised by the size, whatever the broker's documents say of the field: a number of ms below 10¹¹
    would be a time before March 1973.
    """
    if not 0 < value < LARGEST_NS:
        return 0
    unit = next(unit for unit, end in _UNITS if value < end)
    ns = int(value) * unit if isinstance(value, int) or value.is_integer() else round(value * unit)
    return ns if ns < LARGEST_NS else 0


def millis(value: object) -> int | None:
    """Return `value` as a Unix time in ms, from a number, numeric text or ISO 8601 text; None for anything else.

    A number may be in s, ms, us or ns (`unix_ns`). ISO text without a time zone is taken as UTC. Aries sends times in
    several forms (Aries protocol page, deviation D11).
    """
    if isinstance(value, str) and _PLAIN_MS.fullmatch(value):  # most often
        return int(value)
    result = number(value)
    if result is not None:
        return round(unix_ns(result) / 1e6) or None if result == result else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    result = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    return round(result) if 1 <= result < MAX_MS else None


def nanoseconds(value: object) -> int | None:
    """Return a time as ns since the epoch, to the microsecond; None if it is unusable.

    `value` is a Unix time in s, ms, us or ns, as a number or text, or ISO 8601 text, which is UTC if it names no zone.
    """
    result = number(value)
    if result is not None:
        return round(unix_ns(result) / 1e3) * 1_000 or None if result == result else None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    micros = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    return micros * 1_000 if 0 < micros < MAX_MS * 1_000 else None


def decimal(value: object) -> Decimal | None:
    """Return `value`, a finite number or numeric text, as Decimal, exactly as written; None for anything else.

    None as well for more than 60 digits, or an exponent of ten beyond ±60.
    """
    if isinstance(value, bool) or not isinstance(value, _NUMERIC):
        return None
    if isinstance(value, str) and (len(value) > MOST_CHARACTERS or "_" in value or not value.isascii()):
        return None
    try:
        result = Decimal(repr(value) if isinstance(value, float) else value)
    except (ValueError, ArithmeticError):
        return None
    if not result.is_finite() or len(result.as_tuple().digits) > MOST_DIGITS or abs(result.adjusted()) > MOST_DIGITS:
        return None
    return result


def integer(value: object) -> int | None:
    """Return `value`, a whole number that fits int64, also given as text, as int; None for anything else."""
    exact = decimal(value)
    if exact is None or exact != exact.to_integral_value() or abs(exact) > MAX_INTEGER:
        return None
    return int(exact)


def text(value: object) -> str | None:
    """Return `value`, text or a number, as text; None for anything else, including true and false."""
    is_text = isinstance(value, _NUMERIC) and not isinstance(value, bool)
    return writable(str(value)) if is_text else None


def timed_bars(rows: Iterable[Sequence[object]], next_end_ns: int | None) -> BarPage:
    """Return bars made from rows of time, open, high, low, close and volume: the oldest first, each start once.

    `next_end_ns` is the end (exclusive, ns since the epoch) of the request for the page of earlier bars, None if none
    follow; it is only passed on. A row without a usable time or price is left out; an unusable volume is NaN.
    """
    usable: dict[int, list[float]] = {}
    for time, *values in rows:
        start, numbers = nanoseconds(time), [number(value) for value in values]
        if start is not None and all(price is not None and price == price for price in numbers[:4]):
            usable[start] = [math.nan if each is None else each for each in numbers]
    starts = sorted(usable)
    o, h, l, c, v = ([usable[start][place] for start in starts] for place in range(5))  # noqa: E741 - usual names
    return BarPage(starts, o, h, l, c, v, next_end_ns)


def writable(text: str) -> str:
    """Return text that can be encoded as UTF-8, with "?" for lone surrogates, which JSON can contain."""
    return text.encode("utf-8", "replace").decode()


def path_segment(text: str) -> str:
    """Return `text` escaped as one segment of a URL path, so that a symbol cannot change the path."""
    return "".join(chr(octet) if octet in _UNRESERVED else f"%{octet:02X}" for octet in text.encode())


def json_value(body: bytes, *, exact: bool = False) -> Any:  # noqa: ANN401 - JSON
    """Return the decoded JSON of `body`, an HTTP answer. With `exact`, numbers with a point are `Decimal`.

    Raises ValueError if it is not JSON.
    """
    try:
        return json.loads(body, parse_float=Decimal) if exact else msgspec.json.decode(body)
    except (ValueError, ArithmeticError, RecursionError, msgspec.DecodeError) as error:
        raise ValueError("the answer is not JSON") from error


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, an HTTP answer. Raises ValueError for anything else."""
    answer = json_value(body)
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004 - a bad answer, not a bad call
    return answer


class SymbolSpellings:
    """Finds the subscribed symbol that a server's spelling stands for: AAPL for "aapl", BRK.B for "BRK/B".

    `subscribed` are the symbols as they are requested, the keys of a mapping that may change: `add` and `remove` have
    to be called with each change. Two spellings are the same symbol if their letters and digits are, in any case.
    Spellings that differ in capitals alone share one key, that of the first (`key`): the server may spell both as it
    likes. Each is requested on its own, as the server may refuse one of them.
    """

    def __init__(self, subscribed: Mapping[str, object]) -> None:
        self._subscribed = subscribed
        self._alike: dict[str, set[str]] = {}  # by letters and digits

    def add(self, symbol: str) -> None:
        """Record that the symbol is subscribed to; idempotent."""
        self._alike.setdefault(_letters(symbol), set()).add(symbol)

    def remove(self, symbol: str) -> None:
        """Record that the symbol is no longer subscribed to; idempotent."""
        letters = _letters(symbol)
        alike = self._alike.get(letters, set())
        alike.discard(symbol)
        if not alike:
            self._alike.pop(letters, None)

    def key(self, symbol: str) -> str:
        """Return the key of a symbol: the subscribed one that is equal but for capitals, else the symbol itself."""
        if symbol in self._subscribed:
            return symbol
        alike = self.find(symbol)
        return alike if alike.upper() == symbol.upper() else symbol

    def find(self, spelling: str) -> str:
        """Return the only subscribed symbol that `spelling` stands for.

        Returns "" if there is none or several, and if it is itself subscribed to.
        """
        if spelling in self._subscribed:
            return ""
        alike = self._alike.get(_letters(spelling), ())
        return next(iter(alike)) if len(alike) == 1 else ""


def _letters(symbol: str) -> str:
    return "".join(filter(str.isalnum, symbol)).upper()

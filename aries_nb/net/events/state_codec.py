"""States of sessions and protocols as bytes: what a recording notes of them, so that a replay may begin there.

A state is a graph of objects of our own classes and of plain values. It is written as msgpack, and read without running
anything of it: objects are made without their `__init__`, of classes that do no I/O, no function is named, and no value
takes the place of a method. A class whose objects hold what can be made of the rest, such as a function or a cache,
names these attributes in `DERIVED`: they are left out, and `derive` makes them anew. Bytes of another version of the
package are refused.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain
from types import MemberDescriptorType
from typing import Any

import msgspec

from aries_nb.model.secrets import Secret

__all__ = ["UnknownStateError", "pack", "unpack"]

ROOMS = ("model", "brokers", "net", "store")  # what a state means depends on their code
PURE_ROOMS = ("model", "brokers")  # nothing there does any I/O: states may have objects of their classes
_OTHERS = frozenset(
    {
        "aries_nb.net.events.arrivals:Use", "aries_nb.net.lag:LagMonitor", "aries_nb.store.frame_states:NotedFrame",
        "aries_nb.store.frame_states:NotedSymbol", "aries_nb.store.gaps:Gap",
    }
)  # fmt: skip
NO_TOKEN = "recorded"  # noqa: S105 - in the place of each secret
MOST_DEPTH = 100
MOST_VALUES = 60_000  # objects, and collections of values: the network's thread takes less than 0.1 s for them
MOST_BYTES = 8 << 20
"""The largest state that is written and read. While it is read it takes at most 80 times as much."""
_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_PACKAGE = __name__.partition(".")[0]


class UnknownStateError(ValueError):
    """These bytes are no state of this version of the package."""


def pack(state: object) -> bytes:
    """Return a state as bytes; secrets are left out. Raises TypeError for what is no such state."""
    try:
        packed = _fingerprint() + msgspec.msgpack.encode(_Packer().packed(state, 0))
    except (OverflowError, ValueError, RecursionError) as error:  # such as an integer of more than 64 bits
        raise TypeError(f"the state cannot be noted: {error}") from error
    if len(packed) > MOST_BYTES:
        raise TypeError("the state is too large")
    return packed


def unpack(body: bytes) -> Any:  # noqa: ANN401 - what was packed
    """Return the state in these bytes. Raises UnknownStateError."""
    own = _fingerprint()
    if body[: len(own)] != own or len(body) > MOST_BYTES:
        raise UnknownStateError("a state of another version")
    try:
        unpacker = _Unpacker()
        found = unpacker.unpacked(msgspec.msgpack.decode(memoryview(body)[len(own) :]))
        unpacker.derive()
    except UnknownStateError:
        raise
    except (msgspec.MsgspecError, RecursionError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnknownStateError(f"a state that cannot be read: {error}") from error
    except (InvalidOperation, OverflowError) as error:
        raise UnknownStateError(f"a state with an impossible number: {error}") from error
    return found


# Plain values are themselves, a tuple is an array of its items, and all else a map of one key, which says what it is.
# What can be changed has a number, by the order in which it begins, under which it may come again.


class _Packer:
    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._alive: list[object] = []  # so that no id is used twice
        self._left = MOST_VALUES

    def packed(self, value: Any, depth: int) -> Any:  # noqa: ANN401 - a case for each type
        kind = type(value)
        if kind in _PLAIN:
            return value
        self._left -= 1
        if depth > MOST_DEPTH or self._left < 0:
            raise TypeError("the state is too large")
        depth += 1
        if kind is tuple:
            return value if _PLAIN.issuperset(map(type, value)) else self._each(value, depth)
        number = self._numbers.get(id(value))
        if number is not None:
            return {"again": number}
        if kind is Decimal:
            return {"decimal": str(value)}
        if value is msgspec.UNSET:
            return {"unset": 0}
        if isinstance(value, type):
            return {"class": _name_of(value)}
        self._numbers[id(value)] = len(self._alive)
        self._alive.append(value)
        if kind is list:
            if _PLAIN.issuperset(map(type, value)):
                return {"list": value}
            return {"list": self._each(value, depth)}
        if kind is dict or kind is Counter:
            return {kind.__name__: self._each(chain.from_iterable(value.items()), depth)}
        if kind is set or kind is frozenset:
            return {kind.__name__: self._each(value, depth)}
        if kind is deque:
            return {"deque": [value.maxlen, *self._each(value, depth)]}
        if kind is Secret:
            return {"secret": 0}
        found: list[Any] = [_name_of(kind)]  # type: ignore[arg-type]
        if hasattr(kind, "DERIVED"):
            noted = getattr(value, "noted", None)
            found.append(self.packed(noted() if noted else None, depth))
        found += [_ABSENT if each is _NOTHING else self.packed(each, depth) for each in _values_of(value, kind)]
        return {"object": found}

    def _each(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [value if type(value) in _PLAIN else self.packed(value, depth) for value in values]


class _Unpacker:
    def __init__(self) -> None:
        self._known: list[Any] = []
        self._left = MOST_VALUES
        self._made: list[tuple[Any, Any]] = []  # those with something derived, and what they noted for it

    def unpacked(self, value: Any) -> Any:  # noqa: ANN401
        kind = type(value)
        if kind in _PLAIN:
            return value
        self._left -= 1
        if self._left < 0:
            raise UnknownStateError("a state that is too large")
        if kind is list:
            return tuple([self.unpacked(each) for each in value])
        ((what, content),) = value.items()
        return getattr(self, f"_{what}" if what in _WHATS else "_unknown")(content)

    def derive(self) -> None:
        """Make what was left out, once all is there."""
        for each, noted in self._made:
            each.derive(noted)

    def _unknown(self, _: Any) -> None:  # noqa: ANN401
        raise UnknownStateError("a state with an unknown type")

    def _again(self, number: Any) -> Any:  # noqa: ANN401
        if type(number) is not int or number < 0:
            raise UnknownStateError("a state with an impossible number")
        return self._known[number]

    def _decimal(self, text: str) -> Decimal:
        return Decimal(text[:100])

    def _unset(self, _: object) -> Any:  # noqa: ANN401
        return msgspec.UNSET

    def _class(self, name: str) -> type:
        found = _class_of(name)
        if not issubclass(found, msgspec.Struct):  # what is called with any arguments only keeps them
            raise UnknownStateError(f"a state with something unknown: {name[:100]}")
        return found

    def _list(self, items: list[Any]) -> list[Any]:
        found: list[Any] = []
        self._known.append(found)
        found.extend(map(self.unpacked, items))
        return found

    def _dict(self, items: list[Any]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        self._known.append(found)
        unpacked = map(self.unpacked, items)
        found.update(zip(unpacked, unpacked, strict=True))
        return found

    def _Counter(self, items: list[Any]) -> dict[Any, Any]:  # noqa: N802 - by the type's name
        found: Counter[Any] = Counter()
        self._known.append(found)
        unpacked = map(self.unpacked, items)
        found.update(dict(zip(unpacked, unpacked, strict=True)))
        return found

    def _set(self, items: list[Any]) -> set[Any]:
        found: set[Any] = set()
        self._known.append(found)
        found.update(map(self.unpacked, items))
        return found

    def _frozenset(self, items: list[Any]) -> Any:  # noqa: ANN401
        return self._whole(lambda: frozenset(map(self.unpacked, items)))

    def _deque(self, items: list[Any]) -> deque[Any]:
        maxlen, *rest = items
        found: deque[Any] = deque(maxlen=maxlen)
        self._known.append(found)
        found.extend(map(self.unpacked, rest))
        return found

    def _secret(self, _: object) -> Any:  # noqa: ANN401
        return self._whole(lambda: Secret(NO_TOKEN))

    def _object(self, items: list[Any]) -> Any:  # noqa: ANN401
        name, *values = items
        kind = _class_of(name)
        if issubclass(kind, msgspec.Struct):
            names = kind.__struct_fields__
            return self._whole(lambda: kind(**dict(zip(names, map(self.unpacked, values), strict=True))))
        if issubclass(kind, tuple):
            return self._whole(lambda: kind(*map(self.unpacked, values)))
        found = object.__new__(kind)
        self._known.append(found)
        if hasattr(kind, "DERIVED"):
            self._made.append((found, self.unpacked(values.pop(0))))
        slots = _slots_of(kind)  # type: ignore[arg-type]
        for slot, value in zip(slots, values[: len(slots)], strict=True):
            if value != _ABSENT:
                slot.__set__(found, self.unpacked(value))
        rest = values[len(slots) :]
        if rest:
            names = self.unpacked(rest[0])
            if not all(_is_plain_attribute(kind, name) for name in names):  # type: ignore[arg-type]
                raise UnknownStateError("a state with a value in the place of a method")
            vars(found).update(zip(names, map(self.unpacked, rest[1:]), strict=True))
        return found

    def _whole(self, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Make what does not change, whose parts cannot have it in them."""
        place = len(self._known)
        self._known.append(None)
        self._known[place] = found = make()
        return found


_WHATS = frozenset(
    {"again", "decimal", "unset", "class", "list", "dict", "Counter", "set", "frozenset", "deque", "secret", "object"}
)
_ABSENT = {"absent": 0}
_NOTHING = object()


def _values_of(value: Any, kind: type) -> Iterator[Any]:  # noqa: ANN401 - of one of our classes
    """Yield the values of an object's attributes: of slots `_NOTHING` where they are not set, then names and others."""
    if issubclass(kind, msgspec.Struct):
        yield from (getattr(value, name) for name in kind.__struct_fields__)
        return
    if issubclass(kind, tuple):
        yield from value
        return
    derived = frozenset(getattr(kind, "DERIVED", ()))
    for slot in _slots_of(kind):  # type: ignore[arg-type]
        try:
            yield slot.__get__(value, kind)
        except AttributeError:
            yield _NOTHING
    others = {name: each for name, each in getattr(value, "__dict__", {}).items() if name not in derived}
    if others:
        yield tuple(others)
        yield from others.values()


@cache
def _slots_of(kind: Hashable) -> tuple[MemberDescriptorType, ...]:
    derived = frozenset(getattr(kind, "DERIVED", ()))
    return tuple(
        member
        for each in reversed(getattr(kind, "__mro__", ()))
        for name, member in vars(each).items()
        if isinstance(member, MemberDescriptorType) and name not in derived
    )


@cache
def _is_plain_attribute(kind: Hashable, name: str) -> bool:
    """Return whether objects of a class may have an attribute of this name that is neither a method nor derived."""
    known = getattr(kind, name, None)
    is_free = not callable(known) and not hasattr(type(known), "__get__")
    return is_free and not name.startswith("__") and name not in getattr(kind, "DERIVED", ())


@cache
def _name_of(kind: Hashable) -> str:
    name = f"{kind.__module__}:{getattr(kind, '__qualname__', '')}"
    if _class_of(name) is not kind:
        raise TypeError(f"{name} has no state")
    return name


def _class_of(name: str) -> type:
    """Return a class of ours by its name. Raises UnknownStateError for any other name."""
    module, _, path = name.partition(":")
    package, room, *_ = (*module.split("."), "")
    is_known = (package == _PACKAGE and room in PURE_ROOMS) or name in _OTHERS
    found = vars(sys.modules[module]).get(path) if is_known else None
    if not isinstance(found, type) or found.__module__ != module:
        raise UnknownStateError(f"a state with something unknown: {name[:100]}")
    return found


@cache
def _fingerprint() -> bytes:
    """Return what another version of the package has not: a state means what its own code makes of it."""
    found = hashlib.sha256()
    for room in ROOMS:
        for name, content in _sources(resources.files(_PACKAGE) / room):
            found.update(f"{name} {len(content)}\n".encode() + content)
    return found.digest()


def _sources(folder: Traversable) -> Iterator[tuple[str, bytes]]:
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            yield from _sources(each)
        elif each.name.endswith(".py"):
            yield each.name, each.read_bytes()

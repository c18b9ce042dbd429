"""Values that must not appear in any output."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Hidden", "Secret"]

T = TypeVar("T")


class Hidden(Generic[T]):
    """A value that appears in no repr, str, formatted text, pickle, or locals of a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The value, for the one line that uses it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __reduce__(self) -> str:
        raise TypeError("a token is not to be pickled")


class Secret(Hidden[str]):
    """A token."""

    __slots__ = ()

"""Wrappers for values that must not appear in any output, such as tokens."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

__all__ = ["Hidden", "Secret"]

T = TypeVar("T")


class Hidden(Generic[T]):
    """A wrapper that keeps its value out of every repr, formatted text and traceback; it cannot be pickled.

    Two wrappers of one class are equal if their values are. `reveal` returns the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the wrapped value.

        Call it only in the expression that uses the value, so that no local variable holds it.
        """
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: it does not change."""
        return self

    def __reduce__(self) -> str:
        raise TypeError("a token is not to be pickled")


class Secret(Hidden[str]):
    """A token, password or other secret text, wrapped so that no output shows it."""

    __slots__ = ()

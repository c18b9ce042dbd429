"""Where a token comes from, and how it is kept from being seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from aries_nb.errors import FeedError, TokenError

__all__ = ["Secret", "TokenSource", "environment_token", "fixed_token", "token_from"]

VARIABLE = "ARIES_NB_TOKEN"


class Secret:
    """A token that does not show itself: not in repr, str, formatting or a traceback's locals."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The token itself, for the one line that sends it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a token is not to be pickled")


class TokenSource(Protocol):
    """Gives the token to use now; called for each connection and each renewal, on the network's thread."""

    def __call__(self) -> Secret:
        """The token. Raises TokenError if there is none."""


def fixed_token(value: str) -> TokenSource:
    """A source that always gives the same token. Raises TokenError if it is blank, or no text that can be sent."""
    secret = _secret(value, f"Pass token=…, or set {VARIABLE}.")
    return lambda: secret


def environment_token() -> TokenSource:
    """A source that reads ARIES_NB_TOKEN each time. Raises TokenError if it is not set now."""

    def read() -> Secret:
        value = os.environ.get(VARIABLE, "")
        if not value.strip():
            raise TokenError("there is no token", advice=f"Set {VARIABLE}, or pass token=… (text or a function).")
        return _secret(value, f"Look at {VARIABLE}.")

    read()
    return read


def token_from(given: str | Callable[[], str] | None) -> TokenSource:
    """A source from what the user passed: text, a function that fetches one, or None for the environment."""
    if given is None:
        return environment_token()
    if isinstance(given, str):
        return fixed_token(given)

    def fetch() -> Secret:
        try:
            value = given()
        except FeedError:
            raise
        except Exception as error:  # the border to the user's code
            what = f"the token function raised {type(error).__name__}"
            raise TokenError(what, advice="Call it by itself to see why.") from error
        if not isinstance(value, str):
            raise TokenError("the token function returned no text", advice="Let it return the access token.")
        return _secret(value, "Let the token function return the access token.")

    return fetch


def _secret(value: str, advice: str) -> Secret:
    token = value.strip()
    if not token:
        raise TokenError("the token is blank", advice=advice)
    if not (token.isascii() and token.isprintable()):
        raise TokenError("the token holds characters that no token has", advice=advice)
    return Secret(token)

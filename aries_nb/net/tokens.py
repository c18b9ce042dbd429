"""Where a token comes from, and how it is kept from being seen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from aries_nb.errors import FeedError, TokenError
from aries_nb.net.aside import run_aside

__all__ = [
    "RenewableToken",
    "Secret",
    "TokenSource",
    "checked_secret",
    "environment_token",
    "fetch",
    "fixed_token",
    "token_from",
]

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
    """Gives the token to use now; called for each connection, renewal and request, on a worker thread."""

    def __call__(self) -> Secret:
        """The token. Raises TokenError if there is none."""


@runtime_checkable
class RenewableToken(TokenSource, Protocol):
    """A source that keeps a token for a while, and can be told that it is no longer good."""

    def refused(self, token: Secret) -> None:
        """A server refused `token`: do not give it again."""


async def fetch(source: TokenSource) -> Secret:
    """The token of `source`, asked on a daemon thread: one that hangs does not keep the interpreter from exiting."""
    return await asyncio.wrap_future(run_aside(source, name="aries-nb-token"))


def fixed_token(value: str) -> TokenSource:
    """A source that always gives the same token. Raises TokenError if it is blank, or no text that can be sent."""
    secret = Secret(value)
    del value  # a traceback may show this frame
    checked = checked_secret(secret, f"Pass token=…, or set {VARIABLE}.")
    return lambda: checked


def environment_token() -> TokenSource:
    """A source that reads ARIES_NB_TOKEN each time. Raises TokenError if it is not set now."""

    def read() -> Secret:
        secret = Secret(os.environ.get(VARIABLE, ""))
        if not secret.reveal().strip():
            raise TokenError("there is no token", advice=f"Set {VARIABLE}, or pass token=… (text or a function).")
        return checked_secret(secret, f"Look at {VARIABLE}.")

    read()
    return read


def token_from(given: str | Callable[[], str | Secret] | None) -> TokenSource:
    """A source from what the user passed: text, a function that fetches one, a source, or None for the environment."""
    if given is None:
        return environment_token()
    if isinstance(given, str):
        return fixed_token(given)
    if isinstance(given, RenewableToken):
        return given

    def ask() -> Secret:
        try:
            value = given()
            secret = Secret(value) if isinstance(value, str) else value
            del value  # a traceback may show this frame
        except FeedError:
            raise
        except Exception as error:  # the border to the user's code
            what = f"the token function raised {type(error).__name__}"
            raise TokenError(what, advice="Call it by itself to see why.") from error
        if not isinstance(secret, Secret):
            raise TokenError("the token function returned no text", advice="Let it return the access token.")
        return checked_secret(secret, "Let the token function return the access token.")

    return ask


def checked_secret(secret: Secret, advice: str) -> Secret:
    """The token without blanks around it. Raises TokenError if it is blank, or no text that can be sent."""
    is_blank, can_be_sent = _judged(secret)
    if is_blank:
        raise TokenError("the token is blank", advice=advice)
    if not can_be_sent:
        raise TokenError("the token holds characters that no token has", advice=advice)
    return Secret(secret.reveal().strip())


def _judged(secret: Secret) -> tuple[bool, bool]:
    token = secret.reveal().strip()
    return not token, token.isascii() and token.isprintable()

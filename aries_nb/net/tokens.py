"""Token sources, and the credential that a session takes from one. Tokens appear in no repr and no traceback."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar, cast, runtime_checkable

from aries_nb.errors import ConnectError, FeedError, TokenError
from aries_nb.model import Hidden, Secret
from aries_nb.net.background import run_on_thread
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.redaction import Redactor

__all__ = [
    "Credential",
    "FunctionToken",
    "Hidden",
    "PackageSource",
    "RenewableFunction",
    "RenewableToken",
    "Secret",
    "TokenSource",
    "ask",
    "checked_secret",
    "environment_token",
    "fetch",
    "fixed_token",
    "hide_token",
    "made_with",
    "token_from",
]

log = logging.getLogger("aries_nb")

T = TypeVar("T")
VARIABLE = "ARIES_NB_TOKEN"


class TokenSource(Protocol):
    """Returns the current token; called for each connection, renewal and request, on a worker thread."""

    def __call__(self) -> Secret:
        """The token. Raises TokenError if there is none."""


@runtime_checkable
class RenewableToken(TokenSource, Protocol):
    """A source that caches a token and drops it after a refusal."""

    def refused(self, token: Secret) -> None:
        """A server refused `token`: do not return it again."""


class FunctionToken(Hidden[Callable[[], object]]):
    """A user's function as a source. It is hidden as well, since it may carry the token, as a `partial` does."""

    __slots__ = ()

    def __call__(self) -> Secret:
        """The function's result. Raises TokenError, or the FeedError that the function raises."""
        return ask(self.reveal())


class RenewableFunction(FunctionToken):
    """A user's source with a method `refused`."""

    __slots__ = ()

    def refused(self, token: Secret) -> None:
        """A server refused `token`."""
        cast("RenewableToken", self.reveal()).refused(token)


class PackageSource:
    """Base class of this package's sources, whose repr shows no token."""

    __slots__ = ()


async def fetch(source: TokenSource) -> Secret:
    """The token of `source`, called on a daemon thread: one that hangs does not keep the interpreter from exiting."""
    return await asyncio.wrap_future(run_on_thread(partial(ask, source), name="aries-nb-token"))


def ask(source: Callable[[], object]) -> Secret:
    """The current token of `source`. Raises the FeedError that it raises, TokenError for any other error.

    The error is raised without its frames and its cause, which may hold tokens as plain text.
    """
    answer = _answer(source)
    if isinstance(answer, Secret):
        return checked_secret(answer, "Let the token function return the access token.")
    raise answer


def hide_token(given: object) -> Secret | Callable[[], object] | None:
    """The argument `token=`, hidden unless it is a source already. One of a wrong type raises TokenError when used."""
    if given is None or isinstance(given, Secret | FunctionToken):
        return given
    if isinstance(given, str):
        return Secret(given)
    if callable(given):
        is_renewable = isinstance(given, RenewableToken)
        return (
            given if isinstance(given, PackageSource) else (RenewableFunction if is_renewable else FunctionToken)(given)
        )
    what, advice = f"token= is of type {type(given).__name__}", "Pass text, or a function that returns it."

    def refuse() -> Secret:
        raise TokenError(what, advice=advice)

    return FunctionToken(refuse)


def fixed_token(value: str | Secret) -> TokenSource:
    """A source of one fixed token. Raises TokenError if it is blank, or no text that can be sent."""
    value = Secret(value) if isinstance(value, str) else value  # a traceback may show this frame
    checked = checked_secret(value, f"Pass token=…, or set {VARIABLE}.")
    return lambda: checked


def environment_token() -> TokenSource:
    """A source that reads ARIES_NB_TOKEN at each call. Raises TokenError if it is not set now."""

    def read() -> Secret:
        secret = Secret(os.environ.get(VARIABLE, ""))
        if not secret.reveal().strip():
            raise TokenError("there is no token", advice=f"Set {VARIABLE}, or pass token=… (text or a function).")
        return checked_secret(secret, f"Look at {VARIABLE}.")

    read()
    return read


def token_from(given: object) -> TokenSource:
    """The source for the argument `token=`: text, a function that returns a token, a source, or None (environment)."""
    given = hide_token(given)  # a traceback may show this frame
    if given is None:
        return environment_token()
    if isinstance(given, Secret):
        return fixed_token(given)
    return cast("TokenSource", given)


def _answer(source: Callable[[], object]) -> Secret | FeedError:
    try:
        value = source()
    except FeedError as error:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    except (Exception, SystemExit) as error:  # the border to the user's code
        below = error.__traceback__.tb_next if error.__traceback__ else None
        where = f"line {below.tb_lineno} of {below.tb_frame.f_code.co_name}" if below else ""
        what = f"the token function raised {type(error).__name__}"
        return TokenError(what, where=where, advice="Call it by itself to see why.")
    if isinstance(value, str):
        return Secret(value)
    if isinstance(value, Secret):
        return value
    return TokenError("the token function returned no text", advice="Let it return the access token.")


def checked_secret(secret: Secret, advice: str) -> Secret:
    """The token, stripped. Raises TokenError if it is blank, or no text that can be sent."""
    is_blank, can_be_sent = _checks(secret)
    if is_blank:
        raise TokenError("the token is blank", advice=advice)
    if not can_be_sent:
        raise TokenError("the token holds characters that no token has", advice=advice)
    return Secret(secret.reveal().strip())


def _checks(secret: Secret) -> tuple[bool, bool]:
    token = secret.reveal().strip()
    return not token, token.isascii() and token.isprintable()


def made_with(secret: Secret, function: Callable[[str], T], what: str) -> T:
    """The result of an adapter's function of a token. Raises ConnectError, without the token in text or traceback."""
    try:
        return function(secret.reveal())
    except Exception as error:  # foreign code, whose error and frames may hold the token
        reason, where = type(error).__name__, _innermost(error)
    advice = "Check the token's form, and the adapter."
    raise ConnectError(f"the {what} of the endpoint cannot be made ({reason})", where=where, advice=advice)


def _innermost(error: BaseException) -> str:
    """Where an error was raised, without any value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"line {trace.tb_lineno} of {trace.tb_frame.f_code.co_name}" if trace is not None else ""


class Credential:
    """The token of a session: the one in use, the one that was refused, and the next. The network's thread owns it.

    Each token it returns is redacted in every text from then on.
    """

    def __init__(self, source: TokenSource, redactor: Redactor, rule: BackoffRule) -> None:
        self._source = source
        self._redact = redactor
        self._rule = rule
        self._in_use: Secret | None = None
        self._refused: Secret | None = None

    async def fetch(self) -> Secret:
        """Put the source's token in use. Raises FeedError if there is none."""
        token = self._in_use = await fetch(self._source)
        self._redact.add(token)
        return token

    async def fetch_until(self, is_over: Callable[[], bool], on_error: Callable[[str], None]) -> Secret | None:
        """The same with retries until `is_over`, then None. `on_error` is called with the text of each error."""
        backoff = Backoff(self._rule)
        while not is_over():
            try:
                token = await fetch(self._source)
            except FeedError as error:
                on_error(str(error))
                log.warning("no token for the renewal of the session: %s", error)
                await asyncio.sleep(backoff.next(lived=None, jitter=random.random()))
                continue
            if not is_over():
                self._in_use = token
                self._redact.add(token)
                return token
        return None

    @property
    def is_refused(self) -> bool:
        """Whether the server has refused the token in use before."""
        return self._in_use is not None and self._in_use == self._refused

    @property
    def was_refused(self) -> bool:
        """Whether the server refused the token of the last attempt to open a session."""
        return self._refused is not None

    def refused(self) -> None:
        """Record that the server refused to open a session with the token in use."""
        self._refused = self._in_use
        self.invalidate()

    def invalidate(self) -> None:
        """Report the token in use to its source as refused; the source may have a fresher one."""
        if self._in_use is not None and isinstance(self._source, RenewableToken):
            self._source.refused(self._in_use)

    def accepted(self) -> None:
        """Record that the server opened a session."""
        self._refused = None

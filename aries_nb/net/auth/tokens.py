"""Token sources (functions that return the current access token), and the token that a session uses.

Tokens appear in no repr and no traceback.
"""

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
from aries_nb.net.redaction import FrameMask, Redactor

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
    "masked",
    "token_from",
]

log = logging.getLogger("aries_nb")

T = TypeVar("T")
VARIABLE = "ARIES_NB_TOKEN"


class TokenSource(Protocol):
    """A function that returns the current access token.

    Called on a worker thread for each connection, renewal and request.
    """

    def __call__(self) -> Secret:
        """Return the current access token. Raises TokenError if there is none."""


@runtime_checkable
class RenewableToken(TokenSource, Protocol):
    """A token source that caches its token, with a method that drops it after a server has refused it."""

    def refused(self, token: Secret) -> None:
        """Do not return `token` again, because a server refused it."""


class FunctionToken(Hidden[Callable[[], object]]):
    """A user's function as a token source, wrapped so that no output shows it.

    The function may hold the token, as a `functools.partial` does.
    """

    __slots__ = ()

    def __call__(self) -> Secret:
        """Call the user's function and return its token.

        Raises the FeedError that the function raises, TokenError for any other error and for a result that is no token.
        """
        return ask(self.reveal())


class RenewableFunction(FunctionToken):
    """A user's token source that has a method `refused`, wrapped so that nothing of it is shown."""

    __slots__ = ()

    def refused(self, token: Secret) -> None:
        """Report `token` as refused by a server to the user's source."""
        cast("RenewableToken", self.reveal()).refused(token)


def masked(source: TokenSource, mask: FrameMask) -> TokenSource:
    """Return a source of the same tokens, each of which `mask` gets before it is used."""
    return (_RenewableMasked if isinstance(source, RenewableToken) else _Masked)(source, mask)


class PackageSource:
    """Base class of this package's own token sources, whose repr shows no token, so they need not be wrapped."""

    __slots__ = ()


class _Masked(PackageSource):
    __slots__ = "_mask", "_source"

    def __init__(self, source: TokenSource, mask: FrameMask) -> None:
        self._source, self._mask = source, mask

    def __call__(self) -> Secret:
        token = ask(self._source)
        self._mask.add(token)
        return token


class _RenewableMasked(_Masked):
    __slots__ = ()

    def refused(self, token: Secret) -> None:
        cast("RenewableToken", self._source).refused(token)


async def fetch(source: TokenSource) -> Secret:
    """Call `source` on a new daemon thread and return its token; raises as `ask` does.

    The thread does not keep the interpreter from exiting, even if the source never returns.
    """
    return await asyncio.wrap_future(run_on_thread(partial(ask, source), name="aries-nb-token"))


def ask(source: Callable[[], object]) -> Secret:
    """Call `source` on this thread and return its token. Raises the FeedError that it raises, TokenError for any other.

    The error is raised without its stack frames and its cause, which may hold tokens as plain text.
    """
    answer = _answer(source)
    if isinstance(answer, Secret):
        return checked_secret(answer, "Let the token function return the access token.")
    raise answer


def hide_token(given: object) -> Secret | Callable[[], object] | None:
    """Return `given`, the user's argument `token=`, wrapped so that no output shows it.

    None, and a source of this package, are returned as they are. An argument of a wrong type becomes a source that
    raises TokenError when it is used.
    """
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
    """Return a source that always returns the token `value`.

    Raises TokenError if it is blank or contains characters that no token has.
    """
    value = Secret(value) if isinstance(value, str) else value  # a traceback may show this frame
    checked = checked_secret(value, f"Pass token=…, or set {VARIABLE}.")
    return lambda: checked


def environment_token(variable: str = VARIABLE) -> TokenSource:
    """Return a source that reads an environment variable at each call.

    Raises TokenError if it is not set now.
    """

    def read() -> Secret:
        secret = Secret(os.environ.get(variable, ""))
        if not secret.reveal().strip():
            raise TokenError("there is no token", advice=f"Set {variable}, or pass token=… (text or a function).")
        return checked_secret(secret, f"Look at {variable}.")

    read()
    return read


def token_from(given: object) -> TokenSource:
    """Return the token source for `given`, the argument `token=`: a token, a function that returns one, or a source.

    With None the source reads the environment variable ARIES_NB_TOKEN. Raises TokenError if there is no usable token.
    """
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
    """Return the token `secret` without blanks around it.

    Raises TokenError, with `advice` on what to do as part of its text, if it is blank or not printable ASCII.
    """
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
    """Return the result of an adapter's `function` of the token `secret`; `what` names the result in an error message.

    Raises ConnectError if the function raises, with the token in neither the text nor the traceback.
    """
    try:
        return function(secret.reveal())
    except Exception as error:  # foreign code, whose error and frames may hold the token
        reason, where = type(error).__name__, _innermost(error)
    advice = "Check the token's form, and the adapter."
    raise ConnectError(f"the {what} of the endpoint cannot be made ({reason})", where=where, advice=advice)


def _innermost(error: BaseException) -> str:
    """Return the line number and function in which an error was raised, as text, without any value of a variable."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"line {trace.tb_lineno} of {trace.tb_frame.f_code.co_name}" if trace is not None else ""


class Credential:
    """The token with which a session authenticates: taken from its source, and remembered if the server refuses it.

    Used on the network's thread only. Each token is added to `redactor` before it is used. `rule` sets the delays
    between retries.
    """

    def __init__(self, source: TokenSource, redactor: Redactor, rule: BackoffRule) -> None:
        self._source = source
        self._redact = redactor
        self._rule = rule
        self._in_use: Secret | None = None
        self._refused: Secret | None = None

    async def fetch(self) -> Secret:
        """Get a token from the source, make it the one in use, and return it.

        Raises FeedError if the source has none.
        """
        token = self._in_use = await fetch(self._source)
        self._redact.add(token)
        return token

    async def fetch_until(self, is_over: Callable[[], bool], on_error: Callable[[str], None]) -> Secret | None:
        """Get a token from the source, with retries until `is_over()`; make it the one in use and return it.

        Returns None once `is_over()` is true. `on_error` is called with the text of each error.
        """
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
        """Whether the token in use is the one that the server refused at the last attempt to open a session."""
        return self._in_use is not None and self._in_use == self._refused

    @property
    def was_refused(self) -> bool:
        """Whether the last attempt to open a session ended because the server refused its token."""
        return self._refused is not None

    def refused(self) -> None:
        """Record that the server refused to open a session with the token in use, and report that to the source.

        `was_refused` is then true until `accepted` is called.
        """
        self._refused = self._in_use
        self.invalidate()

    def invalidate(self) -> None:
        """Report the token in use as refused to its source, which then fetches a new one at the next call.

        Nothing happens if the source cannot renew tokens.
        """
        if self._in_use is not None and isinstance(self._source, RenewableToken):
            self._source.refused(self._in_use)

    def accepted(self) -> None:
        """Record that the server accepted the token and opened a session.

        `is_refused` and `was_refused` are false until the next refusal.
        """
        self._refused = None

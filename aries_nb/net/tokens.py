"""Where a token comes from, and how it is kept from being seen."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast, runtime_checkable

from aries_nb.errors import FeedError, TokenError
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
    "token_from",
]

log = logging.getLogger("aries_nb")

VARIABLE = "ARIES_NB_TOKEN"


class TokenSource(Protocol):
    """Gives the token to use now; called for each connection, renewal and request, on a worker thread."""

    def __call__(self) -> Secret:
        """The token. Raises TokenError if there is none."""


@runtime_checkable
class RenewableToken(TokenSource, Protocol):
    """A source that keeps a token for a while, and can be told that it is no longer good."""

    def refused(self, token: Secret) -> None:
        """A server refused `token`: do not give it again."""


class FunctionToken(Hidden[Callable[[], object]]):
    """A user's function as a source; it may carry the token itself, as a `partial` does, so it is hidden too."""

    __slots__ = ()

    def __call__(self) -> Secret:
        """What the function gives. Raises TokenError, or the FeedError that it raises."""
        return ask(self.reveal())


class RenewableFunction(FunctionToken):
    """The same for a user's source that can be told of a refusal."""

    __slots__ = ()

    def refused(self, token: Secret) -> None:
        """A server refused `token`."""
        cast("RenewableToken", self.reveal()).refused(token)


class PackageSource:
    """A source of this package, which shows nothing of itself."""

    __slots__ = ()


async def fetch(source: TokenSource) -> Secret:
    """The token of `source`, asked on a daemon thread: one that hangs does not keep the interpreter from exiting."""
    return await asyncio.wrap_future(run_on_thread(partial(ask, source), name="aries-nb-token"))


def ask(source: Callable[[], object]) -> Secret:
    """The token of `source`, now. Raises the FeedError that it raises, TokenError for anything else that goes wrong.

    The frames below, and what they raised, are left behind: where a token is fetched, tokens are in plain sight.
    """
    answer = _answer(source)
    if isinstance(answer, Secret):
        return checked_secret(answer, "Let the token function return the access token.")
    raise answer


def hide_token(given: object) -> Secret | Callable[[], object] | None:
    """What was passed as `token=`, hidden if it is no source already; what can be none says so when it is asked."""
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
    """A source that always gives the same token. Raises TokenError if it is blank, or no text that can be sent."""
    value = Secret(value) if isinstance(value, str) else value  # a traceback may show this frame
    checked = checked_secret(value, f"Pass token=…, or set {VARIABLE}.")
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


def token_from(given: object) -> TokenSource:
    """A source from what the user passed: text, a function that fetches one, a source, or None for the environment."""
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


class Credential:
    """What a session shows to the server, out of a source. The network's thread owns it.

    Whatever it gives out is masked in every text from then on.
    """

    def __init__(self, source: TokenSource, redactor: Redactor, rule: BackoffRule) -> None:
        self._source = source
        self._redact = redactor
        self._rule = rule
        self._in_use: Secret | None = None
        self._refused: Secret | None = None

    async def fetch(self) -> Secret:
        """The source's token, in use from now on. Raises FeedError where there is none."""
        token = self._in_use = await fetch(self._source)
        self._redact.add(token)
        return token

    async def fetch_until(self, is_over: Callable[[], bool], tell: Callable[[str], None]) -> Secret | None:
        """The same, tried again and again for as long as it is not over; None then. `tell` hears what went wrong."""
        backoff = Backoff(self._rule)
        while not is_over():
            try:
                token = await fetch(self._source)
            except FeedError as error:
                tell(str(error))
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
        """Whether the token in use is one that the server refused before."""
        return self._in_use is not None and self._in_use == self._refused

    @property
    def was_refused(self) -> bool:
        """Whether the server refused the last one that was shown to open a session."""
        return self._refused is not None

    def refused(self) -> None:
        """The server refused to open a session with the one in use."""
        self._refused = self._in_use
        self.outdated()

    def outdated(self) -> None:
        """The one in use is good for nothing any more; the source may have a fresher one."""
        if self._in_use is not None and isinstance(self._source, RenewableToken):
            self._source.refused(self._in_use)

    def accepted(self) -> None:
        """The server opened a session."""
        self._refused = None

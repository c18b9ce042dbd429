"""The token of a session: the one in use, the one that was refused, and the next."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from aries_nb.errors import FeedError
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.redaction import Mask
from aries_nb.net.tokens import RenewableToken, Secret, TokenSource, fetch

__all__ = ["Credential"]

log = logging.getLogger("aries_nb")


class Credential:
    """What a session shows to the server, out of a source. The network's thread owns it.

    Whatever it gives out is masked in every text from then on.
    """

    def __init__(self, source: TokenSource, masked: Mask, rule: BackoffRule) -> None:
        self._source = source
        self._masked = masked
        self._rule = rule
        self._in_use: Secret | None = None
        self._refused: Secret | None = None

    async def fetch(self) -> Secret:
        """The source's token, in use from now on. Raises FeedError where there is none."""
        token = self._in_use = await fetch(self._source)
        self._masked.add(token)
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
                self._masked.add(token)
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

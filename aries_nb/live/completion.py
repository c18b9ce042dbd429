"""Completion of symbols in a notebook: `feed.quotes("AA` and the tab key, by a matcher of IPython's completer."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Protocol
from weakref import WeakSet

from aries_nb.errors import FeedError
from aries_nb.live.live_object import LiveObject
from aries_nb.net.background import run_on_thread

__all__ = ["SymbolMatcher", "Symbols", "complete_symbols"]

log = logging.getLogger("aries_nb")
OF_SYMBOLS = "quotes|trades|instruments|news"
OF_ONE_SYMBOL = "book|bars|options"
# A call by the name of a variable, up to the text that is open. What is before are texts without names or brackets: the
# text in `fields=["` and the second one of `bars` are no symbols.
OPEN_CALL = re.compile(
    rf"""(?<![\w.])(\w+)\.(?:(?:{OF_SYMBOLS})\((?:(?:[^()\[\]="']|"[^"\n]*"|'[^'\n]*')*,)?|(?:{OF_ONE_SYMBOL})\()"""
    r"""\s*(["'])([^"'\n]*)$"""
)
MOST_CHARACTERS = 2_000  # of the cell before the cursor
WAIT_SECONDS = 0.5  # for the broker's search
MOST_FOUND = 50


class Completing(Protocol):
    """Interface of a feed whose symbols are completed."""

    _symbols: Symbols


class Symbols:
    """The symbols that begin with a text: those of what is open, else those that the broker's search finds.

    `objects` returns what is open, `search` returns symbols of the broker that match a text. Any thread.
    """

    def __init__(self, objects: Callable[[], Iterable[LiveObject]], search: Callable[[str], Iterable[str]]) -> None:
        self._objects = objects
        self._search = search
        self._searches: dict[str, Future[tuple[str, ...]]] = {}  # by the text
        self._guard = threading.Lock()

    def like(self, text: str) -> list[str]:
        """Return symbols that begin with a text, in whatever case; it waits for the broker 0.5 s at most.

        What comes later is returned by the next call.
        """
        known = {each for live in self._objects() for each in getattr(live, "symbols", (getattr(live, "symbol", ""),))}
        of_open = _beginning(known, text)
        return of_open if of_open or not text else _beginning(self._searched(text), text)

    def _searched(self, text: str) -> tuple[str, ...]:
        """Return what the search for a text finds in time; one that has failed is repeated, one that runs is not."""
        with self._guard:
            search = self._searches.get(text)
            if search is None or (search.done() and search.exception() is not None):
                search = run_on_thread(lambda: self._ask(text), name="aries-nb-completion")
                self._searches[text] = search
        try:
            return search.result(WAIT_SECONDS)
        except Exception:  # logged by `_ask`; where there is no answer, there is nothing to offer
            return ()

    def _ask(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(self._search(text))
        except FeedError:  # no search, or no answer
            raise
        except Exception:
            log.debug("the search for symbols like %r failed", text, exc_info=True)
            raise


class SymbolMatcher:
    """A matcher of IPython's completer, version 2 of its interface; `names` are the notebook's variables."""

    matcher_api_version = 2
    matcher_identifier = "aries_nb.symbols"
    matcher_priority = 50.0  # before that of files, which it replaces within the call

    def __init__(self, names: dict[str, object]) -> None:
        self._names = names
        self.__qualname__ = type(self).__name__  # IPython expects a function
        self.feeds: WeakSet[Completing] = WeakSet()

    def __call__(self, context: Any) -> dict[str, Any]:  # noqa: ANN401 - IPython's CompletionContext
        """Return the symbols for the text before the cursor, in the form of IPython's `SimpleMatcherResult`."""
        from IPython.core.completer import SimpleCompletion

        lines = context.full_text.split("\n")
        before = "\n".join([*lines[: context.cursor_line], context.text_until_cursor])[-MOST_CHARACTERS:]
        call = OPEN_CALL.search(before)
        feed: Any = self._names.get(call[1]) if call else None
        if call is None or not any(each is feed for each in self.feeds):
            return {"completions": []}
        symbols: Symbols = feed._symbols  # noqa: SLF001 - which is there for this
        found = [SimpleCompletion(text=symbol, type="symbol") for symbol in symbols.like(call[3])]
        return {"completions": found, "matched_fragment": call[3], "ordered": True, "suppress": bool(found)}


def complete_symbols(feed: Completing) -> None:
    """Have the tab key complete symbols in calls of a feed; does nothing outside of IPython."""
    ipython = sys.modules.get("IPython")  # where a shell runs it is imported already
    shell = ipython.get_ipython() if ipython is not None else None
    matchers = getattr(getattr(shell, "Completer", None), "custom_matchers", None)
    if shell is None or matchers is None:
        return
    own = next((each for each in matchers if isinstance(each, SymbolMatcher)), None)
    if own is None:
        own = SymbolMatcher(shell.user_ns)
        matchers.append(own)
    own.feeds.add(feed)


def _beginning(symbols: Iterable[str], text: str) -> list[str]:
    start = text.casefold()
    return sorted(each for each in set(symbols) if each and each.casefold().startswith(start))[:MOST_FOUND]

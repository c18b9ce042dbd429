"""A server's text without the tokens that were sent to it, in case it echoes them, and with nothing that commands.

An escape sequence would colour, move or rewrite what stands in a terminal, a line feed would forge a line of a log, a
mark of direction turn a name around. All of them are shown as Python writes them.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import groupby
from operator import itemgetter
from urllib.parse import quote

from aries_nb.model import Secret

__all__ = ["Redactor"]

SHORTEST_REDACTED = 6  # characters; a shorter token is no secret, and would mask every other word
PIECE = 8  # characters; so long a piece of a token is hardly a word of its own
KEPT = 8  # tokens; a late answer may speak of one that was renewed since


class Redactor:
    """Puts `***` in place of the newest tokens it was told of and of their pieces: an echo may be cut or escaped.

    It keeps hashes of the pieces, not the tokens. Owned by one thread.
    """

    def __init__(self, *secrets: Secret) -> None:
        self._known: deque[tuple[int, frozenset[int]]] = deque(maxlen=max(KEPT, len(secrets)))
        self._pieces: dict[int, frozenset[int]] = {}  # of all that are known, by their length
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Mask this one as well, and no longer the one that came so many before it."""
        known = _pieces_of(secret)
        if known in self._known or not known[1]:
            return
        self._known.append(known)
        sizes = {size for size, _ in self._known}
        self._pieces = {
            size: frozenset().union(*(pieces for other, pieces in self._known if other == size)) for size in sizes
        }

    def __call__(self, text: str) -> str:
        """The text as it may be shown."""
        return _harmless(self.without_secrets(text))

    def without_secrets(self, text: str) -> str:
        """The text with its tokens masked and nothing else, for whoever looks through it before it is shown."""
        hidden = bytearray(len(text))
        for size, pieces in self._pieces.items():
            for start in range(len(text) - size + 1):
                if hash(text[start : start + size]) in pieces:
                    hidden[start : start + size] = b"\1" * size
        if not any(hidden):
            return text
        runs = groupby(zip(text, hidden, strict=True), key=itemgetter(1))
        shown = ("***" if is_hidden else "".join(map(itemgetter(0), run)) for is_hidden, run in runs)
        return "".join(shown)


def _harmless(text: str) -> str:
    """The text with every character that is not printable as its escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _pieces_of(secret: Secret) -> tuple[int, frozenset[int]]:
    """The length of a token's pieces, and the hash of each of them in every form that an echo may have."""
    token = secret.reveal()
    if len(token) < SHORTEST_REDACTED:
        return 0, frozenset()
    size = min(PIECE, len(token))
    written = json.dumps(token)[1:-1]
    forms = {token, written, written.replace("/", "\\/"), quote(token), quote(token, safe="")}
    return size, frozenset(hash(form[at : at + size]) for form in forms for at in range(len(form) - size + 1))

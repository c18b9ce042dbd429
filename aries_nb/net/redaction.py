"""Redaction of a server's text: tokens in it are replaced by `***`, and characters that are not printable are escaped.

An escape sequence could rewrite what a terminal shows, a line feed forge a log line, a direction mark reverse a name.
All of them are shown as Python escapes.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import groupby
from operator import itemgetter
from urllib.parse import quote

from aries_nb.model import Secret

__all__ = ["Redactor"]

SHORTEST_REDACTED = 6  # characters; a shorter token is no secret, and would redact ordinary words
PIECE = 8  # characters; a piece of a token that is hardly a word of its own
KEPT_TOKENS = 8  # tokens; a late answer may quote one that was renewed since


class Redactor:
    """Replaces the tokens that it was given, and pieces of 8 characters of them, by `***` in texts.

    Pieces are replaced because a server may cut or escape a token that it repeats. Only hashes of the pieces are
    stored, not the tokens. Used by one thread only.
    """

    def __init__(self, *secrets: Secret) -> None:
        self._known: deque[tuple[int, frozenset[int]]] = deque(maxlen=max(KEPT_TOKENS, len(secrets)))
        self._pieces: dict[int, frozenset[int]] = {}  # of all known tokens, by the length of the pieces
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Redact the token `secret` from now on.

        Only the newest 8 tokens are remembered, or as many as the constructor got, if those are more. A token of less
        than 6 characters is ignored.
        """
        known = _pieces_of(secret)
        if known in self._known or not known[1]:
            return
        self._known.append(known)
        sizes = {size for size, _ in self._known}
        self._pieces = {
            size: frozenset().union(*(pieces for other, pieces in self._known if other == size)) for size in sizes
        }

    def __call__(self, text: str) -> str:
        """Return the text for users and logs: tokens replaced by `***`, unprintable characters escaped."""
        return _printable(self.without_secrets(text))

    def without_secrets(self, text: str) -> str:
        """Return the text with tokens replaced by `***` and nothing else changed, for further processing."""
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


def _printable(text: str) -> str:
    """Return the text with each unprintable character replaced by its Python escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _pieces_of(secret: Secret) -> tuple[int, frozenset[int]]:
    """Return the length of the pieces of the token `secret`, and the hashes of all its pieces of that length.

    The length is 8 characters, or that of a shorter token; 0 and no hashes for a token below 6 characters. The pieces
    are those of the token as it is, and as it is escaped in JSON or in a URL.
    """
    token = secret.reveal()
    if len(token) < SHORTEST_REDACTED:
        return 0, frozenset()
    size = min(PIECE, len(token))
    written = json.dumps(token)[1:-1]
    forms = {token, written, written.replace("/", "\\/"), quote(token), quote(token, safe="")}
    return size, frozenset(hash(form[at : at + size]) for form in forms for at in range(len(form) - size + 1))

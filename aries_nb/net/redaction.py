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

__all__ = ["FrameMask", "Redactor"]

SHORTEST_REDACTED = 6  # characters; a shorter token is no secret, and would redact ordinary words
PIECE = 8  # characters; a piece of a token that is hardly a word of its own
RARE = frozenset(b"JUWjw_HIKVYNODCzFLX")  # bytes that few frames have
MOST_PIECES = 64  # of tokens, for each rare byte
KEPT_TOKENS = 8  # tokens; a late answer may quote one that was renewed since


class Redactor:
    """Replaces the tokens that it was given, and pieces of 8 characters of them, by `***` in texts.

    Pieces are replaced because a server may cut or escape a token that it repeats. Only hashes of the pieces are
    stored, not the tokens. `mask` gets the same tokens. Used by one thread only.
    """

    def __init__(self, *secrets: Secret, mask: FrameMask | None = None) -> None:
        self._mask = mask
        self._known: deque[tuple[int, frozenset[int]]] = deque(maxlen=max(KEPT_TOKENS, len(secrets)))
        self._pieces: dict[int, frozenset[int]] = {}  # of all known tokens, by the length of the pieces
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Redact the token `secret` from now on.

        Only the newest 8 tokens are remembered, or as many as the constructor got, if those are more. A token of less
        than 6 characters is ignored.
        """
        if self._mask is not None:
            self._mask.add(secret)
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


class FrameMask:
    """Masks tokens in frames that are kept, where a server repeats them or 15 characters of them. One thread.

    A frame is searched for bytes of the token that are rare in data, which takes a hundredth of the time of reading it;
    only where one stands in its piece of the token is the frame looked at closely.
    """

    def __init__(self) -> None:
        self._redact = Redactor()
        self._pieces: dict[int, list[tuple[int, Secret]]] = {}  # by rare byte: its place in a piece, and the piece
        self._common: list[Secret] = []  # pieces without a rare byte

    def add(self, secret: Secret) -> None:
        """Mask this token from now on; of one without rare bytes only the first and the last piece are looked for."""
        self._redact.add(secret)
        token = secret.reveal().encode(errors="replace")
        pieces = [token[start : start + PIECE] for start in range(0, max(len(token) - PIECE, 0) + 1, PIECE)]
        common = [piece for piece in pieces if not RARE & set(piece)]
        for piece in pieces:
            for byte in sorted(RARE & set(piece))[:1]:
                known = self._pieces.setdefault(byte, [])
                known[:] = [*known, (piece.index(byte), Secret(piece.decode("latin-1")))][-MOST_PIECES:]
        self._common = [*self._common, *(Secret(each.decode("latin-1")) for each in {*common[:1], *common[-1:]})]
        self._common = self._common[-MOST_PIECES:]

    def __call__(self, frame: bytes) -> bytes:
        """Return the frame with tokens and pieces of them replaced by `***`; itself where there are none."""
        if not self._has_piece(frame):
            return frame
        text = frame.decode("utf-8", "surrogateescape")
        return self._redact.without_secrets(text).encode("utf-8", "surrogateescape")

    def _has_piece(self, frame: bytes) -> bool:
        for byte, pieces in self._pieces.items():
            at = frame.find(byte)
            while at >= 0:
                if any(
                    frame[at - place : at - place + PIECE] == each.reveal().encode("latin-1")
                    for place, each in pieces
                    if at >= place
                ):
                    return True
                at = frame.find(byte, at + 1)
        return any(each.reveal().encode("latin-1") in frame for each in self._common)


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

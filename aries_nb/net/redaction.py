"""Redaction of a server's text: tokens in it are replaced by `***`, and characters that are not printable are escaped.

An escape sequence could rewrite what a terminal shows, a line feed forge a log line, a direction mark reverse a name.
All of them are shown as Python escapes.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from urllib.parse import quote

from aries_nb.model import Secret

__all__ = ["FrameMask", "Redactor"]

SHORTEST_REDACTED = 6  # characters; a shorter token is no secret, and would redact ordinary words
PIECE = 8  # characters; a piece of a token that is hardly a word of its own
RARE = b"JUWjw_HKVYzXINODCFL"  # bytes that few frames have, the rarest first
GRAM = 4  # characters of a token that are compared at a rare byte
SPAN = 32  # characters of a token, each of which should have a rare byte that is searched for
BLOCKS = 8  # of a token without a rare byte that are searched for
MOST_PLAIN = 3 * (BLOCKS + 1)
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


class FrameMask:
    """Masks tokens in frames that are kept, where a server repeats one or a longer piece of it. Any thread.

    A frame is searched for a few bytes of the token that are rare in data, which takes a hundredth of the time of
    reading it. Where four characters of the token stand there, it is looked at closely, and pieces of 8 are masked.
    """

    def __init__(self) -> None:
        self._redact = Redactor()
        self._adding = threading.Lock()
        self._newest: Secret | None = None
        self._grams: dict[int, frozenset[int]] = {}  # by rare byte: hashes of what stands in tokens from there on
        self._plain: tuple[Secret, ...] = ()  # pieces of tokens without a rare byte

    def add(self, secret: Secret) -> None:
        """Mask this token from now on."""
        with self._adding:
            if secret != self._newest:
                self._newest = secret
                self._add(secret)

    def _add(self, secret: Secret) -> None:
        self._redact.add(secret)
        token = secret.reveal().encode(errors="replace")
        rare = [byte for byte in RARE if byte in token[:-GRAM]]
        uncovered = set(range(0, len(token), SPAN))  # spans of the token in which no rare byte was found yet
        for byte in rare:
            found = {at for at in range(len(token) - GRAM + 1) if token[at] == byte}
            if uncovered.isdisjoint({at - at % SPAN for at in found}):
                continue
            uncovered -= {at - at % SPAN for at in found}
            grams = frozenset(hash(token[at : at + GRAM]) for at in found)
            self._grams = {**self._grams, byte: self._grams.get(byte, frozenset()) | grams}
        if uncovered:
            # Side by side: a piece of 15 characters has one of them, of a token of up to 64.
            step = max(PIECE, -(-len(token) // BLOCKS))
            pieces = {token[at : at + PIECE] for at in range(0, max(len(token) - PIECE, 0) + 1, step)}
            pieces.add(token[-PIECE:])
            self._plain = (*self._plain, *(Secret(each.decode("latin-1")) for each in pieces))[-MOST_PLAIN:]

    def __call__(self, frame: bytes) -> bytes:
        """Return the frame with tokens and pieces of them replaced by `***`; itself where there are none."""
        if not self._has_piece(frame):
            return frame
        text = frame.decode("utf-8", "surrogateescape")
        return self._redact.without_secrets(text).encode("utf-8", "surrogateescape")

    def all(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Return the frames masked, each as by itself; the same sequence where there are no tokens."""
        return [self(frame) for frame in frames] if self._has_piece(b"\n".join(frames)) else frames

    def _has_piece(self, frame: bytes) -> bool:
        find = frame.find
        for byte, grams in self._grams.items():
            at = find(byte)
            while at >= 0:
                if hash(frame[at : at + GRAM]) in grams:
                    return True
                at = find(byte, at + 1)
        return any(each.reveal().encode("latin-1") in frame for each in self._plain)


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

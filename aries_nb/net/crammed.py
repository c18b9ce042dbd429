"""How much a frame or an answer becomes when it is read: JSON grows thirtyfold where a server wants it to."""

from __future__ import annotations

__all__ = ["lines_in", "values_in"]

WORTH_COUNTING = 2**18  # bytes; what is smaller becomes no more than some MB


def values_in(text: bytes | bytearray) -> int:
    """How many values JSON text can hold at most, each of about 100 bytes in memory; 0 where it is short."""
    return sum(map(text.count, (b",", b"[", b"{"))) if len(text) > WORTH_COUNTING else 0


def lines_in(text: bytes) -> int:
    """How many lines text has, the last one included if it does not end in a line feed."""
    return text.count(b"\n") + (not text.endswith(b"\n"))

"""All errors that this package raises, in one tree.

FeedError
├── UsageError (also ValueError)      the call itself is wrong: name, field, window
│   ├── UnknownSymbolError            the server does not know a symbol
│   └── SubscriptionRefusedError      the server refuses a stream, for a right or a limit
├── ClosedError                       the feed or the frame was closed here
├── ConnectError                      the server cannot be reached: no answer, not a WebSocket, bad address
├── TokenError                        no token, or the server refused it; not retried for ever
├── GapError                          the calculation spans a gap in the data
├── RecordingError                    a recording cannot be written or read: disk, lock, format
└── WaitTimeoutError (also TimeoutError)  `wait` or `until` ran out of time

A message says what happened, where, and what to do.
"""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

__all__ = [
    "BoundToProcess",
    "ClosedError",
    "ConnectError",
    "FeedError",
    "GapError",
    "RecordingError",
    "SubscriptionRefusedError",
    "TokenError",
    "UnknownSymbolError",
    "UsageError",
    "WaitTimeoutError",
]


class FeedError(Exception):
    """Base class of all errors that this package raises.

    `what` says what happened, `where` names the address or the object, `advice` what to do; "" where there is none. The
    message joins the three.
    """

    def __init__(self, what: str, *, where: str = "", advice: str = "") -> None:
        super().__init__(what, where, advice)
        self.what = what
        self.where = where
        self.advice = advice

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.what}{place}.{advice}"


class UsageError(FeedError, ValueError):
    """A wrong call: an unknown name, an invalid argument, or more than the broker allows.

    It would fail again with the same arguments.
    """


class UnknownSymbolError(UsageError):
    """The server does not know some of the requested symbols.

    `symbols` names them, `reason` is the server's text, "" if it gave none. The whole call failed: nothing of it was
    subscribed.
    """

    def __init__(self, symbols: tuple[str, ...], *, where: str, reason: str = "") -> None:
        names = ", ".join(repr(symbol) for symbol in symbols)
        said = f" (the server says: {reason})" if reason else ""
        super().__init__(
            f"unknown symbol {names}{said}", where=where, advice="Check the spelling; nothing of this call was kept."
        )
        self.symbols = symbols
        self.reason = reason


class SubscriptionRefusedError(UsageError):
    """The server refuses to stream symbols that it knows, or does not answer the request.

    A right may be missing, or a limit reached. `kind` is the kind of stream, such as "quotes" or "book"; `symbols` are
    those refused, `reason` is the server's text. The whole call failed: nothing of it was subscribed.
    """

    def __init__(self, kind: str, symbols: tuple[str, ...], *, where: str, reason: str) -> None:
        names = ", ".join(repr(symbol) for symbol in symbols)
        super().__init__(
            f"the server refuses {kind} of {names} ({reason})",
            where=where,
            advice="Check your data rights and the broker's limits; nothing of this call was kept.",
        )
        self.kind = kind
        self.symbols = symbols
        self.reason = reason


class ClosedError(FeedError):
    """The feed, frame or connection was closed by this program, not by the server.

    Data that a frame holds can still be read, but no new data arrive.
    """


class ConnectError(FeedError):
    """The server could not be reached, did not answer in time, or what answered is not the broker's server."""


class TokenError(FeedError):
    """There is no access token, or the server refused it. The text of the error never contains the token."""


class GapError(FeedError):
    """A calculation spans gaps in its data, times at which nothing was received, so its result would be unreliable.

    `gaps` is the number of gaps, `unknown_s` the time that they cover, in seconds.
    """

    def __init__(self, what: str, *, gaps: int, unknown_s: float) -> None:
        number = "a gap" if gaps == 1 else f"{gaps} gaps"
        super().__init__(
            f"{number} of {unknown_s:.1f} s altogether in {what}",
            advice='Look at `gaps.df` of the frame; over_gaps="skip" leaves that time out.',
        )
        self.gaps = gaps
        self.unknown_s = unknown_s


class RecordingError(FeedError):
    """A recording cannot be written, because of the disk or of another writer, or cannot be read.

    A path that is no recording, or one of another broker, is a UsageError.
    """


class WaitTimeoutError(FeedError, TimeoutError):
    """The time limit passed to `wait` or `until` ran out before the awaited condition was true."""


class BoundToProcess:
    """Base class of live objects, which pickle and copy refuse: threads and connections stay in their process."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        what = f"a live {type(self).__name__} stays in its process and cannot be pickled or copied"
        raise TypeError(f"{what}. Pass .df, its data, as in quotes.df; in another process call connect again.")

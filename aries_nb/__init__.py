"""Live broker streams that feel native in a notebook.

>>> import aries_nb as anb
>>> feed = anb.connect("sim")
>>> quotes = feed.quotes("AAPL", "MSFT", window="15min")
"""

from importlib.metadata import version as _version

from aries_nb.errors import (
    ClosedError,
    ConnectError,
    FeedError,
    TokenError,
    UnknownSymbolError,
    UsageError,
    WaitTimeoutError,
)
from aries_nb.live import Feed, FeedStatistics, LiveBook, LiveFrame, connect, run

__version__ = _version("aries_nb")
__all__ = [
    "ClosedError",
    "ConnectError",
    "Feed",
    "FeedError",
    "FeedStatistics",
    "LiveBook",
    "LiveFrame",
    "TokenError",
    "UnknownSymbolError",
    "UsageError",
    "WaitTimeoutError",
    "connect",
    "run",
]

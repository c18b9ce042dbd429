"""Live broker streams as rolling DataFrames and widgets in a notebook.

>>> import aries_nb as anb
>>> feed = anb.connect("sim")
>>> quotes = feed.quotes("AAPL", "MSFT", window="15min")

The names in `__all__` are imported on first use: the command line and the process of the simulated market need none of
them.
"""

import logging as _logging
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aries_nb.asynchronous import connecting, run
    from aries_nb.errors import (
        ClosedError,
        ConnectError,
        FeedError,
        GapError,
        RecordingError,
        SubscriptionRefusedError,
        TokenError,
        UnknownSymbolError,
        UsageError,
        WaitTimeoutError,
    )
    from aries_nb.live import (
        Account,
        Feed,
        FeedStatistics,
        LiveBook,
        LiveFrame,
        LiveTable,
        OAuthEndpoints,
        keyring_token,
        oauth,
        oauth_client,
        oauth_login,
    )
    from aries_nb.live.connect import connect, replay  # named so, as the module has the same name
    from aries_nb.live.derived.instants import derive
    from aries_nb.live.derived.windows import imbalance, realized_volatility, vwap
    from aries_nb.live.recordings.sealing import recordings
    from aries_nb.live.screen.desk import desk
    from aries_nb.model.settings import settings
    from aries_nb.rooms.trial import local_room
    from aries_nb.widgets.own_figure import figure, template

    __version__: str

__all__ = [
    "Account",
    "ClosedError",
    "ConnectError",
    "Feed",
    "FeedError",
    "FeedStatistics",
    "GapError",
    "LiveBook",
    "LiveFrame",
    "LiveTable",
    "OAuthEndpoints",
    "RecordingError",
    "SubscriptionRefusedError",
    "TokenError",
    "UnknownSymbolError",
    "UsageError",
    "WaitTimeoutError",
    "connect",
    "connecting",
    "derive",
    "desk",
    "figure",
    "imbalance",
    "keyring_token",
    "local_room",
    "oauth",
    "oauth_client",
    "oauth_login",
    "realized_volatility",
    "recordings",
    "replay",
    "run",
    "settings",
    "template",
    "vwap",
]


# Without a handler, logging writes warnings of our threads into the output of whichever cell runs.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

_ROOMS = {
    "imbalance": "aries_nb.live.derived.windows",
    "realized_volatility": "aries_nb.live.derived.windows",
    "vwap": "aries_nb.live.derived.windows",
    "derive": "aries_nb.live.derived.instants",
    "recordings": "aries_nb.live.recordings.sealing",
    "desk": "aries_nb.live.screen.desk",
    "settings": "aries_nb.model.settings",
    "connecting": "aries_nb.asynchronous",
    "run": "aries_nb.asynchronous",
    "replay": "aries_nb.live.connect",
    "local_room": "aries_nb.rooms.trial",
    "figure": "aries_nb.widgets.own_figure",
    "template": "aries_nb.widgets.own_figure",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("aries_nb")
    if name not in __all__:
        raise AttributeError(f"module 'aries_nb' has no attribute {name!r}")
    room = _ROOMS.get(name, "aries_nb.errors" if name.endswith("Error") else "aries_nb.live")
    value = globals()[name] = getattr(_import_module(room), name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""Columns in memory: rolling tapes, order books, tables, fills and their reckoning, the ledger of gaps."""

from aries_nb.store.book import OrderBook
from aries_nb.store.decimals import UNKNOWN
from aries_nb.store.fills import FILL_COLUMNS, Fill, FillLog
from aries_nb.store.gaps import Gap, GapLedger, StreamGaps
from aries_nb.store.log import ChangeLog
from aries_nb.store.reckoning import Books, equity, open_books, unmarked
from aries_nb.store.table import Follower, Table
from aries_nb.store.tape import Tape

__all__ = [
    "FILL_COLUMNS",
    "UNKNOWN",
    "Books",
    "ChangeLog",
    "Fill",
    "FillLog",
    "Follower",
    "Gap",
    "GapLedger",
    "OrderBook",
    "StreamGaps",
    "Table",
    "Tape",
    "equity",
    "open_books",
    "unmarked",
]

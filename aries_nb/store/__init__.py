"""Columns in memory: rolling tapes, order books, tables, fills and their reckoning, the ledger of gaps."""

from aries_nb.store.attribution import Explanation, Parts
from aries_nb.store.fills import FILL_COLUMNS, Fill, FillLog, Fills, ToldFillLog
from aries_nb.store.gaps import Gap, GapLedger, StreamGaps, gaps_frame
from aries_nb.store.latency import Lags, Percentiles
from aries_nb.store.log import ChangeLog, Row
from aries_nb.store.message_counts import Ledger
from aries_nb.store.order_book import OrderBook
from aries_nb.store.reconciliation import CASH, Reconciliation
from aries_nb.store.reply import AnswerSlip
from aries_nb.store.rolling import Tape
from aries_nb.store.table import Answer, Follower, Table
from aries_nb.store.valuation import Books, equity, open_books, unmarked
from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = [
    "CASH",
    "FILL_COLUMNS",
    "UNKNOWN",
    "ZERO",
    "Answer",
    "AnswerSlip",
    "Books",
    "ChangeLog",
    "Explanation",
    "Fill",
    "FillLog",
    "Fills",
    "Follower",
    "Gap",
    "GapLedger",
    "Lags",
    "Ledger",
    "OrderBook",
    "Parts",
    "Percentiles",
    "Reconciliation",
    "Row",
    "StreamGaps",
    "Table",
    "Tape",
    "ToldFillLog",
    "equity",
    "exactly",
    "gaps_frame",
    "open_books",
    "unmarked",
]

"""Data in memory: rolling frames, order books, tables, bars, own executions and their valuation, counts, gaps."""

from aries_nb.store.attribution import Attribution, Contribution
from aries_nb.store.fills import FILL_COLUMNS, DerivedFillLog, Fill, FillLog, ReportedFillLog
from aries_nb.store.gaps import Gap, GapLog, StreamGaps, gaps_frame
from aries_nb.store.latency import LatencySamples, Percentiles
from aries_nb.store.log import ChangeLog, TableRow
from aries_nb.store.message_counts import MessageCounts
from aries_nb.store.order_book import OrderBook
from aries_nb.store.reconciliation import CASH, Reconciliation
from aries_nb.store.rolling import RollingFrame
from aries_nb.store.splits import PRICE_AHEAD, SETTLING_NS, Held, SplitWatch
from aries_nb.store.table import FetchedRows, Table, TableListener
from aries_nb.store.valuation import Mark, Portfolio, equity, mark_of, middle_of, open_portfolio, unmarked
from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = [
    "CASH",
    "FILL_COLUMNS",
    "PRICE_AHEAD",
    "SETTLING_NS",
    "UNKNOWN",
    "ZERO",
    "Attribution",
    "ChangeLog",
    "Contribution",
    "DerivedFillLog",
    "FetchedRows",
    "Fill",
    "FillLog",
    "Gap",
    "GapLog",
    "Held",
    "LatencySamples",
    "Mark",
    "MessageCounts",
    "OrderBook",
    "Percentiles",
    "Portfolio",
    "Reconciliation",
    "ReportedFillLog",
    "RollingFrame",
    "SplitWatch",
    "StreamGaps",
    "Table",
    "TableListener",
    "TableRow",
    "equity",
    "exactly",
    "gaps_frame",
    "mark_of",
    "middle_of",
    "open_portfolio",
    "unmarked",
]

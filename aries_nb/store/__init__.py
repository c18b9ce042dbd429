"""Columns in memory: rolling tapes, order books, the ledger of gaps."""

from aries_nb.store.book import OrderBook
from aries_nb.store.gaps import Gap, GapLedger, StreamGaps
from aries_nb.store.tape import Tape

__all__ = ["Gap", "GapLedger", "OrderBook", "StreamGaps", "Tape"]

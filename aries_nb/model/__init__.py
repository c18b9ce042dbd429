"""Types that every part of the package shares: columns, records, notices, and the data of views.

A `Record` is one row of a stream (a quote, a trade, a change of a book) between its decoding by a broker's protocol and
its storage in a frame. Everything else that a server says about a session is a `Notice`.
"""

from typing import TYPE_CHECKING

from aries_nb.model.columns import (
    BALANCE_COLUMNS,
    BAR_COLUMNS,
    BOOK_COLUMNS,
    FILL_COLUMNS,
    MISSING,
    NOT_A_TIME,
    ORDER_COLUMNS,
    POSITION_COLUMNS,
    QUOTE_COLUMNS,
    TABLE_KEYS,
    TRADE_COLUMNS,
    VENUE_COLUMNS,
    Cause,
    Column,
    ColumnType,
    CountedAs,
    Kind,
    Side,
    State,
    Value,
    Values,
)
from aries_nb.model.notices import (
    Counted,
    GapSink,
    MarketStatus,
    Notice,
    Pong,
    Received,
    Rejected,
    Resumed,
    SessionLost,
    SessionOpened,
    SessionRefused,
    TokenWanted,
    TradeGap,
    Unreadable,
    Unrequested,
)
from aries_nb.model.observers import Observers
from aries_nb.model.records import CLEAR, PUT, BarPage, Record, RecordBuffer, RecordSink, Subscription
from aries_nb.model.secrets import Hidden, Secret
from aries_nb.model.view_data import (
    BarsData,
    BoardData,
    BookIntegrity,
    BookLevels,
    BookMarks,
    CardData,
    EquityData,
    FillMark,
    FrameRows,
    GapSpan,
    RestingOrder,
    TableData,
)

if TYPE_CHECKING:
    # For annotations only, so that numpy is not imported for three names.
    from aries_nb.model.view_data import Codes as Codes
    from aries_nb.model.view_data import Numbers as Numbers
    from aries_nb.model.view_data import Times as Times

__all__ = [
    "BALANCE_COLUMNS",
    "BAR_COLUMNS",
    "BOOK_COLUMNS",
    "CLEAR",
    "FILL_COLUMNS",
    "MISSING",
    "NOT_A_TIME",
    "ORDER_COLUMNS",
    "POSITION_COLUMNS",
    "PUT",
    "QUOTE_COLUMNS",
    "TABLE_KEYS",
    "TRADE_COLUMNS",
    "VENUE_COLUMNS",
    "BarPage",
    "BarsData",
    "BoardData",
    "BookIntegrity",
    "BookLevels",
    "BookMarks",
    "CardData",
    "Cause",
    "Column",
    "ColumnType",
    "Counted",
    "CountedAs",
    "EquityData",
    "FillMark",
    "FrameRows",
    "GapSink",
    "GapSpan",
    "Hidden",
    "Kind",
    "MarketStatus",
    "Notice",
    "Observers",
    "Pong",
    "Received",
    "Record",
    "RecordBuffer",
    "RecordSink",
    "Rejected",
    "RestingOrder",
    "Resumed",
    "Secret",
    "SessionLost",
    "SessionOpened",
    "SessionRefused",
    "Side",
    "State",
    "Subscription",
    "TableData",
    "TokenWanted",
    "TradeGap",
    "Unreadable",
    "Unrequested",
    "Value",
    "Values",
]

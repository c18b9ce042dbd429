"""The words that every room shares: kinds and columns, records, notices, and what views are handed.

A tick is a `Record` from the moment `wire` has understood it until `store` has written it. Everything else that a
server says about a session is a `Notice`.
"""

from typing import TYPE_CHECKING

from aries_nb.model.columns import (
    BALANCE_COLUMNS,
    BAR_COLUMNS,
    BOOK_COLUMNS,
    FILL_COLUMNS,
    NOT_A_TIME,
    ORDER_COLUMNS,
    POSITION_COLUMNS,
    QUOTE_COLUMNS,
    TABLE_KEYS,
    TRADE_COLUMNS,
    VENUE_COLUMNS,
    Column,
    ColumnType,
    Kind,
    Side,
    State,
    Value,
    Values,
)
from aries_nb.model.notices import (
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
    Unreadable,
)
from aries_nb.model.records import CLEAR, PUT, Bars, GapSink, Inbox, Record, Sink, Subscription
from aries_nb.model.secrets import Hidden, Secret
from aries_nb.model.shown import BarsData, BoardData, BookIntegrity, BookLevels, CardData, EquityData, Rows, TableData

if TYPE_CHECKING:
    from aries_nb.model.shown import Codes, Numbers, Times

__all__ = [
    "BALANCE_COLUMNS",
    "BAR_COLUMNS",
    "BOOK_COLUMNS",
    "CLEAR",
    "FILL_COLUMNS",
    "NOT_A_TIME",
    "ORDER_COLUMNS",
    "POSITION_COLUMNS",
    "PUT",
    "QUOTE_COLUMNS",
    "TABLE_KEYS",
    "TRADE_COLUMNS",
    "VENUE_COLUMNS",
    "Bars",
    "BarsData",
    "BoardData",
    "BookIntegrity",
    "BookLevels",
    "CardData",
    "Codes",
    "Column",
    "ColumnType",
    "EquityData",
    "GapSink",
    "Hidden",
    "Inbox",
    "Kind",
    "MarketStatus",
    "Notice",
    "Numbers",
    "Pong",
    "Received",
    "Record",
    "Rejected",
    "Resumed",
    "Rows",
    "Secret",
    "SessionLost",
    "SessionOpened",
    "SessionRefused",
    "Side",
    "Sink",
    "State",
    "Subscription",
    "TableData",
    "Times",
    "TokenWanted",
    "Unreadable",
    "Value",
    "Values",
]

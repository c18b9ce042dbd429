"""What a user holds: the feed, live frames and books."""

from aries_nb.live.book import LiveBook
from aries_nb.live.connect import connect
from aries_nb.live.feed import Feed
from aries_nb.live.frame import LiveFrame
from aries_nb.live.nested import run
from aries_nb.live.statistics import FeedStatistics

__all__ = ["Feed", "FeedStatistics", "LiveBook", "LiveFrame", "connect", "run"]

"""What a live object does with attempts to take it out of its process, and with warnings of its threads."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

import aries_nb as anb

LIVE: dict[str, Callable[[anb.Feed], object]] = {
    "feed": lambda feed: feed,
    "quotes": lambda feed: feed.quotes("AAPL"),
    "book": lambda feed: feed.book("AAPL"),
    "bars": lambda feed: feed.bars("AAPL"),
    "account": lambda feed: feed.account("ACC-1"),
    "orders": lambda feed: feed.account("ACC-1").orders,
    "fills": lambda feed: feed.account("ACC-1").fills,
    "equity": lambda feed: feed.account("ACC-1").equity,
    "news": lambda feed: feed.news(),
    "options": lambda feed: feed.options("AAPL"),
    "reference": lambda feed: feed.reference,
    "gaps": lambda feed: feed.gaps,
    "market status": lambda feed: feed.market_status,
    "board": lambda feed: feed.quotes("AAPL")._first_view(),
    "chart": lambda feed: feed.quotes("AAPL").chart(),
}


@pytest.mark.parametrize("name", LIVE)
def test_a_live_object_says_what_to_pass_instead(name: str, feed: anb.Feed) -> None:
    live = LIVE[name](feed)

    for taking in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"stays in its process and cannot be pickled or copied\. Pass \.df"):
            taking(live)


def written_to_standard_error(more: str) -> str:
    script = f"import logging, aries_nb; logging.getLogger('aries_nb').warning('a warning'); {more}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr


def test_warnings_are_not_written_to_standard_error_unless_logging_is_set_up() -> None:
    quiet = written_to_standard_error("")
    loud = written_to_standard_error("logging.basicConfig(); logging.getLogger('aries_nb').warning('another warning')")

    assert (quiet, loud.strip()) == ("", "WARNING:aries_nb:another warning")

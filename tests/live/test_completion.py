"""The tab key in `feed.quotes("AA`: symbols of what is open, else of the broker's search."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from aries_nb.errors import ConnectError
from aries_nb.live.completion import SymbolMatcher, Symbols, complete_symbols
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    import aries_nb as anb


@pytest.fixture
def shell(feed: anb.Feed) -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance()
    shell.user_ns["feed"], shell.user_ns["other"] = feed, object()
    complete_symbols(feed)
    complete_symbols(feed)
    yield shell
    shell.reset(aggressive=False)
    InteractiveShell.clear_instance()


def completed(shell: InteractiveShell, text: str) -> list[str]:
    """What a cell would be with each of the completions at its end."""
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, len(text)))
    return [text[: each.start] + each.text + text[each.end :] for each in found]


def test_symbols_are_completed_within_the_calls_of_a_feed(feed: anb.Feed, shell: InteractiveShell) -> None:
    quotes = feed.quotes("MSFT", "AAPL")  # it is open as long as a variable refers to it

    assert quotes.symbols == ("MSFT", "AAPL")
    assert sum(isinstance(each, SymbolMatcher) for each in shell.Completer.custom_matchers) == 1
    assert completed(shell, 'feed.quotes("') == ['feed.quotes("AAPL', 'feed.quotes("MSFT']
    assert completed(shell, "q = feed.trades('aa") == ["q = feed.trades('AAPL"]
    assert completed(shell, 'feed.quotes("AAPL",\n    "M') == ['feed.quotes("AAPL",\n    "MSFT']
    assert completed(shell, 'len(feed.book("MS') == ['len(feed.book("MSFT']


def test_what_is_not_open_is_searched_at_the_broker(feed: anb.Feed, shell: InteractiveShell) -> None:
    eventually(lambda: completed(shell, 'feed.quotes("nvd') == ['feed.quotes("NVDA'])
    assert completed(shell, 'feed.quotes("no such thing') == []


@pytest.mark.parametrize(
    "text",
    [
        'feed.quotes(window="', 'other.quotes("', 'x.feed.quotes("', 'feed.quotes("AAPL").alert("', 'feed.close("',
        'feed.quotes("AAPL", fields=["bid_price", "', 'feed.quotes("AAPL", fields="',
        'feed.news("AAPL", topics=["x"], "', 'feed.bars("AAPL", "', 'feed.options("MSFT", "',
        'feed.book("AAPL", "', 'feed.quotes(["MSFT", "',
    ],
)  # fmt: skip
def test_other_texts_are_left_to_others(feed: anb.Feed, shell: InteractiveShell, text: str) -> None:
    quotes = feed.quotes("AAPL")

    assert quotes.is_open
    assert not any("AAPL" in each[len(text) :] for each in completed(shell, text))


def test_failed_search_is_repeated_and_a_running_one_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aries_nb.live.completion.WAIT_SECONDS", 0.05)
    answers: list[object] = [ConnectError("no answer"), RuntimeError("by hand"), ["NVDA"]]
    searched: list[str] = []
    may_answer = threading.Event()

    def search(text: str) -> list[str]:
        searched.append(text)
        may_answer.wait(30)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ["NVDA"]

    symbols = Symbols(list, search)

    with caplog.at_level("DEBUG", logger="aries_nb"):
        assert symbols.like("nv") == symbols.like("nv") == []
        assert searched == ["nv"]
        may_answer.set()
        eventually(lambda: symbols.like("nv") == ["NVDA"])
    assert (symbols.like("nv"), searched) == (["NVDA"], ["nv"] * 3)
    assert [record.message for record in caplog.records] == ["the search for symbols like 'nv' failed"]
    assert capsys.readouterr() == ("", "")

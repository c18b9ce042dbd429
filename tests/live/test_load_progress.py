from __future__ import annotations

import logging
import sys
import threading
import types

import pytest

from aries_nb import widgets
from aries_nb.live import notebook
from aries_nb.live.notebook import LoadProgress

DAY = 86_400_000_000_000


class Bar:
    """Stands for the widget and keeps its calls."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.is_closed = False

    def show(self, done: float, text: str) -> None:
        self.told.append((done, text))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """The bars that are made, as in a cell of a notebook: this process runs the tests of no kernel."""
    made: list[Bar] = []

    def make() -> Bar:
        made.append(Bar())
        return made[-1]

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    monkeypatch.setattr(widgets, "Progress", make)
    return made


def test_a_long_load_has_one_bar_that_is_gone_when_done(bars: list[Bar], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "LONG_SECONDS", 0.0)

    with LoadProgress("1min bars of AAPL", 0, 4 * DAY) as load:
        load.reached(3 * DAY)
        load.reached(1 * DAY)
        open_while_loading = [bar.is_closed for bar in bars]

    assert open_while_loading == [False]
    assert bars[0].is_closed
    assert bars[0].told == [
        (0.25, "1min bars of AAPL: back to 1970-01-04"),
        (0.75, "1min bars of AAPL: back to 1970-01-02"),
    ]


def test_a_load_that_is_done_at_once_is_not_told(bars: list[Bar], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "aries_nb"), LoadProgress("bars", 0, 4 * DAY) as load:
        load.reached(2 * DAY)

    assert bars == []
    assert caplog.text == ""


def test_a_thread_of_the_users_own_shows_no_bar_in_whatever_cell_runs(
    bars: list[Bar], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notebook, "LONG_SECONDS", 0.0)

    with caplog.at_level(logging.INFO, "aries_nb"), LoadProgress("bars", 0, 4 * DAY) as load:
        thread = threading.Thread(target=load.reached, args=(2 * DAY,))
        thread.start()
        thread.join()

    assert bars == []
    assert "bars: back to 1970-01-03 so far" in caplog.text


def test_a_script_gets_a_line_in_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(notebook, "LONG_SECONDS", 0.0)

    with caplog.at_level(logging.INFO, "aries_nb"), LoadProgress("bars", 0, 4 * DAY) as load:
        load.reached(2 * DAY)

    assert "bars: back to 1970-01-03 so far" in caplog.text

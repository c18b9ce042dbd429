"""A comm that counts, a painter without a thread, and a look for leaked widgets after each test."""

from __future__ import annotations

import comm
import pytest
from ipywidgets.widgets import widget as ipywidgets_widget

from aries_nb.widgets import Painter
from aries_nb.widgets.page_script import PageScriptModel
from tests.widgets.sources import Busy, Clock, CountingComm


@pytest.fixture(autouse=True)
def _no_leaked_widget(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", CountingComm)
    for model in list(ipywidgets_widget._instances.values()):
        if isinstance(model, PageScriptModel):  # of a test of another folder
            model.close()
    before = set(ipywidgets_widget._instances)
    yield
    leaked = {key: model for key, model in ipywidgets_widget._instances.items() if key not in before}
    for model in leaked.values():
        model.close()
    assert all(isinstance(model, PageScriptModel) for model in leaked.values())  # which stay open


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture
def painter(clock, busy):
    painter = Painter(clock, busy, is_threaded=False)
    yield painter
    painter.stop()

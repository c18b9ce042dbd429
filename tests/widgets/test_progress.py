from __future__ import annotations

import pytest
from IPython.display import DisplayHandle

from aries_nb.widgets import Progress, progress


@pytest.fixture
def cell(monkeypatch):
    """What is shown, and what it is replaced by at last."""
    shown = []

    class Handle(DisplayHandle):
        def update(self, obj, **options):
            shown.append(obj)

    def display(obj, **options):
        shown.append(obj)
        return Handle()

    monkeypatch.setattr(progress, "display", display)
    return shown


def test_a_bar_that_is_never_shown_leaves_nothing(cell):
    with Progress():
        pass

    assert cell == []


def test_one_bar_is_shown_however_often_it_is_updated(cell):
    with Progress() as bar:
        bar.show(0.25, "a quarter")
        bar.show(0.5, "half")

        (widget,) = cell
        assert (widget.value, widget.description) == (0.5, "half")
        assert not widget.description_allow_html


def test_nothing_of_it_stays_in_the_cell_or_the_registry(cell):
    bar = Progress()
    bar.show(0.5, "half")

    bar.close()
    bar.close()

    assert cell[1:] == [{"text/html": ""}]  # that the registry is empty is looked at after each test


def test_a_load_that_fails_takes_its_bar_along(cell):
    def load():
        with Progress() as bar:
            bar.show(0.5, "half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        load()

    assert cell[1:] == [{"text/html": ""}]

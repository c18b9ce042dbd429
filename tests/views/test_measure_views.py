"""The parts of the table of views: each is found, and one that fails is a row that does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.views import measure_views
from tests.views.stage import Row

if TYPE_CHECKING:
    import pytest


def test_each_part_is_found_under_the_name_of_its_module():
    assert {"file_sizes", "first_run", "leak", "reloads"} <= measure_views.parts().keys()


def test_a_part_that_fails_is_a_row_that_does_not_hold(monkeypatch: pytest.MonkeyPatch):
    def fails(_):
        yield Row("first", "1", "≤ 2", is_met=True)
        raise TimeoutError("too late\nand more")

    monkeypatch.setattr(measure_views, "parts", lambda: {"odd": fails})

    rows = list(measure_views.measured(None, []))

    assert [row.is_met for row in rows] == [True, False]
    assert "| odd | not measured: TimeoutError: too late | – | NO |" in measure_views.table(rows)

"""Row updates: a page that applies them has the table's rows in the table's order."""

from __future__ import annotations

import json
import math
import random

import pytest

from aries_nb.widgets.row_updates import RowUpdates
from aries_nb.widgets.table_format import FormattedRow


class Page:
    """The rows of a page, as static/windowed_table.js keeps them."""

    def __init__(self) -> None:
        self.rows: dict[str, list] = {}
        self.number: int | None = None

    def apply(self, update) -> None:
        update = json.loads(json.dumps(update))
        if update["base"] is None:
            self.rows = {}
        else:
            assert update["base"] == self.number
        for key in update["gone"]:
            del self.rows[key]
        for key, rank, texts, numbers in update["put"]:
            self.rows[key] = [rank, texts, numbers]
        for key, rank in zip(update.get("keys", ()), update.get("ranks", ()), strict=True):
            self.rows[key][0] = rank
        self.number = update["number"]

    @property
    def texts(self) -> list[list[str]]:
        return [texts for _, texts, _ in sorted(self.rows.values())]


def row(key, text=""):
    return FormattedRow((), json.dumps([key]), (str(key), text), (math.nan, 1.0))


def texts_of(rows):
    return [list(each.texts) for each in rows]


@pytest.mark.parametrize("seed", range(5))
def test_random_changes_leave_the_page_with_the_rows_of_the_table(seed):
    chance = random.Random(seed)
    updates, page, rows, count = RowUpdates(), Page(), [], 0

    for _ in range(150):
        for _ in range(chance.randrange(4)):
            action = chance.choice(["first", "last", "between", "gone", "change", "move", "shuffle"])
            if action in ("first", "last", "between") or not rows:
                place = {"first": 0, "last": len(rows)}.get(action, chance.randrange(len(rows) + 1))
                rows.insert(place, row(count))
                count += 1
            elif action == "gone":
                rows.pop(chance.randrange(len(rows)))
            elif action == "shuffle" and chance.random() < 0.1:
                chance.shuffle(rows)
            else:
                place = chance.randrange(len(rows))
                old = rows.pop(place)
                rows.insert(
                    chance.randrange(len(rows) + 1) if action == "move" else place,
                    row(json.loads(old.key)[0], str(chance.random())),
                )
        update = updates.update(rows)
        if update is not None:
            page.apply(update)

        assert page.texts == texts_of(rows)
        late = Page()
        late.apply(updates.whole())
        assert late.texts == texts_of(rows)


def test_a_row_that_comes_first_is_all_that_is_sent():
    updates = RowUpdates()
    rows = [row(number) for number in range(100)]
    updates.update(rows)

    update = updates.update([row("new"), *rows])

    assert [key for key, *_ in update["put"]] == ['["new"]']
    assert update["gone"] == []
    assert "ranks" not in update


def test_nothing_new_is_no_update():
    updates = RowUpdates()
    rows = [row("A"), row("B")]
    updates.update(rows)

    assert updates.update(list(rows)) is None


def test_rows_that_a_source_makes_anew_are_no_update():
    updates = RowUpdates()
    updates.update([row("A"), row("B")])

    update = updates.update([row("A"), row("B", "changed")])

    assert [key for key, *_ in update["put"]] == ['["B"]']
    assert updates.update([row("A"), row("B", "changed")]) is None


def test_a_key_that_a_source_repeats_loses_no_row():
    updates, page = RowUpdates(), Page()

    page.apply(updates.update([row("A", "1"), row("A", "2")]))

    assert page.texts == [["A", "1"], ["A", "2"]]


def test_rows_inserted_at_one_place_again_and_again_stay_in_order():
    updates, page = RowUpdates(), Page()
    rows = [row("first"), row("last")]
    page.apply(updates.update(rows))

    for number in range(200):
        rows.insert(1, row(number))
        page.apply(updates.update(rows))

    assert page.texts == texts_of(rows)


def test_a_missing_number_is_none():
    (written,) = RowUpdates().update([row("A")])["put"]

    assert written[3] == [None, 1.0]

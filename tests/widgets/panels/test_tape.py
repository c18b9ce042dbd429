"""The tape: the newest print on top, at most what can be read, big ones always."""

from __future__ import annotations

import json

import pytest

from aries_nb.errors import UsageError
from aries_nb.model import PrintsData
from aries_nb.widgets.panels.tape import LEAST_SIZES, MOST_A_FRAME, PRINTS_KEPT, Tape

AT_US = 1_700_000_000_000_000


class Prints:
    """A source of prints; tests add to it."""

    def __init__(self, symbols=("AAPL",)) -> None:
        self.symbols = symbols
        self.rows: list[tuple[str, float, float, str, str]] = []
        self.origin = 0

    @property
    def version(self) -> int:
        return len(self.rows)

    def add(self, price, size=100.0, side="unknown", symbol="AAPL", source="live") -> None:
        self.rows.append((symbol, price, size, side, source))

    def prints(self, first, most) -> PrintsData:
        rows = self.rows[max(first, self.origin) :][-most:]
        ts = [AT_US + number * 1_000 for number in range(len(self.rows) - len(rows), len(self.rows))]
        symbol, price, size, side, source = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [], [])
        return PrintsData(len(self.rows), ts, symbol, price, size, side, [""] * len(rows), source, origin=self.origin)


@pytest.fixture
def source():
    return Prints()


@pytest.fixture
def tape(source):
    tape = Tape(source)
    yield tape
    tape.close()


def rows_of(tape):
    """The rows of the page, the newest first: texts, and numbers."""
    rows = json.loads(json.dumps(tape.widget.get_state("rows")["rows"]["put"]))
    return [(texts, numbers) for _, _, texts, numbers in sorted(rows, key=lambda row: row[1])]


def columns_of(tape):
    return [column["name"] for column in tape.widget.description["columns"]]


def test_sizes_are_those_that_were_sent_however_small_or_large(tape, source):
    for size in (0.375, 0.00000012, 2.0**60):
        source.add(10.0, size)
        tape.draw()

    assert [texts[2] for texts, _ in rows_of(tape)] == ["1,152,921,504,606,846,976", "0.00000012", "0.375"]


def test_the_newest_print_is_on_top_with_its_tick(tape, source):
    for price in (10.0, 10.5, 10.25, 10.25):
        source.add(price)

    tape.draw()

    assert [(texts[1], numbers[-2]) for texts, numbers in rows_of(tape)] == [
        *(("10.25", 0), ("10.25", -1), ("10.50", 1), ("10.00", 0))
    ]
    assert rows_of(tape)[0][0][0] == "22:13:20.003"


def test_a_frame_sends_what_can_be_read_and_counts_the_rest(tape, source):
    source.add(10.0)
    tape.draw()

    for _ in range(MOST_A_FRAME + 30):
        source.add(10.0)
    tape.draw()

    assert len(tape.widget.rows["put"]) == MOST_A_FRAME
    assert tape._left_out == 30


def test_prints_that_left_the_window_before_they_were_read_are_counted(tape, source):
    source.add(10.0)
    tape.draw()

    for _ in range(PRINTS_KEPT + 7):
        source.add(10.0)
    tape.draw()

    assert tape._left_out == 7 + PRINTS_KEPT - MOST_A_FRAME


def test_a_big_print_is_marked_and_never_left_out(tape, source):
    for _ in range(30):
        source.add(10.0, 100.0)
    tape.draw()

    source.add(10.0, 5_000.0)
    for _ in range(MOST_A_FRAME + 5):
        source.add(10.0, 100.0)
    tape.draw()

    big = [texts[2] for texts, numbers in rows_of(tape) if numbers[-1] == 1]
    assert big == ["5,000"]


def test_a_print_of_the_tape_is_sent_once(tape, source):
    source.add(10.0)
    tape.draw()

    assert tape.draw() == 0


def test_the_columns_are_those_in_which_prints_differ(source):
    source.add(10.0)
    tape = Tape(source)
    tape.draw()
    alone = columns_of(tape)

    source.add(10.0, side="buy")
    tape.draw()

    assert alone == ["time", "price", "size"]
    assert columns_of(tape) == ["time", "price", "size", "side"]
    assert [texts[3] for texts, _ in rows_of(tape)] == ["BUY", ""]
    tape.close()


def test_several_symbols_have_a_column_and_ticks_of_their_own():
    source = Prints(("AAPL", "MSFT"))
    source.add(10.0)
    source.add(500.0, symbol="MSFT")
    source.add(9.5)
    tape = Tape(source)

    tape.draw()

    assert columns_of(tape) == ["time", "symbol", "price", "size"]
    assert [(texts[1], numbers[-2]) for texts, numbers in rows_of(tape)] == [("AAPL", -1), ("MSFT", 0), ("AAPL", 0)]
    tape.close()


def test_a_tape_is_a_table_of_text_where_no_kernel_runs(source):
    source.add(10.0, 3.0, symbol="<b>")
    source.symbols = ("<b>", "AAPL")
    tape = Tape(source, title="Trades")

    shown = tape._repr_mimebundle_()

    assert "&lt;b&gt;" in shown["text/html"]
    assert shown["text/plain"].startswith("Trades: 22:13:20.000 <b> 10.00 3")
    tape.close()


def test_an_empty_tape_says_so(tape):
    assert "no prints" in tape._repr_mimebundle_()["text/html"]


def test_a_tape_of_no_rows_is_refused(source):
    with pytest.raises(UsageError, match="rows=0"):
        Tape(source, rows=0)


def test_prints_that_were_corrected_and_cancelled_say_so(tape, source):
    source.add(10.0)
    source.add(9.0)
    source.add(10.5, source="corrected")
    source.add(9.0, size=0.0, source="cancelled")
    source.add(10.25)
    tape.draw()

    place = columns_of(tape).index("size")
    assert [texts[place] for texts, _ in rows_of(tape)] == ["100", "cancelled", "corrected 100", "100", "100"]
    assert [numbers[-2] for _, numbers in rows_of(tape)] == [-1, 0, 1, -1, 0]  # ticks: a cancelled print is none


def test_prints_of_the_future_are_gone_where_a_replay_went_back(tape, source):
    for number in range(LEAST_SIZES + 5):
        source.add(100 + number)
    tape.draw()
    source.rows.append(("AAPL", 0.0, 0.0, "unknown", "live"))  # a replay leaves one number out
    source.origin = len(source.rows)
    tape.draw()
    empty = rows_of(tape)

    for price in (99, 98):
        source.add(price, size=1_000)
    tape.draw()

    assert empty == []
    assert [texts[1] for texts, _ in rows_of(tape)] == ["98.00", "99.00"]
    assert [numbers[-2:] for _, numbers in rows_of(tape)] == [[-1, 0], [0, 0]]  # neither tick nor size of the future

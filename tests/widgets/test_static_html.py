"""Static tables: how large they may become, and how they read as text."""

from __future__ import annotations

from aries_nb.widgets.static_html import plain_text, table

HEADER = ["Symbol", "Bid", "Ask", "Last"]


def test_a_table_of_thousands_shows_the_first_hundred_rows_and_how_many_there_are():
    rows = [[f"S{number}", "1.00", "1.01", "–"] for number in range(5_000)]

    picture = table("Orders", HEADER, rows)

    assert "S99" in picture
    assert "S100" not in picture
    assert "100 of 5,000 rows" in picture
    assert len(picture) < 60_000


def test_sums_stay_at_the_end_of_a_table_of_thousands():
    rows = [*([f"S{number}", "", "", ""] for number in range(500)), ["total", "", "", "7"]]

    picture = table("", HEADER, rows, kept=1)

    assert "100 of 500 rows" in picture
    assert picture.index("total") > picture.index("100 of 500")


def test_a_table_reads_as_aligned_text_without_empty_columns():
    picture = table("quotes", HEADER, [["AAPL", "9.50", "10.00", "–"], ["<b>MSFT", "499.90", "500.10", "–"]])

    text = plain_text(picture)

    assert text.split("\n") == [
        "quotes: AAPL 9.50 10.00",
        "Symbol      Bid     Ask",
        "AAPL       9.50   10.00",
        "<b>MSFT  499.90  500.10",
    ]


def test_a_long_table_is_cut_as_text():
    text = plain_text(table("Fills", HEADER, [[f"S{number}", "1", "2", "3"] for number in range(60)]))

    lines = text.split("\n")
    assert len(lines) == 27
    assert lines[-1] == "… 60 rows"
    assert plain_text(table("", HEADER, [["S", "1", "2", "3"]] * 5_000)).endswith("… 100 of 5,000 rows")


def test_a_chart_reads_as_its_caption():
    figure = "<figure><figcaption>AAPL &amp; Co <span>bid</span> 9.5</figcaption><img alt='x'><div>low 9</div></figure>"

    assert plain_text(figure) == "AAPL & Co bid 9.5\nlow 9"


def test_a_text_from_outside_sends_no_control_characters_to_a_terminal():
    text = plain_text(table("news \x1b[2J", ["Title", "a", "b"], [["\x1b]0;owned\x07 title", "1", "2"]]))

    assert all(each.isprintable() or each == "\n" for each in text)


def test_a_column_without_a_heading_has_no_empty_one():
    picture = table("", ["Symbol", ""], [["AAPL", "1"]])

    assert picture.count("<th ") == 1
    assert picture.count("<td") == 3


def test_a_heading_over_empty_cells_is_no_heading_of_data():
    picture = table("", ["Bid", "Own", "Ask"], [["9.50", "", "10.00"], ["9.49", "", ""]])

    assert [tag for tag in ("th", "td") for _ in range(picture.count(f"<{tag} "))] == ["th"] * 2 + ["td"] * 7
    assert ">Own</td>" in picture
    assert "<th " not in table("", ["Bid", "Ask"], [])

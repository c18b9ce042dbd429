"""Static charts are images in an address: small, escaped, with axes that can be read."""

from __future__ import annotations

import numpy as np
import pytest

from aries_nb.widgets.static_chart import candle_chart, line_chart
from aries_nb.widgets.static_html import BLUE, ORANGE, PALETTE
from tests.widgets.pictures import SVG, images, labels, pieces_of_lines

NOON_MS = 1_700_049_600_000.0  # 2023-11-15 12:00 UTC
MOST_BYTES = 30_000
EVIL = "<script>alert('1')</script>"


def walk(count, seed=0, step=0.05):
    return 100 + np.random.default_rng(seed).normal(size=count).cumsum() * step


def candles(count):
    close = walk(count)
    opened = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opened, close) + 0.1, np.minimum(opened, close) - 0.1
    return NOON_MS + np.arange(count) * 60_000.0, {"open": opened, "high": high, "low": low, "close": close}


def test_eight_lines_of_random_points_and_two_thousand_candles_are_below_thirty_kilobytes():
    x = NOON_MS + np.arange(300) * 1_000.0
    wild = [(f"S{place}", PALETTE[place], x, walk(300, place, 50.0)) for place in range(8)]

    assert len(line_chart("eight", wild)) < MOST_BYTES
    assert len(candle_chart("many", *candles(2_000), idle=[])) < MOST_BYTES


def test_a_picture_is_an_image_without_markup_from_outside():
    html = line_chart(EVIL, [(EVIL, BLUE, np.array([1.0, 2.0]), np.array([3.0, 4.0]))])

    assert len(images(html)) == 1
    assert "<svg" not in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_hole_interrupts_its_line_and_one_point_is_a_dot():
    x = np.arange(5.0)
    lines = [("a", BLUE, x, np.array([1.0, 2.0, np.nan, 2.0, 1.0])), ("b", ORANGE, x[:1], np.array([1.5]))]

    html = line_chart("holes", lines)

    assert pieces_of_lines(html) == [2, 1]
    assert "nan" not in str(labels(html))


def test_times_are_labelled_at_round_seconds_in_utc():
    x = NOON_MS + np.arange(0, 61) * 1_000.0

    html = line_chart("times", [("a", BLUE, x, walk(61))])

    assert [text for text in labels(html) if ":" in text] == [f"12:00:{s:02d}" for s in range(0, 60, 10)] + ["12:01:00"]
    assert "2023-11-15 12:00:00\N{EN DASH}12:01:00 UTC" in html


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 100.0], ["0", "25", "50", "75", "100"]),
        ([1.0, 1.0003], ["1.0000", "1.0001", "1.0002", "1.0003"]),
        ([-2.0, 2.0], ["\N{MINUS SIGN}2", "\N{MINUS SIGN}1", "0", "1", "2"]),
        ([999_990.0, 1_000_010.0], ["999,990", "999,995", "1,000,000", "1,000,005", "1,000,010"]),
        ([2.0e9, 4.0e9], ["2,000M", "2,500M", "3,000M", "3,500M", "4,000M"]),
        ([5.0, 5.0], ["4.96", "4.98", "5.00", "5.02", "5.04"]),
    ],
)
def test_ticks_are_round_numbers_with_the_digits_that_they_need(values, expected):
    html = line_chart("ticks", [("a", BLUE, NOON_MS + np.arange(2) * 1_000.0, np.array(values))])

    assert [text for text in labels(html) if ":" not in text] == expected


def test_sizes_have_an_axis_of_their_own_on_the_left():
    x = NOON_MS + np.arange(60) * 1_000.0

    html = line_chart("both", [("bid", BLUE, x, walk(60))], left=[("size", ORANGE, x, np.full(60, 700.0))])

    (image,) = images(html)
    ends = [text for text in image.iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert "700" in [text.text for text in ends]
    assert "bid" in html
    assert "size 700" in html


def test_candles_leave_out_what_is_idle():
    starts, columns = candles(20)
    starts[10:] += 16 * 3_600_000

    cut = candle_chart("c", starts, columns, idle=[(starts[9] + 60_000, starts[10])])
    whole = candle_chart("c", *candles(20), idle=[])

    rows = [image.find(f"{SVG}g[@fill='none']") for picture in (cut, whole) for image in images(picture)]
    assert [path.get("d") for path in rows[0]] == [path.get("d") for path in rows[1]]


def test_without_points_a_paragraph_says_so():
    none = np.empty(0)

    assert "x: no data yet" in line_chart("x", [("a", BLUE, none, none)])
    assert "x: no data yet" in candle_chart("x", none, {}, idle=[])
